"""Run encoder-decoder models in native calls: one call reads sources, and one runs a step of all answers.

Each answer has its own range of a cache without padding, and attends to the keys and values of its source,
which are computed once. The result of a row does not depend on the other rows, to the bit.

Public: `reason_against`, `TranslatorDecoder`, `SourceSpan`, `TargetSlot`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.engines.transformers import native_weights
from llmkit.engines.transformers.native_decoder import FreeSpans
from llmkit.engines.transformers.seq2seq import layers
from llmkit.engines.transformers.seq2seq.layers import LayerParts, SideParts
from llmkit.engines.transformers.seq2seq.library import (
    NativeFeed,
    NativeNorm,
    NativeSide,
    NativeSourceLayer,
    NativeTargetLayer,
    NativeTranslator,
    translator_functions,
)
from llmkit.native_build import CannotBuildError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

READ = 512
"""Number of source tokens to read at a time; more would not fit into the processor's caches."""


@dataclass
class SourceSpan:
    """A source's range in the cache of keys and values that answers attend to.

    Attributes:
        offset: first token of the range.
        ids: its tokens.
        readers: number of answers that attend to it.
    """

    offset: int
    ids: Sequence[int]
    readers: int = 0


@dataclass
class TargetSlot:
    """An answer's range in the cache.

    Attributes:
        source: source that it attends to.
        offset: first token of its range.
        capacity: maximum number of tokens.
        position: number of tokens read.
        lines: address of the lines of the cache with each position's keys, int64; 0 for those of the range.
    """

    source: SourceSpan
    offset: int
    capacity: int
    position: int = 0
    lines: int = 0


def reason_against(model: PreTrainedModel) -> str | None:
    """Return the reason why a model cannot run in native calls, or None if it can.

    It must be of one of `layers.FAMILIES`, on the CPU, in float32 or bfloat16, without adapters, with widths
    that are multiples of 16.
    """
    config: Any = model.config
    head: Any = getattr(model, "lm_head", None)
    if config.model_type not in layers.FAMILIES or hasattr(model, "get_base_model") or head is None:
        return f"{config.model_type} has layers of an unsupported kind"
    if model.device.type != "cpu":
        return f"it runs on {model.device.type}"
    if str(model.dtype).removeprefix("torch.") not in native_weights.KINDS:
        return f"it computes in {model.dtype}"
    source, target = layers.parts_of(model)
    if source.activation is None or target.activation is None:
        return "its activation is not supported"
    if not all(map(native_weights.is_native, [head, *_linears(source), *_linears(target)])):
        return "its linear layers are wrapped or of an unsupported kind"
    widths = {int(config.d_model), source.inner, target.inner, _head_dim(source), _head_dim(target)}
    if any(width % 16 for width in widths) or max(_head_dim(source), _head_dim(target)) > 256:
        return f"its widths {sorted(widths)} are not multiples of 16"
    crossed = [one for part in target.layers for one in (part.cross or ())[1:3]]
    if not all(map(native_weights.read_alike, [crossed, *_groups(source), *_groups(target)])):
        return "its layers have weights of several types"
    try:
        translator_functions()
    except CannotBuildError as error:
        return f"the native code cannot be built: {error}"
    return None


