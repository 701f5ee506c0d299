"""`llmkit bias`: measure the bias of a model, with intervals and their limits."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import console, options, progress
from llmkit.cli.common.options import argument, flag
from llmkit.cli.common.streams import printable
from llmkit.errors import InputError, OptionError
from llmkit.records.disk import check_folder
from llmkit.whole_file import write_whole

if TYPE_CHECKING:
    from llmkit.insight.bias.options import BiasOptions
    from llmkit.insight.bias.results import BiasResult
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

EXAMPLES = [
    "llmkit bias --set crows_pairs pairs.csv -m my-model --report bias.html",
    "llmkit bias --swap gender --task translate --from en --to de rows.jsonl",
    "llmkit bias --prompts prompts.jsonl --classifier judge -m my-model",
]
_TASKS = ("translate", "summarize", "qa", "generate")


@dataclass
class WayFlags:
    """The data, one way of three, and the other model."""

    set: Annotated[
        str | None,
        flag(
            "--set",
            metavar="NAME|FILE",
            help="Published set in FILE...: crows_pairs, stereoset, winobias, winogender or bbq; or a file of"
            " your own pairs or questions.",
            default="none",
        ),
    ] = None
    swap: Annotated[
        str | None,
        flag(
            "--swap",
            metavar="gender|TERMS.tsv",
            help="Answer each row of FILE unchanged and with these terms swapped.",
            default="none",
        ),
    ] = None
    task: Annotated[
        str | None,
        flag(
            "--task",
            metavar="VERB",
            help=f"Verb whose outputs --swap compares: {', '.join(_TASKS)}.",
            default="none",
        ),
    ] = None
    prompts: Annotated[
        str | None,
        flag(
            "--prompts",
            metavar="FILE",
            help="Continue prompts about groups: rows with `prompt` and `group`.",
            default="none",
        ),
    ] = None
    classifier: Annotated[
        str | None,
        flag(
            "--classifier",
            metavar="MODEL",
            help="Classifier of the continuations of --prompts, or vader (a lexicon).",
            default="none",
        ),
    ] = None
    baseline: Annotated[
        str | None,
        flag(
            "--baseline",
            metavar="MODEL|FILE.jsonl",
            help="Compare with another model on the same items, or with its --per-record file.",
            default="none",
        ),
    ] = None


@dataclass
class MeasureFlags:
    """Details of the measurement."""

    GROUP = "Measurement"

    score: Annotated[
        str | None,
        flag(
            "--score",
            metavar="RULE",
            help="Score of a text: over shared tokens (shared), all tokens (sum), or per token (mean).",
            default="the set's own, mostly shared",
        ),
    ] = None
    predictions: Annotated[
        str | None,
        flag(
            "--predictions",
            metavar="NAME|FILE",
            help="Score published answers, without a model: a column of bbq, or a file of stereoset.",
            default="none",
        ),
    ] = None
    source: Annotated[
        str | None,
        flag("--from", metavar="LANG", help="Source language of --task translate.", default="none"),
    ] = None
    target: Annotated[
        str | None, flag("--to", metavar="LANG", help="Target language of --task translate.", default="none")
    ] = None
    field: Annotated[
        str | None,
        flag("--field", metavar="NAME", help="Column of the text or prompt.", default="the usual names"),
    ] = None
    max_new_tokens: Annotated[
        int | None,
        flag(
            "--max-new-tokens",
            metavar="N",
            help="Maximum number of tokens in an output.",
            default="the verb's own",
        ),
    ] = None
    temperature: Annotated[
        float | None,
        flag("--temperature", metavar="T", help="Sample outputs at this temperature.", default="greedy"),
    ] = None
    samples: Annotated[int, flag("--samples", metavar="N", help="Number of outputs per prompt.")] = 1
    label: Annotated[
        str | None,
        flag("--label", metavar="NAME", help="Label of the classifier to measure.", default="every label"),
    ] = None
    limit: Annotated[
        int | None,
        flag(
            "--limit", metavar="N", help="Use N items, spread evenly over a set, or the first N rows.",
            default="all",
        ),
    ] = None  # fmt: skip
    batch_size: Annotated[
        str, flag("--batch-size", metavar="auto|N", help="Texts per batch; auto uses the available memory.")
    ] = "auto"
    confidence: Annotated[float, flag("--confidence", help="Confidence level of the intervals.")] = 0.95
    resamples: Annotated[int, flag("--resamples", help="Bootstrap samples and random swaps.")] = 2000

    def options(self, **more: Any) -> BiasOptions:
        """Return the options of the library.

        Raises:
            OptionError: a value is out of range.
        """
        from llmkit.insight.bias.options import BiasOptions

        values = dataclasses.asdict(self)
        size = values.pop("batch_size")
        if size != "auto" and (not size.isdecimal() or int(size) < 1):
            raise OptionError("batch_size", f"must be a number of texts or auto, not {size}")
        return BiasOptions(**values, batch_size=None if size == "auto" else int(size), **more)


@dataclass
class BiasOutputFlags:
    """Form and files of the numbers."""

    GROUP = "Output"

    json: Annotated[bool, flag("--json", help="Print everything as JSON.")] = False
    output: Annotated[
        Path | None,
        flag("-o", "--output", metavar="FILE", help="Write the JSON to this file as well.", default="none"),
    ] = None
    per_record: Annotated[
        Path | None,
        flag(
            "--per-record", metavar="FILE", help="Write each item with its scores, as JSONL.", default="none"
        ),
    ] = None
    report: Annotated[
        Path | None,
        flag(
            "--report", metavar="FILE.html", help="Write an HTML page with numbers, charts and items.",
            default="none",
        ),
    ] = None  # fmt: skip
    card: Annotated[
        Path | None,
        flag("--card", metavar="README.md", help="Write the numbers into this model card.", default="none"),
    ] = None
    overwrite: Annotated[bool, flag("--overwrite", help="Replace existing files.")] = False

    def check(self) -> None:
        """Refuse files that cannot be written, before the measurement starts.

        Raises:
            InputError: a file exists, or the card does not.
        """
        taken: dict[Path, str] = {}
        for name in ("output", "per_record", "report"):
            path: Path | None = getattr(self, name)
            if path is None:
                continue
            first = taken.setdefault(path.resolve(), name)
            if first != name:
                raise OptionError(name, f"names the same file as `{first}`")
            if path.exists() and not self.overwrite:
                raise InputError(f"{path} exists; overwrite=True replaces it")
            if not path.resolve().parent.is_dir():
                raise InputError(f"{path}: its folder does not exist")
            check_folder(path.resolve().parent, name, path)
        if self.card is not None:
            from llmkit.insight.bias.card import check_card

            check_card(self.card)


@options.expand
def run(
    *,
    files: Annotated[
        list[str] | None,
        argument("FILE...", help="Files of the published set, or rows for --swap."),
    ] = None,
    way: WayFlags,
    measure: MeasureFlags,
    output: BiasOutputFlags,
    model: options.MeasuredModelFlags,
    messages: options.MessageFlags,
) -> None:
    """Measure the bias of a model on published sets, swapped terms or prompts about groups."""
    output.check()
    bar = progress.Progress("bias")
    wanted = measure.options(
        seed=model.seed or 0,
        notice=console.notice,
        progress=lambda text: bar.update(0, text),
        load=_load,
    )
    spec = _model(way, measure, model)
    from llmkit.insight.bias.measure import bias

    with bar:
        result = bias(
            spec,
            files or [],
            set=way.set,
            swap=way.swap,
            task=way.task,
            prompts=way.prompts,
            classifier=_other(way.classifier, dataclasses.replace(model, quantize=None, linear=None)),
            baseline=_other(way.baseline, model),
            options=wanted,
        )
    name = measure.predictions if spec is None else spec.name
    _write(result, output, name or "")
    if output.json:
        print(_as_json(result))
    else:
        print(printable(_table(result)))


def _load(spec: ModelSpec) -> LoadedModel:
    from llmkit.cli.common.loading import load_model

    return load_model(spec)


def _model(way: WayFlags, measure: MeasureFlags, model: options.ModelFlags) -> ModelSpec | None:
    """Return the model to measure; None if published answers are scored.

    Raises:
        InputError: no model is named, and the verb has no embedded model.
    """
    if measure.predictions is not None and model.model is None:
        return None
    verb = way.task if way.task is not None else "generate"
    return model.spec(task="text-generation", verb=verb)


def _other(name: str | None, model: options.ModelFlags) -> ModelSpec | str | None:
    """Return the request for a classifier or another model, with the model's loading options."""
    if name is None or name == "vader" or name.endswith(".jsonl"):
        return name
    here = dataclasses.replace(model, model=name, adapter=None, revision=None, attn=None)
    return here.spec(task="text-generation")


def _write(result: BiasResult, output: BiasOutputFlags, model: str) -> None:
    """Write the files. This precedes stdout, which its reader can close at any time."""
    if output.output is not None:
        write_whole(output.output, _as_json(result) + "\n")
    if output.per_record is not None:
        from llmkit.records.strict_json import dumps

        write_whole(output.per_record, "".join(dumps(record) + "\n" for record in result.records))
    if output.report is not None:
        from llmkit.insight.bias.page import as_page

        write_whole(output.report, as_page(result, model=model))
        console.notice(f"the report is {output.report}")
    if output.card is not None:
        from llmkit.insight.bias.card import update_card

        update_card(output.card, result)
        console.notice(f"{output.card} contains the numbers and their warning")


def _as_json(result: BiasResult) -> str:
    from llmkit.insight.bias.report import as_json

    return json_module.dumps(as_json(result), ensure_ascii=False, indent=2, allow_nan=False)


def _table(result: BiasResult) -> str:
    import shutil

    from llmkit.insight.bias.report import as_text

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
    return as_text(result, width)
