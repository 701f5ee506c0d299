"""`llmkit eval A B ...`: several systems in one table; paired tests mark the best."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from llmkit.cli.common import console, progress
from llmkit.cli.eval.flags import Flags
from llmkit.cli.eval.predictions import chosen_metrics, examples, sample_of
from llmkit.cli.eval.report import stem, write_scores
from llmkit.cli.eval.work import configured, counted
from llmkit.errors import InputError, OptionError


def run(flags: Flags) -> None:
    """Score several files of predictions for the same rows.

    Raises:
        InputError: bad usage, bad rows, or files of different rows.
    """
    from llmkit.evaluation import tables
    from llmkit.evaluation.report import few_rows
    from llmkit.evaluation.systems import score_systems

    for option in ("bare", "card"):
        if getattr(flags.report, option):
            raise OptionError(option, "applies to a single file of predictions")
    first, *others = flags.files
    rows = examples(first, flags)
    sample = sample_of(rows, flags)
    ours, modules = chosen_metrics(flags, first, sample)
    if modules:
        raise OptionError("metric", f"has {modules[0]}, which gives no scores of single rows to compare")
    metrics = configured(ours, flags, sample, language=flags.target.to)
    with progress.Progress("eval") as bar:
        systems = score_systems(
            metrics,
            dict(
                zip(
                    names_of(flags.files),
                    [counted(itertools.chain(sample, rows), bar), *(examples(one, flags) for one in others)],
                    strict=True,
                )
            ),
            confidence=flags.intervals.confidence,
            resamples=flags.intervals.resamples,
            seed=flags.model.seed or 0,
        )
    text = json.dumps(systems.as_json(), ensure_ascii=False, indent=2, allow_nan=False)
    if flags.report.output is not None:
        write_scores(flags.report.output, text, tables.flat(systems.evaluations, systems))
        console.notice(f"the scores are in {flags.report.output}")
    if (doubt := few_rows(next(iter(systems.evaluations.values())), compared=True)) is not None:
        console.notice(doubt)
    print(text if flags.report.json else tables.of_systems(systems, flags.report.table or "text"))


def names_of(files: list[str]) -> list[str]:
    """Return a name per system: the file name without folder and suffix, or the path if two are equal.

    Raises:
        InputError: a file is given twice.
    """
    seen: set[Path] = set()
    for file in files:
        if Path(file).resolve() in seen:
            raise InputError(f"{file} was given twice")
        seen.add(Path(file).resolve())
    names = [stem(file) for file in files]
    return names if len(set(names)) == len(names) else files
