"""Undo hard wrapping: join lines that were broken only to fit a page width."""

from __future__ import annotations

import re

_PAGE = 120  # characters; longer lines are paragraphs
_SLACK = 8  # hyphens and ragged margins
_LINE = re.compile(r"([^\n]*?)(\r?\n)(?=([^\s]+))")


def unwrapped(text: str) -> str:
    """Return the text, with the same length, with a space for each line break that only wraps a line.

    A break wraps if the first word of the next line would not have fitted on the line. The width of the page
    follows from the text's own lines. Short lines (verse, lists, headings, dialogue) keep their breaks.
    """
    lengths = sorted(len(line) for line in text.splitlines() if line.strip())
    width = lengths[int(0.9 * (len(lengths) - 1))] if len(lengths) > 2 else _PAGE + 1
    if not _SLACK < width <= _PAGE:
        return text

    def join(match: re.Match[str]) -> str:
        line, end, word = match.groups()
        wraps = line.strip() and len(line) + 1 + len(word) > width - _SLACK
        return line + " " * len(end) if wraps else match.group()

    return _LINE.sub(join, text)
