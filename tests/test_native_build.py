"""Kernels are compiled once, and a person at a terminal is told."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from llmkit import native_build
from llmkit.errors import NoticeWarning
from llmkit.native_build import PORTABLE, CannotBuildError, NativeSource
from llmkit.user_folder import cache_folder


@pytest.mark.parametrize(("terminal", "told"), [(True, 1), (False, 0)])
def test_compiling_is_told_once_at_a_terminal(
    terminal: bool, told: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(native_build, "_TELLING", threading.Lock())
    (tmp_path / "one.cpp").write_text('extern "C" int NAME() { return 7; }\n')
    source = NativeSource("one", tmp_path, ("one.cpp",), (PORTABLE,))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        built = source.build("portable")
        (tmp_path / "one.cpp").write_text('extern "C" int NAME() { return 8; }\n')
        assert source.build("portable") != built
        assert source.load(source.build("portable"), "llmkit_one_portable")() == 8
    assert [one.category for one in seen] == [NoticeWarning] * told


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NativeSource:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(native_build, "_OWN", [])
    (tmp_path / "one.cpp").write_text('extern "C" int NAME() { return 7; }\n')
    return NativeSource("one", tmp_path, ("one.cpp",), (PORTABLE,))


@pytest.mark.parametrize("cache", [None, "x" * 300], ids=["no home", "a path that raises"])
def test_a_user_without_a_cache_gets_a_library_for_the_process(
    cache: str | None, source: NativeSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if cache is None:
        monkeypatch.delenv("XDG_CACHE_HOME")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    built = source.build("portable")
    assert built.parent == native_build._OWN[0]
    written = built.stat().st_mtime_ns
    assert source.build("portable") == built
    assert built.stat().st_mtime_ns == written


@pytest.mark.parametrize("whole", [False, True], ids=["file", "folder"])
def test_a_library_of_another_user_is_not_run(
    whole: bool, source: NativeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = source.build("portable")
    user = os.getuid()
    if user:
        monkeypatch.setattr(os, "getuid", lambda: user + 1)
    else:
        os.chown(built.parent if whole else built, 12345, -1)
    again = source.build("portable")
    assert native_build._is_own(again, again.parent) == (not user)
    assert (again == built) == (not user and not whole)


@pytest.mark.parametrize("whole", [False, True], ids=["file", "folder"])
def test_a_library_that_all_users_can_change_is_not_run(whole: bool, source: NativeSource) -> None:
    built = source.build("portable")
    changed = built.parent if whole else built
    changed.chmod(changed.stat().st_mode | 0o002)
    built.write_text("not what was compiled")
    again = source.build("portable")
    assert source.load(again, "llmkit_one_portable")() == 7
    assert (again == built) == (not whole)


def test_a_library_that_does_not_load_is_an_error_of_its_own(source: NativeSource) -> None:
    built = source.build("portable")
    built.write_text("damaged")
    with pytest.raises(CannotBuildError, match="does not load"):
        source.load(built, "llmkit_one_portable")
    assert not built.exists()
    with pytest.raises(CannotBuildError, match="does not load"):  # another process has removed it
        source.load(built, "llmkit_one_portable")


def test_a_compiler_that_takes_too_long_is_no_crash(
    source: NativeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine; the run goes on without native code. The output is bytes, whatever `text` says."""

    def slow(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 300, stderr=b"one.cpp")

    monkeypatch.setattr(subprocess, "run", slow)
    with pytest.raises(CannotBuildError, match="took longer than 300 s"):
        source.build("portable")
    assert not list(cache_folder("native").glob("*.so"))
