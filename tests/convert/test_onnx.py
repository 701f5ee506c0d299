"""ONNX end to end: names, sizes that vary, the proof, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llmkit.convert import onnx_graphs, to_onnx
from llmkit.convert.conversion import convert
from llmkit.convert.result import ConvertResult
from llmkit.errors import InputError, LLMKitError, OptionError
from llmkit.runtime.spec import ModelSpec
from tests.conftest import TinyModel

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

Converted = Callable[[str], tuple[Path, ConvertResult]]


@pytest.fixture(scope="module")
def converted(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """A tiny model's folder in ONNX by family, converted once, and the result."""
    made: dict[str, tuple[Path, ConvertResult]] = {}

    def get(family: str) -> tuple[Path, ConvertResult]:
        if family not in made:
            folder = tmp_path_factory.mktemp(family) / "out"
            made[family] = (folder, convert(ModelSpec(str(tiny_model(family))), "onnx", folder))
        return made[family]

    return get


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def shapes(values: list[Any]) -> dict[str, list[Any]]:
    return {one.name: one.shape for one in values}


SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("bert-qa", "bart", "qwen3", "gemma3", "opt", "bloom", "t5", "bert")
]


@pytest.mark.parametrize("family", ["gpt2", *SLOW])
def test_onnxruntime_answers_alike(family: str, converted: Converted) -> None:
    folder, result = converted(family)
    assert [check.reader.split()[0] for check in result.checks] == ["onnxruntime"] * 2
    assert all(check.logit_difference < 1e-4 for check in result.checks)
    assert all(check.texts == 20 for check in result.checks)
    assert result.checks[1].same_greedy == (None if family.startswith("bert") else 20)
    record = json.loads((folder / "proof.json").read_text())
    assert record["checks"][1]["same_greedy"] == result.checks[1].same_greedy
    assert any("opset 20" in note for note in record["notes"])
    assert (folder / "tokenizer.json").is_file()


def test_a_decoder_has_the_names_and_sizes_that_transformers_js_looks_for(converted: Converted) -> None:
    folder, _ = converted("gpt2")
    graph = session(folder / "onnx" / "model.onnx")
    assert shapes(graph.get_inputs()) == {
        "input_ids": ["batch_size", "sequence_length"],
        "attention_mask": ["batch_size", "past_sequence_length + sequence_length"],
        "position_ids": ["batch_size", "sequence_length"],
        **{
            f"past_key_values.{layer}.{part}": ["batch_size", 4, "past_sequence_length", 8]
            for layer in range(2)
            for part in ("key", "value")
        },
    }
    assert list(shapes(graph.get_outputs()))[:3] == ["logits", "present.0.key", "present.0.value"]


@pytest.mark.slow
def test_an_encoder_decoder_has_both_graphs(converted: Converted) -> None:
    folder, result = converted("bart")
    assert sorted(path.name for path in (folder / "onnx").iterdir()) == [
        "decoder_model_merged.onnx",
        "encoder_model.onnx",
    ]
    decoder = session(folder / "onnx" / "decoder_model_merged.onnx")
    named = shapes(decoder.get_inputs())
    assert list(named)[:4] == [
        "encoder_attention_mask", "input_ids", "encoder_hidden_states", "past_key_values.0.decoder.key"
    ]  # fmt: skip
    assert named["past_key_values.1.encoder.value"][0] == "batch_size"
    assert shapes(decoder.get_outputs()).keys() >= {"logits", "present.1.encoder.value"}
    # The decoder's weights are in the file once, and the embeddings, which both graphs need, in each.
    assert result.nbytes < 4 * result.parameters * 2


