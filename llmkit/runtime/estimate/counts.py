"""Count parameters and operations of an architecture by running it on torch's meta device.

The numbers come from the model's own code, so that sliding windows, latent caches, recurrent layers and tied
weights need no formula of their own.

Public: `ModelCounts`, `model_kind`, `positions`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, one_line
from llmkit.runtime.estimate.live import watch_live_bytes
from llmkit.runtime.estimate.training_step import StepBytes, count_step

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
_HEADS = {
    "ForMaskedLM": "AutoModelForMaskedLM",
    "ForQuestionAnswering": "AutoModelForQuestionAnswering",
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForTokenClassification": "AutoModelForTokenClassification",
}
_MOST_LAYERS = 2000
LONGEST = 1 << 20
"""Tokens at which a context ends that nothing limits."""


def model_kind(config: Any) -> tuple[str, str]:
    """Return the kind of a model, and transformers' Auto class for it.

    Returns:
        ``causal``, ``seq2seq`` or ``encoder``, and such as ``AutoModelForCausalLM``.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    if config.is_encoder_decoder:
        return "seq2seq", "AutoModelForSeq2SeqLM"
    named = [str(one) for one in config.architectures or ()]
    for end, auto in _HEADS.items():
        if any(one.endswith(end) for one in named):
            return "encoder", auto
    writes = any("LMHead" in one or "CausalLM" in one for one in named) or getattr(
        config, "is_decoder", False
    )
    if config.model_type in MASKED and not writes:
        return "encoder", "AutoModel"
    return "causal", "AutoModelForCausalLM"


def positions(config: Any) -> int:
    """Return the positions of the architecture, the answer included."""
    own = config.get_text_config(decoder=True)
    for name in ("max_position_embeddings", "n_positions", "max_sequence_length"):
        found = getattr(own, name, None)
        if isinstance(found, int) and found > 0:
            return found
    return LONGEST


