"""Lists of terms: those to keep as they are, and those to translate in one way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from llmkit.errors import InputError
from llmkit.option_file import option_text
from llmkit.text.protected_spans import ProtectedSpans

_MOST_TERMS = 100_000


def read_terms(path: str | Path) -> list[str]:
    """Read terms that a translation keeps: one per line; skip blank lines and lines that begin with `#`.

    Raises:
        InputError: the file is not UTF-8, or has too many terms.
    """
    return list(dict.fromkeys(line.strip() for _, line in _lines(path, "keep")))


def read_glossary(path: str | Path) -> Glossary:
    """Read a glossary: a line is a source term, a tab, and its translation.

    Raises:
        InputError: the file is not UTF-8, a line has no tab or an empty side, a term has two
            translations, or there is no line.
    """
    entries: dict[str, str] = {}
    for number, line in _lines(path, "glossary"):
        source, _, target = (part.strip() for part in line.partition("\t"))
        if not source or not target:
            raise InputError(f"{path}:{number}: a line must be a source term, a tab, and its translation")
        if entries.setdefault(source, target) != target:
            raise InputError(f"{path}:{number}: {source!r} has two translations; keep one of them")
    if not entries:
        raise InputError(f"{path} has no terms; a line is a source term, a tab, and its translation")
    return Glossary(entries)


def _lines(path: str | Path, option: str) -> Iterable[tuple[int, str]]:
    text = option_text(path, option)
    lines = [
        (number, line.strip(" \r"))
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if len(lines) > _MOST_TERMS:
        raise InputError(f"{path} has {len(lines)} lines; at most {_MOST_TERMS} terms are read")
    return lines


@dataclass(frozen=True)
class Glossary:
    """Terms and their translations.

    A term counts where it is a separate word, as in `ProtectedSpans`; it may begin with a capital
    letter at the start of a sentence. A translation counts in any case and with any ending.

    Attributes:
        entries: translation by source term.
    """

    entries: dict[str, str]

    @cached_property
    def _forms(self) -> dict[str, str]:
        """Source term by the form in which it may occur in a text."""
        capital = {term[0].upper() + term[1:]: term for term in self.entries}
        return {**capital, **{term: term for term in self.entries}}

    @cached_property
    def _spans(self) -> ProtectedSpans:
        return ProtectedSpans(list(self._forms))

    def places(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, source term) of each term in a text, in order."""
        spans = self._spans.spans(text)
        return [
            (start, end, self._forms[text[start:end]])
            for start, end in spans
            if text[start:end] in self._forms
        ]

    def used(self, text: str) -> Counter[str]:
        """The source terms in a text, each with the number of its places."""
        return Counter(term for _, _, term in self.places(text))

    def missing(self, text: str, translation: str) -> Counter[str]:
        """The source terms whose translation occurs less often, each with the number of missing places."""
        written = translation.casefold()
        wanted = self.used(text).items()
        return +Counter({term: n - written.count(self.entries[term].casefold()) for term, n in wanted})

    def unmet(self, text: str, translation: str) -> list[str]:
        """The source terms whose translation occurs less often in the translated text."""
        return list(self.missing(text, translation))


@dataclass
class GlossaryCheck:
    """Counts over many segments which terms of a glossary were met.

    Attributes:
        glossary: the terms.
        met, unmet: number of segments by source term.
    """

    glossary: Glossary
    met: Counter[str] = field(default_factory=Counter)
    unmet: Counter[str] = field(default_factory=Counter)

    def add(self, text: str, translation: str) -> list[str]:
        """Count one segment.

        Returns:
            Its terms that were not met.
        """
        missing = self.glossary.unmet(text, translation)
        self.unmet.update(missing)
        self.met.update(set(self.glossary.used(text)) - set(missing))
        return missing

    def lines(self) -> list[str]:
        """A line for each term that was not always met, most frequent first."""
        entries = self.glossary.entries
        return [
            f"{term} -> {entries[term]}: missing in {times} of {times + self.met[term]} segments"
            for term, times in self.unmet.most_common()
        ]
