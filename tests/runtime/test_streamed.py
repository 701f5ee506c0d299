"""`quantize` while weights are read: the numbers of quantizing a loaded model, without the float model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from llmkit import InputError, ModelSpec, load
from llmkit.convert import convert
from llmkit.formats.safetensors import read_rows, read_table
from llmkit.linear.modules import QuantizedEmbedding, QuantizedLinear, QuantizedModule
from llmkit.linear.quantize import quantize_model
from llmkit.linear.storage import save_quantized
from tests.conftest import TinyModel
from tests.formats.gguf import models

FAMILIES = ["llama", "gpt2", "t5", "bart", "bloom", "qwen3"]


def logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    more = {"decoder_input_ids": ids[:, :5]} if model.config.is_encoder_decoder else {}  # type: ignore[union-attr]
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=ids, **more).logits
    return found


IDS = torch.tensor([[5, 9, 23, 11, 30, 8, 14, 6]])


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_gives_what_quantizing_the_loaded_model_gives(
    family: str, bits: int, tiny_model: TinyModel
) -> None:
    name = str(tiny_model(family))
    expected = load(ModelSpec(name, dtype="float32"))
    quantize_model(expected.model, bits, 32)
    found = load(ModelSpec(name, dtype="float32", quantize=f"int{bits}"))
    assert torch.equal(logits(found.model, IDS), logits(expected.model, IDS))
    assert found.model.generation_config.to_dict() == expected.model.generation_config.to_dict()
    kinds = {key: type(one) for key, one in found.model.named_modules() if isinstance(one, QuantizedModule)}
    assert kinds == {
        key: type(one) for key, one in expected.model.named_modules() if isinstance(one, QuantizedModule)
    }
    assert any("layers in int" in note for note in found.notes)


@pytest.mark.parametrize("name", ["llama-tied", "llama-biases", "qwen3", "gpt2", "t5", "gemma3-every-2"])
@pytest.mark.parametrize(("kind", "quantize"), [("Q8_0", "int8"), ("Q4_0", "int4"), ("Q4_1", "int4")])
def test_a_gguf_file_stays_as_it_is_packed(name: str, kind: str, quantize: str, tmp_path: Path) -> None:
    """With float activations the result is that of the unpacked file."""
    models.write(name, tmp_path / "m.gguf", kind)
    plain = load(ModelSpec(str(tmp_path / "m.gguf"), dtype="float32"))
    packed = load(ModelSpec(str(tmp_path / "m.gguf"), dtype="float32", quantize=quantize, linear="reference"))
    (note,) = [note for note in packed.notes if "as packed in the file" in note]
    assert kind in note
    layers = [one for one in packed.model.modules() if isinstance(one, QuantizedLinear) and one.is_gguf]
    assert layers
    own = dict(packed.model.named_modules())
    for key, module in plain.model.named_modules():
        if isinstance(own[key], QuantizedModule) and own[key].is_gguf and hasattr(module, "weight"):
            numbers = own[key].quantized().dequantize()
            weight = module.weight.T if type(module).__name__ == "Conv1D" else module.weight
            assert torch.equal(numbers, weight), key
    if kind != "Q4_1":  # whose embeddings are rounded to 8 bits anew
        torch.testing.assert_close(logits(packed.model, IDS), logits(plain.model, IDS), rtol=1e-4, atol=1e-4)
    assert packed.model.generation_config.eos_token_id == plain.model.generation_config.eos_token_id
    with pytest.raises(InputError, match="GGUF"):
        save_quantized(packed.model, tmp_path / "out")


def test_a_file_of_more_bits_is_rounded(tmp_path: Path) -> None:
    models.write("llama-tied", tmp_path / "m.gguf", "Q8_0")
    loaded = load(ModelSpec(str(tmp_path / "m.gguf"), quantize="int4"))
    bits = {type(one): one.bits for one in loaded.model.modules() if isinstance(one, QuantizedModule)}
    assert bits[QuantizedEmbedding] == 8
    layer = loaded.model.model.layers[0].mlp.up_proj
    assert (layer.bits, layer.is_gguf) == (4, False)


def test_a_kernel_that_does_not_take_such_weights_gets_its_own(tmp_path: Path) -> None:
    models.write("llama-tied", tmp_path / "m.gguf", "Q8_0")
    (tmp_path / "k.py").write_text(
        "import llmkit.linear, torch\n"
        "from llmkit.linear.reference import product\n"
        "@llmkit.linear.kernel(bits=[8, 4], activations='float')\n"
        "def mine(x, weight):\n"
        "    return product(x, weight)\n"
    )
    loaded = load(ModelSpec(str(tmp_path / "m.gguf"), quantize="int8", linear=f"{tmp_path / 'k.py'}:mine"))
    assert not any(one.is_gguf for one in loaded.model.modules() if isinstance(one, QuantizedModule))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", [*FAMILIES, "bert-qa", "translator"])
def test_a_plain_load_gives_what_transformers_gives(family: str, dtype: str, tiny_model: TinyModel) -> None:
    """Weights, buffers that no file holds, settings and kinds of layers, read one tensor at a time."""
    task = "question-answering" if family == "bert-qa" else "text-generation"
    spec = ModelSpec(
        family if family == "translator" else str(tiny_model(family)), dtype=dtype, task=task, bundled=True
    )
    with mock.patch("llmkit.runtime.load.load_tensors", return_value=None):
        expected: Any = load(spec).model
    with mock.patch("llmkit.runtime.load.load_weights", side_effect=AssertionError):
        found: Any = load(spec).model
    for kind in ("named_parameters", "named_buffers"):
        own = dict(getattr(found, kind)(remove_duplicate=False))
        other = dict(getattr(expected, kind)(remove_duplicate=False))
        assert own.keys() == other.keys()
        for name, tensor in own.items():
            assert tensor.dtype == other[name].dtype, name
            assert torch.equal(tensor, other[name]), name
            assert tensor.requires_grad == other[name].requires_grad, name
    assert tied(found) == tied(expected)
    assert found.config.to_dict() == expected.config.to_dict()
    assert found.config._attn_implementation == expected.config._attn_implementation
    if task == "text-generation":
        assert found.generation_config.to_dict() == expected.generation_config.to_dict()
    assert str(found) == str(expected)


def tied(model: torch.nn.Module) -> list[list[str]]:
    """Names of the parameters that share memory."""
    places: dict[int, list[str]] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        places.setdefault(tensor.data_ptr(), []).append(name)
    return sorted(sorted(names) for names in places.values() if len(names) > 1)


def test_a_stored_precision_is_mapped_and_another_is_read_once(tiny_model: TinyModel) -> None:
    """Bytes that are read beside the mapped file: none, or those of the file once."""
    folder = tiny_model("llama")
    stored = sum(one.nbytes for one in read_table(folder / "model.safetensors", "m").values())
    for dtype, expected in (("float32", 0), ("bfloat16", stored)):
        with counting_reads() as read:
            load(ModelSpec(str(folder), dtype=dtype))
        assert sum(read) == expected


@pytest.mark.parametrize("embeddings", ["float", "int8"])
@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantized_folder_is_read_once(
    embeddings: str, bits: int, tiny_model: TinyModel, tmp_path: Path
) -> None:
    loaded = load(ModelSpec(str(tiny_model("llama")), dtype="float32", quantize=f"int{bits}"))
    save_quantized(loaded.model, tmp_path, embeddings=embeddings)
    loaded.tokenizer.save_pretrained(tmp_path)
    stored = sum(
        one.nbytes for path in tmp_path.glob("*.safetensors") for one in read_table(path, "m").values()
    )
    with counting_reads() as read:
        again = load(ModelSpec(str(tmp_path), dtype="float32"))
    assert sum(read) <= stored
    assert torch.equal(logits(again.model, IDS), logits(loaded.model, IDS))


@contextmanager
def counting_reads() -> Iterator[list[int]]:
    """Give the bytes of each read of a tensor's rows."""
    from llmkit.formats import safetensors
    from llmkit.runtime import streamed

    sizes: list[int] = []

    def counted(*arguments: Any) -> torch.Tensor:
        found = read_rows(*arguments)
        sizes.append(found.numel() * found.element_size())
        return found

    with (
        mock.patch.object(safetensors, "read_rows", counted),
        mock.patch.object(streamed, "read_rows", counted),
    ):
        yield sizes


