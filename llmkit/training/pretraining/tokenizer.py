"""Byte-level BPE tokenizers: train one on a corpus, or load one from a folder.

Public: `train_tokenizer`, `load_tokenizer`, `special_token_ids`, `encode`, `SpecialTokens`, `SPECIAL_TOKENS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError
from llmkit.training.pretraining.corpus import END_OF_TEXT
from llmkit.training.pretraining.denoising import SpecialTokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


@dataclass(frozen=True)
class SpecialTokens:
    """Special tokens of one kind of model, and templates that put them around texts.

    Attributes:
        roles: role -> token; the tokens get their ids in this order.
        single, pair: templates for one text and for two, in the format of `tokenizers`.
        sentinels: number of tokens `<extra_id_N>` after them.
    """

    roles: dict[str, str]
    single: str
    pair: str
    sentinels: int = 0

    @property
    def tokens(self) -> list[str]:
        return [*dict.fromkeys(self.roles.values()), *(f"<extra_id_{n}>" for n in range(self.sentinels))]


# `architecture.Architecture.kind` -> tokens, named as in the first model of the kind.
SPECIAL_TOKENS = {
    "causal": SpecialTokens(
        dict.fromkeys(("bos_token", "eos_token", "pad_token"), END_OF_TEXT),
        f"{END_OF_TEXT} $A",
        f"{END_OF_TEXT} $A {END_OF_TEXT} $B",
    ),
    "masked": SpecialTokens(
        {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"},
        "[CLS] $A [SEP]",
        "[CLS] $A [SEP] $B:1 [SEP]:1",
    ),
    "spans": SpecialTokens(
        {"pad_token": "<pad>", "eos_token": "</s>"}, "$A </s>", "$A </s> $B </s>", sentinels=100
    ),
    "infilling": SpecialTokens(
        {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "mask_token": "<mask>"},
        "<s> $A </s>",
        "<s> $A </s> </s> $B </s>",
    ),
}


def train_tokenizer(
    documents: Iterable[str], vocab_size: int, max_length: int, kind: str = "causal"
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE (Sennrich et al. 2016, arXiv 1508.07909; bytes as in GPT-2) on the documents.

    For a causal model `<|endoftext|>` is id 0 and serves as beginning, end and padding; encoding a text puts
    it first, as before every training document. The other kinds have the tokens of BERT, T5 and BART
    (`SPECIAL_TOKENS`).

    Args:
        documents: training text only: held-out text in it would improve the measured loss.
        vocab_size: maximum number of ids; a small corpus may give fewer.
        max_length: the model's context in tokens, stored in the tokenizer's settings.
        kind: "causal", "masked", "spans" or "infilling".

    Raises:
        OptionError: `vocab_size` is too small for the bytes and the special tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = SPECIAL_TOKENS[kind]
    smallest = 256 + len(special.tokens)
    if vocab_size < smallest:
        tokens = END_OF_TEXT if kind == "causal" else f"{len(special.tokens)} special tokens"
        raise OptionError(
            "vocab_size", f"must be {smallest} or more (the bytes and {tokens}), not {vocab_size}"
        )
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special.tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(documents, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single=special.single,
        pair=special.pair,
        special_tokens=[(token, number) for number, token in enumerate(special.tokens)],
    )
    more: dict[str, Any] = {}
    if kind == "masked":
        more["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    if special.sentinels:
        more["extra_special_tokens"] = special.tokens[-special.sentinels :]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        **special.roles,
        **more,
    )


def special_token_ids(tokenizer: PreTrainedTokenizerBase, kind: str) -> SpecialTokenIds:
    """Return the ids that the tokenizer puts around a text, and those for its corruption.

    Raises:
        OptionError: the tokenizer lacks a token that this kind of pretraining needs.
    """
    whole = tokenizer("x")["input_ids"]
    bare = tokenizer("x", add_special_tokens=False)["input_ids"]
    start = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    sentinels = []
    if kind == "spans":
        vocabulary = tokenizer.get_vocab()
        sentinels = [vocabulary[f"<extra_id_{n}>"] for n in range(100) if f"<extra_id_{n}>" in vocabulary]
        if not sentinels:
            raise OptionError("tokenizer", "has no <extra_id_0>, which T5's pretraining needs")
    elif tokenizer.mask_token_id is None:
        raise OptionError("tokenizer", "has no mask token, which this architecture's pretraining needs")
    end = tuple(whole[start + len(bare) :])
    if not end:
        raise OptionError("tokenizer", "puts no token after a text, so texts cannot be separated")
    return SpecialTokenIds(
        begin=tuple(whole[:start]),
        end=end,
        mask=tokenizer.mask_token_id,
        sentinels=tuple(sentinels),
        vocab_size=len(tokenizer),
    )


def load_tokenizer(folder: str | Path, kind: str = "causal") -> Any:
    """Load a tokenizer from a local folder; for a causal model it must have an end token.

    Raises:
        OptionError: there is no tokenizer.json, or it has no end-of-text token.
        LLMKitError: it does not load.
    """
    from llmkit.runtime import tokenizer as runtime
    from llmkit.runtime.spec import ModelSpec

    if not (Path(folder) / "tokenizer.json").is_file():
        raise OptionError("tokenizer", f"{folder}: no tokenizer.json there; 'train' makes a new tokenizer")
    tokenizer = runtime.load_tokenizer(Path(folder), ModelSpec(str(folder)))
    if kind == "causal" and tokenizer.eos_token_id is None:
        raise OptionError("tokenizer", f"{folder}: it has no eos_token, which separates documents")
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerFast, documents: Sequence[str]) -> list[list[int]]:
    """Encode documents without special tokens; text that looks like a special token stays text."""
    backend = tokenizer.backend_tokenizer
    before = backend.encode_special_tokens
    backend.encode_special_tokens = True
    try:
        encodings = backend.encode_batch_fast(list(documents), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]
    finally:
        backend.encode_special_tokens = before
