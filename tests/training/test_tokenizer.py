from pathlib import Path

import pytest
from transformers import AutoTokenizer

from llmkit.errors import InputError
from llmkit.training.tokenizer import encode, load_tokenizer, train_tokenizer


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
    with pytest.raises(InputError, match="--vocab-size 256: at least 257"):
        train_tokenizer(stories, 256, 64)


def test_a_tokenizer_is_taken_from_a_folder(stories: list[str], tmp_path: Path) -> None:
    made = train_tokenizer(stories, 300, 64)
    made.save_pretrained(tmp_path / "good")
    assert encode(load_tokenizer(tmp_path / "good"), stories) == encode(made, stories)
    with pytest.raises(InputError, match=r"no tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_without_an_end_token_is_refused(stories: list[str], tmp_path: Path) -> None:
    made = train_tokenizer(stories, 300, 64)
    made.eos_token = None
    made.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="no eos_token"):
        load_tokenizer(tmp_path)
