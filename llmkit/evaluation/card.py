"""Write scores into the `model-index` of a model card; the Hub shows them on the model's page.

Only the `model-index` block of the card's YAML header is rewritten; all other bytes of the file do not
change, including comments and order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmkit.errors import InputError, LLMKitError, OptionError
from llmkit.evaluation.results import Evaluation, Score
from llmkit.whole_file import write_whole

_HEADER = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r"^#[ \t]+(.+?)[ \t]*$", re.MULTILINE)
# From the key to the next key; the items of its list may have no indent.
_BLOCK = re.compile(r"^model-index[ \t]*:.*?(?=^[^\s#-]|\Z)", re.DOTALL | re.MULTILINE)


def check_card(path: Path) -> None:
    """Raise an InputError if there is no card at `path`, or its header is not YAML."""
    _read(path)


def update_card(path: Path, evaluation: Evaluation, *, dataset: str) -> list[str]:
    """Write the scores over all rows into a card; an existing metric gets the new value.

    Args:
        path: the card, a README.md.
        evaluation: the scores.
        dataset: name of the test set, or its id on the Hub.

    Returns:
        The names of scores that are infinite, such as a perplexity above 1e308. The card does not get them,
        because the Hub refuses such numbers.

    Raises:
        InputError: there is no card at `path`, or its header is not YAML.
    """
    text, header, data = _read(path)
    whole = [score for score in evaluation.scores if score.group is None]
    written = [score for score in whole if math.isfinite(score.score)]
    infinite = [score.name for score in whole if score not in written]
    if not written:
        return infinite
    index = data.get("model-index") or []
    if not isinstance(index, list) or not all(isinstance(model, dict) for model in index):
        raise InputError(f"{path}: its model-index is not a list of models")
    if not index:
        title = _TITLE.search(text)
        index = [{"name": title.group(1) if title else path.resolve().parent.name}]
    results = index[0].setdefault("results", [])
    for result in _results(index[0]["name"], written, evaluation.confidence, dataset):
        _merge(results, result)
    changed = _with_block(text, header, index)
    _, _, after = _parse(path, changed)
    if {**after, "model-index": None} != {**data, "model-index": None}:
        raise LLMKitError(f"{path}: the layout of its header cannot be edited; nothing was written")
    write_whole(path, changed)
    return infinite


def _read(path: Path) -> tuple[str, re.Match[str] | None, dict[str, Any]]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        raise OptionError("card", f"must name the README.md of a model; {path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
    return _parse(path, text)


def _parse(path: Path, text: str) -> tuple[str, re.Match[str] | None, dict[str, Any]]:
    import yaml

    header = _HEADER.match(text)
    try:
        data = yaml.safe_load(header.group(1)) if header else None
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: the header between the --- lines is not YAML: {error}") from error
    if not isinstance(data, dict | None):
        raise InputError(f"{path}: the header between the --- lines is not a YAML mapping")
    return text, header, data or {}


def _results(model: str, scores: Sequence[Score], confidence: float, dataset: str) -> list[dict[str, Any]]:
    """Return the scores in the Hub's layout."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    results = [
        EvalResult(
            task_type=score.task,
            dataset_type=dataset,
            dataset_name=dataset,
            metric_type=score.metric,
            metric_name=score.name,
            metric_value=round(score.score, 4),
            metric_args={
                "signature": score.signature,
                "rows": score.rows,
                **(
                    {
                        "interval": [round(score.low, 4), round(score.high, 4)],
                        "confidence": confidence,
                    }
                    if score.low is not None and score.high is not None and math.isfinite(score.high)
                    else {}
                ),
            },
        )
        for score in scores
    ]
    found: list[dict[str, Any]] = eval_results_to_model_index(model, results)[0]["results"]
    return found


def _merge(results: list[dict[str, Any]], new: dict[str, Any]) -> None:
    """Put the metrics of a result into the entry for the same task and test set, or add the result."""
    for result in results:
        same_task = result.get("task", {}).get("type") == new["task"]["type"]
        if same_task and result.get("dataset", {}).get("name") == new["dataset"]["name"]:
            break
    else:
        results.append(new)
        return
    metrics = result.setdefault("metrics", [])
    for metric in new["metrics"]:
        key = (metric["type"], metric["name"])
        same = [i for i, old in enumerate(metrics) if (old.get("type"), old.get("name")) == key]
        if same:
            metrics[same[0]] = metric
        else:
            metrics.append(metric)


def _with_block(text: str, header: re.Match[str] | None, index: list[dict[str, Any]]) -> str:
    import yaml

    newline = "\r\n" if "\r\n" in text else "\n"
    block = yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True)
    block = block.replace("\n", newline)
    if header is None:
        return f"---{newline}{block}---{newline}{text}"
    content = header.group(1)
    old = _BLOCK.search(content)
    if old is not None:
        content = content[: old.start()] + block + content[old.end() :]
    else:
        content += block
    return text[: header.start(1)] + content + text[header.end(1) :]
