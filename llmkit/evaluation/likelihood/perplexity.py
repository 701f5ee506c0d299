"""Perplexity of a language model on texts, per token and per word, and bits per byte.

Every token is scored exactly once, with as much context as the window allows. Tokens, words and bytes are
counted here, not inferred from the mean of a loss function. Losses are computed from the logits in float32
(float64 for a model in float64) and summed in float64.

Masked models get pseudo-perplexities (Salazar et al. 2020, arXiv:1910.14659), which compare masked models
with each other, not with causal ones. Encoder-decoders are scored on a target after its source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError
from llmkit.evaluation.metric import Declaration, Example, Metric, declare
from llmkit.records.rows import Row, text_of

if TYPE_CHECKING:  # and in functions: `llmkit eval --help` imports this module for its declaration
    from llmkit.evaluation.likelihood.loss import Loss
    from llmkit.evaluation.likelihood.passes import ScoredText
    from llmkit.evaluation.likelihood.windowing import Windowing
    from llmkit.evaluation.metric import Matrix
    from llmkit.runtime.load import LoadedModel

SEPARATOR = "\n\n"
"""Text between concatenated documents."""


@declare(
    Declaration(
        "of a model, on texts",
        needs_references=False,
        lower_is_better=True,
        reads=frozenset({"bos", "concatenate", "field", "given", "lines", "template", "token_losses"}),
    )
)
def perplexity(loaded: LoadedModel, how: Windowing, *, concatenated: bool = False) -> Metric:
    """Build perplexity for examples whose prediction is one `Loss`.

    Its scores are `perplexity` (per token, for models that share a tokenizer), `word_perplexity`, and
    `bits_per_byte`, which compares any models on the same text.

    Args:
        loaded: the model.
        how: windows of the model, from `windowing.windowing`.
        concatenated: all texts were scored as one.
    """
    return perplexity_metric(
        signature(loaded, f"{how.signature}|docs:{'joined' if concatenated else 'apart'}")
    )


def perplexity_metric(described: str) -> Metric:
    """Build perplexity with the signature `described`."""

    def statistics(example: Example) -> list[float]:
        loss: Loss
        (loss,) = example.prediction
        return [loss.nll, loss.tokens, loss.words, loss.bytes, loss.unknown]

    def corpus(sums: Matrix) -> Matrix:
        import numpy as np

        # Without a scored token, word or byte the result is NaN, which `scoring` leaves out. A perplexity
        # above the range of float64 is infinite.
        nll = np.where(sums[:, 1] > 0, sums[:, 0], np.nan)
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
        signature=described,
        statistics=statistics,
        corpus=corpus,
        details=details,
        scale=None,
    )


def signature(loaded: LoadedModel, reading: str) -> str:
    """Return everything that a model's likelihoods depend on, in the form of sacreBLEU's signatures.

    Args:
        loaded: the model.
        reading: `key:value` pairs joined by `|` that describe the reading of the texts.
    """
    import torch
    import transformers

    from llmkit import __version__
    from llmkit.evaluation.likelihood.engine_model import EngineModel

    identity = loaded.identity() if isinstance(loaded, EngineModel) else None
    dtype = str(loaded.dtype).removeprefix("torch.") if identity is None else identity["dtype"]
    program = f"torch:{torch.__version__}"
    if identity is not None:
        program = f"engine:{identity['engine']}-{identity[identity['engine']]}"
    return (
        f"model:{loaded.spec.name}@{loaded.revision}|{reading}|dtype:{dtype}"
        f"|{program}|transformers:{transformers.__version__}|version:llmkit-{__version__}"
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
        how: windows of the model, from `windowing.windowing`.
        field: column with the text; None uses `text`, or the only column of texts.
        template: template over several columns instead.
        given: returns the context of a row's text, which is not scored; for an encoder-decoder its source.
        concatenated: score all texts as one, with `SEPARATOR` between them. Each window is then an example,
            because it is the smallest unit that can be resampled; otherwise each row is.
        batch_size: windows in a batch; None fits a budget of memory.
        token_losses: add the scored tokens (`tokens`) and their losses in nats (`token_losses`) to the data
            of each example.
        notice: receives a sentence when a batch did not fit into memory.
        progress: receives the number of tokens scored so far, after each batch.

    Yields:
        Examples whose prediction is one `Loss`, in the order of the rows. Their data gains it as `losses`.

    Raises:
        OptionError: `given` cannot be combined with `concatenated`.
        RowError: a row has no text, or no source for an encoder-decoder.
        OutOfMemory: a single window does not fit into memory.
        LLMKitError: a loss is not a finite number.
    """
    from llmkit.evaluation.likelihood.baseline import as_data
    from llmkit.evaluation.likelihood.windowing import PassBuilder, run

    if concatenated and given is not None:
        raise OptionError(
            "given", "is the context of single texts and cannot be combined with concatenate=True"
        )
    builder = PassBuilder(loaded, how)
    texts: Iterator[tuple[Row, str]] = (
        (row, text_of(row, field=field, template=template, defaults=("text",))) for row in rows
    )
    if concatenated:
        texts = _concatenated(list(texts))
    documents = ([builder.document(row, text, None if given is None else given(row))] for row, text in texts)
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
    """Yield each window of a document, with its share of the words and bytes."""
    parts = document.parts()
    counts = [sum(len(document.losses[index]) for index in part) for part in parts]
    first = 0
    for number, (part, count) in enumerate(zip(parts, counts, strict=True), 1):
        loss = document.loss(part, count / sum(counts))
        data = {"first_token": first, "scored_tokens": count}
        yield Example([loss], (), data, f"{document.row.where}, window {number}")
        first += count
