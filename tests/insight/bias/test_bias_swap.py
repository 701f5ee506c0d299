"""Swapped terms: agreement, refusals, and measures of outputs that are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import llmkit
from llmkit import BiasOptions, InputError, bias
from llmkit.insight.bias.swap import measure_swap
from llmkit.insight.bias.swap.swapper import Swapper
from llmkit.insight.bias.swap.terms import gender_terms, read_terms

FEW = BiasOptions(resamples=100)
SENTENCES = [
    ("He lost his book, and the book was his.", "She lost her book, and the book was hers."),
    ("She saw him. HER dog bit her.", "He saw her. HIS dog bit him."),
    ("The girl took her red ball and hugged her.", "The boy took his red ball and hugged him."),
    ("Her sister's husband said: it is hers.", "His brother's wife said: it is his."),
    ("They brought it to her in May.", "They brought it to him in May."),
    ("She's the queen; he'd know.", "He's the king; she'd know."),
    ("He hurt himself.", "She hurt herself."),
    ("Mrs. Brown met the chairman.", "Mr. Brown met the chairwoman."),
    ("Tom told Lily a story.", "Lily told Tom a story."),
    ("I miss my MOTHER", "I miss my FATHER"),
    ("The thesis of the human woman", "The thesis of the human man"),
    ('(He), "he"; _he_, she-wolf. HE2', '(She), "she"; _she_, he-wolf. HE2'),
    ("It was his 'own' and her “own” dog", "It was her 'own' and his “own” dog"),
    ("Her fiance\u0301 said: yes, ma’am", "His fiancée said: yes, sir"),
]


@pytest.fixture(scope="module")
def swapper() -> Swapper:
    return Swapper(gender_terms())


@pytest.mark.parametrize(("text", "expected"), SENTENCES)
def test_a_swap_agrees_in_case_possessive_and_name(swapper: Swapper, text: str, expected: str) -> None:
    found = swapper.swap(text)
    assert found.text == expected
    assert found.refusal is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The mother gave birth to a boy.", "gave birth"),
        ("He has prostate cancer.", "prostat"),
        ("My sister is pregnant.", "pregnan"),
        ("King Henry loved his wife.", "King Henry"),
        ("Thomas Edison said that he was tired.", "Thomas Edison"),
        ("They gave her flowers.", "gave her flowers"),
        ("They met her 3 times.", "met her 3"),
        ("It rained.", "no term"),
    ],
)
def test_a_swap_that_would_change_the_truth_is_refused(swapper: Swapper, text: str, reason: str) -> None:
    refusal = swapper.swap(text).refusal
    assert refusal is not None
    assert reason in refusal


def test_two_swaps_give_the_text_back(swapper: Swapper) -> None:
    for text, _ in SENTENCES:
        if "Mrs" not in text and "ma’am" not in text:
            assert swapper.normal(text) == text
    assert swapper.normal("Mrs. Brown met the chairman.") == "Ms. Brown met the chairman."


def test_terms_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "age.tsv"
    path.write_text("#young\told\nyoung\told\nyoung man\telderly man\n\nnursery\n", encoding="utf-8")
    terms = read_terms(path)
    assert terms.sides == ("young", "old")
    found = Swapper(terms).swap("A Young man met an elderly man and an OLD dog.")
    assert found.text == "A Elderly man met an young man and an YOUNG dog."
    assert found.sides == (1, 2)
    assert "nursery" in str(Swapper(terms).swap("The young child in the nursery").refusal)


@pytest.mark.parametrize(
    ("terms", "text", "expected"),
    [
        # Chinese and Japanese: wherever the term occurs, the longest term first.
        ("他\t她\n男人\t女人", "他說男人很好。", "她說女人很好。"),
        ("彼\t彼女", "彼女は彼が好き", "彼は彼女が好き"),
        ("เขาชาย\tเขาหญิง", "กเขาชายด", "กเขาหญิงด"),
        # Hindi: a vowel sign belongs to its word.
        ("लड़का\tलड़की\nलड़क\tX", "लड़का। लड़के", "लड़की। लड़के"),
        (
            "der Lehrer\tdie Lehrerin",
            "Der\nLehrer. (der  Lehrer) DER LEHRER",
            "Die Lehrerin. (die Lehrerin) DIE LEHRERIN",
        ),
        ("Doctor\tDr. Who", "Doctor, doctor, DR. WHO", "Dr. Who, dr. who, DOCTOR"),
        # Letters that have no lower case of one character, or match another letter without case.
        ("iyi\tkötü\nstark\tweak", "İyi, ıyi ſtark", "Kötü, kötü weak"),
        ("C++\tC#", "C++, c#.", "C#, c++."),
    ],
)
def test_terms_of_any_script(tmp_path: Path, terms: str, text: str, expected: str) -> None:
    path = tmp_path / "terms.tsv"
    path.write_text(terms + "\n", encoding="utf-8")
    assert Swapper(read_terms(path)).swap(text).text == expected


def test_swapped_questions_need_a_context(tmp_path: Path) -> None:
    file = rows(tmp_path / "rows.jsonl", {"question": "Who is he?", "answers": ["Tom"]})
    with pytest.raises(InputError, match="needs a column `context`; it has question, answers"):
        bias("reader", file, swap="gender", task="qa", options=FEW)


def test_a_refused_term_is_a_whole_word(tmp_path: Path) -> None:
    path = tmp_path / "terms.tsv"
    path.write_text("young\told\nnurse\n看護師\n", encoding="utf-8")
    swapper = Swapper(read_terms(path))
    assert swapper.swap("A young man in the nursery").refusal is None
    for text in ("A young nurse.", "young 看護師です"):
        assert "no longer be true" in str(swapper.swap(text).refusal)


@pytest.mark.parametrize(
    "text", ["", "young\n", "a\tb\tc\n", "same\tSame\n", "x" * 200 + "\ty\n", "a\tb\n" * 10_001]
)
def test_bad_files_of_terms_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "terms.tsv"
    path.write_text(text)
    with pytest.raises(InputError):
        read_terms(path)


def rows(path: Path, *data: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in data))
    return path


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch):
    """Outputs in place of a model's: a function of the texts of a row."""

    def use(output) -> None:
        monkeypatch.setattr(measure_swap, "open_for", lambda *_: None)
        monkeypatch.setattr(measure_swap, "signature", lambda loaded, reading: reading)
        monkeypatch.setattr(
            measure_swap,
            "run_task",
            lambda task, model, several, options: [output(*texts) for texts in several],
        )

    return use


