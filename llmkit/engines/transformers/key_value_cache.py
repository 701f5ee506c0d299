"""A preallocated key-value cache: new tokens are written after the old ones, which are not copied.

The dynamic cache of transformers copies all keys and values for each new token. Beam search copies them
again, also those of the encoder.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import (
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    EncoderDecoderCache,
)

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel

MAX_EXTRA_TOKENS = 256
"""Maximum growth of a buffer, in tokens: one copy for so many tokens takes little time."""
_SHORT = 128
"""Number of tokens up to which a copy is better than unused memory between the rows of a buffer."""


class PreallocatedLayer(DynamicLayer):
    """A layer's keys and values, [batch, heads, tokens, head_dim] each, at the beginning of a longer buffer.

    Args:
        room: expected number of tokens after a prompt; with more, the buffer is sometimes copied.
        spare_buffers: unused buffers by shape, shared by the layers of a cache.
    """

    def __init__(self, room: int, spare_buffers: dict[tuple[int, ...], torch.Tensor]) -> None:
        super().__init__()
        self._room = room
        self._end = 0
        self._spare_buffers = spare_buffers
        self._buffers: dict[str, torch.Tensor] = {}

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values, [batch, heads, new tokens, head_dim] each, and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if key_states.shape[-2] > 1 or not self._end:
            self._end = self.get_seq_length() + key_states.shape[-2] + self._room
        keys = self.keys = self._joined("keys", self.keys, key_states)
        values = self.values = self._joined("values", self.values, value_states)
        return keys, values

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Give each row the tokens of row ``beam_idx[row]``, for beam search."""
        if self.get_seq_length() and not _stays(beam_idx):
            self.keys = self._reordered("keys", self.keys, beam_idx)
            self.values = self._reordered("values", self.values, beam_idx)

    def reset(self) -> None:
        """Forget all tokens."""
        self._buffers, self._end = {}, 0
        self._spare_buffers.clear()
        super().reset()

    def _joined(self, name: str, held: Any, new: torch.Tensor) -> torch.Tensor:
        length = held.shape[-2] if held.numel() else 0
        total = length + new.shape[-2]
        if total <= _SHORT:
            return torch.cat([held, new], dim=-2) if length else new
        buffer = self._buffers.get(name)
        # After rows are cropped or selected, `held` is no longer the beginning of the buffer.
        fits = buffer is not None and total <= buffer.shape[-2] and buffer.shape[:-2] == new.shape[:-2]
        if buffer is None or not fits or (length and not _begins(held, buffer)):
            more = min(MAX_EXTRA_TOKENS, total)
            if self._end > total:
                more = min(more, self._end - total)
            buffer = new.new_empty(*new.shape[:-2], total + more, new.shape[-1])
            if length:
                buffer[..., :length, :] = held
            self._buffers[name] = buffer
            self._spare_buffers.clear()
        buffer[..., length:total, :] = new
        return buffer[..., :total, :]

    def _reordered(self, name: str, held: Any, rows: torch.Tensor) -> torch.Tensor:
        rows = rows.to(held.device)
        buffer = self._buffers.get(name)
        if buffer is None or len(rows) != len(held) or not _begins(held, buffer):
            return held.index_select(0, rows)
        unused = self._spare_buffers.pop(tuple(buffer.shape), None)
        if unused is None or unused.device != buffer.device or unused.dtype != buffer.dtype:
            unused = torch.empty_like(buffer)
        found = unused[..., : held.shape[-2], :]
        torch.index_select(held, 0, rows, out=found)
        self._buffers[name], self._spare_buffers[tuple(buffer.shape)] = unused, buffer
        return found


class SharedLayer(DynamicLayer):
    """Keys and values of the encoder in a layer: the beams of a text share them, in any order."""

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Do nothing: beam search exchanges only beams of the same text."""


def preallocated_cache(
    loaded: LoadedModel, new_tokens: int = MAX_EXTRA_TOKENS
) -> DynamicCache | EncoderDecoderCache | None:
    """Return an empty cache for `generate` to fill.

    It supports models whose attention keeps a key and a value for each token, or for each token of a window.

    Args:
        loaded: the model.
        new_tokens: maximum number of tokens after the prompt.

    Returns:
        The cache; None for a model with another state, or with another cache in its generation config.
    """
    model: Any = loaded.model
    settings = model.generation_config
    own_kind = settings.cache_implementation is not None or settings.use_cache is False
    # A model that drafts with its own first layers (early exit) has its own method to remove tokens.
    if own_kind or settings.assistant_early_exit is not None:
        return None
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    takes_one = "past_key_values" in inspect.signature(plain.forward).parameters
    if not takes_one or not model._supports_default_dynamic_cache():
        return None
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    served = {DynamicLayer} if loaded.is_encoder_decoder else {DynamicLayer, DynamicSlidingWindowLayer}
    if not {type(layer) for layer in cache.layers} <= served:
        return None
    spare_buffers: dict[tuple[int, ...], torch.Tensor] = {}
    cache.layers = [
        PreallocatedLayer(new_tokens, spare_buffers) if type(layer) is DynamicLayer else layer
        for layer in cache.layers
    ]
    if not loaded.is_encoder_decoder:
        return cache
    across = DynamicCache()
    across.layers = [SharedLayer() for _ in cache.layers]
    return EncoderDecoderCache(cache, across)


def _begins(held: torch.Tensor, buffer: torch.Tensor) -> bool:
    """Return True if a tensor is the beginning of a buffer's rows, in the same memory."""
    return (
        held.data_ptr() == buffer.data_ptr()
        and held.stride() == buffer.stride()
        and held.shape[:-2] == buffer.shape[:-2]
    )


def _stays(beam_idx: torch.Tensor) -> bool:
    """Return True if each row keeps its own tokens; False on a GPU, because reading would wait for it."""
    return beam_idx.device.type == "cpu" and bool((beam_idx == torch.arange(len(beam_idx))).all())
