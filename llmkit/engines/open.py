"""Open an engine: the one place that chooses which one runs a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec


def open_engine(spec: ModelSpec) -> Engine:
    """Load the model that `spec` names into the engine that runs it.

    Raises:
        InputError, LLMKitError: as `runtime.load.load`.
    """
    from llmkit.engines.transformers.engine import TransformersEngine
    from llmkit.runtime.load import load

    return TransformersEngine(load(spec))


def as_engine(model: Engine | LoadedModel | ModelSpec | str) -> Engine:
    """Return the engine of a model: of one that is loaded, or of one that a spec or a name names.

    Raises:
        InputError, LLMKitError: as `open_engine`.
    """
    from llmkit.engines.transformers.engine import TransformersEngine
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

    if isinstance(model, str):
        return open_engine(ModelSpec(model))
    if isinstance(model, ModelSpec):
        return open_engine(model)
    return TransformersEngine(model) if isinstance(model, LoadedModel) else model
