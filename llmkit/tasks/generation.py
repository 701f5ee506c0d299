"""Text generation: prompts in, continuations or answers out.

One path serves the single streamed prompt and the million-row file, on any engine.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from llmkit.engines.base import Completion, FinishReason, Request, TokenLogprob
from llmkit.engines.open import as_engine
from llmkit.errors import RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row
from llmkit.records.task import Fields, RunState
from llmkit.tasks.decoding import Formed, GenerationOptions, refuse_row_options, resolve
from llmkit.tasks.details import AnswerDetails, DetailColumns
from llmkit.tasks.messages import Messages
from llmkit.tasks.prompts import Encode, Prompt, PromptMaker
from llmkit.tasks.streaming import AnswerStreamer, decode
from llmkit.tasks.sub_batches import run_prompts
from llmkit.text.chat.reasoning import split_reasoning
from llmkit.text.stops import cut_at_stop

if TYPE_CHECKING:
    from llmkit.engines.base import Constraint, Engine, Session
    from llmkit.engines.open import AnyModel

__all__ = ["Answer", "Generation", "GenerationOptions", "GenerationResult", "Piece", "generate", "stream"]

OnText = Callable[[str, bool], None]
"""Takes pieces of text as they are written, and True for each piece of a reasoning model's thoughts."""


@dataclass(frozen=True)
class Answer:
    """One answer to a prompt.

    Attributes:
        text: the answer, without thoughts and without the stop string.
        reasoning: a reasoning model's thoughts, else empty.
        tokens: tokens written, the end token included.
        finish_reason: ``stop`` if the model or a stop string ended it, ``length`` if a limit did,
            ``interrupted`` if the caller did.
        logprobs: of each token, if the options ask for them.
    """

    text: str
    reasoning: str
    tokens: int
    finish_reason: FinishReason
    logprobs: list[TokenLogprob] | None = None


@dataclass(frozen=True)
class GenerationResult:
    """The answers to one prompt.

    Attributes:
        answers: `num_return_sequences` answers, the best beam first.
        prompt_tokens: tokens of the prompt.
        seed: seed that the answers were drawn with.
    """

    answers: list[Answer]
    prompt_tokens: int
    seed: int

    @property
    def text(self) -> str:
        """Return the text of the first answer."""
        return self.answers[0].text

    @property
    def texts(self) -> list[str]:
        """Return the text of each answer."""
        return [answer.text for answer in self.answers]

    @property
    def reasoning(self) -> str:
        """Return the thoughts behind the first answer."""
        return self.answers[0].reasoning

    @property
    def tokens(self) -> int:
        """Return the number of tokens written, in all answers together."""
        return sum(answer.tokens for answer in self.answers)

    @property
    def finish_reason(self) -> FinishReason:
        """Return why the first answer ended."""
        return self.answers[0].finish_reason


@dataclass(frozen=True)
class Piece:
    """A piece of a streamed answer.

    Attributes:
        text: the new text; empty in the last piece.
        is_reasoning: True if it belongs to the model's thoughts.
        result: the whole answer, in the last piece; None before.
    """

    text: str
    is_reasoning: bool = False
    result: GenerationResult | None = None


def generate(
    model: AnyModel,
    prompts: str | Sequence[str | Messages],
    options: GenerationOptions | None = None,
) -> list[GenerationResult]:
    """Answer prompts with a model.

    Args:
        model: a loaded model, an engine, or a name, path or `ModelSpec` to load.
        prompts: one text, or several texts and conversations (lists of dicts with ``role`` and ``content``).
        options: see `GenerationOptions`.

    Returns:
        The result of each prompt, in order.

    Raises:
        InputError: unknown model, options that exclude each other, or a prompt longer than the context.
        OutOfMemory: a single prompt does not fit into memory.
    """
    refuse_row_options(options)
    generation = Generation(as_engine(model), options or GenerationOptions())
    contents = [prompts] if isinstance(prompts, str) else prompts
    where = [f"prompt {i + 1}" for i in range(len(contents))]
    made = generation.prompts.prepare_all(contents, where=where)
    return run_prompts(generation.run, made, generation.budget(None))


