"""Lists of terms to keep and to translate in one way."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit.errors import InputError
from llmkit.text.documents import parse
from llmkit.text.documents.terms import Glossary, GlossaryCheck, read_glossary, read_terms


def test_terms_to_keep_are_pieces(tmp_path: Path) -> None:
    path = tmp_path / "keep.txt"
    path.write_text("\ufeff# ours\nAcme Cloud\n\nAcme\r\nAcme\t\n", encoding="utf-8")
    terms = read_terms(path)
    assert terms == ["Acme Cloud", "Acme"]
    (segment,) = parse("Use Acme Cloud by Acme, not Acmes.\n", "md", keep=terms).segments
    assert [(segment.text[p.start : p.end], p.kind) for p in segment.pieces] == [
        ("Acme Cloud", "term"),
        ("Acme", "term"),
    ]


@pytest.mark.parametrize("content", ["", "# only\n", "\n"])
def test_no_terms(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keep.txt"
    path.write_text(content)
    assert read_terms(path) == []
    with pytest.raises(InputError):
        read_glossary(path)


@pytest.mark.parametrize(
    ("content", "where"), [("a\tb\nc\n", ":2:"), ("a\t\n", ":1:"), ("a\tb\na\tc\n", ":2:")]
)
def test_a_bad_line_of_a_glossary_is_named(tmp_path: Path, content: str, where: str) -> None:
    path = tmp_path / "terms.tsv"
    path.write_text(content)
    with pytest.raises(InputError, match=where):
        read_glossary(path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "terms.tsv"
    path.write_bytes(b"caf\xe9\tx\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_glossary(path)


def test_a_glossary_knows_what_was_not_met(tmp_path: Path) -> None:
    path = tmp_path / "terms.tsv"
    path.write_text("engine\tMotor\nsearch engine\tSuchmaschine\nkey\tSchlüssel\n", encoding="utf-8")
    check = GlossaryCheck(read_glossary(path))
    assert check.glossary.used("Engines differ; the search engine and the engine.") == {
        "search engine": 1,
        "engine": 1,
    }
    assert check.add("Engine and key", "Der Motor und die Taste") == ["key"]
    assert check.add("The key", "Des Schlüssels") == []
    assert check.add("The key, the key", "Der Schlüssel") == ["key"]
    assert check.lines() == ["key -> Schlüssel: missing in 2 of 3 segments"]


def test_a_term_in_lower_case_inside_a_word_is_none() -> None:
    assert Glossary({"art": "Kunst"}).unmet("A start, an Art.", "Ein Anfang") == ["art"]
    assert Glossary({"art": "Kunst"}).unmet("A start", "Ein Anfang") == []
