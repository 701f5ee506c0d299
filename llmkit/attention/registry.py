"""Registry of attention kernels with their declarations: the mask that each expects, and its abilities.

A kernel that transformers knows without its mask silently loses causality or padding. So each kernel declares
its mask, and `llmkit.attention.interface.register` gives both to transformers at once.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llmkit.errors import InputError, OptionError, did_you_mean
from llmkit.user_file import function_in_file

MASKS = ("none", "boolean", "additive", "padding", "block")
# Values of `supports`. A model that needs an ability which a kernel lacks is refused.
ABILITIES = (
    "is_causal",  # boolean masks only: may get mask None with is_causal=True
    "gqa",  # fewer key and value heads than query heads, not repeated
    "sliding_window",  # as a keyword; a boolean or additive mask already contains the window
    "softcap",
    "sinks",  # the keyword s_aux
    "position_bias",
    "dropout",
    "backward",
    "packed",  # several documents in a row; a boolean or additive mask already separates them
    "paged",  # runs under `generate_batch`, one request at a time; see `llmkit.attention.paged`
    "weights",  # returns the attention weights
)
# The keyword with which a model requests an ability.
KEYWORDS = {
    "softcap": "softcap",
    "s_aux": "sinks",
    "position_bias": "position_bias",
    "sliding_window": "sliding_window",
}
DTYPES = ("float32", "bfloat16", "float16")
LINE = '@llmkit.attention.kernel(mask="additive", supports=["gqa"])'

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Kernel:
    """An attention kernel and its declaration.

    The function is called as ``function(module, query, key, value, attention_mask, *, scaling, dropout,
    **keywords)`` with query (batch, heads, queries, head_dim), key and value (batch, kv_heads, keys,
    head_dim), and returns the output (batch, queries, heads, head_dim) and the weights or None.

    Attributes:
        name: the user's name for it, the value of the option `attn`.
        function: the function, or ``module:function``, which is imported at its first use.
        mask: ``boolean`` (batch, 1, queries, keys), True attends; ``additive``, the same as 0 and the dtype's
            lowest number, added to the scores; ``padding`` (batch, keys), True is a token, None where there
            is no padding, with the keyword ``is_causal``; ``none``, only ``is_causal``; ``block``, flex
            attention's BlockMask. Causality by ``is_causal`` is aligned to the last key.
        supports: abilities, of `ABILITIES`.
        devices: device types that it runs on.
        dtypes: names of the torch dtypes that it accepts.
        head_dims: head sizes that it accepts; empty for any.
        keywords: further keyword arguments that it accepts.
        native: it belongs to transformers, which registers it.
        file: the user's file with the function; None for other kernels.
    """

    name: str
    function: Callable[..., Any] | str
    mask: str
    supports: frozenset[str] = frozenset()
    devices: tuple[str, ...] = ("cpu", "cuda")
    dtypes: tuple[str, ...] = DTYPES
    head_dims: tuple[int, ...] = ()
    keywords: frozenset[str] = frozenset()
    native: bool = False
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.mask not in MASKS:
            raise InputError(f"kernel {self.name}: mask {self.mask!r} is none of {', '.join(MASKS)}")
        unknown = sorted(set(self.supports) - set(ABILITIES))
        if unknown:
            raise InputError(f"kernel {self.name}: supports {unknown[0]!r} is none of {', '.join(ABILITIES)}")

    def load(self) -> Callable[..., Any]:
        """Return the function; import it if needed."""
        if callable(self.function):
            return self.function
        module, _, name = self.function.partition(":")
        loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return loaded

    @property
    def interface_name(self) -> str:
        """Name of the kernel in the model's config.

        It differs from the user's name, because transformers treats any name with "flash", "sdpa" or a slash
        as its own.
        """
        if self.native:
            return self.name
        return "llmkit_" + hashlib.sha256(f"{self.name}{self.digest() or ''}".encode()).hexdigest()[:12]

    def digest(self) -> str | None:
        """Return the SHA-256 of the user's file; None for a kernel without one."""
        return None if self.file is None else hashlib.sha256(self.file.read_bytes()).hexdigest()

    @property
    def carries_pattern(self) -> bool:
        """True if the mask contains, for each query, the keys that it sees."""
        return self.mask in {"boolean", "additive", "block"}


def kernel(
    *,
    mask: str,
    supports: Collection[str] = (),
    devices: Collection[str] = ("cpu", "cuda"),
    dtypes: Collection[str] = DTYPES,
    head_dims: Collection[int] = (),
    keywords: Collection[str] = (),
) -> Callable[[F], F]:
    """Decorate a function as an attention kernel; see `Kernel` for the arguments.

    Raises:
        InputError: an unknown mask or ability.
    """

    def mark(function: F) -> F:
        declared = Kernel(
            name=getattr(function, "__name__", "kernel"),
            function=function,
            mask=mask,
            supports=frozenset(supports),
            devices=tuple(devices),
            dtypes=tuple(dtypes),
            head_dims=tuple(head_dims),
            keywords=frozenset(keywords),
        )
        function.llmkit_kernel = declared  # type: ignore[attr-defined]
        return function

    return mark


