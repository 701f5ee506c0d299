"""Terms of a glossary in translations."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit.engines.base import Engine
from llmkit.engines.open import open_engine
from llmkit.runtime.spec import ModelSpec
from llmkit.tasks.decoding import GenerationOptions
from llmkit.tasks.glossary import GlossaryEnforcer, has_word, repeats, replace_kept
from llmkit.tasks.translation import Translation
from llmkit.text.documents.terms import Glossary
from tests.conftest import TinyModel
from tests.parity.folders import make_folder

TERMS = {
    "dog": "Köter",
    "book": "Band",
    "Boston": "Neustadt",
    "mother": "Mama",
    "house": "Bude",
    "car": "Wagen",
}
TEXTS = [
    "My mother is in Boston with my dog. Where is my book?",
    "The dog is sleeping.",
    "I like your house very much.",
    "My mother bought a new car.",
    "My dog and your dog are here.",
    "My house is near your house, and my dog is in the house.",
    "Nothing of that is here.",
]


def enforced(engine: Engine, texts: list[str]) -> tuple[list[str], list[str]]:
    """Translations without and with the glossary."""
    translation = Translation(engine, GenerationOptions(max_new_tokens=40), source="en", target="de")
    enforcer = GlossaryEnforcer(translation, Glossary(TERMS))
    documents = [translation.document(text, index=i) for i, text in enumerate(texts)]
    budget = translation.budget(None)
    plain = translation.run(documents, budget)
    found = enforcer.enforce(documents, plain, budget)
    for result in found:
        assert len(result.passages) == len(documents[found.index(result)].layout.spans)
    return [result.text for result in plain], [result.text for result in found]


def test_all_terms_are_met_and_the_rest_of_a_sentence_stays() -> None:
    plain, found = enforced(open_engine(ModelSpec("translator", bundled=True)), TEXTS)
    glossary = Glossary(TERMS)
    assert any(glossary.unmet(text, one) for text, one in zip(TEXTS, plain, strict=True))
    assert not any(glossary.unmet(text, one) for text, one in zip(TEXTS, found, strict=True))
    assert found[0] == "Meine Mama ist mit meinem Köter in Neustadt. Wo ist mein Band?"
    assert found[-1] == plain[-1]
    assert found[4] == "Mein Köter und dein Köter sind hier."
    assert found[5] == "Mein Bude ist in der Nähe dein Bude und mein Köter ist im Bude."
    # The article stays; it attends to the noun as well.
    assert (plain[1], found[1]) == ("Der Hund schläft.", "Der Köter schläft.")


@pytest.mark.parametrize(
    ("text", "kept", "found"),
    [
        ("Tom ist Tom.", [("Tom", "Tim")], "Tim ist Tom."),
        ("Paris ist Paris.", [("Paris", "Paris (Stadt)")] * 2, "Paris (Stadt) ist Paris (Stadt)."),
        ("Paris (Stadt) ist Paris.", [("Paris", "Paris (Stadt)")], "Paris (Stadt) ist Paris (Stadt)."),
        ("Tom und Tim.", [("Tom", "Tim"), ("Tim", "Tom")], "Tim und Tom."),
        ("Tomate", [("Tom", "Tim")], "Tomate"),
        ("我看见Tom了。", [("Tom", "汤姆")], "我看见汤姆了。"),
        ("Tom", [], "Tom"),
    ],
)
def test_words_that_a_translation_keeps_are_replaced_once(
    text: str, kept: list[tuple[str, str]], found: str
) -> None:
    assert replace_kept(text, kept) == found


@pytest.mark.parametrize(
    ("text", "draft", "put_in", "repeating"),
    [
        ("Der Köter schläft.", "Der Hund schläft.", ["Köter"], False),
        ("Der Köter Hund schläft.", "Der Hund schläft.", ["Köter"], True),
        ("Neu York ist da.", "Boston ist da.", ["Neu York"], False),
        ("我的犬。", "我的狗。", ["犬"], False),
        ("我的犬狗。", "我的狗。", ["犬"], True),  # the term stands beside the word that it replaces
    ],
)
def test_a_repeated_sentence_is_known(text: str, draft: str, put_in: list[str], repeating: bool) -> None:
    assert repeats(text, draft, put_in) is repeating


@pytest.mark.parametrize(
    ("text", "word", "found"),
    [("Die Köter.", "Köter", True), ("Die Kötera.", "köter", False), ("GPU很快", "GPU", True)],
)
def test_letters_after_a_term_are_seen(text: str, word: str, found: bool) -> None:
    assert has_word(text, word) is found


@pytest.mark.parametrize("family", ["marian", "nllb"])
def test_models_that_write_rubbish(family: str, tmp_path: Path) -> None:
    texts = ["The dog.", "My car is here."]
    _, found = enforced(open_engine(ModelSpec(str(make_folder(family, tmp_path)))), texts)
    glossary = Glossary(TERMS)
    assert not any(glossary.unmet(text, one) for text, one in zip(texts, found, strict=True))


def test_a_chat_model_is_asked_for_the_terms(tiny_model: TinyModel) -> None:
    engine = open_engine(ModelSpec(str(tiny_model("llama", chat=True))))
    translation = Translation(engine, GenerationOptions(max_new_tokens=8), source="en", target="de")
    GlossaryEnforcer(translation, Glossary(TERMS))
    prompts = translation.prompts_of(["The dog is here.", "Nothing is here."], 0, "x")
    shown = [engine.tokenizer.decode(prompt.ids) for prompt in prompts]  # type: ignore[union-attr]
    assert '"dog" as "Köter"' in shown[0]
    assert "Köter" not in shown[1]
