import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import tracemalloc

import pytest

from llmkit.errors import InputError, OptionError
from llmkit.records.read import open_rows, rows_of

FILES = {
    "x.jsonl": b'{"text": "a"}\n{"text": "b"}\n',
    "x.json": b'[{"text": "a"}, {"text": "b"}]',
    "x.csv": b"text\na\nb\n",
    "x.tsv": b"text\na\nb\n",
    "x.txt": b"a\nb\n",
}


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("name", [*FILES, "X.JSONL", "a.b.TXT"])
def test_a_file_is_read_by_the_end_of_its_name(write, name):
    content = FILES["x." + name.rpartition(".")[2].lower()]
    for path in (write(name, content), write(name + ".gz", gzip.compress(content, mtime=0))):
        assert [row.data for row in open_rows(path)] == [{"text": "a"}, {"text": "b"}]


def test_a_path_may_be_a_string(write):
    assert len(list(open_rows(str(write("x.txt", b"a\n"))))) == 1


def test_gzip_of_several_members_is_one_file(write):
    path = write("x.txt.gz", gzip.compress(b"a\n", mtime=0) + gzip.compress(b"b\n", mtime=0))
    assert [row.where for row in open_rows(path)] == [f"{path}:1", f"{path}:2"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.jsonl", b"", "is empty"),
        ("x.parquet", b"", "is empty"),
        ("x.txt.gz", b"", "is empty"),
        ("x.txt.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("x.xlsx", b"PK", "rename it to end in one of .jsonl .json .csv .tsv .parquet .txt"),
        ("x", b"a", "unknown format"),
        ("x.gz", gzip.compress(b"a", mtime=0), "unknown format"),
        ("x.jsonl", gzip.compress(b"{}", mtime=0), "is gzip data: unpack it, or"),
        ("x.jsonl.gz", b'{"a": 1}\n', "damaged gzip data, or not gzip data: Not a gzipped file"),
        ("x.parquet.gz", b"PAR1", "damaged gzip data, or not gzip data"),
        ("x.txt", "a\n".encode("utf-16"), "is UTF-16; encoding=utf-16 reads it"),
        ("x.csv", b"\xfe\xff\x00a", "is UTF-16"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_on_opening(write, name, content, reason):
    path = write(name, content)
    with pytest.raises(InputError) as caught:
        open_rows(path)
    assert str(caught.value).startswith(str(path))
    assert reason in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match=r"nope\.jsonl: no such file"):
        open_rows(tmp_path / "nope.jsonl")
    with pytest.raises(InputError, match="is a folder; give a file in it"):
        open_rows(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="Not a directory"):
        open_rows(tmp_path / "file" / "x.jsonl")


@pytest.mark.parametrize("manner", ["lines", "whole"])
def test_tables_are_not_read_as_plain_text(write, manner):
    for source in (write("x.jsonl", b"{}\n"), write("x.csv.gz", gzip.compress(b"a\n1\n", mtime=0)), "hf:one"):
        with pytest.raises(OptionError) as caught:
            open_rows(source, **{manner: True})
        assert caught.value.option == manner
        assert str(source) in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "checksum", "garbage"])
def test_gzip_that_turns_out_damaged_is_an_error_and_not_the_end(write, damage):
    lines = b"".join(hashlib.sha256(b"%d" % i).hexdigest().encode() + b"\n" for i in range(5000))
    content = bytearray(gzip.compress(lines, mtime=0))
    if damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "checksum":
        content[-5] ^= 1
    else:
        content += b"garbage"
    read = []
    with pytest.raises(InputError, match=r"x\.txt\.gz: damaged gzip data"):
        read.extend(open_rows(write("x.txt.gz", bytes(content))))
    assert len(read) > 1000


def test_identity_tells_files_apart_by_size_and_both_ends(write):
    middle = os.urandom(3 << 20)
    path = write("x.txt", b"begin" + middle + b"end")
    identity = open_rows(path).identity()
    assert identity == {
        "name": "x.txt",
        "bytes": len(middle) + 8,
        "head": hashlib.sha256((b"begin" + middle)[: 1 << 20]).hexdigest(),
        "tail": hashlib.sha256((middle + b"end")[-1 << 20 :]).hexdigest(),
    }
    assert json.loads(json.dumps(identity)) == identity


def test_the_same_file_by_another_path_is_the_same(write, tmp_path, monkeypatch):
    path = write("x.txt", b"a\n")
    monkeypatch.chdir(tmp_path)
    assert open_rows("x.txt").identity() == open_rows(path).identity()


