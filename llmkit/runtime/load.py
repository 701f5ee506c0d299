"""The one place where a model is loaded: `load(spec)` gives it with its tokenizer, placed and ready.

No other file of llmkit calls `from_pretrained` on a model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError
from llmkit.fingerprint import fingerprint
from llmkit.runtime.attention_kernel import find_kernel
from llmkit.runtime.checkpoint import (
    Checkpoint,
    adapter_base,
    adapter_task,
    architectures,
    inspect_checkpoint,
)
from llmkit.runtime.device import choose_device, choose_dtype
from llmkit.runtime.locate import Location, locate

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.attention.registry import Kernel
    from llmkit.runtime.spec import ModelSpec

_AUTO_CLASSES = {
    "text-generation": "AutoModelForCausalLM",
    "text2text-generation": "AutoModelForSeq2SeqLM",
    "question-answering": "AutoModelForQuestionAnswering",
    "fill-mask": "AutoModelForMaskedLM",
    "feature-extraction": "AutoModel",
}


@dataclass
class LoadedModel:
    """A model ready to run.

    Attributes:
        model: the transformers model, in eval mode, on its device.
        tokenizer: its tokenizer, with a pad token, padding left for decoder-only models.
        spec: what was asked for.
        device: the device its inputs go to.
        dtype: the precision it computes in.
        revision: the commit, ``embedded`` or ``local``.
        folder: where it was read from.
        context_length: how many tokens it can see, None where nothing in its architecture limits it.
        adapter: the folder of the LoRA adapter on it, or None.
        notes: the choices that were made for the user, one sentence each (for `-v`).
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    spec: ModelSpec
    device: torch.device
    dtype: torch.dtype
    revision: str
    folder: Path
    context_length: int | None
    adapter: Path | None
    notes: list[str]

    @property
    def is_encoder_decoder(self) -> bool:
        return bool(self.model.config.is_encoder_decoder)

    @property
    def has_chat_template(self) -> bool:
        return self.tokenizer.chat_template is not None

    @property
    def stored_dtype(self) -> str:
        """Name of the dtype that most of the checkpoint's weights are stored in."""
        spec = self.spec
        return inspect_checkpoint(
            self.folder, spec.name, task=spec.task, allow_bin=spec.allow_bin, trusted=spec.trust_remote_code
        ).stored

    def identity(self) -> dict[str, Any]:
        """What the model's results depend on, as JSON: for a journal that must not mix two models' rows."""
        import torch
        import transformers

        import llmkit

        return {
            "model": self.spec.name,
            "revision": self.revision,
            "weights": _fingerprints(self.folder) if self.revision == "local" else None,
            "adapter": _fingerprints(self.adapter) if self.adapter is not None else None,
            "device": self.device.type,
            "dtype": str(self.dtype).removeprefix("torch."),
            "attention": self.model.config._attn_implementation,
            "llmkit": llmkit.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }


def load(spec: ModelSpec, *, new_head: bool = False, four_bits: bool = False) -> LoadedModel:
    """Find, check, load and place the model that `spec` asks for.

    An adapter's folder as `spec.name` loads its base model with the adapter on it, and with the adapter's own
    tokenizer where it has one. An adapter's own generation_config.json counts either way.

    Args:
        spec: what is asked for.
        new_head: let the head of an extractive model be random numbers where the checkpoint has none: it is
            to be trained.
        four_bits: keep the linear layers in 4 bits (NF4; Dettmers et al. 2023).

    Raises:
        InputError: no such model, or one that cannot do the task; the message says what to do.
        LLMKitError: a download or the loading itself failed.
    """
    import torch

    location, adapter = _find(spec)
    checkpoint = inspect_checkpoint(
        location.folder,
        spec.name,
        task=spec.task,
        allow_bin=spec.allow_bin,
        trusted=spec.trust_remote_code,
    )
    stored = getattr(torch, checkpoint.stored)
    sized = choose_device(spec.device, checkpoint.parameters * 4)
    dtype, why_dtype = choose_dtype(spec.dtype, stored, sized.device)
    placement = choose_device(spec.device, checkpoint.parameters * dtype.itemsize)
    notes = [
        f"device {placement.device}: {placement.reason}",
        f"dtype {str(dtype).removeprefix('torch.')}: {why_dtype}",
    ]
    own = adapter is not None and (adapter.folder / "tokenizer.json").is_file()
    tokenizer = _load_tokenizer(adapter.folder if adapter and own else checkpoint.folder, spec)
    model = _load_weights(
        checkpoint,
        spec,
        dtype,
        placement.device,
        placement.device_map,
        new_head=new_head or _brings_head(adapter),
        four_bits=four_bits,
    )
    if adapter is not None:
        model = _put_adapter(model, adapter.folder, spec)
        notes.append(f"adapter {adapter.folder}")
    notes.append(f"attention {spec.attn or model.config._attn_implementation}")
    _prepare_tokenizer(tokenizer, notes)
    if spec.task == "text-generation" and not model.config.is_encoder_decoder:
        tokenizer.padding_side = "left"
    return LoadedModel(
        model=model.eval(),
        tokenizer=tokenizer,
        spec=spec,
        device=torch.device(placement.device),
        dtype=dtype,
        revision=location.revision,
        folder=location.folder,
        context_length=_context_length(model),
        adapter=adapter.folder if adapter is not None else None,
        notes=notes,
    )


