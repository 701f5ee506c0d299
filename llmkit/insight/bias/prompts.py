"""Continue prompts about groups, and let a classifier judge the continuations.

As BOLD does (Dhamala et al. 2021, arXiv:2101.11718) for sentiment and toxicity, and RealToxicityPrompts
(Gehman et al. 2020, arXiv:2009.11462) for the expected maximum over several samples of a prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, RowError, did_you_mean
from llmkit.evaluation.likelihood.perplexity import signature
from llmkit.insight.bias.classify import Judge, open_judge
from llmkit.insight.bias.estimates import MOST_GROUPS, Definition, IntervalOptions, measured
from llmkit.insight.bias.items import BiasItem, ScoredItem
from llmkit.insight.bias.models import is_record_file, name_of, request, scored_earlier
from llmkit.insight.bias.results import BiasResult
from llmkit.insight.bias.sets.base import read_json
from llmkit.insight.bias.swap.outputs import decoding, decoding_signature

if TYPE_CHECKING:
    from llmkit.evaluation.resampling import Matrix
    from llmkit.insight.bias.options import BiasOptions
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

FLAWS = (
    "a classifier has biases of its own, and it judges texts that name a group differently from others; look"
    " at the continuations, and at its shares for the prompts alone."
)
_CHUNK = 64
_NEW_TOKENS = 32


@dataclass(frozen=True)
class GroupPrompt:
    """A prompt about a group.

    Attributes:
        item: the prompt; its group is in `groups`.
        text: the prompt.
    """

    item: BiasItem
    text: str


def measure_prompts(
    model: LoadedModel | ModelSpec | str | None,
    path: Path,
    classifier: LoadedModel | ModelSpec | str,
    baseline: ModelSpec | str | Path | None,
    options: BiasOptions,
) -> BiasResult:
    """Measure a model on prompts; see `measure.bias` for the arguments.

    Raises:
        InputError: bad files or options, or the classifier is none.
        LLMKitError: a model failed.
    """
    prompts = list(_prompts(path, options))
    groups = len({prompt.item.groups["group"] for prompt in prompts})
    if not 2 <= groups <= MOST_GROUPS:
        raise InputError(
            f"{path}: prompts of two or more groups are needed in the column `group`, at most {MOST_GROUPS};"
            f" there are {groups}"
        )
    judge = open_judge(classifier, options)
    labels = _labels(judge, options)
    texts, named = _continued(model, prompts, options)
    scored = _judged(prompts, texts, judge, labels, options)
    other = _baseline(baseline, prompts, judge, labels, scored, options)
    name = "" if baseline is None else name_of(baseline)
    measures = measured(
        [one for label in labels for one in _definitions(label, scored, options)],
        scored,
        IntervalOptions(options.confidence, options.resamples, options.seed),
        other=other,
        other_name=name,
    )
    return BiasResult(
        title=f"Prompts about groups, judged by {judge.name}",
        measures=measures,
        flaws=FLAWS,
        signature=f"{named}|classifier:{judge.name}",
        notes=[f"{len(prompts)} prompts, {options.samples} outputs of each"],
        confidence=options.confidence,
        resamples=options.resamples,
        seed=options.seed,
        baseline=name or None,
        records=[_record(one) for one in scored],
    )


def _labels(judge: Judge, options: BiasOptions) -> tuple[str, ...]:
    if options.label is None:
        # Of two labels that exclude each other, the first is one minus the second.
        return judge.labels[1:] if judge.exclusive and len(judge.labels) == 2 else judge.labels
    if options.label not in judge.labels:
        hint = did_you_mean(options.label, judge.labels)
        raise OptionError("label", f"must be one of {', '.join(judge.labels)}, not {options.label!r}{hint}")
    return (options.label,)


def _prompts(path: Path, options: BiasOptions) -> Iterator[GroupPrompt]:
    """Yield the prompts of a file of rows, or of a file of BOLD: group -> name -> list of prompts.

    Raises:
        InputError: the file cannot be read.
        RowError: a row lacks the prompt or the group.
    """
    from llmkit.records.read import open_rows
    from llmkit.records.rows import text_of

    if path.suffix == ".json" and isinstance(found := read_json(path), dict):
        yield from _bold(path, found, options.limit)
        return
    for row in open_rows(path).limited(options.limit):
        text = text_of(row, field=options.field, template=None, defaults=("prompt", "text"))
        group = row.data.get("group")
        if not isinstance(group, str | int) or not text.strip():
            raise RowError(row.where, "needs a text in the column `prompt`, and a name in the column `group`")
        yield _prompt(str(row.index + 1), text, str(group), str(row.data.get("template", row.where)))


def _bold(path: Path, found: dict[str, Any], limit: int | None) -> Iterator[GroupPrompt]:
    count = 0
    for group, names in found.items():
        if not isinstance(names, dict):
            raise InputError(f"{path}: not a file of BOLD: the value of {group!r} is not an object")
        for name, prompts in names.items():
            for number, text in enumerate(prompts if isinstance(prompts, list) else [prompts], 1):
                if not isinstance(text, str) or not text.strip():
                    raise InputError(f"{path}: a prompt of {group!r}, {name!r} is not a text")
                if limit is not None and count == limit:
                    return
                count += 1
                yield _prompt(f"{group}, {name}, {number}", text, group, f"{group}, {name}")


def _prompt(name: str, text: str, group: str, cluster: str) -> GroupPrompt:
    return GroupPrompt(BiasItem(name, name, {"prompt": text}, cluster, {"group": group}), text)


def _continued(
    model: LoadedModel | ModelSpec | str | None, prompts: Sequence[GroupPrompt], options: BiasOptions
) -> tuple[list[list[str]], str]:
    """Return the continuations of each prompt, and the signature of the model."""
    from llmkit.runtime.load import LoadedModel
    from llmkit.tasks.generation import generate

    loaded = model if isinstance(model, LoadedModel) else options.load(request(model))
    wanted = replace(decoding(options, _NEW_TOKENS), num_return_sequences=options.samples, chat=False)
    found: list[list[str]] = []
    for start in range(0, len(prompts), _CHUNK):
        chunk = [prompt.text for prompt in prompts[start : start + _CHUNK]]
        # One seed for a prompt, whatever its place: groups whose prompts share a place share their draws.
        found += [result.texts for result in generate(loaded, chunk, wanted)]
        options.progress(f"{len(found)} of {len(prompts)} prompts")
    settings = f"prompts:{len(prompts)}|samples:{options.samples}|{decoding_signature(options)}"
    return found, signature(loaded, settings)


def _judged(
    prompts: Sequence[GroupPrompt],
    texts: Sequence[Sequence[str]],
    judge: Judge,
    labels: Sequence[str],
    options: BiasOptions,
) -> list[ScoredItem]:
    """Return the prompts with the judge's numbers: the mean share of each label, and its highest value."""
    flat = [text for several in texts for text in several]
    judged = judge.judge(flat)
    alone = judge.judge([prompt.text for prompt in prompts])
    found = []
    at = 0
    for prompt, several, control in zip(prompts, texts, alone, strict=True):
        mine = judged[at : at + len(several)]
        at += len(several)
        scores: dict[str, float] = {}
        for label in labels:
            values = [one[label] for one in mine]
            scores[f"{label} share"] = sum(judge.is_label(one, label) for one in mine) / len(mine)
            scores[f"{label} max"] = max(values)
            scores[f"{label} alone"] = float(judge.is_label(control, label))
            scores[f"{label} mean"] = math.fsum(values) / len(values)
        scores["weight"] = scores[f"{labels[0]} mean"]
        outputs = {f"continuation {i}": text for i, text in enumerate(several[:3], 1)}
        found.append(ScoredItem(prompt.item, scores, outputs))
    return found


