"""How well a language model predicts texts: perplexity per token and per word, and bits per byte.

Every token is scored exactly once, from the most context that the window gives it, and what is divided by
is counted here and not inferred from any loss function's mean. Losses are taken from the logits in float32
(float64 where the model is), whatever the model computes in, and summed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmkit.errors import InputError
from llmkit.evaluation.losses import Batches, Document, Loss
from llmkit.evaluation.metric import Example, Metric
from llmkit.evaluation.windows import windows
from llmkit.records.rows import Row, text_of
from llmkit.text.words import count_words

if TYPE_CHECKING:
    from llmkit.evaluation.metric import Matrix
    from llmkit.runtime.load import LoadedModel

BOS = ("auto", "first", "every", "none")
DEFAULT_WINDOW = 1024
"""For models that limit the context in no way."""
SEPARATOR = "\n\n"
"""Between documents that are concatenated."""
_LOGITS = {"cpu": 1 << 26, "cuda": 1 << 29}
"""Logits held at a time (256 MB and 2 GB in float32); with the vocabulary's size they bound a batch."""
_READ_AHEAD = 32
"""Batches' worth of windows that are sorted by length together."""


@dataclass(frozen=True)
class Windowing:
    """How texts are cut up for one model.

    Args:
        window: the most tokens fed at a time.
        stride: the most new tokens predicted by each window after the first.
        bos: the token put before a text, or None; without one its first token cannot be scored.
        repeat_bos: it stands at the head of every window and not only of the first.
        name: the same in words, for the signature.
    """

    window: int
    stride: int
    bos: int | None
    repeat_bos: bool
    name: str


