"""Subtitles: sentences over cues, lines of 42 characters."""

from __future__ import annotations

import pytest

from llmkit.text.documents import apply_inline, parse


def cue(number: int, start: str, end: str, text: str) -> str:
    return f"{number}\n00:00:{start} --> 00:00:{end}\n{text}\n\n"


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["I did not know", "that you came."], ["I did not know that you came."]),
        (["One.", "Two."], ["One.", "Two."]),
        (["Wait...", "what?", "...this"], ["Wait... what?", "...this"]),
        (["Wait...", "What?"], ["Wait...", "What?"]),
        (["- Hello\n- Hi", "again"], ["Hello", "Hi again"]),
        (["Two\nlines"], ["Two lines"]),
        (["♪ la la ♪", "he said"], ["la la", "he said"]),
        (["[door opens]", "go on"], ["[door opens]", "go on"]),
        (["<i>so we", "went</i>"], ["so we went"]),
        (["{\\an8}<i>up</i>"], ["up"]),
        (["42"], []),
    ],
)
def test_sentences_over_cues(texts: list[str], found: list[str]) -> None:
    source = "".join(cue(i, f"0{i},000", f"0{i},900", text) for i, text in enumerate(texts, 1))
    assert [segment.text for segment in parse(source, "srt").segments] == found


def test_a_pause_ends_a_sentence() -> None:
    source = cue(1, "01,000", "02,000", "I did not") + cue(2, "08,000", "09,000", "know that")
    assert len(parse(source, "srt").segments) == 2


def test_a_sentence_is_split_again() -> None:
    source = cue(1, "01,000", "02,000", "<i>I did not know</i>") + cue(
        2, "02,100", "04,000", "<i>that you came.</i>"
    )
    document = parse(source, "srt")
    (segment,) = document.segments
    assert segment.text == "I did not know that you came."
    text = "Ich hatte wirklich überhaupt keine Ahnung davon, dass du heute noch zu uns kommen würdest."
    filled = apply_inline(segment, text)
    output = document.text([filled.parts])
    blocks = output.strip().split("\n\n")
    assert [block.split("\n")[:2] for block in blocks] == [
        b.split("\n")[:2] for b in source.strip().split("\n\n")
    ]
    lines = [line for block in blocks for line in block.split("\n")[2:]]
    plain = [line.replace("<i>", "").replace("</i>", "") for line in lines]
    assert all(0 < len(line) <= 42 for line in plain)
    assert " ".join(plain) == text
    assert all(block.split("\n")[2].startswith("<i>") and block.endswith("</i>") for block in blocks)
    # The first cue ends where the sentence pauses.
    assert blocks[0].endswith("davon,</i>")


def test_too_few_words_for_the_cues() -> None:
    source = cue(1, "01,000", "02,000", "I did") + cue(2, "02,100", "04,000", "not know")
    assert apply_inline(parse(source, "srt").segments[0], "Nein").parts is None


def test_the_same_voice_goes_on_and_another_does_not() -> None:
    def texts(second: str) -> list[str]:
        source = (
            "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>and then\n\n"
            f"00:02.000 --> 00:03.000\n<v {second}>we went\n"
        )
        return [segment.text for segment in parse(source, "vtt").segments]

    assert texts("Ann") == ["and then we went"]
    assert texts("Bob") == ["and then", "we went"]


def test_text_never_becomes_a_tag_or_a_time() -> None:
    document = parse("WEBVTT\n\n00:01.000 --> 00:02.000\nOne two\n", "vtt")
    filled = apply_inline(document.segments[0], "a --> 2 & c <b")
    assert document.text([filled.parts]).endswith("\na → 2 & c &lt;b\n")


def test_cues_without_blank_lines_between_them() -> None:
    source = "1\n00:00:01,000 --> 00:00:02,000\nOne.\n2\n00:00:03,000 --> 00:00:04,000\nTwo.\n"
    assert [segment.text for segment in parse(source, "srt").segments] == ["One.", "Two."]
