"""Find the input of an estimate: the model's config and the storage types of its weights.

Public: `ModelSource`, `find_source`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, one_line
from llmkit.formats.safetensors import read_table
from llmkit.models.bundled import embedded_folder
from llmkit.runtime.checkpoint import adapter_base, read_json
from llmkit.runtime.gguf.files import split_name
from llmkit.runtime.locate import is_hub_id, locate

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from llmkit.formats.gguf.checkpoint import GGUFCheckpoint
    from llmkit.runtime.spec import ModelSpec

Dtypes = dict[str, tuple[int, int]]
_FLOATS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}


@dataclass(frozen=True)
class ModelSource:
    """A model's config, and the sizes of its files.

    Attributes:
        name: the user's name for it.
        config: its configuration.
        stored: name of the float dtype of most of its weights.
        stored_bytes: size of its tensors; 0 if there are no weight files.
        stored_values: values in its tensors; 0 as above.
        packed: the weights are stored in fewer bits than a float has, such as GPTQ, FP8 or MXFP4.
        file_kind: kind of the weight file: "safetensors", "GGUF", or "" without one.
        tokenizer_bytes: size of its tokenizer.json.
        adapter_values: weights of the LoRA adapter that continues it.
    """

    name: str
    config: PreTrainedConfig
    stored: str
    stored_bytes: int = 0
    stored_values: int = 0
    packed: bool = False
    file_kind: str = ""
    tokenizer_bytes: int = 0
    adapter_values: int = 0
    notes: tuple[str, ...] = field(default=())


def find_source(spec: ModelSpec) -> ModelSource:
    """Read a model's config and the headers of its weight files.

    Args:
        spec: an embedded model, a folder (config.json alone is enough), an adapter's folder, a GGUF file, or
            a repository of the Hub, by range requests without its weights; offline, one in the cache.

    Raises:
        InputError: there is no such model, or its config is not valid.
        LLMKitError: the connection to the Hub failed.
    """
    if spec.adapter is None:
        return _find(spec)
    values, _ = _adapter(spec.adapter, replace(spec, name=spec.adapter, adapter=None))
    found = _find(replace(spec, adapter=None))
    if found.adapter_values:
        raise OptionError("adapter", f"goes on a base model, and {spec.name} is an adapter itself")
    return replace(found, adapter_values=values)


def _find(spec: ModelSpec) -> ModelSource:
    name, variant = spec.name, None
    path = Path(name).expanduser()
    if embedded_folder(name) is None and not path.exists():
        name, variant = split_name(name) or (name, None)
        if is_hub_id(name) and not Path(name).expanduser().exists() and not _offline(spec):
            return _from_hub(name, variant, spec)
    location = locate(spec.name, spec)
    if location.is_gguf:
        return _from_gguf(location.folder, spec.name)
    return _from_folder(location.folder, spec)


def _offline(spec: ModelSpec) -> bool:
    from huggingface_hub import constants

    return spec.offline or bool(constants.HF_HUB_OFFLINE)


def _from_hub(name: str, variant: str | None, spec: ModelSpec) -> ModelSource:
    from llmkit.runtime.hub.access import NetworkError
    from llmkit.runtime.hub.headers import hub_headers

    try:
        found = hub_headers(name, spec, variant)
    except NetworkError:
        try:
            location = locate(spec.name, replace(spec, offline=True))
        except InputError:
            raise
        return (
            _from_gguf(location.folder, spec.name)
            if location.is_gguf
            else _from_folder(location.folder, spec)
        )
    if found.gguf is not None:
        return _of_gguf(found.gguf, spec.name, found.gguf_bytes)
    if (found.folder / "adapter_config.json").is_file() and not (found.folder / "config.json").is_file():
        return _on_base(found.folder, sum(values for _, values in found.dtypes.values()), spec)
    return _source(spec.name, found.folder, found.dtypes, found.tokenizer_bytes)


def _from_folder(folder: Path, spec: ModelSpec) -> ModelSource:
    if adapter_base(folder) is not None:
        return _on_base(folder, _adapter(spec.name, spec)[0], spec)
    if not (folder / "config.json").is_file():
        raise InputError(f"{spec.name} is not a model's folder: no config.json in it")
    tokenizer = folder / "tokenizer.json"
    size = tokenizer.stat().st_size if tokenizer.is_file() else 0
    return _source(spec.name, folder, _dtypes(folder, spec.name), size)


def _on_base(folder: Path, values: int, spec: ModelSpec) -> ModelSource:
    """Return the base model of an adapter, with the adapter on it."""
    base = adapter_base(folder)
    if base is None:
        raise InputError(f"{spec.name}: adapter_config.json names no base model")
    bundled = spec.bundled or embedded_folder(spec.name) is not None
    found = _find(replace(spec, name=base, revision=None, bundled=bundled))
    return replace(found, name=spec.name, adapter_values=values)


def _adapter(name: str, spec: ModelSpec) -> tuple[int, Path]:
    """Return the number of an adapter's weights, and its folder."""
    folder = locate(name, spec).folder
    file = folder / "adapter_model.safetensors"
    if folder.is_file() or not (folder / "adapter_config.json").is_file() or not file.is_file():
        raise OptionError(
            "adapter" if spec.adapter is None else "model",
            f"{name}: needs adapter_config.json and adapter_model.safetensors",
        )
    return sum(one.values for one in read_table(file, name).values()), folder


