"""How a model reads texts to be scored: which tokens come before one, in what windows, by what kind of pass.

Perplexity, multiple choice and minimal pairs all ask what a model loses on a text; this is where a text
becomes a `ScoredText`, and where documents are run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, RowError
from llmkit.evaluation.likelihood.passes import CausalDocument, MaskedDocument, ScoredText, TargetDocument
from llmkit.evaluation.likelihood.token_losses import LossBatches
from llmkit.evaluation.likelihood.windows import check_windows, two_sided, windows
from llmkit.records.rows import Row
from llmkit.text.words import count_words, is_unspaced

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel

BOS = ("auto", "first", "every", "none")
DEFAULT_WINDOW = 1024
"""For models that limit the context in no way."""
_LOGITS = {"cpu": 1 << 26, "cuda": 1 << 29}
"""Logits held at a time (256 MB and 2 GB in float32); with the vocabulary's size they bound a batch."""
_CPU_TOKENS = 1024
"""Tokens in a batch on a CPU: more of them leave its caches (`python -m tests.benchmarks eval`)."""
_READ_AHEAD = 32
"""Batches' worth of windows that are sorted by length together."""


@dataclass(frozen=True)
class Windowing:
    """How texts are cut up for one model.

    Args:
        kind: `causal`, `masked` or `seq2seq`.
        window: the most tokens fed at a time.
        stride: the most new tokens predicted by each window after the first.
        bos: the token put before a text, or None; without one its first token cannot be scored.
        repeat_bos: it stands at the head of every window and not only of the first.
        name: the same in words, for the signature.
    """

    kind: str
    window: int
    stride: int
    bos: int | None
    repeat_bos: bool
    name: str

    @property
    def signature(self) -> str:
        """The part of a metric's signature that tells of it."""
        if self.kind == "seq2seq":
            return "kind:seq2seq"
        kind = "kind:masked|one-token-at-a-time|" if self.kind == "masked" else ""
        return f"{kind}window:{self.window}|stride:{self.stride}|bos:{self.name}"

    def told(self) -> str:
        """The same as a sentence for the user."""
        if self.kind == "seq2seq":
            return "each token is scored after the whole source and the tokens before it"
        sides = ", each token masked in turn" if self.kind == "masked" else ""
        return (
            f"windows of {self.window} tokens, {self.stride} new in each; before a text: {self.name}{sides}"
        )


