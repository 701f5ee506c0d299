"""transformers' `generate`, including beam search, over native steps.

`generate` itself processes the logits. It calls a copy of the model whose forward pass is one native step.
Beams of one source share their common lines of the cache, so reordering beams copies no keys and values.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

from llmkit.engines.transformers.seq2seq.decoder import SourceSpan, TargetSlot, TranslatorDecoder

if TYPE_CHECKING:
    from llmkit.engines.transformers.seq2seq.runner import TranslatorRunner

_STEPS = 32  # initial size of the cache


class BeamCache(Cache):
    """Positions of rows in a decoder's cache, with the interface of a cache in `generate`.

    Args:
        decoder: decoder with space for one token of each row.
        spans: the source of each row; beams of one source have the same.
    """

    def __init__(self, decoder: TranslatorDecoder, spans: Sequence[SourceSpan]) -> None:
        super().__init__(layers=[])
        self._decoder = decoder
        self._slots = [TargetSlot(span, 0, 0) for span in spans]
        # The lines of the cache with the keys of each position, [rows, positions].
        self._lines = np.zeros((len(spans), _STEPS), dtype=np.int64)
        self._position = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._position

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Make each row continue the row with the given index, int64 [rows]."""
        self._lines[:, : self._position] = self._lines[beam_idx.numpy(), : self._position]

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Read a token of each row; return the logits after it, float32 [rows, vocabulary]."""
        count, position = len(self._slots), self._position
        if count * (position + 1) > self._decoder.target_tokens:
            self._decoder.grow(2 * count * (position + 1))
        if position == self._lines.shape[1]:
            self._lines = np.concatenate([self._lines, np.zeros_like(self._lines)], axis=1)
        # Entries of all rows at one position are adjacent.
        self._lines[:, position] = range(position * count, (position + 1) * count)
        address, step = self._lines.ctypes.data, self._lines.strides[0]
        for row, slot in enumerate(self._slots):
            slot.offset, slot.position = position * count + row - position, position
            slot.capacity, slot.lines = position + 1, address + row * step
        self._position += 1
        return self._decoder.step(list(zip(self._slots, tokens, strict=True)))


@contextmanager
def native_model(
    runner: TranslatorRunner, prompts: Sequence[Sequence[int]], copies: int
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Read sources; return a model for one call of `generate`, and the arguments of that call.

    Args:
        runner: runner of the model.
        prompts: token ids of each source.
        copies: number of beams of each source.

    Raises:
        MemoryError: the caches do not fit.
    """
    model = runner.model
    filler = (int(model.config.pad_token_id or 0),)
    sources = [tuple(ids) or filler for ids in prompts]
    rows = len(sources) * copies
    decoder = runner.open_decoder(sum(map(len, sources)), rows * _STEPS)
    spans = [span for span in map(decoder.place, sources) if span is not None]
    assert len(spans) == len(sources)  # else rows would get the sources of others
    decoder.read(spans)
    cache = BeamCache(decoder, [span for span in spans for _ in range(copies)])
    native = copy.copy(model)
    native.forward = _forward
    native._reorder_cache = _reordered
    # `generate` repeats the encoder's states for the beams, but uses only their shape.
    states: Any = BaseModelOutput(last_hidden_state=torch.zeros(len(sources), 1, 1))
    yield native, {"encoder_outputs": states, "past_key_values": cache}
    for span in spans:
        decoder.drop(span)
    runner.keep(decoder)


def _forward(
    input_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    decoder_input_ids: torch.Tensor | None = None,
    decoder_attention_mask: torch.Tensor | None = None,
    encoder_outputs: Any = None,
    past_key_values: BeamCache | None = None,
    use_cache: bool | None = None,
    **others: Any,
) -> Seq2SeqLMOutput:
    """Forward pass for the newest token of each row; logits float32 [rows, 1, vocabulary]."""
    assert past_key_values is not None
    assert decoder_input_ids is not None
    logits: Any = past_key_values.step(decoder_input_ids[:, -1].tolist()).unsqueeze(1)
    return Seq2SeqLMOutput(logits=logits, past_key_values=past_key_values)  # type: ignore[arg-type]


def _reordered(cache: BeamCache, beam_idx: torch.Tensor) -> BeamCache:
    cache.reorder_cache(beam_idx)
    return cache
