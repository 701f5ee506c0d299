"""Put a LoRA adapter into its base model, after measuring what that does to the model's output."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError
from llmkit.training.run import try_writing

if TYPE_CHECKING:
    import torch

    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

# A merged model may stray this many times as far from the exact one as rounding alone makes it stray.
ALLOWED = 10.0
# Short texts of several kinds; what counts is that all layers see varied input, not that the model likes it.
PROBES = (
    "Once upon a time, a little dog found a red ball in the garden.",
    "The committee will publish its report in March 2021, according to two of its members.",
    "Q: What is 17 + 25?\nA: 17 + 25 = 42.",
    "def area(width, height):\n    return width * height\n",
    "Der Zug nach Köln fährt um acht Uhr ab.",
    "春天来了，花都开了。",
)
_DTYPES = ("float32", "bfloat16", "float16")
_TASKS = {"QUESTION_ANS": "question-answering"}


@dataclass(frozen=True)
class MergeResult:
    """A merged model.

    Attributes:
        folder: where it lies.
        dtype: of its weights.
        parameters: number of its weights.
        logit_difference: the largest absolute difference between a logit of the base with the adapter on it,
            computed exactly, and the same logit of the merged model, over the probe prompts.
        cast_difference: the same for the base with the adapter on it when it is cast to `dtype` unmerged:
            what rounding costs anyway. None for a quantized base, where there is no such cast.
        probes: number of probe tokens compared.
    """

    folder: Path
    dtype: str
    parameters: int
    logit_difference: float
    cast_difference: float | None
    probes: int


def merge(
    spec: ModelSpec,
    output: str | Path,
    *,
    save_dtype: str = "auto",
    overwrite: bool = False,
    notice: Callable[[str], None] = lambda message: None,
) -> MergeResult:
    """Write the base model with the adapter's change added to its weights, as a standard Hugging Face folder.

    The sum is formed in float32 and then rounded to `save_dtype`. The exact logits that the result is held
    against are those of the unmerged model in float32, or in float64 where the result is float32.

    Args:
        spec: an adapter by `spec.name`, to go on the base that it was trained on; or another base by
            `spec.name` and the adapter by `spec.adapter` (the full-precision base of an adapter that was
            trained on a quantized one). Its dtype is not used.
        output: the folder to make; it appears when it is whole.
        save_dtype: "auto" (as the base is stored), "float32", "bfloat16" or "float16".
        overwrite: replace a folder that is there.
        notice: called with a sentence that the user should read.

    Raises:
        InputError: no adapter, a base that cannot be merged into, or an output in the way.
        LLMKitError: the merged model's logits differ more than `ALLOWED` times what rounding makes; nothing
            is written.
    """
    output = Path(output)
    check_output(output, overwrite=overwrite)
    if save_dtype not in ("auto", *_DTYPES):
        raise InputError(f"--save-dtype {save_dtype}: use auto, {', '.join(_DTYPES)}")
    spec = replace(spec, dtype="float32", task=_task(spec))
    unmerged = _load(spec)
    quantized = _trained_on_quantized(spec, unmerged)
    dtype = _stored_dtype(unmerged) if save_dtype == "auto" else save_dtype
    exact, cast = _measure_unmerged(unmerged, dtype)
    del unmerged
    gc.collect()  # modules refer to each other in circles, and two models at once may not fit
    merged = _merged(spec, dtype)
    difference = _largest(exact, _logits(merged))
    if quantized:
        notice("the adapter was trained on a quantized model, whose own rounding is part of what it learned")
    elif not difference <= ALLOWED * cast:
        raise LLMKitError(
            f"merging moves a logit by {difference:.3g}, and casting to {dtype} alone by {cast:.3g}: more"
            f" than {ALLOWED:g} times that, so nothing was written; try --save-dtype float32"
        )
    _write(merged, output, overwrite=overwrite)
    return MergeResult(
        folder=output,
        dtype=dtype,
        parameters=sum(p.numel() for p in merged.model.parameters()),
        logit_difference=difference,
        cast_difference=None if quantized else cast,
        probes=sum(len(rows) for rows in exact),
    )


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse a folder that is in the way or cannot be written; nothing is touched yet.

    Raises:
        InputError: it is a file, not empty and not to be overwritten, or nothing can be put in its place.
    """
    try:
        if output.exists() and not output.is_dir():
            raise InputError(f"-o {output}: is a file; the model needs a folder")
        if output.is_dir() and any(output.iterdir()) and not overwrite:
            raise InputError(f"-o {output}: not empty; --overwrite replaces it")
        place = _place(output)
        if place.is_symlink():
            raise InputError(f"-o {output}: a link that leads to itself")
        if place.is_mount():
            raise InputError(
                f"-o {output}: a disk is mounted there and cannot be replaced; name a folder in it"
            )
        # A folder that is there is emptied; what takes its place is made beside it.
        if place.exists():
            try_writing(place)
        try_writing(place.parent)
    except OSError as error:
        raise InputError(f"-o {output}: cannot write there: {error.strerror}") from None


def _place(output: Path) -> Path:
    """The folder by its own name: behind a symbolic link, which stays one, and behind `.`."""
    return Path(os.path.realpath(output))


