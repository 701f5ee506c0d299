"""Find languages by name or code, and match them with the codes of any model.

A user writes `de`, `deu`, `German`, `zh-Hant` or `pt-BR`. A model has `deu_Latn` (NLLB), `__de__` (M2M100),
`de_DE` (mBART), `>>deu<<` (Marian) or `<2de>` (MADLAD). The same rules read both, so a language is found
among the codes in the model's own vocabulary; no model's codes are listed here.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from llmkit.errors import OptionError
from llmkit.text.language_table import TABLE

# Codes that other standards, older ones and some models use: ISO 639-2/B, withdrawn codes, `ns` of M2M100.
_OTHER_CODES = {
    pair[:-4]: pair[-3:]
    for line in (
        "alb=sqi arm=hye baq=eus bur=mya chi=zho cze=ces dut=nld fre=fra geo=kat ger=deu gre=ell ice=isl",
        "mac=mkd mao=mri may=msa per=fas rum=ron slo=slk tib=bod wel=cym iw=heb in=ind ji=yid jw=jav mo=ron",
        "nb=nor ns=nso scr=hrv scc=srp",
    )
    for pair in line.split()
}
_PHRASES = {
    "simplified chinese": "zh-Hans",
    "chinese simplified": "zh-Hans",
    "traditional chinese": "zh-Hant",
    "chinese traditional": "zh-Hant",
    "brazilian portuguese": "pt-BR",
    "portuguese brazil": "pt-BR",
    "european portuguese": "pt-PT",
    "latin american spanish": "es-419",
    "american english": "en-US",
    "british english": "en-GB",
    "canadian french": "fr-CA",
}
_SCRIPT_OF_REGION = {
    "zho": {"CN": "Hans", "SG": "Hans", "MY": "Hans", "TW": "Hant", "HK": "Hant", "MO": "Hant"}
}
_SCRIPT_NAMES = {"Arab": "Arabic script", "Cyrl": "Cyrillic script", "Latn": "Latin script"}
T = TypeVar("T")
_MARKS = re.compile(r"__(.+)__|>>(.+)<<|<2(.+)>")
_NO_SPACES = {"zho", "jpn", "yue"}


@dataclass(frozen=True)
class Language:
    """A language as a user or a model named it.

    Attributes:
        code: ISO 639-3; of the macrolanguage if that is the usual name (``zho``, ``ara``).
        iso1: ISO 639-1, or None.
        name: English name; None for a well-formed code that is not in the table.
        script: ISO 15924, if one was named or follows from the region.
        region: ISO 3166 or UN M.49, if one was named.
        default_script: script that is meant if none is named; None for a language not in the table.
    """

    code: str
    iso1: str | None
    name: str | None
    script: str | None = None
    region: str | None = None
    default_script: str | None = None

    @property
    def tag(self) -> str:
        """BCP-47 tag, such as ``de``, ``zh-Hant`` or ``pt-BR``."""
        script = (
            None if self.region and self.script == _implied_script(self.code, self.region) else self.script
        )
        return "-".join(part for part in (self.iso1 or self.code, script, self.region) if part)

    @property
    def label(self) -> str:
        """Name for prompts: ``German``, ``Traditional Chinese``, ``Portuguese (pt-BR)``."""
        name = self.name or self.code
        if self.code == "zho" and self.script in {"Hans", "Hant"} and not self.region:
            return f"{'Simplified' if self.script == 'Hans' else 'Traditional'} {name}"
        if self.region:
            return f"{name} ({self.tag})"
        if self.script and self.script != self.default_script:
            return f"{name} ({_SCRIPT_NAMES.get(self.script, self.script)})"
        return name

    @property
    def spaces_sentences(self) -> bool:
        """True if the language puts a space between sentences."""
        return self.code not in _NO_SPACES


def find_language(text: str, option: str) -> Language:
    """Return the language that a user named.

    Args:
        text: a code of ISO 639-1 or 639-3, a BCP-47 tag, an English name, or any model's code.
        option: Python name of the option that holds it, for the error.

    Raises:
        OptionError: the language is unknown; the message gives the nearest names.
    """
    phrase = " ".join(text.replace("(", " ").replace(")", " ").split()).casefold()
    language = read_code(_PHRASES.get(phrase, text)) or _by_name(phrase)
    if language is None:
        raise unknown_language(text, option)
    return language


def find_pair(source: str | None, target: str | None) -> tuple[Language | None, Language | None]:
    """Return the languages of the options `source` and `target`; None for one that was not given.

    Raises:
        OptionError: a language is unknown, or both are the same.
    """
    known = find_language(source, "source") if source is not None else None
    wanted = find_language(target, "target") if target is not None else None
    if known and wanted and same_language(known, wanted):
        raise OptionError("source", f"{source} and target={target} are the same language, {wanted.label}")
    return known, wanted


def unknown_language(text: str, option: str) -> OptionError:
    """Return the error for a language that has no known name; its message gives the nearest names."""
    near = _nearest(text, [(name, row) for row in _rows() for name in (*row.names, row.code, row.iso1)])
    known = ", ".join(f"{row.iso1 or row.code} ({row.names[0]})" for row in near)
    hint = f"the nearest are {known}" if near else "give a code such as de, deu or zh-Hant, or a name"
    return OptionError(option, f"{text}: no such language; {hint}")


@functools.lru_cache(maxsize=4096)
def read_code(text: str) -> Language | None:
    """Read a language code of any model family; None if the text is not a code.

    Three letters that are not in the table are a language without a name, since models have more languages
    than the table.
    """
    text = text.strip()
    marked = _MARKS.fullmatch(text)
    if marked:
        text = next(filter(None, marked.groups()))
    first, *rest = re.split(r"[-_]", text)
    row = _by_code().get(first.lower())
    if rest and len(rest[0]) == 3 and rest[0].isalpha():  # zh-yue: a language within a macrolanguage
        row, rest = _by_code().get(rest[0].lower(), row), rest[1:]
    script = region = None
    for part in rest:
        if re.fullmatch(r"[A-Za-z]{4}", part) and script is None and region is None:
            script = part.title()
        elif re.fullmatch(r"[A-Za-z]{2}|\d{3}", part) and region is None:
            region = part.upper()
        else:
            return None
    if region == "XX":  # mBART's sign for no region
        region = None
    if row is None:
        known = re.fullmatch(r"[a-z]{3}", first)
        return Language(first, None, None, script, region) if known else None
    script = script or _implied_script(row.code, region)
    return Language(row.code, row.iso1 or None, row.names[0], script, region, row.script)


@dataclass(frozen=True)
class CodeMatch:
    """A model's code for a language.

    Attributes:
        code: as the model writes it.
        exact: the code has the script and the region requested, if any.
    """

    code: str
    exact: bool


def match_code(language: Language, codes: Iterable[str], *, said: str, model: str) -> CodeMatch:
    """Find a language among a model's codes.

    Args:
        language: the language to find.
        codes: the codes in the model's vocabulary.
        said: the option that named the language and its value, such as ``target=de``, for the error.
        model: name of the model, for the error.

    Raises:
        OptionError: the model does not have the language; the message gives the nearest codes that it has.
    """
    codes = sorted(codes)
    read = {code: known for code in codes if (known := read_code(code)) is not None}
    fits = [
        (rank, code)
        for code, known in read.items()
        if known.code == language.code and (rank := _rank(language, known)) is not None
    ]
    if fits:
        code = min(fits)[1]
        return CodeMatch(code, exact=_is_exact(language, read[code]))
    own = [code for code, known in read.items() if known.code == language.code]
    names = [(name, code) for code, known in read.items() for name in (code, known.name, known.tag)]
    near = list(dict.fromkeys([*own, *_nearest(language.name or language.code, names)]))
    if len(codes) <= 12:
        hint = f"it has {', '.join(codes)}"
    elif near:
        hint = f"the nearest it has are {', '.join(near[:5])}"
    else:
        hint = f"it has {len(codes)} others, such as {', '.join(codes[:3])}"
    option, _, value = said.partition("=")
    raise OptionError(option, f"{value or language.tag}: {model} does not know {language.label}; {hint}")


def same_language(one: Language, other: Language) -> bool:
    """Return True if two names mean one language in one script and, if both have one, one region."""
    scripts = {language.script or language.default_script for language in (one, other)}
    regions = {language.region for language in (one, other)} - {None}
    return one.code == other.code and len(scripts) == 1 and len(regions) < 2


def _rank(wanted: Language, known: Language) -> tuple[int, int] | None:
    """Return the distance of a model's code in script and region; None if the script is another."""
    if wanted.script and known.script and wanted.script != known.script:
        return None
    script = 0 if known.script == (wanted.script or wanted.default_script) else 1 if not known.script else 2
    if known.region == wanted.region:
        return script, 0
    if known.region is None:
        return script, 1
    # de_DE, fr_FR: if a language has a country of the same code, the plain code means that country.
    return script, 2 if not wanted.region and known.region == (wanted.iso1 or "").upper() else 3


