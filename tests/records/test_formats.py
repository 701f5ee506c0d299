"""JSON Lines, plain lines, CSV and TSV, through `open_rows`."""

import csv
import json
import random

import pytest

from llmkit.errors import InputError
from llmkit.records import csv_file, formats, json_file
from llmkit.records.read import open_rows


@pytest.fixture
def rows(tmp_path):
    """Write bytes to a file of the given name and read its rows as (where, data or error)."""

    def read(name, content, **options):
        path = tmp_path / name
        path.write_bytes(content)
        found = list(open_rows(path, **options))
        assert [row.index for row in found] == list(range(len(found)))
        return [(row.where.rpartition("/")[2], row.error or row.data) for row in found]

    return read


def test_jsonl_rows_know_their_lines(rows):
    content = b'{"a": 1}\n\n  \r\n {"b": "\xe9\x9b\xaa"} \r\n{"c": null}'
    assert rows("x.jsonl", content) == [
        ("x.jsonl:1", {"a": 1}),
        ("x.jsonl:4", {"b": "雪"}),
        ("x.jsonl:5", {"c": None}),
    ]


def test_line_separators_inside_a_string_do_not_end_the_line(rows):
    content = '{"a": "x\u2028y\u0085z\x0cw"}\n'.replace("\x0c", "\\f").encode()
    assert rows("x.jsonl", content) == [("x.jsonl:1", {"a": "x\u2028y\u0085z\x0cw"})]


def test_of_a_key_given_twice_the_last_counts(rows):
    assert rows("x.jsonl", b'{"a": 1, "a": 2}\n') == [("x.jsonl:1", {"a": 2})]


