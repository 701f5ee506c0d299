"""Split a model into the graphs that ONNX programs run, and trace them with transformers' exporter.

A model that generates has one decoder graph for the prompt and for the steps after it: the cache is an input,
and it is empty for a prompt. So the file contains the weights once.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from llmkit.convert.quiet import quiet
from llmkit.errors import InputError, one_line
from llmkit.formats.onnx import Port, cache_names

if TYPE_CHECKING:
    from llmkit.convert.source import SourceModel

_ROWS = {0: "batch_size"}
_TEXT = {0: "batch_size", 1: "sequence_length"}
_SOURCE_TEXT = {0: "batch_size", 1: "encoder_sequence_length"}
_PAST, _NEW = "past_sequence_length", "sequence_length"
# Sizes of the traced sample. It has two rows of different length: a batch of one would fix the batch size,
# and rows without padding would lose the mask. All sizes differ, so that the exporter does not treat two
# dimensions as one.
_BATCH, _STEP, _CACHED, _ENCODED = 2, 3, 5, 7


@dataclass
class Graph:
    """One graph to trace.

    Attributes:
        file: name of its file without the ending.
        module: the module to trace, in eval mode.
        sample: a value for each of the module's arguments; `past` is a list.
        inputs: the inputs in order.
        outputs: the outputs in order.
    """

    file: str
    module: nn.Module
    sample: dict[str, Any]
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)


def graphs_of(source: SourceModel, model: Any) -> list[Graph]:
    """Return the graphs of a model: a decoder; an encoder and a decoder; or an encoder with its head.

    Args:
        source: the model's origin, for its tokenizer and for messages.
        model: the model to trace, in the dtype to write.

    Raises:
        InputError: the model has a state other than a cache of keys and values.
    """
    if not model.can_generate():
        if model.config.is_encoder_decoder:
            raise InputError(
                f"{source.name} is a bare {model.config.model_type} model; ONNX export"
                " supports only encoder-decoders with a generation head"
            )
        return [_encoder(source, model)]
    if model.config.is_encoder_decoder:
        return [_source_encoder(model), _cross_decoder(source, model)]
    return [_decoder(source, model)]


def trace(graph: Graph) -> Any:
    """Trace a graph with transformers' exporter.

    Returns:
        an `onnx_ir.Model` whose inputs and outputs have the names of `Port.traced`.

    Raises:
        InputError: the model has an operation that cannot be traced or that ONNX does not support.
    """
    from transformers.exporters.configs import OnnxConfig
    from transformers.exporters.exporter_onnx import OnnxExporter

    varies = torch.export.Dim.DYNAMIC
    axes = {port.traced: dict.fromkeys(port.axes, varies) for port in graph.inputs}
    shapes: dict[str, Any] = {name: axes[name] for name in graph.sample if name != "past"}
    if "past" in graph.sample:
        shapes["past"] = [axes[f"past.{i}"] for i in range(len(graph.sample["past"]))]
    try:
        with _silent():
            config = OnnxConfig(dynamic=True, dynamic_shapes=shapes)
            exporter: Any = OnnxExporter()  # accepts any module, although its annotations do not
            return exporter.export(graph.module, dict(graph.sample), config).program
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # tracing runs the model, so any exception is possible
        raise InputError(
            f"{graph.file}: this model cannot be traced for ONNX: {one_line(_root(error))}"
        ) from error


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Hide the exporter's reports from the terminal and from standard output."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with quiet(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _takes(module: Any, name: str) -> bool:
    return name in inspect.signature(type(module).forward).parameters


class _Encoder(nn.Module):
    """An encoder with its head: logits, or start and end logits, or the last hidden states."""

    def __init__(self, model: Any, outputs: list[str]) -> None:
        super().__init__()
        self.model = model
        self.outputs = outputs

    def forward(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.model(**inputs)
        return {name: found[name] for name in self.outputs}


def _encoder(source: SourceModel, model: Any) -> Graph:
    sample = _texts(model, _ENCODED)
    names = getattr(source.tokenizer, "model_input_names", ["token_type_ids"])
    types = getattr(model.config, "type_vocab_size", 0) or 0
    if _takes(model, "token_type_ids") and "token_type_ids" in names and types > 1:
        sample["token_type_ids"] = torch.arange(_ENCODED).expand(_BATCH, -1) % 2
    with torch.no_grad():
        found = model(**sample)
    given = [name for name in ("start_logits", "end_logits", "logits", "prediction_logits") if name in found]
    outputs = given or ["last_hidden_state"]
    if outputs[0] not in found:
        raise InputError(f"{source.name} gives no logits and no hidden states ({type(model).__name__})")
    each = {name: _ROWS if found[name].dim() == 2 and name == "logits" else _TEXT for name in outputs}
    named = {"prediction_logits": "logits"}
    return Graph(
        "model", _Encoder(model, outputs), sample,
        [Port(name, name, _TEXT) for name in sample],
        [Port(name, named.get(name, name), each[name]) for name in outputs],
    )  # fmt: skip


def _texts(model: Any, length: int) -> dict[str, torch.Tensor]:
    """Return two rows of ids, the second with padding at its end."""
    vocab_size = model.config.get_text_config().vocab_size
    ids = torch.arange(_BATCH * length).reshape(_BATCH, length) * 7 % vocab_size
    mask = torch.ones_like(ids)
    mask[1, length - 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


class _Decoder(nn.Module):
    """A decoder whose cache is a list of tensors: keys and values of each layer in turn."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, past: list[torch.Tensor], **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        from transformers import DynamicCache

        # A cache without a config keeps all positions in every layer; the mask applies sliding windows.
        cache: Any = DynamicCache(list(zip(past[::2], past[1::2], strict=True)))
        logits = self.model(**inputs, past_key_values=cache, use_cache=True).logits
        present = [value for layer in cache.layers for value in (layer.keys, layer.values)]
        names = cache_names(len(cache.layers), cross=False, past=False)
        return {"logits": logits} | dict(zip(names, present, strict=True))


