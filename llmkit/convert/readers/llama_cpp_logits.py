"""Logits of llama.cpp for some texts. A standalone program: it needs llama-cpp-python and numpy, not llmkit.

    python llama_cpp_logits.py JOB.json

The job names the model's file, a folder for results, the texts, and the number of tokens of each to use. For
text i it writes ``i.npz`` with `ids` (tokens,), `logits` (tokens, vocabulary) in float32, and `following`:
the next `greedy` ids by greedy decoding.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(job: dict[str, Any]) -> None:
    """Run one job."""
    import llama_cpp
    import numpy as np

    model = llama_cpp.Llama(
        model_path=job["model"],
        n_ctx=job["tokens"] + job.get("greedy", 0) + 8,
        logits_all=True,
        verbose=False,
        n_gpu_layers=0,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
    )
    for i, text in enumerate(job["texts"]):
        ids = model.tokenize(text.encode("utf-8"), add_bos=True, special=True)[: job["tokens"]]
        model.reset()
        model.eval(ids)
        logits = np.array(model.scores[: len(ids)], dtype=np.float32)
        following: list[int] = []
        while len(following) < job.get("greedy", 0):
            following.append(int(np.argmax(model.scores[model.n_tokens - 1])))
            model.eval(following[-1:])
        answer = {"ids": np.array(ids), "logits": logits, "following": np.array(following, dtype=np.int64)}
        np.savez(Path(job["folder"]) / f"{i}.npz", **answer)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