def _task(spec: ModelSpec) -> str:
    """What to load the base for: an adapter's configuration tells what it was trained for."""
    from llmkit.runtime.locate import locate

    folder = locate(spec.adapter or spec.name, replace(spec, revision=None)).folder
    kind = _adapter_config(folder, spec.adapter or spec.name).get("task_type")
    return _TASKS.get(str(kind), "text-generation")


def _adapter_config(folder: Path, name: str) -> dict[str, Any]:
    import json

    path = folder / "adapter_config.json"
    if not path.is_file():
        raise InputError(f"{name} is not an adapter's folder: no adapter_config.json in it")
    value = json.loads(path.read_text(encoding="utf-8"))
    return value if isinstance(value, dict) else {}


def _load(spec: ModelSpec) -> LoadedModel:
    from llmkit.runtime.load import load

    loaded = load(spec)
    if getattr(loaded.model.config, "quantization_config", None) is not None:
        raise InputError(
            f"the base of {spec.adapter or spec.name} is quantized, and a sum cannot be stored in it:"
            " name the full-precision model with -m"
        )
    return loaded


def _trained_on_quantized(spec: ModelSpec, loaded: LoadedModel) -> bool:
    """Whether the adapter names another base than the one it is merged into, and that one is quantized."""
    from llmkit.runtime.checkpoint import adapter_base
    from llmkit.runtime.locate import locate

    trained_on = adapter_base(loaded.adapter) if spec.adapter and loaded.adapter else None
    if trained_on is None or trained_on == spec.name:
        return False
    try:
        folder = locate(trained_on, replace(spec, revision=None, offline=True)).folder
    except LLMKitError:
        return False  # not on this machine: nothing is known of it
    config = folder / "config.json"
    return config.is_file() and "quantization_config" in config.read_text(encoding="utf-8")


def _stored_dtype(loaded: LoadedModel) -> str:
    from llmkit.runtime.checkpoint import inspect_checkpoint

    spec = loaded.spec
    return inspect_checkpoint(
        loaded.folder, spec.name, task=spec.task, allow_bin=spec.allow_bin, trusted=spec.trust_remote_code
    ).stored


def _measure_unmerged(loaded: LoadedModel, dtype: str) -> tuple[list[torch.Tensor], float]:
    """Exact logits of the model with the adapter on it, and how far a cast to `dtype` moves one of them."""
    import torch

    if dtype == "float32":
        loaded.model.double()
    exact = _logits(loaded)
    loaded.model.to(getattr(torch, dtype))
    return exact, _largest(exact, _logits(loaded))


def _merged(spec: ModelSpec, dtype: str) -> LoadedModel:
    import torch

    loaded = _load(spec)
    wrapped: Any = loaded.model
    try:
        loaded.model = wrapped.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise LLMKitError(f"the adapter does not merge: {' '.join(str(error).split())}") from None
    loaded.model.to(getattr(torch, dtype))
    loaded.model.config.dtype = getattr(torch, dtype)
    return loaded


def _logits(loaded: LoadedModel) -> list[torch.Tensor]:
    """Logits (tokens, vocabulary) for each probe in float64; for an extractive model (tokens, 2)."""
    import torch

    found = []
    for probe in PROBES:
        ids = loaded.tokenizer(probe, return_tensors="pt", truncation=True, max_length=64).input_ids
        inputs = {"input_ids": ids.to(loaded.device)}
        if loaded.is_encoder_decoder:
            inputs["decoder_input_ids"] = inputs["input_ids"]
        with torch.inference_mode():
            outputs = loaded.model(**inputs)
        logits = getattr(outputs, "logits", None)
        if logits is None:
            logits = torch.stack([outputs.start_logits, outputs.end_logits], dim=-1)
        found.append(logits[0].double().cpu())
    return found


def _largest(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def _write(loaded: LoadedModel, output: Path, *, overwrite: bool) -> None:
    """Write a folder beside the output, then put it in its place."""
    from llmkit.training.trainer import no_bars

    place = _place(output)
    beside: Path | None = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".llmkit-", dir=place.parent))
        unfinished = beside / "model"
        unfinished.mkdir()
        with no_bars():
            loaded.model.save_pretrained(unfinished)
        loaded.tokenizer.save_pretrained(unfinished)
        (unfinished / "README.md").write_text(_card(loaded, place.name), encoding="utf-8")
        if place.exists():
            check_output(output, overwrite=overwrite)
            shutil.rmtree(place)
        unfinished.replace(place)
    except OSError as error:
        raise LLMKitError(f"-o {output}: {error.strerror or error}") from None
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def _card(loaded: LoadedModel, name: str) -> str:
    base = loaded.spec.name if loaded.spec.adapter else _base_name(loaded)
    return f"""---
library_name: transformers
base_model: {base}
base_model_relation: merge
---

# {name}

{base} with the LoRA adapter {Path(loaded.spec.adapter or loaded.spec.name).name} added to its weights, by \
`llmkit merge`.

Fill in before you share it: what the adapter was trained on and its licence, what the model is for, and its
limits.
"""


def _base_name(loaded: LoadedModel) -> str:
    from llmkit.runtime.checkpoint import adapter_base

    return (adapter_base(loaded.adapter) if loaded.adapter else None) or loaded.spec.name
