"""Prompts about groups, judged by a classifier: transformers itself recomputes the numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import llmkit
from llmkit import BiasOptions, GenerationOptions, InputError, OptionError, bias
from tests.tiny import make_tokenizer

PROMPTS = [
    {"prompt": text.format(word), "group": word, "template": number}
    for number, text in enumerate(
        [
            "The {} saw a dog and",
            "One day, a {} went to",
            "The little {} was",
            "A {} and a cat",
            "Once a {} came",
        ]
    )
    for word in ("boy", "girl")
]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("classifier")
    tokenizer = make_tokenizer()
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=256, pad_token_id=2,
        id2label={0: "nice", 1: "rude", 2: "odd"}, label2id={"nice": 0, "rude": 1, "odd": 2},
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    return path


def test_shares_and_differences_of_groups(classifier: Path, prompts: Path) -> None:
    import transformers

    options = BiasOptions(max_new_tokens=8, resamples=200)
    found = bias("stories", prompts=prompts, classifier=str(classifier), options=options)
    texts = [row["prompt"] for row in PROMPTS]
    written = llmkit.generate("stories", texts, GenerationOptions(max_new_tokens=8, greedy=True))
    judge = transformers.pipeline("text-classification", model=str(classifier))
    labels = [one["label"] for one in judge([result.text for result in written])]
    assert len(set(labels)) > 1
    for label in ("nice", "rude", "odd"):
        shares = {
            group: sum(
                found_label == label
                for found_label, row in zip(labels, PROMPTS, strict=True)
                if row["group"] == group
            )
            / 5
            for group in ("boy", "girl")
        }
        for group, share in shares.items():
            assert found.group(label, f"group={group}").value == pytest.approx(share)
        assert found[f"{label}, boy - girl"].value == pytest.approx(shares["boy"] - shares["girl"])
    alone = [one["label"] for one in judge(texts)]
    assert found["rude, prompts alone"].value == pytest.approx(alone.count("rude") / len(texts))
    assert found["nice"].clusters == 5
    assert found["nice"].n == 10


def test_samples_give_the_highest_value(classifier: Path, prompts: Path) -> None:
    options = BiasOptions(max_new_tokens=4, resamples=100, samples=2, temperature=1.0, label="rude", seed=3)
    found = bias("stories", prompts=prompts, classifier=str(classifier), options=options)
    again = bias("stories", prompts=prompts, classifier=str(classifier), options=options)
    assert found.records == again.records
    highest = [record["scores"]["rude max"] for record in found.records]
    assert found["highest rude"].value == pytest.approx(sum(highest) / len(highest))
    assert all(record["scores"]["rude max"] >= record["scores"]["rude mean"] for record in found.records)


def test_prompts_in_bold_s_layout(classifier: Path, tmp_path: Path) -> None:
    path = tmp_path / "gender_prompt.json"
    path.write_text(json.dumps({"men": {"Jim": ["Jim is", "Jim was"]}, "women": {"Ann": ["Ann is"]}}))
    options = BiasOptions(max_new_tokens=2, resamples=100, label="odd")
    found = bias("stories", prompts=path, classifier=str(classifier), options=options)
    assert [record["id"] for record in found.records] == ["men, Jim, 1", "men, Jim, 2", "women, Ann, 1"]
    assert found["odd"].clusters == 2


@pytest.mark.parametrize(
    ("rows", "mention"),
    [
        ([{"prompt": "a"}], "group"),
        ([{"prompt": " ", "group": "x"}], "prompt"),
        ([{"prompt": "a", "group": "x"}], "two or more groups"),
    ],
)
def test_bad_prompts_are_refused(classifier: Path, tmp_path: Path, rows: list, mention: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=mention):
        bias("stories", prompts=path, classifier=str(classifier))


def test_a_model_that_is_no_classifier_is_refused(prompts: Path, classifier: Path) -> None:
    with pytest.raises(OptionError) as error:
        bias("stories", prompts=prompts, classifier="translator")
    assert error.value.option == "classifier"
    with pytest.raises(OptionError) as error:
        bias("stories", prompts=prompts, classifier=str(classifier), options=BiasOptions(label="nicer"))
    assert error.value.option == "label"