def windowing(
    loaded: LoadedModel, *, window: int | None = None, stride: int | None = None, bos: str = "auto"
) -> Windowing:
    """Settle what the user left open.

    Args:
        loaded: the model.
        window: None is the model's context length.
        stride: None is half the window.
        bos: `first` puts the beginning-of-sequence token before each text (the end-of-sequence token, which
            separates documents in training, where there is no other); `every` puts it at the head of every
            window too; `none` leaves the first token unscored, though its bytes and word still count;
            `auto` is `every` for a tokenizer that puts it there by itself, as its model never saw a window
            without, and `first` for others.

    Raises:
        InputError: a value is impossible, or exceeds what the model can see.
    """
    if bos not in BOS:
        raise InputError(f"--bos is {bos!r}; it can be {', '.join(BOS)}")
    limit = loaded.context_length
    if window is not None and limit is not None and window > limit:
        raise InputError(f"--window is {window}, and {loaded.spec.name} sees no more than {limit} tokens")
    size = window if window is not None else limit or DEFAULT_WINDOW
    step = stride if stride is not None else max(1, size // 2)
    list(windows(0, size, step))  # says what is wrong with them, before any model runs
    tokenizer = loaded.tokenizer
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if bos in ("first", "every") and token is None:
        raise InputError(f"--bos {bos}: {loaded.spec.name} has no token to begin with; use --bos none")
    if bos == "auto":
        by_itself = token is not None and tokenizer("a")["input_ids"][:1] == [token]
        bos = "none" if token is None else "every" if by_itself else "first"
    if bos == "none":
        return Windowing(size, step, None, False, "none")
    written = tokenizer.convert_ids_to_tokens(token)
    return Windowing(size, step, token, bos == "every", f"{written},{bos}")


def perplexity(loaded: LoadedModel, how: Windowing, *, concatenated: bool = False) -> Metric:
    """The metric over examples whose prediction is a `Loss`.

    Its scores are `perplexity` (per token: tokenizers differ, so that it compares only models that share
    one), `word_perplexity`, and `bits_per_byte`, which compares any models on one text.
    """
    import torch
    import transformers

    from llmkit import __version__

    def statistics(example: Example) -> list[float]:
        loss: Loss = example.prediction
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

    dtype = str(loaded.dtype).removeprefix("torch.")
    return Metric(
        name="perplexity",
        scores=("perplexity", "word_perplexity", "bits_per_byte"),
        signature=f"model:{loaded.spec.name}@{loaded.revision}|window:{how.window}|stride:{how.stride}"
        f"|bos:{how.name}|docs:{'joined' if concatenated else 'apart'}|dtype:{dtype}"
        f"|torch:{torch.__version__}|transformers:{transformers.__version__}|version:llmkit-{__version__}",
        statistics=statistics,
        corpus=corpus,
        details=details,
        scale=None,
        needs_references=False,
    )


def measure(
    loaded: LoadedModel,
    rows: Iterable[Row],
    how: Windowing,
    *,
    field: str | None = None,
    template: str | None = None,
    concatenated: bool = False,
    batch_size: int | None = None,
    token_losses: bool = False,
    notice: Callable[[str], None] = lambda message: None,
    progress: Callable[[int], None] = lambda tokens: None,
) -> Iterator[Example]:
    """Run a causal language model over texts.

    Args:
        loaded: the model.
        rows: the texts.
        how: from `windowing`.
        field: the column with the text; None takes `text`, or the only column of texts.
        template: a text over several columns instead.
        concatenated: all texts are one, with `SEPARATOR` between them, and an example is one window of it:
            the smallest share that an interval can resample. Otherwise an example is a row.
        batch_size: windows per batch; None is as many as `_LOGITS` allows.
        token_losses: each example's data gains the scored tokens (`tokens`) and the loss of each in nats
            (`token_losses`).
        notice: called when a batch did not fit into memory.
        progress: called after each batch with the number of tokens scored so far.

    Returns:
        Examples whose prediction is a `Loss`, in the order of the rows.

    Raises:
        RowError: a row has no text.
        LLMKitError: a single window does not fit into memory, or the model's loss is not a number.
    """
    if loaded.is_encoder_decoder:
        raise InputError(f"perplexity needs a causal model, and {loaded.spec.name} is an encoder-decoder")
    vocabulary = loaded.model.get_output_embeddings().weight.shape[0]
    logits = _LOGITS.get(loaded.device.type, _LOGITS["cpu"])
    batches = Batches(loaded, batch_size, max(how.window, logits // vocabulary), notice, progress)
    for held in _groups(_documents(loaded, rows, how, field, template, concatenated), batches.tokens):
        for example in _finish(held, batches, concatenated):
            if token_losses:
                loss = example.prediction
                tokens = loaded.tokenizer.convert_ids_to_tokens(list(loss.token_ids))
                data = {**example.data, "tokens": tokens, "token_losses": list(loss.token_losses)}
                example = replace(example, data=data)
            yield example


def _groups(documents: Iterable[Document], batch: int) -> Iterator[list[Document]]:
    """Documents by the hundred or so: enough to sort their windows by length, few enough to hold."""
    held: list[Document] = []
    fed = 0
    for document in documents:
        held.append(document)
        fed += sum(window.end - window.start for window in document.windows)
        if fed >= _READ_AHEAD * batch:
            yield held
            held, fed = [], 0
    yield held


def _documents(
    loaded: LoadedModel,
    rows: Iterable[Row],
    how: Windowing,
    field: str | None,
    template: str | None,
    concatenated: bool,
) -> Iterator[Document]:
    texts: Iterator[tuple[Row, str]] = (
        (row, text_of(row, field=field, template=template, defaults=("text",))) for row in rows
    )
    if concatenated:
        all_texts = list(texts)
        if not all_texts:
            return
        where = all_texts[0][0].where
        texts = iter([(Row(0, {}, where), SEPARATOR.join(text for _, text in all_texts))])
    for row, text in texts:
        # `verbose=False`: a text longer than the context is what windows are for, and no reason to warn.
        ids = loaded.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if how.bos is not None:
            ids = [how.bos, *ids]
        cut = list(windows(len(ids), how.window, how.stride, repeat_bos=how.repeat_bos))
        unknown = loaded.tokenizer.unk_token_id
        if unknown == how.bos:  # as in GPT-2, which knows every byte
            unknown = None
        yield Document(row, text, ids, cut, how.repeat_bos, unknown, count_words(text), {})


def _finish(held: Sequence[Document], batches: Batches, concatenated: bool) -> Iterator[Example]:
    """Run all windows of some documents, longest first, and give their losses in order."""
    waiting = [(document, index) for document in held for index in range(len(document.windows))]
    waiting.sort(key=lambda one: one[0].windows[one[1]].end - one[0].windows[one[1]].start, reverse=True)
    batches.run(waiting)
    for document in held:
        every = range(len(document.windows))
        if not concatenated:
            yield Example(document.loss(every), (), document.row.data, document.row.where)
            continue
        scored = sum(window.scored for window in document.windows)
        for index, window in enumerate(document.windows):
            loss = document.loss([index], window.scored / scored)
            data = {"first_token": window.end - window.scored, "scored_tokens": window.scored}
            yield Example(loss, (), data, f"{document.row.where}, window {index + 1}")
