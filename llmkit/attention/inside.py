"""A kernel inside a model: does every attention layer call it, and are the model's answers the same?

The model is handed in; nothing here loads one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from llmkit.attention.interface import register, watched
from llmkit.attention.registry import Kernel
from llmkit.attention.verify import Result
from llmkit.errors import InputError

_TOLERANCES = {"float64": 1e-8, "float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}
"""Largest difference of logits, as a share of their largest."""
_TOKENS = 24


def attention_layers(model: torch.nn.Module) -> dict[int, str]:
    """The ids and the names of the modules that compute attention.

    By transformers' own naming: the innermost modules whose class ends in Attention.
    """
    layers = {}
    for name, module in model.named_modules():
        if not type(module).__name__.endswith("Attention"):
            continue
        inner = (type(one).__name__.endswith("Attention") for one in module.modules() if one is not module)
        if not any(inner):
            layers[id(module)] = name
    return layers


def check_taken(kernel: Kernel, model: Any) -> None:
    """See to it that a model runs a kernel that was set: every attention layer must call it.

    Raises:
        InputError: one does not; its output would be right, and not the kernel's.
    """
    if kernel.native:
        return
    layers = attention_layers(model)
    with watched() as seen, torch.inference_mode():
        _forward(model, torch.arange(3, 6, device=model.device)[None])
    missed = [name for one, name in layers.items() if one not in seen]
    if missed or not layers:
        kind = type(model).__name__
        where = f" (its layer {missed[0]} did not call it)" if missed else ""
        raise InputError(
            f"--attn {kernel.name}: {kind} does not use the attention interface{where}; leave --attn out"
        )


def verify_inside(kernel: Kernel, model: Any) -> Iterator[Result]:
    """Compare a model that runs the kernel with the same model running transformers' `eager`.

    Args:
        kernel: the kernel.
        model: a causal or an encoder-decoder language model; it runs what it ran before afterwards.

    Yields:
        Results; a difference is a share of the largest logit.
    """
    dtype = str(model.dtype).removeprefix("torch.")
    kind = type(model).__name__
    tolerance = _TOLERANCES.get(dtype, _TOLERANCES["bfloat16"])
    try:
        with running(kernel, model):
            check_taken(kernel, model)
    except Exception as error:
        # A kernel may raise anything, and that is what the user wants to be told.
        yield Result(f"{kind}: taken by every layer", None, None, False, _one_line(error))
        return
    yield Result(f"{kind}: taken by every layer", None, None, True)
    for name, run in (("prefill", _prefill), ("padded batch against single texts", _padded)):
        yield _compare(f"{kind}: {name}", kernel, model, run, tolerance)
    if not model.config.is_encoder_decoder:
        yield _compare(f"{kind}: cached decoding", kernel, model, _decode, tolerance)
    yield _greedy(f"{kind}: greedy tokens", kernel, model)


@contextmanager
def running(kernel: Kernel | None, model: Any) -> Iterator[None]:
    """The model with a kernel, or with `eager` for None, and then with what it had."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager" if kernel is None else register(kernel))
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def small_model(kernel: Kernel) -> Any:
    """A small random Llama with two query heads to a key head, in a dtype that the kernel takes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    dtype = "float32" if "float32" in kernel.dtypes else kernel.dtypes[0]
    size = kernel.head_dims[0] if kernel.head_dims else 64
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=4 * size,
        intermediate_size=4 * size,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=size,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    made = torch.Generator().manual_seed(0)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, weight.shape[-1] ** -0.5 * 1.5, generator=made)
    return model.to(getattr(torch, dtype)).eval()


def _prefill(model: Any) -> torch.Tensor:
    return _forward(model, _ids(model, 2, _TOKENS))


def _padded(model: Any) -> torch.Tensor:
    """The last logits of texts of several lengths, padded on the left."""
    ids = _ids(model, 3, _TOKENS)
    mask = torch.ones_like(ids)
    for row, empty in enumerate((0, 5, _TOKENS - 1)):
        mask[row, :empty] = 0
    return _forward(model, ids, attention_mask=mask)[:, -1:]


def _decode(model: Any) -> torch.Tensor:
    """Logits of a prompt, of three tokens at once after it, and of one at a time after those."""
    ids = _ids(model, 2, _TOKENS)
    found, cache, done = [], None, 0
    for size in (9, 3, *[1] * (_TOKENS - 12)):
        step = model(ids[:, done : done + size], past_key_values=cache, use_cache=True)
        cache, done = step.past_key_values, done + size
        found.append(step.logits)
    return torch.cat(found, dim=1)


def _compare(name: str, kernel: Kernel, model: Any, run: Any, tolerance: float) -> Result:
    try:
        with torch.inference_mode():
            with running(None, model):
                expected = run(model).double()
            with running(kernel, model):
                found = run(model).double()
    except Exception as error:
        return Result(name, None, tolerance, False, _one_line(error))
    if not bool(torch.isfinite(found).all()):
        return Result(name, float("inf"), tolerance, False, "NaN or infinity in the logits")
    off = float((found - expected).abs().max() / expected.abs().max())
    return Result(name, off, tolerance, off <= tolerance)


def _greedy(name: str, kernel: Kernel, model: Any) -> Result:
    ids = _ids(model, 1, 7)
    options: dict[str, Any] = {"max_new_tokens": 16, "do_sample": False, "num_beams": 1}
    try:
        with torch.inference_mode():
            with running(None, model):
                expected = model.generate(ids, attention_mask=torch.ones_like(ids), **options)
            with running(kernel, model):
                found = model.generate(ids, attention_mask=torch.ones_like(ids), **options)
    except Exception as error:
        return Result(name, None, None, False, _one_line(error))
    same = expected.shape == found.shape and bool((expected == found).all())
    return Result(name, None, None, same, "" if same else "other tokens than with eager")


def _forward(model: Any, ids: torch.Tensor, **options: Any) -> torch.Tensor:
    if model.config.is_encoder_decoder:
        options["decoder_input_ids"] = ids[:, :4]
    logits: torch.Tensor = model(input_ids=ids, **options)[0]
    return logits


def _ids(model: Any, rows: int, length: int) -> torch.Tensor:
    made = torch.Generator().manual_seed(3)
    size = model.config.get_text_config(decoder=True).vocab_size
    return torch.randint(3, size, (rows, length), generator=made).to(model.device)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
