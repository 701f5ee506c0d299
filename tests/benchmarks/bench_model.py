"""The tables of decoding and prefill in docs/speed.md, by `llmkit bench`.

LLMKIT_BENCH_MODEL names the model (a bundled one without it), LLMKIT_LLAMA_PYTHON a Python that has
llama-cpp-python, which then takes turns with llmkit.
"""

from __future__ import annotations

import os
import subprocess
import sys


def main() -> None:
    """Print a Markdown table for each precision and number of threads, and one for a batch."""
    model = os.environ.get("LLMKIT_BENCH_MODEL", "stories")
    python = os.environ.get("LLMKIT_LLAMA_PYTHON")
    peers = ["--compare", "llama.cpp", "--peer-python", python] if python else []
    tokens = ["--prompt-tokens", "512", "--new-tokens", "48", "--batch", "1"]
    if model == "stories":
        tokens = ["--prompt-tokens", "128", "--new-tokens", "48", "--batch", "1"]  # its context is short
    for threads in sorted({1, min(2, os.cpu_count() or 1)}):
        for quantize in ([], ["--quantize", "int8"], ["--quantize", "int4"]):
            _bench(model, [*tokens, "--threads", str(threads), *quantize, *peers])
    mixed = ["--prompt-tokens", "128", "--new-tokens", "64", "--batch", "32", "--mixed"]
    _bench(model, [*mixed, "--compare", "pipeline,generate_batch"])


def _bench(model: str, arguments: list[str]) -> None:
    command = ["bench", "-m", model, "--dtype", "bfloat16", "--repeats", "3", *arguments]
    print(f"\nllmkit {' '.join(command)}\n", flush=True)
    subprocess.run([sys.executable, "-m", "llmkit", *command, "--markdown"], check=True)
