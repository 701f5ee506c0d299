"""Load a model's weights, and refuse weights that do not fit its config.

Public: `load_weights`, `check_config`, `check_attention`, `auto_class`.
"""

from __future__ import annotations

import logging
import re
import warnings
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError, NoticeWarning, OptionError, one_line
from llmkit.runtime.attention_kernel import find_kernel
from llmkit.runtime.checkpoint import Checkpoint
from llmkit.runtime.generation_config import check_settings_file
from llmkit.runtime.memory import is_out_of_memory
from llmkit.runtime.quantized import load_saved, saved_settings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from llmkit.attention.registry import Kernel
    from llmkit.runtime.device import Placement
    from llmkit.runtime.spec import ModelSpec

_AUTO_CLASSES = {
    "text-generation": "AutoModelForCausalLM",
    "text2text-generation": "AutoModelForSeq2SeqLM",
    "question-answering": "AutoModelForQuestionAnswering",
    "fill-mask": "AutoModelForMaskedLM",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "feature-extraction": "AutoModel",
}
_NUMBER = re.compile(r"\.\d+\.")


def check_config(checkpoint: Checkpoint, spec: ModelSpec) -> None:
    """Let transformers read config.json before anything else reads it, and check generation_config.json.

    Raises:
        InputError: a value in it is missing or of the wrong type.
    """
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=spec.trust_remote_code
        )
    except ImportError as error:
        raise InputError(f"{spec.name} needs a package that is not installed: {one_line(error)}") from error
    except Exception as error:
        # Config classes raise TypeError, KeyError, ZeroDivisionError and others.
        raise InputError(f"{spec.name}: its config.json is not valid: {one_line(error)}") from error
    check_settings_file(checkpoint.folder, spec.name)


def load_weights(
    checkpoint: Checkpoint, spec: ModelSpec, dtype: torch.dtype, placement: Placement
) -> PreTrainedModel:
    """Load the model of a checkpoint.

    Args:
        checkpoint: from `inspect_checkpoint`.
        spec: the request.
        dtype: precision to compute in.
        placement: from `choose_device`.

    Raises:
        InputError: config, weights and task do not fit, or the attention kernel cannot run.
        LLMKitError: loading failed.
    """
    from pickle import UnpicklingError

    task = _task(checkpoint, spec)
    kernel = find_kernel(spec, placement.device)
    options: dict[str, Any] = {"dtype": dtype}
    if kernel is not None:
        from llmkit.attention.interface import register

        options["attn_implementation"] = register(kernel)
    if placement.device_map is not None:
        options |= {"device_map": placement.device_map, "offload_folder": _offload_folder()}
    if spec.four_bits:
        options["quantization_config"] = _four_bits(dtype)
    if saved_settings(checkpoint) is not None:
        return _saved(task, checkpoint, spec, dtype, kernel)
    try:
        model, report = _from_pretrained(task, checkpoint, spec, **options)
    except UnpicklingError as error:
        raise InputError(
            f"{spec.name}: its pytorch_model.bin contains more than weights, which could run code; not read"
        ) from error
    except Exception as error:
        # Model classes raise ZeroDivisionError, TypeError and others for a wrong config.
        raise _explained(error, task, checkpoint, spec) from error
    _check_report(report, model, spec)
    if placement.device_map is None and placement.device != "cpu":
        model = model.to(placement.device)
    if kernel is not None:
        check_attention(model, kernel, options["attn_implementation"])
    return model


def _task(checkpoint: Checkpoint, spec: ModelSpec) -> str:
    if spec.task == "text-generation" and checkpoint.is_encoder_decoder:
        return "text2text-generation"
    return spec.task


def auto_class(checkpoint: Checkpoint, spec: ModelSpec) -> Any:
    """Return transformers' Auto class for a checkpoint and a task."""
    import transformers

    return getattr(transformers, _AUTO_CLASSES[_task(checkpoint, spec)])


def _saved(
    task: str, checkpoint: Checkpoint, spec: ModelSpec, dtype: torch.dtype, kernel: Kernel | None
) -> PreTrainedModel:
    """Return the model of a folder that was saved in few bits."""
    import transformers

    model: PreTrainedModel = load_saved(getattr(transformers, _AUTO_CLASSES[task]), checkpoint, spec, dtype)
    if kernel is not None:
        from llmkit.attention.interface import register

        name = register(kernel)
        model.set_attn_implementation(name)
        check_attention(model, kernel, name)
    return model


