"""Kernels are compiled once, and a person at a terminal is told."""

from __future__ import annotations

import sys
import threading
import warnings
from pathlib import Path

import pytest

from llmkit import native_build
from llmkit.errors import NoticeWarning
from llmkit.native_build import PORTABLE, NativeSource


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
