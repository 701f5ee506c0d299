"""Benchmarks of EleutherAI's lm-evaluation-harness, on a model that we loaded and placed.

The harness brings its tasks and prompts; the model, its device, precision and attention are ours, and so are
the intervals wherever a score is a mean over samples.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError
from llmkit.evaluation.likelihood.perplexity import signature
from llmkit.evaluation.metric import Example, Metric, means
from llmkit.evaluation.scoring import Evaluation, Score
from llmkit.evaluation.scoring import score as score_rows

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
        names: of the harness's tasks and groups.
        folder: further tasks, as the harness's YAML files.
        shots: examples in each prompt; None is the task's own number.
        limit: of each task's samples, the first so many.
        batch_size: None is the harness's automatic one on a GPU, and 16 on a CPU.
        chat: prompts are put into the model's chat template.
        confidence: of the intervals.
        resamples: bootstrap samples.
        seed: of the samples, and of the examples in the prompts.

    Raises:
        InputError: the harness is not installed, or there is no such task.
        LLMKitError: a task's data could not be had, or the harness failed.
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
    """What `simple_evaluate` gives for our model: results, samples, versions and shots, by task."""
    try:
        import lm_eval
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise InputError(
            f"--benchmark needs EleutherAI's harness: pip install 'llmkit[benchmarks]' ({error})"
        ) from error

    with contextlib.redirect_stdout(sys.stderr):  # what the harness prints is no result of ours
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
            # Data sets, templates and metrics of the harness fail in ways of their own; `--debug` shows them.
            text = " ".join(str(error).split())[:300]
            raise LLMKitError(f"the harness failed on {', '.join(names)}: {text}") from error
    return found


def _version() -> str:
    from importlib.metadata import version

    return version("lm_eval")


def _check_names(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "--benchmark-folder names a folder with more"
            raise InputError(f"no such benchmark: {name!r}; {hint}")


def _scores(
    task: str,
    results: Mapping[str, Any],
    samples: Sequence[Mapping[str, Any]],
    about: str,
    confidence: float,
    resamples: int,
    seed: int,
) -> list[Score]:
    """A task's scores, with intervals where a score is the mean over its samples."""
    values: dict[str, float] = {}
    for key, value in results.items():
        name, _, kept = key.partition(",")
        if isinstance(value, float | int) and kept and not name.endswith("_stderr"):
            values[name if kept == "none" else f"{name} ({kept})"] = float(value)
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
        )
        for name, value in values.items()
    ]


def _is_mean(name: str, value: float, samples: Sequence[Mapping[str, Any]]) -> bool:
    numbers = [sample.get(name) for sample in samples]
    if not numbers or not all(isinstance(number, bool | int | float) for number in numbers):
        return False
    return math.isclose(math.fsum(map(float, numbers)) / len(numbers), value, rel_tol=1e-9, abs_tol=1e-12)  # type: ignore[arg-type]
