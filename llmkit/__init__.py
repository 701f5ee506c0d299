"""llmkit: load, use, train and evaluate the language models that you run yourself.

The names below are imported when first used, so that ``import llmkit`` costs milliseconds. So is
`llmkit.attention`, with the decorator for attention kernels.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

TYPE_CHECKING = False  # as typing has it, whose import takes longer than the rest of this file
if TYPE_CHECKING:
    from typing import Any

    from llmkit.convert.quantize import QuantizeResult as QuantizeResult
    from llmkit.convert.quantize import quantize as quantize
    from llmkit.errors import InputError as InputError
    from llmkit.errors import LLMKitError as LLMKitError
    from llmkit.errors import NoticeWarning as NoticeWarning
    from llmkit.errors import OptionError as OptionError
    from llmkit.errors import OutOfMemory as OutOfMemory
    from llmkit.errors import RowError as RowError
    from llmkit.evaluation.results import Evaluation as Evaluation
    from llmkit.evaluation.results import Score as Score
    from llmkit.evaluation.score_lists import score as score
    from llmkit.insight.bias.measure import bias as bias
    from llmkit.insight.bias.options import BiasOptions as BiasOptions
    from llmkit.insight.bias.results import BiasMeasure as BiasMeasure
    from llmkit.insight.bias.results import BiasResult as BiasResult
    from llmkit.insight.explanation.explain import explain as explain
    from llmkit.insight.explanation.options import ExplainOptions as ExplainOptions
    from llmkit.insight.explanation.result import Explanation as Explanation
    from llmkit.runtime.load import LoadedModel as LoadedModel
    from llmkit.runtime.load import load as load
    from llmkit.runtime.spec import ModelSpec as ModelSpec
    from llmkit.tasks.chat import Conversation as Conversation
    from llmkit.tasks.chat import Reply as Reply
    from llmkit.tasks.decoding import GenerationOptions as GenerationOptions
    from llmkit.tasks.embeddings.embed import EmbeddingResult as EmbeddingResult
    from llmkit.tasks.embeddings.embed import embed as embed
    from llmkit.tasks.generation import GenerationResult as GenerationResult
    from llmkit.tasks.generation import Piece as Piece
    from llmkit.tasks.generation import generate as generate
    from llmkit.tasks.generation import stream as stream
    from llmkit.tasks.infill import fill_in_middle as fill_in_middle
    from llmkit.tasks.pipeline import pipeline as pipeline
    from llmkit.tasks.qa.answer import AnswerResult as AnswerResult
    from llmkit.tasks.qa.answer import FoundAnswer as FoundAnswer
    from llmkit.tasks.qa.answer import answer as answer
    from llmkit.tasks.qa.spans import AnswerOptions as AnswerOptions
    from llmkit.tasks.summarization.extractive import SummaryLength as SummaryLength
    from llmkit.tasks.summarization.options import SummaryOptions as SummaryOptions
    from llmkit.tasks.summarization.options import SummaryResult as SummaryResult
    from llmkit.tasks.summarization.summarize import summarize as summarize
    from llmkit.tasks.translation import translate as translate
    from llmkit.tasks.translation_types import TranslationResult as TranslationResult
    from llmkit.training.finetuning.finetune import finetune as finetune
    from llmkit.training.finetuning.recipe import FinetuneRecipe as FinetuneRecipe
    from llmkit.training.finetuning.result import FinetuneResult as FinetuneResult
    from llmkit.training.merge import MergeResult as MergeResult
    from llmkit.training.merge import merge as merge
    from llmkit.training.pretraining.pretrain import pretrain as pretrain
    from llmkit.training.pretraining.recipe import PretrainRecipe as PretrainRecipe
    from llmkit.training.pretraining.result import PretrainResult as PretrainResult
    from llmkit.training.run import RunOptions as RunOptions
    from llmkit.training.run import RunProgress as RunProgress
    from llmkit.training.run import SilentProgress as SilentProgress

# Public name -> its module; the imports above are the same, for type checkers.
HOMES = {
    "AnswerOptions": "llmkit.tasks.qa.spans",
    "AnswerResult": "llmkit.tasks.qa.answer",
    "BiasMeasure": "llmkit.insight.bias.results",
    "BiasOptions": "llmkit.insight.bias.options",
    "BiasResult": "llmkit.insight.bias.results",
    "Conversation": "llmkit.tasks.chat",
    "EmbeddingResult": "llmkit.tasks.embeddings.embed",
    "Evaluation": "llmkit.evaluation.results",
    "ExplainOptions": "llmkit.insight.explanation.options",
    "Explanation": "llmkit.insight.explanation.result",
    "FinetuneRecipe": "llmkit.training.finetuning.recipe",
    "FinetuneResult": "llmkit.training.finetuning.result",
    "FoundAnswer": "llmkit.tasks.qa.answer",
    "GenerationOptions": "llmkit.tasks.decoding",
    "GenerationResult": "llmkit.tasks.generation",
    "InputError": "llmkit.errors",
    "LLMKitError": "llmkit.errors",
    "LoadedModel": "llmkit.runtime.load",
    "MergeResult": "llmkit.training.merge",
    "ModelSpec": "llmkit.runtime.spec",
    "NoticeWarning": "llmkit.errors",
    "OptionError": "llmkit.errors",
    "OutOfMemory": "llmkit.errors",
    "Piece": "llmkit.tasks.generation",
    "PretrainRecipe": "llmkit.training.pretraining.recipe",
    "PretrainResult": "llmkit.training.pretraining.result",
    "QuantizeResult": "llmkit.convert.quantize",
    "Reply": "llmkit.tasks.chat",
    "RowError": "llmkit.errors",
    "RunOptions": "llmkit.training.run",
    "RunProgress": "llmkit.training.run",
    "Score": "llmkit.evaluation.results",
    "SilentProgress": "llmkit.training.run",
    "SummaryLength": "llmkit.tasks.summarization.extractive",
    "SummaryOptions": "llmkit.tasks.summarization.options",
    "SummaryResult": "llmkit.tasks.summarization.options",
    "TranslationResult": "llmkit.tasks.translation_types",
    "answer": "llmkit.tasks.qa.answer",
    "bias": "llmkit.insight.bias.measure",
    "embed": "llmkit.tasks.embeddings.embed",
    "explain": "llmkit.insight.explanation.explain",
    "fill_in_middle": "llmkit.tasks.infill",
    "finetune": "llmkit.training.finetuning.finetune",
    "generate": "llmkit.tasks.generation",
    "load": "llmkit.runtime.load",
    "merge": "llmkit.training.merge",
    "pipeline": "llmkit.tasks.pipeline",
    "pretrain": "llmkit.training.pretraining.pretrain",
    "quantize": "llmkit.convert.quantize",
    "score": "llmkit.evaluation.score_lists",
    "stream": "llmkit.tasks.generation",
    "summarize": "llmkit.tasks.summarization.summarize",
    "translate": "llmkit.tasks.translation",
}
__all__ = sorted([*HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "attention":
        return importlib.import_module("llmkit.attention")
    if name not in HOMES:
        raise AttributeError(f"module 'llmkit' has no attribute {name!r}")
    return getattr(importlib.import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
