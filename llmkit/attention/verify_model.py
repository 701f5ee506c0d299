"""Verify a kernel inside a model: every attention layer must call it, and the model's results must stay.

The caller loads the model.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch

from llmkit.attention.interface import register, watched
from llmkit.attention.registry import Kernel
from llmkit.attention.verify import Result, reason
from llmkit.errors import OptionError

_TOLERANCES = {"float64": 1e-8, "float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}
"""Largest allowed difference of logits, as a share of the largest logit."""
_TOKENS = 24
_LENGTHS = (_TOKENS, _TOKENS - 5, 1)
"""Lengths of the texts in a padded batch."""
_Run = Callable[[Any], torch.Tensor]


def attention_layers(model: torch.nn.Module) -> dict[int, str]:
    """Return ids and names of the modules that compute attention.

    These are the innermost modules whose class name ends in Attention, as is usual in transformers.
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
    """Check that a model runs the kernel that was set: every attention layer must call it.

    Raises:
        OptionError: a layer does not call it; the output would be right, but not the kernel's.
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
        raise OptionError(
            "attn", f"{kernel.name}: {kind} does not use the attention interface{where}; omit the option"
        )


def verify_inside(kernel: Kernel, model: Any) -> Iterator[Result]:
    """Compare a model that runs the kernel with the same model running transformers' `eager`.

    Args:
        kernel: the kernel.
        model: a language model, or an encoder with a head; its own kernel is set again at the end.

    Yields:
        Results; differences are shares of the largest logit.
    """
    dtype = str(model.dtype).removeprefix("torch.")
    kind = type(model).__name__
    tolerance = _TOLERANCES.get(dtype, _TOLERANCES["bfloat16"])
    try:
        with running(kernel, model):
            check_taken(kernel, model)
    except Exception as error:
        # A kernel may raise anything; the user needs the message.
        yield Result(f"{kind}: taken by every layer", None, None, False, reason(kernel.name, error))
        return
    yield Result(f"{kind}: taken by every layer", None, None, True)
    yield _compare(f"{kind}: prefill", kernel, model, _prefill, _prefill, tolerance)
    yield _compare(f"{kind}: padded batch against single texts", kernel, model, _singles, _padded, tolerance)
    if not model.can_generate():
        return
    if not model.config.is_encoder_decoder:
        yield _compare(f"{kind}: cached decoding", kernel, model, _decode, _decode, tolerance)
    yield _greedy(f"{kind}: greedy tokens", kernel, model, tolerance)
    if "paged" in kernel.supports and not model.config.is_encoder_decoder:
        yield _batched(f"{kind}: continuous batching", kernel, model, tolerance)


@contextmanager
def running(kernel: Kernel | None, model: Any) -> Iterator[None]:
    """Set a kernel, or `eager` for None, inside the `with` block."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager" if kernel is None else register(kernel))
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def small_model(kernel: Kernel) -> Any:
    """Return a small random Llama with two query heads a key head, in a dtype that the kernel accepts."""
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


def _singles(model: Any) -> torch.Tensor:
    """Return the last logits of texts of several lengths, each run alone."""
    ids = _ids(model, len(_LENGTHS), _TOKENS)
    decoder = _decoder_ids(model, ids)
    found = []
    for row, length in enumerate(_LENGTHS):
        text = ids[row : row + 1, :length]
        options = {name: x[row : row + 1] for name, x in decoder.items()}
        found.append(_forward(model, text, attention_mask=torch.ones_like(text), **options)[0, -1])
    return torch.stack(found)