def _find(spec: ModelSpec) -> tuple[Location, Location | None]:
    """Where the model lies, and the adapter that goes on it."""
    location = locate(spec.name, spec)
    adapter: Location | None = None
    base = adapter_base(location.folder)
    unpinned = replace(spec, revision=None)  # a revision belongs to the model that -m names
    if base is not None:
        # What ships as an adapter goes on what ships beside it.
        boxed = unpinned.bundled or location.revision == "embedded"
        adapter, location = location, locate(base, replace(unpinned, bundled=boxed))
    if spec.adapter is not None:
        if adapter is not None:
            raise InputError(
                f"{spec.name} is itself an adapter; give the base model with -m, or drop --adapter"
            )
        adapter = locate(spec.adapter, unpinned)
    if adapter is not None:
        _check_adapter(adapter.folder, spec)
    return location, adapter


def is_extractive_qa(spec: ModelSpec) -> bool:
    """Whether the model that `spec` names is made for extractive question answering, by its config.json.

    One that does not tell what it is made for counts as such: loading finds out.

    Raises:
        InputError, LLMKitError: as `load`.
    """
    named = saved_architecture(spec)
    return not named or any("ForQuestionAnswering" in name for name in named)


def is_masked_lm(spec: ModelSpec) -> bool:
    """Whether the model that `spec` names is a masked language model, by its config.json.

    Raises:
        InputError, LLMKitError: as `load`.
    """
    return any(name.endswith("ForMaskedLM") for name in saved_architecture(spec))


def saved_architecture(spec: ModelSpec) -> list[str]:
    """The classes that the model was made as, by its config.json; empty where that does not tell.

    Raises:
        InputError, LLMKitError: as `load`.
    """
    folder = locate(spec.name, spec).folder
    base = adapter_base(folder)
    if base is not None and adapter_task(folder) == "QUESTION_ANS":
        return ["ForQuestionAnswering"]
    return architectures(folder if base is None else locate(base, replace(spec, revision=None)).folder)


def _fingerprints(folder: Path) -> dict[str, Any]:
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in {".safetensors", ".bin"} or path.name == "config.json":
            with path.open("rb") as file:
                found[path.name] = fingerprint(file.fileno())
    return found


def _load_tokenizer(folder: Path, spec: ModelSpec) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=spec.trust_remote_code
        )
    except Exception as error:
        # Tokenizer classes raise whatever their parser raised: OSError, ValueError, KeyError, Exception.
        files = {path.name for path in folder.iterdir()}
        if not files & {"tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt"}:
            raise InputError(
                f"{spec.name} has no tokenizer files; copy tokenizer.json and tokenizer_config.json into it"
            ) from error
        raise LLMKitError(f"{spec.name}: its tokenizer does not load: {_one_line(error)}") from error


def _load_weights(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    dtype: torch.dtype,
    device: str,
    device_map: str | None,
    *,
    new_head: bool,
    four_bits: bool,
) -> PreTrainedModel:
    from pickle import UnpicklingError

    import transformers
    from transformers.utils import logging as transformers_logging

    task = spec.task
    kernel = find_kernel(spec, device)
    if task == "text-generation" and checkpoint.is_encoder_decoder:
        task = "text2text-generation"
    auto = getattr(transformers, _AUTO_CLASSES[task])
    options: dict[str, Any] = {}
    if kernel is not None:
        from llmkit.attention.interface import register

        options["attn_implementation"] = register(kernel)
    if device_map is not None:
        options |= {"device_map": device_map, "offload_folder": _offload_folder()}
    if four_bits:
        options["quantization_config"] = _four_bits(dtype)
    bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        model = auto.from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=spec.trust_remote_code,
            use_safetensors=None if spec.allow_bin else True,
            weights_only=True,
            output_loading_info=True,
            **options,
        )
    except UnpicklingError as error:
        raise InputError(
            f"{spec.name}: its pytorch_model.bin holds more than weights, which could run code; not read"
        ) from error
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise _explain(error, spec, task) from error
    finally:
        if bar:
            transformers_logging.enable_progress_bar()
    model, report = model
    _check_report(report, spec, new_head)
    model = model if device_map is not None or device == "cpu" else model.to(device)
    if kernel is not None:
        _check_attention(model, kernel, options["attn_implementation"])
    return model


