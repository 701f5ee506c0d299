"""Share of questions whose passage ranks first: BM25, an encoder's cosines, and ways to join the two.

`LLMKIT_DATA` names the folder of data sets, `LLMKIT_ENCODER` a folder with an encoder. SQuAD: paragraphs of
`LLMKIT_RANK_ARTICLES` articles (5), two questions on each. FairytaleQA: the first `LLMKIT_RANK_SECTIONS`
sections (100) of its validation part, and their questions. A library is one article or story, or all of them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from llmkit.text import passages
from llmkit.text.passages import ContextDocument, Library

Corpus = tuple[list[tuple[str, str]], list[tuple[str, int]]]
"""(Article, text) of each passage; and each question with the number of its passage."""
ARTICLES = (0, 3, 6, 9, 14, 19, 24, 29, 34, 39)
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def squad(data: Path, articles: int) -> Corpus:
    """Return paragraphs of SQuAD and two questions on each."""
    found = json.loads((data / "qa" / "squad_v1.1_dev_part.json").read_text(encoding="utf-8"))["data"]
    texts, questions = [], []
    for article in (found[i] for i in ARTICLES[:articles]):
        for paragraph in article["paragraphs"]:
            questions += [(qa["question"], len(texts)) for qa in paragraph["qas"][:2]]
            texts.append((article["title"], paragraph["context"]))
    return texts, questions


def fairytales(data: Path, sections: int) -> Corpus:
    """Return sections of FairytaleQA and the questions on each."""
    rows = [json.loads(line) for line in _lines(data / "stories" / "fairytale_val_sections.jsonl")]
    rows = rows[:sections]
    places = {(row["story"].removesuffix("-story"), row["section"]): i for i, row in enumerate(rows)}
    questions = []
    for line in _lines(data / "qa" / "fairytale_val_qa.jsonl"):
        row = json.loads(line)
        place = places.get((row["story"].removesuffix("-questions"), row["cor_section"]))
        questions += [] if place is None else [(row["question"], place)]
    return [(row["story"], row["text"]) for row in rows], questions


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def libraries(corpus: Corpus, each: bool) -> list[tuple[list[int], list[tuple[str, int]]]]:
    """Return the passages of each library, and its questions."""
    texts, questions = corpus
    if not each:
        return [(list(range(len(texts))), questions)]
    found = []
    for name in dict.fromkeys(name for name, _ in texts):
        members = [i for i, (other, _) in enumerate(texts) if other == name]
        found.append((members, [one for one in questions if one[1] in members]))
    return found


def ranks(corpus: Corpus, vectors: dict[str, np.ndarray], *, each: bool, share: float | None) -> list[int]:
    """Return the place of the right passage for each question; a `share` of None is BM25 alone."""
    found = []
    for members, questions in libraries(corpus, each):
        documents = [ContextDocument(str(i), corpus[0][i][1]) for i in members]
        embed = None if share is None else (lambda texts: np.stack([vectors[text] for text in texts]))
        library = Library(documents, size=10**6, embed=embed)
        for question, right in questions:
            with_share(share)
            found.append([one.document.name for one in library.best(question)].index(str(right)))
    return found


def with_share(share: float | None) -> None:
    """Let the encoder have this share of a passage's score."""
    if share is not None:
        passages.ENCODER_SHARE = share


def main() -> None:
    """Print the table."""
    data, folder = os.environ.get("LLMKIT_DATA"), os.environ.get("LLMKIT_ENCODER")
    if not data or not folder:
        print("rank: skipped; LLMKIT_DATA names the data sets, LLMKIT_ENCODER an encoder")
        return
    from llmkit import ModelSpec, load
    from llmkit.tasks.embeddings.embedder import SentenceEmbedder

    embedder = SentenceEmbedder(load(ModelSpec(folder, task="feature-extraction", device="cpu")))
    articles = int(os.environ.get("LLMKIT_RANK_ARTICLES", "5"))
    sections = int(os.environ.get("LLMKIT_RANK_SECTIONS", "100"))
    default = passages.ENCODER_SHARE
    for name, corpus in (
        ("SQuAD", squad(Path(data), articles)),
        ("FairytaleQA", fairytales(Path(data), sections)),
    ):
        texts = list(dict.fromkeys([text for _, text in corpus[0]] + [text for text, _ in corpus[1]]))
        vectors = dict(zip(texts, embedder(texts), strict=True))
        for each in (False, True):
            one = "a library for each" if each else "one library"
            print(f"\n{name}, {len(corpus[0])} passages, {one}, {len(corpus[1])} questions\n")
            print("| share of the encoder | right one first | among 3 |\n|---|---:|---:|")
            for share in (None, *SHARES, 1.0):
                places = np.array(ranks(corpus, vectors, each=each, share=share))
                label = "0 (BM25)" if share is None else f"{share}" + " (default)" * (share == default)
                first, third = (100 * (places < top).mean() for top in (1, 3))
                print(f"| {label} | {first:.1f} % | {third:.1f} % |", flush=True)
    passages.ENCODER_SHARE = default
