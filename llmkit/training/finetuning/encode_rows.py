"""Encode the training rows and the held-out rows of a run, and report the columns that are not read.

Public: `encode_both`, `prompt_options`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmkit.training.finetuning.beside import BESIDE
from llmkit.training.finetuning.encoding import encoder
from llmkit.training.finetuning.examples import Examples, Source, encode, skip_notices

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel
    from llmkit.training.finetuning.recipe import FinetuneRecipe


def encode_both(
    sources: tuple[Source, Source],
    loaded: LoadedModel,
    recipe: FinetuneRecipe,
    kind: str,
    length: int,
    notice: Callable[[str], None],
) -> tuple[Examples, Examples]:
    """Return the examples of the training rows and of the held-out ones.

    Args:
        sources: the training rows, and the held-out ones, which have the same columns.
        loaded: the model that is trained.
        recipe: options, with the model's own prefix.
        kind: result of `encoding.kind_of`.
        length: maximum number of tokens in an example.
        notice: called with a sentence about columns that are not read, and for each bad row.

    Raises:
        InputError: a row is bad, or none has a target.
    """
    columns = sources[0].columns
    turns = kind in ("causal", "preference") and loaded.tokenizer.chat_template is not None
    unread = sources[0].unread(BESIDE if turns and columns.objective != "text" else ())
    shared_words_type = getattr(loaded.model.config, "shared_words_type", None)
    to_examples = encoder(
        columns,
        kind,
        loaded.tokenizer,
        length,
        shared_words_type=shared_words_type,
        **prompt_options(recipe),
    )
    train, held_out = (
        encode(rows, to_examples, on_error=recipe.on_error, part=part)
        for rows, part in zip(sources, ("training", "held-out"), strict=True)
    )
    if unread:
        notice(f"unused columns: {', '.join(unread)}")
    for summary in (train.summary, held_out.summary):
        for line in skip_notices(summary.skipped, len(summary.skipped)):
            notice(line)
    return train, held_out


def prompt_options(recipe: FinetuneRecipe) -> dict[str, Any]:
    """Return the options of a recipe about prompts."""
    return {"languages": recipe.languages, "source_prefix": recipe.source_prefix}
