import errno
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit.errors import InputError, LLMKitError, OptionError
from llmkit.records import finished, journal
from llmkit.records.batches import Budget
from llmkit.records.output import JournaledOutput, StreamOutput, check
from llmkit.records.process import process
from llmkit.records.read import open_rows
from llmkit.records.rows import Row


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def unfinished(fake, source, target):
    """A run stopped in its third window."""

    def stop(done, *_):
        if done > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fake.run(source, target, progress=stop)
    return target


def beside(target):
    return sorted(path.name for path in target.parent.iterdir() if path.name.startswith(target.name))


def test_check_and_opening_agree_on_what_may_be_there(fake, source, target):
    check(target)
    check(target, resume=True)
    fake.run(source, target)
    check(target, resume=True)
    for attempt in (check, lambda path: fake.run(source, path)):
        with pytest.raises(OptionError) as caught:
            attempt(target)
        assert caught.value.option == "output"
        assert f"{target} exists" in caught.value.reason
    with pytest.raises(OptionError) as caught:
        check(target, resume=True, overwrite=True)
    assert caught.value.option == "resume"


def test_an_unfinished_run_is_not_started_over_by_mistake(fake, source, unfinished):
    for attempt in (check, lambda path: fake.run(source, path)):
        with pytest.raises(OptionError) as caught:
            attempt(unfinished)
        assert caught.value.option == "output"
        assert "unfinished" in caught.value.reason
    assert beside(unfinished) == ["out.jsonl.journal", "out.jsonl.partial"]


# A finished file, and the proof of it.


def test_resuming_a_finished_run_changes_nothing(fake, source, target):
    fake.run(source, target)
    before = target.read_bytes()
    assert fake.run(source, target, resume=True) is None
    assert target.read_bytes() == before
    assert beside(target) == ["out.jsonl"]


