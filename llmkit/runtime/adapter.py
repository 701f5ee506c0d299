"""Check a LoRA adapter and put it on its base model.

Public: `check_adapter`, `put_adapter`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, one_line
from llmkit.runtime.generation_config import check_settings_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from llmkit.runtime.spec import ModelSpec


def check_adapter(folder: Path, spec: ModelSpec) -> None:
    """Refuse a folder that is not an adapter, or has weights that may not be read.

    Raises:
        InputError: files are missing or pickled, or its generation settings are wrong.
    """
    if not (folder / "adapter_config.json").is_file():
        raise _refusal(spec, "it is not an adapter: no adapter_config.json in it")
    check_settings_file(folder, spec.adapter or spec.name)
    safe = (folder / "adapter_model.safetensors").is_file()
    if not safe and not spec.allow_bin:
        raise _refusal(
            spec,
            "no adapter_model.safetensors in it (a pickled adapter_model.bin needs allow_bin=True)",
        )


def put_adapter(model: PreTrainedModel, folder: Path, spec: ModelSpec) -> PreTrainedModel:
    """Return the model with an adapter on it; the adapter's own generation_config.json replaces the model's.

    Raises:
        InputError: the adapter does not fit.
    """
    from peft import PeftModel
    from transformers import GenerationConfig

    try:
        if (folder / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
        # A PeftModel replaces the model that it wraps.
        wrapped: Any = PeftModel.from_pretrained(model, folder, local_files_only=True)
        return wrapped
    except Exception as error:
        # peft raises KeyError, TypeError and others for a damaged or foreign adapter.
        raise _refusal(spec, f"the adapter does not fit this model: {one_line(error)}") from error


def _refusal(spec: ModelSpec, reason: str) -> InputError:
    if spec.adapter is not None:
        return OptionError("adapter", f"{spec.adapter}: {reason}")
    return InputError(f"{spec.name}: {reason}")