def windowing(
    loaded: LoadedModel,
    *,
    window: int | None = None,
    stride: int | None = None,
    bos: str = "auto",
    given: bool = False,
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
            without, and `first` for others. A masked model gets the special tokens that it was trained with.
        given: each text has a context, so that `auto` puts a token before it only as the tokenizer does.

    Raises:
        InputError: a value is impossible, or exceeds what the model can see.
    """
    if bos not in BOS:
        raise InputError(f"--bos is {bos!r}; it can be {', '.join(BOS)}")
    kind = _kind(loaded)
    limit = loaded.context_length
    if window is not None and limit is not None and window > limit:
        raise InputError(f"--window is {window}, and {loaded.spec.name} sees no more than {limit} tokens")
    if kind == "seq2seq" and (window is not None or stride is not None or bos != "auto"):
        raise InputError(
            f"{loaded.spec.name} is an encoder-decoder and reads a whole source: leave --window, --stride and"
            " --bos out"
        )
    size = window if window is not None else limit or DEFAULT_WINDOW
    step = stride if stride is not None else max(1, size // 2)
    check_windows(size, step)  # says what is wrong with them, before any model runs
    if kind == "seq2seq":
        return Windowing(kind, size, size, None, False, "none")
    if kind == "masked":
        return _masked_windowing(loaded, size, step, bos)
    return _causal_windowing(loaded, size, step, bos, given)


def _masked_windowing(loaded: LoadedModel, size: int, step: int, bos: str) -> Windowing:
    """Windows that leave room for the special tokens on both sides."""
    if bos != "auto":
        raise InputError(f"--bos is about causal models, and {loaded.spec.name} is a masked one")
    if loaded.tokenizer.mask_token_id is None:
        raise InputError(f"{loaded.spec.name} has no mask token, so that no token of a text can be hidden")
    before, after = special_tokens(loaded)
    room = size - len(before) - len(after)
    if room < 2:
        raise InputError(f"--window is {size}, and special tokens take {len(before) + len(after)} of it")
    return Windowing("masked", size, min(step, room), None, False, "as trained")


def _causal_windowing(loaded: LoadedModel, size: int, step: int, bos: str, given: bool) -> Windowing:
    """Windows with the token before a text, and where it stands, settled."""
    tokenizer = loaded.tokenizer
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if bos in ("first", "every") and token is None:
        raise InputError(f"--bos {bos}: {loaded.spec.name} has no token to begin with; use --bos none")
    if bos == "auto":
        by_itself = token is not None and tokenizer("a")["input_ids"][:1] == [token]
        bos = "every" if by_itself else "none" if given or token is None else "first"
    if bos == "none":
        return Windowing("causal", size, step, None, False, "none")
    written = tokenizer.convert_ids_to_tokens(token)
    return Windowing("causal", size, step, token, bos == "every", f"{written},{bos}")


def _kind(loaded: LoadedModel) -> str:
    if loaded.is_encoder_decoder:
        return "seq2seq"
    return "masked" if loaded.spec.task == "fill-mask" else "causal"


def special_tokens(loaded: LoadedModel) -> tuple[list[int], list[int]]:
    """The tokens that the tokenizer puts before and after a text by itself."""
    bare = loaded.tokenizer("a", add_special_tokens=False)["input_ids"]
    dressed = loaded.tokenizer("a")["input_ids"]
    at = next(i for i in range(len(dressed)) if dressed[i : i + len(bare)] == bare)
    return dressed[:at], dressed[at + len(bare) :]


class Reader:
    """Texts to documents, for one model read in one way.

    Args:
        loaded: the model.
        how: from `windowing`.
    """

    def __init__(self, loaded: LoadedModel, how: Windowing) -> None:
        self._loaded, self._how = loaded, how
        # `verbose=False`: a text longer than the context is what windows are for, and no reason to warn.
        self._plain: dict[str, Any] = {"add_special_tokens": False, "verbose": False}
        unknown = loaded.tokenizer.unk_token_id
        self._unknown = None if unknown == how.bos else unknown  # as in GPT-2, which knows every byte
        if how.kind == "masked":
            self._before, self._after = special_tokens(loaded)

    def document(self, row: Row, text: str, context: str | None = None) -> ScoredText:
        """A text, and what it is predicted from; only the text is scored.

        Args:
            row: where it is from.
            text: what is scored.
            context: what comes before it, after a space; an encoder-decoder's source.

        Raises:
            RowError: an encoder-decoder has no source, or one it cannot see whole.
        """
        read = {"causal": self._causal, "masked": self._masked, "seq2seq": self._target}
        return read[self._how.kind](row, text, context)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._loaded.tokenizer(text, **self._plain)["input_ids"]
        return ids

    def _about(self, row: Row, text: str) -> tuple[Row, str, int, int | None]:
        return row, text, count_words(text), self._unknown

    def _joined(self, text: str, context: str) -> tuple[list[int], int]:
        """Tokens of the context and the text together, and how many of them are the context's.

        The text's tokens are those that are added to the context's when both are tokenized as one: a word
        at the seam is one word (as in EleutherAI's harness).
        """
        apart = context[-1:].isspace() or text[:1].isspace() or is_unspaced(context[-1:])
        whole = self._ids(context + ("" if apart else " ") + text)
        return whole, min(len(self._ids(context.rstrip())), len(whole))

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
                " name the column, or a template over columns, with --given",
            )
        tokenizer: Any = self._loaded.tokenizer
        source = tokenizer(context, verbose=False)["input_ids"]
        target = tokenizer(text_target=text, verbose=False)["input_ids"]
        limit = self._loaded.context_length
        for what, ids in (("source", source), ("text", target)):
            if limit is not None and len(ids) > limit:
                raise RowError(
                    row.where,
                    f"its {what} has {len(ids)} tokens; {self._loaded.spec.name} sees no more than {limit}",
                )
        # A language's code, or BART's <s>, is what the decoder is told and not what it finds out.
        told = 0
        while told < len(target) - 1 and target[told] in tokenizer.all_special_ids:
            told += 1
        config = self._loaded.model.config
        start = config.decoder_start_token_id
        if start is None:
            start = self._loaded.model.generation_config.decoder_start_token_id
        return TargetDocument(*self._about(row, text), source, target[told:], [start, *target[:told]])


def run(
    loaded: LoadedModel,
    how: Windowing,
    groups: Iterable[list[ScoredText]],
    *,
    batch_size: int | None = None,
    notice: Callable[[str], None] = lambda message: None,
    progress: Callable[[int], None] = lambda tokens: None,
) -> Iterator[list[ScoredText]]:
    """Run documents, sorted by length over many of them; they come back in order with their losses.

    Args:
        loaded: the model.
        how: from `windowing`.
        groups: documents that belong together, such as the choices of a question.
        batch_size: passes per batch; None is as many as `_LOGITS` allows.
        notice: called when a batch did not fit into memory.
        progress: called after each batch with the number of tokens scored so far.

    Raises:
        LLMKitError: a single window does not fit into memory, or the model's loss is not a number.
    """
    logits = _LOGITS.get(loaded.device.type, _LOGITS["cpu"])
    tokens = logits // loaded.model.get_output_embeddings().weight.shape[0]
    if loaded.device.type == "cpu":
        tokens = min(tokens, _CPU_TOKENS)
    batches = LossBatches(loaded, batch_size, max(how.window, tokens), notice, progress)
    held: list[list[ScoredText]] = []
    waiting = 0
    for group in groups:
        held.append(group)
        waiting += sum(one.length(index) for one in group for index in range(len(one)))
        if waiting >= _READ_AHEAD * batches.tokens:
            yield from _finished(held, batches)
            held, waiting = [], 0
    yield from _finished(held, batches)


def _finished(held: list[list[ScoredText]], batches: LossBatches) -> list[list[ScoredText]]:
    batches.run([document for group in held for document in group])
    return held
