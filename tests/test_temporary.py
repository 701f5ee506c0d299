"""Temporary folders: nothing stays, whatever ends the process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmkit.errors import LLMKitError
from llmkit.temporary import temporary_folder

HOLD = """
import os, signal, sys
from llmkit.temporary import lasting_folder, temporary_folder
lasting_folder("one")
with temporary_folder("two") as folder:
    (folder / "big").write_bytes(bytes(1000))
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder(place: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has two folders until it reads a line."""
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def kinds(place: Path) -> list[str]:
    return sorted(path.name.split("-")[1] for path in place.iterdir())


def test_a_killed_process_s_folders_are_removed_by_the_next_one(
    place: Path, holder: subprocess.Popen[str]
) -> None:
    (place / "llmkit-notes").mkdir()  # a user's
    (place / "llmkit-file").touch()
    with temporary_folder("new"):  # those of a process that runs stay
        assert kinds(place) == ["file", "new", "notes", "one", "two"]
    holder.kill()
    holder.wait()
    assert kinds(place) == ["file", "notes", "one", "two"]
    with temporary_folder("new") as folder:
        assert kinds(place) == ["file", "new", "notes"]
        assert folder.stat().st_mode & 0o077 == 0
    assert kinds(place) == ["file", "notes"]


def test_a_process_that_ends_leaves_nothing(place: Path, holder: subprocess.Popen[str]) -> None:
    assert kinds(place) == ["one", "two"]
    holder.communicate("\n")
    assert kinds(place) == []


def test_a_missing_place_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "gone"))
    with pytest.raises(LLMKitError, match=r"gone: No such file.*TMPDIR"), temporary_folder("new"):
        pass
