"""Print the scores of `llmkit eval`, and write its files."""

from __future__ import annotations

import json as json_module
import math
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from llmkit.cli.common import console
from llmkit.cli.eval.report_flags import ReportFlags
from llmkit.whole_file import whole_file, write_whole

if TYPE_CHECKING:
    from llmkit.evaluation import Evaluation, Example


def report_scores(evaluation: Evaluation, flags: ReportFlags, source: str) -> None:
    """Write `--output` and `--card`, then print the scores.

    Args:
        evaluation: the scores.
        flags: form and files of the scores.
        source: name of the input, for the name of the test set.
    """
    from llmkit.evaluation import report, tables

    text = json_module.dumps(report.as_json(evaluation), ensure_ascii=False, indent=2, allow_nan=False)
    # Files first: a closed stdout (`| head`) must not cost them.
    if flags.output is not None:
        write_whole(flags.output, text + "\n")
        console.notice(f"{len(evaluation.scores)} scores in {flags.output}")
    if flags.card is not None:
        from llmkit.evaluation.card import update_card

        update_card(flags.card, evaluation, dataset=flags.dataset or stem(source))
        console.notice(f"{flags.card} has the scores in its model-index")
    if flags.json:
        print(text)
    elif flags.bare:
        print(report.as_bare(evaluation))
    else:
        print(tables.of_scores(evaluation, flags.table or "text"))


def stem(source: str) -> str:
    """Return a name for a test set: the name of its file without folder and suffixes."""
    if source.startswith("hf:"):
        return source.removeprefix("hf:").split(":")[0]
    return "stdin" if source == "-" else Path(source).name.split(".")[0]


class PerRecord:
    """The file of `--per-record`: each row with its scores. It appears when all rows were scored."""

    def __init__(self, path: Path) -> None:
        self._whole = whole_file(path)

    def __enter__(self) -> PerRecord:
        self._file = self._whole.__enter__()
        return self

    def write(self, row: Example, scores: dict[str, float]) -> None:
        """Add a row."""
        from llmkit.records.strict_json import dumps

        # A share of no rows is NaN (SQuAD's NoAns of a row with an answer), and JSON has no NaN.
        numbers = {name: value for name, value in scores.items() if math.isfinite(value)}
        self._file.write((dumps({**row.data, "scores": numbers}) + "\n").encode())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._whole.__exit__(kind, error, trace)
