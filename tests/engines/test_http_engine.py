"""The engine for endpoints: the suite of all engines against `llmkit serve`, and a server that misbehaves."""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from llmkit import ModelSpec
from llmkit.engines.base import Request, Sampling
from llmkit.engines.http import endpoint
from llmkit.engines.http.engine import HttpEngine
from llmkit.engines.open import open_engine
from llmkit.errors import InputError, LLMKitError, OptionError, RequestRefused
from llmkit.serving.app import make_app
from llmkit.serving.settings import ServerSettings
from tests.command import assert_refused, run
from tests.engines.contract import EngineContract

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
KEY = "sk-very-secret-0123"


class Server:
    """An aiohttp application on a free port of this machine, in a thread of its own."""

    def __init__(self, make: Callable[[], web.Application]) -> None:
        self._ready = threading.Event()
        self._make = make
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(60)

    def _run(self) -> None:
        self._loop.run_until_complete(self._start())
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())

    async def _start(self) -> None:
        self._runner = web.AppRunner(self._make(), access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, shutdown_timeout=1)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        self._ready.set()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


class TestAgainstLlmkitServe(EngineContract):
    @pytest.fixture(scope="class")
    def engine(self) -> Iterator[HttpEngine]:
        model = open_engine(ModelSpec("stories", device="cpu", dtype="float32", bundled=True))
        server = Server(lambda: make_app({"stories": lambda: model}, ServerSettings(), print))
        yield HttpEngine(server.url)
        server.stop()


class Fake:
    """A server whose answers a test writes; it counts the requests and keeps their bodies and headers."""

    def __init__(self, handler: Handler) -> None:
        self.bodies: list[Any] = []
        self.headers: list[Any] = []
        self._handler = handler
        self.server = Server(self._app)
        self.url = self.server.url

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/{path:.*}", self._answer)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        return web.json_response({"data": [{"id": "m", "max_model_len": 100}]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        return await self._handler(request)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Handler], Fake]]:
    started: list[Fake] = []
    waits: list[float] = []

    async def sleep(seconds: float, real: Any = asyncio.sleep) -> None:
        waits.append(seconds)
        await real(0)

    monkeypatch.setattr("llmkit.engines.http.endpoint.asyncio.sleep", sleep)

    def start(handler: Handler) -> Fake:
        started.append(Fake(handler))
        started[-1].waits = waits  # type: ignore[attr-defined]
        return started[-1]

    yield start
    for one in started:
        one.server.stop()


def answer(text: str = "Hi", **more: Any) -> web.Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return web.json_response(
        {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}, **more}
    )


def asked(text: str = "Hello", **settings: Any) -> Request:
    return Request(Sampling(**settings), messages=[{"role": "user", "content": text}], key=(7, 1, 0))


async def good(request: web.Request) -> web.Response:
    return answer()


def test_settings_travel_under_the_names_of_the_api(serve: Callable[[Handler], Fake]) -> None:
    fake = serve(good)
    engine = HttpEngine(fake.url)
    assert (engine.name, engine.context_length) == ("m", 100)
    ((found,),) = engine.generate([asked(temperature=0.5, top_p=0.9, stop=("x",), max_new_tokens=5)])
    assert (found.text, found.prompt_tokens, len(found.ids), found.finish_reason) == ("Hi", 3, 2, "stop")
    (body,) = fake.bodies
    seed = body.pop("seed")
    assert 0 <= seed < 2**31
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["x"],
    }
    engine.generate([Request(Sampling(), text="Once")])
    assert fake.bodies[1]["prompt"] == "Once"
    assert "seed" not in fake.bodies[1]


def test_thoughts_come_in_front(serve: Callable[[Handler], Fake]) -> None:
    async def thinks(request: web.Request) -> web.Response:
        message = {"role": "assistant", "content": "4", "reasoning_content": "2+2"}
        return web.json_response({"choices": [{"message": message, "finish_reason": "length"}]})

    ((found,),) = HttpEngine(serve(thinks).url).generate([asked()])
    assert (found.text, found.finish_reason) == ("<think>2+2</think>4", "length")


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_tried_again_after_the_time_that_is_asked(
    serve: Callable[[Handler], Fake], status: int
) -> None:
    async def twice(request: web.Request) -> web.Response:
        if len(fake.bodies) < 3:
            return web.json_response(
                {"error": {"message": "busy"}}, status=status, headers={"Retry-After": "7"}
            )
        return answer()

    fake = serve(twice)
    assert HttpEngine(fake.url).generate([asked()])[0][0].text == "Hi"
    assert fake.waits == [7.0, 7.0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content", "status", "tries", "kind", "message"),
    [
        (b"<html>", 200, 6, RequestRefused, "a response that is not JSON, 6 times"),
        (b'{"choices": 3}', 200, 1, RequestRefused, "not in OpenAI's form"),
        (b'{"choices": []}', 200, 1, RequestRefused, "gave 0 answers of 1"),
        (b'{"error": {"message": "too long"}}', 400, 1, RequestRefused, "answered 400: too long"),
        (b'{"detail": [{"loc": 1}]}', 422, 1, RequestRefused, "answered 422"),
        (b"", 401, 1, InputError, "rejects the key (401); put the right one into LLMKIT_API_KEY"),
        (b'{"error": "no such model"}', 404, 1, InputError, "no such model"),
        (b"", 302, 1, InputError, "answered 302"),
        (b'{"error": {"message": "slow down"}}', 429, 6, LLMKitError, "answered 429: slow down, 6 times"),
        (b"\xff\xfe", 500, 6, RequestRefused, "answered 500"),
    ],
)
def test_bad_answers_are_named(
    serve: Callable[[Handler], Fake],
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    status: int,
    tries: int,
    kind: type[Exception],
    message: str,
) -> None:
    async def bad(request: web.Request) -> web.Response:
        return web.Response(body=content, status=status, headers={"Location": "http://127.0.0.1:1/"})

    monkeypatch.setenv(endpoint.KEY_VARIABLE, KEY)
    fake = serve(bad)
    with pytest.raises(kind) as raised:
        HttpEngine(fake.url).generate([asked()])
    assert message in str(raised.value)
    assert KEY not in str(raised.value)
    assert type(raised.value) is kind
    assert len(fake.bodies) == tries


