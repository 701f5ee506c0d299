"""Estimates beside memory that others have measured on GPUs.

Source: Qwen2.5 Speed Benchmark, 2024 (QwenLM/Qwen2.5 on GitHub, docs/source/benchmark/speed_benchmark.rst):
transformers 4.46, one A100 80GB, bfloat16, flash attention, a batch of 1, 2,048 new tokens. The page says GB;
weights and cache alone show that they are of 2^30 bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit import ModelSpec
from llmkit.runtime.estimate.estimate import estimate
from llmkit.runtime.estimate.machines import MACHINES

COMMON = {"model_type": "qwen2", "max_position_embeddings": 131072, "dtype": "bfloat16"}
NAMES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
NAMES += ("num_key_value_heads", "vocab_size", "tie_word_embeddings")
# From the models' config.json.
CONFIGS: dict[str, dict[str, Any]] = {
    name: {**COMMON, **dict(zip(NAMES, values, strict=True))}
    for name, values in {
        "Qwen2.5-0.5B": (896, 4864, 24, 14, 2, 151936, True),
        "Qwen2.5-1.5B": (1536, 8960, 28, 12, 2, 151936, True),
        "Qwen2.5-7B": (3584, 18944, 28, 28, 4, 152064, False),
        "Qwen2.5-14B": (5120, 13824, 48, 40, 8, 152064, False),
    }.items()
}
FIGURES = [
    ("Qwen2.5-0.5B", 1, 0.97),
    ("Qwen2.5-0.5B", 6144, 1.23),
    ("Qwen2.5-0.5B", 14336, 1.60),
    ("Qwen2.5-0.5B", 30720, 2.34),
    ("Qwen2.5-1.5B", 1, 2.95),
    ("Qwen2.5-1.5B", 6144, 3.43),
    ("Qwen2.5-1.5B", 14336, 4.16),
    ("Qwen2.5-1.5B", 30720, 5.62),
    ("Qwen2.5-7B", 30720, 19.97),
    ("Qwen2.5-14B", 1, 28.08),
    ("Qwen2.5-14B", 6144, 29.50),
    ("Qwen2.5-14B", 14336, 31.95),
    ("Qwen2.5-14B", 30720, 36.85),
]


def predicted(name: str, prompt: int, folder: Path) -> float:
    (folder / "config.json").write_text(json.dumps(CONFIGS[name]))
    spec = ModelSpec(str(folder))
    found = estimate(spec, MACHINES["a100"], prompt_tokens=prompt, new_tokens=2048)
    return found.total / 2**30


@pytest.mark.parametrize(
    ("name", "prompt", "measured"),
    [
        pytest.param(*one, marks=[] if one[:2] == ("Qwen2.5-0.5B", 30720) else pytest.mark.slow)
        for one in FIGURES
    ],
)
def test_within_a_tenth_of_published_memory(name: str, prompt: int, measured: float, tmp_path: Path) -> None:
    assert predicted(name, prompt, tmp_path) == pytest.approx(measured, rel=0.1)
