"""Write a transformers model as a GGUF file, one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.formats.gguf.config_write import write_config
from llmkit.formats.gguf.families import Family, change_of, family_for, permute, to_gguf, ungated
from llmkit.formats.gguf.tensors import fits, pack, package
from llmkit.formats.gguf.tokenizer_write import write_tokenizer

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedTokenizerBase

# Types that are written, with llama.cpp's number for a file that is mostly of that type.
FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32, "Q8_0": 7, "Q4_0": 2, "Q4_1": 3}
# The tables at both ends of a model lose more than its layers do.
_KEPT_AT_8_BITS = ("token_embd.weight", "output.weight")


@dataclass(frozen=True)
class Written:
    """A GGUF file that was written.

    Attributes:
        tensors: number of tensors.
        parameters: number of values in them.
        notes: sentences for the user.
    """

    tensors: int
    parameters: int
    notes: list[str]


def write_gguf(
    path: Path,
    *,
    config: Any,
    tensors: Mapping[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerBase,
    kind: str,
    ends: list[int],
    general: dict[str, str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """Write a model as GGUF.

    Args:
        path: the file; it is overwritten.
        config: the model's transformers config.
        tensors: its state dict. Tied tensors may be in it twice.
        tokenizer: the model's tokenizer.
        kind: F32, F16, BF16, Q8_0, Q4_0 or Q4_1. Norms, biases and rows that do not divide into blocks of 32
            stay in F32 or F16; with 4 bits, the embeddings and the head get Q8_0.
        ends: ids at which the model stops, the end token first.
        general: values of ``general.*`` keys, such as name and license.
        progress: called with the number of tensors done and their total.

    Raises:
        InputError: a model or tokenizer that GGUF cannot hold.
    """
    if kind not in FILE_TYPES:
        raise InputError(f"the GGUF type {kind} is not supported; supported: {', '.join(FILE_TYPES)}")
    gguf = package()
    family = family_for(config.model_type)
    if family.name == "t5" and not config.is_gated_act:
        family = ungated(family)
    metadata, extra, notes = write_config(config)
    metadata |= write_tokenizer(tokenizer, int(config.vocab_size), ends)
    named = _named(family, config, tensors) | {
        name: (lambda value=value: value) for name, value in extra.items()
    }
    writer = gguf.GGUFWriter(path, family.name)
    try:
        writer.add_type("model")
        for key, text in general.items():
            writer.add_string(f"general.{key}", text)
        writer.add_file_type(FILE_TYPES[kind])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        for key, value in metadata.items():
            _add(writer, key, value)
        shapes = {name: tuple(make().shape) for name, make in named.items()}
        kinds = {name: _kind(name, shape, kind) for name, shape in shapes.items()}
        _declare(writer, shapes, kinds, gguf)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for done, (name, make) in enumerate(named.items(), start=1):
            writer.write_tensor_data(written_by_python(pack(make(), kinds[name])))
            progress(done, len(named))
    finally:
        writer.close()
    small = [name for name in shapes if len(shapes[name]) > 1 and kinds[name] == "F16" != kind]
    if small and kind.startswith("Q"):
        notes.append(f"{len(small)} tensors stay in F16: their rows do not divide into blocks of 32")
    return Written(len(named), sum(_count(shape) for shape in shapes.values()), notes)


def written_by_python(array: np.ndarray) -> np.ndarray:
    """Return a view whose `tofile`, which the `gguf` package calls, writes through the file's own buffer.

    numpy's `tofile` buffers the last bytes in C and ignores the error if the disk does not take them.
    """
    import numpy as np

    class PythonWritten(np.ndarray):
        def tofile(self, fid: Any, sep: str = "", format: str = "%s") -> None:
            fid.write(np.ascontiguousarray(self).reshape(-1).view(np.uint8).data)

    return array.view(PythonWritten)


def _named(
    family: Family, config: Any, tensors: Mapping[str, torch.Tensor]
) -> dict[str, Callable[[], torch.Tensor]]:
    """Each tensor's GGUF name, and a function that makes its GGUF layout."""
    named: dict[str, Callable[[], torch.Tensor]] = {}
    table = next(tensors[n] for n in tensors if to_gguf(family, n) == "token_embd.weight")
    for name, tensor in tensors.items():
        if name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
            continue  # T5's `shared` under two other names
        if name == "lm_head.weight" and tensor.data_ptr() == table.data_ptr() and family.name != "t5":
            continue  # tied: readers take the embeddings
        gguf_name = to_gguf(family, name)
        if gguf_name is None:
            raise InputError(f"{name}: the GGUF architecture {family.name} has no such tensor")
        named[gguf_name] = _maker(family, config, gguf_name, tensor)
    if family.name == "t5" and getattr(config, "scale_decoder_outputs", False):
        # T5 1.0 scales the input of its head; llama.cpp does not, so the head is written scaled.
        named["output.weight"] = lambda: table.float() * float(config.d_model) ** -0.5
    return named


def _maker(family: Family, config: Any, name: str, tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
    change = change_of(family, name)
    if change == "permute":
        heads = int(config.num_attention_heads if ".attn_q." in name else config.num_key_value_heads)
        return lambda: permute(tensor, heads)
    if change == "plus_one":
        return lambda: tensor.float() + 1
    if change == "transpose":
        return lambda: tensor.t()
    return lambda: tensor


def _kind(name: str, shape: tuple[int, ...], kind: str) -> str:
    if len(shape) == 1 or name.endswith(("attn_rel_b.weight", "position_embd.weight")):
        return "F32"
    if kind.startswith("Q4") and name in _KEPT_AT_8_BITS:
        kind = "Q8_0"
    return kind if fits(shape[-1], kind) else "F16"


def _declare(writer: Any, shapes: dict[str, tuple[int, ...]], kinds: dict[str, str], gguf: Any) -> None:
    import numpy as np

    for name, shape in shapes.items():
        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kinds[name]]]
        nbytes = _count(shape) // block * size
        writer.add_tensor_info(
            name, shape, np.dtype(np.float32), nbytes, raw_dtype=gguf.GGMLQuantizationType[kinds[name]]
        )


def _count(shape: tuple[int, ...]) -> int:
    import math

    return math.prod(shape)


def _add(writer: Any, key: str, value: Any) -> None:
    """One metadata value, in the type that readers expect: 32 bits for numbers."""
    import numpy as np

    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, np.ndarray):
        writer.add_array(key, value.tobytes())  # bytes become an array of uint8
    else:
        writer.add_array(key, value)
