"""How well a language model predicts texts: perplexity per token and per word, and bits per byte.

Every token is scored exactly once, from the most context that the window gives it, and what is divided by
is counted here and not inferred from any loss function's mean. Losses are taken from the logits in float32
(float64 where the model is), whatever the model computes in, and summed in float64.

A masked model's are pseudo-perplexities (Salazar et al. 2020), which compare masked models with each other
and not with causal ones; an encoder-decoder's are those of a target after its source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.evaluation.likelihood.baseline import as_data
from llmkit.evaluation.likelihood.loss import Loss
from llmkit.evaluation.likelihood.passes import ScoredText
from llmkit.evaluation.likelihood.windowing import Reader, Windowing, run
from llmkit.evaluation.metric import Example, Metric
from llmkit.records.rows import Row, text_of

if TYPE_CHECKING:
    from llmkit.evaluation.metric import Matrix
    from llmkit.runtime.load import LoadedModel

SEPARATOR = "\n\n"
"""Between documents that are concatenated."""


def perplexity(loaded: LoadedModel, how: Windowing, *, concatenated: bool = False) -> Metric:
    """The metric over examples whose prediction is one `Loss`.

    Its scores are `perplexity` (per token: tokenizers differ, so that it compares only models that share
    one), `word_perplexity`, and `bits_per_byte`, which compares any models on one text.
    """

    def statistics(example: Example) -> list[float]:
        loss: Loss
        (loss,) = example.prediction
        return [loss.nll, loss.tokens, loss.words, loss.bytes, loss.unknown]

    def corpus(sums: Matrix) -> Matrix:
        import numpy as np

        nll = sums[:, 0]
        # Nothing lost on nothing is NaN, and left out; a perplexity beyond float64 is infinite.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            per_token, per_word = np.exp(nll / sums[:, 1]), np.exp(nll / sums[:, 2])
            bits = nll / math.log(2) / sums[:, 3]
        return np.stack([per_token, per_word, bits], axis=1)

    def details(sums: Sequence[float]) -> dict[str, dict[str, float]]:
        nll, tokens, words, size, unknown = sums
        behind = {"nll": nll, "tokens": round(tokens), "unknown_tokens": round(unknown)}
        return {"perplexity": {**behind, "words": round(words), "bytes": round(size)}}

    return Metric(
        name="perplexity",
        scores=("perplexity", "word_perplexity", "bits_per_byte"),
        signature=signature(loaded, f"{how.signature}|docs:{'joined' if concatenated else 'apart'}"),
        statistics=statistics,
        corpus=corpus,
        details=details,
        scale=None,
        needs_references=False,
    )


def signature(loaded: LoadedModel, reading: str) -> str:
    """What a model's likelihoods depend on, in the manner of sacreBLEU's signatures."""
    import torch
    import transformers

    from llmkit import __version__

    dtype = str(loaded.dtype).removeprefix("torch.")
    return (
        f"model:{loaded.spec.name}@{loaded.revision}|{reading}|dtype:{dtype}"
        f"|torch:{torch.__version__}|transformers:{transformers.__version__}|version:llmkit-{__version__}"
    )


def measure(
    loaded: LoadedModel,
    rows: Iterable[Row],
    how: Windowing,
    *,
    field: str | None = None,
    template: str | None = None,
    given: Callable[[Row], str] | None = None,
    concatenated: bool = False,
    batch_size: int | None = None,
    token_losses: bool = False,
    notice: Callable[[str], None] = lambda message: None,
    progress: Callable[[int], None] = lambda tokens: None,
) -> Iterator[Example]:
    """Run a language model over texts.

    Args:
        loaded: the model.
        rows: the texts.
        how: from `reading.windowing`.
        field: the column with the text; None takes `text`, or the only column of texts.
        template: a text over several columns instead.
        given: what a row's text is predicted from, and is not scored: an encoder-decoder's source.
        concatenated: all texts are one, with `SEPARATOR` between them, and an example is one window of it:
            the smallest share that an interval can resample. Otherwise an example is a row.
        batch_size: windows per batch; None is as many as fit a budget.
        token_losses: each example's data gains the scored tokens (`tokens`) and the loss of each in nats
            (`token_losses`).
        notice: called when a batch did not fit into memory.
        progress: called after each batch with the number of tokens scored so far.

    Returns:
        Examples whose prediction is one `Loss`, in the order of the rows; their data gains it under `losses`.

    Raises:
        RowError: a row has no text, or an encoder-decoder no source for it.
        LLMKitError: a single window does not fit into memory, or the model's loss is not a number.
    """
    if concatenated and given is not None:
        raise InputError("texts that are given something each cannot be concatenated")
    reader = Reader(loaded, how)
    texts: Iterator[tuple[Row, str]] = (
        (row, text_of(row, field=field, template=template, defaults=("text",))) for row in rows
    )
    if concatenated:
        texts = _concatenated(list(texts))
    documents = ([reader.document(row, text, None if given is None else given(row))] for row, text in texts)
    options: dict[str, Any] = {"batch_size": batch_size, "notice": notice, "progress": progress}
    for (document,) in run(loaded, how, documents, **options):
        for example in _windows(document) if concatenated else [_whole(document)]:
            (loss,) = example.prediction
            data = {**example.data, "losses": [as_data(loss)]}
            if token_losses:
                tokens = loaded.tokenizer.convert_ids_to_tokens(list(loss.token_ids))
                data |= {"tokens": tokens, "token_losses": list(loss.token_losses)}
            yield replace(example, data=data)


def _concatenated(texts: Sequence[tuple[Row, str]]) -> Iterator[tuple[Row, str]]:
    if texts:
        yield Row(0, {}, texts[0][0].where), SEPARATOR.join(text for _, text in texts)


def _whole(document: ScoredText) -> Example:
    return Example([document.loss()], (), document.row.data, document.row.where)


def _windows(document: ScoredText) -> Iterator[Example]:
    """Each window of a document, with its share of the words and bytes."""
    parts = document.parts()
    counts = [sum(len(document.losses[index]) for index in part) for part in parts]
    first = 0
    for number, (part, count) in enumerate(zip(parts, counts, strict=True), 1):
        loss = document.loss(part, count / sum(counts))
        data = {"first_token": first, "scored_tokens": count}
        yield Example([loss], (), data, f"{document.row.where}, window {number}")
        first += count
