"""Read from a model's config.json, before loading, for which task it was made.

Public: `is_extractive_qa`, `is_masked_lm`, `saved_architecture`.
"""

from __future__ import annotations

from dataclasses import replace

from llmkit.runtime.checkpoint import adapter_base, adapter_task, architectures
from llmkit.runtime.locate import locate
from llmkit.runtime.spec import ModelSpec


def is_extractive_qa(spec: ModelSpec) -> bool:
    """Return True if the model is made for extractive question answering, or if its config.json does not say.

    Raises:
        InputError, LLMKitError: as `load`.
    """
    named = saved_architecture(spec)
    return not named or any("ForQuestionAnswering" in name for name in named)


def is_masked_lm(spec: ModelSpec) -> bool:
    """Return True if the model is a masked language model.

    Raises:
        InputError, LLMKitError: as `load`.
    """
    return any(name.endswith("ForMaskedLM") for name in saved_architecture(spec))


def saved_architecture(spec: ModelSpec) -> list[str]:
    """Return the classes that config.json names; empty if it names none.

    Raises:
        InputError, LLMKitError: as `load`.
    """
    folder = locate(spec.name, spec).folder
    base = adapter_base(folder)
    if base is not None and adapter_task(folder) == "QUESTION_ANS":
        return ["ForQuestionAnswering"]
    return architectures(folder if base is None else locate(base, replace(spec, revision=None)).folder)
