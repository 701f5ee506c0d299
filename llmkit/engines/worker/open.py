"""Open the engines that run in another Python on a GGUF file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.engines.converted.cache import converted_model, place_of
from llmkit.engines.converted.comparison import first_use
from llmkit.engines.worker.engine import LLAMACPP, ProgramEngine, RowLibrary
from llmkit.engines.worker.process import WorkerProcess, check_module
from llmkit.errors import InputError, OptionError
from llmkit.runtime.load import load_outline

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

_KINDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "Q8_0", "int4": "Q4_0"}
_CONTEXT = 8192  # maximum number of positions: the whole cache is allocated at the start


def open_worker(spec: ModelSpec, library: RowLibrary) -> ProgramEngine:
    """Open a model in a library's program: its own GGUF file, or a conversion that is made once.

    Args:
        spec: `dtype` or `quantize` choose the type of the file; ``auto`` is the stored type.
        library: the library.

    Raises:
        OptionError: the Python does not have the library, or an option has a value that it does not support.
            InputError: GGUF or the library does not support the model.
        LLMKitError: the program fails.
    """
    import torch

    python = check_module(spec.engine_python, library.module, library.install)
    gpu = _gpu(spec.device)
    outline = load_outline(spec)
    if outline.is_encoder_decoder:
        raise InputError(
            f"{spec.name} is an encoder-decoder, which {library.engine} does not run; use ctranslate2"
        )
    if outline.folder.is_file() and spec.quantize is None and spec.dtype == "auto":
        path, kind = outline.folder, outline.folder.stem
        notes: tuple[str, ...] = ("the GGUF file runs unchanged",)
        place = place_of(outline, "gguf", "own", ())
    else:
        kind = _kind(spec, library, outline)
        reader = python if library is LLAMACPP else None
        converted = converted_model(outline, "gguf", kind, versions=_versions(), reader_python=reader)
        path, notes = converted.path, converted.notes
        place = path
    context = min(outline.context_length or _CONTEXT, _CONTEXT)
    job = {
        "model": str(path.resolve()),
        "context": context,
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "exact": spec.dtype == "float32",
    }
    process = WorkerProcess(python, library.program, job, library.name)
    device = "gpu" if gpu else "cpu"
    engine = ProgramEngine(outline, library, process, kind=kind, context=context, device=device, notes=notes)
    kept = place.with_name(f"{place.name}.{library.engine}.txt")
    engine.notes = (*engine.notes, first_use(engine, outline, kept))
    return engine


def _versions() -> list[str]:
    from importlib.metadata import version

    return [f"{name} {version(name)}" for name in ("transformers",)]


def _gpu(device: str) -> bool:
    if device == "auto":
        import torch

        return torch.cuda.is_available()
    if device not in ("cpu", "cuda", "mps"):
        raise OptionError("device", f"{device}: this engine takes auto, cpu, cuda or mps")
    return device != "cpu"


def _kind(spec: ModelSpec, library: RowLibrary, outline: LoadedModel) -> str:
    """Return the type of the GGUF file."""
    if spec.quantize is not None and spec.dtype != "auto":
        raise OptionError(
            "dtype", f"cannot be combined with `quantize` in {library.engine}; omit one of them"
        )
    stored = str(outline.dtype).removeprefix("torch.")
    asked = spec.quantize or (stored if spec.dtype == "auto" else spec.dtype)
    kind = _KINDS.get(asked, "F16")
    if library.kinds is not None and kind not in library.kinds:
        if spec.dtype == "auto" and spec.quantize is None:
            return library.kinds[0]
        # The weights are stored in float16, and `exact` computes with them in float32.
        if spec.dtype == "float32":
            return library.kinds[0]
        raise OptionError("dtype", f"{spec.dtype}: {library.name} reads GGUF in {', '.join(library.kinds)}")
    return kind
