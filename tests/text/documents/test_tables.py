"""gettext, JSON and YAML, read back by the libraries of these formats."""

from __future__ import annotations

import json

import polib
import pytest
import yaml

from llmkit.errors import InputError
from llmkit.text.documents import apply_inline, parse
from tests.text.documents.samples import JSON, PO, YAML, identical, uppercased

HARD = "a \"quoted\" 'one', back\\slash: #no comment, & < tag [x] – ü"


def test_messages_get_translations_and_nothing_else_changes() -> None:
    document = parse(PO, "po")
    assert [segment.text for segment in document.segments] == [
        'Found %d file in "%s".',
        'Found %d files in "%s".',
        "A long text that goes over two lines, %(name)s.",
    ]
    output = document.text(uppercased(document))
    read, before = polib.pofile(output), polib.pofile(PO)
    assert [entry.msgid for entry in read] == [entry.msgid for entry in before]
    found = {entry.msgid: entry for entry in read}
    assert found['Found %d file in "%s".\n'].msgstr_plural == {
        0: 'FOUND %d FILE IN "%s".\n',
        1: 'FOUND %d FILES IN "%s".\n',
    }
    assert found["A long text that goes over two lines, %(name)s."].msgstr == (
        "A LONG TEXT THAT GOES OVER TWO LINES, %(name)s."
    )
    assert found["Done"].msgstr == "Fertig"
    assert found["Nearly"].msgstr == "Fast"
    assert found["Nearly"].fuzzy
    kept = [line for line in PO.splitlines() if not line.startswith(("msgstr", '"'))]
    assert [line for line in output.splitlines() if not line.startswith(("msgstr", '"'))] == kept


def test_a_message_left_alone_stays_empty() -> None:
    document = parse(PO, "po")
    assert document.text([None, *identical(document)[1:]]).count('msgstr[0] ""\n') == 1
    assert document.text() == PO


def test_wrapped_lines_of_a_message_are_one_text() -> None:
    source = (
        'msgid ""\n"Usage: tool [OPTION]\\n"\n'
        '"This program is free software; you can redistribute it and/or modify\\n"\n'
        '"it under the terms.\\n"\n"  -v  be loud\\n"\nmsgstr ""\n'
    )
    assert [segment.text for segment in parse(source, "po").segments] == [
        "Usage: tool [OPTION]",
        "This program is free software; you can redistribute it and/or modify it under the terms.",
        "-v  be loud",
    ]


@pytest.mark.parametrize("format", ["po", "json", "yaml"])
def test_hard_characters_come_back_from_the_formats_own_readers(format: str) -> None:
    source = {"po": 'msgid "One text"\nmsgstr ""\n', "json": '{"k": "One text"}', "yaml": "k: One text\n"}[
        format
    ]
    document = parse(source, format)
    output = document.text([apply_inline(document.segments[0], HARD).parts])
    read = {
        "po": lambda: polib.pofile(output)[0].msgstr,
        "json": lambda: json.loads(output)["k"],
        "yaml": lambda: yaml.safe_load(output)["k"],
    }[format]()
    assert read == HARD


@pytest.mark.parametrize(
    "value",
    [
        "One text",
        "'One text'",
        '"One text"',
        "|\n  One text\n",
        ">\n  One text\n",
        "[One text, 1]",
        "!!str One text",
        "&a One text",
    ],
)
@pytest.mark.parametrize(
    "text", ["yes it is", "true", "a: b", "- a", "# a", 'it\'s "b"', "a, b]", "*a", "12 x: y"]
)
def test_yaml_values_stay_texts(value: str, text: str) -> None:
    document = parse(f"k: {value}\nnext: 1\n", "yaml")
    (segment,) = document.segments
    output = yaml.safe_load(document.text([apply_inline(segment, text).parts]))
    found = output["k"][0] if isinstance(output["k"], list) else output["k"]
    assert found.strip() == text
    assert output["next"] == 1


def test_texts_for_programs_are_no_segments() -> None:
    texts = [segment.text for segment in parse(JSON, "json").segments]
    assert texts == ["Hello, {name}!", "One —", "two", "# file", "# files"] or "Hello, {name}!" in texts
    assert not any("example" in text or "snake" in text or "translators" in text for text in texts)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (["title"], ["Hello, {name}!"]),
        (["list.*"], ["One —", "two", "snake_case"]),
        (["*.description"], ["for translators"]),
        (["none"], []),
    ],
)
def test_keys_choose_values(keys: list[str], found: list[str]) -> None:
    assert [segment.text for segment in parse(JSON, "json", keys=keys).segments] == found


def test_branches_of_a_message_are_segments() -> None:
    source = '{"k": "You have {n, plural, =0 {no {kind} files} one {# file} other {# files}} here"}'
    document = parse(source, "json")
    assert [segment.kind for segment in document.segments] == ["branch", "branch", "branch", "message"]
    output = json.loads(document.text(uppercased(document)))["k"]
    assert output == "YOU HAVE {n, plural, =0 {NO {kind} FILES} one {# FILE} other {# FILES}} HERE"


def test_a_yaml_bomb_stays_small() -> None:
    bomb = "a: &a [text one, text two]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert len(parse(bomb, "yaml").segments) == 2


def test_places_name_line_and_key() -> None:
    assert parse(YAML, "yaml").segments[0].where == "line 3 (en.plain)"


def test_no_messages() -> None:
    with pytest.raises(InputError, match="gettext"):
        parse("hello\n", "po")
