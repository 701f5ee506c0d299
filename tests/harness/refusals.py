"""Check what every refusal of the disk leaves: calls that need space fail, for a moment or for good."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator

from tests.harness.forks import Done
from tests.harness.kills import Bench, after_again
from tests.harness.runs import Case

_NEEDS_SPACE = re.compile("open|.*write|mkdir|sendfile|copy_file_range|.*sync")
FOR_GOOD = 1 << 30


def refused(
    bench: Bench, case: Case, every: int = 1, times: int = 1, number: int = errno.ENOSPC
) -> tuple[int, list[str]]:
    """Let calls of a first run fail; return the number of refusals, and what is wrong after which of them.

    Args:
        bench: the folder.
        case: the command.
        every: one call in so many.
        times: calls that fail from there on: 1 is a disk that is full for a moment.
        number: error number.
    """
    bench.restore(None)
    whole = bench.run(case, copies=True)
    assert whole.code in (0, 3), whole.err
    shutil.rmtree(bench.folder / "copies")
    wanted, faults = bench.files(case), []
    chosen = _chosen(whole)[every // 2 :: every]
    for at in chosen:
        place = f"{case.name}, refused call {at} of {len(whole.calls)} ({whole.calls[at - 1]})"
        bench.restore(None)
        done = bench.run(case, refuse=(at, times, number))
        faults += [f"{place}: {fault}" for fault in _told(done, whole, number)]
        faults += [f"{place}: {fault}" for fault in after_again(bench, case, whole, wanted)]
    return len(chosen), faults


def _chosen(whole: Done) -> list[int]:
    """Return the numbers of calls that need space: of a row of equal ones the first and the last."""
    calls = ["", *whole.calls, ""]
    return [
        i
        for i in range(1, len(calls) - 1)
        if _NEEDS_SPACE.match(calls[i]) and not calls[i - 1] == calls[i] == calls[i + 1]
    ]


def _told(done: Done, whole: Done, number: int) -> Iterator[str]:
    """Check that a command said in one line which disk is full, or did not need the file."""
    errors = [line for line in done.err.splitlines() if line.startswith("llmkit: error: ")]
    if done.code == whole.code and not errors:
        return
    if done.code != 1 or len(errors) != 1 or re.search("unexpected|Traceback", done.err):
        yield f"code {done.code}: {done.err[-400:]}"
    elif os.strerror(number) not in errors[0] and "full for a moment" not in errors[0]:
        yield f"no cause: {errors[0]}"
    elif not re.search(r"error: \S*(out|scores|rows|page)\b", errors[0]):
        yield f"no file: {errors[0]}"
