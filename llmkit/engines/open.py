"""Open an engine: the only place that chooses the engine of a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from llmkit.engines.choice import check_engine, is_url
from llmkit.errors import OptionError

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

AnyModel: TypeAlias = "Engine | LoadedModel | ModelSpec | str | Path"
"""A model as functions take it: an engine, loaded, or a spec, a name or a path to load."""


def open_engine(spec: ModelSpec) -> Engine:
    """Load the model of `spec` into its engine.

    Raises:
        InputError, LLMKitError: as `runtime.load.load`, or as `HttpEngine` if the spec names a server.
        OptionError: the draft model does not fit.
    """
    check_engine(spec)
    if is_url(spec.engine):
        from llmkit.engines.http.engine import HttpEngine

        return HttpEngine(spec.engine or "", spec.name, concurrency=spec.concurrency)
    if spec.engine == "ctranslate2":
        from llmkit.engines.ctranslate2.open import open_ctranslate2

        return open_ctranslate2(spec)
    if spec.engine in ("llamacpp", "openvino"):
        from llmkit.engines.worker.engine import LLAMACPP, OPENVINO
        from llmkit.engines.worker.open import open_worker

        return open_worker(spec, LLAMACPP if spec.engine == "llamacpp" else OPENVINO)
    if spec.engine == "vllm":
        from llmkit.engines.worker.vllm import open_vllm

        return open_vllm(spec)
    from llmkit.engines.transformers.engine import TransformersEngine
    from llmkit.runtime.load import load

    loaded = load(replace(spec, draft=None))
    return TransformersEngine(loaded, None if spec.draft is None else load(draft_spec(spec)))


def draft_spec(spec: ModelSpec) -> ModelSpec:
    """Return the request for the draft model that `spec` names.

    It runs on the same device, with the same permissions, in the best precision for it.

    Raises:
        OptionError: the name is empty.
    """
    from llmkit.runtime.spec import ModelSpec

    if not spec.draft:
        raise OptionError("draft", "is empty: give a Hub id, a folder, or an embedded model")
    return ModelSpec(
        spec.draft,
        device=spec.device,
        trust_remote_code=spec.trust_remote_code,
        allow_bin=spec.allow_bin,
        offline=spec.offline,
        cache_dir=spec.cache_dir,
    )


def as_engine(model: AnyModel) -> Engine:
    """Return the engine of a model, which is loaded, or given by a spec, a name or a path.

    Raises:
        InputError, LLMKitError: as `open_engine`.
        TypeError: it is none of these.
    """
    from llmkit.engines.transformers.engine import TransformersEngine
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

    if isinstance(model, str | Path):
        return open_engine(ModelSpec(str(model)))
    if isinstance(model, ModelSpec):
        return open_engine(model)
    if isinstance(model, LoadedModel):
        return TransformersEngine(model)
    if not hasattr(model, "defaults"):
        kinds = "a name, a path, a ModelSpec, a loaded model or an engine"
        raise TypeError(f"the model must be {kinds}, not {type(model).__name__}")
    return model
