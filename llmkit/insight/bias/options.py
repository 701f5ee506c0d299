"""Options of a measurement of bias."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.errors import OptionError, check_seed

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec


def _load(spec: ModelSpec) -> LoadedModel:
    from llmkit.runtime.load import load

    return load(spec)


@dataclass(frozen=True)
class BiasOptions:
    """Options of `llmkit.bias`.

    Attributes:
        score: rule by which texts of a set are scored: `shared`, `sum` or `mean`; None is the set's own.
        predictions: published outputs to score in place of a model: a column of BBQ's rows, or a file of
            StereoSet's predictions.
        limit: number of items, spread evenly over the set, or of rows and prompts, the first ones; None is
            all.
        batch_size: passes in a batch; None is as many as fit a budget.
        source, target: languages of a translation.
        field: column of the text of rows and prompts; None takes the usual ones.
        max_new_tokens: limit of an output; None is the verb's own.
        temperature: sample the outputs at this temperature; None is greedy.
        samples: outputs of each prompt.
        label: label of the classifier that is measured; None is all of its labels.
        confidence: confidence of the intervals, between 0 and 1.
        resamples: number of bootstrap samples.
        seed: seed of the bootstrap, and of sampled outputs.
        notice: receives sentences for the user.
        progress: receives what is done so far, in words.
        load: loads a model; the command line shows that it does.

    Raises:
        OptionError: a value is out of range.
    """

    score: str | None = None
    predictions: str | None = None
    limit: int | None = None
    batch_size: int | None = None
    source: str | None = None
    target: str | None = None
    field: str | None = None
    max_new_tokens: int | None = None
    temperature: float | None = None
    samples: int = 1
    label: str | None = None
    confidence: float = 0.95
    resamples: int = 2000
    seed: int = 0
    notice: Callable[[str], None] = lambda message: None
    progress: Callable[[str], None] = lambda text: None
    load: Callable[[ModelSpec], LoadedModel] = _load

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not 0 < self.confidence < 1:
            raise OptionError("confidence", f"must lie between 0 and 1, such as 0.95, not {self.confidence}")
        for name, least in (("resamples", 100), ("samples", 1), ("limit", 1), ("max_new_tokens", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise OptionError(name, f"must be {least} or more, not {value}")
        if self.temperature is not None and not self.temperature > 0:
            raise OptionError("temperature", f"must be above 0, not {self.temperature}")
        if self.samples > 1 and self.temperature is None:
            raise OptionError("samples", "of one prompt are all the same without a `temperature`")
