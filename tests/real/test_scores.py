"""A real model: published scores, training, resumed batches."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit import LoadedModel, ModelSpec, load
from tests.command import run
from tests.real import table


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
        for row, label in zip(rows[:ROWS], labels, strict=False):
            one = json.loads(row)
            out.write(
                json.dumps(
                    {"question": one["goal"], "choices": [one["sol1"], one["sol2"]], "label": int(label)}
                )
            )
            out.write("\n")
    result = run("eval", "--metric", "multiple_choice", file, "-m", chat_folder, "--json")
    found = score(result, "accuracy")
    shown = f"{100 * found['score']:.1f} % ({100 * found['low']:.1f} to {100 * found['high']:.1f})"
    table.add(
        f"PIQA, {ROWS} rows, question and choice alone, default dtype",
        shown,
        f"{100 * CARD:.1f} % (model card, all rows, another prompt, unrounded weights)",
        f"{100 * (found['score'] - CARD):+.1f}",
    )
    assert found["low"] < CARD < found["high"]


ROWS, CARD = 400, 0.663


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
    found, expected = score(result, "perplexity")["score"], math.exp(float(losses.mean()))
    table.add(f"perplexity of {len(ids)} tokens of WikiText-2 validation", found, expected, found - expected)
    assert found == pytest.approx(expected, rel=1e-3)


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
    proved = run("merge", adapter, "-o", merged, "--json")
    assert proved.code == 0, proved.err
    proof = json.loads(proved.out)
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(chat_folder, dtype=torch.float32)
    with_adapter: Any = PeftModel.from_pretrained(base, str(adapter))
    ids = torch.tensor([[1, 4093, 198, 28120, 2]])
    with torch.inference_mode():
        expected = with_adapter(ids).logits
        ours = load(ModelSpec(str(adapter), device="cpu", dtype="float32")).model(ids).logits
        other = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)(ids).logits
    before, after = found["held_out_before"], found["held_out_loss"]
    table.add(
        "LoRA on instructions, 12 steps: held-out loss",
        f"{after:.3f}",
        f"{before:.3f} before",
        after - before,
    )
    changed, rounding = proof["logit_difference"], proof["cast_difference"] or 0.0
    table.add(
        "merge: its own proof, largest change of a logit",
        changed,
        f"{rounding:.3g} by rounding alone",
        changed,
    )
    table.add("the adapter's logits", "llmkit", "peft", float((ours - expected).abs().max()))
    table.add("the merged model's logits", "transformers", "peft", float((other - expected).abs().max()))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other, expected, rtol=1e-2, atol=2e-2)


def test_a_killed_batch_goes_on_to_the_same_file(chat_folder: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"Name {n} animals."}) + "\n" for n in range(2, 14)))
    sampling = ("--temperature", "0.7", "--seed", "3", "--max-new-tokens", "16", "--batch-size", "4")
    options = ("generate", "--input", prompts, "-m", chat_folder, *sampling)
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    assert run(*options, "-o", whole).code == 0
    process = subprocess.Popen([sys.executable, "-m", "llmkit", *map(str, options), "-o", str(cut)])
    journal = Path(f"{cut}.journal")
    while process.poll() is None and (not journal.exists() or journal.read_text().count("\n") < 2):
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert run(*options, "-o", cut, "--resume").code == 0
    table.add("a killed batch of sampled texts, resumed", "same bytes", "not killed", "none")
    assert cut.read_bytes() == whole.read_bytes()
