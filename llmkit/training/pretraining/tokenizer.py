"""Byte-level BPE tokenizers: trained on a corpus, or taken from a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.training.pretraining.corpus import END_OF_TEXT
from llmkit.training.pretraining.denoising import SpecialTokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens of a kind of model, and how a text stands between them.

    Attributes:
        roles: role to token; tokens have their ids in this order.
        single, pair: templates of one text and of two, as `tokenizers` writes them.
        sentinels: how many `<extra_id_N>` follow.
    """

    roles: dict[str, str]
    single: str
    pair: str
    sentinels: int = 0

    @property
    def tokens(self) -> list[str]:
        return [*dict.fromkeys(self.roles.values()), *(f"<extra_id_{n}>" for n in range(self.sentinels))]


# By `architecture.Architecture.kind`, with the names that the first of each kind used.
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
    """Train a byte-level BPE (Sennrich et al. 2016; bytes as in GPT-2) on the documents.

    For a causal model `<|endoftext|>` is id 0 and is beginning, end and padding at once; encoding a text puts
    it in front, as it stands in front of every training document. The other kinds have the tokens of BERT, T5
    and BART (`SPECIAL_TOKENS`).

    Args:
        documents: training text only: a tokenizer that saw the held-out part would flatter the model.
        vocab_size: ids at most; a small corpus may give fewer.
        max_length: the model's context in tokens, kept in the tokenizer's settings.
        kind: "causal", "masked", "spans" or "infilling".

    Raises:
        InputError: `vocab_size` has no room for the bytes and the special tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    dress = SPECIAL_TOKENS[kind]
    smallest = 256 + len(dress.tokens)
    if vocab_size < smallest:
        specials = END_OF_TEXT if kind == "causal" else f"{len(dress.tokens)} special tokens"
        raise InputError(f"--vocab-size {vocab_size}: at least {smallest} (the bytes and {specials})")
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=dress.tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(documents, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single=dress.single,
        pair=dress.pair,
        special_tokens=[(token, number) for number, token in enumerate(dress.tokens)],
    )
    more: dict[str, Any] = {}
    if kind == "masked":
        more["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    if dress.sentinels:
        more["extra_special_tokens"] = dress.tokens[-dress.sentinels :]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        **dress.roles,
        **more,
    )


def specials(tokenizer: PreTrainedTokenizerBase, kind: str) -> SpecialTokenIds:
    """What the tokenizer puts around a text, and what it spoils texts with.

    Raises:
        InputError: it has no token that this kind of pretraining needs.
    """
    dressed = tokenizer("x")["input_ids"]
    bare = tokenizer("x", add_special_tokens=False)["input_ids"]
    start = next(i for i in range(len(dressed)) if dressed[i : i + len(bare)] == bare)
    sentinels = []
    if kind == "spans":
        vocabulary = tokenizer.get_vocab()
        sentinels = [vocabulary[f"<extra_id_{n}>"] for n in range(100) if f"<extra_id_{n}>" in vocabulary]
        if not sentinels:
            raise InputError("--tokenizer: it has no <extra_id_0>, which T5's pretraining hides spans behind")
    elif tokenizer.mask_token_id is None:
        raise InputError("--tokenizer: it has no mask token, which this architecture's pretraining needs")
    end = tuple(dressed[start + len(bare) :])
    if not end:
        raise InputError("--tokenizer: it puts no token after a text, so texts cannot be told apart")
    return SpecialTokenIds(
        begin=tuple(dressed[:start]),
        end=end,
        mask=tokenizer.mask_token_id,
        sentinels=tuple(sentinels),
        vocab_size=len(tokenizer),
    )


def load_tokenizer(folder: str | Path, kind: str = "causal") -> Any:
    """Take a tokenizer from a local folder; a causal model's needs an end token, to keep documents apart.

    Raises:
        InputError: there is no tokenizer.json, or it names no end-of-text token.
    """
    from transformers import AutoTokenizer

    if not (Path(folder) / "tokenizer.json").is_file():
        raise InputError(f"--tokenizer {folder}: no tokenizer.json there; `train` makes a new one")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if kind == "causal" and tokenizer.eos_token_id is None:
        raise InputError(f"--tokenizer {folder}: it has no eos_token, which must stand between documents")
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerFast, documents: Sequence[str]) -> list[list[int]]:
    """Token ids of each document, without special tokens: text that spells one is text."""
    backend = tokenizer.backend_tokenizer
    before = backend.encode_special_tokens
    backend.encode_special_tokens = True
    try:
        encodings = backend.encode_batch_fast(list(documents), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]
    finally:
        backend.encode_special_tokens = before
