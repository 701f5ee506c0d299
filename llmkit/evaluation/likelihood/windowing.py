"""Windows, context and forward passes for metrics of likelihood.

Perplexity, multiple choice and minimal pairs share this module: it turns a text into a `ScoredText` and runs
the model over many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, RowError
from llmkit.evaluation.likelihood.passes import CausalDocument, MaskedDocument, ScoredText, TargetDocument
from llmkit.evaluation.likelihood.token_losses import LossBatches
from llmkit.evaluation.likelihood.windows import check_windows, two_sided, windows
from llmkit.evaluation.metric import check_choice
from llmkit.records.rows import Row
from llmkit.text.words import count_words, is_unspaced

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel

BOS = ("auto", "first", "every", "none")
DEFAULT_WINDOW = 1024
"""Window of models whose context has no limit."""
_LOGITS = {"cpu": 1 << 26, "cuda": 1 << 29}
"""Maximum number of logits in a batch, by device: 256 MB and 2 GB in float32."""
_CPU_TOKENS = 1024
"""Maximum number of tokens in a batch that fit a CPU's caches (`python -m tests.benchmarks eval`)."""
_SORTED_BATCHES = 32
"""Number of batches whose windows are sorted together by length."""


@dataclass(frozen=True)
class Windowing:
    """Windows of a model over a text.

    Attributes:
        kind: `causal`, `masked` or `seq2seq`.
        window: maximum number of input tokens.
        stride: maximum number of tokens predicted by each window after the first.
        bos: id of the token before a text, or None; the first token of a text is then not scored.
        repeat_bos: put `bos` at the beginning of every window, not only of the first.
        name: description of `bos` and `repeat_bos`, for the signature.
    """

    kind: str
    window: int
    stride: int
    bos: int | None
    repeat_bos: bool
    name: str

    @property
    def signature(self) -> str:
        """The part of a metric's signature that describes the windows."""
        if self.kind == "seq2seq":
            return "kind:seq2seq"
        kind = "kind:masked|one-token-at-a-time|" if self.kind == "masked" else ""
        return f"{kind}window:{self.window}|stride:{self.stride}|bos:{self.name}"

    def describe(self) -> str:
        """Return a sentence for the user."""
        if self.kind == "seq2seq":
            return "each token is scored after the whole source and the tokens before it"
        windows = f"windows of {self.window} tokens, {self.stride} new in each"
        if self.kind == "masked":
            return f"{windows}; each token is masked in turn"
        if self.bos is None:
            return f"{windows}; the first token of a text is not scored"
        token = self.name.rpartition(",")[0]
        return f"{windows}; {token} before {'every window' if self.repeat_bos else 'each text'}"


