"""Costs from a config alone, against published sizes and arithmetic by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from llmkit import ModelSpec
from llmkit.errors import InputError, OptionError
from llmkit.models.bundled import embedded_folder
from llmkit.runtime.estimate.cache import server_tokens, token_bytes
from llmkit.runtime.estimate.counts import ModelCounts
from llmkit.runtime.estimate.estimate import Estimate, Workload, estimate
from llmkit.runtime.estimate.machines import MACHINES, machine_named
from llmkit.runtime.estimate.workload import Training
from tests.command import assert_refused, run

LLAMA = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32}
# Sizes from the models' config.json; DeepSeek-V3 and Mamba 2 are the defaults of their classes.
CONFIGS: dict[str, dict[str, Any]] = {
    "Llama-3.1-8B": {"model_type": "llama", **LLAMA, "num_key_value_heads": 8, "vocab_size": 128256},
    "Mistral-7B": {"model_type": "mistral", **LLAMA, "num_key_value_heads": 8, "vocab_size": 32000},
    "Qwen3-0.6B": {
        **{"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28},
        **{"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936},
        "tie_word_embeddings": True,
    },
    "gpt-oss-120b": {
        **{"model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 36},
        **{"num_local_experts": 128, "num_experts_per_tok": 4, "num_attention_heads": 64, "head_dim": 64},
        **{"num_key_value_heads": 8, "vocab_size": 201088, "sliding_window": 128},
    },
    "DeepSeek-V3": {"model_type": "deepseek_v3"},
    "Mamba2": {"model_type": "mamba2"},
}


def counts(name: str, **changes: Any) -> ModelCounts:
    return ModelCounts(AutoConfig.for_model(**{**CONFIGS[name], **changes}), torch.bfloat16, name)


# Parameters: the models' cards. Bytes of the cache for a token: 2 x layers x heads x width x 2 bytes; of
# DeepSeek-V3 the latent, 61 x 576 x 2; of gpt-oss above its window only half of the layers grow.
@pytest.mark.parametrize(
    ("name", "parameters", "cache", "lengths"),
    [
        ("Llama-3.1-8B", 8_030_261_248, 131_072, (64, 320)),
        ("Mistral-7B", 7_241_732_096, 131_072, (64, 320)),
        ("Qwen3-0.6B", 596_049_920, 114_688, (64, 320)),
        ("DeepSeek-V3", 671_026_404_352, 70_272, (64, 320)),
        ("gpt-oss-120b", 116_829_156_672, 36_864, (320, 640)),
        ("gpt-oss-120b", 116_829_156_672, 73_728, (32, 64)),
    ],
)
@pytest.mark.slow
def test_known_models(name: str, parameters: int, cache: int, lengths: tuple[int, int]) -> None:
    found = counts(name)
    assert found.parameters == parameters
    short, long = lengths
    assert (found.cache_bytes(1, long) - found.cache_bytes(1, short)) / (long - short) == cache


@pytest.mark.slow
def test_active_parameters_of_experts() -> None:
    # The cards say 37 and 5.1 billion.
    assert round(counts("DeepSeek-V3").active_weights / 1e9) == 37
    assert round(counts("gpt-oss-120b").active_weights / 1e9, 1) == 5.1


def test_a_recurrent_cache_does_not_grow() -> None:
    found = counts("Mamba2", num_hidden_layers=2, hidden_size=256, num_heads=8, head_dim=64)
    assert found.cache_bytes(1, 64) == found.cache_bytes(1, 320) > 0


def test_a_window_bounds_the_cache() -> None:
    # In each layer 2 x 8 heads x 128 x 2 bytes for at most window - 1 earlier tokens.
    found = counts("Mistral-7B", num_hidden_layers=2, sliding_window=100)
    assert found.cache_bytes(1, 50) == pytest.approx(50 * 2 * 4096, rel=1e-3)
    assert found.cache_bytes(3, 500) == pytest.approx(3 * 99 * 2 * 4096, rel=1e-3)


def test_operations_are_those_of_the_formula() -> None:
    # 2 x weights x tokens + 4 x tokens^2 x heads x width x layers, measured once by torch's own counter.
    found = ModelCounts(AutoConfig.from_pretrained(embedded_folder("stories")), torch.float16, "stories")
    assert found.forward_flops(1, 64) == 649_068_544
    assert found.forward_flops(1, 256) == 2_898_264_064


def test_activations_hold_no_matrix_of_tokens_by_tokens() -> None:
    found = counts("Llama-3.1-8B", num_hidden_layers=2)
    short, long = (found.activation_bytes(1, tokens) for tokens in (512, 2048))
    assert long == pytest.approx(4 * short, rel=0.05)
    # At least the MLP's three tensors of tokens x 14,336.
    assert short > 3 * 512 * 14336 * 2 * 0.9


def sizes(found: Estimate) -> dict[str, int]:
    """The parts of the memory by the first word of their names."""
    return {term.name.split()[0]: term.bytes for term in found.memory}


def test_parts_add_up_and_a_machine_bounds_them() -> None:
    machine = machine_named("t4")
    found = estimate(ModelSpec("stories"), machine, prompt_tokens=100, new_tokens=50, batch_size=2)
    assert found.workload == Workload(100, 50, 2)
    parts = sizes(found)
    assert parts["weights"] == 2 * found.parameters
    assert parts["cache"] == 2 * 150 * 3072
    assert parts["logits"] == 2 * 4 * 2 * 2048
    assert found.total == sum(parts.values())
    assert found.fit is not None
    assert found.fit.fits
    assert found.fit.largest_batch > 1000
    assert (found.fit.longest_row, found.fit.fewest_devices) == (512, 1)
    # The floor of a token at the middle of the answer: weights and cache once over the memory's bandwidth.
    token = found.stages[1]
    assert (token.name, token.times) == ("token", 49)
    assert token.seconds == (parts["weights"] + 2 * 125 * 3072) / 320e9


def test_memory_that_is_missing_takes_more_devices(tmp_path: Path) -> None:
    small = tmp_path / "small.json"
    small.write_text('{"memory_gb": 0.006, "bandwidth_gbs": 1, "tflops": 1, "tflops_float32": 1}')
    found = estimate(ModelSpec("stories"), machine_named(str(small)), prompt_tokens=8, new_tokens=8)
    assert found.fit is not None
    assert (found.fit.fits, found.fit.largest_batch, found.fit.longest_row) == (False, 0, 0)
    # Weights of 9.8 MB on devices of 6 MB.
    assert found.fit.fewest_devices == 2


def test_quantized_weights_are_smaller() -> None:
    plain, eight, four = (estimate(ModelSpec("stories", quantize=q)) for q in (None, "int8", "int4"))
    assert plain.memory[0].bytes > eight.memory[0].bytes > four.memory[0].bytes
    assert eight.memory[0].bytes == pytest.approx(plain.parameters, rel=0.02)


def test_a_short_context_shortens_the_default_and_refuses_what_is_longer() -> None:
    assert estimate(ModelSpec("stories")).workload.tokens <= 512
    with pytest.raises(OptionError, match="the context has 512"):
        estimate(ModelSpec("stories"), prompt_tokens=600)


def test_training_adds_up_to_the_formulas() -> None:
    whole = estimate(
        ModelSpec("stories"),
        task="finetune",
        prompt_tokens=64,
        batch_size=2,
        training=Training(lora_rank=None),
    )
    parts = sizes(whole)
    assert parts["weights"] == parts["gradients"] == 4 * whole.parameters
    assert parts["AdamW's"] == 8 * whole.parameters
    assert whole.stages[0].flops == 3 * 2 * 649_068_544
    lora = estimate(
        ModelSpec("stories"), task="finetune", prompt_tokens=64, batch_size=2, training=Training(lora_rank=8)
    )
    parts = sizes(lora)
    # Rank x (inputs + outputs) of 7 matrices a layer: 256 wide, 128 keys and values, 688 in the middle.
    config = AutoConfig.from_pretrained(embedded_folder("stories"))
    width, middle, keys = config.hidden_size, config.intermediate_size, 128
    layer = 2 * (2 * width) + 2 * (width + keys) + 3 * (width + middle)
    assert parts["adapter"] == 4 * 8 * layer * config.num_hidden_layers
    assert parts["weights"] == 2 * lora.parameters
    small = estimate(
        ModelSpec("stories"), task="finetune", prompt_tokens=64, batch_size=2, training=Training(qlora=True)
    )
    assert sizes(small)["weights"] < parts["weights"] + 2 * 2048 * 256


@pytest.mark.slow
def test_checkpointing_keeps_less_and_accumulation_keeps_gradients() -> None:
    options: dict[str, Any] = {"task": "pretrain", "prompt_tokens": 128, "batch_size": 4}
    plain, less, more = (
        estimate(ModelSpec("stories"), **options, training=Training(lora_rank=None, **one))
        for one in ({}, {"gradient_checkpointing": True}, {"gradient_accumulation": 4})
    )
    assert less.total < plain.total < more.total
    assert less.stages[0].flops == plain.stages[0].flops * 4 // 3
    assert more.stages[0].flops == 4 * plain.stages[0].flops


@pytest.mark.parametrize(
    ("model", "task", "stages"),
    [
        ("translator", "generate", ["prompt", "token"]),
        ("reader", "eval", ["pass"]),
        ("stories", "serve", ["prompt", "token"]),
        pytest.param("translator", "finetune", ["step"], marks=pytest.mark.slow),
        pytest.param("reader", "finetune", ["step"], marks=pytest.mark.slow),
        pytest.param("storyteller", "generate", ["prompt", "token"], marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_model_and_task(model: str, task: str, stages: list[str]) -> None:
    found = estimate(ModelSpec(model), machine_named("cpu"), task=task, prompt_tokens=16, batch_size=2)
    assert [stage.name for stage in found.stages] == stages
    assert all(term.bytes > 0 for term in found.memory)
    assert found.fit is not None
    assert found.fit.fits


@pytest.mark.slow
def test_an_adapter_s_memory_is_a_term_of_its_own(stories_adapter: Path) -> None:
    found = estimate(ModelSpec(str(stories_adapter)), machine_named("cpu"), task="generate", prompt_tokens=16)
    assert "adapter" in sizes(found)


def test_a_config_with_too_many_layers_is_refused() -> None:
    with pytest.raises(InputError, match="num_hidden_layers is 1,000,000"):
        counts("Llama-3.1-8B", num_hidden_layers=1_000_000)


def test_an_encoder_writes_nothing() -> None:
    with pytest.raises(OptionError) as error:
        estimate(ModelSpec("reader"))
    assert error.value.option == "task"


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("task", {"task": "sing"}),
        ("new_tokens", {"task": "finetune", "new_tokens": 4}),
        ("quantize", {"task": "finetune", "spec": ModelSpec("stories", quantize="int8")}),
        ("rows", {"rows": 0}),
        ("watts", {"watts": -1.0}),
        ("price", {"price": float("nan")}),
    ],
)
def test_bad_options_are_named(option: str, values: dict[str, Any]) -> None:
    spec = values.pop("spec", ModelSpec("stories"))
    with pytest.raises(OptionError) as error:
        estimate(spec, **values)
    assert error.value.option == option


def test_a_server_reserves_what_its_engine_asks_for() -> None:
    # 32 sequences of the context of 512 with 5 guesses, in float32: twice the 3,072 bytes of float16.
    found = estimate(ModelSpec("stories"), machine_named("cpu"), task="serve")
    assert sizes(found)["cache"] == 32 * 517 * 6144
    # A quarter of the free memory is the limit, and a short request is always taken.
    assert server_tokens(517, 32, 4 * 1000 * 6144, 6144) == 1000
    assert server_tokens(517, 32, 0, 6144) == 517


@pytest.mark.parametrize("name", ["Llama-3.1-8B", "Qwen3-0.6B", "Mistral-7B"])
def test_the_bytes_of_a_token_are_those_of_the_counted_cache(name: str) -> None:
    small = {"num_hidden_layers": 2, "vocab_size": 64}
    counted = counts(name, **small)
    config = AutoConfig.for_model(**{**CONFIGS[name], **small})
    slope = (counted.cache_bytes(1, 48) - counted.cache_bytes(1, 16)) / 32
    assert token_bytes(config, torch.bfloat16) == slope


def test_the_bytes_of_a_token_of_a_decoder_are_its_own() -> None:
    # 6 layers, keys and values of 256 numbers in float32; the encoder's states are counted with the source.
    config = AutoConfig.from_pretrained(embedded_folder("translator"))
    assert token_bytes(config, torch.float32) == 6 * 2 * 256 * 4


@pytest.mark.slow
def test_the_bytes_of_a_token_of_a_latent_cache() -> None:
    # DeepSeek-V3: 512 + 64 numbers a layer.
    config = AutoConfig.for_model("deepseek_v3", num_hidden_layers=2)
    assert token_bytes(config, torch.bfloat16) == 2 * 576 * 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[1]", "must be an object"),
        ("{", "not readable as JSON"),
        ('{"memory_gb": 1}', "bandwidth_gbs is missing"),
        ('{"memory_gb": "1"}', "memory_gb must be a number"),
        ('{"memory_gb": true}', "memory_gb must be a number"),
        ('{"memory_gb": 1e999}', "memory_gb must be a number"),
        ('{"memory_gb": 0}', "memory_gb must be above 0"),
        ('{"memory": 1}', "must be an object with name, memory_gb"),
    ],
)
def test_bad_machines_are_refused(content: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(InputError, match=reason):
        machine_named(str(path))


def test_a_file_describes_a_machine(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"memory_gb": 16, "bandwidth_gbs": 100, "tflops": 2, "tflops_float32": 1}')
    found = machine_named(str(path))
    assert (found.name, found.memory) == ("mine", 16e9)
    assert found.compute_seconds(1e12, "float32") == 1
    with pytest.raises(OptionError, match="h100"):
        machine_named("h10")


def test_the_command_prints_lines_or_json() -> None:
    options = ("--on", "h100", "--batch-size", "4", "--grid", "france", "--price", "2", "--rows", "100")
    result = run("estimate", "-m", "stories", *options)
    assert result.code == 0, result.err
    assert "stories: generate, llama, 4.88M parameters, 6 layers, float16" in result.out
    assert "fits: " in result.out
    assert MACHINES["h100"].source in result.out
    assert "100 rows in all: at least" in result.out
    assert "2023" in result.out
    result = run("estimate", "-m", "stories", "--task", "finetune", "--json")
    found = json.loads(result.out)
    assert found["total"] == sum(term["bytes"] for term in found["memory"])
    assert found["training"]["lora_rank"] == 16


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--on", "abacus"], "on"),
        (["--batch-size", "0"], "batch_size"),
        (["--quantize", "int3"], "quantize"),
        (["--grid", "atlantis", "--on", "t4"], "grid"),
        (["--check", "--on", "h100"], "check"),
        (["--lora-rank", "4"], "lora_rank"),
        (["--task", "finetune", "--full", "--lora-rank", "4"], "lora_rank"),
    ],
)
def test_the_command_refuses(arguments: list[str], option: str) -> None:
    assert_refused(run("estimate", "-m", "stories", *arguments), option=option)
