"""Measure a verb's outputs on rows and on the same rows with their terms swapped.

The difference d of a row is a number of its output minus that number of the swapped row's output, always the
first side minus the second, such as male minus female: rows that mix both have no direction, and count only
for the share of changed outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError
from llmkit.evaluation.likelihood.perplexity import signature
from llmkit.insight.bias.estimates import Definition, IntervalOptions, mean_of, measured
from llmkit.insight.bias.items import BiasItem, ScoredItem
from llmkit.insight.bias.models import is_record_file, name_of, scored_earlier
from llmkit.insight.bias.results import BiasResult
from llmkit.insight.bias.swap.outputs import (
    SwapTask,
    check_readable,
    decoding_signature,
    find_task,
    inputs_of,
    open_for,
    run_task,
)
from llmkit.insight.bias.swap.swapper import Swapper, words
from llmkit.insight.bias.swap.terms import SwapTerms, gender_terms, read_terms

if TYPE_CHECKING:
    from llmkit.insight.bias.options import BiasOptions
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

FLAWS = (
    "the terms are words for two groups, and rows are refused by rules over words, so that a few"
    " may pass"
    " whose swap is odd or false; look at the items."
)


@dataclass(frozen=True)
class SwappedRow:
    """A row, its swapped copy, and the references of both.

    Attributes:
        item: the texts, as `original` and `swapped`.
        inputs: columns of the row, and of its copy.
        references: correct outputs of the row, and of its copy; empty without.
        first: 0 if the row itself is about the first side, 1 if its copy is; None if it mixes both.
    """

    item: BiasItem
    inputs: tuple[list[str], list[str]]
    references: tuple[list[str], list[str]]
    first: int | None


def measure_swap(
    model: LoadedModel | ModelSpec | str | None,
    swap: str,
    task_name: str,
    files: Sequence[str | Path],
    baseline: ModelSpec | str | Path | None,
    options: BiasOptions,
) -> BiasResult:
    """Measure a model on swapped rows; see `measure.bias` for the arguments.

    Raises:
        InputError: bad files or options, or no row can be swapped.
        LLMKitError: the model failed.
    """
    task = find_task(task_name)
    if task.name != "translate" and (options.source is not None or options.target is not None):
        raise OptionError("source", "and `target` apply to translate")
    terms = gender_terms() if swap == "gender" else _terms(swap)
    rows, refused = _rows(files, task, Swapper(terms), options)
    scored, signature = _scored(model, task, terms, rows, options)
    other = _baseline(baseline, task, terms, rows, scored, options)
    name = "" if baseline is None else name_of(baseline)
    sampling = IntervalOptions(options.confidence, options.resamples, options.seed)
    measures = measured(_definitions(task, terms, scored), scored, sampling, other=other, other_name=name)
    return BiasResult(
        title=f"Swapped terms ({terms.name}), {task.name}",
        measures=measures,
        flaws=FLAWS,
        signature=signature,
        notes=_notes(rows, refused),
        confidence=options.confidence,
        resamples=options.resamples,
        seed=options.seed,
        baseline=name or None,
        records=[_record(one) for one in scored],
    )


def _terms(swap: str) -> SwapTerms:
    if not Path(swap).is_file():
        raise OptionError("swap", f"must be gender or a file of terms, not {swap!r}")
    return read_terms(Path(swap))


def _rows(
    files: Sequence[str | Path], task: SwapTask, swapper: Swapper, options: BiasOptions
) -> tuple[list[SwappedRow], Counter[str]]:
    """Return the rows that can be swapped, and the number of refusals for each reason.

    Raises:
        InputError: there is not one file, or no row can be swapped.
    """
    from llmkit.records.read import open_rows

    if len(files) != 1:
        raise InputError(f"give one file of rows whose terms are swapped, not {len(files)}")
    rows: list[SwappedRow] = []
    refused: Counter[str] = Counter()
    for row in open_rows(files[0]).without_blank_lines().limited(options.limit):
        check_readable(row)
        inputs = inputs_of(row, task, options.field)
        made = [swapper.swap(text) for text in inputs]
        sides = [sum(one.sides[at] for one in made) for at in (0, 1)]
        bad = [one.refusal for one in made if one.refusal is not None]
        # Of several texts, one without terms is no reason: a question need not name who the context is about.
        bad = [reason for reason in bad if not any(sides) or not reason.startswith("it contains no term")]
        if bad:
            refused[bad[0]] += 1
            continue
        copies = [one.text for one in made]
        first = 0 if not sides[1] else 1 if not sides[0] else None
        item = BiasItem(
            id=str(row.index + 1),
            where=row.where,
            texts={"original": "\n".join(inputs), "swapped": "\n".join(copies)},
            cluster=str(row.data.get("template", row.where)),
        )
        rows.append(SwappedRow(item, (inputs, copies), _references(row.data, task, swapper), first))
    if not rows:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in refused.most_common(3))
        raise InputError(f"{files[0]}: no row can be swapped ({reasons or 'it has no rows'})")
    return rows, refused


def _references(data: dict[str, Any], task: SwapTask, swapper: Swapper) -> tuple[list[str], list[str]]:
    """Return the references of a row and of its copy; both are empty if one has none.

    A translation's references are in another language: the copy's are in the column `swapped_references`.
    """
    if task.metric is None:
        return [], []
    names = ("references", "reference", "answers", "answer", "summary", "translation", "target")
    ours = _texts(next((data[name] for name in names if name in data), None))
    theirs = _texts(data.get("swapped_references", data.get("swapped_reference")))
    if not theirs and task.rewrites:
        theirs = [swapper.swap(text).text for text in ours]
    return (ours, theirs) if ours and theirs else ([], [])


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):  # SQuAD's answers: {"text": [...], "answer_start": [...]}
        value = value.get("text")
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _scored(
    model: LoadedModel | ModelSpec | str | None,
    task: SwapTask,
    terms: SwapTerms,
    rows: Sequence[SwappedRow],
    options: BiasOptions,
) -> tuple[list[ScoredItem], str]:
    """Return the rows with the numbers of their outputs, and the signature of these."""
    loaded = open_for(task, model, options)
    swapper = Swapper(terms)
    outputs = []
    for at, name in ((0, "original"), (1, "swapped")):
        options.progress(f"{name} rows")
        outputs.append(run_task(task, loaded, [row.inputs[at] for row in rows], options))
    compare = _similarity()
    quality = _quality(task)
    found = []
    for row, original, swapped in zip(rows, *outputs, strict=True):
        one, other = original, swapped
        if task.rewrites:  # compare both in the terms of the copy
            one, other = swapper.swap(original).text, swapper.normal(swapped)
        scores = {
            "changed": float(one.strip() != other.strip()),
            "similarity": compare(one, other),
            "weight": 100 - compare(one, other),
        }
        if row.first is not None:
            lengths = [words(original), words(swapped)]
            scores["length gap"] = float(lengths[row.first] - lengths[1 - row.first])
            if row.references[0] and quality is not None:
                values = [
                    quality(original, row.references[0]),
                    quality(swapped, row.references[1]),
                ]
                scores["quality gap"] = values[row.first] - values[1 - row.first]
                scores["quality"] = sum(values) / 2
        found.append(ScoredItem(row.item, scores, {"output": original, "output of the swapped": swapped}))
    settings = f"swap:{terms.name}|task:{task.name}|rows:{len(rows)}|{decoding_signature(options)}"
    return found, signature(loaded, settings)


def _similarity() -> Callable[[str, str], float]:
    """Return a function for the chrF of two texts, 100 if they are equal."""
    value = _metric("chrf", "chrF2")
    return lambda one, other: 100.0 if one == other else value(one or " ", [other or " "])


def _quality(task: SwapTask) -> Callable[[str, list[str]], float] | None:
    return None if task.metric is None else _metric(task.metric, task.score)


def _metric(name: str, score: str) -> Callable[[str, list[str]], float]:
    """Return a function for one score of a text against references, on a scale of 100."""
    import numpy as np

    from llmkit.evaluation.metric import Example
    from llmkit.evaluation.registry import make

    metric = make(name)
    at = next((i for i, one in enumerate(metric.scores) if one == score), 0)
    scale = 100.0 / (metric.scale or 100)

    def value(text: str, references: list[str]) -> float:
        sums = np.array([metric.statistics(Example(text, references))], dtype=np.float64)
        return float((metric.record or metric.corpus)(sums)[0, at]) * scale

    return value


def _definitions(task: SwapTask, terms: SwapTerms, scored: Sequence[ScoredItem]) -> list[Definition]:
    """Return the measures; those that need references only if rows have some."""
    first, second = terms.sides
    if task.rewrites:
        changed = "0 % means no difference: the outputs are the same once the terms are swapped back"
    else:
        changed = "no ideal: a translation may have to change with its source; look at the items"
    found = [
        Definition(
            "outputs that change", 0.0 if task.rewrites else None, changed, _mean("changed"), share=True
        ),
        Definition(
            "similarity of the outputs",
            None,
            "100 is the same output (chrF)",
            _mean("similarity"),
            percent=False,
        ),
        Definition(
            f"length, {first} - {second}",
            0.0,
            f"0 means no difference; above it, outputs of the {first} texts have more words",
            _mean("length gap"),
            keep=_has("length gap"),
            percent=False,
        ),
    ]
    if any("quality gap" in one.scores for one in scored):
        found.append(
            Definition(
                f"{task.score}, {first} - {second}",
                0.0,
                f"0 means no difference; above it, outputs of the {first} texts are better (of 100)",
                _mean("quality gap"),
                keep=_has("quality gap"),
                percent=False,
            )
        )
        found.append(
            Definition(
                task.score,
                None,
                "quality of all outputs; 100 is best",
                _mean("quality"),
                keep=_has("quality"),
                percent=False,
            )
        )
    return found


def _mean(name: str) -> Callable[[Sequence[ScoredItem]], Sequence[float]]:
    return mean_of(lambda one: one.scores[name])


def _has(name: str) -> Callable[[ScoredItem], bool]:
    return lambda one: name in one.scores


def _notes(rows: Sequence[SwappedRow], refused: Counter[str]) -> list[str]:
    notes = [f"{len(rows)} rows swapped, {sum(refused.values())} refused"]
    notes += [f"refused {count} x: {reason}" for reason, count in refused.most_common(5)]
    mixed = sum(row.first is None for row in rows)
    if mixed:
        notes.append(f"{mixed} rows mix both groups and have no direction: they count for changes alone")
    return notes


def _baseline(
    baseline: ModelSpec | str | Path | None,
    task: SwapTask,
    terms: SwapTerms,
    rows: Sequence[SwappedRow],
    scored: Sequence[ScoredItem],
    options: BiasOptions,
) -> list[ScoredItem] | None:
    if baseline is None:
        return None
    if not is_record_file(baseline):
        assert not isinstance(baseline, Path)
        return _scored(baseline, task, terms, rows, options)[0]
    assert isinstance(baseline, str | Path)
    return scored_earlier(baseline, [row.item for row in rows], ["changed", "similarity"])


def _record(one: ScoredItem) -> dict[str, Any]:
    return {
        "id": one.item.id,
        "scores": dict(one.scores),
        "texts": dict(one.item.texts),
        "output": dict(one.output),
    }
