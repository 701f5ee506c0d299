"""Print the scores of `llmkit eval`, and write its files."""

from __future__ import annotations

import json as json_module
import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from llmkit.cli.common import console
from llmkit.cli.eval.report_flags import ReportFlags
from llmkit.records.convert_rows import CONVERTERS
from llmkit.records.strict_json import dumps, finite
from llmkit.temporary import temporary_folder
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
    # Files first: a closed stdout (`| head`) must not prevent them.
    if flags.output is not None:
        write_scores(flags.output, text, tables.flat({"": evaluation}))
        console.notice(f"{len(evaluation.scores)} scores in {flags.output}")
    if flags.card is not None:
        from llmkit.evaluation.card import update_card

        infinite = update_card(flags.card, evaluation, dataset=flags.dataset or stem(source))
        without = f", without {', '.join(infinite)}: not a finite number" if infinite else ""
        console.notice(f"{flags.card} has the scores in its model-index{without}")
    if not flags.bare and (doubt := report.few_rows(evaluation)) is not None:
        console.notice(doubt)
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


def write_scores(path: Path, text: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write scores as JSON, or as a table if the file's name ends in .jsonl, .csv or .parquet.

    Args:
        path: the file.
        text: the scores as JSON.
        rows: the rows of the table.
    """
    if path.suffix.lower() not in (".jsonl", *CONVERTERS):
        write_whole(path, text + "\n")
        return
    with RowsFile(path) as file:
        for row in rows:
            file.write(finite(row))


class RowsFile:
    """A file of rows: CSV or Parquet by the end of its name, else JSONL. It appears when the block ends.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._convert = CONVERTERS.get(path.suffix.lower())
        self._files = ExitStack()

    def __enter__(self) -> Self:
        if self._convert is None:
            self._file: IO[bytes] = self._files.enter_context(whole_file(self._path))
        else:
            folder = self._files.enter_context(temporary_folder("eval"))
            self._file = self._files.enter_context((folder / "rows.jsonl").open("wb"))
        return self

    def write(self, row: dict[str, Any]) -> None:
        """Add a row."""
        self._file.write((dumps(row) + "\n").encode())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The file appears only if its block ends without an error, so it must receive the error.
        try:
            if kind is None and self._convert is not None:
                self._file.flush()
                with whole_file(self._path) as target:
                    self._convert(Path(self._file.name), target)
        finally:
            self._files.__exit__(kind, error, trace)


class PerRecord(RowsFile):
    """The file of `--per-record`: each row with its scores."""

    def add(self, row: Example, scores: dict[str, float]) -> None:
        """Add a row with its scores."""
        # A share of no rows is NaN (SQuAD's NoAns of a row with an answer), and JSON has no NaN.
        numbers = {name: value for name, value in scores.items() if math.isfinite(value)}
        self.write({**row.data, "scores": numbers})
