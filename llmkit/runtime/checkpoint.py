"""Look at a model's folder before loading it: what it is, whether it is whole, how large it will be.

Everything here reads JSON and file headers only, so that a wrong folder is refused before torch is asked.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import InputError
from llmkit.runtime.locate import check_weight_names

# The end of an architecture's class name tells what it was trained for, and which verb runs it.
_HEADS = {
    "ForQuestionAnswering": "an extractive-QA model; use `llmkit qa`",
    "ForSequenceClassification": "a text classifier, which llmkit does not run",
    "ForTokenClassification": "a token classifier, which llmkit does not run",
    "ForMaskedLM": "a masked language model, which does not generate text",
    "ForMultipleChoice": "a multiple-choice model, which llmkit does not run",
}
_STORED = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True)
class Checkpoint:
    """What a model's folder says of itself.

    Attributes:
        folder: where it lies.
        config: its config.json.
        stored: name of the weights' torch dtype, ``float32`` where the folder does not tell.
        parameters: number of weights, 0 where the folder does not tell (pickled weights).
    """

    folder: Path
    config: dict[str, Any]
    stored: str
    parameters: int

    @property
    def is_encoder_decoder(self) -> bool:
        return bool(self.config.get("is_encoder_decoder"))


def adapter_base(folder: Path) -> str | None:
    """The base model that the LoRA adapter in `folder` was trained on; None if it is no adapter."""
    if not (folder / "adapter_config.json").is_file() or (folder / "config.json").is_file():
        return None
    base = _read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise InputError(f"{folder}/adapter_config.json names no base model; give it with -m and --adapter")
    return base


def adapter_task(folder: Path) -> str | None:
    """What the LoRA adapter in `folder` was trained for, in peft's words, such as ``CAUSAL_LM``."""
    task = _read_json(folder / "adapter_config.json").get("task_type")
    return task if isinstance(task, str) else None


def architectures(folder: Path) -> list[str]:
    """The model classes that the folder's config.json names, such as ``BertForQuestionAnswering``."""
    if not (folder / "config.json").is_file():
        return []
    named = _read_json(folder / "config.json").get("architectures")
    return [str(name) for name in named] if isinstance(named, list) else []


def inspect_checkpoint(folder: Path, name: str, *, task: str, allow_bin: bool, trusted: bool) -> Checkpoint:
    """Read what kind of model lies in `folder` and refuse what cannot run `task`.

    Args:
        folder: a local folder.
        name: what the user called it, for messages.
        task: see `ModelSpec.task`.
        allow_bin: whether pickled weights may be read.
        trusted: whether the model's own code may run.

    Raises:
        InputError: not a model's folder, weights missing or of a kind we do not read, unknown
            architecture, or a model for another task.
    """
    files = sorted(path.name for path in folder.iterdir())
    if "config.json" not in files:
        inside = f"it holds {', '.join(files[:4])}" if files else "it is empty"
        raise InputError(f"{name} is not a model's folder: no config.json in it ({inside})")
    config = _read_json(folder / "config.json")
    _check_architecture(config, name, task, trusted)
    shards = _weight_files(folder, name)
    check_weight_names(name, files, allow_bin=allow_bin)
    stored, parameters = _measure(shards, name)
    return Checkpoint(folder, config, stored or _config_dtype(config), parameters)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object")
    return value


def _check_architecture(config: dict[str, Any], name: str, task: str, trusted: bool) -> None:
    if config.get("auto_map") and not trusted:
        known = _is_known(config.get("model_type"))
        if not known:
            raise InputError(
                f"{name} runs its own Python code; read it, and if you trust it add --trust-remote-code"
            )
    elif not config.get("auto_map") and not _is_known(config.get("model_type")):
        import transformers

        raise InputError(
            f"{name} is of an architecture that transformers {transformers.__version__} does not know:"
            f" model_type {config.get('model_type')!r} in config.json (a newer transformers may)"
        )
    if task in {"text-generation", "text2text-generation"}:
        for architecture in config.get("architectures") or []:
            for head, what in _HEADS.items():
                if architecture.endswith(head):
                    raise InputError(f"{name} is {what}")


def _is_known(model_type: Any) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return model_type in CONFIG_MAPPING


def _weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files that make up the model; none for pickled weights."""
    single = folder / "model.safetensors"
    index = folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        names = sorted(set(_read_json(index).get("weight_map", {}).values()))
        if any(Path(shard).name != shard for shard in names):
            raise InputError(f"{name}: {index.name} names files outside the model's folder")
        shards = [folder / shard for shard in names]
        missing = [shard.name for shard in shards if not shard.is_file()]
        if missing:
            raise InputError(
                f"{name} is not whole: {missing[0]} is missing, {len(missing)} of {len(shards)} weight files;"
                " fetch it again with the network on"
            )
        return shards
    return sorted(folder.glob("*.safetensors"))


def _measure(shards: list[Path], name: str) -> tuple[str | None, int]:
    """The dtype most weights are stored in, and how many weights there are, from the files' headers."""
    counts: dict[str, int] = {}
    for shard in shards:
        for tensor in _header(shard, name).values():
            number = 1
            for size in tensor["shape"]:
                number *= size
            counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + number
    if not counts:
        return None, 0
    return _STORED.get(max(counts, key=lambda d: counts[d])), sum(counts.values())


def _header(shard: Path, name: str) -> dict[str, Any]:
    """A safetensors file's table of tensors: 8 bytes of length, then JSON (the format's specification)."""
    with shard.open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > shard.stat().st_size:
                raise ValueError("cut off")
            table = json.loads(file.read(length))
            end = (
                8 + length + max((t["data_offsets"][1] for k, t in table.items() if k[:2] != "__"), default=0)
            )
        except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{name}: {shard.name} is not a safetensors file, or is cut off") from error
        if shard.stat().st_size < end:
            raise InputError(f"{name}: {shard.name} is cut off; fetch or copy it again")
    table.pop("__metadata__", None)
    return table


def _config_dtype(config: dict[str, Any]) -> str:
    stored = config.get("dtype") or config.get("torch_dtype") or "float32"
    return stored if stored in _STORED.values() else "float32"
