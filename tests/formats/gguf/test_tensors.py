"""Packing and unpacking, beside the gguf package."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf.constants import GGML_QUANT_SIZES

from llmkit.errors import InputError
from llmkit.formats.gguf import tensors
from llmkit.formats.gguf.header import TENSOR_TYPES, read_header

VALUES = np.random.RandomState(0).standard_normal((5, 512)).astype(np.float32)


def test_sizes_of_types_are_those_of_the_package() -> None:
    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
    assert TENSOR_TYPES.items() <= theirs.items()


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_every_type_comes_back_as_the_package_reads_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("a", np.zeros(3, dtype=np.float32))
    writer.add_tensor("b", gguf.quantize(VALUES, number), raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    monkeypatch.setattr(tensors, "_AT_ONCE", 1024)  # two rows at once, of five
    info = read_header(tmp_path / "m.gguf").tensors["b"]
    assert (info.shape, info.kind) == ((5, 512), kind)
    wanted = gguf.dequantize(gguf.quantize(VALUES, number), number)
    assert torch.equal(tensors.read_tensor(info, torch.float32), torch.from_numpy(wanted))
    half = tensors.read_tensor(info, torch.float16)
    assert torch.equal(half, torch.from_numpy(wanted).half())
    assert np.array_equal(
        tensors.pack(torch.from_numpy(VALUES), kind).view(np.uint8).ravel(),
        gguf.quantize(VALUES, number).view(np.uint8).ravel(),
    )


def test_a_weight_too_large_for_16_bits_is_refused() -> None:
    with pytest.raises(InputError, match="F16"):
        tensors.pack(torch.tensor([[1e6, 1.0]]), "F16")
