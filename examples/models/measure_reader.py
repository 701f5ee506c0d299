"""Measure the reader's F1 by question word, for its card.

Public: `asked`, `word_of`, `table`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

WORDS = ("who", "what", "where", "when", "why", "how many", "how", "which")
# Both test sets, since SQuAD hardly asks why, and the fairy tales hardly ask how many.
TESTS = ("squad_test", "fairytale_test")
_ASKING = re.compile(r"\b(who|what|where|when|why|how many|how|which)\b")


def word_of(question: str) -> str:
    """Return the first word of `WORDS` in a question, or "other".

    >>> word_of("In what year, and how many?")
    'what'
    """
    found = _ASKING.search(
        re.sub(r"\b(whom|whose)\b", "who", question.lower()).replace("how much", "how many")
    )
    return found[1] if found else "other"


def asked(folder: Path) -> Path:
    """Write the rows of both test sets, each with the column `asks`, and return the file."""
    file = folder / "asked_test.jsonl"
    lines = [line for name in TESTS for line in (folder / f"{name}.jsonl").read_text("utf-8").splitlines()]
    rows = [json.loads(line) for line in lines]
    text = "".join(json.dumps({**row, "asks": word_of(row["question"])}) + "\n" for row in rows)
    file.write_text(text, encoding="utf-8")
    return file


def table(scores: list[dict[str, Any]]) -> str:
    """Return the rows of the card's table.

    Args:
        scores: those that `llmkit eval --by asks --json` printed.
    """
    found = {one["group"]: one for one in scores if one["name"] == "squad_f1" and one["group"]}
    return "\n".join(
        f"| {word} | {one['rows']:,} | {one['score']:.1f} | {one['low']:.1f} to {one['high']:.1f} |"
        for word in WORDS
        if (one := found.get(word)) and one["low"] is not None
    )
