"""Tensors as they are packed, beside the gguf package's own unpacking."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from llmkit.errors import InputError
from llmkit.formats.gguf.checkpoint import as_checkpoint
from llmkit.formats.gguf.header import TensorInfo
from llmkit.formats.gguf.packed import in_eight_bits, read_packed
from tests.formats.gguf.models import write


def stored(path: Path, kind: str, outputs: int = 7, inputs: int = 96) -> tuple[TensorInfo, np.ndarray]:
    """A tensor in a file, and its values as the package unpacks them."""
    values = np.random.RandomState(0).randn(outputs, inputs).astype(np.float32)
    packed = gguf.quantize(values, gguf.GGMLQuantizationType[kind])
    path.write_bytes(b"head" + packed.tobytes())
    info = TensorInfo("t", (outputs, inputs), kind, path, 4, packed.nbytes)
    return info, gguf.dequantize(packed, gguf.GGMLQuantizationType[kind])


@pytest.mark.parametrize(("kind", "bits"), [("Q8_0", 8), ("Q4_0", 4), ("Q4_1", 4)])
def test_blocks_are_those_of_the_package(kind: str, bits: int, tmp_path: Path) -> None:
    info, expected = stored(tmp_path / "t", kind)
    weight = read_packed(info)
    assert (weight.bits, weight.group, weight.offset is not None) == (bits, 32, kind == "Q4_1")
    assert torch.equal(weight.dequantize(), torch.from_numpy(expected))
    eight = in_eight_bits(weight)
    if kind == "Q4_1":
        assert eight is None
    else:
        assert eight is not None
        assert torch.equal(eight.dequantize(), weight.dequantize())


def test_damaged_scales_and_short_files_are_refused(tmp_path: Path) -> None:
    info, _ = stored(tmp_path / "t", "Q8_0")
    data = bytearray((tmp_path / "t").read_bytes())
    (tmp_path / "t").write_bytes(data[:-1])
    with pytest.raises(InputError, match="shorter"):
        read_packed(info)
    data[4:6] = b"\x00\x7c"  # infinity in float16
    (tmp_path / "t").write_bytes(data)
    with pytest.raises(InputError, match="finite"):
        read_packed(info)


@pytest.mark.parametrize("name", ["llama", "qwen3", "phi3", "gpt2", "t5", "gemma2"])
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1"])
def test_models_have_the_numbers_of_their_float_weights(name: str, kind: str, tmp_path: Path) -> None:
    write(name, tmp_path / "m.gguf", kind)
    checkpoint = as_checkpoint(tmp_path / "m.gguf")
    found = 0
    for info in checkpoint.places().values():
        weight, expected = checkpoint.packed(info), checkpoint.tensor(info, torch.float32)
        assert checkpoint.shape(info) == tuple(expected.shape)
        if weight is not None:
            found += 1
            numbers = weight.dequantize()
            transposed = name == "gpt2" and numbers.shape != expected.shape
            assert torch.equal(numbers.T if transposed else numbers, expected) or (
                name == "gpt2" and torch.equal(numbers.T, expected)
            )
    assert found > 8
