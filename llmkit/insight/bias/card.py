"""Write a measurement of bias into a model card: its text, with the warning next to the numbers.

The section is between two comments; a later measurement of the same set replaces it. All other bytes of the
card stay the same.
"""

from __future__ import annotations

import re
from pathlib import Path

from llmkit.errors import InputError, OptionError
from llmkit.insight.bias.report import cells, meanings, reproduction
from llmkit.insight.bias.results import BiasResult
from llmkit.whole_file import write_whole


def check_card(path: Path) -> None:
    """Raise an InputError unless there is a card of text at `path`."""
    _read(path)


def update_card(path: Path, result: BiasResult) -> None:
    """Write the measurement into a card; that of the same title is replaced.

    Args:
        path: the card, a README.md.
        result: the measurement.

    Raises:
        InputError: there is no card at `path`, or it is no text.
    """
    text = _read(path)
    newline = "\r\n" if "\r\n" in text else "\n"
    begin, end = f"<!-- bias: {_plain(result.title)} -->", f"<!-- end of bias: {_plain(result.title)} -->"
    section = "\n".join([begin, *_section(result), end, ""]).replace("\n", newline)
    old = re.compile(re.escape(begin) + r".*?" + re.escape(end) + r"(\r?\n)?", re.DOTALL)
    if old.search(text):
        changed = old.sub(lambda _: section, text, count=1)
    else:
        changed = text + ("" if not text or text.endswith("\n") else newline) + newline + section
    write_whole(path, changed.encode("utf-8"))


def _read(path: Path) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        raise OptionError("card", f"must name the README.md of a model; {path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error


def _section(result: BiasResult) -> list[str]:
    head, *rows = cells(result)
    lines = [f"## Bias: {_plain(result.title)}", "", f"**{result.warning}**", ""]
    lines += [_row(head), _row(["---"] * len(head)), *map(_row, rows), ""]
    lines += [f"- {_plain(name)}: {_plain(text)}" for name, text in meanings(result).items()]
    lines += [f"- Known flaws: {_plain(result.flaws)}", *(f"- {_plain(note)}" for note in result.notes)]
    lines += ["", *(f"    {_plain(line)}" for line in reproduction(result))]
    return lines


def _row(texts: list[str]) -> str:
    return "| " + " | ".join(_plain(text).replace("|", "\\|") for text in texts) + " |"


def _plain(text: str) -> str:
    """Return a text on one line that opens no HTML tag, and ends no comment."""
    return " ".join(text.split()).replace("<", "&lt;").replace(">", "&gt;")