class ModelCounts:
    """Numbers of one architecture in one dtype.

    Args:
        config: the model's configuration.
        dtype: dtype of weights and cache.
        name: the model's name, for messages.

    Attributes:
        config: as given.
        kind: ``causal``, ``seq2seq`` or ``encoder``.

    Raises:
        InputError: transformers cannot build the architecture, or it has too many layers.
    """

    def __init__(self, config: PreTrainedConfig, dtype: torch.dtype, name: str) -> None:
        import torch

        _check_layers(config, name)
        self.config = config
        self.kind, self._auto = model_kind(config)
        self._name = name
        # Some models look for overflows in float16, and have no values here to look at.
        self._dtype = torch.bfloat16 if dtype == torch.float16 else dtype
        self._model: Any = self.build("eager")
        # Kernels in use keep no matrix of tokens by tokens; a model without an interface for them does.
        try:
            self._with_kernel: Any = self.build(_kernel_without_matrix())
        except InputError:
            self._with_kernel = self._model

    def build(self, attention: str, dtype: torch.dtype | None = None) -> Any:
        """Return a new model of the architecture on the meta device.

        Args:
            attention: transformers' name of the attention function.
            dtype: of the weights; None is the dtype of the counts.

        Raises:
            InputError: transformers cannot build it.
        """
        import torch
        import transformers

        options = {"dtype": dtype or self._dtype, "attn_implementation": attention}
        try:
            with torch.device("meta"):
                auto = getattr(transformers, self._auto)
                built = auto.from_config(copy.deepcopy(self.config), trust_remote_code=False, **options)
        except Exception as error:  # architectures raise errors of many types for a config they do not like
            raise InputError(f"{self._name}: its architecture cannot be built: {one_line(error)}") from None
        return built.eval()

    @cached_property
    def parameters(self) -> int:
        """Number of weights, tied ones once."""
        return int(self._model.num_parameters())

    @cached_property
    def linear_weights(self) -> int:
        """Number of weights in linear layers, those of experts and a tied output layer included."""
        return _linear_weights(self._model) + self._expert_weights

    @cached_property
    def embedding_weights(self) -> int:
        """Number of weights in the table of token embeddings."""
        return int(self._model.get_input_embeddings().weight.numel())

    @cached_property
    def vocabulary(self) -> int:
        """Number of logits of a token; 0 without a language model's head."""
        head = self._model.get_output_embeddings()
        return 0 if head is None else int(head.weight.shape[0])

    @cached_property
    def width(self) -> int:
        """Number of inputs of the head; 0 without one."""
        head = self._model.get_output_embeddings()
        return 0 if head is None else int(head.weight.shape[1])

    @cached_property
    def largest_matrix(self) -> int:
        """Number of weights in the largest linear layer."""
        from torch import nn

        return max((m.weight.numel() for m in self._model.modules() if isinstance(m, nn.Linear)), default=0)

    @cached_property
    def tied(self) -> bool:
        """True if the output layer is the table of token embeddings."""
        head = self._model.get_output_embeddings()
        return head is not None and head.weight is self._model.get_input_embeddings().weight

    @cached_property
    def layers(self) -> int:
        """Number of layers; of the decoder if there is one."""
        config = self._model.config
        if self.kind != "seq2seq":  # of which `get_text_config` would drop the names that begin with decoder_
            config = config.get_text_config(decoder=True)
        names = ("decoder_layers", "num_decoder_layers", "num_hidden_layers")
        return next(int(n) for name in names if (n := getattr(config, name, None)))

    @cached_property
    def active_share(self) -> float:
        """Share of the experts' weights that one token uses; 1 without experts."""
        config = self._model.config.get_text_config(decoder=True)
        experts = _first_set(config, _EXPERTS)
        used = _first_set(config, ("num_experts_per_tok", "top_k_experts"))
        if not experts or not used or not self._expert_weights:
            return 1.0
        return min(1.0, used / experts)

    @cached_property
    def active_weights(self) -> int:
        """Number of weights in the products of one token, on the side that writes."""
        if self.kind == "seq2seq":
            head = self.vocabulary * self.width
            inner = _linear_weights(self._model.get_decoder())
            return inner + head
        return self.linear_weights - round(self._expert_weights * (1 - self.active_share))

    def cache_bytes(self, rows: int, tokens: int, source: int = 0) -> int:
        """Return the bytes of the cache of `rows` sequences of `tokens` tokens each.

        Args:
            rows: number of sequences.
            tokens: tokens of each; of the decoder if there is an encoder.
            source: tokens that an encoder has read.
        """
        if self.kind == "encoder":
            return 0
        output = self._forward(self._with_kernel, rows, tokens, source)
        cache = getattr(output, "past_key_values", None)
        cache = cache if cache is not None else getattr(output, "cache_params", None)
        return sum({id(t): t.nbytes for t in _tensors(cache)}.values())

    def forward_flops(self, rows: int, tokens: int, target: int = 1) -> int:
        """Return the floating point operations that read `rows` prompts of `tokens` tokens.

        A multiplication with its addition counts as two. Attention is counted in full, without what a kernel
        may leave out of a causal mask. The products of experts, which no value chooses on this device, are
        added for the experts that one token uses.

        Args:
            rows: number of prompts.
            tokens: tokens of each.
            target: tokens of the decoder behind an encoder.
        """
        from torch.utils.flop_counter import FlopCounterMode

        counter: Any = FlopCounterMode(display=False)
        with counter:
            if self.kind == "seq2seq":
                self._forward(self._model, rows, target, tokens)
            else:
                self._forward(self._model, rows, tokens)
        experts = round(2 * self._expert_weights * self.active_share)
        return int(counter.get_total_flops()) + experts * rows * tokens

    def activation_bytes(self, rows: int, tokens: int) -> int:
        """Return the most bytes of tensors that live at one time of a prompt pass, its cache included.

        Args:
            rows: number of prompts.
            tokens: tokens of each; of the source behind an encoder-decoder.
        """
        own = [*self._with_kernel.parameters(), *self._with_kernel.buffers()]
        with watch_live_bytes(own) as live:
            if self.kind == "seq2seq":
                output = self._forward(self._with_kernel, rows, 1, tokens)
            else:
                output = self._forward(self._with_kernel, rows, tokens)
            del output
        return live.peak

    def step_bytes(
        self,
        rows: int,
        tokens: int,
        dtype: torch.dtype,
        *,
        lora_rank: int | None = None,
        target_modules: str | None = None,
        checkpointing: bool = False,
    ) -> tuple[StepBytes, int]:
        """Return the bytes of a training step, and the number of trained weights.

        Args:
            rows, tokens: shape of the batch.
            dtype: dtype of the products.
            lora_rank: rank of an adapter; None trains the whole model.
            target_modules: layers that get an adapter; None is every linear layer except the head.
            checkpointing: activations are recomputed.

        Raises:
            InputError: the architecture does not run without values.
        """
        import torch

        model = self._trained(torch.float32 if lora_rank is None else dtype, lora_rank, target_modules)
        step = count_step(model, (rows, tokens), dtype, checkpointing=checkpointing)
        if step is None:
            raise InputError(f"{self._name}: its training does not run without values")
        return step, sum(one.numel() for one in model.parameters() if one.requires_grad)

    def _trained(self, dtype: torch.dtype, rank: int | None, modules: str | None) -> Any:
        """Return a model with the weights that are trained marked so."""
        import torch

        from llmkit.runtime.peft import has_conv1d, lora_targets

        try:
            model = self.build("sdpa", dtype)
        except InputError:
            model = self.build("eager", dtype)
        if rank is None:
            return model
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=rank, target_modules=lora_targets(model, modules), fan_in_fan_out=has_conv1d(model)
        )
        try:
            with torch.device("meta"):
                return get_peft_model(model, config)
        except ValueError as error:
            raise OptionError("target_modules", f"{modules}: {one_line(error)}") from None

    @cached_property
    def _expert_weights(self) -> int:
        # transformers keeps the experts of a layer in one tensor: [experts, outputs, inputs].
        found = self._model.named_parameters()
        return sum(one.numel() for name, one in found if one.ndim == 3 and "expert" in name)

    def _forward(self, model: Any, rows: int, tokens: int, source: int = 0) -> Any:
        import torch

        def ids(count: int) -> Any:
            return torch.zeros(rows, count, dtype=torch.long, device="meta")

        inputs: dict[str, Any] = {"input_ids": ids(tokens)}
        if self.kind == "seq2seq":
            inputs = {"input_ids": ids(max(1, source)), "decoder_input_ids": ids(tokens)}
        if self.kind != "encoder":
            inputs["use_cache"] = True
        if model is self._with_kernel and "logits_to_keep" in signature(model.forward).parameters:
            inputs["logits_to_keep"] = 1
        first: Exception | None = None
        for given in (inputs, _embedded(model, inputs)):
            try:
                with torch.no_grad(), torch.device("meta"):
                    return model(**given)
            except (NotImplementedError, RuntimeError, ValueError, TypeError, IndexError) as error:
                first = first or error
        raise InputError(
            f"{self._name}: its architecture does not run without values: {one_line(first or '')}"
        ) from None


