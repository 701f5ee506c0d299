"""Benchmarks of EleutherAI's lm-evaluation-harness on a model loaded by llmkit.

The harness provides tasks and prompts. llmkit provides the model with its device, precision and attention,
and the intervals of scores that are means over samples.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError, did_you_mean, one_line
from llmkit.evaluation.likelihood.perplexity import signature
from llmkit.evaluation.metric import Example, Metric, means
from llmkit.evaluation.results import Evaluation, Score
from llmkit.evaluation.scoring import score_rows

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel

_CPU_BATCH = 16


def run_benchmarks(
    loaded: LoadedModel,
    names: Sequence[str],
    *,
    folder: Path | None = None,
    shots: int | None = None,
    limit: int | None = None,
    batch_size: int | None = None,
    chat: bool = False,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Run benchmarks.

    Args:
        loaded: the model.
        names: names of tasks and groups of the harness.
        folder: folder with further tasks, as YAML files of the harness.
        shots: solved examples in each prompt; None is the task's own number.
        limit: number of samples of each task, the first ones; None is all.
        batch_size: samples in a batch; None is the harness's automatic size on a GPU, and 16 on a CPU.
        chat: put the prompts into the model's chat template.
        confidence: confidence of the intervals.
        resamples: number of bootstrap samples.
        seed: seed of the samples, and of the examples in the prompts.

    Raises:
        InputError: the harness is not installed, or there is no such task.
        LLMKitError: the data of a task could not be loaded, or the harness failed.
    """
    found = _run_harness(loaded, names, folder, shots, limit, batch_size, chat, seed)
    about = f"lm_eval:{_version()}" + (f"|limit:{limit}" if limit is not None else "")
    about += "|chat:yes" if chat else ""
    scores = [
        one
        for task, results in found["results"].items()
        for one in _scores(
            task,
            results,
            found["samples"].get(task, []),
            signature(
                loaded,
                f"task-version:{found['versions'].get(task)}|shots:{found['n-shot'].get(task)}|{about}",
            ),
            confidence,
            resamples,
            seed,
        )
    ]
    rows = sum(len(samples) for samples in found["samples"].values())
    return Evaluation(rows, scores, confidence, resamples, seed)


def _run_harness(
    loaded: LoadedModel,
    names: Sequence[str],
    folder: Path | None,
    shots: int | None,
    limit: int | None,
    batch_size: int | None,
    chat: bool,
    seed: int,
) -> Mapping[str, Any]:
    """Return the result of `simple_evaluate`: results, samples, versions and shots, by task."""
    try:
        import lm_eval
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise InputError(
            f"`benchmark` needs EleutherAI's harness: pip install 'llmkit[benchmarks]' ({error})"
        ) from error

    with contextlib.redirect_stdout(sys.stderr):  # stdout is for results, but the harness prints to it
        manager = TaskManager(include_path=folder, verbosity="ERROR")
        _check_names(names, manager.all_tasks)
        automatic = "auto" if loaded.device.type == "cuda" else _CPU_BATCH
        model = HFLM(
            pretrained=loaded.model,
            tokenizer=loaded.tokenizer,
            max_length=loaded.context_length,
            batch_size=batch_size or automatic,
            backend="seq2seq" if loaded.is_encoder_decoder else "causal",
        )
        try:
            found: Mapping[str, Any] = lm_eval.simple_evaluate(
                model=model,
                tasks=list(names),
                num_fewshot=shots,
                limit=limit,
                task_manager=manager,
                apply_chat_template=chat,
                bootstrap_iters=0,
                random_seed=seed,
                numpy_random_seed=seed,
                torch_random_seed=seed,
                fewshot_random_seed=seed,
                verbosity="ERROR",
            )
        except Exception as error:
            # Data sets, templates and metrics of the harness may raise any exception.
            raise LLMKitError(f"the harness failed on {', '.join(names)}: {one_line(error)}") from error
    return found


def _version() -> str:
    from importlib.metadata import version

    return version("lm_eval")


def _check_names(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or "; `benchmark_folder` names a folder with more"
            raise InputError(f"no such benchmark: {name!r}{hint}")


def _scores(
    task: str,
    results: Mapping[str, Any],
    samples: Sequence[Mapping[str, Any]],
    about: str,
    confidence: float,
    resamples: int,
    seed: int,
) -> list[Score]:
    """Return the scores of a task, with intervals if a score is the mean over its samples."""
    values: dict[str, float] = {}
    for key, value in results.items():
        name, _, selection = key.partition(",")  # such as "acc,none"
        if isinstance(value, float | int) and selection and not name.endswith("_stderr"):
            values[name if selection == "none" else f"{name} ({selection})"] = float(value)
    averaged = [name for name, value in values.items() if _is_mean(name, value, samples)]
    spread: dict[str, Score] = {}
    if averaged:
        metric = Metric(
            name=task,
            scores=tuple(averaged),
            signature=about,
            statistics=lambda example: [*(float(example.data[name]) for name in averaged), 1.0],
            corpus=means,
            needs_references=False,
            shares={name: len(averaged) for name in averaged if _is_share(name, samples)},
        )
        rows = [Example("", (), dict(sample), f"{task}:{n}") for n, sample in enumerate(samples, 1)]
        drawn = score_rows([metric], rows, confidence=confidence, resamples=resamples, seed=seed)
        spread = {one.name: one for one in drawn.scores}
    return [
        Score(
            name=f"{task} {name}",
            score=value,
            low=spread[name].low if name in spread else None,
            high=spread[name].high if name in spread else None,
            rows=len(samples),
            metric=task,
            signature=about,
            scale=1 if name in spread else None,
            interval=spread[name].interval if name in spread else None,
        )
        for name, value in values.items()
    ]


def _is_mean(name: str, value: float, samples: Sequence[Mapping[str, Any]]) -> bool:
    numbers = [sample.get(name) for sample in samples]
    if not numbers or not all(isinstance(number, bool | int | float) for number in numbers):
        return False
    return math.isclose(math.fsum(map(float, numbers)) / len(numbers), value, rel_tol=1e-9, abs_tol=1e-12)  # type: ignore[arg-type]


def _is_share(name: str, samples: Sequence[Mapping[str, Any]]) -> bool:
    """Return True if each sample's score is 0 or 1, so that the mean is a share."""
    return all(float(sample[name]) in (0.0, 1.0) for sample in samples)
