"""The GGUF metadata of a Hugging Face tokenizer."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.formats.gguf.pre_tokenizers import RULES, pre_tokenizer
from llmkit.formats.gguf.tokenizer_read import (
    BYTE,
    CONTROL,
    NORMAL,
    SPACE,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Words, numbers, punctuation, runs of spaces, line ends, scripts and emoji: rules differ on some of it.
PROBE = (
    "Hello world! I'm here, you'LL see; it's 1234567890 o'clock\n\n\n  two  spaces\ttab \r\n end.   \n"
    '  def f(x):\n\t return x**2 # ...??!! $3.50 €99 --> <|x|> a/b//c `code` "quoted" (1)[2]{3}\n'
    "Schöne Grüße, naïve café São 你好，世界。 Привет мир! नमस्ते ١٢٣ ½ ² ❤️🙂👩‍👩‍👧 e\u0301"
    " \u00a0nbsp\u3000wide\n"
    "CamelCaseWord HTTPServer iPhone's WE'VE don't 'tis 3rd 2nd 10,000.00 1e-5 0x1F\n\n \n   "
)


def write_tokenizer(tokenizer: PreTrainedTokenizerBase, vocab_size: int, ends: list[int]) -> dict[str, Any]:
    """Metadata from which `read_tokenizer` and llama.cpp build the same tokenizer.

    Args:
        tokenizer: with a tokenizers backend.
        vocab_size: rows of the model's embedding; ids without a token are marked unused.
        ends: ids at which the model stops, the end token first.

    Returns:
        Metadata by key. Token types are int32, scores float32.

    Raises:
        InputError: a kind of tokenizer or a rule for words that llama.cpp does not have.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError("the tokenizer has no tokenizer.json, which conversion to GGUF needs")
    state = json.loads(backend.to_str())
    model = state["model"]
    kind = str(model["type"])
    if kind == "BPE" and not model.get("byte_fallback"):
        metadata = _byte_level(backend, model)
    elif kind == "BPE":
        metadata = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default"}
    elif kind == "Unigram":
        metadata = _unigram(state, _has_prefix(backend))
    else:
        raise InputError(f"a {kind} tokenizer is not supported in GGUF for models that generate text")
    tokens, types = _tokens(tokenizer, state, vocab_size)
    metadata["tokenizer.ggml.tokens"] = tokens
    metadata["tokenizer.ggml.token_type"] = types
    if kind == "Unigram":
        by_token = {token: float(score) for token, score in model["vocab"]}
        metadata["tokenizer.ggml.scores"] = [by_token.get(token, -1000.0) for token in tokens]
    elif metadata["tokenizer.ggml.model"] == "llama":
        metadata["tokenizer.ggml.scores"] = _ranks(model, tokens)
        metadata["tokenizer.ggml.add_space_prefix"] = _has_prefix(backend)
    return metadata | _special(tokenizer, ends)


def _byte_level(backend: Any, model: dict[str, Any]) -> dict[str, Any]:
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": rule_of(backend, bool(model.get("ignore_merges"))),
        "tokenizer.ggml.merges": merges,
    }


def rule_of(backend: Any, ignore_merges: bool) -> str:
    """Return llama.cpp's name for the rule by which a byte-level tokenizer splits a text into words.

    llama.cpp's converter recognizes tokenizers by a hash of their output for one text. A tokenizer that a
    user trained has no such hash, so the rule is found by its behavior.

    Args:
        backend: a `tokenizers.Tokenizer`.
        ignore_merges: whether its model keeps words whole that are tokens.

    Raises:
        InputError: it cuts texts as no rule of llama.cpp does.
    """
    if backend.pre_tokenizer is None:
        raise InputError("the tokenizer does not split a text into words, as llama.cpp does")
    found = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(PROBE)]
    alike = [name for name in RULES if _words(name) == found]
    for name in alike:
        # A vocabulary whose words all come from merges answers the same with either setting.
        if RULES[name].ignore_merges == ignore_merges:
            return name
    if alike:
        return alike[0]
    raise InputError("the tokenizer splits a text into words by a rule that llama.cpp does not have")


def _words(name: str) -> list[str]:
    return [word for word, _ in pre_tokenizer(name).pre_tokenize_str(PROBE)]


