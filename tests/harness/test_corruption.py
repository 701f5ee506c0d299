"""Change a bit at random places of what a killed command left: the right result, or a refusal.

Rows are in tests/records; here are checkpoints, token ids, and models and documents that are being written.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import kills
from tests.harness.forks import Done
from tests.harness.kills import Bench
from tests.harness.runs import CASES, Case

NAMED = {case.name: case for case in CASES}
# The last state in which this exists, and all that the run will read again.
STATES = {
    "finetune": "out/checkpoints/checkpoint-2/manifest.json",
    "pretrain": "out/checkpoints/checkpoint-2/manifest.json",
    "convert to safetensors": ".out.unfinished/shards.jsonl",
    "quantize": ".out.unfinished/shards.jsonl",
    "documents": "out/.segments.jsonl",
    "document": ".out.md.segments.jsonl.journal",
}


def files(bench: Bench) -> Iterator[Path]:
    for path in sorted(bench.work.rglob("*")):
        # The finished documents are the result itself, which is written again.
        if path.is_file() and path.stat().st_size:
            yield path


def cases() -> list[object]:
    quick = pytest.param("finetune", 3, id="finetune, sample")
    return [quick, *(pytest.param(name, 30, marks=pytest.mark.slow, id=name) for name in STATES)]


def state_of(bench: Bench, case: Case, whole: Done) -> Path:
    found = [state for _, state in whole.states if (state / STATES[case.name]).exists()]
    # In training, later states have the newer checkpoint that a damaged one gives way to.
    return found[-1] if case.name in ("documents", "document") else found[len(found) // 2]


@pytest.mark.parametrize(("name", "places"), cases())
def test_a_changed_bit_is_noticed(
    bench: Bench, name: str, places: int, record_property: Callable[[str, object], None]
) -> None:
    case, rng, faults = NAMED[name], random.Random(0), []
    bench.restore(None)
    whole = bench.run(case, copies=True)
    wanted = bench.files(case)
    state = state_of(bench, case, whole)
    for _ in range(places):
        bench.restore(state)
        path = rng.choice(list(files(bench)))
        content = bytearray(path.read_bytes())
        at = rng.randrange(len(content))
        content[at] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        place = f"{path.relative_to(bench.work)}, byte {at} of {len(content)}"
        faults += [f"{place}: {fault}" for fault in kills.after_again(bench, case, whole, wanted)]
    record_property("cases", f"changed bits: {places}")
    assert not faults, f"{len(faults)} faults at {places} places:\n" + "\n".join(faults[:20])
