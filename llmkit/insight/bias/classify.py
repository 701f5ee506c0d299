"""Classifiers that judge texts: a model for text classification, or the lexicon of VADER."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError

if TYPE_CHECKING:
    from llmkit.insight.bias.options import BiasOptions
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

_BATCH = 32
_VADER = 0.05
"""Compound score from which VADER's authors call a text positive or negative."""


@dataclass(frozen=True)
class Judge:
    """A classifier of texts.

    Attributes:
        name: its name, for signatures.
        labels: its labels.
        judge: returns the probability of each label for each text.
        exclusive: a text has exactly one label, the most likely; otherwise each whose probability is at least
            one half.
    """

    name: str
    labels: tuple[str, ...]
    judge: Callable[[Sequence[str]], list[dict[str, float]]]
    exclusive: bool

    def is_label(self, judged: Mapping[str, float], label: str) -> bool:
        """Return True if a text has a label."""
        if self.exclusive:
            return max(judged, key=lambda name: judged[name]) == label
        return judged[label] >= 0.5


def open_judge(classifier: LoadedModel | ModelSpec | str, options: BiasOptions) -> Judge:
    """Return a classifier.

    Raises:
        InputError: there is no such model, or it does not classify texts.
    """
    if classifier == "vader":
        return _vader()
    from llmkit.insight.bias.models import request
    from llmkit.runtime.load import LoadedModel, saved_architecture

    if isinstance(classifier, LoadedModel):
        loaded = classifier
    else:
        spec = replace(request(classifier), task="text-classification")
        kinds = saved_architecture(spec)
        if kinds and not any(kind.endswith("ForSequenceClassification") for kind in kinds):
            raise OptionError(
                "classifier", f"must be a model that classifies texts; {spec.name} is a {kinds[0]}"
            )
        loaded = options.load(spec)
    config: Any = loaded.model.config
    labels = tuple(str(config.id2label[i]) for i in range(config.num_labels))
    several = config.problem_type == "multi_label_classification" or config.num_labels == 1
    if config.problem_type == "regression":
        raise InputError(f"{loaded.spec.name} gives numbers and no labels")
    return Judge(
        f"{loaded.spec.name}@{loaded.revision}",
        labels,
        lambda texts: _classified(loaded, labels, several, texts),
        exclusive=not several,
    )


def _classified(
    loaded: LoadedModel, labels: Sequence[str], several: bool, texts: Sequence[str]
) -> list[dict[str, float]]:
    import torch

    tokenizer: Any = loaded.tokenizer
    limit = loaded.context_length
    found: list[dict[str, float]] = []
    size = _BATCH if tokenizer.pad_token_id is not None else 1
    for start in range(0, len(texts), size):
        batch = [text or " " for text in texts[start : start + size]]
        ids = tokenizer(
            batch, padding=size > 1, truncation=limit is not None, max_length=limit, return_tensors="pt"
        ).to(loaded.device)
        with torch.inference_mode():
            logits = loaded.model(**ids).logits.float()  # (texts, labels)
        values = torch.sigmoid(logits) if several else torch.softmax(logits, dim=-1)
        found += [dict(zip(labels, row, strict=True)) for row in values.double().tolist()]
    return found


def _vader() -> Judge:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise OptionError(
            "classifier", "vader needs its package: pip install vaderSentiment; or give a model"
        ) from None
    analyzer: Any = SentimentIntensityAnalyzer()
    labels = ("positive", "neutral", "negative")

    def judge(texts: Sequence[str]) -> list[dict[str, float]]:
        found = []
        for text in texts:
            compound = analyzer.polarity_scores(text)["compound"]
            chosen = "positive" if compound >= _VADER else "negative" if compound <= -_VADER else "neutral"
            found.append({label: float(label == chosen) for label in labels})
        return found

    return Judge("vader", labels, judge, exclusive=True)
