"""Markup in a translation: by markers, by aligned words, or around the whole."""

from __future__ import annotations

import pytest

from llmkit.text.documents import Segment, apply_inline, apply_parts, check_pieces, parse

SENTENCE = "Read the **manual** before you [open `a.py`](x.py).\n"


def only(source: str, format: str = "md") -> Segment:
    (segment,) = parse(source, format).segments
    return segment


def written(segment: Segment, text: str, alignment: list | None = None) -> str | None:
    filled = apply_inline(segment, text, alignment)
    return None if filled.parts is None else "".join(str(part) for part in filled.parts)


def test_a_segment_is_text_with_spans() -> None:
    segment = only(SENTENCE)
    assert segment.text == "Read the manual before you open `a.py`."
    assert [segment.text[piece.start : piece.end] for piece in segment.pieces] == ["`a.py`"]
    assert [(segment.text[s.start : s.end], s.kind) for s in segment.styles] == [
        ("manual", "strong"),
        ("open `a.py`", "link"),
    ]
    assert segment.marked() == "Read the <g1>manual</g1> before you <g2>open `a.py`</g2>."
    assert segment.parts() == ["Read the", "manual", "before you", "open"]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (
            "Bevor du <g2>`a.py` öffnest</g2>, lies das <g1>Handbuch</g1>.",
            "Bevor du [`a.py` öffnest](x.py), lies das **Handbuch**.",
        ),
        # White space inside a pair goes outside; the model may write markers with spaces.
        ("Lies <g1> das Buch </g1> und <g2>öffne `a.py`</g2>", "Lies **das Buch** und [öffne `a.py`](x.py)"),
    ],
)
def test_markers_carry_styles(text: str, result: str) -> None:
    assert written(only(SENTENCE), text) == result
    assert apply_inline(only(SENTENCE), text).notice is None


def test_aligned_words_carry_styles() -> None:
    text = "Lies vor dem Öffnen von `a.py` das Handbuch."
    source = only(SENTENCE).text

    def pair(of: str, to: str) -> tuple[tuple[int, int], tuple[int, int]]:
        return (
            (source.index(of), source.index(of) + len(of)),
            (text.index(to), text.index(to) + len(to)),
        )

    # The pair for `manual` is the first half of the word only, as of a token.
    alignment = [pair("Read", "Lies"), pair("manual", "Hand"), pair("open", "Öffnen")]
    filled = apply_inline(only(SENTENCE), text, alignment)
    assert filled.notice is None
    assert (
        written(only(SENTENCE), text, alignment) == "Lies vor dem [Öffnen von `a.py`](x.py) das **Handbuch**."
    )


def test_words_that_stay_carry_styles() -> None:
    segment = only("Use **llmkit** for this.\n")
    assert written(segment, "Nimm dafür llmkit.") == "Nimm dafür **llmkit**."


def test_else_markup_goes_around_the_whole_with_a_notice() -> None:
    segment = only("Read the **manual** first.\n")
    filled = apply_inline(segment, "Zuerst das Handbuch lesen.")
    assert filled.parts == ("**Zuerst das Handbuch lesen.**",)
    assert filled.notice is not None
    assert "strong" in filled.notice


def test_several_styles_get_words_of_their_own() -> None:
    segment = only("The *first* and the **second** and [third](x) one.\n")
    result = written(segment, "Eins zwei drei vier fünf sechs")
    assert result is not None
    assert result.count("**") == 2
    assert result.count("(x)") == 1
    assert result.replace("*", "").replace("[", "").replace("](x)", "") == "Eins zwei drei vier fünf sechs"
    assert apply_inline(segment, "Zwei Worte").parts is None


@pytest.mark.parametrize(
    ("text", "lost", "added"),
    [
        ("Öffne `a.py`, {x} und {x} mit %s", (), ()),
        ("Öffne a.py, {x} und {x} mit %s", ("`a.py`",), ()),
        ("Öffne `a.py`, {x} mit %s", ("{x}",), ()),
        ("Öffne `a.py`, {x} und {x} mit %s und %s", (), ("%s",)),
        ("Öffne `a.py`, {x} und {X} mit %s", ("{x}",), ("{X}",)),
        ("`a.py` {x} {x} %s https://evil.example", (), ("https://evil.example",)),
    ],
)
def test_pieces_are_compared_as_a_multiset(text: str, lost: tuple[str, ...], added: tuple[str, ...]) -> None:
    segment = only("Open `a.py`, {x} and {x} with %s\n")
    check = check_pieces(segment, text)
    assert (check.lost, check.added, check.whole) == (lost, added, not lost and not added)
    assert (apply_inline(segment, text).parts is None) == (not check.whole)


def test_translations_of_parts_keep_all_markup() -> None:
    segment = only(SENTENCE)
    filled = apply_parts(segment, ["Lies das", "Handbuch", "bevor du", "öffnest"])
    assert filled.parts == ("Lies das **Handbuch** bevor du [öffnest `a.py`](x.py).",)
    assert apply_parts(segment, ["a", "b"]).parts is None
    assert apply_parts(segment, ["a", "b", "c", "..."]).parts is None


def test_a_line_is_filled_to_the_width_of_the_page() -> None:
    page = 60 * "a" + "\n> "
    segment = only("> " + page + "word " * 8 + "end\n> and the last line here\n")
    result = written(segment, "wort " * 30 + "ende")
    assert result is not None
    lines = result.split("\n")
    assert all(line.startswith("> ") for line in lines[1:])
    assert all(len(line) <= 62 for line in lines)
    assert len(lines) > 2


def test_control_characters_and_line_breaks_of_a_model_are_taken_out() -> None:
    assert written(only("One text.\n"), "Ein\n\n- T\x07ext\u2028.") == "Ein - Text ."
