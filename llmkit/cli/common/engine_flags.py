"""Flags of the model of a verb that generates text: the usual ones, and a server in place of a model here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common.options import ModelFlags, flag

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec


@dataclass
class TextModelFlags(ModelFlags):
    """The model, or the server that runs it."""

    engine: Annotated[
        str | None,
        flag(
            "--engine",
            metavar="URL",
            help="Ask a server with OpenAI's API, such as http://127.0.0.1:8000/v1; -m names its model.",
            default="the model runs here",
        ),
    ] = None
    concurrency: Annotated[
        int, flag("--concurrency", metavar="N", help="Requests to --engine at the same time.")
    ] = 8

    @property
    def unnamed(self) -> bool:
        """True if neither a model nor a server is named."""
        return self.model is None and self.engine is None

    def spec(self, *, task: str, verb: str | None = None) -> ModelSpec:
        if self.engine is None:
            return super().spec(task=task, verb=verb)
        here = replace(self, model=self.model or "", engine=None)
        return replace(
            ModelFlags.spec(here, task=task), bundled=False, engine=self.engine, concurrency=self.concurrency
        )
