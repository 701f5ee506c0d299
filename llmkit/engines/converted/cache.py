"""Convert a model for another program once, and keep the result in llmkit's cache.

An entry's name depends on everything that determines its content: the model's commit (or the fingerprints and
times of a local folder), an adapter's, the format, the type of the weights, and the versions of the
converters. `convert` writes it next to its final path, checks its answers, and renames it. So an existing
entry is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError, NoticeWarning, OptionError, one_line
from llmkit.records.disk import cannot_write
from llmkit.user_folder import cache_folder

if TYPE_CHECKING:
    from llmkit.convert.result import ConvertResult
    from llmkit.runtime.load import LoadedModel

_BOUND = 1.0
"""Maximum relative difference: low-bit weights change answers, and a wrong layout gives about 1.4."""
# Parts of a source's identity that affect a conversion.
_SOURCE = ("model", "revision", "weights", "adapter", "llmkit", "transformers")


@dataclass(frozen=True)
class ConvertedModel:
    """A model in another program's format, in the cache.

    Attributes:
        path: its folder, or its GGUF file.
        kind: type of its weights, such as ``float32`` or ``Q8_0``.
        new: True if this call converted it.
        notes: distance of its answers from the source's, one sentence per reader.
    """

    path: Path
    kind: str
    new: bool
    notes: tuple[str, ...]


def converted_model(
    outline: LoadedModel, to: str, kind: str, *, versions: Sequence[str], reader_python: str | None = None
) -> ConvertedModel:
    """Return a model in another format: from the cache, or converted now, with a notice.

    Args:
        outline: the model, from `load_outline`.
        to: ``ctranslate2`` or ``gguf``.
        kind: type of the weights, as `convert` names it.
        versions: versions of the programs that convert and read it.
        reader_python: a Python that has the independent reader.

    Raises:
        InputError: the format does not support the model, or the cache cannot be written.
        LLMKitError: the disk is full, or its answers differ too much from the source's.
    """
    from llmkit.convert.conversion import convert
    from llmkit.convert.output import proof_of

    path = place_of(outline, to, kind, versions)
    proof = proof_of(path) if to == "gguf" else path / "proof.json"
    if os.path.exists(path) and os.path.isfile(proof):  # False too if the user has no permission to look
        return ConvertedModel(path, kind, False, _notes(_read(proof)))
    name = outline.spec.name
    warnings.warn(f"converting {name} for this engine, once, to {path}", NoticeWarning, stacklevel=2)
    spec = replace(outline.spec, engine=None, engine_python=None, quantize=None, dtype="auto", device="cpu")
    type_option = {"gguf_type": kind} if to == "gguf" else {"dtype": kind}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        result = convert(
            spec, to, path, bound=_BOUND, accept_other_texts=True, reader_python=reader_python,
            **type_option,  # type: ignore[arg-type]
        )  # fmt: skip
    except OSError as error:
        raise cannot_write(path.parent, error, advice=_MOVES) from error
    except OptionError as error:
        if error.option != "output":
            raise
        raise InputError(f"the converted model cannot be stored: {error.reason}; {_MOVES}") from error
    for sentence in differences(result):
        warnings.warn(sentence, NoticeWarning, stacklevel=2)
    return ConvertedModel(path, kind, True, _notes(_read(proof)))


_MOVES = "the variable XDG_CACHE_HOME names another cache"


def differences(result: ConvertResult) -> list[str]:
    """Return a sentence for each reader whose greedy texts differ from the source's."""
    found = []
    for check in result.checks:
        if check.same_greedy is None or check.same_greedy == check.texts:
            continue
        other = check.texts - check.same_greedy
        why = f"the first: {check.differs}" if check.differs else "all where two tokens are nearly equal"
        found.append(f"{other} of {check.texts} texts differ from those of transformers, {why}")
    return found


def place_of(outline: LoadedModel, to: str, kind: str, versions: Sequence[str]) -> Path:
    """Return the path of a conversion in the cache."""
    identity = outline.identity()
    key = {**{name: identity[name] for name in _SOURCE}, "to": to, "kind": kind, "versions": list(versions)}
    if identity["revision"] == "local":
        key["model"] = None  # a folder that was moved is the same model
    # Fingerprints cover both ends of a file; its modification time shows a change in the middle.
    key["times"] = [*_times(outline.folder), *(_times(outline.adapter) if outline.adapter else [])]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    name = re.sub(r"[^\w.-]+", "-", Path(outline.spec.name).name)[:60] or "model"
    folder = cache_folder("engines") / f"{name}-{digest}"
    return folder / f"{kind}.gguf" if to == "gguf" else folder / kind


def _times(place: Path) -> list[int]:
    """Return the modification times of a folder's weights, or of a file, in nanoseconds."""
    if place.is_file():
        return [place.stat().st_mtime_ns]
    files = sorted(file for suffix in ("safetensors", "bin") for file in place.glob(f"*.{suffix}"))
    return [file.stat().st_mtime_ns for file in files]


def _read(proof: Path) -> dict[str, Any]:
    try:
        found = json.loads(proof.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LLMKitError(
            f"{proof} cannot be read: {one_line(error)}; remove {proof.parent}, and it is converted again"
        ) from error
    return found if isinstance(found, dict) else {}


def _notes(proof: dict[str, Any]) -> tuple[str, ...]:
    """Return the results in a proof, one sentence per reader."""
    found = []
    for check in proof.get("checks") or ():
        sentence = f"converted; {check['reader']}: relative difference {check['relative_difference']:.2g}"
        if check.get("same_greedy") is not None:
            sentence += f", the same greedy text for {check['same_greedy']} of {check['texts']}"
        found.append(sentence)
    return tuple(found)
