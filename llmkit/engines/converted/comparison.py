"""Compare an engine's greedy text with transformers' on a few prompts."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from llmkit.engines.base import Engine, Request, Sampling

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec

PROMPTS = (
    "Once upon a time, a little dog found a red ball",
    "The capital of France is Paris, and the capital of Italy is",
    "def area(width, height):\n    return",
    "Water boils at 100 degrees Celsius at sea level;",
    "Der Zug nach Köln fährt um",
)
STEPS = 16


def compared(engine: Engine, spec: ModelSpec) -> tuple[str, bool]:
    """Let a decoder's engine and transformers continue `PROMPTS`.

    Args:
        engine: the engine, with a tokenizer.
        spec: the model, as the engine was asked for; transformers runs it in float32 on the CPU.

    Returns:
        A sentence, and True if all texts are equal.
    """
    from llmkit.engines.transformers.engine import TransformersEngine
    from llmkit.runtime.load import load

    plain = replace(spec, engine=None, engine_python=None, quantize=None, dtype="float32", device="cpu")
    theirs = TransformersEngine(load(plain))
    tokenizer: Any = engine.tokenizer
    requests = [Request(Sampling(max_new_tokens=STEPS), ids=tokenizer(text)["input_ids"]) for text in PROMPTS]
    found = [one.ids for (one,) in engine.generate(requests)]
    wanted = [one for (one,) in theirs.generate([replace(one, logprobs=2) for one in requests])]
    leads = []
    for ids, own in zip(found, wanted, strict=True):
        step = next((n for n, pair in enumerate(zip_longest(ids, own.ids)) if pair[0] != pair[1]), None)
        if step is not None and own.logprobs:
            top = own.logprobs[min(step, len(own.logprobs) - 1)].top
            leads.append(top[0][1] - top[1][1])
    same = len(PROMPTS) - len(leads)
    if not leads:
        return f"the same greedy text as transformers in float32 for {same} of {len(PROMPTS)} texts", True
    by = ", ".join(f"{lead:.2g}" for lead in sorted(leads))
    return (
        f"{len(leads)} of {len(PROMPTS)} greedy texts go on otherwise than with transformers in float32,"
        f" where its first choice leads by {by} in log-probability",
        False,
    )
