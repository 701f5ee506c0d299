"""The proof: it passes right kernels, and finds each of those that are broken on purpose."""

from __future__ import annotations

import pytest
import torch

import llmkit.linear
from llmkit.errors import InputError
from llmkit.linear import cpu, native_build
from llmkit.linear.formats import QuantizedWeight, unpack_int32
from llmkit.linear.registry import LinearKernel, find, names
from llmkit.linear.verify import verify


def weight_of(packed):
    values = unpack_int32(packed.tensors["weight_packed"], packed.bits, packed.inputs)
    return QuantizedWeight(values, packed.tensors["weight_scale"], packed.bits, packed.group)


def multiply(x, numbers, bias):
    found = x.double() @ numbers.double().T
    return (found if bias is None else found + bias.double()).to(x.dtype)


def failures(kernel, **options):
    return {one.name: one.note for one in verify(kernel, **options) if one.passed is False}


def declared(function, **options):
    return LinearKernel("mine", function, devices=("cpu",), **options)


def has_compiler():
    try:
        native_build.load("portable")
    except native_build.CannotBuildError:
        return False
    return True


@pytest.mark.parametrize("level", native_build.levels())
def test_the_native_kernel_on_every_instruction_set(level, monkeypatch):
    if not has_compiler():
        pytest.skip("there is no C++ compiler here")
    monkeypatch.setattr(cpu, "LEVEL", level)
    quick = level != native_build.levels()[0]
    results = list(verify(find("cpu"), quick=quick))
    assert [one for one in results if not one.passed] == []  # nothing is left unclaimed
    assert len(results) > (15 if quick else 50)


@pytest.mark.parametrize("name", ["torch", "reference"])
def test_the_other_kernels(name):
    assert failures(find(name), quick=True) == {}


def no_bias(x, packed):
    return multiply(x, weight_of(packed).dequantize(), None)


def one_scale(x, packed):
    weight = weight_of(packed)
    scale = weight.scale[:, :1].expand_as(weight.scale)
    return multiply(
        x, QuantizedWeight(weight.values, scale, weight.bits, weight.group).dequantize(), packed.bias
    )


def halves_swapped(x, packed):
    weight = weight_of(packed)
    values = weight.values.view(len(weight.values), -1, 2).flip(2).reshape(weight.values.shape)
    return multiply(
        x, QuantizedWeight(values, weight.scale, weight.bits, weight.group).dequantize(), packed.bias
    )


def last_input_lost(x, packed):
    numbers = weight_of(packed).dequantize()
    numbers[:, -1] = 0
    return multiply(x, numbers, packed.bias)


def last_output_wrong(x, packed):
    found = multiply(x, weight_of(packed).dequantize(), packed.bias)
    if packed.outputs % 16:
        found[..., -1] = 0
    return found


def many_rows_wrong(x, packed):
    found = multiply(x, weight_of(packed).dequantize(), packed.bias)
    flat = found.view(-1, packed.outputs)
    if len(flat) > 64:
        flat[64:] = flat[:1]
    return found


def one_scale_for_all_rows(x, packed):
    step = x.abs().max() / 127
    return multiply((x / step).round() * step, weight_of(packed).dequantize(), packed.bias)


def nan_dropped(x, packed):
    return multiply(x.nan_to_num(0, 0, 0), weight_of(packed).dequantize(), packed.bias)


def wrong_type(x, packed):
    return multiply(x, weight_of(packed).dequantize(), packed.bias).double()


def flat_output(x, packed):
    return multiply(x, weight_of(packed).dequantize(), packed.bias).reshape(-1, packed.outputs)


def raises(x, packed):
    raise RuntimeError("no such shape")


@pytest.mark.parametrize(
    ("function", "case", "note"),
    [
        (no_bias, "8 bits, several rows", "right without the bias"),
        (one_scale, "4 bits, several rows", "one scale where each group has its own"),
        (halves_swapped, "4 bits, one row", "upper half of a byte"),
        (last_input_lost, "8 bits, a long sum", ""),
        (last_output_wrong, "4 bits, outputs that fill no vector", ""),
        (many_rows_wrong, "8 bits, many rows", r"wrong in rows \[64"),
        (nan_dropped, "8 bits, NaN stays in its row", "nan in x gives finite outputs"),
        (wrong_type, "8 bits, one row", "gives torch.float64"),
        (flat_output, "8 bits, three dimensions", "for x of"),
        (raises, "4 bits, one row", "RuntimeError: no such shape"),
    ],
)
def test_broken_kernels(function, case, note):
    import re

    found = failures(declared(function, dtypes=("float32",)))
    assert case in found, found
    assert re.search(note, found[case]), found[case]


def test_a_row_that_depends_on_its_batch():
    kernel = declared(one_scale_for_all_rows, dtypes=("float32",), activations="int8", row_independent=True)
    found = failures(kernel, quick=True)
    assert "a row has other bits in a batch" in found["8 bits, a row alone and in a batch"]
    honest = declared(one_scale_for_all_rows, dtypes=("float32",), activations="int8")
    assert "8 bits, a row alone and in a batch" not in failures(honest, quick=True)


def test_rounded_activations_must_be_declared():
    """By one who says nothing of rounding, exact products are expected."""
    found = failures(declared(one_scale_for_all_rows, dtypes=("float32",)), quick=True)
    assert "8 bits, normal activations" in found


def test_a_layout_that_loses_something():
    right = find("cpu")
    broken = LinearKernel(
        "mine",
        right.function,
        pack=right.pack,
        unpack=lambda packed: QuantizedWeight(
            torch.zeros(packed.outputs, packed.inputs, dtype=torch.int8),
            torch.ones(packed.outputs, packed.inputs // packed.group),
            packed.bits,
            packed.group,
        ),
    )
    found = [one for one in verify(broken, quick=True) if "comes back" in one.name]
    assert [one.passed for one in found] == [False, False]


def test_a_kernel_from_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import llmkit.linear\n"
        "from llmkit.linear.reference import product\n"
        "@llmkit.linear.kernel(bits=[8], dtypes=['float32'], devices=['cpu'])\n"
        "def times(x, weight):\n"
        "    return product(x, weight)\n"
        "def bare(x, weight):\n"
        "    return x\n"
        "number = 3\n"
    )
    kernel = find(f"{file}:times")
    assert (kernel.bits, kernel.file) == ((8,), file)
    assert kernel.digest()
    assert failures(kernel, quick=True) == {}
    for name, message in [
        (f"{file}:bare", "is not declared; put this line above it"),
        (f"{file}:number", "is not a function"),
        (f"{file}:time", "did you mean times"),
        (str(file), "give the function in it"),
        (f"{tmp_path}/none.py:f", "no file"),
        ("cpi", "did you mean cpu"),
    ]:
        with pytest.raises(InputError, match=message):
            find(name)
    assert set(names()) >= {"cpu", "torch", "reference"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": [3]}, "bits"),
        ({"activations": "int4"}, "activations 'int4'"),
        ({"dtypes": []}, "no dtype"),
        ({"pack": lambda weight: {}}, "pack and unpack belong together"),
    ],
)
def test_declarations_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        llmkit.linear.kernel(**options)(lambda x, weight: x)
