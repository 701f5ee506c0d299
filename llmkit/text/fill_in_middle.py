"""Prompts with a gap: a model generates the text between a prefix and a suffix.

Models that can do this have tokens for it (Bavarian et al. 2022, https://arxiv.org/abs/2207.14255), which are
known by their names. The order is that of the paper's PSM: beginning, end, middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Names of the tokens before the beginning, the end and the middle. Qwen, CodeGemma; StarCoder, Granite;
# SantaCoder; DeepSeek; Code Llama; GLM.
_NAMES = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
)


@dataclass(frozen=True)
class GapTokens:
    """Token ids before the prefix, the suffix and the middle of a text."""

    prefix: int
    suffix: int
    middle: int


def gap_tokens(tokenizer: Any) -> GapTokens | None:
    """Return a tokenizer's tokens for texts with a gap; None if it has none."""
    vocabulary = tokenizer.get_vocab()
    for names in _NAMES:
        if all(name in vocabulary for name in names):
            return GapTokens(*(vocabulary[name] for name in names))
    return None


def gap_prompt(tokenizer: Any, tokens: GapTokens, prefix: str, suffix: str) -> list[int]:
    """Return the prompt that asks for the text between `prefix` and `suffix`, as token ids.

    Args:
        tokenizer: the model's.
        tokens: from `gap_tokens`.
        prefix, suffix: text before and after the gap.
    """

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    empty: list[int] = tokenizer("", verbose=False)["input_ids"]
    start = empty[:1] if empty and empty[0] == tokenizer.bos_token_id else []
    return [*start, tokens.prefix, *encode(prefix), tokens.suffix, *encode(suffix), tokens.middle]
