"""Open the CTranslate2 engine: choose device and type, convert once, load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.engines.converted.cache import converted_model
from llmkit.engines.converted.comparison import first_use
from llmkit.engines.ctranslate2.program import CTranslate2Program, compute_types
from llmkit.errors import OptionError
from llmkit.runtime.load import load_outline

if TYPE_CHECKING:
    from llmkit.engines.ctranslate2.engine import CTranslate2Engine
    from llmkit.runtime.spec import ModelSpec


def open_ctranslate2(spec: ModelSpec) -> CTranslate2Engine:
    """Open a model in CTranslate2.

    Args:
        spec: `dtype` or `quantize` choose the type of the weights; ``auto`` is float32 on a CPU, and the
            stored type on a GPU.

    Raises:
        InputError: CTranslate2 is not installed, or does not support the model.
        OptionError: it does not support the device or the type.
        LLMKitError: its answers differ too much from the source's.
    """
    import torch

    compute_types("cpu")
    import ctranslate2
    import transformers

    from llmkit.engines.ctranslate2.engine import CTranslate2Engine

    device, index = _device(spec.device, ctranslate2.get_cuda_device_count())
    outline = load_outline(spec)
    kind = _kind(spec, device, str(outline.dtype).removeprefix("torch."))
    versions = [f"ctranslate2 {ctranslate2.__version__}", f"transformers {transformers.__version__}"]
    converted = converted_model(outline, "ctranslate2", kind, versions=versions)
    program = CTranslate2Program(
        converted.path,
        encodes=outline.is_encoder_decoder,
        device=device,
        index=index,
        compute_type=kind,
        threads=torch.get_num_threads(),
    )
    engine = CTranslate2Engine(outline, converted, program, device)
    if not outline.is_encoder_decoder:  # `convert` has already compared the texts of an encoder-decoder
        kept = converted.path.with_name(f"{converted.path.name}.txt")
        engine.notes = (*engine.notes, first_use(engine, outline, kept))
    return engine


def _device(asked: str, gpus: int) -> tuple[str, int]:
    """Return the device and its number."""
    if asked == "auto":
        return ("cuda", 0) if gpus else ("cpu", 0)
    name, _, number = asked.partition(":")
    if name == "cpu" and not number:
        return "cpu", 0
    if name == "cuda" and (not number or number.isdecimal()):
        if int(number or 0) >= gpus:
            raise OptionError("device", f"{asked}: ctranslate2 finds {gpus} CUDA devices")
        return "cuda", int(number or 0)
    raise OptionError("device", f"{asked}: ctranslate2 runs on cpu, cuda or cuda:N")


def _kind(spec: ModelSpec, device: str, stored: str) -> str:
    """Return the type of the weights."""
    kinds = compute_types(device)
    if spec.quantize is not None:
        if spec.quantize not in kinds:
            raise OptionError("quantize", f"must be int8 with ctranslate2, not {spec.quantize}")
        if spec.dtype != "auto":
            raise OptionError("dtype", "cannot be combined with `quantize` in ctranslate2; omit one of them")
        return spec.quantize
    if spec.dtype == "auto":
        return stored if device == "cuda" and stored in kinds else "float32"
    if spec.dtype not in kinds:
        known = ", ".join(sorted(kinds & {"float32", "float16", "bfloat16"}))
        raise OptionError("dtype", f"{spec.dtype}: ctranslate2 computes in {known} on this {device}")
    return spec.dtype
