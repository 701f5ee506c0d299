"""The pipelines that transformers 5 removed, as subclasses of its `Pipeline`: calls written for 4.57 work.

`llmkit.pipeline` builds them on a model that llmkit loaded. Importing this module also makes
``transformers.pipeline("translation_en_to_de", model=...)``, ``"summarization"``,
``"text2text-generation"`` and ``"question-answering"`` work again; ``"text-generation"`` stays as it is.
They return the results of transformers 4.57.6; tests/parity checks this.
"""

from __future__ import annotations

import warnings
from typing import Any

import transformers.pipelines
from transformers import AutoModelForQuestionAnswering, AutoModelForSeq2SeqLM

from llmkit.tasks.pipelines.seq2seq import (
    ReturnType,
    SummarizationPipeline,
    Text2TextGenerationPipeline,
    TranslationPipeline,
    languages_of,
)
from llmkit.tasks.pipelines.span import QuestionAnsweringPipeline

__all__ = [
    "PIPELINES",
    "QuestionAnsweringPipeline",
    "ReturnType",
    "SummarizationPipeline",
    "Text2TextGenerationPipeline",
    "TranslationPipeline",
]

PIPELINES: dict[str, Any] = {
    "text2text-generation": Text2TextGenerationPipeline,
    "translation": TranslationPipeline,
    "summarization": SummarizationPipeline,
    "question-answering": QuestionAnsweringPipeline,
}
_AUTO_CLASSES: dict[str, Any] = {
    **dict.fromkeys(PIPELINES, AutoModelForSeq2SeqLM),
    "question-answering": AutoModelForQuestionAnswering,
}
# Models that 4.57 loads if none is given: Hub id and revision.
_T5 = {"model": ("google-t5/t5-base", "a9723ea")}
_DEFAULTS: dict[str, dict[Any, Any]] = {
    "text2text-generation": _T5,
    "translation": {("en", "fr"): _T5, ("en", "de"): _T5, ("en", "ro"): _T5},
    "summarization": {"model": ("sshleifer/distilbart-cnn-12-6", "a4f8f3e")},
    "question-answering": {"model": ("distilbert/distilbert-base-cased-distilled-squad", "564e9b5")},
}


def _register() -> None:
    """Register the tasks that this version of transformers lacks, so that `transformers.pipeline` has them.

    5.x refuses the removed names by a private table before it reads its registry, and its registry no longer
    parses ``translation_xx_to_yy``. If a later version refuses them in another way, only
    `transformers.pipeline` fails, with a warning: `llmkit.pipeline` does not use it.
    """
    registry = transformers.pipelines.PIPELINE_REGISTRY
    missing = [task for task in PIPELINES if task not in registry.supported_tasks]
    for task in missing:
        getattr(transformers.pipelines, "REMOVED_TASKS", {}).pop(task, None)
        # Not register_pipeline(), which makes save_pretrained() copy this file next to the model.
        registry.supported_tasks[task] = {
            "impl": PIPELINES[task],
            "pt": (_AUTO_CLASSES[task],),
            "default": _DEFAULTS[task],
            "type": "text",
        }
    if "translation" in missing:
        check_task = registry.check_task

        def check_task_with_languages(task: str) -> tuple[str, dict[str, Any], Any]:
            pair = languages_of(task)
            if pair is None:
                return check_task(task)
            return "translation", registry.supported_tasks["translation"], pair

        vars(registry)["check_task"] = check_task_with_languages
    try:
        for task in [*missing, "translation_en_to_de"]:
            transformers.pipelines.check_task(task)
    except KeyError as error:
        warnings.warn(
            f"this transformers refuses the removed pipelines ({error}); use llmkit.pipeline", stacklevel=2
        )


_register()
