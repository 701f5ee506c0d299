"""Let the disk refuse calls of every verb that writes, as if it was full for a moment, or from then on.

The command says so in one line and leaves nothing that looks finished; the same command then continues, or
begins again, to the same bytes.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from tests.harness.kills import Bench
from tests.harness.refusals import FOR_GOOD, refused
from tests.harness.test_kills import EVERY, NAMED, THIN


def cases() -> list[object]:
    found: list[object] = [pytest.param("quantize", 24, 1, id="quantize, sample")]
    for name, (every, _) in EVERY.items():
        for times, how in ((1, "for a moment"), (FOR_GOOD, "for good")):
            thin = (2 if times == 1 else 4) * every * THIN
            found.append(pytest.param(name, thin, times, marks=pytest.mark.slow, id=f"{name}, {how}"))
    return found


@pytest.mark.parametrize(("name", "every", "times"), cases())
def test_a_full_disk_is_told_and_leaves_no_half_result(
    bench: Bench, name: str, every: int, times: int, record_property: Callable[[str, object], None]
) -> None:
    count, faults = refused(bench, NAMED[name], every, times, errno.ENOSPC)
    record_property("cases", f"refusals: {count}")
    assert count > 0
    assert not faults, f"{len(faults)} faults in {count} refusals:\n" + "\n".join(faults[:20])
