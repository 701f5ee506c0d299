"""A small corpus with something to learn in it, made by a fixed rule."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _fast_garbage_collection(frozen_imports: None) -> None:
    """All tests of training use `frozen_imports`."""


@pytest.fixture(scope="session")
def stories() -> list[str]:
    pick = random.Random(7)
    names, things, places = ["Lily", "Tom", "Sara", "Ben"], ["ball", "kite", "cake", "boat"], ["park", "lake"]
    return [
        f"Once upon a time, {pick.choice(names)} had a {pick.choice(things)}, number {i}. "
        f"They took it to the {pick.choice(places)}.\nThe {pick.choice(things)} was very big!"
        for i in range(60)
    ]


@pytest.fixture
def write_corpus(tmp_path: Path) -> Callable[..., Path]:
    """Write documents to a file in tmp_path, `<|endoftext|>` between them."""

    def write(documents: list[str], name: str = "corpus.txt") -> Path:
        file = tmp_path / name
        file.write_text("\n<|endoftext|>\n".join(documents), encoding="utf-8")
        return file

    return write
