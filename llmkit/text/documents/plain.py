"""Plain text: lines, or paragraphs whose lines are broken to a width."""

from __future__ import annotations

import re

from llmkit.text.documents import atoms as A
from llmkit.text.documents.build import Builder
from llmkit.text.documents.segment import Parts
from llmkit.text.documents.writer import TextWriter
from llmkit.text.words import is_unspaced

_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
# Beginnings of a line that are no part of its sentence: indentation, quoted mail, bullets, numbers.
_PREFIX = re.compile(r"[ \t]*(?:>[ \t]*)*(?:(?:[-*+•·‣–—]|#{1,6}|\(?(?:\d{1,3}|[a-zA-Z])[.)])[ \t]+)?")
_ITEM = re.compile(r"[ \t]*(?:>[ \t]*)*(?:[-*+•·‣–—]|#{1,6}|\(?(?:\d{1,3}|[a-zA-Z])[.)])[ \t]+\S")
_QUOTE = re.compile(r"[ \t]*(?:>[ \t]*)*")


def read_plain(source: str, builder: Builder, *, reflow: bool) -> Parts:
    """Read plain text.

    Args:
        source: the text.
        builder: takes its segments.
        reflow: join the lines of a paragraph. A line begins a new one after a blank line, with a bullet or
            number, with deeper quotation marks, or with other indentation than the second line of its
            paragraph has.
    """
    parts: list[str | int] = []
    block: list[A.Atom] = []
    begun, indents = 0, [""]

    def end_block() -> None:
        if block:
            parts.extend(builder.add(block, TextWriter(), where=f"line {begun}", kind="paragraph"))
            block.clear()

    ending = ""
    for number, match in enumerate(_LINE.finditer(source), 1):
        line, line_end = match.groups()
        if not line and not line_end:
            break
        prefix = (_PREFIX.match(line) or match).group() if line.strip() else line
        lead = (_QUOTE.match(line) or match).group()
        joins = bool(reflow and block and line.strip() and not _ITEM.match(line))
        joins = (
            joins and (len(indents) == 1 or lead == indents[-1]) and lead.count(">") == indents[0].count(">")
        )
        if joins:
            before = A.shown(block)[-1:]
            text = line[len(lead) :]
            shown = "" if before and is_unspaced(before) and is_unspaced(text[:1]) else " "
            block.append(A.line_break(_trailing(block) + ending + lead, shown))
            indents.append(lead)
            block.append(A.text(text))
        else:
            end_block()
            parts.append(ending)
            begun, indents = number, [lead]
            parts.append(prefix)
            block = [A.text(line[len(prefix) :])] if line.strip() else []
        ending = line_end
    end_block()
    return A.joined([*parts, ending])


def _trailing(block: list[A.Atom]) -> str:
    """Take the white space at the end of the last line out of its text."""
    text = block[-1].shown
    core = text.rstrip()
    block[-1] = A.text(core)
    return text[len(core) :]
