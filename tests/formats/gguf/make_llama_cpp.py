"""Let llama.cpp read the files that llmkit writes, and keep what it answered, as JSON.

Rerun, from the repository's root, when what is written changes; llama-cpp-python gets its own environment:

    python3 -m venv /tmp/llama && /tmp/llama/bin/pip install llama-cpp-python==0.3.36
    python -m tests.formats.gguf.make_llama_cpp /tmp/llama/bin/python

For each model it keeps a checksum of the file, and how far llama.cpp's logits are from transformers'. For
each rule by which byte-level vocabularies cut a text, it keeps llama.cpp's token ids of the probe text.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llmkit.convert.reader_process import run_reader
from llmkit.formats.gguf.pre_tokenizers import RULES
from llmkit.formats.gguf.tokenizer_write import PROBE
from tests.formats.gguf.models import (
    MODELS,
    VOCABULARY,
    checksum,
    make,
    wide_vocabulary,
    without_marks,
    write,
)

HERE = Path(__file__).parent
TEXTS = [
    "Once upon a time there was a little dog who lived in a big house by the sea. 12345",
    "The cat sat — Schöne Grüße!",
]


def ask(python: str, file: Path, texts: list[str], tokens: int = 200) -> list[tuple[list[int], np.ndarray]]:
    """Token ids and logits by llama.cpp for each text."""
    with tempfile.TemporaryDirectory() as folder:
        job = {"model": str(file), "folder": folder, "texts": texts, "tokens": tokens}
        run_reader("llama_cpp_logits.py", job, python, folder)
        answers = [np.load(Path(folder) / f"{i}.npz") for i in range(len(texts))]
        return [(answer["ids"].tolist(), answer["logits"]) for answer in answers]


def difference(python: str, name: str, folder: Path) -> dict[str, Any]:
    """The largest difference between llama.cpp's logits and transformers'."""
    file = folder / f"{name}.gguf"
    model = write(name, file)
    kept: dict[str, Any] = {"crc": checksum(file)}
    if model.config.is_encoder_decoder:
        return kept  # llama-cpp-python runs none
    largest = 0.0
    for text, (ids, logits) in zip(TEXTS, ask(python, file, TEXTS), strict=True):
        assert ids == VOCABULARY(text)["input_ids"]
        with torch.no_grad():
            wanted = model(torch.tensor([ids])).logits[0]
        largest = max(largest, float((wanted - torch.from_numpy(logits)).abs().max()))
    return kept | {"difference": largest}


def cut(python: str, rule: str, folder: Path) -> list[int]:
    """llama.cpp's ids for the probe text under a rule."""
    from llmkit.formats.gguf import tokenizer_write
    from llmkit.formats.gguf.write import write_gguf

    vocabulary = wide_vocabulary(without_marks(PROBE))
    model = make("llama-tied", vocab_size=len(vocabulary))
    file = folder / "rule.gguf"
    original = tokenizer_write.rule_of
    tokenizer_write.rule_of = lambda backend, ignore_merges: rule
    try:
        write_gguf(
            file,
            config=model.config,
            tensors=model.state_dict(),
            tokenizer=vocabulary,
            kind="F16",
            ends=[1],
            general={"name": "tiny"},
        )
    finally:
        tokenizer_write.rule_of = original
    return ids_only(python, file)


def ids_only(python: str, file: Path) -> list[int]:
    """llama.cpp's ids of the whole probe text."""
    import subprocess

    program = (
        "import sys, json, llama_cpp\n"
        "m = llama_cpp.Llama(model_path=sys.argv[1], vocab_only=True, verbose=False)\n"
        "print(json.dumps(m.tokenize(sys.stdin.buffer.read(), add_bos=True, special=True)))"
    )
    done = subprocess.run(
        [python, "-c", program, str(file)], input=without_marks(PROBE).encode(), capture_output=True
    )
    return json.loads(done.stdout.decode().splitlines()[-1])


def main(python: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kept = {
            "models": {model: difference(python, model, folder) for model in MODELS},
            "rules": {rule: cut(python, rule, folder) for rule in RULES},
        }
    text = json.dumps(kept, indent=1)
    # One line for each list of ids.
    import re

    text = re.sub(r"\[\s+([\d,\s]+?)\s+\]", lambda m: "[" + re.sub(r"\s+", "", m[1]) + "]", text)
    (HERE / "llama_cpp.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
