"""Direct logit attribution: the parts of a logit that the embedding, each head and each MLP write.

The residual stream before the last norm is a sum, and with the norm's divisor held fixed the logit is linear
in it (Elhage et al. 2021, https://transformer-circuits.pub/2021/framework). This is arithmetic, not an
estimate: the parts add up to the logit, and that is checked.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.insight.explanation.families import DecoderParts, capture, parts_of
from llmkit.insight.explanation.result import ComponentScore

if TYPE_CHECKING:
    import torch

    from llmkit.insight.explanation.case import PredictionCase
    from llmkit.insight.explanation.scorer import SequenceScorer
    from llmkit.runtime.load import LoadedModel

_TOLERANCE = 0.01


def components_of(
    loaded: LoadedModel, scorer: SequenceScorer, case: PredictionCase
) -> tuple[tuple[ComponentScore, ...], float, float]:
    """Return the parts of the target's logit, less those of the foil.

    Args:
        loaded: a decoder-only model of a known family.
        scorer: of the case.
        case: the case. The logits of several tokens are summed.

    Returns:
        The parts, the logit, and the distance of the parts' sum from it as a share of the logit's size.

    Raises:
        OptionError: the parts of this family are not known.
        InputError: the parts do not add up, so that the model has others.
    """
    parts = parts_of(loaded, "components")
    names, scores, logit = _branch(parts, scorer, case, 0)
    size = abs(logit)
    if case.foil is not None:
        _, less, other = _branch(parts, scorer, case, 1)
        scores = [a - b for a, b in zip(scores, less, strict=True)]
        size, logit = max(size, abs(other)), logit - other
    error = abs(sum(scores) - logit) / max(size, 1e-6)
    if error > _TOLERANCE:
        raise InputError(
            f"{loaded.spec.name}: its heads and MLPs add up to {sum(scores):.4g}, and its logit is"
            f" {logit:.4g}: it has other parts, so its logits cannot be divided"
        )
    found = tuple(
        ComponentScore(name, layer, score) for (name, layer), score in zip(names, scores, strict=True)
    )
    return found, logit, error


def _branch(
    parts: DecoderParts, scorer: SequenceScorer, case: PredictionCase, branch: int
) -> tuple[list[tuple[str, int | None]], list[float], float]:
    """Return names, scores and the logit of one branch."""
    import torch

    ids = list(case.branches[branch].ids)
    count = len(ids)
    with ExitStack() as stack:
        begin = capture(stack, parts.layers[0])
        heads = [capture(stack, parts.output(layer)) for layer in parts.layers]
        mlps = [capture(stack, layer.mlp, output=True) for layer in parts.layers]
        last = capture(stack, parts.norm)
        logits = scorer.distribution(branch)
    with torch.inference_mode():
        direction, constant = _direction(parts, last[0][0, -count:].float(), ids)
        names: list[tuple[str, int | None]] = [("embedding", None)]
        scores = [_dot(begin[0][0, -count:], direction)]
        for i, layer in enumerate(parts.layers):
            written, bias = _by_head(parts, layer, heads[i][0][0, -count:].float())
            for head in range(parts.heads):
                names.append((f"layer {i} head {head}", i))
                scores.append(_dot(written[:, head], direction))
            if bias is not None:
                names.append((f"layer {i} attention bias", i))
                scores.append(_dot(bias.expand(count, -1), direction))
            names.append((f"layer {i} mlp", i))
            scores.append(_dot(mlps[i][0][0, -count:], direction))
        if constant is not None:
            names.append(("bias", None))
            scores.append(constant)
        chosen = logits[torch.arange(count), torch.tensor(ids, device=logits.device)]
        return names, scores, float(chosen.double().sum())


def _by_head(
    parts: DecoderParts, layer: Any, joined: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return what each head writes into the stream, [tokens, heads, hidden], and the projection's bias."""
    import torch

    module = parts.output(layer)
    weight = module.weight.float()
    if type(module).__name__ != "Conv1D":  # GPT-2's has [in, out] already
        weight = weight.T
    size = joined.shape[-1] // parts.heads
    split = joined.reshape(len(joined), parts.heads, size)
    written = torch.einsum("thd,hdo->tho", split, weight.reshape(parts.heads, size, -1))
    bias = getattr(module, "bias", None)
    return written, None if bias is None else bias.float()


def _direction(
    parts: DecoderParts, stream: torch.Tensor, ids: list[int]
) -> tuple[torch.Tensor, float | None]:
    """Return the vectors whose dot product with the stream is the logit, [tokens, hidden], and the rest."""
    norm, head = parts.norm, parts.head
    out = head.weight[ids].float()
    direction = out * norm.weight.float()
    constant = 0.0
    if getattr(norm, "bias", None) is not None:
        constant += float((out * norm.bias.float()).double().sum())
    if getattr(head, "bias", None) is not None:
        constant += float(head.bias[ids].double().sum())
    if hasattr(norm, "variance_epsilon"):  # RMSNorm
        scale = (stream.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon).rsqrt()
    else:  # LayerNorm: the mean that it takes away is linear too
        scale = (stream.var(-1, unbiased=False, keepdim=True) + norm.eps).rsqrt()
        direction = direction - direction.mean(-1, keepdim=True)
    has_bias = getattr(norm, "bias", None) is not None or getattr(head, "bias", None) is not None
    return direction * scale, constant if has_bias else None


def _dot(written: torch.Tensor, direction: torch.Tensor) -> float:
    return float((written.double() * direction.double()).sum())
