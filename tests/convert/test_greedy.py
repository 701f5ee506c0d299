"""Greedy text of two programs: what counts as the same."""

from __future__ import annotations

import pytest

from llmkit.convert.greedy import Greedy, same_texts

WANTED = Greedy(
    prompts=[[5], [6]],
    steps=4,
    following=[[7, 8, 9, 7], [8, 1]],
    leads=[[1.0, 0.01, 1.0, 1.0], [2.0, 2.0]],
    ends=[1],
)


@pytest.mark.parametrize(
    ("found", "same"),
    [
        ([[7, 8, 9, 7], [8, 1]], 2),
        ([[7, 8, 9, 7], [8, 1, 5, 5]], 2),  # goes on after the end
        ([[7, 8, 9, 7], [8]], 2),  # leaves out the end
        ([[7, 3, 3, 3], [8, 1]], 1),  # the second token was nearly equal to another
    ],
)
def test_texts_may_differ_where_two_tokens_are_nearly_equal(found: list[list[int]], same: int) -> None:
    assert same_texts("x", WANTED, found, 0.006) == (same, None)


@pytest.mark.parametrize(
    "found",
    [
        [[7, 8, 3, 7], [8, 1]],
        [[6, 8, 9, 7], [8, 1]],
        [[7, 8, 9, 7], [8, 2, 2, 2]],
        [[7, 8, 9], [8, 1]],  # stops early
    ],
)
def test_texts_that_differ_without_a_reason_are_named(found: list[list[int]]) -> None:
    _, differs = same_texts("x", WANTED, found, 0.006)
    assert differs is not None
    assert differs.startswith("x differs from transformers in greedy text")
    # Programs whose logits differ by more than that may choose otherwise.
    assert same_texts("x", WANTED, found, 1.1)[1] is None
