"""Measure how stories hold together: a hero who is still there at the end, and words that are not said again.

    python examples/models/coherence.py --openings 200 >openings.jsonl
    llmkit generate --input openings.jsonl -m stories --max-new-tokens 300 --seed 0 -o told.jsonl
    python examples/models/coherence.py told.jsonl

Prints a line of JSON with 95 % intervals. Rows with requests (`prompt`) serve as well.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure_stories import OPENINGS

N = 8
RESAMPLED = 1000
# Capitalised words that are no names, wherever in a sentence they stand.
_NO_NAMES = "I I'm I'll I'd I've Mr Mrs Mom Mommy Dad Daddy Mum Mummy Oh Okay OK Yes No"
NO_NAMES = frozenset(_NO_NAMES.split())


def hero(story: str) -> str | None:
    """The name that is first told: a capitalised word that begins no sentence and no quotation."""
    for match in re.finditer(r"[a-z,] ([A-Z][a-z]+)\b", story):
        if match[1] not in NO_NAMES:
            return match[1]
    return None


def sentences(story: str) -> list[str]:
    """The story's sentences, without what is cut off at its end."""
    return re.findall(r"[^.!?]*[.!?]+[\"']?", story)


def hero_stays(story: str) -> bool | None:
    """Whether the first named hero is named in one of the last two sentences; None if nobody has a name."""
    name = hero(story)
    if name is None:
        return None
    return re.search(rf"\b{name}\b", " ".join(sentences(story)[-2:])) is not None


def repeated(story: str) -> tuple[int, int]:
    """How many 8-word sequences stand in the story before, and how many there are."""
    words = re.findall(r"[\w']+", story.lower())
    grams = [tuple(words[i : i + N]) for i in range(len(words) - N + 1)]
    return len(grams) - len(set(grams)), len(grams)


def interval(rows: list[Any], score: Callable[[list[Any]], float]) -> list[float]:
    """The middle 95 % of the scores of resampled rows (percentile bootstrap; Efron and Tibshirani 1993)."""
    chance = random.Random(0)
    scores = sorted(score(chance.choices(rows, k=len(rows))) for _ in range(RESAMPLED))
    return [round(scores[int(0.025 * RESAMPLED)], 4), round(scores[int(0.975 * RESAMPLED)], 4)]


def measured(stories: list[str]) -> dict[str, Any]:
    """Scores of stories, with intervals.

    Returns:
        stories, named (those with a named hero), hero_stays (a share of those), repeated_8grams (a share).
    """
    kept = [found for found in map(hero_stays, stories) if found is not None]
    grams = [found for found in map(repeated, stories) if found[1]]

    def share(rows: list[bool]) -> float:
        return sum(rows) / len(rows)

    def again(rows: list[tuple[int, int]]) -> float:
        return sum(row[0] for row in rows) / sum(row[1] for row in rows)

    return {
        "stories": len(stories),
        "named": len(kept),
        "hero_stays": round(share(kept), 4),
        "hero_stays_interval": interval(kept, share),
        "repeated_8grams": round(again(grams), 4),
        "repeated_8grams_interval": interval(grams, again),
    }


def told(rows: Path) -> list[str]:
    """The stories of a file that `llmkit generate` wrote; one that goes on from an opening begins with it."""
    found = []
    for row in map(json.loads, rows.read_text(encoding="utf-8").splitlines()):
        begun = row["prompt"] if row["prompt"] in OPENINGS else ""
        found.append(begun + row["generated_text"])
    return found


def numbers(rows: Path) -> dict[str, Any]:
    """Return the numbers of a card, by their names in its template, for a file that `told` reads."""
    found = measured(told(rows))
    low, high = found["hero_stays_interval"]
    return {
        "hero": found["hero_stays"],
        "hero_low": low,
        "hero_high": high,
        "named": found["named"],
        "repeated": found["repeated_8grams"],
    }


def openings(number: int) -> str:
    """Rows of so many prompts, the openings of `measure_stories.py` in turn."""
    return "".join(json.dumps({"prompt": OPENINGS[i % len(OPENINGS)]}) + "\n" for i in range(number))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how stories hold together.")
    parser.add_argument("stories", type=Path, nargs="?", help="rows of `llmkit generate`")
    parser.add_argument("--openings", type=int, metavar="N", help="print rows of N prompts instead")
    flags = parser.parse_args()
    if flags.openings:
        print(openings(flags.openings), end="")
    elif flags.stories:
        print(json.dumps(measured(told(flags.stories))))
    else:
        parser.error("name a file of stories")


if __name__ == "__main__":
    main()
