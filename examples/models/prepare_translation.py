"""Make the translation model's rows: both directions of sentence pairs, some of them held out.

    LLMKIT_DATA=DATA LLMKIT_TATOEBA=/path/to/deu.txt python examples/models/prepare_translation.py OUT

`deu.txt` is Tatoeba's English-German pairs of every length, from
https://www.manythings.org/anki/deu-eng.zip; LLMKIT_DATA holds the 50,000 shortest of a later release.
Writes translation.jsonl (shuffled), bilingual.txt for the tokenizer, and pairs to judge either direction by:
tatoeba_test.jsonl (held out, short), tatoeba_long_test.jsonl (held out, of every length),
multi30k_test.jsonl and flores_test.jsonl. No sentence of everyday.tsv is learnt.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
HELD_OUT_SHARE = {"short": 0.02, "long": 0.01}
LONG_TESTS = 1000
# What the model is told of the language wanted; `llmkit translate` reads it in the model's configuration.
PREFIXES = {"en": "en: ", "de": "de: "}

Pair = tuple[str, str]


def read_pairs(file: Path, header: bool) -> list[Pair]:
    """English and German, each pair once; further columns are not read."""
    lines = file.read_text(encoding="utf-8").splitlines()[header:]
    pairs = [line.split("\t") for line in lines]
    return list(dict.fromkeys((pair[0], pair[1]) for pair in pairs))


def groups_of(pairs: list[Pair]) -> list[list[Pair]]:
    """Pairs that share a sentence, in either language and any case, or are joined by others that do."""
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
    return list(groups.values())


def hold_out(pairs: list[Pair], held: Callable[[list[Pair]], bool]) -> tuple[list[Pair], list[Pair]]:
    """Part pairs by their groups: no sentence of a held-out pair is learnt."""
    train: list[Pair] = []
    test: list[Pair] = []
    for group in groups_of(pairs):
        (test if held(group) else train).extend(group)
    return train, test


def is_drawn(group: list[Pair], share: float) -> bool:
    """Choose a share of all groups by a hash of the first sentence."""
    first = min(english.lower() for english, _ in group)
    return int.from_bytes(hashlib.sha256(first.encode()).digest()[:8], "big") / 2**64 < share


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


def prepare(data: Path, tatoeba: Path, output: Path) -> dict[str, int]:
    """Write the files under `output` and return how many pairs went where."""
    short = read_pairs(data / "mt/tatoeba_en_de.tsv", header=True)
    full = read_pairs(tatoeba, header=False)
    _, test = hold_out(short, lambda group: is_drawn(group, HELD_OUT_SHARE["short"]))
    chosen = set(test)
    train, held = hold_out(
        list(dict.fromkeys(short + full)),
        lambda group: is_drawn(group, HELD_OUT_SHARE["long"]) or not chosen.isdisjoint(group),
    )
    other = [pair for pair in held if pair not in chosen]
    long = random.Random(0).sample(other, min(LONG_TESTS, len(other)))
    lines = (HERE / "everyday.tsv").read_text(encoding="utf-8").splitlines()[1:]
    everyday = {line.split("\t")[1].lower() for line in lines}
    train = [pair for pair in train if everyday.isdisjoint({pair[0].lower(), pair[1].lower()})]
    rows = both_ways(train)
    random.Random(0).shuffle(rows)
    output.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (output / "translation.jsonl").write_text(text, encoding="utf-8")
    tests = {"tatoeba": test, "tatoeba_long": long, "multi30k": multi30k(data), "flores": flores(data)}
    for name, pairs in tests.items():
        text = "".join(json.dumps({"en": e, "de": d}, ensure_ascii=False) + "\n" for e, d in pairs)
        (output / f"{name}_test.jsonl").write_text(text, encoding="utf-8")
    sides = list(dict.fromkeys(text for row in rows for text in row.values()))
    (output / "bilingual.txt").write_text("\n".join(sides) + "\n", encoding="utf-8")
    return {"train": len(train), "held_out": len(test), "held_out_long": len(long)}


def tatoeba_file() -> Path:
    """The file that LLMKIT_TATOEBA names."""
    file = Path(os.environ.get("LLMKIT_TATOEBA", ""))
    if not file.is_file():
        sys.exit("set LLMKIT_TATOEBA to deu.txt of https://www.manythings.org/anki/deu-eng.zip")
    return file


if __name__ == "__main__":
    if len(sys.argv) != 2 or "LLMKIT_DATA" not in os.environ:
        sys.exit("usage: LLMKIT_DATA=FOLDER LLMKIT_TATOEBA=FILE python prepare_translation.py OUTPUT")
    counts = prepare(Path(os.environ["LLMKIT_DATA"]), tatoeba_file(), Path(sys.argv[1]))
    for name, count in counts.items():
        print(f"{name}: {count:,}")