def stream(
    model: AnyModel,
    prompt: str | Messages,
    options: GenerationOptions | None = None,
) -> Iterator[Piece]:
    """Generate an answer to one prompt as a stream of pieces.

    The model runs in a separate thread. Closing the iterator early stops it after the token under way.

    Args:
        model: a loaded model, an engine, or a name, path or `ModelSpec` to load.
        prompt: a text or a conversation.
        options: see `GenerationOptions`.

    Yields:
        The pieces, and at the end a piece with the whole result.

    Raises:
        InputError: as `generate`, or more than one answer is requested.
        OutOfMemory: the prompt does not fit into memory.
    """
    refuse_row_options(options)
    generation = Generation(as_engine(model), options or GenerationOptions())
    made = generation.prompts.prepare_one(prompt)
    pieces: queue.SimpleQueue[Piece | BaseException] = queue.SimpleQueue()
    closed = threading.Event()

    def work() -> None:
        try:
            result = generation.stream(
                made,
                lambda text, is_reasoning: pieces.put(Piece(text, is_reasoning)),
                stopped=closed.is_set,
            )
            pieces.put(Piece("", result=result))
        except BaseException as error:
            pieces.put(error)

    thread = threading.Thread(target=work, name="llmkit-stream", daemon=True)
    thread.start()
    try:
        while True:
            piece = pieces.get()
            if isinstance(piece, BaseException):
                raise piece
            yield piece
            if piece.result is not None:
                return
    finally:
        closed.set()
        thread.join()