def _from_pretrained(task: str, checkpoint: Checkpoint, spec: ModelSpec, **options: Any) -> tuple[Any, Any]:
    """Return the model and transformers' report of missing, unexpected and mismatched weights.

    transformers also logs the report, as a table of one line for each kind of weight. It is shown at
    the level INFO alone, because `_check_report` says in one line what matters.
    """
    import transformers
    from transformers.utils import logging as transformers_logging

    auto = getattr(transformers, _AUTO_CLASSES[task])
    bar = transformers_logging.is_progress_bar_enabled()
    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(_is_no_report)
    transformers_logging.disable_progress_bar()
    try:
        model, report = auto.from_pretrained(
            checkpoint.folder,
            local_files_only=True,
            trust_remote_code=spec.trust_remote_code,
            use_safetensors=None if spec.allow_bin else True,
            weights_only=True,
            output_loading_info=True,
            **options,
        )
    finally:
        logger.removeFilter(_is_no_report)
        if bar:
            transformers_logging.enable_progress_bar()
    return model, report


def _is_no_report(record: logging.LogRecord) -> bool:
    """Return False for transformers' table of weights, unless its logger shows details too."""
    return "LOAD REPORT" not in record.getMessage() or logging.getLogger(record.name).isEnabledFor(
        logging.INFO
    )


def _explained(error: Exception, task: str, checkpoint: Checkpoint, spec: ModelSpec) -> Exception:
    """Return the error to show for one that transformers raised."""
    text = one_line(error)
    if spec.attn is not None and ("attn_implementation" in text or "attention" in text.lower()):
        return OptionError("attn", f"{spec.attn}: {spec.name} cannot run it; omit the option ({text})")
    if "Unrecognized configuration class" in text:
        return InputError(f"{spec.name} is not a model for {task}")
    if isinstance(error, ImportError):
        return InputError(f"{spec.name} needs a package that is not installed: {text}")
    if "ignore_mismatched_sizes" in text:
        return _mismatch(task, checkpoint, spec) or LLMKitError(f"{spec.name} does not load: {text}")
    if is_out_of_memory(error):
        return LLMKitError(f"{spec.name} does not fit into memory: {text}")
    if isinstance(error, InputError | LLMKitError):
        return error
    if isinstance(error, OSError | RuntimeError | ValueError):
        return LLMKitError(f"{spec.name} does not load: {text}")
    kind = type(error).__name__
    return InputError(f"{spec.name}: its config.json does not describe a model that can run ({kind}: {text})")


def _mismatch(task: str, checkpoint: Checkpoint, spec: ModelSpec) -> InputError | None:
    """Return the error for weights of other sizes than in config.json, found on the meta device."""
    try:
        _, report = _from_pretrained(task, checkpoint, spec, device_map="meta", ignore_mismatched_sizes=True)
        wrong = sorted(report["mismatched_keys"])
    except Exception:
        return None
    if not wrong:
        return None
    name, stored, expected = wrong[0]
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return InputError(
        f"{spec.name}: config.json does not fit the weights: {name} is {_shape(stored)} in the file and"
        f" {_shape(expected)} by config.json{more}; correct the sizes in config.json, such as vocab_size"
    )


def _shape(shape: Any) -> str:
    return " x ".join(map(str, shape))


def _check_report(report: dict[str, Any], model: Any, spec: ModelSpec) -> None:
    """Refuse a model with random weights, or with fewer layers than its file."""
    missing = sorted(report.get("missing_keys") or [])
    if spec.task == "feature-extraction":
        # The features are the last hidden states, below the pooler, which many checkpoints do not have.
        missing = [name for name in missing if not name.startswith("pooler.")]
    if spec.new_head:
        missing = [name for name in missing if not name.startswith("qa_outputs.")]
    if missing:
        raise InputError(
            f"{spec.name} lacks weights that {spec.task} needs ({len(missing)}, such as {missing[0]});"
            " it was made for another task, or its weight files are not complete"
        )
    unused = sorted(report.get("unexpected_keys") or [])
    if not unused:
        return
    known = {_NUMBER.sub(".#.", name) for name in model.state_dict()}
    layers = [name for name in unused if _NUMBER.sub(".#.", name) in known]
    if layers:
        raise InputError(
            f"{spec.name}: its file has {len(layers)} weights of layers that config.json does not have, such"
            f" as {layers[0]}; correct the number of layers in config.json"
        )
    if spec.task == "text-generation":
        warnings.warn(
            f"{spec.name}: {len(unused)} weights in its file are not used, such as {unused[0]}",
            NoticeWarning,
            stacklevel=2,
        )


def check_attention(model: PreTrainedModel, kernel: Kernel, name: str) -> None:
    """Refuse a model that does not run the kernel that was set.

    transformers keeps `eager`, with one log line, in models that do not use its attention interface.
    """
    if model.config._attn_implementation != name:
        raise OptionError(
            "attn",
            f"{kernel.name}: {type(model).__name__} does not use the attention interface and would run"
            f" {model.config._attn_implementation}; omit the option",
        )
    from llmkit.attention.verify_model import check_taken

    check_taken(kernel, model)


def _four_bits(dtype: torch.dtype) -> Any:
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise OptionError("qlora", "needs bitsandbytes: pip install bitsandbytes; or omit the option")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _offload_folder() -> str:
    """Return a temporary folder for layers on disk; it is removed when the program ends."""
    from llmkit.temporary import lasting_folder

    return str(lasting_folder("offload"))
