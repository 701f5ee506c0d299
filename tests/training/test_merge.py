"""An adapter put into its base: the same logits, a standard folder, or a refusal."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from llmkit.errors import InputError, LLMKitError
from llmkit.runtime.spec import ModelSpec
from llmkit.training.merge import merge
from tests.command import assert_refused, run
from tests.tiny import make_model
from tests.training.helpers import refuses

TASK_TYPES = {"llama": "CAUSAL_LM", "gpt2": "CAUSAL_LM", "t5": "SEQ_2_SEQ_LM", "bert-qa": "QUESTION_ANS"}
CLASSES = {
    "llama": "AutoModelForCausalLM",
    "gpt2": "AutoModelForCausalLM",
    "t5": "AutoModelForSeq2SeqLM",
    "bert-qa": "AutoModelForQuestionAnswering",
}


def make_adapter(base: Path, folder: Path, family: str = "llama", scale: float = 0.1, **more: Any) -> Path:
    """Write a LoRA adapter on `base` with random weights, none of them zero."""
    from peft import LoraConfig, get_peft_model

    model = getattr(transformers, CLASSES[family]).from_pretrained(base)
    # A span model's head is trained whole, which peft sees to itself.
    more |= {"exclude_modules": ["qa_outputs"]} if family == "bert-qa" else {}
    config = LoraConfig(r=4, target_modules="all-linear", task_type=TASK_TYPES[family], **more)
    wrapped = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_" in name:
                weight.normal_(0, scale, generator=generator)
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model("llama", tmp_path_factory.mktemp("base") / "llama")


@pytest.fixture(scope="module")
def adapter(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(llama, tmp_path_factory.mktemp("adapter") / "adapter")


def outputs_of(model: Any, family: str) -> torch.Tensor:
    ids = torch.arange(3, 40)[None]
    more = {"decoder_input_ids": ids} if family == "t5" else {}
    with torch.inference_mode():
        out = model(input_ids=ids, **more)
    return out.start_logits if family == "bert-qa" else out.logits


@pytest.mark.parametrize("family", list(TASK_TYPES))
def test_the_merged_model_is_the_base_with_its_adapter(family: str, tmp_path: Path) -> None:
    from peft import PeftModel

    base = make_model(family, tmp_path / "base")
    adapter = make_adapter(base, tmp_path / "adapter", family)
    result = merge(ModelSpec(str(adapter)), tmp_path / "merged")
    auto = getattr(transformers, CLASSES[family])
    assert json.loads((tmp_path / "merged" / "tokenizer.json").read_text())["truncation"] is None
    merged = outputs_of(auto.from_pretrained(tmp_path / "merged"), family)
    plain = outputs_of(auto.from_pretrained(base), family)
    with_adapter = outputs_of(PeftModel.from_pretrained(auto.from_pretrained(base), adapter), family)
    moved = float((merged - plain).abs().max())
    assert moved > 0.005
    assert (merged - with_adapter).abs().max() < 1e-3 * moved
    assert result.dtype == "float32"
    assert result.cast_difference is not None
    assert 0 < result.logit_difference < 10 * result.cast_difference


@pytest.mark.parametrize("more", [{"use_dora": True}, {"use_rslora": True}], ids=["dora", "rslora"])
def test_the_kinds_of_lora_merge(llama: Path, tmp_path: Path, more: dict[str, bool]) -> None:
    adapter = make_adapter(llama, tmp_path / "adapter", **more)
    result = merge(ModelSpec(str(adapter)), tmp_path / "merged")
    assert result.logit_difference < 10 * (result.cast_difference or 0)


def test_it_is_saved_as_the_base_is_stored_or_as_asked(adapter: Path, tmp_path: Path) -> None:
    half = merge(ModelSpec(str(adapter)), tmp_path / "half", save_dtype="bfloat16")
    assert json.loads((tmp_path / "half/config.json").read_text())["dtype"] == "bfloat16"
    assert half.logit_difference > 1e-3  # what bfloat16 costs is reported, not hidden
    again = merge(ModelSpec(str(tmp_path / "half"), adapter=str(adapter)), tmp_path / "again")
    assert again.dtype == "bfloat16"


def test_a_merge_that_changes_the_model_is_refused(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A faulty merge: peft's, on one layer, at twice the strength."""
    from peft.tuners.lora import Linear

    right = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda self, name: 2 * right(self, name))
    with pytest.raises(LLMKitError, match="nothing was written"):
        merge(ModelSpec(str(adapter)), tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_of_a_quantized_base_is_reported_and_not_refused(
    llama: Path, adapter: Path, tmp_path: Path
) -> None:
    quantized = tmp_path / "quantized"
    quantized.mkdir()
    config = json.loads((llama / "config.json").read_text()) | {
        "quantization_config": {"quant_method": "awq"}
    }
    (quantized / "config.json").write_text(json.dumps(config))
    (quantized / "model.safetensors").write_bytes((llama / "model.safetensors").read_bytes())
    copy = tmp_path / "adapter"
    copy.mkdir()
    for file in adapter.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    settings = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(
        json.dumps(settings | {"base_model_name_or_path": str(quantized)})
    )
    said: list[str] = []
    result = merge(ModelSpec(str(llama), adapter=str(copy)), tmp_path / "merged", notice=said.append)
    assert result.cast_difference is None
    assert "quantized" in said[0]


def test_the_command(adapter: Path, tmp_path: Path) -> None:
    result = run("merge", adapter, "-o", tmp_path / "merged", "--json")
    printed = json.loads(result.out)
    assert result.code == 0
    assert printed["folder"] == str(tmp_path / "merged")
    assert run("generate", "-m", tmp_path / "merged", "The cat", "--max-new-tokens", "5").code == 0
    assert sorted(p.name for p in (tmp_path / "merged").iterdir()) == [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    text = run("merge", adapter, "-o", tmp_path / "merged", "--overwrite").out
    assert text.splitlines()[0] == f"folder: {tmp_path / 'merged'}"


@pytest.mark.parametrize("foreign", ["thesis.txt", "subfolder/notes.txt", "adapter_config.json"])
def test_overwriting_refuses_a_folder_with_other_files(adapter: Path, tmp_path: Path, foreign: str) -> None:
    merge(ModelSpec(str(adapter)), tmp_path / "out")
    kept = tmp_path / "out" / foreign
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("keep me")
    before = sorted(path.name for path in (tmp_path / "out").iterdir())
    with refuses("output", foreign.split("/")[0]):
        merge(ModelSpec(str(adapter)), tmp_path / "out", overwrite=True)
    assert kept.read_text() == "keep me"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == before


def test_bad_input(adapter: Path, llama: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("keep me")
    assert_refused(run("merge", adapter, "-o", tmp_path / "full"), "--overwrite", option="output")
    assert (tmp_path / "full/mine.txt").read_text() == "keep me"
    assert_refused(run("merge", llama, "-o", tmp_path / "out"), "not an adapter's folder")
    assert_refused(run("merge", tmp_path / "nosuch", "-o", tmp_path / "out"), "nosuch")
    assert_refused(
        run("merge", adapter, "-o", tmp_path / "out", "--save-dtype", "int8"), "'int8'", option="save_dtype"
    )
    assert_refused(run("merge", adapter, "-o", tmp_path / "full/mine.txt"), "is a file")
    other = make_model("gpt2", tmp_path / "gpt2")
    with pytest.raises(InputError, match="does not fit"):
        merge(ModelSpec(str(other), adapter=str(adapter)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("file/out", "cannot write there: Not a directory"),
        ("closed/out", "cannot write there: Permission denied"),
        ("closed", "cannot write there: Permission denied"),
        ("/proc/out", "cannot write there: "),
        ("/proc", "/proc: it is a mount point"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_a_model_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, said: str
) -> None:
    if output.startswith("closed") and os.geteuid() == 0:
        pytest.skip("permission bits do not bind root")
    if output.startswith("/proc") and not os.path.ismount("/proc"):
        pytest.skip("no /proc here")
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("closed").mkdir(mode=0o500)
    assert_refused(run("merge", "nonesuch/model", "--offline", "-o", output, "--overwrite"), said)
    with pytest.raises(InputError, match=said):
        merge(ModelSpec("nonesuch/model", offline=True), output, overwrite=True)
    assert sorted(os.listdir()) == ["closed", "file"]


def test_a_link_stays_one_and_its_folder_gets_the_model(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    merge(ModelSpec(str(adapter)), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder/config.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link"]


def test_what_lies_beside_the_output_is_left_alone(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial/mine.txt").write_text("keep me")
    merge(ModelSpec(str(adapter)), tmp_path / "out")
    assert (tmp_path / "out.partial/mine.txt").read_text() == "keep me"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.partial"]
    (tmp_path / "loop").symlink_to("loop")
    assert_refused(run("merge", adapter, "-o", tmp_path / "loop"), "a link that points to itself")


@pytest.fixture(scope="module")
def tied(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with its head's weights in its embeddings."""
    model = transformers.AutoModelForCausalLM.from_pretrained(llama, tie_word_embeddings=True)
    folder = tmp_path_factory.mktemp("tied") / "tied"
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(llama).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "layers",
    [
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    ],
    ids=["lora-on-head", "lora-on-embeddings", "whole-head", "whole-embeddings"],
)
def test_a_tie_ends_where_the_adapter_changes_one_side(
    layers: dict[str, Any], tied: Path, tmp_path: Path
) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    base = transformers.AutoModelForCausalLM.from_pretrained(tied)
    assert base.config.tie_word_embeddings
    tuned = get_peft_model(base, LoraConfig(r=4, task_type="CAUSAL_LM", **layers))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in tuned.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    tuned.save_pretrained(tmp_path / "adapter")
    again = transformers.AutoModelForCausalLM.from_pretrained(tied)
    expected = outputs_of(PeftModel.from_pretrained(again, tmp_path / "adapter"), "llama")
    merge(tmp_path / "adapter", tmp_path / "out")
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.allclose(outputs_of(merged, "llama"), expected, atol=1e-4)


def test_a_bias_that_the_base_cannot_hold_is_refused(llama: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = transformers.AutoModelForCausalLM.from_pretrained(llama)
    config = LoraConfig(r=4, task_type="CAUSAL_LM", target_modules=["q_proj"], lora_bias=True)
    get_peft_model(base, config).save_pretrained(tmp_path / "adapter")
    result = run("merge", tmp_path / "adapter", "-o", tmp_path / "out")
    assert result.code == 1
    assert "lora_bias" in result.err
    assert "unexpected" not in result.err
    assert not (tmp_path / "out").exists()


def test_a_merge_that_is_no_exact_one_in_float32_does_not_advise_float32(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.training.merge.ALLOWED", 0.0)
    for dtype, advised in (("float32", False), ("bfloat16", True)):
        with pytest.raises(LLMKitError) as caught:
            merge(adapter, tmp_path / "out", save_dtype=dtype)
        assert ("save_dtype=float32" in str(caught.value)) == advised


def test_the_card_keeps_the_adapter_s_scores_and_no_folder(adapter: Path, tmp_path: Path) -> None:
    import shutil

    import yaml

    own = tmp_path / "adapter"
    shutil.copytree(adapter, own)
    results = [{"task": {"type": "text-generation"}, "metrics": [{"type": "loss", "value": 1.25}]}]
    header = {"license": "mit", "model-index": [{"name": "adapter", "results": results}]}
    (own / "README.md").write_text(f"---\n{yaml.safe_dump(header)}---\n# adapter\n")
    merge(own, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    found = yaml.safe_load(text.split("---")[1])
    assert found["model-index"] == [{"name": "out", "results": results}]
    assert found["license"] == "mit"
    assert found["base_model"] == "llama"
    assert str(tmp_path.parent) not in text
