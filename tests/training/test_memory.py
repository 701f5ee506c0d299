"""The memory that a plan predicts, beside what a run then takes, each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Large enough that a step's memory is more than the libraries', small enough for a test.
SIZES = {"vocab_size": 8192, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.tiny import make_tokenizer

    folder = tmp_path_factory.mktemp("llama")
    config = LlamaConfig(
        **SIZES,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: texts.jsonl, and pairs.jsonl, whose rows are twice as long."""
    folder = tmp_path_factory.mktemp("data")
    words = "the dog saw the moon and the cat " * 30
    texts = [{"text": f"{i} {words}"} for i in range(24)]
    pairs = [{"prompt": f"{i} ", "chosen": words, "rejected": f"No, {words}"} for i in range(24)]
    for name, rows in (("texts", texts), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


# Runs in its own process, which has nothing else in its memory.
RUN = """
import json, sys
from llmkit.runtime.spec import ModelSpec
from llmkit.training.finetuning.finetune import FinetuneRecipe, finetune
from llmkit.training.run import SilentProgress

class Plan(SilentProgress):
    def planned(self, plan):
        self.memory = plan.memory

data, model, output, options = sys.argv[1:]
plan = Plan()
recipe = FinetuneRecipe(eval_split=0.0, max_length=512, max_steps=4, **json.loads(options))
result = finetune(data, output, ModelSpec(model, device="cpu"), recipe, progress=plan)
print(json.dumps([plan.memory, result.peak_memory]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from the kernel")
@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ("texts", {"lora": False}),
        pytest.param("texts", {"lora": True}, marks=pytest.mark.slow),
        pytest.param("pairs", {"batch_size": 4}, marks=pytest.mark.slow),
        pytest.param("texts", {"lora": False, "gradient_checkpointing": True}, marks=pytest.mark.slow),
        pytest.param("texts", {"lora": False, "dtype": "float32"}, marks=pytest.mark.slow),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_the_plan_predicts_the_peak_within_a_fifth(
    model: Path, data: Path, tmp_path: Path, rows: str, options: dict[str, Any]
) -> None:
    if rows == "pairs":
        pytest.importorskip("trl")
    arguments = [data / f"{rows}.jsonl", model, tmp_path / "out", json.dumps(options)]
    done = subprocess.run([sys.executable, "-c", RUN, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    predicted, measured = json.loads(done.stdout)
    assert abs(predicted / measured - 1) < 0.2, (predicted, measured)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from the kernel")
def test_the_peak_is_the_program_s_own() -> None:
    """Not that of the program that was there before it in the process."""
    own = (
        "import torch; from llmkit.training.memory import measured_peak;"
        " print(measured_peak(torch.device('cpu')))"
    )
    large = (
        f"import os, sys; big = b'x' * (2 << 30); os.execv(sys.executable, [sys.executable, '-c', {own!r}])"
    )
    done = subprocess.run([sys.executable, "-c", large], capture_output=True, text=True, check=True)
    assert 50e6 < int(done.stdout) < 1.5e9
