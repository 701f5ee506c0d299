"""The commands of the guide on the server run as they stand there."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmkit import ModelSpec, load
from llmkit.engines.base import Engine
from llmkit.engines.open import open_engine
from llmkit.serving.routes.openapi import description
from tests.serving.conftest import Client, serving

GUIDE = (Path(__file__).parents[2] / "docs/guides/serving.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^curl .*$", GUIDE, re.M)


@pytest.fixture(scope="module")
def server(engines: dict[str, Engine]) -> Iterator[Client]:
    models: dict[str, object] = {"storyteller": engines["storyteller"], "stories": engines["stories"]}
    models["translator"] = open_engine(ModelSpec("translator", device="cpu", bundled=True))
    models["reader"] = load(ModelSpec("reader", task="question-answering", device="cpu", bundled=True))
    with serving(models) as found:  # type: ignore[arg-type]
        yield found


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_the_commands_of_the_guide_are_answered(server: Client) -> None:
    address = str(server.client.make_url("")).rstrip("/")
    assert len(COMMANDS) > 15
    for command in COMMANDS:

        async def run(command: str = command) -> str:
            process = await asyncio.create_subprocess_shell(
                command.replace("http://127.0.0.1:8000", address), stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
            return out.decode()

        text = server.runner.run(run())
        assert text, command
        assert '"error"' not in text.replace('"error": null', ""), (command, text)
        if "/v1/chat" in command:
            (choice,) = json.loads(text)["choices"]
            assert "tool_choice" not in command or choice["message"]["tool_calls"]
            assert "json_schema" not in command or json.loads(choice["message"]["content"])


def test_the_description_has_all_routes_and_the_guide_names_them(server: Client) -> None:
    paths = {route.resource.canonical for route in server.client.app.router.routes() if route.resource}
    described = set(description(("stories",))["paths"])
    pages = {path for path in paths if path == "/" or path.startswith("/page/")}
    assert described == paths - pages
    verb = (Path(__file__).parents[2] / "docs/verbs/serve.md").read_text(encoding="utf-8")
    for path in described:
        assert path.split("/{")[0] in GUIDE + verb
    assert server.get("/openapi.json")[1]["openapi"].startswith("3.1")
