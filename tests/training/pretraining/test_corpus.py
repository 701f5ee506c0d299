import gzip
import json
import os
import random
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import InputError
from llmkit.training.pretraining import corpus as module
from llmkit.training.pretraining.corpus import Corpus

TORN = gzip.compress(random.Random(0).randbytes(9999), mtime=0)[:5000]


def read(*sources: str | Path, **manner: Any) -> list[str]:
    return list(Corpus(sources, **manner))


def test_end_of_text_marks_separate_documents_and_stay_out_of_them(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\n\nstill one\n<|endoftext|>\ntwo\n<|endoftext|>\n", encoding="utf-8")
    assert read(file) == ["one\n\nstill one", "two"]


def test_a_text_of_a_book_s_length_is_one_document_and_a_longer_one_has_blank_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffone\r\nstill one\r\n\r\ntwo".encode())
    assert read(file) == read(zipped(file)) == ["one\nstill one\n\ntwo"]
    monkeypatch.setattr(module, "MAX_BOOK", 20)
    assert read(file) == read(zipped(file)) == ["one\nstill one", "two"]


def test_a_given_separator_wins_and_whole_keeps_a_file_together(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a\n\nb ### c", encoding="utf-8")
    assert read(file, separator="###") == ["a\n\nb", "c"]
    assert read(file, whole=True) == ["a\n\nb ### c"]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("separator", [None, "\n\n", "\n##\n", "naïve", "x"])
def test_text_read_in_pieces_splits_as_text_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, separator: str | None
) -> None:
    text = "one\n\n\ntwo\r\n##\r\nnaïve\n<|endoftext|>\n##\n\nx\r\n\r\nxx\n<|endoftext|>last\n\n\n\n"
    file = tmp_path / "a.txt"
    file.write_bytes(text.encode())
    parts = text.replace("\r\n", "\n").split(separator or "<|endoftext|>")
    monkeypatch.setattr(module, "_CHUNK", chunk)
    assert read(file, separator=separator) == [part.strip() for part in parts if part.strip()]


def table(path: Path, texts: list[str], column: str = "text") -> Path:
    """The texts in a file of the kind that its name says, with another column of strings beside them."""
    rows = [{"note": f"n{i}", column: text} for i, text in enumerate(texts)]
    if path.name.endswith(".parquet"):
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif ".csv" in path.name:
        quoted = "".join(f'"{row["note"]}","{row[column]}"\n' for row in rows)
        path.write_text(f"note,{column}\n{quoted}", encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n\n" for row in rows), encoding="utf-8")
    return path


def zipped(path: Path) -> Path:
    other = path.with_name(path.name + ".gz")
    other.write_bytes(gzip.compress(path.read_bytes()))
    return other


TEXTS = ["two\n\nparts", "tab\tand \U0001f600", "naïve"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "A.JSONL"])
def test_tables_hold_a_document_a_row(tmp_path: Path, name: str) -> None:
    file = table(tmp_path / name, TEXTS)
    assert read(file) == TEXTS
    assert read(zipped(file)) == TEXTS
    story = table(tmp_path / f"other-{name}", TEXTS, "story")
    assert read(story, field="story") == TEXTS


def test_several_files_of_several_kinds(tmp_path: Path) -> None:
    text = tmp_path / "a.md"
    text.write_text("one\n\n<|endoftext|>zero", encoding="utf-8")
    rows = table(tmp_path / "b.jsonl", ["two", "three"])
    assert read(text, zipped(text), rows) == ["one", "zero", "one", "zero", "two", "three"]


@pytest.mark.parametrize("source", ["hf:many", "hf:one:test"])
def test_datasets_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Local folders in the Hub's own layout; the split named "train" is taken where none is named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    for folder, split in (("many", "train"), ("many", "test"), ("one", "test")):
        Path(folder).mkdir(exist_ok=True)
        table(Path(folder, f"{split}.jsonl"), [f"{folder} {split}"], "story")
    assert read(source, field="story") == ["many train" if source == "hf:many" else "one test"]


def test_a_pipe_of_text_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"one\n\nstill\n<|endoftext|>\ntwo",))
    writer.start()
    assert read(pipe) == ["one\n\nstill", "two"]
    writer.join()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.txt",
            b"good\nbad \xff\n",
            r"a\.txt:2: not UTF-8 \(byte 5 of the line\); give the encoding, e\.g\. encoding=latin1",
        ),
        ("a.txt", b"\xef\xbb\xbfbad \xff\n", r"a\.txt:1: not UTF-8 \(byte 5"),
        ("a.txt", "a\n".encode("utf-16"), r"a\.txt is UTF-16"),
        ("a.txt", gzip.compress(b"a\n", mtime=0), r"a\.txt is gzip data"),
        ("a.txt.gz", b"a\n", r"a\.txt\.gz: damaged gzip data, or not gzip data"),
        ("a.txt.gz", TORN, r"a\.txt\.gz: damaged gzip data|not UTF-8"),
        ("a.txt", b" \n\n \n", "no document"),
        ("a.txt", b"", "no document"),
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b'{"text": " "}\n', "no document"),
        ("a.jsonl", b'{"text": "x"}\n\n{oops}\n', r"a\.jsonl:3: not JSON: "),
        ("a.jsonl", b'{"text": "x"}\n{"body": "y"}\n', r"a\.jsonl:2: no column 'text'; its columns are body"),
        ("a.jsonl", b'{"text": "x"}\n{"text": null}\n', r"a\.jsonl:2: column 'text' is null"),
        ("a.jsonl", b'{"a": "x", "b": "y"}\n', r"a\.jsonl:1: no text column"),
        ("a.jsonl", b'["text"]\n', r"a\.jsonl:1: a JSON array, not an object"),
        ("a.csv", b"text\ngood\nna\xefve\n", r"a\.csv:3: byte 0xef is not UTF-8"),
        ("a.parquet", b"PAR1 nonsense", r"a\.parquet: not a readable Parquet file"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(tmp_path / name)


def test_bad_rows_are_left_out_and_counted_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    bad = ["{oops}", '{"body": "y"}', '{"text": null}', '["text"]', '{"text": "\\ud800"}', '{"text": {}}']
    file.write_text("\n".join(['{"text": "one"}', *bad, '{"text": " "}', '{"text": "two"}']))
    (tmp_path / "b.csv").write_bytes(b"text\ngood\nna\xefve\n")
    corpus = Corpus([file, tmp_path / "b.csv"], on_error="skip")
    head, complete = corpus.head(1000)
    assert complete
    assert head == list(corpus) == ["one", "two", "good"]
    assert corpus.skipped.count == 7
    lines = [reason.rpartition("/")[2].split(": ")[0] for reason in corpus.skipped.first]
    assert lines == [f"a.jsonl:{number}" for number in range(2, 7)]
    assert "no column 'text'; its columns are body" in corpus.skipped.first[1]


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("between", ["\n\n", "\r\n\r\n", "\n<|endoftext|>\n"])
def test_a_document_that_is_not_utf8_is_left_out_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, between: str
) -> None:
    documents = ["\ufeffone\nà".encode(), b"two\n\xc3\xa0 na\xefve\n\xff", "naïve".encode(), b"\xe9", b"last"]
    file = tmp_path / "a.txt"
    file.write_bytes(between.encode().join(documents))
    monkeypatch.setattr(module, "_CHUNK", chunk)
    monkeypatch.setattr(module, "MAX_BOOK", 0)
    corpus = Corpus([file], on_error="skip")
    assert list(corpus) == ["one\nà", "naïve", "last"]
    assert corpus.skipped.count == 2
    assert "a.txt:5: not UTF-8 (byte 6 of the line); give the encoding" in corpus.skipped.first[0]
    assert "a.txt:10: not UTF-8 (byte 1 of the line)" in corpus.skipped.first[1]


