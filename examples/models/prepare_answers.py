"""Make the answer reader's rows: cloze questions first, then real ones; and what it is judged on.

    LLMKIT_DATA=/path/to/data python examples/models/prepare_answers.py WORLD STORIES OUT

WORLD is a folder that `world/tell.py` wrote, STORIES the stories.txt of `prepare_stories.py`. Writes
cloze.jsonl, answers.jsonl, english.txt (the tokenizer's text) and the rows that are held out:
squad_test.jsonl (articles), fairytale_test.jsonl, babi1_test.jsonl and babi_test.jsonl (tasks 4, 5, 11, 12).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import sys
from pathlib import Path
from typing import Any

from cloze import cloze, passages

from llmkit.text.sentences import split_sentences

Rows = list[dict[str, Any]]

HELD_OUT_SHARE = 0.15
PASSAGE_WORDS = 90
CONTEXT_WORDS = 130
CLOZE_ROWS = {"squad": 16_000, "fairytale": 10_000, "novels": 10_000, "stories": 4_000}
NOVELS = ("sherlock", "wizard_of_oz", "anna_karenina", "war-and-peace")
WORLD_ROWS = 2_500
BABI_ROWS = {1: 1_500, 4: 500, 5: 800, 11: 800, 12: 800}


def row(question: str, context: str, texts: list[str], starts: list[int]) -> dict[str, Any]:
    return {
        "question": question,
        "context": context,
        "answers": {"text": texts, "answer_start": starts},
    }


def squad(data: Path) -> tuple[Rows, Rows, list[str]]:
    """Rows of the articles learnt from and of those held out, and the paragraphs of the former."""
    train: Rows = []
    test: Rows = []
    learnt: list[str] = []
    for article in json.loads((data / "qa/squad_v1.1_dev_part.json").read_text(encoding="utf-8"))["data"]:
        digest = int.from_bytes(hashlib.sha256(article["title"].encode()).digest()[:8], "big") / 2**64
        held = digest < HELD_OUT_SHARE
        for paragraph in article["paragraphs"]:
            if not held:
                learnt.append(paragraph["context"])
            for asked in paragraph["qas"]:
                texts = [answer["text"] for answer in asked["answers"]]
                starts = [answer["answer_start"] for answer in asked["answers"]]
                made = row(asked["question"], paragraph["context"], texts, starts)
                (test if held else train).append(made)
    return train, test, learnt


def fairytale(data: Path, part: str) -> tuple[Rows, list[str]]:
    """The questions whose answer stands in their sections, and all sections."""

    def read(name: str) -> Rows:
        lines = (data / name).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    sections = {
        (one["story"].removesuffix("-story"), str(one["section"])): one["text"]
        for one in read(f"stories/fairytale_{part}_sections.jsonl")
    }
    found = []
    for asked in read(f"qa/fairytale_{part}_qa.jsonl"):
        story = asked["story"].removesuffix("-questions")
        numbers = [number.strip() for number in str(asked["cor_section"]).split(",")]
        context = "\n".join(sections.get((story, number), "") for number in numbers)
        texts: list[str] = []
        starts = []
        for answer in (asked[f"answer{i}"] for i in range(1, 7)):
            wanted = re.escape(answer.strip(" .")) if answer else "$^"
            found_at = re.search(rf"(?<!\w){wanted}(?!\w)", context, re.IGNORECASE)
            if found_at and found_at[0]:
                texts.append(found_at[0])
                starts.append(found_at.start())
        if texts and texts[0]:
            found.append(row(asked["question"], context, texts, starts))
    return found, list(sections.values())


def cropped(one: dict[str, Any], words: int, chance: random.Random) -> dict[str, Any]:
    """The row with only so many words of its context, in whole sentences, the first answer among them."""
    context, answers = one["context"], one["answers"]
    start = answers["answer_start"][0]
    end = start + len(answers["text"][0])
    places = split_sentences(context, "en")
    inside = [i for i, (a, b) in enumerate(places) if a < end and b > start]
    first, last = inside[0], inside[-1]
    while True:
        grown = [(first - 1, last)] * (first > 0) + [(first, last + 1)] * (last + 1 < len(places))
        grown = [(a, b) for a, b in grown if len(context[places[a][0] : places[b][1]].split()) <= words]
        if not grown:
            break
        first, last = chance.choice(grown)
    a, b = min(places[first][0], start), max(places[last][1], end)
    return row(one["question"], context[a:b], answers["text"][:1], [start - a])


def babi(data: Path, task: int, part: str) -> Rows:
    """A task's questions whose answer stands in the last supporting sentence."""
    (file,) = (data / "qa/babi").glob(f"qa{task}_*_{part}.txt")
    rows: Rows = []
    said: dict[int, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        number, text = line.split(" ", 1)
        if number == "1":
            said = {}
        if "\t" not in text:
            said[int(number)] = text.strip()
            continue
        question, answer, support = text.split("\t")
        last = max(map(int, support.split()))
        context = " ".join(said.values())
        start = len(" ".join(said[n] for n in said if n < last)) + (1 if last > min(said) else 0)
        at = context.find(answer, start, start + len(said[last]))
        if at >= 0:
            rows.append(row(question.strip(), context, [answer], [at]))
    return rows


def cloze_rows(texts: dict[str, list[str]], chance: random.Random) -> Rows:
    rows: Rows = []
    for name, wanted in CLOZE_ROWS.items():
        pieces = [piece for text in texts[name] for piece in passages(text, PASSAGE_WORDS)]
        chance.shuffle(pieces)
        made: Rows = []
        for i in range(4 * wanted):
            found = cloze(pieces[i % len(pieces)], chance)
            made += [found] if found else []
            if len(made) == wanted:
                break
        rows += made
    chance.shuffle(rows)
    return rows


def prepare(data: Path, world: Path, stories: Path, output: Path) -> dict[str, int]:
    """Write the files under `output` and return how many rows each has."""
    chance = random.Random(0)
    squad_train, squad_test, paragraphs = squad(data)
    fairy_train, sections = fairytale(data, "train")
    fairy_test, _ = fairytale(data, "val")
    texts = {
        "squad": paragraphs,
        "fairytale": sections,
        "novels": [(data / f"lm/{name}.txt").read_text(encoding="utf-8") for name in NOVELS],
        "stories": stories.read_text(encoding="utf-8").split("\n<|endoftext|>\n"),
    }
    asked = map(json.loads, (world / "questions.jsonl").read_text(encoding="utf-8").splitlines())
    # It also asks what its stories do not say.
    answered = [one for one in asked if one["answers"]["text"]]
    told = chance.sample(answered, min(WORLD_ROWS, len(answered)))
    # A longer context is more windows, most of them without the answer: much time for little.
    train = [cropped(one, CONTEXT_WORDS, chance) for one in squad_train + fairy_train + told]
    for task, count in BABI_ROWS.items():
        train += chance.sample(babi(data, task, "train"), count)
    chance.shuffle(train)
    written = {
        "cloze": cloze_rows(texts, random.Random(1)),
        "answers": train,
        "squad_test": squad_test,
        "fairytale_test": fairy_test,
        "babi1_test": babi(data, 1, "test"),
        "babi_test": [one for task in (4, 5, 11, 12) for one in babi(data, task, "test")],
    }
    output.mkdir(parents=True, exist_ok=True)
    for name, rows in written.items():
        lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows)
        (output / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    # The questions too, for the tokenizer to know how they begin.
    english = [*paragraphs, *sections, *texts["stories"][:1000], *(one["question"] for one in squad_train)]
    (output / "english.txt").write_text("\n\n".join(english) + "\n", encoding="utf-8")
    return {name: len(rows) for name, rows in written.items()}


if __name__ == "__main__":
    if len(sys.argv) != 4 or "LLMKIT_DATA" not in os.environ:
        sys.exit("usage: LLMKIT_DATA=FOLDER python prepare_answers.py WORLD STORIES OUTPUT")
    for name, count in prepare(Path(os.environ["LLMKIT_DATA"]), *map(Path, sys.argv[1:])).items():
        print(f"{name}: {count:,}")
