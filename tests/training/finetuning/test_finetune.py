"""Finetuning through its public function: what it learns, and what it leaves."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoModelForQuestionAnswering, AutoModelForSeq2SeqLM

from llmkit.errors import InputError
from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec
from llmkit.training.finetuning.finetune import finetune
from llmkit.training.finetuning.plan import prepare
from llmkit.training.finetuning.result import FinetuneResult
from tests.training.finetuning.runs import QUICK, metrics, train, weights
from tests.training.helpers import Recorder, refuses

TinyModel = Callable[..., Path]


@pytest.fixture(scope="module")
def adapter(
    tiny_model: TinyModel, rows: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> FinetuneResult:
    """A finished run of 30 steps."""
    output = tmp_path_factory.mktemp("adapter") / "out"
    recipe = replace(QUICK, max_steps=30)
    return train(rows(), output, tiny_model("llama"), recipe, command="llmkit finetune rows.jsonl")


def test_an_adapter_is_left_that_loads_and_has_learned(
    tiny_model: TinyModel, adapter: FinetuneResult
) -> None:
    assert adapter.held_out_before is not None
    assert adapter.held_out_loss is not None
    assert adapter.held_out_loss < adapter.held_out_before - 1
    assert {file.name for file in adapter.folder.iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "finished.json",
        "loss.svg",
        "metrics.jsonl",
        "report.html",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((adapter.folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_model("llama").resolve())
    loaded = load(ModelSpec(str(adapter.folder), device="cpu", dtype="float32"))
    assert loaded.adapter is not None


def test_the_held_out_loss_reported_is_that_of_what_is_saved(
    tiny_model: TinyModel, rows: Callable[..., Path], adapter: FinetuneResult
) -> None:
    """Counted again with transformers alone, from the saved adapter and the rows that were held out."""
    spec = ModelSpec(str(tiny_model("llama")), device="cpu")
    held_out = prepare([rows()], spec, QUICK).held_out
    model = load(ModelSpec(str(adapter.folder), device="cpu", dtype="float32")).model
    nats, count = 0.0, 0
    for one in held_out.items:
        targets = torch.tensor([int(t) for t in one.targets])
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[int(i) for i in one.ids]])).logits[0]
        nats += float(torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="sum"))
        count += int((targets != -100).sum())
    assert adapter.held_out_loss == pytest.approx(nats / count, rel=1e-5)


def test_the_first_step_trains_and_the_step_kept_is_reported(
    tiny_model: TinyModel, rows: Callable[..., Path], tmp_path: Path
) -> None:
    """A warmup shorter than a step would leave the only step with a rate of 0."""
    result = train(rows(), tmp_path / "one", tiny_model("llama"), replace(QUICK, max_steps=1, eval_steps=1))
    assert result.held_out_loss != result.held_out_before
    assert result.kept_step == 1
    progress = Recorder()
    wild = replace(QUICK, lr=10.0, lora=False, max_steps=6, eval_steps=2, warmup=0)
    result = train(rows(), tmp_path / "wild", tiny_model("llama"), wild, progress=progress)
    losses = {row["step"]: row["eval_loss"] for row in metrics(tmp_path / "wild") if "eval_loss" in row}
    assert losses.pop(0) < min(losses.values())
    assert result.kept_step == min(losses, key=losses.__getitem__)
    assert any("held-out loss never fell" in notice for notice in progress.notices)


@pytest.mark.parametrize(
    "packing", [pytest.param(False, id="rows"), pytest.param(True, id="packed", marks=pytest.mark.slow)]
)
def test_accumulation_does_not_change_the_losses(
    tiny_model: TinyModel, rows: Callable[..., Path], tmp_path: Path, packing: bool
) -> None:
    """The same effective batch in one, two or four forward passes: the same losses, to rounding."""
    found = []
    for size, passes in ((4, 1), (2, 2), (1, 4)):
        recipe = replace(
            QUICK, batch_size=size, gradient_accumulation=passes, max_length=48, packing=packing, max_steps=6
        )
        output = tmp_path / f"{size}"
        train(rows(count=42), output, tiny_model("llama"), recipe)
        found.append([row["loss"] for row in metrics(output) if "loss" in row])
    for losses in found[1:]:
        assert losses == pytest.approx(found[0], rel=2e-4)


def test_batch_size_auto_keeps_the_steps(
    tiny_model: TinyModel, rows: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmkit.training import memory

    spec, recipe = ModelSpec(str(tiny_model("llama")), device="cpu"), replace(QUICK, batch_size=None)
    roomy = prepare([rows(count=48)], spec, recipe)
    assert (roomy.plan.batch_size, roomy.plan.gradient_accumulation) == (16, 1)
    # Room for what a batch of four takes, and no more.
    four = prepare([rows(count=48)], spec, replace(QUICK, batch_size=4)).plan.memory
    assert four is not None
    monkeypatch.setattr(memory, "available", lambda device: four + (1 << 16))
    monkeypatch.setattr(memory, "peak", lambda loaded, lengths, **k: four + (len(lengths) - 4) * (1 << 20))
    tight = prepare([rows(count=48)], spec, recipe)
    assert (tight.plan.batch_size, tight.plan.gradient_accumulation) == (4, 4)
    assert tight.plan.steps_per_epoch == roomy.plan.steps_per_epoch


def test_an_encoder_learns_spans_with_a_head_of_its_own(
    tiny_model: TinyModel, rows: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = replace(QUICK, lora=False, lr=1e-3, max_steps=20)
    result = train(rows("answers"), tmp_path / "out", tiny_model("bert"), recipe)
    assert result.perplexity is None
    assert result.held_out_loss is not None
    assert result.held_out_before is not None
    assert result.held_out_loss < result.held_out_before
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "out")
    assert type(model).__name__ == "BertForQuestionAnswering"
    # The windows of the training rows cut texts; the saved tokenizer does not.
    assert json.loads((tmp_path / "out" / "tokenizer.json").read_text())["truncation"] is None


def test_an_encoder_is_shown_which_words_the_question_shares(
    tiny_model: TinyModel, rows: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = replace(QUICK, lora=False, max_steps=2, eval_steps=2, mark_shared_words=True)
    model = tiny_model("bert")
    prepared = prepare([rows("answers")], ModelSpec(str(model), device="cpu"), recipe)
    ids, types = prepared.train[0].ids, prepared.train[0].types
    # "What did the dog see? The dog 0 saw the cat.": of the context it has both "the" and "dog".
    words = prepared.loaded.tokenizer.convert_ids_to_tokens(ids)
    assert types is not None
    marked = "".join(word for word, kind in zip(words, types, strict=True) if kind == 2)
    assert re.fullmatch(r"The(dog|cat|moon|ball|house|park)(the\1?)?", marked.replace("\u0120", "")), marked
    train(rows("answers"), tmp_path / "out", model, recipe)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["type_vocab_size"], config["shared_words_type"]) == (3, 2)
    # The saved model keeps the setting, for inference and further training.
    spec = ModelSpec(str(tmp_path / "out"), device="cpu")
    again = prepare([rows("answers")], spec, replace(recipe, mark_shared_words=False))
    assert again.train[0].types is not None
    assert list(again.train[0].types) == list(types)
    assert again.loaded.model.config.type_vocab_size == 3


@pytest.mark.parametrize(
    ("kind", "family", "lora", "fact"),
    [("answers", "llama", False, "LlamaForCausalLM"), ("answers", "bert", True, "lora=False")],
)
def test_shared_words_are_for_encoders_trained_whole(
    tiny_model: TinyModel, rows: Callable[..., Path], kind: str, family: str, lora: bool, fact: str
) -> None:
    recipe = replace(QUICK, lora=lora, mark_shared_words=True)
    with refuses("mark_shared_words", fact):
        prepare([rows(kind)], ModelSpec(str(tiny_model(family)), device="cpu"), recipe)


def test_an_adapter_brings_its_extractive_head(
    tiny_model: TinyModel, rows: Callable[..., Path], tmp_path: Path
) -> None:
    train(rows("answers"), tmp_path / "out", tiny_model("bert"))
    loaded = load(ModelSpec(str(tmp_path / "out"), task="question-answering", device="cpu"))
    head = loaded.model.get_submodule("base_model.model.qa_outputs")
    saved = weights(tmp_path / "out")
    (name,) = (name for name in saved if "qa_outputs" in name and name.endswith("weight"))
    assert torch.equal(head.modules_to_save["default"].weight.data, saved[name])


def test_an_encoder_decoder_is_left_whole(
    tiny_model: TinyModel, rows: Callable[..., Path], tmp_path: Path
) -> None:
    train(rows("pairs"), tmp_path / "out", tiny_model("bart"), replace(QUICK, lora=False, lr=1e-3))
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    assert model.config.use_cache
    card = (tmp_path / "out/README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["pipeline_tag"] == "text2text-generation"


def test_a_whole_model_is_saved_as_it_was_stored(
    tiny_model: TinyModel, rows: Callable[..., Path], tmp_path: Path
) -> None:
    half = tmp_path / "half"
    model = AutoModelForCausalLM.from_pretrained(tiny_model("llama"), dtype=torch.bfloat16)
    shutil.copytree(tiny_model("llama"), half)
    model.save_pretrained(half)
    train(rows(), tmp_path / "out", half, replace(QUICK, lora=False, lr=1e-3))
    assert {tensor.dtype for tensor in weights(tmp_path / "out").values()} == {torch.bfloat16}


def test_the_card_holds_recipe_command_and_results(adapter: FinetuneResult) -> None:
    text = (adapter.folder / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    (found,) = header["model-index"][0]["results"]
    assert {one["type"]: one["value"] for one in found["metrics"]}["loss"] == adapter.held_out_loss
    assert header["library_name"] == "peft"
    assert "llmkit finetune rows.jsonl" in text
    assert "rank 4" in text
    page = (adapter.folder / "report.html").read_text()
    assert f"{adapter.held_out_loss:.4f}" in page
    assert "<svg" in page


def test_a_kernel_that_cannot_train_is_refused(
    tiny_model: TinyModel, rows: Callable[..., Path], tmp_path: Path
) -> None:
    kernel = tmp_path / "mine.py"
    kernel.write_text(
        "import llmkit\n@llmkit.attention.kernel(mask='additive')\ndef attend(*a, **k): raise RuntimeError\n"
    )
    spec = ModelSpec(str(tiny_model("llama")), device="cpu", attn=f"{kernel}:attend", verify_attn=False)
    with pytest.raises(InputError, match="no backward pass"):
        finetune([rows()], tmp_path / "out", spec, QUICK)


def test_a_kernel_of_choice_gives_the_same_losses(
    tiny_model: TinyModel, rows: Callable[..., Path], tmp_path: Path
) -> None:
    found = []
    for attn in (None, "sdpa", "reference", "eager"):
        spec = ModelSpec(str(tiny_model("llama")), device="cpu", attn=attn)
        finetune([rows()], tmp_path / str(attn), spec, replace(QUICK, max_steps=4))
        found.append([row["loss"] for row in metrics(tmp_path / str(attn)) if "loss" in row])
    for losses in found[1:]:
        assert losses == pytest.approx(found[0], rel=1e-3)