def test_a_source_may_be_bad_throughout_but_not_all_of_them(tmp_path: Path) -> None:
    for name, content in (("bad.txt", b"\xff"), ("good.txt", b"good"), ("empty.txt", b"\n")):
        (tmp_path / name).write_bytes(content)
    bad, good = tmp_path / "bad.txt", tmp_path / "good.txt"
    assert read(bad, good, whole=True, on_error="skip") == ["good"]
    message = r"bad\.txt: no usable document: .*bad\.txt:1: not UTF-8"
    with pytest.raises(InputError, match=message):
        read(bad, on_error="skip")
    with pytest.raises(InputError, match=message):
        Corpus([bad], on_error="skip").head(1000)
    with pytest.raises(InputError, match=r"empty\.txt: no document in it"):
        read(good, tmp_path / "empty.txt", on_error="skip")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.txt: no such file"):
        read(tmp_path / "none.txt")
    with pytest.raises(InputError, match="is a folder"):
        read(tmp_path)


class Text(str):
    """A string that tells whether it is still there."""

    __slots__ = ("__weakref__",)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Corpus]:
    """A corpus whose sources count which of their documents are alive."""

    def make(documents: int, sources: int, alive: weakref.WeakSet[Text], opened: list[str]) -> Corpus:
        def texts(source: str, *_: Any) -> Iterator[str]:
            opened.append(source)
            for number in range(documents):
                text = Text(f"{source}, document {number}")
                alive.add(text)
                yield text

        monkeypatch.setattr(module, "_documents", texts)
        return Corpus([f"source {number}" for number in range(sources)])

    return make


