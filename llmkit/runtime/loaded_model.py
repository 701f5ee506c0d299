"""`LoadedModel`: a model with its tokenizer, placed and ready, and its identity."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.fingerprint import fingerprint
from llmkit.runtime.checkpoint import inspect_checkpoint
from llmkit.runtime.tokenizer import VOCABULARIES

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.runtime.spec import ModelSpec

# Files of a model's folder that its results depend on; cards, logs and training states are left out.
_READ = (
    *("*.safetensors", "*.bin", "*.py", "config.json", "adapter_config.json", "generation_config.json"),
    *("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt"),
    *(*VOCABULARIES, "*.tiktoken", "chat_template.*", "chat_templates/*", "additional_chat_templates/*"),
)


@dataclass
class LoadedModel:
    """A model ready to run.

    Attributes:
        model: the transformers model, in eval mode, on its device.
        tokenizer: its tokenizer, with a pad token; padding on the left for decoder-only models.
        spec: the request.
        device: device of its inputs.
        dtype: precision that it computes in.
        revision: the commit, ``embedded`` or ``local``.
        folder: folder, or GGUF file, that it was read from.
        context_length: most tokens of its context; None if its architecture has no limit.
        adapter: folder of the LoRA adapter on it, or None.
        notes: choices that were made for the user, one sentence each (for `-v`).
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    spec: ModelSpec
    device: torch.device
    dtype: torch.dtype
    revision: str
    folder: Path
    context_length: int | None
    adapter: Path | None
    notes: list[str]

    @property
    def is_encoder_decoder(self) -> bool:
        return bool(self.model.config.is_encoder_decoder)

    @property
    def has_chat_template(self) -> bool:
        return self.tokenizer.chat_template is not None

    @property
    def stored_dtype(self) -> str:
        """Name of the dtype that most of the checkpoint's weights are stored in."""
        spec = self.spec
        if self.folder.is_file():
            from llmkit.formats.gguf.checkpoint import as_checkpoint

            return as_checkpoint(self.folder).stored
        return inspect_checkpoint(
            self.folder, spec.name, task=spec.task, allow_bin=spec.allow_bin, trusted=spec.trust_remote_code
        ).stored

    def identity(self) -> dict[str, Any]:
        """Return, as JSON, everything about the model that its results depend on, for the journal.

        For a local folder and an adapter, that includes fingerprints of the weights, the configs, the
        tokenizer's files and the chat template.
        """
        import torch
        import transformers

        import llmkit

        return {
            "model": self.spec.name,
            "revision": self.revision,
            "weights": fingerprints(self.folder) if self.revision == "local" else None,
            "adapter": fingerprints(self.adapter) if self.adapter is not None else None,
            "device": self.device.type,
            "dtype": str(self.dtype).removeprefix("torch."),
            "four_bits": self.spec.four_bits,
            "quantize": self.spec.quantize,
            "linear": self.spec.linear,
            "attention": self.model.config._attn_implementation,
            "llmkit": llmkit.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }


def fingerprints(folder: Path) -> dict[str, Any]:
    """Return size and hashes of each file of a model's folder that its results depend on, or of a file."""
    found = {}
    if folder.is_file():
        with folder.open("rb") as file:
            return {folder.name: fingerprint(file.fileno())}
    for path in sorted((*folder.iterdir(), *folder.glob("*chat_templates/*"))):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and any(fnmatch(name, pattern) for pattern in _READ):
            with path.open("rb") as file:
                found[name] = fingerprint(file.fileno())
    return found
