"""The memory of a task, part by part.

Public: `Term`, `MemoryPlan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError
from llmkit.runtime.estimate.cache import server_tokens, token_bytes
from llmkit.runtime.estimate.counts import positions
from llmkit.runtime.estimate.training_step import StepBytes, heap_bytes, loss_bytes, optimizer_bytes
from llmkit.runtime.estimate.workload import trains

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from llmkit.runtime.estimate.counts import ModelCounts
    from llmkit.runtime.estimate.source import ModelSource
    from llmkit.runtime.estimate.workload import Training, Workload

_MIB = 1 << 20
BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
# Bytes of a weight: 8 bits and a float32 scale for each output, or 4 bits and a scale for 32 inputs.
_QUANTIZED = {"int8": 1.0, "int4": 0.5 + 4 / 32}
# NF4 with double quantization: 4 bits, and 0.127 bits of scales (Dettmers et al. 2023, arXiv:2305.14314).
_NF4 = (4 + 0.127) / 8
# Measured with torch 2.13 and transformers 5.23 on Linux: a process that has run a model of no size.
PROCESS = {"generate": 430 * _MIB, "training": 560 * _MIB}
_TOKENIZER = 10  # bytes in memory for a byte of tokenizer.json
# Families that run in native steps on a CPU, which read this many tokens at a time, in one row of their own.
_NATIVE, _READ, _GUESSES, _NATIVE_TOKENS, _SERVED = {"llama", "mistral", "qwen2", "qwen3"}, 512, 5, 16_384, 32


@dataclass(frozen=True)
class Term:
    """A part of the memory.

    Attributes:
        name: name of the part.
        bytes: its size.
        how: source of the number.
        split: several devices share it; the rest is needed on each of them.
    """

    name: str
    bytes: int
    how: str
    split: bool = False


class MemoryPlan:
    """The memory of a task for any number and length of rows.

    Args:
        counts: the architecture, in the dtype that the model computes in.
        source: its files.
        task: one of `TASKS`.
        workload: rows and lengths that are counted exactly; others are scaled from them.
        training: options of a training.
        dtype: dtype that the model computes in.
        quantize: ``int8``, ``int4`` or None.
        on_cpu: the memory is that of a process, not of a GPU.
        free: bytes that are free; a server takes a share of them.
        process: function that returns the bytes of a process without a model; None uses a stored measurement.
    """

    def __init__(
        self,
        counts: ModelCounts,
        source: ModelSource,
        task: str,
        workload: Workload,
        training: Training,
        *,
        dtype: str,
        quantize: str | None = None,
        on_cpu: bool = False,
        free: float = 0.0,
        process: Callable[[], int] | None = None,
    ) -> None:
        if quantize is not None and quantize not in _QUANTIZED:
            raise OptionError("quantize", f"{quantize}: use int8 or int4")
        if quantize is not None and trains(task):
            raise OptionError(
                "quantize", "is for inference; qlora=True trains an adapter on a model in 4 bits"
            )
        if counts.kind == "encoder" and task in ("generate", "serve"):
            raise OptionError("task", f"{task}: {source.name} does not generate text; use eval or finetune")
        self.counts, self.source, self.task, self.workload = counts, source, task, workload
        self.training, self.dtype, self.quantize = training, dtype, quantize
        self.on_cpu, self._free, self._process = on_cpu, free, process
        self._known: dict[tuple[int, int], int] = {}

    def terms(self, rows: int, prompt: int) -> tuple[Term, ...]:
        """Return the parts of the memory for `rows` rows whose prompts have `prompt` tokens."""
        fixed = [*self._weight_terms(), *self._adapter_terms()]
        if trains(self.task):
            fixed += self._training_terms(rows, prompt)
        elif self.task == "eval":
            fixed += self._eval_terms(rows, prompt)
        else:
            fixed += self._generate_terms(rows, prompt)
        if self.on_cpu:
            fixed.append(Term("process and tokenizer", self.process, "measured: Python, torch, transformers"))
        return tuple(one for one in fixed if one.bytes > 0)

    def total(self, rows: int, prompt: int, devices: int = 1) -> float:
        """Return the bytes on each device at the peak."""
        found = self.terms(rows, prompt)
        running = sum(one.bytes / (devices if one.split else 1) for one in found)
        return max(running, self.loading / devices)

    @cached_property
    def loading(self) -> int:
        """Bytes while the weights are loaded: on a CPU the pages of a file in another dtype are there too."""
        if not self.on_cpu or self.task == "pretrain" or self.quantize or self.source.packed:
            return 0
        weights = sum(one.bytes for one in self._weight_terms())
        converted = self._held_dtype != self.source.stored and self.source.file_kind == "safetensors"
        process = PROCESS["generate"] + _TOKENIZER * self.source.tokenizer_bytes
        return process + weights + (self.source.stored_bytes if converted else 0)

    @cached_property
    def process(self) -> int:
        """Bytes of the process without the model."""
        kind = "training" if trains(self.task) else "generate"
        own = PROCESS[kind] if self._process is None else self._process()
        return own + _TOKENIZER * self.source.tokenizer_bytes

    @property
    def _held_dtype(self) -> str:
        """The dtype in which the weights are held."""
        whole = self.task == "pretrain" or (self.task == "finetune" and self.training.lora_rank is None)
        return "float32" if whole else self.dtype

    @cached_property
    def weights(self) -> int:
        """Bytes of all weights in memory."""
        counts = self.counts
        if self.task == "finetune" and self.training.qlora:
            low = counts.linear_weights - counts.vocabulary * counts.width
            return round(low * _NF4 + (counts.parameters - low) * 4)
        if self.quantize is None:
            if self.source.packed and not trains(self.task):
                return self.source.stored_bytes
            return round(counts.parameters * BYTES[self._held_dtype])
        # Embeddings, and output layers that are tied to them, have 8 bits.
        eight = counts.embedding_weights
        low = counts.linear_weights - (eight if counts.tied else 0)
        rest = max(0, counts.parameters - low - eight)
        return round(low * _QUANTIZED[self.quantize] + eight * _QUANTIZED["int8"] + rest * BYTES[self.dtype])

    def _weight_terms(self) -> list[Term]:
        how = f"parameters of the architecture, in {self._held_dtype}"
        if self.quantize:
            how = f"parameters of the architecture, in {self.quantize}, and {self.dtype} for the rest"
        elif self.task == "finetune" and self.training.qlora:
            how = "linear layers in NF4, the rest in float32"
        elif self.source.packed and not trains(self.task):
            how = "as they are stored in the file"
        return [Term("weights", self.weights, how, split=True)]

    def _adapter_terms(self) -> list[Term]:
        size = 4 * self.source.adapter_values
        return [Term("adapter", size, "weights in the adapter's file, in float32", split=True)]

    def cache(self, rows: int, tokens: int, source: int = 0) -> int:
        """Return the bytes of the cache; between lengths that were counted they grow in a straight line."""
        return rows * self._of_one(tokens, source)

    def count_at(self, tokens: int, source: int = 0) -> None:
        """Count the cache of a row at a length."""
        if (tokens, source) not in self._known:
            self._known[tokens, source] = self.counts.cache_bytes(1, tokens, source)

    def _of_one(self, tokens: int, source: int) -> int:
        known = {length: size for (length, read), size in self._known.items() if read == source}
        below = max((one for one in known if one <= tokens), default=None)
        above = min((one for one in known if one >= tokens), default=None)
        if below is None or above is None:
            self.count_at(tokens, source)
            return self._known[tokens, source]
        share = (tokens - below) / max(1, above - below)
        return round(known[below] + share * (known[above] - known[below]))

    def _generate_terms(self, rows: int, prompt: int) -> list[Term]:
        new = self.workload.new_tokens
        source = prompt if self.counts.kind == "seq2seq" else 0
        length = new if source else prompt + new
        name = f"cache of {rows:,} x {prompt + new:,} tokens"
        cache = Term(
            name, self.cache(rows, length, source), "the architecture's cache, without storage", True
        )
        if self._native:
            cache = self._native_cache(rows, prompt + new)
        tokens = min(_READ, rows * prompt) if self._native else rows * prompt
        # The logits of a step, and the copy that is sampled from.
        logits = 2 * 4 * rows * self.counts.vocabulary
        return [
            cache,
            Term(
                f"activations of {tokens:,} tokens", self._working(tokens), "live tensors of the prompt pass"
            ),
            Term("logits", logits, "rows x vocabulary, in float32, twice"),
        ]

    def _native_cache(self, rows: int, tokens: int) -> Term:
        """Return the cache of native steps: one block, which also has room for guesses."""
        each = token_bytes(self.counts.config, self._torch_dtype)
        if self.task == "serve":
            most = positions(self.counts.config) + _GUESSES
            held = server_tokens(most, _SERVED, int(self._free), each)
            return Term(
                f"cache of {held:,} tokens", held * each, "what a server reserves when it starts", True
            )
        size = tokens + _GUESSES
        held = max(min(rows * size, _NATIVE_TOKENS), size)
        return Term(f"cache of {rows:,} x {tokens:,} tokens", held * each, "layers x heads x width", True)

    def _eval_terms(self, rows: int, prompt: int) -> list[Term]:
        tokens, vocabulary = rows * prompt, self.counts.vocabulary
        # All logits of the batch, and those of a row in float32 and after the softmax.
        logits = round(vocabulary * (tokens * BYTES[self.dtype] + 8 * prompt))
        return [
            Term(f"activations of {tokens:,} tokens", self._working(tokens), "live tensors of a pass"),
            Term("logits", logits, "of all tokens, and of one row in float32, twice"),
        ]

    def _training_terms(self, rows: int, prompt: int) -> list[Term]:
        training, counts = self.training, self.counts
        step, trained = self._step
        scale = rows * prompt / (self.workload.batch_size * self.workload.prompt_tokens)
        forward = round(step.forward * scale)
        # The gradients come while the activations go.
        over = max(0, step.peak - max(step.forward, step.gradients))
        peak = max(forward + round(over * scale), step.gradients)
        sized = StepBytes(forward, peak, step.gradients)
        live = sized.with_accumulation(training.gradient_accumulation)
        adapter = training.lora_rank is not None
        found = [
            Term("AdamW's moments", optimizer_bytes(trained), f"8 bytes x {trained:,} trained weights", True),
            Term("gradients", step.gradients, "4 bytes for each trained weight", True),
            Term(
                f"activations of {rows * prompt:,} tokens",
                live - step.gradients,
                "live tensors of both passes, beyond the gradients",
            ),
            Term("loss", self._loss(rows * prompt), "logits in chunks, and the gradient of the head"),
        ]
        if training.qlora:
            found.append(Term("one matrix unpacked", 2 * counts.largest_matrix, "the largest, in bfloat16"))
        if adapter and not self.source.adapter_values:
            found.insert(0, Term("adapter", 4 * trained, f"float32, {trained:,} weights", True))
        if self.on_cpu:
            kept = round(self._kept.forward * scale) if training.gradient_checkpointing else None
            heap = heap_bytes(sized, adapter=adapter, kept=kept)
            found.append(Term("pieces of freed memory", heap, "a share of the activations, measured"))
        return found

    def _loss(self, tokens: int) -> int:
        counts = self.counts
        whole = self.training.lora_rank is None or self.task == "pretrain"
        return loss_bytes(
            tokens, counts.vocabulary, counts.width, trained=whole, cast=whole and self.dtype != "float32"
        )

    @cached_property
    def _step(self) -> tuple[StepBytes, int]:
        return self._count_step(self.training.gradient_checkpointing)

    @cached_property
    def _kept(self) -> StepBytes:
        return self._count_step(False)[0]

    def _count_step(self, checkpointing: bool) -> tuple[StepBytes, int]:
        work, training = self.workload, self.training
        return self.counts.step_bytes(
            work.batch_size,
            work.prompt_tokens,
            self._torch_dtype,
            lora_rank=None if self.task == "pretrain" else training.lora_rank,
            target_modules=training.target_modules,
            checkpointing=checkpointing,
        )

    def _working(self, tokens: int) -> int:
        """Return the bytes of a pass next to its cache, scaled from the workload's."""
        counted, size = self._counted_pass
        return round(size * tokens / counted)

    @cached_property
    def _counted_pass(self) -> tuple[int, int]:
        rows, prompt = self.workload.batch_size, self.workload.prompt_tokens
        if self._native:
            rows, prompt = 1, min(_READ, rows * prompt, positions(self.counts.config))
        size = self.counts.activation_bytes(rows, prompt)
        if self.counts.kind == "seq2seq":
            size -= self.counts.cache_bytes(rows, 1, prompt)
        else:
            size -= self.counts.cache_bytes(rows, prompt)
        return rows * prompt, max(0, size)

    @property
    def _native(self) -> bool:
        kind = self.counts.config.model_type
        return self.on_cpu and self.task in ("generate", "serve") and kind in _NATIVE

    @property
    def _torch_dtype(self) -> Any:
        import torch

        found: torch.dtype = getattr(torch, self.dtype)
        return found
