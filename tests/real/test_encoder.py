"""A real sentence encoder: published cosines, ranked passages, extractive summaries."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llmkit import ModelSpec, load
from llmkit.tasks.embeddings.embedder import SentenceEmbedder
from llmkit.text.passages import ContextDocument, Library
from tests.command import rows_of, run
from tests.real import table
from tests.server_process import post, serving

# The examples in the documentation of sentence-transformers, with the scores that it prints for this model:
# its front page, and the page on semantic search.
SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
COSINES = {(0, 1): 0.6660, (0, 2): 0.1046, (1, 2): 0.1411}
FOOD, BREAD, BABY, HORSE, VIOLIN, CARTS, WHITE, DRUMS, CHEETAH = CORPUS = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "A man is riding a horse.",
    "A woman is playing violin.",
    "Two men pushed carts through the woods.",
    "A man is riding a white horse on an enclosed ground.",
    "A monkey is playing drums.",
    "A cheetah is running behind its prey.",
]
FOUND = {
    "A man is eating pasta.": {FOOD: 0.7035, BREAD: 0.5272, HORSE: 0.1889, WHITE: 0.1047, CHEETAH: 0.0980},
    "Someone in a gorilla costume is playing a set of drums.": {
        DRUMS: 0.6433,
        VIOLIN: 0.2564,
        HORSE: 0.1389,
        WHITE: 0.1191,
        CHEETAH: 0.1080,
    },
    "A cheetah chases prey on across a field.": {
        CHEETAH: 0.8253,
        FOOD: 0.1399,
        DRUMS: 0.1292,
        WHITE: 0.1097,
        HORSE: 0.0650,
    },
}


@pytest.fixture(scope="module")
def embedder(encoder_folder: Path) -> SentenceEmbedder:
    return SentenceEmbedder(load(ModelSpec(str(encoder_folder), task="feature-extraction", device="cpu")))


def test_embeddings_have_the_published_cosines(encoder_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "sentences.txt"
    file.write_text("\n".join(SENTENCES))
    result = run("embed", "-m", encoder_folder, "--input", file, "--json")
    assert result.code == 0, result.err
    vectors = np.array([row["embedding"] for row in rows_of(result.out)])
    for (a, b), published in COSINES.items():
        ours = float(vectors[a] @ vectors[b])
        table.add(
            f"MiniLM: cosine of sentences {a + 1} and {b + 1}",
            f"{ours:.4f}",
            f"{published:.4f}",
            ours - published,
        )
        assert ours == pytest.approx(published, abs=1e-4)


def test_a_server_ranks_passages_with_the_published_scores(encoder_folder: Path, tmp_path: Path) -> None:
    with serving(tmp_path, "-m", encoder_folder) as address:
        for query, expected in FOUND.items():
            body = {"query": query, "documents": CORPUS, "top_n": 5}
            found = post(address, "/v1/rerank", body)["results"]
            scores = {one["document"]["text"]: one["relevance_score"] for one in found}
            assert list(scores) == list(expected)
            largest = max(abs(scores[text] - expected[text]) for text in expected)
            first = next(iter(expected))
            table.add(
                f"MiniLM: 5 passages ranked for {query!r}, first score",
                f"{scores[first]:.4f}",
                expected[first],
                f"{largest:.1e} at most, same order",
            )
            assert largest < 1e-4


def test_vectors_are_those_of_transformers(embedder: SentenceEmbedder, encoder_folder: Path) -> None:
    """The mean of the last hidden states without padding, scaled to length 1."""
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(encoder_folder, dtype=torch.float32)
    encoded: Any = AutoTokenizer.from_pretrained(encoder_folder)(CORPUS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**encoded).last_hidden_state
    mask = encoded["attention_mask"][..., None]
    means = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)
    largest = float(np.abs(embedder(CORPUS) - means.numpy()).max())
    table.add("MiniLM: vectors of 9 sentences", "embed", "transformers' states, mean", largest)
    assert largest < 1e-5


def test_an_encoder_finds_passages_that_share_no_word_with_the_question(embedder: SentenceEmbedder) -> None:
    """Without a shared word BM25 has no order, and must not prefer the passages that come first."""
    questions = {
        "Who makes music?": {VIOLIN, DRUMS},
        "Infants": {BABY},
        "Cavalry": {HORSE, WHITE},
    }
    library = Library([ContextDocument(str(i), text) for i, text in enumerate(CORPUS)], embed=embedder)
    for question, wanted in questions.items():
        vectors = embedder([question, *CORPUS])
        by_cosine = [CORPUS[i] for i in np.argsort(-(vectors[1:] @ vectors[0]), kind="stable")]
        assert by_cosine[0] in wanted
        assert [passage.text for passage in library.best(question)] == by_cosine


def squad(data: Path) -> tuple[list[str], list[tuple[str, int]]]:
    """Paragraphs of three articles of SQuAD, and two questions on each with the number of the paragraph."""
    found = json.loads((data / "qa" / "squad_v1.1_dev_part.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for i in (0, 3, 6) for paragraph in found[i]["paragraphs"]]
    questions = [(qa["question"], i) for i, one in enumerate(paragraphs) for qa in one["qas"][:2]]
    return [paragraph["context"] for paragraph in paragraphs], questions


def test_passages_of_squad_are_found(embedder: SentenceEmbedder, data_folder: Path) -> None:
    """The words of these questions are those of their passages, which helps BM25."""
    paragraphs, questions = squad(data_folder)
    documents = [ContextDocument(str(i), text) for i, text in enumerate(paragraphs)]
    shares: dict[str, list[float]] = {}
    for name, embed in (("BM25", None), ("both", embedder)):
        library = Library(documents, size=100_000, embed=embed)
        found = [[one.document.name for one in library.best(question)] for question, _ in questions]
        places = [names.index(str(number)) for names, (_, number) in zip(found, questions, strict=True)]
        shares[name] = [100 * sum(place < top for place in places) / len(places) for top in (1, 3)]
    first, third = shares["both"]
    table.add(
        f"{len(questions)} questions of SQuAD, {len(paragraphs)} passages: right one first, among 3",
        f"{first:.1f} %, {third:.1f} % (BM25 and MiniLM)",
        f"{shares['BM25'][0]:.1f} %, {shares['BM25'][1]:.1f} % (BM25)",
        f"{first - shares['BM25'][0]:+.1f}, {third - shares['BM25'][1]:+.1f}",
    )
    assert first >= shares["BM25"][0]
    assert third >= shares["BM25"][1]


def test_a_question_with_other_words_is_answered_from_the_ranked_passage(
    encoder_folder: Path, tmp_path: Path
) -> None:
    texts = {
        "boats.txt": "The boats stay in the harbor until May. Peter paints them red.",
        "pay.txt": "Employees receive their wages on the last Friday of each month.",
        "lunch.txt": "The kitchen serves soup and bread at noon. Nora is the cook.",
    }
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text)
    question = ("qa", "When do workers get paid?", "--context", folder, "--passages", "1", "--json")
    result = run(*question, "--rank", encoder_folder)
    assert result.code == 0, result.err
    (row,) = rows_of(result.out)
    assert row["file"].endswith("pay.txt")
    assert row["answer"] in texts["pay.txt"]


def test_sentences_are_picked_by_a_real_encoder(
    encoder_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    """Abstracts of SciTLDR in 40 words, beside their first sentences, and tf-idf."""
    lines = (data_folder / "summ" / "scitldr_dev.jsonl").read_text(encoding="utf-8").splitlines()[:30]
    rows = [row for row in map(json.loads, lines) if len(row["source"][0].split()) <= WORDS]
    abstracts = [" ".join(row["source"]) for row in rows]
    file = tmp_path / "abstracts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in abstracts))
    scores = {"lead": rouge(tmp_path, [lead(row["source"]) for row in rows], rows)}
    for name, model in (("tf-idf", ()), ("MiniLM", ("-m", encoder_folder, "--extractive"))):
        out = tmp_path / f"{name}.jsonl"
        result = run("summarize", "--input", file, *model, "--max-words", str(WORDS), "-o", out)
        assert result.code == 0, result.err
        written = [row["summary_text"] for row in rows_of(out.read_text())]
        assert all(len(text.split()) <= WORDS for text in written)
        scores[name] = rouge(tmp_path, written, rows)
    table.add(
        f"extractive summaries of {len(rows)} abstracts: ROUGE-1",
        f"{100 * scores['MiniLM']:.1f} (MiniLM)",
        f"{100 * scores['lead']:.1f} (first sentences), {100 * scores['tf-idf']:.1f} (tf-idf)",
        f"{100 * (scores['MiniLM'] - scores['lead']):+.1f}",
    )
    assert scores["MiniLM"] > scores["lead"] - 0.03


WORDS = 40


def lead(sentences: list[str]) -> str:
    """Return as many first sentences as 40 words hold."""
    sizes = itertools.accumulate(len(sentence.split()) for sentence in sentences)
    return " ".join(sentences[: sum(size <= WORDS for size in sizes)])


def rouge(folder: Path, written: list[str], rows: list[dict[str, Any]]) -> float:
    file = folder / "scored.jsonl"
    pairs = [{"prediction": a, "references": b["target"]} for a, b in zip(written, rows, strict=True)]
    file.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    result = run("eval", "--metric", "rouge", "--stemmer", file, "--json")
    assert result.code == 0, result.err
    scores = {one["name"]: float(one["score"]) for one in json.loads(result.out)["scores"]}
    return scores["rouge1"]
