"""Clients that leave, queues that are full, models that fail, keys and hosts."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llmkit
from llmkit.engines.base import Engine
from llmkit.engines.transformers.engine import TransformersEngine
from llmkit.engines.transformers.step_batch import StepBatch
from llmkit.serving.settings import ServerSettings
from tests.command import assert_refused, run
from tests.serving.conftest import Client, serving

LONG = {
    "model": "stories",
    "prompt": "Once upon a time",
    "temperature": 1,
    "max_tokens": 480,
    "logit_bias": {"0": -100},
}


def leave(client: Client, body: dict[str, Any], *, after: int) -> None:
    """Ask, read so many bytes, and leave."""

    async def ask() -> None:
        response = await client.client.post("/v1/completions", json=body)
        if after:
            await response.content.readexactly(after)
        response.close()

    client.runner.run(ask())


def leave_waiting(client: Client, body: dict[str, Any]) -> None:
    """Ask for a whole answer and leave before it is there."""

    async def ask() -> None:
        task = asyncio.ensure_future(client.client.post("/v1/completions", json=body))
        await asyncio.sleep(0.3)
        task.cancel()

    client.runner.run(ask())


@pytest.mark.parametrize("model", ["stories", "storyteller"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_row(
    serve: Callable[..., Any], model: str, stream: bool, slow_steps: None
) -> None:
    with serve() as client:
        body = {**LONG, "model": model, "stream": stream}
        if stream:
            leave(client, body, after=300)
        else:
            leave_waiting(client, body)
        workers = [one.worker for one in client.state.models.values()]
        client.until(lambda: all(worker.idle for worker in workers))
        metrics = client.get("/metrics")[1]
        assert f'llmkit_answers_total{{model="{model}",reason="interrupted"}} 1' in metrics
        assert client.post("/v1/completions", {**LONG, "model": model, "max_tokens": 3})[0] == 200


@pytest.fixture
def slow_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each token take a hundredth of a second, so that a client has time to leave."""
    from llmkit.serving.scheduling.jobs import AnswerJob

    take = AnswerJob.take

    def slowly(self: AnswerJob, *arguments: Any) -> bool:
        time.sleep(0.01)
        return take(self, *arguments)

    monkeypatch.setattr(AnswerJob, "take", slowly)


def test_a_full_queue_refuses_and_says_when_to_come_again(
    serve: Callable[..., Any], one_by_one: None, slow_steps: None
) -> None:
    with serve(max_queue=1) as client:
        body = {**LONG, "model": "storyteller", "max_tokens": 20}
        found = client.together("/v1/completions", [body] * 5)
        statuses = sorted(status for status, _ in found)
        assert statuses == [200, 200, 429, 429, 429]
        error = next(answer["error"] for status, answer in found if status == 429)
        assert error["code"] == "queue_full"
        _, _, headers = client.full("POST", "/v1/completions", json={**body, "n": 3})
        assert headers["Retry-After"] == "1"


def test_a_request_ends_at_its_deadline(serve: Callable[..., Any], slow_steps: None) -> None:
    with serve(request_timeout=0.5) as client:
        status, answer = client.post("/v1/completions", LONG)
        assert (status, answer["error"]["code"]) == (504, "timeout")
        events = client.events("/v1/completions", LONG)
        assert events[-1]["error"]["code"] == "timeout"  # after the first byte, as an event


