"""Tokens per second over a file of prompts: mixed lengths, mixed answers, every program on the same weights.

LLMKIT_THOUSAND_MODEL names a folder with a causal model, LLMKIT_DATA the data sets (instructions, sections of
fairy tales and news are the prompts). LLMKIT_LLAMA_SERVER and LLMKIT_THOUSAND_GGUF name llama.cpp's
`llama-server` and the same weights for it. OMP_NUM_THREADS sets the threads;
LLMKIT_THOUSAND_DTYPE (float32, bfloat16 or int8), LLMKIT_THOUSAND_ROWS (1,000) and LLMKIT_THOUSAND_PIECES (4)
change the run; LLMKIT_THOUSAND_PROGRAMS names parts of the names of the other programs that run (all).

An answer has a limit drawn once, and no program sees end tokens, so that all write the same number of tokens.
A batch of a program that has one limit for all its rows gets that of the batch's longest answer; only the
tokens up to each row's own limit count. The rows are cut into pieces that the programs answer by turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from llmkit.benchmark.systems import BenchmarkPrompt
from tests.benchmarks.serving import running

LONGEST = 512  # tokens of a prompt
ANSWERS = (8, 128)  # tokens of the shortest and the longest answer
_BATCH = 32
_SLOTS = (8, 16)
Answer = Callable[[Sequence[BenchmarkPrompt]], None]


def main() -> None:
    """Print the table."""
    from llmkit import ModelSpec
    from llmkit.engines.open import open_engine

    name = os.environ.get("LLMKIT_THOUSAND_MODEL", "")
    if not name or "LLMKIT_DATA" not in os.environ:
        print("\nthousand: left out; LLMKIT_THOUSAND_MODEL and LLMKIT_DATA are needed")
        return
    dtype = os.environ.get("LLMKIT_THOUSAND_DTYPE", "bfloat16")
    spec = ModelSpec(name, device="cpu", dtype="float32" if dtype == "int8" else dtype)
    if dtype == "int8":
        spec = replace(spec, quantize="int8")
    with contextlib.ExitStack() as stack:
        engine: Any = open_engine(spec)
        prompts = make_prompts(engine.tokenizer, int(os.environ.get("LLMKIT_THOUSAND_ROWS", "1000")))
        systems = {"llmkit generate": _rows(engine)}
        systems |= open_others(spec, dtype, engine, stack)
        pieces = int(os.environ.get("LLMKIT_THOUSAND_PIECES", "4"))
        show(prompts, take_turns(systems, [prompts[i::pieces] for i in range(pieces)]), dtype)


def make_prompts(tokenizer: Any, count: int) -> list[BenchmarkPrompt]:
    """Return prompts of the data sets, in an order and with limits that are drawn once."""
    folder = Path(os.environ["LLMKIT_DATA"])
    chance = random.Random(0)
    instructions = json.loads((folder / "chat" / "instruction-data.json").read_text())
    texts = [f"{one['instruction']}\n{one['input']}".strip() for one in instructions]
    sources = (("stories", "fairytale_val_sections.jsonl"), ("summ", "xsum_sample.jsonl"))
    for path in sources:
        rows = map(json.loads, folder.joinpath(*path).read_text().splitlines())
        texts += [max((one for one in row.values() if isinstance(one, str)), key=len) for row in rows]
    chance.shuffle(texts)
    found = []
    for text in texts[:count]:
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"][:LONGEST]
        text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        found.append(BenchmarkPrompt(tuple(ids), text, chance.randint(*ANSWERS)))
    return found


def take_turns(
    systems: dict[str, Answer], pieces: Sequence[Sequence[BenchmarkPrompt]]
) -> dict[str, list[float]]:
    """Return the seconds of each piece by each program, after a few rows that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for answer in systems.values():
        answer([replace(one, new_tokens=4) for one in pieces[0][:8]])
    for number, piece in enumerate(pieces):
        names = list(systems)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started = time.perf_counter()
            systems[name](piece)
            seconds[name].append(time.perf_counter() - started)
            print(f"  piece {number + 1}: {name} {seconds[name][-1]:.1f} s", flush=True)
    return seconds


