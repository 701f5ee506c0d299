"""Decode Llama-like models with one native call a step, over a key-value cache without padding.

transformers runs a step as hundreds of small operations, each called from Python; for a small model they cost
more than reading its weights. Here all layers run in one call, for any number of sequences of any length. The
result of a sequence does not depend on the sequences beside it, to the bit.

Public: `reason_against`, `NativeDecoder`, `Slot`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.native_build import PORTABLE, CannotBuildError, Level, NativeSource
from llmkit.runtime.peft import base_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"})
_WIDE = ("-march=x86-64-v4", "-mprefer-vector-width=512")
_LINEAR = Path(__file__).parents[2] / "linear" / "native"
SOURCE = NativeSource(
    "step",
    Path(__file__).parent / "native",
    ("step.cpp",),
    (
        Level("avx512vnni", (*_WIDE, "-mavx512vnni"), _AVX512 | {"avx512_vnni"}),
        Level("avx512", _WIDE, _AVX512),
        Level("avx2", ("-march=x86-64-v3",), frozenset({"avx2", "fma", "bmi2", "f16c"})),
        PORTABLE,
    ),
    ("-ffp-contract=fast", f"-I{_LINEAR}"),
)
FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Values of `model_type` whose layers the native step computes."""
_ACTIVATIONS = {"silu": 0, "swish": 0, "gelu_pytorch_tanh": 1}
_ROPE_TYPES = frozenset({"default", "linear", "llama3", "yarn"})  # those whose frequencies never change
_KINDS = ("float32", "bfloat16")
# Prompts up to this many tokens run as steps; longer ones through transformers, whose products are faster.
MAX_STEP_TOKENS = 16


class _Matrix(ctypes.Structure):
    _fields_ = [
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("kind", ctypes.c_int64),
    ]


_MATRICES = ("q", "k", "v", "o", "gate", "up", "down")
_POINTERS = ("input_norm", "post_norm", "q_norm", "k_norm", "keys", "values")
_NUMBERS = ("count", "hidden", "heads", "kv_heads", "head_dim", "inner", "rotary", "cache_kind", "activation")


class _Layer(ctypes.Structure):
    _fields_ = [
        *((name, _Matrix) for name in _MATRICES),
        *((name, ctypes.c_void_p) for name in _POINTERS),
        ("window", ctypes.c_int64),
    ]


class _Model(ctypes.Structure):
    _fields_ = [
        ("layers", ctypes.POINTER(_Layer)),
        ("head", _Matrix),
        ("final_norm", ctypes.c_void_p),
        ("frequencies", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in _NUMBERS),
        ("epsilon", ctypes.c_float),
        ("rope_scale", ctypes.c_float),
        ("attention_scale", ctypes.c_float),
    ]


class _NativeRow(ctypes.Structure):
    _fields_ = [("offset", ctypes.c_int64), ("position", ctypes.c_int64), ("logits", ctypes.c_int64)]


@dataclass
class Slot:
    """A sequence's range of the cache.

    Attributes:
        offset: first token of the range.
        capacity: tokens that it holds.
        ids: tokens whose keys and values are in it, in order.
    """

    offset: int
    capacity: int
    ids: list[int]


def reason_against(model: PreTrainedModel) -> str | None:
    """Return the reason why a model cannot run in the native step, or None if it can.

    The model's layers must be those of one of `FAMILIES`, on the CPU, in float32 or bfloat16, without an
    adapter, with widths that are multiples of 16.
    """
    config: Any = model.config
    if base_model(model) is not model:
        return "an adapter is on it"
    if config.model_type not in FAMILIES or not hasattr(model, "lm_head"):
        return f"{config.model_type} has layers of another kind"
    if not hasattr(model.model, "layers"):
        return "an adapter is on it"
    if model.device.type != "cpu":
        return f"it runs on {model.device.type}"
    if str(model.dtype).removeprefix("torch.") not in _KINDS:
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
    if not all(_matrix_of(linear) for linear in _linears(model)):
        return "its linear layers are wrapped or of another kind"
    try:
        _function()
    except CannotBuildError as error:
        return f"the native code cannot be built: {error}"
    return None


