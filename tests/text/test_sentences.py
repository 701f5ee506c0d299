"""Sentences by rule."""

from __future__ import annotations

import random

import pytest

from llmkit.text.sentences import split_sentences


def sentences(text: str, language: str | None = None) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text, language)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Smith met Mrs. Jones. They left.", ["Dr. Smith met Mrs. Jones.", "They left."]),
        ("The U.S. Army and J. R. Tolkien.", ["The U.S. Army and J. R. Tolkien."]),
        ("He said no. Then he left.", ["He said no.", "Then he left."]),
        ("See No. 5 and Fig. 3. It rained on Jan. 7.", ["See No. 5 and Fig. 3.", "It rained on Jan. 7."]),
        ("It costs 3.50 now. 20 came.", ["It costs 3.50 now.", "20 came."]),
        ('"Stop!" he said. "Why?" Nobody knew.', ['"Stop!" he said.', '"Why?"', "Nobody knew."]),
        ("Well… maybe. Or not... We saw.", ["Well… maybe.", "Or not...", "We saw."]),
        ("今天很好。我们走吧！你呢？", ["今天很好。", "我们走吧！", "你呢？"]),
        ("走吧!你呢?好", ["走吧!", "你呢?", "好"]),
        ("我……不知道。真的", ["我……不知道。", "真的"]),
        ("彼は「行く。」と言った。終わり", ["彼は「行く。」と言った。", "終わり"]),
        ("値は３．５です．次", ["値は３．５です．", "次"]),
        ("यह है। वह था।", ["यह है।", "वह था।"]),
        ("هل جئت؟ نعم. شكرا", ["هل جئت؟", "نعم.", "شكرا"]),
        ("یہ ہے۔ وہ تھا۔", ["یہ ہے۔", "وہ تھا۔"]),
        ("ሰላም ነው። እሺ", ["ሰላም ነው።", "እሺ"]),
        ("네. 알겠습니다. 가요", ["네.", "알겠습니다.", "가요"]),
        ("One line\nand another. Third", ["One line", "and another.", "Third"]),
        ("Он пришёл. Она ушла. А. С. Пушкин", ["Он пришёл.", "Она ушла.", "А. С. Пушкин"]),
        ("1. First one. 2nd\n12) Next", ["1. First one.", "2nd", "12) Next"]),
        ("He came at 5 p.m. She left.", ["He came at 5 p.m.", "She left."]),
        ("So did I. But we stayed. By I. Newton.", ["So did I.", "But we stayed.", "By I. Newton."]),
        ("See www.example.com/a?b=1. Then go.", ["See www.example.com/a?b=1.", "Then go."]),
        ("  \n ", []),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("de", "Vgl. Nr. 7, z. B. am 3. Mai. Er kam.", ["Vgl. Nr. 7, z. B. am 3. Mai.", "Er kam."]),
        ("de", "Im Jahr 1999. Dann", ["Im Jahr 1999.", "Dann"]),
        ("fr", "M. Dupont et Mme. Curie. Oui ! Non", ["M. Dupont et Mme. Curie.", "Oui !", "Non"]),
        ("es", "¿Quién? El Sr. Gil. ¡Ya!", ["¿Quién?", "El Sr. Gil.", "¡Ya!"]),
        ("sv", "Det är hon. Hon kom.", ["Det är hon.", "Hon kom."]),
        ("nb", "Kl. 5 kom hr. Berg. Ja.", ["Kl. 5 kom hr. Berg.", "Ja."]),
        ("el", "Ποιος είναι; Εγώ.", ["Ποιος είναι;", "Εγώ."]),
        ("en", "He came; she left.", ["He came; she left."]),
        ("ru", "См. стр. 5. Проф. Иванов.", ["См. стр. 5.", "Проф. Иванов."]),
    ],
)
def test_what_a_language_changes(language: str, text: str, expected: list[str]) -> None:
    assert sentences(text, language) == expected


def test_only_white_space_is_between_sentences() -> None:
    chance = random.Random(0)
    pieces = [
        "Dr.",
        " ",
        "\n",
        "\r\n",
        "\t",
        "No. 5",
        "…",
        "。",
        "」",
        "!",
        "a",
        "B",
        "\u3000",
        "\u2028",
        "1.",
    ]
    for _ in range(300):
        text = "".join(chance.choices(pieces, k=chance.randint(0, 30)))
        spans = split_sentences(text)
        edges = [0, *(edge for span in spans for edge in span), len(text)]
        assert edges == sorted(edges)
        assert not "".join(text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)).strip()
        assert all(text[start:end].strip() == text[start:end] != "" for start, end in spans)