@pytest.mark.parametrize("path", ["/v1/completions", "/api/generate", "/v1/summaries"])
def test_a_client_may_set_its_deadline_and_a_busy_model_does_not_delay_it(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def busy(self: Any, *arguments: Any) -> Any:
        time.sleep(1.5)
        return []

    body = {"/v1/completions": LONG, "/api/generate": {"model": "stories", "prompt": "Once", "stream": False}}
    asked = body.get(path, {"model": "storyteller", "input": "A dog ran. " * 9})
    with serve() as client:
        for bad in ("0", "-1", "soon", "nan", "inf"):
            assert client.post(path, asked, headers={"X-Request-Timeout": bad})[0] == 400
        monkeypatch.setattr(StepBatch, "step", busy)
        monkeypatch.setattr(TransformersEngine, "generate", busy)
        begun = time.monotonic()
        assert client.post(path, asked, headers={"X-Request-Timeout": "0.1"})[0] == 504
        assert time.monotonic() - begun < 1.4
        monkeypatch.undo()


def test_a_stream_without_tokens_is_kept_open(serve: Callable[..., Any], slow_steps: None) -> None:
    with serve(silence=0.01) as client:
        events = client.events("/v1/completions", {**LONG, "max_tokens": 20})
        assert ": keep-alive" in events
        assert events[-1] == "[DONE]"


def test_a_step_that_fails_fails_its_rows_and_not_the_server(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmkit.engines.transformers.step_batch import StepBatch

    step, failing = StepBatch.step, [True]

    def fail(self: StepBatch) -> Any:
        if failing:
            raise ValueError("secret of the model")
        return step(self)

    monkeypatch.setattr(StepBatch, "step", fail)
    with serve() as client:
        for status, answer in client.together("/v1/completions", [LONG] * 2):
            assert (status, answer["error"]["type"]) == (500, "server_error")
            assert "secret" not in json.dumps(answer)
        assert any("secret" in line for line in client.log)
        failing.clear()
        assert client.post("/v1/completions", {**LONG, "max_tokens": 2})[0] == 200


def test_a_model_that_loads_or_failed_is_told(engines: dict[str, Engine]) -> None:
    def fail() -> Engine:
        raise ValueError("no weights")

    with serving({}) as client:
        from llmkit.serving.scheduling.models import ServedModel

        state = client.state
        release = threading.Event()

        def wait() -> Engine:
            release.wait()
            return engines["stories"]

        for name, opener in (("slow", wait), ("broken", fail)):
            state.models[name] = ServedModel(
                name, opener, ServerSettings(max_queue=1), metrics=state.metrics, log=client.log.append
            )
            state.models[name].worker.start()
        assert client.get("/health")[0] == 503
        status, answer = client.post("/v1/completions", {"model": "slow", "prompt": "x"})
        assert (status, answer["error"]["code"]) == (503, "model_loading")
        release.set()
        client.until(lambda: state.models["broken"].worker.loaded.is_set())
        status, answer = client.post("/v1/completions", {"model": "broken", "prompt": "x"})
        assert (status, answer["error"]["code"]) == (503, "model_failed")
        del state.models["broken"]
        client.until(lambda: client.state.models["slow"].worker.loaded.is_set())
        assert client.get("/health") == (200, {"status": "ok"})


def test_the_log_holds_no_prompt(client: Client) -> None:
    client.post("/v1/completions", {**LONG, "prompt": "A secret word", "max_tokens": 1})
    assert not any("secret" in line for line in client.log)
    assert "POST /v1/completions 200" in client.log[-1]


def test_a_key_opens_all_routes_but_health(serve: Callable[..., Any]) -> None:
    with serve(api_keys=("right", "other")) as client:
        assert client.get("/health")[0] == 200
        for path in ("/v1/models", "/metrics", "/nowhere"):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic right"}):
                status, answer = client.get(path, headers=headers)
                assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
        assert client.get("/v1/models", headers={"Authorization": "Bearer other"})[0] == 200
        assert client.get("/v1/models", headers={"X-Api-Key": "right"})[0] == 200


def test_other_hosts_and_other_sites_are_refused(serve: Callable[..., Any]) -> None:
    with serve(cors_origins=("https://good.example",)) as client:
        assert client.get("/health", headers={"Host": "evil.example"})[0] == 403
        assert client.get("/health", headers={"Host": "localhost:8000"})[0] == 200
        for origin, status in (("https://evil.example", 403), ("null", 403), ("https://good.example", 200)):
            found, _, headers = client.full("GET", "/health", headers={"Origin": origin})
            assert found == status
            assert headers.get("Access-Control-Allow-Origin") == (origin if status == 200 else None)
        status, _, headers = client.full("OPTIONS", "/v1/models", headers={"Origin": "https://good.example"})
        assert status == 204
        assert "Authorization" in headers["Access-Control-Allow-Headers"]
        assert client.full("OPTIONS", "/v1/models", headers={"Origin": "https://evil.example"})[0] == 403


def test_a_large_body_is_refused(serve: Callable[..., Any]) -> None:
    with serve(max_body=1000) as client:
        status, answer = client.post("/v1/completions", b" " * 2000)
        assert (status, answer["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--host", "0.0.0.0"], "host"),
        (["--port", "70000"], "port"),
        (["--adapter", "nothing"], "adapter"),
        (["-m", "stories", "-m", "stories"], "model"),
    ],
)
def test_bad_flags_are_refused(arguments: list[str], option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLMKIT_API_KEY", raising=False)
    assert_refused(run("serve", *arguments), option=option)


def test_an_unknown_model_and_an_empty_key_file_end_the_command(tmp_path: Path) -> None:
    assert_refused(run("serve", "-m", "storyteler"), "storyteler")
    keys = tmp_path / "keys"
    keys.write_text("\n")
    assert_refused(run("serve", "--api-key", keys), "keys")


@pytest.mark.slow
def test_a_terminated_server_finishes_what_runs() -> None:
    command = [sys.executable, "-m", "llmkit", "serve", "-m", "stories", "--port", "0", "--offline"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "LLMKIT_API_KEY": ""}
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "listening" in line)
        port = int(line.rsplit(":", 1)[1])
        for _ in range(300):
            if _ask(port, "GET", "/health")[0] == 200:
                break
            time.sleep(0.2)
        for rubbish in (b"GET / HTTP/1.1\r\nX: \x00\r\n\r\n", b"\x16\x03\x01 not TLS\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port), 10) as connection:
                connection.sendall(rubbish)
                assert connection.recv(12)[8:] == b" 400"
        answers: list[Any] = []
        body = json.dumps(LONG)
        thread = threading.Thread(target=lambda: answers.append(_ask(port, "POST", "/v1/completions", body)))
        thread.start()
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        thread.join(60)
        assert process.wait(30) == 143
        ((status, answer),) = answers
        assert status == 200
        assert json.loads(answer)["usage"]["completion_tokens"] == LONG["max_tokens"]
        written = process.stderr.read()
        assert "Once upon" not in written
        assert "Traceback" not in written
    finally:
        process.kill()


def _ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_the_page_is_open_and_runs_nothing_from_elsewhere(serve: Callable[..., Any]) -> None:
    with serve(api_keys=("key",)) as client:
        for path, kind in (
            ("/", "text/html"),
            ("/page/main.js", "text/javascript"),
            ("/page/page.css", "text/css"),
            ("/page/icon.svg", "image/svg+xml"),
        ):
            status, _, headers = client.full("GET", path)
            assert status == 200
            assert headers["Content-Type"].startswith(kind)
            assert headers["Content-Security-Policy"].startswith("default-src 'self'")
            tagged = client.full("GET", path, headers={"If-None-Match": headers["Etag"]})
            assert tagged[:2] == (304, "")
        for path in ("markdown-it", "dompurify", "highlight"):
            assert client.get(f"/page/vendor/{path}.js")[0] == 200
        for path in (
            "/page/",
            "/page/..%2fapp.py",
            "/page/page.py",
            "/page/vendor",
            "/page/vendor/README.md",
        ):
            assert client.get(path)[0] == 404
    with serve(page=False) as client:
        assert client.get("/")[0] == 404


def test_the_page_s_own_files_hold_no_address_no_markup_and_no_inline_style() -> None:
    folder = Path(llmkit.__file__).parent / "serving/page"
    for file in folder.iterdir():
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        for bad in ("innerHTML", "style=", "onclick", "eval("):
            assert bad not in text, file
        assert re.findall(r"https?://[^\s\"]+", text) in ([], ["http://www.w3.org/2000/svg"]), file


def test_the_page_s_libraries_are_those_of_their_list() -> None:
    folder = Path(llmkit.__file__).parent / "serving/page/vendor"
    listed = re.findall(r"^([0-9a-f]{64})  (\S+)$", (folder / "README.md").read_text(encoding="utf-8"), re.M)
    assert {name for _, name in listed} == {file.name for file in folder.glob("*.js")}
    for digest, name in listed:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        assert "license" in (folder / name).with_suffix(".LICENSE").read_text(encoding="utf-8").lower()


def test_each_kind_of_model_is_opened_as_what_it_is() -> None:
    from llmkit import ModelSpec
    from llmkit.cli.serve import _is_encoder, _open

    for name, task in (("translator", None), ("storyteller", None), ("reader", "question-answering")):
        opened: Any = _open(ModelSpec(name, device="cpu", bundled=True))
        assert hasattr(opened, "live_batch") == (task is None)
        assert task is None or opened.spec.task == task
    assert _is_encoder("BertModel")
    assert not any(map(_is_encoder, ["MarianMTModel", "GPT2LMHeadModel", "LlamaForCausalLM"]))
