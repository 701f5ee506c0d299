"""Models of a server, each with its own thread, and their requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmkit.serving.errors import ApiError
from llmkit.serving.parsing.answer_text import AnswerText
from llmkit.serving.scheduling.abilities import Abilities, abilities_of
from llmkit.serving.scheduling.jobs import GRACE, CallJob, TextBatch, too_late
from llmkit.serving.scheduling.prepare import PreparedChoice, prepare
from llmkit.serving.scheduling.wanted import Wanted
from llmkit.serving.scheduling.worker import Worker
from llmkit.serving.tools.family import ToolSupport, support_of
from llmkit.text.token_bytes import TokenBytes

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.serving.metrics import Metrics
    from llmkit.serving.settings import ServerSettings


class ServedModel:
    """One model behind the server.

    Args:
        name: the name that clients use.
        open_engine: function that opens it, called in the model's own thread.
        settings: limits of its queue and its memory.
        metrics: counts tokens and times.
        log: receives lines about errors.
    """

    def __init__(
        self,
        name: str,
        open_engine: Callable[[], Any],
        settings: ServerSettings,
        *,
        metrics: Metrics,
        log: Callable[[str], None],
    ) -> None:
        self.name = name
        self.created = int(time.time())
        self.worker = Worker(name, open_engine, settings, metrics=metrics, log=log)
        # Templates and tokenizers run in this thread, not in the event loop or the model's thread.
        self._tool_support: ToolSupport | None = None
        self._abilities: Abilities | None = None
        self._preparing = ThreadPoolExecutor(1, thread_name_prefix=f"llmkit-{name}-prompts")

    async def loaded(self, seconds: float) -> None:
        """Wait until the model is loaded or its loading failed.

        Raises:
            ApiError: it takes longer than `seconds`.
        """
        end = time.monotonic() + seconds
        while not self.worker.loaded.is_set():
            if time.monotonic() > end:
                raise ApiError(503, f"{self.name} is being loaded", code="model_loading", retry_after=2)
            await asyncio.sleep(0.02)

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
            message = f"{self.name} does not write text; use {route}"
            raise ApiError(400, message, param="model", code="model_writes_no_text")
        if self.worker.engine is None or not self.worker.loaded.is_set():
            raise ApiError(503, f"{self.name} is being loaded", code="model_loading", retry_after=2)
        return self.worker.engine

    async def abilities(self) -> Abilities | None:
        """Return the abilities of the model; None until it was loaded for the first time."""
        opened = self.worker.reader or self.worker.engine
        if self._abilities is None and opened is not None and self.worker.loaded.is_set():
            self._abilities = await self.in_background(lambda: abilities_of(opened))
        return self._abilities

    @cached_property
    def token_bytes(self) -> TokenBytes:
        """Bytes of the model's tokens."""
        return TokenBytes(self.engine.tokenizer)

    async def in_background(self, function: Callable[[], Any]) -> Any:
        """Run a function in the thread for templates and tokenizers."""
        return await asyncio.get_running_loop().run_in_executor(self._preparing, function)

    async def prepare(self, wanted: Wanted) -> list[list[PreparedChoice]]:
        """Return `wanted.n` answers to generate for each prompt.

        Raises:
            ApiError, InputError: the prompt or a setting is bad for this model.
        """
        engine = self.engine
        found: list[list[PreparedChoice]] = await self.in_background(
            lambda: prepare(wanted, engine, self.name, self.tool_support)
        )
        return found

    def text_of(self, one: PreparedChoice) -> AnswerText:
        """Return the object that turns an answer's tokens into text."""
        return AnswerText(
            self.engine.tokenizer,
            self.token_bytes,
            stops=one.stops,
            thinking=one.thinking,
            **one.parsers(),
        )

    def tool_support(self) -> ToolSupport:
        """Return the tool support of the model's chat template; call it in the background."""
        if self._tool_support is None:
            self._tool_support = support_of(self.engine.tokenizer)
        return self._tool_support

    async def call_texts(self, batch: TextBatch, seconds: float) -> Any:
        """Return a result for each text; calls that wait at the same time may run together; see `call`.

        A model that samples by default runs them one by one: its random numbers depend on the text's number.
        """
        alone = self.worker.reader is not None or self.engine.samples_by_default
        return await self.call(
            lambda engine: batch.function(engine, batch.texts), seconds, None if alone else batch
        )

    async def call(
        self, function: Callable[[Any], Any], seconds: float, batch: TextBatch | None = None
    ) -> Any:
        """Run a function in the model's thread and return its result.

        Args:
            function: receives the engine, or the `LoadedModel` of a model that does not write text.
            seconds: time limit.
            batch: the same work as texts, if other calls may join it.

        Raises:
            ApiError: the queue is full, or the time limit has passed.
        """
        if self.worker.reader is None:
            _ = self.engine  # raises if it is not loaded
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
            batch,
        )
        self.worker.submit([call])
        try:
            async with asyncio.timeout(seconds + GRACE):
                return await future
        except TimeoutError:
            raise too_late() from None
        finally:
            call.cancelled = True


def _ignore(_: object) -> None:
    pass
