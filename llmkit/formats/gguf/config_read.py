"""The transformers config of a GGUF file."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from llmkit.errors import InputError
from llmkit.formats.gguf.families import family_of
from llmkit.formats.gguf.header import Header
from llmkit.formats.gguf.rope import rope_from_gguf
from llmkit.formats.gguf.values import Values

_CLASSES = {
    "llama": "LlamaForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3": "Gemma3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "t5": "T5ForConditionalGeneration",
}


def read_config(header: Header) -> dict[str, Any]:
    """Build the `config.json` of a GGUF file.

    Sizes that both the metadata and the tensors contain must agree, so a damaged file cannot request a model
    that is larger than the file.

    Args:
        header: of the file.

    Raises:
        InputError: an architecture that is not read, or metadata that is missing or contradicts the tensors.
    """
    family = family_of(header.architecture)
    config: dict[str, Any] = {
        "model_type": family.model_types[0],
        "architectures": [_CLASSES[family.name]],
        "vocab_size": _shape(header, "token_embd.weight")[0],
        "tie_word_embeddings": "output.weight" not in header.tensors,
    }
    for ours, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        value = header.metadata.get(f"tokenizer.ggml.{key}_token_id")
        config[f"{ours}_token_id"] = value if isinstance(value, int) else None
    own: Callable[[Header], dict[str, Any]] = {"gpt2": _gpt2, "t5": _t5}.get(family.name, _decoder)
    return {**config, **own(header)}


def _shape(header: Header, name: str) -> tuple[int, ...]:
    if name not in header.tensors:
        raise InputError(f"{header.path}: incomplete: the tensor {name} is missing")
    return header.tensors[name].shape


def _layers(header: Header, key: str = "block_count", block: str = "blk") -> int:
    """Return the number of layers; metadata and tensors must agree."""
    count = Values(header).integer(key)
    pattern = re.compile(rf"{re.escape(block)}\.(\d+)\.")
    found = {int(match[1]) for name in header.tensors if (match := pattern.match(name))}
    if found != set(range(count)) or count == 0:
        raise InputError(
            f"{header.path}: incomplete: {key} is {count}, and tensors of {len(found)} layers are in it"
        )
    return count


def _agree(header: Header, what: str, claimed: int, found: int) -> int:
    if claimed != found:
        raise InputError(f"{header.path}: damaged: {what} is {claimed}, and the tensors have {found}")
    return claimed


def _sizes(header: Header) -> dict[str, int]:
    """Hidden size and heads, each checked against the tensors."""
    values = Values(header)
    hidden = _agree(
        header, "embedding_length", values.integer("embedding_length"), _shape(header, "token_embd.weight")[1]
    )
    heads = values.integer("attention.head_count")
    pairs = values.integer("attention.head_count_kv", heads)
    if not 0 < pairs <= heads <= hidden or heads % pairs:
        raise InputError(f"{header.path}: damaged: {heads} heads, {pairs} of keys, hidden size {hidden}")
    return {"hidden": hidden, "heads": heads, "pairs": pairs}


def _decoder(header: Header) -> dict[str, Any]:
    """Return the settings that the families of Llama's kind share."""
    values, arch, sizes = Values(header), header.architecture, _sizes(header)
    heads, pairs = sizes["heads"], sizes["pairs"]
    if values.integer("expert_count", 0):
        raise InputError(f"{header.path}: a mixture of experts, which is not supported for {arch}")
    head_dim = values.integer("attention.key_length", sizes["hidden"] // heads)
    if arch in ("llama", "smollm3") and values.optional("attention.key_length") is None:
        head_dim = values.integer("rope.dimension_count", head_dim)
    if arch == "phi3":
        rows = _shape(header, "blk.0.attn_qkv.weight")[0]
        _agree(header, "the rows of attn_qkv", (heads + 2 * pairs) * head_dim, rows)
    else:
        _agree(header, "the rows of attn_q", heads * head_dim, _shape(header, "blk.0.attn_q.weight")[0])
        _agree(header, "the rows of attn_k", pairs * head_dim, _shape(header, "blk.0.attn_k.weight")[0])
    inside = values.integer("feed_forward_length")
    _agree(header, "feed_forward_length", inside, _shape(header, "blk.0.ffn_down.weight")[1])
    config = {
        "hidden_size": sizes["hidden"],
        "num_hidden_layers": _layers(header),
        "num_attention_heads": heads,
        "num_key_value_heads": pairs,
        "intermediate_size": inside,
        "max_position_embeddings": values.integer("context_length"),
        "rms_norm_eps": values.number("attention.layer_norm_rms_epsilon"),
        "rope_parameters": rope_from_gguf(header, head_dim),
        "head_dim": head_dim,
    }
    if arch in ("llama", "smollm3", "qwen3"):
        config["attention_bias"] = "blk.0.attn_q.bias" in header.tensors
    if arch in ("llama", "smollm3"):
        config["mlp_bias"] = "blk.0.ffn_up.bias" in header.tensors
    if arch in ("gemma2", "gemma3"):
        config |= _gemma(header, config)
    if arch == "phi3":
        del config["head_dim"]
        config["original_max_position_embeddings"] = values.integer(
            "rope.scaling.original_context_length", values.integer("context_length")
        )
        config["sliding_window"] = values.optional("attention.sliding_window")
    return config


def _gemma(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    values, arch = Values(header), header.architecture
    # llama.cpp scales the 27B models by the hidden size of a head and the others by head_dim.
    largest = config["num_hidden_layers"] == {"gemma2": 46, "gemma3": 62}[arch]
    per_head = config["hidden_size"] // config["num_attention_heads"]
    own: dict[str, Any] = {
        "query_pre_attn_scalar": per_head if largest else config["head_dim"],
        "sliding_window": values.integer("attention.sliding_window", 4096),
    }
    if arch == "gemma2":
        own["attn_logit_softcapping"] = values.number("attn_logit_softcapping", 50.0)
        own["final_logit_softcapping"] = values.number("final_logit_softcapping", 30.0)
        return own
    every = values.integer("attention.sliding_window_pattern", 6)
    layers = config["num_hidden_layers"]
    own["layer_types"] = [
        "full_attention" if every and (i + 1) % every == 0 else "sliding_attention" for i in range(layers)
    ]
    local = {"rope_type": "default", "rope_theta": values.number("rope.freq_base_swa", 10000.0)}
    own["rope_parameters"] = {"full_attention": config["rope_parameters"], "sliding_attention": local}
    return own


def _gpt2(header: Header) -> dict[str, Any]:
    values, sizes = Values(header), _sizes(header)
    positions = _agree(
        header, "context_length", values.integer("context_length"), _shape(header, "position_embd.weight")[0]
    )
    inside = values.integer("feed_forward_length", 4 * sizes["hidden"])
    _agree(header, "feed_forward_length", inside, _shape(header, "blk.0.ffn_up.weight")[0])
    return {
        "n_embd": sizes["hidden"],
        "n_layer": _layers(header),
        "n_head": sizes["heads"],
        "n_inner": inside,
        "n_positions": positions,
        "layer_norm_epsilon": values.number("attention.layer_norm_epsilon"),
    }


def _t5(header: Header) -> dict[str, Any]:
    values, sizes = Values(header), _sizes(header)
    head = values.integer("attention.key_length", sizes["hidden"] // sizes["heads"])
    _agree(header, "the rows of attn_q", sizes["heads"] * head, _shape(header, "enc.blk.0.attn_q.weight")[0])
    inside = values.integer("feed_forward_length")
    _agree(header, "feed_forward_length", inside, _shape(header, "enc.blk.0.ffn_down.weight")[1])
    buckets = values.integer("attention.relative_buckets_count", 32)
    _agree(header, "relative_buckets_count", buckets, _shape(header, "enc.blk.0.attn_rel_b.weight")[0])
    layers = _layers(header, block="enc.blk")
    decoder = values.integer("decoder_block_count", layers)
    _agree(header, "decoder_block_count", decoder, sum(".cross_attn_q." in name for name in header.tensors))
    return {
        "d_model": sizes["hidden"],
        "d_kv": head,
        "d_ff": inside,
        "num_layers": layers,
        "num_decoder_layers": decoder,
        "num_heads": sizes["heads"],
        "relative_attention_num_buckets": buckets,
        "layer_norm_epsilon": values.number("attention.layer_norm_rms_epsilon", 1e-6),
        "feed_forward_proj": "gated-gelu" if "enc.blk.0.ffn_gate.weight" in header.tensors else "relu",
        "decoder_start_token_id": values.integer("decoder_start_token_id", 0),
    }
