"""Read pooling and normalization from the modules.json of sentence-transformers.

`modules.json` lists the steps: the transformer, pooling, perhaps a dense layer, normalization. Each has a
folder with a `config.json` (https://sbert.net/docs/sentence_transformer/usage/custom_models.html). Nothing in
these files is run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmkit.errors import InputError, one_line

POOLINGS = ("mean", "cls", "last")
_MODES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
_ACTIVATIONS = {"Identity": "identity", "Tanh": "tanh"}
_MOST_BYTES = 1 << 20
_MOST_VALUES = 1 << 28  # weights of a dense layer


@dataclass(frozen=True)
class DenseLayer:
    """A linear layer after pooling.

    Attributes:
        file: safetensors file with its weights.
        activation: ``identity`` or ``tanh``.
    """

    file: Path
    activation: str


@dataclass(frozen=True)
class EncoderModules:
    """Steps from hidden states to a vector.

    Attributes:
        pooling: ``mean``, ``cls`` (the first token) or ``last``.
        normalize: vectors are scaled to length 1.
        max_tokens: tokens that the model was trained to see; None: as its tokenizer has it.
        prompts: texts to put in front, by name, such as ``query``.
        default_prompt: name of the one that is used if none is named.
        dense: linear layers after pooling, in order.
        described: True if the model has a `modules.json`.
    """

    pooling: str = "mean"
    normalize: bool = True
    max_tokens: int | None = None
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    dense: tuple[DenseLayer, ...] = ()
    described: bool = False


def read_modules(folder: Path, name: str) -> EncoderModules:
    """Return the steps of a model; mean pooling and normalization if it has no `modules.json`.

    Args:
        folder: the model's folder, or its GGUF file.
        name: the model, for messages.

    Raises:
        InputError: a file is broken, or a step is not supported.
    """
    if not (folder / "modules.json").is_file():
        return EncoderModules()
    listed = _json(folder, "modules.json", name)
    if not isinstance(listed, list):
        raise InputError(f"{name}: its modules.json is not a list of modules")
    pooling, normalize, max_tokens = "mean", False, None
    dense: list[DenseLayer] = []
    for one in listed:
        kind = str(one.get("type", "")).rpartition(".")[2] if isinstance(one, dict) else ""
        path = _inside(str(one.get("path", "")), name) if kind else ""
        if kind == "Transformer":
            max_tokens = _max_tokens(folder, path, name)
        elif kind == "Pooling":
            pooling = _pooling(_json(folder, f"{path}/config.json", name), name)
        elif kind == "Dense":
            dense.append(_dense(folder, path, name))
        elif kind == "Normalize":
            normalize = True
        else:
            raise InputError(
                f"{name} has a module {one_line(kind or 'without a type', 40)}, which is not supported"
            )
    prompts = _json(folder, "config_sentence_transformers.json", name)
    texts = prompts.get("prompts") if isinstance(prompts, dict) else None
    texts = {str(key): str(text) for key, text in texts.items()} if isinstance(texts, dict) else {}
    default = prompts.get("default_prompt_name") if isinstance(prompts, dict) else None
    if default is not None and default not in texts:
        raise InputError(f"{name}: its default prompt {one_line(str(default), 40)} is not among its prompts")
    return EncoderModules(pooling, normalize, max_tokens, texts, default, tuple(dense), described=True)


def _json(folder: Path, file: str, name: str) -> Any:
    """Return the content of a JSON file; an empty object if it is not there."""
    path = folder / file
    if not path.is_file():
        return {}
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{name}: its {file} is larger than 1 MiB")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: its {file} is not JSON: {one_line(error)}") from error


def _inside(path: str, name: str) -> str:
    """Return a module's folder, which must be in the model's."""
    if path.startswith(("/", "\\")) or ".." in Path(path).parts or ":" in path:
        raise InputError(f"{name}: its modules.json names a folder outside the model: {one_line(path, 80)}")
    return path


def _max_tokens(folder: Path, path: str, name: str) -> int | None:
    config = _json(folder, f"{path}/sentence_bert_config.json".lstrip("/"), name)
    value = config.get("max_seq_length") if isinstance(config, dict) else None
    return value if isinstance(value, int) and value > 0 else None


def _pooling(config: Any, name: str) -> str:
    """Return the kind of pooling that a config names; mean, the default, if it names none."""
    config = config if isinstance(config, dict) else {}
    named = config.get("pooling_mode")
    if isinstance(named, str):
        chosen = ["last" if named == "lasttoken" else named]
    else:
        chosen = [kind for mode, kind in _MODES.items() if config.get(mode)] or ["mean"]
    if len(chosen) > 1 or chosen[0] not in POOLINGS:
        kinds = " and ".join(one_line(one, 40) for one in chosen)
        raise InputError(f"{name} pools by {kinds}, which is not supported; {', '.join(POOLINGS)} are")
    if config.get("include_prompt") is False:
        raise InputError(f"{name} leaves its prompt out of pooling, which is not supported")
    return chosen[0]


def _dense(folder: Path, path: str, name: str) -> DenseLayer:
    config = _json(folder, f"{path}/config.json", name)
    function = str(config.get("activation_function", "Tanh") if isinstance(config, dict) else "Tanh")
    activation = _ACTIVATIONS.get(function.rpartition(".")[2])
    file = folder / path / "model.safetensors"
    if activation is None:
        raise InputError(f"{name} has a dense layer with {one_line(function, 60)}, which is not supported")
    if not file.is_file():
        raise InputError(f"{name}: its dense layer has no {path}/model.safetensors")
    return DenseLayer(file, activation)


def load_dense(layer: DenseLayer, name: str) -> tuple[Any, Any]:
    """Return the weight [out, in] and the bias [out] of a dense layer, in float32; None without a bias.

    Raises:
        InputError: the file is broken.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if layer.file.stat().st_size > 4 * _MOST_VALUES:
        raise InputError(f"{name}: its dense layer is larger than 1 GiB")
    try:
        found = load_file(layer.file)
        weight = found["linear.weight"].float()
    except (SafetensorError, KeyError, OSError) as error:
        raise InputError(f"{name}: its dense layer cannot be read: {one_line(error)}") from error
    bias = found.get("linear.bias")
    if weight.dim() != 2 or (bias is not None and bias.shape != weight.shape[:1]):
        raise InputError(f"{name}: its dense layer has weights of a wrong shape")
    return weight, None if bias is None else bias.float()
