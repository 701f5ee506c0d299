"""Count what an architecture holds and computes by running it on torch's meta device, which has no storage.

The numbers come from the model's own code, so that sliding windows, latent caches, recurrent layers and tied
weights need no formula of their own.

Public: `ModelCounts`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, one_line

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


class ModelCounts:
    """Numbers of one architecture in one dtype.

    Args:
        config: the model's configuration.
        dtype: dtype of weights and cache.
        name: the model's name, for messages.

    Attributes:
        config: as given.

    Raises:
        InputError: the model is an encoder-decoder, or transformers cannot build the architecture.
    """

    def __init__(self, config: PreTrainedConfig, dtype: torch.dtype, name: str) -> None:
        import torch
        import transformers

        self.config = config
        self._name = name
        if config.is_encoder_decoder:
            raise InputError(f"{name} is an encoder-decoder; only models that continue a text are estimated")
        # Some models look for overflows in float16, and have no values here to look at.
        dtype = torch.bfloat16 if dtype == torch.float16 else dtype

        def build(attention: str) -> Any:
            with torch.device("meta"):
                built = transformers.AutoModelForCausalLM.from_config(
                    copy.deepcopy(config), dtype=dtype, trust_remote_code=False, attn_implementation=attention
                )
            return built.eval()

        try:
            self._model: Any = build("eager")
        except Exception as error:  # architectures raise errors of many types for a config they do not like
            raise InputError(f"{name}: its architecture cannot be built: {one_line(error)}") from None
        # Kernels in use keep no matrix of tokens by tokens; a model without an interface for them does.
        try:
            self._with_kernel: Any = build(_kernel_without_matrix())
        except ValueError:
            self._with_kernel = self._model

    @cached_property
    def parameters(self) -> int:
        """Number of weights, tied ones once."""
        return int(self._model.num_parameters())

    @cached_property
    def linear_weights(self) -> int:
        """Number of weights in linear layers, those of experts and a tied output layer included."""
        from torch import nn

        found = sum(one.weight.numel() for one in self._model.modules() if isinstance(one, nn.Linear))
        return found + self._expert_weights

    @cached_property
    def embedding_weights(self) -> int:
        """Number of weights in the table of token embeddings."""
        return int(self._model.get_input_embeddings().weight.numel())

    @cached_property
    def tied(self) -> bool:
        """True if the output layer is the table of token embeddings."""
        head = self._model.get_output_embeddings()
        return head is not None and head.weight is self._model.get_input_embeddings().weight

    @cached_property
    def layers(self) -> int:
        """Number of layers."""
        return int(self._model.config.get_text_config(decoder=True).num_hidden_layers)

    @cached_property
    def active_share(self) -> float:
        """Share of the experts' weights that one token uses; 1 without experts."""
        config = self._model.config.get_text_config(decoder=True)
        experts = next((n for n in (getattr(config, name, None) for name in _EXPERTS) if n), None)
        used = getattr(config, "num_experts_per_tok", None) or getattr(config, "top_k_experts", None)
        return min(1.0, used / experts) if experts and used and self._expert_weights else 1.0

    @cached_property
    def active_weights(self) -> int:
        """Number of weights in the products of one token."""
        return self.linear_weights - round(self._expert_weights * (1 - self.active_share))

    def cache_bytes(self, rows: int, tokens: int) -> int:
        """Return the bytes of the cache of `rows` sequences of `tokens` tokens each."""
        output = self._forward(self._with_kernel, rows, tokens)
        cache = getattr(output, "past_key_values", None)
        cache = cache if cache is not None else getattr(output, "cache_params", None)
        return sum({id(t): t.nbytes for t in _tensors(cache)}.values())

    def forward_flops(self, rows: int, tokens: int) -> int:
        """Return the floating point operations that read `rows` prompts of `tokens` tokens.

        A multiplication with its addition counts as two. Attention is counted in full, without what a kernel
        may leave out of a causal mask. The products of experts, which no value chooses on this device, are
        added for the experts that one token uses.
        """
        from torch.utils.flop_counter import FlopCounterMode

        counter: Any = FlopCounterMode(display=False)
        with counter:
            self._forward(self._model, rows, tokens)
        experts = round(2 * self._expert_weights * self.active_share)
        return int(counter.get_total_flops()) + experts * rows * tokens

    def activation_bytes(self, rows: int, tokens: int) -> int:
        """Return the most bytes of tensors that live at one time of a prompt pass, cache included."""
        with _live_bytes() as peak:
            self._forward(self._with_kernel, rows, tokens)
        return peak[0]

    @cached_property
    def _expert_weights(self) -> int:
        # transformers keeps the experts of a layer in one tensor: [experts, outputs, inputs].
        found = self._model.named_parameters()
        return sum(one.numel() for name, one in found if one.ndim == 3 and "expert" in name)

    def _forward(self, model: Any, rows: int, tokens: int) -> Any:
        import torch

        ids = torch.zeros(rows, tokens, dtype=torch.long, device="meta")
        inputs: dict[str, Any] = {"input_ids": ids, "use_cache": True}
        if model is self._with_kernel and "logits_to_keep" in signature(model.forward).parameters:
            inputs["logits_to_keep"] = 1
        try:
            with torch.no_grad(), torch.device("meta"):
                return model(**inputs)
        except (NotImplementedError, RuntimeError, ValueError, TypeError) as error:
            raise InputError(
                f"{self._name}: its architecture does not run without values: {one_line(error)}"
            ) from None


def _kernel_without_matrix() -> str:
    """Register an attention function that only has the output's shape; return its name."""
    from transformers import AttentionInterface, AttentionMaskInterface

    def attend(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **more: Any
    ) -> tuple[torch.Tensor, None]:
        rows, heads, tokens, _ = query.shape
        return query.new_empty(rows, tokens, heads, value.shape[-1]), None

    name = "llmkit_estimate"
    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, lambda *args, **kwargs: None)
    return name


def _tensors(holder: Any, depth: int = 4) -> Iterator[torch.Tensor]:
    """Yield the tensors in a cache, wherever its classes keep them."""
    import torch

    if isinstance(holder, torch.Tensor):
        yield holder
    elif depth and isinstance(holder, dict):
        for one in holder.values():
            yield from _tensors(one, depth - 1)
    elif depth and isinstance(holder, list | tuple):
        for one in holder:
            yield from _tensors(one, depth - 1)
    elif depth and hasattr(holder, "__dict__"):
        yield from _tensors(vars(holder), depth)


@contextmanager
def _live_bytes() -> Iterator[list[int]]:
    """Yield a list whose number becomes the most bytes of new tensors that lived at one time."""
    import weakref

    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    peak, now = [0], [0]
    known: set[int] = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            old = {id(one.untyped_storage()) for one in tree_leaves((args, kwargs)) if _is_tensor(one)}
            for one in tree_leaves(found):
                if not _is_tensor(one):
                    continue
                storage = one.untyped_storage()
                key = storage._cdata
                if id(storage) in old or key in known or storage.nbytes() == 0:
                    continue
                known.add(key)
                now[0] += storage.nbytes()
                weakref.finalize(one.untyped_storage(), _freed, now, known, key, storage.nbytes())
            peak[0] = max(peak[0], now[0])
            return found

    with Watch():
        yield peak


def _freed(now: list[int], known: set[int], key: int, size: int) -> None:
    now[0] -= size
    known.discard(key)


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)
