"""`llmkit eval`'s own flags, in groups that `options.expand` unfolds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from llmkit.cli.common.options import flag
from llmkit.errors import InputError


@dataclass
class MetricFlags:
    """Options of the metrics; None leaves the metric's own default, or the choice, to us."""

    to: Annotated[
        str | None, flag("--to", metavar="LANG", help="Target language; decides BLEU's tokenizer too.")
    ] = None
    tokenize: Annotated[
        str | None, flag("--tokenize", help="BLEU's tokenizer: 13a, intl, zh, char, ja-mecab, none, ...")
    ] = None
    smooth: Annotated[
        str | None, flag("--smooth", help="BLEU's smoothing: exp, floor, add-k or none (exp).")
    ] = None
    lowercase: Annotated[bool | None, flag("--lowercase", help="BLEU and chrF without case.")] = None
    word_order: Annotated[int | None, flag("--word-order", help="Word n-grams in chrF; 2 is chrF++.")] = None
    stemmer: Annotated[bool | None, flag("--stemmer", help="ROUGE over Porter stems.")] = None
    rouge_words: Annotated[
        str | None,
        flag("--rouge-words", help="default (a-z and 0-9, as rouge_score), unicode (all scripts) or auto."),
    ] = None
    rouge_split: Annotated[
        str | None, flag("--rouge-split", help="A sentence of ROUGE-Lsum: newline, sentences, or auto.")
    ] = None
    normalize: Annotated[
        bool | None, flag("--normalize", help="exact_match without case, articles and punctuation.")
    ] = None
    no_answer_threshold: Annotated[
        float | None, flag("--no-answer-threshold", help="squad_v2: above it there is no answer (1.0).")
    ] = None
    bertscore_model: Annotated[
        str | None, flag("--bertscore-model", metavar="NAME|DIR", help="bertscore's encoder.")
    ] = None
    bertscore_layer: Annotated[
        int | None, flag("--bertscore-layer", help="Its layer (the one its authors chose, if they did).")
    ] = None


@dataclass
class ColumnFlags:
    """Where the predictions and the references are."""

    references: Annotated[
        list[str] | None,
        flag("--references", metavar="FILE", help="Plain lines to compare with; may be repeated."),
    ] = None
    prediction_field: Annotated[
        str | None, flag("--prediction-field", metavar="NAME", help="Column of the predictions (prediction).")
    ] = None
    reference_field: Annotated[
        str | None,
        flag("--reference-field", metavar="NAME", help="Column of the references, or of the right choice."),
    ] = None
    baseline: Annotated[
        str | None,
        flag(
            "--baseline",
            metavar="FILE",
            help="Another system's predictions, or --per-record, of the same rows.",
        ),
    ] = None


@dataclass
class PerplexityFlags:
    """How a model is run over texts."""

    window: Annotated[
        int | None, flag("--window", metavar="TOKENS", help="Tokens the model sees at a time (all it can).")
    ] = None
    stride: Annotated[
        int | None,
        flag("--stride", metavar="TOKENS", help="Tokens predicted per further window (half the window)."),
    ] = None
    bos: Annotated[
        str,
        flag(
            "--bos", metavar="WHERE", help="Beginning-of-sequence token: first, every window, none, or auto."
        ),
    ] = "auto"
    concatenate: Annotated[
        bool, flag("--concatenate", help="The rows are one text, with a blank line between them.")
    ] = False
    lines: Annotated[bool, flag("--lines", help="Each line of a text file is a text of its own.")] = False
    field: Annotated[
        str | None, flag("--field", metavar="NAME", help="The column with the text, or with the choices.")
    ] = None
    given: Annotated[
        str | None,
        flag(
            "--given",
            metavar="NAME|TEXT",
            help="Column, or template, of what the text is predicted from: a question, or a source.",
        ),
    ] = None
    template: Annotated[
        str | None,
        flag("--template", metavar="TEXT", help="A text over several columns, such as 'Q: {question}'."),
    ] = None
    token_losses: Annotated[
        bool, flag("--token-losses", help="Give --per-record each token and its loss in nats as well.")
    ] = False
    batch_size: Annotated[
        str,
        flag("--batch-size", metavar="auto|N", help="Windows or rows per batch, or auto: as memory allows."),
    ] = "auto"

    def rows_per_batch(self) -> int | None:
        """`--batch-size` as a number; None for auto."""
        if self.batch_size == "auto":
            return None
        if not self.batch_size.isdigit() or int(self.batch_size) < 1:
            raise InputError(f"--batch-size {self.batch_size}: give a number of windows, or auto")
        return int(self.batch_size)


@dataclass
class ReportFlags:
    """What is told, and where."""

    json: Annotated[bool, flag("--json", help="Everything as JSON on stdout.")] = False
    bare: Annotated[bool, flag("--bare", help="The numbers alone, one a line.")] = False
    output: Annotated[
        Path | None, flag("-o", "--output", metavar="FILE", help="Write the JSON to this file as well.")
    ] = None
    per_record: Annotated[
        Path | None,
        flag("--per-record", metavar="FILE", help="Write each row with its own scores, as JSONL."),
    ] = None
    report: Annotated[
        Path | None,
        flag("--report", metavar="FILE.html", help="Write a page with the scores, and best and worst rows."),
    ] = None
    overwrite: Annotated[bool, flag("--overwrite", help="Replace files that are there.")] = False
    card: Annotated[
        Path | None, flag("--card", metavar="README.md", help="Put the scores into this model card.")
    ] = None
    dataset: Annotated[
        str | None,
        flag("--dataset", metavar="NAME", help="What --card calls the test set (the file's name)."),
    ] = None

    def check(self) -> None:
        """Refuse what cannot be written before anything is scored."""
        from llmkit.records import output

        if self.json and self.bare:
            raise InputError("--json and --bare were given: use one of them")
        named = {"--output": self.output, "--per-record": self.per_record, "--report": self.report}
        taken: dict[Path, str] = {}
        for name, path in named.items():
            if path is None:
                continue
            first = taken.setdefault(path.resolve(), name)
            if first != name:
                raise InputError(f"{first} and {name} name the same file")
            if path.exists() and not self.overwrite:
                raise InputError(f"{path} exists: --overwrite replaces it")
            output.check(path, overwrite=self.overwrite)
        if self.card is not None:
            from llmkit.evaluation.card import check_card

            check_card(self.card)
        elif self.dataset is not None:
            raise InputError("--dataset is about a model card: name it with --card")
