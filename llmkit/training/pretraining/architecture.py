"""From an architecture's name and a number of parameters to a model's shape."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
TOLERANCE = 0.05
_WIDTHS = [16, 32, 48, *range(64, 256, 32), *range(256, 1024, 64), *range(1024, 16385, 128)]


@dataclass(frozen=True)
class ModelShape:
    """A transformer's measures; an encoder-decoder has `layers` on each side."""

    layers: int
    width: int
    feed_forward: int


@dataclass(frozen=True)
class Ids:
    """Ids of a tokenizer's special tokens: before a text, after it, and where there is none."""

    begin: int
    end: int
    padding: int


@dataclass(frozen=True)
class Architecture:
    """A family of models that pretraining can make.

    Attributes:
        kind: what it is trained to do: "causal" (the next token), "masked" (hidden tokens of a text seen
            whole), "spans" (the hidden parts alone, as T5) or "infilling" (the whole text, as BART).
        feed_forward: usual ratio of the feed-forward layer's width to the model's; 8/3 where it is gated.
        count: parameters of a shape with so many ids and positions, tied ones once.
        config: its configuration.
    """

    kind: str
    feed_forward: float
    count: Callable[[ModelShape, int, int], int]
    config: Callable[[ModelShape, int, int, Ids], PreTrainedConfig]


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


def architecture(name: str) -> Architecture:
    """The architecture called `name`.

    Raises:
        InputError: there is none; the message names those that there are.
    """
    if name not in ARCHITECTURES:
        raise InputError(f"--arch {name}: there is {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def build_config(
    arch: str, params: str | int, *, vocab_size: int, context: int, ids: Ids
) -> PreTrainedConfig:
    """A configuration with about `params` parameters, embeddings included and counted once (they are tied).

    Layers, width and feed-forward width are chosen together: among the shapes that can meet the size, the
    one nearest to a usual ratio of width to layers and of feed-forward to width. Where keys and values are
    shared among query heads, there are half as many if that divides.

    Args:
        arch: see `ARCHITECTURES`.
        params: see `parse_size`; met within 5 %.
        vocab_size: ids of the tokenizer.
        context: positions, in tokens.
        ids: the tokenizer's special tokens.

    Raises:
        InputError: an architecture that there is not, or a size too small for the vocabulary.
    """
    family = architecture(arch)
    shape = _shape(family, parse_size(params), vocab_size, context)
    return family.config(shape, vocab_size, context, ids)


def heads(width: int) -> int:
    """Attention heads of a layer of this width: of 64, or of 32 or 16 where it is narrow."""
    return width // (64 if width >= 256 else 32 if width >= 64 else 16)


def key_value_heads(width: int) -> int:
    """Half of the heads where they are even in number."""
    return heads(width) // 2 if heads(width) % 2 == 0 else heads(width)


def _shape(family: Architecture, size: int, vocab_size: int, context: int) -> ModelShape:
    """The shape of a model of `size` parameters.

    The width wanted per layer grows from about 40 at a million parameters to 128 at a billion, where
    published models stand (Llama 3.2 1B: 2048 / 16).
    """
    wanted = 128 * min(1.0, (size / 1e9) ** (1 / 6))
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
            # How far a fit may move the feed-forward layer from its usual width.
            if not 0.56 <= ratio <= 1.7 or off > TOLERANCE:
                continue
            cost = abs(math.log(width / layers / wanted)) + 2 * abs(math.log(ratio)) + off
            if best is None or cost < best[0]:
                best = cost, shape
    if best is None:
        raise InputError(
            f"--params {size}: no model of this size with a vocabulary of {vocab_size}: "
            "give more parameters or a smaller --vocab-size"
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
    """A layer whose projections and norms have biases, as BERT, GPT-2 and BART have it."""
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
    # No learnt positions, but a table of sines that each head turns by.
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
    """What most families' configurations call by the same names."""
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

    # On a CPU drawing dropout takes a fifth of the time; later encoders (ModernBERT) have none.
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
