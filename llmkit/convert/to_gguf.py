"""Write a GGUF file and read it again: with llmkit's own reader, and with llama.cpp if it is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.convert.proof import TEXTS, Check, compare, outputs_of
from llmkit.convert.reader_process import run_reader
from llmkit.errors import InputError
from llmkit.formats.gguf.checkpoint import as_checkpoint
from llmkit.formats.gguf.write import Written, write_gguf
from llmkit.temporary import temporary_folder

if TYPE_CHECKING:
    import torch

    from llmkit.convert.source import SourceModel

TYPE_OF = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
# Maximum relative difference for each type. A wrong layout gives about 1.4. llama.cpp computes with
# activations in 8 bits for quantized weights, and in BF16 for BF16 weights.
BOUNDS = {"F32": 0.002, "F16": 0.02, "BF16": 0.1, "Q8_0": 0.2, "Q4_0": 0.6, "Q4_1": 0.6}


def write(
    source: SourceModel, path: Path, kind: str, general: dict[str, str], progress: Callable[[int, int], None]
) -> Written:
    """Write the source as GGUF.

    Args:
        source: a model that generates, with its tokenizer.
        path: the file.
        kind: a key of `BOUNDS`.
        general: values of ``general.*`` keys.
        progress: called with the number of tensors done and their total.
    """
    if source.tokenizer is None:
        raise InputError(f"{source.name} has no tokenizer, and a GGUF file needs one")
    return write_gguf(
        path,
        config=source.model.config,
        tensors=source.model.state_dict(),
        tokenizer=source.tokenizer,
        kind=kind,
        ends=source.ends,
        general=general,
        progress=progress,
    )


def own_check(path: Path, rows: list[list[int]], expected: list[torch.Tensor]) -> Check:
    """Read the file with llmkit's GGUF reader, and compare."""
    import torch

    from llmkit.runtime.parts import model_from_parts

    checkpoint = as_checkpoint(path)
    weights = checkpoint.state_dict(torch.float32)
    model = model_from_parts(checkpoint.config, weights, dtype=torch.float32, name=str(path))
    tokenizer = checkpoint.tokenizer()
    same = all(row == tokenizer(text)["input_ids"][: len(row)] for row, text in zip(rows, TEXTS, strict=True))
    return compare("llmkit", expected, outputs_of(model, rows), logits=True, same_tokens=same)


def llama_cpp_check(
    path: Path, source: SourceModel, rows: list[list[int]], expected: list[torch.Tensor], python: str
) -> Check:
    """Load the file with llama.cpp, in a separate process, and compare.

    Args:
        path: the GGUF file.
        source: the converted model.
        rows: the source's token ids of the texts.
        expected: the source's outputs for them.
        python: a Python that has llama-cpp-python.

    Raises:
        LLMKitError: llama.cpp does not read the file.
    """
    import numpy as np
    import torch

    found, ids = [], []
    with temporary_folder("convert") as folder:
        job = {
            "model": str(path.resolve()),
            "folder": str(folder),
            "texts": TEXTS,
            "tokens": max(map(len, rows)),
        }
        run_reader("llama_cpp_logits.py", job, python, folder)
        for i in range(len(TEXTS)):
            with np.load(folder / f"{i}.npz") as answer:
                ids.append([int(one) for one in answer["ids"]])
                found.append(torch.from_numpy(answer["logits"]))
    if ids != rows:
        expected = outputs_of(source.model, ids)
    return compare("llama.cpp", expected, found, logits=True, same_tokens=ids == rows)
