"""Time llama.cpp. A standalone program: it needs llama-cpp-python, not llmkit.

    python llama_cpp_speed.py '{"model": FILE, "threads": N, "context": N}'

It reads a line of JSON for each run, ``{"prompts": [[token id, ...], ...], "new_tokens": [N, ...]}``, answers
the prompts one at a time, greedily, and writes a line: `first` and `later` (seconds to the first token
of the first prompt, and from there to its last) and `seconds` (of all).
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main(job: dict[str, Any]) -> None:
    """Answer lines until there are no more."""
    import llama_cpp

    model = llama_cpp.Llama(
        model_path=job["model"],
        n_ctx=job["context"],
        n_threads=job["threads"],
        n_threads_batch=job["threads"],
        n_gpu_layers=0,
        verbose=False,
    )
    say({"version": llama_cpp.__version__})
    for line in sys.stdin:
        run = json.loads(line)
        started = time.perf_counter()
        marks: list[float] = []
        for ids, count in zip(run["prompts"], run["new_tokens"], strict=True):
            model.reset()  # forgets the prompt before
            tokens = model.generate(ids, top_k=1, temp=0.0, repeat_penalty=1.0)
            for _ in range(count):
                next(tokens)
                marks.append(time.perf_counter())
        last = marks[run["new_tokens"][0] - 1]
        say({"first": marks[0] - started, "later": last - marks[0], "seconds": marks[-1] - started})


def say(answer: dict[str, Any]) -> None:
    """Write a line of JSON."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
