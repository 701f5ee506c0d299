"""Inspect a model's folder before loading it: its kind, its completeness, its size.

Only JSON and file headers are read, so that a wrong folder is refused before torch is imported.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmkit.errors import InputError
from llmkit.formats.safetensors import StoredTensor, read_table
from llmkit.runtime.hub.weight_files import check_weight_names

# The end of an architecture's class name shows its task, and the verb that runs it.
_HEADS = {
    "ForQuestionAnswering": "an extractive-QA model; use `llmkit qa`",
    "ForSequenceClassification": "a text classifier, which `llmkit bias` alone runs, to judge texts",
    "ForTokenClassification": "a token classifier, which llmkit does not run",
    "ForMaskedLM": "a masked language model, which does not generate text",
    "ForMultipleChoice": "a multiple-choice model, which llmkit does not run",
}
_STORED = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_MAX_JSON = 256 << 20


@dataclass(frozen=True)
class Checkpoint:
    """Facts about a model's folder.

    Attributes:
        folder: the folder.
        config: content of config.json.
        stored: name of the weights' torch dtype; ``float32`` if the folder does not show it.
        parameters: number of weights; 0 if the folder does not show it (pickled weights).
        weights: places of the tensors in safetensors files, by name; empty for other files.
        types: the file format's names of the weights' types, such as ``Q8_0``, ``F32`` or ``I32``, that of
            most weights first; empty if the folder does not show it.
    """

    folder: Path
    config: dict[str, Any]
    stored: str
    parameters: int
    weights: dict[str, StoredTensor] = field(default_factory=dict, repr=False)
    types: list[str] = field(default_factory=list)

    @property
    def stored_types(self) -> str:
        """Types of the weights for messages: a torch dtype, or the types of quantized weights."""
        if not self.types or self.types[0] in _STORED:
            return self.stored
        return " and ".join([*([", ".join(self.types[:-1])] if len(self.types) > 1 else []), self.types[-1]])

    @property
    def is_encoder_decoder(self) -> bool:
        return bool(self.config.get("is_encoder_decoder"))


def adapter_base(folder: Path) -> str | None:
    """Return the base model of the LoRA adapter in `folder`; None if it is not an adapter.

    A folder with a config.json next to the adapter is an adapter too, unless it has a model's weights: some
    tools save the base's config with an adapter.

    Raises:
        InputError: the adapter does not name its base.
    """
    if folder.is_file() or not (folder / "adapter_config.json").is_file() or _has_model_weights(folder):
        return None
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise InputError(
            f"{folder}/adapter_config.json names no base model; give it with `model`, and this folder with"
            " `adapter`"
        )
    return base


def adapter_task(folder: Path) -> str | None:
    """Return peft's name of the task of the LoRA adapter in `folder`, such as ``CAUSAL_LM``."""
    task = read_json(folder / "adapter_config.json").get("task_type")
    return task if isinstance(task, str) else None


def architectures(folder: Path) -> list[str]:
    """Return the model classes that config.json names, such as ``BertForQuestionAnswering``."""
    if folder.is_file():
        from llmkit.formats.gguf.checkpoint import as_checkpoint

        return [str(name) for name in as_checkpoint(folder).config["architectures"]]
    if not (folder / "config.json").is_file():
        return []
    named = read_json(folder / "config.json").get("architectures")
    return [str(name) for name in named] if isinstance(named, list) else []


