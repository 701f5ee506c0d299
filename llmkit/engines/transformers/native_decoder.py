"""Decode Llama-like models with one native call per step and a key-value cache without padding.

transformers runs a step as hundreds of small operations called from Python; for a small model they take more
time than reading its weights. Here all layers run in one call, for any number of sequences of any length. The
result of a sequence does not depend on the other sequences, to the bit. Prompts are read in products of many
rows. For bfloat16 weights, activations are rounded to bfloat16 if the processor multiplies that type.

Public: `reason_against`, `step_bytes`, `NativeDecoder`, `Slot`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.engines.transformers import native_adapter, native_weights
from llmkit.engines.transformers.native_library import (
    NativeLayer,
    NativeModel,
    NativeRow,
    functions,
)
from llmkit.native_build import CannotBuildError
from llmkit.runtime.peft import base_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Values of `model_type` whose layers the native step computes."""
_ACTIVATIONS = {"silu": 0, "swish": 0, "gelu_pytorch_tanh": 1}
_ROPE_TYPES = frozenset({"default", "linear", "llama3", "yarn"})  # types with constant frequencies
MAX_GROUP = 32  # maximum number of query heads per key head


@dataclass
class Slot:
    """A sequence's range of the cache.

    Attributes:
        offset: first token of the range.
        capacity: maximum number of tokens.
        ids: tokens whose keys and values it contains, in order.
    """

    offset: int
    capacity: int
    ids: list[int]


class FreeSpans:
    """Free space in a cache.

    Args:
        tokens: size of the cache.
    """

    def __init__(self, tokens: int) -> None:
        self._free = [(0, tokens)]

    def take(self, size: int) -> int | None:
        """Reserve consecutive tokens; return the first of them, or None if there is no space."""
        for i, (offset, there) in enumerate(self._free):
            if there >= size:
                self._free[i : i + 1] = [(offset + size, there - size)] if there > size else []
                return offset
        return None

    def give(self, offset: int, size: int) -> None:
        """Free tokens that `take` reserved."""
        spans = sorted([*self._free, (offset, size)])
        self._free = []
        for begin, count in spans:
            if self._free and sum(self._free[-1]) == begin:
                self._free[-1] = (self._free[-1][0], self._free[-1][1] + count)
            else:
                self._free.append((begin, count))


def reason_against(model: PreTrainedModel) -> str | None:
    """Return the reason why a model cannot run in the native step, or None if it can.

    The model's layers must be those of one of `FAMILIES`, on the CPU, in float32 or bfloat16, with widths
    that are multiples of 16. Adapters must be plain LoRA on its linear layers.
    """
    if (reason := native_adapter.reason_against(model)) is not None:
        return reason
    model = base_model(model)
    config: Any = model.config
    if config.model_type not in FAMILIES or not hasattr(model, "lm_head"):
        return f"{config.model_type} has layers of an unsupported kind"
    if model.device.type != "cpu":
        return f"it runs on {model.device.type}"
    if str(model.dtype).removeprefix("torch.") not in native_weights.KINDS:
        return f"it computes in {model.dtype}"
    if getattr(config, "hidden_act", "") not in _ACTIVATIONS:
        return f"its activation is {config.hidden_act}"
    rope = config.rope_parameters or {}
    if rope.get("rope_type", "default") not in _ROPE_TYPES:
        return f"its rotary embedding is of type {rope.get('rope_type')}"
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    widths = (config.hidden_size, config.intermediate_size, head_dim)
    if any(width % 16 for width in widths) or head_dim > 256:
        return f"its widths {widths} are not multiples of 16"
    if config.num_attention_heads > MAX_GROUP * config.num_key_value_heads:
        return f"more than {MAX_GROUP} of its heads share one key"
    if hasattr(model.lm_head, "lora_A") or not all(
        native_weights.is_native(linear) for linear in _linears(model)
    ):
        return "its linear layers are wrapped or of an unsupported kind"
    if not all(_share_inputs(layer) for layer in model.model.layers):
        return "its layers have weights of several types"
    try:
        functions()
    except CannotBuildError as error:
        return f"the native code cannot be built: {error}"
    return None


def step_bytes(model: PreTrainedModel) -> int:
    """Return the bytes of the weights that a step reads; `reason_against` must return None for the model."""
    return sum(map(native_weights.weight_bytes, _linears(base_model(model))))


