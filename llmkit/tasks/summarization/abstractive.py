"""Abstractive summaries of texts of any length, by encoder-decoder and chat models.

A text longer than the model's window is cut into parts. Map-reduce summarizes each part, then their
summaries together, as often as it takes (Wu et al., Recursively Summarizing Books with Human Feedback,
2021, https://arxiv.org/abs/2109.10862); refine reads the parts in order, each with the summary so far.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row, text_of
from llmkit.records.task import Fields
from llmkit.tasks.details import AnswerDetails
from llmkit.tasks.generation import Generation, GenerationOptions, GenerationResult
from llmkit.tasks.prompts import Prompt
from llmkit.tasks.sub_batches import run_prompts
from llmkit.tasks.summarization.extractive import DEFAULT_FIELDS
from llmkit.tasks.summarization.model_settings import own_settings, with_own
from llmkit.tasks.summarization.options import LEAST_ROOM, SummaryOptions, SummaryResult
from llmkit.tasks.summarization.prompts import Stage, in_words, instruction
from llmkit.text.sections import split_parts
from llmkit.text.sentences import is_complete, split_sentences
from llmkit.text.words import count_words

if TYPE_CHECKING:
    from llmkit.engines.base import Engine

_WINDOW = 1024
"""Tokens that a model sees at once, where nothing limits it and its tokenizer names no length."""
_MOST_PARTS = 1 << 20
"""Most requests for one text: request n of row r has the key r * _MOST_PARTS + n; the last one has n = 0."""


@dataclass(frozen=True)
class SourceText:
    """A text to summarize.

    Attributes:
        index: number that, with the seed, chooses its random numbers.
        where: its place, for errors.
        text: the text.
        words, tokens: its length in both.
    """

    index: int
    where: str
    text: str
    words: int
    tokens: int


_Steps = Generator[list[Prompt], list[GenerationResult], GenerationResult]
"""Yields the requests of the next step of one text, takes their results, and returns the summary."""


class Summarization:
    """Abstractive summaries as a `Task`.

    Args:
        engine: an encoder-decoder model, or a chat model.
        decoding: options of decoding; `max_new_tokens` limits the summary of every part.
        options: see `SummaryOptions`.
        field: column with the text; None takes `text`, `document`, `article` or the only one.
        template: text over several columns.

    Attributes:
        generation: answers the requests.
        run_state: seed and counters.
        room: most tokens of text that fit next to the request and the answer.
        long_texts: number of texts that did not fit and were summarized in parts.
        parts: number of those parts.
        on_parts: takes the number of parts each time a text is cut into some.
        progress: takes (requests answered, requests in all) of the step under way.

    Raises:
        InputError: a model that cannot summarize.
        OptionError: options that exclude each other, or that the model cannot use.
    """

    def __init__(
        self,
        engine: Engine,
        decoding: GenerationOptions,
        options: SummaryOptions | None = None,
        *,
        field: str | None = None,
        template: str | None = None,
    ) -> None:
        self.options = options or SummaryOptions()
        self.field, self.template = field, template
        if decoding.num_return_sequences > 1:
            raise OptionError("num_return_sequences", "must be 1: a text has one summary")
        if (option := decoding.whole_answers) is not None:
            raise OptionError(option, "cannot be combined with a summary, which may be made in several steps")
        own = own_settings(engine)
        if decoding.num_beams is None and not decoding.greedy:
            decoding = replace(decoding, num_beams=own.get("num_beams"))
        self.generation = Generation(engine, decoding)
        self.run_state = self.generation.run_state
        self.chat = self.generation.prompts.chat
        self._check(engine)
        self.generation.sampling = with_own(self.generation.sampling, own, chat=self.chat)
        self._prefix = own.get("prefix", "") if self.options.prefix is None else self.options.prefix
        self.room = self._room(engine, decoding)
        self.long_texts = self.parts = 0
        self.on_parts: Callable[[int], None] = lambda parts: None
        self.progress: Callable[[int, int], None] = lambda done, total: None

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow[SourceText] | RowError]:
        """Take and measure each row's text; a row without one becomes its RowError."""
        taken = [self._row_text(row) for row in rows]
        texts = [text for text in taken if isinstance(text, str)]
        places = [
            (row.index, row.where) for row, text in zip(rows, taken, strict=True) if isinstance(text, str)
        ]
        measured = iter(self.measure(texts, places))
        return [
            text if isinstance(text, RowError) else PreparedRow(row, (one := next(measured)).tokens, one)
            for row, text in zip(rows, taken, strict=True)
        ]

    def measure(self, texts: Sequence[str], places: Sequence[tuple[int, str]]) -> list[SourceText]:
        """Count the words and tokens of texts; `places` are their (index, where)."""
        sizes = self._count(texts)
        return [
            SourceText(index, where, text, count_words(text), size)
            for (index, where), text, size in zip(places, texts, sizes, strict=True)
        ]

    def fields(self, batch: Sequence[PreparedRow[SourceText]], budget: Budget) -> list[Fields | RowError]:
        """Summarize a batch: the `summary_text` (and `reasoning`) of each row.

        Raises:
            OutOfMemory: a single part does not fit.
        """
        return [
            result
            if isinstance(result, RowError)
            else {"summary_text": result.text}
            | ({"reasoning": result.reasoning} if result.reasoning else {})
            | self.generation.details.of(
                [AnswerDetails(result.finish_reason, result.tokens)], prompt_tokens=result.prompt_tokens
            )
            for result in self.run([one.payload for one in batch], budget)
        ]

    def run(self, texts: Sequence[SourceText], budget: Budget) -> list[SummaryResult | RowError]:
        """Summarize texts; at each step the requests of all texts run together.

        Args:
            texts: from `measure`, with different indices.
            budget: how much one call of the model may hold.

        Raises:
            OutOfMemory: a single request does not fit.
        """
        steps = [self._steps(text) for text in texts]
        ended: dict[int, GenerationResult | RowError] = {}
        answered: list[list[GenerationResult]] = [[] for _ in texts]
        asked: dict[int, list[Prompt]] = {}

        def advance(i: int, results: list[GenerationResult] | None) -> None:
            asked.pop(i, None)
            try:
                asked[i] = next(steps[i]) if results is None else steps[i].send(results)
            except StopIteration as end:
                ended[i] = end.value
            except RowError as error:
                ended[i] = error

        for i in range(len(texts)):
            advance(i, None)
        while asked:
            prompts = [prompt for mine in asked.values() for prompt in mine]
            found = iter(run_prompts(self.generation.run, prompts, budget, self.progress))
            for i, mine in list(asked.items()):
                results = [next(found) for _ in mine]
                answered[i] += results
                advance(i, results)
        return [self._result(ended[i], answered[i]) for i in range(len(texts))]

    def budget(self, batch_size: int | None) -> Budget:
        """Return the maximum size of one call of the model; see `Generation.budget`."""
        return self.generation.budget(batch_size)

    def header(self) -> dict[str, Any]:
        """Return all that the results depend on, besides the rows and the seed, as JSON, for the journal."""
        return {
            **self.generation.header(),
            "summary": asdict(self.options),
            "field": self.field,
            "template": self.template,
        }

    def _check(self, engine: Engine) -> None:
        name = engine.name
        if not self.chat and not engine.is_encoder_decoder:
            raise InputError(
                f"{name} has no chat template, so it continues texts and does not summarize; use a chat"
                " model, an encoder-decoder model such as BART or T5, or extractive=True"
            )
        if self.options.style is not None and not self.chat:
            raise OptionError("style", f"needs a chat model, and {name} takes no instructions; omit it")
        if self.options.prefix is not None and self.chat:
            raise OptionError(
                "prefix", f"is for models without a chat template; instruct {name} with `system`"
            )

    def _room(self, engine: Engine, decoding: GenerationOptions) -> int:
        sees = getattr(engine.config, "max_encoder_position_embeddings", None) or engine.context_length
        if sees is None:
            named = getattr(engine.tokenizer, "model_max_length", 10**6)
            sees = named if named < 10**6 else _WINDOW
        # A request's text is measured by itself: next to the request it can have a token or two more.
        frame = max(self._frame(stage, sees) for stage in ("part", "summaries", "further")) + 4
        answer = 0 if engine.is_encoder_decoder else min(decoding.max_new_tokens, sees // 2)
        room = int(sees - frame - answer)
        if room < LEAST_ROOM:
            raise InputError(
                f"{engine.name} has a context of {sees} tokens, of which the request takes {frame} and"
                f" the answer {answer}: too few remain for text; lower `max_new_tokens` or use another model"
            )
        if self.options.window is not None and self.options.window > room:
            raise OptionError(
                "window", f"is {self.options.window}, and {engine.name} has room for {room} tokens"
            )
        return self.options.window or room

    def _frame(self, stage: Stage, sees: int) -> int:
        """Return how many tokens a request takes without its text; `sees` if it is longer than that."""
        part = f"part {_MOST_PARTS} of {_MOST_PARTS}"
        try:
            return self._prompt(
                SourceText(0, "", "", 0, 0), 0, "", stage, part, in_words(10**6, 10**6)
            ).length
        except RowError:
            return int(sees)

    def _count(self, texts: Sequence[str]) -> list[int]:
        return self.generation.prompts.count_tokens(texts)

    def _row_text(self, row: Row) -> str | RowError:
        try:
            text = text_of(row, field=self.field, template=self.template, defaults=DEFAULT_FIELDS)
        except RowError as error:
            return error
        return text if text.strip() else RowError(row.where, "the text is empty")

    def _steps(self, one: SourceText) -> _Steps:
        parts = self._split(one.text, self.room, self.room // 8)
        if len(parts) > 1:
            self.long_texts += 1
        if self.options.strategy == "truncate":
            result = yield from self._last(one, parts[0], "text")
        elif len(parts) == 1:
            result = yield from self._last(one, one.text.strip(), "text")
        elif self.options.strategy == "refine":
            result = yield from self._refine(one)
        else:
            result = yield from self._map_reduce(one, parts)
        return result

    def _map_reduce(self, one: SourceText, parts: list[str]) -> _Steps:
        stage: Stage = "part"
        asked = 1  # the number 0 is the last request's
        while len(parts) > 1:
            self._count_parts(len(parts))
            results = yield [
                self._request(one, asked + i, part, stage, f"part {i + 1} of {len(parts)}")
                for i, part in enumerate(parts)
            ]
            asked += len(parts)
            summaries = self._split("\n\n".join(_written(one, results)), self.room)
            if len(summaries) >= len(parts):
                raise RowError(
                    one.where,
                    f"the summaries of its {len(parts)} parts are as long as the text, so that they cannot be"
                    " summarized together; lower `max_new_tokens`, or use a model that summarizes",
                )
            parts, stage = summaries, "summaries"
        return (yield from self._last(one, parts[0], "summaries"))

    def _refine(self, one: SourceText) -> _Steps:
        half = self.room // 2
        parts = self._split(one.text, half, half // 8)
        self._count_parts(len(parts))
        summary = ""
        for i, part in enumerate(parts):
            # A summary may have more tokens when it is read than when it was written.
            so_far = self._split(summary, half)[0] + "\n\n" if summary.strip() else ""
            place = f"part {i + 1} of {len(parts)}"
            stage: Stage = "further" if so_far else "part"
            if i + 1 == len(parts):
                return (yield from self._last(one, so_far + part, stage, place))
            results = yield [self._request(one, i + 1, so_far + part, stage, place)]
            summary = _written(one, results)[0]
        raise AssertionError("a text has parts")

    def _last(self, one: SourceText, text: str, stage: Stage, place: str = "") -> _Steps:
        """Make the request whose answer is the summary, within the user's bounds."""
        prompt = self._prompt(one, 0, text, stage, place, self._wish(one))
        if not self.chat:
            limit, least = prompt.new_tokens, self._own_least(prompt)
            if self.options.length.given:
                rate = one.tokens / max(one.words, 1)
                fewest, most = self.options.length.bounds(one.words)
                # Convert words to tokens at the text's own rate; extra words are cut from the answer.
                limit = min(limit, math.ceil(1.2 * most * rate) + 8)
                least = math.ceil(fewest * rate)
            prompt = replace(prompt, new_tokens=limit, least_tokens=min(least, limit))
        (result,) = yield [prompt]
        return result

    def _request(self, one: SourceText, number: int, text: str, stage: Stage, place: str) -> Prompt:
        """Make a request whose answer is read again: a quarter of the window at most, so that it shrinks."""
        tokens = self.room // 4
        words = max(int(tokens / 2 * one.words / max(one.tokens, 1)), 10)
        prompt = self._prompt(one, number, text, stage, place, in_words(0, words))
        if self.chat:
            # A chat model is asked for fewer words and may think before it writes them.
            return prompt
        limit = min(prompt.new_tokens, tokens)
        return replace(prompt, new_tokens=limit, least_tokens=min(self._own_least(prompt), limit))

    def _own_least(self, prompt: Prompt) -> int:
        """Return the model's own least number of tokens; it must not make a short text longer."""
        return min(self.generation.sampling.min_new_tokens, prompt.length // 2)

    def _prompt(self, one: SourceText, number: int, text: str, stage: Stage, place: str, wish: str) -> Prompt:
        # Each request has random numbers of its own, which depend on its row and its number alone.
        key = one.index * _MOST_PARTS + number
        prompts = self.generation.prompts
        if not self.chat:
            return prompts.prepare_one(self._prefix + text, key=key, where=one.where)
        request = instruction(stage, place=place, length=wish, style=self.options.style or "paragraph")
        content = f"{request}\n\n<text>\n{text}\n</text>"
        return prompts.prepare_one([{"role": "user", "content": content}], key=key, where=one.where)

    def _wish(self, one: SourceText) -> str:
        length = self.options.length
        least, most = length.bounds(one.words)
        return in_words(least, most if length.max_words or length.ratio else None)

    def _split(self, text: str, room: int, overlap: int = 0) -> list[str]:
        return [text[a:b] for a, b in split_parts(text, count=self._count, room=room, overlap=overlap)]

    def _count_parts(self, parts: int) -> None:
        self.parts += parts
        self.on_parts(parts)

    def _result(
        self, last: GenerationResult | RowError, results: Sequence[GenerationResult]
    ) -> SummaryResult | RowError:
        """Return the summary, with the tokens of all requests that it took."""
        if isinstance(last, RowError):
            return last
        text, most = last.text.strip(), self.options.length.max_words
        if last.finish_reason == "length":
            text = _without_half_sentence(text)
        return SummaryResult(
            text=text if most is None else _at_most(text, most),
            reasoning=last.reasoning,
            prompt_tokens=sum(result.prompt_tokens for result in results),
            tokens=sum(result.tokens for result in results),
            finish_reason=last.finish_reason,
            seed=self.run_state.seed,
        )


def _written(one: SourceText, results: Sequence[GenerationResult]) -> list[str]:
    texts = [result.text.strip() for result in results if result.text.strip()]
    if not texts:
        raise RowError(one.where, "the model generated no text for any of its parts")
    return texts


def _without_half_sentence(text: str) -> str:
    """Return a text that a limit ended without the sentence that it cut, unless there is no other."""
    spans = split_sentences(text)
    if len(spans) < 2 or is_complete(text):
        return text
    return text[: spans[-2][1]]


def _at_most(text: str, words: int) -> str:
    """Cut `text` after the last sentence that ends within `words`; if none does, after the last word."""
    if count_words(text) <= words:
        return text
    ends = [end for _, end in split_sentences(text) if count_words(text[:end]) <= words]
    if ends:
        return text[: ends[-1]]
    cut = bisect_right(range(len(text) + 1), words, key=lambda end: count_words(text[:end])) - 1
    return text[:cut].rstrip()