def show(prompts: Sequence[BenchmarkPrompt], seconds: dict[str, list[float]], dtype: str) -> None:
    """Print tokens per second, how many times as fast llmkit is, and the same for the single pieces."""
    new, read = sum(one.new_tokens for one in prompts), sum(one.length for one in prompts)
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    print(f"\n{len(prompts)} prompts of {read:,} tokens, {new:,} new ones; {dtype}, {threads} threads")
    print(
        "| program | new tokens/s | with prompts | llmkit is faster | by pieces |\n|---|---:|---:|---:|---|"
    )
    ours = next(iter(seconds.values()))
    for name, taken in seconds.items():
        ratios = sorted(theirs / own for theirs, own in zip(taken, ours, strict=True))
        total = sum(taken)
        print(
            f"| {name} | {new / total:.0f} | {(new + read) / total:.0f} | {total / sum(ours):.2f} |"
            f" {ratios[0]:.2f} to {ratios[-1]:.2f} |"
        )


def _rows(engine: Any) -> Answer:
    """Answer rows as `generate` answers a file: planned, run, and decoded to text."""
    from llmkit.tasks.decoding import GenerationOptions
    from llmkit.tasks.generation import Generation
    from llmkit.tasks.sub_batches import run_prompts

    most = ANSWERS[1]
    options = GenerationOptions(greedy=True, max_new_tokens=most)

    def answer(prompts: Sequence[BenchmarkPrompt]) -> None:
        task = Generation(engine, options)
        task.sampling = replace(task.sampling, eos_token_ids=())
        made = task.prompts.prepare_all([one.text for one in prompts], where=["a row"] * len(prompts))
        rows = [
            replace(row, ids=list(one.ids), new_tokens=one.new_tokens)
            for row, one in zip(made, prompts, strict=True)
        ]
        results = run_prompts(task.run, rows, task.budget(None))
        assert [one.answers[0].tokens for one in results] == [one.new_tokens for one in prompts]

    return answer


def open_others(spec: Any, dtype: str, engine: Any, stack: contextlib.ExitStack) -> dict[str, Answer]:
    """Return the other programs that are here and compute in the dtype."""
    found: dict[str, Answer] = {}
    if dtype != "int8":
        from llmkit.runtime.load import load

        plain = load(spec)
        found["pipeline(batch_size=8)"] = _pipeline(plain)
        found["generate_batch"] = _generate_batch(plain.model)
    folder = Path(stack.enter_context(TemporaryDirectory()))
    with contextlib.suppress(ImportError):
        # On most processors CTranslate2 has no bfloat16.
        kind = "int8" if dtype == "int8" else "float32"
        found[f"CTranslate2 {kind}"] = _ctranslate2(spec, kind, folder, engine.tokenizer)
    if server := os.environ.get("LLMKIT_LLAMA_SERVER"):
        for slots in _SLOTS:
            answer = stack.enter_context(_llama_server(server, slots))
            found[f"llama-server, {slots} slots"] = answer
    parts = os.environ.get("LLMKIT_THOUSAND_PROGRAMS", "").split(",")
    return {name: answer for name, answer in found.items() if any(part in name for part in parts)}


def _pipeline(loaded: Any) -> Answer:
    from transformers import pipeline

    make: Any = pipeline
    pipe = make("text-generation", model=loaded.model, tokenizer=loaded.tokenizer)

    def answer(prompts: Sequence[BenchmarkPrompt]) -> None:
        import torch

        for i in range(0, len(prompts), 8):
            part = prompts[i : i + 8]
            most = max(one.new_tokens for one in part)
            limits: Any = {"max_new_tokens": most, "min_new_tokens": most, "do_sample": False}
            with torch.inference_mode():
                pipe([one.text for one in part], add_special_tokens=False, batch_size=8, **limits)

    return answer


