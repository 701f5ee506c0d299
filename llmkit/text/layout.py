"""Split a text into passages to rewrite and the text around them, and put it together again."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmkit.text.sentences import split_sentences

_LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_BREAK = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Marks at the start of a line that are no part of its sentence: bullets, numbers, headings, quoted mail.
_MARKER = re.compile(r"(?:(?:[-*+•·‣>–—]|#{1,6}|\d{1,3}[.)]|[a-z]\))\s+)+")
_CLAUSE_END = re.compile(r"[,;:–—،؛](?=\s)|[、，；：]|\s(?=\()")


@dataclass(frozen=True)
class TextLayout:
    """A text and the passages in it.

    Attributes:
        text: the whole text.
        spans: (start, end) of the passages in characters, in order.
    """

    text: str
    spans: tuple[tuple[int, int], ...]

    @property
    def passages(self) -> list[str]:
        return [self.text[start:end] for start, end in self.spans]

    def cut(self, too_long: Callable[[Sequence[str]], Sequence[bool]]) -> TextLayout:
        """Return the layout with long passages halved until none is too long.

        Args:
            too_long: returns True for each passage that is too long; a single character is never cut.
        """
        done: list[tuple[int, int]] = []
        waiting = list(self.spans)
        while waiting:
            verdicts = too_long([self.text[start:end] for start, end in waiting])
            halved = []
            for (start, end), long in zip(waiting, verdicts, strict=True):
                left, right = _halves(self.text[start:end]) if long else (end - start, end - start)
                if right == end - start:
                    done.append((start, end))
                else:
                    halved += [(start, start + left), (start + right, end)]
            waiting = halved
        return TextLayout(self.text, tuple(sorted(done)))

    def without(self, ranges: Sequence[tuple[int, int]]) -> TextLayout:
        """Return the layout without the given ranges of the text, which are in order.

        The remaining parts of a passage become passages, except those without a letter.
        """
        found = []
        for start, end in self.spans:
            for begin, stop in (*(span for span in ranges if start < span[1] and span[0] < end), (end, end)):
                part = self.text[start:begin]
                if has_letters(part):
                    found.append((start + len(part) - len(part.lstrip()), start + len(part.rstrip())))
                start = max(start, stop)
        return TextLayout(self.text, tuple(found))

    def filled(self, replacements: Sequence[str], *, spaces: bool | None = None) -> str:
        """Return the text with each passage replaced.

        Args:
            replacements: one for each passage.
            spaces: True puts a space between passages of a line that touched; False removes a single space
                between them; None changes nothing between them.
        """
        return self.filled_spans(replacements, spaces=spaces)[0]

    def filled_spans(
        self, replacements: Sequence[str], *, spaces: bool | None = None
    ) -> tuple[str, list[tuple[int, int]]]:
        """Return the text of `filled`, and (start, end) of each replacement in it."""
        parts: list[str] = []
        places: list[tuple[int, int]] = []
        end = size = 0
        for i, ((start, stop), new) in enumerate(zip(self.spans, replacements, strict=True)):
            gap = self.text[end:start]
            if i and spaces is not None and gap in {"", " "}:
                gap = " " if spaces else ""
            parts += [gap, new]
            places.append((size + len(gap), size + len(gap) + len(new)))
            size = places[-1][1]
            end = stop
        return "".join([*parts, self.text[end:]]), places


def lay_out(text: str, language: str | None = None, *, lines: bool = False) -> TextLayout:
    """Find the passages of a text: its sentences, or whole lines.

    Text without a letter (numbers, rules, emoji) is not a passage. Bullets and numbers of lists are left out.

    Args:
        text: any text.
        language: for `split_sentences`.
        lines: a passage is a line, not a sentence.
    """
    spans = [line.span() for line in _LINE.finditer(text)] if lines else split_sentences(text, language)
    found = []
    before = 0
    for start, end in spans:
        opens_line = not before or _BREAK.search(text, before, start) is not None
        before = end
        if opens_line:
            start += len(text[start:end]) - len(text[start:end].lstrip())
            marker = _MARKER.match(text, start, end)
            start = marker.end() if marker else start
        end = start + len(text[start:end].rstrip())
        if has_letters(text[start:end]):
            found.append((start, end))
    return TextLayout(text, tuple(found))


def has_letters(text: str) -> bool:
    """Return True if a text contains a letter, and so may need translation."""
    return any(character.isalpha() for character in text)


def _halves(text: str) -> tuple[int, int]:
    """Return the end of a passage's first half and the start of the second.

    Of the cuts in the middle part, those of the best kind count: after a sentence, after a clause, at a
    space, between any characters. Of these the cut nearest to the middle is taken. Both numbers are the
    text's length if it cannot be cut.
    """
    whole = len(text)
    low, high = whole // 5, whole - whole // 5
    kinds = (
        [end for _, end in split_sentences(text)],
        [mark.end() for mark in _CLAUSE_END.finditer(text)],
        [mark.start() for mark in re.finditer(r"\s+", text)],
        [i for i in range(1, whole) if not _joins(text[i])],
    )
    for cuts in kinds:
        inside = [cut for cut in cuts if max(low, 1) <= cut <= min(high, whole - 1)]
        if inside:
            cut = min(inside, key=lambda cut: abs(2 * cut - whole))
            start = cut + len(text[cut:]) - len(text[cut:].lstrip())
            return len(text[:cut].rstrip()), start
    return whole, whole


def _joins(character: str) -> bool:
    """Return True for a character that belongs to the one before it (accent, joiner, variation selector)."""
    return unicodedata.category(character) in {"Mn", "Mc", "Me", "Cf"}
