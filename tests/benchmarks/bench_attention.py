"""Our CPU kernel beside SDPA: decoding over a cache, masked prefill, and generation; and our cache.

Shapes are those of models with grouped heads, masks have left padding as batches do. Runs alternate.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

# Seconds after which a shape gets no more rounds.
PATIENCE = 20
DECODE = [
    (batch, heads, kv_heads, 1, keys, dim)
    for batch, keys in itertools.product((1, 8, 16), (256, 1024))
    for heads, kv_heads, dim in ((32, 8, 64), (9, 3, 64), (32, 8, 128))
]
PREFILL = [(1, 32, 8, length, length, 64) for length in (64, 512, 1024, 2048, 4096)]
PREFILL += [(4, 9, 3, 512, 512, 64), (1, 32, 32, 512, 512, 128)]


def times(shape: tuple[int, ...], dtype: str, rounds: int) -> tuple[float, float, bool]:
    """Median milliseconds of ours and of SDPA as transformers calls it, and whether ours claims the shape."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    from llmkit.attention import cpu

    batch, heads, kv_heads, queries, keys, dim = shape
    kind = getattr(torch, dtype)
    # As a projection leaves it, and as a cache holds it.
    query = torch.randn(batch, queries, heads, dim).to(kind).transpose(1, 2)
    key, value = (torch.randn(batch, kv_heads, keys, dim).to(kind) for _ in range(2))
    mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)[None, None].repeat(batch, 1, 1, 1)
    mask[0, :, :, :3] = False
    module = SimpleNamespace(num_key_value_groups=heads // kv_heads, is_causal=True)
    runs = {"ours": cpu.cpu_attention, "sdpa": sdpa_attention_forward}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    began = time.perf_counter()
    with torch.inference_mode():
        for number in range(rounds + 2):
            for name, run in runs.items():
                started = time.perf_counter()
                run(module, query, key, value, mask, scaling=dim**-0.5)
                taken[name].append(time.perf_counter() - started)
            # Where a processor has no bfloat16, SDPA takes a minute for a long prompt.
            if number > 1 and time.perf_counter() - began > PATIENCE:
                break
    # The first two warm up.
    taken = {name: found[2:] for name, found in taken.items()}
    with torch.inference_mode():
        claimed = cpu.accepts(query, key, value, mask)
    ours, sdpa = (1000 * statistics.median(taken[name]) for name in runs)
    return ours, sdpa, claimed


def llama_135m() -> Any:
    """A 135M-parameter Llama with random weights, in the dtype that `--dtype auto` takes here."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from llmkit.runtime.device import cpu_has_bfloat16

    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).to(torch.bfloat16 if cpu_has_bfloat16() else torch.float32).eval()


def generate(model: Any, cache: Any, context: int, new: int, batch: int) -> tuple[float, float]:
    """Seconds of prefill and of decoding, for a padded batch of random prompts."""
    import torch

    made = torch.Generator().manual_seed(0)
    ids = torch.randint(10, 49000, (batch, context), generator=made)
    seen = torch.ones_like(ids)
    seen[0, :50] = 0  # a batch of unlike lengths is padded
    with torch.inference_mode():
        started = time.perf_counter()
        step = model(ids, attention_mask=seen, past_key_values=cache, use_cache=True, logits_to_keep=1)
        middle = time.perf_counter()
        for _ in range(new):
            token = step.logits[:, -1].argmax(-1, keepdim=True)
            seen = torch.cat([seen, torch.ones_like(token)], dim=1)
            step = model(token, attention_mask=seen, past_key_values=cache, use_cache=True)
    return middle - started, time.perf_counter() - middle


def report(title: str, taken: dict[str, list[tuple[float, float]]]) -> None:
    """Medians without the first round, which warms up; ratios of the second way to the first."""
    print(f"\n{title}")
    parts: dict[str, Callable[[tuple[float, float]], float]] = {
        "prefill": lambda one: one[0],
        "decoding": lambda one: one[1],
        "together": sum,
    }
    for label, pick in parts.items():
        found = {name: statistics.median(pick(one) for one in runs[1:]) for name, runs in taken.items()}
        (ours, fast), (theirs, slow) = found.items()
        print(f"  {label:<9} {ours} {fast:.2f} s, {theirs} {slow:.2f} s, ratio {slow / fast:.2f}")


def end_to_end(rounds: int = 6, context: int = 1000, new: int = 32, batch: int = 8) -> None:
    """Batched generation with a 135M-parameter Llama: kernel beside SDPA, then cache beside transformers'."""
    from transformers import DynamicCache

    from llmkit.attention.interface import register
    from llmkit.attention.registry import find
    from llmkit.engines.transformers.key_value_cache import preallocated_cache

    model = llama_135m()
    loaded: Any = SimpleNamespace(model=model, is_encoder_decoder=False)
    size = f"135M parameters, {str(model.dtype)[6:]}, batch {batch}, {context:,} tokens of context, {new} new"
    taken: dict[str, list[tuple[float, float]]] = {"cpu": [], "sdpa": []}
    for _ in range(rounds):
        for name in taken:
            model.set_attn_implementation(register(find(name)))
            taken[name].append(generate(model, preallocated_cache(loaded, new), context, new, batch))
    report(f"generation, {size}", taken)
    taken = {"with room": [], "transformers' own": []}
    for _ in range(rounds):
        for name in taken:
            cache = (
                preallocated_cache(loaded, new) if name == "with room" else DynamicCache(config=model.config)
            )
            taken[name].append(generate(model, cache, context, new, batch))
    report(f"cache, {size}, sdpa", taken)


def main() -> None:
    """Print a line for each shape and dtype, and generation end to end."""
    for title, shapes, rounds in (("decoding", DECODE, 15), ("masked prefill", PREFILL, 3)):
        for dtype in ("bfloat16", "float32"):
            print(f"\n{title}, {dtype}: batch, heads, kv heads, queries, keys, head size")
            for shape in shapes:
                ours, sdpa, claimed = times(shape, dtype, rounds)
                note = "" if claimed else "  (handed to SDPA)"
                print(
                    f"  {shape!s:<32} cpu {ours:9.3f} ms  sdpa {sdpa:9.3f} ms  ratio {sdpa / ours:.2f}{note}",
                    flush=True,
                )
    end_to_end()


if __name__ == "__main__":
    main()
