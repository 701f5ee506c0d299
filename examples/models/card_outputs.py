"""Write twenty outputs of a model for its card, as they came.

    python examples/models/card_outputs.py NAME

prints the Markdown. The inputs stand in the folder `outputs`; the translator's are every fifth sentence of
everyday.tsv. Each model runs with its default options and seed 0; stories are cut after some tokens.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
INPUTS = HERE / "outputs"


@dataclass(frozen=True)
class OutputRun:
    """One command whose answers go into a card.

    Attributes:
        arguments: of llmkit, without model and files.
        asked: the column of the answers' rows that holds the input.
        answer: the column that holds the output.
        inputs: a row of the input file each.
        suffix: of the input file; it tells its format.
    """

    arguments: tuple[str, ...]
    asked: str
    answer: str
    inputs: tuple[str, ...]
    suffix: str = ".txt"


def runs_of(name: str) -> Iterator[OutputRun]:
    """Yield the commands for a model."""
    if name == "translator":
        for source, target in (("en", "de"), ("de", "en")):
            command = ("translate", "--from", source, "--to", target)
            yield OutputRun(command, "text", "translation_text", tuple(everyday(source)[::5]))
    elif name == "reader":
        lines = (INPUTS / "reader.jsonl").read_text(encoding="utf-8").splitlines()
        yield OutputRun(("qa",), "question", "answer", tuple(lines), ".jsonl")
    else:
        lines = (INPUTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        yield OutputRun(("generate", "--max-new-tokens", "60"), "text", "generated_text", tuple(lines))


def everyday(language: str) -> list[str]:
    """Return the sentences of everyday.tsv in a language."""
    lines = (HERE / "everyday.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    return [sentence for code, sentence in rows if code == language]


def outputs(name: str, model: str) -> str:
    """Return inputs and outputs as a Markdown table.

    Args:
        name: of the model's card.
        model: what `llmkit -m` takes.
    """
    lines = ["| input | output |", "|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for number, run in enumerate(runs_of(name)):
            rows = Path(folder) / f"{number}{run.suffix}"
            rows.write_text("".join(f"{line}\n" for line in run.inputs), encoding="utf-8")
            answers = Path(folder) / f"{number}_answers.jsonl"
            command = [sys.executable, "-m", "llmkit", *run.arguments, "--input", str(rows)]
            options = ["-m", model, "--seed", "0", "-o", str(answers), "-q"]
            subprocess.run([*command, *options], check=True)
            for row in map(json.loads, answers.read_text(encoding="utf-8").splitlines()):
                lines.append(f"| {cell(row[run.asked])} | {cell(row[run.answer])} |")
    return "\n".join(lines)


def cell(text: str | None) -> str:
    """Return the text on one line, as a table's cell can hold it."""
    return " ".join((text or "(no answer)").replace("|", "\\|").split())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: card_outputs.py NAME")
    print(outputs(sys.argv[1], sys.argv[1]))
