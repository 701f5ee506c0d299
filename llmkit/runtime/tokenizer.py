"""Load a model's tokenizer, and check its special tokens against the model's embeddings.

Public: `VOCABULARIES`, `has_tokenizer`, `load_tokenizer`, `check_special_tokens`.
"""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.runtime.spec import ModelSpec

# Vocabulary files of all tokenizer classes in transformers.
VOCABULARIES = (
    *("tokenizer.json", "tekken.json", "vocab*.json", "vocab*.txt", "dict.txt", "byte_maps.json"),
    *("*.model", "*.spm", "*.codes", "*.tokenizer"),
)
# The largest of public models have about 35 MB; the parser takes a multiple of it in memory.
_MAX_BYTES = 256 << 20
# Classes that read bytes or characters and have no such file.
_WITHOUT_VOCABULARY = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")
# Tokens that tokenizers and models add to every text.
_ALWAYS_USED = ("bos_token_id", "cls_token_id", "sep_token_id", "mask_token_id")


def has_tokenizer(folder: Path) -> bool:
    """Return True if a folder contains a tokenizer of any class, fast or slow."""
    names = [path.name for path in folder.iterdir()]
    if any(fnmatchcase(name, pattern) for name in names for pattern in VOCABULARIES):
        return True
    if "tokenizer_config.json" not in names:
        return False
    text = (folder / "tokenizer_config.json").read_text(encoding="utf-8", errors="replace")
    return any(f'"{name}"' in text for name in _WITHOUT_VOCABULARY)


def load_tokenizer(folder: Path, spec: ModelSpec) -> PreTrainedTokenizerBase:
    """Load the tokenizer in a folder.

    Raises:
        InputError: the folder has none, or a huge one.
        LLMKitError: it does not load.
    """
    from transformers import AutoTokenizer

    file = folder / "tokenizer.json"
    if file.is_file() and file.stat().st_size > _MAX_BYTES:
        raise InputError(f"{file}: larger than {_MAX_BYTES >> 20} MiB")
    try:
        return AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=spec.trust_remote_code
        )
    except Exception as error:
        # Tokenizer classes raise whatever their parser raised: OSError, ValueError, KeyError, Exception.
        if not has_tokenizer(folder):
            raise InputError(
                f"{spec.name} has no tokenizer files; copy tokenizer.json and tokenizer_config.json into it"
            ) from error
        raise LLMKitError(f"{spec.name}: its tokenizer does not load: {one_line(error)}") from error


def check_special_tokens(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, name: str, notes: list[str]
) -> None:
    """Make sure that the ids of special tokens have embeddings, and that there is a pad token.

    Padding is masked, so any token of the vocabulary can pad. A pad token without an embedding (added to the
    tokenizer, but the embeddings were not resized) is replaced.

    Args:
        tokenizer: changed in place if it needs another pad token.
        model: its config's pad token id is changed if it has no embedding.
        name: name of the model, for errors.
        notes: gets a sentence for each choice.

    Raises:
        InputError: a token that every text has, such as the one at its beginning, has no embedding.
    """
    rows = _embedding_rows(model)
    for kind in _ALWAYS_USED:
        number = getattr(tokenizer, kind, None)
        if isinstance(number, int) and number >= rows and _adds(tokenizer, number):
            token = tokenizer.convert_ids_to_tokens(number)
            raise InputError(
                f"{name}: its tokenizer adds {token} (id {number}) to every text, but the model has"
                f" {rows} embeddings; use the tokenizer that it was trained with, or resize its embeddings"
            )
    pad = tokenizer.pad_token_id
    if pad is None or pad >= rows:
        lacks = "has no pad token" if pad is None else f"has a pad token {pad} without an embedding"
        token = _substitute(tokenizer, rows)
        tokenizer.pad_token = token
        notes.append(f"the tokenizer {lacks}; {token} pads")
    generation = getattr(model, "generation_config", None)
    configs: tuple[Any, ...] = (model.config, model.config.get_text_config(decoder=True), generation)
    for config in configs:
        number = getattr(config, "pad_token_id", None)
        if isinstance(number, int) and not 0 <= number < rows:
            config.pad_token_id = tokenizer.pad_token_id


def _substitute(tokenizer: PreTrainedTokenizerBase, rows: int) -> str:
    for token, number in (
        (tokenizer.eos_token, tokenizer.eos_token_id),
        (tokenizer.bos_token, tokenizer.bos_token_id),
        (tokenizer.unk_token, tokenizer.unk_token_id),
    ):
        if isinstance(token, str) and isinstance(number, int) and number < rows:
            return token
    return str(tokenizer.convert_ids_to_tokens(0))


def _adds(tokenizer: PreTrainedTokenizerBase, number: int) -> bool:
    return number in tokenizer("a")["input_ids"]


def _embedding_rows(model: Any) -> int:
    """Return the number of token embeddings; a large number for a model that reads no text."""
    weight = getattr(model.get_input_embeddings(), "weight", None)
    return int(weight.shape[0]) if weight is not None and weight.dim() == 2 else sys.maxsize
