"""Compare the greedy text of a converted model with that of its source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmkit.convert.source import SourceModel

STEPS = 16


@dataclass(frozen=True)
class Greedy:
    """Greedy continuations of some prompts.

    Attributes:
        prompts: token ids; for an encoder-decoder those of the encoder.
        steps: number of tokens to generate for each.
        following: the source's tokens, up to and including the first end token.
        leads: for each of them, the margin of its logit over the second highest.
        ends: ids that end a text.
    """

    prompts: list[list[int]]
    steps: int
    following: list[list[int]]
    leads: list[list[float]]
    ends: list[int]

    def cut(self, ids: Iterable[int]) -> list[int]:
        """Return ids up to and including the first end token."""
        found: list[int] = []
        for one in ids:
            found.append(int(one))
            if one in self.ends:
                break
        return found


def greedy_of(source: SourceModel, rows: list[list[int]], steps: int = STEPS) -> Greedy:
    """Generate greedily with transformers from each row alone, without generation_config.json.

    Args:
        source: a model that generates.
        rows: token ids of the texts. They are cut if the model has too few positions.
        steps: number of tokens to generate.
    """
    import torch
    from transformers import GenerationConfig

    model: Any = source.model
    config = model.config.get_text_config(decoder=True)
    found = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
    positions = min([one for one in found if isinstance(one, int) and one > 0], default=1 << 20)
    encodes = model.config.is_encoder_decoder
    steps = min(steps, positions // 2)
    prompts = rows if encodes else [row[: positions - steps] for row in rows]
    neutral = GenerationConfig(
        max_new_tokens=steps, do_sample=False, num_beams=1, output_logits=True, return_dict_in_generate=True,
        pad_token_id=0, decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
    )  # fmt: skip
    own, model.generation_config = model.generation_config, neutral
    following, leads = [], []
    try:
        for row in prompts:
            ids = torch.tensor([row])
            with torch.inference_mode():
                output = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=neutral)
            following.append([int(i) for i in output.sequences[0, -len(output.logits) :]])
            best = [step[0].float().topk(2).values for step in output.logits]
            leads.append([float(two[0] - two[1]) for two in best])
    finally:
        model.generation_config = own
    whole = Greedy(prompts, steps, following, leads, source.ends)
    return Greedy(prompts, steps, [whole.cut(ids) for ids in following], leads, source.ends)


def same_texts(
    reader: str, wanted: Greedy, found: Sequence[Iterable[int]], difference: float
) -> tuple[int, str | None]:
    """Count the texts with the source's continuation; describe the first that differs without a tie.

    Two programs may differ if two tokens are nearly equal: at a step where the margin of the source's first
    token is at most twice the difference between the programs' logits.

    Args:
        reader: the program, for messages.
        wanted: the source's continuations.
        found: the reader's ids for each prompt, with or without the end token.
        difference: the largest difference of the programs' logits.

    Returns:
        The number of equal texts, and a sentence about the first that differs without a tie, or None.
    """
    same, differs = 0, None
    for i, (ids, own) in enumerate(zip(found, wanted.following, strict=True)):
        got = wanted.cut(ids)
        if own[-1:] and own[-1] in wanted.ends and got == own[:-1]:
            got = own  # for programs that leave out the end token
        same += got == own
        if got == own:
            continue
        step = next((n for n, pair in enumerate(zip(got, own, strict=False)) if pair[0] != pair[1]), None)
        step = min(len(got), len(own) - 1) if step is None else step
        if wanted.leads[i][step] > 2 * difference and differs is None:
            differs = (
                f"{reader} differs from transformers in greedy text {i + 1} at token {step + 1}, where the"
                f" first choice leads by {wanted.leads[i][step]:.3g}"
            )
    return same, differs
