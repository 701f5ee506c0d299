"""Tokenizers through GGUF: ids beside llama.cpp's, and beside the tokenizer that was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from llmkit.errors import InputError
from llmkit.formats.gguf.header import Header
from llmkit.formats.gguf.pre_tokenizers import RULES, pre_tokenizer
from llmkit.formats.gguf.tokenizer_read import read_tokenizer
from llmkit.formats.gguf.tokenizer_write import PROBE, rule_of, write_tokenizer
from tests.formats.gguf.models import wide_vocabulary, without_marks
from tests.tiny import make_tokenizer

RULE_IDS: dict[str, Any] = json.loads(Path(__file__).with_name("llama_cpp.json").read_text())["rules"]
TEXTS = (
    "Once upon a time there was a little dog. 12345",
    "The cat  sat\n\n on — Schöne Grüße! 🙂🎈 مرحبا",
    "<s>special</s> and <|user|>more",
    " a space before",
    "",
)


def through(tokenizer: Any, *, ends: list[int] | None = None, rows: int | None = None) -> Any:
    """What a tokenizer becomes when its GGUF metadata is read."""
    metadata = write_tokenizer(tokenizer, rows or len(tokenizer), ends or [1])
    # As a file holds them.
    for key in ("tokenizer.ggml.token_type", "tokenizer.ggml.scores"):
        if key in metadata:
            metadata[key] = np.array(metadata[key])
    return read_tokenizer(Header(Path("m.gguf"), {"general.architecture": "llama", **metadata}, {}))


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_cuts_as_llama_cpp_does(rule: str) -> None:
    text = without_marks(PROBE)
    tokenizer = wide_vocabulary(text)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizer(rule)
    assert tokenizer(text)["input_ids"] == RULE_IDS[rule]


def test_the_probe_text_tells_rules_apart() -> None:
    rules = ("gpt-2", "smollm", "llama-bpe", "qwen2", "gpt-4o", "default")
    assert len({tuple(RULE_IDS[rule]) for rule in rules}) == len(rules)


@pytest.mark.parametrize(
    "rule", ["gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "tekken", "gpt-4o", "default"]
)
def test_a_rule_is_recognized_by_what_it_does(rule: str) -> None:
    backend = make_tokenizer().backend_tokenizer
    backend.pre_tokenizer = pre_tokenizer(rule)
    assert rule_of(backend, RULES[rule].ignore_merges) == rule


def test_an_unknown_rule_is_refused() -> None:
    backend = make_tokenizer().backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("o"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    with pytest.raises(InputError):
        rule_of(backend, False)


@pytest.mark.parametrize("bos", [True, False])
def test_a_byte_level_tokenizer_comes_back(bos: bool) -> None:
    tokenizer = make_tokenizer(bos=bos, chat=True)
    tokenizer.add_tokens(["<think>"])
    parts = through(tokenizer, ends=[1, 3], rows=len(tokenizer) + 5)
    for text in (*TEXTS, "a <think> b"):
        assert parts.tokenizer.encode(text).ids == tokenizer(text)["input_ids"], text
    assert parts.chat_template == tokenizer.chat_template
    assert parts.ends == [1, 3]
    assert parts.special["bos_token"] == "<s>"
    assert parts.tokenizer.decode([0, 10, 60, 300]) == tokenizer.decode(
        [0, 10, 60, 300], skip_special_tokens=True
    )


def sentencepiece(prefix: bool) -> Any:
    """A tokenizer of Llama 2's kind: merges over characters, bytes for what is unknown."""
    pieces = ["▁t", "he", "▁the", "in", "▁c", "at", "▁cat", "on", "ing", "▁d", "og", "▁dog"]
    letters = sorted(set("o▁Onceuptimrwaslgd.hTby,fx<>/"))
    tokens = ["<unk>", "<s>", "</s>", *[f"<0x{i:02X}>" for i in range(256)]]
    tokens = list(dict.fromkeys([*tokens, *pieces, *letters]))
    vocabulary = {token: i for i, token in enumerate(tokens)}
    merges = [
        ("▁", "t"),
        ("h", "e"),
        ("▁t", "he"),
        ("i", "n"),
        ("▁", "c"),
        ("a", "t"),
        ("▁c", "at"),
        ("o", "n"),
    ]
    merges += [("in", "g"), ("▁", "d"), ("o", "g"), ("▁d", "og")]
    core = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    steps = [normalizers.Prepend("▁")] if prefix else []
    core.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    core.add_special_tokens(["<unk>", "<s>", "</s>"])
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.mark.parametrize("prefix", [True, False])
def test_a_sentencepiece_tokenizer_comes_back(prefix: bool) -> None:
    tokenizer = sentencepiece(prefix)
    parts = through(tokenizer, ends=[2])
    for text in ("the cat on the dog", "Once  upon, é🙂", "<s>x</s>", "thing", ""):
        assert parts.tokenizer.encode(text).ids == tokenizer(text)["input_ids"], text


@pytest.mark.parametrize("scheme", ["always", "never"])
def test_a_unigram_tokenizer_comes_back(scheme: str) -> None:
    scored = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -2.0),
        ("▁the", -3.0),
        ("t", -5.0),
        ("h", -5.5),
    ]
    scored += [("e", -4.0), ("he", -4.5), ("c", -6.0), ("at", -5.0), ("▁cat", -7.0)]
    core = Tokenizer(models.Unigram(scored, 2, False))
    core.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")])
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    core.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )
    parts = through(tokenizer)
    for text in ("the cat", "  the   cat ", "zzz the", "hethe"):
        assert parts.tokenizer.encode(text).ids == tokenizer(text)["input_ids"], text


def test_turn_ends_that_no_key_names_end_a_turn() -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    assert through(tokenizer).ends == [1, len(tokenizer) - 1]


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer.ggml.model": "rwkv"},
        {"tokenizer.ggml.pre": "unheard-of"},
        {"tokenizer.ggml.tokens": ["a", "a"]},
        {"tokenizer.ggml.tokens": 7},
        {"tokenizer.ggml.token_type": np.array([1, 1])},
        {"tokenizer.ggml.merges": ["ab"]},
        {"tokenizer.ggml.merges": ["a zz"]},
        {"tokenizer.ggml.bos_token_id": 9999},
        {"tokenizer.ggml.model": "llama", "tokenizer.ggml.scores": np.array([1.0])},
    ],
)
def test_a_damaged_tokenizer_is_refused(change: dict[str, Any]) -> None:
    metadata = write_tokenizer(make_tokenizer(), len(make_tokenizer()), [1])
    metadata["tokenizer.ggml.token_type"] = np.array(metadata["tokenizer.ggml.token_type"])
    header = Header(Path("m.gguf"), {"general.architecture": "llama", **metadata, **change}, {})
    with pytest.raises(InputError):
        read_tokenizer(header)
