"""Peak memory of `llmkit generate` beside that of its weights, its cache and `import torch`.

``LLMKIT_MEMORY_MODEL=FOLDER python -m tests.benchmarks memory``; without it, the embedded model is measured.
A busy machine gives the same numbers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

MODEL = os.environ.get("LLMKIT_MEMORY_MODEL", "stories")
PROMPT, NEW_TOKENS = "Tell me about the sea.", 32
WAYS = {
    "bfloat16": ["--dtype", "bfloat16"],
    "int8": ["--dtype", "bfloat16", "--quantize", "int8"],
    "int4": ["--dtype", "bfloat16", "--quantize", "int4"],
}
SIZES = """
import json, sys
from llmkit import ModelSpec, load
from llmkit.linear.quantize import size_of
from llmkit.runtime.estimate.cache import token_bytes
quantize = None if sys.argv[2] == "bfloat16" else sys.argv[2]
loaded = load(ModelSpec(sys.argv[1], dtype="bfloat16", quantize=quantize))
chat = loaded.has_chat_template
turn = [{"role": "user", "content": sys.argv[3]}]
text = loaded.tokenizer.apply_chat_template(turn, tokenize=False) if chat else sys.argv[3]
tokens = len(loaded.tokenizer(text)["input_ids"]) + int(sys.argv[4])
print(json.dumps([size_of(loaded.model), tokens * token_bytes(loaded.model.config, loaded.dtype)]))
"""


def peak(command: Sequence[str]) -> float:
    """Return the most memory that a command took, in MB."""
    null = os.open(os.devnull, os.O_WRONLY)
    to = [(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
    process = os.posix_spawnp(command[0], list(command), os.environ, file_actions=to)
    _, status, usage = os.wait4(process, 0)
    os.close(null)
    assert os.waitstatus_to_exitcode(status) == 0, command
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def main() -> None:
    """Print a row for each way to store the weights."""
    torch = peak([sys.executable, "-c", "import torch"])
    print(f"\nMemory of {MODEL}, MB (goal 1.25); import torch: {torch:.0f}")
    generate = [sys.executable, "-m", "llmkit", "generate", PROMPT, "-m", MODEL]
    for name, options in WAYS.items():
        sizes = [sys.executable, "-c", SIZES, MODEL, name, PROMPT, str(NEW_TOKENS)]
        told = subprocess.run(sizes, capture_output=True, text=True, check=True).stdout
        weights, cache = (size / 1e6 for size in json.loads(told))
        most = peak([*generate, *options, "--max-new-tokens", str(NEW_TOKENS)])
        ratio = most / (weights + cache + torch)
        print(f"  {name:<10} weights {weights:>6.0f}  cache {cache:>4.1f}  peak {most:>6.0f}  x{ratio:.2f}")
