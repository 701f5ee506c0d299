import base64
import datetime
import decimal
import gzip
import json
import os
import random
import shutil
import tracemalloc

import pytest

from llmkit.errors import InputError
from llmkit.records.read import open_rows
from llmkit.records.strict_json import dumps
from llmkit.records.tables import plain


def write_parquet(path, columns, **options):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path, **options)
    return path


def test_parquet_rows_in_order_across_row_groups(tmp_path):
    ids = list(range(1000))
    path = write_parquet(
        tmp_path / "x.parquet", {"id": ids, "text": [f"雪 {i}" for i in ids]}, row_group_size=300
    )
    source = open_rows(path)
    assert source.fraction() == 0.0
    rows = list(source)
    assert [row.data for row in rows] == [{"id": i, "text": f"雪 {i}"} for i in ids]
    assert [rows[0].where, rows[999].where] == [f"{path}:row 1", f"{path}:row 1000"]
    assert source.fraction() == 1.0


@pytest.mark.parametrize("same", [True, False], ids=["one value", "many values"])
def test_few_long_rows_are_in_memory_at_a_time(tmp_path, monkeypatch, same):
    """One value for all rows is stored once, so that the file tells a small size."""
    monkeypatch.setattr("llmkit.records.tables._BYTES_AT_A_TIME", 1 << 20)
    texts = [f"{0 if same else number:05}" + "x" * 100_000 for number in range(256)]
    path = write_parquet(tmp_path / "x.parquet", {"text": texts})
    tracemalloc.start()
    assert [len(row.data["text"]) for row in open_rows(path)] == [100_005] * 256
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_parquets_progress_is_counted_in_rows(tmp_path):
    source = open_rows(write_parquet(tmp_path / "x.parquet", {"id": list(range(8))}))
    rows = iter(source)
    next(rows), next(rows)
    assert source.fraction() == 0.25


