"""Write a model in MLX's layout, read it again, and check it with mlx-lm if it is installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.convert.greedy import greedy_of, same_texts
from llmkit.convert.proof import TEXTS, Check, compare, outputs_of
from llmkit.convert.quiet import quiet
from llmkit.convert.reader_process import reader_with, run_reader
from llmkit.errors import InputError
from llmkit.formats import mlx
from llmkit.records.unfinished.shards import MAX_SHARD_SIZE, Parts
from llmkit.temporary import temporary_folder

if TYPE_CHECKING:
    import torch

    from llmkit.convert.source import SourceModel

# Maximum relative difference for each type. mlx-lm computes another GELU in some models, and rounds Gemma 3's
# embedding scale to bfloat16.
BOUNDS = {"float32": 1e-3, "float16": 0.01, "bfloat16": 0.1, "int8": 0.2, "int4": 0.6}


def write(
    source: SourceModel,
    folder: Path,
    dtype: str,
    progress: Callable[[int, int], None],
    parts: Parts | None = None,
    max_shard_size: str = MAX_SHARD_SIZE,
) -> None:
    """Write the source for mlx-lm: config.json, weights, tokenizer and generation settings.

    Args:
        source: a model that generates.
        folder: existing folder for the files.
        dtype: a key of `BOUNDS`. With int8 and int4, norms and biases keep the source's 16 bits, or get
            float16.
        progress: called with the number of tensors done and their total.
        parts: files that need not be written again; None writes all.
        max_shard_size: maximum size of a weight file, such as ``5GB``.

    Raises:
        InputError: llmkit does not write the architecture for MLX.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    model: Any = source.model
    family = mlx.family_for(model.config.model_type, source.name)
    if not model.can_generate():
        raise InputError(
            f"{source.name} does not generate text; conversion to MLX supports only models that do"
        )
    tensors = model.state_dict()
    tied = _tied(source, tensors, family)
    with quiet():
        model.config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)
        if source.tokenizer is not None:
            source.tokenizer.save_pretrained(folder)
    path = folder / "config.json"
    config = mlx.config_of(json.loads(path.read_text(encoding="utf-8")), source.name)
    # Learned positions are not quantized: there are few, and they affect the input of every layer.
    tables = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Embedding | Conv1D) and not name.endswith("wpe")
    }
    rest = dtype if dtype not in mlx.BITS else "bfloat16" if source.stored == "bfloat16" else "float16"
    quantization = mlx.write(
        folder,
        tensors,
        family,
        dtype=rest,
        bits=mlx.BITS.get(dtype),
        tables=tables,
        tied=tied,
        progress=progress,
        parts=parts,
        max_shard_size=max_shard_size,
    )
    config |= {"architectures": [type(model).__name__], "dtype": rest}
    if quantization:
        config["quantization"] = quantization
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _tied(source: SourceModel, tensors: dict[str, torch.Tensor], family: mlx.MLXFamily) -> set[str]:
    """Return the names of the head's weight if mlx-lm uses the embeddings in its place."""
    model: Any = source.model
    head, table = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    same = head.data_ptr() == table.data_ptr()
    if family.head == "tied" and not same:
        raise InputError(
            f"{source.name}: mlx-lm's {model.config.model_type} uses the embeddings as its head, but"
            " this model has a separate head"
        )
    if family.head == "own" or not same:
        return set()
    own = {name for name, value in tensors.items() if value.data_ptr() == head.data_ptr()}
    kept = {
        f"{name}.weight" for name, module in model.named_modules() if module is model.get_input_embeddings()
    }
    return own - kept


def own_check(
    folder: Path, source: SourceModel, rows: list[list[int]], expected: list[torch.Tensor], dtype: str
) -> Check:
    """Read the folder's weights into a new model of the same class, and compare."""
    import torch

    from llmkit.runtime.parts import model_from_parts

    config = source.model.config
    family = mlx.family_for(config.model_type, source.name)
    weights = mlx.read(folder, list(source.model.state_dict()), family, mlx.BITS.get(dtype))
    named = config.to_dict() | {"architectures": [type(source.model).__name__]}
    model = model_from_parts(named, weights, dtype=torch.float32, name=str(folder))
    return compare("llmkit", expected, outputs_of(model, rows), logits=True)


def mlx_checks(
    folder: Path,
    source: SourceModel,
    rows: list[list[int]],
    expected: list[torch.Tensor],
    dtype: str,
    reader_python: str | None,
) -> list[Check]:
    """Load the folder with mlx-lm, in a separate process, and compare logits, tokens and greedy text.

    Weights of 16 bits are compared twice: in mlx-lm's own precision with the source; and in float32 with the
    source whose weights are rounded to that type. So rounding cannot hide a fault of the conversion.

    Args:
        folder: the MLX model.
        source: the converted model.
        rows: the source's token ids of the texts.
        expected: the source's outputs for them.
        dtype: a key of `BOUNDS`: stored type of the folder's weights.
        reader_python: a Python that has mlx-lm; None tries the running Python.

    Returns:
        A check for each precision; empty if mlx-lm is not installed.

    Raises:
        LLMKitError: mlx-lm does not read the folder, or its continuation of a text differs.
    """
    import numpy as np
    import torch

    python = reader_with("mlx_lm", reader_python)
    if python is None:
        return []
    greedy = greedy_of(source, rows)
    readers = {"stored": "mlx-lm"} | ({"float32": "mlx-lm in float32"} if dtype.endswith("float16") else {})
    checks = []
    with temporary_folder("convert") as place:
        job = {
            "model": str(folder.resolve()), "folder": str(place), "texts": TEXTS if source.tokenizer else [],
            "rows": rows, "prompts": greedy.prompts, "greedy": greedy.steps, "precisions": list(readers),
        }  # fmt: skip
        run_reader("mlx_logits.py", job, python, place)
        for precision, reader in readers.items():
            found, following, ids = [], [], []
            for i, row in enumerate(rows):
                with np.load(place / f"{precision}-{i}.npz") as answer:
                    found.append(torch.from_numpy(answer["logits"])[:, : expected[i].shape[-1]])
                    following.append([int(one) for one in answer["following"]])
                    ids.append([int(one) for one in answer["ids"]][: len(row)])
            same = ids == rows if source.tokenizer else None
            check = compare(reader, expected, found, logits=True, same_tokens=same)
            texts, differs = same_texts(reader, greedy, following, check.logit_difference)
            if precision == "float32":
                rounded = _rounded_outputs(source.model, rows, dtype)
                check = compare(reader, rounded, found, logits=True, same_tokens=same)
            checks.append(replace(check, same_greedy=texts, differs=differs))
    return checks


def _rounded_outputs(model: Any, rows: list[list[int]], dtype: str) -> list[torch.Tensor]:
    """Return the outputs of a model whose floating-point weights are rounded to a type of 16 bits."""
    import torch

    kept = [one for one in model.parameters() if one.is_floating_point()]
    own = [one.data for one in kept]
    try:
        for one in kept:
            one.data = one.data.to(getattr(torch, dtype)).to(one.dtype)
        return outputs_of(model, rows)
    finally:
        for one, value in zip(kept, own, strict=True):
            one.data = value
