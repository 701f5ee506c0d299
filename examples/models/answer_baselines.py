"""Answers found by counting words, with no model: what a trained reader of answers has to beat.

    python examples/models/answer_baselines.py [--statements] [-o FOLDER] FILE.jsonl...
    llmkit eval --metric squad FOLDER/FILE.sliding.jsonl

Rows have a `question` and a `context`. Each file's rows are written twice with a `prediction` added, as
FILE.sliding.jsonl and FILE.phrase.jsonl, beside the file or in FOLDER.

- sliding: the run of words with the most of the question's words around it, of which rare ones count more.
  The sliding window of Richardson et al. 2013 (MCTest, algorithm 1), as Rajpurkar et al. 2016 (SQuAD) used
  it. They choose among given answers and among a parser's phrases; here any run of a few words is tried.
- phrase: in the sentence of the question's rarest word, the longest run of words that are neither function
  words nor the question's. It stands in for the longest noun phrase, which would take a parser.

Neither knows what "who" or "when" asks for.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from cloze import FUNCTION_WORDS

from llmkit.text.sentences import split_sentences

LONGEST = 5
_WORD = re.compile(r"\w+(?:['’.,-]\w+)*")
# What may stand between the words of a run: other punctuation ends it.
_GAP = re.compile(r"[\s$£%-]*")
# A line break inside a paragraph.
_WRAP = re.compile(r"(?<!\n)\r?\n(?![^\S\n]*\r?\n)")
# "walked" and "walks" are "walk". Crude as it is, it gains a point of F1 on the rows learnt from.
_ENDING = re.compile(r"(['’]s|(?<=\w{3})(ing|ed|es|s|e))$")


class Choices(NamedTuple):
    """What the sliding window leaves open.

    Args:
        width: the words of the window on each side of a run, fewer where its sentence ends.
        length: how many words an answer should have.
    """

    width: int
    length: int


# Chosen on training rows alone, for the highest sum of F1 and exact match. PROSE: on 2,500 rows each of
# SQuAD and FairytaleQA, with widths from 4 to 50 and lengths from 3 to 5: their mean F1 is 22.1, and at best
# 21.5 with width 4, 21.8 with 10. STATEMENTS: on 1,200 rows of bAbI, where an answer is one word, mostly the
# last of a short statement. To count a word the less the farther it stands from the run gains nothing with
# so narrow a window, and with the widest 0.15 of F1, for which 1.3 of exact match are lost.
PROSE = Choices(width=5, length=5)
STATEMENTS = Choices(width=10, length=1)
# What a word more or fewer than `length` takes from the score; anything from 0.01 to 0.05 serves as well.
OFF_LENGTH = 0.03


class Word(NamedTuple):
    """A context's word: its characters' place, what it is compared by, and where it stands."""

    start: int
    end: int
    key: str
    sentence: int
    joined: bool  # to the word before


def key(word: str) -> str:
    word = word.lower()
    return word if word in FUNCTION_WORDS else _ENDING.sub("", word)


@lru_cache(maxsize=1024)
def read(context: str) -> list[Word]:
    words: list[Word] = []
    for number, (start, end) in enumerate(
        split_sentences(_WRAP.sub(lambda found: " " * len(found[0]), context), "en")
    ):
        before = -1
        for found in _WORD.finditer(context, start, end):
            joined = before >= 0 and _GAP.fullmatch(context, before, found.start()) is not None
            words.append(Word(found.start(), found.end(), key(found[0]), number, joined))
            before = found.end()
    return words


def keys(question: str) -> list[str]:
    """The question's words, each once and in order."""
    return list(dict.fromkeys(key(found[0]) for found in _WORD.finditer(question)))


def runs(words: list[Word], asked: set[str]) -> Iterator[tuple[int, int]]:
    """Up to five words, first and last, with function words only inside and the question's nowhere."""
    for first, word in enumerate(words):
        if word.key in asked or word.key in FUNCTION_WORDS:
            continue
        for last in range(first, min(first + LONGEST, len(words))):
            if last > first and (not words[last].joined or words[last].key in asked):
                break
            if words[last].key not in FUNCTION_WORDS:
                yield first, last


def sliding(question: str, context: str, choices: Choices = PROSE) -> str:
    """The run with the highest score, of equals the last; empty where there is no run.

    A word w of the question in a run's window adds log(1 + 1 / the count of w in the context).
    """
    words, asked = read(context), set(keys(question))
    counts = Counter(word.key for word in words)
    weights = {word: math.log(1 + 1 / counts[word]) for word in asked if word in counts}
    best, answer = -math.inf, ""
    for first, last in runs(words, asked):
        window = words[max(0, first - choices.width) : last + choices.width + 1]
        near = {word.key for word in window if word.sentence == words[first].sentence}
        # fsum: in whatever order a set is walked, equals stay equal.
        score = math.fsum(weights[word] for word in near & weights.keys())
        score -= OFF_LENGTH * abs(last - first + 1 - choices.length)
        if score >= best:
            best, answer = score, context[words[first].start : words[last].end]
    return answer


def phrase(question: str, context: str, everywhere: Counter[str]) -> str:
    """The longest run in the sentence of the question's rarest word, of equals the nearest to that word.

    Where the question and the context share no word, or that sentence has no run, it is the longest run of
    the context; empty where there is none.

    Args:
        question: what is asked.
        context: where the answer is looked for.
        everywhere: how often a word occurs in all contexts, which decides between equally rare ones here.
    """
    words, asked = read(context), keys(question)
    counts = Counter(word.key for word in words)
    found: list[tuple[int, int]] = []
    for i, word in enumerate(words):
        if word.key in FUNCTION_WORDS or word.key in asked:
            continue
        if found and found[-1][1] == i - 1 and word.joined:
            found[-1] = (found[-1][0], i)
        else:
            found.append((i, i))
    if not found:
        return ""
    shared = [word for word in asked if word in counts and word not in FUNCTION_WORDS]
    at = 0
    if shared:
        rarest = min(shared, key=lambda word: (counts[word], everywhere[word]))
        at = next(i for i, word in enumerate(words) if word.key == rarest)
        found = [run for run in found if words[run[0]].sentence == words[at].sentence] or found
    first, last = max(found, key=lambda run: (run[1] - run[0], -max(run[0] - at, at - run[1])))
    return context[words[first].start : words[last].end]


def predict(file: Path, folder: Path, choices: Choices) -> None:
    with file.open(encoding="utf-8") as lines:
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.strip()]
    contexts = {row["context"] for row in rows}
    everywhere = Counter(word.key for context in contexts for word in read(context))
    for name in ("sliding", "phrase"):
        with (folder / f"{file.stem}.{name}.jsonl").open("w", encoding="utf-8") as out:
            for row in rows:
                asked = row["question"], row["context"]
                found = sliding(*asked, choices) if name == "sliding" else phrase(*asked, everywhere)
                out.write(json.dumps({**row, "prediction": found}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Answer questions by counting words.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.jsonl")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="not beside the files")
    parser.add_argument("--statements", action="store_true", help="choices for bAbI's short sentences")
    options = parser.parse_args()
    for file in options.files:
        folder = options.output or file.parent
        folder.mkdir(parents=True, exist_ok=True)
        predict(file, folder, STATEMENTS if options.statements else PROSE)
