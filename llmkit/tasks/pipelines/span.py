"""The extractive question-answering pipeline, as transformers had it up to 4.57, over `SpanReader`."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable
from typing import Any

import transformers
from torch.utils.data import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llmkit.errors import InputError
from llmkit.tasks.pipelines.seq2seq import check_framework
from llmkit.tasks.qa.reader import EncodedContext, SpanReader
from llmkit.tasks.qa.spans import AnswerOptions

# Its hooks have narrower types than transformers' own subclasses use.
_Pipeline: Any = transformers.Pipeline

_INPUTS = ("question", "context", "X", "data")


class QuestionAnsweringPipeline(_Pipeline):
    """Answers to questions, as spans of a context.

    Args:
        model: a model for extractive question answering.
        tokenizer: its tokenizer, with character offsets.
        task: name of the pipeline in the call.
        framework, modelcard: accepted because 4.57 took them; there is PyTorch only.
        options: arguments of a call, or arguments of `transformers.Pipeline`.

    Raises:
        InputError: a model of another kind, or another framework.
    """

    _load_tokenizer = True
    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    default_input_names = "question,context"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        task: str = "",
        framework: str | None = "pt",
        modelcard: Any = None,
        **options: Any,
    ) -> None:
        check_framework(framework)
        wrapped = getattr(model, "get_base_model", None)
        kind = type(wrapped() if wrapped else model).__name__
        if "ForQuestionAnswering" not in kind:
            raise InputError(f"{kind} is not a model for extractive question answering")
        super().__init__(model=model, tokenizer=tokenizer, task=task, **options)
        self._context: EncodedContext | None = None

    @staticmethod
    def create_sample(question: str | list[str], context: str | list[str]) -> Any:
        """Return a question with its context as one input of a call; for two lists a list of inputs."""
        if isinstance(question, list):
            return [{"question": q, "context": c} for q, c in zip(question, context, strict=True)]
        return {"question": question, "context": context}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answer questions.

        Args:
            args: a dict with ``question`` and ``context``, several or a list of them, a question and a
                context, or a dataset or generator of dicts.
            kwargs: instead of args ``question`` and ``context``, each a text or a list of texts, where many
                questions may share one context. ``top_k``, ``doc_stride`` (tokens that neighbouring windows
                share), ``max_seq_len`` (tokens in a window), ``max_answer_len`` (tokens),
                ``handle_impossible_answer``, ``align_to_words``, ``batch_size``. ``padding`` and
                ``max_question_len`` are accepted; they do not change an answer.

        Returns:
            For one question a dict of ``score``, ``start``, ``end`` and ``answer``, or with `top_k` above 1 a
            list of such dicts, the most likely first; for several questions a list of these. A score is the
            probability of the span; equal texts add theirs up.

        Raises:
            ValueError, KeyError: no question, no context, or an argument out of its range.
            InputError: a context without a token in it, or a question that fills the model's window.
        """
        examples = _examples(args, kwargs)
        options = {name: value for name, value in kwargs.items() if name not in _INPUTS}
        if isinstance(examples, list):
            if not examples:
                return []
            if len(examples) == 1:
                examples = examples[0]
        return super().__call__(examples, **options)

    def _sanitize_parameters(
        self,
        padding: Any = None,
        topk: int | None = None,
        top_k: int | None = None,
        doc_stride: int | None = None,
        max_answer_len: int | None = None,
        max_seq_len: int | None = None,
        max_question_len: int | None = None,
        handle_impossible_answer: bool | None = None,
        align_to_words: bool | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            warnings.warn(f"question-answering has no argument {', '.join(unknown)}; ignored", stacklevel=4)
        top_k = topk if top_k is None else top_k
        for name, value in (("top_k", top_k), ("max_answer_len", max_answer_len)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        parameters = {
            "top_k": top_k,
            "doc_stride": doc_stride,
            "max_answer_tokens": max_answer_len,
            "window": max_seq_len,
            "no_answer": handle_impossible_answer,
            "align_to_words": align_to_words,
        }
        return {name: value for name, value in parameters.items() if value is not None}, {}, {}

    def preprocess(self, example: dict[str, str], **options: Any) -> dict[str, Any]:
        answer_options = AnswerOptions(**options, transformers_4=True)
        overlap, window = answer_options.doc_stride, answer_options.window
        if overlap is not None and window is not None and overlap > window:
            raise ValueError(f"doc_stride {overlap} is larger than max_seq_len {window}")
        reader = SpanReader(self.model, self.tokenizer, answer_options)
        if self._context is None or self._context.text != example["context"]:
            self._context = reader.encode_context(example["context"])
        question = reader.encode_question(example["question"])
        return {"reader": reader, "reading": reader.reading(question, [self._context])}

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:
        reader, reading = model_inputs["reader"], model_inputs["reading"]
        if isinstance(reading, list):
            return {"answers": reader[0].answer(reading)}
        return {"answers": reader.answer([reading])[0]}

    def postprocess(self, model_outputs: dict[str, Any]) -> Any:
        best = [
            {"score": one.score, "start": one.start, "end": one.end, "answer": one.answer}
            for one in model_outputs["answers"].best
        ]
        return best[0] if len(best) == 1 else best


def _examples(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the inputs of a call: a dataset or generator as it is, everything else as a list of dicts."""
    if args:
        inputs = args[0] if len(args) == 1 else list(args)
        if len(args) == 2 and all(isinstance(text, str) for text in args):
            inputs = {"question": args[0], "context": args[1]}
    elif "X" in kwargs or "data" in kwargs:
        inputs = kwargs.get("X", kwargs.get("data"))
    else:
        inputs = _paired(kwargs.get("question"), kwargs.get("context"))
    if isinstance(inputs, types.GeneratorType | Dataset):
        return inputs
    if isinstance(inputs, dict):
        inputs = [inputs]
    if isinstance(inputs, str) or not isinstance(inputs, Iterable):
        raise ValueError("give question=... and context=..., or dicts with these keys")
    return [_checked(example) for example in inputs]


def _paired(question: Any, context: Any) -> list[dict[str, Any]]:
    if isinstance(question, list) and isinstance(context, list):
        if len(question) != len(context):
            raise ValueError(f"{len(question)} questions for {len(context)} contexts")
        return [{"question": q, "context": c} for q, c in zip(question, context, strict=True)]
    questions = question if isinstance(question, list) else [question]
    return [{"question": q, "context": context} for q in questions]


def _checked(example: Any) -> dict[str, str]:
    if not isinstance(example, dict):
        raise ValueError(f"an input is a dict with question and context, not {type(example).__name__}")
    for name in ("question", "context"):
        if name not in example:
            raise KeyError(f"an input is a dict with question and context; this one has no {name}")
        if not isinstance(example[name], str) or not example[name]:
            raise ValueError(f"{name} must be a text that is not empty, not {example[name]!r}")
    return example
