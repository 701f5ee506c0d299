"""Describe a model from its headers: size, license, parameters, context. Nothing is loaded.

Public: `ModelFacts`, `describe`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import InputError
from llmkit.formats.safetensors import StoredTensor, read_table

_MAX_CARD = 4 << 20
_CONTEXT = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length")
_PICKLED = ("pytorch_model*.bin", "adapter_model.bin", "tf_model*.h5", "flax_model.msgpack")


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a model's folder or GGUF file; None if the files do not contain it.

    Attributes:
        folder: the folder, or the file.
        format: ``safetensors``, ``GGUF``, ``adapter``, or the name of another weight file.
        architecture: such as ``LlamaForCausalLM``, or GGUF's ``llama``.
        parameters: number of weights.
        dtype: type of most weights, such as ``BF16`` or ``Q4_K``.
        context: most tokens of its context.
        vocabulary: number of tokens.
        license: as its card says.
        base: the base model of an adapter.
        bytes: size of its files on disk.
        files: number of them.
        chat: it has a chat template.
        problem: reason why its headers cannot be read.
    """

    folder: Path
    format: str | None = None
    architecture: str | None = None
    parameters: int | None = None
    dtype: str | None = None
    context: int | None = None
    vocabulary: int | None = None
    license: str | None = None
    base: str | None = None
    bytes: int = 0
    files: int = 0
    chat: bool = False
    problem: str | None = None


def describe(folder: Path) -> ModelFacts:
    """Read the facts of a model from config.json, its card, and the headers of its weight files.

    Args:
        folder: a local folder in Hugging Face layout, or a GGUF file.
    """
    if folder.is_file():
        return _of_gguf(folder)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    facts: dict[str, Any] = {"bytes": sum(path.stat().st_size for path in paths), "files": len(paths)}
    facts["license"] = card_value(folder, "license")
    config = _json(folder / "config.json")
    text: Any = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    named = config.get("architectures")
    facts["architecture"] = str(named[0]) if isinstance(named, list) and named else config.get("model_type")
    facts["context"] = next((text[key] for key in _CONTEXT if _is_count(text.get(key))), None)
    facts["vocabulary"] = text["vocab_size"] if _is_count(text.get("vocab_size")) else None
    facts["chat"] = (folder / "chat_template.jinja").is_file() or "chat_template" in _json(
        folder / "tokenizer_config.json"
    )
    told = {key: value for key, value in _weights(folder).items() if value is not None}
    return ModelFacts(folder, **{**facts, **told})


def _weights(folder: Path) -> dict[str, Any]:
    """Return the facts in the weight files of a folder."""
    facts: dict[str, Any] = {}
    shards = sorted(folder.glob("*.safetensors"))
    whole = [path for path in shards if re.fullmatch(r"model(-\d+-of-\d+)?\.safetensors", path.name)]
    if (folder / "adapter_config.json").is_file() and not whole:
        base = _json(folder / "adapter_config.json").get("base_model_name_or_path")
        facts = {"format": "adapter", "base": base if isinstance(base, str) else None}
    if shards:
        tensors: dict[str, StoredTensor] = {}
        try:
            for path in whole or shards:
                tensors |= read_table(path, str(folder))
        except InputError as error:
            return {"format": "safetensors", **facts, "problem": str(error)}
        counts: dict[str, int] = {}
        for one in tensors.values():
            counts[one.dtype] = counts.get(one.dtype, 0) + one.values
        facts.setdefault("format", "safetensors")
        facts["parameters"] = sum(counts.values())
        facts["dtype"] = max(counts, key=lambda kind: counts[kind]) if counts else None
        return facts
    ggufs = sorted(folder.rglob("*.gguf"))
    if len(ggufs) == 1:
        return _header_of(ggufs[0])
    if ggufs:
        return {"format": "GGUF"}
    other = next((path.name for pattern in _PICKLED for path in sorted(folder.glob(pattern))), None)
    return {"format": other, **facts} if facts or other else {}


def _of_gguf(path: Path) -> ModelFacts:
    from llmkit.runtime.gguf.files import shards_of

    shards = shards_of(path.name, [other.name for other in path.parent.glob("*.gguf")])
    size = sum((path.parent / name).stat().st_size for name in shards)
    return ModelFacts(path, bytes=size, files=len(shards), **_header_of(path))


def _header_of(path: Path) -> dict[str, Any]:
    """Return the facts in the header of a GGUF file of any architecture."""
    from llmkit.formats.gguf.header import read_header

    try:
        header = read_header(path)
        counts: dict[str, int] = {}
        for info in header.tensors.values():
            counts[info.kind] = counts.get(info.kind, 0) + info.values
        architecture = header.architecture
    except InputError as error:
        return {"format": "GGUF", "problem": str(error)}
    metadata = header.metadata
    context = metadata.get(f"{architecture}.context_length")
    tokens = metadata.get("tokenizer.ggml.tokens")
    license = metadata.get("general.license")
    return {
        "format": "GGUF",
        "architecture": architecture,
        "parameters": sum(counts.values()),
        "dtype": max(counts, key=lambda kind: counts[kind]) if counts else None,
        "context": context if _is_count(context) else None,
        "vocabulary": len(tokens) if isinstance(tokens, list) else None,
        "license": license if isinstance(license, str) else None,
        "chat": "tokenizer.chat_template" in metadata,
    }


def card_value(folder: Path, key: str) -> str | None:
    """Return a value from the header of a folder's README.md, such as its license; None if it has none."""
    import yaml

    path = folder / "README.md"
    try:
        text = path.read_text(encoding="utf-8", errors="replace") if path.stat().st_size <= _MAX_CARD else ""
    except OSError:
        return None
    match = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
    if match is None:
        return None
    # A card may hold what a strict parser refuses; one line of it is enough.
    found = re.search(rf"^{key}:[ \t]*(.+)$", match[1], re.MULTILINE)
    if found is None:
        return None
    try:
        value = yaml.safe_load(found[1][:200])
    except yaml.YAMLError:
        value = found[1].strip()
    return str(value) if isinstance(value, str | int | float) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size < _MAX_CARD else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 40
