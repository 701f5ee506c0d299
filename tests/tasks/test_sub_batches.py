"""Parts of rows, run in as many calls as need be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from llmkit.errors import OutOfMemory
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row
from llmkit.tasks.generation import GenerationResult
from llmkit.tasks.sub_batches import run_parts


class Model:
    """Answers each prompt with its number; more than `room` at once do not fit."""

    def __init__(self, room: int = 99) -> None:
        self.room = room
        self.calls: list[list[int]] = []
        self.tokens_written = 0

    def run(self, batch: Sequence[PreparedRow]) -> list[list[Any]]:
        self.calls.append([one.row.index for one in batch])
        if len(batch) > self.room:
            raise OutOfMemory("too many")
        return [[_result(str(one.row.index))] for one in batch]


def _result(text: str) -> Any:
    names = GenerationResult.__dataclass_fields__
    return GenerationResult(**{**dict.fromkeys(names, ""), "text": text, "tokens": 2})  # type: ignore[arg-type]


def prompts(*lengths: int) -> list[PreparedRow]:
    return [PreparedRow(Row(i, {}, ""), length, None) for i, length in enumerate(lengths)]


def run(model: Any, parts: list[PreparedRow], limit: Budget) -> list[str]:
    told: list[tuple[int, int]] = []
    answers = run_parts(model, parts, limit, lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert not parts or told[-1] == (len(parts), len(parts))
    return [answer.text for (answer,) in answers]


def test_answers_come_in_the_prompts_order_from_calls_within_the_limit() -> None:
    model = Model()
    assert run(model, prompts(1, 9, 3, 9, 2), Budget(tokens=20, rows=None, new_tokens=1)) == list("01234")
    assert model.calls == [[1, 3], [2, 4, 0]]
    assert model.tokens_written == 10


def test_less_is_held_at_once_where_memory_ran_out_and_only_until_the_end() -> None:
    model, limit = Model(room=2), Budget(tokens=None, rows=5, new_tokens=1)
    assert run(model, prompts(1, 1, 1, 1, 1), limit) == list("01234")
    assert [len(call) for call in model.calls] == [5, 2, 2, 1]
    run(model, prompts(1, 1, 1, 1, 1), limit)
    assert [len(call) for call in model.calls[4:]] == [5, 2, 2, 1]


def test_one_that_does_not_fit_alone_ends_it() -> None:
    with pytest.raises(OutOfMemory, match="too many"):
        run(Model(room=0), prompts(1, 1), Budget(tokens=None, rows=5, new_tokens=1))


def test_nothing_to_do() -> None:
    assert run(Model(), [], Budget(tokens=None, rows=5, new_tokens=1)) == []