@pytest.mark.parametrize("spoil", ["infinite", "renamed"])
def test_faults_are_those_of_a_plain_load(spoil: str, tiny_model: TinyModel, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_model("llama"), tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    if spoil == "infinite":
        weights["model.layers.0.mlp.up_proj.weight"][0, 0] = torch.inf
    else:
        weights["other"] = weights.pop("model.norm.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="up_proj" if spoil == "infinite" else r"model\.norm\.weight"):
        load(ModelSpec(str(folder), quantize="int8"))


@pytest.mark.slow
def test_the_float_model_never_takes_memory(tmp_path: Path) -> None:
    """Peak memory in a process of its own, beside that before loading: 24M weights, 96 MB in float32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=512, hidden_size=512, intermediate_size=2048, num_hidden_layers=6, num_attention_heads=8
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    models.VOCABULARY.save_pretrained(tmp_path)
    program = (
        "import resource, sys, torch\n"
        "from llmkit import ModelSpec, load\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "load(ModelSpec(sys.argv[2], quantize='int8')); before = peak()\n"
        "load(ModelSpec(sys.argv[1], quantize='int8')); print((peak() - before) / 1024)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path), "stories"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    # 24 MB of int8, one tensor (4 MB) and its copies; the float model alone would be 96.
    assert float(result.stdout) < 60


def test_gguf_and_plain_loads_agree_on_a_conversion(tiny_model: TinyModel, tmp_path: Path) -> None:
    convert(ModelSpec(str(tiny_model("llama"))), "gguf", tmp_path / "m.gguf", gguf_type="F32")
    folder = load(ModelSpec(str(tiny_model("llama")), dtype="float32", quantize="int8"))
    file = load(ModelSpec(str(tmp_path / "m.gguf"), dtype="float32", quantize="int8"))
    assert torch.equal(logits(folder.model, IDS), logits(file.model, IDS))
