"""An index on disk: the texts of files, and the vectors of passages, so that a folder is read once.

A file is read again if its size or its time of change differs and its SHA-256 does too. Vectors belong to the
text of a passage and to one model. Nothing in the index is code: texts are JSON, vectors are safetensors.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.records.disk import cannot_write
from llmkit.tasks.qa.documents import context_of, read_context
from llmkit.text.documents.reading.files import document_format, read_file
from llmkit.text.passages import ContextDocument

if TYPE_CHECKING:
    import numpy as np

    from llmkit.text.passages import Embed

_NAME = "index.json"
_VERSION = 1


@dataclass(frozen=True)
class _IndexEntry:
    """A file as it was when it was read: its size, its time of change, and the key of its text."""

    size: int
    changed: int
    key: str


class ContextIndex:
    """An index of files, stored in a separate folder.

    Args:
        folder: the folder; it is made if it does not exist.

    Attributes:
        read, kept: number of files that were read again, and of those taken from the index.

    Raises:
        InputError: the folder holds something else, or cannot be written.
        LLMKitError: the disk is full.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.read = self.kept = 0
        self._files: dict[str, _IndexEntry] = {}
        self._used: dict[str, _IndexEntry] = {}
        self._open()

    def _open(self) -> None:
        manifest = self.folder / _NAME
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not manifest.exists():
                if any(one != _partial(manifest) for one in self.folder.iterdir()):
                    raise InputError(f"{self.folder} contains other files; give a new folder for the index")
                self.save()  # after a kill, the folder counts as an index
            (self.folder / "texts").mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        # An index that is damaged is made again.
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            data = json.loads(manifest.read_text(encoding="utf-8"))
            if data["version"] == _VERSION:
                self._files = {name: _IndexEntry(**entry) for name, entry in data["files"].items()}

    def document(self, path: str) -> ContextDocument:
        """Return the text of a file, from the index if the file has not changed.

        Raises:
            InputError: see `read_context`.
        """
        try:
            status = os.stat(path)
        except OSError:
            return read_context(path)  # for its message
        name = str(Path(path).resolve())
        known = self._files.get(name)
        data = None
        if known is None or (known.size, known.changed) != (status.st_size, status.st_mtime_ns):
            data = read_file(path)
            key = hashlib.sha256(data).hexdigest() + f"-{document_format(path) or 'txt'}"
            known = _IndexEntry(status.st_size, status.st_mtime_ns, key)
        document = self._stored(known.key, path)
        if document is None:
            document = read_context(path) if data is None else context_of(data, path)
            self._store(known.key, document)
            self.read += 1
        else:
            self.kept += 1
        self._used[name] = known
        return document

    def _stored(self, key: str, path: str) -> ContextDocument | None:
        try:
            data = json.loads((self.folder / "texts" / f"{key}.json").read_text(encoding="utf-8"))
            places = tuple((int(offset), str(place)) for offset, place in data["places"])
            return ContextDocument(path, str(data["text"]), places)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _store(self, key: str, document: ContextDocument) -> None:
        data = {"text": document.text, "places": document.places}
        _write(self.folder / "texts" / f"{key}.json", json.dumps(data, ensure_ascii=False).encode())

    def embedder(self, embed: Embed, identity: Mapping[str, Any]) -> Embed:
        """Return `embed` with the vectors of passages kept on disk.

        Args:
            embed: returns unit vectors of texts.
            identity: the model, as JSON; another one has vectors of its own.
        """
        import numpy as np

        model = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]
        file = self.folder / f"vectors-{model}.safetensors"
        known = _load_vectors(file)

        def cached(texts: Sequence[str]) -> np.ndarray:
            if len(texts) == 1:  # a question
                return embed(texts)
            keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
            if missing:
                found = embed([*missing.values()]).astype(np.float32)
                known.update(zip(missing, found, strict=True))
            used = {key: known[key] for key in keys}
            if missing or len(used) < len(known):
                _save_vectors(file, used)
            return np.array([used[key] for key in keys], dtype=np.float64)

        return cached

    def save(self) -> None:
        """Write which files are in the index, and drop the texts of files that are gone.

        Raises:
            LLMKitError: the folder cannot be written.
        """
        files = {name: asdict(entry) for name, entry in sorted(self._used.items())}
        _write(self.folder / _NAME, json.dumps({"version": _VERSION, "files": files}, indent=1).encode())
        keys = {entry.key for entry in self._used.values()}
        for path in (self.folder / "texts").glob("*.json"):
            if path.stem not in keys:
                path.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    partial = _partial(path)
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise cannot_write(path, error) from error


def _partial(path: Path) -> Path:
    """Return the name of a file while it is written."""
    return path.with_name(f".{path.name}.partial")


def _load_vectors(path: Path) -> dict[str, np.ndarray]:
    """Read vectors by the hash of their text; a file that is missing or damaged has none."""
    import numpy as np
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            keys = json.loads((file.metadata() or {})["keys"])
            vectors = file.get_tensor("vectors")
        sound = vectors.ndim == 2 and bool(np.isfinite(vectors).all())
        return dict(zip(keys, vectors, strict=True)) if sound else {}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return {}


def _save_vectors(path: Path, vectors: Mapping[str, np.ndarray]) -> None:
    import numpy as np
    from safetensors.numpy import save

    stacked = np.array(list(vectors.values()), dtype=np.float32)
    _write(path, save({"vectors": stacked}, metadata={"keys": json.dumps(list(vectors))}))
