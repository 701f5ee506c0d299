"""`embed`: vectors as a model's own description makes them, and rows with an embedding each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from llmkit import InputError, OptionError, embed
from tests.command import assert_refused, rows_of, run
from tests.conftest import TinyModel
from tests.tiny import SENTENCES

POOLING = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False}


@pytest.fixture
def encoder(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """A tiny encoder in a folder of its own."""
    return Path(shutil.copytree(tiny_model("bert"), tmp_path / "encoder"))


def describe(folder: Path, *modules: str, **config: Any) -> None:
    """Write a modules.json with these modules; `config` is that of pooling."""
    kinds = ("Transformer", *modules)
    listed = [
        {
            "idx": i,
            "path": "" if kind == "Transformer" else f"{i}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({**POOLING, **config}))


def states(folder: Path, text: str) -> torch.Tensor:
    """The last hidden states of a text's tokens, by transformers."""
    from transformers import AutoModel, AutoTokenizer

    model: Any = AutoModel.from_pretrained(folder).eval()
    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        found: torch.Tensor = model(**tokens).last_hidden_state[0]
    return found


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"pooling_mode_mean_tokens": True}, lambda found: found.mean(0)),
        ({"pooling_mode_cls_token": True}, lambda found: found[0]),
        ({"pooling_mode_lasttoken": True}, lambda found: found[-1]),
        ({"pooling_mode": "lasttoken"}, lambda found: found[-1]),
        ({}, lambda found: found.mean(0)),
    ],
)
def test_pooling_is_the_model_s_own(encoder: Path, config: dict[str, Any], expected: Any) -> None:
    describe(encoder, "Pooling", **config)
    result = embed(str(encoder), SENTENCES)
    assert not result.normalized
    for text, vector in zip(SENTENCES, result.vectors, strict=True):
        np.testing.assert_allclose(vector, expected(states(encoder, text)).numpy(), atol=1e-5)
    describe(encoder, "Pooling", "Normalize", **config)
    np.testing.assert_allclose(np.linalg.norm(embed(str(encoder), SENTENCES).vectors, axis=1), 1, atol=1e-6)


def test_a_dense_layer_prompts_and_a_limit(encoder: Path) -> None:
    describe(encoder, "Pooling", "Dense", pooling_mode_mean_tokens=True)
    width = states(encoder, "A cat.").shape[1]
    weight, bias = torch.randn(4, width), torch.randn(4)
    (encoder / "2_Dense").mkdir()
    save_file({"linear.weight": weight, "linear.bias": bias}, encoder / "2_Dense" / "model.safetensors")
    (encoder / "2_Dense" / "config.json").write_text(
        '{"activation_function": "torch.nn.modules.activation.Tanh"}'
    )
    prompts = {"prompts": {"query": "find: ", "none": ""}, "default_prompt_name": "query"}
    (encoder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    (encoder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    by_default, bare = embed(str(encoder), "A cat."), embed(str(encoder), "A cat.", prompt="none")
    for text, result in (("find: A cat.", by_default), ("A cat.", bare)):
        expected = torch.tanh(states(encoder, text).mean(0) @ weight.T + bias)
        np.testing.assert_allclose(result.vectors[0], expected.numpy(), atol=1e-5)
    assert embed(str(encoder), "moon " * 50).truncated == 1
    assert embed(str(encoder), "moon " * 50).tokens == [16]
    with pytest.raises(OptionError, match="query"):
        embed(str(encoder), "A cat.", prompt="quary")


@pytest.mark.parametrize(
    ("modules", "config"),
    [
        ('[{"type": "x.Transformer", "path": ""}, {"type": "x.Router", "path": "1"}]', {}),
        ('[{"type": "x.Pooling", "path": "../other"}]', {}),
        ('[{"type": "x.Pooling", "path": "/etc"}]', {}),
        ('[{"type": "x.Dense", "path": "2_Dense"}]', {}),
        ('{"a": 1}', {}),
        ("[" * 100_000, {}),
        (None, {"pooling_mode_max_tokens": True}),
        (None, {"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True}),
        (None, {"pooling_mode_mean_tokens": True, "include_prompt": False}),
    ],
)
def test_a_step_that_is_not_supported_is_refused(
    encoder: Path, modules: str | None, config: dict[str, Any]
) -> None:
    describe(encoder, "Pooling", **config)
    if modules is not None:
        (encoder / "modules.json").write_text(modules)
    with pytest.raises(InputError, match="encoder"):
        embed(str(encoder), "A cat.")


def test_rows_gain_an_embedding_and_an_unfinished_file_goes_on(encoder: Path, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    texts = [f"The moon is {n}." for n in range(9)]
    file.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)))
    asked = ["embed", "-m", encoder, "--input", file, "--batch-size", "2"]
    whole = tmp_path / "whole.jsonl"
    assert run(*asked, "-o", whole).code == 0
    found = [row["embedding"] for row in rows_of(whole.read_text())]
    np.testing.assert_allclose(found, embed(str(encoder), texts).vectors, atol=1e-5)
    bad = tmp_path / "bad.jsonl"
    bad.write_text(file.read_text() + '{"id": 9, "text": ""}\n')
    result = run(
        "embed", "-m", encoder, "--input", bad, "--batch-size", "2", "-o", tmp_path / "bad.out.jsonl"
    )
    assert result.code == 2
    assert "bad.jsonl:10" in result.err
    assert run(*asked, "-o", whole, "--resume").code == 0
    assert_refused(run(*asked, "--pooling", "cls", "-o", whole, "--resume"))


def test_one_text_is_a_list_of_numbers(encoder: Path) -> None:
    vector = json.loads(run("embed", "-m", encoder, "A cat.", "--no-normalize").out)
    np.testing.assert_allclose(vector, states(encoder, "A cat.").mean(0).numpy(), atol=1e-5)
    (row,) = rows_of(run("embed", "-m", encoder, "--details", stdin="A cat.").out)
    assert row["tokens"] == len(states(encoder, "A cat."))


def test_what_cannot_be_embedded_is_refused(encoder: Path) -> None:
    assert_refused(run("embed", "A cat."), option="model")
    assert_refused(run("embed", "-m", encoder, "x", "--pooling", "max"), option="pooling")
    assert_refused(run("embed", "-m", encoder, " "))
    assert_refused(run("embed", "-m", encoder, "--input", "x.jsonl", "--resume"), option="resume")
