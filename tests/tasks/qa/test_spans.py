"""The arithmetic of spans, against sums done by hand and by brute force."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from llmkit.errors import InputError, LLMKitError
from llmkit.tasks.qa.spans import AnswerOptions, SpanAnswer, best_spans, pool_answers, probabilities, tidy


def test_the_best_spans_are_those_of_a_search_through_all() -> None:
    chance = np.random.default_rng(0)
    for _ in range(50):
        length, count, longest = (int(n) for n in chance.integers(1, 12, size=3))
        starts, ends = chance.random(length), chance.random(length)
        every = [
            (starts[s] * ends[e], s, e) for s in range(length) for e in range(s, min(s + longest, length))
        ]
        expected = sorted(every, reverse=True)[:count]
        found = best_spans(starts, ends, count, longest)
        assert [(s, e) for s, e, _ in found] == [(s, e) for _, s, e in expected]
        assert [score for *_, score in found] == pytest.approx([score for score, *_ in expected])


def test_probabilities_are_a_softmax_with_the_no_answer_token() -> None:
    inside, nothing = probabilities(np.array([1.0, 2.0], dtype=np.float32), 3.0)
    total = math.exp(1) + math.exp(2) + math.exp(3)
    assert inside.tolist() == pytest.approx([math.exp(1) / total, math.exp(2) / total])
    assert nothing == pytest.approx(math.exp(3) / total)
    alone, zero = probabilities(np.array([700.0, 700.0], dtype=np.float32), None)
    assert alone.tolist() == [0.5, 0.5]
    assert zero == 0


def test_logits_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(LLMKitError, match="dtype=float32"):
        probabilities(np.array([float("nan"), 1.0]), 0.0)


# Two windows that share the answer "red ball", and one other answer.
WINDOWS = [
    (
        [
            SpanAnswer("red ball", 0.6, 4, 12),
            SpanAnswer("Red ball", 0.2, 30, 38),
            SpanAnswer("Tom", 0.1, 0, 3),
        ],
        0.05,
    ),
    ([SpanAnswer("red ball", 0.7, 4, 12), SpanAnswer("", 0.2, 3, 3)], 0.3),
]


def pooled(**options: Any) -> list[tuple[str, float, int]]:
    found = pool_answers(WINDOWS, AnswerOptions(**options)).best
    return [(one.answer, pytest.approx(one.score), one.start) for one in found]


def test_equal_texts_add_up_in_a_window_and_the_best_window_counts() -> None:
    assert pooled(top_k=3) == [("red ball", 0.8, 4), ("Tom", 0.1, 0)]


def test_transformers_4_adds_up_over_windows() -> None:
    assert pooled(top_k=3, transformers_4=True) == [("red ball", 1.5, 4), ("", 0.2, 3), ("Tom", 0.1, 0)]


def test_no_answer_competes_with_its_least_probability() -> None:
    assert pooled(top_k=3, no_answer=True) == [("red ball", 0.8, 4), ("Tom", 0.1, 0), ("", 0.05, 0)]
    assert pool_answers(WINDOWS, AnswerOptions()).no_answer_probability == 0.05


@pytest.mark.parametrize(("threshold", "first"), [(0.04, ""), (0.05, "red ball"), (0.5, "red ball")])
def test_a_threshold_decides_on_no_answer(threshold: float, first: str) -> None:
    assert pooled(no_answer=True, no_answer_threshold=threshold)[0][0] == first


def test_where_nothing_is_found_the_answer_is_empty() -> None:
    (only,) = pool_answers([([], 0.4)], AnswerOptions()).best
    assert (only.answer, only.score, only.start, only.end) == ("", 0.0, 0, 0)


@pytest.mark.parametrize(
    ("text", "span", "tidied"),
    [
        ("a cat.", " cat", "cat"),
        ("a\tcat\r\nran", "\tcat\r\n", "cat"),
        ("cafe\u0301 noir", "cafe", "cafe\u0301"),
        ("cafe\u0301 noir", "\u0301", "e\u0301"),
        ("hi 👋🏽!", "👋", "👋🏽"),
        ("a 👩\u200d🚀 flies", "👩", "👩\u200d🚀"),
        ("a 👩\u200d🚀 flies", "🚀", "👩\u200d🚀"),
        ("love ❤\ufe0f you", "❤", "❤\ufe0f"),
        ("a  b", "  ", ""),
    ],
)
def test_a_span_has_no_white_space_around_it_and_whole_characters(text: str, span: str, tidied: str) -> None:
    start = text.index(span)
    a, b = tidy(text, start, start + len(span))
    assert text[a:b] == tidied


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top_k": 0}, "`top_k`"),
        ({"max_answer_tokens": 0}, "`max_answer_tokens`"),
        ({"window": 0}, "`window`"),
        ({"doc_stride": -1}, "`doc_stride`"),
        ({"no_answer": True, "no_answer_threshold": 1.5}, "between 0 and 1"),
        ({"no_answer_threshold": 0.5}, "needs `no_answer`"),
    ],
)
def test_bad_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        AnswerOptions(**options)
