"""Choose a model's shape from an architecture's name and a number of parameters.

Public: `parse_size`, `architecture`, `build_config`, `heads`, `key_value_heads`, `ARCHITECTURES`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError
from llmkit.training.recipe import check_choice

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
TOLERANCE = 0.05
_WIDTHS = [16, 32, 48, *range(64, 256, 32), *range(256, 1024, 64), *range(1024, 16385, 128)]


@dataclass(frozen=True)
class ModelShape:
    """Dimensions of a transformer; an encoder-decoder has `layers` on each side."""

    layers: int
    width: int
    feed_forward: int


@dataclass(frozen=True)
class Ids:
    """Ids of a tokenizer's special tokens: before a text, after it, and for padding."""

    begin: int
    end: int
    padding: int


@dataclass(frozen=True)
class Architecture:
    """A family of models that pretraining can make.

    Attributes:
        kind: training objective: "causal" (predict the next token), "masked" (masked tokens, as BERT),
            "spans" (the removed spans, as T5) or "infilling" (the whole text, as BART).
        feed_forward: usual ratio of the feed-forward layer's width to the model's; 8/3 if it is gated.
        count: returns the number of parameters for a shape, vocabulary size and context, tied ones once.
        config: returns the configuration for a shape, vocabulary size, context and special ids.
    """

    kind: str
    feed_forward: float
    count: Callable[[ModelShape, int, int], int]
    config: Callable[[ModelShape, int, int, Ids], PreTrainedConfig]


def parse_size(text: str | int) -> int:
    """Read a number of parameters: `260k`, `3m`, `1.2b` or a plain number.

    Raises:
        OptionError: the text has another form.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmb]?)", str(text).strip().lower().replace("_", ""))
    size = round(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size <= 0:
        raise OptionError(
            "params", f"must be a number of parameters, such as 260k, 3m or 1.2b, not {str(text)!r}"
        )
    return size


def architecture(name: str) -> Architecture:
    """Return the architecture called `name`.

    Raises:
        OptionError: there is none; the message names the known ones.
    """
    check_choice("arch", name, ARCHITECTURES)
    return ARCHITECTURES[name]


def build_config(
    arch: str, params: str | int, *, vocab_size: int, context: int, ids: Ids
) -> PreTrainedConfig:
    """Make a configuration with about `params` parameters, including embeddings (tied, counted once).

    Layers, width and feed-forward width are chosen together: of the shapes that meet the size, the one
    nearest to the usual ratios of width to layers and of feed-forward width to width. If the family shares
    keys and values among query heads, there are half as many of them as query heads, if that divides evenly.

    Args:
        arch: name of an architecture (see `ARCHITECTURES`).
        params: number of parameters (see `parse_size`); met within 5 %.
        vocab_size: number of ids of the tokenizer.
        context: maximum number of tokens.
        ids: ids of the tokenizer's special tokens.

    Raises:
        OptionError: there is no such architecture, or the size is too small for the vocabulary.
    """
    family = architecture(arch)
    shape = _shape(family, parse_size(params), vocab_size, context)
    return family.config(shape, vocab_size, context, ids)


def heads(width: int) -> int:
    """Return the number of attention heads for a width; heads have 64 dimensions, or 32 or 16 if narrow."""
    return width // (64 if width >= 256 else 32 if width >= 64 else 16)


def key_value_heads(width: int) -> int:
    """Return half the number of heads if it is even, otherwise the number of heads."""
    return heads(width) // 2 if heads(width) % 2 == 0 else heads(width)


def _shape(family: Architecture, size: int, vocab_size: int, context: int) -> ModelShape:
    """Choose the shape of a model of `size` parameters.

    The target ratio of width to layers grows from about 40 at a million parameters to 128 at a billion, as in
    published models (Llama 3.2 1B: 2048 / 16).

    Raises:
        OptionError: no shape meets the size.
    """
    width_per_layer = 128 * min(1.0, (size / 1e9) ** (1 / 6))
    best: tuple[float, ModelShape] | None = None
    for width in _WIDTHS:
        for layers in range(1, 129):
            without = family.count(ModelShape(layers, width, 0), vocab_size, context)
            if without >= size:
                break
            each = family.count(ModelShape(layers, width, 1), vocab_size, context) - without
            step = 64 if width >= 512 else 16
            feed_forward = max(step, round((size - without) / each / step) * step)
            shape = ModelShape(layers, width, feed_forward)
            ratio = feed_forward / width / family.feed_forward
            off = abs(family.count(shape, vocab_size, context) / size - 1)
            # Limits of the feed-forward width, as a factor of its usual value.
            if not 0.56 <= ratio <= 1.7 or off > TOLERANCE:
                continue
            cost = abs(math.log(width / layers / width_per_layer)) + 2 * abs(math.log(ratio)) + off
            if best is None or cost < best[0]:
                best = cost, shape
    if best is None:
        raise OptionError(
            "params",
            f"{size}: no model of this size has a vocabulary of {vocab_size}; give more parameters or a"
            " smaller `vocab_size`",
        )
    return best[1]


def _count_llama(shape: ModelShape, vocab_size: int, context: int) -> int:
    width = shape.width
    attention = 2 * width * width + 2 * width * (width // heads(width)) * key_value_heads(width)
    layer = attention + 3 * width * shape.feed_forward + 2 * width
    return vocab_size * width + shape.layers * layer + width


def _count_qwen3(shape: ModelShape, vocab_size: int, context: int) -> int:
    # Queries and keys have a norm over each head's dimensions.
    norms = 2 * (shape.width // heads(shape.width))
    return _count_llama(shape, vocab_size, context) + shape.layers * norms


def _biased(shape: ModelShape, attentions: int) -> int:
    """Count a layer whose projections and norms have biases, as in BERT, GPT-2 and BART."""
    width = shape.width
    attention = attentions * (4 * width * width + 4 * width)
    feed_forward = 2 * width * shape.feed_forward + shape.feed_forward + width
    return attention + feed_forward + 2 * width * (attentions + 1)


def _count_gpt2(shape: ModelShape, vocab_size: int, context: int) -> int:
    return (vocab_size + context + 2) * shape.width + shape.layers * _biased(shape, 1)


def _count_bert(shape: ModelShape, vocab_size: int, context: int) -> int:
    width = shape.width
    head = width * width + 3 * width + vocab_size
    return (vocab_size + context + 4) * width + shape.layers * _biased(shape, 1) + head


def _count_roformer(shape: ModelShape, vocab_size: int, context: int) -> int:
    # Instead of position embeddings there is a table of sines for the rotation of each head.
    sines = context * (shape.width // heads(shape.width))
    return _count_bert(shape, vocab_size, 0) + sines


def _count_bart(shape: ModelShape, vocab_size: int, context: int) -> int:
    embeddings = (vocab_size + 2 * (context + 2) + 4) * shape.width
    return embeddings + shape.layers * (_biased(shape, 1) + _biased(shape, 2))


def _count_t5(shape: ModelShape, vocab_size: int, context: int) -> int:
    width = shape.width
    feed_forwards = 2 * 3 * width * shape.feed_forward
    layer = 3 * 4 * width * width + feed_forwards + 5 * width
    return vocab_size * width + shape.layers * layer + 2 * width + 2 * 32 * heads(width)


def _special(ids: Ids) -> dict[str, Any]:
    return {"bos_token_id": ids.begin, "eos_token_id": ids.end, "pad_token_id": ids.padding}


def _common(shape: ModelShape, vocab_size: int, context: int, ids: Ids) -> dict[str, Any]:
    """Return the fields that most families' configurations have in common."""
    return {
        "vocab_size": vocab_size,
        "hidden_size": shape.width,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": heads(shape.width),
        "max_position_embeddings": context,
        **_special(ids),
    }


