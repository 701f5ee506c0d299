"""Time OpenVINO GenAI. A standalone program: it needs openvino-genai, not llmkit.

    python openvino_speed.py '{"model": FILE, "threads": N}'

It reads and writes the lines of `llama_cpp_speed`. The first token's time includes the prompt's.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main(job: dict[str, Any]) -> None:
    """Answer lines until there are no more."""
    import numpy as np
    import openvino
    import openvino_genai

    pipeline = openvino_genai.LLMPipeline(job["model"], "CPU", INFERENCE_NUM_THREADS=job["threads"])
    say({"version": openvino_genai.__version__})
    for line in sys.stdin:
        run = json.loads(line)
        started = time.perf_counter()
        firsts: list[float] = []
        lasts: list[float] = []
        for ids, count in zip(run["prompts"], run["new_tokens"], strict=True):
            config = openvino_genai.GenerationConfig()
            config.max_new_tokens, config.ignore_eos, config.do_sample = count, True, False
            begun = time.perf_counter()
            found = pipeline.generate(openvino.Tensor(np.array([ids], dtype=np.int64)), config)
            lasts.append(time.perf_counter())
            if len(found.tokens[0]) != count:
                sys.exit(f"{len(found.tokens[0])} tokens in place of {count}")
            firsts.append(begun + found.perf_metrics.get_ttft().mean / 1000)  # milliseconds
        say(
            {
                "first": firsts[0] - started,
                "later": lasts[0] - firsts[0],
                "seconds": time.perf_counter() - started,
            }
        )


def say(answer: dict[str, Any]) -> None:
    """Write a line of JSON."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