@pytest.mark.parametrize("state", ["", "kept"])
def test_a_journal_left_by_a_kill_after_the_last_rename_is_cleared(
    fake, source, target, tmp_path, monkeypatch, state
):
    """The journal is proof enough, where the proof in the state folder was not written yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / (state or "other")))
    journal = target.with_name("out.jsonl.journal")

    def kill(*_, **__):
        os._exit(9)

    def child():
        monkeypatch.setattr(Path, "unlink", kill)
        monkeypatch.setattr(finished, "remember", finished.remember if state else kill)
        fake.run(source, target)

    assert fake.in_child(child) == 9
    assert beside(target) == ["out.jsonl", "out.jsonl.journal"]
    with pytest.raises(InputError, match="exists"):
        check(target)
    assert fake.run(source, target, resume=True) is None
    assert not journal.exists()
    assert fake.run(source, target, resume=True) is None


@pytest.mark.parametrize("change", ["shorter", "changed", "another file"])
def test_resume_does_not_believe_a_file_that_no_run_finished(fake, source, target, change):
    if change != "another file":
        fake.run(source, target)
    lines = target.read_bytes().splitlines(True) if target.exists() else [b'{"a": 1}\n']
    target.write_bytes(b"".join(lines[:5]) if change == "shorter" else b"".join(lines).replace(b"1", b"2"))
    before = target.read_bytes()
    for attempt in (check, lambda path, resume: fake.run(source, path, resume=resume)):
        with pytest.raises(InputError, match="finished") as caught:
            attempt(target, resume=True)
        assert "overwrite=True" in str(caught.value)
    assert target.read_bytes() == before
    assert beside(target) == ["out.jsonl"]


def test_resume_compares_options_and_input_of_a_finished_file(fake, source, target):
    fake.run(source, target, header={"seed": 1, "input": {"name": "a"}})
    with pytest.raises(InputError, match="seed was 1 and is now 2"):
        fake.run(source, target, header={"seed": 2, "input": {"name": "a"}}, resume=True)
    with pytest.raises(InputError, match="the input differs"):
        fake.run(source, target, header={"seed": 1, "input": {"name": "b"}}, resume=True)


def test_an_overwriting_run_that_is_killed_before_its_first_row_unproves_the_old_file(fake, source, target):
    fake.run(source, target)
    check(target, overwrite=True)  # and killed while the model loads
    with pytest.raises(InputError, match="without a record of a finished run"):
        check(target, resume=True)
    assert fake.run(source, target, overwrite=True).rows == 70
    check(target, resume=True)


def test_where_no_proof_can_be_kept_resume_says_so(fake, source, target, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert fake.run(source, target).rows == 70
    with pytest.raises(InputError, match="without a record of a finished run"):
        fake.run(source, target, resume=True)


def test_old_proofs_are_removed(fake, source, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(finished, "_MOST", 2)
    for number in range(4):
        fake.run(source, tmp_path / f"{number}.jsonl")
    assert len(list((tmp_path / "state/llmkit/finished").iterdir())) == 2
    assert fake.run(source, tmp_path / "3.jsonl", resume=True) is None


def test_resuming_where_nothing_is_starts_a_run(fake, source, target, whole):
    assert fake.run(source, target, resume=True).resumed == 0
    assert target.read_bytes() == whole


def test_overwriting_keeps_the_old_file_until_the_new_one_is_complete(fake, source, target, whole):
    target.write_text("old\n")
    seen = []
    fake.run(source, target, overwrite=True, progress=lambda *_: seen.append(target.read_text()))
    assert set(seen) == {"old\n"}
    assert target.read_bytes() == whole


def test_overwriting_drops_an_unfinished_run(fake, source, unfinished, whole):
    assert fake.run(source, unfinished, overwrite=True).resumed == 0
    assert unfinished.read_bytes() == whole
    assert beside(unfinished) == ["out.jsonl"]


def test_kill_9_while_an_unfinished_run_is_being_dropped(fake, source, unfinished, whole, tmp_path):
    """At every point of it, --resume finds either the old run or the new one, whole."""
    saved = {name: (tmp_path / name).read_bytes() for name in beside(unfinished)}
    for at in range(1, 12):
        for name, content in saved.items():
            (tmp_path / name).write_bytes(content)

        def overwrite(at=at):
            fake.Killer(at)
            fake.run(source, unfinished, overwrite=True)

        assert fake.in_child(overwrite) == -signal.SIGKILL
        fake.run(source, unfinished, resume=True)
        assert unfinished.read_bytes() == whole
        assert beside(unfinished) == ["out.jsonl"]
        unfinished.unlink()


def test_an_overwriting_run_can_be_resumed(fake, source, target, whole):
    target.write_text("old\n")

    def stop(done, *_):
        if done > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fake.run(source, target, overwrite=True, progress=stop)
    assert target.read_text() == "old\n"
    assert fake.run(source, target, resume=True).resumed > 40
    assert target.read_bytes() == whole


def test_a_run_that_finished_nothing_leaves_nothing_behind(fake, source, target):
    def stop(batch, budget=None):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fake.run(source, target, work=stop)
    assert beside(target) == []


def test_the_name_of_an_output_may_be_a_link(fake, source, tmp_path, whole):
    real = tmp_path / "elsewhere"
    real.mkdir()
    link = tmp_path / "link.jsonl"
    link.symlink_to(real / "real.jsonl")
    fake.run(source, link)
    assert link.is_symlink()
    assert (real / "real.jsonl").read_bytes() == whole


# The header.


def start(target, header, **options):
    """Open an output, keep one batch, and leave it unfinished."""
    with JournaledOutput(target, header, **options) as output:
        output.begin_window([Row(0, {}, "in:1")])
        output.commit([(0, {"a": 1})])
        return output.header


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ({"seed": 1}, {"seed": 2}, "seed was 1 and is now 2"),
        ({"a": 1, "model": "x"}, {"a": 1, "model": "y"}, 'model was "x" and is now "y"'),
        ({"o": {"top_p": 0.9}}, {"o": {"top_p": None}}, "o.top_p was 0.9 and is now null"),
        ({"a": 1}, {"a": 1, "stop": ["."]}, 'stop was not set and is now ["."]'),
        ({"a": 1, "stop": "x" * 99}, {"a": 1}, f'stop was "{"x" * 56}... and is now not set'),
        ({"a": 1}, {"a": 1.0}, "a was 1 and is now 1.0"),
        ({"a": True}, {"a": 1}, "a was true and is now 1"),
        ({"b": 1, "a": 1}, {"a": 2, "b": 2}, "a was 1 and is now 2"),
    ],
)
def test_another_option_is_refused_by_name(target, old, new, reason):
    start(target, old)
    with pytest.raises(InputError) as caught:
        start(target, new, resume=True)
    assert f"cannot resume: {reason}; " in str(caught.value)
    start(target, old, resume=True)


def test_an_equal_header_may_be_written_otherwise(target):
    start(target, {"a": (1, 2), "b": {"x": 1, "y": 2}})
    again = start(target, {"b": {"y": 2, "x": 1}, "a": [1, 2]}, resume=True)
    assert again == {"a": [1, 2], "b": {"x": 1, "y": 2}}


def test_another_input_file_is_refused_as_such(fake, source, unfinished):
    source.write_text(source.read_text() + '{"id": 70, "text": "one more"}\n')
    with pytest.raises(InputError, match="the input differs"):
        fake.run(source, unfinished, resume=True)


def test_what_the_user_left_open_is_taken_from_the_journal(target):
    first = {"seed": 1234, "threads": 2, "budget": {"tokens": 9}, "dtype": "float32"}
    start(target, first)
    now = {"seed": 99, "threads": 4, "budget": {"tokens": 8}, "dtype": "float32", "new": 1}
    with pytest.raises(InputError, match="threads was 2 and is now 4"):
        start(target, now, resume=True, adopt={"seed"})
    with pytest.raises(InputError, match="new was not set"):
        start(target, now, resume=True, adopt=("seed", "threads", "budget", "new"))
    del now["new"]
    adopted = start(target, now, resume=True, adopt=("seed", "threads", "budget", "absent"))
    assert adopted == first


def test_a_fresh_run_adopts_nothing(target):
    assert start(target, {"seed": 5}, resume=True, adopt=["seed"]) == {"seed": 5}


# Files that something else touched.


def test_text_after_the_finished_windows_is_cut_off(fake, source, unfinished, whole):
    with open(unfinished.with_name("out.jsonl.partial"), "ab") as file:
        file.write(b'{"id": 32, "text": "half a li')
    fake.run(source, unfinished, resume=True)
    assert unfinished.read_bytes() == whole


def test_a_partial_file_that_lost_text_is_refused(fake, source, unfinished):
    partial = unfinished.with_name("out.jsonl.partial")
    size = journal.read(unfinished.with_name("out.jsonl.journal")).finished.bytes
    os.truncate(partial, size - 1)
    with pytest.raises(InputError, match=rf"has {size - 1} bytes, but its journal says {size}"):
        fake.run(source, unfinished, resume=True)
    partial.unlink()
    with pytest.raises(InputError, match="has 0 bytes"):
        fake.run(source, unfinished, resume=True)
    assert fake.run(source, unfinished, overwrite=True).rows == 70


@pytest.mark.parametrize("places", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_a_changed_byte_is_noticed(fake, source, unfinished, whole, places, record_property):
    """At random places of the partial file and of the journal: refused, or the right result."""
    record_property("cases", f"changed bits: {places}")
    rng = random.Random(0)
    saved = {name: (unfinished.parent / name).read_bytes() for name in beside(unfinished)}
    finished_bytes = journal.read(unfinished.with_name("out.jsonl.journal")).finished.bytes
    refused = 0
    for number in range(places):
        for name, content in saved.items():
            (unfinished.parent / name).write_bytes(content)
        name = sorted(saved)[number % 2]
        content = bytearray(saved[name])
        # After the finished windows, the partial file only shows the rows that the journal holds.
        size = finished_bytes if name.endswith(".partial") else len(content)
        content[rng.randrange(size)] ^= 1 << rng.randrange(8)
        (unfinished.parent / name).write_bytes(content)
        try:
            fake.run(source, unfinished, resume=True)
        except InputError:
            refused += 1
        else:
            assert unfinished.read_bytes() == whole
            unfinished.unlink()
    assert refused >= places // 2  # every change of the partial file is one


@pytest.mark.parametrize("kind", ["partial", "journal", "journal.new"])
@pytest.mark.parametrize("as_link", [True, False])
def test_files_and_links_of_others_are_neither_written_nor_followed(fake, source, target, kind, as_link):
    """A link is what another user may have put into a shared folder."""
    victim, path = target.with_name("victim"), target.with_name(f"out.jsonl.{kind}")
    victim.write_text("someone's text")
    path.symlink_to(victim) if as_link else path.write_text("someone's text")
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(InputError) as caught:
            fake.run(source, target, **options)
        assert str(path) in str(caught.value)
    assert victim.read_text() == path.read_text() == "someone's text"
    assert path.is_symlink() == as_link
    assert not target.exists()


def test_a_link_that_appears_during_a_run_is_not_followed(fake, source, target):
    victim, link = target.with_name("victim"), target.with_name("out.jsonl.journal.new")
    victim.write_text("someone's text")

    def plant(done, *_):
        if not link.is_symlink():
            link.symlink_to(victim)

    with pytest.raises(InputError, match=r"journal\.new"):
        fake.run(source, target, progress=plant)
    assert victim.read_text() == "someone's text"


# Two at once.


def test_a_second_process_on_the_same_output_is_refused(fake, source, target, whole):
    def try_another(*_):
        for flags in ([], ["--resume"], ["--overwrite"]):
            code = (
                "import sys; from llmkit.errors import InputError\n"
                "from llmkit.records.output import JournaledOutput, check\n"
                "options = {flag[2:]: True for flag in sys.argv[2:]}\n"
                "for attempt in (check, lambda path, **o: JournaledOutput(path, {}, **o).__enter__()):\n"
                "    try: attempt(sys.argv[1], **options)\n"
                "    except InputError as error: print(error)\n"
            )
            command = [sys.executable, "-c", code, str(target), *flags]
            lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
            refusals.append(lines)
        raise KeyboardInterrupt

    refusals = []

    def after_two_windows(done, *_):
        if done > 40:
            try_another()

    with pytest.raises(KeyboardInterrupt):
        fake.run(source, target, progress=after_two_windows)
    expected = f"{target}: another process (pid {os.getpid()}) is writing it; wait for it, or write elsewhere"
    assert refusals == [[expected, expected]] * 3
    fake.run(source, target, resume=True)
    assert target.read_bytes() == whole


def test_the_pid_shown_is_that_of_the_last_to_resume(fake, source, target):
    def child():
        with pytest.raises(KeyboardInterrupt):
            fake.run(source, target, progress=stop)

    def stop(done, *_):
        if done > 40:
            raise KeyboardInterrupt

    assert fake.in_child(child) == 0
    header = json.loads(target.with_name("out.jsonl.journal").read_text().split("\n")[0])["header"]
    with (
        JournaledOutput(target, header, resume=True),
        pytest.raises(InputError, match=rf"pid {os.getpid()}\)"),
    ):
        check(target)


def test_the_lock_ends_with_the_run(fake, source, unfinished):
    check(unfinished, resume=True)


# A disk that says no.


class FailingDisk:
    """The n-th call of `name` fails; a write then leaves half of its text behind."""

    def __init__(self, monkeypatch, name, code, at):
        self.calls = 0
        self.working, self.code, self.at = getattr(os, name), code, at
        self.halves = name == "write"
        monkeypatch.setattr(os, name, self)

    def __call__(self, *args):
        self.calls += 1
        if self.calls != self.at:
            return self.working(*args)
        if self.halves:
            self.working(args[0], bytes(args[1])[: len(args[1]) // 2])
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_a_full_disk_at_any_moment_leaves_a_run_to_resume(fake, source, target, whole, monkeypatch, name):
    with monkeypatch.context() as undisturbed:
        calls = FailingDisk(undisturbed, name, errno.ENOSPC, at=0)
        fake.run(source, target)
    assert calls.calls > 5
    for at in range(1, calls.calls + 1, 3):
        target.unlink()
        with monkeypatch.context() as full:
            FailingDisk(full, name, errno.ENOSPC, at)
            with pytest.raises(LLMKitError) as caught:
                fake.run(source, target)
        assert str(caught.value).startswith(f"{target}: No space left on device")
        assert "resume=True" in str(caught.value)
        assert caught.value.exit_code == 1
        fake.run(source, target, resume=True)
        assert target.read_bytes() == whole
        assert beside(target) == ["out.jsonl"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EDQUOT, "quota.* resume=True"),
        (errno.EIO, "Input/output error; .* resume=True"),
    ],
)
def test_what_else_a_disk_may_say(fake, source, target, monkeypatch, code, reason):
    FailingDisk(monkeypatch, "write", code, 9)
    with pytest.raises(LLMKitError, match=reason):
        fake.run(source, target)


def test_a_run_that_could_not_begin_leaves_nothing_behind(fake, source, target, monkeypatch):
    FailingDisk(monkeypatch, "write", errno.ENOSPC, 1)
    with pytest.raises(LLMKitError, match="No space left on device"):
        fake.run(source, target)
    assert beside(target) == []


def test_what_a_rename_makes_visible_is_on_the_disk(fake, source, target, monkeypatch):
    """A power cut may lose what was not synced: the journal must never tell of rows that could be lost."""
    synced, renamed, folder = {}, [], os.stat(target.parent).st_ino
    fsync, replace = os.fsync, os.replace

    def noting_fsync(fd):
        fsync(fd)
        status = os.fstat(fd)
        synced[status.st_ino] = status.st_size

    def checking_replace(old, new):
        for path in (old, target.with_name("out.jsonl.partial")):
            status = os.stat(path)
            assert synced.get(status.st_ino, 0) == status.st_size
        replace(old, new)
        renamed.append(os.path.basename(new))
        synced.pop(folder, None)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", checking_replace)
    fake.run(source, target)
    assert renamed == ["out.jsonl.journal"] * 6 + ["out.jsonl"]
    assert folder in synced  # after the last rename


def test_a_file_size_limit_is_told(fake, source, target, tmp_path):
    """A real refusal of the kernel: EFBIG, as ENOSPC would need a disk of its own."""

    def child():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
        try:
            fake.run(source, target)
        except LLMKitError as error:
            (tmp_path / "said").write_text(str(error))

    assert fake.in_child(child) == 0
    assert (tmp_path / "said").read_text().startswith(f"{target}: File too large ")
    assert fake.run(source, target, resume=True).resumed >= 16


# Streams.


def test_a_stream_gets_json_lines_or_what_render_makes():
    stream = io.StringIO()
    StreamOutput(stream).write([{"b": "é\ud83d", "a": 1}, {}], [None, None])
    assert stream.getvalue() == '{"b": "é\\ud83d", "a": 1}\n{}\n'
    stream = io.StringIO()
    rendered = StreamOutput(stream, lambda row, failure: failure or row["b"])
    rendered.write([{"b": "two\nlines"}, {"b": "", "error": "is a column"}, {}], [None, None, "bad"])
    assert stream.getvalue() == "two\nlines\n\nbad\n"


def test_a_stream_is_flushed_when_all_rows_before_are_done(fake, source):
    flushed = []

    class Stream(io.StringIO):
        def flush(self):
            flushed.append(self.getvalue().count("\n"))

    process(
        open_rows(source),
        prepare=fake.prepare,
        work=fake.work,
        output=StreamOutput(Stream()),
        budget=Budget(None, 8, 0),
        window=32,
    )
    assert flushed[0] < 32
    assert {32, 64, 70} <= set(flushed)
