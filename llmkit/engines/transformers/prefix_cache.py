"""The key-value cache of one conversation, kept between answers, so that no token is read twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from transformers import DynamicCache

    from llmkit.runtime.load import LoadedModel


class PrefixCache:
    """Keys and values of the last tokens that the model read, reused if the next prompt begins with them.

    It supports decoder-only models whose attention keeps a key and a value for each token. A full sliding
    window no longer contains the tokens that cropping needs, and recurrent state cannot be cropped. Such
    models read the next prompt from its start.

    Args:
        loaded: the model of the cache.

    Attributes:
        ids: tokens in the cache.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.ids: list[int] = []
        self._loaded = loaded
        self._cache: DynamicCache | None = None

    def take(self, ids: Sequence[int]) -> DynamicCache | None:
        """Return the cache, cropped to its common prefix with the prompt `ids`, for `generate` to fill.

        This object is empty until `keep` returns the cache, so a failed answer leaves no state.
        The result is None for a model that is not supported.
        """
        cache, held = self._cache, self.ids
        self._cache, self.ids = None, []
        # The model must read the prompt's last token: its output there is the first token of the answer.
        usable = min(len(held), len(ids) - 1)
        shared = next((i for i in range(usable) if held[i] != ids[i]), usable)
        surplus = len(held) - shared
        if cache is None or shared == 0 or (surplus and not _can_crop(cache)):
            return self._fresh()
        if surplus:
            cache.crop(-surplus)
        return cache

    def keep(self, cache: DynamicCache | None, ids: Sequence[int]) -> None:
        """Keep a cache that `generate` filled.

        Args:
            cache: the cache from `take`.
            ids: tokens of the prompt and the answer; the model has not read the answer's last token.
        """
        if cache is not None:
            self._cache, self.ids = cache, list(ids[: cache.get_seq_length()])

    def _fresh(self) -> DynamicCache | None:
        from llmkit.engines.transformers.key_value_cache import preallocated_cache

        adapter = getattr(self._loaded.model, "active_peft_config", None)
        # The virtual tokens of a prompt-tuning adapter are in the cache too, but not in `ids`.
        beyond = adapter is not None and adapter.is_prompt_learning
        cache = None if self._loaded.is_encoder_decoder or beyond else preallocated_cache(self._loaded)
        return cast("DynamicCache | None", cache)


def _can_crop(cache: DynamicCache) -> bool:
    """Return True if no layer has dropped tokens that fell out of its window."""
    layers: list[Any] = cache.layers
    return all(not layer.is_sliding or layer.get_seq_length() < layer.get_max_length() for layer in layers)