def _unigram(state: dict[str, Any], prefix: bool) -> dict[str, Any]:
    import numpy as np

    metadata: dict[str, Any] = {"tokenizer.ggml.model": "t5", "tokenizer.ggml.pre": "default"}
    normalizer = state.get("normalizer") or {}
    for step in normalizer.get("normalizers", [normalizer]):
        if step.get("type") == "Precompiled" and step.get("precompiled_charsmap"):
            charsmap = base64.b64decode(step["precompiled_charsmap"])
            metadata["tokenizer.ggml.precompiled_charsmap"] = np.frombuffer(charsmap, dtype=np.uint8)
    metadata["tokenizer.ggml.add_space_prefix"] = prefix
    metadata["tokenizer.ggml.remove_extra_whitespaces"] = True
    metadata["tokenizer.ggml.unknown_token_id"] = int(state["model"].get("unk_id") or 0)
    return metadata


def _tokens(
    tokenizer: PreTrainedTokenizerBase, state: dict[str, Any], vocab_size: int
) -> tuple[list[str], list[int]]:
    """Token and type of each id."""
    by_id = {i: token for token, i in tokenizer.get_vocab().items()}
    if by_id and max(by_id) >= vocab_size:
        raise InputError(f"the tokenizer has ids up to {max(by_id)}, and the model {vocab_size} embeddings")
    added = {entry["id"]: bool(entry["special"]) for entry in state["added_tokens"]}
    byte_fallback = bool(state["model"].get("byte_fallback"))
    unknown = tokenizer.unk_token_id if state["model"]["type"] == "Unigram" or byte_fallback else None
    tokens, types = [], []
    for i in range(vocab_size):
        token = by_id.get(i, f"[PAD{i}]")
        tokens.append(token)
        if i not in by_id:
            types.append(UNUSED)
        elif i == unknown:
            types.append(UNKNOWN)
        elif i in added:
            types.append(CONTROL if added[i] else USER_DEFINED)
        elif byte_fallback and len(token) == 6 and token.startswith("<0x"):
            types.append(BYTE)
        else:
            types.append(NORMAL)
    return tokens, types


def _ranks(model: dict[str, Any], tokens: list[str]) -> list[float]:
    """Scores that make SentencePiece merge in the order in which the merges are listed."""
    rank: dict[str, int] = {}
    for i, merge in enumerate(model["merges"]):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        rank.setdefault("".join(pair), i)
    last = len(model["merges"])
    return [-float(rank.get(token, last + i)) for i, token in enumerate(tokens)]


def _has_prefix(backend: Any) -> bool:
    text = backend.normalizer.normalize_str("a") if backend.normalizer is not None else "a"
    if backend.pre_tokenizer is not None:
        text = "".join(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text))
    if text not in ("a", SPACE + "a"):
        raise InputError(
            "the tokenizer normalizes a text before it splits it, which llama.cpp does not support"
        )
    return bool(text.startswith(SPACE))


def _special(tokenizer: PreTrainedTokenizerBase, ends: list[int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    eos = ends[0] if ends else tokenizer.eos_token_id
    named = (
        ("bos", tokenizer.bos_token_id),
        ("eos", eos),
        ("eot", ends[1] if len(ends) > 1 else None),
        ("unknown", tokenizer.unk_token_id),
        ("padding", tokenizer.pad_token_id),
    )
    for name, index in named:
        if index is not None:
            found[f"tokenizer.ggml.{name}_token_id"] = int(index)
    ids = tokenizer("a")["input_ids"]
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    before = ids[: len(ids) - len(bare)] if ids[-len(bare) :] == bare else ids[:1]
    if len(ids) > len(bare) + 2 or (before and before != [tokenizer.bos_token_id] and ids[-1:] != [eos]):
        raise InputError("the tokenizer adds special tokens other than a start and an end token")
    found["tokenizer.ggml.add_bos_token"] = bool(ids[:1] == [tokenizer.bos_token_id] and ids != bare)
    found["tokenizer.ggml.add_eos_token"] = bool(ids != bare and ids[-1] == eos and bare[-1] != eos)
    template = tokenizer.chat_template
    if isinstance(template, str):
        found["tokenizer.chat_template"] = template
    return found