QA = [
    {"question": "Who sat?", "context": "The man sat. His dog ran.", "answers": ["The man"]},
    {"question": "Who ran?", "context": "The girl ran to her mother.", "answers": ["The girl"]},
    {"question": "Who came?", "context": "A boy came.", "answers": ["A boy"]},
    {"question": "Who slept?", "context": "A woman slept.", "answers": ["A woman"]},
    {"question": "Who sang?", "context": "A woman and a man sang.", "answers": ["A woman and a man"]},
    {"question": "Who sold it?", "context": "The king sold it.", "answers": ["The king"]},
]


def test_a_model_that_treats_both_alike_has_no_gap(echo, tmp_path: Path) -> None:
    echo(lambda question, context: " ".join(context.split()[:2]))
    found = bias("any", rows(tmp_path / "qa.jsonl", *QA), swap="gender", task="qa", options=FEW)
    assert found["outputs that change"].value == 0
    assert found["similarity of the outputs"].value == 100
    assert found["length, male - female"].value == 0
    assert found["f1, male - female"].value == 0
    assert found["f1, male - female"].n == 5  # a row that mixes both groups has no direction
    assert "6 rows swapped, 0 refused" in found.notes[0]


def test_a_model_that_fails_on_women_has_the_gap_computed_by_hand(echo, tmp_path: Path) -> None:
    def answer(question: str, context: str) -> str:
        women = any(word in context.split() for word in ("girl", "woman", "queen"))
        return "nobody knows it at all" if women else " ".join(context.split(".")[0].split()[:2])

    echo(answer)
    found = bias("any", rows(tmp_path / "qa.jsonl", *QA), swap="gender", task="qa", options=FEW)
    # One copy of each row is about women: five words and F1 0; the other has two words and F1 100.
    assert found["length, male - female"].value == 2 - 5
    assert found["f1, male - female"].value == pytest.approx(100)
    assert found["outputs that change"].value == pytest.approx(5 / 6)


def test_a_translation_needs_references_of_its_own(echo, tmp_path: Path) -> None:
    echo(lambda text: "Der Mann" if "man" in text.split() else "Die Frau")
    data = {"text": "The man sat", "references": ["Der Mann"], "swapped_references": ["Die Frau"]}
    one = rows(tmp_path / "a.jsonl", *[data] * 5)
    found = bias("any", one, swap="gender", task="translate", options=FEW)
    assert found["outputs that change"].ideal is None
    assert found["chrF2, male - female"].value == 0
    assert found["chrF2"].value == pytest.approx(100)
    bare = rows(tmp_path / "b.jsonl", *[{"text": "The man sat", "references": ["Der Mann"]}] * 5)
    with pytest.raises(KeyError):
        bias("any", bare, swap="gender", task="translate", options=FEW)["chrF2"]


def test_rows_that_cannot_be_swapped_are_counted_or_refused(echo, tmp_path: Path) -> None:
    echo(lambda text: text)
    some = rows(tmp_path / "a.jsonl", {"text": "A man"}, {"text": "It rained"}, {"text": "She is pregnant"})
    found = bias("any", some, swap="gender", task="generate", options=FEW)
    assert found.notes[0] == "1 rows swapped, 2 refused"
    assert any("pregnan" in note for note in found.notes)
    with pytest.raises(InputError, match="no row can be swapped"):
        bias("any", rows(tmp_path / "b.jsonl", {"text": "It rained"}), swap="gender", task="generate")
    with pytest.raises(llmkit.OptionError):
        bias("any", some, swap="gender", task="generate", options=BiasOptions(target="de"))


def test_the_embedded_reader_answers_both_copies(tmp_path: Path) -> None:
    path = rows(tmp_path / "qa.jsonl", *QA[:2])
    found = bias("reader", path, swap="gender", task="qa", options=FEW)
    (one, *_) = found.records
    assert one["texts"]["swapped"] == "Who sat?\nThe woman sat. Her dog ran."
    alone = llmkit.answer("reader", "Who sat?", "The woman sat. Her dog ran.")[0].text
    assert one["output"]["output of the swapped"] == alone
    assert "model:reader@embedded" in found.signature
