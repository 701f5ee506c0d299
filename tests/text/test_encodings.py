"""Guesses of encodings: Python's own codecs write the texts."""

from __future__ import annotations

import pytest

from llmkit.text.documents.document import decode
from llmkit.text.encodings import guess


@pytest.mark.parametrize(
    ("encoding", "text", "expected"),
    [
        ("gb18030", "这本书在哪里？我不知道。", "gb18030"),
        ("gb18030", '{"text": "今天天气很好"}', "gb18030"),
        ("cp1252", "Le café est fermé l'été", "latin1"),
        ("cp1252", "“Größe” – naïve", "cp1252"),
        ("latin1", "Straße, Größe", "latin1"),
        ("cp1251", "Где моя книга? Не знаю.", "cp1251"),
        ("cp932", "これはほんです。ありがとう", "cp932"),
    ],
)
def test_the_message_names_a_likely_encoding(encoding: str, text: str, expected: str) -> None:
    assert guess(text.encode(encoding)) == expected
    assert text.encode(encoding).decode(expected) == text


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "这本书在哪里？我不知道。"),
        ("cp932", "これはほんです。ありがとう"),
        ("cp1251", "Где моя книга? Я не знаю, где она теперь лежит."),
        ("cp1252", "ÄÖÜ äöüß und “Größe”"),
        ("cp1252", "Das Alphabet hat auch ÄÖÜäöüß."),
        ("cp1252", "Le café est fermé l’été"),
        ("utf-8", "这本书在哪里？"),
    ],
)
def test_a_document_is_read_in_its_own_encoding(encoding: str, text: str) -> None:
    found, used = decode(text.encode(encoding))
    assert (found, used.name) == (text, encoding)
