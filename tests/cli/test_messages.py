"""Golden messages: the wording of errors and notices, line by line. No other test holds wording."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.command import run

# (command line, last line on stderr); FOLDER stands for the working directory.
MESSAGES = [
    (
        "genrate",
        "llmkit: error: no such verb: genrate; did you mean generate? (see llmkit --help)",
    ),
    (
        "generate --temprature 1 x",
        "llmkit: error: no such option: --temprature; did you mean --temperature? (see llmkit "
        "generate --help)",
    ),
    (
        "generate",
        "llmkit: error: no input: give a text, text on stdin, or --input FILE (see --help)",
    ),
    (
        "generate x --input rows.jsonl",
        "llmkit: error: a text and --input were given: give one of them",
    ),
    (
        "generate --input none.jsonl",
        "llmkit: error: none.jsonl: no such file",
    ),
    (
        "help genrate",
        "llmkit: error: no such verb: genrate; did you mean generate? (see llmkit --help)",
    ),
    (
        "generate x --schema none.json",
        "llmkit: error: --schema none.json: no such file",
    ),
    (
        "translate --from en --to de x --glossary none.tsv",
        "llmkit: error: --glossary none.tsv: no such file",
    ),
    (
        "serve --api-key none",
        "llmkit: error: --api-key none: no such file",
    ),
    (
        "finetune rows.jsonl --full --lora-rank 4",
        "llmkit: error: --lora-rank needs an adapter; --full trains the whole model",
    ),
    (
        "finetune rows.jsonl --map prompt=none",
        "llmkit: error: rows.jsonl:1: --map names no column 'none'; its columns are prompt",
    ),
    (
        "generate --input rows.jsonl --field prompt --template '{prompt}'",
        "llmkit: error: --field takes one column and --template several: give one of them",
    ),
    (
        "generate --input broken.jsonl",
        "llmkit: error: broken.jsonl:1: not JSON: Expecting value at column 1",
    ),
    (
        "generate --input rows.jsonl",
        "llmkit: error: rows.jsonl:2: no text column: its columns are other; give one with --field",
    ),
    (
        "generate x --max-new-tokens 0",
        "llmkit: error: --max-new-tokens must be 1 or more",
    ),
    (
        "generate x --temperature -1",
        "llmkit: error: --temperature must be 0 or more",
    ),
    (
        "generate x --top-k many",
        "llmkit: error: --top-k must be a whole number, not 'many' (see llmkit generate --help)",
    ),
    (
        "generate x -o done.jsonl",
        "llmkit: error: --output FOLDER/done.jsonl exists: --overwrite replaces it, --resume "
        "continues an unfinished run",
    ),
    (
        "generate x --resume",
        "llmkit: error: --resume applies to an output file: give it with -o/--output",
    ),
    (
        "generate x -m no/such-model",
        "llmkit: error: no/such-model is not in the cache, and this run is offline; `llmkit models` "
        "lists what is on this machine",
    ),
    (
        "generate x -m ./none",
        "llmkit: error: no model folder at ./none",
    ),
    (
        "generate x --device tpu",
        "llmkit: error: --device tpu: not a device; use auto, cpu, cuda, cuda:N or mps",
    ),
    (
        "generate x --dtype float8",
        "llmkit: error: --dtype float8: use auto, float32, bfloat16 or float16",
    ),
    (
        "generate x --attn nosuch",
        "llmkit: error: --attn nosuch: no such kernel; use reference, cpu, flash, packed, "
        "eager, sdpa, flex_attention, flash_attention_2, flash_attention_3, flash_attention_4, or "
        "FILE.py:FUNCTION",
    ),
    (
        "translate hello",
        "llmkit: error: translator translates en to de, de to en: give the language with --to",
    ),
    (
        "translate hello --from en --to xx",
        "llmkit: error: --to xx: no such language; give a code such as de, deu or zh-Hant, or a name",
    ),
    (
        "qa --question Who",
        "llmkit: error: no context: give it with --context FILE, or give it on stdin",
    ),
    (
        "summarize text.txt --ratio 2",
        "llmkit: error: --ratio must be above 0 and below 1: it is a share of the text's words",
    ),
    (
        "summarize text.txt --window 100",
        "llmkit: error: --window: applies only to a model; give one with -m/--model (see `llmkit models`)",
    ),
    (
        "summarize rows.jsonl",
        "llmkit: error: rows.jsonl: a file of rows; read it with --input",
    ),
    (
        "eval scored.jsonl",
        "llmkit: error: --metric must name a metric, such as bleu or perplexity (see --help)",
    ),
    (
        "eval --metric blue scored.jsonl",
        "llmkit: error: no such metric: 'blue'; did you mean bleu?",
    ),
    (
        "eval --metric bleu scored.jsonl --window 3",
        "llmkit: error: --window needs a --metric that runs a model over texts: perplexity, "
        "multiple_choice, minimal_pairs",
    ),
    (
        "pretrain text.txt",
        "llmkit: error: --output is missing: give the model's folder",
    ),
    (
        "pretrain text.txt -o model --arch lama",
        "llmkit: error: --arch must be one of llama, qwen3, gpt2, bert, roformer, t5, bart, not 'lama'",
    ),
    (
        "finetune scored.jsonl --dry-run",
        "llmkit: error: scored.jsonl:1: its columns are prediction, reference, which fit no "
        "objective; give them with --map and the roles text, messages, prompt and completion, or "
        "source and target",
    ),
    (
        "finetune rows.jsonl --lr 0 --dry-run",
        "llmkit: error: --lr must be above 0, not 0.0",
    ),
    (
        "kernels lost",
        "llmkit: error: use `llmkit kernels list`, `kernels verify NAME` or `kernels bench [NAME ...]`",
    ),
    (
        "models show nosuch",
        "llmkit: error: nosuch is not in the cache; `llmkit models` lists what is on this machine",
    ),
    (
        "summarize --input rows.jsonl --on-error skip",
        "llmkit: 1 of 2 rows failed",
    ),
    (
        "generate x --max-new-tokens 1 --seed 3 -o new.jsonl",
        "llmkit: 1 row in new.jsonl",
    ),
]


def fill(folder: Path) -> None:
    """Write the files that the commands name."""
    (folder / "rows.jsonl").write_text('{"prompt": "a"}\n{"other": 1}\n')
    (folder / "broken.jsonl").write_text("no JSON\n")
    (folder / "scored.jsonl").write_text(json.dumps({"prediction": "a cat", "reference": "a cat"}) + "\n")
    (folder / "text.txt").write_text("A text. It is short.")
    (folder / "done.jsonl").touch()


@pytest.mark.parametrize(("command", "line"), MESSAGES, ids=[command for command, _ in MESSAGES])
def test_a_message_reads(command: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    shown = run(*shlex.split(command)).err.splitlines()[-1]
    assert shown == line.replace("FOLDER", str(tmp_path))
