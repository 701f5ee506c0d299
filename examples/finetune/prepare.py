"""Convert public data sets to rows for `llmkit finetune`, each with held-out rows for testing.

    LLMKIT_DATA=/path/to/data python examples/finetune/prepare.py rows

Writes NAME.jsonl and NAME_test.jsonl for stories, translation, tldr, squad, chat and preferences, and the
corpora bilingual.txt and english.txt, into the folder. Rows are held out by a hash of their source text,
request or article, so the training rows have no question of a test row.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def share(text: str) -> float:
    """Return a number from 0 to 1 that depends only on the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split(
    rows: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], str], held_out: float
) -> tuple[Rows, Rows]:
    train: Rows = []
    test: Rows = []
    for row in rows:
        (test if share(key(row)) < held_out else train).append(row)
    return train, test


def stories(data: Path) -> tuple[Rows, Rows]:
    """Ask for each story by two words: the rarest ones that follow "a" or "the" in it at least twice."""
    text = (data / "stories/tinystories.txt").read_text(encoding="utf-8")
    texts = list(dict.fromkeys(part.strip() for part in text.split("<|endoftext|>") if part.strip()))
    words = [re.findall(r"\b(?:a|an|the|his|her) ([a-z]{3,9})\b", story) for story in texts]
    known = Counter(word for each in words for word in set(each))
    rows = []
    for story, nouns in zip(texts, words, strict=True):
        often = [word for word, count in Counter(nouns).items() if count > 1 and known[word] > 9]
        rare = sorted(often, key=lambda word: (known[word], word))[:2]
        if len(rare) == 2:
            rows.append(
                {"prompt": f"Words: {rare[0]}, {rare[1]}.\nStory: ", "completion": story, "words": rare}
            )
    return split(rows, lambda row: row["prompt"], 0.05)


def translation(data: Path) -> tuple[Rows, Rows]:
    lines = (data / "mt/tatoeba_en_de.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [dict(zip(("source", "target"), line.split("\t"), strict=True)) for line in lines]
    return split(rows, lambda row: row["source"], 0.02)


def tldr(data: Path) -> tuple[Rows, Rows]:
    def read(name: str) -> Rows:
        lines = (data / f"summ/scitldr_{name}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        # Join the sentences of the abstract, and take the first of several summaries.
        return [{"source": " ".join(row["source"]), "target": row["target"][0]} for row in rows]

    return read("train"), read("dev")


def squad(data: Path) -> tuple[Rows, Rows]:
    articles = json.loads((data / "qa/squad_v1.1_dev_part.json").read_text(encoding="utf-8"))["data"]
    rows = [
        {
            "title": article["title"],
            "context": paragraph["context"],
            "question": question["question"],
            "answers": {
                "text": [answer["text"] for answer in question["answers"]],
                "answer_start": [answer["answer_start"] for answer in question["answers"]],
            },
        }
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    return split(rows, lambda row: row["title"], 0.15)


def chat(data: Path) -> tuple[Rows, Rows]:
    found = json.loads((data / "chat/instruction-data.json").read_text(encoding="utf-8"))
    conversations = json.loads((data / "chat/dummy_conversation.json").read_text(encoding="utf-8"))
    rows = [
        {
            "messages": [
                {"role": "user", "content": "\n\n".join(filter(None, (row["instruction"], row["input"])))},
                {"role": "assistant", "content": row["output"]},
            ]
        }
        for row in found
    ]
    names = {"human": "user", "gpt": "assistant"}
    rows += [
        {
            "messages": [
                {"role": names[turn["from"]], "content": turn["value"]}
                for turn in conversation["conversations"]
            ]
        }
        for conversation in conversations
    ]
    train, held_out = split(rows, lambda row: row["messages"][0]["content"], 0.1)
    # Of a held-out conversation the first turn is the prompt, and the first answer the reference.
    first = [[turn["content"] for turn in row["messages"][:2]] for row in held_out]
    return train, [{"prompt": asked, "completion": answer} for asked, answer in first]


def preferences(data: Path) -> tuple[Rows, Rows]:
    found = json.loads((data / "chat/instruction-data-with-preference.json").read_text(encoding="utf-8"))
    rows = [
        {
            "prompt": "\n\n".join(filter(None, (row["instruction"], row["input"]))) + "\n\n",
            "chosen": row["chosen"],
            "rejected": row["rejected"],
        }
        for row in found
    ]
    return split(rows, lambda row: row["prompt"], 0.1)


def corpora(folder: Path, data: Path) -> None:
    """Write corpora for pretraining: sentences of both languages, and English prose, without test rows."""
    rows = [
        json.loads(line) for line in (folder / "translation.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    sides = list(dict.fromkeys(text for row in rows for text in row.values()))
    (folder / "bilingual.txt").write_text("\n".join(sides), encoding="utf-8")
    parts = [
        json.loads(line)["source"]
        for line in (folder / "tldr.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    for line in (folder / "squad.jsonl").read_text(encoding="utf-8").splitlines():
        parts.append(json.loads(line)["context"])
    for name in ("sherlock", "wizard_of_oz"):
        parts.append((data / f"lm/{name}.txt").read_text(encoding="utf-8"))
    (folder / "english.txt").write_text("\n\n".join(dict.fromkeys(parts)), encoding="utf-8")


def main(folder: Path, data: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for make in (stories, translation, tldr, squad, chat, preferences):
        for end, rows in zip(("", "_test"), make(data), strict=True):
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / f"{make.__name__}{end}.jsonl").write_text(text, encoding="utf-8")
            print(f"{make.__name__}{end}.jsonl: {len(rows):,} rows")
    corpora(folder, data)


if __name__ == "__main__":
    if len(sys.argv) != 2 or "LLMKIT_DATA" not in os.environ:
        sys.exit("usage: LLMKIT_DATA=FOLDER python prepare.py OUTPUT")
    main(Path(sys.argv[1]), Path(os.environ["LLMKIT_DATA"]))
