"""Small finetuning runs for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from llmkit.runtime.spec import ModelSpec
from llmkit.training.finetuning.finetune import finetune
from llmkit.training.finetuning.recipe import FinetuneRecipe
from llmkit.training.finetuning.result import FinetuneResult
from llmkit.training.run import RunOptions, RunProgress

QUICK = FinetuneRecipe(
    max_steps=12, lr=1e-2, batch_size=2, max_length=64, eval_steps=4, dtype="float32", lora_rank=4
)
WORDS = ["dog", "cat", "moon", "ball", "house", "park"]


def write_rows(folder: Path, kind: str = "completion", count: int = 24) -> Path:
    """Write rows of a kind to a file."""
    made: list[dict[str, Any]] = []
    for i in range(count):
        word, other = WORDS[i % 6], WORDS[i // 6 % 6]
        text = f"The {word} {i} saw the {other}."
        made.append(
            {
                "completion": {"prompt": f"Say {word} {i}:", "completion": " " + text * (1 + i % 3)},
                "text": {"text": text * (1 + i % 4)},
                "messages": {
                    "messages": [
                        {"role": "user", "content": f"Say {word} {i}"},
                        {"role": "assistant", "content": text},
                    ]
                },
                "preference": {
                    "prompt": f"Say {word} {i}:",
                    "chosen": " " + text * (1 + i % 3),
                    "rejected": f" No {other}.",
                },
                "pairs": {"source": text, "target": f"{other} {word}"},
                "answers": {
                    "question": f"What did the {word} see?",
                    "context": text,
                    "answers": {"text": [other], "answer_start": [text.rindex(other)]},
                },
            }[kind]
        )
    file = folder / f"{kind}-{count}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return file


def train(
    data: Path,
    output: Path,
    model: Path,
    recipe: FinetuneRecipe = QUICK,
    *,
    command: str = "",
    progress: RunProgress | None = None,
    **options: Any,
) -> FinetuneResult:
    spec = ModelSpec(str(model), device="cpu")
    return finetune(data, output, spec, recipe, RunOptions(**options), command=command, progress=progress)


def metrics(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def weights(output: Path) -> dict[str, torch.Tensor]:
    (file,) = output.glob("*.safetensors")
    return load_file(file)


def same(ours: Path, theirs: Path) -> bool:
    one, other = weights(ours), weights(theirs)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in other)
