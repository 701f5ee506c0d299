"""`llmkit eval --benchmark`: the harness's tasks on our model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common import console, options
from llmkit.cli.common.options import flag
from llmkit.errors import InputError

if TYPE_CHECKING:
    from llmkit.evaluation import Evaluation


@dataclass
class BenchmarkFlags:
    """Which benchmarks, and how."""

    benchmark: Annotated[
        str | None,
        flag("--benchmark", metavar="NAME,...", help="Tasks of lm-evaluation-harness, such as arc_easy."),
    ] = None
    benchmark_folder: Annotated[
        Path | None,
        flag("--benchmark-folder", metavar="DIR", help="More tasks, as the harness's YAML files."),
    ] = None
    shots: Annotated[
        int | None, flag("--shots", help="Solved examples in each prompt (the task's own number).")
    ] = None
    limit: Annotated[
        int | None, flag("--limit", metavar="N", help="Only the first N samples of each benchmark.")
    ] = None
    chat_prompts: Annotated[
        bool, flag("--chat-prompts", help="Put the prompts into the model's chat template.")
    ] = False


def benchmark(
    flags: BenchmarkFlags,
    model: options.ModelFlags,
    *,
    batch_size: int | None,
    confidence: float,
    resamples: int,
) -> Evaluation:
    """Run the benchmarks that were named.

    Raises:
        InputError, LLMKitError: as `load` and `run_benchmarks`.
    """
    import importlib.util

    from llmkit.cli.common.loading import load_model
    from llmkit.evaluation.harness import run_benchmarks

    if importlib.util.find_spec("lm_eval") is None:  # before a model is loaded
        raise InputError("--benchmark needs EleutherAI's harness: pip install 'llmkit[benchmarks]'")
    names = [name.strip() for name in (flags.benchmark or "").split(",") if name.strip()]
    if not names:
        raise InputError("--benchmark is empty: name tasks of the harness, such as arc_easy,hellaswag")
    for name in ("shots", "limit"):
        value = getattr(flags, name)
        if value is not None and value < (0 if name == "shots" else 1):
            raise InputError(f"--{name} is {value}: give a number from {0 if name == 'shots' else 1} up")
    if flags.benchmark_folder is not None and not flags.benchmark_folder.is_dir():
        raise InputError(f"--benchmark-folder {flags.benchmark_folder}: no such folder")
    loaded = load_model(model.spec(task="text-generation", verb="generate"))
    if flags.chat_prompts and not loaded.has_chat_template:
        raise InputError(f"--chat-prompts: {loaded.spec.name} has no chat template")
    console.notice(f"the harness runs {', '.join(names)}; what it prints is on stderr")
    return run_benchmarks(
        loaded,
        names,
        folder=flags.benchmark_folder,
        shots=flags.shots,
        limit=flags.limit,
        batch_size=batch_size,
        chat=flags.chat_prompts,
        confidence=confidence,
        resamples=resamples,
        seed=model.seed or 0,
    )
