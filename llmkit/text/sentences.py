"""Split a text into sentences by rules, without a model or a download.

The rules cover the full stops of scripts that have their own. For scripts that share `.`, they know the
cases in which it does not end a sentence: abbreviations (by language), initials, numbers, and the next word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# A full stop after these never ends a sentence: "Dr. Who", "vgl. Kapitel 3". Single letters count as
# initials.
_ABBREVIATIONS = {
    language: frozenset(words.split())
    for language, words in {
        "": "dr mr mrs prof st vs",
        "cs": "čl ing mgr mudr např str sv tj tzv",
        "da": "bl ca fx hr jf kl nr pga",
        "de": "bspw bzw ca dipl evtl fr ggf hr inkl ing jh mio mrd nr sog str tel vgl zzgl",
        "en": "adm capt col cpl eg figs gen gov hon ie lt maj messrs ms rep rev sen sgt viz",
        "es": "av dra dña ej gral núm pág sr sra srta sto ud uds",
        "fr": "av bd cf chap env me mgr mlle mm mme mmes pp sté",
        "it": "arch avv cfr dott ecc egr fig gent ing pag sig sigg",
        "nl": "bijv blz ca dhr drs evt ing jl mej mevr mw nr resp vgl",
        "no": "ca hr jf kl nr",
        "pl": "gen godz inż mgr np nr red św tj tzn tzw ul",
        "pt": "av dra exmo exma núm pág sr sra srta",
        "ru": "акад гр им пр проф руб см стр ср тел тыс ул",
        "sv": "bl ca dvs fr hr kl nr",
        "tr": "av bkz doç ör sok vb yrd",
        "uk": "акад гр див ім напр проф стор тел тис",
    }.items()
}
_BEFORE_A_NUMBER = re.compile(
    r"(approx|art|bd|ca|cf|ch|eq|figs?|nos?|nr|núm|op|pp?|p[áa]g|sec|vol|kap|abs|стр|рис|гл"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)"
)
# "J.", "U.S.", "z.B."; not the one-letter words of syllabic scripts.
_INITIALS = re.compile(r"([A-Za-zÀ-ɏЀ-ЯΑ-Ωא-ת\u0620-\u06ff]|[^\W\d_](\.[^\W\d_])+)")
_AFTER_NOON = re.compile(r"[ap]\.m")
_PRONOUN = re.compile(r"\b(am|and|as|but|can|could|did|do|had|have|nor|or|should|so|than|was|will|would) I$")
# Languages that write ordinals with a full stop before a capital: "am 3. Mai", "im 19. Jahrhundert".
_DOTTED_ORDINALS = {"de", "lb", "tr"}
_LIST_NUMBER = re.compile(r"\s*[(\[]?(\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})")

_CLOSING = "\"'”’»」』）)\\]】》›"
_END = re.compile(
    # Full stops of scripts without capitals always end a sentence: CJK, Arabic, Urdu, danda, Tibetan,
    # Burmese, Ethiopic, Khmer, Armenian, Ol Chiki, Meetei, Syriac, N'Ko.
    r"(?P<own>[。！？｡\u061f\u06d4\u0964\u0965\u0f0d\u0f0e\u104b\u1362\u1367\u17d4\u17d5\u0589\u1c7e\u1c7f\uabeb"
    rf"\u0700-\u0702\u07f9]+[{_CLOSING}]*|．(?!\d)[{_CLOSING}]*"
    rf"|[!?]+[{_CLOSING}]*(?=[\u3041-\u30ff\u3400-\u9fff]))"
    # Those of Latin, Greek, Cyrillic and scripts that borrow them do so before white space.
    rf"|[.!?…‽]+[{_CLOSING}]*(?=\s|$)"
)
_GREEK_QUESTION = re.compile(r"[;\u037e](?=\s|$)")
# A sentence that continues after a quotation: 「行く。」と言った.
_GOES_ON = re.compile(r"[\u3041-\u309f、，,]")
_LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")


def split_sentences(text: str, language: str | None = None) -> list[tuple[int, int]]:
    """Find the sentences of a text.

    A line break always ends a sentence; call `unwrapped` first for text that is wrapped to a page. A full
    stop does not end one before a lower-case letter, after a known abbreviation (`Dr.`), an initial (`J.`) or
    letters with stops between them (`U.S.`), between an abbreviation and its number (`Fig. 3`), inside a
    number, or after the number of a list (`1. First`).

    Args:
        text: any text.
        language: ISO 639-1 code, or 639-3 if there is none, for abbreviations and marks that differ between
            languages; None means English.

    Returns:
        (start, end) of the sentences in characters, in order; only white space is between them.
    """
    language = {"nb": "no", "nn": "no"}.get(language or "en", language or "en")
    spans = []
    for start, stop in (line.span() for line in _LINE.finditer(text)):
        for end in _ends(text, start, stop, language):
            spans.append(_stripped(text, start, end))
            start = end
        spans.append(_stripped(text, start, stop))
    return [(start, end) for start, end in spans if start < end]


def is_complete(sentence: str) -> bool:
    """Return True if a text ends with a full stop, a question mark or the like of any script.

    Quotation marks and brackets may follow it. Headings, items of lists and lines of tables have none.
    """
    last = list(_END.finditer(sentence.rstrip()))[-1:]
    return bool(last) and last[0].end() == len(sentence.rstrip())


def _ends(text: str, start: int, stop: int, language: str) -> Iterator[int]:
    """Yield the ends of the sentences of a line, except the last one."""
    begin = start
    marks = list(_END.finditer(text, start, stop))
    if language == "el":
        marks = sorted([*marks, *_GREEK_QUESTION.finditer(text, start, stop)], key=lambda mark: mark.start())
    for mark in marks:
        following = text[mark.end() : min(stop, mark.end() + 8)]
        before = text[begin : mark.start()]
        if mark.lastgroup == "own" or mark.group() in ";\u037e":
            ends = not (mark.group()[-1] in _CLOSING and _GOES_ON.match(following))
        else:
            ends = _stop_ends(before, mark.group(), following.lstrip()[:1], language, first=begin == start)
        if ends:
            yield mark.end()
            begin = mark.end()


def _stop_ends(before: str, mark: str, following: str, language: str, *, first: bool) -> bool:
    """Return True if a `.`, `!`, `?` or ellipsis between `before` and `following` ends a sentence."""
    if following.islower():
        return False
    if not mark.startswith(".") or mark.startswith(".."):
        return True
    if first and _LIST_NUMBER.fullmatch(before):
        return False
    words = before[-40:].split()
    last = words[-1].lstrip("(\"'“‘«[¿¡„") if words else ""
    if last == "I" and language == "en" and _PRONOUN.search(before[-40:]):
        return True
    folded = last.lower()
    if _INITIALS.fullmatch(last):
        return bool(_AFTER_NOON.fullmatch(folded)) and following.isupper()
    if folded in _ABBREVIATIONS[""] or folded in _ABBREVIATIONS.get(language, ()):
        return False
    if language in _DOTTED_ORDINALS and folded.isdigit() and len(folded) <= 2:
        return False
    return not (following.isdigit() and _BEFORE_A_NUMBER.fullmatch(folded))


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span without the white space at its ends."""
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), start + len(part.rstrip())