def _dtypes(folder: Path, name: str) -> Dtypes:
    """Return bytes and values of the tensors of a folder by their type."""
    index = folder / "model.safetensors.index.json"
    single = folder / "model.safetensors"
    if single.is_file():
        shards = [single]
    elif index.is_file():
        weights = read_json(index).get("weight_map")
        names = set(weights.values()) if isinstance(weights, dict) else set()
        shards = [folder / str(one) for one in names if Path(str(one)).name == one]
        shards = [path for path in sorted(shards) if path.is_file()]
    else:
        shards = sorted(folder.glob("*.safetensors"))
    found: Dtypes = {}
    for shard in shards:
        for one in read_table(shard, name).values():
            before = found.get(one.dtype, (0, 0))
            found[one.dtype] = (before[0] + one.nbytes, before[1] + one.values)
    return found


def _source(name: str, folder: Path, dtypes: Dtypes, tokenizer_bytes: int) -> ModelSource:
    config = _config(name, folder)
    floats = {kind: values for kind, (_, values) in dtypes.items() if kind in _FLOATS}
    stored = _FLOATS[max(floats, key=lambda kind: floats[kind])] if floats else _config_dtype(config)
    settings = getattr(config, "quantization_config", None)
    total = sum(size for size, _ in dtypes.values())
    packed = bool(settings) and any(kind not in _FLOATS for kind in dtypes)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    return ModelSource(
        name=name,
        config=config,
        stored=stored if stored != "float64" else "float32",
        stored_bytes=total,
        stored_values=sum(values for _, values in dtypes.values()),
        packed=packed,
        file_kind="safetensors" if dtypes else "",
        tokenizer_bytes=tokenizer_bytes,
    )


def _config(name: str, folder: Path) -> PreTrainedConfig:
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    raw = read_json(folder / "config.json")
    kind = raw.get("model_type")
    if raw.get("auto_map") and (not isinstance(kind, str) or kind not in CONFIG_MAPPING):
        raise InputError(f"{name} runs its own Python code, which an estimate does not run")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # configs of the wrong kind raise errors of many types
        raise InputError(f"{name}: config.json: {one_line(error)}") from None


def _config_dtype(config: Any) -> str:
    stored = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    return stored if stored in _FLOATS.values() else "float32"


def _from_gguf(path: Path, name: str) -> ModelSource:
    from llmkit.formats.gguf.checkpoint import as_checkpoint

    opened = as_checkpoint(path)
    return _of_gguf(opened, name, sum(one.nbytes for one in opened.header.tensors.values()))


def _of_gguf(opened: GGUFCheckpoint, name: str, size: int) -> ModelSource:
    from transformers import AutoConfig

    raw = dict(opened.config)
    try:
        config = AutoConfig.for_model(str(raw.pop("model_type")), **raw)
    except Exception as error:  # configs of the wrong kind raise errors of many types
        raise InputError(f"{name}: its metadata describes no model: {one_line(error)}") from None
    return ModelSource(
        name=name,
        config=config,
        stored=opened.stored,
        stored_bytes=size,
        stored_values=opened.parameters,
        file_kind="GGUF",
        notes=(f"weights in {', '.join(opened.kinds)}; they are unpacked to {opened.stored} on loading",),
    )
