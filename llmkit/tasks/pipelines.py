"""The library's door to all tasks: `llmkit.pipeline(task, model)` gives a transformers Pipeline.

The model comes from `runtime.load`, with its device placement, precision, attention and adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError

if TYPE_CHECKING:
    from transformers import Pipeline

    from llmkit.runtime.load import LoadedModel

# The default model of each task, by its name in the box.
_DEFAULTS = {"text-generation": "stories"}


def pipeline(task: str, model: str | LoadedModel | None = None, **options: Any) -> Pipeline:
    """A transformers pipeline on a model that llmkit loaded.

    Args:
        task: ``text-generation``.
        model: a loaded model, a name, or None for the task's embedded model.
        options: further fields of `ModelSpec`, such as ``device="cpu"`` or ``adapter=...``.

    Raises:
        InputError: unknown task or model, or a model of another kind.
    """
    if task not in _DEFAULTS:
        raise InputError(f"no pipeline for task {task!r}; there is {', '.join(_DEFAULTS)}")
    from transformers import pipeline as transformers_pipeline

    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    if model is None or isinstance(model, str):
        model = load(ModelSpec(model or _DEFAULTS[task], task=task, **options))
    elif options:
        raise InputError(f"the model is loaded already; {', '.join(options)} cannot change it")
    if model.is_encoder_decoder:
        raise InputError(f"{model.spec.name} is an encoder-decoder model; use llmkit.generate")
    make: Any = transformers_pipeline  # its overloads name each task as a literal
    return make(task, model=model.model, tokenizer=model.tokenizer)
