"""Tokenizers without character offsets, and layers whose names end in a number."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import ByT5Tokenizer, CTRLConfig, CTRLLMHeadModel

from llmkit.errors import InputError
from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec
from llmkit.training.finetuning.conversations import CHAT_TEMPLATE, target_spans
from tests.conftest import TinyModel
from tests.tiny import make_tokenizer
from tests.training.finetuning.runs import QUICK, train
from tests.training.finetuning.test_conversations import CHATML, OPENED, QWEN3

MESSAGES = [
    {"role": "user", "content": "Grüße! Who is there?"},
    {"role": "assistant", "content": "<think>Hm.</think>It is I."},
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": " The\n dog."},
]


def said(tokenizer: Any) -> list[str]:
    ids, spans = target_spans(tokenizer, MESSAGES)
    return [tokenizer.decode(ids[slice(*span)]) for span in spans]


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, CHATML, QWEN3, OPENED])
def test_the_targets_are_those_of_a_fast_tokenizer(template: str) -> None:
    slow, fast = ByT5Tokenizer(), make_tokenizer()
    assert not slow.is_fast
    assert fast.is_fast
    slow.chat_template = fast.chat_template = template
    assert said(slow) == said(fast)


@pytest.fixture
def ctrl(tmp_path: Path) -> Path:
    """A model with layers `ffn.0` and `ffn.2` and a tokenizer without files of a vocabulary."""
    folder = tmp_path / "ctrl"
    sizes: dict[str, Any] = {"n_positions": 64, "n_embd": 16, "dff": 16, "n_layer": 3, "n_head": 2}
    CTRLLMHeadModel(CTRLConfig(vocab_size=400, eos_token_id=1, **sizes)).save_pretrained(folder)
    ByT5Tokenizer().save_pretrained(folder)
    return folder


def test_an_adapter_goes_on_linear_layers_alone_and_keeps_its_slow_tokenizer(
    ctrl: Path, rows: Callable[..., Path], tmp_path: Path
) -> None:
    train(rows("messages", 6), tmp_path / "adapter", ctrl, replace(QUICK, max_steps=1, eval_split=0.2))
    targets = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["target_modules"]
    # CTRL, https://github.com/salesforce/ctrl: attention's four projections and two layers of a feed-forward.
    assert sorted(targets) == ["Wk", "Wq", "Wv", "dense", "ffn.0", "ffn.2"]
    assert load(ModelSpec(str(ctrl))).tokenizer.chat_template is None
    assert load(ModelSpec(str(tmp_path / "adapter"))).tokenizer.chat_template == CHAT_TEMPLATE


def test_spans_need_offsets(tiny_model: TinyModel, rows: Callable[..., Path], tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_model("bert-qa"), tmp_path / "model"))
    for file in model.glob("tokenizer*"):
        file.unlink()
    ByT5Tokenizer().save_pretrained(model)
    with pytest.raises(InputError, match="ByT5Tokenizer"):
        train(rows("answers", 6), tmp_path / "out", model, replace(QUICK, lora=False))
