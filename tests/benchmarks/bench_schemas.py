"""Count how exactly JSON schemas are enforced, on MaskBench's schemas with valid and invalid instances.

MaskBench is part of https://github.com/guidance-ai/jsonschemabench (folder maskbench/data); the environment
variable LLMKIT_MASKBENCH names the folder. An instance is written as compact JSON and fed token by token to
the mask that a model would be held to. A model writes the properties of an object in the schema's order; the
order in an instance means nothing, so each order counts::

    LLMKIT_MASKBENCH=jsonschemabench/maskbench/data python -m tests.benchmarks schemas
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
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
TRIES = 2_000  # of one instance


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
    text = compact(instance["data"])
    taken = accepts(form, text, engine) or _AnyOrder(engine).accepts(
        form._start.deep_copy(), instance["data"]
    )
    if taken == bool(instance["valid"]):
        return "exact"
    return "too lax" if taken else "too strict"


def compact(value: Any) -> str:
    """Return JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class _AnyOrder:
    """Feeds a value to a matcher, its objects' properties in the orders that the matcher takes."""

    def __init__(self, engine: Engine) -> None:
        self._tokenizer: Any = engine.tokenizer
        self._tries = TRIES

    def accepts(self, matcher: Any, value: Any) -> bool:
        """Return True if some order ends in an accepting state."""
        return any(after.is_accepting() for after in self._value(matcher, value))

    def _value(self, matcher: Any, value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and value:
            yield from self._members(matcher, value, list(value), "{")
        elif isinstance(value, list) and value:
            for i, one in enumerate(value):
                after = next(self._value(matcher, one), None) if self._fed(matcher, ",["[not i]) else None
                if after is None:
                    return
                matcher = after
            if self._fed(matcher, "]"):
                yield matcher
        elif self._fed(matcher, compact(value)):
            yield matcher

    def _members(self, matcher: Any, value: Any, left: list[str], before: str) -> Iterator[Any]:
        if not left and self._fed(matcher, "}"):
            yield matcher
        for name in left:
            state = matcher.deep_copy()
            if self._fed(state, f"{before}{compact(name)}:"):
                rest = [other for other in left if other != name]
                after = next(self._value(state, value[name]), None)
                if after is not None:
                    yield from self._members(after, value, rest, ",")

    def _fed(self, matcher: Any, text: str) -> bool:
        self._tries -= 1
        ids = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return self._tries > 0 and matcher.validate_tokens(ids) == len(ids) and matcher.consume_tokens(ids)


def accepts(form: Any, text: str, engine: Engine) -> bool:
    """Return True if a model held to a form can write a text and end there."""
    tokenizer: Any = engine.tokenizer
    mask = form.new_mask()
    for token in tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]:
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
