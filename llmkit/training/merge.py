"""Merge a LoRA adapter into its base model, after measuring the effect on the model's output.

Public: `merge`, `MergeResult`, `check_output`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError, OptionError, one_line
from llmkit.permissions import use_umask
from llmkit.records.disk import cannot_write, writing
from llmkit.records.output_folder import refuse_foreign
from llmkit.records.unfinished.folder import clear_leftover, unfinished_folder
from llmkit.text.names import check_name
from llmkit.training.merged_card import merged_card
from llmkit.training.recipe import DTYPES, check_choice
from llmkit.training.run import try_writing

if TYPE_CHECKING:
    import torch

    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

# Refuse a merge whose logits differ from the exact ones more than this many times as much as by rounding
# alone.
ALLOWED = 10.0
# Short texts of several kinds. Their only purpose is to give all layers varied input.
PROBES = (
    "Once upon a time, a little dog found a red ball in the garden.",
    "The committee will publish its report in March 2021, according to two of its members.",
    "Q: What is 17 + 25?\nA: 17 + 25 = 42.",
    "def area(width, height):\n    return width * height\n",
    "Der Zug nach Köln fährt um acht Uhr ab.",
    "春天来了，花都开了。",
)
_TASKS = {"QUESTION_ANS": "question-answering"}


@dataclass(frozen=True)
class MergeResult:
    """A merged model.

    Attributes:
        folder: folder of the model.
        dtype: dtype of its weights.
        parameters: number of its weights.
        logit_difference: largest absolute difference between a logit of the base with the adapter, computed
            exactly, and the same logit of the merged model, over the probe prompts.
        cast_difference: the same for the unmerged base with the adapter, cast to `dtype`: the effect of
            rounding alone. None for a quantized base, which cannot be cast.
        probes: number of probe tokens compared.
    """

    folder: Path
    dtype: str
    parameters: int
    logit_difference: float
    cast_difference: float | None
    probes: int


def merge(
    adapter: ModelSpec | str | Path,
    output: str | Path,
    *,
    save_dtype: str = "auto",
    overwrite: bool = False,
    notice: Callable[[str], None] = lambda message: None,
) -> MergeResult:
    """Write the base model with the adapter's change added to its weights, as a Hugging Face folder.

    The sum is computed in float32 and then rounded to `save_dtype`. It is compared with the exact logits of
    the unmerged model, computed in float32, or in float64 if the result is float32.

    Args:
        adapter: folder or Hub id of an adapter, to be merged into the base that it was trained on. A
            `ModelSpec` may name another base: `name` is the base and `adapter` the adapter (for an adapter
            that was trained on a quantized model, the full-precision base). Its dtype is not used.
        output: folder to make; it appears when it is complete.
        save_dtype: "auto" (the base's stored dtype), "float32", "bfloat16" or "float16".
        overwrite: replace an existing folder.
        notice: called with a sentence that the user should read.

    Returns:
        The folder, with the measured differences.

    Raises:
        InputError: there is no adapter, the base cannot be merged into, or the output is in use.
        LLMKitError: the logits of the merged model differ more than `ALLOWED` times as much as rounding
            explains; nothing is written.
    """
    from llmkit.runtime.spec import ModelSpec

    output = Path(output)
    check_output(output, overwrite=overwrite)
    check_choice("save_dtype", save_dtype, ("auto", *DTYPES))
    spec = adapter if isinstance(adapter, ModelSpec) else ModelSpec(str(adapter))
    spec = replace(spec, dtype="float32", task=_task(spec))
    unmerged = _load(spec)
    quantized = _trained_on_quantized(spec, unmerged)
    dtype = unmerged.stored_dtype if save_dtype == "auto" else save_dtype
    exact, cast = _measure_unmerged(unmerged, dtype)
    del unmerged
    gc.collect()  # modules have circular references, and two models at once may not fit into memory
    merged = _merged(spec, dtype)
    difference = _largest_difference(exact, _logits(merged))
    if quantized:
        notice("the adapter was trained on a quantized model and also learned to correct its rounding")
    elif not difference <= ALLOWED * cast:
        advice = "use the adapter unmerged" if dtype == "float32" else "try save_dtype=float32"
        raise LLMKitError(
            f"merging changes a logit by {difference:.3g}, and casting to {dtype} alone by {cast:.3g}: more"
            f" than {ALLOWED:g} times as much, so nothing was written; {advice}"
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
    """Refuse an output folder that is in use or cannot be written; remove only files of a killed merge.

    Raises:
        OptionError: it is a file, it is not empty and `overwrite` is not given, or it cannot be replaced.
    """
    check_name("output", output.absolute())
    try:
        if output.exists() and not output.is_dir():
            raise OptionError("output", f"{output}: is a file; the model needs a folder")
        folder = _resolved(output)
        if folder.is_symlink():
            raise OptionError("output", f"{output}: a link that points to itself")
        clear_leftover(folder)
        if output.is_dir() and any(output.iterdir()) and not overwrite:
            raise OptionError("output", f"{output}: not empty; overwrite=True replaces it")
        if folder.is_mount():
            raise OptionError(
                "output", f"{output}: it is a mount point and cannot be replaced; give a folder inside it"
            )
        # An existing folder is removed; its replacement is made next to it.
        if folder.exists():
            if any(folder.iterdir()):
                refuse_foreign(folder)
            try_writing(folder)
        try_writing(folder.parent)
    except OSError as error:
        raise cannot_write(output, error, option="output") from None


def _resolved(output: Path) -> Path:
    """Return the folder behind a symbolic link or `.`; the link itself stays."""
    return Path(os.path.realpath(output))


def _task(spec: ModelSpec) -> str:
    """Return the task to load the base for, from the adapter's configuration."""
    from llmkit.runtime.locate import locate

    folder = locate(spec.adapter or spec.name, replace(spec, revision=None)).folder
    kind = _adapter_config(folder, spec.adapter or spec.name).get("task_type")
    return _TASKS.get(str(kind), "text-generation")


def _adapter_config(folder: Path, name: str) -> dict[str, Any]:
    from llmkit.runtime.checkpoint import read_json

    path = folder / "adapter_config.json"
    if not path.is_file():
        raise InputError(f"{name} is not an adapter's folder: no adapter_config.json in it")
    return read_json(path)


def _load(spec: ModelSpec) -> LoadedModel:
    from llmkit.runtime.load import load

    loaded = load(spec)
    if getattr(loaded.model.config, "quantization_config", None) is not None:
        raise InputError(
            f"the base of {spec.adapter or spec.name} is quantized and cannot store the sum; give the"
            " full-precision base with `model`"
        )
    return loaded


def _trained_on_quantized(spec: ModelSpec, loaded: LoadedModel) -> bool:
    """Return True if the adapter names a quantized base, and another base than the one given."""
    from llmkit.runtime.checkpoint import adapter_base
    from llmkit.runtime.locate import locate

    trained_on = adapter_base(loaded.adapter) if spec.adapter and loaded.adapter else None
    if trained_on is None or trained_on == spec.name:
        return False
    try:
        folder = locate(trained_on, replace(spec, revision=None, offline=True)).folder
    except LLMKitError:
        return False  # it is not on this machine, so its configuration is unknown
    config = folder / "config.json"
    return config.is_file() and "quantization_config" in config.read_text(encoding="utf-8")


def _measure_unmerged(loaded: LoadedModel, dtype: str) -> tuple[list[torch.Tensor], float]:
    """Return the exact logits of the unmerged model, and their largest change by a cast to `dtype`."""
    import torch

    if dtype == "float32":
        loaded.model.double()
    exact = _logits(loaded)
    loaded.model.to(getattr(torch, dtype))
    return exact, _largest_difference(exact, _logits(loaded))


def _merged(spec: ModelSpec, dtype: str) -> LoadedModel:
    import torch

    loaded = _load(spec)
    wrapped: Any = loaded.model
    _untie(wrapped)
    try:
        loaded.model = wrapped.merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        # peft's error names the problem, such as a bias of LoRA for a layer without one.
        raise LLMKitError(
            f"the adapter cannot be merged: {one_line(error)}; use it unmerged, with `adapter`"
        ) from None
    _record_tie(loaded.model)
    loaded.model.to(getattr(torch, dtype))
    loaded.model.config.dtype = getattr(torch, dtype)
    return loaded


def _untie(wrapped: Any) -> None:
    """Give the head its own weights if the adapter changes the head or the embeddings that share them."""
    import torch

    model = wrapped.get_base_model()
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or not (hasattr(embeddings, "base_layer") or hasattr(head, "base_layer")):
        return
    first, last = (getattr(layer, "base_layer", layer) for layer in (embeddings, head))
    if first.weight.data_ptr() != last.weight.data_ptr():
        return
    last.weight = torch.nn.Parameter(last.weight.detach().clone(), requires_grad=False)


def _record_tie(model: Any) -> None:
    """Record in the configuration if head and embeddings differ: otherwise a reader would tie them again."""
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or embeddings.weight.data_ptr() == head.weight.data_ptr():
        return
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False


def _logits(loaded: LoadedModel) -> list[torch.Tensor]:
    """Return float64 logits (tokens, vocabulary) for each probe; (tokens, 2) for an extractive model."""
    import torch

    found = []
    for probe in PROBES:
        ids = loaded.tokenizer(probe, return_tensors="pt").input_ids[:, :64]
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


def _largest_difference(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def _write(loaded: LoadedModel, output: Path, *, overwrite: bool) -> None:
    """Write a folder next to the output, then rename it."""
    from llmkit.training.trainer import no_bars

    folder = _resolved(output)
    with (
        writing(folder.parent, output, "nothing was written"),
        unfinished_folder(folder, {"verb": "merge"}) as unfinished,
        writing(unfinished.folder, output, "nothing was written"),
    ):
        with no_bars():
            loaded.model.save_pretrained(unfinished.result)
        loaded.tokenizer.save_pretrained(unfinished.result)
        card = merged_card(folder.name, _base_name(loaded), loaded.spec, loaded.adapter)
        (unfinished.result / "README.md").write_text(card, encoding="utf-8", errors="replace")
        use_umask(unfinished.result)
        if folder.exists():
            check_output(output, overwrite=overwrite)
        unfinished.replace_place()


def _base_name(loaded: LoadedModel) -> str:
    from llmkit.runtime.checkpoint import adapter_base

    named = adapter_base(loaded.adapter) if loaded.adapter and not loaded.spec.adapter else None
    return named or loaded.spec.name
