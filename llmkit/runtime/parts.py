"""Make a model from a config and named weights, for files that are not in Hugging Face layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, one_line

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def model_from_parts(
    config: Mapping[str, Any],
    weights: dict[str, torch.Tensor],
    *,
    dtype: torch.dtype,
    name: str,
    **options: Any,
) -> PreTrainedModel:
    """Make a transformers model. Weights that do not need another dtype are taken without a copy.

    Args:
        config: content of config.json; `architectures` names the model's class.
        weights: by the names that the class gives them; tied ones may be left out.
        dtype: of the model.
        name: where the parts come from, for messages.
        options: more of `from_pretrained`, such as ``attn_implementation``.

    Raises:
        InputError: an unknown class, a weight that is missing, not used, or of another shape.
    """
    from transformers.utils import logging

    model_class, made_config = class_and_config(config, name)
    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model, report = model_class.from_pretrained(
            None,
            config=made_config,
            state_dict=weights,
            dtype=dtype,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise InputError(f"{name}: its config does not describe a valid model: {one_line(error)}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
    _check(report, model, name)
    return model.eval()


def class_and_config(config: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    """Return transformers' class of a model and its config.

    Args:
        config: content of config.json; `architectures` names the model's class.
        name: where it comes from, for messages.

    Raises:
        InputError: an unknown class, or values that the config does not take.
    """
    return _class(config, name), _config(config, name)


def _config(config: Mapping[str, Any], name: str) -> Any:
    from transformers import CONFIG_MAPPING

    if config.get("model_type") not in CONFIG_MAPPING:
        raise InputError(f"{name}: transformers does not know the model_type {config.get('model_type')!r}")
    try:
        return CONFIG_MAPPING[config["model_type"]](**{k: v for k, v in config.items() if k != "model_type"})
    except Exception as error:  # configs check their values with errors of many kinds
        raise InputError(f"{name}: its config does not describe a valid model: {one_line(error)}") from error


def _class(config: Mapping[str, Any], name: str) -> Any:
    import transformers

    named = config.get("architectures") or [None]
    found = getattr(transformers, str(named[0]), None)
    if not isinstance(found, type) or not issubclass(found, transformers.PreTrainedModel):
        raise InputError(f"{name}: its config names no model class of transformers (architectures: {named})")
    return found


def _check(report: dict[str, Any], model: PreTrainedModel, name: str) -> None:
    # Sinusoidal positions follow from a formula; Flax does not store them, and the model has made its own.
    kinds = {key: type(module).__name__ for key, module in model.named_modules()}
    report["missing_keys"] = [
        key
        for key in report.get("missing_keys") or []
        if "Sinusoidal" not in kinds.get(key.rpartition(".")[0], "")
    ]
    for key, what in (
        ("missing_keys", "lacks weights"),
        ("unexpected_keys", "has weights that its class does not use"),
        ("mismatched_keys", "has weights whose shapes differ from its config"),
    ):
        found = sorted(str(one[0] if isinstance(one, tuple) else one) for one in report.get(key) or [])
        if found:
            raise InputError(f"{name} {what}: {', '.join(found[:5])} ({len(found)} in all)")


def shapes_of(config: Mapping[str, Any], name: str) -> tuple[dict[str, tuple[int, ...]], str]:
    """Names and shapes of a model's weights and buffers, and the prefix of its base, without memory for them.

    Args:
        config: content of config.json; `architectures` names the model's class.
        name: where it comes from, for messages.

    Raises:
        InputError: an unknown class, or settings that make no model.
    """
    import torch

    model_class, made_config = class_and_config(config, name)
    try:
        with torch.device("meta"):
            model = model_class(made_config)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise InputError(f"{name}: its config does not describe a valid model: {one_line(error)}") from error
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}, model.base_model_prefix
