"""Progress as a person sees it at a terminal."""

from __future__ import annotations

import io
import os
import sys
import time

import pytest

from llmkit.cli.common import console, progress
from tests.command import run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Stderr as a terminal; not a fixture, since pytest puts its own stderr in place after those."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    console.setup(quiet=False, verbose=False, debug=False)
    return shown


@pytest.mark.parametrize(("before", "left"), [(0.0, "1:30:00 left"), (0.2, "7:30:00 left")])
def test_the_first_batch_tells_the_time_left(
    monkeypatch: pytest.MonkeyPatch, before: float, left: str
) -> None:
    shown, clock = terminal(monkeypatch), time.monotonic()
    with progress.Progress("generate", total=1.0) as bar:
        bar.update(before)
        monkeypatch.setattr(time, "monotonic", lambda: clock + 1800)
        bar.update(0.25, "30 rows")
    assert "25%" in shown.getvalue()
    assert "30 rows" in shown.getvalue()
    assert left in shown.getvalue()


def test_what_has_no_end_tells_no_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, clock = terminal(monkeypatch), time.monotonic()
    with progress.Progress("eval") as bar:
        monkeypatch.setattr(time, "monotonic", lambda: clock + 1800)
        bar.update(0, "30 rows")
    assert "30 rows" in shown.getvalue()
    assert "left" not in shown.getvalue()


def test_a_long_step_shows_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two updates, and before the first batch is done."""
    shown = terminal(monkeypatch)
    monkeypatch.setattr(progress, "_TICK", 0.01)
    with progress.Progress("generate", total=1.0) as bar:
        bar.update(0.0, "0 of 500 rows")
        clock = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: clock + 65)
        deadline = time.time() + 20
        while "0:01:05" not in shown.getvalue() and time.time() < deadline:
            time.sleep(0.01)
    assert "0 of 500 rows" in shown.getvalue()
    assert "0:01:05" in shown.getvalue()


def test_loading_shows_a_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    monkeypatch.setattr(progress, "_TICK", 0.01)
    with progress.waiting("loading stories"):
        deadline = time.time() + 20
        while "loading" not in shown.getvalue() and time.time() < deadline:
            time.sleep(0.01)
        console.notice("a notice")
    line = "llmkit: loading stories, 0:00:00"
    assert line in shown.getvalue()
    assert f"\r{' ' * len(line)}\rllmkit: a notice\n" in shown.getvalue()
    assert shown.getvalue().endswith(("\r", "\n"))


@pytest.mark.parametrize("quiet", [True, False])
def test_without_a_terminal_a_plain_line_comes_now_and_then(
    monkeypatch: pytest.MonkeyPatch, quiet: bool
) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    console.setup(quiet=quiet, verbose=False, debug=False)
    monkeypatch.setattr(progress, "_TICK", 0.01)
    monkeypatch.setattr(progress, "_FIRST_LINE", 0.0)
    with progress.waiting("loading stories"):
        time.sleep(0.3)
    assert shown.getvalue() == ("" if quiet else "llmkit: loading stories, 0:00:00\n")


@pytest.mark.parametrize("indent", [4, 10, 30])
def test_a_line_of_a_table_breaks_between_words_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, indent: int
) -> None:
    shown = Terminal()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((30, 24)))
    line = "name      a long value of words"
    wide = console.fitted(line, indent)
    assert max(map(len, wide.splitlines())) <= 30
    assert wide.split() == line.split()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert console.fitted(line, indent) == line


@pytest.mark.parametrize("command", [("doctor",), ("models",), ("kernels", "list")], ids=lambda one: one[0])
def test_tables_of_a_terminal_are_broken(monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    monkeypatch.setattr(console, "fitted", lambda line, indent: f"{indent:02}{line}")
    lines = run(*command).out.splitlines()
    assert len(lines) > 3
    assert all(line[:2].isdigit() for line in lines), lines
