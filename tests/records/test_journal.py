import json
import os
import shutil

import pytest

from llmkit.errors import InputError
from llmkit.records import journal
from llmkit.records.batches import Budget
from llmkit.records.journal import CommitWindow, Failure, Finished
from llmkit.records.rows import Row


def whole_journal():
    return [
        journal.head({"seed": 7}, Finished(32, 900, "ef" * 32, "ab" * 32, 1, Budget(100, None, 5))),
        journal.window_line(CommitWindow(32, 16, "cd" * 32)),
        journal.batch_line([(40, {"answer": "雪 \ud83d"}), (33, Failure("it failed"))]),
        journal.budget_line(Budget(50, None, 5)),
        journal.batch_line([(32, {"answer": ""})]),
    ]


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b"".join(whole_journal()))
    found = journal.read(path)
    assert found.header == {"seed": 7}
    assert found.finished == Finished(32, 900, "ef" * 32, "ab" * 32, 1, Budget(100, None, 5))
    assert found.budget == Budget(50, None, 5)
    assert found.window == CommitWindow(
        32,
        16,
        "cd" * 32,
        {40: {"answer": "雪 \ud83d"}, 33: Failure("it failed"), 32: {"answer": ""}},
    )
    assert found.size == path.stat().st_size


def test_every_line_is_json(tmp_path):
    for line in b"".join(whole_journal()).decode().splitlines():
        assert isinstance(json.loads(line), dict)


def test_a_torn_end_is_left_out_at_every_byte(tmp_path):
    path = tmp_path / "journal"
    lines = b"".join(whole_journal()).splitlines(keepends=True)
    whole = b"".join(lines)
    for cut in range(sum(map(len, lines[:2])), len(whole) + 1):
        path.write_bytes(whole[:cut])
        found = journal.read(path)
        sizes = [sum(map(len, lines[:count])) for count in range(len(lines) + 1)]
        assert found.size == max(size for size in sizes if size <= cut)
        results = {} if found.window is None else found.window.results
        assert len(results) == (3 if cut == len(whole) else 2 if cut >= sizes[5] else 0)


def test_a_changed_bit_ends_the_journal_or_refuses_it(tmp_path):
    """Any single bit: what is read after it is the beginning of what was written."""
    path = tmp_path / "journal"
    whole = b"".join(whole_journal())
    path.write_bytes(whole)
    everything = journal.read(path).window.results
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for at in range(0, len(whole) * 8, 11):
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        path.write_bytes(changed)
        if at // 8 < ends[1]:
            with pytest.raises(InputError):
                journal.read(path)
            continue
        found = journal.read(path)
        assert found.size <= at // 8
        results = found.window.results if found.window else {}
        assert results.items() <= everything.items()


@pytest.mark.parametrize(
    "tail",
    [b"\0" * 40, b"\0" * 39 + b"\n", b"[1]\n", b'{"batch": 3}\n', b"null\n", journal._line({"batch": 3})],
)
def test_what_is_no_entry_ends_the_journal(tmp_path, tail):
    path = tmp_path / "journal"
    whole = b"".join(whole_journal())
    path.write_bytes(whole + tail + journal.batch_line([(35, {})]))
    found = journal.read(path)
    assert found.size == len(whole)
    assert 35 not in found.window.results


@pytest.mark.parametrize(
    "content",
    [
        *[b"", b"\n", b"text\n", b"[]\n", b'{"a": 1}\n', b'{"journal": 2, "header": {}}\n' * 2],
        journal._line({"journal": 3, "header": {}}) * 2,
    ],
)
def test_what_is_no_journal_is_refused(tmp_path, content):
    path = tmp_path / "journal"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a journal that this version can read"):
        journal.read(path)


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_resumes_from_a_journal_torn_at_any_byte(fake, tmp_path, monkeypatch, every):
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # nothing here outlives a power cut
    source = fake.write_input(tmp_path / "in.jsonl", 40)
    fake.run(source, tmp_path / "whole.jsonl")
    target = tmp_path / "out.jsonl"

    def stop(done, *_):
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fake.run(source, target, progress=stop)
    saved = tmp_path / "saved"
    saved.mkdir()
    for kind in ("journal", "partial"):
        shutil.copy(f"{target}.{kind}", saved / kind)
    content = (saved / "journal").read_bytes()
    last_line = content.rindex(b"\n", 0, -1) + 1
    assert content[last_line:].startswith(b'{"batch"')
    for cut in [*range(last_line, len(content), every), len(content)]:
        for kind in ("journal", "partial"):
            shutil.copy(saved / kind, f"{target}.{kind}")
        with open(f"{target}.journal", "r+b") as file:
            file.truncate(cut)
        fake.run(source, target, resume=True)
        assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
        target.unlink()


def test_a_second_kill_after_a_torn_end_loses_nothing(fake, tmp_path):
    """What the resumed run appends must not follow the torn line."""
    source = fake.write_input(tmp_path / "in.jsonl", 30)
    target = tmp_path / "out.jsonl"

    def stop_after(rows):
        def stop(done, *_):
            if done > rows:
                raise KeyboardInterrupt

        return stop

    with pytest.raises(KeyboardInterrupt):
        fake.run(source, target, progress=stop_after(18))
    with open(f"{target}.journal", "ab") as file:
        file.write(b'{"batch": [[1')
    with pytest.raises(KeyboardInterrupt):
        fake.run(source, target, resume=True, progress=stop_after(24))
    assert fake.run(source, target, resume=True).resumed > 24


def test_rows_are_hashed_by_what_was_read():
    import hashlib

    def digest(*rows):
        found = hashlib.sha256()
        journal.hash_rows(rows, found)
        return found.hexdigest()

    row = Row(0, {"a": "é\ud83d"}, "x:1")
    assert digest(row) == digest(Row(5, {"a": "é\ud83d"}, "y:9"))
    others = [Row(0, {"a": "é"}, "x:1"), Row(0, {}, "x:1"), Row(0, {}, "x:1", "broken")]
    assert len({digest(row), *map(digest, others), digest(row, row), digest()}) == 6
