"""Which attention kernels there are, and what each declares: the mask it expects and what it can do.

A kernel that transformers knows without its mask silently loses causality or padding. So a kernel here is
always declared, and `llmkit.attention.interface.register` gives both to transformers at once.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llmkit.errors import InputError
from llmkit.user_file import function_in_file

MASKS = ("none", "boolean", "additive", "padding", "block")
# What `supports` may name. A model that needs what a kernel lacks is refused.
ABILITIES = (
    "is_causal",  # boolean masks only: may get mask None with is_causal=True
    "gqa",  # fewer key and value heads than query heads, not repeated
    "sliding_window",  # as a keyword; a boolean or additive mask carries the window anyhow
    "softcap",
    "sinks",  # the keyword s_aux
    "position_bias",
    "dropout",
    "backward",
    "packed",  # several documents in a row; a boolean or additive mask carries them anyhow
    "paged",  # runs under `generate_batch`, one request at a time; see `llmkit.attention.paged`
    "weights",  # returns the attention weights
)
# The keyword by which a model asks for an ability.
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
        name: as the user writes it after ``--attn``.
        function: the function, or ``module:function``, imported when first used.
        mask: ``boolean`` (batch, 1, queries, keys), True attends; ``additive``, the same as 0 and the dtype's
            lowest number, added to the scores; ``padding`` (batch, keys), True is a token, None where there
            is no padding, with the keyword ``is_causal``; ``none``, only ``is_causal``; ``block``, flex
            attention's BlockMask. Causality by ``is_causal`` is aligned to the last key.
        supports: of `ABILITIES`.
        devices: device types it runs on.
        dtypes: names of torch dtypes it takes.
        head_dims: head sizes it takes; empty for any.
        keywords: keyword arguments it takes besides those of its abilities.
        native: one of transformers' own, which registers itself.
        file: the user's file that it comes from, if it does.
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
        """The function itself, imported if need be."""
        if callable(self.function):
            return self.function
        module, _, name = self.function.partition(":")
        loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return loaded

    @property
    def interface_name(self) -> str:
        """What the model's config calls it.

        Not the user's name: transformers takes any name with "flash", "sdpa" or a slash in it for its own.
        """
        if self.native:
            return self.name
        return "llmkit_" + hashlib.sha256(f"{self.name}{self.digest() or ''}".encode()).hexdigest()[:12]

    def digest(self) -> str | None:
        """SHA-256 of the user's file; None for a kernel that is not from one."""
        return None if self.file is None else hashlib.sha256(self.file.read_bytes()).hexdigest()

    @property
    def carries_pattern(self) -> bool:
        """Whether its mask says for each query which keys it sees."""
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
    """Declare the function below as an attention kernel; see `Kernel` for the arguments.

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
    "reference": "llmkit.attention.reference:attend",
    "cpu": "llmkit.attention.cpu:attend",
    "flash": "llmkit.attention.flash:attend",
    "documents": "llmkit.attention.packed:attend",
}
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
    """The names that `--attn` takes, files and the Hub aside: ours, other packages', transformers'."""
    return [*_OURS, *(point.name for point in _entry_points()), *_NATIVE]


def find(name: str, *, trust_remote_code: bool = False, flag: str = "--attn ") -> Kernel:
    """The kernel that `--attn NAME` means.

    Args:
        name: one of `names()`, ``FILE.py:FUNCTION``, or a Hub repository ``org/repo``.
        trust_remote_code: take a repository outside kernels-community.
        flag: what stood before the name, for errors.

    Raises:
        InputError: there is none, it is not declared, or it may not be run; the message says what to do.
    """
    said = f"{flag}{name}"
    if name in _NATIVE:
        return _NATIVE[name]
    if name in _OURS:
        module, _, function = _OURS[name].partition(":")
        return _declared(
            getattr(importlib.import_module(module), function), name, f"{module}.{function}", said
        )
    for point in _entry_points():
        if point.name == name:
            return _declared(point.load(), name, point.value, said)
    path, colon, function = name.rpartition(":")
    if colon and path.endswith(".py"):
        file = Path(path).expanduser()
        return _declared(function_in_file(file, function, said), name, f"{file}:{function}", said, file)
    if name.endswith(".py"):
        raise InputError(f"{said}: name the function in it, as {name}:FUNCTION")
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _from_hub(name, trust_remote_code, said)
    import difflib

    near = difflib.get_close_matches(name, names(), n=1)
    raise InputError(
        f"{said}: no such implementation; there is {', '.join(names())}, or FILE.py:FUNCTION"
        + (f"; did you mean {near[0]}?" if near else "")
    )


def require_backward(kernel: Kernel) -> None:
    """Refuse a kernel that cannot train.

    Raises:
        InputError: it declares no backward.
    """
    if "backward" not in kernel.supports:
        raise InputError(f"--attn {kernel.name} has no backward pass and cannot train; use sdpa")


def require_device(kernel: Kernel, device: str) -> None:
    """Refuse a kernel that does not run on a device.

    Raises:
        InputError: it does not declare the device's kind.
    """
    kind = device.partition(":")[0]
    if kind not in kernel.devices:
        raise InputError(f"--attn {kernel.name} runs on {', '.join(kernel.devices)}, not on {kind}")


def _entry_points() -> list[Any]:
    from importlib.metadata import entry_points

    return list(entry_points(group="llmkit.attention"))


def _declared(function: Any, name: str, where: str, said: str, file: Path | None = None) -> Kernel:
    declared = getattr(function, "llmkit_kernel", None)
    if isinstance(declared, Kernel):
        from dataclasses import replace

        return replace(declared, name=name, file=file)
    if not callable(function):
        raise InputError(f"{said}: {where} is not a function")
    raise InputError(
        f"{said}: {where} does not say which mask it expects; put this line above it, with the mask"
        f" ({', '.join(MASKS)}) and abilities that are true: {LINE}"
    )


def _from_hub(name: str, trusted: bool, said: str) -> Kernel:
    if not name.startswith("kernels-community/") and not trusted:
        raise InputError(
            f"{said} runs that repository's code; read it, and if you trust it add --trust-remote-code"
        )
    from transformers.utils.import_utils import is_kernels_available

    if not is_kernels_available():
        raise InputError(
            f"{said}: kernels of the Hub need the `kernels` package, of the version that transformers"
            " asks for: pip install 'transformers[kernels]'; or use sdpa"
        )
    # Which devices it was built for, its repository knows.
    anywhere = ("cpu", "cuda", "mps")
    return Kernel(name, _FLASH, "padding", _NATIVE["flash_attention_2"].supports, anywhere, native=True)
