"""Compare an engine's greedy text with transformers' on a few prompts."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.engines.base import Engine, Request, Sampling
from llmkit.errors import NoticeWarning
from llmkit.whole_file import write_whole

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

PROMPTS = (
    "Once upon a time, a little dog found a red ball",
    "The capital of France is Paris, and the capital of Italy is",
    "def area(width, height):\n    return",
    "Water boils at 100 degrees Celsius at sea level;",
    "Der Zug nach Köln fährt um",
)
QUESTION = "What is the capital of France?"
STEPS = 16


def first_use(engine: Engine, outline: LoadedModel, kept: Path) -> str:
    """Compare a decoder's text with that of transformers; a difference gives a notice.

    Args:
        engine: the engine, with a tokenizer.
        outline: the model without its weights.
        kept: file that stores the sentence, so that only the first use compares.
    """
    if kept.is_file():
        return kept.read_text(encoding="utf-8").strip()
    import psutil

    # transformers needs memory for the weights in float32, and more while it reads them.
    needed = 1.5 * 4 * sum(one.numel() for one in outline.model.parameters())
    free = psutil.virtual_memory().available
    if needed > free:
        return (
            f"not compared with transformers: this needs {needed / 2**30:.1f} GiB of memory, and"
            f" {free / 2**30:.1f} are free"
        )
    sentence, same = compared(engine, outline.spec)
    if not same:
        warnings.warn(f"{outline.spec.name}: {sentence}", NoticeWarning, stacklevel=3)
    with contextlib.suppress(OSError):  # the next use compares again
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, sentence + "\n")
    return sentence


def compared(engine: Engine, spec: ModelSpec) -> tuple[str, bool]:
    """Let the engine and transformers continue `PROMPTS`, and answer `QUESTION` as a chat.

    Args:
        engine: the engine, with a tokenizer.
        spec: the model, as requested from the engine; transformers runs it in float32 on the CPU.

    Returns:
        A sentence, and True if all texts are equal.
    """
    from llmkit.engines.transformers.engine import TransformersEngine
    from llmkit.runtime.load import load

    plain = replace(spec, engine=None, engine_python=None, quantize=None, dtype="float32", device="cpu")
    theirs = TransformersEngine(load(plain))
    tokenizer: Any = engine.tokenizer
    prompts = [tokenizer(text)["input_ids"] for text in PROMPTS]
    if engine.has_chat_template:
        # Low-bit weights may change the effect of special tokens, which plain texts do not contain.
        turn = [{"role": "user", "content": QUESTION}]
        text = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        prompts.append(tokenizer(text, add_special_tokens=False)["input_ids"])
    requests = [Request(Sampling(max_new_tokens=STEPS), ids=ids) for ids in prompts]
    found = [one.ids for (one,) in engine.generate(requests)]
    wanted = [one for (one,) in theirs.generate([replace(one, logprobs=2) for one in requests])]
    leads = []
    for ids, own in zip(found, wanted, strict=True):
        step = next((n for n, pair in enumerate(zip_longest(ids, own.ids)) if pair[0] != pair[1]), None)
        if step is not None and own.logprobs:
            top = own.logprobs[min(step, len(own.logprobs) - 1)].top
            leads.append(top[0][1] - top[1][1])
    same = len(prompts) - len(leads)
    if not leads:
        return f"the same greedy text as transformers in float32 for {same} of {len(prompts)} texts", True
    by = ", ".join(f"{lead:.2g}" for lead in sorted(leads))
    return (
        f"{len(leads)} of {len(prompts)} greedy texts differ from those of transformers in float32,"
        f" where its first choice leads by {by} in log-probability",
        False,
    )
