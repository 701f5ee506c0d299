"""Layout of a run's prompts; prompts at inference need the same layout.

Public: `layout_of`, `PromptLayout`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.training.finetuning.encoding import prompter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from llmkit.training.finetuning.columns import Columns


@dataclass(frozen=True)
class PromptLayout:
    """Text before the targets.

    Attributes:
        text: the text, with `{column}` for a row's value.
        turn: the text is the user's turn in the tokenizer's chat template, not the whole prompt.
        optional: column that may be missing, together with the part around it; None if there is none.
    """

    text: str
    turn: bool
    optional: str | None

    @property
    def quoted(self) -> str:
        """The text as a string literal of JSON and Python, on one line."""
        return json.dumps(self.text, ensure_ascii=False)

    @property
    def conditions(self) -> str:
        """Conditions under which the text is used, with a space before them; empty if there are none."""
        found = ["the user's turn in the chat template"] if self.turn else []
        if self.optional is not None:
            found.append(f"the part with {{{self.optional}}} only if a row has one")
        return f" ({'; '.join(found)})" if found else ""


def layout_of(
    columns: Columns,
    kind: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    languages: tuple[str, str] | None = None,
    source_prefix: str = "",
) -> PromptLayout | None:
    """Return the layout of the prompts of such rows.

    Args:
        columns, kind, tokenizer, languages, source_prefix: as in `encoding.encoder`.

    Returns:
        The layout; None if there are no prompts, or a prompt is an unchanged column.
    """
    names = columns.names
    if kind == "spans" or not {"prompt", "source", "question"} & names.keys():
        return None
    row: dict[str, Any] = {name: _mark(name) for name in names.values()}
    if columns.by_language:
        row[names["source"]] = {one: _mark(one) for one in languages or ()}
    text = prompter(columns, kind, tokenizer, languages=languages, source_prefix=source_prefix)(row)
    if text in map(_mark, (*names.values(), *(languages or ()))):
        return None
    turn = kind != "seq2seq" and tokenizer.chat_template is not None
    return PromptLayout(text, turn, names.get("input"))


def _mark(name: str) -> str:
    return f"{{{name}}}"
