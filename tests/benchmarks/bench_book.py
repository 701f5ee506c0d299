"""Four numbers that say whether sampled text is a book's kind, and no copy of it.

    python -m tests.benchmarks.bench_book BOOK SAMPLES [--tokenizer FOLDER]

BOOK is a text file; SAMPLES a text file, or the JSONL file of `llmkit generate -o` with a text in each row.
Words are the lower-case runs of letters; in a script without spaces each character is one. The four numbers:

1. known words: of the samples' words, every occurrence counted, the share that occurs in the book (at least
   0.90); of a script without spaces, of their runs of three characters, white space left out (at least 0.70).
2. distinct words: the number of different words of the samples, divided by that of as long a passage of the
   book, on average over ten passages at even distances (at least 0.7).
3. longest copy: the most tokens in a row that a sample has in common with the book (at most 30): tokens of
   the model's tokenizer, or without `--tokenizer` words and marks.
4. words: the number of words of the samples, by which the other three can be judged (at least 500).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

from llmkit.text.words import is_unspaced

KNOWN, KNOWN_3_GRAMS, DISTINCT, COPIED, WORDS = 0.90, 0.70, 0.7, 30, 500
_PASSAGES = 10


def words(text: str) -> list[str]:
    """The runs of letters of a text, in lower case, or its characters if its script has no spaces."""
    found = re.findall(r"[^\W\d_]+", text.lower())
    return [part for word in found for part in (word if is_unspaced(word) else [word])]


def three_grams(text: str) -> list[str]:
    """The runs of three characters of a text without its white space."""
    text = "".join(text.split())
    return [text[at : at + 3] for at in range(len(text) - 2)]


def known(book: str, samples: Sequence[str]) -> float:
    """The share of the samples' words, or 3-grams, that occur in the book."""
    pieces = three_grams if is_unspaced(book) else words
    there = set(pieces(book))
    found = [piece for text in samples for piece in pieces(text)]
    return sum(piece in there for piece in found) / max(len(found), 1)


def distinct(book: Sequence[str], sampled: Sequence[str]) -> float:
    """Different words over all words of the samples, over the same of equally long passages of the book."""
    size = min(len(sampled), len(book))
    starts = [(len(book) - size) * number // (_PASSAGES - 1) for number in range(_PASSAGES)]
    of_book = sum(len(set(book[start : start + size])) for start in starts) / _PASSAGES / max(size, 1)
    return len(set(sampled)) / max(len(sampled), 1) / of_book


def longest_copy(book: Sequence[Hashable], sample: Sequence[Hashable]) -> tuple[int, int]:
    """The length of the longest run that a sample shares with the book, and its place in the sample."""
    longest, place = 0, 0
    for size in range(1, len(sample) + 1):
        there = {tuple(book[at : at + size]) for at in range(len(book) - size + 1)}
        found = (at for at in range(len(sample) - size + 1) if tuple(sample[at : at + size]) in there)
        first = next(found, None)
        if first is None:
            break
        longest, place = size, first
    return longest, place


def read_samples(file: Path) -> list[str]:
    """The texts of a file of samples: one, or each `generated_text` of the rows."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".jsonl":
        return [text]
    found = [json.loads(line)["generated_text"] for line in text.split("\n") if line]
    return [one for texts in found for one in ([texts] if isinstance(texts, str) else texts)]


def report(book: str, samples: Sequence[str], tokenizer: str | None = None) -> Iterable[str]:
    """The lines of the table, each with its threshold."""
    sampled = [word for text in samples for word in words(text)]
    if tokenizer is not None:
        from transformers import AutoTokenizer

        loaded = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)

        def pieces(text: str) -> list[Hashable]:
            return list(loaded(text, add_special_tokens=False)["input_ids"])
    else:

        def pieces(text: str) -> list[Hashable]:
            return [part for word in re.findall(r"\w+|[^\w\s]", text) for part in _split(word)]

    of_book, of_samples = pieces(book), [pieces(text) for text in samples]
    copies = [(*longest_copy(of_book, one), one) for one in of_samples]
    longest, begins, where = max(copies, key=lambda one: one[0])
    unspaced = is_unspaced(book)
    threshold = KNOWN_3_GRAMS if unspaced else KNOWN
    share, ratio = known(book, samples), distinct(words(book), sampled)
    yield _line("known 3-grams" if unspaced else "known words", share, f">= {threshold}", share >= threshold)
    yield _line("distinct words, of the book's", ratio, f">= {DISTINCT}", ratio >= DISTINCT)
    yield _line("longest copy, tokens", longest, f"<= {COPIED}", longest <= COPIED)
    yield _line("words", len(sampled), f">= {WORDS}", len(sampled) >= WORDS)
    run = where[begins : begins + longest]
    yield f"the copy: {loaded.decode(run) if tokenizer is not None else ' '.join(map(str, run))}"


def _split(word: str) -> Iterable[str]:
    return word if is_unspaced(word) else [word]


def _line(name: str, value: float, threshold: str, met: bool) -> str:
    shown = f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
    return f"{name:32} {shown:>8}  {threshold:>8}  {'met' if met else 'MISSED'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("book", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--tokenizer")
    given = parser.parse_args()
    book = given.book.read_text(encoding="utf-8")
    for line in report(book, read_samples(given.samples), given.tokenizer):
        print(line)


if __name__ == "__main__":
    main()
