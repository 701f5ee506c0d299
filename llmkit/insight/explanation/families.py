"""Families whose parts are known by name: for relevance propagation, and for parts of the logit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel

# Pre-norm decoders: h += o_proj(heads); h += mlp(norm(h)). Gated MLPs unless named.
FAMILIES = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "smollm3")


@dataclass(frozen=True)
class DecoderParts:
    """The parts of a decoder-only model.

    Attributes:
        layers: the layers.
        norm: the last norm.
        head: the output layer.
        heads: attention heads of a layer.
    """

    layers: tuple[Any, ...]
    norm: Any
    head: Any
    heads: int

    def attention(self, layer: Any) -> Any:
        """Return a layer's attention."""
        return layer.attn if hasattr(layer, "attn") else layer.self_attn

    def output(self, layer: Any) -> Any:
        """Return the projection that joins a layer's heads."""
        attention = self.attention(layer)
        return attention.c_proj if hasattr(attention, "c_proj") else attention.o_proj

    def streams(self, run: Callable[[], Any]) -> list[Any]:
        """Return the residual stream during a forward pass: before each layer, and before the last norm.

        Args:
            run: does the forward pass of a single text.

        Returns:
            Tensors [tokens, hidden] in float32, one more than there are layers.
        """
        with ExitStack() as stack:
            seen = [capture(stack, module) for module in (*self.layers, self.norm)]
            run()
        return [one[0][0].float() for one in seen]

    def norms(self) -> Iterator[Any]:
        """Yield all norms, those inside of attention too."""
        for root in (*self.layers, self.norm):
            for module in root.modules():
                if type(module).__name__.endswith(("RMSNorm", "LayerNorm")):
                    yield module


def capture(stack: ExitStack, module: Any, *, output: bool = False) -> list[Any]:
    """Return a list that gets the first input, or the output, of each call of a module.

    It is filled until `stack` closes.
    """
    seen: list[Any] = []

    def before(_: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        seen.append(arguments[0] if arguments else keywords["hidden_states"])

    def after(_: Any, arguments: tuple[Any, ...], result: Any) -> None:
        seen.append(result[0] if isinstance(result, tuple) else result)

    handle = (
        module.register_forward_hook(after)
        if output
        else module.register_forward_pre_hook(before, with_kwargs=True)
    )
    stack.callback(handle.remove)
    return seen


def parts_of(loaded: LoadedModel, method: str) -> DecoderParts:
    """Return the parts of a model.

    Args:
        loaded: the model.
        method: name of the method that needs them, for the error.

    Raises:
        OptionError: the parts of this family are not known, or the model has an adapter.
    """
    config = loaded.model.config
    family = config.model_type
    if family not in FAMILIES or loaded.is_encoder_decoder:
        raise OptionError(
            "method",
            f"{method} supports the families {', '.join(FAMILIES)}, not {family}; use ig or occlusion",
        )
    if loaded.adapter is not None:
        raise OptionError(
            "method", f"{method} needs weights without an adapter; merge the adapter first, or use ig"
        )
    model: Any = loaded.model
    base = model.transformer if family == "gpt2" else model.model
    layers = base.h if family == "gpt2" else base.layers
    norm = base.ln_f if family == "gpt2" else base.norm
    return DecoderParts(tuple(layers), norm, model.get_output_embeddings(), int(config.num_attention_heads))