def test_an_empty_cache_begins_a_text(converted: Converted, tiny_model: TinyModel) -> None:
    from transformers import AutoModelForCausalLM

    folder, _ = converted("gpt2")
    graph, model = (
        session(folder / "onnx" / "model.onnx"),
        AutoModelForCausalLM.from_pretrained(tiny_model("gpt2")),
    )
    ids = np.array([[5, 6, 7, 8], [9, 10, 11, 12], [0, 0, 13, 14]])
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1]])
    positions = np.array([[0, 1, 2, 3], [0, 1, 2, 3], [0, 0, 0, 1]])
    empty = np.zeros((3, 4, 0, 8), dtype=np.float32)
    feed = {one.name: empty for one in graph.get_inputs() if one.name.startswith("past")}
    feed |= {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    found = graph.run(["logits"], feed)[0]
    with torch.no_grad():
        for row, start in ((0, 0), (1, 0), (2, 2)):
            expected = model(torch.tensor(ids[row : row + 1, start:])).logits[0].numpy()
            np.testing.assert_allclose(found[row, start:], expected, atol=1e-4)


@pytest.mark.slow
def test_float16_has_a_file_of_its_own_name(tiny_model: TinyModel, tmp_path: Path) -> None:
    source = tiny_model("llama", chat=True)
    spec = ModelSpec(str(source))
    result = convert(spec, "onnx", tmp_path / "half", dtype="float16")
    settings = json.loads((tmp_path / "half" / "tokenizer_config.json").read_text())
    assert settings["chat_template"] == (source / "chat_template.jinja").read_text()
    graph = session(tmp_path / "half" / "onnx" / "model_fp16.onnx")
    assert {one.type for one in graph.get_inputs() if "past" in one.name} == {"tensor(float16)"}
    config = json.loads((tmp_path / "half" / "config.json").read_text())
    assert config["transformers.js_config"] == {"dtype": "fp16", "kv_cache_dtype": {"fp16": "float16"}}
    assert 0 < result.checks[0].relative_difference < 0.02
    # The folder is one of a model: it may be replaced, unless somebody else's file lies in it.
    convert(spec, "onnx", tmp_path / "half", overwrite=True)
    assert [path.name for path in (tmp_path / "half" / "onnx").iterdir()] == ["model.onnx"]
    (tmp_path / "half" / "onnx" / "mine.txt").write_text("mine")
    with pytest.raises(OptionError, match="onnx"):
        convert(spec, "onnx", tmp_path / "half", overwrite=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), [("_BATCH", 1), ("_STEP", 1)])
def test_a_sample_that_freezes_a_size_is_noticed(
    name: str, value: int, tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graphs, name, value)
    if name == "_BATCH":
        monkeypatch.setattr(onnx_graphs, "_texts", one_row)
    with pytest.raises((InputError, LLMKitError)):
        convert(ModelSpec(str(tiny_model("gpt2"))), "onnx", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def one_row(model: Any, length: int) -> dict[str, torch.Tensor]:
    return {
        "input_ids": torch.arange(length)[None],
        "attention_mask": torch.ones(1, length, dtype=torch.long),
    }


@pytest.fixture
def traced(converted: Converted, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """The graph of the tiny reader, in place of another trace."""
    import onnx_ir

    path = converted("bert-qa")[0] / "onnx" / "model.onnx"
    monkeypatch.setattr(onnx_graphs, "trace", lambda graph: onnx_ir.load(str(path)))
    return lambda: onnx_ir.load(str(path))


def test_without_onnxruntime_the_result_says_so(
    traced: Callable[[], Any], tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_onnx, "reader_with", lambda module, python: None)
    result = convert(ModelSpec(str(tiny_model("bert-qa"))), "onnx", tmp_path / "out")
    assert result.checks == []
    record = json.loads((tmp_path / "out" / "proof.json").read_text())
    assert record["not_checked"] == ["onnxruntime; install onnxruntime to check with it"]


def test_over_the_bound_nothing_is_written(
    traced: Callable[[], Any], tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx_ir

    model = traced()
    value = next(one for one in model.graph.initializers.values() if len(one.shape) == 2)
    value.const_value = onnx_ir.tensor(value.const_value.numpy() * 1.01, name=value.name)
    monkeypatch.setattr(onnx_graphs, "trace", lambda graph: model)
    with pytest.raises(LLMKitError, match="gives other results"):
        convert(ModelSpec(str(tiny_model("bert-qa"))), "onnx", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_types_that_are_not_written(dtype: str, tiny_model: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as refusal:
        convert(ModelSpec(str(tiny_model("gpt2"))), "onnx", tmp_path / "out", dtype=dtype)
    assert refusal.value.option == "dtype"
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_is_no_cache_is_refused_by_name(tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    from tests.tiny import make_tokenizer

    tokenizer = make_tokenizer()
    config = MambaConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, state_size=4)
    MambaForCausalLM(config).save_pretrained(tmp_path / "mamba")
    tokenizer.save_pretrained(tmp_path / "mamba")
    with pytest.raises(InputError, match="mamba has a state other than"):
        convert(ModelSpec(str(tmp_path / "mamba")), "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_packages_are_named(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    from llmkit.formats.onnx import check_packages

    with pytest.raises(InputError, match=r"onnx and onnxscript.*llmkit\[onnx\]"):
        check_packages()
