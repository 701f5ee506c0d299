"""Stop strings, whole and streamed."""

from __future__ import annotations

import itertools

import pytest

from llmkit.text.stops import StopFilter, cut_at_stop

CASES = [
    ("Tom ran.\nLily sat.", ["\n"], "Tom ran."),
    ("no stop here", ["END"], "no stop here"),
    ("aab", ["ab"], "a"),
    ("ababac", ["abac"], "ab"),
    ("one END two STOP", ["STOP", "END"], "one "),
    ("春天来了。花开了。", ["。"], "春天来了"),
    ("ENDEN", ["ENDEND", "END"], ""),
    ("END", ["END"], ""),
    ("", ["END"], ""),
    ("text", [], "text"),
]


@pytest.mark.parametrize(("text", "stops", "kept"), CASES)
def test_a_text_is_cut_at_the_first_stop(text: str, stops: list[str], kept: str) -> None:
    assert cut_at_stop(text, stops) == kept


@pytest.mark.parametrize(("text", "stops", "kept"), CASES)
def test_streamed_in_any_pieces_it_is_cut_at_the_same_place(text: str, stops: list[str], kept: str) -> None:
    for cuts in itertools.combinations(range(1, len(text)), min(2, max(len(text) - 1, 0))):
        pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
        stop = StopFilter(stops)
        shown = "".join(stop.feed(piece) for piece in pieces) + stop.close()
        assert shown == kept, pieces


def test_nothing_is_held_back_that_cannot_begin_a_stop() -> None:
    stop = StopFilter(["END"])
    assert stop.feed("The ") == "The "
    assert stop.feed("E") == ""
    assert stop.feed("a") == "Ea"
