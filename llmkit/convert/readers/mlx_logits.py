"""Logits of mlx-lm for some texts. A standalone program: it needs mlx-lm and numpy, not llmkit.

    python mlx_logits.py JOB.json

The job names the model's folder, a folder for results, the texts (none for a model without a tokenizer),
rows of token ids, prompts to continue, and precisions: ``stored``, the type of the folder's weights, or
``float32``, to which they are converted. For precision P and row i it writes ``P-i.npz`` with the `ids` that
mlx-lm's tokenizer gives for text i, `logits` (tokens, vocabulary) of the row in float32, and `following`: the
next `greedy` ids after prompt i by greedy decoding with mlx-lm's cache.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(job: dict[str, Any]) -> None:
    """Run one job."""
    import mlx.core as mx
    import numpy as np
    from mlx_lm.models.cache import make_prompt_cache
    from mlx_lm.utils import load_model, load_tokenizer

    folder = Path(job["model"])
    model, _ = load_model(folder)
    tokenizer = load_tokenizer(folder) if job["texts"] else None

    def logits_of(ids: list[int], cache: Any = None) -> Any:
        return np.array(model(mx.array([ids]), cache=cache)[0].astype(mx.float32))

    for precision in job["precisions"]:
        if precision == "float32":
            model.set_dtype(mx.float32)
        for i, (row, prompt) in enumerate(zip(job["rows"], job["prompts"], strict=True)):
            logits, cache = logits_of(row), make_prompt_cache(model)
            following: list[int] = []
            ids = prompt
            while len(following) < job["greedy"]:
                following.append(int(logits_of(ids, cache)[-1].argmax()))
                ids = following[-1:]
            own = tokenizer.encode(job["texts"][i]) if tokenizer is not None else []
            answer: dict[str, Any] = {
                "ids": np.array(own),
                "logits": logits,
                "following": np.array(following),
            }
            np.savez(Path(job["folder"]) / f"{precision}-{i}.npz", **answer)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
