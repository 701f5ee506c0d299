"""Abstractive summaries of texts of any length, by encoder-decoder and chat models.

A text longer than the model's window is cut into parts. Map-reduce summarizes each part, then their
summaries together, as often as it takes (Wu et al., Recursively Summarizing Books with Human Feedback,
2021); refine reads the parts one after the other, each with the summary of what came before.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row, text_of
from llmkit.tasks.generation import Generation, GenerationOptions, GenerationResult
from llmkit.tasks.sub_batches import run_parts
from llmkit.tasks.summarization.extractive import DEFAULT_FIELDS, SummaryLength
from llmkit.tasks.summarization.prompts import STYLES, Stage, in_words, instruction
from llmkit.text.sections import split_parts
from llmkit.text.sentences import split_sentences
from llmkit.text.words import count_words

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel

STRATEGIES = ("map-reduce", "refine", "truncate")

_WINDOW = 1024  # tokens, for models that nothing limits and whose tokenizer names no length
_LEAST_ROOM = 16  # tokens of text; below that there is nothing to summarize
_MOST_PARTS = 1 << 20


@dataclass(frozen=True)
class SummaryOptions:
    """How texts are summarized.

    Attributes:
        length: bounds on the summary; a model keeps `max_words` always, the others as well as it can.
        strategy: for what is longer than the window: ``map-reduce``, ``refine`` or ``truncate``.
        style: ``paragraph`` or ``bullets``, for chat models; None is a paragraph.
        window: the most tokens of the text that the model gets at once; None: as many as it sees.
        prefix: what an encoder-decoder model's input begins with; None takes the model's own, such as T5's
            ``summarize: ``.
    """

    length: SummaryLength = field(default_factory=SummaryLength)
    strategy: str = "map-reduce"
    style: str | None = None
    window: int | None = None
    prefix: str | None = None

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise InputError(f"--strategy {self.strategy}: use {', '.join(STRATEGIES)}")
        if self.style is not None and self.style not in STYLES:
            raise InputError(f"--style {self.style}: use {' or '.join(STYLES)}")
        if self.window is not None and self.window < _LEAST_ROOM:
            raise InputError(f"--window must be {_LEAST_ROOM} tokens or more")


@dataclass(frozen=True)
class _Text:
    """A row's text: how many words and tokens it has."""

    text: str
    words: int
    tokens: int


# What a text asks of the model next, until it has its summary: it is sent the answers in order.
_Steps = Generator[list[PreparedRow], list[GenerationResult], GenerationResult]


