"""Rows as CSV and Parquet: Python's csv module and pyarrow read them back."""

import csv
import io
import json

import pyarrow.parquet
import pytest

from llmkit.records import convert_rows
from llmkit.records.convert_rows import to_csv, to_parquet
from llmkit.records.output import JournaledOutput
from llmkit.records.read import open_rows
from llmkit.records.strict_json import dumps

ROWS = [
    {"id": 1, "text": 'a, "b"\r\nc', "ok": True, "score": 1, "list": [1, 2], "mixed": 1},
    {"id": 2, "text": "\ud83d half", "ok": None, "score": 0.5, "mixed": "x", "object": {"a": 1}},
    {"id": 3, "text": "", "error": "why", "object": {"b": [None, "é"]}, "empty": {}, "null": None},
    {"id": 4, "text": "\u2028\x00\x85\r", "score": 2**53 + 1, "big": 2**70},
]


@pytest.fixture
def jsonl(tmp_path):
    def write(rows):
        (tmp_path / "rows.jsonl").write_text("".join(dumps(row) + "\n" for row in rows), encoding="utf-8")
        return tmp_path / "rows.jsonl"

    return write


@pytest.fixture(autouse=True, params=[1, 3, 1000])
def rows_at_a_time(request, monkeypatch):
    monkeypatch.setattr(convert_rows, "_ROWS_AT_A_TIME", request.param)


def test_csv_holds_every_cell(jsonl):
    target = io.BytesIO()
    to_csv(jsonl(ROWS), target)
    header, *rows = csv.reader(io.StringIO(target.getvalue().decode(), newline=""))
    assert header == list(dict.fromkeys(name for row in ROWS for name in row))
    for row, cells in zip(ROWS, rows, strict=True):
        for name, cell in zip(header, cells, strict=True):
            value = row.get(name)
            text = (
                value.replace("\ud83d", "?")
                if isinstance(value, str)
                else json.dumps(value, ensure_ascii=False)
            )
            assert cell == ("" if value is None else text)


def test_csv_is_read_again_by_our_reader(jsonl, tmp_path):
    with (tmp_path / "out.csv").open("wb") as file:
        to_csv(jsonl([{"only": ""}, {"only": "a\r\nb"}, {"only": None}]), file)
    assert [row.data for row in open_rows(tmp_path / "out.csv")] == [
        {"only": ""},
        {"only": "a\r\nb"},
        {"only": ""},
    ]


def test_parquet_keeps_types_and_falls_back_to_text(jsonl):
    target = io.BytesIO()
    to_parquet(jsonl(ROWS), target)
    table = pyarrow.parquet.read_table(target)
    assert [str(table.schema.field(name).type) for name in ("id", "text", "ok", "list")] == [
        "int64",
        "string",
        "bool",
        "list<element: int64>",
    ]
    found = {name: table[name].to_pylist() for name in table.column_names}
    assert found["text"] == ['a, "b"\r\nc', "? half", "", "\u2028\x00\x85\r"]
    # 2**53 + 1 is no double, so the column of numbers became texts.
    assert found["score"] == ["1", "0.5", None, "9007199254740993"]
    assert found["mixed"] == ["1", "x", None, None]
    assert found["big"] == [None, None, None, str(2**70)]
    assert found["empty"] == [None, None, "{}", None]
    assert found["null"] == [None] * 4
    assert found["object"] == [None, {"a": 1, "b": None}, {"a": None, "b": [None, "é"]}, None]


def test_whole_numbers_and_fractions_are_doubles(jsonl):
    target = io.BytesIO()
    to_parquet(jsonl([{"n": 1}, {"n": 0.5}, {"n": None}, {"n": 2}]), target)
    assert pyarrow.parquet.read_table(target)["n"].to_pylist() == [1.0, 0.5, None, 2.0]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_finished_file_is_proved_and_not_made_again(fake, source, tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    fake.run(source, target)
    ids = [int(row.data["id"]) for row in open_rows(target)]
    assert ids == list(range(70))
    assert fake.run(source, target, resume=True) is None
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == [target.name]
    with JournaledOutput(target, {}, overwrite=True):
        pass
    assert target.exists()  # an unfinished run replaces nothing
