"""Models that carry a PEFT adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def base_model(model: Any) -> PreTrainedModel:
    """Return the transformers model that a PEFT model wraps, or `model` itself if it carries no adapter."""
    return cast("PreTrainedModel", model.get_base_model() if hasattr(model, "get_base_model") else model)
