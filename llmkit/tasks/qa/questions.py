"""Questions and their contexts: from columns of a row, or from documents that all rows ask about."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError, RowError
from llmkit.records.rows import Row, text_of
from llmkit.text.passages import ContextDocument, Library, Passage

if TYPE_CHECKING:
    from llmkit.text.passages import Embed

_DEFAULT_FIELDS = ("question", "text")


@dataclass(frozen=True)
class QuestionSource:
    """Reads a question, and the texts to answer it from, out of a row.

    Attributes:
        field: column of the question; None takes `question`, `text` or the only one.
        template: question over several columns.
        context_field: column of the context.
        documents: texts that all questions are about, in place of a column.
        passages: number of best passages to read for a question; None reads all of a single text, and
            `DEFAULT_PASSAGES` of several, or with `embed`.
        embed: returns unit vectors of texts, to rank passages beside BM25.
        ranked_by: the model behind `embed`, as JSON.
    """

    DEFAULT_PASSAGES = 20

    field: str | None = None
    template: str | None = None
    context_field: str = "context"
    documents: Sequence[ContextDocument] = ()
    passages: int | None = None
    embed: Embed | None = None
    ranked_by: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.passages is not None and self.passages < 1:
            raise OptionError("passages", "must be 1 or more")

    @cached_property
    def _library(self) -> Library:
        return Library(self.documents, embed=self.embed)

    def question(self, row: Row) -> str:
        """Return the row's question.

        Raises:
            RowError: the row has none, or an empty one.
        """
        if self.field is None and self.template is None:
            # In a row with a context alone, the context must not be taken for the question.
            data = {name: value for name, value in row.data.items() if name != self.context_field}
            if not data:
                raise RowError(row.where, "no question: the row has no column `question`")
            row = replace(row, data=data)
        question = text_of(row, field=self.field, template=self.template, defaults=_DEFAULT_FIELDS)
        if not question.strip():
            raise RowError(row.where, "the question is empty")
        return question

    def library(self, row: Row) -> Library:
        """Return the texts to answer the row from.

        Raises:
            RowError: the row has no context, an empty one, or one next to the documents.
        """
        own = self.context_field in row.data
        if self.documents:
            if own:
                raise RowError(
                    row.where,
                    f"the row has a column `{self.context_field}`, and `context` was given; omit one",
                )
            return self._library
        if not own:
            raise RowError(
                row.where,
                f"no context: the row has no column `{self.context_field}` (it has {', '.join(row.data)});"
                " give `context`, or give the column with `context_field`",
            )
        text = text_of(row, field=self.context_field, template=None, defaults=())
        if not text.strip():
            raise RowError(row.where, "the context is empty")
        return Library([ContextDocument(row.where, text)], embed=self.embed)

    def contexts(self, row: Row, question: str) -> list[Passage]:
        """Return the text to read for a row: all of it, or its best passages, the best one first."""
        library = self.library(row)
        if self.passages is None and self.embed is None and len(library.documents) == 1:
            document = library.documents[0]
            return [Passage(document, 0, len(document.text))]
        return library.best(question)[: self.passages or self.DEFAULT_PASSAGES]

    def header(self) -> dict[str, Any]:
        """Return all settings that results depend on, as JSON."""
        return {
            "field": self.field,
            "template": self.template,
            "context_field": self.context_field,
            "passages": self.passages,
            **({} if self.ranked_by is None else {"rank": dict(self.ranked_by)}),
            "documents": [[d.name, hashlib.sha256(d.text.encode()).hexdigest()] for d in self.documents],
        }

    def place(self, document: ContextDocument, offset: int | None) -> dict[str, Any]:
        """Return the `file`, `line` and `place` of an answer; nothing for rows with own contexts."""
        if not self.documents:
            return {}
        if offset is None:
            return {"file": None, "line": None, "place": None}
        return {"file": document.name, "line": document.line(offset), "place": document.place(offset)}
