"""Count the texts of the embedded translator that native steps and transformers' generate write alike.

python -m tests.benchmarks.bench_seq2seq_text
"""

from __future__ import annotations

from typing import Any

from llmkit.engines.base import Request, Sampling
from llmkit.engines.transformers.engine import TransformersEngine
from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec
from tests.benchmarks.bench_engines import TEXTS

PRECISIONS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "int8": {"dtype": "float32", "quantize": "int8"},
    "bfloat16": {"dtype": "bfloat16"},
}
WAYS = {
    "greedy": Sampling(max_new_tokens=40),
    "sampled": Sampling(max_new_tokens=40, temperature=1.0),
    "4 beams": Sampling(max_new_tokens=40, num_beams=4),
}
_BATCH = 40


def main() -> None:
    """Print a row for each precision."""
    print(f"equal texts of {len(TEXTS)}: {', '.join(WAYS)}")
    for name, options in PRECISIONS.items():
        native, generate = open_translator(**options), open_translator(attn="sdpa", **options)
        ids = [native.tokenizer(f"de: {text}")["input_ids"] for text in TEXTS]
        counts = [str(count_equal(native, generate, ids, sampling)) for sampling in WAYS.values()]
        print(f"{name}: {', '.join(counts)}", flush=True)


def open_translator(**options: Any) -> TransformersEngine:
    return TransformersEngine(load(ModelSpec("translator", device="cpu", bundled=True, **options)))


def count_equal(one: Any, other: Any, ids: list[list[int]], sampling: Sampling) -> int:
    """Return how many answers of two engines have the same tokens."""
    equal = 0
    for start in range(0, len(ids), _BATCH):
        part = ids[start : start + _BATCH]
        batch = [Request(sampling, ids=row, key=(1, start + i, 0)) for i, row in enumerate(part)]
        pairs = zip(one.generate(batch), other.generate(batch), strict=True)
        equal += sum(a[0].ids == b[0].ids for a, b in pairs)
    return equal


if __name__ == "__main__":
    main()
