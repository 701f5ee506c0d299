"""Results in a model card, and everything else in it as it was."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from llmkit.errors import InputError, OptionError
from llmkit.evaluation import examples, make, score_rows
from llmkit.evaluation.card import check_card, update_card

CARD = """---
license: mit   # ours
tags:
- translation
language: [en, de]
---

# Little translator

Text with --- in it, trailing spaces   \nand a table:

---
The end."""


def evaluation(name="f1", prediction="a cat"):
    return score_rows([make(name)], examples([prediction, "dog"], ["a cat", "hot dog"]), resamples=20)


def results(path):
    from huggingface_hub import ModelCard

    return ModelCard.load(path).data.eval_results


def test_the_hub_reads_what_is_written(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(CARD, encoding="utf-8")
    found = evaluation()
    update_card(path, found, dataset="zoo")
    (result,) = results(path)
    assert (result.dataset_name, result.metric_type, result.metric_name) == ("zoo", "f1", "f1")
    assert (result.task_type, result.metric_value) == ("question-answering", 0.8333)
    assert result.metric_args["signature"] == found.scores[0].signature
    assert result.metric_args["interval"] == [round(found.scores[0].low, 4), round(found.scores[0].high, 4)]


def test_infinite_scores_are_left_out(tmp_path):
    """YAML has `.inf`, but the Hub's JSON has no such number."""
    path = tmp_path / "README.md"
    path.write_text(CARD, encoding="utf-8")
    found = evaluation()
    infinite = replace(found.scores[0], name="word_perplexity", score=math.inf)
    wide = replace(found.scores[0], name="wide", high=math.inf)
    assert update_card(path, replace(found, scores=[infinite]), dataset="zoo") == ["word_perplexity"]
    assert path.read_text(encoding="utf-8") == CARD
    assert update_card(path, replace(found, scores=[*found.scores, infinite, wide]), dataset="zoo") == [
        "word_perplexity"
    ]
    assert [(one.metric_name, "interval" in one.metric_args) for one in results(path)] == [
        ("f1", True),
        ("wide", False),
    ]
    assert "inf" not in path.read_text(encoding="utf-8")


def test_the_rest_stays_byte_for_byte(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(CARD, encoding="utf-8")
    update_card(path, evaluation(), dataset="zoo")
    before, after = CARD.split("---\n", 2), path.read_text(encoding="utf-8").split("---\n", 2)
    assert after[1].startswith(before[1] + "model-index:\n- name: Little translator\n")
    assert after[2] == before[2]


def test_a_second_run_replaces_its_own_number_only(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(CARD, encoding="utf-8")
    update_card(path, evaluation(), dataset="zoo")
    update_card(path, evaluation("exact_match"), dataset="zoo")
    update_card(path, evaluation(), dataset="farm")
    update_card(path, evaluation(prediction="x"), dataset="zoo")
    found = {(one.dataset_name, one.metric_name): one.metric_value for one in results(path)}
    assert found == {
        ("zoo", "f1"): 0.3333,
        ("zoo", "exact_match"): 0.5,
        ("farm", "f1"): 0.8333,
    }
    once = path.read_bytes()
    update_card(path, evaluation(prediction="x"), dataset="zoo")
    assert path.read_bytes() == once


@pytest.mark.parametrize("indent", ["", "  "])
def test_what_others_wrote_into_the_index_stays(tmp_path, indent):
    others = [
        "- name: Old name",
        "  results:",
        "  - task:",
        "      type: translation",
        "    dataset: {type: wmt14, name: WMT14, args: de-en}",
        "    metrics:",
        "    - {type: bleu, value: 27.5, name: BLEU, verified: true}",
    ]
    block = "".join(f"{indent}{line}\n" for line in others)
    path = tmp_path / "README.md"
    path.write_text(
        f"---\nmodel-index:\n{block}# about the rest\nlicense: mit\n---\nBody\n", encoding="utf-8"
    )
    update_card(path, evaluation(), dataset="zoo")
    text = path.read_text(encoding="utf-8")
    assert text.endswith("license: mit\n---\nBody\n")
    kept, added = results(path)
    assert (kept.dataset_args, kept.metric_value, kept.verified) == ("de-en", 27.5, True)
    assert added.metric_value == 0.8333
    assert "- name: Old name\n" in text


def test_a_card_without_a_header(tmp_path):
    folder = tmp_path / "my-model"
    folder.mkdir()
    path = folder / "README.md"
    path.write_text("Just text.\r\n", encoding="utf-8", newline="")
    update_card(path, evaluation(), dataset="zoo")
    text = path.read_bytes().decode()
    assert text.startswith("---\r\nmodel-index:\r\n- name: my-model\r\n")
    assert text.endswith("\r\n---\r\nJust text.\r\n")
    assert "\n" not in text.replace("\r\n", "")
    assert len(results(path)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("---\na: [1\n---\n", "the header between the --- lines is not YAML"),
        ("---\n- a\n---\n", "the header between the --- lines is not a YAML mapping"),
    ],
)
def test_a_broken_card_is_left_alone(tmp_path, text, message):
    path = tmp_path / "README.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        check_card(path)
    assert path.read_text(encoding="utf-8") == text


def test_no_card(tmp_path):
    with pytest.raises(OptionError, match="README") as caught:
        check_card(tmp_path / "README.md")
    assert caught.value.option == "card"
