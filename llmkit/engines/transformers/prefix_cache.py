"""The key-value cache of one conversation, kept between answers: what was read once is not read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from transformers import DynamicCache

    from llmkit.runtime.load import LoadedModel


class PrefixCache:
    """Keys and values of the tokens that went through the model last, for the next prompt to begin with.

    It serves decoder-only models whose attention keeps a key and a value for each token. A layer with a
    sliding window that is full has forgotten what cropping would bring back, and recurrent state cannot be
    taken back at all: there the next prompt starts afresh.

    Args:
        loaded: the model whose cache it is.

    Attributes:
        ids: the tokens that it holds.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.ids: list[int] = []
        self._loaded = loaded
        self._cache: DynamicCache | None = None

    def take(self, ids: Sequence[int]) -> DynamicCache | None:
        """The cache, cropped to the beginning that it shares with the prompt `ids`, for `generate` to fill.

        Until `keep` brings it back nothing is held, so that an answer that failed halfway leaves no trace.
        None for a model that it does not serve.
        """
        cache, held = self._cache, self.ids
        self._cache, self.ids = None, []
        # The prompt's last token has to go through the model, whose output there is the answer's first.
        usable = min(len(held), len(ids) - 1)
        shared = next((i for i in range(usable) if held[i] != ids[i]), usable)
        surplus = len(held) - shared
        if cache is None or shared == 0 or (surplus and not _can_crop(cache)):
            return self._fresh()
        if surplus:
            cache.crop(-surplus)
        return cache

    def keep(self, cache: DynamicCache | None, ids: Sequence[int]) -> None:
        """Hold on to a cache that `generate` filled.

        Args:
            cache: from `take`.
            ids: the prompt and the answer; the answer's last token has not gone through the model.
        """
        if cache is not None:
            self._cache, self.ids = cache, list(ids[: cache.get_seq_length()])

    def _fresh(self) -> DynamicCache | None:
        from llmkit.engines.transformers.key_value_cache import preallocated_cache

        adapter = getattr(self._loaded.model, "active_peft_config", None)
        # What a prompt-tuning adapter puts before the prompt lies in the cache too, and is no token of `ids`.
        beyond = adapter is not None and adapter.is_prompt_learning
        cache = None if self._loaded.is_encoder_decoder or beyond else preallocated_cache(self._loaded)
        return cast("DynamicCache | None", cache)


def _can_crop(cache: DynamicCache) -> bool:
    """Return True if no layer has dropped tokens that fell out of its window."""
    layers: list[Any] = cache.layers
    return all(not layer.is_sliding or layer.get_seq_length() < layer.get_max_length() for layer in layers)
