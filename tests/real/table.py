"""The table of `make test-real`: each number of llmkit beside the same number from elsewhere.

    python -m tests.real.table

puts the table of the last run into `docs/real-models.md`.
"""

from __future__ import annotations

import resource
from pathlib import Path

from tests.real import models

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


def write() -> None:
    """Write the table of this run beside the models."""
    models.CACHE.mkdir(parents=True, exist_ok=True)
    (models.CACHE / "table.md").write_text(markdown(), encoding="utf-8")


PAGE = Path(__file__).parent.parent.parent / "docs" / "real-models.md"
MARK = "<!-- table of make test-real -->"


def insert() -> None:
    """Put the rows of the last run into the page, below its mark, in place of the rows there."""
    rows = (models.CACHE / "table.md").read_text(encoding="utf-8").partition("\n\n")[0]
    before, _, after = PAGE.read_text(encoding="utf-8").partition(MARK + "\n")
    _, _, after = after.lstrip("\n").partition("\n\n")
    PAGE.write_text(f"{before}{MARK}\n\n{rows}\n\n{after}", encoding="utf-8")


if __name__ == "__main__":
    insert()
