"""Make a model from a config and named weights, for files that are not in Hugging Face layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def model_from_parts(
    config: Mapping[str, Any], weights: dict[str, torch.Tensor], *, dtype: torch.dtype, name: str
) -> PreTrainedModel:
    """Make a transformers model. Weights that do not need another dtype are taken without a copy.

    Args:
        config: what config.json would hold; `architectures` names the model's class.
        weights: by the names that the class gives them; tied ones may be left out.
        dtype: of the model.
        name: where the parts come from, for messages.

    Raises:
        InputError: an unknown class, a weight that is missing, not used, or of another shape.
    """
    import transformers
    from transformers import CONFIG_MAPPING
    from transformers.utils import logging

    named = config.get("architectures") or [None]
    made_as = getattr(transformers, str(named[0]), None)
    if made_as is None or not hasattr(made_as, "from_pretrained"):
        raise InputError(f"{name}: its config names no model class of transformers (architectures: {named})")
    settings = {key: value for key, value in config.items() if key != "model_type"}
    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model, report = made_as.from_pretrained(
            None,
            config=CONFIG_MAPPING[config["model_type"]](**settings),
            state_dict=weights,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise InputError(f"{name}: its config does not make a model: {' '.join(str(error).split())[:300]}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
    _check(report, name)
    return model.eval()


def _check(report: dict[str, Any], name: str) -> None:
    for key, what in (
        ("missing_keys", "lacks weights"),
        ("unexpected_keys", "has weights that its class does not use"),
        ("mismatched_keys", "has weights of another shape than its config tells"),
    ):
        found = sorted(str(one[0] if isinstance(one, tuple) else one) for one in report.get(key) or [])
        if found:
            raise InputError(f"{name} {what}: {', '.join(found[:5])} ({len(found)} in all)")
