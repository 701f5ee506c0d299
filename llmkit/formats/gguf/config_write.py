"""Write a transformers config as GGUF metadata; refuse settings that GGUF does not support."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.formats.gguf.families import family_for
from llmkit.formats.gguf.rope import rope_to_gguf

if TYPE_CHECKING:
    import torch

# What llama.cpp computes for each family, whatever the file says.
_ACTIVATIONS = {
    "gemma2": ("gelu_pytorch_tanh",),
    "gemma3": ("gelu_pytorch_tanh",),
    "gpt2": ("gelu_new", "gelu_pytorch_tanh"),
    "t5": ("relu", "gated-gelu"),
}


def write_config(config: Any) -> tuple[dict[str, Any], dict[str, torch.Tensor], list[str]]:
    """Build GGUF metadata and extra tensors (RoPE factors) from a transformers config.

    Args:
        config: of a model of one of the families.

    Returns:
        Metadata by key, extra tensors by name, and sentences that the user should read.

    Raises:
        InputError: a family or a setting that llama.cpp does not run.
    """
    family = family_for(config.model_type)
    arch = family.name
    named = getattr(config, "feed_forward_proj", None) if arch == "t5" else None
    activation = named or next(
        value
        for value in (
            getattr(config, key, None) for key in ("hidden_activation", "hidden_act", "activation_function")
        )
        if value
    )
    if activation not in _ACTIVATIONS.get(arch, ("silu", "swish")):
        raise InputError(f"the activation {activation} is not supported in GGUF for {config.model_type}")
    metadata: dict[str, Any] = {f"{arch}.vocab_size": int(config.vocab_size)}
    if arch == "gpt2":
        return metadata | _gpt2(config), {}, []
    if arch == "t5":
        return metadata | _t5(config), {}, []
    head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    rope, tensors = rope_to_gguf(config, head_dim, arch)
    metadata |= {
        f"{arch}.context_length": int(config.max_position_embeddings),
        f"{arch}.embedding_length": int(config.hidden_size),
        f"{arch}.block_count": int(config.num_hidden_layers),
        f"{arch}.feed_forward_length": int(config.intermediate_size),
        f"{arch}.attention.head_count": int(config.num_attention_heads),
        f"{arch}.attention.head_count_kv": int(config.num_key_value_heads),
        f"{arch}.attention.key_length": head_dim,
        f"{arch}.attention.value_length": head_dim,
        f"{arch}.attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        **rope,
    }
    notes = _check_windows(config, arch)
    if arch == "phi3" and config.sliding_window:
        metadata["phi3.attention.sliding_window"] = int(config.sliding_window)
    if arch in ("gemma2", "gemma3"):
        metadata |= _gemma(config, arch, head_dim)
    if arch == "smollm3":
        usual = [int((i + 1) % 4 != 0) for i in range(config.num_hidden_layers)]
        if list(config.no_rope_layers) != usual:
            raise InputError(
                "no_rope_layers: llama.cpp supports only models that omit the rotation in every fourth layer"
            )
    return metadata, tensors, notes


def _check_windows(config: Any, arch: str) -> list[str]:
    """llama.cpp has no sliding windows in these families."""
    window = getattr(config, "sliding_window", None)
    if arch in ("gemma2", "gemma3") or not window or window >= config.max_position_embeddings:
        return []
    if arch.startswith("qwen") and not config.use_sliding_window:
        return []
    return [
        f"GGUF has no sliding window for {config.model_type}: the model's is {window} tokens, and answers to"
        " longer texts differ"
    ]


def _gemma(config: Any, arch: str, head_dim: int) -> dict[str, Any]:
    layers = int(config.num_hidden_layers)
    largest = layers == {"gemma2": 46, "gemma3": 62}[arch]
    scalar = config.hidden_size // config.num_attention_heads if largest else head_dim
    if config.query_pre_attn_scalar != scalar:
        raise InputError(
            f"query_pre_attn_scalar {config.query_pre_attn_scalar}: llama.cpp always uses"
            f" {scalar} for this size"
        )
    metadata: dict[str, Any] = {f"{arch}.attention.sliding_window": int(config.sliding_window)}
    kinds = list(config.layer_types)
    every = 2 if arch == "gemma2" else _period(kinds)
    usual = [
        "full_attention" if every and (i + 1) % every == 0 else "sliding_attention" for i in range(layers)
    ]
    if kinds != usual:
        raise InputError("layer_types: GGUF supports full attention only in every Nth layer")
    if arch == "gemma2":
        for key in ("attn_logit_softcapping", "final_logit_softcapping"):
            if getattr(config, key) is None:
                raise InputError(f"{key} is None: llama.cpp always caps the logits of gemma2")
            metadata[f"{arch}.{key}"] = float(getattr(config, key))
        return metadata
    if config.attn_logit_softcapping or config.final_logit_softcapping or config.use_bidirectional_attention:
        raise InputError("a Gemma 3 with softcapping or bidirectional attention is not supported in GGUF")
    local = config.rope_parameters["sliding_attention"]
    if local.get("rope_type", "default") != "default":
        raise InputError("rope_parameters: GGUF scales only the full attention of Gemma 3")
    metadata[f"{arch}.rope.freq_base_swa"] = float(local["rope_theta"])
    metadata[f"{arch}.attention.sliding_window_pattern"] = every
    return metadata


def _period(kinds: list[str]) -> int:
    return kinds.index("full_attention") + 1 if "full_attention" in kinds else 0


def _gpt2(config: Any) -> dict[str, Any]:
    if not config.scale_attn_weights or config.scale_attn_by_inverse_layer_idx or config.add_cross_attention:
        raise InputError("a GPT-2 with other attention scales or cross-attention is not supported in GGUF")
    return {
        "gpt2.context_length": int(config.n_positions),
        "gpt2.embedding_length": int(config.n_embd),
        "gpt2.block_count": int(config.n_layer),
        "gpt2.feed_forward_length": int(config.n_inner or 4 * config.n_embd),
        "gpt2.attention.head_count": int(config.n_head),
        "gpt2.attention.layer_norm_epsilon": float(config.layer_norm_epsilon),
    }


def _t5(config: Any) -> dict[str, Any]:
    if config.relative_attention_max_distance != 128:
        raise InputError("relative_attention_max_distance: llama.cpp supports only 128")
    start = config.decoder_start_token_id
    return {
        "t5.context_length": 512,  # T5's positions are relative; converters write what it was trained with
        "t5.embedding_length": int(config.d_model),
        "t5.block_count": int(config.num_layers),
        "t5.decoder_block_count": int(config.num_decoder_layers),
        "t5.feed_forward_length": int(config.d_ff),
        "t5.attention.head_count": int(config.num_heads),
        "t5.attention.key_length": int(config.d_kv),
        "t5.attention.value_length": int(config.d_kv),
        "t5.attention.layer_norm_epsilon": float(config.layer_norm_epsilon),
        "t5.attention.layer_norm_rms_epsilon": float(config.layer_norm_epsilon),
        "t5.attention.relative_buckets_count": int(config.relative_attention_num_buckets),
        "t5.decoder_start_token_id": int(config.pad_token_id or 0 if start is None else start),
    }
