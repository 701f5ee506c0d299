"""Kernels for quantized matrix products: declarations, and lookup by name or user's file."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llmkit.errors import InputError, OptionError, did_you_mean
from llmkit.user_file import function_in_file

if TYPE_CHECKING:
    import torch

    from llmkit.linear.formats import QuantizedWeight

ACTIVATIONS = ("float", "int8")
DTYPES = ("float32", "bfloat16", "float16")
LINE = '@llmkit.linear.kernel(bits=[8, 4], activations="float")'
F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class PackedWeight:
    """A weight in the layout of a kernel.

    Attributes:
        tensors: output of the kernel's `pack`; without `pack` ``weight_packed`` (int32, see
            `formats.pack_int32`) and ``weight_scale`` (bfloat16), as they are in a file; of a GGUF file's
            weight the scale is float16 and there may be a ``weight_offset``, see `LinearKernel.gguf`.
        bits: 8 or 4.
        group: inputs that share a scale; all inputs for 8 bits, if the weight is not a GGUF file's.
        outputs, inputs: sizes of the layer.
        bias: (outputs,), of any floating-point type, or None.
        memo: for the kernel to keep what it derives from the tensors; empty after the tensors have moved.
    """

    tensors: dict[str, torch.Tensor]
    bits: int
    group: int
    outputs: int
    inputs: int
    bias: torch.Tensor | None = None
    memo: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LinearKernel:
    """A kernel for quantized matrix products and its declaration.

    The function is called as ``function(x, weight)`` with x (..., inputs), contiguous, and a `PackedWeight`.
    It returns x W' + bias, (..., outputs), in x's type.

    Attributes:
        name: as the user writes it.
        function: the function.
        bits: supported numbers of bits: 8, 4 or both.
        activations: ``float`` if it uses x without rounding, ``int8`` if it rounds each row of x to 8 bits
            with a scale for the row or for each block of its inputs.
        row_independent: each row's result has the same bits alone and in any batch.
        devices: device types it runs on.
        dtypes: names of the torch types of x that it takes; x is converted to the first where its type is
            missing.
        gguf: it supports the weights of GGUF files: float16 scales by group in 8 bits too, and offsets (see
            `formats.QuantizedWeight`); without this they are rounded again.
        pack: converts a `QuantizedWeight` to its tensors; None keeps the layout of a file.
        unpack: converts a `PackedWeight` back to a `QuantizedWeight`; required with `pack`.
        rows: gives rows of an 8-bit weight, as ``rows(weight, indices, dtype)``: (*indices.shape, inputs);
            with it an embedding shares its tensors with the output layer. The layout of a file needs none.
        file: the user's file that it comes from, if it does.
    """

    name: str
    function: Callable[[torch.Tensor, PackedWeight], torch.Tensor]
    bits: tuple[int, ...] = (8, 4)
    activations: str = "float"
    row_independent: bool = False
    devices: tuple[str, ...] = ("cpu", "cuda")
    dtypes: tuple[str, ...] = DTYPES
    gguf: bool = False
    pack: Callable[[QuantizedWeight], dict[str, torch.Tensor]] | None = None
    unpack: Callable[[PackedWeight], QuantizedWeight] | None = None
    rows: Callable[[PackedWeight, torch.Tensor, torch.dtype], torch.Tensor] | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.activations not in ACTIVATIONS:
            raise InputError(
                f"kernel {self.name}: activations {self.activations!r} is none of {', '.join(ACTIVATIONS)}"
            )
        if not self.bits or not set(self.bits) <= {8, 4}:
            raise InputError(f"kernel {self.name}: bits {list(self.bits)} are not of 8 and 4")
        if not self.dtypes:
            raise InputError(f"kernel {self.name}: it declares no dtype")
        if (self.pack is None) != (self.unpack is None):
            raise InputError(f"kernel {self.name}: pack and unpack belong together; declare both")

    def digest(self) -> str | None:
        """SHA-256 of the user's file; None for a kernel that is not from one."""
        return None if self.file is None else hashlib.sha256(self.file.read_bytes()).hexdigest()

    def packed(self, weight: QuantizedWeight, bias: torch.Tensor | None = None) -> PackedWeight:
        """A weight in this kernel's layout."""
        from llmkit.linear.formats import pack_int32

        if weight.is_gguf and not self.gguf:
            raise InputError(f"kernel {self.name}: it does not take a GGUF file's weights as they are")
        if self.pack is not None:
            tensors = self.pack(weight)
        else:
            tensors = {"weight_packed": pack_int32(weight.values, weight.bits), "weight_scale": weight.scale}
            if weight.offset is not None:
                tensors["weight_offset"] = weight.offset
        outputs, inputs = weight.shape
        return PackedWeight(tensors, weight.bits, weight.group, outputs, inputs, bias)

    def unpacked(self, packed: PackedWeight) -> QuantizedWeight:
        """The weight itself, on the CPU."""
        from llmkit.linear.formats import QuantizedWeight, unpack_int32

        if self.unpack is not None:
            return self.unpack(packed)
        tensors = {name: tensor.cpu() for name, tensor in packed.tensors.items()}
        values = unpack_int32(tensors["weight_packed"], packed.bits, packed.inputs)
        offset = tensors.get("weight_offset")
        return QuantizedWeight(values, tensors["weight_scale"], packed.bits, packed.group, offset)


