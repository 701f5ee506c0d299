"""Make the answer reader's rows: cloze questions first, then real ones; and what it is judged on.

    LLMKIT_DATA=DATA LLMKIT_QUESTIONS=FOLDER python examples/models/prepare_answers.py STORIES OUT

STORIES is the stories.txt of `prepare_stories.py`.
LLMKIT_QUESTIONS names a folder with more questions: `*.json` in SQuAD's form, those of SQuAD's development
set with `dev` in their name, and qamr.jsonl with a question about a sentence (`context`) in each row.

Writes cloze.jsonl, cloze_more.jsonl, answers.jsonl, answers_last.jsonl (a third on fairy tales), english.txt
(the tokenizer's text) and the rows that are held out: squad_test.jsonl and squad2_test.jsonl (articles),
squad_elsewhere_test.jsonl (the questions of the first, each also put to another passage),
fairytale_test.jsonl, babi1_test.jsonl and babi_test.jsonl (tasks 4, 5, 11, 12).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloze import cloze, passages

from llmkit.text.overlap import shared_marks
from llmkit.text.sentences import split_sentences

Rows = list[dict[str, Any]]

HELD_OUT_SHARE = 0.15
PASSAGE_WORDS = 90
CONTEXT_WORDS = 130
# A paragraph that shares a run of so many words with a held-out one is not learnt.
COPIED_WORDS = 10
CLOZE_ROWS = {"wikipedia": 30_000, "fairytale": 8_000, "novels": 8_000, "stories": 4_000}
NOVELS = ("sherlock", "wizard_of_oz", "anna_karenina", "war-and-peace")
BABI_ROWS = {1: 1_500, 4: 500, 5: 800, 11: 800, 12: 800}
# Questions put to a passage that does not answer them, as a share of those that have an answer.
SHARE_ELSEWHERE = 0.2
# Of the answers to learn from, 99 % have at most so many tokens.
LONGEST_ANSWER = 30
QAMR_ROWS, QAMR_SENTENCES = 8_000, 4


def row(question: str, context: str, texts: list[str], starts: list[int]) -> dict[str, Any]:
    return {
        "question": question,
        "context": context,
        "answers": {"text": texts, "answer_start": starts},
    }


def is_held_out(title: str) -> bool:
    """Return True for the articles of SQuAD's development set that judge the reader."""
    digest = hashlib.sha256(title.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < HELD_OUT_SHARE


@dataclass
class Wikipedia:
    """Questions on articles, in SQuAD's form.

    Attributes:
        train: of each article learnt from, its rows.
        test: of each article held out, its rows, which have an answer.
        test_2: rows of such articles with questions that have none.
    """

    train: dict[str, Rows]
    test: dict[str, Rows]
    test_2: Rows

    @classmethod
    def read(cls, data: Path, more: Path) -> Wikipedia:
        first = data / "qa/squad_v1.1_dev_part.json"
        found = cls(defaultdict(list), defaultdict(list), [])
        asked_before: set[tuple[str, str]] = set()
        for file in (first, *sorted(more.glob("*.json"))):
            for article in json.loads(file.read_text(encoding="utf-8"))["data"]:
                held = "dev" in file.name and is_held_out(article["title"])
                for paragraph in article["paragraphs"]:
                    for asked in paragraph["qas"]:
                        texts = [answer["text"] for answer in asked["answers"]]
                        starts = [answer["answer_start"] for answer in asked["answers"]]
                        made = row(asked["question"].strip(), paragraph["context"], texts, starts)
                        if held:
                            (found.test[article["title"]] if file == first else found.test_2).append(made)
                            continue
                        key = (article["title"], made["question"])
                        if key not in asked_before and _is_whole(made):
                            asked_before.add(key)
                            found.train[article["title"]].append(made)
        found._drop_copies()
        return found

    def _drop_copies(self) -> None:
        held = {run for one in (*joined(self.test), *self.test_2) for run in _runs(one["context"])}
        copied: dict[str, bool] = {}
        for title, rows in self.train.items():
            for one in rows:
                context = one["context"]
                if context not in copied:
                    copied[context] = not held.isdisjoint(_runs(context))
            self.train[title] = [one for one in rows if not copied[one["context"]]]

    @property
    def paragraphs(self) -> list[str]:
        """Return the paragraphs of the training articles, each once."""
        return list(dict.fromkeys(one["context"] for one in joined(self.train)))


def joined(articles: dict[str, Rows]) -> Rows:
    """Return the rows of all articles."""
    return [one for rows in articles.values() for one in rows]


def _runs(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[at : at + COPIED_WORDS]) for at in range(len(words) - COPIED_WORDS + 1)}


def _is_whole(one: dict[str, Any]) -> bool:
    """Return True if the first answer, if there is one, stands where the row says."""
    texts, starts = one["answers"]["text"], one["answers"]["answer_start"]
    return not texts or (bool(texts[0].strip()) and one["context"][starts[0] :].startswith(texts[0]))