def test_a_byte_order_mark_is_not_text(rows):
    bom = b"\xef\xbb\xbf"
    assert rows("x.jsonl", bom + b'{"a": 1}\n') == [("x.jsonl:1", {"a": 1})]
    assert rows("x.txt", bom + b"a\nb\n") == [("x.txt:1", {"text": "a"}), ("x.txt:2", {"text": "b"})]
    assert rows("x.csv", bom + b'"a",b\n1,2\n') == [("x.csv:2", {"a": "1", "b": "2"})]
    assert rows("x.txt", bom + b"a\n", whole=True) == [("x.txt", {"text": "a\n"})]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1, 2]", "a JSON array, not an object"),
        (b'"x"', "a JSON string, not an object"),
        (b"3", "a JSON number, not an object"),
        (b"null", "a JSON null, not an object"),
        (b"true", "a JSON boolean, not an object"),
        (b'{"a": 1', "not JSON: Expecting ',' delimiter at column 8"),
        (b"  {'a': 1}", "not JSON: Expecting property name enclosed in double quotes at column 4"),
        (b'{"a": "x', "not JSON: Unterminated string starting at column 7"),
        (b"plain text", "not JSON: Expecting value at column 1"),
        (b'{"a": 1} {"b": 2}', "not JSON: more text after the value, at column 10"),
        (b'{"a": NaN}', "NaN is not JSON; write null"),
        (b'{"a": 1e999}', "1e999 is too large a number"),
        (b'{"a": "\x01"}', "not JSON: Invalid control character at column 8"),
        (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "not JSON: nested more than 200 levels deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON: Exceeds the limit"),
        (b'{"a": "caf\xe9"}', "byte 0xe9 is not UTF-8; give the encoding, e.g. encoding=latin1"),
        (b'{"a": "\xed\xa0\x80"}', "byte 0xed is not UTF-8"),
        (b"\x00\x00\x00", "not JSON: Expecting value at column 1"),
    ],
)
def test_a_broken_jsonl_line_spoils_only_its_row(rows, line, reason):
    found = rows("x.jsonl", b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    assert [found[0], found[2]] == [("x.jsonl:1", {"a": 1}), ("x.jsonl:3", {"a": 2})]
    assert found[1][0] == "x.jsonl:2"
    assert found[1][1].startswith(reason)


def test_half_a_surrogate_pair_is_read_as_it_stands(rows):
    assert rows("x.jsonl", b'{"a": "\\ud83d"}\n') == [("x.jsonl:1", {"a": "\ud83d"})]


def test_text_gives_a_row_a_line_blank_ones_too(rows):
    content = b"one\r\n\n  three \x0b\x0c\xe2\x80\xa8\rstill three\nfour"
    assert rows("x.txt", content) == [
        ("x.txt:1", {"text": "one"}),
        ("x.txt:2", {"text": ""}),
        ("x.txt:3", {"text": "  three \x0b\x0c\u2028\rstill three"}),
        ("x.txt:4", {"text": "four"}),
    ]


def test_a_bad_byte_in_text_spoils_only_its_line(rows):
    found = rows("x.txt", b"one\nna\xefve\nthree\n")
    assert [where for where, _ in found] == ["x.txt:1", "x.txt:2", "x.txt:3"]
    assert found[1][1].startswith("byte 0xef is not UTF-8")


def test_a_whole_text_is_one_row(rows):
    content = "two\r\nlines, 雪\n"
    assert rows("x.txt", content.encode(), whole=True) == [("x.txt", {"text": content})]
    assert rows("README", content.encode(), whole=True) == [("README", {"text": content})]
    assert rows("x.txt", b"\xff!", whole=True)[0][1].startswith("byte 0xff is not UTF-8")


def test_lines_of_any_text_file(rows):
    assert rows("notes.md", b"a\nb\n", lines=True) == [
        ("notes.md:1", {"text": "a"}),
        ("notes.md:2", {"text": "b"}),
    ]


@pytest.mark.parametrize(
    ("name", "delimiter"), [("x.csv", ","), ("x.csv", ";"), ("x.csv", "\t"), ("x.csv", "|"), ("x.tsv", "\t")]
)
def test_what_pythons_csv_writes_is_read_back(rows, tmp_path, name, delimiter):
    rng = random.Random(0)
    cells = ["", "a", "a,b", "a;b", 'say "hi"', '"', "\x00", "é 雪", " x "]
    cells += ["t\tab", "two\nlines", "two\r\nlines"] if name == "x.csv" else []
    table = [[rng.choice(cells) for _ in range(3)] for _ in range(200)]
    table = [line for line in table if line != ["", "", ""]]
    with open(tmp_path / "written", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([["p", "q", 'r "s"'], *table])
    content = (tmp_path / "written").read_bytes()
    found = rows(name, content)
    assert [list(data.values()) for _, data in found] == table
    assert list(found[0][1]) == ["p", "q", 'r "s"']
    # The line a row begins on, counted by hand: the header's, and every line end inside earlier rows.
    first_lines, line = [], 2
    for cells_of_row in table:
        first_lines.append(f"{name}:{line}")
        line += 1 + sum(cell.count("\n") for cell in cells_of_row)
    assert [where for where, _ in found] == first_lines


def test_a_cell_beyond_pythons_own_limit_is_read(rows):
    text = "x" * 300_000
    assert rows("x.csv", f"a,b\n1,{text}\n".encode()) == [("x.csv:2", {"a": "1", "b": text})]


def test_csv_rows_that_do_not_fit_the_header_are_errors_of_their_own(rows):
    content = b'a,b\n1,2\n1\n1,2,3\n\n"x"y,2\n5,6\ncaf\xe9,2\n7,8\n'
    assert rows("x.csv", content) == [
        ("x.csv:2", {"a": "1", "b": "2"}),
        ("x.csv:3", "1 field, but the header has 2"),
        ("x.csv:4", "3 fields, but the header has 2"),
        ("x.csv:6", "not CSV: ',' expected after '\"' (inside a quoted field, a quote is written twice)"),
        ("x.csv:7", {"a": "5", "b": "6"}),
        ("x.csv:8", "byte 0xe9 is not UTF-8; give the encoding, e.g. encoding=latin1"),
        ("x.csv:9", {"a": "7", "b": "8"}),
    ]


@pytest.mark.parametrize(
    ("lines", "after"),
    [
        (b'3,"4\n', []),  # up to the end of the file
        (b'"3,4\n5,"6"\n', [{"a": "5", "b": "6"}]),  # the next row's quote ends it, and text follows
        (b'"3,4\n"5",6\n', [{"a": "5", "b": "6"}]),
        (b'"3,4\n5 in",6,7\n', ["3 fields, but the header has 2"]),
    ],
)
def test_a_quote_that_is_never_closed_costs_its_own_row(rows, lines, after):
    found = rows("x.csv", b"a,b\n1,2\n" + lines + b"7,8\n")
    assert found[1] == ("x.csv:3", "a quote that begins here is never closed")
    assert [data for _, data in found[2:]] == [*after, {"a": "7", "b": "8"}]
    assert [where for where, _ in found] == [f"x.csv:{number}" for number in range(2, 5 + len(after))]


def test_many_stray_quotes_take_linear_time(rows):
    found = rows("x.csv", b"a,b\n" + b'"x,y\n' * 3000 + b"z,1\n" * 200_000)
    assert sum(isinstance(data, str) for _, data in found) <= 3000
    assert len(found) >= 200_000


def test_a_quoted_field_of_many_lines_with_commas_is_one_field(rows):
    text = "one, two\n" * 500
    assert rows("x.csv", f'a,b\n1,"{text}"\n3,4\n'.encode()) == [
        ("x.csv:2", {"a": "1", "b": text}),
        ("x.csv:503", {"a": "3", "b": "4"}),
    ]


def test_each_line_of_a_tsv_is_a_row(rows):
    content = b'source\ttarget\n"Hi\tHallo\n"Yes."\t"Ja."\r\n5" disk\t5" Platte\n\n"a ""b"""\tc\nx\n'
    assert rows("x.tsv", content) == [
        ("x.tsv:2", {"source": '"Hi', "target": "Hallo"}),
        ("x.tsv:3", {"source": '"Yes."', "target": '"Ja."'}),
        ("x.tsv:4", {"source": '5" disk', "target": '5" Platte'}),
        ("x.tsv:6", {"source": 'a "b"', "target": "c"}),
        ("x.tsv:7", "1 field, but the header has 2"),
    ]


def test_a_line_beyond_the_limit_costs_its_own_row(rows, monkeypatch):
    """The limit is 64 MiB; here it is 2 MiB."""
    for module in (formats, csv_file, json_file):
        monkeypatch.setattr(module, "MAX_LINE", 2 << 20)
    long = b"x" * (5 << 20)
    for name, before, bad, after, column in (
        ("x.jsonl", b"", b'{"a": "' + long + b'"}', b'{"a": "y"}', "a"),
        ("x.txt", b"", long, b"y", "text"),
        ("x.csv", b"a\n", long, b"y", "a"),
        ("x.csv", b"a\n", b'"' + long + b'"', b"y", "a"),
        ("x.tsv", b"a\n", long, b"y", "a"),
    ):
        found = rows(name, before + bad + b"\n" + after + b"\n")
        assert "limit" in found[0][1], name
        assert [data for _, data in found[1:]] == [{column: "y"}], name
    with pytest.raises(InputError, match=r"x\.json:1: item 1 is longer than"):
        rows("x.json", b'[{"a": "' + long * 2 + b'"}]')
    with pytest.raises(InputError, match=r"x\.csv:1: longer than"):
        rows("x.csv", long)
    monkeypatch.setattr(formats, "_MAX_WHOLE", 1 << 20)
    with pytest.raises(InputError, match=r"x\.txt is larger"):
        rows("x.txt", long, whole=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a,b,a\n1,2,3\n", r"x\.csv:1: two columns are named 'a'; rename one"),
        (b"\n\n", r"x\.csv: no header line"),
        (b"", r"x\.csv is empty"),
        (b"a,caf\xe9\n", r"x\.csv:1: byte 0xe9 is not UTF-8"),
        (b'"a,b\n1,2\n', r"x\.csv:1: a quote that begins here is never closed"),
    ],
)
def test_a_csv_without_a_usable_header_is_refused_on_opening(tmp_path, content, reason):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        open_rows(path)


def test_a_header_alone_is_a_table_without_rows(rows):
    assert rows("x.csv", b"a,b\n") == []


def test_every_json_row_can_be_written_again(rows):
    data = {"a": [1, 2.5, None, True, {"b": "\ud83d"}], "": "", "n": -1e-300}
    assert rows("x.jsonl", json.dumps(data).encode()) == [("x.jsonl:1", data)]
