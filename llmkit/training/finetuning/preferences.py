"""Direct Preference Optimization (Rafailov et al. 2023, arXiv 2305.18290), with TRL's log-probabilities.

Public: `require_trl`, `check`, `patch_forward_with_dpo_loss`, `score`.

TRL computes the log-probabilities tile by tile, without a tensor of all logits. Its `DPOTrainer` is not used:
it divides by the pairs of each forward pass instead of those of the step, and gathers tensors that must have
one size in all processes, so a step would depend on how it is divided. On a single batch the losses agree.
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

from llmkit.errors import InputError, OptionError

if TYPE_CHECKING:
    import torch

    from llmkit.training.finetuning.examples import Examples
    from llmkit.training.finetuning.recipe import FinetuneRecipe

BETA = 0.1  # as in the paper's experiments, and TRL's default
# The first version whose `add_fused_lm_head` works without Triton.
_TRL = "1.16"


def require_trl() -> None:
    """Refuse preferences if TRL is not installed, before anything else is done.

    Raises:
        InputError: with the command that installs it.
    """
    from packaging.version import Version

    needed = "rows with `chosen` and `rejected` need TRL: pip install 'llmkit[preferences]'"
    if importlib.util.find_spec("trl") is None:
        raise InputError(needed)
    version = importlib.metadata.version("trl")
    if Version(version) < Version(_TRL):
        raise InputError(f"{needed} (TRL {version} is installed; {_TRL} or newer is needed)")


def check(recipe: FinetuneRecipe, objective: str) -> None:
    """Refuse options that cannot be combined with preferences, and `dpo_beta` without preferences.

    Raises:
        OptionError: naming the option.
        InputError: TRL is missing.
    """
    if objective != "preference":
        if recipe.dpo_beta is not None:
            raise OptionError(
                "dpo_beta", f"needs rows with `chosen` and `rejected`; these rows are {objective}; omit it"
            )
        return
    for option, why in (
        ("packing", "pairs are not packed"),
        ("label_smoothing", "the loss compares whole texts, not tokens"),
        ("lora_dropout", "DPO compares the model with its own frozen start, so dropout must be 0"),
    ):
        if getattr(recipe, option):
            raise OptionError(option, f"cannot be combined with preferences: {why}; omit it")
    require_trl()


def patch_forward_with_dpo_loss(model: Any, beta: float) -> None:
    """Replace `model.forward` so that it returns the summed loss of a batch of `batches.Preferences`.

    The loss of a pair is ``-ln sigmoid(m)`` with the margin ``m = beta * ((ln p(chosen) - ln q(chosen)) - (ln
    p(rejected) - ln q(rejected)))``. Here p is the model, q the model before training, and a text's
    log-probability is the sum over its tokens that are not ignored. Dropout is removed from the model.

    The model then returns ``loss``, the ``margins`` (pairs,) and the ``scores`` ln p (2 * pairs,).

    Args:
        model: causal transformers model, with or without an adapter.
        beta: penalty for departing from q.

    Raises:
        InputError: TRL's log-probabilities differ from this model's.
    """
    import torch
    from trl.trainer.utils import add_fused_lm_head, disable_dropout_in_model

    from llmkit.runtime.peft import base_model
    from llmkit.training.encoded import IGNORED

    disable_dropout_in_model(model)
    inner: Any = base_model(model)
    add_fused_lm_head(inner)
    _check_log_probabilities(inner)
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
        # A batch without targets runs only because other processes have one; its loss must be 0.
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
    """Score the texts of pairs by the model without its adapter.

    Args:
        model: model after `patch_forward_with_dpo_loss`.
        rows: pairs.
        which: indices of the pairs to score; the others stay unchanged.
        collate: turns pairs into inputs.
        batch_size: pairs in a forward pass, batched as in `heldout.measure_rows`.
        dtype: dtype that the model computes in.

    Returns:
        The pairs with their `reference` log-probabilities.
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
    """Sum the log-probabilities of each text.

    Args:
        found: (texts, longest), or (1, tokens) with the texts joined.
        lengths: (texts,) number of tokens.

    Returns:
        (texts,).
    """
    import torch

    if len(found) == len(lengths):
        return found.sum(dim=1)
    sizes = lengths.tolist()
    return torch.stack([part.sum() for part in found[0, : sum(sizes)].split(sizes)])


def _check_log_probabilities(model: Any) -> None:
    """Compare TRL's log-probabilities with those of the model's own logits.

    Raises:
        InputError: they differ.
    """
    import torch

    device = next(model.parameters()).device
    ids = torch.arange(1, 9, device=device)[None] % model.config.get_text_config().vocab_size
    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0].float()
        expected = logits.log_softmax(dim=-1).gather(1, ids.T)[:, 0]
        found = model(input_ids=ids, shift_labels=ids, fused_lm_head=True).log_probs[0].float()
    model.train(was_training)
    if not torch.allclose(found, expected, rtol=2e-2, atol=2e-2):
        raise InputError(
            f"{type(model).__name__} cannot be trained on preferences: TRL does not compute its logits"
            " correctly"
        )