def _generate_batch(model: Any) -> Answer:
    """Continuous batching as `model.generate_batch` runs it, and a limit for each row, which that lacks."""

    def answer(prompts: Sequence[BenchmarkPrompt]) -> None:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        own = model.config._attn_implementation
        settings = GenerationConfig(max_new_tokens=ANSWERS[1], do_sample=False, eos_token_id=-1)
        cache = ContinuousBatchingConfig(num_blocks=128, max_batch_tokens=1024)
        with model.continuous_batching_context_manager(
            generation_config=settings, continuous_batching_config=cache, block=True, timeout=5
        ) as manager:
            for one in prompts:
                manager.add_request(list(one.ids), max_new_tokens=one.new_tokens)
            left = len(prompts)
            while left:
                result = manager.get_result(timeout=1)
                if result is not None and result.is_finished():
                    assert result.error is None, result.error
                    left -= 1
                assert result is not None or manager.is_running(), "generate_batch ended early"
        model.set_attn_implementation(own)

    return answer


def _ctranslate2(spec: Any, kind: str, folder: Path, tokenizer: Any) -> Answer:
    import ctranslate2

    from llmkit.convert.conversion import convert

    plain = replace(spec, quantize=None)
    convert(plain, "ctranslate2", folder / kind, dtype=kind, bound=1.0)
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    model = ctranslate2.Generator(
        str(folder / kind), device="cpu", compute_type=kind, inter_threads=1, intra_threads=threads
    )

    def answer(prompts: Sequence[BenchmarkPrompt]) -> None:
        order = sorted(prompts, key=lambda one: -one.length)
        for i in range(0, len(order), _BATCH):
            part = order[i : i + _BATCH]
            most = max(one.new_tokens for one in part)
            limits = [one.new_tokens for one in part]
            written = [0] * len(part)

            def ends(step: Any, written: list[int] = written, limits: list[int] = limits) -> bool:
                written[step.batch_id] += 1  # `step.step` also counts tokens of longer prompts
                return written[step.batch_id] >= limits[step.batch_id]

            results = model.generate_batch(
                [tokenizer.convert_ids_to_tokens(list(one.ids)) for one in part],
                sampling_topk=1,
                max_length=most,
                min_length=most,
                include_prompt_in_result=False,
                callback=ends,  # rows leave the batch at their own limits
            )
            assert [len(one.sequences_ids[0]) for one in results] == limits

    return answer


@contextlib.contextmanager
def _llama_server(server: str, slots: int) -> Iterator[Answer]:
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    size = slots * (LONGEST + ANSWERS[1] + 8)
    # llmkit makes waiting threads sleep, which llama.cpp is not made for.
    command = [
        "env",
        "-u",
        "OMP_WAIT_POLICY",
        server,
        "-m",
        os.environ["LLMKIT_THOUSAND_GGUF"],
        "--port",
        "{port}",
        "-np",
        str(slots),
    ]
    command += ["-c", str(size), "-t", threads, "-tb", threads]
    with running(command, "/health") as process:
        yield lambda prompts: asyncio.run(_ask_all(process.url, prompts, slots))


async def _ask_all(url: str, prompts: Sequence[BenchmarkPrompt], clients: int) -> None:
    import aiohttp

    waiting = iter(prompts)

    async def client(session: aiohttp.ClientSession) -> None:
        for one in waiting:
            body = {"prompt": list(one.ids), "n_predict": one.new_tokens, "ignore_eos": True}
            body |= {"temperature": 0, "cache_prompt": False}
            async with session.post(f"{url}/completion", json=body) as response:
                answer = await response.json()
            assert answer["tokens_predicted"] == one.new_tokens, answer

    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))


if __name__ == "__main__":
    main()
