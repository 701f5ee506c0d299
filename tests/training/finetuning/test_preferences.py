"""Preferences: the loss is DPO's, TRL's own trainer agrees, and the one training path holds for it."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmkit.errors import InputError
from llmkit.runtime.spec import ModelSpec
from llmkit.training.batches import sides
from llmkit.training.encoded import IGNORED
from llmkit.training.finetuning.finetune import finetune
from llmkit.training.finetuning.plan import FinetuneInputs, prepare
from llmkit.training.finetuning.recipe import FinetuneRecipe

pytest.importorskip("trl")

TinyModel = Callable[..., Path]
QUICK = FinetuneRecipe(
    max_steps=12, lr=1e-2, batch_size=4, max_length=64, eval_steps=4, dtype="float32", lora_rank=4
)
WORDS = ["dog", "cat", "moon", "ball", "house", "park"]


def pairs(count: int = 24) -> list[dict[str, Any]]:
    """What is preferred names the thing that was asked for; what is not refuses, in few words or in many."""
    return [
        {
            "prompt": f"Say {WORDS[i % 6]} {i}:",
            "chosen": f" The {WORDS[i % 6]} saw it." * (1 + i % 2),
            "rejected": " No, not today." * (1 + i % 3),
        }
        for i in range(count)
    ]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(rows: list[dict[str, Any]], name: str = "rows.jsonl") -> Path:
        file = tmp_path / name
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return file

    return write


def ready(file: Path, model: Path, recipe: FinetuneRecipe = QUICK) -> FinetuneInputs:
    return prepare([file], ModelSpec(str(model), device="cpu"), recipe)


def shaken(model: Any) -> None:
    """Move what is trained off where it was, so that model and reference differ."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)


def log_probability(model: Any, ids: list[int], is_target: list[bool]) -> float:
    """Of the tokens after the first that are marked, by the model's logits alone."""
    with torch.no_grad():
        found = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=-1)
    return sum(float(found[i, ids[i + 1]]) for i in range(len(ids) - 1) if is_target[i + 1])


@pytest.mark.parametrize("family", ["llama", "bloom"], ids=["joined rows", "padded rows"])
@pytest.mark.parametrize("lora", [True, False], ids=["adapter", "whole"])
def test_the_loss_of_a_batch_is_the_formula(
    tiny_model: TinyModel, write: Callable[..., Path], tmp_path: Path, family: str, lora: bool
) -> None:
    """Written out from the texts, with transformers alone."""
    from peft import PeftModel

    from llmkit.training.finetuning.finetune import _with_loss

    folder = tiny_model(family)
    prepared = _with_loss(
        ready(write(pairs(5)), folder, replace(QUICK, eval_split=0, lora=lora, dpo_beta=0.3))
    )
    model: Any = prepared.loaded.model
    shaken(model)
    with torch.no_grad():
        found = model(**prepared.collate([prepared.train[i] for i in range(5)]))

    model.save_pretrained(tmp_path / "trained")
    reference = AutoModelForCausalLM.from_pretrained(folder).eval()
    if lora:
        base = AutoModelForCausalLM.from_pretrained(folder)
        policy = PeftModel.from_pretrained(base, tmp_path / "trained").eval()
    else:
        policy = AutoModelForCausalLM.from_pretrained(tmp_path / "trained").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    margins = []
    for row in pairs(5):
        gains = []
        for side in ("chosen", "rejected"):
            begins = len(tokenizer(row["prompt"])["input_ids"])
            ids = [*tokenizer(row["prompt"] + row[side])["input_ids"], tokenizer.eos_token_id]
            is_target = [i >= begins for i in range(len(ids))]
            gains.append(log_probability(policy, ids, is_target) - log_probability(reference, ids, is_target))
        margins.append(0.3 * (gains[0] - gains[1]))
    wanted = torch.tensor(margins)
    assert wanted.abs().max() > 0.05
    torch.testing.assert_close(found["margins"], wanted, rtol=1e-3, atol=1e-4)
    loss = float(-torch.nn.functional.logsigmoid(wanted).sum())
    assert float(found["loss"]) == pytest.approx(loss, rel=1e-4)


