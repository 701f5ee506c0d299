"""A model's own settings, limited to those that an engine supports. A notice names the others."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.engines.base import Sampling
from llmkit.errors import NoticeWarning

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel

# Settings of generation_config that transformers applies and other programs do not support.
_OTHERS = (
    *("typical_p", "epsilon_cutoff", "eta_cutoff", "encoder_repetition_penalty", "guidance_scale"),
    *("encoder_no_repeat_ngram_size", "sequence_bias", "exponential_decay_length_penalty"),
    *("begin_suppress_tokens", "max_time", "renormalize_logits", "remove_invalid_values"),
)


def own_settings(
    loaded: LoadedModel, abilities: Collection[str], engine: str, *, applied: Collection[str] = ()
) -> Sampling:
    """Return a model's own settings without those that the engine does not support; a notice names these.

    Args:
        loaded: the model, or its outline.
        abilities: the engine's.
        engine: its name, for the notice.
        applied: settings of generation_config outside `Sampling` that the engine applies.
    """
    from llmkit.engines.transformers.sampling import model_defaults

    found, neutral = model_defaults(loaded), Sampling()
    known = {"max_new_tokens", "temperature", *abilities}
    lacking = [name for name in found.as_json() if name not in known]
    config: Any = loaded.model.generation_config
    usual = type(config)()
    others = [
        name
        for name in (*_OTHERS, "bad_words_ids", "suppress_tokens")
        if name not in applied and getattr(config, name, None) not in (None, getattr(usual, name, None))
    ]
    # Without sampling, these have no effect.
    silent = () if config.do_sample else ("top_k", "top_p", "min_p", "typical_p")
    shown = [name for name in (*lacking, *others) if name not in silent]
    if shown:
        warnings.warn(
            f"{loaded.spec.name}: generation_config.json sets {', '.join(shown)}, which {engine} does not"
            " have; it is ignored",
            NoticeWarning,
            stacklevel=2,
        )
    return replace(found, **{name: getattr(neutral, name) for name in lacking})
