"""Flags of `llmkit eval` for output other than the scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from llmkit.cli.common.options import flag
from llmkit.errors import InputError, OptionError

TABLES = ("text", "latex", "markdown", "csv")


@dataclass
class RecordFlags:
    """Files about single rows."""

    GROUP = "Output"

    per_record: Annotated[
        Path | None,
        flag(
            "--per-record",
            metavar="FILE",
            help="Write each row with its own scores, to a .jsonl, .csv or .parquet file.",
            default="none",
        ),
    ] = None
    report: Annotated[
        Path | None,
        flag(
            "--report",
            metavar="FILE.html",
            help="Write an HTML page with the scores, and the best and worst rows.",
            default="none",
        ),
    ] = None


@dataclass
class ReportFlags:
    """Form and files of the scores."""

    GROUP = "Output"

    json: Annotated[bool, flag("--json", help="Print everything as JSON.")] = False
    bare: Annotated[bool, flag("--bare", help="Print only the numbers, one per line.")] = False
    table: Annotated[
        str | None,
        flag("--table", metavar="FORMAT", help=f"Format of a table: {', '.join(TABLES)}.", default="text"),
    ] = None
    output: Annotated[
        Path | None,
        flag(
            "-o",
            "--output",
            metavar="FILE",
            help="Also write the scores to a .json file, or one row per score to .jsonl, .csv or .parquet.",
            default="none",
        ),
    ] = None
    overwrite: Annotated[bool, flag("--overwrite", help="Replace existing files.")] = False
    card: Annotated[
        Path | None,
        flag("--card", metavar="README.md", help="Write the scores into this model card.", default="none"),
    ] = None
    dataset: Annotated[
        str | None,
        flag("--dataset", metavar="NAME", help="Name of the test set in --card.", default="name of the file"),
    ] = None

    def check(self, records: RecordFlags) -> None:
        """Refuse files that cannot be written, before anything is scored.

        Raises:
            InputError: a file exists or cannot be written.
            OptionError: an option is wrong, or cannot be combined with another.
        """
        from llmkit.records import output
        from llmkit.records.output_paths import OutputPaths

        forms = [name for name in ("json", "bare", "table") if getattr(self, name)]
        if len(forms) > 1:
            raise OptionError(forms[1], f"cannot be combined with `{forms[0]}`; set one of them")
        if self.table is not None and self.table not in TABLES:
            raise OptionError("table", f"must be one of {', '.join(TABLES)}, not {self.table}")
        taken: dict[Path, str] = {}
        named = {"output": self.output, "per_record": records.per_record, "report": records.report}
        for name, path in named.items():
            if path is None:
                continue
            first = taken.setdefault(path.resolve(), name)
            if first != name:
                raise OptionError(name, f"names the same file as `{first}`")
            if path.exists() and not self.overwrite:
                raise InputError(f"{path} exists; overwrite=True replaces it")
            # Scores are not rows, so the checks for files of rows do not apply.
            if OutputPaths(path).journal.exists():
                output.check(path, overwrite=self.overwrite)
        if self.card is not None:
            from llmkit.evaluation.card import check_card

            check_card(self.card)
        elif self.dataset is not None:
            raise OptionError(
                "dataset", "is the name of a test set in a model card; give the card with `card`"
            )
