"""Tell stories of small worlds: what happened, questions about it, and the same in German.

    python examples/models/world/tell.py --seed 1 --stories 20000 -o FOLDER

Writes stories.txt, questions.jsonl, gists.jsonl and pairs.jsonl. The same seed writes the same
files, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from make import told
from prepare_stories import SEPARATOR
from questions import questions_of
from story import Story


def stories(seed: int, count: int) -> Iterator[tuple[Story, random.Random]]:
    """Each story with the generator for what is asked and said about it."""
    for number in range(count):
        name = f"{seed}/{number}"
        yield told(name), random.Random(f"{name}/about")


def write(seed: int, count: int, folder: Path) -> dict[str, int]:
    """Write the files and return how many lines each has."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(("stories", "questions", "gists", "pairs"), 0)
    seen: set[bytes] = set()
    files = {
        name: (folder / f"{name}.jsonl").open("w", encoding="utf-8") for name in counts if name != "stories"
    }
    with (folder / "stories.txt").open("w", encoding="utf-8") as text:

        def row(name: str, value: dict[str, object]) -> None:
            files[name].write(json.dumps(value, ensure_ascii=False) + "\n")
            counts[name] += 1

        for number, (story, rng) in enumerate(stories(seed, count)):
            text.write((f"{SEPARATOR}\n" if number else "") + story.text + "\n")
            counts["stories"] += 1
            for question in questions_of(story, rng):
                row("questions", question)
            row("gists", {"source": story.text, "target": story.gist})
            for sentence in story.sentences:
                if sentence.leans:
                    continue
                # A digest is small and, unlike hash(), the same in every run.
                digest = hashlib.blake2b(f"{sentence.en}\t{sentence.de}".encode(), digest_size=8).digest()
                if digest not in seen:
                    seen.add(digest)
                    row("pairs", {"source": sentence.en, "target": sentence.de})
    for file in files.values():
        file.close()
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Tell stories of small worlds.")
    parser.add_argument("--seed", type=int, default=1, help="the same seed tells the same stories")
    parser.add_argument("--stories", type=int, default=20_000, help="how many")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write the files to")
    arguments = parser.parse_args()
    for name, lines in write(arguments.seed, arguments.stories, arguments.output).items():
        print(f"{name}: {lines}")