def _embedded(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return inputs with embeddings and a whole mask: RoFormer looks for padding in ids and short masks."""
    import torch

    table = model.get_input_embeddings().weight
    ids = inputs["input_ids"]
    embeddings = table.new_empty(*ids.shape, table.shape[1])
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device="meta")
    more = {
        "inputs_embeds": embeddings,
        "attention_mask": mask.expand(len(ids), 1, ids.shape[1], ids.shape[1]),
    }
    return {name: one for name, one in inputs.items() if name != "input_ids"} | more


def _check_layers(config: Any, name: str) -> None:
    """Refuse a config whose layers would take hours to build; the largest known models have some hundred."""
    for own in (config, config.get_text_config(decoder=True)):
        for key, value in vars(own).items():
            if "layers" in key and isinstance(value, int) and value > _MOST_LAYERS:
                raise InputError(
                    f"{name}: config.json: {key} is {value:,}, and at most {_MOST_LAYERS:,} are built"
                )


def _first_set(config: Any, names: Sequence[str]) -> Any:
    """Return the first of some settings that is set and not 0; None if there is none."""
    return next((getattr(config, name) for name in names if getattr(config, name, None)), None)


def _linear_weights(module: Any) -> int:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return sum(one.weight.numel() for one in module.modules() if isinstance(one, nn.Linear | Conv1D))


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
