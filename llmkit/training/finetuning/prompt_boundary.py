"""Tokens of a prompt and its completion, separated as at inference.

Public: `prompt_and_rest`, `fitted`, `without_end`.
"""

from __future__ import annotations

from typing import Any


def prompt_and_rest(tokenizer: Any, prompt: str, rest: str) -> tuple[list[int], list[int]]:
    """Encode a prompt and the text that follows it, without an end token.

    If both would share a token (a prompt that ends in a space), they are encoded separately: at inference the
    prompt is encoded before the rest exists.

    Returns:
        Ids of the prompt, as it is encoded alone, and ids of the rest.
    """
    start = without_end(tokenizer, tokenizer(prompt)["input_ids"])
    whole = without_end(tokenizer, tokenizer(prompt + rest)["input_ids"])
    if whole[: len(start)] == start:
        return start, whole[len(start) :]
    # Some tokenizers add a space at the beginning of a text; after another character they do not.
    plain = tokenizer(rest, add_special_tokens=False)["input_ids"]
    for anchor in ("\n", ".", "a"):
        lead = tokenizer(anchor, add_special_tokens=False)["input_ids"]
        ids = tokenizer(anchor + rest, add_special_tokens=False)["input_ids"]
        if ids[: len(lead)] == lead and tokenizer.decode([*start, *plain]) != tokenizer.decode(whole):
            behind = ids[len(lead) :]
            if tokenizer.decode([*start, *behind]) == tokenizer.decode(whole):
                return start, behind
    return start, plain


def fitted(
    start: list[int], rest: list[int], size: int, first: int | None
) -> tuple[list[int], list[int], bool]:
    """Cut a prompt and its completion to at most `size` tokens; the beginning of the prompt goes first.

    The prompt keeps its last tokens, at least a quarter of `size` if it has as many.

    Args:
        start: ids of the prompt.
        rest: ids of the completion, the end of text included.
        size: maximum number of tokens of both together.
        first: id that begins every text, which stays; or None.

    Returns:
        Ids of the prompt and of the completion, and True if something was left out.
    """
    if len(start) + len(rest) <= size:
        return start, rest, False
    room = max(size - len(rest), min(len(start), size // 4))
    if len(start) > room:
        begin = start[:1] if first is not None and start[:1] == [first] else []
        start = [*begin, *start[len(start) - room + len(begin) :]] if room > len(begin) else begin
    return start, rest[: size - len(start)], True


def without_end(tokenizer: Any, ids: list[int]) -> list[int]:
    """Remove the end token that some tokenizers add to every text."""
    return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids
