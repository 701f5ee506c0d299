"""Folders that are wrong, foreign or hostile: each is refused in one line, or mended with a note."""

from __future__ import annotations

import ast
import json
import re
import shutil
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import llmkit
from llmkit import InputError, LLMKitError, ModelSpec, load
from llmkit.errors import NoticeWarning
from tests.conftest import TinyModel

PACKAGE = Path(llmkit.__file__).parent


@pytest.fixture
def folder(tmp_path: Path, tiny_model: TinyModel) -> Path:
    return Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))


def edit(folder: Path, name: str = "config.json", **changes: Any) -> None:
    path = folder / name
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**old, **changes}))


def save(folder: Path, **changes: Any) -> None:
    """Change the weights; None removes one."""
    path = folder / "model.safetensors"
    weights = {**load_file(path), **changes}
    save_file({k: x for k, x in weights.items() if x is not None}, path, metadata={"format": "pt"})


def header(folder: Path, table: Any) -> None:
    text = json.dumps(table).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))


def index(folder: Path, content: Any) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


# What is wrong with a folder, and a fact that the error must name.
BAD: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: edit(f, architectures=5), "architectures"),
    (lambda f: edit(f, architectures=[5]), "architectures"),
    (lambda f: edit(f, architectures={"a": 1}), "architectures"),
    (lambda f: edit(f, model_type=["llama"]), "model_type"),
    (lambda f: edit(f, model_type={"a": 1}), "model_type"),
    (lambda f: edit(f, model_type=5), "model_type"),
    (lambda f: edit(f, hidden_size="64"), "config.json"),
    (lambda f: edit(f, hidden_size=[64]), "config.json"),
    (lambda f: edit(f, hidden_size=-64), ""),
    (lambda f: edit(f, num_attention_heads=0), "config.json"),
    (lambda f: edit(f, num_key_value_heads=0), ""),
    (lambda f: edit(f, num_hidden_layers=None), "config.json"),
    (lambda f: edit(f, num_hidden_layers=1), "model.layers.1."),
    (lambda f: edit(f, vocab_size=7), "vocab_size"),
    (lambda f: edit(f, vocab_size="many"), "config.json"),
    (lambda f: edit(f, vocab_size=0), ""),
    (lambda f: edit(f, intermediate_size=24), "mlp"),
    (lambda f: edit(f, rope_scaling="linear"), ""),
    (lambda f: edit(f, rope_scaling={"rope_type": 5}), ""),
    (lambda f: edit(f, hidden_act="dance"), ""),
    (lambda f: edit(f, dtype=5), ""),
    (lambda f: edit(f, rms_norm_eps="small"), ""),
    (lambda f: edit(f, quantization_config={"quant_method": "magic"}), ""),
    (lambda f: edit(f, quantization_config=[1]), ""),
    (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json"),
    (lambda f: (f / "config.json").write_text("[1]"), "config.json"),
    (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "config.json"),
    (lambda f: index(f, {}), "weight_map"),
    (lambda f: index(f, {"weight_map": []}), "weight_map"),
    (lambda f: index(f, {"weight_map": {"a": 5}}), "weight_map"),
    (lambda f: index(f, {"weight_map": {"a": ""}}), "weight_map"),
    (lambda f: index(f, {"weight_map": "x"}), "weight_map"),
    (lambda f: index(f, [1]), "index.json"),
    (lambda f: header(f, {"a": {"dtype": "F32", "data_offsets": [0, 4]}}), "model.safetensors"),
    (lambda f: header(f, {"a": {"dtype": "F32", "shape": "x", "data_offsets": [0, 4]}}), "model.safetensors"),
    (lambda f: header(f, {"a": {"dtype": "F32", "shape": [1], "data_offsets": []}}), "model.safetensors"),
    (lambda f: header(f, {"a": 5}), "model.safetensors"),
    (lambda f: header(f, [1]), "model.safetensors"),
    (lambda f: header(f, {"a": {"dtype": 5, "shape": [1], "data_offsets": [0, 4]}}), ""),
    (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 16), "model.safetensors"),
    (lambda f: (f / "tokenizer.json").write_text("[" * 100_000), "tokenizer"),
    (lambda f: (f / "tokenizer.json").write_text('{"model": 5}'), "tokenizer"),
    (lambda f: (f / "tokenizer_config.json").write_text("[]"), ""),
    (lambda f: edit(f, "tokenizer_config.json", tokenizer_class=5), ""),
    (lambda f: edit(f, "tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y", None]}), ""),
    (lambda f: edit(f, "generation_config.json", max_length="long"), ""),
    (lambda f: (f / "generation_config.json").write_text("{"), ""),
    (lambda f: save(f, **{"lm_head.weight": torch.zeros(3)}), "lm_head"),
]


@pytest.mark.parametrize(("spoil", "fact"), BAD)
def test_a_bad_folder_is_refused_or_runs(folder: Path, spoil: Callable[[Path], object], fact: str) -> None:
    """With a fact given it is refused and the error names it; without, transformers may also accept it."""
    spoil(folder)
    said = None
    try:
        load(ModelSpec(str(folder)))
    except LLMKitError as error:
        said = str(error)
    assert said is not None or not fact
    if said is not None:
        assert str(folder) in said
        assert fact in said
        assert "\n" not in said
        assert "report above" not in said


def test_a_wrong_number_in_the_config_does_not_blame_the_tokenizer(folder: Path) -> None:
    edit(folder, hidden_size="64")
    with pytest.raises(InputError) as caught:
        load(ModelSpec(str(folder)))
    assert "tokenizer" not in str(caught.value)
    assert "hidden_size" in str(caught.value)


def test_weights_that_the_model_does_not_use_are_named(folder: Path) -> None:
    save(folder, **{"value_head.weight": torch.zeros(3)})
    with pytest.warns(NoticeWarning, match=r"value_head\.weight"):
        load(ModelSpec(str(folder)))


def test_an_encoder_without_its_head_is_no_news(tiny_model: TinyModel) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoticeWarning)
        loaded = load(ModelSpec(str(tiny_model("bert-qa")), task="feature-extraction"))
    assert not any("qa_outputs" in note for note in loaded.notes)


# Special tokens and embeddings.


def logits(folder: Path, **batch: Any) -> torch.Tensor:
    loaded = load(ModelSpec(str(folder)))
    given = loaded.tokenizer(["the cafe", "the cafe was in the cafe"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        result: torch.Tensor = loaded.model(**given).logits[:, -1]
    return result


def test_a_pad_token_without_an_embedding_is_replaced(folder: Path) -> None:
    """As after `tokenizer.add_special_tokens({"pad_token": ...})` without resizing the embeddings."""
    from transformers import AutoTokenizer

    expected = logits(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "<new_pad>"})
    tokenizer.save_pretrained(folder)
    rows = load_file(folder / "model.safetensors")["model.embed_tokens.weight"].shape[0]
    assert tokenizer.pad_token_id >= rows
    loaded = load(ModelSpec(str(folder)))
    assert loaded.tokenizer.pad_token_id < rows
    assert any("without an embedding" in note for note in loaded.notes)
    assert torch.equal(logits(folder), expected)


def test_a_pad_token_id_that_is_none_is_replaced(folder: Path) -> None:
    expected = logits(folder)
    edit(folder, pad_token_id=-1)
    edit(folder, "generation_config.json", pad_token_id=-1)
    assert torch.equal(logits(folder), expected)
    model = load(ModelSpec(str(folder))).model
    assert model.config.pad_token_id >= 0
    assert model.generation_config.pad_token_id >= 0


def test_a_begin_token_without_an_embedding_is_refused(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"bos_token": "<new_bos>"})
    from tokenizers.processors import TemplateProcessing

    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<new_bos> $A", special_tokens=[("<new_bos>", tokenizer.bos_token_id)]
    )
    tokenizer.save_pretrained(folder)
    with pytest.raises(InputError, match="<new_bos>"):
        load(ModelSpec(str(folder)))


# Settings that transformers no longer runs.


@pytest.mark.parametrize(
    "settings",
    [
        {"penalty_alpha": 0.6, "top_k": 4},
        {"dola_layers": "low"},
        {"num_beam_groups": 2, "num_beams": 4, "diversity_penalty": 0.5},
        {"token_healing": True},
        {"force_words_ids": [[5]], "num_beams": 2},
        {"prompt_lookup_num_tokens": 3},
        {"cache_implementation": "quantized"},
        {"is_assistant": True},
    ],
)
def test_generation_settings_that_are_not_supported_are_named(folder: Path, settings: dict[str, Any]) -> None:
    edit(folder, "generation_config.json", **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NoticeWarning)
        loaded = load(ModelSpec(str(folder)))
    text = " ".join(str(one.message) for one in caught if issubclass(one.category, NoticeWarning))
    named = [key for key in settings if key not in {"top_k", "num_beams", "cache_implementation"}]
    assert all(key in text for key in named)
    ids = loaded.tokenizer(["the cafe", "was in the"], padding=True, return_tensors="pt")
    assert loaded.model.generate(**ids, max_new_tokens=2).shape[0] == 2