def _grouped(shape: ModelShape, vocab_size: int, context: int, ids: Ids) -> dict[str, Any]:
    return {
        **_common(shape, vocab_size, context, ids),
        "num_key_value_heads": key_value_heads(shape.width),
        "tie_word_embeddings": True,
    }


def _llama(shape: ModelShape, vocab_size: int, context: int, ids: Ids) -> PreTrainedConfig:
    from transformers import LlamaConfig

    return LlamaConfig(**_grouped(shape, vocab_size, context, ids))


def _qwen3(shape: ModelShape, vocab_size: int, context: int, ids: Ids) -> PreTrainedConfig:
    from transformers import Qwen3Config

    head_dim = shape.width // heads(shape.width)
    return Qwen3Config(**_grouped(shape, vocab_size, context, ids), head_dim=head_dim)


def _gpt2(shape: ModelShape, vocab_size: int, context: int, ids: Ids) -> PreTrainedConfig:
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=vocab_size,
        n_positions=context,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=heads(shape.width),
        n_inner=shape.feed_forward,
        **_special(ids),
    )


def _bert(shape: ModelShape, vocab_size: int, context: int, ids: Ids) -> PreTrainedConfig:
    from transformers import BertConfig

    return BertConfig(**_common(shape, vocab_size, context, ids))


def _roformer(shape: ModelShape, vocab_size: int, context: int, ids: Ids) -> PreTrainedConfig:
    from transformers import RoFormerConfig

    # On a CPU dropout takes a fifth of the time; later encoders (ModernBERT) have none.
    return RoFormerConfig(**_common(shape, vocab_size, context, ids), attention_probs_dropout_prob=0.0)


def _bart(shape: ModelShape, vocab_size: int, context: int, ids: Ids) -> PreTrainedConfig:
    from transformers import BartConfig

    sides: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        sides |= {
            f"{side}_layers": shape.layers,
            f"{side}_attention_heads": heads(shape.width),
            f"{side}_ffn_dim": shape.feed_forward,
        }
    return BartConfig(
        vocab_size=vocab_size,
        d_model=shape.width,
        max_position_embeddings=context,
        decoder_start_token_id=ids.end,
        forced_eos_token_id=None,
        **sides,
        **_special(ids),
    )


def _t5(shape: ModelShape, vocab_size: int, context: int, ids: Ids) -> PreTrainedConfig:
    from transformers import T5Config

    return T5Config(
        vocab_size=vocab_size,
        d_model=shape.width,
        d_kv=shape.width // heads(shape.width),
        d_ff=shape.feed_forward,
        num_layers=shape.layers,
        num_heads=heads(shape.width),
        feed_forward_proj="gated-gelu",
        **_special(ids) | {"decoder_start_token_id": ids.padding},
    )


ARCHITECTURES = {
    "llama": Architecture("causal", 8 / 3, _count_llama, _llama),
    "qwen3": Architecture("causal", 8 / 3, _count_qwen3, _qwen3),
    "gpt2": Architecture("causal", 4.0, _count_gpt2, _gpt2),
    "bert": Architecture("masked", 4.0, _count_bert, _bert),
    "roformer": Architecture("masked", 4.0, _count_roformer, _roformer),
    "t5": Architecture("spans", 8 / 3, _count_t5, _t5),
    "bart": Architecture("infilling", 4.0, _count_bart, _bart),
}
