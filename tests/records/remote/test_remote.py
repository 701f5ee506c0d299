import gzip
import json
from pathlib import Path

import fsspec
import pyarrow
import pyarrow.parquet
import pytest

from llmkit.errors import InputError, LLMKitError, OptionError
from llmkit.records.batches import Budget
from llmkit.records.process import process
from llmkit.records.read import has_rows, identity_of, open_rows
from llmkit.records.remote import reading
from llmkit.records.remote.output import check_output, open_output
from llmkit.records.remote.urls import url_of
from tests.records import fake_run
from tests.records.remote.storage import s3_server

LINES = "".join(json.dumps({"id": i, "text": f"text {i} é"}, ensure_ascii=False) + "\n" for i in range(500))


@pytest.fixture(params=["memory", "s3"])
def storage(request, monkeypatch, tmp_path):
    """The base URL of an empty storage, and its proxy (None for memory)."""
    monkeypatch.setattr(reading, "_FIRST_PAUSE", 0.001)
    monkeypatch.setenv("LLMKIT_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
        yield "memory://rows", None
        return
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with s3_server() as proxy:
        yield "s3://rows", proxy


def put(url, data):
    with fsspec.open(url, "wb") as file:
        file.write(data)


def get(url):
    with fsspec.open(url, "rb") as file:
        return file.read()


def run(base, source, name="out.jsonl", **options):
    """Process rows into an object, as `fake_run.run` does into a file."""
    resume, overwrite = options.pop("resume", False), options.pop("overwrite", False)
    rows = open_rows(source)
    header = {"seed": 7, "input": rows.identity()}
    with open_output(f"{base}/{name}", header, resume=resume, overwrite=overwrite) as output:
        if output.finished:
            return None
        return process(
            rows,
            prepare=fake_run.prepare,
            work=options.pop("work", fake_run.work),
            output=output,
            budget=Budget(tokens=300, rows=None, new_tokens=5),
            window=16,
            **options,
        )


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("s3://bucket/a.jsonl", "s3://bucket/a.jsonl"),
        (Path("s3://bucket/a.jsonl"), "s3://bucket/a.jsonl"),
        (Path("hf://datasets/a/b/c.csv"), "hf://datasets/a/b/c.csv"),
        ("hf:dataset:config", None),
        ("a.jsonl", None),
        ("file:///etc/passwd", None),
        ("http://host/a.jsonl", None),
        ("s3:", None),
    ],
)
def test_only_urls_of_object_storage_are_urls(name, url):
    assert url_of(name) == url


def test_chained_file_systems_are_refused():
    with pytest.raises(InputError):
        url_of("s3://bucket/zip://x::file:///etc/passwd")


def test_a_dataset_and_an_object_of_the_hub_differ():
    assert has_rows("hf:dataset")
    assert has_rows("hf://datasets/a/b/c.jsonl")
    assert not has_rows("hf://datasets/a/b/c.txt")


def test_rows_of_an_object_are_those_of_the_file(storage, tmp_path):
    base, _ = storage
    local = tmp_path / "in.jsonl"
    for name, data in (("in.jsonl", LINES.encode()), ("in.jsonl.gz", gzip.compress(LINES.encode()))):
        put(f"{base}/{name}", data)
        local.write_bytes(LINES.encode())
        source = open_rows(f"{base}/{name}")
        assert [row.data for row in source] == [row.data for row in open_rows(local)]
        assert source.identity() == identity_of(f"{base}/{name}")
        assert source.identity()["bytes"] == len(data)
        assert source.fraction() == 1.0


def test_parquet_is_read_from_storage(storage):
    base, _ = storage
    with fsspec.open(f"{base}/in.parquet", "wb") as file:
        pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"]}), file)
    assert [row.data for row in open_rows(f"{base}/in.parquet")] == [{"text": "a"}, {"text": "b"}]


def test_bad_objects_are_refused(storage):
    base, _ = storage
    put(f"{base}/empty.jsonl", b"")
    put(f"{base}/rows.xyz", b"x")
    for name in ("missing.jsonl", "empty.jsonl", "rows.xyz"):
        with pytest.raises(InputError) as caught:
            open_rows(f"{base}/{name}")
        assert name in str(caught.value)


