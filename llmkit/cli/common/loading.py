"""Load a model for a verb: fast, and with the choices told under `-v`."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmkit.cli.common import console, signals

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec


@contextmanager
def quick_imports() -> Iterator[None]:
    """No garbage collection while thousands of modules' objects appear, none of which is garbage.

    It saves about a fifth of the time that importing torch and a model's code takes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # what was imported stays; no later collection need look at it again
        gc.enable()


def load_model(spec: ModelSpec) -> LoadedModel:
    """`runtime.load`, and its notes under `-v`."""
    with quick_imports():
        # Until these are in, a signal ends the process at once: see `signals`.
        importlib.import_module("torch")
        importlib.import_module("transformers")
        from llmkit.runtime.load import load

        signals.unwind()
        loaded = load(spec)
        signals.check()
    for note in loaded.notes:
        console.detail(note)
    if spec.attn == "cpu":
        from llmkit.attention.cpu import available

        available()  # it tells, if it is not
    return loaded
