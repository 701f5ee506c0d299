"""Where a text's sentences end, for ROUGE-Lsum: rules, no model and no download."""

from __future__ import annotations

import re

# "Dr. Who", "Fig. 3", "Jan. 5": a full stop after these does not end a sentence before what stands there.
_BEFORE_A_NAME = re.compile(
    r"(adm|capt|col|cpl|dr|gen|gov|hon|lt|maj|messrs|mr|mrs|ms|prof|rep|rev|sen|sgt|st|vs)"
)
_BEFORE_A_NUMBER = re.compile(
    r"(approx|art|bd|ca|cf|ch|eq|figs?|nos?|nr|op|pp?|sec|vol|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)"
)
_INITIALS = re.compile(r"[^\W\d_](\.[^\W\d_])*")

_CLOSING = "\"'”’»」』）)\\]】》"
_END = re.compile(
    # Full stops of scripts without capitals, and the ellipsis, end a sentence wherever they stand.
    rf"[。！？｡．…\u061f\u06d4\u0964\u0965\u0f0d\u104b\u1362\u17d4]+[{_CLOSING}]*"
    # Those of Latin, Greek and Cyrillic do so before a space.
    rf"|[.!?]+[{_CLOSING}]*(?=\s)"
)


def sentences(text: str) -> list[str]:
    """Split a text into sentences; a line break always ends one.

    A full stop does not end a sentence before a lower-case letter, after a title (`Dr.`), an initial
    (`J.`) or letters with stops between them (`U.S.`), nor between an abbreviation and its number
    (`Fig. 3`).

    Returns:
        The sentences, stripped, none of them empty.
    """
    found = []
    for line in text.splitlines():
        start = 0
        for mark in _END.finditer(line):
            if _ends(line[start : mark.start()], mark.group(), line[mark.end() :].lstrip()[:1]):
                found.append(line[start : mark.end()].strip())
                start = mark.end()
        found.append(line[start:].strip())
    return [sentence for sentence in found if sentence]


def _ends(before: str, mark: str, following: str) -> bool:
    if mark[0] not in ".!?…":
        return True
    if following.islower():
        return False
    if not mark.startswith(".") or mark.startswith(".."):
        return True
    words = before.split()
    last = words[-1].lstrip("(\"'“‘«[").lower() if words else ""
    if _BEFORE_A_NAME.fullmatch(last) or _INITIALS.fullmatch(last):
        return False
    return not (following.isdigit() and _BEFORE_A_NUMBER.fullmatch(last))
