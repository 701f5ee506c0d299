"""The table of `make test-real`: each number of llmkit beside the same number from elsewhere."""

from __future__ import annotations

import resource
from pathlib import Path

HEADER = ("check", "ours", "theirs", "difference")
rows: list[tuple[str, str, str, str]] = []
seconds: dict[str, float] = {}
"""CPU seconds of each test, with those of the programs that it ran."""


def add(check: str, ours: object, theirs: object, difference: object) -> None:
    """Add a row. Numbers of type float are written with four significant digits."""
    ours, theirs, difference = (_written(one) for one in (ours, theirs, difference))
    rows.append((check, ours, theirs, difference))


def _written(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def markdown() -> str:
    """Return the table, and the CPU seconds below it."""
    lines = [HEADER, ("---",) * len(HEADER), *rows]
    text = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    slowest = sorted(seconds.items(), key=lambda one: -one[1])
    listed = "".join(f"{spent:8.1f} s  {name}\n" for name, spent in slowest if spent >= 1)
    return f"{text}\nCPU seconds, {sum(seconds.values()):.0f} in all:\n\n{listed}"


def write(file: Path) -> None:
    """Write the table of this run."""
    file.write_text(markdown(), encoding="utf-8")