def test_a_server_that_wants_a_long_pause_ends_the_run(serve: Callable[[Handler], Fake]) -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3600"})

    with pytest.raises(LLMKitError, match="asks to wait 3600 seconds"):
        HttpEngine(serve(busy).url).generate([asked()])


def test_a_slow_server_is_left(serve: Callable[[Handler], Fake]) -> None:
    hold = threading.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not hold.is_set():
            await response.write(b" ")
            await asyncio.get_running_loop().run_in_executor(None, hold.wait, 0.05)
        return response

    fake = serve(slow)
    try:
        with pytest.raises(RequestRefused, match=r"sent no response within 0\.2 seconds, 6 times"):
            HttpEngine(fake.url, timeout=0.2).generate([asked()])
    finally:
        hold.set()


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    serve: Callable[[Handler], Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = serve(good)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-host")
    engine = HttpEngine(fake.url)
    assert "Authorization" not in fake.headers[-1]
    monkeypatch.setenv(endpoint.KEY_VARIABLE, KEY)
    engine = HttpEngine(fake.url)
    assert fake.headers[-1]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in json.dumps([engine.identity(), engine.notes, engine.name])


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("llama.gguf", "is not known"),
        ("ftp://host/v1", "is not known"),
        ("http://me:secret@host/v1", "contains a password"),
        ("http://host/v1?key=1", "must be the base URL"),
        ("http://host:99999/v1", "is not a URL"),
    ],
)
def test_bad_urls_are_refused(url: str, reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        HttpEngine(url)


def test_urls_get_the_path_of_the_api() -> None:
    assert endpoint.checked_url("http://host:8000") == "http://host:8000/v1"
    assert endpoint.checked_url("https://host/api/v2/") == "https://host/api/v2"
    assert endpoint.checked_url("http://[::1]:80/") == "http://[::1]:80/v1"


def test_no_server_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(seconds: float, real: Any = asyncio.sleep) -> None:
        await real(0)

    monkeypatch.setattr("llmkit.engines.http.endpoint.asyncio.sleep", sleep)
    with pytest.raises(InputError, match="is the server running"):
        HttpEngine("http://127.0.0.1:9/v1")


def events(*texts: str, end: bytes = b"data: [DONE]\n\n") -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for text in texts:
            event = {"choices": [{"delta": {"content": text}}]}
            await response.write(b": ping\n\ndata: " + json.dumps(event).encode() + b"\n\n")
        await response.write(end)
        return response

    return handle


def test_a_stream_hands_over_pieces(serve: Callable[[Handler], Fake]) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 5}}
    end = b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\n"
    pieces: list[str] = []
    ids: list[int] = []
    engine = HttpEngine(serve(events("Ä", "pfel", " gut", end=end)).url)
    found = engine.stream(asked(), ids.extend, on_piece=pieces.append)
    assert pieces == ["Ä", "pfel", " gut"]
    assert (found.text, found.ids, found.prompt_tokens) == ("Äpfel gut", ids, 4)
    assert ids == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (b"", "ended the stream before it was complete"),
        (b'data: {"error": {"message": "gone"}}\n\n', "the server ended the answer: gone"),
        (b"data: {broken\n\n", "not JSON"),
    ],
)
def test_a_stream_that_breaks_off_is_an_error_and_not_tried_again(
    serve: Callable[[Handler], Fake], end: bytes, message: str
) -> None:
    fake = serve(events("one", end=end))
    with pytest.raises(LLMKitError, match=message):
        HttpEngine(fake.url).stream(asked(), lambda ids: None)
    assert len(fake.bodies) == 1


