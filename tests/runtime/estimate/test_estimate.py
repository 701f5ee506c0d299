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
from llmkit.runtime.estimate.counts import ModelCounts
from llmkit.runtime.estimate.estimate import Workload, estimate
from llmkit.runtime.estimate.machines import MACHINES, machine_named
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


def test_parts_add_up_and_a_machine_bounds_them() -> None:
    machine = machine_named("t4")
    found = estimate(ModelSpec("stories"), machine, prompt_tokens=100, new_tokens=50, batch_size=2)
    assert found.workload == Workload(100, 50, 2)
    weights, cache, activations = (term.bytes for term in found.memory)
    assert weights == 2 * found.parameters
    assert cache == 2 * 150 * 3072
    assert found.total == weights + cache + activations
    assert found.fits is True
    assert found.largest_batch is not None
    assert found.largest_batch > 1000
    assert found.longest_row == 512
    # The floor of a token: weights and cache once over the memory's bandwidth.
    assert found.token_seconds == (weights + cache) / 320e9


def test_quantized_weights_are_smaller() -> None:
    plain, eight, four = (estimate(ModelSpec("stories", quantize=q)) for q in (None, "int8", "int4"))
    assert plain.memory[0].bytes > eight.memory[0].bytes > four.memory[0].bytes
    assert eight.memory[0].bytes == pytest.approx(plain.parameters, rel=0.02)


def test_a_short_context_shortens_the_default_and_refuses_what_is_longer() -> None:
    assert estimate(ModelSpec("stories")).workload.tokens <= 512
    with pytest.raises(OptionError, match="the model sees 512"):
        estimate(ModelSpec("stories"), prompt_tokens=600)
    with pytest.raises(InputError, match="translator is an encoder-decoder"):
        estimate(ModelSpec("translator"))


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
    result = run("estimate", "-m", "stories", "--on", "h100", "--batch-size", "4")
    assert result.code == 0, result.err
    assert "stories: llama, 4.88M parameters, 6 layers, float16" in result.out
    assert "fits: " in result.out
    assert MACHINES["h100"].source in result.out
    result = run("estimate", "-m", "stories", "--json")
    found = json.loads(result.out)
    assert found["total"] == sum(term["bytes"] for term in found["memory"])
    assert_refused(run("estimate", "-m", "stories", "--on", "abacus"), "abacus", option="on")
    assert_refused(run("estimate", "-m", "stories", "--batch-size", "0"), option="batch_size")
    assert_refused(run("estimate", "-m", "stories", "--quantize", "int3"), option="quantize")
