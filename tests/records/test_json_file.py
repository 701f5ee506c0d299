import json
import random
import tracemalloc

import pytest

from llmkit.errors import InputError
from llmkit.records import json_file
from llmkit.records.read import open_rows


@pytest.fixture
def rows(tmp_path):
    def read(content):
        path = tmp_path / "x.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return [(row.where.rpartition(":")[2], row.error or row.data) for row in open_rows(path)]

    return read


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"a": 1}, {"b": [2]}]', [("1", {"a": 1}), ("1", {"b": [2]})]),
        ('\ufeff\n[\n {"a": 1},\n\n {"b": 2}\n]\n', [("3", {"a": 1}), ("5", {"b": 2})]),
        ("[]", []),
        (" [ ] ", []),
        ('{"data": [{"a": 1}]}', [("1", {"data": [{"a": 1}]})]),
        ('{\n"a": 1}\n', [("1", {"a": 1})]),
        ('{"a": 1}\n{"a": 2}\n', [("1", {"a": 1}), ("2", {"a": 2})]),
        ('{"a": "é[{"}', [("1", {"a": "é[{"})]),
    ],
)
def test_the_items_of_an_array_or_the_objects_of_a_file(rows, content, expected):
    assert rows(content) == expected


def test_items_that_are_no_rows_spoil_only_themselves(rows):
    assert rows('[{"a": 1}, 12, "x",\n {"a": NaN}, [], {"a": 2}]') == [
        ("1", {"a": 1}),
        ("1", "a JSON number, not an object"),
        ("1", "a JSON string, not an object"),
        ("2", "NaN is not JSON; write null"),
        ("2", "a JSON array, not an object"),
        ("2", {"a": 2}),
    ]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1000])
def test_where_the_file_is_cut_into_chunks_does_not_matter(rows, monkeypatch, chunk):
    rng = random.Random(chunk)
    items = [
        {"text": '雪🦊\\"\n é' * rng.randrange(20), "n": rng.choice([1, -2.5e-7, None, True, [[]]])}
        for _ in range(40)
    ]
    content = json.dumps(items, indent=rng.choice([None, 1]), ensure_ascii=rng.random() < 0.5)
    monkeypatch.setattr(json_file, "_CHUNK", chunk)
    assert [data for _, data in rows(content)] == items


def test_a_chunk_may_end_in_the_middle_of_anything(rows, monkeypatch):
    items = [
        12345,
        -1.5e10,
        2e5,
        True,
        None,
        "\\u😀",
        {"a": -1.5e10, "b\n": "\\😀"},
        [[1.5], {}],
        {},
    ]
    content = json.dumps(items).replace("15000000000.0", "1.5E+10").replace("200000.0", "2e5")
    kinds = ["number"] * 3 + ["boolean", "null", "string", None, "array", None]
    expected = [
        f"a JSON {kind}, not an object" if kind else item for kind, item in zip(kinds, items, strict=True)
    ]
    for chunk in range(1, len(content) + 1):
        monkeypatch.setattr(json_file, "_CHUNK", chunk)
        # Pieces of one size, however long a value is: a boundary falls behind every character.
        monkeypatch.setattr(
            json_file._Text,
            "_read",
            lambda self, size, read=json_file._Text._read, chunk=chunk: read(self, chunk),
        )
        assert [found for _, found in rows(content)] == expected
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('[{"a": 1},\n{"a": 2}\n', "x.json:3: expecting ',' or ']' after item 2"),
        ('[{"a": 1} {"a": 2}]', "x.json:1: expecting ',' or ']' after item 1"),
        ('[{"a": 1},\n]', "x.json:2: item 2 is not JSON: Expecting value"),
        ('[{"a": 1},\n{"a": 2', "x.json:2: item 2 is not JSON: Expecting ',' delimiter"),
        ('[{"a": 1},\n{"a": "2', "x.json:2: item 2 is not JSON: Unterminated string"),
        ("[{'a': 1}]", "x.json:1: item 1 is not JSON: Expecting property name"),
        ('[{"a": 1}]\n{"b": 2}', "x.json:2: more text after the array"),
        ('[\n{"a":\n "b\\q"}]', "x.json:3: item 1 is not JSON: Invalid \\escape"),
        (b'[{"a": "x"},\n {"a": "caf\xe9"}]', "x.json:2: byte 0xe9 is not UTF-8"),
        (b'[{"a": "caf\xc3', "x.json:1: byte 0xc3 is not UTF-8"),
        ("[" * 100_000, "x.json:1: item 1 is not JSON: nested more than 200"),
    ],
)
def test_broken_syntax_names_line_and_item(rows, content, reason):
    with pytest.raises(InputError) as caught:
        rows(content)
    assert reason in str(caught.value)


def test_a_syntax_error_is_told_before_the_rest_of_the_file_is_read(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('[{"a": 1}, {"a" 2}' + ' {"b": "x"},' * 1_000_000 + "]")
    tracemalloc.start()
    with pytest.raises(InputError, match="item 2 is not JSON: Expecting ':' delimiter"):
        list(open_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20 < path.stat().st_size


def test_an_array_is_streamed(tmp_path):
    path = tmp_path / "x.json"
    with open(path, "w") as file:
        file.write("[")
        for number in range(10_000):
            file.write(("," if number else "") + json.dumps({"id": number, "text": "word " * 200}))
        file.write("]")
    tracemalloc.start()
    count = sum(1 for _ in open_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_000
    assert peak < 4 << 20 < path.stat().st_size
