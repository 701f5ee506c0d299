"""`llmkit finetune` beside TRL's SFTTrainer and litgpt: a 100M-parameter random Llama, rows of mixed length.

Each system runs in a process of its own, by turns; the peak memory is that process's. Speed is of the
tokens learnt from (neither padding nor the first of a text), from the end of the first step to that of
the last: per second of the clock, and per second of processor time, which other work on the machine
disturbs less. All have the same rows of at most 512 tokens, about as many tokens a step, float32 weights
under bfloat16 autocast (LoRA: frozen bfloat16 weights, and an adapter of rank 16 on every layer but the
head), fused AdamW, no activation checkpointing, nothing held out and nothing saved.

TRL and litgpt are looked for in this interpreter, or in those that LLMKIT_BENCH_TRL and
LLMKIT_BENCH_LITGPT name. Threads are as OMP_NUM_THREADS says.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROUNDS = int(os.environ.get("LLMKIT_BENCH_ROUNDS", "3"))
STEPS = int(os.environ.get("LLMKIT_BENCH_STEPS", "6"))
ROOT = Path(__file__).parents[2]
# Tokens a step: about 2,000, as four packed rows of 512 or twelve rows of the mean length.
PACKED, ROWS = 4, 12
BASE = "TRL, packed (bfd)"
SYSTEMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llmkit, rows joined": ("LLMKIT", "teach_llmkit", {"rows": ROWS}),
    "llmkit, packed": ("LLMKIT", "teach_llmkit", {"packed": PACKED}),
    # TRL joins the packed rows of a forward pass under one mask, whose size is their tokens squared; of one,
    # two and four at a time two were fastest here.
    BASE: ("TRL", "teach_trl", {"packed": True, "batch": 2, "accumulation": PACKED // 2}),
    "TRL, padded, by length": ("TRL", "teach_trl", {"packed": False, "batch": 3, "accumulation": ROWS // 3}),
    "litgpt": ("LITGPT", "teach_litgpt", {"batch": 1, "accumulation": ROWS}),
}


def make(folder: Path) -> None:
    """Write the model, its tokenizer and the rows."""
    import numpy as np
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i + 3 for i in range(31_997)}}
    core = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=768,
            intermediate_size=2048,
            num_hidden_layers=12,
            num_attention_heads=12,
            num_key_value_heads=4,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    )
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    # Lengths as instructions have them: most short, some long.
    chance = np.random.default_rng(0)
    lengths = [int(min(500, max(16, chance.lognormal(4.9, 0.8)))) for _ in range(ROWS * STEPS + 2 * ROWS)]
    (folder / "rows.jsonl").write_text(
        "".join(
            json.dumps({"text": " ".join(f"w{i}" for i in chance.integers(0, 31_997, length))}) + "\n"
            for length in lengths
        )
    )
    print(f"{len(lengths)} rows of {sum(lengths):,} tokens, {model.num_parameters():,} parameters")


def once(python: str, program: str, folder: Path, options: dict[str, Any]) -> dict[str, Any] | None:
    """What one run found, or None where it failed, with the end of what it said."""
    with tempfile.TemporaryDirectory() as output:
        done = subprocess.run(
            [
                python,
                "-m",
                f"tests.benchmarks.{program}",
                str(folder),
                f"{output}/out",
                str(STEPS),
                json.dumps(options),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1"},
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"steps"')]
    if done.returncode or not lines:
        print(f"{program} {options} failed:\n{done.stderr[-800:]}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(lines[-1])
    return {
        "speed": found["tokens"] / found["seconds"],
        "cpu speed": found["tokens"] / found["cpu_seconds"],
        "memory": found["memory"],
        "tokens": found["tokens"] / found["steps"],
    }


def there() -> dict[str, str]:
    """The interpreters that have what is compared."""
    found = {"LLMKIT": sys.executable}
    for name in ("TRL", "LITGPT"):
        python = os.environ.get(f"LLMKIT_BENCH_{name}", sys.executable)
        look = f"from importlib.metadata import version as v; print(v({name.lower()!r}), v('torch'))"
        asked = subprocess.run([python, "-c", look], capture_output=True, text=True)
        if asked.returncode:
            print(f"{name} is not installed (LLMKIT_BENCH_{name} names another interpreter): left out")
        else:
            print("{} {} with torch {}".format(name, *asked.stdout.split()))
            found[name] = python
    return found


def main() -> None:
    """Print speeds and peaks of every system that is there, as ratios to TRL's."""
    pythons = there()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        for lora in (False, True):
            compare(lora, pythons, folder)


def compare(lora: bool, pythons: dict[str, str], folder: Path) -> None:
    """Let the systems take turns, and print their medians."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SYSTEMS}
    for _ in range(ROUNDS):
        for name, (system, program, options) in SYSTEMS.items():
            if system not in pythons:
                continue
            one = once(pythons[system], program, folder, {**options, "lora": lora})
            if one is not None:
                found[name].append(one)
                print(
                    f"{name}: {one['speed']:.0f} tokens/s, {one['memory']:.0f} MB",
                    file=sys.stderr,
                    flush=True,
                )
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in found.items()
        if runs
    }
    base = medians.get(BASE) or next(iter(medians.values()))
    threads = os.environ.get("OMP_NUM_THREADS", os.cpu_count())
    print(
        f"\nFinetune, {'LoRA' if lora else 'full'}: medians of {ROUNDS}, {threads} threads, load"
        f" {os.getloadavg()[1]:.1f} (goal: 1.2 times TRL's tokens/s at no more memory)"
    )
    for name, one in medians.items():
        speeds = [run["speed"] for run in found[name]]
        ratio = {key: one[key] / base[key] for key in one}
        print(
            f"  {name:<24}{one['speed']:>6.0f} tokens/s ({min(speeds):.0f} to {max(speeds):.0f})"
            f"  x{ratio['speed']:.2f}, of processor time x{ratio['cpu speed']:.2f}"
            f"{one['memory']:>8.0f} MB  x{ratio['memory']:.2f}{one['tokens']:>8,.0f} tokens a step"
        )
