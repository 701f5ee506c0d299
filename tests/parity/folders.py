"""Tiny checkpoints in Hugging Face layout, the same under transformers 4.57 and 5.

Nothing in them depends on a library's version: weights are drawn by NumPy's frozen legacy generator, seeded
by each parameter's name, or were trained (train.py) and are kept beside this file, and vocabularies.py makes
the tokenizers.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from tests.parity.vocabularies import TOKENIZERS, write_json

HERE = Path(__file__).parent
_SIZES: dict[str, Any] = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2}
_SIZES |= {f"{side}_attention_heads": 4 for side in ("encoder", "decoder")}
_SIZES |= {f"{side}_ffn_dim": 48 for side in ("encoder", "decoder")}
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
_BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
# family -> (model class, config class, its arguments, tokenizer class, tokenizer maker's name).
FAMILIES: dict[str, tuple[str, str, dict[str, Any], str, str]] = {
    "marian": (
        "MarianMTModel",
        "MarianConfig",
        {**_SIZES, "max_position_embeddings": 128},
        "MarianTokenizer",
        "marian",
    ),
    "t5": ("T5ForConditionalGeneration", "T5Config", _T5, "T5Tokenizer", "t5"),
    "mt5": (
        "MT5ForConditionalGeneration",
        "MT5Config",
        {**_T5, "tie_word_embeddings": False},
        "T5Tokenizer",
        "t5",
    ),
    "bart": (
        "BartForConditionalGeneration",
        "BartConfig",
        {**_SIZES, "max_position_embeddings": 300},
        "BartTokenizer",
        "byte_level",
    ),
    "mbart": (
        "MBartForConditionalGeneration",
        "MBartConfig",
        {**_SIZES, "max_position_embeddings": 128},
        "MBartTokenizer",
        "mbart",
    ),
    "m2m100": (
        "M2M100ForConditionalGeneration",
        "M2M100Config",
        {**_SIZES, "max_position_embeddings": 128},
        "M2M100Tokenizer",
        "m2m100",
    ),
    "nllb": (
        "M2M100ForConditionalGeneration",
        "M2M100Config",
        {**_SIZES, "max_position_embeddings": 128},
        "NllbTokenizer",
        "nllb",
    ),
    "pegasus": (
        "PegasusForConditionalGeneration",
        "PegasusConfig",
        {**_SIZES, "max_position_embeddings": 128},
        "PegasusTokenizer",
        "pegasus",
    ),
    "led": (
        "LEDForConditionalGeneration",
        "LEDConfig",
        {
            **_SIZES,
            "max_encoder_position_embeddings": 128,
            "max_decoder_position_embeddings": 64,
            "attention_window": 8,
        },
        "LEDTokenizer",
        "byte_level",
    ),
    "bert": (
        "BertForQuestionAnswering",
        "BertConfig",
        {**_BERT, "max_position_embeddings": 128},
        "BertTokenizer",
        "word_pieces",
    ),
    "distilbert": (
        "DistilBertForQuestionAnswering",
        "DistilBertConfig",
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 128},
        "DistilBertTokenizer",
        "word_pieces",
    ),
    "roberta": (
        "RobertaForQuestionAnswering",
        "RobertaConfig",
        {**_BERT, "max_position_embeddings": 130, "type_vocab_size": 1},
        "RobertaTokenizer",
        "byte_level",
    ),
    "deberta": (
        "DebertaV2ForQuestionAnswering",
        "DebertaV2Config",
        {
            **_BERT,
            "max_position_embeddings": 128,
            "relative_attention": True,
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
        "DebertaV2Tokenizer",
        "deberta",
    ),
    "trained-marian": (
        "MarianMTModel",
        "MarianConfig",
        {**_SIZES, "encoder_layers": 1, "decoder_layers": 1, "max_position_embeddings": 128},
        "MarianTokenizer",
        "marian",
    ),
    "trained-bert": (
        "BertForQuestionAnswering",
        "BertConfig",
        {**_BERT, "hidden_size": 24, "max_position_embeddings": 128},
        "BertTokenizer",
        "word_pieces",
    ),
}


def make_folder(
    family: str, folder: Path, changes: dict[str, Any] | None = None, *, random: bool = False
) -> Path:
    """Write the family's checkpoint into `folder`.

    Args:
        family: a key of `FAMILIES`.
        folder: an empty folder.
        changes: ``config`` and ``generation_config``: keys to set in these JSON files. With
            ``generation_config`` None that file is removed, as in checkpoints older than it.
        random: draw the weights of a trained family too.
    """
    import torch
    import transformers
    from safetensors.torch import load_file

    model_class, config_class, arguments, tokenizer_class, maker = FAMILIES[family]
    ids, size, tokenizer_config = TOKENIZERS[maker](folder)
    tokenizer_config |= {"tokenizer_class": tokenizer_class, "model_max_length": 128}
    write_json(folder / "tokenizer_config.json", tokenizer_config)
    config = getattr(transformers, config_class)(vocab_size=size, **ids, **arguments)
    model = getattr(transformers, model_class)(config)
    trained = load_file(HERE / f"{family}.safetensors") if "trained" in family and not random else None
    with torch.no_grad():
        for name, parameter in learned_parameters(model):
            drawn = torch.from_numpy(_draw(name, tuple(parameter.shape)))
            parameter.copy_(drawn if trained is None else trained[name])
    model.save_pretrained(folder)
    if "tie_word_embeddings" in arguments:
        _untie(folder)
    _set(folder / "config.json", (changes or {}).get("config", {}))
    generation = (changes or {}).get("generation_config", {})
    if generation is None:
        (folder / "generation_config.json").unlink()
    elif model.can_generate():
        defaults = {**ids, "transformers_version": "4.57.6"}
        if family in ("marian", "bart", "led"):
            # Random models that normalise after each layer say one word over and over.
            defaults["no_repeat_ngram_size"] = 2
        write_json(folder / "generation_config.json", {**defaults, **generation})
    return folder


def learned_parameters(model: Any) -> list[tuple[str, Any]]:
    """The parameters by name, less the sines of positions."""
    fixed = {id(p) for m in model.modules() if "Sinusoidal" in type(m).__name__ for p in m.parameters()}
    return [(name, p) for name, p in model.named_parameters() if id(p) not in fixed]


def _untie(folder: Path) -> None:
    """mT5's files hold an output layer of its own, which transformers 5 does not make in a new model."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    shape = tuple(weights["shared.weight"].shape)
    weights["lm_head.weight"] = torch.from_numpy(_draw("lm_head.weight", shape))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _set(folder / "config.json", {"tie_word_embeddings": False})


def _draw(name: str, shape: tuple[int, ...]) -> Any:
    import numpy as np

    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype("float32")
    if len(shape) > 1:
        # Layers outweigh the embeddings, or tied output layers would only repeat the last token.
        return noise * (0.3 if "embed" in name or "shared" in name else 1.2)
    if "norm" in name.lower() and name.endswith("weight"):
        return 1 + noise * 0.1
    return noise * 0.05


def _set(path: Path, keys: dict[str, Any]) -> None:
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **keys})
