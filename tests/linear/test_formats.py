"""Rounding to 8 and 4 bits, and the layout of compressed-tensors' files."""

from __future__ import annotations

import pytest
import torch

from llmkit.errors import InputError
from llmkit.linear.formats import fitting_group, pack_int32, quantize, unpack_int32

# Values and what `pack_to_int32` of compressed-tensors 0.20.1 makes of them.
PACKED = [
    (8, [[-127, -1, 0, 1, 127], [5, -6, 7, -8, 100]], [[-2122285311, 255], [2022144645, 228]]),
    (
        4,
        [[-8, -1, 0, 1, 7, 3, -4, 2, 5, -5], [1, 2, 3, 4, 5, 6, 7, -8, -7, -6]],
        [[-1530947472, 61], [267242409, 33]],
    ),
]


@pytest.mark.parametrize(("bits", "values", "packed"), PACKED)
def test_layout_of_files(bits, values, packed):
    signed = torch.tensor(values, dtype=torch.int8)
    mask = (1 << (len(values[0]) % (32 // bits) * bits)) - 1  # what lies behind the last value is free
    found = pack_int32(signed, bits)
    assert found[:, 0].tolist() == [row[0] for row in packed]
    assert (found[:, 1] & mask).tolist() == [row[1] & mask for row in packed]
    for given in (found, torch.tensor(packed, dtype=torch.int32)):
        assert torch.equal(unpack_int32(given, bits, signed.shape[1]), signed)


def test_eight_bits_are_the_nearest():
    weight = torch.tensor([[1.27, -0.634, 0.0, 0.0149], [0.0, 0.0, 0.0, 0.0]])
    found = quantize(weight, 8)
    assert found.scale.dtype == torch.bfloat16
    step = float(found.scale[0])
    assert step == pytest.approx(0.01, rel=2**-8)
    assert found.values.tolist() == [[min(round(x / step), 127) for x in weight[0].tolist()], [0] * 4]
    assert (found.dequantize() - weight).abs().max() <= step / 2 + 1.27 * 2**-8


@pytest.mark.parametrize("group", [16, 32, 128])
def test_four_bits_beat_the_plain_scale(group):
    """The largest magnitude as 7 is what many do; the chosen scale has a smaller squared error."""
    weight = torch.randn(24, 256, generator=torch.Generator().manual_seed(0))
    found = quantize(weight, 4, group)
    assert found.scale.shape == (24, 256 // group)
    assert found.values.min() >= -8
    assert found.values.max() <= 7
    rows = weight.view(24, -1, group)
    plain = rows.abs().amax(-1, keepdim=True) / 7
    theirs = ((rows / plain).round() * plain - rows).square().mean()
    assert (found.dequantize() - weight).square().mean() < 0.9 * theirs


@pytest.mark.parametrize("kind", ["normal", "ties", "zeros", "tiny"])
def test_four_bits_are_those_of_the_formula(kind):
    """The formula, a step at a time: the same bits, ties of a group's largest weights included."""
    weight = torch.randn(700, 96, generator=torch.Generator().manual_seed(0))
    if kind == "ties":
        weight = weight.mul(2).round()
    if kind == "zeros":
        weight[:, :40] = 0
    if kind == "tiny":
        weight *= 1e-40  # scales round to 0
    rows = weight.view(700, 3, 32)
    top = rows.gather(-1, rows.abs().argmax(-1, keepdim=True))[..., 0]
    best, scale = torch.full_like(top, torch.inf), torch.zeros(top.shape, dtype=torch.bfloat16)
    for reach in [*(-8.6 + 0.2 * step for step in range(8)), *(6.6 + 0.2 * step for step in range(8))]:
        one = (top / reach).to(torch.bfloat16)
        by = one.to(torch.float32)[..., None]
        values = torch.where(by == 0, 0.0, rows / by).round().clamp(-8, 7)
        squared = (rows - values * by).square().sum(-1)
        scale, best = torch.where(squared < best, one, scale), torch.minimum(squared, best)
    by = scale.to(torch.float32)[..., None]
    values = torch.where(by == 0, 0.0, rows / by).round().clamp(-8, 7).to(torch.int8)
    found = quantize(weight, 4)
    assert torch.equal(found.values, values.view(700, 96))
    assert torch.equal(found.scale.view(torch.int16), scale.view(torch.int16))


def test_scales_that_are_given():
    weight = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    first = quantize(weight, 8)
    again = quantize(first.dequantize(torch.bfloat16), 8, scale=first.scale)
    assert torch.equal(first.values, again.values)  # bfloat16 numbers keep the 8 bits


def test_groups_that_fit():
    assert [fitting_group(inputs, 128) for inputs in (576, 688, 2048, 100)] == [64, 16, 128, None]
    assert fitting_group(2048, 32) == 32


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: quantize(torch.zeros(2, 32), 3), "bits: 3"),
        (lambda: quantize(torch.zeros(2, 33), 4, 32), "does not divide"),
        (lambda: quantize(torch.tensor([[1.0, torch.nan]]), 8), "not finite"),
        (lambda: fitting_group(64, 24), "group: 24"),
        (lambda: unpack_int32(torch.zeros(2, 3, dtype=torch.int32), 8, 100), "100 inputs"),
        (lambda: unpack_int32(torch.zeros(2, 25), 8, 100), "float32"),
    ],
)
def test_what_is_refused(run, message):
    with pytest.raises(InputError, match=message):
        run()
