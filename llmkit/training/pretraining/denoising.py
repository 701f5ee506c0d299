"""Denoising objectives: corrupt a text that an encoder or encoder-decoder is trained to restore.

Public: `mask_tokens`, `corrupt_spans`, `infill`, `SpecialTokenIds`, `Denoising`.

The noise of an example depends only on (seed, epoch, index), so a resumed run sees the same examples as an
uninterrupted one, regardless of prefetching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmkit.training.encoded import IGNORED, Encoded

if TYPE_CHECKING:
    import numpy as np

    from llmkit.training.pretraining.token_file import Blocks


def mask_tokens(
    ids: np.ndarray,
    rng: np.random.Generator,
    *,
    mask: int,
    vocab_size: int,
    special: Sequence[int] = (),
    share: float = 0.15,
) -> tuple[np.ndarray, np.ndarray]:
    """Mask tokens as BERT does (Devlin et al. 2019, arXiv 1810.04805, section 3.1).

    80 % of the chosen tokens become the mask, 10 % become another token, and 10 % stay.

    Args:
        ids: token ids (length,).
        rng: source of randomness.
        mask: id of the mask token.
        vocab_size: replacement ids are below it.
        special: ids that are never chosen and never inserted.
        share: share of tokens to choose; at least one is chosen.

    Returns:
        Inputs and labels, (length,) each; labels are -100 at tokens that were not chosen.
    """
    import numpy as np

    ids = np.asarray(ids)
    (ordinary,) = np.nonzero(~np.isin(ids, special))
    inputs, labels = ids.copy(), np.full_like(ids, IGNORED)
    if not len(ordinary):
        return inputs, labels
    chosen = rng.choice(ordinary, size=max(1, round(share * len(ordinary))), replace=False)
    labels[chosen] = ids[chosen]
    fate = rng.random(len(chosen))
    inputs[chosen[fate < 0.8]] = mask
    swapped = chosen[fate >= 0.9]
    allowed = np.setdiff1d(np.arange(vocab_size), [*special, mask])
    inputs[swapped] = rng.choice(allowed, size=len(swapped))
    return inputs, labels


def corrupt_spans(
    ids: np.ndarray,
    rng: np.random.Generator,
    *,
    sentinels: Sequence[int],
    end: int,
    share: float = 0.15,
    mean_span: float = 3.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Replace spans as T5 does (Raffel et al. 2020, arXiv 1910.10683, section 3.1.4).

    In the input a sentinel replaces each span; the target is each sentinel followed by its span.

    Args:
        ids: token ids (length,), at least 2.
        rng: source of randomness.
        sentinels: ids of the sentinel tokens, in the order of use; also the maximum number of spans.
        end: id that ends input and target.
        share: share of tokens to replace.
        mean_span: average number of tokens in a span.

    Returns:
        Inputs and labels, of different lengths.
    """
    import numpy as np

    ids = np.asarray(ids)
    length = len(ids)
    noise = min(max(round(length * share), 1), length - 1)
    spans = min(max(round(noise / mean_span), 1), noise, length - noise, len(sentinels))
    cut = _segments(noise, spans, rng)
    kept = _segments(length - noise, spans, rng)
    inputs: list[int] = []
    labels: list[int] = []
    start = 0
    for sentinel, plain, hidden in zip(sentinels, kept, cut, strict=False):
        inputs += [*ids[start : start + plain], sentinel]
        labels += [sentinel, *ids[start + plain : start + plain + hidden]]
        start += plain + hidden
    return np.array([*inputs, end]), np.array([*labels, end])


def infill(
    ids: np.ndarray,
    rng: np.random.Generator,
    *,
    mask: int,
    share: float = 0.3,
    mean_span: float = 3.0,
) -> np.ndarray:
    """Replace spans by one mask each, as BART's text infilling does (Lewis et al. 2020, arXiv 1910.13461).

    The lengths of the spans are Poisson distributed (section 2.2); a span of length 0 inserts a mask.

    Args:
        ids: token ids (length,).
        rng: source of randomness.
        mask: id of the mask token.
        share: approximate share of tokens to replace.
        mean_span: average number of tokens in a span.

    Returns:
        The corrupted ids; the target is `ids`.
    """
    import numpy as np

    ids = np.asarray(ids)
    noise = max(1, round(share * len(ids)))
    lengths: list[int] = []
    while sum(lengths) < noise:
        lengths.append(min(int(rng.poisson(mean_span)), noise - sum(lengths)))
    # Distribute the spans over the text: a gap before each, and one after the last.
    gaps = np.bincount(
        rng.integers(0, len(lengths) + 1, size=len(ids) - sum(lengths)), minlength=len(lengths) + 1
    )
    corrupted: list[int] = []
    start = 0
    for gap, hidden in zip(gaps, lengths, strict=False):
        corrupted += [*ids[start : start + gap], mask]
        start += gap + hidden
    return np.array([*corrupted, *ids[start:]])


def _segments(total: int, parts: int, rng: np.random.Generator) -> list[int]:
    """Write `total` as a sum of `parts` positive numbers, uniformly at random."""
    import numpy as np

    cuts = np.sort(rng.choice(np.arange(1, total), size=parts - 1, replace=False))
    return [int(n) for n in np.diff([0, *cuts, total])]


@dataclass(frozen=True)
class SpecialTokenIds:
    """Ids of the special tokens around and within a text.

    Attributes:
        begin: ids before a text.
        end: ids after a text.
        mask: id of the mask token, or None.
        sentinels: ids of T5's sentinels, in the order of use.
        vocab_size: number of ids.
    """

    begin: tuple[int, ...]
    end: tuple[int, ...]
    mask: int | None
    sentinels: tuple[int, ...]
    vocab_size: int


@dataclass
class Denoising:
    """Blocks of text with new noise in each epoch: a dataset for `Trainer`.

    Attributes:
        blocks: token ids without special tokens.
        kind: "masked", "spans" or "infilling" (see `architecture.Architecture`).
        special: the tokenizer's special tokens.
        seed: seed of the noise.
        epoch: epoch, set by `set_epoch`.
    """

    blocks: Blocks
    kind: str
    special: SpecialTokenIds
    seed: int
    epoch: int = field(default=0)

    def __len__(self) -> int:
        return len(self.blocks)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.blocks.set_epoch(epoch)

    def __getitem__(self, index: int) -> Encoded:
        """Return a corrupted block and its target; for "masked" they have the same length."""
        import numpy as np

        rng = np.random.default_rng([self.seed, self.epoch, index])
        ids, special = self.blocks.ids(index), self.special
        if self.kind == "spans":
            inputs, labels = corrupt_spans(ids, rng, sentinels=special.sentinels, end=special.end[-1])
            return Encoded(inputs, labels)
        assert special.mask is not None
        text = np.array([*special.begin, *ids, *special.end])
        if self.kind == "masked":
            inputs, labels = mask_tokens(
                text,
                rng,
                mask=special.mask,
                vocab_size=special.vocab_size,
                special=[*special.begin, *special.end, special.mask],
            )
            return Encoded(inputs, labels)
        corrupted = infill(ids, rng, mask=special.mask)
        return Encoded(np.array([*special.begin, *corrupted, *special.end]), text)