def test_a_long_corpus_is_never_in_memory(endless: Callable[..., Corpus]) -> None:
    alive, opened = weakref.WeakSet[Text](), list[str]()
    corpus = endless(3000, 4, alive, opened)
    head, complete = corpus.head(20_000)
    assert not complete
    assert len(head) == len(alive) < 400
    # Each source has its turn, and what was looked at is read again, in its place.
    for source in range(4):
        assert 60 < sum(text.startswith(f"source {source}") for text in head) < 100
    del head
    count, most = 0, 0
    for position, text in enumerate(corpus):
        assert text == f"source {position // 3000}, document {position % 3000}"
        count, most = count + 1, max(most, len(alive))
    assert (count, opened) == (12_000, [f"source {n}" for n in range(4)])
    assert most < 400


def test_of_very_many_sources_only_some_are_opened_for_a_look(endless: Callable[..., Corpus]) -> None:
    alive, opened = weakref.WeakSet[Text](), list[str]()
    corpus = endless(3000, 1000, alive, opened)
    corpus.head(20_000)
    assert len(opened) <= 101


def test_a_short_corpus_is_seen_whole(endless: Callable[..., Corpus]) -> None:
    corpus = endless(5, 3, weakref.WeakSet(), [])
    head, complete = corpus.head(20_000)
    assert complete
    assert head == list(corpus)
    assert len(head) == 15


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl.gz", "a.parquet"])
def test_a_big_file_is_not_held_in_memory(tmp_path: Path, name: str) -> None:
    texts = [f"{number} " + "word " * 100 for number in range(40_000)]
    if name == "a.txt":
        file = tmp_path / name
        file.write_text("\n\n".join(texts), encoding="utf-8")
    else:
        file = table(tmp_path / name.removesuffix(".gz"), texts)
        file = zipped(file) if name.endswith(".gz") else file
    size = sum(map(len, texts))
    del texts
    tracemalloc.start()
    assert sum(1 for _ in Corpus([file])) == 40_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 7 << 20 < 20 << 20 < size + (1 << 20)


@pytest.mark.parametrize("text", ["a" * 9000, "a line\n" * 1300], ids=["one-line", "no-separator"])
@pytest.mark.parametrize("manner", [{}, {"whole": True}, {"separator": "###"}, {"on_error": "skip"}])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_document_that_would_fill_the_memory_is_refused(
    text: str, manner: dict[str, Any], zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is 1 GiB; here it is 8 kB. A .gz file of 1 MB can hold such a line."""
    monkeypatch.setattr(module, "MAX_DOCUMENT", 8000)
    monkeypatch.setattr(module, "_CHUNK", 1000)
    file = tmp_path / ("a.txt.gz" if zipped else "a.txt")
    file.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    with pytest.raises(InputError, match=r"a\.txt.*longer than"):
        read(file, **manner)


def test_documents_below_the_limit_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DOCUMENT", 8000)
    monkeypatch.setattr(module, "_CHUNK", 1000)
    file = tmp_path / "a.txt"
    file.write_text("\n\n".join(letter * 7000 for letter in "abc"))
    assert read(file, separator="\n\n") == [letter * 7000 for letter in "abc"]
    file.write_text("\n".join(letter * 700 for letter in "abc"))
    assert read(file, whole=True) == ["\n".join(letter * 700 for letter in "abc")]
