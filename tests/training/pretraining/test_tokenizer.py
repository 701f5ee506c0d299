from pathlib import Path

import pytest
from transformers import AutoTokenizer

from llmkit.training.pretraining.tokenizer import encode, load_tokenizer, special_token_ids, train_tokenizer
from tests.training.helpers import refuses


def test_the_same_text_gives_the_same_tokenizer_file(stories: list[str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        train_tokenizer(stories, 300, 64).save_pretrained(tmp_path / name)
    assert (tmp_path / "a/tokenizer.json").read_bytes() == (tmp_path / "b/tokenizer.json").read_bytes()


def test_any_text_comes_back_and_is_preceded_by_the_boundary(stories: list[str], tmp_path: Path) -> None:
    train_tokenizer(stories, 300, 64).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "Once upon a time — 从前 \U0001f600\n\tthe end"
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id == tokenizer.eos_token_id == tokenizer.pad_token_id == 0
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_merges_are_learned_up_to_the_size_asked_for(stories: list[str]) -> None:
    tokenizer = train_tokenizer(stories, 300, 64)
    assert len(tokenizer) == 300
    assert len(encode(tokenizer, ["Once upon a time"])[0]) < len("Once upon a time")


def test_a_document_cannot_forge_the_boundary(stories: list[str]) -> None:
    tokenizer = train_tokenizer(stories, 300, 64)
    (ids,) = encode(tokenizer, ["a<|endoftext|>b"])
    assert 0 not in ids
    assert tokenizer.decode(ids) == "a<|endoftext|>b"


def test_a_vocabulary_below_the_bytes_is_refused(stories: list[str]) -> None:
    with refuses("vocab_size", "257", "not 256"):
        train_tokenizer(stories, 256, 64)


def test_a_tokenizer_is_taken_from_a_folder(stories: list[str], tmp_path: Path) -> None:
    made = train_tokenizer(stories, 300, 64)
    made.save_pretrained(tmp_path / "good")
    assert encode(load_tokenizer(tmp_path / "good"), stories) == encode(made, stories)
    with refuses("tokenizer", "no tokenizer.json"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_without_an_end_token_is_refused(stories: list[str], tmp_path: Path) -> None:
    made = train_tokenizer(stories, 300, 64)
    made.eos_token = None
    made.save_pretrained(tmp_path)
    with refuses("tokenizer", "no eos_token"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("kind", "whole", "pair"),
    [
        ("masked", "[CLS]a[SEP]", "[CLS]a[SEP]b[SEP]"),
        ("spans", "a</s>", "a</s>b</s>"),
        ("infilling", "<s>a</s>", "<s>a</s></s>b</s>"),
    ],
)
def test_other_kinds_have_the_special_tokens_of_their_first_models(
    stories: list[str], tmp_path: Path, kind: str, whole: str, pair: str
) -> None:
    train_tokenizer(stories, 500, 64, kind).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.decode(tokenizer("a")["input_ids"]) == whole
    assert tokenizer.decode(tokenizer("a", "b")["input_ids"]) == pair
    assert tokenizer.pad_token_id is not None
    text = "Once upon a time — 从前 \U0001f600"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    found = special_token_ids(tokenizer, kind)
    assert [*found.begin, *tokenizer("a", add_special_tokens=False)["input_ids"], *found.end] == tokenizer(
        "a"
    )["input_ids"]
    assert len(found.sentinels) == (100 if kind == "spans" else 0)
    assert (found.mask is None) == (kind == "spans")


def test_pairs_have_types_where_bert_wants_them(stories: list[str]) -> None:
    tokenizer = train_tokenizer(stories, 300, 64, "masked")
    assert tokenizer("a", "b")["token_type_ids"] == [0, 0, 0, 1, 1]


def test_a_tokenizer_without_the_needed_tokens_is_refused(stories: list[str]) -> None:
    causal = train_tokenizer(stories, 300, 64)
    with refuses("tokenizer", "no mask token"):
        special_token_ids(causal, "masked")
    with refuses("tokenizer", "no <extra_id_0>"):
        special_token_ids(causal, "spans")
    with refuses("vocab_size", "358", "not 300"):
        train_tokenizer(stories, 300, 64, "spans")
