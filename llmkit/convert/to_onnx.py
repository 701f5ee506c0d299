"""Write a model as ONNX for onnxruntime and transformers.js, and check it with onnxruntime."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.convert.greedy import greedy_of, same_texts
from llmkit.convert.proof import Check, compare, outputs_of
from llmkit.convert.quiet import quiet
from llmkit.convert.reader_process import reader_with, run_reader
from llmkit.errors import OptionError
from llmkit.formats import onnx
from llmkit.temporary import temporary_folder

if TYPE_CHECKING:
    import torch

    from llmkit.convert.source import SourceModel

# Maximum relative difference for each type.
BOUNDS = {"float32": 1e-4, "float16": 0.02}
# transformers.js looks for a file by its type.
_ENDINGS = {"float32": "", "float16": "_fp16"}
_DECODERS = ("decoder_model_merged", "model")


@dataclass(frozen=True)
class WrittenGraphs:
    """Graphs that were written.

    Attributes:
        files: their paths by role: encoder, decoder.
        typed: an encoder takes token types.
        nbytes: size of all files.
        opset: version of ONNX's operators.
        notes: sentences for the user.
    """

    files: dict[str, Path]
    typed: bool
    nbytes: int
    opset: int
    notes: list[str]


def type_of(stored: str, wanted: str) -> str:
    """Return the type to write.

    Args:
        stored: the source's type.
        wanted: the requested type; ``auto`` keeps float16 and writes all others in float32.

    Raises:
        OptionError: onnxruntime does not compute in the type on a CPU.
    """
    if wanted == "auto":
        return "float16" if stored == "float16" else "float32"
    if wanted not in BOUNDS:
        raise OptionError("dtype", f"must be auto, {' or '.join(BOUNDS)} for onnx, not {wanted}")
    return wanted


def write(
    source: SourceModel, folder: Path, dtype: str, progress: Callable[[int, int], None]
) -> WrittenGraphs:
    """Write the source's graphs into ``onnx/`` of a folder, with its settings and tokenizer.

    Args:
        source: any text model.
        folder: existing folder for the files.
        dtype: a key of `BOUNDS`.
        progress: called with the number of graphs done and their total.

    Raises:
        InputError: a package is missing, or the model cannot be written as ONNX.
    """
    from llmkit.convert.onnx_graphs import graphs_of, trace

    onnx.check_packages()
    place = folder / onnx.FOLDER
    place.mkdir()
    graphs = graphs_of(source, _in_dtype(source.model, dtype))
    files, opset, beside, others = {}, 0, [], set()
    progress(0, len(graphs))
    for done, graph in enumerate(graphs, start=1):
        model = trace(graph)
        onnx.finish(model, graph.inputs, graph.outputs)
        path = place / f"{graph.file}{_ENDINGS[dtype]}.onnx"
        if onnx.save(model, path):
            beside.append(path.name)
        opset = max(opset, onnx.opset_of(model))
        others |= set(onnx.other_domains(model))
        decodes = graph.file in _DECODERS and source.model.can_generate()
        files["decoder" if decodes else "encoder"] = path
        progress(done, len(graphs))
        del model
    _write_settings(source, folder, dtype, onnx.settings(beside, dtype == "float16"))
    nbytes = sum(file.stat().st_size for file in place.iterdir())
    notes = [f"ONNX opset {opset}; the sizes of batch, text and cache vary"]
    if others:
        notes.append(f"the graphs need operators that are not ONNX's own: {', '.join(sorted(others))}")
    if source.stored == "bfloat16" and dtype == "float32":
        notes.append("onnxruntime does not compute in bfloat16 on a CPU; the weights are stored in float32")
    typed = any(port.name == "token_type_ids" for port in graphs[0].inputs)
    return WrittenGraphs(files, typed, nbytes, opset, notes)


def _in_dtype(model: Any, dtype: str) -> Any:
    """Return the model for float32, otherwise a copy. Other tables, such as rotary angles, do not change."""
    import torch

    if dtype == "float32":
        return model
    half = copy.deepcopy(model)
    for _, value in half.state_dict(keep_vars=True).items():
        if value.is_floating_point():
            value.data = value.data.to(getattr(torch, dtype))
    return half


def _write_settings(source: SourceModel, folder: Path, dtype: str, settings: dict[str, Any]) -> None:
    with quiet():
        config = copy.deepcopy(source.model.config)
        config.architectures = [type(source.model).__name__]
        config.save_pretrained(folder)
        if source.model.can_generate():
            source.model.generation_config.save_pretrained(folder)
        if source.tokenizer is not None:
            source.tokenizer.save_pretrained(folder)
            _show_template(source.tokenizer, folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"dtype": dtype}
    if settings:
        config["transformers.js_config"] = settings
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _show_template(tokenizer: Any, folder: Path) -> None:
    """Add the chat template to tokenizer_config.json: transformers.js 4.3 reads it only from there."""
    template, path = getattr(tokenizer, "chat_template", None), folder / "tokenizer_config.json"
    if isinstance(template, dict):
        template = [{"name": name, "template": text} for name, text in template.items()]
    if template and path.is_file():
        settings = json.loads(path.read_text(encoding="utf-8")) | {"chat_template": template}
        path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def checks_of(
    written: WrittenGraphs,
    source: SourceModel,
    rows: list[list[int]],
    expected: list[torch.Tensor],
    reader_python: str | None,
) -> list[Check] | None:
    """Run the graphs with onnxruntime, in a separate process, and compare.

    Each row is run alone. A model that generates is also run step by step with the cache, and continues the
    rows greedily in padded batches; an encoder runs padded batches, with token types if it takes them.

    Args:
        written: the graphs.
        source: the converted model.
        rows: token ids of the texts.
        expected: the source's outputs for them.
        reader_python: a Python that has onnxruntime; None tries the running Python.

    Returns:
        The checks; None if onnxruntime is not installed.

    Raises:
        LLMKitError: onnxruntime does not run a graph, or its continuation of a text differs.
    """
    import numpy as np
    import torch

    python = reader_with("onnxruntime", reader_python)
    if python is None:
        return None
    generates, config = source.model.can_generate(), source.model.config
    greedy = greedy_of(source, rows) if generates else None
    kind = "encoder" if not generates else "encoder-decoder" if config.is_encoder_decoder else "decoder"
    whole, stepped, following = [], [], []
    with temporary_folder("convert") as folder:
        job = {
            "kind": kind,
            "graphs": {name: str(path.resolve()) for name, path in written.files.items()},
            "folder": str(folder),
            "rows": rows,
            "prompts": greedy.prompts if greedy else [],
            "greedy": greedy.steps if greedy else 0,
            "types": _types(rows) if written.typed else [],
            "pad": _padding(config),
            "start": getattr(config, "decoder_start_token_id", None) or 0,
        }
        run_reader("onnxruntime_run.py", job, python, folder)
        for i in range(len(rows)):
            with np.load(folder / f"{i}.npz") as answer:
                whole.append(torch.from_numpy(answer["whole"]))
                stepped.append(torch.from_numpy(answer["stepped"]))
                following.append(answer["following"] if greedy else [])
    logits = source.gives_logits
    first = compare("onnxruntime", expected, whole, logits=logits)
    if written.typed:
        expected = outputs_of(source.model, rows, token_type_ids=_types(rows))
    tails = [one[-len(other) :] for one, other in zip(expected, stepped, strict=True)]
    name = "with its cache" if generates else "in padded batches"
    checks = [
        first,
        compare(f"onnxruntime {name}", tails, stepped, logits=logits),
    ]
    if greedy is not None:
        largest = max(check.logit_difference for check in checks)
        same, differs = same_texts("onnxruntime", greedy, following, largest)
        checks[1] = replace(checks[1], same_greedy=same, differs=differs)
    return checks


def _types(rows: list[list[int]]) -> list[list[int]]:
    """Return token types of rows: a question and a text of the same length."""
    return [[int(i >= len(row) // 2) for i in range(len(row))] for row in rows]


def _padding(config: Any) -> int:
    pad, vocab_size = config.get_text_config().pad_token_id, config.get_text_config().vocab_size
    return pad if isinstance(pad, int) and 0 <= pad < vocab_size else 0
