"""The engine for endpoints: turns requests into OpenAI's JSON, and responses into completions."""

from __future__ import annotations

import asyncio
import hashlib
import os
import queue
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from llmkit.engines.base import Completion, FinishReason, OnPiece, OnTokens, Request, Sampling, check_request
from llmkit.engines.http.endpoint import KEY_VARIABLE, Endpoint, checked_url
from llmkit.engines.streaming import check_streamed
from llmkit.errors import InputError, RequestRefused
from llmkit.text.chat.conversations import MessageList
from llmkit.text.chat.reasoning import CLOSE, OPEN

if TYPE_CHECKING:
    from llmkit.engines.base import LiveBatch, Session

T = TypeVar("T")

# Settings that endpoints support: llmkit's name -> JSON field.
_FIELDS = {
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repetition_penalty": "repetition_penalty",
    "stop": "stop",
    "num_return_sequences": "n",
}
# llama.cpp ignores unknown fields.
_LLAMA_CPP = {"repetition_penalty": "repeat_penalty"}
_OPENAI = "api.openai.com"
_CHARACTERS = 4  # characters per token, if the server does not count tokens


@dataclass
class _PartialAnswer:
    """An answer while its pieces arrive.

    Attributes:
        text, reasoning: the pieces so far.
        finish: OpenAI's finish reason.
    """

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish: str | None = None

    def whole(self) -> str:
        """Return the text, after the thoughts in the form of a reasoning model."""
        thoughts = "".join(self.reasoning)
        return f"{OPEN}{thoughts}{CLOSE}" * bool(thoughts) + "".join(self.text)