# Name -> the module and function that carries the declaration.
_OURS = {
    "reference": "llmkit.attention.reference:reference_attention",
    "cpu": "llmkit.attention.cpu:cpu_attention",
    "flash": "llmkit.attention.flash:flash_attention",
    "packed": "llmkit.attention.packed:packed_attention",
}
# Earlier names.
_ALIASES = {"documents": "packed"}
_FLASH = "transformers.integrations.flash_attention:flash_attention_forward"
_NATIVE = {
    "eager": Kernel(
        "eager",
        "transformers.models.llama.modeling_llama:eager_attention_forward",
        "additive",
        frozenset({"gqa", "dropout", "backward", "weights"}),
        devices=("cpu", "cuda", "mps"),
        native=True,
    ),
    "sdpa": Kernel(
        "sdpa",
        "transformers.integrations.sdpa_attention:sdpa_attention_forward",
        "boolean",
        frozenset({"is_causal", "gqa", "dropout", "backward", "position_bias"}),
        devices=("cpu", "cuda", "mps"),
        dtypes=(*DTYPES, "float64"),
        native=True,
    ),
    "flex_attention": Kernel(
        "flex_attention",
        "transformers.integrations.flex_attention:flex_attention_forward",
        "block",
        frozenset({"gqa", "softcap", "sinks", "backward"}),
        devices=("cuda",),  # torch compiles it; the C++ that it writes for a text that grows is no C++
        native=True,
    ),
    **{
        f"flash_attention_{version}": Kernel(
            f"flash_attention_{version}",
            _FLASH,
            "padding",
            frozenset({"gqa", "sliding_window", "softcap", "dropout", "backward", "packed", "paged"}),
            devices=("cuda",),
            dtypes=("bfloat16", "float16"),
            native=True,
        )
        for version in (2, 3, 4)
    },
}


def names() -> list[str]:
    """Return the kernel names except those of files and the Hub: llmkit's, other packages', transformers'."""
    return [*_OURS, *(point.name for point in _entry_points()), *_NATIVE]


def find(name: str, *, trust_remote_code: bool = False) -> Kernel:
    """Return the kernel of a name.

    Args:
        name: one of `names()`, ``FILE.py:FUNCTION``, or a Hub repository ``org/repo``.
        trust_remote_code: allow a repository outside kernels-community.

    Raises:
        OptionError: there is no such kernel, it is not declared, or it may not run; the option is `attn`.
    """
    name = _ALIASES.get(name, name)
    if name in _NATIVE:
        return _NATIVE[name]
    if name in _OURS:
        module, _, function = _OURS[name].partition(":")
        found = getattr(importlib.import_module(module), function)
        return _declaration_of(found, name, f"{module}.{function}")
    for point in _entry_points():
        if point.name == name:
            return _declaration_of(point.load(), name, point.value)
    path, colon, function = name.rpartition(":")
    if colon and path.endswith(".py"):
        file = Path(path).expanduser()
        found = function_in_file(file, function, "attn", name)
        return _declaration_of(found, name, f"{file}:{function}", file)
    if name.endswith(".py"):
        raise OptionError("attn", f"{name}: give the function in the file, as {name}:FUNCTION")
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _from_hub(name, trust_remote_code)
    known = names()
    raise OptionError(
        "attn",
        f"{name}: no such kernel; use {', '.join(known)}, or FILE.py:FUNCTION" + did_you_mean(name, known),
    )


def require_backward(kernel: Kernel) -> None:
    """Refuse a kernel that cannot train.

    Raises:
        OptionError: it declares no backward pass.
    """
    if "backward" not in kernel.supports:
        raise OptionError("attn", f"{kernel.name} has no backward pass and cannot train; use sdpa")


def require_device(kernel: Kernel, device: str) -> None:
    """Refuse a kernel that does not run on a device.

    Raises:
        OptionError: it does not declare the device's type.
    """
    kind = device.partition(":")[0]
    if kind not in kernel.devices:
        raise OptionError("attn", f"{kernel.name} runs on {', '.join(kernel.devices)}, not on {kind}")


def _entry_points() -> list[Any]:
    from importlib.metadata import entry_points

    return list(entry_points(group="llmkit.attention"))


def _declaration_of(function: Any, name: str, where: str, file: Path | None = None) -> Kernel:
    declared = getattr(function, "llmkit_kernel", None)
    if isinstance(declared, Kernel):
        from dataclasses import replace

        return replace(declared, name=name, file=file)
    if not callable(function):
        raise OptionError("attn", f"{name}: {where} is not a function")
    raise OptionError(
        "attn",
        f"{name}: {where} does not declare its mask; put this line above it, with its real mask"
        f" ({', '.join(MASKS)}) and abilities: {LINE}",
    )


def _from_hub(name: str, trusted: bool) -> Kernel:
    if not name.startswith("kernels-community/") and not trusted:
        raise OptionError(
            "attn",
            f"{name} runs that repository's code; read it, and if you trust it set trust_remote_code=True",
        )
    from transformers.utils.import_utils import is_kernels_available

    if not is_kernels_available():
        raise OptionError(
            "attn",
            f"{name}: Hub kernels need the package kernels, in the version that transformers requires:"
            " pip install 'transformers[kernels]'; or use sdpa",
        )
    # Only the repository itself knows for which devices it was built.
    devices = ("cpu", "cuda", "mps")
    return Kernel(name, _FLASH, "padding", _NATIVE["flash_attention_2"].supports, devices, native=True)
