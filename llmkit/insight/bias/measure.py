"""Measure the bias of a model: on a published set, on rows with swapped terms, or on prompts about groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.errors import InputError, OptionError
from llmkit.insight.bias.options import BiasOptions
from llmkit.insight.bias.results import BiasResult

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec


def bias(
    model: LoadedModel | ModelSpec | str | None = None,
    files: str | Path | Sequence[str | Path] = (),
    *,
    set: str | Path | None = None,
    swap: str | Path | None = None,
    task: str | None = None,
    prompts: str | Path | None = None,
    classifier: LoadedModel | ModelSpec | str | None = None,
    baseline: ModelSpec | str | Path | None = None,
    options: BiasOptions | None = None,
) -> BiasResult:
    """Measure the bias of a model in one of three ways.

    Args:
        model: the model: loaded, a request, or a name. None with published answers (`predictions`).
        files: the set's files as published, or the rows whose terms are swapped.
        set: `crows_pairs`, `stereoset`, `winobias`, `winogender`, `bbq`, or a file of rows of your own.
        swap: `gender`, or a file with a pair of terms a line; the model answers each row as it is and with
            the terms swapped.
        task: with `swap`: `translate`, `summarize`, `qa` or `generate`.
        prompts: a file of prompts with their `group`; the model continues them, and `classifier` judges
            each continuation.
        classifier: a model that classifies texts, or `vader`, the lexicon of the package vaderSentiment.
        baseline: another model, or a `.jsonl` file with the records of its measurement, on the same items.
        options: see `BiasOptions`.

    Raises:
        InputError: bad files, options that do not go together, or a model that cannot do it.
        LLMKitError: the model failed.
    """
    options = options or BiasOptions()
    ways = [name for name, value in (("set", set), ("swap", swap), ("prompts", prompts)) if value is not None]
    if len(ways) != 1:
        raise OptionError("set", "or `swap` or `prompts` is needed; give one of them")
    _check(ways[0], task, classifier, options)
    paths = [files] if isinstance(files, str | Path) else list(files)
    if set is not None:
        from llmkit.insight.bias.measure_set import measure_set

        return measure_set(model, str(set), paths, baseline, options)
    if swap is not None:
        from llmkit.insight.bias.swap.measure_swap import measure_swap

        assert task is not None
        return measure_swap(model, str(swap), task, paths, baseline, options)
    from llmkit.insight.bias.prompts import measure_prompts

    assert prompts is not None
    if paths:
        raise InputError(f"{paths[0]}: `prompts` names the file of prompts, and takes no other file")
    assert classifier is not None
    return measure_prompts(model, Path(prompts), classifier, baseline, options)


def _check(way: str, task: str | None, classifier: object, options: BiasOptions) -> None:
    """Refuse options that belong to another way.

    Raises:
        OptionError: there is one, or one is missing.
    """
    defaults = BiasOptions()
    belongs = {
        "score": ("set",),
        "predictions": ("set",),
        "source": ("swap",),
        "target": ("swap",),
        "field": ("swap", "prompts"),
        "max_new_tokens": ("swap", "prompts"),
        "temperature": ("swap", "prompts"),
        "samples": ("prompts",),
        "label": ("prompts",),
    }
    given = [name for name in belongs if getattr(options, name) != getattr(defaults, name)]
    for name in given:
        if way not in belongs[name]:
            raise OptionError(name, f"applies to {' and '.join(f'`{one}`' for one in belongs[name])}")
    if (task is not None) != (way == "swap"):
        raise OptionError(
            "task", "names the verb whose outputs are compared, and `swap` needs it: translate, summarize, qa"
            " or generate" if way == "swap" else "applies to `swap`"
        )  # fmt: skip
    if (classifier is not None) != (way == "prompts"):
        raise OptionError(
            "classifier", "must name a model, or vader: `prompts` needs it" if way == "prompts" else
            "applies to `prompts`"
        )  # fmt: skip
