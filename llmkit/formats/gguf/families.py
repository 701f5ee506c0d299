"""Names and layouts of each model family's tensors, in GGUF and in Hugging Face checkpoints.

Sources: the tables in the `gguf` package, and the changes that llama.cpp's convert_hf_to_gguf.py makes
(https://github.com/ggml-org/llama.cpp/blob/master/convert_hf_to_gguf.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmkit.errors import InputError

if TYPE_CHECKING:
    import torch

_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_ATTENTION = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
}
_MLP = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
_LLAMA = {**_ATTENTION, "ffn_norm": "post_attention_layernorm", **_MLP}
_HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_GEMMA = {
    **_ATTENTION,
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    **_MLP,
}
_T5_SELF = {
    "attn_norm": "layer.0.layer_norm",
    "attn_q": "layer.0.SelfAttention.q",
    "attn_k": "layer.0.SelfAttention.k",
    "attn_v": "layer.0.SelfAttention.v",
    "attn_o": "layer.0.SelfAttention.o",
    "attn_rel_b": "layer.0.SelfAttention.relative_attention_bias",
}
_T5_CROSS = {
    "cross_attn_norm": "layer.1.layer_norm",
    "cross_attn_q": "layer.1.EncDecAttention.q",
    "cross_attn_k": "layer.1.EncDecAttention.k",
    "cross_attn_v": "layer.1.EncDecAttention.v",
    "cross_attn_o": "layer.1.EncDecAttention.o",
}


def _t5_mlp(layer: int, gated: bool) -> dict[str, str]:
    inside = {"ffn_gate": "wi_0", "ffn_up": "wi_1"} if gated else {"ffn_up": "wi"}
    stem = f"layer.{layer}.DenseReluDense"
    return {
        "ffn_norm": f"layer.{layer}.layer_norm",
        **{gguf: f"{stem}.{ours}" for gguf, ours in inside.items()},
        "ffn_down": f"{stem}.wo",
    }


def _t5_blocks(gated: bool) -> dict[str, tuple[str, dict[str, str]]]:
    return {
        "enc.blk": ("encoder.block", {**_T5_SELF, **_t5_mlp(1, gated)}),
        "dec.blk": ("decoder.block", {**_T5_SELF, **_T5_CROSS, **_t5_mlp(2, gated)}),
    }


@dataclass(frozen=True)
class Family:
    """One architecture of GGUF.

    Attributes:
        name: GGUF's name of it.
        model_types: transformers' names of its models; a file is read as the first one.
        top: names of tensors outside the layers: GGUF's -> transformers'.
        blocks: GGUF's prefix of a layer -> transformers' prefix, and the names of tensors inside.
        changes: GGUF's name -> change when a tensor is written: permute (rows of a head, for rotary
            positions), plus_one (a norm's weight is stored with its 1), transpose.
    """

    name: str
    model_types: tuple[str, ...]
    top: dict[str, str]
    blocks: dict[str, tuple[str, dict[str, str]]]
    changes: dict[str, str] = field(default_factory=dict)


def _plus_one(*stems: str) -> dict[str, str]:
    return dict.fromkeys((*stems, "attn_norm", "ffn_norm", "output_norm"), "plus_one")


_PERMUTED = {"attn_q": "permute", "attn_k": "permute"}
_GEMMA_NORMS = ("post_attention_norm", "post_ffw_norm")
_BLOCK = "model.layers"

FAMILIES = (
    Family("llama", ("llama", "mistral"), _TOP, {"blk": (_BLOCK, _LLAMA)}, _PERMUTED),
    Family("smollm3", ("smollm3",), _TOP, {"blk": (_BLOCK, _LLAMA)}, _PERMUTED),
    Family("qwen2", ("qwen2",), _TOP, {"blk": (_BLOCK, _LLAMA)}),
    Family("qwen3", ("qwen3",), _TOP, {"blk": (_BLOCK, {**_LLAMA, **_HEAD_NORMS})}),
    Family("gemma2", ("gemma2",), _TOP, {"blk": (_BLOCK, _GEMMA)}, _plus_one(*_GEMMA_NORMS)),
    Family(
        "gemma3",
        ("gemma3_text",),
        _TOP,
        {"blk": (_BLOCK, {**_GEMMA, **_HEAD_NORMS})},
        _plus_one(*_GEMMA_NORMS, "attn_q_norm", "attn_k_norm"),
    ),
    Family(
        "phi3",
        ("phi3",),
        _TOP,
        {
            "blk": (
                _BLOCK,
                {
                    "attn_norm": "input_layernorm",
                    "attn_qkv": "self_attn.qkv_proj",
                    "attn_output": "self_attn.o_proj",
                    "ffn_norm": "post_attention_layernorm",
                    "ffn_up": "mlp.gate_up_proj",
                    "ffn_down": "mlp.down_proj",
                },
            )
        },
    ),
    Family(
        "gpt2",
        ("gpt2",),
        {
            "token_embd": "transformer.wte",
            "position_embd": "transformer.wpe",
            "output_norm": "transformer.ln_f",
            "output": "lm_head",
        },
        {
            "blk": (
                "transformer.h",
                {
                    "attn_norm": "ln_1",
                    "attn_qkv": "attn.c_attn",
                    "attn_output": "attn.c_proj",
                    "ffn_norm": "ln_2",
                    "ffn_up": "mlp.c_fc",
                    "ffn_down": "mlp.c_proj",
                },
            )
        },
        dict.fromkeys(("attn_qkv", "attn_output", "ffn_up", "ffn_down"), "transpose"),
    ),
    Family(
        "t5",
        ("t5", "mt5"),
        {
            "token_embd": "shared",
            "enc.output_norm": "encoder.final_layer_norm",
            "dec.output_norm": "decoder.final_layer_norm",
            "output": "lm_head",
        },
        _t5_blocks(gated=True),
    ),
)


def family_of(architecture: str) -> Family:
    """The family that a GGUF file names.

    Raises:
        InputError: not one of them.
    """
    for family in FAMILIES:
        if family.name == architecture:
            return family
    raise InputError(
        f"the GGUF architecture {architecture} is not supported; supported:"
        f" {', '.join(family.name for family in FAMILIES)}"
    )


def family_for(model_type: str) -> Family:
    """The family in which a transformers model is written.

    Raises:
        InputError: there is none.
    """
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    known = sorted(name for family in FAMILIES for name in family.model_types)
    raise InputError(f"{model_type} models cannot be converted to GGUF; supported: {', '.join(known)}")


def ungated(family: Family) -> Family:
    """The T5 family with the plain feed-forward layer of T5 1.0."""
    return Family(family.name, family.model_types, family.top, _t5_blocks(gated=False), family.changes)


_LAYER = re.compile(r"(.*?)\.(\d+)\.(.*)")


def to_transformers(family: Family, name: str) -> str | None:
    """The name of a GGUF tensor in transformers; None for one that the family does not have."""
    stem, _, kind = name.rpartition(".")
    if stem in family.top:
        return f"{family.top[stem]}.{kind}"
    match = _LAYER.fullmatch(stem)
    if match is None or match[1] not in family.blocks:
        return None
    prefix, inside = family.blocks[match[1]]
    return f"{prefix}.{match[2]}.{inside[match[3]]}.{kind}" if match[3] in inside else None


def to_gguf(family: Family, name: str) -> str | None:
    """The name of a transformers tensor in GGUF; None for one that the family does not have."""
    stem, _, kind = name.rpartition(".")
    for gguf, ours in family.top.items():
        if ours == stem:
            return f"{gguf}.{kind}"
    for block, (prefix, inside) in family.blocks.items():
        match = re.fullmatch(re.escape(prefix) + r"\.(\d+)\.(.*)", stem)
        for gguf, ours in inside.items():
            if match is not None and match[2] == ours:
                return f"{block}.{match[1]}.{gguf}.{kind}"
    return None


def change_of(family: Family, name: str) -> str | None:
    """The change that a GGUF tensor went through when it was written; see `Family.changes`."""
    stem, _, kind = name.rpartition(".")
    match = _LAYER.fullmatch(stem)
    change = family.changes.get(match[3] if match is not None else stem)
    return None if change == "transpose" and kind == "bias" else change


def permute(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head from (two halves) to (pairs), the order in which llama.cpp rotates them.

    Args:
        tensor: (heads x head_dim, ...).
        heads: number of heads in it.
    """
    half = tensor.shape[0] // heads // 2
    return tensor.reshape(heads, 2, half, *tensor.shape[1:]).transpose(1, 2).reshape(tensor.shape)


def unpermute(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """The opposite of `permute`."""
    half = tensor.shape[0] // heads // 2
    return tensor.reshape(heads, half, 2, *tensor.shape[1:]).transpose(1, 2).reshape(tensor.shape)