def test_an_object_appears_when_it_is_finished_and_not_before(storage, tmp_path):
    base, _ = storage
    source = fake_run.write_input(tmp_path / "in.jsonl", 60)
    fake_run.run(source, tmp_path / "one.jsonl")
    seen = []

    def work(batch, budget):
        seen.append(fsspec.core.url_to_fs(f"{base}/out.jsonl")[0].exists(f"{base}/out.jsonl"))
        if len(seen) == 5:
            raise LLMKitError("cut")
        return fake_run.work(batch)

    with pytest.raises(LLMKitError):
        run(base, source, work=work)
    with pytest.raises(OptionError):
        check_output(f"{base}/out.jsonl")  # an unfinished run is there
    run(base, source, work=work, resume=True)
    assert not any(seen)
    assert get(f"{base}/out.jsonl") == (tmp_path / "one.jsonl").read_bytes()
    assert not list((tmp_path / "spool").rglob("*.jsonl*"))
    assert run(base, source, resume=True) is None  # finished already
    with pytest.raises(OptionError) as caught:
        run(base, source)
    assert caught.value.option == "output"
    put(f"{base}/out.jsonl", b"another\n")
    with pytest.raises(InputError):
        run(base, source, resume=True)
    run(base, source, overwrite=True)
    assert get(f"{base}/out.jsonl") == (tmp_path / "one.jsonl").read_bytes()


def test_csv_is_converted_before_it_is_uploaded(storage, tmp_path):
    base, _ = storage
    source = fake_run.write_input(tmp_path / "in.jsonl", 20)
    fake_run.run(source, tmp_path / "one.csv")
    run(base, source, name="out.csv")
    assert get(f"{base}/out.csv") == (tmp_path / "one.csv").read_bytes()


def test_cut_connections_are_opened_again(storage, tmp_path, monkeypatch):
    base, proxy = storage
    if proxy is None:
        pytest.skip("memory has no connections")
    monkeypatch.setattr("llmkit.records.read.CHUNK", 4096)
    put(f"{base}/in.jsonl", LINES.encode())
    source = open_rows(f"{base}/in.jsonl")
    proxy.cuts = 4
    assert "".join(json.dumps(row.data, ensure_ascii=False) + "\n" for row in source) == LINES
    assert proxy.done == 4

    local = fake_run.write_input(tmp_path / "in.jsonl", 60)
    fake_run.run(local, tmp_path / "one.jsonl")

    def cut(done, *told):
        proxy.cuts = 3 if done == 60 else 0  # the upload follows

    run(base, local, progress=cut)
    assert proxy.done == 7
    assert get(f"{base}/out.jsonl") == (tmp_path / "one.jsonl").read_bytes()


def test_an_upload_that_fails_is_resumed(storage, tmp_path):
    base, proxy = storage
    if proxy is None:
        pytest.skip("memory has no connections")
    source = fake_run.write_input(tmp_path / "in.jsonl", 60)
    fake_run.run(source, tmp_path / "one.jsonl")

    def cut(done, *told):
        proxy.cuts = 10_000 if done == 60 else 0

    with pytest.raises(LLMKitError, match="resume=True"):
        run(base, source, progress=cut)
    proxy.cuts = 0
    assert not fsspec.core.url_to_fs(base)[0].exists(f"{base}/out.jsonl")
    assert run(base, source, resume=True) is None  # only the upload was left
    assert get(f"{base}/out.jsonl") == (tmp_path / "one.jsonl").read_bytes()


def test_an_object_that_changes_while_it_is_read_ends_the_run(storage, monkeypatch):
    base, _ = storage
    monkeypatch.setattr("llmkit.records.read.CHUNK", 4096)
    put(f"{base}/in.jsonl", LINES.encode())
    rows = iter(open_rows(f"{base}/in.jsonl"))
    next(rows)
    put(f"{base}/in.jsonl", LINES.replace("text 4", "text 5").encode())
    with pytest.raises(LLMKitError, match="changed"):
        list(rows)