def _decoder(source: SourceModel, model: Any) -> Graph:
    past = _cache_of(source, model)
    total = _CACHED + _STEP
    sample = _texts(model, _STEP)
    mask = torch.ones(_BATCH, total, dtype=torch.long)
    mask[0, :2] = 0
    sample["attention_mask"] = mask
    if _takes(model, "position_ids"):
        sample["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)[:, _CACHED:]
    axes = dict.fromkeys(sample, _TEXT) | {"attention_mask": {0: "batch_size", 1: f"{_PAST} + {_NEW}"}}
    inputs = [Port(name, name, axes[name]) for name in sample]
    return Graph(
        "model",
        _Decoder(model),
        sample | {"past": past},
        [*inputs, *_past_ports(cache_names(len(past) // 2, cross=False, past=True))],
        [
            Port("logits", "logits", _TEXT),
            *_present_ports(cache_names(len(past) // 2, cross=False, past=False)),
        ],
    )


def _past_ports(names: list[str]) -> Iterator[Port]:
    for i, name in enumerate(names):
        length = "encoder_sequence_length_out" if ".encoder." in name else _PAST
        if ".decoder." in name:
            length = "past_decoder_sequence_length"
        yield Port(f"past.{i}", name, {0: "batch_size", 2: length})


def _present_ports(names: list[str]) -> Iterator[Port]:
    for name in names:
        length = "encoder_sequence_length" if ".encoder." in name else f"{_PAST} + {_NEW}"
        if ".decoder." in name:
            length = f"past_decoder_sequence_length + {_NEW}"
        yield Port(name, name, {0: "batch_size", 2: length})


def _cache_of(source: SourceModel, model: Any) -> list[torch.Tensor]:
    """Return keys and values of `_CACHED` positions, in the model's own form."""
    from transformers import DynamicCache

    kind = model.config.model_type
    cache: Any = DynamicCache()
    try:
        with torch.no_grad():
            model(input_ids=_texts(model, _CACHED)["input_ids"], past_key_values=cache, use_cache=True)
        past = [value for layer in cache.layers for value in (layer.keys, layer.values)]
    except Exception as error:  # other kinds of cache raise other exceptions
        raise _no_cache(source, kind) from error
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", len(cache.layers))
    if len(cache.layers) != layers or any(one is None or one.dim() != 4 for one in past):
        raise _no_cache(source, kind)
    if any(one.shape[0] != _BATCH or one.shape[2] != _CACHED for one in past):
        raise _no_cache(source, kind)
    return past


def _no_cache(source: SourceModel, kind: str) -> InputError:
    return InputError(
        f"{source.name}: {kind} has a state other than keys and values in its layers, which ONNX"
        " export does not support"
    )


class _SourceEncoder(nn.Module):
    """Encoder of an encoder-decoder."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        return {"last_hidden_state": found.last_hidden_state}


def _source_encoder(model: Any) -> Graph:
    sample = _texts(model, _ENCODED)
    return Graph(
        "encoder_model", _SourceEncoder(model.get_encoder()), sample,
        [Port(name, name, _SOURCE_TEXT) for name in sample],
        [Port("last_hidden_state", "last_hidden_state", _SOURCE_TEXT)],
    )  # fmt: skip


class _CrossDecoder(nn.Module):
    """Decoder of an encoder-decoder, with four cache tensors per layer: its own two, and the encoder's two.

    The first step computes the encoder's keys and values, and later steps receive them as inputs. One graph
    does both without a branch: it projects only the encoder positions that are not in the cache yet, and
    appends the result to the cache. These are all positions in the first step, and none later.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        encoder_attention_mask: torch.Tensor,
        input_ids: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        past: list[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        from transformers import DynamicCache, EncoderDecoderCache

        own: Any = DynamicCache(list(zip(past[::4], past[1::4], strict=True)))
        cross: Any = DynamicCache(list(zip(past[2::4], past[3::4], strict=True)))
        cache = EncoderDecoderCache(own, cross)
        cache.is_updated = dict.fromkeys(range(len(own.layers)), False)
        with _from_position(self.model, past[2].shape[2]):
            logits = self.model(
                encoder_outputs=(encoder_hidden_states,),
                attention_mask=encoder_attention_mask,
                decoder_input_ids=input_ids,
                past_key_values=cache,
                use_cache=True,
            ).logits
        present = [
            value
            for mine, other in zip(own.layers, cross.layers, strict=True)
            for value in (mine.keys, mine.values, other.keys, other.values)
        ]
        names = cache_names(len(own.layers), cross=True, past=False)
        return {"logits": logits} | dict(zip(names, present, strict=True))


@contextlib.contextmanager
def _from_position(model: Any, start: Any) -> Iterator[None]:
    """Make attention to the encoder project only its positions from `start` on."""

    def cut(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        states = kwargs.get("key_value_states")
        return args, kwargs if states is None else kwargs | {"key_value_states": states[:, start:]}

    takers = [module for module in model.modules() if _takes(module, "key_value_states")]
    # A layer of T5 passes the states on to its attention: only the innermost module cuts them.
    inner = [one for one in takers if not any(other in takers for other in list(one.modules())[1:])]
    hooks = [one.register_forward_pre_hook(cut, with_kwargs=True) for one in inner]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _cross_decoder(source: SourceModel, model: Any) -> Graph:
    texts = _texts(model, _ENCODED)
    ids = _texts(model, _CACHED)["input_ids"]
    try:
        with torch.no_grad():
            found = model(**texts, decoder_input_ids=ids, use_cache=True)
        own, cross = found.past_key_values.self_attention_cache, found.past_key_values.cross_attention_cache
        layers = list(zip(own.layers, cross.layers, strict=True))
        # A part of the encoder's positions is in the sample's cache, so that the graph works for none and for
        # all.
        past = [
            value
            for mine, other in layers
            for value in (mine.keys, mine.values, other.keys[:, :, :4], other.values[:, :, :4])
        ]
    except Exception as error:  # other kinds of cache raise other exceptions
        raise _no_cache(source, model.config.model_type) from error
    sample = {
        "encoder_attention_mask": texts["attention_mask"],
        "input_ids": ids[:, :_STEP],
        "encoder_hidden_states": found.encoder_last_hidden_state,
    }
    axes = dict.fromkeys(sample, _SOURCE_TEXT) | {"input_ids": _TEXT}
    inputs = [Port(name, name, axes[name]) for name in sample]
    return Graph(
        "decoder_model_merged",
        _CrossDecoder(model),
        sample | {"past": past},
        [*inputs, *_past_ports(cache_names(len(layers), cross=True, past=True))],
        [
            Port("logits", "logits", _TEXT),
            *_present_ports(cache_names(len(layers), cross=True, past=False)),
        ],
    )