def test_loss_and_gradient_are_those_of_trls_trainer(
    tiny_model: TinyModel, write: Callable[..., Path], tmp_path: Path
) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from llmkit.training.finetuning.finetune import _with_loss

    folder = tiny_model("llama")
    prepared = _with_loss(ready(write(pairs(4)), folder, replace(QUICK, eval_split=0, lora=False)))
    ours: Any = prepared.loaded.model
    shaken(ours)
    (ours(**prepared.collate([prepared.train[i] for i in range(4)]))["loss"] / 4).backward()

    policy = AutoModelForCausalLM.from_pretrained(folder)
    shaken(policy)
    config = DPOConfig(
        str(tmp_path / "trl"), use_cpu=True, bf16=False, gradient_checkpointing=False, beta=0.1
    )
    trainer = DPOTrainer(
        policy,
        ref_model=AutoModelForCausalLM.from_pretrained(folder),
        args=config,
        train_dataset=Dataset.from_list(pairs(4)),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    with torch.no_grad():
        mine = ours(**prepared.collate([prepared.train[i] for i in range(4)]))["loss"] / 4
    assert float(mine) == pytest.approx(float(loss.detach()), rel=1e-5)
    theirs = dict(policy.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-3, atol=1e-6)


def test_it_learns_to_prefer(tiny_model: TinyModel, write: Callable[..., Path], tmp_path: Path) -> None:
    """On held-out rows; and what is reported is true of the adapter that is left."""
    from peft import PeftModel

    folder, file, output = tiny_model("llama"), write(pairs(48)), tmp_path / "out"
    recipe = replace(QUICK, max_steps=20, eval_steps=10, eval_split=0.25)
    result = finetune([file], output, ModelSpec(str(folder), device="cpu"), recipe)
    assert result.held_out_before == pytest.approx(0.693147, rel=1e-5)
    assert result.reward_accuracy_before == 0.5
    assert result.reward_accuracy is not None
    assert result.reward_accuracy > 0.9
    assert result.perplexity is None

    reference = AutoModelForCausalLM.from_pretrained(folder).eval()
    policy = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), output).eval()
    margins = []
    for pair in ready(file, folder, recipe).held_out.items:
        gains = []
        for side, better in zip(sides(pair), (1, -1), strict=True):
            read, said = (torch.tensor([int(i) for i in part]) for part in (side.ids, side.targets))
            for model, sign in ((policy, 1), (reference, -1)):
                with torch.no_grad():
                    logits = model(input_ids=read[None]).logits[0]
                nats = torch.nn.functional.cross_entropy(logits, said, ignore_index=IGNORED, reduction="sum")
                gains.append(-sign * better * float(nats))
        margins.append(0.1 * sum(gains))
    found = torch.tensor(margins)
    assert result.reward_accuracy == float((found > 0).float().mean())
    assert result.reward_margin == pytest.approx(float(found.mean()), rel=1e-3)
    loss = float(-torch.nn.functional.logsigmoid(found).mean())
    assert result.held_out_loss == pytest.approx(loss, rel=1e-3)

    card = (output / "README.md").read_text()
    assert f"0.500 before, {result.reward_accuracy:.3f} after" in card
    assert "reward_margin" in card
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "eval_reward_accuracy" in row] == [0, 10, 20]


@pytest.mark.slow
def test_accumulation_does_not_change_the_losses(
    tiny_model: TinyModel, write: Callable[..., Path], tmp_path: Path
) -> None:
    """Seven steps of six rows and one that is short, cut into forward passes of six, three and one."""
    found = []
    for size, passes in ((6, 1), (3, 2), (1, 6)):
        recipe = replace(QUICK, batch_size=size, gradient_accumulation=passes, max_steps=9)
        spec, output = ModelSpec(str(tiny_model("llama")), device="cpu"), tmp_path / f"{size}"
        finetune([write(pairs(46))], output, spec, recipe)
        lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        found.append([row["loss"] for row in lines if "loss" in row])
    for losses in found[1:]:
        assert losses == pytest.approx(found[0], rel=1e-3)


