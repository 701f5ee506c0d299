"""The models of a server, each with a thread of its own; from a client's request to the engine's."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmkit.engines.base import Request
from llmkit.errors import RowError
from llmkit.serving.errors import ApiError, bad
from llmkit.serving.parsing.answer_text import AnswerText, TokenBytes
from llmkit.serving.scheduling.jobs import AnswerJob, CallJob, Event, NewTokens
from llmkit.serving.scheduling.wanted import Wanted
from llmkit.serving.scheduling.worker import Worker
from llmkit.tasks.decoding import Formed, GenerationOptions, resolve
from llmkit.tasks.prompts import PromptMaker

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.serving.metrics import Metrics

DEFAULT_TOKENS = 1024
"""Tokens of an answer at most, where the client gives no limit; the context may leave fewer."""


@dataclass(frozen=True)
class PreparedChoice:
    """One answer to be written: the engine's request, and how its text begins and ends."""

    request: Request
    stops: tuple[str, ...]
    thinking: bool | None


class ServedModel:
    """One model behind the server.

    Args:
        name: the name by which clients ask for it.
        open_engine: opens it; called in the model's own thread.
        max_queue: answers that may wait.
        metrics: counts tokens and times.
        log: takes lines about errors.
    """

    def __init__(
        self,
        name: str,
        open_engine: Callable[[], Any],
        *,
        max_queue: int,
        metrics: Metrics,
        log: Callable[[str], None],
    ) -> None:
        self.name = name
        self.created = int(time.time())
        self.worker = Worker(name, open_engine, max_queue=max_queue, metrics=metrics, log=log)
        # Templates and tokenizers run here, away from the event loop and from the model's thread.
        self._preparing = ThreadPoolExecutor(1, thread_name_prefix=f"llmkit-{name}-prompts")

    @property
    def engine(self) -> Engine:
        """The model.

        Raises:
            ApiError: it is not loaded.
        """
        if self.worker.failure is not None:
            raise ApiError(503, f"{self.name} could not be loaded", code="model_failed")
        if self.worker.reader is not None:
            route = (
                "/v1/answers" if self.worker.reader.spec.task == "question-answering" else "/v1/embeddings"
            )
            message = f"{self.name} writes no text; ask {route}"
            raise ApiError(400, message, param="model", code="model_writes_no_text")
        if self.worker.engine is None or not self.worker.loaded.is_set():
            raise ApiError(503, f"{self.name} is being loaded", code="model_loading", retry_after=2)
        return self.worker.engine

    @cached_property
    def token_bytes(self) -> TokenBytes:
        """Bytes of the model's tokens."""
        return TokenBytes(self.engine.tokenizer)

    async def in_background(self, function: Callable[[], Any]) -> Any:
        """Run a function in the thread for templates and tokenizers."""
        return await asyncio.get_running_loop().run_in_executor(self._preparing, function)

    async def prepare(self, wanted: Wanted) -> list[list[PreparedChoice]]:
        """Return `wanted.n` answers to be written for each prompt.

        Raises:
            ApiError, InputError: the prompt or a setting is bad for this model.
        """
        engine = self.engine
        found: list[list[PreparedChoice]] = await self.in_background(lambda: self._prepare(wanted, engine))
        return found

    def text_of(self, one: PreparedChoice) -> AnswerText:
        """Return what turns an answer's tokens into text."""
        return AnswerText(self.engine.tokenizer, self.token_bytes, stops=one.stops, thinking=one.thinking)

    async def call(self, function: Callable[[Any], Any], seconds: float) -> Any:
        """Run a function in the model's thread and return its result.

        Args:
            function: takes the engine, or the `LoadedModel` of a model that writes no text.
            seconds: time limit.

        Raises:
            ApiError: the queue is full.
        """
        if self.worker.reader is None:
            _ = self.engine  # is it loaded?
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        call = CallJob(
            function,
            lambda result, error: _ignore(loop.call_soon_threadsafe(settle, result, error)),
            time.monotonic() + seconds,
        )
        self.worker.submit([call])
        try:
            return await future
        finally:
            call.cancelled = True

    def _prepare(self, wanted: Wanted, engine: Engine) -> list[list[PreparedChoice]]:
        if wanted.chat and not engine.has_chat_template:
            raise ApiError(
                400,
                f"{self.name} has no chat template; ask /v1/completions",
                param="messages",
                code="no_chat_template",
            )
        options = GenerationOptions(
            max_new_tokens=wanted.max_tokens or DEFAULT_TOKENS,
            stop=wanted.stop,
            chat=wanted.chat,
            **wanted.sampling,
        )
        sampling = replace(
            resolve(options, engine),
            presence_penalty=wanted.presence_penalty,
            frequency_penalty=wanted.frequency_penalty,
            logit_bias=wanted.logit_bias,
        )
        vocabulary = int(engine.config.get_text_config().vocab_size)
        for token, _ in wanted.logit_bias:
            if token >= vocabulary:
                raise bad("logit_bias", f"names the token {token}, and {self.name} has {vocabulary}")
        maker = PromptMaker(engine, options)
        constraint = Formed(wanted.form, engine)
        seed = secrets.randbits(32) if wanted.seed is None else wanted.seed % 2**64
        found = []
        for i, content in enumerate(wanted.prompts):
            ids, limit, thinking = self._prompt(content, maker, options, vocabulary)
            request = Request(
                replace(sampling, max_new_tokens=limit),
                ids=ids,
                key=(seed, i, 0),
                logprobs=wanted.logprobs,
                constraint=constraint.after(thinking=thinking),
            )
            copies = [replace(request, key=(seed, i, n)) for n in range(wanted.n)]
            shown = thinking if wanted.chat else None
            found.append([PreparedChoice(one, sampling.stop, shown) for one in copies])
        return found

    def _prompt(
        self, content: Any, maker: PromptMaker, options: GenerationOptions, vocabulary: int
    ) -> tuple[list[int], int, bool]:
        """Return a prompt's ids, the limit on the tokens after it, and if it ends inside thoughts."""
        engine = self.engine
        where = "prompt" if isinstance(content, str) or not options.chat else "messages"
        if isinstance(content, list) and not options.chat:
            context = engine.context_length
            if max(content) >= vocabulary:
                raise bad("prompt", f"holds the token {max(content)}, and {self.name} has {vocabulary}")
            ids, limit, thinking = content, options.max_new_tokens, False
            if context is not None:
                limit = min(limit, context - len(ids))
        else:
            length = len(content) if isinstance(content, str) else sum(len(str(one)) for one in content)
            self._check_length(length, where)
            try:
                prompt = maker.prepare_one(content, where=where)
            except RowError as error:
                context = engine.context_length
                text = isinstance(content, str)
                count = maker.count_tokens([content])[0] if text else maker.count_chat_tokens(content)
                if context is None or count < context:
                    raise bad(where, error.reason) from error
                reason = f"has {count} tokens, and {self.name} sees {context}, the answer included"
                raise bad(where, reason, _TOO_LONG) from error
            assert prompt.ids is not None
            ids, limit, thinking = list(prompt.ids), prompt.new_tokens, prompt.thinking
        if limit < 1:
            raise bad(
                where, f"has {len(ids)} tokens, and {self.name} sees {engine.context_length}", _TOO_LONG
            )
        return ids, limit, thinking

    def _check_length(self, characters: int, where: str) -> None:
        """Refuse a prompt that no tokenizer can make fit, before it is tokenized."""
        context = self.engine.context_length
        if context is not None and characters > context * 256:
            raise bad(where, f"has {characters} characters, and {self.name} sees {context} tokens", _TOO_LONG)


_TOO_LONG = "context_length_exceeded"


class Answering:
    """Answers on their way: a context that cancels what is left when it is closed.

    Args:
        model: the model.
        prepared: the answers to be written.
        seconds: deadline.
    """

    def __init__(self, model: ServedModel, prepared: Sequence[PreparedChoice], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()

        def emitter(index: int) -> Callable[[Event], None]:
            return lambda event: _ignore(loop.call_soon_threadsafe(self._events.put_nowait, (index, event)))

        deadline = time.monotonic() + seconds
        self._jobs = [AnswerJob(one.request, emitter(i), deadline) for i, one in enumerate(prepared)]
        model.worker.submit(self._jobs)

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *_: object) -> None:
        for job in self._jobs:
            job.cancelled = True

    async def events(self, silence: float) -> AsyncIterator[tuple[int, Event] | None]:
        """Yield (answer, event) until all answers ended; None after each `silence` seconds without any."""
        left = len(self._jobs)
        while left:
            try:
                index, event = await asyncio.wait_for(self._events.get(), silence)
            except TimeoutError:
                yield None
                continue
            left -= not isinstance(event, NewTokens)
            yield index, event


def _ignore(_: object) -> None:
    pass