class Summarization:
    """A loaded model that summarizes rows: what `cli.rows.run_rows` runs.

    Args:
        loaded: an encoder-decoder model, or a chat model.
        decoding: how tokens are chosen; `max_new_tokens` limits every part's summary.
        options: see `SummaryOptions`.
        field: the column that holds the text; None takes `text`, `document`, `article` or the only one.
        template: a text over several columns.

    Attributes:
        room: the most tokens of text that fit beside the request and the answer.
        long_texts: how many texts did not fit and were summarized in parts.
        parts: how many parts that made.
        on_parts: called with the number of parts each time a text is cut into some.
        progress: called with the model's answers so far and those asked for, in the step under way.

    Raises:
        InputError: a model that cannot summarize, or options that exclude each other.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        decoding: GenerationOptions,
        options: SummaryOptions | None = None,
        *,
        field: str | None = None,
        template: str | None = None,
    ) -> None:
        self.options = options or SummaryOptions()
        self.field, self.template = field, template
        if decoding.num_return_sequences > 1:
            raise InputError("--num-return-sequences: a text has one summary; leave it out")
        own = dict(
            (getattr(loaded.model.config, "task_specific_params", None) or {}).get("summarization", {})
        )
        if decoding.num_beams is None and not decoding.greedy:
            decoding = replace(decoding, num_beams=own.get("num_beams"))
        self.generation = Generation(loaded, decoding)
        self.chat = self.generation.prompts.chat
        self._check(loaded)
        self._own_least = self._take_over(own)
        self._prefix = own.get("prefix", "") if self.options.prefix is None else self.options.prefix
        self.limit: Budget = self.generation.budget(None)
        self.room = self._room(loaded, decoding)
        self.long_texts = self.parts = 0
        self.on_parts: Callable[[int], None] = lambda parts: None
        self.progress: Callable[[int, int], None] = lambda done, total: None

    @property
    def seed(self) -> int:
        return self.generation.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self.generation.seed = seed

    @property
    def seed_given(self) -> bool:
        return self.generation.seed_given

    @property
    def tokens_written(self) -> int:
        return self.generation.tokens_written

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow | RowError]:
        """Take and measure each row's text; a row without one becomes its RowError."""
        taken = [self._text(row) for row in rows]
        sizes = iter(self._count([text for text in taken if isinstance(text, str)]))
        return [
            text
            if isinstance(text, RowError)
            else PreparedRow(row, size := next(sizes), _Text(text, count_words(text), size))
            for row, text in zip(rows, taken, strict=True)
        ]

    def work(self, batch: Sequence[PreparedRow]) -> list[dict[str, Any] | RowError]:
        """Summarize a batch: the `summary_text` (and `reasoning`) of each row.

        Raises:
            OutOfMemory: a single part does not fit.
        """
        return [
            result
            if isinstance(result, RowError)
            else {"summary_text": result.text} | ({"reasoning": result.reasoning} if result.reasoning else {})
            for result in self.run(batch)
        ]

    def run(self, batch: Sequence[PreparedRow]) -> list[GenerationResult | RowError]:
        """Summarize a batch; at each step the parts of all its texts run together.

        Raises:
            OutOfMemory: a single part does not fit.
        """
        steps = [self._steps(one) for one in batch]
        results: dict[int, GenerationResult | RowError] = {}
        asked: dict[int, list[PreparedRow]] = {}

        def advance(i: int, answers: list[GenerationResult] | None) -> None:
            asked.pop(i, None)
            try:
                asked[i] = next(steps[i]) if answers is None else steps[i].send(answers)
            except StopIteration as end:
                results[i] = end.value
            except RowError as error:
                results[i] = error

        for i in range(len(batch)):
            advance(i, None)
        while asked:
            prompts = [prompt for mine in asked.values() for prompt in mine]
            answers = iter(run_parts(self.generation, prompts, self.limit, self.progress))
            for i, mine in list(asked.items()):
                advance(i, [next(answers)[0] for _ in mine])
        return [results[i] for i in range(len(batch))]

    def budget(self, batch_size: int | None) -> Budget:
        """How much one call of the model may hold."""
        self.limit = self.generation.budget(batch_size)
        return self.limit

    def header(self) -> dict[str, Any]:
        """All that the results depend on, besides the rows and the seed, as JSON: for the journal."""
        return {
            **self.generation.header(),
            "summary": asdict(self.options),
            "field": self.field,
            "template": self.template,
        }

    def _check(self, loaded: LoadedModel) -> None:
        name = loaded.spec.name
        if not self.chat and not loaded.is_encoder_decoder:
            raise InputError(
                f"{name} has no chat template, so it continues texts and does not summarize; take a chat"
                " model, an encoder-decoder model such as BART or T5, or --extractive"
            )
        if self.options.style is not None and not self.chat:
            raise InputError(f"--style: {name} takes no instructions; leave it out")
        if self.options.prefix is not None and self.chat:
            raise InputError(f"--prefix is for models without a chat template; instruct {name} with --system")

    def _take_over(self, own: dict[str, Any]) -> int:
        """Set what the model's config says of summaries; returns the least tokens of one, by the model.

        The least is not left to `generate`, which would hold short texts to it too.
        """
        config = self.generation.decoding.config
        for name in ("length_penalty", "no_repeat_ngram_size", "early_stopping", "min_length"):
            if name in own:
                setattr(config, name, own[name])
        if self.chat:
            return 0
        least = max((config.min_length or 0) - 1, config.min_new_tokens or 0, 0)
        config.min_length, config.min_new_tokens = 0, None
        return least

    def _room(self, loaded: LoadedModel, decoding: GenerationOptions) -> int:
        config, tokenizer = loaded.model.config, loaded.tokenizer
        sees = getattr(config, "max_encoder_position_embeddings", None) or loaded.context_length
        if sees is None:
            sees = tokenizer.model_max_length if tokenizer.model_max_length < 10**6 else _WINDOW
        # A request's text is measured by itself: beside it a token or two may come out otherwise.
        frame = max(self._frame(stage, sees) for stage in ("part", "summaries", "further")) + 4
        answer = 0 if loaded.is_encoder_decoder else min(decoding.max_new_tokens, sees // 2)
        room = sees - frame - answer
        if room < _LEAST_ROOM:
            raise InputError(
                f"{loaded.spec.name} sees {sees} tokens, of which the request takes {frame} and the answer"
                f" {answer}: too few are left for a text; lower --max-new-tokens or take another model"
            )
        if self.options.window is not None and self.options.window > room:
            raise InputError(f"--window {self.options.window}: {loaded.spec.name} has room for {room} tokens")
        return self.options.window or room

    def _frame(self, stage: Stage, sees: int) -> int:
        """How many tokens a request takes without its text; `sees` if it is longer than that."""
        place = f"part {_MOST_PARTS} of {_MOST_PARTS}"
        try:
            return self._prompt(Row(0, {}, ""), 0, "", stage, place, in_words(10**6, 10**6)).length
        except RowError:
            return sees

    def _count(self, texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        encoded = self.generation.loaded.tokenizer(list(texts), add_special_tokens=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def _text(self, row: Row) -> str | RowError:
        try:
            text = text_of(row, field=self.field, template=self.template, defaults=DEFAULT_FIELDS)
        except RowError as error:
            return error
        return text if text.strip() else RowError(row.where, "the text is empty")

    def _steps(self, one: PreparedRow) -> _Steps:
        text: _Text = one.payload
        parts = self._split(text.text, self.room, self.room // 8)
        if len(parts) > 1:
            self.long_texts += 1
        if self.options.strategy == "truncate":
            result = yield from self._last(one, parts[0], "text")
        elif len(parts) == 1:
            result = yield from self._last(one, text.text.strip(), "text")
        elif self.options.strategy == "refine":
            result = yield from self._refine(one, text.text)
        else:
            result = yield from self._map_reduce(one, parts)
        most = self.options.length.max_words
        return result if most is None else replace(result, text=_at_most(result.text, most))

    def _map_reduce(self, one: PreparedRow, parts: list[str]) -> _Steps:
        stage: Stage = "part"
        asked = 1  # the number 0 is the last request's
        while len(parts) > 1:
            self._told(len(parts))
            answers = yield [
                self._request(one, asked + i, part, stage, f"part {i + 1} of {len(parts)}")
                for i, part in enumerate(parts)
            ]
            asked += len(parts)
            summaries = self._split("\n\n".join(_written(one, answers)), self.room)
            if len(summaries) >= len(parts):
                raise RowError(
                    one.row.where,
                    f"the summaries of its {len(parts)} parts are as long as the text, so that they cannot be"
                    " summarized together; lower --max-new-tokens, or take a model that summarizes",
                )
            parts, stage = summaries, "summaries"
        return (yield from self._last(one, parts[0], "summaries"))

    def _refine(self, one: PreparedRow, text: str) -> _Steps:
        half = self.room // 2
        parts = self._split(text, half, half // 8)
        self._told(len(parts))
        summary = ""
        for i, part in enumerate(parts):
            # A summary may have more tokens when it is read than when it was written.
            so_far = self._split(summary, half)[0] + "\n\n" if summary.strip() else ""
            place = f"part {i + 1} of {len(parts)}"
            stage: Stage = "further" if so_far else "part"
            if i + 1 == len(parts):
                return (yield from self._last(one, so_far + part, stage, place))
            answers = yield [self._request(one, i + 1, so_far + part, stage, place)]
            summary = _written(one, answers)[0]
        raise AssertionError("a text has parts")

    def _last(self, one: PreparedRow, text: str, stage: Stage, place: str = "") -> _Steps:
        """The request whose answer is the summary, under the user's bounds."""
        whole: _Text = one.payload
        prompt = self._prompt(one.row, 0, text, stage, place, self._wish(whole))
        limit, least = prompt.payload.new_tokens, 0
        if not self.chat:
            rate = whole.tokens / max(whole.words, 1)
            least = min(self._own_least, len(prompt.payload.ids) // 2)
            if self.options.length.given:
                fewest, most = self.options.length.bounds(whole.words)
                # Words become tokens at the text's own rate; what is too much is cut from the answer.
                limit = min(limit, math.ceil(1.2 * most * rate) + 8)
                least = math.ceil(fewest * rate)
        (answer,) = yield [_bounded(prompt, limit, min(least, limit))]
        return replace(answer, text=answer.text.strip())

    def _request(self, one: PreparedRow, number: int, text: str, stage: Stage, place: str) -> PreparedRow:
        """A request whose answer is read again: a quarter of the window at most, so that levels shrink."""
        tokens = self.room // 4
        words = max(int(tokens / 2 * one.payload.words / max(one.payload.tokens, 1)), 10)
        prompt = self._prompt(one.row, number, text, stage, place, in_words(0, words))
        least = min(self._own_least, len(prompt.payload.ids) // 2)
        # A chat model is asked for fewer words and may think before it writes them.
        limit = prompt.payload.new_tokens if self.chat else min(prompt.payload.new_tokens, tokens)
        return _bounded(prompt, limit, min(least, limit))

    def _prompt(self, row: Row, number: int, text: str, stage: Stage, place: str, wish: str) -> PreparedRow:
        data: dict[str, Any]
        if self.chat:
            style = self.options.style or "paragraph"
            request = instruction(stage, place=place, length=wish, style=style)
            data = {"messages": [{"role": "user", "content": f"{request}\n\n<text>\n{text}\n</text>"}]}
        else:
            data = {"prompt": self._prefix + text}
        # Each part has random numbers of its own, which depend on its row and its number alone.
        (prepared,) = self.generation.prepare([Row(row.index * _MOST_PARTS + number, data, row.where)])
        if isinstance(prepared, RowError):
            raise prepared
        return prepared

    def _wish(self, text: _Text) -> str:
        length = self.options.length
        least, most = length.bounds(text.words)
        return in_words(least, most if length.max_words or length.ratio else None)

    def _split(self, text: str, room: int, overlap: int = 0) -> list[str]:
        return [text[a:b] for a, b in split_parts(text, count=self._count, room=room, overlap=overlap)]

    def _told(self, parts: int) -> None:
        self.parts += parts
        self.on_parts(parts)


def _bounded(prompt: PreparedRow, limit: int, least: int) -> PreparedRow:
    return replace(prompt, payload=replace(prompt.payload, new_tokens=limit, least_tokens=least))


def _written(one: PreparedRow, answers: list[GenerationResult]) -> list[str]:
    texts = [answer.text.strip() for answer in answers if answer.text.strip()]
    if not texts:
        raise RowError(one.row.where, "the model wrote nothing for any of its parts")
    return texts


def _at_most(text: str, words: int) -> str:
    """`text` up to the last sentence that ends within so many words; if none does, up to the word."""
    if count_words(text) <= words:
        return text
    ends = [end for _, end in split_sentences(text) if count_words(text[:end]) <= words]
    if ends:
        return text[: ends[-1]]
    cut = bisect_right(range(len(text) + 1), words, key=lambda end: count_words(text[:end])) - 1
    return text[:cut].rstrip()
