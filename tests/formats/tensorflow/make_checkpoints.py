"""Make tiny TensorFlow and Flax checkpoints with the outputs that TensorFlow and Flax give for them.

Rerun, from the repository's root, in an environment of its own:

    python3 -m venv /tmp/tf
    /tmp/tf/bin/pip install transformers==4.57.6 tensorflow-cpu==2.19.1 tf-keras==2.19.0
    /tmp/tf/bin/pip install flax==0.10.2 "jax<0.5"
    /tmp/tf/bin/python tests/formats/tensorflow/make_checkpoints.py

Weights are multiples of 1/16, so that the archive stays small.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

sys.modules["triton"] = None  # its LLVM and TensorFlow's do not go together
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np  # noqa: E402
import transformers  # noqa: E402

HERE = Path(__file__).parent
IDS = np.array([[5, 11, 3, 17, 8, 8, 21, 4, 19, 6]], dtype=np.int32)
DECODER_IDS = np.array([[2, 9, 14, 7, 20]], dtype=np.int32)
_ENCODER = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 20,
}
_BART = {
    "d_model": 8,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 12,
    "decoder_ffn_dim": 12,
    "max_position_embeddings": 20,
}
_T5 = {
    "d_model": 8,
    "d_kv": 4,
    "d_ff": 12,
    "num_layers": 2,
    "num_heads": 2,
    "relative_attention_num_buckets": 8,
}
_ALBERT = {**_ENCODER, "embedding_size": 6, "num_hidden_groups": 1}
_ELECTRA = {**_ENCODER, "embedding_size": 6}
_DISTIL = {"dim": 8, "hidden_dim": 12, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 20}
_GPT2 = {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 20}
_OPT = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "ffn_dim": 12,
    "max_position_embeddings": 20,
    "word_embed_proj_dim": 6,
    "do_layer_norm_before": False,
}
# name -> (config class, PyTorch class, settings)
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertConfig", "BertForMaskedLM", _ENCODER),
    "bert-qa": ("BertConfig", "BertForQuestionAnswering", _ENCODER),
    "bert-bare": ("BertConfig", "BertModel", _ENCODER),
    "distilbert": ("DistilBertConfig", "DistilBertForMaskedLM", _DISTIL),
    "roberta": ("RobertaConfig", "RobertaForMaskedLM", {**_ENCODER, "pad_token_id": 1}),
    "electra": ("ElectraConfig", "ElectraForMaskedLM", _ELECTRA),
    "albert": ("AlbertConfig", "AlbertForMaskedLM", _ALBERT),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", _GPT2),
    "opt": ("OPTConfig", "OPTForCausalLM", _OPT),
    "t5": ("T5Config", "T5ForConditionalGeneration", _T5),
    "t5-gated": (
        "T5Config",
        "T5ForConditionalGeneration",
        {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "mt5": ("MT5Config", "MT5ForConditionalGeneration", {**_T5, "tie_word_embeddings": False}),
    "bart": ("BartConfig", "BartForConditionalGeneration", _BART),
    "mbart": ("MBartConfig", "MBartForConditionalGeneration", _BART),
    "marian": ("MarianConfig", "MarianMTModel", {**_BART, "pad_token_id": 23, "scale_embedding": True}),
    "pegasus": ("PegasusConfig", "PegasusForConditionalGeneration", _BART),
    "bloom": ("BloomConfig", "BloomForCausalLM", {"hidden_size": 8, "n_layer": 2, "n_head": 2}),
}


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Multiples of 1/16, large enough that every weight shows in the output."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    found = random.randint(-9, 10, size=shape) / 16
    norm = ("gamma", "scale", "layer_norm/weight", "LayerNorm/weight")
    if any(part in name for part in norm) or (name.endswith("weight:0") and len(shape) == 1):
        found = 1 + found / 4
    return found.astype(np.float32)


def inputs(config: Any) -> dict[str, np.ndarray]:
    return {"input_ids": IDS} | ({"decoder_input_ids": DECODER_IDS} if config.is_encoder_decoder else {})


def output_of(outputs: Any) -> np.ndarray:
    for name in ("logits", "prediction_logits"):
        if name in outputs:
            return np.asarray(outputs[name], dtype=np.float32)
    if "start_logits" in outputs:
        both = [np.asarray(outputs[name], dtype=np.float32) for name in ("start_logits", "end_logits")]
        return np.stack(both, axis=-1)
    return np.asarray(outputs["last_hidden_state"], dtype=np.float32)


def config_of(name: str) -> Any:
    config_class, torch_class, settings = FAMILIES[name]
    config = getattr(transformers, config_class)(vocab_size=24, **settings)
    config.architectures = [torch_class]
    for part in ("dropout", "attention_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob"):
        if hasattr(config, part):
            setattr(config, part, 0.0)
    return config


def make_tensorflow(name: str, folder: Path) -> None:
    """tf_model.h5 with TensorFlow's output; for two families its other containers too."""
    import tensorflow as tf

    config = config_of(name)
    made_as = getattr(transformers, "TF" + FAMILIES[name][1], None)
    if made_as is None:
        return
    model = made_as(config)
    model.build_in_name_scope()
    model(**{key: tf.constant(value) for key, value in inputs(config).items()})
    for weight in model.weights:
        weight.assign(values(weight.name, tuple(weight.shape)))
    outputs = model(**{key: tf.constant(value) for key, value in inputs(config).items()}, training=False)
    target = folder / "tensorflow" / name
    model.save_pretrained(target)
    np.save(target / "output.npy", output_of(outputs))
    if name in ("bert", "gpt2"):
        model.save_pretrained(folder / "shards" / name, max_shard_size="4KB")
        made = Path(tempfile.mkdtemp())
        tf.saved_model.save(model, str(made))
        kept = folder / "saved_model" / name / "saved_model" / "1" / "variables"
        shutil.copytree(made / "variables", kept)
        tf.train.Checkpoint(model=model).write(str(folder / "ckpt" / name / "model.ckpt"))
        for other in ("saved_model", "ckpt"):
            (folder / other / name).mkdir(parents=True, exist_ok=True)
            config.save_pretrained(folder / other / name)


