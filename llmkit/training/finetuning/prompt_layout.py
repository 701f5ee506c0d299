"""How a run lays out its prompts: whoever asks the taught model must lay theirs out alike.

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
    """What stands before that which is learnt.

    Attributes:
        text: with `{column}` for what a row has there.
        turn: it is the user's turn in the tokenizer's chat template, not the prompt itself.
        optional: the column that a row may do without, and then without the part that it stands in; or None.
    """

    text: str
    turn: bool
    optional: str | None

    @property
    def quoted(self) -> str:
        """The text as a string of JSON, or of Python: in one line, with its line breaks to be seen."""
        return json.dumps(self.text, ensure_ascii=False)

    @property
    def conditions(self) -> str:
        """Where it is meant, and what of it only for some rows; empty, or with a space before it."""
        found = ["the user's turn in the chat template"] if self.turn else []
        if self.optional is not None:
            found.append(f"the part with {{{self.optional}}} only where a row has one")
        return f" ({'; '.join(found)})" if found else ""


def layout_of(
    columns: Columns,
    kind: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    languages: tuple[str, str] | None = None,
    source_prefix: str = "",
) -> PromptLayout | None:
    """The layout of the prompts of such rows; None where there are none, or they are a column as it stands.

    Args:
        columns, kind, tokenizer, languages, source_prefix: as of `encoding.encoder`.
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