def _padded(model: Any) -> torch.Tensor:
    """Return the same logits from one padded batch: padded on the left if the model generates."""
    ids = _ids(model, len(_LENGTHS), _TOKENS)
    options = _decoder_ids(model, ids)
    left = model.can_generate() and not options
    batch, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, length in enumerate(_LENGTHS):
        at = slice(_TOKENS - length, None) if left else slice(length)
        batch[row, at], mask[row, at] = ids[row, :length], 1
    if left and "position_ids" in inspect.signature(model.forward).parameters:
        options["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)  # as `generate` makes them
    logits = _forward(model, batch, attention_mask=mask, **options)
    last = [-1 if left or model.config.is_encoder_decoder else length - 1 for length in _LENGTHS]
    return torch.stack([logits[row, at] for row, at in enumerate(last)])


def _decode(model: Any) -> torch.Tensor:
    """Return the logits of a prompt, then of three tokens at once, then of one token at a time."""
    ids = _ids(model, 2, _TOKENS)
    found, cache, done = [], None, 0
    for size in (9, 3, *[1] * (_TOKENS - 12)):
        step = model(ids[:, done : done + size], past_key_values=cache, use_cache=True)
        cache, done = step.past_key_values, done + size
        found.append(step.logits)
    return torch.cat(found, dim=1)


def _compare(name: str, kernel: Kernel, model: Any, right: _Run, run: _Run, tolerance: float) -> Result:
    """Compare the result of `run` with the kernel and of `right` with `eager`."""
    try:
        with torch.inference_mode():
            with running(None, model):
                expected = right(model).double()
            with running(kernel, model):
                found = run(model).double()
    except Exception as error:
        return Result(name, None, tolerance, False, reason(kernel.name, error))
    if not bool(torch.isfinite(found).all()):
        return Result(name, float("inf"), tolerance, False, "NaN or infinity in the logits")
    off = float((found - expected).abs().max() / expected.abs().max())
    return Result(name, off, tolerance, off <= tolerance)


def _greedy(name: str, kernel: Kernel, model: Any, tolerance: float) -> Result:
    ids = _ids(model, 1, 7)
    options: dict[str, Any] = {"max_new_tokens": 16, "do_sample": False, "num_beams": 1}
    try:
        with running(None, model):
            expected = model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0].tolist()
        with running(kernel, model):
            found = model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0].tolist()
    except Exception as error:
        return Result(name, None, None, False, reason(kernel.name, error))
    wrong = _difference(model, ids, expected, found, tolerance)
    return Result(name, None, None, not wrong, wrong)


def _batched(name: str, kernel: Kernel, model: Any, tolerance: float) -> Result:
    from llmkit.attention.paged import paged

    prompts = [_ids(model, 1, length) for length in (3, 20, 1)]
    try:
        with running(None, model):
            expected = _generate_batch(model, prompts)
    except Exception as error:
        # Not every model can, with any kernel.
        return Result(name, None, None, None, reason(kernel.name, error))
    try:
        with paged(kernel, model):
            found = _generate_batch(model, prompts)
    except Exception as error:
        return Result(name, None, None, False, reason(kernel.name, error))
    if len(found) < len(expected):
        return Result(name, None, None, False, f"{len(found)} of {len(expected)} requests came to an end")
    triples = zip(prompts, expected, found, strict=True)
    wrong = next(filter(None, (_difference(model, *texts, tolerance) for texts in triples)), "")
    return Result(name, None, None, not wrong, wrong)


def _difference(
    model: Any, ids: torch.Tensor, expected: Sequence[int], found: Sequence[int], tolerance: float
) -> str:
    """Describe where two greedy texts differ although the choice was clear; empty if they do not.

    Rounding decides between logits that are almost equal, and after a different token the texts differ.
    """
    step = next((i for i, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), None)
    if step is None:
        return "" if len(expected) == len(found) else "the number of tokens differs from eager"
    so_far = torch.tensor([expected[:step]], device=model.device)
    with running(None, model), torch.inference_mode():
        if model.config.is_encoder_decoder:
            logits = _forward(model, ids, decoder_input_ids=so_far)[0, -1].double()
        else:
            logits = _forward(model, so_far)[0, -1].double()
    gap = float((logits[expected[step]] - logits[found[step]]).abs() / logits.abs().max())
    return "" if gap <= 2 * tolerance else f"token {step + 1} differs from eager"


def _generate_batch(model: Any, prompts: Sequence[torch.Tensor]) -> list[list[int]]:
    """Return the texts of the finished requests in order. The cache is a few pages, not all memory."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    small = ContinuousBatchingConfig(
        page_size=16, num_blocks=16, max_batch_tokens=64, use_async_batching=False, use_cuda_graph=False
    )
    greedy = GenerationConfig(max_new_tokens=8, do_sample=False, eos_token_id=-1, pad_token_id=0)
    with redirect_stdout(io.StringIO()):  # its thread prints errors there
        found = model.generate_batch([ids[0].tolist() for ids in prompts], greedy, small)
    ended = [(ids, found.get(f"req_{i}")) for i, ids in enumerate(prompts)]
    return [[*ids[0].tolist(), *one.generated_tokens] for ids, one in ended if one is not None]


def _forward(model: Any, ids: torch.Tensor, **options: Any) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=ids, **{**_decoder_ids(model, ids), **options})[0]
    return logits


def _decoder_ids(model: Any, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the decoder inputs of an encoder-decoder model; empty for others."""
    return {"decoder_input_ids": ids[:, :4]} if model.config.is_encoder_decoder else {}


def _ids(model: Any, rows: int, length: int) -> torch.Tensor:
    made = torch.Generator().manual_seed(3)
    size = model.config.get_text_config(decoder=True).vocab_size
    return torch.randint(3, size, (rows, length), generator=made).to(model.device)