def _is_exact(wanted: Language, known: Language) -> bool:
    script = known.script or known.default_script
    if wanted.script and script != wanted.script:
        return False
    by_script = wanted.script is not None and wanted.script == _implied_script(wanted.code, wanted.region)
    return by_script or wanted.region in {None, known.region}


def _implied_script(code: str, region: str | None) -> str | None:
    return _SCRIPT_OF_REGION.get(code, {}).get(region or "")


@dataclass(frozen=True)
class _TableRow:
    code: str
    individual: str
    iso1: str
    script: str
    names: tuple[str, ...]


@functools.cache
def _rows() -> tuple[_TableRow, ...]:
    rows = []
    for line in TABLE.strip().splitlines():
        iso1, codes, script, names = line.split(" ", 3)
        code, _, individual = codes.partition("=")
        rows.append(_TableRow(code, individual, iso1.strip("-"), script, tuple(names.split("/"))))
    return tuple(rows)


@functools.cache
def _by_code() -> dict[str, _TableRow]:
    found = {code: row for row in _rows() for code in (row.code, row.individual, row.iso1) if code}
    return {**found, **{other: found[code] for other, code in _OTHER_CODES.items()}}


def _by_name(name: str) -> Language | None:
    for row in _rows():
        if name in (known.casefold() for known in row.names):
            return Language(row.code, row.iso1 or None, row.names[0], default_script=row.script)
    return None


def _nearest(text: str, names: Iterable[tuple[str | None, T]]) -> list[T]:
    """Return at most five things, those with the names most like `text`."""
    things = {name.casefold(): thing for name, thing in names if name}
    found = difflib.get_close_matches(text.casefold(), things, n=8, cutoff=0.6)
    return list(dict.fromkeys(things[name] for name in found))[:5]
