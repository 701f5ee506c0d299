"""Command lines of each verb that writes, over tiny models and inputs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.tiny import make_model


@dataclass(frozen=True)
class Case:
    """A command that writes into its working directory.

    Attributes:
        name: of the case.
        command: the command line; ``{i}`` stands for the folder of the inputs.
        again: flag that continues a killed run; for a verb without one, that which replaces its output.
        older: changes to the command line that give an older result of the same name.
        volatile: names of files that hold times.
        kept: files that hold an older result until the new one is whole, ``a+b`` for files that change
            together; none for training, which removes the older model before its first step.
    """

    name: str
    command: str
    again: str
    older: tuple[str, str]
    volatile: Sequence[str] = ()
    kept: Sequence[str] = ()

    def arguments(self, inputs: Path, *flags: str, older: bool = False) -> list[str]:
        """Return the command line."""
        command = self.command.replace(*self.older) if older else self.command
        assert not older or command != self.command
        return [*command.replace("{i}", str(inputs)).split(), *flags]


_ROWS = "--batch-size 2 --max-new-tokens 3 -o out.jsonl"
_TRAIN = "--max-steps 4 --eval-steps 2 --batch-size 2 --max-length 32 --device cpu -q -o out"
_DOCUMENTS = "translate --from en --to de -m {i}/t5 --max-new-tokens 3 --on-error skip --batch-size 2"
_SCORES = "rows.jsonl", "page.html", "scores.json"
_FEWER, _STEPS = ("tokens 3", "tokens 2"), ("steps 4", "steps 3")
# name, command, flag that continues, change that gives an older result, files that stay until replaced
_TABLE: list[tuple[str, str, str, tuple[str, str], Sequence[str]]] = [
    ("generate", f"generate --input {{i}}/rows.jsonl -m {{i}}/llama --greedy {_ROWS}", "--resume",
     _FEWER, ["out.jsonl"]),
    ("generate sampled", f"generate --input {{i}}/rows.jsonl -m {{i}}/llama --seed 3 --temperature 1 {_ROWS}",
     "--resume", ("seed 3", "seed 4"), ["out.jsonl"]),
    ("generate CSV", f"generate --input {{i}}/rows.jsonl -m {{i}}/llama --greedy {_ROWS}"
     .replace("out.jsonl", "out.csv"), "--resume", _FEWER, ["out.csv"]),
    ("generate Parquet", f"generate --input {{i}}/rows.jsonl -m {{i}}/llama --greedy {_ROWS}"
     .replace("out.jsonl", "out.parquet"), "--resume", _FEWER, ["out.parquet"]),
    ("translate", f"translate --from en --to de --input {{i}}/rows.jsonl --field prompt -m {{i}}/t5 {_ROWS}",
     "--resume", _FEWER, ["out.jsonl"]),
    ("summarize", f"summarize --input {{i}}/rows.jsonl --field prompt -m {{i}}/t5 {_ROWS}", "--resume",
     _FEWER, ["out.jsonl"]),
    ("qa", "qa --input {i}/questions.jsonl -m {i}/bert-qa --batch-size 2 -o out.jsonl", "--resume",
     ("size 2", "size 1"), ["out.jsonl"]),
    ("documents", f"{_DOCUMENTS} {{i}}/docs -o out", "--resume",
     _FEWER, ["out/docs/a.md", "out/docs/b/c.txt"]),
    ("document", f"{_DOCUMENTS} {{i}}/docs/a.md -o out.md", "--resume", _FEWER, ["out.md"]),
    ("eval", "eval --metric rouge,exact_match {i}/predictions.jsonl --per-record rows.jsonl"
     " --report page.html -o scores.json --resamples 50", "--overwrite", ("rouge,", ""), _SCORES),
    ("finetune", f"finetune {{i}}/rows.jsonl -m {{i}}/llama --lora-rank 2 {_TRAIN}", "--resume", _STEPS, []),
    ("finetune whole", f"finetune {{i}}/rows.jsonl -m {{i}}/llama --full {_TRAIN}", "--resume", _STEPS, []),
    ("pretrain", f"pretrain {{i}}/corpus.txt --params 20k --vocab-size 270 {_TRAIN}", "--resume", _STEPS, []),
    ("merge", "merge {i}/adapter -o out --device cpu", "--overwrite",
     ("out", "out --save-dtype bfloat16"), ["out/config.json+out/model.safetensors"]),
    ("convert to gguf", "convert -m {i}/llama --to gguf -o out.gguf --gguf-type Q8_0 --bound 1",
     "--overwrite", ("Q8_0", "F16"), ["out.gguf"]),
    ("convert to safetensors", "convert -m {i}/llama --to safetensors -o out --dtype float32"
     " --max-shard-size 100KB", "--overwrite", ("--dtype float32", "--dtype bfloat16"),
     ["out/config.json+out/proof.json"]),
    ("convert to ctranslate2", "convert -m {i}/gpt2 --to ctranslate2 -o out --dtype float32",
     "--overwrite", ("float32", "int8 --bound 1"), ["out/proof.json+out/model.bin"]),
    ("convert to mlx", "convert -m {i}/llama --to mlx -o out --dtype float32", "--overwrite",
     ("float32", "bfloat16"), ["out/proof.json+out/model.safetensors"]),
    ("quantize", "quantize -m {i}/llama -o out --bits 8 --device cpu --max-shard-size 40KB", "--overwrite",
     ("bits 8", "bits 4"), ["out/config.json+out/model.safetensors.index.json"]),
]  # fmt: skip
_VOLATILE = {"finetune": ["README.md", "report.html"], "pretrain": ["README.md", "report.html"]}
CASES = [
    Case(name, command, again, older, _VOLATILE.get(name.split()[0], ()), kept)
    for name, command, again, older, kept in _TABLE
]


def make_inputs(folder: Path) -> Path:
    """Write the models and the inputs of all cases."""
    folder.mkdir()
    for family in ("llama", "gpt2", "t5", "bert-qa"):
        make_model(family, folder / family)
    _make_adapter(folder / "llama", folder / "adapter")
    texts = [f"The dog {i} saw the {'cat' * (i % 3 + 1)}." for i in range(8)]
    _write(folder / "rows.jsonl", [{"prompt": text, "text": text * 2} for text in texts])
    _write(folder / "questions.jsonl", [{"question": "Who?", "context": text} for text in texts])
    _write(folder / "predictions.jsonl", [
        {"prediction": text, "reference": texts[i // 2]} for i, text in enumerate(texts)])  # fmt: skip
    (folder / "corpus.txt").write_text("\n<|endoftext|>\n".join(text * 4 for text in texts * 3))
    (folder / "docs/b").mkdir(parents=True)
    (folder / "docs/a.md").write_text("# The dog\n\nThe *cat* saw.\n\n- one\n- two\n")
    (folder / "docs/b/c.txt").write_text("Once upon a time.\n\nThe end.\n")
    return folder


def _write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _make_adapter(base: Path, folder: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    wrapped.save_pretrained(folder)
