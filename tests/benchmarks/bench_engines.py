"""CTranslate2 as an engine: its greedy text beside transformers', and its speed beside CTranslate2 alone.

The embedded translator, and the models in LLMKIT_ENGINE_MODELS (folders, separated by colons).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.side_by_side import report, seconds_of

_SUBJECTS = ("Tom", "The old man", "My sister", "She", "A small dog", "The teacher", "Nobody", "Our train")
_DOINGS = ("is reading a book", "bought a red car", "wants to go home", "knows the answer", "sleeps a lot")
_ENDS = ("today.", "in the garden.", "because it is cold.", "and he is happy.", "without a word.")
TEXTS = [f"{one} {two} {three}" for one in _SUBJECTS for two in _DOINGS for three in _ENDS]


def main() -> None:
    """Compare texts, and then times by turns, on one thread and on all."""
    from llmkit import ModelSpec

    others = [name for name in os.environ.get("LLMKIT_ENGINE_MODELS", "").split(":") if name]
    rounds, count = int(os.environ.get("ROUNDS", "7")), int(os.environ.get("TEXTS", "200"))
    for spec in [ModelSpec("translator", bundled=True), *map(ModelSpec, others)]:
        texts = TEXTS[:: max(1, len(TEXTS) // count)][:count]
        compare_texts(spec, texts)
        compare_speed(spec, texts, rounds)


def compare_texts(spec: Any, texts: Sequence[str], new_tokens: int = 48) -> None:
    """Print how many greedy texts are equal, and by how much transformers' choice led where one is not."""
    import torch

    from llmkit.engines.transformers.engine import TransformersEngine

    ours, theirs = _opened(spec, "ctranslate2"), _opened(spec, None)
    assert isinstance(theirs, TransformersEngine)
    requests = [_request(theirs, text, new_tokens) for text in texts]
    same, leads = 0, []
    for i in range(0, len(requests), 20):
        part = requests[i : i + 20]
        for one, (found,), (wanted,) in zip(part, ours.generate(part), theirs.generate(part), strict=True):
            if found.ids == wanted.ids:
                same += 1
                continue
            pairs = zip(found.ids, wanted.ids, strict=False)
            step = next(n for n, pair in enumerate(pairs) if pair[0] != pair[1])
            with torch.inference_mode():
                ids = [*one.ids, *wanted.ids[:step]]
                if theirs.is_encoder_decoder:
                    start = theirs.loaded.model.generation_config.decoder_start_token_id
                    inputs: Any = {"input_ids": torch.tensor([list(one.ids)])}
                    inputs["decoder_input_ids"] = torch.tensor([[start, *wanted.ids[:step]]])
                else:
                    inputs = {"input_ids": torch.tensor([ids])}
                best = theirs.loaded.model(**inputs).logits[0, -1].topk(2).values
            leads.append(float(best[0] - best[1]))
    print(f"\n{spec.name}: {same} of {len(requests)} greedy texts of {new_tokens} tokens are equal")
    for lead in leads:
        print(f"  one differs where transformers' first choice leads by {lead:.2g}")


def compare_speed(spec: Any, texts: Sequence[str], rounds: int) -> None:
    """Print the time of the engine beside that of CTranslate2 called directly, on the same conversion."""
    ours = _opened(spec, "ctranslate2")
    tokenizer, model = ours.tokenizer, ours._program._model
    for rows, new_tokens in ((1, 64), (16, 48)):
        if spec.name == "translator":
            new_tokens = 24
        requests = [_request(ours, text, new_tokens) for text in texts[:rows]]
        tokens = [tokenizer.convert_ids_to_tokens(one.ids) for one in requests]

        def direct(tokens: Any = tokens, new_tokens: int = new_tokens) -> object:
            if ours.is_encoder_decoder:
                return model.translate_batch(tokens, beam_size=1, max_decoding_length=new_tokens)
            return model.generate_batch(
                tokens, sampling_topk=1, max_length=new_tokens, include_prompt_in_result=False
            )

        def engine(requests: Any = requests) -> object:
            return ours.generate(requests)

        taken = seconds_of({"ctranslate2 alone": direct, "--engine ctranslate2": engine}, rounds)
        report(f"{spec.name}, {rows} rows", taken, "ctranslate2 alone", "at most x1.05")


def _opened(spec: Any, engine: str | None) -> Any:
    from dataclasses import replace

    from llmkit.engines.open import open_engine

    return open_engine(replace(spec, engine=engine, device="cpu", dtype="float32"))


def _request(engine: Any, text: str, new_tokens: int) -> Any:
    from llmkit.engines.base import Request, Sampling

    return Request(Sampling(max_new_tokens=new_tokens), ids=engine.tokenizer(text)["input_ids"])
