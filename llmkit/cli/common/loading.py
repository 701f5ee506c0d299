"""Load a model for a verb, fast, and report the automatic choices under `-v`."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmkit.cli.common import console, progress, signals
from llmkit.engines.choice import is_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmkit.cluster.options import ClusterOptions
    from llmkit.engines.base import Engine
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec


@contextmanager
def quick_imports() -> Iterator[None]:
    """Pause garbage collection during imports, which create thousands of objects and no garbage.

    It saves about a fifth of the time that importing torch and a model's code takes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # imported objects stay for the whole process, so later collections can skip them
        gc.enable()


def load_model(spec: ModelSpec) -> LoadedModel:
    """Load a model for its logits or embeddings, and report its notes under `-v`."""
    with progress.waiting(f"loading {spec.name}"), quick_imports():
        _import_libraries(spec)
        from llmkit.runtime.load import load

        loaded = load(spec)
        signals.check()
    _report(loaded.notes, spec)
    return loaded


def open_engine(spec: ModelSpec, cluster: ClusterOptions | None = None) -> Engine:
    """Open a model that generates text, here or on a cluster, and report its notes under `-v`."""
    with progress.waiting(f"loading {spec.name}"), quick_imports():
        if is_url(spec.engine):
            signals.unwind()
        else:
            _import_libraries(spec)
        engine: Engine
        if cluster is not None:
            from llmkit.cluster.open import open_cluster_engine

            engine = open_cluster_engine(spec, cluster, notice=console.notice)
        else:
            from llmkit.engines.open import open_engine as open_

            engine = open_(spec)
        signals.check()
    _report(engine.notes, spec)
    return engine


def _import_libraries(spec: ModelSpec) -> None:
    """Import the large libraries; until they are in, a signal ends the process at once (see `signals`)."""
    if signals.owns_process() and not spec.trust_remote_code:  # a model's own code may want any part of them
        from llmkit.lean_imports import import_lean, import_torch

        import_torch()
        importlib.import_module("transformers")
        import_lean()
    importlib.import_module("transformers")
    signals.unwind()


def _report(notes: Sequence[str], spec: ModelSpec) -> None:
    for note in notes:
        console.detail(note)
    if spec.attn == "cpu":
        from llmkit.attention.cpu import available

        available()  # gives a notice if the kernel is not verified
