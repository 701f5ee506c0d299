"""Count how exactly JSON schemas are enforced, on MaskBench's schemas with valid and invalid instances.

MaskBench is part of https://github.com/guidance-ai/jsonschemabench (folder maskbench/data); the environment
variable LLMKIT_MASKBENCH names the folder. An instance is written as compact JSON and fed token by token to
the mask that a model would be held to::

    LLMKIT_MASKBENCH=jsonschemabench/maskbench/data python -m tests.benchmarks schemas
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmkit import ModelSpec
from llmkit.engines import structured
from llmkit.engines.base import Engine
from llmkit.engines.open import open_engine
from llmkit.errors import InputError, RequestRefused

SAMPLE = 459
SEED = 0


@dataclass
class Judged:
    """Schemas by verdict: exact, refused, too strict, too lax.

    Attributes:
        names: names of the schemas of each verdict.
        reasons: the refusals' reasons, with their numbers.
        seconds: time that each schema took to compile.
    """

    names: dict[str, list[str]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def count(self, verdict: str) -> int:
        """Return the number of schemas with a verdict."""
        return len(self.names.get(verdict, ()))


def folder() -> Path | None:
    """Return the folder of MaskBench's schemas; None if the variable does not name it."""
    name = os.environ.get("LLMKIT_MASKBENCH")
    return Path(name) if name else None


def cases(where: Path) -> dict[str, dict[str, Any]]:
    """Return the schemas that have a valid and an invalid instance, by name."""
    found = {}
    for path in sorted(where.glob("*.json")):
        case = json.loads(path.read_text(encoding="utf-8"))
        if {bool(one["valid"]) for one in case.get("tests", ())} == {True, False}:
            found[path.stem] = case
    return found


def sample(found: dict[str, dict[str, Any]], count: int = SAMPLE) -> dict[str, dict[str, Any]]:
    """Return a fixed random sample of the schemas."""
    names = random.Random(SEED).sample(sorted(found), min(count, len(found)))
    return {name: found[name] for name in names}


def judge(found: dict[str, dict[str, Any]], engine: Engine) -> Judged:
    """Feed each schema's instances to its mask."""
    judged = Judged()
    for name, case in found.items():
        start = time.perf_counter()
        try:
            form = structured.json_schema(case["schema"], engine)
            judged.seconds.append(time.perf_counter() - start)
            wrong = {_verdict(form, one, engine) for one in case["tests"]} - {"exact"}
            verdict = next((one for one in ("too lax", "too strict") if one in wrong), "exact")
        except (InputError, RequestRefused) as error:
            verdict = "refused"
            judged.reasons[str(error)[:80]] += 1
        judged.names.setdefault(verdict, []).append(name)
    return judged


def _verdict(form: Any, instance: dict[str, Any], engine: Engine) -> str:
    taken = accepts(form, json.dumps(instance["data"], separators=(",", ":"), ensure_ascii=False), engine)
    if taken == bool(instance["valid"]):
        return "exact"
    return "too lax" if taken else "too strict"


def accepts(form: Any, text: str, engine: Engine) -> bool:
    """Return True if a model held to a form can write a text and end there."""
    tokenizer: Any = engine.tokenizer
    mask = form.new_mask()
    for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
        if not mask.allowed()[token]:
            return False
        mask.accept(token)
    return bool(mask.allowed()[tokenizer.eos_token_id])


def main() -> None:
    """Print the counts of the sample and of all schemas."""
    where = folder()
    if where is None:
        sys.exit("LLMKIT_MASKBENCH names no folder (jsonschemabench/maskbench/data)")
    engine = open_engine(ModelSpec("stories", device="cpu", dtype="float32", bundled=True))
    found = cases(where)
    for title, chosen in ((f"sample of {SAMPLE}, seed {SEED}", sample(found)), ("all", found)):
        judged = judge(chosen, engine)
        counts = {one: judged.count(one) for one in ("exact", "refused", "too strict", "too lax")}
        times = sorted(judged.seconds)
        middle, high = times[len(times) // 2], times[int(len(times) * 0.95)]
        print(f"{title}: {len(chosen)} schemas: {counts}")
        print(f"  compiled in {1000 * middle:.1f} ms (median), {1000 * high:.1f} ms (95 %)")
        for verdict in ("too strict", "too lax"):
            print(f"  {verdict}: {' '.join(judged.names.get(verdict, [])[:20])}", flush=True)
        for reason, number in judged.reasons.most_common(8):
            print(f"  {number:5} {reason}")
