"""MLX's layout, against numbers that mlx.core gave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from llmkit.errors import InputError
from llmkit.formats import mlx

# mx.quantize(1.5 * sin(0.7 * i) for i in 0..63, group_size=32) of mlx 0.32.4, and what mx.dequantize gave for
# the first five values.
QUANTIZED = {
    4: (
        [4290056248, 4216390541, 3054516447, 1627622911, 271048699, 41811894, 668990305, 2097137184],
        [-0.186143696308136, -0.1870420128107071],
        [1.489149570465088, 1.4963361024856567],
        [0.0, 0.9307184815406799, 1.489149570465088, 1.3030059337615967, 0.558431088924408],
    ),
    8: (
        [285289856, 4293963093, 19627729, 4054800146, 712823038, 2975404800, 2043608818, 1528037416,
         3456103860, 369108856, 4277581406, 2520780, 4156055575, 611633918, 3126991104, 1925774840],
        [-0.0116339810192585, -0.011599504388868809],
        [1.489149570465088, 1.4963361024856567],
        [0.0, 0.9656203985214233, 1.4775155782699585, 1.2913719415664673, 0.5002611875534058],
    ),
}  # fmt: skip


def wave() -> torch.Tensor:
    return (torch.sin(torch.arange(64, dtype=torch.float64) * 0.7) * 1.5).float().reshape(1, 64)


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_that_mlx_packed_are_unpacked(bits: int) -> None:
    words, scales, biases, first = QUANTIZED[bits]
    packed = mlx.Packed(
        torch.tensor([words], dtype=torch.uint32), torch.tensor([scales]), torch.tensor([biases]), 32
    )
    found = mlx.unpack(packed, bits)
    assert found.shape == (1, 64)
    assert found[0, :5].tolist() == pytest.approx(first, abs=1e-6)
    assert float((found - wave()).abs().max()) < max(map(abs, scales))


@pytest.mark.parametrize(("bits", "columns", "group"), [(4, 128, 64), (8, 96, 32), (4, 688, None)])
def test_packing_errs_by_half_a_step_at_most(bits: int, columns: int, group: int | None) -> None:
    weight = torch.randn(6, columns, generator=torch.Generator().manual_seed(1))
    packed = mlx.pack(weight, bits, torch.float32)
    assert (packed.group if packed else None) == group
    if packed is None:
        return
    assert packed.weight.shape == (6, columns * bits // 32)
    assert packed.weight.dtype == torch.uint32
    error = (mlx.unpack(packed, bits) - weight).abs().reshape(6, -1, packed.group).amax(-1)
    assert bool((error <= packed.scales * 0.5001).all())
    assert packed.scales.shape == (6, columns // packed.group)
    # Rows of one value have no steps.
    flat = mlx.pack(torch.full((2, 64), 3.0), bits, torch.float16)
    assert flat is not None
    assert mlx.unpack(flat, bits).tolist() == torch.full((2, 64), 3.0).tolist()


def test_rotary_settings_are_where_mlx_reads_them() -> None:
    config = {"model_type": "llama", "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}
    assert mlx.config_of(config, "m")["rope_theta"] == 5e5
    assert mlx.config_of(config, "m")["rope_scaling"] is None
    config["rope_parameters"] = {"rope_theta": 1e4, "rope_type": "linear", "factor": 4.0}  # type: ignore[assignment]
    assert mlx.config_of(config, "m")["rope_scaling"] == {
        "type": "linear",
        "rope_type": "linear",
        "factor": 4.0,
    }
    gemma = {
        "model_type": "gemma3_text",
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "rope_parameters": {
            "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
            "full_attention": {"rope_theta": 1e6, "rope_type": "default"},
        },
    }
    found = mlx.config_of(gemma, "m")
    assert (found["sliding_window_pattern"], found["rope_local_base_freq"], found["rope_theta"]) == (
        2,
        1e4,
        1e6,
    )


@pytest.mark.parametrize(
    ("config", "part"),
    [
        (
            {
                "model_type": "gemma3_text",
                "layer_types": ["full_attention", "full_attention", "sliding_attention"],
            },
            "layer_types",
        ),
        ({"model_type": "gpt2", "n_embd": 8, "n_positions": 4, "n_inner": 24}, "4 x 8"),
        ({"model_type": "gpt_neox", "hidden_size": 8, "intermediate_size": 16}, "4 x 8"),
    ],
)
def test_configs_that_mlx_lm_would_read_otherwise_are_refused(config: dict[str, object], part: str) -> None:
    with pytest.raises(InputError, match=part):
        mlx.config_of(config, "m")


def test_unknown_architectures_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="roformer"):
        mlx.family_for("roformer", "m")


def test_shards_have_an_index(tmp_path: Path) -> None:
    tensors = {f"model.{i}.weight": torch.full((16, 16), float(i)) for i in range(3)}
    mlx.write(
        tmp_path, tensors, mlx.FAMILIES["llama"], dtype="float32", bits=None, tables=set(), tied=set(),
        progress=lambda done, total: None, max_shard_size="1KB",
    )  # fmt: skip
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert sorted(set(index["weight_map"].values())) == [
        f"model-{i:05d}-of-00003.safetensors" for i in (1, 2, 3)
    ]
    assert index["metadata"]["total_size"] == 3 * 1024
    with safe_open(tmp_path / "model-00001-of-00003.safetensors", "pt") as file:
        assert file.metadata() == {"format": "mlx"}
    kept = tmp_path / "model-00002-of-00003.safetensors"
    kept.write_bytes(kept.read_bytes()[:-1024] + bytes(1024))
    mlx.write(
        tmp_path, tensors, mlx.FAMILIES["llama"], dtype="float32", bits=None, tables=set(), tied=set(),
        progress=lambda done, total: None, max_shard_size="1KB", parts=Finished(kept.name),
    )  # fmt: skip
    assert kept.read_bytes().endswith(bytes(1024)), "a finished part is not written again"
    tensors["model.1.weight"] = torch.zeros(16, 16)
    again = mlx.read(tmp_path, list(tensors), mlx.FAMILIES["llama"], None)
    assert all(torch.equal(again[name], value) for name, value in tensors.items())
    with pytest.raises(InputError, match=r"model\.2"):
        mlx.read(tmp_path, list(tensors)[:2], mlx.FAMILIES["llama"], None)


class Finished:
    """Parts of which one was finished by an earlier command."""

    def __init__(self, name: str) -> None:
        self.name = name

    def is_whole(self, name: str) -> bool:
        return name == self.name

    def add(self, name: str) -> None:
        assert name != self.name
