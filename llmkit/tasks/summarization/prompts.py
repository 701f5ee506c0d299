"""Prompts that ask a chat model for a summary."""

from __future__ import annotations

from typing import Literal

Stage = Literal["text", "part", "summaries", "further"]

STYLES = {
    "paragraph": "one paragraph of prose",
    "bullets": "a list of bullet points, one a line, each beginning with '- '",
}
_TASKS: dict[Stage, str] = {
    "text": "Summarize the text below.",
    "part": "Below is {place} of a longer text. Summarize this part.",
    "summaries": "Below are summaries of the consecutive parts of one text, in order. Put them together into"
    " one summary of the whole text.",
    "further": "Below are a summary of a text up to a point, and the part that follows, {place}. Write a new"
    " summary of all of it up to the end of this part.",
}


def instruction(stage: Stage, *, place: str, length: str, style: str) -> str:
    """Return the request before the text.

    Args:
        stage: kind of text: the full text, a part, summaries of parts, or a summary and the next part.
        place: place of the part, such as ``part 3 of 12``.
        length: wanted length, such as ``at most 100 words``; empty for any length.
        style: a key of `STYLES`.
    """
    long = f" Write {length}." if length else ""
    return (
        f"{_TASKS[stage].format(place=place)}{long} Write {STYLES[style]}, in the language of the text. Say"
        " nothing that does not follow from the text, and answer with the summary alone."
    )


def in_words(least: int, most: int | None) -> str:
    """Return bounds on a length in words, such as ``10 to 20 words``; empty if there is no bound."""
    if most is None:
        return f"at least {least} words" if least else ""
    return f"{least} to {most} words" if least else f"at most {most} words"
