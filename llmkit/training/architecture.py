"""From a number of parameters to a model's shape."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from llmkit.errors import InputError

if TYPE_CHECKING:
    from transformers import LlamaConfig

ARCHITECTURES = ("llama",)
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
# Width of the feed-forward layer over the model's: the 8/3 of Llama, and how far a fit may move it.
_FEED_FORWARD = 8 / 3
_NARROWEST, _WIDEST = 1.5, 4.5
TOLERANCE = 0.05
_WIDTHS = [16, 32, 48, *range(64, 256, 32), *range(256, 1024, 64), *range(1024, 16385, 128)]


def parse_size(text: str | int) -> int:
    """Read a number of parameters: `260k`, `3m`, `1.2b` or a plain number.

    Raises:
        InputError: it is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmb]?)", str(text).strip().lower().replace("_", ""))
    size = round(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size <= 0:
        raise InputError(f"--params {text}: a number of parameters, such as 260k, 3m or 1.2b")
    return size


def build_config(
    arch: str, params: str | int, *, vocab_size: int, context: int, boundary: int
) -> LlamaConfig:
    """A configuration with about `params` parameters, embeddings included and counted once (they are tied).

    Layers, width and feed-forward width are chosen together: among the shapes that can meet the size, the
    one nearest to a usual ratio of width to layers and of feed-forward to width. Key-value heads are half as
    many as query heads where that divides.

    Args:
        arch: "llama".
        params: see `parse_size`; met within 5 %.
        vocab_size: ids of the tokenizer.
        context: positions, in tokens.
        boundary: the id of the token before and after a document.

    Raises:
        InputError: an architecture that there is not, or a size too small for the vocabulary.
    """
    from transformers import LlamaConfig

    if arch not in ARCHITECTURES:
        raise InputError(f"--arch {arch}: there is {', '.join(ARCHITECTURES)}")
    layers, width, feed_forward = _shape(parse_size(params), vocab_size)
    heads, key_value_heads = _heads(width)
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=boundary,
        eos_token_id=boundary,
        pad_token_id=boundary,
    )


def _heads(width: int) -> tuple[int, int]:
    head_dim = 64 if width >= 256 else 32 if width >= 64 else 16
    heads = width // head_dim
    return heads, heads // 2 if heads % 2 == 0 else heads


def _count(layers: int, width: int, feed_forward: int, vocab_size: int) -> int:
    heads, key_value_heads = _heads(width)
    attention = 2 * width * width + 2 * width * (width // heads) * key_value_heads
    return vocab_size * width + layers * (attention + 3 * width * feed_forward + 2 * width) + width


def _shape(size: int, vocab_size: int) -> tuple[int, int, int]:
    """(layers, width, feed-forward width) of a model of `size` parameters.

    The width wanted per layer grows from about 40 at a million parameters to 128 at a billion, where
    published models stand (Llama 3.2 1B: 2048 / 16).
    """
    wanted = 128 * min(1.0, (size / 1e9) ** (1 / 6))
    best: tuple[float, int, int, int] | None = None
    for width in _WIDTHS:
        for layers in range(1, 129):
            without = _count(layers, width, 0, vocab_size)
            if without >= size:
                break
            exact = (size - without) / (3 * width * layers)
            step = 64 if width >= 512 else 16
            feed_forward = max(step, round(exact / step) * step)
            ratio = feed_forward / width
            off = abs(_count(layers, width, feed_forward, vocab_size) / size - 1)
            if not _NARROWEST <= ratio <= _WIDEST or off > TOLERANCE:
                continue
            cost = abs(math.log(width / layers / wanted)) + 2 * abs(math.log(ratio / _FEED_FORWARD)) + off
            if best is None or cost < best[0]:
                best = cost, layers, width, feed_forward
    if best is None:
        raise InputError(
            f"--params {size}: no model of this size with a vocabulary of {vocab_size}: "
            "give more parameters or a smaller --vocab-size"
        )
    return best[1:]
