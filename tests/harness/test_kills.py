"""Kill every verb that writes around each of its file-system calls.

After each kill the same command continues to the same bytes, or is refused with one line of error, after
which `--overwrite` makes the same bytes. An older result stays whole until the new one takes its place.
Nothing is left over.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.harness import kills
from tests.harness.kills import Bench
from tests.harness.runs import CASES, Case

NAMED = {case.name: case for case in CASES}
# One kill in so many: in the long run, and in the quick suite. Verbs of rows share all but the model.
EVERY = {
    **dict.fromkeys(NAMED, (2, 0)),
    **{"generate": (1, 9), "documents": (2, 0), "document": (2, 0), "eval": (1, 5), "quantize": (2, 24)},
    **dict.fromkeys(("generate sampled", "translate", "summarize", "qa"), (4, 0)),
    **dict.fromkeys(("generate CSV", "generate Parquet"), (3, 0)),
    **{"finetune": (6, 180), "finetune whole": (14, 0), "pretrain": (8, 0)},
    **{"convert to gguf": (1, 0), "convert to ctranslate2": (8, 0), "convert to mlx": (4, 0)},
}
# Of those, one in so many; for a machine that is busy.
THIN = int(os.environ.get("LLMKIT_KILLS_THIN", "1"))
KINDS: dict[str, Callable[[Bench, Case, int], tuple[int, list[str]]]] = {
    "a first run": kills.killed_when_fresh,
    "a run that replaces": kills.killed_when_replacing,
    "a continued run": kills.killed_when_continuing,
    "by SIGKILL": kills.killed_for_real,
}
QUICK = ("a first run", "a run that replaces")


def cases() -> list[object]:
    found: list[object] = []
    for kind in KINDS:
        for name, (long, quick) in EVERY.items():
            if kind == QUICK[-1] and quick:
                found.append(pytest.param(kind, name, quick, id=f"{name}, {kind}, sample"))
            # States of a continued run are those of a first run, so that fewer are enough.
            every = THIN * (long if kind in QUICK else 4 * long)
            found.append(pytest.param(kind, name, every, marks=pytest.mark.slow, id=f"{name}, {kind}"))
    return found


@pytest.mark.parametrize(("kind", "name", "every"), cases())
def test_no_kill_loses_or_changes_a_result(
    bench: Bench, kind: str, name: str, every: int, record_property: Callable[[str, object], None]
) -> None:
    count, faults = KINDS[kind](bench, NAMED[name], every)
    record_property("cases", f"kills: {count}")
    assert count > 0
    assert not faults, f"{len(faults)} faults in {count} kills:\n" + "\n".join(faults[:20])
