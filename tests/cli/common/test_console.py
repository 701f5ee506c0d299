"""Progress as a person sees it at a terminal."""

from __future__ import annotations

import io
import sys
import time

import pytest

from llmkit.cli.common import console


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
    with console.Progress("generate", total=1.0) as bar:
        bar.update(before)
        monkeypatch.setattr(time, "monotonic", lambda: clock + 1800)
        bar.update(0.25, "30 rows")
    assert "25%" in shown.getvalue()
    assert "30 rows" in shown.getvalue()
    assert left in shown.getvalue()


def test_what_has_no_end_tells_no_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, clock = terminal(monkeypatch), time.monotonic()
    with console.Progress("eval") as bar:
        monkeypatch.setattr(time, "monotonic", lambda: clock + 1800)
        bar.update(0, "30 rows")
    assert "30 rows" in shown.getvalue()
    assert "left" not in shown.getvalue()
