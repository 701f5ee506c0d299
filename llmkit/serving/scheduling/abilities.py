"""Tasks of models: a request that names no model gets the first one that can do its task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.runtime.load import LoadedModel

Abilities = frozenset[str]


@dataclass(frozen=True)
class ServedTask:
    """A task of requests.

    Attributes:
        verb: the task in an error message.
        abilities: abilities that suffice, the most suitable first.
    """

    verb: str
    abilities: tuple[str, ...]

    def rank(self, found: Abilities) -> int | None:
        """Return the place of a model's most suitable ability, 0 for the best; None if it has none."""
        return next((i for i, one in enumerate(self.abilities) if one in found), None)


TEXT = ServedTask("continue a text", ("text",))
CHAT = ServedTask("chat (this needs a chat template)", ("chat",))
INFILL = ServedTask("fill a gap before a `suffix`", ("infill",))
TRANSLATION = ServedTask("translate", ("translates", "seq2seq", "chat"))
SUMMARY = ServedTask("summarize", ("summarizes", "chat", "seq2seq"))
ANSWER = ServedTask("answer questions about a text", ("extracts", "chat"))
EMBEDDING = ServedTask("embed texts", ("embeds",))


def abilities_of(model: Engine | LoadedModel) -> Abilities:
    """Return the abilities of a model: of an engine, or of a model that writes no text.

    An encoder-decoder summarizes, unless its config names only languages that it translates.
    """
    from llmkit.runtime.load import LoadedModel
    from llmkit.tasks.language_pairs import language_pairs
    from llmkit.text.fill_in_middle import gap_tokens

    if isinstance(model, LoadedModel):
        return frozenset({"extracts" if model.spec.task == "question-answering" else "embeds"})

    found = {"text"}
    if model.has_chat_template:
        found.add("chat")
    if gap_tokens(model.tokenizer) is not None:
        found.add("infill")
    if model.is_encoder_decoder:
        found.add("seq2seq")
        translates = bool(language_pairs(model))
        summarizes = "summarization" in (getattr(model.config, "task_specific_params", None) or {})
        found |= {"translates"} if translates else set()
        found |= {"summarizes"} if summarizes or not translates else set()
    return frozenset(found)
