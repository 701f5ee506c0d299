"""Line breaks that a text owes to the width of its page, and not to its writer."""

from __future__ import annotations

import re

_PAGE = 120  # characters; longer lines are paragraphs
_SLACK = 8  # hyphens and ragged margins
_LINE = re.compile(r"([^\n]*?)(\r?\n)(?=([^\s]+))")


def unwrapped(text: str) -> str:
    """The same text, of the same length, with a space for each line break that only wraps a line.

    A break wraps if the next line's first word would not have fitted on its line. How wide the page is, the
    text's own lines tell; short lines (verse, lists, headings, dialogue) keep their breaks.
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
