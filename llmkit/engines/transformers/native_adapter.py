"""LoRA adapters in the form of the native decoder: two low-rank matrices for each linear layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_UNIT = 16  # ranks in native products are multiples of this


def reason_against(model: Any) -> str | None:
    """Return the reason why the adapters on a model do not run natively, or None if they do.

    Plain LoRA on linear layers of the decoder runs; other layers and other methods do not. Without an adapter
    there is no reason.
    """
    if not hasattr(model, "get_base_model"):
        return None
    from peft import LoraConfig

    for config in model.peft_config.values():
        if type(config) is not LoraConfig:
            return f"it has an adapter of type {config.peft_type}"
        if config.modules_to_save or getattr(config, "trainable_token_indices", None):
            return "its adapter replaces whole layers"
    return None


def base_layer(linear: Any) -> Any:
    """Return the layer that a LoRA layer wraps, or `linear` itself if it is not a LoRA layer."""
    return linear.base_layer if hasattr(linear, "lora_A") else linear


def is_plain(linear: Any) -> bool:
    """Return True if a layer's adapters add only a scaled product of two matrices."""
    import torch

    if not hasattr(linear, "lora_A"):
        return True
    if linear.disable_adapters or linear.merged:
        return False
    for name in _active(linear):
        parts = (linear.lora_A[name], linear.lora_B[name])
        if name in linear.lora_variant or any(type(part) is not torch.nn.Linear for part in parts):
            return False
        if any(part.bias is not None for part in parts):
            return False
    return True


def low_rank(linear: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the two matrices of a layer's adapters, or None if it has none.

    The layer gives x W' + (x down') up, with the scale in `up` and zeros up to a multiple of 16 ranks
    (Hu et al., LoRA, 2021, https://arxiv.org/abs/2106.09685).

    Returns:
        float32 [rank, inputs] and [rank, outputs].
    """
    import torch

    names = _active(linear) if hasattr(linear, "lora_A") else []
    if not names:
        return None
    down = torch.cat([linear.lora_A[name].weight.detach().float() for name in names])
    up = torch.cat([linear.lora_B[name].weight.detach().float().T * linear.scaling[name] for name in names])
    missing = -len(down) % _UNIT
    pad = torch.nn.functional.pad
    return pad(down, (0, 0, 0, missing)).contiguous(), pad(up, (0, 0, 0, missing)).contiguous()


def _active(linear: Any) -> list[str]:
    return [name for name in linear.active_adapters if name in linear.lora_A]
