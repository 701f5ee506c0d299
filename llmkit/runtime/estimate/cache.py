"""Bytes of the KV cache per token, and the number of its tokens on a device.

Engines, the server's admission and the estimates use the same numbers.

Public: `token_bytes`, `batch_tokens`, `server_tokens`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError

if TYPE_CHECKING:
    import torch

# Share of a GPU's free memory for the cache of a batch; the rest is for activations, logits and fragments.
_BATCH_SHARE = 1 / 3
_SERVER_SHARE = 0.25  # share of the free main memory for the cache of a server
_LEAST = 1024
_COUNTED = 64  # tokens up to which a cache that is no plain one is counted: below any window


def token_bytes(config: Any, dtype: torch.dtype) -> int:
    """Return the bytes that one token takes in the cache, 1 or more; below the length of any window.

    Attention keeps keys and values in every layer: layers x 2 x heads x width x bytes. Latent caches and
    recurrent layers are counted on the model's own code.

    Args:
        config: a model's configuration.
        dtype: dtype of the cache.
    """
    # Of an encoder-decoder, `get_text_config` would drop the names that begin with decoder_.
    own = config if config.is_encoder_decoder else config.get_text_config(decoder=True)
    if _is_plain(own):
        return max(1, _plain(own) * dtype.itemsize)
    kind: Any = type(config)
    try:
        return max(1, _counted(config.to_json_string(), kind, dtype))
    except InputError:
        return max(1, _plain(own) * dtype.itemsize)


def batch_tokens(free: int, each: int, most: int) -> int:
    """Return the tokens of a batch on a GPU.

    Args:
        free: free bytes.
        each: from `token_bytes`.
        most: no more tokens than these; more only cost memory.
    """
    return max(_LEAST, min(most, int(free * _BATCH_SHARE) // each))


def server_tokens(most: int, rows: int, free: int, each: int) -> int:
    """Return the tokens of a server's cache, which it reserves when it starts.

    Args:
        most: tokens of the longest request.
        rows: requests that run together.
        free: free bytes of main memory.
        each: from `token_bytes`.
    """
    return max(min(most * rows, int(free * _SERVER_SHARE) // each), min(most, _LEAST))


def _is_plain(config: Any) -> bool:
    """Return True if every layer keeps keys and values of its heads."""
    kinds = set(getattr(config, "layer_types", None) or ())
    others = ("kv_lora_rank", "ssm_state_size", "state_size", "attn_layer_period", "block_types")
    return (
        kinds <= {"full_attention", "sliding_attention", "chunked_attention"}
        and not any(getattr(config, name, None) for name in others)
        and bool(getattr(config, "num_attention_heads", None))
    )


def _plain(config: Any) -> int:
    names = ("decoder_layers", "num_decoder_layers", "num_hidden_layers")
    layers = next((int(n) for name in names if (n := getattr(config, name, None))), 0)
    counts = ("decoder_attention_heads", "num_attention_heads")
    heads = next((int(n) for name in counts if (n := getattr(config, name, None))), 1)
    width = getattr(config, "head_dim", None) or getattr(config, "d_kv", None) or config.hidden_size // heads
    return 2 * layers * (getattr(config, "num_key_value_heads", None) or heads) * width


@lru_cache(maxsize=8)
def _counted(config: str, kind: Any, dtype: torch.dtype) -> int:
    import json

    from llmkit.runtime.estimate.counts import ModelCounts, positions

    made = kind.from_dict(json.loads(config))
    counts = ModelCounts(made, dtype, made.model_type)
    long = min(_COUNTED, positions(made))
    short = max(1, long // 2)
    return round((counts.cache_bytes(1, long) - counts.cache_bytes(1, short)) / max(1, long - short))
