"""ONNX files: names of inputs and outputs, sizes of dimensions, and the weights in the file or next to it.

Names are those that transformers.js and other programs look for in a model's ``onnx`` folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import InputError

FOLDER = "onnx"
# A file in Google's protobuf format holds at most 2 GiB.
MAX_BYTES = 1_900_000_000
_SYMBOL = re.compile(r"\bs\d+\b|\bu\d+\b")


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        traced: its name in the traced graph.
        name: its name in the file.
        axes: names of its dimensions by index; others have a fixed size.
    """

    traced: str
    name: str
    axes: Mapping[int, str]


def check_packages() -> None:
    """Raise an error if the packages for writing ONNX are missing.

    Raises:
        InputError: one of them is not installed.
    """
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise InputError(f"ONNX needs {' and '.join(missing)}: pip install 'llmkit[onnx]'")


def cache_names(layers: int, *, cross: bool, past: bool) -> list[str]:
    """Names of the cached keys and values, layer by layer.

    Args:
        layers: number of decoder layers.
        cross: the layers attend to an encoder, and cache its keys and values too.
        past: names of inputs; otherwise of outputs.
    """
    start = "past_key_values" if past else "present"
    parts = ("decoder.key", "decoder.value", "encoder.key", "encoder.value") if cross else ("key", "value")
    return [f"{start}.{layer}.{part}" for layer in range(layers) for part in parts]


def finish(model: Any, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    """Name a traced graph's inputs, outputs and dimensions, and remove the tracer's metadata.

    Args:
        model: an `onnx_ir.Model`; it is changed.
        inputs: all of its inputs.
        outputs: all of its outputs.

    Raises:
        InputError: the graph has other inputs or outputs, or a dimension that should vary has a fixed size.
    """
    graph = model.graph
    renamed: dict[str, str] = {}
    for values, ports in ((graph.inputs, inputs), (graph.outputs, outputs)):
        by_name = {port.traced: port for port in ports}
        if sorted(by_name) != sorted(value.name for value in values):
            raise InputError(f"the traced graph has other inputs or outputs: {[one.name for one in values]}")
        for value in values:
            port = by_name[value.name]
            for axis, name in port.axes.items():
                size = value.shape[axis]
                if isinstance(size, int):
                    raise InputError(f"this model cannot be traced for ONNX: {port.name} gets a fixed size")
                if size.value is not None:
                    renamed.setdefault(str(size.value), name)
    _rename_dimensions(graph, renamed)
    for values, ports in ((graph.inputs, inputs), (graph.outputs, outputs)):
        by_name = {port.traced: port for port in ports}
        for value in values:
            port = by_name[value.name]
            value.name = port.name
            value.shape = type(value.shape)(
                [port.axes.get(i, value.shape[i]) for i in range(len(value.shape))]
            )
    model.metadata_props.clear()
    model.doc_string = None
    model.producer_name, model.producer_version = "llmkit", None
    for part in (graph, *model.functions.values()):
        _strip(part)


def _rename_dimensions(graph: Any, renamed: Mapping[str, str]) -> None:
    """Give dimensions inside the graph the names that they have at its ends."""

    def named(dimension: Any) -> Any:
        if isinstance(dimension, int) or dimension.value is None:
            return dimension
        text = str(dimension.value)
        return renamed.get(text) or _SYMBOL.sub(lambda match: renamed.get(match[0], match[0]), text)

    for node in graph.all_nodes():
        for value in node.outputs:
            if value.shape is not None:
                value.shape = type(value.shape)([named(one) for one in value.shape])


def _strip(part: Any) -> None:
    """Remove stack traces and other notes of the tracer from a graph or function."""
    part.metadata_props.clear()
    for node in part.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            value.doc_string = None
    for value in part.inputs:
        value.metadata_props.clear()


def save(model: Any, path: Path, limit: int = MAX_BYTES) -> bool:
    """Write a graph: in one file, or with its weights in ``NAME.onnx_data`` if it is too large.

    Args:
        model: an `onnx_ir.Model`.
        path: the file, such as ``model.onnx``.
        limit: bytes of weights that one file may hold.

    Returns:
        True if the weights are in a file next to it.
    """
    import onnx_ir

    beside = weight_bytes(model) > limit
    onnx_ir.save(model, str(path), external_data=f"{path.name}_data" if beside else None)
    return beside


def weight_bytes(model: Any) -> int:
    """Size of a graph's weights in bytes."""
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)


def opset_of(model: Any) -> int:
    """Version of ONNX's own operators that a graph uses."""
    return int(model.opset_imports[""])


def other_domains(model: Any) -> list[str]:
    """Sets of operators in a graph that are not ONNX's own, sorted."""
    return sorted({node.domain for node in model.graph.all_nodes() if node.domain not in ("", "ai.onnx")})


def settings(beside: Sequence[str], half: bool) -> dict[str, Any]:
    """Settings for transformers.js in config.json: files with external weights, and types.

    Args:
        beside: names of the files whose weights are in another file.
        half: the model computes in float16.
    """
    found: dict[str, Any] = {}
    if beside:
        found["use_external_data_format"] = dict.fromkeys(beside, True)
    if half:
        found |= {"dtype": "fp16", "kv_cache_dtype": {"fp16": "float16"}}
    return found
