"""Models that come and go, HTTPS, and what the log holds."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector

from llmkit.engines.base import Engine
from llmkit.errors import OptionError
from llmkit.serving.app import make_app, tls_context
from llmkit.serving.settings import ServerSettings
from llmkit.serving.state import STATE
from tests.command import assert_refused, run
from tests.serving.conftest import serving

BODY = {"model": "stories", "prompt": "A secret word", "max_tokens": 2}


def test_models_are_loaded_when_asked_and_unloaded_when_idle(engines: dict[str, Engine]) -> None:
    opened: list[str] = []

    def opener(name: str) -> Engine:
        opened.append(name)
        return engines[name]

    with serving({}, keep_alive=0.3) as client:
        from llmkit.serving.scheduling.models import ServedModel

        state = client.state
        for name in ("stories", "storyteller"):
            model = ServedModel(
                name,
                lambda name=name: opener(name),  # type: ignore[misc]
                ServerSettings(keep_alive=0.3),
                metrics=state.metrics,
                log=client.log.append,
            )
            state.models[name] = model
            model.worker.start()
        assert client.get("/health") == (200, {"status": "ok"})
        assert opened == []
        assert client.post("/v1/completions", BODY)[0] == 200
        assert client.post("/tokenize", {"model": "stories", "prompt": "x"})[0] == 200
        assert opened == ["stories"]
        worker = state.models["stories"].worker
        client.until(lambda: worker.engine is None and "unloaded" in client.log[-1])
        assert client.post("/v1/completions", BODY)[0] == 200
        assert opened == ["stories", "stories"]
        # A model stays as long as somebody uses it.
        assert (
            client.post("/v1/completions", {**BODY, "max_tokens": 300, "logit_bias": {"0": -100}})[0] == 200
        )
        assert opened == ["stories", "stories"]


def test_a_model_that_failed_is_tried_again(engines: dict[str, Engine]) -> None:
    tries: list[int] = []

    def opener() -> Engine:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("no weights")
        return engines["stories"]

    with serving({"stories": opener}, keep_alive=0.1) as client:  # type: ignore[dict-item]
        state = client.state
        state.models["stories"].worker._open = opener
        assert client.post("/v1/completions", BODY)[1]["error"]["code"] == "model_failed"
        client.until(lambda: not state.models["stories"].worker.loaded.is_set())
        assert client.post("/v1/completions", BODY)[0] == 200


def test_the_log_holds_prompts_only_if_it_may(serve: Callable[..., Any]) -> None:
    with serve(log_prompts=True) as client:
        client.post("/v1/completions", BODY)
        client.post("/translate", {"q": "secret", "target": "xx", "api_key": "hidden"})
        client.full("POST", "/translate", data={"q": "a\nb", "target": "xx", "api_key": "hidden"})
        log = "\n".join(client.log)
        assert "A secret word" in log
        assert "hidden" not in log
    with serve() as client:
        client.post("/v1/completions", BODY)
        assert "secret" not in "\n".join(client.log)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    names = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [*command, "-out", str(names[0]), "-keyout", str(names[1])], check=True, capture_output=True
    )
    return names


def test_https(engines: dict[str, Engine], certificate: tuple[Path, Path]) -> None:
    from aiohttp import web

    settings = ServerSettings(tls_cert=certificate[0], tls_key=certificate[1])

    async def ask() -> Any:
        app = make_app({"stories": lambda: engines["stories"]}, settings, lambda line: None)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls_context(settings))
        await site.start()
        port = runner.addresses[0][1]
        trust = ssl.create_default_context(cafile=str(certificate[0]))
        async with ClientSession(connector=TCPConnector(ssl=trust)) as session:
            while not app[STATE].models["stories"].worker.loaded.is_set():
                await asyncio.sleep(0.02)
            async with session.get(f"https://localhost:{port}/health") as response:
                found = response.status
        await runner.cleanup()
        return found

    assert asyncio.run(ask()) == 200


def test_a_bad_certificate_is_refused(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("x")
    for cert, key in ((rubbish, certificate[1]), (certificate[0], rubbish), (tmp_path / "none", rubbish)):
        with pytest.raises(OptionError) as raised:
            tls_context(ServerSettings(tls_cert=cert, tls_key=key))
        assert raised.value.option == "tls_cert"


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--keep-alive", "0"], "keep_alive"),
        (["--prompt-cache", "-1"], "prompt_cache"),
        (["--tls-key", "x"], "tls_key"),
    ],
)
def test_bad_flags_are_refused(arguments: list[str], option: str) -> None:
    assert_refused(run("serve", *arguments), option=option)


def test_a_request_that_waits_for_its_model_ends_in_time(engines: dict[str, Engine]) -> None:
    def slow() -> Engine:
        time.sleep(0.8)
        return engines["stories"]

    with serving({}, keep_alive=5, request_timeout=0.2) as client:
        from llmkit.serving.scheduling.models import ServedModel

        settings = ServerSettings(keep_alive=5)
        model = ServedModel("slow", slow, settings, metrics=client.state.metrics, log=client.log.append)
        client.state.models["slow"] = model
        model.worker.start()
        status, answer = client.post("/v1/completions", {**BODY, "model": "slow"})
        assert (status, answer["error"]["code"]) == (503, "model_loading")
