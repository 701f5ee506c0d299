"""Batched generation over rows of mixed length, against transformers' own ways to do it."""

from __future__ import annotations

import random
from typing import Any

from tests.benchmarks.side_by_side import report, seconds_of

ROWS = 128
NEW_TOKENS = 32


def main() -> None:
    """Tokens/s of llmkit's length-sorted token-budget batches, of pipelines, and of one by one."""
    import torch
    from transformers import pipeline

    from llmkit import GenerationOptions, ModelSpec, generate, load

    loaded = load(ModelSpec("stories", device="cpu"))
    chance = random.Random(0)
    words = ("the", "little", "dog", "and", "a", "big", "cat", "went", "to", "see", "old", "tree")
    prompts = [" ".join(chance.choices(words, k=chance.randint(3, 200))) for _ in range(ROWS)]
    options = GenerationOptions(max_new_tokens=NEW_TOKENS, greedy=True)
    pipe = pipeline("text-generation", model=loaded.model, tokenizer=loaded.tokenizer)
    settings: dict[str, Any] = {"max_new_tokens": NEW_TOKENS, "do_sample": False}
    with torch.inference_mode():
        ways = {
            "pipeline, one by one": lambda: pipe(prompts, batch_size=1, **settings),
            "pipeline, batch_size=32": lambda: pipe(prompts, batch_size=32, **settings),
            "llmkit.generate": lambda: generate(loaded, prompts, options),
        }
        seconds = seconds_of(ways, 3)
    report(f"Generate: {ROWS} prompts of mixed length, {NEW_TOKENS} new tokens", seconds, "llmkit.generate")
