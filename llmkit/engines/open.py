"""Open an engine: the one place that chooses which one runs a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.errors import OptionError

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec


def open_engine(spec: ModelSpec) -> Engine:
    """Load the model that `spec` names into the engine that runs it.

    Raises:
        InputError, LLMKitError: as `runtime.load.load`, or as `HttpEngine` if the spec names a server.
    """
    if spec.engine is not None:
        return _open_endpoint(spec)
    from llmkit.engines.transformers.engine import TransformersEngine
    from llmkit.runtime.load import load

    return TransformersEngine(load(spec))


def _open_endpoint(spec: ModelSpec) -> Engine:
    from llmkit.engines.http.engine import HttpEngine
    from llmkit.runtime.spec import ModelSpec

    plain = ModelSpec("")
    for option in ("revision", "device", "dtype", "attn", "quantize", "linear", "adapter"):
        if getattr(spec, option) != getattr(plain, option):
            raise OptionError(option, "is chosen by the server that `engine` names; leave one of them out")
    if spec.offline:
        raise OptionError("offline", "does not go with `engine`, which is asked over the network")
    return HttpEngine(spec.engine or "", spec.name, concurrency=spec.concurrency)


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
