"""From files to examples."""

from __future__ import annotations

import gzip
import io
import json
import sys

import pytest

from llmkit.errors import InputError, OptionError, RowError
from llmkit.evaluation.rows import read


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_references_of_every_kind(tmp_path):
    name = write(
        tmp_path / "p.jsonl",
        [
            {"prediction": "a", "reference": "b"},
            {"prediction": "a", "references": ["b", "c"]},
            {"prediction": "a", "answers": {"text": ["b", "c"], "answer_start": [0, 4]}},
            {"prediction": "a", "references": []},
        ],
    )
    found = list(read(name))
    assert [row.references for row in found] == [["b"], ["b", "c"], ["b", "c"], []]
    assert [row.where for row in found] == [f"{name}:{n}" for n in (1, 2, 3, 4)]
    assert found[0].data == {"prediction": "a", "reference": "b"}


def test_named_columns(tmp_path):
    name = write(tmp_path / "p.jsonl", [{"output": "a", "gold": "b", "prediction": "x", "reference": "y"}])
    (row,) = read(name, prediction_field="output", reference_field="gold")
    assert (row.prediction, row.references) == ("a", ["b"])


def test_csv_and_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    (tmp_path / "p.csv").write_text("prediction,reference\na,b\n", encoding="utf-8")
    table = pa.table({"prediction": ["a"], "references": [["b", "c"]]})
    pyarrow.parquet.write_table(table, tmp_path / "p.parquet")
    assert next(read(str(tmp_path / "p.csv"))).references == ["b"]
    assert next(read(str(tmp_path / "p.parquet"))).references == ["b", "c"]


def test_plain_lines_under_any_name(tmp_path):
    (tmp_path / "out.de").write_text("eins\n\ndrei\n", encoding="utf-8")
    (tmp_path / "ref.txt").write_text("uno\ndos\ntres\n", encoding="utf-8")
    for name in ("ref2.txt.gz", "ref2.fr.gz"):
        with gzip.open(tmp_path / name, "wt", encoding="utf-8") as file:
            file.write("un\ndeux\ntrois\n")
    files = [str(tmp_path / name) for name in ("out.de", "ref.txt", "ref2.txt.gz", "ref2.fr.gz")]
    found = list(read(files[0], files[1:]))
    assert [(row.prediction, row.references) for row in found] == [
        ("eins", ["uno", "un", "un"]),
        ("", ["dos", "deux", "deux"]),
        ("drei", ["tres", "trois", "trois"]),
    ]


def test_rows_with_references_in_lines(tmp_path):
    name = write(tmp_path / "p.jsonl", [{"prediction": "a", "lang": "de"}])
    (tmp_path / "ref.en").write_text("b\n", encoding="utf-8")
    (row,) = read(name, [str(tmp_path / "ref.en")])
    assert (row.prediction, row.references, row.data["lang"]) == ("a", ["b"], "de")


def test_stdin_is_lines_beside_references(tmp_path, monkeypatch):
    (tmp_path / "ref.txt").write_text("b\n", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO("ä\n".encode()))))
    (row,) = read("-", [str(tmp_path / "ref.txt")])
    assert (row.prediction, row.where) == ("ä", "stdin:1")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((3, 2), "file 1 of `references` ends after 2 lines"),
        ((2, 3), "the predictions end after 2 lines"),
        ((3, 3, 2), "file 2 of `references` ends after 2 lines"),
    ],
)
def test_files_of_different_lengths(tmp_path, lines, message):
    files = []
    for index, count in enumerate(lines):
        files.append(str(tmp_path / f"{index}.txt"))
        (tmp_path / f"{index}.txt").write_text("x\n" * count, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        list(read(files[0], files[1:]))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"reference": "b"}, "17: no column 'prediction'; its columns are reference"),
        ({"predictoin": "a", "reference": "b"}, "17: no column 'prediction'; did you mean 'predictoin'?"),
        ({"prediction": "a"}, "17: no column 'reference' or 'references'; its columns are prediction"),
        ({"prediction": "a", "reference": None}, "17: column 'reference' is null"),
        ({"prediction": "a", "answers": {"answer_start": []}}, "17: column 'answers' is an object without"),
    ],
)
def test_a_row_that_lacks_something(tmp_path, row, message):
    name = write(tmp_path / "p.jsonl", [{"prediction": "a", "reference": "b"}] * 16 + [row])
    with pytest.raises(RowError) as caught:
        list(read(name))
    assert str(caught.value).startswith(f"{name}:{message}")


def test_a_line_that_cannot_be_read(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prediction": "a", "reference": "b"}\n{"prediction": NaN}\n', encoding="utf-8")
    with pytest.raises(RowError, match=r"p\.jsonl:2: .*NaN"):
        list(read(str(path)))


def test_a_damaged_file(tmp_path):
    (tmp_path / "out.de").write_text("eins\n", encoding="utf-8")
    (tmp_path / "ref.de.gz").write_bytes(b"uno\n")
    with pytest.raises(InputError, match=r"ref\.de\.gz: "):
        list(read(str(tmp_path / "out.de"), [str(tmp_path / "ref.de.gz")]))


def test_files_that_do_not_go_together(tmp_path):
    (tmp_path / "a.txt").write_text("x\n", encoding="utf-8")
    name = str(tmp_path / "a.txt")
    for option, call in [
        ("references", lambda: read(name, [name])),
        ("reference_field", lambda: read(name, ["b.txt"], reference_field="gold")),
    ]:
        with pytest.raises(OptionError) as caught:
            list(call())
        assert caught.value.option == option
    with pytest.raises(InputError, match=r"nothing\.de: no such file"):
        list(read(str(tmp_path / "nothing.de"), [name]))
