"""Build a model without memory for its weights, for programs with another weight format.

Public: `outline_of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, one_line
from llmkit.runtime.weights import auto_class

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from llmkit.formats.gguf.checkpoint import GGUFCheckpoint
    from llmkit.runtime.checkpoint import Checkpoint
    from llmkit.runtime.spec import ModelSpec


def outline_of(
    checkpoint: Checkpoint, opened: GGUFCheckpoint | None, folders: Sequence[Path], spec: ModelSpec
) -> PreTrainedModel:
    """Return the model of a checkpoint on torch's device ``meta``, with its generation settings.

    Args:
        checkpoint: from `inspect_checkpoint`, or from `inspect_gguf`.
        opened: the GGUF file, if it is one.
        folders: folders that may have a generation_config.json; the last that has one counts.
        spec: the request.

    Raises:
        InputError: the config does not make a model.
    """
    import torch
    from transformers import AutoConfig, GenerationConfig

    from llmkit.runtime.parts import class_and_config

    try:
        with torch.device("meta"):
            if opened is not None:
                made, config = class_and_config(opened.config, spec.name)
                model: Any = made(config)
            else:
                config = AutoConfig.from_pretrained(
                    checkpoint.folder, local_files_only=True, trust_remote_code=spec.trust_remote_code
                )
                model = auto_class(checkpoint, spec).from_config(
                    config, trust_remote_code=spec.trust_remote_code
                )
        for folder in folders:
            if (folder / "generation_config.json").is_file():
                model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    except InputError:
        raise
    except Exception as error:  # model classes raise ZeroDivisionError, TypeError and others
        raise InputError(
            f"{spec.name}: its config does not describe a valid model: {one_line(error)}"
        ) from error
    if opened is not None:
        opened.set_ends(model)
    return model
