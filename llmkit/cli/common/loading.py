"""Load a model for a verb: fast, and with the choices reported under `-v`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmkit.cli.common import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmkit.engines.base import Engine
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec


@contextmanager
def quick_imports() -> Iterator[None]:
    """Collect no garbage while thousands of modules' objects appear, none of which is garbage.

    It saves about a fifth of the time that importing torch and a model's code takes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # what was imported stays; no later collection need look at it again
        gc.enable()


def load_model(spec: ModelSpec) -> LoadedModel:
    """Load a model for its logits or embeddings, and report its notes under `-v`."""
    with quick_imports():
        from llmkit.runtime.load import load

        loaded = load(spec)
    _report(loaded.notes, spec)
    return loaded


def open_engine(spec: ModelSpec) -> Engine:
    """Open a model that generates text, and report its notes under `-v`."""
    with quick_imports():
        from llmkit.engines.open import open_engine as open_

        engine = open_(spec)
    _report(engine.notes, spec)
    return engine


def _report(notes: Sequence[str], spec: ModelSpec) -> None:
    for note in notes:
        console.detail(note)
    if spec.attn == "cpu":
        from llmkit.attention.cpu import available

        available()  # gives a notice if the kernel is not