class Generation:
    """Text generation as a `Task`: an engine with decoding options.

    Args:
        engine: the model.
        options: see `GenerationOptions`.
        field: column with the prompt; None takes `prompt`, `text` or the only one.
        template: prompt over several columns, such as ``Q: {question}``.
        encode: tokenizes plain texts in place of the engine's tokenizer.

    Attributes:
        sampling: the options, merged with the model's own settings; tasks that use this one may replace it.
        prompts: makes prompts.
        details: makes the columns about answers.
        run_state: seed and counters.

    Raises:
        InputError: options that exclude each other, or chat options without a chat template.
    """

    def __init__(
        self,
        engine: Engine,
        options: GenerationOptions,
        *,
        field: str | None = None,
        template: str | None = None,
        encode: Encode | None = None,
    ) -> None:
        self.engine = engine
        self.options = options
        self.sampling = resolve(options, engine)
        self._form = Formed(options.form, engine)
        self.prompts = PromptMaker(engine, options, field=field, template=template, encode=encode)
        self.run_state = RunState.seeded(options.seed)
        self.run_state.workers = getattr(engine, "workers", None)
        self.details = DetailColumns(options, engine, self.run_state)

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow[Prompt] | RowError]:
        """Tokenize rows; one that cannot be a prompt, or whose schema cannot be enforced, is its RowError."""
        prepared = self.prompts.prepare(rows)
        return [one if isinstance(one, RowError) else self._with_schema(one) for one in prepared]

    def schema_of(self, row: Row) -> Constraint | None:
        """Return the constraint of a row's own schema; None if the options name no column with one.

        Raises:
            RowError: the row has no schema, or one that cannot be enforced.
        """
        field = self.options.schema_field
        return None if field is None else self._form.of_row(row, field)

    def fields(self, batch: Sequence[PreparedRow[Prompt]], budget: Budget) -> list[Fields | RowError]:
        """Answer a batch: the `generated_text` of each row, and its `reasoning` if there is some.

        Raises:
            OutOfMemory: the batch did not fit.
        """
        results = self.run([one.payload for one in batch])
        return [self._fields(one.payload, result) for one, result in zip(batch, results, strict=True)]

    def run(self, prompts: Sequence[Prompt]) -> list[GenerationResult]:
        """Answer prompts in one call of the engine.

        Raises:
            OutOfMemory: they do not fit into memory together.
        """
        completions = self.engine.generate([self._request(prompt) for prompt in prompts])
        results = [self._result(prompt, found) for prompt, found in zip(prompts, completions, strict=True)]
        self.run_state.tokens_written += sum(result.tokens for result in results)
        return results

    def stream(
        self,
        prompt: Prompt,
        on_text: OnText,
        *,
        sample: int = 0,
        session: Session | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> GenerationResult:
        """Answer one prompt and hand each piece of text to `on_text(text, is_reasoning)` as it is written.

        Beam search knows its answer only at the end, and writes it at once.

        Args:
            prompt: from `prompts`.
            on_text: takes the pieces.
            sample: which of the prompt's random streams to draw from.
            session: the engine's state after an earlier prompt, of which this one may share the beginning.
            stopped: called after each token; True ends the answer there.

        Raises:
            OptionError: more than one answer is requested.
            OutOfMemory: it does not fit into memory.
        """
        request = self._request(prompt, sample)
        text = AnswerStreamer(
            self.engine.tokenizer,
            on_text,
            stops=self.sampling.stop,
            thinking=prompt.thinking if self.prompts.chat else None,
        )

        def on_tokens(ids: Sequence[int]) -> bool:
            if self.engine.tokenizer is not None:
                text.put(ids)
            return stopped is None or not stopped()

        completion = self.engine.stream(request, on_tokens, session=session, on_piece=text.put_text)
        text.end()
        return self._result(prompt, [completion])

    def header(self) -> dict[str, Any]:
        """Return all that the results depend on, besides the rows and the seed, as JSON, for the journal."""
        options = asdict(self.options)
        del options["seed"]
        return {
            **self.engine.identity(),
            "options": options,
            "sampling": self.sampling.as_json(),
            "field": self.prompts.field,
            "template": self.prompts.template,
        }

    def budget(self, batch_size: int | None) -> Budget:
        """Return the maximum size of one batch: `batch_size` rows, or as many tokens as there is room for."""
        new_tokens = self.options.max_new_tokens
        if batch_size is not None:
            return Budget(tokens=None, rows=batch_size, new_tokens=new_tokens)
        tokens = self.engine.token_budget()
        each = None if tokens is None else tokens // self.sampling.sequences
        return Budget(tokens=each, rows=self.engine.batch_rows, new_tokens=new_tokens)

    def _request(self, prompt: Prompt, sample: int = 0) -> Request:
        sampling = replace(self.sampling, max_new_tokens=prompt.new_tokens)
        if prompt.least_tokens is not None:
            sampling = replace(sampling, min_new_tokens=prompt.least_tokens)
        key = (self.run_state.seed, prompt.key, sample)
        request = Request(
            sampling,
            key=key,
            logprobs=self.options.logprobs,
            constraint=self._form.after(
                thinking=prompt.thinking, may_think=prompt.may_think, own=prompt.constraint
            ),
            answer_prefix=prompt.answer_prefix,
        )
        if prompt.ids is not None:
            return replace(request, ids=prompt.ids)
        if prompt.messages is not None:
            return replace(request, messages=prompt.messages)
        return replace(request, text=prompt.text)

    def _result(self, prompt: Prompt, completions: Sequence[Completion]) -> GenerationResult:
        answers = [self._answer(prompt, completion) for completion in completions]
        return GenerationResult(answers, completions[0].prompt_tokens, self.run_state.seed)

    def _answer(self, prompt: Prompt, completion: Completion) -> Answer:
        text, reasoning = completion.text, ""
        if text is None:
            text = cut_at_stop(decode(self.engine.tokenizer, completion.ids), self.sampling.stop)
        if self.prompts.chat:
            reasoning, text = split_reasoning(text, opened=prompt.thinking)
        ids, logprobs = completion.ids, completion.logprobs
        return Answer(text, reasoning, len(ids), completion.finish_reason, logprobs)

    def _fields(self, prompt: Prompt, result: GenerationResult) -> Fields:
        many = self.options.num_return_sequences > 1
        texts = [self._shown(prompt, answer.text) for answer in result.answers]
        fields: Fields = {"generated_text": texts if many else texts[0]}
        if any(answer.reasoning for answer in result.answers):
            thoughts = [answer.reasoning for answer in result.answers]
            fields["reasoning"] = thoughts if many else thoughts[0]
        if prompt.dropped:
            fields["dropped_messages"] = prompt.dropped
        return fields | self.details_of(result)

    def details_of(self, result: GenerationResult) -> Fields:
        """Return the columns about a result that the options ask for."""
        answers = [AnswerDetails(one.finish_reason, one.tokens, one.logprobs) for one in result.answers]
        return self.details.of(answers, prompt_tokens=result.prompt_tokens)

    def _with_schema(self, one: PreparedRow[Prompt]) -> PreparedRow[Prompt] | RowError:
        try:
            constraint = self.schema_of(one.row)
        except RowError as error:
            return error
        return (
            one if constraint is None else replace(one, payload=replace(one.payload, constraint=constraint))
        )

    def _shown(self, prompt: Prompt, text: str) -> str:
        """Return the text for the user: with the prompt in front if `full_text` is set, except in a chat."""
        in_front = self.options.full_text and prompt.text is not None and not self.prompts.chat
        return f"{prompt.text}{text}" if in_front else text
