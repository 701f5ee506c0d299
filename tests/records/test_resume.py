"""What `process`, the output and the journal promise together: killed and resumed, the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from llmkit.errors import InputError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.output import JournaledOutput
from llmkit.records.process import process
from llmkit.records.read import rows_of

SUFFIXES = (".jsonl", ".csv", ".parquet")


def prepare(rows):
    return [PreparedRow(row, len(row.data["text"]), row.data["text"]) for row in rows]


def counts(summary):
    return summary.rows, summary.failed, summary.resumed


def only(folder, name):
    """The files in `folder` whose names begin with `name`."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(name))


def test_a_run_stopped_at_any_batch_resumes_to_the_same_bytes(fake, source, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # nothing here outlives a power cut
    batches = 0

    def count(batch, budget=None):
        nonlocal batches
        batches += 1
        return fake.work(batch)

    fake.run(source, tmp_path / "counted.jsonl", work=count)
    assert batches > 12
    for stop_at in range(batches):
        left = stop_at

        def stopping(batch, budget=None):
            nonlocal left
            if left == 0:
                raise RuntimeError("stopped")
            left -= 1
            return fake.work(batch)

        target = tmp_path / "out.jsonl"
        with pytest.raises(RuntimeError, match="stopped"):
            fake.run(source, target, work=stopping)
        summary = fake.run(source, target, resume=True)
        assert (summary.rows, summary.failed) == (70, 0)
        assert (summary.resumed > 0) == (stop_at > 0)
        assert target.read_bytes() == whole
        assert only(tmp_path, "out.jsonl") == ["out.jsonl"]
        target.unlink()


def test_a_resumed_run_does_no_batch_again(fake, source, tmp_path):
    done = []

    def recording(batch, budget=None):
        done.extend(prepared.row.index for prepared in batch)
        return fake.work(batch)

    def stop(rows_done, *_):
        if rows_done > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fake.run(source, tmp_path / "out.jsonl", work=recording, progress=stop)
    before = len(done)
    summary = fake.run(source, tmp_path / "out.jsonl", work=recording, resume=True)
    assert summary.resumed == before
    assert sorted(done) == list(range(70))


def test_the_partial_file_shows_the_rows_that_are_done(fake, source, tmp_path):
    """Also those of the current window, which the finished file has in the order of the input."""
    target = tmp_path / "out.jsonl"
    seen = []

    def look(done, failed, fields, share):
        rows = (tmp_path / "out.jsonl.partial").read_text().splitlines()
        seen.append((done, len({json.loads(row)["id"] for row in rows}), len(rows)))
        if done > 40 and fields and not target.exists() and len(seen) < 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fake.run(source, target, progress=look)
    before = len(seen)
    seen += [(0, 0, 0)] * (30 - before)
    fake.run(source, target, progress=look, resume=True)
    assert all(done == rows == lines for done, rows, lines in seen)
    assert seen[30][0] == seen[before - 1][0]


@pytest.mark.parametrize("size", [1, 16, 17, 32])
def test_window_ends_resume_too(fake, tmp_path, size):
    source = fake.write_input(tmp_path / "in.jsonl", size)
    fake.run(source, tmp_path / "whole.jsonl")

    def stop(done, failed, fields, share):
        if fields:
            raise KeyboardInterrupt

    for _ in range(40):
        try:
            fake.run(source, tmp_path / "out.jsonl", resume=True, progress=stop)
            break
        except KeyboardInterrupt:
            continue
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_an_input_without_rows_gives_an_empty_file(fake, tmp_path):
    (tmp_path / "in.csv").write_text("id,text\n")
    assert counts(fake.run(tmp_path / "in.csv", tmp_path / "out.jsonl")) == (0, 0, 0)
    assert (tmp_path / "out.jsonl").read_bytes() == b""
    assert only(tmp_path, "out.jsonl") == ["out.jsonl"]


def test_any_text_survives_the_journal(tmp_path):
    """Among them a surrogate pair in two halves, which JSON would join on the way back."""
    texts = ["a\ud83d", "\u2028\x00\x85", 'q"\\', "\ud83d\ude00", "é" * 50]

    def work(batch, budget=None):
        return [{"echo": p.payload, "pair": "\ud83d" + "\ude00", "n": [0.1, 1e-300, 2**70]} for p in batch]

    def run(target, resume=False, **options):
        with JournaledOutput(target, {}, resume=resume) as output:
            process(
                rows_of(texts),
                prepare=prepare,
                work=work,
                output=output,
                budget=Budget(None, 1, 0),
                **options,
            )

    def stop(done, *_):
        if done == 4:
            raise KeyboardInterrupt

    run(tmp_path / "whole.jsonl")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out.jsonl", progress=stop)
    run(tmp_path / "out.jsonl", resume=True)
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().decode().split("\n")[:-1]]
    assert [row["echo"] for row in rows] == [json.loads(json.dumps(text)) for text in texts]