def _four_bits(dtype: torch.dtype) -> Any:
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise InputError("4 bits need bitsandbytes: pip install bitsandbytes; or leave --qlora out")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _brings_head(adapter: Location | None) -> bool:
    """Whether an adapter has the extractive head that its base may lack."""
    return adapter is not None and adapter_task(adapter.folder) == "QUESTION_ANS"


def _offload_folder() -> str:
    """A temporary folder for layers that go to disk, removed when the program ends."""
    import atexit
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="llmkit-offload-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _explain(error: Exception, spec: ModelSpec, task: str) -> Exception:
    text = _one_line(error)
    if spec.attn is not None and ("attn_implementation" in text or "attention" in text.lower()):
        return InputError(f"--attn {spec.attn}: {spec.name} cannot run it; leave --attn out ({text})")
    if "Unrecognized configuration class" in text:
        return InputError(f"{spec.name} is not a model for {task}")
    if isinstance(error, ImportError):
        return InputError(f"{spec.name} needs a package that is not installed: {text}")
    return LLMKitError(f"{spec.name} does not load: {text}")


def _check_report(report: dict[str, Any], spec: ModelSpec, new_head: bool) -> None:
    """Weights that were not in the file are random numbers: never run a model that has some."""
    missing = sorted(report.get("missing_keys") or [])
    if spec.task == "feature-extraction":
        # The features are the last hidden states; a pooler stands above them, and many checkpoints have none.
        missing = [name for name in missing if not name.startswith("pooler.")]
    if new_head:
        missing = [name for name in missing if not name.startswith("qa_outputs.")]
    if missing:
        raise InputError(
            f"{spec.name} lacks weights that {spec.task} needs ({len(missing)}, such as {missing[0]});"
            " it was made for another task, or its weight files are not whole"
        )


def _check_attention(model: PreTrainedModel, kernel: Kernel, name: str) -> None:
    """transformers keeps `eager`, with one log line, in models that do not use its attention interface."""
    if model.config._attn_implementation != name:
        raise InputError(
            f"--attn {kernel.name}: {type(model).__name__} does not use the attention interface and would run"
            f" {model.config._attn_implementation}; leave --attn out"
        )
    from llmkit.attention.verify_model import check_taken

    check_taken(kernel, model)


def _check_adapter(folder: Path, spec: ModelSpec) -> None:
    name = f"--adapter {spec.adapter}" if spec.adapter is not None else spec.name
    if not (folder / "adapter_config.json").is_file():
        raise InputError(f"{name}: not an adapter's folder: no adapter_config.json in it")
    if not spec.allow_bin and not (folder / "adapter_model.safetensors").is_file():
        raise InputError(
            f"{name}: no adapter_model.safetensors in it"
            " (a pickled adapter_model.bin is read only with --allow-bin)"
        )


def _put_adapter(model: PreTrainedModel, folder: Path, spec: ModelSpec) -> PreTrainedModel:
    from peft import PeftModel
    from transformers import GenerationConfig

    try:
        if (folder / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(folder)
        # A PeftModel stands in for the model it wraps in all that we call.
        wrapped: Any = PeftModel.from_pretrained(model, folder)
        return wrapped
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        name = spec.adapter or spec.name
        raise InputError(f"adapter {name} does not fit this model: {_one_line(error)}") from error


def _prepare_tokenizer(tokenizer: PreTrainedTokenizerBase, notes: list[str]) -> None:
    if tokenizer.pad_token_id is None:
        # Padding is masked out, so any token of the vocabulary serves; this one adds no row to it.
        for token in (tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token):
            if token is not None:
                tokenizer.pad_token = token
                notes.append(f"the tokenizer has no pad token; {token} pads")
                break
        else:
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
            notes.append("the tokenizer has no pad, end or start token; token 0 pads")


def _context_length(model: PreTrainedModel) -> int | None:
    """The number of positions the architecture has; None for relative ones (T5) and ALiBi (BLOOM)."""
    config = model.config.get_text_config(decoder=True)
    if getattr(config, "relative_attention_num_buckets", None) and config.model_type != "led":
        return None
    for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value - _padding_rows(model)
    return None


def _padding_rows(model: PreTrainedModel) -> int:
    """How many of its positions a model of RoBERTa's kind leaves out: it counts from the padding's."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.padding_idx) + 1
    return 0


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
