"""The options that the user left open, from the target language or from the texts themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.errors import InputError
from llmkit.evaluation.metric import Example, Metric, make

# Options by the metrics that have them; the option's name in the metric, where it is not the same.
OPTIONS = {
    "tokenize": {"bleu": "tokenize"},
    "smooth": {"bleu": "smooth"},
    "lowercase": {"bleu": "lowercase", "chrf": "lowercase", "chrf++": "lowercase"},
    "word_order": {"chrf": "word_order"},
    "stemmer": {"rouge": "stemmer"},
    "rouge_words": {"rouge": "tokenize"},
    "rouge_split": {"rouge": "split"},
    "normalize": {"exact_match": "normalize"},
    "no_answer_threshold": {"squad_v2": "threshold"},
    "bertscore_model": {"bertscore": "model"},
    "bertscore_layer": {"bertscore": "layer"},
}
DOWNLOADED = ("spm", "flores101", "flores200")
MOST_DROPPED = 0.1
"""The share of letters that ROUGE's own words may drop before words of every script are taken instead."""


def configure(
    names: Sequence[str],
    options: Mapping[str, Any],
    sample: Sequence[Example],
    *,
    language: str | None = None,
) -> tuple[list[Metric], list[str]]:
    """Build metrics, choosing what was left open.

    Args:
        names: of the metrics.
        options: what the user gave, by the names in `OPTIONS`.
        sample: some of the rows to be scored.
        language: the target language; None judges by the sample's references.

    Returns:
        The metrics, and a sentence for each choice that differs from the reference implementation's
        default.

    Raises:
        InputError: an option is given that none of the metrics has, or its value is not allowed.
    """
    for option in options:
        if not any(name in OPTIONS[option] for name in names):
            flag = "--" + option.replace("_", "-")
            raise InputError(f"{flag} is about {' and '.join(OPTIONS[option])}: name it with --metric")
    if language is not None and "bleu" not in names:
        raise InputError("--to chooses BLEU's tokenizer: name bleu with --metric")
    metrics, notes = [], []
    references = [str(reference) for example in sample for reference in example.references]
    for name in names:
        chosen = {
            OPTIONS[option][name]: value for option, value in options.items() if name in OPTIONS[option]
        }
        if name == "bleu" and "tokenize" not in chosen:
            chosen["tokenize"], note = _bleu_tokenizer(language, references)
            notes += note
        if name == "bleu" and chosen["tokenize"] != "none" and _look_tokenized(sample):
            notes.append("most texts end in ' .', as tokenized ones do; BLEU counts on plain text")
        if name == "bleu" and chosen["tokenize"] in DOWNLOADED:
            notes.append(f"BLEU's tokenizer {chosen['tokenize']} is downloaded once, to ~/.sacrebleu")
        if name == "rouge":
            notes += _rouge_words(chosen, references)
            chosen.setdefault("split", "auto")
        metrics.append(make(name, **chosen))
    return metrics, notes


def _bleu_tokenizer(language: str | None, references: Sequence[str]) -> tuple[str, list[str]]:
    from llmkit.evaluation.metrics.bleu import tokenizer_for

    tokenizer, reason = tokenizer_for(language, references)
    if tokenizer == "13a" and "pip install" not in reason:
        return tokenizer, []
    return tokenizer, [f"BLEU's tokenizer is {tokenizer}: {reason}"]


def _look_tokenized(sample: Sequence[Example]) -> bool:
    texts = [str(text) for example in sample for text in (example.prediction, *example.references)]
    return sum(text.rstrip().endswith(" .") for text in texts) > len(texts) / 2


def _rouge_words(chosen: dict[str, Any], references: Sequence[str]) -> list[str]:
    from llmkit.evaluation.metrics.tokens import dropped_share

    if chosen.get("tokenize", "auto") != "auto":
        return []
    dropped = dropped_share(references)
    chosen["tokenize"] = "unicode" if dropped > MOST_DROPPED else "default"
    if dropped <= MOST_DROPPED:
        return []
    return [
        f"ROUGE compares words of every script: its own words are a-z and 0-9 alone, and would drop "
        f"{dropped:.0%} of the references' letters (--rouge-words default has them)"
    ]
