"""An index on disk: its vectors, and runs that do not save it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from llmkit.errors import InputError
from llmkit.tasks.qa.index import ContextIndex

TEXTS = ["a", "b"]


class CountingEmbedder:
    """Makes vectors, and counts the texts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.count += len(texts)
        return np.array([[1.0, float(ord(text))] for text in texts])


def embedded(folder: Path) -> tuple[np.ndarray, int]:
    """Return vectors of `TEXTS` by the index, and the number of texts that were embedded for them."""
    embed = CountingEmbedder()
    return ContextIndex(folder).embedder(embed, {"model": "x"})(TEXTS), embed.count


def test_vectors_are_kept(tmp_path: Path) -> None:
    vectors, made = embedded(tmp_path / "index")
    again, made_again = embedded(tmp_path / "index")
    assert (made, made_again) == (2, 0)
    assert vectors.tolist() == again.tolist() == [[1.0, 97.0], [1.0, 98.0]]


@pytest.mark.parametrize(
    ("vectors", "keys"),
    [
        (np.full((2, 2), np.nan, np.float32), ["own", "own"]),
        (np.ones((2, 2), np.float32), 2),
        (np.ones((2, 2), np.float32), ["own"]),
        (np.float32(1), ["own", "own"]),
        (None, None),
    ],
)
def test_damaged_vectors_are_made_again(tmp_path: Path, vectors: Any, keys: Any) -> None:
    folder = tmp_path / "index"
    right, _ = embedded(folder)
    (file,) = folder.glob("vectors-*.safetensors")
    if vectors is None:
        file.write_bytes(file.read_bytes()[:20])
    else:
        save_file({"vectors": np.asarray(vectors)}, file, metadata={"keys": json.dumps(_named(file, keys))})
    vectors, made = embedded(folder)
    assert (vectors.tolist(), made) == (right.tolist(), 2)


def test_a_run_that_does_not_save_leaves_an_index(tmp_path: Path) -> None:
    text, folder = tmp_path / "a.txt", tmp_path / "index"
    text.write_text("It was Lisbon.")
    ContextIndex(folder).document(str(text))
    index = ContextIndex(folder)
    index.document(str(text))
    index.save()
    again = ContextIndex(folder)
    again.document(str(text))
    assert (index.read, index.kept, again.read, again.kept) == (0, 1, 0, 1)
    with pytest.raises(InputError, match="other files"):
        ContextIndex(tmp_path)


def _named(file: Path, keys: Any) -> Any:
    """Return keys with those of the file in place of "own"."""
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        own = json.loads(opened.metadata()["keys"])
    return own[: len(keys)] if isinstance(keys, list) else keys
