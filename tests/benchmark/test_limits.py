"""Work of a model counted by hand, limits from invented speeds, and signs of load."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmkit.benchmark.limits import ModelWork, bounds, calibrate, model_work, signs_of_load
from llmkit.benchmark.results import MachineLimits, Quantity
from llmkit.benchmark.systems import BenchmarkPrompt
from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec
from tests.conftest import TinyModel

# 1,000 bytes a step, 10 bytes of cache a token; 400 weights, 100 of them in the head; no attention scores.
WORK = ModelWork(1000, 400, 100, 0, 10, 0, 1200, quantized=False)


def prompt(length: int, new_tokens: int) -> BenchmarkPrompt:
    return BenchmarkPrompt(tuple(range(length)), "", new_tokens)


def test_the_work_of_a_llama_is_what_its_config_says(tiny_model: TinyModel) -> None:
    model: Any = load(ModelSpec(str(tiny_model("llama")), dtype="float32")).model
    work = model_work(model)
    assert work is not None
    vocabulary = model.config.vocab_size
    # Per layer: q and o of 32 x 32, k and v of 16 x 32, gate, up and down of 32 x 64.
    layers = 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 32 * 64)
    assert work.step_weights == layers + 32 * vocabulary
    assert work.head_weights == 32 * vocabulary
    assert work.cache_bytes == 2 * 2 * 2 * 8 * 4  # keys and values, layers, heads, width, bytes
    assert work.attention_width == 2 * 4 * 8
    norms = 5 * 32  # two a layer, and the last
    step = 4 * (work.step_weights + norms)
    assert step <= work.step_bytes <= step + 64  # and the frequencies of the positions
    embedding = 0 if model.config.tie_word_embeddings else 4 * 32 * vocabulary
    assert work.model_bytes == work.step_bytes + embedding


def test_a_quantized_model_reads_fewer_bytes(tiny_model: TinyModel) -> None:
    name = str(tiny_model("llama"))
    plain = model_work(load(ModelSpec(name, dtype="float32")).model)
    small = model_work(load(ModelSpec(name, dtype="float32", quantize="int8")).model)
    assert plain is not None
    assert small is not None
    assert small.step_weights == plain.step_weights
    assert plain.step_bytes / 4 < small.step_bytes < plain.step_bytes / 2
    assert (plain.quantized, small.quantized) == (False, True)


def test_an_encoder_counts_for_the_prompt_alone(tiny_model: TinyModel) -> None:
    work = model_work(load(ModelSpec(str(tiny_model("bart")), dtype="float32")).model)
    assert work is not None
    # Per layer of the encoder: q, k, v and o of 32 x 32, and two of 32 x 64.
    assert work.encoder_weights == 2 * (4 * 32 * 32 + 2 * 32 * 64)
    # The decoder's have a second attention.
    assert work.step_weights - work.head_weights == 2 * (8 * 32 * 32 + 2 * 32 * 64)


def test_experts_have_no_known_limit() -> None:
    class Config:
        num_local_experts = 8

        def get_text_config(self, decoder: bool) -> Config:
            return self

    class Model:
        config = Config()

    assert model_work(Model()) is None


def test_decoding_is_bound_by_memory() -> None:
    found = bounds(WORK, MachineLimits(12_000, 1e12, "float32"), prompt(16, 8), [prompt(16, 8)])
    # 1,000 bytes of weights and 10 for each of 16 + 4 tokens.
    assert found["decode"].value == pytest.approx(10.0)
    assert found["decode"].by == "bandwidth"
    # Alone, a batch of one has 7 steps after the prompt, which takes 1,000 / 12,000 s to read.
    assert found["batch"].value == pytest.approx(8 / (1 / 12 + 7 * 0.1))
    assert found["batch"].by == "bandwidth"


def test_prefill_is_bound_by_arithmetic() -> None:
    found = bounds(WORK, MachineLimits(1e12, 9800, "float32"), prompt(16, 8), [prompt(16, 8)] * 3)
    # 2 x (300 weights x 16 tokens + 100 in the head for the last one).
    assert found["first token"].value == pytest.approx(1.0)
    assert found["prefill"].value == pytest.approx(16.0)
    assert found["prefill"].by == found["batch"].by == "arithmetic"
    # Three prompts, and 7 steps of three rows of 400 weights.
    assert found["batch"].value == pytest.approx(24 / (3 + 7 * 3 * 800 / 9800))


def test_only_decoding_of_a_quantized_model_has_a_limit() -> None:
    slow = MachineLimits(12_000, 1.0, "float32")
    found = bounds(replace(WORK, quantized=True), slow, prompt(16, 8), [prompt(16, 8)])
    assert {name: bound.value for name, bound in found.items()} == pytest.approx({"decode": 10.0})


@pytest.mark.parametrize(
    ("load_average", "loops", "signs"),
    [
        (0.9, [1.0] * 40, 0),
        (None, [1.0] * 40, 0),
        (1.1, [1.0] * 40, 1),
        (0.0, [1.0] * 36 + [1.24] * 4, 0),
        (0.0, [1.0] * 36 + [1.3] * 4, 1),
        (0.0, [1.0] * 38 + [9.0] * 2, 0),  # one interruption is no load
        (7.0, [1.0] * 20 + [2.0] * 20, 2),
    ],
)
def test_signs_of_load(load_average: float | None, loops: list[float], signs: int) -> None:
    assert len(signs_of_load(load_average, 2, loops)) == signs


def test_calibration_times_each_loop() -> None:
    ticks = iter(range(100))
    assert calibrate(lambda: float(next(ticks)), rounds=5) == [1.0] * 5


def test_median_spread_and_share() -> None:
    from llmkit.benchmark.results import Bound

    rate = Quantity("decode", "tokens/s", (10.0, 40.0, 20.0), Bound(80.0, "bandwidth"))
    assert (rate.median, rate.spread, rate.share) == (20.0, 1.5, 0.25)
    seconds = Quantity("first token", "s", (4.0, 4.0), Bound(1.0, "arithmetic"))
    assert (seconds.median, seconds.spread, seconds.share) == (4.0, 0.0, 0.25)
    assert Quantity("load", "s", (1.0,)).share is None
