"""Extractive question answering: find the span of a context that answers a question.

The context may have any length: it is tokenized once for all questions, and read in overlapping windows.
The score of a span is P(start) * P(end), each a softmax over the window's context tokens and its [CLS]
token, which stands for "no answer" (Devlin et al., BERT, 2019, section 4.3,
https://arxiv.org/abs/1810.04805). The question-answering pipeline of transformers up to 5.2 did the same;
`transformers_4` reproduces its results in every detail.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, OutOfMemory
from llmkit.runtime.memory import is_out_of_memory
from llmkit.tasks.qa.spans import (
    AnswerOptions,
    Answers,
    SpanAnswer,
    best_spans,
    pool_answers,
    probabilities,
    tidy,
)
from llmkit.text.overlap import shared_marks
from llmkit.text.windows import overlapping_windows
from llmkit.text.words import is_unspaced

if TYPE_CHECKING:
    import numpy as np
    import torch

# Padded tokens in one forward pass: enough to keep the device busy.
_CPU_TOKENS = 8192
_GPU_TOKENS = 65_536
_SMALLEST_ROOM = 8
# Maximum tokens of an answer, as in the question-answering pipeline of transformers 4.
_LONGEST_ANSWER = 15


@dataclass(frozen=True)
class EncodedContext:
    """A text as tokens: arrays `ids` [n], `offsets` [n, 2] in characters, `words` [n] (-1: in no word)."""

    text: str
    ids: np.ndarray
    offsets: np.ndarray
    words: np.ndarray


@dataclass(frozen=True)
class EncodedQuestion:
    """Token ids before and after a window of the context, as the tokenizer joins pairs.

    Attributes:
        ids, types: token ids and token type ids of both parts.
        head: number of them before the context.
        context_type: token type of the context.
        no_answer: index in `ids` of the token that stands for "no answer"; None if there is none.
        text: the question.
    """

    ids: list[int]
    types: list[int]
    head: int
    context_type: int
    no_answer: int | None
    text: str


@dataclass(frozen=True)
class Reading:
    """A question with the windows in which its answer is searched.

    Attributes:
        question: the question.
        contexts: the texts.
        windows: (index of the context, first token, end token) of each window; the end is exclusive.
        types: token types of each context, as long as its ids.
    """

    question: EncodedQuestion
    contexts: Sequence[EncodedContext]
    windows: list[tuple[int, int, int]]
    types: Sequence[np.ndarray]

    @property
    def tokens(self) -> int:
        """Return the number of tokens that the model reads in all windows."""
        return sum(self.size(window) for window in self.windows)

    def size(self, window: tuple[int, int, int]) -> int:
        """Return the number of tokens that the model reads in one window."""
        return len(self.question.ids) + window[2] - window[1]


class SpanReader:
    """Answers questions with an extractive model.

    Args:
        model: a transformers model for question answering.
        tokenizer: its tokenizer, with character offsets.
        options: see `AnswerOptions`.
        device: device of the inputs; None takes the model's.

    Attributes:
        window: tokens of a window, question included.
        longest: maximum tokens of an answer.
        tokens_at_once: padded tokens in one forward pass.

    Raises:
        InputError: the tokenizer has no offsets.
        OptionError: the window is larger than the model allows.
    """

    def __init__(
        self, model: Any, tokenizer: Any, options: AnswerOptions, device: torch.device | None = None
    ) -> None:
        if not tokenizer.is_fast:
            raise InputError(
                f"{type(tokenizer).__name__} does not give the characters of a token; use a model with a"
                " tokenizer.json"
            )
        self.model = model
        self.tokenizer = tokenizer
        self.options = options
        self.device = model.device if device is None else device
        self.window = _window(model, tokenizer, options)
        self.longest = _longest(model, options)
        self.tokens_at_once = _GPU_TOKENS if self.device.type == "cuda" else _CPU_TOKENS
        self._shared = getattr(model.config, "shared_words_type", None)
        self._question_first = tokenizer.padding_side == "right"
        peft = getattr(model, "get_base_model", None)
        self._parameters = inspect.signature((peft() if peft else model).forward).parameters

    def encode_context(self, text: str) -> EncodedContext:
        """Tokenize a full text."""
        import numpy as np

        (encoding,) = self.tokenizer([text], add_special_tokens=False, verbose=False).encodings
        words = [-1 if word is None else word for word in encoding.word_ids]
        return EncodedContext(
            text,
            np.asarray(encoding.ids, dtype=np.int32),
            np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2),
            np.asarray(words, dtype=np.int32),
        )

    def encode_question(self, text: str) -> EncodedQuestion:
        """Tokenize a question.

        Raises:
            InputError: the question has no token.
        """
        # The question serves as the context too: the pair shows the tokens that the tokenizer adds.
        (pair,) = self.tokenizer([text], [text], verbose=False).encodings
        side = 1 if self._question_first else 0
        sides = pair.sequence_ids
        if side not in sides:
            raise InputError("the question is empty")
        begin, end = sides.index(side), len(sides) - sides[::-1].index(side)
        ids = pair.ids[:begin] + pair.ids[end:]
        mark = self.tokenizer.cls_token_id
        return EncodedQuestion(
            ids=ids,
            types=pair.type_ids[:begin] + pair.type_ids[end:],
            head=begin,
            context_type=pair.type_ids[begin],
            no_answer=ids.index(mark) if mark is not None and mark in ids else None,
            text=text,
        )

    def reading(self, question: EncodedQuestion, contexts: Sequence[EncodedContext]) -> Reading:
        """Divide the contexts into windows.

        Raises:
            InputError: the question leaves no room for a context, or the contexts are empty.
        """
        room = self.window - len(question.ids)
        longest = max(len(context.ids) for context in contexts)
        if room < min(_SMALLEST_ROOM, longest):
            raise InputError(
                f"the question takes {len(question.ids)} of the {self.window} tokens that the model sees"
                " at a time, which leaves no room for the context; shorten it"
            )
        if not longest:
            raise InputError("the context is empty")
        overlap = self.options.doc_stride
        if overlap is None:
            overlap = min(self.window // 2, 128)
        if overlap >= room:
            overlap = room // 2
        windows = [
            (i, start, stop)
            for i, context in enumerate(contexts)
            for start, stop in overlapping_windows(len(context.ids), room, overlap)
        ]
        return Reading(question, contexts, windows, [self._types(question, one) for one in contexts])

    def answer(
        self, readings: Sequence[Reading], progress: Callable[[int, int], None] | None = None
    ) -> list[Answers]:
        """Answer questions; windows of different questions share batches.

        Args:
            readings: the questions.
            progress: called after each forward pass with the number of finished windows and of all windows.

        Raises:
            OutOfMemory: the device has no room for several readings at once, or for one window.
        """
        found: list[dict[int, tuple[list[SpanAnswer], float]]] = [{} for _ in readings]

        def size(place: tuple[int, int]) -> int:
            """Return the number of tokens of window j of reading i."""
            i, j = place
            return readings[i].size(readings[i].windows[j])

        waiting = [(i, j) for i, reading in enumerate(readings) for j in range(len(reading.windows))]
        waiting.sort(key=size, reverse=True)  # stable: windows of equal size stay in order
        tokens = self.tokens_at_once
        done = 0
        while waiting:
            longest = size(waiting[0])
            batch = waiting[: max(tokens // longest, 1)]
            try:
                logits = self._logits([(readings[i], readings[i].windows[j]) for i, j in batch], longest)
            except OutOfMemory:
                # With several readings the caller halves the batch, and records it for a resumed run.
                if len(readings) > 1 or len(batch) == 1:
                    raise
                tokens = len(batch) * longest // 2
                continue
            for (i, j), start, end in zip(batch, *logits, strict=True):
                found[i][j] = self._spans(readings[i], readings[i].windows[j], start, end)
            del waiting[: len(batch)]
            done += len(batch)
            if progress is not None:
                progress(done, done + len(waiting))
        return [pool_answers([one[j] for j in sorted(one)], self.options) for one in found]

    def _types(self, question: EncodedQuestion, context: EncodedContext) -> np.ndarray:
        """Return token types of a context.

        For a model trained with `shared_words_type`, the words that the question shares have that type.
        """
        import numpy as np

        types = np.full(len(context.ids), question.context_type, dtype=np.int64)
        if self._shared is not None:
            types[shared_marks(question.text, context.text, context.offsets[:, 1])] = self._shared
        return types

    def _logits(
        self, batch: list[tuple[Reading, tuple[int, int, int]]], longest: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return start and end logits, each [windows, longest] in float32."""
        import numpy as np
        import torch

        ids = np.full((len(batch), longest), self.tokenizer.pad_token_id or 0, dtype=np.int64)
        mask = np.zeros_like(ids)
        types = np.zeros_like(ids)
        for i, (reading, (context, start, stop)) in enumerate(batch):
            question, size = reading.question, reading.size((context, start, stop))
            head, tail = question.head, size - len(question.ids) + question.head
            ids[i, :head], ids[i, tail:size] = question.ids[:head], question.ids[head:]
            types[i, :head], types[i, tail:size] = question.types[:head], question.types[head:]
            ids[i, head:tail] = reading.contexts[context].ids[start:stop]
            types[i, head:tail] = reading.types[context][start:stop]
            mask[i, :size] = 1
        named = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        inputs: dict[str, Any] = {
            name: torch.from_numpy(named[name]).to(self.device)
            for name in self.tokenizer.model_input_names
            if name in named and name in self._parameters
        }
        if "use_cache" in self._parameters:
            inputs["use_cache"] = False
        try:
            with torch.inference_mode():
                output = self.model(**inputs)
                return output.start_logits.float().cpu().numpy(), output.end_logits.float().cpu().numpy()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(f"{len(batch)} windows of {longest} tokens do not fit into memory") from error

    def _spans(
        self, reading: Reading, window: tuple[int, int, int], start: np.ndarray, end: np.ndarray
    ) -> tuple[list[SpanAnswer], float]:
        """Return the best spans of one window, and the probability that it has no answer."""
        which, first, stop = window
        question, context = reading.question, reading.contexts[which]
        head, length = question.head, stop - first
        # The token for "no answer" is in the question's ids; those after the context are moved by its length.
        mark = question.no_answer
        if mark is not None and mark >= head:
            mark += length
        inside = slice(head, head + length)
        starts, no_start = probabilities(start[inside], None if mark is None else start[mark])
        ends, no_end = probabilities(end[inside], None if mark is None else end[mark])
        # Take more than wanted: several spans can become one when they grow to complete words.
        count = self.options.top_k * 2 + 10 if self.options.align_to_words else self.options.top_k
        spans = []
        for s, e, score in best_spans(starts, ends, count, self.longest):
            a, b = self._characters(context, first + s, first + e, first, stop)
            spans.append(SpanAnswer(context.text[a:b], score, a, b, which))
        return spans, no_start * no_end

    def _characters(
        self, context: EncodedContext, first: int, last: int, start: int, stop: int
    ) -> tuple[int, int]:
        """Return the characters of tokens `first` to `last`, in the window from `start` to `stop`."""
        if not self.options.transformers_4:
            start, stop = 0, len(context.ids)
        words, offsets = context.words, context.offsets
        a, b = int(offsets[first, 0]), int(offsets[last, 1])
        if self.options.align_to_words and words[first] >= 0 and words[last] >= 0:
            left, right = first, last
            while left > start and words[left - 1] == words[first]:
                left -= 1
            while right + 1 < stop and words[right + 1] == words[last]:
                right += 1
            c, d = int(offsets[left, 0]), int(offsets[right, 1])
            # In a script without spaces, many tokenizers take a full clause for one word.
            if self.options.transformers_4 or not is_unspaced(context.text[c:a] + context.text[b:d]):
                a, b = c, d
        return (a, b) if self.options.transformers_4 else tidy(context.text, a, b)


def _window(model: Any, tokenizer: Any, options: AnswerOptions) -> int:
    """Return the number of tokens that the model sees at a time."""
    most = int(min(tokenizer.model_max_length, most_positions(model)))
    if options.window is None:
        return min(most, 384)
    if options.window > most and not options.transformers_4:
        raise OptionError("window", f"is {options.window}, but the model reads at most {most} tokens")
    return min(options.window, most)


def _longest(model: Any, options: AnswerOptions) -> int:
    """Return the maximum number of tokens of an answer."""
    if options.max_answer_tokens is not None:
        return options.max_answer_tokens
    tasks = getattr(model.config, "task_specific_params", None) or {}
    own = tasks.get("question-answering") if isinstance(tasks, dict) else None
    longest = own.get("max_answer_len") if isinstance(own, dict) else None
    if options.transformers_4 or not isinstance(longest, int) or longest < 1:
        return _LONGEST_ANSWER
    return longest


def most_positions(model: Any) -> float:
    """Return the number of tokens that the position embeddings of the model reach."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return float("inf")
    # RoBERTa and similar models count positions from the padding index on.
    skipped = getattr(getattr(model.base_model, "embeddings", None), "padding_idx", None)
    return positions if skipped is None else positions - skipped - 1
