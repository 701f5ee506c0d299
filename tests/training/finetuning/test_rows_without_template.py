"""Conversations as `prompt` and `completion`, on a model without a chat template; rows that are too long."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import InputError
from llmkit.runtime.spec import ModelSpec
from llmkit.training.finetuning.conversations import CHAT_TEMPLATE
from llmkit.training.finetuning.plan import FinetuneInputs, prepare
from tests.command import assert_refused, rows_of, run
from tests.conftest import TinyModel
from tests.training.finetuning.runs import QUICK

ASKED = [{"role": "user", "content": "Who is there?"}]
SAID = [{"role": "assistant", "content": "It is I."}]
WORDS = "The dog saw the cat. "


def write(file: Path, *rows: dict[str, Any]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def prepared(data: Path, model: Path, **more: Any) -> FinetuneInputs:
    recipe = replace(QUICK, eval_split=0.0, lora=False, max_length=more.pop("max_length", 64))
    return prepare([data], ModelSpec(str(model), device="cpu"), recipe, **more)


def tokens(inputs: FinetuneInputs) -> list[tuple[list[int], list[int]]]:
    return [(one.ids.tolist(), one.targets.tolist()) for one in inputs.train.items]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ASKED, "completion": SAID},
        {"prompt": ASKED, "completion": "It is I."},
        {"prompt": "Who is there?", "completion": SAID},
        {"instruction": "Who is there?", "output": SAID},
    ],
)
def test_turns_as_prompt_and_completion_train_as_messages_do(
    row: dict[str, Any], tiny_model: TinyModel, tmp_path: Path
) -> None:
    model = tiny_model("llama")
    expected = prepared(write(tmp_path / "messages.jsonl", {"messages": ASKED + SAID}), model)
    found = prepared(write(tmp_path / "rows.jsonl", row), model)
    assert found.loaded.tokenizer.chat_template == CHAT_TEMPLATE
    assert tokens(found) == tokens(expected)


def test_a_preference_whose_prompt_alone_has_turns_gets_a_template(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    rows = [
        {"prompt": ASKED, "chosen": "It is I.", "rejected": "No."},
        {"prompt": ASKED, "chosen": SAID, "rejected": [{"role": "assistant", "content": "No."}]},
    ]
    one, other = (
        prepared(write(tmp_path / f"{i}.jsonl", row), tiny_model("llama")) for i, row in enumerate(rows)
    )
    assert tokens(one) == tokens(other)


def test_a_held_out_conversation_alone_gives_a_template_too(tiny_model: TinyModel, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", {"prompt": "Who is there?", "completion": "It is I."})
    held = write(tmp_path / "held.jsonl", {"prompt": "Who is there?", "completion": SAID})
    found = prepared(data, tiny_model("llama"), eval_data=held)
    assert found.loaded.tokenizer.chat_template == CHAT_TEMPLATE
    assert found.held_out.items[0].ids.tolist() == found.train.items[0].ids.tolist()


def test_held_out_rows_have_the_columns_of_the_training_rows(tiny_model: TinyModel, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", {"messages": ASKED + SAID})
    held = write(tmp_path / "held.jsonl", {"conversations": ASKED + SAID})
    with pytest.raises(InputError, match=r"held.jsonl:1: no column 'messages', but the training rows"):
        prepared(data, tiny_model("llama"), eval_data=held)


def test_generate_reads_turns_in_the_prompt_s_column(tiny_model: TinyModel, tmp_path: Path) -> None:
    model = tiny_model("llama", chat=True)
    made = []
    for name in ("messages", "prompt", "asked"):
        rows = write(tmp_path / f"{name}.jsonl", {name: ASKED, "system": "Be short."})
        field = ("--field", name) if name == "asked" else ()
        result = run("generate", "--input", rows, "-m", model, "--max-new-tokens", "4", "--json", *field)
        made.append(rows_of(result.out)[0]["generated_text"])
    assert made == made[:1] * 3
    plain = write(tmp_path / "plain.jsonl", {"prompt": ASKED})
    assert_refused(run("generate", "--input", plain, "-m", tiny_model("llama")), "plain.jsonl:1", "chat")


LONG: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": WORDS * 9}, *SAID]},
    {"prompt": WORDS * 9, "chosen": WORDS * 9 + "a", "rejected": WORDS * 9 + "b"},
]


@pytest.mark.parametrize("row", LONG, ids=["messages", "preference"])
@pytest.mark.parametrize("part", ["training", "held-out"])
def test_rows_longer_than_max_length_are_told_as_such(
    row: dict[str, Any], part: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    short = {"messages": ASKED + SAID} if "messages" in row else {**row, "chosen": "a", "rejected": "b"}
    long, other = write(tmp_path / "long.jsonl", row), write(tmp_path / "short.jsonl", short)
    data, held = (long, other) if part == "training" else (other, long)
    with pytest.raises(InputError) as caught:
        prepared(data, tiny_model("llama"), eval_data=held, max_length=40)
    text = str(caught.value)
    assert f"the 1 {part} row " in text
    assert "`max_length`" in text
