"""Quantized models: saved, loaded, measured, and refused where they cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit import ModelSpec, load, quantize
from llmkit.engines.base import Request, Sampling
from llmkit.engines.open import as_engine
from llmkit.errors import OptionError
from llmkit.linear.modules import QuantizedLinear
from tests.command import assert_refused, run

STORY = [1, 50, 60, 70, 80]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """The story model in 8 and in 4 bits: result and folder."""
    made = {}
    for bits in (8, 4):
        folder = tmp_path_factory.mktemp("quantized") / f"int{bits}"
        made[bits] = quantize(ModelSpec("stories", bundled=True, device="cpu"), folder, bits=bits)
    return made


@pytest.mark.parametrize(("bits", "divergence", "share"), [(8, 2e-3, 0.3), (4, 0.1, 0.2)])
def test_a_quantized_folder_is_small_and_near(
    bits: int, divergence: float, share: float, folders: dict[int, Any]
) -> None:
    result = folders[bits]
    assert 0 < result.divergence < divergence
    assert result.bytes_after < share * result.bytes_before
    stored = [file.stat().st_size for file in result.folder.iterdir() if file.suffix == ".safetensors"]
    assert result.nbytes == sum(stored)
    config = json.loads((result.folder / "config.json").read_text())
    assert config["quantization_config"]["format"] == "pack-quantized"
    assert json.loads((result.folder / "tokenizer.json").read_text())["truncation"] is None


@pytest.mark.parametrize("bits", [8, 4])
def test_what_is_loaded_is_what_was_quantized(bits: int, folders: dict[int, Any]) -> None:
    spec = ModelSpec("stories", bundled=True, device="cpu")
    saved = load(ModelSpec(str(folders[bits].folder), device="cpu"))
    direct = load(ModelSpec(**{**spec.__dict__, "quantize": f"int{bits}"}))
    ids = torch.tensor([STORY])
    with torch.inference_mode():
        assert torch.equal(saved.model(ids).logits, direct.model(ids).logits)
    assert any(isinstance(module, QuantizedLinear) for module in saved.model.modules())
    assert saved.identity()["quantize"] is None
    assert direct.identity()["quantize"] == f"int{bits}"


@pytest.mark.parametrize("bits", [8, 4])
def test_quantized_text_is_the_same_alone_and_in_a_batch(bits: int, folders: dict[int, Any]) -> None:
    engine = as_engine(load(ModelSpec(str(folders[bits].folder), device="cpu")))
    sampling = Sampling(max_new_tokens=16)
    batch = [Request(sampling, ids=STORY[: i + 1], key=(0, i, 0)) for i in range(5)]
    together = [one[0].ids for one in engine.generate(batch)]
    assert together == [engine.generate([one])[0][0].ids for one in batch]


def test_options_that_cannot_be_used_are_refused_by_name(
    tmp_path: Path, folders: dict[int, Any], stories_adapter: Path
) -> None:
    for changes, option in (
        ({"quantize": "int2"}, "quantize"),
        ({"quantize": "int8", "name": str(stories_adapter), "bundled": False}, "quantize"),
        ({"quantize": "int8", "linear": "nosuch"}, "linear"),
        ({"quantize": "int8", "name": str(folders[8].folder), "bundled": False}, "quantize"),
    ):
        with pytest.raises(OptionError) as refused:
            load(ModelSpec(**{"name": "stories", "bundled": True, "device": "cpu", **changes}))
        assert refused.value.option == option
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError) as refused:
        quantize("stories", taken)
    assert refused.value.option == "output"
    assert_refused(run("quantize", "-m", "stories", "-o", tmp_path / "x", "--bits", "3"), option="bits")
    result = run("quantize", "-m", "stories", "-o", tmp_path / "x", "--bits", "8", "--calibration", __file__)
    assert_refused(result, option="calibration")


def test_the_verb_reports_size_and_divergence(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("Once upon a time there was a dog.\nThe cat saw a red ball.\n" * 4)
    result = run(
        *("quantize", "-m", "stories", "-o", tmp_path / "q", "--bits", "4", "--group", "64"),
        *("--calibration", texts, "--json"),
    )
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert (found["bits"], found["group"]) == (4, 64)
    assert found["divergence"] > 0
    said = run("generate", "-m", tmp_path / "q", "Once", "--greedy", "--max-new-tokens", "5")
    assert (said.code, bool(said.out.strip())) == (0, True)


def test_the_verb_refuses_to_quantize_twice(folders: dict[int, Any], tmp_path: Path) -> None:
    asked = ("quantize", "-o", tmp_path / "twice")
    assert_refused(run(*asked, "-m", "stories", "--quantize", "int4"), option="quantize")
    assert_refused(run(*asked, "-m", folders[8].folder), "quantized already")


def test_a_quantized_model_may_be_replaced_by_another(folders: dict[int, Any], tmp_path: Path) -> None:
    taken = shutil.copytree(folders[8].folder, tmp_path / "taken")
    quantize("stories", taken, bits=4, max_shard_size="2MB", overwrite=True)
    assert json.loads((taken / "config.json").read_text())["quantization_config"]
    assert len(list(taken.glob("model-*.safetensors"))) > 1
    assert not (taken / "model.safetensors").exists()
    (taken / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError, match="thesis"):
        quantize("stories", taken, bits=4, overwrite=True)


def test_the_verb_says_if_it_measures_nothing(tmp_path: Path) -> None:
    done = run("quantize", "-m", "translator", "-o", tmp_path / "small")
    assert done.code == 0, done.err
    assert "change: not measured" in done.out