ASKED = [{"role": "user", "content": "Who?"}]
SHORT, LONG = ({"role": "assistant", "content": text} for text in ("Yes", "Yes, the cat."))
CONVERSATIONS = {
    "texts": {"prompt": "Who?", "chosen": "Yes", "rejected": "Yes, the cat."},
    "turns": {"prompt": ASKED, "chosen": [SHORT], "rejected": [LONG]},
    "turns after a text": {"prompt": "Who?", "chosen": [SHORT], "rejected": [LONG]},
    "whole conversations beside a text": {
        "prompt": "Who?",
        "chosen": [*ASKED, SHORT],
        "rejected": [*ASKED, LONG],
    },
    "whole conversations beside turns": {
        "prompt": ASKED,
        "chosen": [*ASKED, SHORT],
        "rejected": [*ASKED, LONG],
    },
    "whole conversations": {"chosen": [*ASKED, SHORT], "rejected": [*ASKED, LONG]},
    "instruction": {"instruction": "Who?", "input": "", "chosen": "Yes", "rejected": "Yes, the cat."},
}


def parts(prepared: FinetuneInputs) -> tuple[str, str, str, str]:
    """Input and targets, of the first pair's chosen and rejected text."""
    (pair,) = prepared.train.items
    tokenizer, texts = prepared.loaded.tokenizer, []
    for side in sides(pair):
        said = [int(target) for target in side.targets if target != IGNORED]
        texts += [tokenizer.decode([int(i) for i in side.ids]), tokenizer.decode(said)]
    return texts[0], texts[1], texts[2], texts[3]


@pytest.mark.parametrize("spelling", CONVERSATIONS)
def test_a_conversation_is_the_same_however_it_is_written(
    tiny_model: TinyModel, write: Callable[..., Path], spelling: str
) -> None:
    model = tiny_model("llama", chat=True)
    found = parts(ready(write([CONVERSATIONS[spelling]]), model, replace(QUICK, eval_split=0)))
    before = "<s><|user|>Who?</s><|assistant|>"
    assert found == (f"{before}Yes", "Yes</s>", f"{before}Yes, the cat.", "Yes, the cat.</s>")


def test_of_a_longer_conversation_only_the_difference_is_a_target(
    tiny_model: TinyModel, write: Callable[..., Path]
) -> None:
    begins = [*ASKED, {"role": "assistant", "content": "Me."}, {"role": "user", "content": "Sure?"}]
    row = {"chosen": [*begins, SHORT], "rejected": [*begins, LONG]}
    model = tiny_model("llama", chat=True)
    found = parts(ready(write([row]), model, replace(QUICK, eval_split=0)))
    assert found[1] == "Yes</s>"
    assert found[3] == "Yes, the cat.</s>"
    assert "Me." in found[0]


def test_texts_without_a_prompt_part_where_they_differ(
    tiny_model: TinyModel, write: Callable[..., Path]
) -> None:
    row = {"chosen": "The cat sat on the mat", "rejected": "The cat sat on the moon"}
    found = parts(ready(write([row]), tiny_model("llama"), replace(QUICK, eval_split=0)))
    assert found[0].startswith("<s>The cat sat on the m")
    assert found[1].endswith("at</s>")
    assert found[3].endswith("oon</s>")
    assert "cat" not in found[1] + found[3]


def test_conversations_get_a_template_where_there_is_none(
    tiny_model: TinyModel, write: Callable[..., Path]
) -> None:
    recipe = replace(QUICK, eval_split=0)
    texts = ready(write([CONVERSATIONS["texts"]]), tiny_model("llama"), recipe)
    assert texts.loaded.tokenizer.chat_template is None
    assert parts(texts)[0] == "<s>Who?Yes"
    turns = parts(ready(write([CONVERSATIONS["turns"]]), tiny_model("llama"), recipe))
    assert turns[0].startswith("<s>User: Who?\nAssistant: Yes")


