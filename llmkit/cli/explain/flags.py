"""Flags of `llmkit explain`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from llmkit.cli.common.flags import flag

_COLUMNS = ("target_field", "foil_field", "question_field")


@dataclass
class ExplainedFlags:
    """The prediction that is explained."""

    GROUP = "Prediction"

    target: Annotated[
        str | None,
        flag(
            "--target",
            metavar="TEXT",
            help="Explain why the model predicts this text.",
            default="the model's own prediction",
        ),
    ] = None
    instead_of: Annotated[
        str | None,
        flag(
            "--instead-of",
            metavar="TEXT",
            help="Explain why the model predicts the target rather than this text.",
            default="none",
        ),
    ] = None
    target_tokens: Annotated[
        int, flag("--target-tokens", metavar="N", help="Tokens of the model's own continuation to explain.")
    ] = 1
    task: Annotated[
        str,
        flag(
            "--task",
            metavar="generate|qa|translate|summarize",
            help="Task of the model; the default model is the embedded one of that verb.",
        ),
    ] = "generate"
    question: Annotated[
        str | None,
        flag(
            "--question",
            metavar="TEXT",
            help="Question about the text, for --task qa.",
            default="column question",
        ),
    ] = None
    source: Annotated[
        str | None,
        flag(
            "--from", metavar="LANGUAGE", help="Language of the text, for --task translate.", default="none"
        ),
    ] = None
    target_language: Annotated[
        str | None,
        flag("--to", metavar="LANGUAGE", help="Language of the translation.", default="the model's own"),
    ] = None
    target_field: Annotated[
        str | None, flag("--target-field", metavar="NAME", help="Column of the target.", default="--target")
    ] = None
    foil_field: Annotated[
        str | None,
        flag("--foil-field", metavar="NAME", help="Column of the text for --instead-of.", default="none"),
    ] = None
    question_field: Annotated[
        str | None,
        flag("--question-field", metavar="NAME", help="Column of the question.", default="question"),
    ] = None

    def values(self) -> dict[str, Any]:
        """Return keyword arguments of `ExplainOptions`."""
        return {name: value for name, value in vars(self).items() if name not in _COLUMNS}

    def has_columns(self) -> bool:
        """Return True if a flag names a column."""
        return any(getattr(self, name) is not None for name in _COLUMNS)


@dataclass
class MethodFlags:
    """The way in which the scores are computed."""

    GROUP = "Method"

    method: Annotated[
        str | None,
        flag(
            "--method",
            metavar="NAME",
            help="occlusion removes each word in turn; ig integrates gradients; attnlrp propagates relevance;"
            " lens shows the prediction of each layer; components divides the logit among heads and MLPs.",
            default="occlusion up to 64 words, then ig",
        ),
    ] = None
    unit: Annotated[
        str | None,
        flag(
            "--unit",
            metavar="token|word|sentence",
            help="Unit of the scores.",
            default="word; sentence to summarize",
        ),
    ] = None
    baseline: Annotated[
        str | None,
        flag(
            "--baseline",
            metavar="TOKEN",
            help="Token that replaces a removed piece.",
            default="the pad, end or unknown token",
        ),
    ] = None
    steps: Annotated[
        int,
        flag(
            "--steps",
            metavar="N",
            help="Initial steps of ig, doubled until the sum of the scores is within 1 %.",
        ),
    ] = 32
    check: Annotated[
        bool,
        flag("--check/--no-check", help="Measure the faithfulness of the scores, or do not."),
    ] = True
    orders: Annotated[
        int, flag("--orders", metavar="N", help="Number of random orders that --check compares with.")
    ] = 5

    def values(self) -> dict[str, Any]:
        """Return keyword arguments of `ExplainOptions`."""
        return dict(vars(self))
