"""Options of `llmkit qa`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import options
from llmkit.cli.common.form_flags import FormFlags
from llmkit.cli.common.options import flag
from llmkit.cli.common.row_flags import DetailFlags
from llmkit.errors import InputError

if TYPE_CHECKING:
    from llmkit.tasks.decoding import GenerationOptions


@dataclass
class QuestionFlags:
    """The questions, and the texts with the answers."""

    GROUP = "Question"

    question: Annotated[
        list[str] | None,
        flag("--question", metavar="TEXT", help="A question; may be repeated.", default="--input, or stdin"),
    ] = None
    context: Annotated[
        list[str] | None,
        flag(
            "--context",
            metavar="FILE",
            help="Text or document with the answer: a file, a folder, or - for stdin; may be repeated.",
            default="stdin, or a column of the rows",
        ),
    ] = None
    context_field: Annotated[
        str, flag("--context-field", metavar="NAME", help="Column of the context, in rows.")
    ] = "context"
    passages: Annotated[
        int | None,
        flag(
            "--passages",
            metavar="N",
            help="Read only the N best passages for a question.",
            default="all of one text, 20 of several",
        ),
    ] = None
    rank: Annotated[
        str | None,
        flag(
            "--rank",
            metavar="MODEL",
            help="Rank passages with this encoder's embeddings and with BM25.",
            default="only BM25",
        ),
    ] = None
    index: Annotated[
        Path | None,
        flag(
            "--index",
            metavar="FOLDER",
            help="Store the texts and embeddings of --context here; a changed file is read again.",
            default="none",
        ),
    ] = None


@dataclass
class ExtractionFlags:
    """Options of an extractive model's answers. None takes the default of `AnswerOptions`."""

    GROUP = "Extractive models"

    no_answer: Annotated[
        bool, flag("--no-answer", help="Return an empty answer if the text has no answer, as in SQuAD 2.")
    ] = False
    no_answer_threshold: Annotated[
        float | None,
        flag(
            "--no-answer-threshold",
            metavar="P",
            help="Return an empty answer if its probability is above P.",
            default="that of the best answer",
        ),
    ] = None
    max_answer_tokens: Annotated[
        int | None,
        flag(
            "--max-answer-tokens",
            metavar="N",
            help="Maximum number of tokens in an answer.",
            default="the model's own, or 15",
        ),
    ] = None
    window: Annotated[
        int | None,
        flag("--window", metavar="N", help="Context window, in tokens.", default="384"),
    ] = None
    doc_stride: Annotated[
        int | None,
        flag("--doc-stride", metavar="N", help="Overlap of neighboring windows, in tokens.", default="128"),
    ] = None

    def values(self) -> dict[str, Any]:
        """Return keyword arguments of `tasks.qa.spans.AnswerOptions`."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def refuse(self) -> None:
        """Refuse flags that a chat model cannot use."""
        for shown in options.given(self, but=["no_answer"]):
            raise InputError(f"{shown} is for extractive models; a chat model writes one answer")


@dataclass
class AnswerDecodingFlags(options.DecodingFlags):
    """Decoding of a chat model's answers; an extractive model uses only `top_k`."""

    top_k: Annotated[
        int | None,
        flag(
            "--top-k",
            metavar="K",
            help="Chat models: sample from the K most likely tokens; 0 means all. Extractive models: return"
            " the K best answers.",
            default="the model's, or 50; 1 answer",
        ),
    ] = None


@dataclass
class WritingFlags:
    """All flags about the answers of a chat model; an extractive model uses only `top_k`."""

    decoding: options.DecodingFlags
    forms: FormFlags
    details: DetailFlags
    system: str | None = None

    def options(self, seed: int | None) -> GenerationOptions:
        """Return them as `GenerationOptions`."""
        from llmkit.tasks.decoding import GenerationOptions

        about_rows = {**self.forms.values(), **self.details.values()}
        return GenerationOptions(**self.decoding.values(), seed=seed, system=self.system, **about_rows)

    def given(self) -> list[str]:
        """Return the flags that an extractive model cannot use, as on the command line."""
        found = options.given(self.decoding, but=["top_k"]) + options.given(self.forms, self.details)
        return found + (["--system"] if self.system is not None else [])
