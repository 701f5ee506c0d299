"""A GGUF file as the parts that transformers loads: config, weights and tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.formats.gguf.config_read import read_config
from llmkit.formats.gguf.families import (
    Family,
    change_of,
    family_of,
    to_transformers,
    ungated,
    unpermute,
)
from llmkit.formats.gguf.header import Header, TensorInfo, read_header
from llmkit.formats.gguf.packed import PACKED, read_packed, take_rows
from llmkit.formats.gguf.rope import ROPE_TENSORS
from llmkit.formats.gguf.tensors import read_tensor
from llmkit.formats.gguf.tokenizer_read import read_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from llmkit.linear.formats import QuantizedWeight

_FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class GGUFCheckpoint:
    """A GGUF file with a checked header; weights are read on demand.

    Attributes:
        header: its metadata and tensors.
        config: content of config.json.
        notes: missing information, one sentence each.
    """

    header: Header
    config: dict[str, Any]
    notes: list[str]

    @property
    def parameters(self) -> int:
        """Number of values in all tensors."""
        import math

        return sum(math.prod(info.shape) for info in self._weights.values())

    @property
    def stored(self) -> str:
        """The float type of the stored values: float32 for quantized weights."""
        return _FLOATS.get(self.kind, "float32")

    @property
    def kind(self) -> str:
        """ggml's name of the type in which most weights are stored."""
        return self.kinds[0]

    @property
    def kinds(self) -> list[str]:
        """ggml's names of all types of the weights, the type of most weights first."""
        import math

        counts: dict[str, int] = {}
        for info in self._weights.values():
            counts[info.kind] = counts.get(info.kind, 0) + math.prod(info.shape)
        return sorted(counts, key=lambda kind: -counts[kind])

    @property
    def _weights(self) -> dict[str, TensorInfo]:
        return {name: info for name, info in self.header.tensors.items() if name not in ROPE_TENSORS}

    def tensors(self, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and weights for transformers, unpacked one after another.

        Args:
            dtype: of the weights.

        Raises:
            InputError: a tensor that the architecture does not have.
        """
        for ours, info in self.places().items():
            yield ours, self.tensor(info, dtype)

    def places(self) -> dict[str, TensorInfo]:
        """Places of the weights in the file, by their names in transformers.

        Raises:
            InputError: a tensor that the architecture does not have.
        """
        family, found = _family(self.header), {}
        for name, info in self._weights.items():
            ours = to_transformers(family, name)
            if ours is None:
                raise InputError(f"{info.path}: {self.header.architecture} has no tensor {name}")
            found[ours] = info
        return found

    def tensor(self, info: TensorInfo, dtype: torch.dtype) -> torch.Tensor:
        """Read one weight, in transformers' layout."""
        import torch

        change = change_of(_family(self.header), info.name)
        # A norm is stored with its 1: rounding first would lose the digits that the 1 pushes out.
        read = read_tensor(info, torch.float32 if change == "plus_one" else dtype)
        return _restore(read, change, info.name, self._heads).to(dtype)

    def shape(self, info: TensorInfo) -> tuple[int, ...]:
        """The shape of a weight in transformers' layout."""
        change = change_of(_family(self.header), info.name)
        return info.shape[::-1] if change == "transpose" else info.shape

    def packed(self, info: TensorInfo) -> QuantizedWeight | None:
        """Read one packed matrix (outputs, inputs); None if products cannot use it in packed form.

        Raises:
            InputError: see `read_packed`.
        """
        import torch

        change = change_of(_family(self.header), info.name)
        if info.kind not in PACKED or len(info.shape) != 2 or change == "plus_one":
            return None
        weight = read_packed(info)
        if change == "permute":
            rows = _restore(torch.arange(info.shape[0]), change, info.name, self._heads)
            return take_rows(weight, rows)
        return weight  # a transposed weight (GPT-2) is in the file as (outputs, inputs)

    @property
    def _heads(self) -> tuple[int, int]:
        return self.config.get("num_attention_heads", 1), self.config.get("num_key_value_heads", 1)

    def state_dict(self, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """All weights, for transformers' `from_pretrained(None, config=..., state_dict=...)`."""
        return dict(self.tensors(dtype))

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, with its chat template.

        Raises:
            InputError: see `read_tokenizer`.
        """
        from transformers import PreTrainedTokenizerFast

        parts = read_tokenizer(self.header)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=parts.tokenizer,
            clean_up_tokenization_spaces=False,
            model_max_length=_context(self.config),
            **parts.special,
        )
        tokenizer.chat_template = parts.chat_template
        return tokenizer

    def end_tokens(self) -> list[int]:
        """Ids at which generation stops, the end token first."""
        return read_tokenizer(self.header).ends

    def set_ends(self, model: Any) -> None:
        """Let a model's generation stop at the file's end tokens."""
        ends = self.end_tokens()
        if ends:
            model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]


def as_checkpoint(path: str | Path) -> GGUFCheckpoint:
    """Read the kind of model in a GGUF file.

    Args:
        path: the file, or any shard of it.

    Raises:
        InputError: not a GGUF file, damaged, or of an architecture that is not read.
    """
    header = read_header(path)
    notes = []
    if "tokenizer.chat_template" not in header.metadata:
        notes.append(f"{Path(path).name} has no chat template")
    if "tokenizer.ggml.pre" not in header.metadata and (
        header.metadata.get("tokenizer.ggml.model") == "gpt2"
    ):
        notes.append(f"{Path(path).name} does not name its pre-tokenizer; the default rule is used")
    checkpoint = GGUFCheckpoint(header, read_config(header), notes)
    for name in checkpoint._weights:
        if to_transformers(_family(header), name) is None:
            raise InputError(f"{path}: {header.architecture} has no tensor {name}")
    return checkpoint


def _family(header: Header) -> Family:
    family = family_of(header.architecture)
    plain = family.name == "t5" and "enc.blk.0.ffn_gate.weight" not in header.tensors
    return ungated(family) if plain else family


def _restore(tensor: torch.Tensor, change: str | None, name: str, heads: tuple[int, int]) -> torch.Tensor:
    """Undo the change that writing made; see `Family.changes`."""
    if change == "permute":
        return unpermute(tensor, heads[0] if ".attn_q." in name else heads[1])
    if change == "plus_one":
        return tensor - 1
    if change == "transpose":
        return tensor.t().contiguous()
    return tensor


def _context(config: dict[str, Any]) -> int:
    for key in ("max_position_embeddings", "n_positions"):
        if key in config:
            return int(config[key])
    return 1 << 30
