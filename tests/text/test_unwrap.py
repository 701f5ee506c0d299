"""Lines that a page's width broke are joined; those that a writer broke are not."""

from __future__ import annotations

import textwrap

import pytest

from llmkit.text.unwrap import unwrapped

PROSE = (
    "Once upon a time there was a little dog who lived in a big house by the sea, and each morning he went"
    " down to the harbour, where the boats came in, and looked at the fishermen as they mended their nets."
)


@pytest.mark.parametrize("width", [40, 72, 100])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_wrapped_prose_becomes_one_line_of_the_same_length(width: int, end: str) -> None:
    wrapped = textwrap.fill(PROSE + " " + PROSE, width).replace("\n", end)
    joined = unwrapped(wrapped)
    assert len(joined) == len(wrapped)
    assert joined.split() == wrapped.split()
    assert "\n" not in joined


def test_paragraphs_headings_and_lists_keep_their_breaks() -> None:
    text = f"THE DOG\n\n{textwrap.fill(PROSE, 70)}\n\n{textwrap.fill(PROSE, 70)}\n\n- milk\n- bread\n"
    joined = unwrapped(text)
    assert joined.splitlines() == ["THE DOG", "", PROSE, "", PROSE, "", "- milk", "- bread"]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "one line", "a\nb\nc", f"{PROSE}\n{PROSE}\n{PROSE}", "春天来了。\n花都开了。\n"]
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert unwrapped(text) == text
