"""Flags about rows: input, output, and treatment of failures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from llmkit.cli.common.flags import flag
from llmkit.errors import InputError

Limit = Annotated[
    int | None,
    flag("--limit", metavar="N", help="Read only the first N rows.", default="all", group="Input"),
]
Encoding = Annotated[
    str | None,
    flag(
        "--encoding",
        metavar="NAME",
        help="Encoding of text files and stdin, such as utf-16, gb18030 or cp1252.",
        default="utf-8",
        group="Input",
    ),
]


@dataclass
class InputFlags:
    """Rows from a file or stdin, in place of a single argument."""

    GROUP = "Input"

    input: Annotated[
        str | None,
        flag(
            "--input",
            metavar="FILE",
            help="Rows: .jsonl .json .csv .tsv .parquet .txt, each also .gz, here or in storage"
            " (s3://bucket/rows.jsonl); - reads JSONL from stdin; hf:dataset[:config][:split] reads from the"
            " Hub.",
            default="the argument, or stdin as one text",
        ),
    ] = None
    field: Annotated[
        str | None,
        flag(
            "--field",
            metavar="NAME",
            help="Column of the text.",
            default="the default column of the verb, such as text",
        ),
    ] = None
    template: Annotated[
        str | None,
        flag(
            "--template",
            metavar="TEXT",
            help="Text that combines several columns, such as 'Q: {question}'.",
            default="--field",
        ),
    ] = None
    lines: Annotated[
        bool,
        flag("--lines", help="Read each line of stdin, or of a file of plain text, as a separate text."),
    ] = False
    whole: Annotated[bool, flag("--whole", help="Read a file of plain text as one text.")] = False
    limit: Limit = None
    encoding: Encoding = None


@dataclass
class OutputFlags:
    """File or form of the results, and the treatment of killed runs and failed rows."""

    GROUP = "Output"

    output: Annotated[
        Path | None,
        flag(
            "-o",
            "--output",
            metavar="FILE",
            help="Write a .jsonl, .csv or .parquet file, here or in storage (s3://bucket/out.jsonl);"
            " --resume continues a killed run.",
            default="plain text on stdout",
        ),
    ] = None
    json: Annotated[bool, flag("--json", help="Write JSONL to stdout instead of plain text.")] = False
    resume: Annotated[bool, flag("--resume", help="Continue an unfinished --output.")] = False
    overwrite: Annotated[bool, flag("--overwrite", help="Replace an existing --output.")] = False
    on_error: Annotated[
        str,
        flag(
            "--on-error",
            metavar="fail|skip",
            help="fail stops at a bad row; skip writes an `error` field for it and continues.",
        ),
    ] = "fail"
    result_field: Annotated[
        str | None,
        flag(
            "--result-field",
            metavar="NAME",
            help="Name of the result column, if the input already has the usual one.",
            default="the verb's",
        ),
    ] = None
    batch_size: Annotated[
        str,
        flag("--batch-size", metavar="auto|N", help="Rows per batch; auto uses the available memory."),
    ] = "auto"

    def rows_per_batch(self) -> int | None:
        """Return `--batch-size` as a number; None for auto."""
        if self.batch_size == "auto":
            return None
        if not self.batch_size.isdecimal() or int(self.batch_size) < 1:
            raise InputError(f"--batch-size {self.batch_size}: give a number of rows, or auto")
        return int(self.batch_size)

    def check(self) -> None:
        """Refuse options that contradict each other, before anything slow starts."""
        if self.on_error not in {"fail", "skip"}:
            raise InputError(f"--on-error {self.on_error}: use fail or skip")
        self.rows_per_batch()
        if self.output is None:
            for flag in ("resume", "overwrite"):
                if getattr(self, flag):
                    raise InputError(f"--{flag} applies to an output file: give it with -o/--output")
        elif self.json:
            raise InputError("--output writes rows to a file and --json to stdout: give one of them")


Details = Annotated[
    bool,
    flag(
        "--details",
        help="Add the finish reason, the token counts and the seed to each row; without --output, write"
        " JSONL.",
        group="Output",
    ),
]


@dataclass
class DetailFlags:
    """Facts about answers."""

    GROUP = "Output"

    details: Details = False
    logprobs: Annotated[
        int | None,
        flag(
            "--logprobs",
            metavar="N",
            help="Add the log-probabilities of each token and of the N most likely alternatives; without"
            " --output, write JSONL.",
            default="none",
        ),
    ] = None

    def values(self) -> dict[str, Any]:
        """Return keyword arguments of `tasks.decoding.GenerationOptions`."""
        return {"details": self.details, "logprobs": self.logprobs}

    def to_rows(self, outputs: OutputFlags) -> None:
        """Write rows to stdout if plain text would not show the requested columns."""
        write_rows(outputs, wanted=self.details or self.logprobs is not None)


def write_rows(outputs: OutputFlags, *, wanted: bool) -> None:
    """Write JSONL to stdout, if columns are requested that plain text would not show."""
    if wanted and outputs.output is None:
        outputs.json = True
