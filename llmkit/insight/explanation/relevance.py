"""AttnLRP: layer-wise relevance propagation for transformers (Achtibat et al. 2024, arXiv:2402.05602).

The relevance of an input is the input times a gradient, with the backward pass changed by a few rules:

- a norm's divisor is a constant (section 3.3.2);
- a product of two inputs, such as gate and up, or attention weights and values, gives each half (the
  uniform rule);
- an activation passes on its output divided by its input (the identity rule).

Softmax and linear layers keep their gradient. One backward pass scores all tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from llmkit.insight.explanation.families import parts_of

if TYPE_CHECKING:
    import numpy as np
    import torch

    from llmkit.insight.explanation.scorer import Scorer
    from llmkit.runtime.load import LoadedModel

_NAME = "relevance"


def propagate(loaded: LoadedModel, scorer: Scorer) -> tuple[np.ndarray, np.ndarray]:
    """Return the relevance of each token for each part of the target.

    Args:
        loaded: a model of a known family.
        scorer: of logits.

    Returns:
        [parts, tokens of the source] and [parts, tokens of the prefix], in the unit of the logit.

    Raises:
        OptionError: the family's rules are not written.
    """
    import numpy as np
    import torch

    with rules(loaded), torch.enable_grad():
        source = scorer.embeddings[None].clone().requires_grad_()
        prefix = scorer.prefix[None].clone().requires_grad_()
        values = scorer.scores(source, prefix)[0]
        rows = []
        for part in range(len(values)):
            grads = torch.autograd.grad(
                values[part], (source, prefix), retain_graph=part + 1 < len(values), allow_unused=True
            )
            rows.append(
                [
                    np.zeros(x.shape[1])
                    if grad is None
                    else (x * grad)[0].double().sum(-1).detach().cpu().numpy()
                    for x, grad in zip((source, prefix), grads, strict=True)
                ]
            )
    return np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])


@contextmanager
def rules(loaded: LoadedModel) -> Iterator[None]:
    """Change the backward pass of a model inside the `with` block; the forward pass stays as it is."""
    parts = parts_of(loaded, "attnlrp")
    model: Any = loaded.model
    with ExitStack() as stack:
        for norm in parts.norms():
            stack.enter_context(_forward(norm, _norm_rule(norm)))
        for layer in parts.layers:
            stack.enter_context(_forward(layer.mlp, _mlp_rule(layer.mlp)))
        before = model.config._attn_implementation
        model.set_attn_implementation(_registered())
        stack.callback(model.set_attn_implementation, before)
        yield


@contextmanager
def _forward(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Replace a module's forward pass for a while."""
    module.forward = forward
    try:
        yield
    finally:
        del module.forward  # the class's own shows again


def _scaled(x: torch.Tensor, share: float) -> torch.Tensor:
    """Return `x` with its gradient multiplied by `share`."""
    return x * share + (x * (1 - share)).detach()


def _norm_rule(norm: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch

    def rms(x: torch.Tensor) -> torch.Tensor:
        high = x.float()
        scale = torch.rsqrt(high.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
        return norm.weight * (high * scale.detach()).to(x.dtype)

    def layer(x: torch.Tensor) -> torch.Tensor:
        high = x.float()
        centered = high - high.mean(-1, keepdim=True)
        scale = torch.rsqrt(centered.pow(2).mean(-1, keepdim=True) + norm.eps)
        found = (centered * scale.detach()).to(x.dtype) * norm.weight
        return found if norm.bias is None else found + norm.bias

    return rms if hasattr(norm, "variance_epsilon") else layer


def _mlp_rule(mlp: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch

    def activated(act: Any, x: torch.Tensor) -> torch.Tensor:
        """Return act(x) with the gradient act(x) / x; at 0 the ratio's limit is that of a tiny number."""
        with torch.no_grad():
            safe = torch.where(x.abs() < 1e-6, torch.full_like(x, 1e-6), x)
            ratio = act(safe) / safe
            rest = act(x) - x * ratio
        return x * ratio + rest

    def gated(x: torch.Tensor) -> torch.Tensor:
        gate = activated(mlp.act_fn, mlp.gate_proj(x))
        return mlp.down_proj(_scaled(gate * mlp.up_proj(x), 0.5))

    def plain(x: torch.Tensor) -> torch.Tensor:
        return mlp.c_proj(activated(mlp.act, mlp.c_fc(x)))

    return gated if hasattr(mlp, "gate_proj") else plain


def _registered() -> str:
    """Register an attention whose products of two inputs give each half of the relevance; return its name."""
    from llmkit.attention.interface import register
    from llmkit.attention.registry import Kernel, find

    native = find("sdpa")
    sdpa = native.load()

    def attention(module: Any, query: Any, key: Any, value: Any, mask: Any, **keywords: Any) -> Any:
        # weights @ value halves both; query @ key halves the weights' half once more.
        return sdpa(module, _scaled(query, 0.25), _scaled(key, 0.25), _scaled(value, 0.5), mask, **keywords)

    return register(Kernel(_NAME, attention, native.mask, native.supports, native.devices, native.dtypes))