def windowing(
    loaded: LoadedModel,
    *,
    window: int | None = None,
    stride: int | None = None,
    bos: str = "auto",
    given: bool = False,
) -> Windowing:
    """Choose the windows of a model, and the options that the user did not set.

    Args:
        loaded: the model.
        window: maximum number of input tokens; None is the model's context length.
        stride: tokens predicted by each further window; None is half the window.
        bos: `first` puts the beginning-of-sequence token before each text (or, if the tokenizer has none, the
            end-of-sequence token, which separates documents in training). `every` puts it at the beginning of
            every window too. `none` leaves the first token unscored, but its bytes and word still count.
            `auto` is `every` for a tokenizer that adds the token by itself, because its model never saw a
            window without it, and `first` for others. A masked model gets its usual special tokens.
        given: each text has a context; `auto` then puts a token before it only if the tokenizer does.

    Raises:
        OptionError: a value is not possible, or exceeds the context of the model.
        InputError: the model cannot be used.
    """
    check_choice("bos", bos, BOS)
    kind = _kind(loaded)
    limit = loaded.context_length
    if window is not None and limit is not None and window > limit:
        raise OptionError("window", f"is {window}, but {loaded.spec.name} has a context of {limit} tokens")
    if kind == "seq2seq":
        for option, value, default in (
            ("window", window, None),
            ("stride", stride, None),
            ("bos", bos, "auto"),
        ):
            if value != default:
                raise OptionError(
                    option,
                    f"does not apply to {loaded.spec.name}, an encoder-decoder that reads a whole source",
                )
    size = window if window is not None else limit or DEFAULT_WINDOW
    step = stride if stride is not None else max(1, size // 2)
    check_windows(size, step)
    if kind == "seq2seq":
        return Windowing(kind, size, size, None, False, "none")
    if kind == "masked":
        return _masked_windowing(loaded, size, step, bos)
    return _causal_windowing(loaded, size, step, bos, given)


def _masked_windowing(loaded: LoadedModel, size: int, step: int, bos: str) -> Windowing:
    """Return windows with space for the special tokens on both sides."""
    if bos != "auto":
        raise OptionError("bos", f"applies to causal models, and {loaded.spec.name} is a masked one")
    if loaded.tokenizer.mask_token_id is None:
        raise InputError(
            f"{loaded.spec.name} has no mask token, so its tokens cannot be masked one at a time"
        )
    before, after = special_tokens(loaded)
    room = size - len(before) - len(after)
    if room < 2:
        raise OptionError("window", f"is {size}, and special tokens take {len(before) + len(after)} of it")
    return Windowing("masked", size, min(step, room), None, False, "as trained")


def _causal_windowing(loaded: LoadedModel, size: int, step: int, bos: str, given: bool) -> Windowing:
    """Return windows, and choose the token before a text."""
    tokenizer = loaded.tokenizer
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if bos in ("first", "every") and token is None:
        raise OptionError("bos", f'must be "none": {loaded.spec.name} has no beginning-of-sequence token')
    if bos == "auto":
        added = token is not None and tokenizer("a")["input_ids"][:1] == [token]
        bos = "every" if added else "none" if given or token is None else "first"
    if bos == "none":
        return Windowing("causal", size, step, None, False, "none")
    written = tokenizer.convert_ids_to_tokens(token)
    return Windowing("causal", size, step, token, bos == "every", f"{written},{bos}")


def _kind(loaded: LoadedModel) -> str:
    if loaded.is_encoder_decoder:
        return "seq2seq"
    return "masked" if loaded.spec.task == "fill-mask" else "causal"


def special_tokens(loaded: LoadedModel) -> tuple[list[int], list[int]]:
    """Return the special tokens that the tokenizer puts before and after a text."""
    plain = loaded.tokenizer("a", add_special_tokens=False)["input_ids"]
    full = loaded.tokenizer("a")["input_ids"]
    at = next(i for i in range(len(full)) if full[i : i + len(plain)] == plain)
    return full[:at], full[at + len(plain) :]


class PassBuilder:
    """Turn texts into documents for one model.

    Args:
        loaded: the model.
        how: windows of the model, from `windowing`.
    """

    def __init__(self, loaded: LoadedModel, how: Windowing) -> None:
        self._loaded, self._how = loaded, how
        # `verbose=False`: windows handle a text longer than the context, so no warning is needed.
        self._plain: dict[str, Any] = {"add_special_tokens": False, "verbose": False}
        unknown = loaded.tokenizer.unk_token_id
        self._unknown = None if unknown == how.bos else unknown  # as in GPT-2, whose vocabulary has all bytes
        if how.kind == "masked":
            self._before, self._after = special_tokens(loaded)

    def document(self, row: Row, text: str, context: str | None = None) -> ScoredText:
        """Return a text with its context; only the text is scored.

        Args:
            row: row of the text.
            text: the text to score.
            context: text before it, separated by a space; the source of an encoder-decoder.

        Raises:
            RowError: an encoder-decoder has no source, or the source exceeds its context.
        """
        read = {"causal": self._causal, "masked": self._masked, "seq2seq": self._target}
        return read[self._how.kind](row, text, context)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._loaded.tokenizer(text, **self._plain)["input_ids"]
        return ids

    def _about(self, row: Row, text: str) -> tuple[Row, str, int, int | None]:
        return row, text, count_words(text), self._unknown

    def _joined(self, text: str, context: str) -> tuple[list[int], int]:
        """Return the tokens of context and text together, and the number of the context's tokens.

        Both are tokenized as one text; the tokens beyond the context's own are the text's, as in EleutherAI's
        harness.
        """
        separated = context[-1:].isspace() or text[:1].isspace() or is_unspaced(context[-1:])
        ids = self._ids(context + ("" if separated else " ") + text)
        return ids, min(len(self._ids(context.rstrip())), len(ids))

    def _causal(self, row: Row, text: str, context: str | None) -> ScoredText:
        how = self._how
        ids, given = (self._ids(text), 0) if not context else self._joined(text, context)
        if how.bos is not None:
            ids, given = [how.bos, *ids], given + 1
        cut = list(windows(len(ids), how.window, how.stride, given=max(given, 1), repeat_bos=how.repeat_bos))
        return CausalDocument(*self._about(row, text), ids, cut, how.repeat_bos)

    def _masked(self, row: Row, text: str, context: str | None) -> ScoredText:
        how = self._how
        ids, given = (self._ids(text), 0) if not context else self._joined(text, context)
        size = how.window - len(self._before) - len(self._after)
        parts = [
            (part.start, part.end, range(max(part.scored.start, given), part.scored.stop))
            for part in two_sided(len(ids), size, min(how.stride, size))
        ]
        mask: Any = self._loaded.tokenizer.mask_token_id
        return MaskedDocument(
            *self._about(row, text),
            ids,
            [(start, end) for start, end, _ in parts],
            [scored for _, _, scored in parts],
            self._before,
            self._after,
            mask,
        )

    def _target(self, row: Row, text: str, context: str | None) -> ScoredText:
        if context is None:
            raise RowError(
                row.where,
                f"{self._loaded.spec.name} is an encoder-decoder and predicts a text from its source:"
                " give the column, or a template over columns, with `given`",
            )
        tokenizer: Any = self._loaded.tokenizer
        source = tokenizer(context, verbose=False)["input_ids"]
        target = tokenizer(text_target=text, verbose=False)["input_ids"]
        limit = self._loaded.context_length
        for what, ids in (("source", source), ("text", target)):
            if limit is not None and len(ids) > limit:
                raise RowError(
                    row.where,
                    f"its {what} has {len(ids)} tokens; {self._loaded.spec.name} has a context of {limit}",
                )
        # A language code, or BART's <s>, is an input of the decoder, not a prediction.
        forced = 0
        while forced < len(target) - 1 and target[forced] in tokenizer.all_special_ids:
            forced += 1
        config = self._loaded.model.config
        start = config.decoder_start_token_id
        if start is None:
            start = self._loaded.model.generation_config.decoder_start_token_id
        return TargetDocument(*self._about(row, text), source, target[forced:], [start, *target[:forced]])


def run(
    loaded: LoadedModel,
    how: Windowing,
    groups: Iterable[list[ScoredText]],
    *,
    batch_size: int | None = None,
    notice: Callable[[str], None] = lambda message: None,
    progress: Callable[[int], None] = lambda tokens: None,
) -> Iterator[list[ScoredText]]:
    """Run documents, many of them sorted by length, and yield them in order with their losses.

    Args:
        loaded: the model.
        how: windows of the model, from `windowing`.
        groups: documents that belong together, such as the choices of a question.
        batch_size: passes in a batch; None uses the limit `_LOGITS`.
        notice: receives a sentence when a batch did not fit into memory.
        progress: receives the number of tokens scored so far, after each batch.

    Raises:
        OutOfMemory: a single window does not fit into memory.
        LLMKitError: a loss is not a finite number.
    """
    logits = _LOGITS.get(loaded.device.type, _LOGITS["cpu"])
    tokens = logits // loaded.model.get_output_embeddings().weight.shape[0]
    if loaded.device.type == "cpu":
        tokens = min(tokens, _CPU_TOKENS)
    batches = LossBatches(loaded, batch_size, tokens, notice, progress)
    held: list[list[ScoredText]] = []
    waiting = 0
    for group in groups:
        held.append(group)
        waiting += sum(one.length(index) for one in group for index in range(len(one)))
        if waiting >= _SORTED_BATCHES * batches.tokens:
            yield from _finished(held, batches)
            held, waiting = [], 0
    yield from _finished(held, batches)


def _finished(held: list[list[ScoredText]], batches: LossBatches) -> list[list[ScoredText]]:
    batches.run([document for group in held for document in group])
    return held