def elsewhere(rows: Rows, share: float, chance: random.Random) -> Rows:
    """Ask questions of another passage of the same article or story, which does not have the answer.

    Args:
        rows: of one article.
        share: share of its answered questions that are asked of another passage.
        chance: source of every choice.
    """
    passages = sorted({one["context"] for one in rows})
    made: Rows = []
    for one in rows:
        texts = [text.casefold() for text in one["answers"]["text"]]
        if not texts or chance.random() >= share:
            continue
        others = [text for text in chance.sample(passages, min(8, len(passages))) if text != one["context"]]
        others = [text for text in others if not any(answer in text.casefold() for answer in texts)]
        if others:
            # The passage that has most words of the question is the hardest to refuse.
            near = max(others, key=lambda text: sum(shared_marks(one["question"], text, _ends(text))))
            made.append(row(one["question"], near if chance.random() < 0.5 else others[0], [], []))
    return made


def _ends(text: str) -> list[int]:
    return [match.end() for match in re.finditer(r"\w+", text)]


def qamr(file: Path, chance: random.Random) -> Rows:
    """Questions about a sentence, asked of a passage of several sentences by different people."""
    rows: Rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    sentences = sorted({one["context"] for one in rows})
    made = []
    for one in chance.sample(rows, min(QAMR_ROWS, len(rows))):
        text = one["answers"]["text"][0]
        others = [
            s for s in chance.sample(sentences, QAMR_SENTENCES) if s != one["context"] and text not in s
        ]
        at = chance.randint(0, len(others))
        before = "".join(f"{sentence} " for sentence in others[:at])
        context = " ".join([*others[:at], one["context"], *others[at:]])
        made.append(row(one["question"], context, [text], [len(before) + one["answers"]["answer_start"][0]]))
    return made


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
    if not answers["text"]:
        return row(one["question"], chance.choice([*passages(context, words), context]), [], [])
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


def with_more_of(rows: Rows, questions: set[str], chance: random.Random) -> Rows:
    """All rows with these questions, and twice as many others."""
    wanted = [one for one in rows if one["question"] in questions]
    others = [one for one in rows if one["question"] not in questions]
    chosen = wanted + chance.sample(others, min(2 * len(wanted), len(others)))
    chance.shuffle(chosen)
    return chosen


def prepare(data: Path, more: Path, stories: Path, output: Path) -> dict[str, int]:
    """Write the files under `output` and return how many rows each has."""
    chance = random.Random(0)
    wikipedia = Wikipedia.read(data, more)
    fairy_train, sections = fairytale(data, "train")
    fairy_test, _ = fairytale(data, "val")
    texts = {
        "wikipedia": wikipedia.paragraphs,
        "fairytale": sections,
        "novels": [(data / f"lm/{name}.txt").read_text(encoding="utf-8") for name in NOVELS],
        "stories": stories.read_text(encoding="utf-8").split("\n<|endoftext|>\n"),
    }
    articles = joined(wikipedia.train)
    unanswered = [
        one for rows in wikipedia.train.values() for one in elsewhere(rows, SHARE_ELSEWHERE, chance)
    ]
    unanswered += elsewhere(fairy_train, SHARE_ELSEWHERE, chance)
    # A longer context is more windows, most of them without the answer: much time for little.
    train = [cropped(one, CONTEXT_WORDS, chance) for one in articles + fairy_train + unanswered]
    train += qamr(more / "qamr.jsonl", chance)
    for task, count in BABI_ROWS.items():
        train += chance.sample(babi(data, task, "train"), count)
    chance.shuffle(train)
    test = joined(wikipedia.test)
    put_elsewhere = [one for rows in wikipedia.test.values() for one in elsewhere(rows, 1, random.Random(3))]
    written = {
        "cloze": cloze_rows(texts, random.Random(1)),
        "cloze_more": cloze_rows(texts, random.Random(2)),
        "answers": train,
        "answers_last": with_more_of(train, {one["question"] for one in fairy_train}, random.Random(4)),
        "squad_test": test,
        "squad_elsewhere_test": test + put_elsewhere,
        "squad2_test": wikipedia.test_2,
        "fairytale_test": fairy_test,
        "babi1_test": babi(data, 1, "test"),
        "babi_test": [one for task in (4, 5, 11, 12) for one in babi(data, task, "test")],
    }
    output.mkdir(parents=True, exist_ok=True)
    for name, rows in written.items():
        lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows)
        (output / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    # The questions too, for the tokenizer to know how they begin.
    english = [
        *wikipedia.paragraphs,
        *sections,
        *texts["stories"][:1000],
        *(one["question"] for one in articles),
    ]
    (output / "english.txt").write_text("\n\n".join(english) + "\n", encoding="utf-8")
    counts = {name: len(rows) for name, rows in written.items()}
    without = sum(not one["answers"]["text"] for one in train)
    return {**counts, "articles": len(articles), "elsewhere": len(unanswered), "without_answer": without}


def questions_folder() -> Path:
    """The folder that LLMKIT_QUESTIONS names."""
    folder = Path(os.environ.get("LLMKIT_QUESTIONS", ""))
    if not (folder / "qamr.jsonl").is_file():
        sys.exit("set LLMKIT_QUESTIONS to a folder with qamr.jsonl and JSON files in SQuAD's form")
    return folder


if __name__ == "__main__":
    if len(sys.argv) != 3 or "LLMKIT_DATA" not in os.environ:
        sys.exit("usage: LLMKIT_DATA=DATA LLMKIT_QUESTIONS=FOLDER python prepare_answers.py STORIES OUTPUT")
    folders = Path(os.environ["LLMKIT_DATA"]), questions_folder(), *map(Path, sys.argv[1:])
    for name, count in prepare(*folders).items():
        print(f"{name}: {count:,}")