def test_compressed_parquet(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", {"id": [1, 2]})
    zipped = tmp_path / "y.parquet.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert [row.data for row in open_rows(zipped)] == [{"id": 1}, {"id": 2}]


def test_cells_of_every_kind_can_be_written_as_json(tmp_path):
    when = datetime.datetime(2024, 2, 29, 12, 30, 15, 250000, tzinfo=datetime.UTC)
    columns = {
        "float": [0.5, float("nan")],
        "int": [2**60, None],
        "bool": [True, False],
        "time": [when, None],
        "date": [datetime.date(2024, 2, 29), None],
        "money": [decimal.Decimal("1.10"), None],
        "bytes": ["é".encode(), b"\xff\x00"],
        "list": [[1.0, float("inf")], []],
        "struct": [{"a": [{"b": None}]}, None],
    }
    rows = [row.data for row in open_rows(write_parquet(tmp_path / "x.parquet", columns))]
    assert rows == [
        {
            "float": 0.5,
            "int": 2**60,
            "bool": True,
            "time": "2024-02-29T12:30:15.250000+00:00",
            "date": "2024-02-29",
            "money": "1.10",
            "bytes": "é",
            "list": [1.0, None],
            "struct": {"a": [{"b": None}]},
        },
        {
            "float": None,
            "int": None,
            "bool": False,
            "time": None,
            "date": None,
            "money": None,
            "bytes": base64.b64encode(b"\xff\x00").decode(),
            "list": [],
            "struct": None,
        },
    ]
    assert [json.loads(dumps(row)) for row in rows] == rows


def test_values_that_no_rule_covers_become_text():
    assert plain({1: datetime.timedelta(seconds=90), "t": (datetime.time(1, 2), object)}) == {
        "1": "0:01:30",
        "t": ["01:02:00", "<class 'object'>"],
    }


def test_an_empty_table_has_no_rows(tmp_path):
    import pyarrow

    path = write_parquet(tmp_path / "x.parquet", {"text": pyarrow.array([], pyarrow.string())})
    source = open_rows(path)
    assert list(source) == []
    assert source.fraction() == 1.0


@pytest.mark.parametrize("content", [b"not parquet at all", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_what_is_not_parquet_is_refused_on_opening(tmp_path, content):
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.parquet: not a readable Parquet file: .") as caught:
        open_rows(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_parquet_file_is_named(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", {"text": [f"text {i}" * 9 for i in range(5000)]})
    content = bytearray(path.read_bytes())
    content[4:2000] = b"\xff" * 1996
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.parquet: not a readable Parquet file"):
        list(open_rows(path))


def test_two_columns_of_one_name_are_refused(tmp_path):
    import pyarrow

    table = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], names=["a", "a"])
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"x\.parquet: two columns are named 'a'"):
        open_rows(tmp_path / "x.parquet")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Local folders in the Hub's own layout: `datasets` reads them by the same code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))

    def write(path, *rows):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    write("one/train.jsonl", {"q": "a", "n": 1.5}, {"q": "b", "n": None})
    write("two/train.jsonl", {"q": "train"})
    write("two/test.jsonl", {"q": "test"})
    write("many/a/train.jsonl", {"q": "config a"})
    write("many/b/train.jsonl", {"q": "config b, train"})
    write("many/b/test.jsonl", {"q": "config b, test"})
    os.mkdir("nothing")
    with open("many/README.md", "w") as file:
        file.write("---\nconfigs:\n- config_name: a\n  data_dir: a\n- config_name: b\n  data_dir: b\n---\n")
    return tmp_path


def test_a_dataset_with_one_split(hub):
    rows = list(open_rows("hf:one"))
    assert [row.data for row in rows] == [{"q": "a", "n": 1.5}, {"q": "b", "n": None}]
    assert [row.where for row in rows] == ["hf:one:row 1", "hf:one:row 2"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("hf:two:test", "test"),
        ("hf:two::train", "train"),
        ("hf:two:default:test", "test"),
        ("hf:many:a", "config a"),
        ("hf:many:b:test", "config b, test"),
    ],
)
def test_configs_and_splits(hub, source, text):
    source = open_rows(source)
    assert [row.data["q"] for row in source] == [text]
    assert source.identity() == {"name": source.name}
    assert source.fraction() == 1.0


def test_images_stay_bytes(hub):
    import datasets
    import pyarrow
    import pyarrow.parquet

    png = b"\x89PNG not decoded"
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    table = {"image": [{"bytes": png, "path": None}], "caption": ["a fox"]}
    os.mkdir("images")
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pydict(table, schema=features.arrow_schema), "images/train.parquet"
    )
    [row] = open_rows("hf:images")
    assert row.data == {
        "image": {"bytes": base64.b64encode(png).decode(), "path": None},
        "caption": "a fox",
    }


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("hf:", "write hf:DATASET, hf:DATASET:SPLIT or hf:DATASET:CONFIG:SPLIT"),
        ("hf:a:b:c:d", "write hf:DATASET"),
        ("hf:two", "give a split; it has train, test; write for example hf:two::train"),
        ("hf:many:b", "give a split; it has train, test; write for example hf:many:b:train"),
        ("hf:two:validation", "Bad split: validation. Available splits: ['train', 'test']"),
        ("hf:many", "Please pick one among the available configs: ['a', 'b']"),
        ("hf:many:c:train", "BuilderConfig 'c' not found. Available: ['a', 'b']"),
        ("hf:many:a:nope", "Bad split: nope. Available splits: ['train']"),
        ("hf:nothing", "hf:nothing: "),
    ],
)
def test_what_is_not_in_a_dataset_is_told_in_one_line(hub, source, reason):
    with pytest.raises(InputError) as caught:
        open_rows(source)
    message = str(caught.value)
    assert message.startswith(source)
    assert reason in message
    assert "\n" not in message
    assert "load_dataset" not in message


def test_offline_a_dataset_that_is_not_here_is_not_asked_for(hub, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"hf:nobody/nothing: .*HF_HUB_OFFLINE"):
        open_rows("hf:nobody/nothing")


def test_a_stream_that_breaks_off_is_named(hub, monkeypatch):
    def broken_off():
        yield {"q": "first"}
        raise ConnectionError("the server hung up\nsorry")

    monkeypatch.setattr("datasets.load_dataset", lambda *args, **options: broken_off())
    rows = iter(open_rows("hf:far/away::train"))
    assert next(rows).data == {"q": "first"}
    with pytest.raises(InputError, match="hf:far/away::train: the server hung up sorry; check the network"):
        next(rows)


def test_a_column_name_that_is_not_utf8_is_refused(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"caf_name": ["x"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"caf_name", b"caf\xe9name"))
    with pytest.raises(InputError, match=r"x\.parquet"):
        list(open_rows(path))


def test_a_gzip_bomb_does_not_fill_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "x.parquet.gz"
    path.write_bytes(gzip.compress(bytes(8 << 20)))
    usage = shutil.disk_usage(tmp_path)._replace(free=4 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="free disk"):
        open_rows(path)


def test_damaged_parquet_is_refused_in_one_line(tmp_path):
    """One changed byte at 150 random places: refused, or read."""
    import pyarrow
    import pyarrow.parquet

    path, rng = tmp_path / "x.parquet", random.Random(0)
    table = pyarrow.table({"text": [f"row {i}" for i in range(50)], "n": list(range(50))})
    pyarrow.parquet.write_table(table, path)
    whole = path.read_bytes()
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            rows = list(open_rows(path))
        except InputError as error:
            refused += "\n" not in str(error)
        else:
            assert all(isinstance(row.data, dict) for row in rows)
    assert refused > 10
