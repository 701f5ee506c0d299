"""MLX end to end: what is written, how it is proven, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from safetensors import safe_open

from llmkit.convert.conversion import convert
from llmkit.errors import InputError, OptionError
from llmkit.formats import mlx
from llmkit.runtime.spec import ModelSpec
from tests.conftest import TinyModel


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_weights_are_read_back(family: str, tiny_model: TinyModel, tmp_path: Path) -> None:
    result = convert(ModelSpec(str(tiny_model(family))), "mlx", tmp_path / "out")
    assert (result.stored, result.checks[0].reader, result.checks[0].logit_difference) == (
        "float32",
        "llmkit",
        0,
    )
    assert result.not_checked == ["mlx-lm; install mlx-lm to check with it"]
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "mlx"}
        names = list(file.keys())
    # GPT-2's and Gemma's heads are their embeddings, which MLX stores once.
    assert ("lm_head.weight" in names) == (family == "llama")
    assert all(name.startswith(("model.", "lm_head.")) for name in names)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert ("rope_theta" in config) == (family != "gpt2")


def test_quantized_weights_are_near_the_source(tiny_model: TinyModel, tmp_path: Path) -> None:
    spec = ModelSpec(str(tiny_model("gpt2")))
    results = {dtype: convert(spec, "mlx", tmp_path / dtype, dtype=dtype, bound=2.0) for dtype in mlx.BITS}
    eight, four = results["int8"].checks[0], results["int4"].checks[0]
    assert 0 < eight.relative_difference < 0.05 < four.relative_difference
    config = json.loads((tmp_path / "int4" / "config.json").read_text())
    assert (config["quantization"]["group_size"], config["quantization"]["bits"]) == (64, 4)
    assert config["quantization"]["model.h.0.attn.c_attn"] == {"group_size": 32, "bits": 4}


def test_weight_files_have_a_largest_size(tiny_model: TinyModel, tmp_path: Path) -> None:
    spec = ModelSpec(str(tiny_model("gpt2")))
    result = convert(spec, "mlx", tmp_path / "out", dtype="int8", max_shard_size="20KB")
    files = sorted((tmp_path / "out").glob("model-*.safetensors"))
    assert len(files) > 2
    assert result.nbytes == sum(file.stat().st_size for file in files)
    with pytest.raises(OptionError) as refusal:
        convert(spec, "mlx", tmp_path / "other", max_shard_size="much")
    assert refusal.value.option == "max_shard_size"


def test_a_wrong_name_for_a_tensor_is_caught(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swapped = mlx.MLXFamily(renamed=(("model.layers.0.mlp.up_proj", "model.layers.0.mlp.other"),))
    monkeypatch.setitem(mlx.FAMILIES, "llama", swapped)
    monkeypatch.setattr(
        mlx, "read", lambda folder, names, family, bits: READ(folder, names, mlx.MLXFamily(), bits)
    )
    with pytest.raises(InputError, match="other"):
        convert(ModelSpec(str(tiny_model("llama"))), "mlx", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


READ = mlx.read


@pytest.mark.parametrize("family", ["bart", "opt", "bert"])
def test_architectures_that_mlx_does_not_have_are_refused(
    family: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=family):
        convert(ModelSpec(str(tiny_model(family))), "mlx", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("LLMKIT_MLX_PYTHON" not in os.environ, reason="LLMKIT_MLX_PYTHON is not set")
@pytest.mark.parametrize(
    ("family", "dtype"),
    [("llama", "float32"), ("gemma3", "float32"), ("gpt2", "float16"), ("gpt2", "int8"), ("llama", "int4")],
)
def test_mlx_lm_answers_alike(family: str, dtype: str, tiny_model: TinyModel, tmp_path: Path) -> None:
    python = os.environ["LLMKIT_MLX_PYTHON"]
    spec = ModelSpec(str(tiny_model(family)))
    result = convert(
        spec,
        "mlx",
        tmp_path / "out",
        dtype=dtype,
        reader_python=python,
        bound=1.0 if "int" in dtype else None,
    )
    own, other, *exact = result.checks
    assert (own.reader, other.reader, other.same_tokens) == ("llmkit", "mlx-lm", True)
    if dtype == "float32":
        assert other.same_greedy == 20
        # mlx-lm rounds Gemma 3's embedding scale, the root of the hidden size, to bfloat16.
        assert other.logit_difference < (2e-3 if family == "gemma3" else 1e-4)
    else:
        # mlx-lm computes in 16 bits with the same weights.
        assert abs(other.relative_difference - own.relative_difference) < 0.01
    assert [one.reader for one in exact] == (["mlx-lm in float32"] if dtype == "float16" else [])
    for one in exact:  # the same weights without the rounding of its products
        assert one.logit_difference < 1e-2
        assert one.same_greedy == 20