def _linears(model: Any) -> list[Any]:
    found = [model.lm_head]
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        found += [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
        found += [mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    return found


def _share_inputs(layer: Any) -> bool:
    """Return True if products that read the same numbers want them in one form."""
    attention, mlp = layer.self_attn, layer.mlp
    groups = ((attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj))
    return all(map(native_weights.read_alike, groups))


class NativeDecoder:
    """A model's weights and a cache for a number of tokens.

    Args:
        model: model for which `reason_against` returns None. Its weights are not copied.
        tokens: size of the cache, for the tokens of all sequences.

    Attributes:
        width: number of logits after a token.

    Raises:
        MemoryError: the cache does not fit.
    """

    def __init__(self, model: PreTrainedModel, tokens: int) -> None:
        import torch

        model = base_model(model)
        self.model = model
        self.tokens = tokens
        config: Any = model.config
        self._weights = weights = native_weights.NativeWeights()
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
        layers = model.model.layers
        # [layers, 2, tokens, kv_heads, head_dim]: keys and values of a token are adjacent.
        self.cache = torch.empty(len(layers), 2, tokens, kv_heads, head_dim, dtype=model.dtype)
        self._layers = (NativeLayer * len(layers))()
        windows = _windows(config, len(layers))
        for i, layer in enumerate(layers):
            self._layers[i] = self._layer(layer, self.cache[i], windows[i])
        rotary = model.model.rotary_emb
        self._model = NativeModel(
            self._layers,
            weights.matrix(model.lm_head),
            weights.floats(model.model.norm.weight),
            weights.floats(rotary.inv_freq),
            len(layers),
            config.hidden_size,
            heads,
            kv_heads,
            head_dim,
            config.intermediate_size,
            2 * rotary.inv_freq.numel(),
            0 if model.dtype == torch.float32 else 1,
            _ACTIVATIONS[config.hidden_act],
            config.rms_norm_eps,
            rotary.attention_scaling,
            layers[0].self_attn.scaling,
            weights.rank,
        )
        self.width: int = self._model.head.outputs
        self._spans = FreeSpans(tokens)

    def allocate(self, capacity: int) -> Slot | None:
        """Reserve space for a sequence of `capacity` tokens; None if there is not enough."""
        offset = self._spans.take(capacity)
        return None if offset is None else Slot(offset, capacity, [])

    def release(self, slot: Slot) -> None:
        """Free a sequence's space."""
        self._spans.give(slot.offset, slot.capacity)

    def copy(self, source: Slot, target: Slot, count: int) -> None:
        """Copy the first `count` tokens of a sequence to the beginning of an empty one."""
        self.cache[:, :, target.offset : target.offset + count] = self.cache[
            :, :, source.offset : source.offset + count
        ]
        target.ids[:] = source.ids[:count]

    def prefill(self, rows: Sequence[tuple[Slot, Sequence[int]]]) -> torch.Tensor:
        """Read more tokens of sequences' prompts; return the logits after the last token of each.

        The result of a token does not depend on other sequences, or on the cuts of a prompt.

        Args:
            rows: sequences, each with its next tokens, one or more.

        Returns:
            float32 [sequences, vocabulary].

        Raises:
            ValueError: a sequence is longer than its slot.
            MemoryError: there is no memory for the layers' buffers.
        """
        lines = [n if i + 1 == len(ids) else -1 for n, (_, ids) in enumerate(rows) for i in range(len(ids))]
        return self._run(functions().prefill, rows, lines)

    def step(self, rows: Sequence[tuple[Slot, Sequence[int]]]) -> torch.Tensor:
        """Read some tokens of each sequence; return the logits after each, float32 [tokens, vocabulary].

        Args:
            rows: sequences, each with its next tokens; usually one, or several if they are known or guessed.

        Raises:
            ValueError: a sequence is longer than its slot.
            MemoryError: there is no memory for the layers' buffers.
        """
        return self._run(functions().step, rows, range(sum(len(ids) for _, ids in rows)))

    def _run(
        self, function: Any, rows: Sequence[tuple[Slot, Sequence[int]]], lines: Sequence[int]
    ) -> torch.Tensor:
        """Read tokens; `lines` gives the line of the logits for each token, -1 for none."""
        import torch

        flat: list[int] = []
        places = []
        for slot, ids in rows:
            if len(slot.ids) + len(ids) > slot.capacity:
                raise ValueError("the sequence is longer than its slot")
            places += [(slot.offset, len(slot.ids) + i) for i in range(len(ids))]
            flat += ids
        native = (NativeRow * len(flat))(
            *(NativeRow(*place, line) for place, line in zip(places, lines, strict=True))
        )
        with torch.inference_mode():
            hidden = self.model.get_input_embeddings()(torch.tensor(flat)).to(torch.float32).contiguous()
        logits = torch.empty(sum(line >= 0 for line in lines), self._model.head.outputs)
        failed = function(
            ctypes.byref(self._model),
            native,
            len(flat),
            hidden.data_ptr(),
            logits.data_ptr(),
            len(logits),
            torch.get_num_threads(),
        )
        if failed:
            raise MemoryError("the native decoder found no memory for its buffers")
        for slot, ids in rows:
            slot.ids += ids
        return logits

    def _layer(self, layer: Any, cache: torch.Tensor, window: int) -> NativeLayer:
        attention, mlp, weights = layer.self_attn, layer.mlp, self._weights
        norms = (getattr(attention, "q_norm", None), getattr(attention, "k_norm", None))
        return NativeLayer(
            weights.matrix(attention.q_proj),
            weights.matrix(attention.k_proj),
            weights.matrix(attention.v_proj),
            weights.matrix(attention.o_proj),
            weights.matrix(mlp.gate_proj),
            weights.matrix(mlp.up_proj),
            weights.matrix(mlp.down_proj),
            weights.floats(layer.input_layernorm.weight),
            weights.floats(layer.post_attention_layernorm.weight),
            *(None if norm is None else weights.floats(norm.weight) for norm in norms),
            cache[0].data_ptr(),
            cache[1].data_ptr(),
            window,
        )


def _windows(config: Any, layers: int) -> list[int]:
    """Number of keys that each layer's queries attend to; 0 is all."""
    window = getattr(config, "sliding_window", None) or 0
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return [window] * layers
    return [window if kind == "sliding_attention" else 0 for kind in kinds]
