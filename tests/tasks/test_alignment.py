"""Words of a text and those of its translation, by cross-attention."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmkit.engines.base import Engine
from llmkit.engines.open import open_engine
from llmkit.runtime.spec import ModelSpec
from llmkit.tasks.alignment import WordAligner, token_spans, word_pairs
from llmkit.tasks.decoding import GenerationOptions
from llmkit.tasks.translation import Translation
from tests.conftest import TinyModel
from tests.parity.folders import make_folder


@pytest.fixture(scope="module")
def translator() -> Engine:
    return open_engine(ModelSpec("translator", bundled=True))


@pytest.mark.parametrize(
    ("weights", "pairs"),
    [
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [("the", "le"), ("dog", "chien"), ("barks", "aboie")]),
        ([[0, 1, 0], [1, 0, 0], [0, 0, 1]], [("dog", "le"), ("the", "chien"), ("barks", "aboie")]),
        # A word whose attention is spread over all others has no pair.
        ([[1, 0, 0], [0.25, 0.24, 0.26], [0, 0, 1]], [("the", "le"), ("barks", "aboie")]),
        ([[0, 0, 0]] * 3, []),
        # An article that attends to its noun, for the gender, is not a translation of the noun.
        ([[0.4, 0.5, 0.1], [0, 1, 0], [0, 0, 1]], [("the", "le"), ("dog", "chien"), ("barks", "aboie")]),
        ([[0, 0.6, 0.4], [0, 1, 0], [0, 0, 1]], [("dog", "chien"), ("barks", "aboie")]),
        # Two words of one.
        ([[0, 1, 0], [0, 0.9, 0.1], [0, 0, 1]], [("dog", "le"), ("dog", "chien"), ("barks", "aboie")]),
    ],
)
def test_pairs_of_words(weights: list[list[float]], pairs: list[tuple[str, str]]) -> None:
    source, target = "the dog barks", "le chien aboie"
    if any(sum(row) < 1 for row in weights) and pairs:
        source = "the dog barks now"
        weights = [[*row, 0.25] if sum(row) < 1 else [*row, 0] for row in weights]
    spans = {text: _spans(text) for text in (source, target)}
    found = word_pairs(np.array(weights), source, spans[source], target, spans[target])
    assert [(source[a:b], target[c:d]) for (a, b), (c, d) in found] == pairs


def _spans(text: str) -> list[tuple[int, int]]:
    places, start = [], 0
    for word in text.split():
        places.append((start, start + len(word)))
        start += len(word) + 1
    return places


@pytest.mark.parametrize("family", ["marian", "t5", "nllb"])
def test_tokens_have_their_places(family: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(make_folder(family, tmp_path))
    text = "The cat sat on the mat."
    ids = tokenizer(text)["input_ids"]
    spans = token_spans(tokenizer, ids, text)
    assert len(spans) == len(ids)
    covered = {i for a, b in spans for i in range(a, b)}
    assert covered == {i for i, character in enumerate(text) if character != " "}


def test_the_embedded_translator_aligns(translator: Engine) -> None:
    translation = Translation(translator, GenerationOptions(), source="en", target="de")
    document = translation.document("Tom is in Boston with his mother. Where is my book?")
    (result,) = translation.run([document], translation.budget(None))
    pairs = WordAligner(translator, translation.direction).align_result(document, result)
    words = {document.layout.text[a:b]: result.text[c:d] for (a, b), (c, d) in pairs}
    # By a dictionary.
    known = {
        "Tom": "Tom",
        "Boston": "Boston",
        "his": "seiner",
        "mother": "Mutter",
        "book": "Buch",
        "my": "mein",
    }
    assert {word: words.get(word) for word in known} == known


def test_no_alignment_without_cross_attention(tiny_model: TinyModel) -> None:
    engine = open_engine(ModelSpec(str(tiny_model("llama", chat=True))))
    translation = Translation(engine, GenerationOptions(), source="en", target="de")
    assert not WordAligner.possible(engine, translation.direction)
