"""The model to convert, in any format."""

from __future__ import annotations

import gc
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError, one_line
from llmkit.runtime.generation_config import end_ids
from llmkit.runtime.gguf.files import one_gguf
from llmkit.runtime.locate import locate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from llmkit.runtime.spec import ModelSpec

_TASKS = {
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text-generation",
    "MTModel": "text-generation",
}


@dataclass
class SourceModel:
    """A model to convert, in float32 on the CPU.

    Attributes:
        name: the user's name for it.
        format: its original format.
        model: the transformers model, in eval mode.
        tokenizer: its tokenizer, or None.
        stored: name of the torch dtype of its stored weights.
        folder: the folder with its card and license; None for a single file.
        notes: sentences for the user.
    """

    name: str
    format: str
    model: PreTrainedModel
    tokenizer: Any
    stored: str
    folder: Path | None
    notes: list[str]

    @property
    def ends(self) -> list[int]:
        """Ids at which generation stops; the end token is the first."""
        return end_ids(getattr(self.model, "generation_config", None), self.tokenizer)

    @property
    def gives_logits(self) -> bool:
        """Return True if the model's output is logits over its vocabulary."""
        return self.model.get_output_embeddings() is not None


def load_source(spec: ModelSpec) -> SourceModel:
    """Load the model of `spec`: a Hugging Face folder, a GGUF file, a TensorFlow or a Flax checkpoint.

    Args:
        spec: its dtype and device are not used.

    Raises:
        InputError: there is no such model, or a file is damaged or has an unknown format.
    """
    path = Path(spec.name).expanduser()
    if path.is_file():
        if path.suffix != ".gguf":
            raise InputError(
                f"{path} is not a model that llmkit converts; give a model's folder or a .gguf file"
            )
        return _from_gguf(path)
    if path.is_dir() and not list(path.glob("*.safetensors*")):
        own = _from_other(path, spec)
        if own is not None:
            return own
    if not path.is_dir():
        location = locate(spec.name, spec)
        if location.is_gguf:
            return _from_gguf(location.folder)
    return _from_hugging_face(spec)


def _from_hugging_face(spec: ModelSpec) -> SourceModel:
    from llmkit.runtime.checkpoint import inspect_checkpoint
    from llmkit.runtime.load import load, saved_architecture

    task = "feature-extraction"
    named = saved_architecture(spec)
    for one in named:
        task = next((task for end, task in _TASKS.items() if one.endswith(end)), task)
    loaded = load(replace(spec, dtype="float32", device="cpu", task=task))
    model: Any = loaded.model
    if getattr(model.config, "quantization_config", None) is not None:
        raise InputError(f"{spec.name} is quantized; give the full-precision model")
    stored = inspect_checkpoint(
        loaded.folder, spec.name, task=task, allow_bin=spec.allow_bin, trusted=spec.trust_remote_code
    ).stored
    kind = "safetensors" if list(loaded.folder.glob("*.safetensors")) else "pytorch_model.bin"
    if loaded.adapter is not None:
        kind += " with a LoRA adapter"
        try:
            model = model.merge_and_unload(safe_merge=True)
        except ValueError as error:
            raise LLMKitError(f"the adapter cannot be merged: {one_line(error)}") from None
    gc.collect()
    heads = [name for name in named if "For" in name] if task == "feature-extraction" else []
    notes = [f"the head of {name} is not converted; the result is a {type(model).__name__}" for name in heads]
    return SourceModel(spec.name, kind, model.eval(), loaded.tokenizer, stored, loaded.folder, notes)


def _from_gguf(path: Path) -> SourceModel:
    import torch

    from llmkit.formats.gguf.checkpoint import as_checkpoint
    from llmkit.runtime.parts import model_from_parts

    checkpoint = as_checkpoint(path)
    weights = checkpoint.state_dict(torch.float32)
    model = model_from_parts(checkpoint.config, weights, dtype=torch.float32, name=str(path))
    ends = checkpoint.end_tokens()
    if ends:
        model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    return SourceModel(
        str(path), f"GGUF ({checkpoint.kind})", model, checkpoint.tokenizer(), checkpoint.stored, None,
        list(checkpoint.notes),
    )  # fmt: skip


def _from_other(folder: Path, spec: ModelSpec) -> SourceModel | None:
    """Load a folder without safetensors: TensorFlow's, Flax's, or with a GGUF file; None for any other."""
    file = one_gguf(folder)
    if file is not None:
        return _from_gguf(file)
    if list(folder.glob("pytorch_model*.bin")) and spec.allow_bin:
        return None
    for pattern in ("tf_model.h5", "tf_model.h5.index.json", "flax_model.msgpack", "*.ckpt*.index"):
        for path in sorted(folder.glob(pattern)):
            return _from_named(folder, path)
    for path in sorted(folder.glob("**/variables/variables.index")):
        return _from_named(folder, path)
    return None


def _from_named(folder: Path, path: Path) -> SourceModel:
    """Load a checkpoint of TensorFlow or Flax, next to its config.json."""
    import torch

    from llmkit.formats.flax import read_flax
    from llmkit.formats.named import fit
    from llmkit.formats.tensorflow.bundle import read_bundle
    from llmkit.formats.tensorflow.h5 import read_h5
    from llmkit.runtime.checkpoint import read_json
    from llmkit.runtime.parts import model_from_parts, shapes_of

    config = read_json(folder / "config.json")
    stored = "float32"
    if path.suffix == ".msgpack":
        kind = "Flax"
        found, stored = read_flax(path)
    elif path.name.endswith(".index"):
        kind = "TensorFlow variables"
        found = read_bundle(path)
    else:
        kind = "TensorFlow"
        found = read_h5(path)
    config["architectures"] = [
        re.sub("^(TF|Flax)", "", str(name)) for name in config.get("architectures") or []
    ]
    shapes, prefix = shapes_of(config, str(folder))
    weights = fit(found, shapes, prefix, str(path))
    model = model_from_parts(config, weights, dtype=torch.float32, name=str(folder))
    return SourceModel(str(folder), kind, model, _tokenizer(folder), stored, folder, [])


def _tokenizer(folder: Path) -> Any:
    """Return the folder's tokenizer; None if it has no tokenizer file."""
    from llmkit.runtime.spec import ModelSpec
    from llmkit.runtime.tokenizer import has_tokenizer, load_tokenizer

    return load_tokenizer(folder, ModelSpec(str(folder))) if has_tokenizer(folder) else None