WRONG: list[tuple[str, Any]] = [
    ("temperature", "hot"),
    ("top_p", 5),
    ("top_k", "a"),
    ("repetition_penalty", 0),
    ("length_penalty", "a"),
    ("no_repeat_ngram_size", "a"),
    ("num_beams", 2.5),
    ("num_beams", 0),
    ("num_beams", True),
    ("max_new_tokens", -1),
    ("min_length", "a"),
    ("eos_token_id", "</s>"),
    ("eos_token_id", [5, "</s>"]),
    ("pad_token_id", "x"),
    ("forced_eos_token_id", 100_000),
    ("suppress_tokens", "a"),
    ("bad_words_ids", 5),
    ("bad_words_ids", [[]]),
    ("sequence_bias", {"5": 1}),
    ("exponential_decay_length_penalty", 7),
    ("stop_strings", [5]),
    ("do_sample", "yes"),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_wrong_generation_setting_is_named(folder: Path, key: str, value: Any) -> None:
    edit(folder, "generation_config.json", **{key: value})
    with pytest.raises(InputError, match=rf"{re.escape(str(folder))}.*\b{key}\b"):
        load(ModelSpec(str(folder)))


@pytest.mark.parametrize(("key", "value"), [("top_k", -1), ("eos_token_id", [-1, 1]), ("typical_p", 1)])
def test_a_usual_generation_setting_is_not_refused(folder: Path, key: str, value: Any) -> None:
    edit(folder, "generation_config.json", **{key: value, "do_sample": True})
    assert getattr(load(ModelSpec(str(folder))).model.generation_config, key) == value


def test_a_decoder_starts_as_config_json_says(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model("bart"), tmp_path / "model"))
    edit(folder, decoder_start_token_id=2)
    (folder / "generation_config.json").write_text('{"bos_token_id": 0}')  # so does transformers
    assert load(ModelSpec(str(folder))).model.generation_config.decoder_start_token_id == 0
    (folder / "generation_config.json").write_text("{}")
    assert load(ModelSpec(str(folder))).model.generation_config.decoder_start_token_id == 2
    edit(folder, decoder_start_token_id=100_000)
    with pytest.raises(InputError, match="decoder_start_token_id"):
        load(ModelSpec(str(folder)))


# Adapters.


@pytest.mark.parametrize("weights", [False, True])
def test_an_adapter_folder_with_a_config_is_an_adapter(
    folder: Path, tiny_model: TinyModel, tmp_path: Path, weights: bool
) -> None:
    from peft import LoraConfig, get_peft_model

    base = tiny_model("llama")
    tuned = get_peft_model(load(ModelSpec(str(base))).model, LoraConfig(r=2, target_modules=["q_proj"]))
    tuned.peft_config["default"].base_model_name_or_path = str(base)
    tuned.save_pretrained(tmp_path / "adapter")
    shutil.copy(base / "config.json", tmp_path / "adapter")
    if weights:
        for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            shutil.copy(base / name, tmp_path / "adapter")
    loaded = load(ModelSpec(str(tmp_path / "adapter")))
    assert (loaded.adapter is None) == weights


# No code from a folder.


def test_no_from_pretrained_lacks_trust_remote_code() -> None:
    """transformers asks on stdin, and runs a folder's code, where a call does not say False."""
    checked = 0
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = ast.unparse(node.func.value)
            if node.func.attr not in {"from_pretrained", "from_config"} or owner in {
                *("PeftModel", "GenerationConfig", "PeftConfig"),
            }:
                continue
            checked += 1
            given = {keyword.arg for keyword in node.keywords}
            assert "trust_remote_code" in given, f"{path}:{node.lineno}: {owner}.{node.func.attr}"
    assert checked >= 4


def test_a_huge_tokenizer_is_refused_before_it_is_parsed(folder: Path) -> None:
    with open(folder / "tokenizer.json", "r+b") as file:
        file.truncate(300 << 20)  # a hole: it takes no space on the disk
    with pytest.raises(InputError, match=r"tokenizer\.json: larger than"):
        load(ModelSpec(str(folder)))
