"""Flags for structured output: answers that follow a JSON schema, an expression, a grammar or a list."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common.flags import flag
from llmkit.errors import InputError, OptionError
from llmkit.option_file import option_text

if TYPE_CHECKING:
    from llmkit.engines.form import Form


@dataclass
class FormFlags:
    """The required form of answers; at most one of these flags."""

    GROUP = "Structured output"

    schema: Annotated[
        str | None,
        flag("--schema", metavar="FILE|JSON", help="JSON schema of the answers.", default="none"),
    ] = None
    regex: Annotated[
        str | None,
        flag(
            "--regex",
            metavar="TEXT",
            help="Regular expression that matches the whole answer.",
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

    schema_field: Annotated[
        str | None,
        flag(
            "--schema-field",
            metavar="NAME",
            help="Column with each row's own JSON schema.",
            default="none",
        ),
    ] = None

    def check_rows(self, *, single: bool) -> None:
        """Refuse a column of schemas if the input is a text, not rows.

        Raises:
            OptionError: a column is named.
        """
        if single and self.schema_field is not None:
            raise OptionError("schema_field", "names a column of rows: give them with `input`")

    def values(self) -> dict[str, Any]:
        """Return keyword arguments of `tasks.decoding.GenerationOptions`; raises as `form`."""
        return {"form": self.form(), "schema_field": self.schema_field}

    def form(self) -> Form | None:
        """Return the form; None if no flag is given.

        Raises:
            InputError: two are given, or a file or schema cannot be read.
        """
        from llmkit.engines.form import Form

        names = ("schema", "regex", "grammar", "choice", "schema_field")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise OptionError(given[1], f"cannot be combined with `{given[0]}`; give one of them")
        if given in ([], ["schema_field"]):
            return None
        if self.schema is not None:
            return Form("schema", _schema(self.schema))
        if self.regex is not None:
            return Form("regex", self.regex)
        if self.grammar is not None:
            return Form("grammar", option_text(self.grammar, "grammar"))
        return Form("choice", [one.strip() for one in (self.choice or "").split(",")])


def _schema(text: str) -> Any:
    where = "`schema`"
    if not text.lstrip().startswith(("{", "[")) and text not in ("true", "false"):
        where, text = text, option_text(text, "schema")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}") from error
