"""Flags for structured output: answers that follow a JSON schema, an expression, a grammar or a list."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common.flags import flag
from llmkit.errors import InputError, OptionError

if TYPE_CHECKING:
    from llmkit.engines.form import Form


@dataclass
class FormFlags:
    """The form that answers must have; at most one."""

    GROUP = "Structured output"

    schema: Annotated[
        str | None,
        flag(
            "--schema", metavar="FILE|JSON", help="JSON schema that answers are valid under.", default="none"
        ),
    ] = None
    regex: Annotated[
        str | None,
        flag(
            "--regex",
            metavar="TEXT",
            help="Regular expression that answers match as a whole.",
            default="none",
        ),
    ] = None
    grammar: Annotated[
        Path | None,
        flag("--grammar", metavar="FILE", help="Lark grammar of the answers.", default="none"),
    ] = None
    choice: Annotated[
        str | None,
        flag(
            "--choice", metavar="A,B,C", help="Answers to choose from, separated by commas.", default="none"
        ),
    ] = None

    def form(self) -> Form | None:
        """Return the form; None where no flag is given.

        Raises:
            InputError: two are given, or a file or schema cannot be read.
        """
        from llmkit.engines.form import Form

        given = [name for name in ("schema", "regex", "grammar", "choice") if getattr(self, name) is not None]
        if not given:
            return None
        if len(given) > 1:
            raise OptionError(given[1], f"does not go with `{given[0]}`; give one of them")
        if self.schema is not None:
            return Form("schema", _schema(self.schema))
        if self.regex is not None:
            return Form("regex", self.regex)
        if self.grammar is not None:
            return Form("grammar", self.grammar.read_text(encoding="utf-8"))
        return Form("choice", [one.strip() for one in (self.choice or "").split(",")])


def _schema(text: str) -> Any:
    where = "`schema`"
    if not text.lstrip().startswith(("{", "[")):
        where, text = text, Path(text).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}") from error
