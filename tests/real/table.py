"""The table of `make test-real`: each number of llmkit beside the same number from elsewhere.

    python -m tests.real.table

puts the table of the last run into `docs/real-models.md`. Each test writes a record in the folder of models.
So a run of some tests replaces their rows and keeps the others.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.real import models

THIN = int(os.environ.get("LLMKIT_REAL_THIN", "1"))
"""One row in so many is used where a test takes many rows."""
HEADER = ("check", "ours", "theirs", "difference")
RECORDS = models.CACHE / "records"
PAGE = Path(__file__).parent.parent.parent / "docs" / "real-models.md"
MARK = "<!-- table of make test-real -->"
# Rows are in this order of files, and in the order of the tests there.
ORDER = (
    *("text", "served", "conversations", "chat_templates", "scores", "harness", "kernels", "explain"),
    *("convert", "encoder"),
)


@dataclass
class Record:
    """A test that ran.

    Attributes:
        test: its file and name.
        place: line of the test in its file, and its number in the run.
        outcome: ``passed``, ``failed`` or ``skipped``.
        cpu: CPU seconds, with those of the programs that it ran; a shared fixture counts for its first test.
        wall: seconds that passed.
        reason: of a skipped test.
        rows: cells of the table.
    """

    test: str = ""
    place: tuple[int, int] = (0, 0)
    outcome: str = "passed"
    cpu: float = 0.0
    wall: float = 0.0
    reason: str = ""
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def write(self) -> None:
        """Write the record beside the models, in place of an earlier one of the same test."""
        RECORDS.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^A-Za-z0-9]+", "-", self.test).strip("-")[:150]
        (RECORDS / f"{name}.json").write_text(json.dumps(asdict(self)), encoding="utf-8")


current = Record()
"""The test that runs."""


def add(check: str, ours: object, theirs: object, difference: object, *, thinned: bool = False) -> None:
    """Add a row.

    Args:
        check: name of the number.
        ours: llmkit's; a float is written with four significant digits, here and below.
        theirs: the number from elsewhere.
        difference: between them.
        thinned: the number is of fewer rows where `THIN` is set; the row says so.
    """
    if thinned and THIN > 1:
        check += f" (1 row in {THIN})"
    current.rows.append((check, _written(ours), _written(theirs), _written(difference)))


def _written(value: object) -> str:
    return (f"{value:.4g}" if isinstance(value, float) else str(value)).replace("|", "\\|")


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def records() -> list[Record]:
    """Return the records beside the models, in the order of the table."""
    found = []
    for path in RECORDS.glob("*.json"):
        one = json.loads(path.read_text(encoding="utf-8"))
        found.append(Record(**{**one, "rows": [tuple(row) for row in one["rows"]]}))
    return sorted(found, key=lambda one: (_file(one), one.place, one.test))


def _file(record: Record) -> int:
    name = record.test.partition("::")[0].removeprefix("test_").removesuffix(".py")
    return ORDER.index(name) if name in ORDER else len(ORDER)


def markdown() -> str:
    """Return the table."""
    rows = [row for one in records() if one.outcome == "passed" for row in one.rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in [HEADER, ("---",) * len(HEADER), *rows])


def report() -> str:
    """Return the table, what is missing from it, and the seconds of each test."""
    found = records()
    missing = [f"{one.outcome}: {one.test} {one.reason}\n" for one in found if one.outcome != "passed"]
    slowest = sorted(found, key=lambda one: -one.cpu)
    listed = "".join(f"{one.cpu:8.1f} {one.wall:8.1f}  {one.test}\n" for one in slowest if one.cpu >= 1)
    total = sum(one.cpu for one in found)
    seconds = f"Seconds of CPU and of time; {total:.0f} of CPU in all:\n\n{listed}"
    return f"{markdown()}\n{''.join(missing)}\n{seconds}"


def insert() -> None:
    """Put the rows of the last run into the page, below its mark, in place of the rows there."""
    before, _, after = PAGE.read_text(encoding="utf-8").partition(MARK + "\n")
    _, _, after = after.lstrip("\n").partition("\n\n")
    PAGE.write_text(f"{before}{MARK}\n\n{markdown()}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--new"]:
        shutil.rmtree(RECORDS, ignore_errors=True)
    else:
        insert()
