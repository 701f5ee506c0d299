"""TensorFlow and Flax checkpoints give the outputs that TensorFlow and Flax gave (make_checkpoints.py)."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from llmkit.convert.proof import pick_output
from llmkit.convert.source import SourceModel, load_source
from llmkit.errors import InputError
from llmkit.formats import flax
from llmkit.formats.tensorflow import names
from llmkit.runtime.spec import ModelSpec

IDS = torch.tensor([[5, 11, 3, 17, 8, 8, 21, 4, 19, 6]])
DECODER_IDS = torch.tensor([[2, 9, 14, 7, 20]])
with zipfile.ZipFile(Path(__file__).with_name("checkpoints.zip")) as archive:
    CASES = sorted({"/".join(name.split("/")[:2]) for name in archive.namelist()})


def load(folder: Path) -> SourceModel:
    return load_source(ModelSpec(str(folder)))


def difference(checkpoints: Path, case: str) -> float:
    """The largest difference from what the framework itself gave."""
    model = load(checkpoints / case).model
    container, family = case.split("/")
    kept = checkpoints / ("flax" if container.startswith("flax") else "tensorflow") / family / "output.npy"
    inputs = {"input_ids": IDS}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = DECODER_IDS
    with torch.no_grad():
        output = pick_output(model(**inputs)).numpy()
    expected = np.load(kept)
    assert output.shape == expected.shape
    return float(np.abs(output - expected).max())


def test_all_containers_and_families_are_there() -> None:
    families = {case.split("/")[1] for case in CASES if case.startswith("flax/")}
    assert len(families) == 17
    assert {case.split("/")[1] for case in CASES if case.startswith("tensorflow/")} == families - {"bloom"}
    assert {case.split("/")[0] for case in CASES} >= {"shards", "saved_model", "ckpt", "flax-bfloat16"}


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_the_framework(case: str, checkpoints: Path) -> None:
    # Outputs reach 3, where float32 has steps of 2.4e-7.
    assert difference(checkpoints, case) < 3e-6


@pytest.mark.parametrize("family", ["bart", "mbart", "marian", "pegasus"])
@pytest.mark.parametrize("container", ["tensorflow", "flax"])
def test_the_bias_of_the_logits_is_kept(container: str, family: str, checkpoints: Path) -> None:
    bias = load(checkpoints / container / family).model.state_dict()["final_logits_bias"]
    if container == "tensorflow":
        with h5py.File(checkpoints / container / family / "tf_model.h5") as file:
            expected = np.asarray(file["final_logits_bias/final_logits_bias:0"])
        assert np.array_equal(bias.numpy(), expected)
    assert float(bias.abs().max()) > 0.4


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("container", ["shards", "saved_model", "ckpt"])
def test_containers_hold_the_same_weights(container: str, family: str, checkpoints: Path) -> None:
    whole = load(checkpoints / "tensorflow" / family).model.state_dict()
    other = load(checkpoints / container / family).model.state_dict()
    assert whole.keys() == other.keys()
    assert all(torch.equal(whole[name], other[name]) for name in whole)


def test_bfloat16_is_read_exactly_and_told(checkpoints: Path) -> None:
    half = load(checkpoints / "flax-bfloat16/gpt2")
    assert half.stored == "bfloat16"
    # The weights are multiples of 1/16 or 1/64, which bfloat16 holds exactly.
    full = load(checkpoints / "flax/gpt2").model.state_dict()
    assert all(torch.equal(full[name], value) for name, value in half.model.state_dict().items())


@pytest.mark.parametrize(
    ("module", "table", "case"),
    [
        (names, {"_KERNEL_AXES": {}}, "tensorflow/bert"),
        (names, {"_KERNEL_AXES": {2: (0, 1)}}, "tensorflow/bart"),
        (names, {"_LAST": {**names._LAST, "gamma": "bias", "beta": "weight"}}, "tensorflow/bert"),
        (names, {"_LAST": {**names._LAST, "embeddings": "embeddings"}}, "tensorflow/gpt2"),
    ],
)
def test_a_wrong_table_is_noticed(
    module: Any, table: dict[str, Any], case: str, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in table.items():
        monkeypatch.setattr(module, name, value)
    try:
        assert difference(checkpoints, case) > 0.1
    except InputError:
        pass


def copy(checkpoints: Path, case: str, tmp_path: Path) -> Path:
    shutil.copytree(checkpoints / case, tmp_path / "m")
    return tmp_path / "m"


def change_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


@pytest.mark.parametrize("container", ["tensorflow", "flax", "saved_model"])
def test_arrays_without_a_place_are_named(container: str, checkpoints: Path, tmp_path: Path) -> None:
    folder = copy(checkpoints, f"{container}/bert", tmp_path)
    change_config(folder, architectures=["BertModel"])
    with pytest.raises(InputError, match="predictions"):
        load(folder)


@pytest.mark.parametrize("container", ["tensorflow", "flax"])
def test_weights_that_are_missing_are_named(container: str, checkpoints: Path, tmp_path: Path) -> None:
    folder = copy(checkpoints, f"{container}/bert", tmp_path)
    change_config(folder, num_hidden_layers=3)
    with pytest.raises(InputError, match=r"layer\.2\."):
        load(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_size": 16},
        {"architectures": None},
        {"architectures": ["os"]},
        {"model_type": "zz"},
        {"vocab_size": "x"},
    ],
)
def test_a_config_of_another_model_is_refused(
    values: dict[str, Any], checkpoints: Path, tmp_path: Path
) -> None:
    folder = copy(checkpoints, "tensorflow/bert", tmp_path)
    change_config(folder, **values)
    with pytest.raises(InputError):
        load(folder)


def test_a_missing_config_or_shard_is_named(checkpoints: Path, tmp_path: Path) -> None:
    folder = copy(checkpoints, "shards/bert", tmp_path)
    (folder / "tf_model-00002-of-00002.h5").unlink()
    with pytest.raises(InputError, match="tf_model-00002-of-00002"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json"):
        load(folder)


def test_large_arrays_that_flax_cut_in_chunks_are_joined(tmp_path: Path) -> None:
    import msgpack

    def array(values: np.ndarray) -> msgpack.ExtType:
        content = (list(values.shape), values.dtype.name, values.tobytes())
        return msgpack.ExtType(1, msgpack.packb(content))

    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    chunks = {"0": array(values.ravel()[:7]), "1": array(values.ravel()[7:])}
    tree = {"a": {"__msgpack_chunked_array__": True, "shape": {"0": 3, "1": 4}, "chunks": chunks}}
    (tmp_path / "flax_model.msgpack").write_bytes(msgpack.packb({"m": tree}))
    (found,), _ = flax.read_flax(tmp_path / "flax_model.msgpack")
    assert found.name == "m/a"
    assert np.array_equal(found.values, values)
