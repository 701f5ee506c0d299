"""A finetuned model stops where its answers end in training."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer, GenerationConfig

from llmkit.engines.base import Sampling
from llmkit.engines.transformers.sampling import make_settings
from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec
from llmkit.training.merge import merge
from tests.tiny import make_model, make_tokenizer
from tests.training.finetuning.runs import QUICK, train, write_rows
from tests.training.helpers import Recorder

# The turn ends with a token of its own, and the model's configuration says </s> (1).
TURNS = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|system|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
END, TURN = 1, 5


def model_with(folder: Path, template: str, **special: str) -> Path:
    make_model("llama", folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|user|>", "<|assistant|>", "<|system|>"]})
    tokenizer.chat_template = template
    for name, token in special.items():
        setattr(tokenizer, name, token)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("lora", [True, False], ids=["adapter", "whole"])
def test_the_token_that_ends_a_turn_is_written_and_stops_generation(tmp_path: Path, lora: bool) -> None:
    model = model_with(tmp_path / "model", TURNS)
    recorder = Recorder()
    recipe = replace(QUICK, max_steps=1, eval_split=0.0, lora=lora)
    train(write_rows(tmp_path, "messages"), tmp_path / "out", model, recipe, progress=recorder)
    written = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert written["eos_token_id"] == [TURN, END]
    assert not [notice for notice in recorder.notices if "end token" in notice]
    loaded = load(ModelSpec(str(tmp_path / "out"), device="cpu"))
    assert loaded.model.generation_config.eos_token_id == [TURN, END]
    if lora:
        merge(ModelSpec(str(tmp_path / "out")), tmp_path / "merged")
        merged = json.loads((tmp_path / "merged/generation_config.json").read_text())
        assert merged["eos_token_id"] == [TURN, END]


def test_a_template_without_an_end_gives_a_notice(tmp_path: Path) -> None:
    model = model_with(tmp_path / "model", TURNS.replace("<|system|>", ""))
    recorder = Recorder()
    recipe = replace(QUICK, max_steps=1, eval_split=0.0)
    train(write_rows(tmp_path, "messages"), tmp_path / "out", model, recipe, progress=recorder)
    assert [notice for notice in recorder.notices if notice.startswith("no end token")]


def test_generation_stops_at_the_tokenizers_end_token_too() -> None:
    tokenizer = make_tokenizer()  # its end token is 1
    settings = make_settings(
        Sampling(), GenerationConfig(eos_token_id=[3]), tokenizer, is_encoder_decoder=False
    )
    assert settings.end_ids == {1, 3}
    own = make_settings(
        Sampling(eos_token_ids=(3,)), GenerationConfig(eos_token_id=4), tokenizer, is_encoder_decoder=False
    )
    assert own.end_ids == {3}
