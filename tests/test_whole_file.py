"""Files that are written whole: after a failure, beside links and beside what killed processes left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmkit.whole_file import SUFFIX, whole_file, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.json"
    write_whole(file, "old")
    write_whole(file, "new")
    assert file.read_text() == "new"

    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, "newer")
    assert file.read_text() == "new"
    assert os.listdir(tmp_path) == ["run.json"]


def test_an_existing_file_keeps_its_permissions_and_its_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", "new \ud83d")
    assert (tmp_path / "real").read_bytes() == b"new ?"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "link").is_symlink()
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "fresh", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o640


def leftover(path: Path) -> Path:
    """What a process leaves that is killed while it writes a file."""
    child = os.fork()
    if child == 0:
        with whole_file(path) as file:
            file.write(b"half")
            file.flush()
            os._exit(9)
    os.waitpid(child, 0)
    (found,) = path.parent.glob(f".llmkit-*{SUFFIX}")
    return found


def test_what_a_kill_leaves_is_removed_by_the_next_writer_and_by_no_other(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)  # the longest name that a disk takes
    left = leftover(path)
    write_whole(tmp_path / "other", "")
    assert left.exists()
    with whole_file(path):
        assert not left.exists()
        # Not a leftover: it is being written.
        write_whole(path, "in between")
    assert names(tmp_path) == ["other", path.name]


def test_a_link_or_another_s_file_in_place_of_a_leftover_is_not_touched(tmp_path: Path) -> None:
    victim, left = tmp_path / "victim", leftover(tmp_path / "out")
    victim.write_text("mine")
    left.unlink()
    left.symlink_to(victim)
    write_whole(tmp_path / "out", "new")
    assert victim.read_text() == "mine"
    assert left.is_symlink()
