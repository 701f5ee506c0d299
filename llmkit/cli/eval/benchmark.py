"""`llmkit eval --benchmark`: tasks of EleutherAI's harness on a model."""

from __future__ import annotations

from llmkit.cli.common import console
from llmkit.cli.eval.flags import BenchmarkFlags, Flags
from llmkit.cli.eval.report import report_scores
from llmkit.errors import InputError, OptionError


def run(flags: Flags) -> None:
    """Run the named benchmarks.

    Raises:
        InputError, LLMKitError: as `load` and `run_benchmarks`.
    """
    import importlib.util

    from llmkit.cli.common.loading import load_model
    from llmkit.evaluation.harness import run_benchmarks

    if flags.files:
        raise InputError(f"{flags.files[0]}: `benchmark` has its own texts; omit the file")
    if importlib.util.find_spec("lm_eval") is None:  # before a model is loaded
        raise OptionError("benchmark", "needs EleutherAI's harness: pip install 'llmkit[benchmarks]'")
    flags.model.refuse_cluster("does not apply to `benchmark`")
    benchmarks = flags.benchmarks
    names = checked(benchmarks, flags.reading.limit)
    loaded = load_model(flags.model.spec(task="text-generation", verb="generate"))
    if benchmarks.chat_prompts and not loaded.has_chat_template:
        raise OptionError("chat_prompts", f"needs a chat template, and {loaded.spec.name} has none")
    console.notice(f"the harness runs {', '.join(names)}; its messages are on stderr")
    evaluation = run_benchmarks(
        loaded,
        names,
        folder=benchmarks.benchmark_folder,
        shots=benchmarks.shots,
        limit=flags.reading.limit,
        batch_size=flags.batches.rows_per_batch(),
        chat=benchmarks.chat_prompts,
        confidence=flags.intervals.confidence,
        resamples=flags.intervals.resamples,
        seed=flags.model.seed or 0,
    )
    report_scores(evaluation, flags.report, ",".join(names))


def checked(flags: BenchmarkFlags, limit: int | None) -> list[str]:
    """Return the names of the benchmarks, after checking the options.

    Raises:
        OptionError: an option has a bad value.
    """
    names = [name.strip() for name in (flags.benchmark or "").split(",") if name.strip()]
    if not names:
        raise OptionError("benchmark", "must name tasks of the harness, such as arc_easy,hellaswag")
    for option, value, least in (("shots", flags.shots, 0), ("limit", limit, 1)):
        if value is not None and value < least:
            raise OptionError(option, f"must be {least} or more, not {value}")
    if flags.benchmark_folder is not None and not flags.benchmark_folder.is_dir():
        raise OptionError("benchmark_folder", f"is {flags.benchmark_folder}: no such folder")
    return names