def test_rows_that_the_server_refuses_fail_alone_and_the_file_keeps_their_order(
    serve: Callable[[Handler], Fake], tmp_path: Path
) -> None:
    async def picky(request: web.Request) -> web.Response:
        text = fake.bodies[-1]["messages"][0]["content"]
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.002 * (len(text) % 5))
        if "bad" in text:
            return web.json_response({"error": {"message": "no bad words"}}, status=400)
        return answer(f"re: {text}")

    fake = serve(picky)
    rows = tmp_path / "rows.jsonl"
    texts = [("bad " if i in (3, 17, 18) else "") + "x" * (i % 7) + str(i) for i in range(40)]
    rows.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    out = tmp_path / "out.jsonl"
    shell = [str(rows), "-o", str(out), "--engine", fake.url, "--concurrency", "4"]
    result = run("generate", "--input", *shell, "--on-error", "skip")
    assert result.code == 3, result.err
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["prompt"] for one in found] == texts
    for one in found:
        if "bad" in one["prompt"]:
            assert one["error"].endswith("answered 400: no bad words")
        else:
            assert one["generated_text"] == f"re: {one['prompt']}"


@pytest.mark.parametrize(
    "flag", [["--quantize", "int8"], ["--adapter", "x"], ["--device", "cpu"], ["--offline"]]
)
def test_what_the_server_decides_is_refused(flag: list[str]) -> None:
    result = run("generate", "hi", "--engine", "http://127.0.0.1:9/v1", *flag)
    assert_refused(result, option=flag[0].removeprefix("--"))


@pytest.mark.parametrize("metric", ["multiple_choice", "minimal_pairs"])
def test_likelihoods_of_choices_need_the_model_itself(metric: str, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a", "question": "q", "choices": ["a", "b"], "answer": 0}\n')
    result = run("eval", str(rows), "--engine", "http://127.0.0.1:9/v1", "-m", "m", "--metric", metric)
    assert_refused(result, option="engine")


def echo(text: str, logprobs: list[float | None], written: str = " x") -> web.Response:
    """Answer as vLLM does for `echo`: one token a word, and one that was written after them."""
    words = re.findall(r"\s*\S+", text)
    offsets = [text.index(word) for word in words]
    found = {"token_logprobs": [*logprobs, -9.0], "text_offset": [*offsets, len(text)]}
    return web.json_response({"choices": [{"text": text + written, "logprobs": found}]})


def test_perplexity_of_an_endpoint(serve: Callable[[Handler], Fake], tmp_path: Path) -> None:
    async def scoring(request: web.Request) -> web.Response:
        text = fake.bodies[-1]["prompt"]
        return echo(text, [None, *(-1.0 for _ in text.split()[1:])])

    fake = serve(scoring)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "one two three"}\n{"text": "four five"}\n')
    result = run("eval", str(rows), "--metric", "perplexity", "--engine", fake.url, "--json")
    assert result.code == 0, result.err
    (score, _, _) = json.loads(result.out)["scores"]
    # Three tokens are scored, each with a loss of 1 nat.
    assert (score["score"], score["details"]["tokens"]) == (pytest.approx(math.e), 3)
    assert "|model:m|engine:http|" in score["signature"]
    assert {"echo": True, "logprobs": 1, "prompt": "four five"}.items() <= fake.bodies[-1].items()


@pytest.mark.parametrize(
    "found",
    [
        {"text": " x"},  # the server ignores `echo`
        {"text": "one two x", "logprobs": None},
        {"text": "one two x", "logprobs": {"token_logprobs": [None, None, -1], "text_offset": [0, 3, 7]}},
        {"text": "one two x", "logprobs": {"token_logprobs": [None, "a", -1], "text_offset": [0, 3, 7]}},
        {"text": "one two x", "logprobs": {"token_logprobs": [None, 3.0], "text_offset": [0, 3]}},
        {"text": "one two x", "logprobs": {"token_logprobs": [], "text_offset": []}},
        {"text": " x", "logprobs": {"token_logprobs": [-1], "text_offset": [0]}},
    ],
)
def test_an_endpoint_that_scores_no_prompts_is_refused(
    serve: Callable[[Handler], Fake], found: dict[str, Any]
) -> None:
    async def bad(request: web.Request) -> web.Response:
        return web.json_response({"choices": [found]})

    with pytest.raises(OptionError) as raised:
        HttpEngine(serve(bad).url).score_texts(["one two"])
    assert raised.value.option == "engine"


@pytest.mark.parametrize(
    ("flags", "option"),
    [(["--window", "8"], "window"), (["--concatenate"], "concatenate"), (["--token-losses"], "token_losses")],
)
def test_what_needs_the_tokens_is_refused_for_an_endpoint(
    flags: list[str], option: str, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n')
    shell = [str(rows), "--metric", "perplexity", "--engine", "http://127.0.0.1:9/v1", "-m", "m"]
    shell += ["--per-record", str(tmp_path / "out.jsonl")]
    assert_refused(run("eval", *shell, *flags), option=option)
