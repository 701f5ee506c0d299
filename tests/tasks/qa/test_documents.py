"""Texts to answer from: files, folders, and documents with their places."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from llmkit.errors import InputError
from llmkit.tasks.qa.documents import context_of, read_documents
from tests.text.documents.test_packages import PACKAGES, pdf


def test_files_are_read_character_for_character(tmp_path: Path) -> None:
    text = "\tone\r\n\r\ncaf\u0065\u0301 🙂\rtwo"
    (tmp_path / "a.md").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.md", "b.txt.gz"):
        (document,) = read_documents([str(tmp_path / name)])
        assert document.text == text
        assert document.name == str(tmp_path / name)


def test_a_folder_is_its_text_files_and_the_rest_is_named(tmp_path: Path) -> None:
    for name, data in {
        "b.txt": b"two", "a/x.md": b"one", ".hidden": b"no", ".git/config": b"no",
        "c.bin": b"\xff\xfe\x00", "d.jsonl": b"{}", "empty.txt": b"", "blank.txt": b" \n",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    told: list[str] = []
    found = read_documents([str(tmp_path)], told.append)
    assert [document.text for document in found] == ["two", "one"]
    assert len(told) == 4
    assert all(any(name in line for line in told) for name in ("c.bin", "d.jsonl", "empty", "blank"))
    assert [d.text for d in read_documents([str(tmp_path), str(tmp_path / "b.txt")])] == ["two", "one"]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("gone.txt", None, "no such file"),
        ("blank.txt", b" \r\n\t", "contains only white space"),
        ("empty.txt", b"", "is empty"),
        ("latin.txt", b"caf\xe9", "not UTF-8"),
        ("rows.jsonl", b"{}", "rows with contexts"),
        ("rows.csv.gz", b"a,b", "rows with contexts"),
    ],
)
def test_files_that_are_no_context(tmp_path: Path, name: str, data: bytes | None, said: str) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=said):
        read_documents([str(tmp_path / name)])


def test_a_folder_without_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no text file in this folder"):
        read_documents([str(tmp_path)])


HTML = b"<h1>Keys</h1>\n<table><tr><td>House</td><td>under the mat</td></tr></table>\n<p>The end.</p>"
SRT = (
    b"1\n00:00:01,000 --> 00:00:02,000\nWhere is\n\n2\n00:00:02,000 --> 00:00:03,000\nthe key?\n\n"
    b"3\n00:00:04,000 --> 00:00:05,000\nUnder the mat.\n"
)


@pytest.mark.parametrize(
    ("name", "data", "found", "place"),
    [
        ("a.pdf", pdf("The key is here."), "THE KEY", "p. 2"),
        ("a.pdf", pdf("The key is here."), "The key", "p. 1"),
        ("a.docx", PACKAGES["docx"], "In a cell", "paragraph 6"),
        ("a.epub", PACKAGES["epub"], "Some text", "b.xhtml"),
        ("a.html", HTML, "under the mat", "line 2"),
        ("a.html.gz", HTML, "The end", "line 3"),
        ("a.srt", SRT, "Under the mat", "line 11"),
        ("a.md", b"# A\n\n`key`\n", "`key`", "line 3"),
        ("a.py", b"x = 1\nkey = 2\n", "key", "line 2"),
    ],
)
def test_a_place_is_where_a_reader_finds_it(name: str, data: bytes, found: str, place: str) -> None:
    document = context_of(data, name)
    assert document.place(document.text.index(found)) == place
    line = int(place.split()[1]) if place.startswith("line") else None
    assert document.line(document.text.index(found)) == line


def test_cells_of_a_row_stay_together() -> None:
    assert context_of(HTML, "a.html").text == "Keys\n\nHouse | under the mat\n\nThe end."


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.pdf", b"%PDF-1.4 broken", "a.pdf: the PDF is damaged"),
        ("a.docx", b"PK", "a.docx"),
        ("a.html", b"<pre>code</pre>", "a.html: no text in this document"),
        ("a.txt", b"a\0b", "a.txt: not text"),
        ("a.txt", b"\x01\x02\x03 abc", "a.txt: not text"),
    ],
)
def test_documents_without_text(name: str, data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        context_of(data, name)
