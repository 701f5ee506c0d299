"""Check what llmkit claims on a GPU, in less than 8 minutes: ``make check-gpu``.

Proofs (attention, quantized products, text on the GPU and on the CPU) and speeds (one stream and a batch, at
shapes of 1 and 8 billion parameters with random weights, beside what the memory's bandwidth allows). It
prints one table and writes check-gpu.json. Without a GPU it says so, runs the proofs that a CPU can run, and
exits with 1.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

SECONDS = 450
OUTPUT = Path("check-gpu.json")
PROMPT, NEW = 128, 64
_COMMON = {"num_key_value_heads": 8, "vocab_size": 128_256, "max_position_embeddings": 8192}
SHAPES: dict[str, dict[str, Any]] = {
    "1B": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "tie_word_embeddings": True,
        **_COMMON,
    },
    "8B": {
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        **_COMMON,
    },
}


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes:
        part: group of the line.
        name: what was checked or measured.
        value: what was found.
        passed: True or False for a proof; None for a measurement, or if the line was not run.
        note: the limit beside a speed, a fault, or the reason why the line was not run.
    """

    part: str
    name: str
    value: str
    passed: bool | None = None
    note: str = ""


def attention(device: str) -> Iterator[Check]:
    """Prove `flash` on the GPU."""
    from llmkit.attention.registry import find
    from llmkit.attention.verify import verify

    kernel = find("flash")
    if device not in kernel.devices:
        yield Check("attention", "flash: proof", "not run", note=f"it runs on {', '.join(kernel.devices)}")
        return
    results = list(verify(kernel, device=device, quick=True))
    run = [one for one in results if one.passed is not None]
    wrong = [one for one in run if not one.passed]
    note = "; ".join(f"{one.name}: {one.note or one.error}" for one in wrong[:3])
    yield Check("attention", "flash: proof", f"{len(run) - len(wrong)} of {len(run)} cases", not wrong, note)


def attention_speed(device: str) -> Iterator[Check]:
    """Time `flash`, SDPA and, where it is installed, FlashAttention 2."""
    import importlib.util

    from llmkit.attention.benchmark import compare
    from llmkit.attention.registry import find

    if device == "cpu":
        yield Check("attention", "flash: speed", "not run", note="no GPU")
        return
    names = ["sdpa", "flash", *(["flash_attention_2"] if importlib.util.find_spec("flash_attn") else [])]
    _, timings = compare([find(name) for name in names], device=device, dtype=torch.bfloat16)
    base = {one.shape: one.seconds for one in timings if one.kernel == "sdpa"}
    for one in timings:
        if one.seconds is None or one.share is None:
            yield Check("attention", f"{one.shape}: {one.kernel}", "failed", False, one.note)
            continue
        sdpa = base[one.shape]
        ratio = f", {sdpa / one.seconds:.2f} times as fast as sdpa" if sdpa else ""
        note = f"{one.share:.0%} of the limit in {one.bound}"
        yield Check(
            "attention", f"{one.shape}: {one.kernel}", f"{one.seconds * 1e3:.3f} ms{ratio}", None, note
        )


def quantization(device: str) -> Iterator[Check]:
    """Prove the quantized products that `quantize` uses on the device."""
    from llmkit.linear.registry import default
    from llmkit.linear.verify import verify

    kernel = default(device)
    run = [one for one in verify(kernel, device=device, quick=True) if one.passed is not None]
    wrong = [one for one in run if not one.passed]
    note = "; ".join(f"{one.name}: {one.note or one.error}" for one in wrong[:3])
    value = f"{len(run) - len(wrong)} of {len(run)} cases"
    yield Check("quantization", f"{kernel.name}: proof", value, not wrong, note)


def parity(device: str) -> Iterator[Check]:
    """Compare greedy text in float32 with transformers' own `generate` on the CPU."""
    from llmkit.engines.base import Request, Sampling
    from llmkit.engines.transformers.engine import TransformersEngine
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    texts = ("Once upon a time", "Tom", "The dog saw a cat. " * 12, "One day, Lily went to the")

    def written(on: str, attn: str | None) -> list[list[int]]:
        spec = ModelSpec("stories", dtype="float32", device=on, bundled=True, attn=attn)
        engine = TransformersEngine(load(spec))
        assert engine.tokenizer is not None
        ids: Any = engine.tokenizer(list(texts))["input_ids"]
        rows = [Request(Sampling(max_new_tokens=32), ids=one, key=(0, i, 0)) for i, one in enumerate(ids)]
        return [one.ids for answer in engine.generate(rows) for one in answer]

    expected = written("cpu", "sdpa")
    for attn in (None, *(["flash"] if device != "cpu" else [])):
        found = written(device, attn)
        same = sum(a == b for a, b in zip(found, expected, strict=True))
        name = f"text on {device} with attention {attn or 'of the default'}"
        yield Check("decoder", name, f"{same} of {len(texts)} equal", same == len(texts))


