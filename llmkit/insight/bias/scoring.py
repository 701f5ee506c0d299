"""Scores of the texts of an item by a language model: by shared tokens, by sums, or by means.

`shared` sums log-probabilities over the tokens that two texts have in common, each given the rest of its text
(Nangia et al. 2020, CrowS-Pairs, arXiv:2010.00133). A masked model sees the whole rest, a causal model the
tokens before: so only shared tokens after the first difference count, as those before it have equal
probabilities in both texts. A sum over whole texts, as EleutherAI's harness takes it, depends on the number
of tokens: a model without any preference prefers the text with fewer tokens.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmkit.errors import RowError
from llmkit.evaluation.likelihood.passes import MaskedDocument, ScoredText
from llmkit.insight.bias.items import BiasItem, ScoredItem
from llmkit.records.rows import Row

if TYPE_CHECKING:
    from llmkit.evaluation.likelihood.loss import Pass
    from llmkit.evaluation.likelihood.windowing import Windowing
    from llmkit.runtime.load import LoadedModel

WINDOW = 1024
"""Longest window in tokens."""


@dataclass
class SomeMaskedTokens(MaskedDocument):
    """A text of which only some tokens are masked and scored.

    Attributes:
        only: positions of these tokens.
    """

    only: frozenset[int] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._passes = [one for one in self._passes if one[1] in self.only]


@dataclass
class FilledBlank(ScoredText):
    """A word in a sentence, its tokens predicted from left to right by a masked model.

    As in StereoSet, the model reads the sentence on both sides, the previous tokens of the word, and one mask
        (Nadeem et al. 2021, arXiv:2004.09456).

    Attributes:
        before: tokens before the word, special ones included.
        word: tokens of the word.
        after: tokens after it, special ones included.
        mask: id of the mask token.
    """

    before: list[int]
    word: list[int]
    after: list[int]
    mask: int

    def __len__(self) -> int:
        return len(self.word)

    def length(self, index: int) -> int:
        return len(self.before) + index + 1 + len(self.after)

    def read(self, index: int) -> Pass:
        from llmkit.evaluation.likelihood.loss import Pass

        at = len(self.before) + index
        return Pass(
            [*self.before, *self.word[:index], self.mask, *self.after], range(at, at + 1), [self.word[index]]
        )


@dataclass(frozen=True)
class TextScorer:
    """A model, and the rule by which it scores texts.

    Attributes:
        loaded: the model.
        rule: ``shared``, ``sum`` or ``mean``.
        batch_size: passes in a batch; None is as many as fit a budget.
        notice: receives a sentence when a batch did not fit into memory.
        progress: receives the number of tokens scored so far.
    """

    loaded: LoadedModel
    rule: str
    batch_size: int | None = None
    notice: Callable[[str], None] = lambda message: None
    progress: Callable[[int], None] = lambda tokens: None

    @property
    def kind(self) -> str:
        """Kind of the model: `causal`, `masked` or `seq2seq`."""
        from llmkit.evaluation.likelihood.windowing import windowing

        return windowing(self.loaded).kind

    def windows(self, items: Sequence[BiasItem]) -> Windowing:
        """Return the windows for the items; texts with a context get no token before it of ours."""
        from llmkit.evaluation.likelihood.windowing import windowing

        limit = self.loaded.context_length
        # Texts are short; a window of thousands of tokens would only make batches larger than caches.
        window = None if self.loaded.is_encoder_decoder else min(WINDOW, limit or WINDOW)
        return windowing(self.loaded, window=window, given=all(item.context is not None for item in items))

    def signature(self, items: Sequence[BiasItem]) -> str:
        """Return what reproduces the scores: the model, its windows and the rule."""
        from llmkit.evaluation.likelihood.perplexity import signature

        how = self.windows(items)
        empty = "|source:empty" if how.kind == "seq2seq" and any(i.context is None for i in items) else ""
        return signature(self.loaded, f"{how.signature}|score:{self.rule}{empty}")

    def run(self, items: Sequence[BiasItem]) -> Iterator[ScoredItem]:
        """Score the texts of the items, in their order.

        Raises:
            RowError: a text is empty, or longer than an encoder-decoder's context.
            OutOfMemory: a single text does not fit into memory.
            LLMKitError: a loss is not a finite number.
        """
        from llmkit.evaluation.likelihood.windowing import PassBuilder, run

        how = self.windows(items)
        builder = PassBuilder(self.loaded, how)
        groups = (self._documents(item, builder, how.kind) for item in items)
        scored = run(
            self.loaded,
            how,
            groups,
            batch_size=self.batch_size,
            notice=self.notice,
            progress=self.progress,
        )
        for item, documents in zip(items, scored, strict=True):
            yield ScoredItem(item, self._scores(item, documents, how.kind))

    def _documents(self, item: BiasItem, builder: Any, kind: str) -> list[ScoredText]:
        row = Row(0, {}, item.where)
        for role, text in item.texts.items():
            if not text.strip():
                raise RowError(item.where, f"the text {role!r} is empty")
        if kind == "masked" and self.rule == "mean" and item.blank is not None:
            return [self._filled(row, item, text) for text in item.texts.values()]
        context = "" if kind == "seq2seq" and item.context is None else item.context
        made = [builder.document(row, text, context) for text in item.texts.values()]
        if kind == "masked" and self.rule == "shared":
            one, other = made
            kept = _shared(one.ids, other.ids)
            made = [_only(document, positions) for document, positions in zip(made, kept, strict=True)]
        return made

    def _filled(self, row: Row, item: BiasItem, text: str) -> ScoredText:
        from llmkit.evaluation.likelihood.windowing import special_tokens

        assert item.blank is not None
        tokenizer: Any = self.loaded.tokenizer
        start, word, end = filled_parts(item.blank, text, item.where)
        first, last = special_tokens(self.loaded)

        def ids(part: str) -> list[int]:
            found: list[int] = tokenizer(part, add_special_tokens=False)["input_ids"] if part else []
            return found

        space = " " if start[-1:].isspace() else ""
        before = [*first, *ids(start.rstrip())]
        return FilledBlank(
            row, word, 1, tokenizer.unk_token_id, before, ids(space + word), [*ids(end), *last],
            tokenizer.mask_token_id,
        )  # fmt: skip

    def _scores(self, item: BiasItem, documents: Sequence[ScoredText], kind: str) -> dict[str, float]:
        losses = [document.loss() for document in documents]
        if self.rule == "mean":
            if isinstance(documents[0], FilledBlank):  # the authors average probabilities, not logarithms
                values = [
                    math.fsum(math.exp(-nll) for nll in loss.token_losses) / loss.tokens for loss in losses
                ]
            else:
                values = [-loss.nll / max(1, loss.tokens) for loss in losses]
        elif self.rule == "shared" and kind != "masked":
            one, other = losses
            kept = _shared(one.token_ids, other.token_ids, after_difference=True)
            values = [
                -math.fsum(loss.token_losses[i] for i in positions)
                for loss, positions in zip(losses, kept, strict=True)
            ]
        else:
            values = [-loss.nll for loss in losses]
        return dict(zip(item.texts, (value + 0.0 for value in values), strict=True))  # no -0.0


def _only(document: MaskedDocument, positions: Sequence[int]) -> ScoredText:
    return SomeMaskedTokens(
        document.row, document.text, document.words, document.unknown, document.ids, document.windows,
        document.scored, document.before, document.after, document.mask, frozenset(positions),
    )  # fmt: skip


def _shared(
    one: Sequence[int], other: Sequence[int], *, after_difference: bool = False
) -> tuple[list[int], list[int]]:
    """Return the positions of the tokens that both sequences share, in each of them.

    Args:
        one, other: tokens.
        after_difference: leave out the tokens that both begin with.
    """
    ours: list[int] = []
    theirs: list[int] = []
    for block in difflib.SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks():
        if after_difference and block.a == block.b == 0:
            continue
        ours += range(block.a, block.a + block.size)
        theirs += range(block.b, block.b + block.size)
    return ours, theirs


def filled_parts(blank: str, text: str, where: str) -> tuple[str, str, str]:
    """Return the text before the word at BLANK, the word, and the text after it.

    Raises:
        RowError: the text is not the sentence with another word in place of BLANK.
    """
    start, found, end = blank.partition("BLANK")
    if found and text.startswith(start) and text.endswith(end) and len(text) > len(start) + len(end):
        return start, text[len(start) : len(text) - len(end)], end
    # Some published sentences differ in a letter elsewhere: take the word at the same place.
    words = text.split(" ")
    at = next((i for i, word in enumerate(blank.split(" ")) if "BLANK" in word), len(words))
    if at >= len(words) or not words[at].strip(".,!?"):
        raise RowError(where, f"{text!r} is not {blank!r} with a word in place of BLANK")
    word = words[at].strip(".,!?")
    lead = " ".join(words[:at]) + (" " if at else "")
    return lead, word, text[len(lead) + len(word) :]


def with_limit(items: list[BiasItem], limit: int | None) -> list[BiasItem]:
    """Return `limit` items spread evenly over all of them; None returns all.

    Sets are sorted by category, so that the first items would be of one category alone.
    """
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]
