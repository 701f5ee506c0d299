"""lm-evaluation-harness on a model by its own means: transformers, and no line of llmkit.

    PYTHON harness_program.py < REQUEST

PYTHON has lm-eval. The request is a JSON object: `model` (a folder), `window` (tokens), `threads`, and
`tasks`, by name: `include` (a task of the harness), `split` and `file` (its data). Prints one JSON object:
for each task the log-likelihoods of its samples in float32, and its scores.
"""

import contextlib
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any


def run(request: dict[str, Any], folder: str) -> dict[str, Any]:
    """Run the tasks; their descriptions go to `folder`."""
    import lm_eval
    import torch
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    torch.set_num_threads(request["threads"])
    names = list(request["tasks"])
    for name, task in request["tasks"].items():
        described = {
            "include": str(Path(lm_eval.__file__).parent / "tasks" / task["include"]),
            "task": name,
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {task["split"]: task["file"]}},
            **{f"{one}_split": one if one == task["split"] else None for one in SPLITS},
        }
        (Path(folder) / f"{name}.yaml").write_text(json.dumps(described))  # JSON is YAML
    found = lm_eval.simple_evaluate(
        model=HFLM(
            request["model"], device="cpu", dtype="float32", max_length=request["window"], batch_size=8
        ),
        tasks=names,
        task_manager=TaskManager(include_path=folder, include_defaults=False),
        bootstrap_iters=0,
    )
    return {name: summary(found["results"][name], found["samples"][name]) for name in names}


SPLITS = ("training", "validation", "test")


def summary(results: dict[str, Any], samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is compared: scores, log-likelihoods in the order of the rows, and texts."""
    from lm_eval.api.metrics import bits_per_byte, weighted_perplexity

    samples = sorted(samples, key=lambda one: one["doc_id"])
    scores = {key.partition(",")[0]: value for key, value in results.items() if key.endswith(",none")}
    answer: dict[str, Any] = {"scores": scores, "rows": [one["filtered_resps"] for one in samples]}
    if "bits_per_byte" in scores:  # the task counts words and bytes of the page before it was detokenized
        texts = [one["target"] for one in samples]
        totals = [one["resps"][0] for one in samples]
        totals = [one[0] if isinstance(one, list) else one for one in totals]
        sizes = [len(text.encode()) for text in texts]
        words = [len(re.split(r"\s+", text.strip())) for text in texts]
        answer |= {
            "texts": texts,
            "rows": totals,
            "of_texts": {
                "bits_per_byte": bits_per_byte(list(zip(totals, sizes, strict=True))),
                "byte_perplexity": weighted_perplexity(list(zip(totals, sizes, strict=True))),
                "word_perplexity": weighted_perplexity(list(zip(totals, words, strict=True))),
            },
        }
    return answer


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as tasks:
        answer = run(json.load(sys.stdin), tasks)
    print(json.dumps(answer))
