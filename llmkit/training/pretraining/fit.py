"""Choose the options that a recipe leaves open, by the size of the corpus; warn if a plan is too short.

Public: `vocabulary`, `fit`, `too_short`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from llmkit.training.pretraining.recipe import PretrainRecipe

# A German novel of 600,000 characters gets 8,192 ids; with fewer, its words fall into more pieces. A Chinese
# one of 330,000 gets 4,096, about one for each different character; with more, few ids are seen often.
_VOCABULARY = (512, 8192)
_CHARACTERS_PER_ID = 64
# Largest number of weights, and weights per token above which a model only memorizes a single book.
_LARGEST = 3_000_000
_WEIGHTS_PER_TOKEN = 20
# Passes over a short text, after which the held-out loss no longer falls; and tokens per weight for a longer
# text.
_MOST_PASSES = 8
_TOKENS_PER_WEIGHT = 20
# Weight decay. If a text is read many times, it is 1 / (learning rate x steps of two passes), at most 1: the
# weights are then an average over about two passes (Wang and Aitchison 2024, arXiv 2405.13698).
_DECAY, _STRONGEST_DECAY, _MANY_PASSES, _AVERAGED_PASSES = 0.1, 1.0, 4, 2
# Minimum number of steps in a pass; with more blocks in a step, a model learns less from each block.
_STEPS_IN_PASS = 128
_LARGEST_BATCH = 16
_FEWEST_STEPS = 300


def vocabulary(recipe: PretrainRecipe, texts: Sequence[str]) -> int:
    """Return the size of the vocabulary: a power of two that suits the text, and the model's size if given.

    Args:
        recipe: options; a given `vocab_size` is returned as it is.
        texts: beginning of the training text.
    """
    from llmkit.training.pretraining.architecture import parse_size

    if recipe.vocab_size is not None:
        return recipe.vocab_size
    low, high = _VOCABULARY
    wanted = sum(map(len, texts)) / _CHARACTERS_PER_ID
    if recipe.params is not None:
        wanted = min(wanted, parse_size(recipe.params) / 128)
    return min(high, max(low, 1 << math.floor(math.log2(max(wanted, 1)))))


def fit(recipe: PretrainRecipe, tokens: int, vocab_size: int) -> PretrainRecipe:
    """Return the recipe with values for the options that it leaves open.

    Args:
        recipe: options; those that are None are chosen.
        tokens: tokens of the training text.
        vocab_size: number of ids of the tokenizer.

    Returns:
        The complete recipe. Embeddings have at least 256 dimensions, so a model with a large vocabulary
        becomes larger.
    """
    from llmkit.training.pretraining.architecture import parse_size

    least = 256 * vocab_size
    params = recipe.params or str(max(least, min(_LARGEST, _WEIGHTS_PER_TOKEN * tokens)))
    passes = _TOKENS_PER_WEIGHT * parse_size(params) / max(tokens, 1)
    epochs = recipe.epochs or float(min(_MOST_PASSES, max(1, round(passes))))
    blocks = tokens // recipe.max_length
    batch_size = recipe.batch_size or min(_LARGEST_BATCH, max(1, blocks // _STEPS_IN_PASS))
    decay = _DECAY
    if epochs > _MANY_PASSES:
        assert recipe.lr is not None  # its default is a number
        steps = _AVERAGED_PASSES * max(1, blocks // batch_size)
        decay = min(_STRONGEST_DECAY, round(1 / (recipe.lr * steps), 2))
    return dataclasses.replace(
        recipe,
        params=params,
        vocab_size=recipe.vocab_size or vocab_size,
        epochs=epochs,
        weight_decay=decay if recipe.weight_decay is None else recipe.weight_decay,
        batch_size=batch_size,
    )


def too_short(steps: int, steps_per_epoch: int, max_steps: int | None = None) -> str | None:
    """Return a sentence if a run has too few steps to learn words; else None."""
    if steps >= _FEWEST_STEPS:
        return None
    passes = math.ceil(_FEWEST_STEPS / steps_per_epoch)
    advice = "give more text" if passes > 40 else f"give more text, or epochs={passes}"
    if max_steps is not None:  # it replaces the number of epochs
        advice = f"raise `max_steps` to {_FEWEST_STEPS} or more"
    return f"the plan is short: {steps:,} steps are too few for a model to learn words; {advice}"
