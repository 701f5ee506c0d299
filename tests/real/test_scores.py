"""Real models: published scores, training, embeddings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit import LoadedModel, ModelSpec, load
from tests.command import run


def score(result: Any, name: str) -> dict[str, Any]:
    assert result.code == 0, result.err
    scores = json.loads(result.out)["scores"]
    found: dict[str, Any] = next(one for one in scores if one["name"] == name)
    return found


def test_piqa_is_what_the_model_card_says(chat_folder: Path, data_folder: Path, tmp_path: Path) -> None:
    """The card says 66.3 for the unquantized model; these weights were rounded to 4 bits."""
    rows = (data_folder / "mc" / "piqa_valid.jsonl").read_text().splitlines()
    labels = (data_folder / "mc" / "piqa_valid_labels.lst").read_text().split()
    file = tmp_path / "piqa.jsonl"
    with file.open("w") as out:
        for row, label in zip(rows[:600], labels, strict=False):
            one = json.loads(row)
            out.write(
                json.dumps(
                    {"question": one["goal"], "choices": [one["sol1"], one["sol2"]], "label": int(label)}
                )
            )
            out.write("\n")
    result = run("eval", "--metric", "multiple_choice", file, "-m", chat_folder, "--json")
    found = score(result, "accuracy")
    print(f"PIQA, 600 rows: {found['score']:.4f} ({found['low']:.4f} to {found['high']:.4f}); card 0.663")
    assert found["low"] < 0.663 < found["high"]


def test_perplexity_is_that_of_a_plain_loop(
    chat: LoadedModel, chat_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    """The mean loss of all tokens but the first, by transformers alone."""
    text = (data_folder / "lm" / "wiki.valid.raw").read_text(encoding="utf-8")[:1_500]
    file = tmp_path / "wiki.jsonl"
    file.write_text(json.dumps({"text": text}), encoding="utf-8")
    result = run(
        *("eval", "--metric", "perplexity", file, "-m", chat_folder, "--dtype", "float32"),
        *("--window", "512", "--stride", "512", "--bos", "none", "--json"),
    )
    ids: Any = chat.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) <= 512
    with torch.inference_mode():
        logits = chat.model(torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)
    losses = -logits.gather(1, torch.tensor(ids)[1:, None])
    assert score(result, "perplexity")["score"] == pytest.approx(math.exp(float(losses.mean())), rel=1e-3)


def test_an_adapter_of_a_real_model_learns_merges_and_is_read_by_others(
    chat_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    rows = json.loads((data_folder / "chat" / "instruction-data.json").read_text())[:48]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    result = run(
        *("finetune", file, "-m", chat_folder, "-o", adapter, "--max-steps", "12", "--batch-size", "4"),
        *("--max-length", "128", "--lr", "1e-3", "--json"),
    )
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found["held_out_loss"] < found["held_out_before"]
    assert run("merge", adapter, "-o", merged).code == 0
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(chat_folder, dtype=torch.float32)
    with_adapter: Any = PeftModel.from_pretrained(base, str(adapter))
    ids = torch.tensor([[1, 4093, 198, 28120, 2]])
    with torch.inference_mode():
        expected = with_adapter(ids).logits
        ours = load(ModelSpec(str(adapter), device="cpu", dtype="float32")).model(ids).logits
        other = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)(ids).logits
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other, expected, rtol=1e-2, atol=2e-2)


def test_embeddings_of_a_real_encoder_have_the_published_cosines(encoder_folder: Path) -> None:
    """Cosines that the sentence-transformers documentation gives for this model."""
    from llmkit.tasks.embeddings.embedder import SentenceEmbedder

    sentences = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    embedder = SentenceEmbedder(load(ModelSpec(str(encoder_folder), task="feature-extraction", device="cpu")))
    vectors = torch.as_tensor(embedder(sentences))
    vectors = torch.nn.functional.normalize(vectors.float(), dim=1)
    cosines = vectors @ vectors.T
    assert cosines[0, 1].item() == pytest.approx(0.6660, abs=2e-4)
    assert cosines[0, 2].item() == pytest.approx(0.1046, abs=2e-4)
    assert cosines[1, 2].item() == pytest.approx(0.1411, abs=2e-4)


def test_a_killed_batch_goes_on_to_the_same_file(chat_folder: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"Name {n} animals."}) + "\n" for n in range(2, 14)))
    options = (
        "--input",
        prompts,
        "-m",
        chat_folder,
        "--temperature",
        "0.7",
        "--seed",
        "3",
        "--batch-size",
        "4",
    )
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    assert run("generate", *options, "--max-new-tokens", "16", "-o", whole).code == 0
    import os
    import signal
    import subprocess
    import sys
    import time

    command = [
        sys.executable,
        "-m",
        "llmkit",
        "generate",
        *map(str, options),
        "--max-new-tokens",
        "16",
        "-o",
        str(cut),
    ]
    process = subprocess.Popen(command)
    journal = Path(f"{cut}.journal")
    while process.poll() is None and (not journal.exists() or journal.read_text().count("\n") < 2):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL) if process.poll() is None else None
    process.wait()
    assert run("generate", *options, "--max-new-tokens", "16", "-o", cut, "--resume").code == 0
    assert cut.read_bytes() == whole.read_bytes()
