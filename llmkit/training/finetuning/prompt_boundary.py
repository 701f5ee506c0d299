"""A prompt and what follows it, as the tokens that they are in use: the prompt's own, then the rest.

Public: `prompt_and_rest`, `fitted`.
"""

from __future__ import annotations

from typing import Any


def prompt_and_rest(tokenizer: Any, prompt: str, rest: str) -> tuple[list[int], list[int]]:
    """Ids of a prompt as it comes alone, and ids of what follows it, without an end.

    Where the two would share a token (a prompt that ends in a space), what follows is split off: in use the
    prompt's tokens are there before the rest is known.
    """
    start = opened(tokenizer, tokenizer(prompt)["input_ids"])
    whole = opened(tokenizer, tokenizer(prompt + rest)["input_ids"])
    if whole[: len(start)] == start:
        return start, whole[len(start) :]
    # Some tokenizers put a space before a text that comes alone; behind another character they do not.
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
    """A prompt and what follows it in at most `size` tokens: of the prompt its end is kept.

    What is to be learnt counts more than the beginning of a long prompt; but a quarter of the tokens is the
    prompt's, if it has as many.

    Args:
        start: ids of the prompt.
        rest: ids of what follows, the end of text included.
        size: tokens of both together.
        first: the id that begins every text, which stays in its place.

    Returns:
        Both, and whether something was left out.
    """
    if len(start) + len(rest) <= size:
        return start, rest, False
    room = max(size - len(rest), min(len(start), size // 4))
    if len(start) > room:
        begin = start[:1] if first is not None and start[:1] == [first] else []
        start = [*begin, *start[len(start) - room + len(begin) :]] if room > len(begin) else begin
    return start, rest[: size - len(start)], True


def opened(tokenizer: Any, ids: list[int]) -> list[int]:
    """Ids without the end that some tokenizers put after every text."""
    return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids
