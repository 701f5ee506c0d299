"""Thoughts and answer of a reasoning model, whole and streamed."""

from __future__ import annotations

import pytest

from llmkit.text.chat.reasoning import ReasoningFilter, split_reasoning

CASES = [
    ("<think>\n2+2 is 4\n</think>\n\nIt is 4.", False, ("2+2 is 4", "It is 4.")),
    ("hm</think>\nYes.", True, ("hm", "Yes.")),
    ("Just an answer.", False, ("", "Just an answer.")),
    ("Use <think> tags </think> like so.", False, ("", "Use <think> tags </think> like so.")),
    ("\n<think>a</think>b", False, ("a", "b")),
    ("<think>cut off in the mid", False, ("cut off in the mid", "")),
    ("<think></think>\n\nquick", False, ("", "quick")),
    ("<thin", False, ("", "<thin")),
    ("", False, ("", "")),
]


@pytest.mark.parametrize(("text", "opened", "parts"), CASES)
def test_split(text: str, opened: bool, parts: tuple[str, str]) -> None:
    assert split_reasoning(text, opened=opened) == parts


@pytest.mark.parametrize(("text", "opened", "parts"), CASES)
def test_a_character_at_a_time_gives_the_same(text: str, opened: bool, parts: tuple[str, str]) -> None:
    stream = ReasoningFilter(opened=opened)
    pieces = [piece for character in text for piece in stream.feed(character)] + stream.close()
    thoughts = "".join(text for thought, text in pieces if thought)
    answer = "".join(text for thought, text in pieces if not thought)
    assert (thoughts.strip(), answer) == parts
