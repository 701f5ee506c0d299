"""Build metrics, and choose the options that the user did not set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.errors import OptionError
from llmkit.evaluation.metric import Example, Metric
from llmkit.evaluation.registry import METRICS, declaration_of, make, of_predictions


def configure(
    names: Sequence[str],
    options: Mapping[str, Any],
    sample: Sequence[Example],
    *,
    language: str | None = None,
) -> tuple[list[Metric], list[str]]:
    """Build metrics, and choose the options that the user did not set.

    Args:
        names: names of the metrics.
        options: options that the user gave, by `MetricOption.name`.
        sample: some of the rows to be scored.
        language: the target language; None uses the script of the sample's references.

    Returns:
        The metrics, and a sentence for each choice that differs from the default of the reference
        implementation.

    Raises:
        OptionError: none of the metrics has an option that was given, or its value is not allowed.
    """
    declared = {name: declaration_of(name) for name in names}
    for option in options:
        if not any(option == known.name for one in declared.values() for known in one.options):
            raise OptionError(option, f"applies to {_owners(option)}, and `metric` has none of them")
    if language is not None and not any(one.uses_language for one in declared.values()):
        users = [name for name in of_predictions() if declaration_of(name).uses_language]
        raise OptionError("language", f"applies to {', '.join(users)}, and `metric` has none of them")
    metrics: list[Metric] = []
    notes: list[str] = []
    for name, declaration in declared.items():
        known = {option.name: option.parameter or option.name for option in declaration.options}
        chosen = {known[option]: value for option, value in options.items() if option in known}
        if declaration.adapt is not None:
            added, said = declaration.adapt(chosen, sample, language)
            chosen, notes = {**chosen, **added}, [*notes, *said]
        metrics.append(make(name, **chosen))
    return metrics, list(dict.fromkeys(notes))


def _owners(option: str) -> str:
    """Return the metrics that have an option.

    Raises:
        OptionError: no metric has it.
    """
    owners = [name for name in METRICS if any(option == one.name for one in declaration_of(name).options)]
    if not owners:
        raise OptionError(option, "is an option of no metric")
    return ", ".join(owners)
