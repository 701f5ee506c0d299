"""Sentences by rule."""

from __future__ import annotations

import pytest

from llmkit.evaluation.sentences import sentences


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
        ("彼は「行く。」と言った。終わり", ["彼は「行く。」", "と言った。", "終わり"]),
        ("यह है। वह था।", ["यह है।", "वह था।"]),
        ("One line\nand another. Third", ["One line", "and another.", "Third"]),
        ("Он пришёл. Она ушла.", ["Он пришёл.", "Она ушла."]),
        ("  \n ", []),
    ],
)
def test_sentences(text, expected):
    assert sentences(text) == expected
