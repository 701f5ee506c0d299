"""Every family, written and read, beside what llama.cpp answered from the same files (make_llama_cpp.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.errors import InputError
from llmkit.formats.gguf.checkpoint import as_checkpoint
from llmkit.formats.gguf.config_write import write_config
from llmkit.runtime.parts import model_from_parts
from tests.formats.gguf.models import MODELS, VOCABULARY, checksum, make, write

KEPT: dict[str, Any] = json.loads(Path(__file__).with_name("llama_cpp.json").read_text())


@pytest.mark.parametrize("name", MODELS)
def test_the_file_is_the_one_that_llama_cpp_ran(name: str, tmp_path: Path) -> None:
    write(name, tmp_path / "m.gguf")
    kept = KEPT["models"][name]
    assert checksum(tmp_path / "m.gguf") == kept["crc"]
    # Logits lie within about 10; Gemma and GPT-2 compute GELU from a table of float16 in llama.cpp.
    assert kept.get("difference", 0) < (0.006 if "ge" in name or "gpt" in name else 2e-4)


@pytest.mark.parametrize("name", MODELS)
def test_reading_gives_the_model_that_was_written(name: str, tmp_path: Path) -> None:
    written = write(name, tmp_path / "m.gguf")
    checkpoint = as_checkpoint(tmp_path / "m.gguf")
    weights = checkpoint.state_dict(torch.float32)
    read = model_from_parts(checkpoint.config, weights, dtype=torch.float32, name="m")
    ids = torch.tensor([VOCABULARY("Once upon a time, Anna had 12 dogs and a red ball.")["input_ids"]])
    inputs = {"input_ids": ids}
    if written.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :7]
    with torch.no_grad():
        assert torch.equal(read(**inputs).logits, written(**inputs).logits)
    if "gemma" in name or name.startswith("t5"):
        return  # a norm is stored with its 1, and T5's head scaled: neither comes back bit for bit
    for key, value in written.state_dict().items():
        assert torch.equal(read.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("llama", {"hidden_act": "gelu"}),
        ("llama-llama3", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
        (
            "llama-yarn",
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "beta_fast": 9.0}},
        ),
        ("smollm3", {"no_rope_layers": [1, 1, 1, 1]}),
        ("gemma2", {"query_pre_attn_scalar": 20}),
        ("gemma2", {"final_logit_softcapping": None}),
        ("gemma3", {"layer_types": ["full_attention", *["sliding_attention"] * 6]}),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
        ("gpt2", {"activation_function": "relu"}),
        ("t5", {"relative_attention_max_distance": 64}),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(name: str, settings: dict[str, Any]) -> None:
    config = make(name).config
    write_config(config)
    for key, value in settings.items():
        setattr(config, key, value)
    with pytest.raises(InputError):
        write_config(config)


def test_a_window_that_gguf_does_not_have_is_told() -> None:
    config = make("mistral").config
    assert write_config(config)[2] == []
    config.sliding_window = 32
    assert len(write_config(config)[2]) == 1


@pytest.mark.parametrize("model_type", ["bert", "bart", "opt", "mixtral"])
def test_other_families_are_refused_by_name(model_type: str) -> None:
    import transformers

    with pytest.raises(InputError, match=model_type):
        write_config(transformers.CONFIG_MAPPING[model_type]())


@pytest.mark.parametrize(("dtype", "largest"), [(torch.float32, 0.0), (torch.bfloat16, 2**-8)])
def test_a_norm_that_is_stored_with_its_1_keeps_its_digits(
    dtype: torch.dtype, largest: float, tmp_path: Path
) -> None:
    written = write("gemma2", tmp_path / "m.gguf")
    name = "model.layers.0.input_layernorm.weight"
    exact = written.state_dict()[name]
    read = as_checkpoint(tmp_path / "m.gguf").state_dict(dtype)[name]
    assert read.dtype == dtype
    # float32 loses what the 1 pushed out; bfloat16 must lose no more than rounding the weight itself.
    assert float(((read.float() - exact) / exact.abs().clamp(min=0.01)).abs().max()) <= largest + 2**-16