def make_flax(name: str, folder: Path) -> None:
    """flax_model.msgpack with Flax's output, and one in bfloat16."""
    import flax
    import jax.numpy as jnp

    config = config_of(name)
    made_as = getattr(transformers, "Flax" + FAMILIES[name][1], None)
    if made_as is None:
        return
    model = made_as(config, seed=0)
    flat = flax.traverse_util.flatten_dict(model.params, sep="/")
    flat = {key: jnp.asarray(values(key, value.shape)) for key, value in flat.items()}
    model.params = flax.traverse_util.unflatten_dict(flat, sep="/")
    given = inputs(config)
    if config.model_type == "electra":
        given["token_type_ids"] = np.zeros_like(IDS)  # Flax's ELECTRA takes ones where none are given
    outputs = model(**given)
    target = folder / "flax" / name
    model.save_pretrained(target)
    np.save(target / "output.npy", output_of(outputs))
    if name == "gpt2":
        model.save_pretrained(folder / "flax-bfloat16" / name, params=model.to_bf16(model.params))


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    for name in FAMILIES:
        for make in (make_tensorflow, make_flax):
            try:
                make(name, folder)
            except Exception as error:
                print(make.__name__, name, type(error).__name__, str(error)[:300])
                raise
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != "generation_config.json":
                # A fixed date: the same checkpoints make the same archive.
                info = zipfile.ZipInfo(str(path.relative_to(folder)), (2026, 1, 1, 0, 0, 0))
                file.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    (HERE / "checkpoints.zip").write_bytes(archive.getvalue())
    print(len(archive.getvalue()))


if __name__ == "__main__":
    main()