class TranslatorDecoder:
    """A model's weights, and caches for sources and answers.

    Args:
        model: model for which `reason_against` returns None. Its weights are not copied.
        source_tokens, target_tokens: sizes of the two caches in tokens.

    Attributes:
        width: number of logits after a token.

    Raises:
        MemoryError: the caches do not fit.
    """

    def __init__(self, model: PreTrainedModel, source_tokens: int, target_tokens: int) -> None:
        import torch

        self.model: Any = model
        self.source_tokens, self.target_tokens = source_tokens, target_tokens
        self._sides = source, target = layers.parts_of(model)
        self._weights = native_weights.NativeWeights()
        count, width = len(target.layers), int(target.layers[0].attention[1].out_features)
        # [layers, keys and values, tokens, heads * head_dim]
        self._cross = torch.empty(count, 2, source_tokens, width, dtype=model.dtype)
        self._own = torch.empty(count, 2, target_tokens, width, dtype=model.dtype)
        self._encoder = (NativeSourceLayer * len(source.layers))(*map(self._source_layer, source.layers))
        self._decoder = (NativeTargetLayer * count)(
            *(self._target_layer(part, i) for i, part in enumerate(target.layers))
        )
        bias = getattr(model, "final_logits_bias", None)  # 0 in some models
        bias = bias.detach().reshape(-1) if bias is not None and bool(bias.any()) else None
        before = layers.normalizes_before(model)
        sides = (self._side(source, before), self._side(target, before))
        self._native = NativeTranslator(
            self._encoder,
            self._decoder,
            *sides,
            self._weights.matrix(self.model.lm_head, bias),
            int(self.model.config.d_model),
            0 if model.dtype == torch.float32 else 1,
            int(before),
        )
        self._biases: dict[str, torch.Tensor] = {}
        self._reach("source", source, source_tokens)
        self._reach("target", target, target_tokens)
        self.width: int = self._native.head.outputs
        self._logits = torch.empty(0, self.width)
        self._free_sources, self._free_targets = FreeSpans(source_tokens), FreeSpans(target_tokens)

    def place(self, ids: Sequence[int]) -> SourceSpan | None:
        """Reserve space for a source of one or more tokens; None if there is not enough. `read` fills it."""
        offset = self._free_sources.take(len(ids))
        return None if offset is None else SourceSpan(offset, ids)

    def read(self, spans: Sequence[SourceSpan]) -> None:
        """Read sources.

        Raises:
            MemoryError: there is no memory for the layers' buffers.
        """
        group: list[SourceSpan] = []
        for span in spans:
            if group and sum(len(one.ids) for one in group) + len(span.ids) > READ:
                self._read(group)
                group = []
            group.append(span)
        if group:
            self._read(group)

    def open(self, source: SourceSpan, capacity: int) -> TargetSlot | None:
        """Reserve space for an answer of `capacity` tokens; None if there is not enough."""
        offset = self._free_targets.take(capacity)
        if offset is None:
            return None
        source.readers += 1
        return TargetSlot(source, offset, capacity)

    def close(self, slot: TargetSlot) -> None:
        """Free an answer's space, and that of its source after its last answer."""
        self._free_targets.give(slot.offset, slot.capacity)
        slot.source.readers -= 1
        if not slot.source.readers:
            self.drop(slot.source)

    def drop(self, span: SourceSpan) -> None:
        """Free the space of a source without answers."""
        self._free_sources.give(span.offset, len(span.ids))

    def grow(self, target_tokens: int) -> None:
        """Enlarge the answers' cache; its entries keep their positions.

        Raises:
            MemoryError: it does not fit.
        """
        old = self._own
        self._own = old.new_empty(*old.shape[:2], target_tokens, old.shape[3])
        self._own[:, :, : old.shape[2]] = old
        for layer, (keys, values) in zip(self._decoder, self._own, strict=True):
            layer.keys, layer.values = keys.data_ptr(), values.data_ptr()
        self._reach("target", self._sides[1], target_tokens)
        self._free_targets.give(self.target_tokens, target_tokens - self.target_tokens)
        self.target_tokens = target_tokens

    def step(self, rows: Sequence[tuple[TargetSlot, int]]) -> torch.Tensor:
        """Read one token of each answer; return the logits after it, float32 [rows, vocabulary].

        The next step overwrites them.

        Raises:
            ValueError: an answer is longer than its slot.
            MemoryError: there is no memory for the layers' buffers.
        """
        import torch

        slots = [slot for slot, _ in rows]
        if any(slot.position >= slot.capacity for slot in slots):
            raise ValueError("the answer is longer than its slot")
        flat = [
            number
            for one in slots
            for number in (one.offset, one.position, one.lines, one.source.offset, len(one.source.ids))
        ]
        native = (ctypes.c_int64 * len(flat))(*flat)  # `TargetRow` of seq2seq.h
        with torch.inference_mode():
            ids = torch.tensor([token for _, token in rows])
            positions = torch.tensor([slot.position for slot in slots])
            hidden = layers.embed(self.model, self._sides[1], ids, positions)
        if len(rows) > len(self._logits):  # kept: allocating it takes time in a step
            with torch.inference_mode(False):  # the code that chooses tokens changes them in place
                self._logits = torch.empty(len(rows), self.width)
        logits = self._logits[: len(rows)]
        failed = translator_functions().target(
            ctypes.byref(self._native),
            native,
            len(rows),
            hidden.data_ptr(),
            logits.data_ptr(),
            torch.get_num_threads(),
        )
        if failed:
            raise MemoryError("the native decoder found no memory for its buffers")
        for slot in slots:
            slot.position += 1
        return logits

    def _read(self, spans: Sequence[SourceSpan]) -> None:
        import torch

        flat = [number for one in spans for number in (one.offset, len(one.ids))]
        native = (ctypes.c_int64 * len(flat))(*flat)  # `Source` of seq2seq.h
        with torch.inference_mode():
            ids = torch.tensor([token for one in spans for token in one.ids])
            positions = torch.cat([torch.arange(len(one.ids)) for one in spans])
            hidden = layers.embed(self.model, self._sides[0], ids, positions)
        failed = translator_functions().source(
            ctypes.byref(self._native), native, len(spans), hidden.data_ptr(), torch.get_num_threads()
        )
        if failed:
            raise MemoryError("the native encoder found no memory for its buffers")

    def _side(self, side: SideParts, before: bool) -> NativeSide:
        scaled = getattr(self.model.config, "scale_decoder_outputs", False) and side is self._sides[1]
        scale = self.model.config.d_model**-0.5 if scaled else 1.0
        return NativeSide(
            len(side.layers),
            side.heads,
            _head_dim(side),
            side.inner,
            side.activation,
            norm=self._norm(side.norm, scale) if before else NativeNorm(),
            scale=side.scale,
            epsilon=side.epsilon,
        )

    def _reach(self, name: str, side: SideParts, tokens: int) -> None:
        """Set the biases of a side's self-attention for distances up to `tokens`."""
        bias = layers.position_bias(self.model, side, tokens)
        if bias is not None:
            native: NativeSide = getattr(self._native, name)
            self._biases[name] = bias
            native.bias, native.reach = bias.data_ptr(), tokens

    def _source_layer(self, part: LayerParts) -> NativeSourceLayer:
        return NativeSourceLayer(
            *map(self._weights.matrix, part.attention), self._norm(part.norm), self._feed(part)
        )

    def _target_layer(self, part: LayerParts, number: int) -> NativeTargetLayer:
        assert part.cross is not None
        return NativeTargetLayer(
            *map(self._weights.matrix, part.attention),
            self._norm(part.norm),
            *map(self._weights.matrix, part.cross),
            self._norm(part.cross_norm),
            self._feed(part),
            *(kind.data_ptr() for kind in self._own[number]),
            *(kind.data_ptr() for kind in self._cross[number]),
        )

    def _feed(self, part: LayerParts) -> NativeFeed:
        matrix = self._weights.matrix
        gate = () if part.gate is None else (matrix(part.gate),)
        feed = NativeFeed(matrix(part.up), *gate)
        feed.down, feed.norm = matrix(part.down), self._norm(part.feed_norm)
        return feed

    def _norm(self, norm: Any, scale: float = 1.0) -> NativeNorm:
        bias = getattr(norm, "bias", None)
        return NativeNorm(
            self._weights.floats(norm.weight * scale), None if bias is None else self._weights.floats(bias)
        )


def _head_dim(side: SideParts) -> int:
    return int(side.layers[0].attention[0].out_features) // side.heads


def _linears(side: SideParts) -> list[Any]:
    """Return the linear layers of a side."""
    found = []
    for part in side.layers:
        found += [*part.attention, *(part.cross or ()), part.up, part.down]
        found += [] if part.gate is None else [part.gate]
    return found


def _groups(side: SideParts) -> list[list[Any]]:
    """Return groups of linear layers with the same input."""
    return [
        group
        for part in side.layers
        for group in ([*part.attention[:3]], [part.up, part.up if part.gate is None else part.gate])
    ]