def kernel(
    *,
    bits: Collection[int] = (8, 4),
    activations: str = "float",
    row_independent: bool = False,
    devices: Collection[str] = ("cpu", "cuda"),
    dtypes: Collection[str] = DTYPES,
    gguf: bool = False,
    pack: Callable[[QuantizedWeight], dict[str, torch.Tensor]] | None = None,
    unpack: Callable[[PackedWeight], QuantizedWeight] | None = None,
    rows: Callable[[PackedWeight, torch.Tensor, torch.dtype], torch.Tensor] | None = None,
) -> Callable[[F], F]:
    """Declare the function below as a kernel for quantized products; see `LinearKernel` for the arguments.

    Raises:
        InputError: a declaration that makes no sense.
    """

    def mark(function: F) -> F:
        function.llmkit_linear_kernel = LinearKernel(  # type: ignore[attr-defined]
            name=getattr(function, "__name__", "kernel"),
            function=function,
            bits=tuple(bits),
            activations=activations,
            row_independent=row_independent,
            devices=tuple(devices),
            dtypes=tuple(dtypes),
            gguf=gguf,
            pack=pack,
            unpack=unpack,
            rows=rows,
        )
        return function

    return mark


# Name -> the module and function that carries the declaration.
_OURS = {
    "cpu": "llmkit.linear.cpu:product",
    "torch": "llmkit.linear.torch_product:product",
    "reference": "llmkit.linear.reference:product",
}


def names() -> list[str]:
    """Return the names for the option `linear`: those of llmkit, and other packages' entry points."""
    return [*_OURS, *(point.name for point in _entry_points())]


def find(name: str) -> LinearKernel:
    """Return the kernel of a name.

    Args:
        name: one of `names()` or ``FILE.py:FUNCTION``.

    Raises:
        OptionError: there is none, or it is not declared; the option is `linear`.
    """
    if name in _OURS:
        module, _, function = _OURS[name].partition(":")
        return _declared(getattr(importlib.import_module(module), function), name, _OURS[name])
    for point in _entry_points():
        if point.name == name:
            return _declared(point.load(), name, point.value)
    path, colon, function = name.rpartition(":")
    if colon and path.endswith(".py"):
        file = Path(path).expanduser()
        return _declared(function_in_file(file, function, "linear", name), name, f"{file}:{function}", file)
    if name.endswith(".py"):
        raise OptionError("linear", f"{name}: give the function in it, as {name}:FUNCTION")
    raise OptionError(
        "linear",
        f"{name}: no such kernel; use {', '.join(names())}, or FILE.py:FUNCTION"
        + did_you_mean(name, names()),
    )


def default(device: str = "cpu") -> LinearKernel:
    """Return the default kernel: the native one if it can be built, otherwise that of torch."""
    if device.partition(":")[0] == "cpu":
        from llmkit.linear import native_build

        try:
            native_build.best()
        except native_build.CannotBuildError:
            pass  # without a compiler torch's own products serve
        else:
            return find("cpu")
    return find("torch")


def _entry_points() -> list[Any]:
    from importlib.metadata import entry_points

    return list(entry_points(group="llmkit.linear"))


def _declared(function: Any, name: str, where: str, file: Path | None = None) -> LinearKernel:
    declared = getattr(function, "llmkit_linear_kernel", None)
    if isinstance(declared, LinearKernel):
        return replace(declared, name=name, file=file)
    if not callable(function):
        raise OptionError("linear", f"{name}: {where} is not a function")
    raise OptionError(
        "linear",
        f"{name}: {where} is not declared; put this line above it, with values that are true: {LINE}",
    )
