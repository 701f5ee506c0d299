"""Make the translation model's rows: both directions of sentence pairs, some of them held out.

    LLMKIT_DATA=/path/to/data python examples/models/prepare_translation.py WORLD OUT

WORLD is a folder that `world/tell.py` wrote. Writes translation.jsonl (shuffled), bilingual.txt for the
tokenizer, and pairs to judge either direction by: tatoeba_test.jsonl (held out), multi30k_test.jsonl and
flores_test.jsonl.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import sys
from collections import defaultdict
from pathlib import Path

HELD_OUT_SHARE = 0.02
WORLD_PAIRS = 12_000
# What the model is told of the language wanted; `llmkit translate` reads it in the model's configuration.
PREFIXES = {"en": "en: ", "de": "de: "}

Pair = tuple[str, str]


def read_pairs(file: Path) -> list[Pair]:
    """English and German, each pair once."""
    lines = file.read_text(encoding="utf-8").splitlines()[1:]
    pairs = [line.split("\t") for line in lines]
    return list(dict.fromkeys((english, german) for english, german in pairs))


def hold_out(pairs: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Part them so that no sentence of a held-out pair, in either language and any case, is learnt.

    Pairs that share a sentence, or are joined by others that do, go to one side together.
    """
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    for english, german in pairs:
        parent[root(("en", english.lower()))] = root(("de", german.lower()))
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[root(("en", pair[0].lower()))].append(pair)
    train: list[Pair] = []
    test: list[Pair] = []
    for group in groups.values():
        first = min(english.lower() for english, _ in group)
        digest = int.from_bytes(hashlib.sha256(first.encode()).digest()[:8], "big") / 2**64
        (test if digest < HELD_OUT_SHARE else train).extend(group)
    return train, test


def multi30k(data: Path) -> list[Pair]:
    """Image captions (test_2016_flickr)."""
    sides = []
    for language in ("en", "de"):
        with gzip.open(data / f"mt/multi30k/test_2016_flickr.{language}.gz", "rt", encoding="utf-8") as file:
            sides.append(file.read().splitlines())
    return list(zip(*sides, strict=True))


def flores(data: Path) -> list[Pair]:
    """Sentences of Wikimedia's projects (FLORES-200, dev)."""
    files = (data / f"mt/flores200/{code}_Latn.dev" for code in ("eng", "deu"))
    sides = [file.read_text(encoding="utf-8").splitlines() for file in files]
    return list(zip(*sides, strict=True))


def both_ways(pairs: list[Pair]) -> list[dict[str, str]]:
    rows = [{"source": PREFIXES["de"] + english, "target": german} for english, german in pairs]
    rows += [{"source": PREFIXES["en"] + german, "target": english} for english, german in pairs]
    return rows


def prepare(data: Path, world: Path, output: Path) -> dict[str, int]:
    """Write the files under `output` and return how many pairs went where."""
    train, test = hold_out(read_pairs(data / "mt/tatoeba_en_de.tsv"))
    held = {text.lower() for pair in test for text in pair}
    lines = (world / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    told = [(row["source"], row["target"]) for row in map(json.loads, lines)]
    told = [pair for pair in told if not held & {pair[0].lower(), pair[1].lower()}]
    chosen = random.Random(0).sample(told, min(WORLD_PAIRS, len(told)))
    rows = both_ways(train + chosen)
    random.Random(0).shuffle(rows)
    output.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (output / "translation.jsonl").write_text(text, encoding="utf-8")
    for name, pairs in {"tatoeba": test, "multi30k": multi30k(data), "flores": flores(data)}.items():
        text = "".join(json.dumps({"en": e, "de": d}, ensure_ascii=False) + "\n" for e, d in pairs)
        (output / f"{name}_test.jsonl").write_text(text, encoding="utf-8")
    sides = list(dict.fromkeys(text for row in rows for text in row.values()))
    (output / "bilingual.txt").write_text("\n".join(sides) + "\n", encoding="utf-8")
    return {"train": len(train), "held_out": len(test), "world": len(chosen)}


if __name__ == "__main__":
    if len(sys.argv) != 3 or "LLMKIT_DATA" not in os.environ:
        sys.exit("usage: LLMKIT_DATA=FOLDER python prepare_translation.py WORLD OUTPUT")
    counts = prepare(Path(os.environ["LLMKIT_DATA"]), Path(sys.argv[1]), Path(sys.argv[2]))
    for name, count in counts.items():
        print(f"{name}: {count:,}")
