"""Byte-level BPE tokenizers: trained on a corpus, or taken from a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.training.corpus import END_OF_TEXT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# The 256 bytes and `<|endoftext|>`: every text can be written in these.
SMALLEST_VOCABULARY = 257


def train_tokenizer(documents: Sequence[str], vocab_size: int, max_length: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE (Sennrich et al. 2016; bytes as in GPT-2) on the documents.

    `<|endoftext|>` is id 0 and is beginning, end and padding at once; encoding a text puts it in front, as it
    stands in front of every training document.

    Args:
        documents: training text only: a tokenizer that saw the held-out part would flatter the model.
        vocab_size: ids at most; a small corpus may give fewer.
        max_length: the model's context in tokens, kept in the tokenizer's settings.

    Raises:
        InputError: `vocab_size` is below 257.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if vocab_size < SMALLEST_VOCABULARY:
        raise InputError(
            f"--vocab-size {vocab_size}: at least {SMALLEST_VOCABULARY} (the bytes and {END_OF_TEXT})"
        )
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(documents, trainer, length=len(documents))
    backend.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A",
        pair=f"{END_OF_TEXT} $A {END_OF_TEXT} $B",
        special_tokens=[(END_OF_TEXT, 0)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(folder: str | Path) -> Any:
    """Take a tokenizer from a local folder; one without an end token cannot keep documents apart.

    Raises:
        InputError: there is no tokenizer.json, or it names no end-of-text token.
    """
    from transformers import AutoTokenizer

    if not (Path(folder) / "tokenizer.json").is_file():
        raise InputError(f"--tokenizer {folder}: no tokenizer.json there; `train` makes a new one")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.eos_token_id is None:
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
