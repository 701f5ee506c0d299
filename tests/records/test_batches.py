import itertools
import random

import pytest

from llmkit.records.batches import Budget, PreparedRow, longest_first, next_batch
from llmkit.records.rows import Row


def prepared(*lengths):
    rows = [PreparedRow(Row(i, {}, f"x:{i + 1}"), length, None) for i, length in enumerate(lengths)]
    return sorted(rows, key=longest_first)


def lengths(batch):
    return [item.length for item in batch]


def plan(pending, budget):
    pending = list(pending)
    batches = []
    while pending:
        batches.append(next_batch(pending, budget))
        del pending[: len(batches[-1])]
    return batches


@pytest.mark.parametrize(
    ("tokens", "rows", "new_tokens", "expected"),
    [
        (None, None, 5, [[9, 8, 8, 3, 1]]),
        (None, 2, 5, [[9, 8], [8, 3], [1]]),
        (18, None, 0, [[9, 8], [8, 3], [1]]),
        (17, None, 0, [[9], [8, 8], [3, 1]]),
        (28, None, 5, [[9, 8], [8, 3], [1]]),  # 2 * (9 + 5) = 28
        (27, None, 5, [[9], [8, 8], [3, 1]]),
        (18, 1, 0, [[9], [8], [8], [3], [1]]),
        (1, None, 0, [[9], [8], [8], [3], [1]]),  # one row always fits
        (0, None, 0, [[9], [8], [8], [3], [1]]),
    ],
)
def test_batches_fill_the_budget(tokens, rows, new_tokens, expected):
    batches = plan(prepared(8, 3, 9, 8, 1), Budget(tokens, rows, new_tokens))
    assert [lengths(batch) for batch in batches] == expected


def test_equal_lengths_keep_the_order_of_the_input():
    batch = next_batch(prepared(4, 4, 9, 4), Budget(None, None, 0))
    assert [item.row.index for item in batch] == [2, 0, 1, 3]


def test_the_order_does_not_depend_on_the_one_before():
    items = prepared(4, 9, 4, 9, 4)
    backwards = items[::-1]
    assert sorted(backwards, key=longest_first) == items


def test_rows_without_tokens_are_batched_too():
    assert len(next_batch(prepared(0, 0, 0), Budget(10, None, 0))) == 3


def test_nothing_pending_is_an_empty_batch():
    assert next_batch([], Budget(10, None, 0)) == []


def test_what_is_left_is_batched_as_if_nothing_had_been_interrupted():
    rng = random.Random(1)
    pending = prepared(*(rng.randrange(60) for _ in range(300)))
    budget = Budget(500, 20, 7)
    whole = plan(pending, budget)
    for done in range(len(whole)):
        left = pending[sum(map(len, whole[:done])) :]
        assert plan(left, budget) == whole[done:]


@pytest.mark.parametrize(
    ("budget", "batch", "expected"),
    [
        (Budget(1000, None, 5), (15, 10, 10, 10), Budget(40, None, 5)),
        (Budget(None, None, 5), (15, 10, 10), Budget(None, 1, 5)),
        (Budget(None, 8, 5), (15,) * 8, Budget(None, 4, 5)),
        (Budget(10_000, 4, 5), (15,) * 4, Budget(10_000, 2, 5)),
        (Budget(100, 9, 5), (15,) * 5, Budget(50, 9, 5)),
        (Budget(1000, None, 5), (15,), None),
    ],
)
def test_half_of_what_did_not_fit(budget, batch, expected):
    assert budget.halved(prepared(*batch)) == expected


@pytest.mark.parametrize("budget", [Budget(1000, None, 3), Budget(None, 32, 3), Budget(1000, 32, 3)])
def test_halving_gets_from_any_batch_to_one_row(budget):
    pending = prepared(*[20] * 40)
    sizes = []
    current = budget
    while current is not None:
        batch = next_batch(pending, current)
        sizes.append(len(batch))
        current = current.halved(batch)
    assert sizes[-1] == 1
    assert all(after <= before / 2 for before, after in itertools.pairwise(sizes))