def test_a_pair_without_a_difference_is_dropped_and_one_too_long_is_cut(
    tiny_model: TinyModel, write: Callable[..., Path]
) -> None:
    rows = [
        *pairs(3),
        {"prompt": "Say it:", "chosen": " Yes.", "rejected": " Yes."},
        {"prompt": "Say it: " * 40, "chosen": " Yes, I do say it.", "rejected": " No."},
        {"prompt": "Say it:", "chosen": " Yes." * 40, "rejected": " No."},
    ]
    prepared = ready(write(rows), tiny_model("llama"), replace(QUICK, eval_split=0))
    plan = prepared.plan
    assert (plan.rows, plan.examples, plan.dropped, plan.truncated) == (6, 5, 1, 2)
    assert plan.kind == "preference"
    # Of too long a prompt both answers follow the same end.
    one, other = sides(prepared.train[3])
    start = [list(text.targets).index(next(t for t in text.targets if t != IGNORED)) for text in (one, other)]
    assert start[0] == start[1] > 8
    assert list(one.ids[: start[0]]) == list(other.ids[: start[1]])
    assert len(one.ids) == QUICK.max_length > len(other.ids)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"rejected": None}, "column 'rejected' is null, not a text"),
        ({"chosen": "  "}, "column 'chosen' is empty"),
        ({"chosen": []}, "column 'chosen': its messages are not a list of turns"),
        (
            {"chosen": [{"role": "user"}]},
            "column 'chosen': turn 1 of its messages needs a role and a content",
        ),
        ({"chosen": [*ASKED, SHORT]}, "one of chosen and rejected is a text and the other a conversation"),
        ({"chosen": ASKED, "rejected": ASKED}, "it has no text of the assistant"),
        (
            {"prompt": 1.5, "chosen": 2.5, "rejected": [1]},
            "column 'rejected': turn 1 of its messages is not an object",
        ),
    ],
)
def test_a_broken_row_is_named(
    tiny_model: TinyModel, write: Callable[..., Path], row: dict[str, Any], said: str
) -> None:
    file, model = write([*pairs(2), {**pairs(1)[0], **row}]), tiny_model("llama", chat=True)
    with pytest.raises(InputError) as caught:
        ready(file, model, replace(QUICK, eval_split=0))
    assert str(caught.value) == f"{file}:3: {said}"
    prepared = ready(file, model, replace(QUICK, eval_split=0, on_error="skip"))
    assert (prepared.plan.examples, prepared.plan.skipped) == (2, 1)


def test_the_same_prompt_stays_on_one_side(tiny_model: TinyModel, write: Callable[..., Path]) -> None:
    """Where prompts have no column of their own, too."""
    rows = [
        {
            "chosen": [{"role": "user", "content": f"Say {word}"}, SHORT],
            "rejected": [{"role": "user", "content": f"Say {word}"}, {**LONG, "content": f"No {i}."}],
        }
        for i, word in enumerate(WORDS * 4)
    ]
    random.Random(1).shuffle(rows)
    prepared = ready(write(rows), tiny_model("llama", chat=True), replace(QUICK, eval_split=0.3))
    tokenizer = prepared.loaded.tokenizer
    seen = [
        {word for word in WORDS for one in side.items if f"Say {word}" in tokenizer.decode(list(one.ids))}
        for side in (prepared.train, prepared.held_out)
    ]
    assert seen[0] | seen[1] == set(WORDS)
    assert not seen[0] & seen[1]


def test_only_rows_that_are_met_are_scored(tiny_model: TinyModel, write: Callable[..., Path]) -> None:
    from llmkit.training.finetuning.finetune import _with_loss

    prepared = ready(write(pairs(40)), tiny_model("llama"), replace(QUICK, max_steps=3, eval_split=0))
    scored = {i for i, one in enumerate(_with_loss(prepared).train.items) if one.reference is not None}
    batches = iter(prepared.batches)
    assert scored == {row for _ in range(3) for row in next(batches)}


def test_logits_that_trl_would_get_wrong_are_refused(tiny_model: TinyModel) -> None:
    from llmkit.training.finetuning.preferences import patch_forward_with_dpo_loss

    model = AutoModelForCausalLM.from_pretrained(tiny_model("llama"))
    plain = model.forward

    def scaled(*args: Any, **inputs: Any) -> Any:
        outputs = plain(*args, **inputs)
        outputs.logits = outputs.logits * 3
        return outputs

    model.forward = scaled
    with pytest.raises(InputError, match="LlamaForCausalLM cannot be trained on preferences"):
        patch_forward_with_dpo_loss(model, 0.1)
