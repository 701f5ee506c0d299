"""Tokens a second with guesses and without: by a draft model, and by looking up the text so far.

LLMKIT_BENCH_MODEL names a model with a chat template whose layers run in native steps; without it, the
embedded story model continues texts. The draft is the same model in 4 bits, from `llmkit quantize`.
LLMKIT_BENCH_TIMES is the number of rounds (3), LLMKIT_BENCH_CLOCK=cpu counts processor time, and
LLMKIT_BENCH_FORMS=bfloat16,int8 measures some forms of the weights only.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROUNDS = int(os.environ.get("LLMKIT_BENCH_TIMES", "3"))
NEW = 96
clock = time.process_time if os.environ.get("LLMKIT_BENCH_CLOCK") == "cpu" else time.perf_counter
TEXT = (
    "The harbour of Aldmouth reopened on Tuesday after the longest closure in its history. Engineers had"
    " found cracks in the northern wall in March, and the council closed both piers within a day. Forty"
    " fishing boats moved to Penby, eleven miles along the coast, where they paid double the usual fees."
    " Repairs took seven months and cost 4.2 million pounds, half of which came from a national fund for"
    " coastal towns. Mayor Anna Whitlock thanked the crews who worked through two storms in September. The"
    " first boat to return was the Grey Heron, whose owner, Tom Barlow, said that he had lost a third of"
    " his income. Ferries to the islands will start again on Saturday, with a reduced timetable until the"
    " spring."
)
PROMPTS = {
    "free text": ["Write a short story about a fox that learns to swim.", "Explain to a child why it rains."],
    "code": [
        "Write a Python class for a stack, with tests.",
        "Write an HTML page with a table of five planets.",
    ],
    "summary": [f"Summarize this text in three sentences:\n\n{TEXT}"],
    "answer with quotation": [
        f"{TEXT}\n\nQuote the sentences of the text that say what the repairs cost and who came back first."
    ],
    "editing": [f"Repeat this text word for word, but write Bob Marlow in place of Tom Barlow:\n\n{TEXT}"],
}
STORIES = {
    "free text": ["Once upon a time there was a fox who", "One day, Lily and Tom went to the park. They saw"],
    "text that repeats": ["The cat said, I am a cat. The dog said, I am a dog. The pig"],
}
FORMS: dict[str, dict[str, str]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "int8": {"quantize": "int8"},
    "int4": {"quantize": "int4"},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "T 0.7, top-p 0.9": {"temperature": 0.7, "top_p": 0.9},
    "T 1": {"temperature": 1.0},
}


@dataclass
class Way:
    """A way to write: an engine, and whether it guesses."""

    engine: Any
    guesses: bool


def main() -> None:
    """Print what a step costs by its tokens, and the speed by task and form."""
    from llmkit.convert.quantize import quantize
    from llmkit.engines.open import open_engine
    from llmkit.runtime.spec import ModelSpec

    name = os.environ.get("LLMKIT_BENCH_MODEL", "stories")
    with tempfile.TemporaryDirectory() as folder:
        small = str(Path(folder) / "int4")
        quantize(ModelSpec(name, device="cpu"), small, bits=4)
        for form in os.environ.get("LLMKIT_BENCH_FORMS", ",".join(FORMS)).split(","):
            options = FORMS[form]
            plain: Any = open_engine(ModelSpec(name, device="cpu", **options))
            print(f"\n{name} in {form}")
            _steps(plain)
            ways = {"without": Way(plain, False), "looked up": Way(plain, True)}
            if form != "int4":
                drafted = open_engine(ModelSpec(name, device="cpu", draft=small, **options))
                ways["draft in int4"] = Way(drafted, True)
            print("| task | settings | without: tokens/s |" + "".join(f" {one} |" for one in list(ways)[1:]))
            print("|---|---|---:|" + "---:|" * (len(ways) - 1))
            for settings, values in SETTINGS.items():
                for task, prompts in (STORIES if name == "stories" else PROMPTS).items():
                    _row(task, settings, _requests(plain, prompts, values), ways)


def _steps(engine: Any) -> None:
    """Print the time of a step of several tokens of one sequence, as a multiple of a step of one."""
    from llmkit.engines.transformers.native_decoder import NativeDecoder

    decoder = NativeDecoder(engine.loaded.model, 512)
    slot = decoder.allocate(512)
    assert slot is not None
    decoder.prefill([(slot, list(range(20, 276)))])
    counts = (1, 2, 3, 4, 5, 6, 8, 12, 16)
    times: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(4 * ROUNDS):
        for count in counts:
            del slot.ids[256:]
            started = clock()
            decoder.step([(slot, list(range(300, 300 + count)))])
            times[count].append(clock() - started)
    one = statistics.median(times[1])
    shown = ", ".join(f"{n}: {statistics.median(taken) / one:.2f}" for n, taken in times.items())
    print(f"a step of n tokens, in steps of one ({one * 1000:.1f} ms): {shown}\n")


def _requests(engine: Any, prompts: list[str], values: dict[str, Any]) -> list[Any]:
    from llmkit.engines.base import Request, Sampling

    found = []
    for row, prompt in enumerate(prompts):
        if engine.has_chat_template:
            turn = [{"role": "user", "content": prompt}]
            text = engine.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        else:
            text = prompt
        ids = engine.tokenizer(text, add_special_tokens=not engine.has_chat_template)["input_ids"]
        sampling = Sampling(max_new_tokens=NEW, eos_token_ids=(), **values)
        found.append(Request(sampling, ids=ids, key=(1, row, 0)))
    return found


def _row(task: str, settings: str, requests: list[Any], ways: dict[str, Way]) -> None:
    """Print a row: tokens a second without guesses; else the ratio, and the share of right guesses."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    notes: dict[str, str] = {}
    texts: dict[str, Any] = {}
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            taken, notes[name], texts[name] = _run(way, requests)
            if number:
                times[name].append(taken)
    base = statistics.median(times["without"])
    cells = [f"{NEW * len(requests) / base:.1f}"]
    for name in list(ways)[1:]:
        cells.append(f"{base / statistics.median(times[name]):.2f} ({notes[name]})")
    if settings == "greedy":
        assert len({str(one) for one in texts.values()}) == 1, "guesses changed a text"
    print(f"| {task} | {settings} | " + " | ".join(cells) + " |", flush=True)


def _run(way: Way, requests: list[Any]) -> tuple[float, str, Any]:
    """Answer requests one by one, without the time to read their prompts; say how guessing went."""
    from llmkit.engines.transformers import step_decoder

    before = step_decoder.GUESSING_ROWS
    step_decoder.GUESSING_ROWS = before if way.guesses else 0
    total, texts, right, guessed = 0.0, [], 0, 0
    try:
        for request in requests:
            begun: list[float] = []
            session = way.engine.session()
            done = way.engine.stream(
                request, lambda ids, begun=begun: begun.append(clock()) or None, session=session
            )
            total += clock() - begun[0]
            decoder = session._decoder
            right, guessed = right + decoder.right, guessed + decoder.guessed
            texts.append(done.ids)
    finally:
        step_decoder.GUESSING_ROWS = before
    return total, f"{right} of {guessed} right" if guessed else "no guesses", texts


if __name__ == "__main__":
    main()