class HttpEngine:
    """An `Engine` whose model runs behind a URL. Its answers are not reproducible to the byte.

    Args:
        url: base URL, such as ``http://127.0.0.1:8000/v1``.
        model: the model's name on the server; empty selects the only model of the server.
        key: API key; None uses that of the environment.
        concurrency: requests at once.
        timeout: maximum number of seconds for one attempt of a request.

    Without `key` it comes from the environment variable LLMKIT_API_KEY (for api.openai.com also
    OPENAI_API_KEY).

    Raises:
        OptionError: the URL or the concurrency is bad.
        InputError: the server cannot be reached, refuses the key, or has several models and none is named.
    """

    tokenizer: Any = None
    is_encoder_decoder = False
    has_chat_template = True
    config: Any = None
    abilities = frozenset(_FIELDS)
    defaults = Sampling()
    samples_by_default = False

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        key: str | None = None,
        concurrency: int = 8,
        timeout: float = 600,
    ) -> None:
        url = checked_url(url)
        self._is_openai = urlsplit(url).hostname == _OPENAI
        if key is None:
            own = os.environ.get("OPENAI_API_KEY") if self._is_openai else None
            key = os.environ.get(KEY_VARIABLE) or own
        self._endpoint = Endpoint(url, key=key or None, concurrency=concurrency, timeout=timeout)
        described = self._described(model)
        self.name = str(described["id"])
        self._fields = {**_FIELDS, **(_LLAMA_CPP if described.get("owned_by") == "llamacpp" else {})}
        length = described.get("max_model_len")
        self.context_length: int | None = length if isinstance(length, int) and length > 0 else None
        self.batch_rows: int | None = 4 * concurrency
        self.notes: Sequence[str] = (f"{self.name} answers at {url}, {concurrency} requests at once",)

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        for one in requests:
            check_request(one, self)

        return self._all(map(self._ask, requests))

    def stream(
        self,
        request: Request,
        on_tokens: OnTokens,
        *,
        session: Session | None = None,
        on_piece: OnPiece | None = None,
    ) -> Completion:
        check_request(request, self)
        check_streamed(request)
        pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        answer, usage = _PartialAnswer(), dict[str, Any]()
        failures: list[BaseException] = []

        async def read() -> None:
            path, body = self._body(request)
            body |= {"stream": True, "stream_options": {"include_usage": True}}
            try:
                async for event in self._endpoint.events(path, body):
                    usage.update(event.get("usage") or {})
                    for piece in _pieces(event, answer):
                        pieces.put(piece)
            except BaseException as error:
                failures.append(error)
                raise
            finally:
                pieces.put(None)

        stop = self._endpoint.start(read())
        shown: list[str] = []
        try:
            while (piece := pieces.get()) is not None:
                shown.append(piece)
                if on_piece is not None:
                    on_piece(piece)
                if on_tokens([len(shown) - 1]) is False:
                    prompt = _count(usage, "prompt") or _estimate(request)
                    return Completion(list(range(len(shown))), "interrupted", prompt, "".join(shown))
        finally:
            stop()
        if failures:
            raise failures[0]
        total = max(len(shown), _count(usage, "completion"))
        if total > len(shown):
            on_tokens(list(range(len(shown), total)))
        prompt = _count(usage, "prompt") or _estimate(request)
        return Completion(list(range(total)), _finish(answer.finish), prompt, answer.whole())

    def session(self) -> Session | None:
        return None

    def live_batch(self, prompt_cache: int = 0) -> LiveBatch | None:
        return None

    def token_budget(self) -> int | None:
        return None

    def identity(self) -> dict[str, Any]:
        return {"engine": "http", "model": self.name, "url": self._endpoint.url}

    def score_texts(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the log-probabilities of the tokens of texts, by the server's tokenizer.

        The first token has no value, unless the server adds a token before the text.

        Raises:
            OptionError: the server gives no log-probabilities of prompts.
            RequestRefused: it refuses a text.
        """
        from llmkit.engines.http.prompt_logprobs import request_for, scores_of

        bodies = [request_for(self.name, text) for text in texts]
        found = self._all(self._endpoint.post("/completions", body) for body in bodies)
        return [
            scores_of(answer, text, self._endpoint.url) for answer, text in zip(found, texts, strict=True)
        ]

    def _all(self, calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Run calls at the same time; an error of the whole server precedes errors of single requests."""

        async def gathered() -> list[T | BaseException]:
            return await asyncio.gather(*calls, return_exceptions=True)

        found = self._endpoint.run(gathered())
        failed = [one for one in found if isinstance(one, BaseException)]
        for error in sorted(failed, key=lambda one: isinstance(one, RequestRefused)):
            raise error
        return [one for one in found if not isinstance(one, BaseException)]

    def _described(self, model: str) -> dict[str, Any]:
        """Return the server's description of the model; for a model that it does not list, only the name."""
        try:
            found = self._endpoint.run(self._endpoint.get("/models"))
        except InputError:
            if not model:
                raise
            return {"id": model}  # some servers have no list; the first request then shows an error
        listed = found.get("data") if isinstance(found, dict) else None
        models = [one for one in listed or () if isinstance(one, dict) and one.get("id")]
        if not model and len(models) != 1:
            names = ", ".join(str(one["id"]) for one in models[:5])
            raise InputError(f"{self._endpoint.url} has {len(models)} models ({names}); give one as `model`")
        return next((one for one in models if model in ("", one["id"])), {"id": model})

    def _body(self, request: Request) -> tuple[str, dict[str, Any]]:
        """Return the path and the JSON of a request."""
        sampling = request.sampling
        body: dict[str, Any] = {"model": self.name, "temperature": sampling.temperature}
        length = "max_completion_tokens" if self._is_openai and request.messages else "max_tokens"
        body[length] = sampling.max_new_tokens
        for name, value in sampling.as_json().items():
            if name in self._fields:
                body[self._fields[name]] = list(value) if isinstance(value, tuple) else value
        if not sampling.greedy:
            body["seed"] = _seed(request.key)
        if request.messages is None:
            return "/completions", {**body, "prompt": request.text}
        if isinstance(request.messages, MessageList) and request.messages.tools:
            body["tools"] = request.messages.tools
        return "/chat/completions", {**body, "messages": list(request.messages)}

    async def _ask(self, request: Request) -> list[Completion]:
        path, body = self._body(request)
        found = await self._endpoint.post(path, body)
        try:
            choices = sorted(found["choices"], key=lambda one: one.get("index", 0))
            answers = []
            for choice in choices:
                answer = _PartialAnswer()
                for _ in _pieces({"choices": [choice]}, answer):
                    pass
                answers.append(answer)
        except (KeyError, TypeError, AttributeError):
            raise RequestRefused(f"{self._endpoint.url} sent a response not in OpenAI's form") from None
        if len(answers) != request.sampling.num_return_sequences:
            raise RequestRefused(
                f"{self._endpoint.url} gave {len(answers)} answers of {request.sampling.num_return_sequences}"
            )
        usage = found.get("usage") or {}
        counts = _shares(_count(usage, "completion"), [len(one.whole()) for one in answers])
        prompt = _count(usage, "prompt") or _estimate(request)
        return [
            Completion(list(range(count)), _finish(one.finish), prompt, one.whole())
            for one, count in zip(answers, counts, strict=True)
        ]


def _pieces(event: dict[str, Any], answer: _PartialAnswer) -> list[str]:
    """Add a choice, complete or a part of it, to an answer; return the new text."""
    found = []
    for choice in event.get("choices") or ():
        message = choice.get("delta") or choice.get("message") or {}
        thought = message.get("reasoning_content") or message.get("reasoning")
        text = message.get("content") or choice.get("text")
        if isinstance(thought, str) and thought:
            found.append(OPEN * (not answer.reasoning) + thought)
            answer.reasoning.append(thought)
        if isinstance(text, str) and text:
            found.append(CLOSE * bool(answer.reasoning and not answer.text) + text)
            answer.text.append(text)
        answer.finish = choice.get("finish_reason") or answer.finish
    return found


def _finish(reason: str | None) -> FinishReason:
    return "length" if reason in ("length", "max_tokens") else "stop"


def _count(usage: Any, what: str) -> int:
    """Return a number of tokens; 0 if the server counts none."""
    value = usage.get(f"{what}_tokens") if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value > 0 else 0


def _estimate(request: Request) -> int:
    texts = [request.text or "", *(str(one.get("content")) for one in request.messages or ())]
    return sum(map(len, texts)) // _CHARACTERS + 1


def _shares(total: int, lengths: Sequence[int]) -> list[int]:
    """Divide a number of tokens among answers by their lengths; without a number, estimate each."""
    if not total:
        return [length // _CHARACTERS + 1 for length in lengths]
    if len(lengths) == 1:
        return [total]
    return [max(1, round(total * length / max(1, sum(lengths)))) for length in lengths]


def _seed(key: tuple[int, int, int]) -> int:
    """Return the seed of one row's sample: 31 bits, which every server accepts."""
    digest = hashlib.sha256(" ".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
