"""Tiny models of every family that GGUF is written for, the same on every machine."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from tests.tiny import make_tokenizer

VOCABULARY = make_tokenizer()
_SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 256,
}
_GEMMA = {**_SMALL, "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 8}
_EVERY_2 = ["sliding_attention", "full_attention"] * 2
_T5 = {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 2}


def _rope(kind: str, **settings: Any) -> dict[str, Any]:
    return {**_SMALL, "rope_parameters": {"rope_theta": 10000.0, "rope_type": kind, **settings}}


_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
_LONG = {
    "short_factor": [1.0 + i / 8 for i in range(8)],
    "long_factor": [2.0 + i for i in range(8)],
}
# name -> (model_type, settings)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", _SMALL),
    "llama-untied": ("llama", {**_SMALL, "tie_word_embeddings": False}),
    "llama-tied": ("llama", {**_SMALL, "tie_word_embeddings": True}),
    "llama-biases": ("llama", {**_SMALL, "attention_bias": True, "mlp_bias": True}),
    "llama-head-dim": ("llama", {**_SMALL, "head_dim": 32}),
    "llama-llama3": ("llama", _rope("llama3", factor=8.0, **_LLAMA3)),
    "llama-linear": ("llama", _rope("linear", factor=2.0)),
    "llama-yarn": ("llama", _rope("yarn", factor=2.0, original_max_position_embeddings=128)),
    "mistral": ("mistral", {**_SMALL, "sliding_window": None}),
    "smollm3": ("smollm3", _SMALL),
    "qwen2": ("qwen2", _SMALL),
    "qwen3": ("qwen3", {**_SMALL, "head_dim": 32}),
    "gemma2": ("gemma2", _GEMMA),
    "gemma3": ("gemma3_text", {**_GEMMA, "num_hidden_layers": 7}),
    "gemma3-every-2": ("gemma3_text", {**_GEMMA, "layer_types": _EVERY_2}),
    "phi3": ("phi3", _SMALL),
    "phi3-longrope": (
        "phi3",
        {
            **_rope("longrope", **_LONG),
            "max_position_embeddings": 1024,
            "original_max_position_embeddings": 512,
        },
    ),
    "gpt2": ("gpt2", {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 256}),
    "t5": ("t5", _T5),
    "t5-gated": ("t5", {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
}


def wide_vocabulary(text: str) -> Any:
    """A tokenizer whose merges cross words, so that each cut that a rule makes shows in the ids."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    spelled = "".join(
        word for word, _ in pre_tokenizers.ByteLevel(False, use_regex=False).pre_tokenize_str(text)
    )
    core = Tokenizer(models.BPE())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=640, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    windows = [spelled[i : i + 4] for i in range(len(spelled) - 3)]
    core.train_from_iterator(windows, trainer)
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


def make(name: str, vocab_size: int = len(VOCABULARY)) -> Any:
    """The model, in float32 and eval mode; its weights come from numpy, whose generator stays the same."""
    import numpy as np
    import torch
    import transformers

    model_type, settings = MODELS[name]
    config_class: Any = transformers.CONFIG_MAPPING[model_type]
    config = config_class(vocab_size=vocab_size, bos_token_id=0, eos_token_id=1, pad_token_id=2, **settings)
    kind = "Seq2SeqLM" if config.is_encoder_decoder else "CausalLM"
    model = getattr(transformers, f"AutoModelFor{kind}").from_config(config, dtype=torch.float32)
    random = np.random.RandomState(zlib.crc32(name.encode()))
    for parameter_name, parameter in sorted(model.named_parameters()):
        values = random.standard_normal(tuple(parameter.shape)) * (0.3 if parameter.dim() > 1 else 0.2)
        if parameter.dim() == 1 and "bias" not in parameter_name and "gemma" not in name:
            values += 1
        parameter.data = torch.tensor(values, dtype=torch.float32)
    model.tie_weights()
    return model.eval()


def without_marks(text: str) -> str:
    """A text without combining marks: llama.cpp's patterns of ``tekken`` and ``gpt-4o`` leave them out."""
    import unicodedata

    return "".join(letter for letter in text if not unicodedata.category(letter).startswith("M"))


def checksum(path: Path) -> int:
    """CRC-32 of a file's architecture settings and of its tensors, by the gguf package's reader."""
    from gguf import GGUFReader

    reader = GGUFReader(path)
    arch = str(reader.fields["general.architecture"].contents())
    settings = {key: field.contents() for key, field in reader.fields.items() if key.startswith(f"{arch}.")}
    crc = zlib.crc32(json.dumps(settings, sort_keys=True).encode())
    for tensor in sorted(reader.tensors, key=lambda tensor: tensor.name):
        crc = zlib.crc32(f"{tensor.name} {tensor.shape.tolist()} {tensor.tensor_type}".encode(), crc)
        crc = zlib.crc32(tensor.data.tobytes(), crc)
    return crc


def write(name: str, path: Path, kind: str = "F32") -> Any:
    """Write the model as GGUF, and return it."""
    from llmkit.formats.gguf.write import write_gguf

    model = make(name)
    write_gguf(
        path,
        config=model.config,
        tensors=model.state_dict(),
        tokenizer=VOCABULARY,
        kind=kind,
        ends=[1],
        general={"name": "tiny"},
    )
    return model
