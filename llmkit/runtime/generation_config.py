"""Read a model's generation_config.json: its end tokens, and settings that transformers 5 no longer runs.

Public: `remove_unsupported`, `end_ids`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from llmkit.errors import NoticeWarning

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Since 4.57 transformers runs these only with code from the Hub, or not at all, or not for a batch.
_UNSUPPORTED = (
    *("penalty_alpha", "dola_layers", "num_beam_groups", "diversity_penalty", "constraints"),
    *("force_words_ids", "token_healing", "prompt_lookup_num_tokens", "assistant_early_exit", "use_mtp"),
    # `generate` is called with a cache of its own.
    *("cache_implementation", "cache_config"),
)


def remove_unsupported(model: PreTrainedModel, name: str) -> None:
    """Set the unsupported settings of `model.generation_config` to None, and name them in a notice.

    Args:
        model: a model that can generate; others stay unchanged.
        name: name of the model, for the notice.
    """
    config = getattr(model, "generation_config", None)
    if config is None:
        return
    found = [key for key in _UNSUPPORTED if getattr(config, key, None)]
    if getattr(config, "num_beam_groups", None) == 1:
        found.remove("num_beam_groups")
    for key in found:
        setattr(config, key, None)
    # How a cache is laid out does not change the text.
    shown = [key for key in found if not key.startswith("cache_")]
    if shown:
        warnings.warn(
            f"{name}: generation_config.json sets {', '.join(shown)}, which transformers 5 does not support;"
            " it is ignored",
            NoticeWarning,
            stacklevel=2,
        )


def end_ids(config: Any, tokenizer: Any) -> list[int]:
    """Return the ids at which generation stops: those of the configuration, then the tokenizer's end token.

    A model that was trained with a tokenizer's end token may keep a configuration with another one.

    Args:
        config: a generation_config, or None.
        tokenizer: the model's tokenizer, or None.
    """
    listed = getattr(config, "eos_token_id", None)
    ids = list(listed) if isinstance(listed, list | tuple) else [listed]
    ids.append(getattr(tokenizer, "eos_token_id", None))
    return [int(token) for token in dict.fromkeys(ids) if token is not None]
