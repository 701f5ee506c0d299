import fcntl
import os

import pytest

from llmkit.errors import InputError, OptionError
from llmkit.records.output_paths import OutputPaths


@pytest.mark.parametrize("link", [True, False])
def test_a_file_in_the_way_of_the_converted_rows_stays(tmp_path, link):
    (tmp_path / "thesis.txt").write_text("mine")
    place = OutputPaths(tmp_path / "out.csv")
    if link:
        place.converted.symlink_to(tmp_path / "thesis.txt")
    else:
        place.converted.write_text("mine")
    for resume, overwrite in ((False, False), (True, False), (False, True)):
        with pytest.raises(InputError, match=r"out\.csv\.converted exists: a run needs this name"):
            place.check(resume=resume, overwrite=overwrite)
    assert place.converted.read_text() == (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["", "-"])
def test_stdout_is_not_a_file(name):
    with pytest.raises(OptionError) as caught:
        OutputPaths(name)
    assert caught.value.option == "output"


@pytest.mark.parametrize("name", ["out.jsonl.gz", "out.csv.gz", "out.tsv", "OUT.GZ"])
def test_a_name_that_promises_another_format_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name}: a result is JSONL, CSV or Parquet"):
        OutputPaths(tmp_path / name)


def test_places_that_cannot_hold_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a folder; give a file in it"):
        OutputPaths(tmp_path)
    with pytest.raises(InputError, match=r"there is no folder .*/nope; make it first"):
        OutputPaths(tmp_path / "nope" / "out.jsonl")
    with pytest.raises(InputError, match=r"there is no folder .*/file; make it first"):
        OutputPaths(tmp_path / "file" / "out.jsonl")
    with pytest.raises(InputError, match="/dev/null is not a regular file"):
        OutputPaths("/dev/null")


def test_a_name_that_is_too_long_is_told(tmp_path):
    with pytest.raises(InputError, match="File name too long"):
        OutputPaths(tmp_path / ("x" * 300)).lock(fresh=True)
    with pytest.raises(InputError, match="File name too long"):
        OutputPaths(tmp_path / ("x" * 250)).lock(fresh=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not bind root")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="no permission to write in"):
            OutputPaths(tmp_path / "out.jsonl")
    finally:
        tmp_path.chmod(0o700)


def test_a_read_only_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="no permission to write in"):
        OutputPaths(tmp_path / "out.jsonl")


def test_a_folder_in_the_way_of_the_partial_file(tmp_path):
    (tmp_path / "out.jsonl.partial").mkdir()
    place = OutputPaths(tmp_path / "out.jsonl")
    with pytest.raises(InputError, match="an unfinished run is here"):
        place.check(resume=False, overwrite=False)
    with pytest.raises(InputError, match="Is a directory; write the output elsewhere"):
        place.lock(fresh=False)


def test_a_disk_without_locks_is_told(tmp_path, monkeypatch):
    def no_locks(fd, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    place = OutputPaths(tmp_path / "out.jsonl")
    with pytest.raises(InputError, match=r"cannot be locked .*; write the output to a local disk"):
        place.lock(fresh=True)


def test_the_lock_is_not_given_on_a_file_that_was_renamed_meanwhile(tmp_path, monkeypatch):
    """Another process finishes between this one's opening and its locking of the partial file."""
    place = OutputPaths(tmp_path / "out.jsonl")
    place.partial.write_text("")
    flock = fcntl.flock

    def finished_first(fd, operation):
        place.partial.rename(place.final)
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", finished_first)
    with pytest.raises(InputError, match="another process is writing it"):
        place.lock(fresh=False)
    assert place.final.exists()


def test_two_fresh_runs_at_once_give_one_lock(tmp_path):
    place = OutputPaths(tmp_path / "out.jsonl")
    fd = place.lock(fresh=True)
    for fresh in (True, False):
        with pytest.raises(InputError, match="another process is writing it"):
            place.lock(fresh=fresh)
    os.close(fd)
    os.close(place.lock(fresh=False))


def test_a_partial_file_that_appeared_since_the_check_is_not_touched(tmp_path):
    place = OutputPaths(tmp_path / "out.jsonl")
    place.check(resume=False, overwrite=False)
    place.partial.write_text("another's")
    with pytest.raises(InputError, match="another process is writing it"):
        place.lock(fresh=True)
    assert place.partial.read_text() == "another's"


def test_a_file_finished_since_the_check_is_not_written_over(tmp_path):
    place = OutputPaths(tmp_path / "out.jsonl")
    place.check(resume=False, overwrite=False)
    place.final.write_text("another's")
    with pytest.raises(InputError, match=r"out\.jsonl exists"):
        place.lock(fresh=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
