"""`llmkit serve`: serve models at a port, for programs that use OpenAI's or ollama's API."""

from __future__ import annotations

import dataclasses
import functools
import threading
from typing import TYPE_CHECKING

from llmkit.cli.common import console, options
from llmkit.cli.common.serve_flags import ServedModelFlags, ServerFlags

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

EXAMPLES = [
    "llmkit serve",
    "llmkit serve -m stories -m storyteller --port 9000",
    "LLMKIT_API_KEY=$(openssl rand -hex 16) llmkit serve --host 0.0.0.0",
]
_loading = threading.Lock()  # only one thread at a time imports the libraries and reads the weights


@options.expand
def run(*, server: ServerFlags, models: ServedModelFlags, messages: options.MessageFlags) -> None:
    """Serve models over HTTP, with OpenAI's and ollama's APIs."""
    from llmkit.runtime.locate import locate
    from llmkit.serving.app import check_settings, serve

    settings = server.settings()
    check_settings(settings, no_api_key=server.no_api_key)
    specs = models.specs()
    for spec in specs.values():
        locate(spec.name, spec)  # a wrong name ends the command here; the weights are read later
        if spec.draft is not None:
            locate(spec.draft, dataclasses.replace(spec, bundled=False))
    openers = {name: functools.partial(_open, spec) for name, spec in specs.items()}
    number = serve(openers, settings, console.say)
    raise console.Exit(128 + number)


def _open(spec: ModelSpec) -> Engine | LoadedModel:
    """Open a model in its own thread: an engine, or a model that finds answers in texts or embeds them."""
    from llmkit.engines.open import open_engine
    from llmkit.runtime.load import load, saved_architecture

    with _loading:
        opened: Engine | LoadedModel
        names = saved_architecture(spec)
        if any("ForQuestionAnswering" in name for name in names):
            opened = load(dataclasses.replace(spec, task="question-answering"))
        elif any(_is_encoder(name) for name in names):
            opened = load(dataclasses.replace(spec, task="feature-extraction"))
        else:
            opened = open_engine(spec)
    for note in opened.notes:
        console.detail(note)
    return opened


def _is_encoder(name: str) -> bool:
    """Return True if a class is a model without a head, such as BertModel; MarianMTModel has a head."""
    return name.endswith("Model") and not name.endswith(("MTModel", "HeadModel", "HeadsModel"))
