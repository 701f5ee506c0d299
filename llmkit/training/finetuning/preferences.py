"""Direct Preference Optimization (Rafailov et al. 2023, arXiv 2305.18290), over TRL, in our own loop.

Public: `require_trl`, `check`, `preference_loss`, `score`.

TRL gives the log-probabilities, tile by tile, without logits that are ever whole. Its `DPOTrainer` does not
run here: it divides by the pairs of each forward pass and not by those of the step, and what it gathers over
processes must be of one size in all of them, so that a step would depend on how it is cut. On a single batch
the losses are the same.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError

if TYPE_CHECKING:
    import torch

    from llmkit.training.finetuning.examples import Examples
    from llmkit.training.finetuning.recipe import FinetuneRecipe

BETA = 0.1  # as in the paper's experiments, and TRL's default
# The first version whose `add_fused_lm_head` works where there is no Triton.
_TRL = "1.16"


def require_trl() -> None:
    """Refuse where TRL is not there, before anything else is done.

    Raises:
        InputError: with the command that brings it.
    """
    from packaging.version import Version

    get = "rows with `chosen` and `rejected` are learnt through TRL: pip install 'llmkit[preferences]'"
    if importlib.util.find_spec("trl") is None:
        raise InputError(get)
    version = importlib.metadata.version("trl")
    if Version(version) < Version(_TRL):
        raise InputError(f"{get} (TRL is {version} here, and {_TRL} is the least)")


def check(recipe: FinetuneRecipe, objective: str) -> None:
    """Refuse options that preferences do not know, and those that only they know.

    Raises:
        InputError: naming the flag.
    """
    if objective != "preference":
        if recipe.dpo_beta is not None:
            raise InputError(
                f"--dpo-beta: for rows with `chosen` and `rejected`; these rows are {objective}: leave it out"
            )
        return
    for flag, given, why in (
        ("--packing", recipe.packing, "pairs are not packed"),
        (
            "--label-smoothing",
            recipe.label_smoothing,
            "what is learnt is which text is better, not its tokens",
        ),
        (
            "--lora-dropout",
            recipe.lora_dropout,
            "the model is compared with itself, so nothing is left to chance",
        ),
    ):
        if given:
            raise InputError(f"{flag}: not with preferences: {why}; leave it out")
    require_trl()


def preference_loss(model: Any, beta: float) -> None:
    """Have `model(**inputs)` return the summed loss of a batch of pairs, as `batches.Preferences` makes it.

    The loss of a pair is ``-ln sigmoid(m)`` with the margin ``m = beta * ((ln p(chosen) - ln q(chosen)) - (ln
    p(rejected) - ln q(rejected)))``, where p is the model, q the model before it is taught, and a text's
    log-probability is the sum over its tokens that are not ignored. Dropout is taken out of the model.

    The model then returns ``loss``, the ``margins`` (pairs,) and the ``scores`` ln p (2 * pairs,).

    Args:
        model: a causal transformers model, an adapter on it or not.
        beta: how much departing from q costs.

    Raises:
        InputError: TRL's log-probabilities are not this model's.
    """
    import torch
    from trl.trainer.utils import add_fused_lm_head, disable_dropout_in_model

    from llmkit.training.finetuning.encoding import IGNORED

    disable_dropout_in_model(model)
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    add_fused_lm_head(inner)
    _prove(inner)
    scored = inner.forward

    def forward(
        self: Any,
        *args: Any,
        labels: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
        reference: torch.Tensor | None = None,
        **inputs: Any,
    ) -> Any:
        if labels is None or lengths is None or reference is None:
            return scored(*args, **inputs)
        inputs.pop("num_items_in_batch", None)
        found = scored(*args, shift_labels=labels, fused_lm_head=True, **inputs).log_probs
        scores = _sums(found, lengths)
        chosen, rejected = (scores - reference).chunk(2)
        margins = beta * (chosen - rejected)
        # A batch without targets is run for the other processes' sake and counts for nothing.
        losses = -torch.nn.functional.logsigmoid(margins) * (labels != IGNORED).any()
        return {"loss": losses.sum(), "margins": margins.detach(), "scores": scores.detach()}

    inner.forward = types.MethodType(forward, inner)


def score(
    model: Any,
    rows: Examples,
    which: Sequence[int],
    collate: Callable[[Sequence[Any]], dict[str, torch.Tensor]],
    batch_size: int,
    dtype: str,
) -> Examples:
    """The rows with the log-probabilities of their texts by the model as it stands, its adapter left out.

    Args:
        model: of `preference_loss`.
        rows: pairs.
        which: those to score; the others are left as they are.
        collate: pairs to inputs.
        batch_size: pairs a forward pass. Batches are those of `heldout.measure_rows`.
        dtype: that the model computes in.
    """
    import torch
    from accelerate.utils import reduce

    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    order = sorted(which, key=lambda i: (len(rows[i].ids), i))
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    device = next(model.parameters()).device
    found = torch.zeros(2, len(rows))
    without = model.disable_adapter() if hasattr(model, "peft_config") else contextlib.nullcontext()
    precision = torch.autocast(device.type, getattr(torch, dtype), enabled=dtype != "float32")
    was_training = model.training
    model.eval()
    with torch.no_grad(), without, precision:
        for batch in batches[rank::world]:
            inputs = {name: value.to(device) for name, value in collate([rows[i] for i in batch]).items()}
            found[:, batch] = model(**inputs)["scores"].float().cpu().view(2, -1)
    model.train(was_training)
    if world > 1:
        found = reduce(found.to(device), "sum").cpu()
    items = list(rows.items)
    for i in which:
        items[i] = replace(items[i], reference=(float(found[0, i]), float(found[1, i])))
    return replace(rows, items=items)


def _sums(found: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Of each text: what stands in a row of its own, or one after another in a single row."""
    import torch

    if len(found) == len(lengths):
        return found.sum(dim=1)
    sizes = lengths.tolist()
    return torch.stack([part.sum() for part in found[0, : sum(sizes)].split(sizes)])


def _prove(model: Any) -> None:
    """Look whether TRL's log-probabilities are those of the model's own logits."""
    import torch

    device = next(model.parameters()).device
    ids = torch.arange(1, 9, device=device)[None] % model.config.get_text_config().vocab_size
    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0].float()
        wanted = logits.log_softmax(dim=-1).gather(1, ids.T)[:, 0]
        found = model(input_ids=ids, shift_labels=ids, fused_lm_head=True).log_probs[0].float()
    model.train(was_training)
    if not torch.allclose(found, wanted, rtol=2e-2, atol=2e-2):
        raise InputError(
            f"{type(model).__name__} makes its logits in a way that TRL does not know: no preferences for it"
        )
