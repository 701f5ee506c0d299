"""Ways to spoil a text that a model then has to restore: what encoders and encoder-decoders learn from.

All randomness of an example comes from (seed, epoch, index), so that a resumed run sees what an uninterrupted
one would have seen, whatever was prefetched when it was killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmkit.training.finetuning.encoding import IGNORED, Encoded

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
    """Hide tokens as BERT does (Devlin et al. 2019, section 3.1): of those chosen, 80 % become the mask, 10 %
    another token and 10 % stay.

    Args:
        ids: token ids, shape (length,).
        rng: where chance comes from.
        mask: the mask token's id.
        vocab_size: replacement ids lie below it.
        special: ids that are never chosen and never put in.
        share: of tokens chosen; at least one is.

    Returns:
        Inputs and labels, shape (length,) each; labels are -100 where nothing is to be restored.
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
    """Cut spans out as T5 does (Raffel et al. 2020, section 3.1.4): a sentinel stands for each in the input,
    and the target is each sentinel followed by what it stands for.

    Args:
        ids: token ids, shape (length,), at least 2.
        rng: where chance comes from.
        sentinels: ids of the sentinel tokens, in the order of use; there are no more spans than these.
        end: the id that closes input and target.
        share: of tokens cut out.
        mean_span: tokens a span.

    Returns:
        Inputs and labels, of different lengths; joined at the sentinels they give `ids` again.
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
    """Put one mask in place of each of some spans, as BART's text infilling does (Lewis et al. 2020, section
    2.2): their lengths are Poisson distributed, and a mask of length 0 is put in where nothing is missing.

    Args:
        ids: token ids, shape (length,).
        rng: where chance comes from.
        mask: the mask token's id.
        share: of tokens taken away, about.
        mean_span: tokens a span.

    Returns:
        The spoiled ids; what is to be restored is `ids`.
    """
    import numpy as np

    ids = np.asarray(ids)
    wanted = max(1, round(share * len(ids)))
    lengths: list[int] = []
    while sum(lengths) < wanted:
        lengths.append(min(int(rng.poisson(mean_span)), wanted - sum(lengths)))
    # Spread over the text: as many gaps as spans, and one behind the last.
    gaps = np.bincount(
        rng.integers(0, len(lengths) + 1, size=len(ids) - sum(lengths)), minlength=len(lengths) + 1
    )
    spoiled: list[int] = []
    start = 0
    for gap, hidden in zip(gaps, lengths, strict=False):
        spoiled += [*ids[start : start + gap], mask]
        start += gap + hidden
    return np.array([*spoiled, *ids[start:]])


def _segments(total: int, parts: int, rng: np.random.Generator) -> list[int]:
    """`total` as a sum of `parts` positive numbers, each way of doing so equally likely."""
    import numpy as np

    cuts = np.sort(rng.choice(np.arange(1, total), size=parts - 1, replace=False))
    return [int(n) for n in np.diff([0, *cuts, total])]


@dataclass(frozen=True)
class SpecialTokenIds:
    """What a text is dressed in.

    Attributes:
        begin: ids before it.
        end: ids after it.
        mask: the mask token's id, where there is one.
        sentinels: T5's, in the order of use.
        vocab_size: number of ids.
    """

    begin: tuple[int, ...]
    end: tuple[int, ...]
    mask: int | None
    sentinels: tuple[int, ...]
    vocab_size: int


@dataclass
class Denoising:
    """Blocks of text, spoiled anew each epoch: a dataset as `Trainer` takes it.

    Attributes:
        blocks: token ids without special tokens around them.
        kind: "masked", "spans" or "infilling" (see `architecture.Architecture`).
        specials: the tokenizer's special tokens.
        seed: of the spoiling.
        epoch: counted by `set_epoch`, which accelerate calls.
    """

    blocks: Blocks
    kind: str
    specials: SpecialTokenIds
    seed: int
    epoch: int = field(default=0)

    def __len__(self) -> int:
        return len(self.blocks)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> Encoded:
        """A block spoiled, and what is to be restored; of one length for "masked", else of two."""
        import numpy as np

        rng = np.random.default_rng([self.seed, self.epoch, index])
        ids, specials = self.blocks.ids(index), self.specials
        if self.kind == "spans":
            inputs, labels = corrupt_spans(ids, rng, sentinels=specials.sentinels, end=specials.end[-1])
            return Encoded(inputs, labels)
        assert specials.mask is not None
        text = np.array([*specials.begin, *ids, *specials.end])
        if self.kind == "masked":
            inputs, labels = mask_tokens(
                text,
                rng,
                mask=specials.mask,
                vocab_size=specials.vocab_size,
                special=[*specials.begin, *specials.end, specials.mask],
            )
            return Encoded(inputs, labels)
        spoiled = infill(ids, rng, mask=specials.mask)
        return Encoded(np.array([*specials.begin, *spoiled, *specials.end]), text)
