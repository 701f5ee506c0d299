"""Tokens at which a finetuned model stops: those that end its answers in training.

Public: `learned_ends`, `set_ends`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from llmkit.runtime.generation_config import end_ids
from llmkit.runtime.peft import base_model
from llmkit.training.encoded import IGNORED, Encoded

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel

_ANSWERS = 256
# An answer that quotes a special token at its end must not turn it into an end token.
_LEAST_SHARE = 0.1


def learned_ends(examples: Sequence[Encoded], tokenizer: Any) -> list[int]:
    """Find the special tokens that end the targets of the first examples.

    Args:
        examples: examples as `encoding.encoder` makes them.
        tokenizer: the tokenizer that encoded them.

    Returns:
        The first of the special tokens at the end of each answer, the most frequent one first; empty if the
        answers end without one.
    """
    special = set(tokenizer.all_special_ids)
    special |= {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    found: Counter[int | None] = Counter()
    for answer in islice(_answers(examples), _ANSWERS):
        end: int | None = None
        for token in reversed(answer):
            if token in special:
                end = token
            elif tokenizer.decode([token]).strip():
                break
        found[end] += 1
    least = _LEAST_SHARE * found.total()
    return [end for end, count in found.most_common() if end is not None and count >= least]


def set_ends(
    loaded: LoadedModel, examples: Sequence[Encoded], notice: Callable[[str], None], *, whole_texts: bool
) -> bool:
    """Set the end tokens in the model's generation_config to those that end its answers in training.

    Args:
        loaded: the model; its generation_config is changed.
        examples: training examples.
        notice: called if the examples teach no end.
        whole_texts: the examples are texts; a long one is cut into pieces, and only the last has an end.

    Returns:
        True if the generation_config was changed.
    """
    config: Any = getattr(base_model(loaded.model), "generation_config", None)
    if config is None:
        return False
    learned = learned_ends(examples, loaded.tokenizer)
    if not learned and not whole_texts:
        cut = len(examples) > 0 and all(examples[i].cut for i in range(min(len(examples), _ANSWERS)))
        reason = "raise `max_length`, which cuts all rows" if cut else "see the tokenizer's chat template"
        notice(
            f"no end token follows the answers in training ({reason}): the model does not learn to stop, so"
            " generation ends at max_new_tokens"
        )
    before = end_ids(config, None)
    ends = list(dict.fromkeys([*learned, *end_ids(config, loaded.tokenizer)]))
    if set(ends) == set(before):
        return False
    config.eos_token_id = ends if len(ends) > 1 else ends[0]
    return True


def _answers(examples: Sequence[Encoded]) -> Iterator[list[int]]:
    for i in range(len(examples)):
        for ignored, run in groupby(examples[i].targets, lambda target: target == IGNORED):
            if not ignored:
                yield [int(token) for token in run]