def _linears(model: Any) -> list[Any]:
    found = [model.lm_head]
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        found += [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
        found += [mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    return found


def _matrix_of(linear: Any) -> bool:
    import torch

    if type(linear) is torch.nn.Linear:
        return bool(linear.weight.is_contiguous())
    return _native_weight(linear) is not None


def _native_weight(linear: Any) -> int | None:
    """The address of a quantized layer's weight in the native layout; None if it has another."""
    from llmkit.linear import cpu
    from llmkit.linear.modules import QuantizedLinear

    if not isinstance(linear, QuantizedLinear) or linear.kernel.function is not cpu.product:
        return None
    return cpu.handle(linear.packed())


def level() -> str:
    """Return the instruction set that the step runs with.

    Raises:
        CannotBuildError: there is none that can be built here.
    """
    return _built()[0]


@cache
def _built() -> tuple[str, Any]:
    """Return the best instruction set of this processor and the step's function, built if need be."""
    failures: list[CannotBuildError] = []
    for name in SOURCE.available():
        try:
            found = SOURCE.load(SOURCE.build(name), f"llmkit_step_{name}")
        except CannotBuildError as error:
            failures.append(error)
            continue
        pointer, number = ctypes.c_void_p, ctypes.c_int
        found.argtypes = [pointer, pointer, number, pointer, pointer, number, number]
        found.restype = number
        return name, found
    raise failures[0]


def _function() -> Any:
    return _built()[1]


class NativeDecoder:
    """A model's weights and a cache for some number of tokens.

    Args:
        model: one for which `reason_against` gives None. Its weights are read where they lie.
        tokens: tokens of all sequences together that the cache holds.

    Raises:
        MemoryError: the cache does not fit.
    """

    def __init__(self, model: PreTrainedModel, tokens: int) -> None:
        import torch

        self.model = model
        self.tokens = tokens
        config: Any = model.config
        self._held: list[Any] = []  # tensors whose memory the structures below point to
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
        layers = model.model.layers
        # [layers, 2, tokens, kv_heads, head_dim]: keys and values of a token lie together.
        self.cache = torch.empty(len(layers), 2, tokens, kv_heads, head_dim, dtype=model.dtype)
        self._layers = (_Layer * len(layers))()
        windows = _windows(config, len(layers))
        for i, layer in enumerate(layers):
            self._layers[i] = self._layer(layer, self.cache[i], windows[i])
        rotary = model.model.rotary_emb
        self._model = _Model(
            self._layers,
            self._matrix(model.lm_head),
            self._float(model.model.norm.weight),
            self._float(rotary.inv_freq),
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
        )
        self._free = [(0, tokens)]

    def allocate(self, capacity: int) -> Slot | None:
        """Reserve room for a sequence of `capacity` tokens; None where there is none."""
        for i, (offset, size) in enumerate(self._free):
            if size >= capacity:
                self._free[i : i + 1] = [(offset + capacity, size - capacity)] if size > capacity else []
                return Slot(offset, capacity, [])
        return None

    def release(self, slot: Slot) -> None:
        """Give a sequence's room back."""
        spans = sorted([*self._free, (slot.offset, slot.capacity)])
        self._free = []
        for offset, size in spans:
            if self._free and sum(self._free[-1]) == offset:
                self._free[-1] = (self._free[-1][0], self._free[-1][1] + size)
            else:
                self._free.append((offset, size))

    def copy(self, source: Slot, target: Slot, count: int) -> None:
        """Copy the first `count` tokens of a sequence to the beginning of an empty one."""
        self.cache[:, :, target.offset : target.offset + count] = self.cache[
            :, :, source.offset : source.offset + count
        ]
        target.ids[:] = source.ids[:count]

    def prefill(self, slot: Slot, ids: Sequence[int]) -> torch.Tensor:
        """Read more tokens of a sequence and return the logits after the last, float32 [vocabulary]."""
        if len(ids) <= MAX_STEP_TOKENS:
            return self.step([(slot, ids)])[-1]
        import torch
        from transformers import DynamicCache

        if len(slot.ids) + len(ids) > slot.capacity:
            raise ValueError("the sequence is longer than its slot")
        past = len(slot.ids)
        cache: Any = DynamicCache()
        if past:
            for i in range(len(self._layers)):
                cache.update(*self._views(i, slot, past), i)
        with torch.inference_mode():
            output = self.model(
                input_ids=torch.tensor([list(ids)]), past_key_values=cache, use_cache=True, logits_to_keep=1
            )
        whole = past + len(ids)
        for i, layer in enumerate(cache.layers):
            for kind, states in enumerate((layer.keys, layer.values)):
                # A sliding layer keeps its window alone: [1, kv_heads, kept, head_dim].
                kept = min(states.shape[2], len(ids))
                at = slot.offset + whole - kept
                self.cache[i, kind, at : slot.offset + whole] = states[0, :, -kept:].transpose(0, 1)
        slot.ids += ids
        return output.logits[0, -1].float()

    def step(self, rows: Sequence[tuple[Slot, Sequence[int]]]) -> torch.Tensor:
        """Read some tokens of each sequence; return the logits after each, float32 [tokens, vocabulary].

        Args:
            rows: sequences, each with its next tokens; usually one, several where they are known or guessed.

        Raises:
            ValueError: a sequence is longer than its slot.
        """
        import torch

        flat: list[int] = []
        places = []
        for slot, ids in rows:
            if len(slot.ids) + len(ids) > slot.capacity:
                raise ValueError("the sequence is longer than its slot")
            places += [(slot.offset, len(slot.ids) + i) for i in range(len(ids))]
            flat += ids
        native = (_NativeRow * len(flat))(*(_NativeRow(*place, i) for i, place in enumerate(places)))
        with torch.inference_mode():
            hidden = self.model.get_input_embeddings()(torch.tensor(flat)).to(torch.float32).contiguous()
        logits = torch.empty(len(flat), self._model.head.outputs)
        failed = _function()(
            ctypes.byref(self._model),
            native,
            len(flat),
            hidden.data_ptr(),
            logits.data_ptr(),
            len(flat),
            torch.get_num_threads(),
        )
        if failed:
            raise MemoryError("the native step found no memory for its buffers")
        for slot, ids in rows:
            slot.ids += ids
        return logits

    def _views(self, layer: int, slot: Slot, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of a sequence's first tokens, each [1, kv_heads, count, head_dim]."""
        both = self.cache[layer, :, slot.offset : slot.offset + count]
        return both[0].transpose(0, 1).unsqueeze(0), both[1].transpose(0, 1).unsqueeze(0)

    def _layer(self, layer: Any, cache: torch.Tensor, window: int) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        norms = (getattr(attention, "q_norm", None), getattr(attention, "k_norm", None))
        return _Layer(
            self._matrix(attention.q_proj),
            self._matrix(attention.k_proj),
            self._matrix(attention.v_proj),
            self._matrix(attention.o_proj),
            self._matrix(mlp.gate_proj),
            self._matrix(mlp.up_proj),
            self._matrix(mlp.down_proj),
            self._float(layer.input_layernorm.weight),
            self._float(layer.post_attention_layernorm.weight),
            *(None if norm is None else self._float(norm.weight) for norm in norms),
            cache[0].data_ptr(),
            cache[1].data_ptr(),
            window,
        )

    def _matrix(self, linear: Any) -> _Matrix:
        quantized = _native_weight(linear)
        if quantized is not None:
            self._held.append(linear)
            return _Matrix(quantized, None, linear.out_features, linear.in_features, linear.bits)
        weight = linear.weight.detach()
        self._held.append(weight)
        bias = None if linear.bias is None else self._float(linear.bias)
        kind = _KINDS.index(str(weight.dtype).removeprefix("torch."))
        return _Matrix(weight.data_ptr(), bias, weight.shape[0], weight.shape[1], kind)

    def _float(self, tensor: torch.Tensor) -> int:
        """The address of a float32 copy."""
        copy = tensor.detach().float().contiguous()
        self._held.append(copy)
        return copy.data_ptr()


def _windows(config: Any, layers: int) -> list[int]:
    """The number of keys that each layer's queries see; 0 for all."""
    window = getattr(config, "sliding_window", None) or 0
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return [window] * layers
    return [window if kind == "sliding_attention" else 0 for kind in kinds]
