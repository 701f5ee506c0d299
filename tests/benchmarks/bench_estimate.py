"""The table of docs/verbs/estimate.md: estimates beside peak memory and time that are measured here.

Each case runs in a process of its own (`llmkit.benchmark.one_step`), and so does the timing of the layers
that the estimate takes its times from. LLMKIT_BENCH_REAL names a folder with a real model; without it that
part is left out. LLMKIT_BENCH_TIMES=0 compares memory alone, which does not depend on other programs. No case
begins after LLMKIT_BENCH_MINUTES (11); those that are left out are named.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TASKS = ("generate", "whole", "LoRA")
SMALL, MIDDLE = ((1, 64), (4, 128), (8, 256)), ((1, 128), (2, 256), (4, 512))
LARGE = ((1, 32), (2, 64), (4, 64))
NEW = 64
# The shape of TinyLlama-1.1B.
LARGE_SHAPE = {
    **{"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32},
    **{"num_key_value_heads": 4, "vocab_size": 32000, "max_position_embeddings": 2048},
}
LARGE_NEEDS = 21e9  # bytes of free memory to train it whole


def cases(large: Path) -> Iterator[tuple[str, str, str, int, int]]:
    """Yield name, model, task, rows and tokens, those first that say most."""
    real = os.environ.get("LLMKIT_BENCH_REAL")
    for at in range(3):
        for task in TASKS:
            yield ("stories", "stories", task, *SMALL[at])
            if real:
                yield ("135M", real, task, *MIDDLE[at])
            yield ("1.1B shape", str(large), task, *LARGE[at])
    for at in range(3):
        yield ("translator", "translator", "generate", *SMALL[at])


def compare(model: str, task: str, rows: int, tokens: int, times: bool) -> dict[str, Any]:
    """Return predicted and measured memory and seconds of a case."""
    from llmkit.benchmark.one_step import StepCase, run_case
    from llmkit.benchmark.step_times import StepTimes, process_bytes
    from llmkit.runtime.estimate.estimate import estimate
    from llmkit.runtime.estimate.this_machine import find_machine
    from llmkit.runtime.estimate.workload import Training
    from llmkit.runtime.spec import ModelSpec

    verb = "generate" if task == "generate" else "finetune"
    rank = 16 if task == "LoRA" else None
    new = NEW if verb == "generate" else None
    machine = find_machine("this" if times else "cpu")
    found = estimate(
        ModelSpec(model),
        machine,
        task=verb,
        prompt_tokens=tokens,
        new_tokens=new,
        batch_size=rows,
        training=Training(lora_rank=rank),
        process=lambda: process_bytes(verb),
        measure=StepTimes() if times else None,
    )
    case = StepCase(
        model, verb, rows, tokens, new or 1, dtype=found.dtype, lora_rank=rank, steps=3 if times else 2
    )
    measured = run_case(case)
    return {
        "memory": (found.total, measured.peak),
        "seconds": {stage.name: (stage.seconds or 0, measured.seconds[stage.name]) for stage in found.stages},
    }


def main() -> None:
    """Print the table as Markdown, and how many cases are within a tenth and a quarter."""
    import psutil
    from transformers import AutoConfig

    from llmkit.benchmark.step_times import write_random_model

    times = os.environ.get("LLMKIT_BENCH_TIMES", "1") != "0"
    end = time.monotonic() + 60 * float(os.environ.get("LLMKIT_BENCH_MINUTES", "11"))
    memory_ok: list[bool] = []
    time_ok: list[bool] = []
    left: list[str] = []
    print(
        "| model | task | rows x tokens | peak, predicted | measured | ratio"
        " | time, predicted | measured | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="llmkit-bench-") as name:
        large = Path(name)
        write_random_model(AutoConfig.for_model("llama", **LARGE_SHAPE), large, "bfloat16")
        for shown, model, task, rows, tokens in cases(large):
            label = f"{shown} {task} {rows} x {tokens}"
            short = shown == "1.1B shape" and task == "whole"
            if short and psutil.virtual_memory().available < LARGE_NEEDS:
                left.append(f"{label} (too little free memory)")
                continue
            if time.monotonic() > end:
                left.append(label)
                continue
            try:
                found = compare(model, task, rows, tokens, times)
            except Exception as error:
                left.append(f"{label} ({error})")
                continue
            predicted, measured = found["memory"]
            memory_ok.append(abs(predicted / measured - 1) <= 0.1)
            cells = [shown, task, f"{rows} x {tokens}", _size(predicted), _size(measured)]
            cells.append(f"{predicted / measured:.2f}")
            for at, (stage, (guess, taken)) in enumerate(found["seconds"].items()):
                if times:
                    time_ok.append(abs(guess / taken - 1) <= 0.25)
                shows = (
                    [f"{stage} {_time(guess)}", _time(taken), f"{guess / taken:.2f}"] if times else ["-"] * 3
                )
                row = [*cells, *shows] if at == 0 else ["", "", "", "", "", "", *shows]
                if times or at == 0:
                    print(f"| {' | '.join(row)} |", flush=True)
    print(f"\nmemory within a tenth: {sum(memory_ok)} of {len(memory_ok)}")
    if times:
        print(f"time within a quarter: {sum(time_ok)} of {len(time_ok)}; load {os.getloadavg()[0]:.1f}")
    if left:
        print(f"not run: {'; '.join(left)}", file=sys.stderr)


def _size(count: float) -> str:
    return f"{count / 2**30:.2f} GiB"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
