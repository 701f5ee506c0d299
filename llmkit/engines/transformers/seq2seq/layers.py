"""The parts of encoder-decoder models by family: projections, norms, embeddings and positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BART_LIKE = frozenset({"marian", "bart", "mbart", "m2m_100", "pegasus"})
"""Values of `model_type` with absolute positions and layer norms."""
T5_LIKE = frozenset({"t5", "mt5"})
"""Values of `model_type` with a position bias in attention and norms without a mean."""
FAMILIES = BART_LIKE | T5_LIKE
_NORMALIZE_BEFORE = FAMILIES - {"marian", "bart"}
_ACTIVATIONS = {
    **{"silu": 0, "swish": 0, "gelu_new": 1, "gelu_pytorch_tanh": 1, "gelu": 2, "gelu_python": 2},
    "relu": 3,
}


@dataclass(frozen=True)
class LayerParts:
    """One layer of an encoder or a decoder, as transformers' modules.

    Attributes:
        attention: projections of queries, keys, values and the output.
        norm: norm of attention.
        up, gate, down: layers of the feed-forward part; `gate` is None if there is none.
        feed_norm: norm of the feed-forward part.
        cross, cross_norm: like `attention` and `norm`, for a decoder's attention to the source.
    """

    attention: tuple[Any, Any, Any, Any]
    norm: Any
    up: Any
    gate: Any
    down: Any
    feed_norm: Any
    cross: tuple[Any, Any, Any, Any] | None = None
    cross_norm: Any = None


@dataclass(frozen=True)
class SideParts:
    """An encoder or a decoder.

    Attributes:
        module: transformers' module.
        layers: its layers.
        norm: norm after the last layer, or None.
        heads: attention heads.
        activation: activation of the feed-forward parts, by its number in seq2seq.h; None if the native code
            does not support it.
        scale: scale of attention's scores.
        epsilon: epsilon of the norms.
    """

    module: Any
    layers: list[LayerParts]
    norm: Any
    heads: int
    activation: int | None
    scale: float
    epsilon: float

    @property
    def inner(self) -> int:
        """Width of the feed-forward parts."""
        return int(self.layers[0].down.in_features)


def normalizes_before(model: Any) -> bool:
    """Return True if layers normalize before each of their parts, False if after."""
    return model.config.model_type in _NORMALIZE_BEFORE


def parts_of(model: Any) -> tuple[SideParts, SideParts]:
    """Return the encoder and the decoder of a model of one of `FAMILIES`."""
    config: Any = model.config
    sides = (model.get_encoder(), model.get_decoder())
    if config.model_type in T5_LIKE:
        activation = _ACTIVATIONS.get(config.dense_act_fn)
        return tuple(  # type: ignore[return-value]
            SideParts(
                side,
                [_t5_layer(block) for block in side.block],
                side.final_layer_norm,
                config.num_heads,
                activation,
                1.0,
                config.layer_norm_epsilon,
            )
            for side in sides
        )
    heads = (config.encoder_attention_heads, config.decoder_attention_heads)
    return tuple(  # type: ignore[return-value]
        SideParts(
            side,
            [_bart_layer(layer) for layer in side.layers],
            getattr(side, "layer_norm", None),
            count,
            _ACTIVATIONS.get(config.activation_function),
            side.layers[0].self_attn.scaling,
            side.layers[0].final_layer_norm.eps,
        )
        for side, count in zip(sides, heads, strict=True)
    )


def _bart_layer(layer: Any) -> LayerParts:
    own, cross = layer.self_attn, getattr(layer, "encoder_attn", None)
    return LayerParts(
        (own.q_proj, own.k_proj, own.v_proj, own.out_proj),
        layer.self_attn_layer_norm,
        layer.fc1,
        None,
        layer.fc2,
        layer.final_layer_norm,
        None if cross is None else (cross.q_proj, cross.k_proj, cross.v_proj, cross.out_proj),
        None if cross is None else layer.encoder_attn_layer_norm,
    )


def _t5_layer(block: Any) -> LayerParts:
    first, last = block.layer[0], block.layer[-1]
    cross = block.layer[1] if len(block.layer) == 3 else None
    feed = last.DenseReluDense
    gated = hasattr(feed, "wi_0")
    return LayerParts(
        _t5_attention(first.SelfAttention),
        first.layer_norm,
        feed.wi_0 if gated else feed.wi,
        feed.wi_1 if gated else None,
        feed.wo,
        last.layer_norm,
        None if cross is None else _t5_attention(cross.EncDecAttention),
        None if cross is None else cross.layer_norm,
    )


def _t5_attention(attention: Any) -> tuple[Any, Any, Any, Any]:
    return attention.q, attention.k, attention.v, attention.o


def embed(model: Any, side: SideParts, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the input of the first layer for tokens, float32 [tokens, hidden].

    Args:
        model: model of one of `FAMILIES`.
        side: its encoder or decoder.
        ids, positions: int64 [tokens] each; the first token of a sequence has position 0.
    """
    import torch

    module = side.module
    hidden = module.embed_tokens(ids)
    if model.config.model_type in T5_LIKE:
        return hidden.to(torch.float32).contiguous()
    if model.config.model_type in ("marian", "pegasus"):  # embeddings of the other families include the scale
        hidden = hidden * module.embed_scale
    hidden = hidden + _positions(module.embed_positions, ids, positions)
    norm = getattr(module, "layernorm_embedding", None)
    hidden = hidden if norm is None else norm(hidden)
    return hidden.to(torch.float32).contiguous()


def _positions(table: Any, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    import torch

    if not hasattr(table, "make_weights"):
        found: torch.Tensor = table.weight[positions + getattr(table, "offset", 0)]
        return found
    # M2M100 counts positions after that of the padding, which is zero, and extends its table.
    places = torch.where(ids == table.padding_idx, table.padding_idx, positions + table.padding_idx + 1)
    longest = int(places.max()) + 1
    if longest > len(table.weights):
        table.make_weights(longest + table.offset, table.embedding_dim, table.padding_idx)
    grown: torch.Tensor = table.weights[places]
    return grown


def position_bias(model: Any, side: SideParts, reach: int) -> torch.Tensor | None:
    """Return the bias of a side's self-attention scores, by distance; None if there is none.

    Returns:
        float32 [heads, 2 reach + 16]: index `reach` is for a key at the query's position, higher indices are
        for later keys; zeros at the end.
    """
    import torch

    if model.config.model_type not in T5_LIKE:
        return None
    own = side.module.block[0].layer[0].SelfAttention
    buckets = own._relative_position_bucket(
        torch.arange(-reach, reach),
        bidirectional=not own.is_decoder,
        num_buckets=own.relative_attention_num_buckets,
        max_distance=own.relative_attention_max_distance,
    )
    values = own.relative_attention_bias(buckets).float().t()
    return torch.nn.functional.pad(values, (0, 16)).contiguous()
