"""Files in other encodings: Python's own codecs write them."""

import gzip
import io

import pytest

from llmkit.errors import InputError, OptionError
from llmkit.records.encodings import as_utf8, check_encoding
from llmkit.records.read import open_rows, open_text

TEXT = "café — 你好\n"


def contents(path, **options):
    return [(row.data, row.error) for row in open_rows(path, **options)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32", "gb18030", "UTF_8_SIG"])
@pytest.mark.parametrize(
    ("name", "text", "data"),
    [
        ("x.jsonl", '{"a": "TEXT"}\n', {"a": TEXT.strip()}),
        ("x.json", '[{"a":\n"TEXT"}]\n', {"a": TEXT.strip()}),
        ("x.csv", "a,b\r\nTEXT,2\r\n", {"a": TEXT.strip(), "b": "2"}),
        ("x.tsv", "a\tb\nTEXT\t2\n", {"a": TEXT.strip(), "b": "2"}),
        ("x.txt", "TEXT\n", {"text": TEXT.strip()}),
        ("x.txt.gz", "TEXT\n", {"text": TEXT.strip()}),
    ],
)
def test_each_text_format_is_read_in_any_encoding(tmp_path, encoding, name, text, data):
    raw = text.replace("TEXT", TEXT.strip()).encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    assert contents(tmp_path / name, encoding=encoding) == [(data, None)]


def test_a_long_text_is_cut_at_no_character(tmp_path):
    text = "你好世界" * 50_000
    (tmp_path / "x.txt").write_bytes(text.encode("gb18030"))
    assert contents(tmp_path / "x.txt", encoding="gb18030") == [({"text": text}, None)]


def test_a_row_that_the_encoding_cannot_read_costs_only_itself(tmp_path):
    (tmp_path / "x.txt").write_bytes("好\n".encode("gb18030") + b"\xff\n" + "你\n".encode("gb18030"))
    found = contents(tmp_path / "x.txt", encoding="gb18030")
    assert found == [({"text": "好"}, None), ({}, "bytes that are not gb18030"), ({"text": "你"}, None)]
    (tmp_path / "x.json").write_bytes(b'[{"a": "\x81"}]')
    with pytest.raises(InputError, match=r"x\.json:1: bytes that are not cp1252$"):
        contents(tmp_path / "x.json", encoding="cp1252")


def test_open_text_starts_again(tmp_path):
    (tmp_path / "x.txt").write_bytes(TEXT.encode("utf-16"))
    with open_text(tmp_path / "x.txt", encoding="utf-16") as stream:
        first = stream.read()
        stream.seek(0)
        assert first == stream.read() == TEXT.encode()


@pytest.mark.parametrize("name", ["klingon", "rot13", "base64", "", "utf-8\0"])
def test_what_is_no_encoding_of_text_is_refused(name):
    with pytest.raises(OptionError) as caught:
        check_encoding(name)
    assert caught.value.option == "encoding"


def test_tables_have_no_encoding(tmp_path):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"a": ["x"]}), tmp_path / "x.parquet")
    for source in (tmp_path / "x.parquet", "hf:some/thing"):
        with pytest.raises(OptionError) as caught:
            open_rows(source, encoding="gb18030")
        assert caught.value.option == "encoding"


def test_memory_holds_one_chunk():
    class Endless(io.RawIOBase):
        """Bytes without an end."""

        given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += size
            return b"a\x00" * (size // 2)

    source = Endless()
    assert as_utf8(source, "utf-16-le").read(10) == b"a" * 10
    assert source.given <= 1 << 17