def inspect_checkpoint(folder: Path, name: str, *, task: str, allow_bin: bool, trusted: bool) -> Checkpoint:
    """Read which kind of model is in `folder`, and refuse one that cannot run `task`.

    Args:
        folder: a local folder.
        name: the user's name for it, for messages.
        task: see `ModelSpec.task`.
        allow_bin: pickled weights may be read.
        trusted: the model's own code may run.

    Raises:
        InputError: the folder is not a model's, weights are missing or of a kind that is not read, the
            architecture is unknown, or the model is for another task.
    """
    files = sorted(path.name for path in folder.iterdir())
    if "config.json" not in files:
        content = f"it contains {', '.join(files[:4])}" if files else "it is empty"
        raise InputError(f"{name} is not a model's folder: no config.json in it ({content})")
    config = read_json(folder / "config.json")
    _check_architecture(config, name, task, trusted)
    shards = _weight_files(folder, name)
    check_weight_names(name, files, allow_bin=allow_bin)
    weights: dict[str, StoredTensor] = {}
    for shard in shards:
        weights |= read_table(shard, name)
    counts: dict[str, int] = {}
    for one in weights.values():
        counts[one.dtype] = counts.get(one.dtype, 0) + one.values
    types = sorted(counts, key=lambda kind: -counts[kind])
    stored = _STORED.get(types[0]) if types else None
    return Checkpoint(folder, config, stored or _config_dtype(config), sum(counts.values()), weights, types)


def _has_model_weights(folder: Path) -> bool:
    names = {path.name for path in folder.iterdir() if path.suffix in {".safetensors", ".bin"}}
    index = folder / "model.safetensors.index.json"
    return "config.json" in {path.name for path in folder.iterdir()} and (
        index.is_file() or any(name.startswith(("model", "pytorch_model")) for name in names)
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file of a model's folder.

    Raises:
        InputError: it is too large, unreadable, or not a JSON object.
    """
    try:
        if path.stat().st_size > _MAX_JSON:
            raise InputError(f"{path}: larger than {_MAX_JSON >> 20} MiB")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object")
    return value


def _check_architecture(config: dict[str, Any], name: str, task: str, trusted: bool) -> None:
    kind, classes = config.get("model_type"), config.get("architectures")
    if kind is not None and not isinstance(kind, str):
        raise InputError(f"{name}: model_type in config.json is not a name")
    if not isinstance(classes, list | None) or not all(isinstance(one, str) for one in classes or ()):
        raise InputError(f"{name}: architectures in config.json is not a list of names")
    if config.get("auto_map") and not trusted:
        if not _is_known(kind):
            raise InputError(
                f"{name} runs its own Python code; read it, and if you trust it set trust_remote_code=True"
            )
    elif not config.get("auto_map") and not _is_known(kind):
        import transformers

        if kind is None:
            raise InputError(
                f"{name}: config.json has no model_type; a folder for another program, such as CTranslate2,"
                " cannot be loaded"
            )
        raise InputError(
            f"{name} has an architecture that transformers {transformers.__version__} does not know:"
            f" model_type {kind!r} in config.json (a newer version may know it)"
        )
    if task in {"text-generation", "text2text-generation"}:
        for architecture in classes or ():
            for head, description in _HEADS.items():
                if architecture.endswith(head):
                    raise InputError(f"{name} is {description}")


def _is_known(model_type: str | None) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return model_type in CONFIG_MAPPING


def _weight_files(folder: Path, name: str) -> list[Path]:
    """Return the safetensors files of the model; empty for pickled weights."""
    single = folder / "model.safetensors"
    index = folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        weights = read_json(index).get("weight_map")
        shown = weights.values() if isinstance(weights, dict) else ()
        if not weights or not shown or not all(isinstance(shard, str) and shard for shard in shown):
            raise InputError(f"{name}: {index.name} has no weight_map that names files")
        names = sorted(set(shown))
        if any(Path(shard).name != shard for shard in names):
            raise InputError(f"{name}: {index.name} names files outside the model's folder")
        shards = [folder / shard for shard in names]
        missing = [shard.name for shard in shards if not shard.is_file()]
        if missing:
            raise InputError(
                f"{name} is incomplete: {missing[0]} is missing ({len(missing)} of {len(shards)} weight"
                " files); download it again"
            )
        return shards
    return sorted(folder.glob("*.safetensors"))


def _config_dtype(config: dict[str, Any]) -> str:
    stored = config.get("dtype") or config.get("torch_dtype") or "float32"
    return stored if isinstance(stored, str) and stored in _STORED.values() else "float32"
