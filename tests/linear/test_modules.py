"""Quantized layers as modules: threads, gradients, copies, state dicts."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from llmkit.errors import InputError
from llmkit.linear import cpu, native_build
from llmkit.linear.formats import quantize
from llmkit.linear.modules import QuantizedEmbedding, QuantizedLinear
from llmkit.linear.registry import default, find


@pytest.fixture(params=["cpu", "torch", "reference"])
def kernel(request):
    if request.param == "cpu":
        try:
            native_build.load("portable")
        except native_build.CannotBuildError:
            pytest.skip("there is no C++ compiler here")
    return find(request.param)


def layer(kernel, bits=8, outputs=96, inputs=64, dtype=torch.float32):
    made = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, inputs, generator=made)
    return QuantizedLinear(
        quantize(weight, bits, 32), torch.randn(outputs, generator=made).to(dtype), kernel, dtype
    )


def rows(count=5, inputs=64, dtype=torch.float32):
    return torch.randn(count, inputs, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_types_and_shapes(kernel, bits, dtype):
    one = layer(kernel, bits)
    x = rows(6, dtype=dtype)
    exact = x.double() @ one.quantized().dequantize().double().T + one.bias.double()
    for given in (x, x.view(2, 3, 64), torch.cat([x, x], 1)[:, :64]):  # the last is not contiguous
        found = one(given)
        assert found.dtype == dtype
        assert found.shape == (*given.shape[:-1], 96)
        assert (found.view(6, 96) - exact).square().mean().sqrt() < 0.02 * exact.std()
    assert one(x[:0]).shape == (0, 96)
    with pytest.raises(InputError, match="64 inputs got 63"):
        one(x[:, :63])


def test_gradients_reach_the_input(kernel):
    one = layer(kernel)
    x = rows().requires_grad_()
    one(x).square().sum().backward()
    with torch.no_grad():
        expected = 2 * one(x) @ one.quantized().dequantize()
    assert torch.allclose(x.grad, expected, rtol=1e-4, atol=1e-3)
    assert not any(tensor.requires_grad for tensor in one.parameters())


def test_copies_are_their_own(kernel):
    one, x = layer(kernel, 4), rows()
    expected = one(x)
    for twin in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert torch.equal(twin(x), expected)
        next(iter(twin.packed().tensors.values())).zero_()
        assert not torch.equal(twin(x), expected)
    assert torch.equal(one(x), expected)


def test_a_change_of_dtype_leaves_the_weight(kernel):
    one, x = layer(kernel, 4), rows()
    before = one.quantized()
    one.half()
    assert one.weight.dtype == torch.float16
    assert one.weight.shape == (96, 64)
    one.float()
    assert torch.equal(one.quantized().values, before.values)
    assert torch.equal(one.quantized().scale, before.scale)
    assert torch.isfinite(one(x)).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_state_dicts(kernel, bits):
    one, x = layer(kernel, bits), rows()
    state = one.state_dict()
    assert set(state) == {"weight_packed", "weight_scale", "weight_shape", "bias"}
    other = layer(kernel, bits)
    other.load_state_dict({**state, "weight_packed": torch.zeros_like(state["weight_packed"])})
    assert not torch.equal(other(x), one(x))
    other.load_state_dict(state)
    assert torch.equal(other(x), one(x))
    del state["weight_scale"]
    with pytest.raises(RuntimeError, match="weight_scale"):
        other.load_state_dict(state)


def test_an_embedding_and_its_output_layer(kernel):
    weight = quantize(torch.randn(50, 64, generator=torch.Generator().manual_seed(0)), 8)
    if kernel.rows is None:
        pytest.skip("this kernel has no rows")
    packed = kernel.packed(weight)
    table = QuantizedEmbedding(packed, kernel, torch.float32, 2.0)
    ids = torch.tensor([[0, 49], [17, 16]])
    assert torch.equal(table(ids), 2 * weight.dequantize()[ids])
    head = QuantizedLinear(packed, None, kernel)
    assert torch.allclose(head(rows()), rows() @ weight.dequantize().T, atol=0.5)
    assert table.to(torch.bfloat16)(ids).dtype == torch.bfloat16


@pytest.mark.parametrize("bits", [8, 4])
def test_threads_do_not_change_a_bit(bits):
    if default().name != "cpu":
        pytest.skip("there is no C++ compiler here")
    one = layer(find("cpu"), bits, outputs=1000, inputs=256)
    before = torch.get_num_threads()
    try:
        for count in (1, 40):
            x, found = rows(count, 256), []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                found.append(one(x))
            assert torch.equal(found[0], found[1])
            assert torch.equal(found[0], found[2])
    finally:
        torch.set_num_threads(before)


def test_without_a_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for function in (native_build._tried, native_build.best):
        function.cache_clear()
    try:
        assert default().name == "torch"
    finally:
        for function in (native_build._tried, native_build.best):
            function.cache_clear()
    assert default("cuda:0").name == "torch"


def test_the_source_includes_nothing_of_torch():
    folder = native_build.SOURCE.folder
    assert sorted(path.name for path in folder.iterdir()) == sorted(native_build.SOURCE.files)
    lines = [line for name in native_build.SOURCE.files for line in (folder / name).read_text().splitlines()]
    assert "torch" not in "".join(line for line in lines if "#include" in line)


def test_a_weight_that_the_native_code_refuses():
    """Sizes that it would read beyond are an error, whoever made the layout."""
    if default().name != "cpu":
        pytest.skip("there is no C++ compiler here")
    one = layer(find("cpu"), 4)
    packed = one.packed()
    packed.group = 24
    with pytest.raises(InputError, match="groups of 24"):
        cpu.product(rows(), packed)
