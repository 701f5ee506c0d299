"""How well a language model predicts texts: perplexity per token and per word, and bits per byte.

Every token is scored exactly once, from the most context that the window gives it, and what is divided by
is counted here and not inferred from any loss function's mean. Losses are taken from the logits in float32
(float64 where the model is), whatever the model computes in, and summed in float64.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError
from llmkit.evaluation.metric import Example, Metric
from llmkit.evaluation.windows import Window, windows
from llmkit.records.rows import Row, text_of
from llmkit.text.words import count_words

if TYPE_CHECKING:
    import torch

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


@dataclass(frozen=True)
class Loss:
    """What a model lost on a text, or on one window's share of it.

    Args:
        nll: negative log-likelihood of the scored tokens, in nats.
        tokens: how many were scored.
        words: the text's words, as `text.words.count_words` counts them.
        bytes: the text's bytes in UTF-8.
        unknown: tokens that stand for text which the tokenizer does not know.
        token_ids: the scored tokens.
        token_losses: the loss of each, in nats.
    """

    nll: float
    tokens: int
    words: float
    bytes: float
    unknown: int
    token_ids: tuple[int, ...] = field(default=(), repr=False)
    token_losses: tuple[float, ...] = field(default=(), repr=False)


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
    batches = _Batches(loaded, batch_size, max(how.window, logits // vocabulary), notice, progress)
    for held in _groups(_documents(loaded, rows, how, field, template, concatenated), batches.tokens):
        for example in _finish(held, batches, concatenated):
            if token_losses:
                loss = example.prediction
                tokens = loaded.tokenizer.convert_ids_to_tokens(list(loss.token_ids))
                data = {**example.data, "tokens": tokens, "token_losses": list(loss.token_losses)}
                example = replace(example, data=data)
            yield example


def _groups(documents: Iterable[_Document], batch: int) -> Iterator[list[_Document]]:
    """Documents by the hundred or so: enough to sort their windows by length, few enough to hold."""
    held: list[_Document] = []
    fed = 0
    for document in documents:
        held.append(document)
        fed += sum(window.end - window.start for window in document.windows)
        if fed >= _READ_AHEAD * batch:
            yield held
            held, fed = [], 0
    yield held


@dataclass
class _Document:
    """A text's tokens, its windows, and as they come in the losses of each window."""

    row: Row
    text: str
    ids: list[int]
    windows: list[Window]
    how: Windowing
    unknown: int | None
    words: int
    losses: dict[int, list[float]]

    def inputs(self, index: int) -> list[int]:
        """The tokens that window `index` feeds."""
        window = self.windows[index]
        fed = self.ids[window.start : window.end]
        return [self.ids[0], *fed] if window.start and self.how.repeat_bos else fed

    def targets(self, index: int) -> list[int]:
        """The tokens that it predicts: the predictions at its last places."""
        window = self.windows[index]
        return self.ids[window.end - window.scored + 1 : window.end + 1]

    def loss(self, of: Sequence[int], share: float = 1.0) -> Loss:
        """What was lost in some windows, to which a share of the text's words and bytes belongs."""
        tokens = [token for index in of for token in self.targets(index)]
        losses = [loss for index in of for loss in self.losses[index]]
        return Loss(
            nll=math.fsum(losses),
            tokens=len(tokens),
            words=share * self.words,
            bytes=share * len(self.text.encode("utf-8")),
            unknown=tokens.count(self.unknown) if self.unknown is not None else 0,
            token_ids=tuple(tokens),
            token_losses=tuple(losses),
        )


def _documents(
    loaded: LoadedModel,
    rows: Iterable[Row],
    how: Windowing,
    field: str | None,
    template: str | None,
    concatenated: bool,
) -> Iterator[_Document]:
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
        yield _Document(row, text, ids, cut, how, unknown, count_words(text), {})


def _finish(held: Sequence[_Document], batches: _Batches, concatenated: bool) -> Iterator[Example]:
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


class _Batches:
    """Runs windows in batches, padded on the right, where a causal model does not see the padding."""

    def __init__(
        self,
        loaded: LoadedModel,
        rows: int | None,
        tokens: int,
        notice: Callable[[str], None],
        progress: Callable[[int], None],
    ) -> None:
        self.tokens = tokens
        self._loaded, self._rows, self._notice, self._progress = loaded, rows, notice, progress
        self._scored = 0
        base: Any = loaded.model
        forward = base.get_base_model().forward if hasattr(base, "get_base_model") else base.forward
        self._keeps = "logits_to_keep" in inspect.signature(forward).parameters

    def run(self, waiting: Sequence[tuple[_Document, int]]) -> None:
        """Fill in the losses of all windows; halve the batches when memory runs out."""
        import torch

        done = 0
        while done < len(waiting):
            longest = len(waiting[done][0].inputs(waiting[done][1]))
            size = self._rows or max(1, self.tokens // longest)
            batch = waiting[done : done + size]
            try:
                losses = self._losses(batch)
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise LLMKitError(
                        f"one window of {longest} tokens does not fit into memory; "
                        "give a shorter --window, --dtype bfloat16 or another --device"
                    ) from None
                self._rows = len(batch) // 2
                torch.cuda.empty_cache()
                self._notice(f"out of memory: going on with {self._rows} windows at a time")
                continue
            for (document, index), loss in zip(batch, losses, strict=True):
                if not math.isfinite(sum(loss)):
                    where, dtype = document.row.where, str(self._loaded.dtype).removeprefix("torch.")
                    raise LLMKitError(
                        f"{where}: the model's loss in {dtype} is no number; try --dtype float32"
                    )
                document.losses[index] = loss
                self._scored += len(loss)
            done += len(batch)
            self._progress(self._scored)

    def _losses(self, batch: Sequence[tuple[_Document, int]]) -> list[list[float]]:
        import torch

        inputs = [document.inputs(index) for document, index in batch]
        scored = [document.windows[index].scored for document, index in batch]
        longest = max(map(len, inputs))
        ids = torch.full((len(batch), longest), self._loaded.tokenizer.pad_token_id or 0, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, fed in enumerate(inputs):
            ids[i, : len(fed)] = torch.tensor(fed)
            mask[i, : len(fed)] = 1
        # Logits of places that no window scores are not even computed, where the model allows that.
        keep = longest - min(len(fed) - count for fed, count in zip(inputs, scored, strict=True))
        options: dict[str, Any] = {"logits_to_keep": keep} if self._keeps else {}
        if any(len(fed) < longest for fed in inputs):
            options["attention_mask"] = mask.to(self._loaded.device)
        with torch.inference_mode():
            logits = self._loaded.model(ids.to(self._loaded.device), use_cache=False, **options).logits
        skipped = longest - logits.shape[1]
        return [
            _token_losses(logits[i, len(fed) - count - skipped : len(fed) - skipped], document.targets(index))
            for i, (fed, count, (document, index)) in enumerate(zip(inputs, scored, batch, strict=True))
        ]


def _token_losses(logits: torch.Tensor, targets: Sequence[int]) -> list[float]:
    """Negative log-likelihoods in nats; logits are (targets, vocabulary)."""
    import torch

    exact = logits if logits.dtype == torch.float64 else logits.float()
    right = torch.tensor(targets, device=logits.device)
    losses: list[float] = torch.nn.functional.cross_entropy(exact, right, reduction="none").double().tolist()
    return losses