@pytest.mark.parametrize(
    ("suffix", "every"),
    [(".jsonl", 14), (".csv", 60), *(pytest.param(one, 1, marks=pytest.mark.slow) for one in SUFFIXES)],
)
def test_kill_9_in_any_call_that_changes_the_disk(fake, source, tmp_path, every, suffix, record_property):
    """And again in the resumed run; the third finishes it. Half-written writes are among the points."""
    folder = tmp_path / "out"
    folder.mkdir()
    script = [sys.executable, fake.__file__, "everywhere", str(source), str(folder), str(every), suffix]
    result = json.loads(subprocess.run(script, capture_output=True, check=True).stdout)
    record_property("cases", f"kills of rows, twice each: {len(range(0, result['calls'], every))}")
    assert result["calls"] > 60
    assert result["wrong"] == []


@pytest.mark.parametrize(
    ("rows", "kills"), [(70, 3), pytest.param(2000, 40, marks=pytest.mark.slow)], ids=["small", "large"]
)
def test_kill_9_at_random_moments(fake, tmp_path, rows, kills, record_property):
    record_property("cases", f"kills at random moments: {kills}")
    source = fake.write_input(tmp_path / "in.jsonl", rows)
    target = tmp_path / "out.jsonl"
    rng = random.Random(rows)
    command = [sys.executable, fake.__file__, "run", str(source), str(target)]
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            for _ in range(1 + rng.randrange(max(2, rows // 60))):
                child.stdout.readline()
            os.kill(child.pid, signal.SIGKILL)
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    fake.run(source, tmp_path / "whole.jsonl")
    assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert only(tmp_path, "out.jsonl") == ["out.jsonl"]


# Inputs that are not what they were, or break.


@pytest.mark.parametrize("rows_done", [5, 20])
@pytest.mark.parametrize("change", ["first row", "a done row", "a row of this window", "shorter"])
def test_another_input_is_refused(fake, source, tmp_path, rows_done, change):
    """Also where the file's identity says nothing, as with stdin."""
    target = tmp_path / "out.jsonl"
    header = {"input": {"name": "stdin"}}

    def stop(done, *_):
        if done > rows_done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fake.run(source, target, header=header, progress=stop)
    state = {name: (tmp_path / name).read_bytes() for name in only(tmp_path, "out.jsonl")}
    lines = source.read_text().splitlines(keepends=True)
    if change == "shorter":
        lines = lines[: 3 if rows_done == 5 else 18]
    else:
        number = {"first row": 0, "a done row": 4, "a row of this window": 15 if rows_done == 5 else 30}
        lines[number[change]] = '{"id": 0, "text": "other"}\n'
    source.write_text("".join(lines))
    with pytest.raises(InputError, match="the input differs"):
        fake.run(source, target, header=header, resume=True)
    assert state.keys() == set(only(tmp_path, "out.jsonl"))


def test_another_window_size_is_refused(fake, source, tmp_path):
    def stop(done, *_):
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fake.run(source, tmp_path / "out.jsonl", progress=stop)
    with pytest.raises(InputError, match="cannot resume"):
        fake.run(source, tmp_path / "out.jsonl", resume=True, window=32)


def test_an_input_that_breaks_off_leaves_what_is_finished(fake, source, tmp_path):
    import gzip

    packed = gzip.compress(source.read_bytes(), 0)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(packed[: len(packed) * 3 // 4])
    with pytest.raises(InputError, match="damaged gzip data"):
        fake.run(cut, tmp_path / "out.jsonl")
    rows = (tmp_path / "out.jsonl.partial").read_text().splitlines()
    assert len(rows) >= 32
    assert len(rows) % 16 == 0
