"""The logit lens: each layer's state under the last norm and the head (nostalgebraist 2020).

No layer was trained to be read in this way, so the predictions of early layers are often meaningless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.errors import InputError
from llmkit.insight.explanation.families import parts_of
from llmkit.insight.explanation.result import LensCell, LensGrid

if TYPE_CHECKING:
    from llmkit.insight.explanation.case import PredictionCase
    from llmkit.insight.explanation.scorer import SequenceScorer
    from llmkit.runtime.load import LoadedModel

_TOLERANCE = 1e-2  # nats


def lens_of(loaded: LoadedModel, scorer: SequenceScorer, case: PredictionCase) -> LensGrid:
    """Return the prediction of each layer at each position.

    Args:
        loaded: a decoder-only model of a known family.
        scorer: of the case.
        case: the case. The token looked for at a position is the target's first token, or behind it the next
            one of the target.

    Raises:
        OptionError: the parts of this family are not known.
        InputError: the last row is not the model's own prediction, so that the model does more after its
        layers.
    """
    import torch

    parts = parts_of(loaded, "lens")
    streams = parts.streams(scorer.distribution)
    ids = [*case.source, *case.target.ids[:-1]]
    before = len(case.source) - 1
    wanted = torch.tensor(
        [case.target.ids[max(i - before, 0)] for i in range(len(ids))], device=loaded.device
    )[:, None]
    tokenizer = loaded.tokenizer
    rows = []
    with torch.inference_mode():
        own = scorer.distribution().log_softmax(-1)
        for stream in streams:
            states = parts.norm(stream[None].to(parts.head.weight.dtype))
            logs = parts.head(states)[0].float().log_softmax(-1)
            target = logs.gather(1, wanted)
            best, tokens = logs.max(-1)
            ranks = (logs > target).sum(-1) + 1
            rows.append((tokens.tolist(), best.exp().tolist(), target[:, 0].tolist(), ranks.tolist()))
        if float((logs[-len(own) :] - own).abs().max()) > _TOLERANCE:
            raise InputError(
                f"{loaded.spec.name} changes its logits after its head, so the lens does not apply"
            )
    texts = {one: str(tokenizer.decode([one])) for one in {token for row in rows for token in row[0]}}
    cells = tuple(
        tuple(LensCell(texts[token], share, log, rank) for token, share, log, rank in zip(*row, strict=True))
        for row in rows
    )
    layers = ("embedding", *(f"layer {i}" for i in range(len(parts.layers))))
    return LensGrid(layers, tuple(str(tokenizer.decode([one])) for one in ids), cells)