def speed(device: str) -> Iterator[Check]:
    """Time one stream and a batch at each shape."""
    if device == "cpu":
        yield Check("speed", "1B and 8B shapes", "not run", note="no GPU")
        return
    from llmkit.benchmark import limits

    reached = limits.measure_limits(device, torch.bfloat16)
    yield Check("speed", "bandwidth of a copy", f"{reached.bandwidth / 1e9:,.0f} GB/s")
    yield Check("speed", "matrix product in bfloat16", f"{reached.operations / 1e12:,.0f} TFLOP/s")
    for name, shape in SHAPES.items():
        free, _ = torch.cuda.mem_get_info()
        if name == "8B" and free < 24e9:
            yield Check("speed", name, "not run", note=f"{free / 1e9:.0f} GB of memory are free; it needs 24")
            continue
        yield from _speed_of(name, shape, device, reached)
        torch.cuda.empty_cache()


def _speed_of(name: str, shape: dict[str, Any], device: str, reached: Any) -> Iterator[Check]:
    from llmkit.benchmark import limits
    from llmkit.engines.base import Request, Sampling

    engine = _random_engine(shape, device)
    work = limits.model_work(engine.loaded.model)
    made = torch.Generator().manual_seed(0)

    def seconds(rows: int, new: int) -> float:
        sampling = Sampling(max_new_tokens=new, eos_token_ids=())
        ids = torch.randint(3, 1000, (rows, PROMPT), generator=made).tolist()
        torch.cuda.synchronize()
        started = time.perf_counter()
        engine.generate([Request(sampling, ids=one, key=(0, i, 0)) for i, one in enumerate(ids)])
        torch.cuda.synchronize()
        return time.perf_counter() - started

    for rows in (1, 32):
        seconds(rows, 4)  # compiles and allocates
        # The difference of two lengths leaves out reading the prompt.
        step = (min(seconds(rows, NEW) for _ in range(3)) - min(seconds(rows, 2) for _ in range(3))) / (
            NEW - 2
        )
        note = ""
        if work is not None:
            context = PROMPT + NEW / 2
            limit = rows * reached.bandwidth / (work.step_bytes + rows * context * work.cache_bytes)
            note = f"{rows / step / limit:.0%} of {limit:,.0f} tokens/s that the bandwidth allows"
        yield Check("speed", f"{name}, {rows} at once, bfloat16", f"{rows / step:,.1f} tokens/s", None, note)


def _random_engine(shape: dict[str, Any], device: str) -> Any:
    """An engine for a Llama of random weights, with the tokenizer of a bundled model."""
    from dataclasses import replace

    from transformers import LlamaConfig, LlamaForCausalLM

    from llmkit.engines.transformers.engine import TransformersEngine
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    spec = ModelSpec("stories", dtype="bfloat16", device=device, bundled=True)
    bundled = load(spec)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(LlamaConfig(**shape)).eval()
    finally:
        torch.set_default_dtype(before)
    model.generation_config = bundled.model.generation_config
    context = shape["max_position_embeddings"]
    return TransformersEngine(replace(bundled, model=model, context_length=context, notes=[]))


PARTS: tuple[Callable[[str], Iterator[Check]], ...] = (
    attention,
    quantization,
    parity,
    attention_speed,
    speed,
)


def checks(device: str, seconds: float = SECONDS) -> Iterator[Check]:
    """Run all parts; a part that begins after `seconds` is left out, and one that fails is reported."""
    started = time.perf_counter()
    for part in PARTS:
        if time.perf_counter() - started > seconds:
            yield Check(part.__name__, "all", "not run", note=f"{seconds:.0f} seconds were over")
            continue
        try:
            yield from part(device)
        except Exception as error:  # the other parts are still run
            yield Check(part.__name__, "all", "failed", False, f"{type(error).__name__}: {error}"[:300])


def main() -> int:
    """Run the checks, print the table and write the file; return the exit status."""
    there = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if there else None
    print(f"GPU: {name}" if there else "No GPU that torch can use: nothing is checked on one.", flush=True)
    found = []
    for one in checks("cuda" if there else "cpu"):
        found.append(one)
        sign = {True: "ok", False: "WRONG", None: ""}[one.passed]
        print(f"{one.part:<13} {one.name:<46} {sign:<6} {one.value}  {one.note}".rstrip(), flush=True)
    result = {"gpu": name, "torch": torch.__version__, "checks": [asdict(one) for one in found]}
    OUTPUT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"written to {OUTPUT}")
    return 0 if there and all(one.passed is not False for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
