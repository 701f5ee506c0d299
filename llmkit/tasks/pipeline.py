"""Build transformers Pipelines: `llmkit.pipeline(task, model)`.

`runtime.load` loads the model, with its device placement, precision, attention and adapter. The pipeline's
class is from transformers, or from `llmkit.tasks.pipelines` for a task that transformers 5 removed.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.models.bundled import DEFAULTS

if TYPE_CHECKING:
    from transformers import Pipeline

    from llmkit.runtime.load import LoadedModel

# Task of a pipeline -> task of its model in `ModelSpec`.
_LOADED_FOR = {
    "text-generation": "text-generation",
    "text2text-generation": "text2text-generation",
    "translation": "text2text-generation",
    "summarization": "text2text-generation",
    "question-answering": "question-answering",
}
# Task -> name of its embedded model.
_DEFAULTS = {
    "text-generation": DEFAULTS["generate"],
    "translation": DEFAULTS["translate"],
    "question-answering": DEFAULTS["qa"],
}


def pipeline(task: str, model: str | LoadedModel | None = None, **options: Any) -> Pipeline:
    """Return a transformers pipeline on a model that llmkit loaded.

    Args:
        task: ``text-generation``, ``text2text-generation``, ``translation``, ``translation_xx_to_yy``,
            ``summarization`` or ``question-answering``.
        model: a loaded model, a name, or None for the task's embedded model (text-generation, translation and
            question-answering have one).
        options: fields of `ModelSpec`, such as ``device="cpu"`` or ``adapter=...``; the rest are the
            pipeline's own arguments, such as ``batch_size=8``, ``tgt_lang="de"`` or ``num_beams=1``.

    Raises:
        InputError: unknown task or model, or a model of another kind.
    """
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    kind = "translation" if re.fullmatch(r"translation_[^_]+_to_[^_]+", task) else task
    if kind not in _LOADED_FOR:
        raise InputError(
            f"no pipeline for task {task!r}; there is {', '.join(_LOADED_FOR)} and translation_xx_to_yy"
        )
    names = {field.name for field in fields(ModelSpec)} - {"name", "task"}
    of_model = {name: options.pop(name) for name in names & options.keys()}
    if model is None or isinstance(model, str):
        name = model or _DEFAULTS.get(kind)
        if name is None:
            raise InputError(
                f"pipeline({task!r}) needs a model: a Hub id or a folder (`llmkit models` suggests some)"
            )
        model = load(ModelSpec(name, task=_LOADED_FOR[kind], **{"bundled": model is None, **of_model}))
    elif of_model:
        raise InputError(f"the model is loaded already; {', '.join(sorted(of_model))} cannot change it")
    if kind == "text-generation" and model.is_encoder_decoder:
        raise InputError(
            f"{model.spec.name} is an encoder-decoder model; use the text2text-generation, translation or"
            " summarization pipeline"
        )
    if getattr(model.model, "hf_device_map", None) is None:
        options["device"] = model.device
    return _pipeline_class(kind)(model=model.model, tokenizer=model.tokenizer, task=task, **options)


def _pipeline_class(kind: str) -> Any:
    if kind == "text-generation":
        from transformers import TextGenerationPipeline

        return TextGenerationPipeline
    from llmkit.tasks import pipelines

    return pipelines.PIPELINES[kind]