@pytest.mark.parametrize("pack", [lambda content: content, gzip.compress])
def test_the_fraction_read_goes_from_nought_to_one(write, pack):
    content = b"".join(os.urandom(50).hex().encode() + b"\n" for _ in range(20_000))
    source = open_rows(write("x.txt" if pack is not gzip.compress else "x.txt.gz", pack(content)))
    seen = [source.fraction()]
    for row in source:
        if row.index % 1000 == 0:
            seen.append(source.fraction())
    seen.append(source.fraction())
    assert seen[0] < 0.2
    assert seen == sorted(seen)
    assert abs(seen[len(seen) // 2] - 0.5) < 0.1
    assert seen[-1] == 1.0


def test_texts_in_hand_are_rows():
    source = rows_of(["a", "b", "", "d"], field="prompt")
    rows = iter(source)
    first = next(rows)
    assert (first.index, first.data, first.where) == (0, {"prompt": "a"}, "argument:1")
    assert source.fraction() == 0.25
    assert [row.data["prompt"] for row in rows] == ["b", "", "d"]
    assert source.fraction() == 1.0
    assert source.identity() == {"name": "argument"}


def test_texts_from_a_stream_are_taken_one_at_a_time():
    taken = []
    source = rows_of((taken.append(text) or text for text in "abc"), name="stdin")
    assert next(iter(source)).where == "stdin:1"
    assert taken == ["a"]
    assert source.fraction() is None


@pytest.fixture
def stdin(monkeypatch):
    def set_stdin(content):
        buffer = io.BufferedReader(io.BytesIO(content))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(buffer, encoding="ascii"))

    return set_stdin


def test_stdin_is_jsonl_or_plain_text(stdin):
    stdin(b'{"a": "\xc3\xa9"}\n\n[]\n')
    source = open_rows("-")
    assert source.fraction() is None
    found = [(row.where, row.error or row.data) for row in source]
    assert found == [("stdin:1", {"a": "é"}), ("stdin:3", "a JSON array, not an object")]
    assert source.identity() == {"name": "stdin"}
    stdin(b"a\n\xc3\xa9")
    assert [row.data["text"] for row in open_rows("-", lines=True)] == ["a", "é"]
    stdin(b"a\n\xc3\xa9")
    assert [row.data["text"] for row in open_rows("-", whole=True)] == ["a\né"]


def test_stdin_may_be_empty_but_not_binary(stdin):
    stdin(b"")
    assert list(open_rows("-")) == []
    stdin(gzip.compress(b"{}", mtime=0))
    with pytest.raises(InputError, match="stdin is gzip data"):
        list(open_rows("-"))


def test_a_closed_stdin_is_told(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="stdin is closed; give a file"):
        list(open_rows("-"))


def test_stdin_is_not_touched_before_its_rows_are_wanted(stdin):
    stdin(b'{"a": 1}\n')
    open_rows("-")
    assert sys.stdin.buffer.read() == b'{"a": 1}\n'


def test_a_pipe_without_a_suffix_is_jsonl(tmp_path):
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b'{"a": 1}\n{"a": 2}\n',))
    writer.start()
    source = open_rows(pipe)
    assert [row.data["a"] for row in source] == [1, 2]
    assert source.identity() == {"name": str(pipe)}
    writer.join()


@pytest.mark.parametrize(
    ("count", "words"), [(20_000, 100), pytest.param(200_000, 12, marks=pytest.mark.slow)]
)
def test_a_big_file_is_not_held_in_memory(tmp_path, count, words):
    path = tmp_path / "x.jsonl"
    with open(path, "w") as file:
        for number in range(count):
            file.write(f'{{"id": {number}, "text": "{"word " * words}"}}\n')
    tracemalloc.start()
    rows = sum(1 for _ in open_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == count
    assert peak < 4 << 20 < path.stat().st_size


def test_reading_text_imports_nothing_heavy(write):
    path = write("x.csv", b"a\n1\n")
    code = (
        "import sys; from llmkit.records import process, read\n"
        f"list(read.open_rows({str(path)!r}))\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


@pytest.mark.parametrize(("limit", "read"), [(2, 2), (9, 4), (None, 4)])
def test_a_limit_reads_the_first_rows_only(write, limit, read):
    source = open_rows(write("x.txt", b"a\nb\nc\nd\n")).limited(limit)
    assert [row.data["text"] for row in source] == list("abcd")[:read]
    assert source.fraction() == 1.0


def test_a_limit_below_one_is_refused(write):
    with pytest.raises(OptionError) as caught:
        open_rows(write("x.txt", b"a\n")).limited(0)
    assert caught.value.option == "limit"
