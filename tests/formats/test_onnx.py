"""Names in ONNX files, and the traces of the machine that made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import InputError
from llmkit.formats import onnx

ir = pytest.importorskip("onnx_ir")


def graph(batch: Any) -> Any:
    """A graph that adds an input to itself, as a tracer leaves it."""
    value = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([batch, 4]))
    node = ir.node("Add", [value, value], name="node_add")
    node.metadata_props["pkg.torch.onnx.stack_trace"] = "/somewhere/model.py"
    out = node.outputs[0]
    out.name, out.type, out.shape = "y", ir.TensorType(ir.DataType.FLOAT), ir.Shape([batch, 4])
    weight = ir.Value(name="w", const_value=ir.tensor([1.0, 2.0], name="w"))
    made = ir.Graph([value], [out], nodes=[node], initializers=[weight], opset_imports={"": 20})
    return ir.Model(made, ir_version=10, producer_name="pytorch")


def test_names_of_caches_are_those_of_optimum() -> None:
    assert onnx.cache_names(2, cross=False, past=True) == [
        "past_key_values.0.key", "past_key_values.0.value", "past_key_values.1.key", "past_key_values.1.value"
    ]  # fmt: skip
    assert onnx.cache_names(1, cross=True, past=False) == [
        "present.0.decoder.key", "present.0.decoder.value", "present.0.encoder.key", "present.0.encoder.value"
    ]  # fmt: skip


def test_inputs_outputs_and_dimensions_get_their_names(tmp_path: Path) -> None:
    model = graph(ir.SymbolicDim("s10"))
    axes = {0: "batch_size"}
    onnx.finish(model, [onnx.Port("x", "input_ids", axes)], [onnx.Port("y", "logits", axes)])
    assert not onnx.save(model, tmp_path / "m.onnx")
    written = (tmp_path / "m.onnx").read_bytes()
    assert b"somewhere" not in written
    assert b"pytorch" not in written
    again = ir.load(str(tmp_path / "m.onnx"))
    assert [(one.name, str(one.shape)) for one in (*again.graph.inputs, *again.graph.outputs)] == [
        ("input_ids", "[batch_size,4]"),
        ("logits", "[batch_size,4]"),
    ]
    assert onnx.opset_of(again) == 20
    assert onnx.other_domains(again) == []


def test_a_batch_that_was_frozen_is_refused() -> None:
    with pytest.raises(InputError, match="input_ids gets a fixed size"):
        onnx.finish(
            graph(1), [onnx.Port("x", "input_ids", {0: "batch_size"})], [onnx.Port("y", "logits", {})]
        )


def test_large_weights_go_beside_the_graph(tmp_path: Path) -> None:
    import numpy as np

    model = graph(ir.SymbolicDim("s10"))
    model.graph.initializers["w"].const_value = ir.tensor(np.ones(1000, dtype=np.float32), name="w")
    assert onnx.weight_bytes(model) == 4000
    assert onnx.save(model, tmp_path / "m.onnx", limit=3999)
    assert (tmp_path / "m.onnx_data").stat().st_size >= 4000
    assert (tmp_path / "m.onnx").stat().st_size < 1000
    assert not onnx.save(model, tmp_path / "n.onnx", limit=4000)
    assert not (tmp_path / "n.onnx_data").exists()
    assert onnx.settings(["m.onnx"], half=False) == {"use_external_data_format": {"m.onnx": True}}
