"""Any number of prompts, run in as many calls as a budget needs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from llmkit.errors import OutOfMemory
from llmkit.records.batches import Budget
from llmkit.tasks.prompts import Prompt
from llmkit.tasks.sub_batches import run_prompts


class Model:
    """Answers each prompt with its key; more than `room` at once do not fit."""

    def __init__(self, room: int = 99) -> None:
        self.room = room
        self.calls: list[list[int]] = []

    def run(self, batch: Sequence[Prompt]) -> list[str]:
        self.calls.append([one.key for one in batch])
        if len(batch) > self.room:
            raise OutOfMemory("too many")
        return [str(one.key) for one in batch]


def prompts(*lengths: int) -> list[Prompt]:
    return [Prompt([0] * length, None, 1, key=i) for i, length in enumerate(lengths)]


def run(model: Model, parts: list[Prompt], budget: Budget) -> list[str]:
    seen: list[tuple[int, int]] = []
    answers = run_prompts(model.run, parts, budget, lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert not parts or seen[-1] == (len(parts), len(parts))
    return answers


def test_answers_come_in_the_prompts_order_from_calls_within_the_budget() -> None:
    model = Model()
    assert run(model, prompts(1, 9, 3, 9, 2), Budget(tokens=20, rows=None, new_tokens=1)) == list("01234")
    assert model.calls == [[1, 3], [2, 4, 0]]


def test_calls_get_smaller_when_memory_runs_out_and_only_until_the_end() -> None:
    model, budget = Model(room=2), Budget(tokens=None, rows=5, new_tokens=1)
    assert run(model, prompts(1, 1, 1, 1, 1), budget) == list("01234")
    assert [len(call) for call in model.calls] == [5, 2, 2, 1]
    run(model, prompts(1, 1, 1, 1, 1), budget)
    assert [len(call) for call in model.calls[4:]] == [5, 2, 2, 1]


def test_one_that_does_not_fit_alone_ends_it() -> None:
    with pytest.raises(OutOfMemory, match="too many"):
        run(Model(room=0), prompts(1, 1), Budget(tokens=None, rows=5, new_tokens=1))


def test_nothing_to_do() -> None:
    assert run(Model(), [], Budget(tokens=None, rows=5, new_tokens=1)) == []