def _definitions(label: str, scored: Sequence[ScoredItem], options: BiasOptions) -> list[Definition]:
    groups = list(dict.fromkeys(one.item.groups["group"] for one in scored))
    # Of two groups, one contrast says everything.
    contrasts = [(groups[0], groups[1])] if len(groups) == 2 else [(group, "others") for group in groups]
    found = [
        Definition(
            f"{label}",
            None,
            f"share of continuations that the classifier calls {label}; equal in all groups without bias",
            _mean(f"{label} share"),
            split=("group",),
        )
    ]
    found += [
        Definition(
            f"{label}, {group} - {others}",
            0.0,
            f"0 % means no difference between {group} and {others}",
            _contrast(f"{label} share", group),
            _difference,
        )
        for group, others in contrasts
    ]
    found.append(
        Definition(
            f"{label}, prompts alone",
            None,
            f"share of prompts that the classifier calls {label} before anything is written: its own bias",
            _mean(f"{label} alone"),
            split=("group",),
        )
    )
    if options.samples > 1:
        found.append(
            Definition(
                f"highest {label}",
                None,
                f"mean over prompts of the highest probability of {label} in {options.samples} samples",
                _mean(f"{label} max"),
                split=("group",),
            )
        )
    return found


def _mean(name: str) -> Callable[[Sequence[ScoredItem]], list[float]]:
    return lambda items: [math.fsum(one.scores[name] for one in items), float(len(items))]


def _contrast(name: str, group: str) -> Callable[[Sequence[ScoredItem]], list[float]]:
    """Return sums and counts inside a group and outside it."""

    def statistics(items: Sequence[ScoredItem]) -> list[float]:
        found = [0.0] * 4
        for one in items:
            at = 0 if one.item.groups["group"] == group else 2
            found[at] += one.scores[name]
            found[at + 1] += 1
        return found

    return statistics


def _difference(sums: Matrix) -> Matrix:
    return sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3]


def _baseline(
    baseline: ModelSpec | str | Path | None,
    prompts: Sequence[GroupPrompt],
    judge: Judge,
    labels: Sequence[str],
    scored: Sequence[ScoredItem],
    options: BiasOptions,
) -> list[ScoredItem] | None:
    if baseline is None:
        return None
    if not is_record_file(baseline):
        assert not isinstance(baseline, Path)
        return _judged(prompts, _continued(baseline, prompts, options)[0], judge, labels, options)
    assert isinstance(baseline, str | Path)
    return scored_earlier(baseline, [prompt.item for prompt in prompts], list(scored[0].scores))


def _record(one: ScoredItem) -> dict[str, Any]:
    return {
        "id": one.item.id,
        "group": one.item.groups["group"],
        "scores": dict(one.scores),
        "texts": dict(one.item.texts),
        "output": dict(one.output),
    }
