"""Device, precision and placement: the choices behind `auto`."""

from __future__ import annotations

import pytest
import torch

from llmkit.errors import OptionError
from llmkit.runtime.device import choose_device, choose_dtype, plan_placement

GIB = 2**30


def test_what_fits_one_gpu_goes_on_the_one_with_most_room() -> None:
    placement = plan_placement(3 * GIB, [4 * GIB, 8 * GIB], "cuda", 64 * GIB)
    assert (placement.device, placement.device_map) == ("cuda:1", None)


def test_what_fits_no_single_gpu_is_spread() -> None:
    placement = plan_placement(9 * GIB, [8 * GIB, 8 * GIB], "cuda", 64 * GIB)
    assert (placement.device, placement.device_map) == ("cuda:0", "auto")
    assert "2 GPUs" in placement.reason


def test_what_fits_no_gpus_is_offloaded() -> None:
    placement = plan_placement(30 * GIB, [8 * GIB], "cuda", 64 * GIB)
    assert placement.device_map == "auto"
    assert "offloaded" in placement.reason


@pytest.mark.parametrize(("need", "spread"), [(4 * GIB, None), (9 * GIB, "auto")])
def test_on_a_cpu_what_does_not_fit_memory_goes_to_disk(need: int, spread: str | None) -> None:
    assert plan_placement(need, [], "cpu", 8 * GIB).device_map == spread


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "cuda:x", "", "mps:0"])
def test_an_unknown_device_is_bad_usage(device: str) -> None:
    with pytest.raises(OptionError) as caught:
        choose_device(device, 0)
    assert caught.value.option == "device"


def test_a_device_that_is_not_there_is_named() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(OptionError, match=rf"cuda:{count}: .* {count} CUDA devices") as caught:
        choose_device(f"cuda:{count}", 0)
    assert caught.value.option == "device"


@pytest.mark.parametrize(
    ("stored", "bf16_cpu", "chosen"),
    [
        (torch.float16, True, torch.float32),  # emulated on CPUs: many times slower than float32
        (torch.float16, False, torch.float32),
        (torch.bfloat16, True, torch.bfloat16),
        (torch.bfloat16, False, torch.float32),
        (torch.float32, True, torch.float32),
        (torch.float64, True, torch.float32),
    ],
)
def test_auto_dtype_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, stored: torch.dtype, bf16_cpu: bool, chosen: torch.dtype
) -> None:
    monkeypatch.setattr("llmkit.runtime.device.cpu_has_bfloat16", lambda: bf16_cpu)
    dtype, reason = choose_dtype("auto", stored, "cpu")
    assert dtype == chosen
    assert reason


def test_auto_dtype_on_a_gpu_keeps_what_is_stored() -> None:
    assert choose_dtype("auto", torch.float16, "cuda:0")[0] == torch.float16
    assert choose_dtype("auto", torch.float32, "cuda:0")[0] == torch.float32


def test_a_dtype_that_was_asked_for_is_taken() -> None:
    assert choose_dtype("bfloat16", torch.float32, "cpu")[0] == torch.bfloat16


def test_an_unknown_dtype_is_bad_usage() -> None:
    with pytest.raises(OptionError, match="int8") as caught:
        choose_dtype("int8", torch.float32, "cpu")
    assert caught.value.option == "dtype"
