"""`llmkit estimate`: a model's memory and time, before it is downloaded or loaded."""

from __future__ import annotations

import dataclasses
import json as json_module
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common import options
from llmkit.cli.common.options import flag
from llmkit.cli.common.streams import printable
from llmkit.errors import InputError

if TYPE_CHECKING:
    from llmkit.runtime.estimate.estimate import Estimate

EXAMPLES = [
    "llmkit estimate -m stories",
    "llmkit estimate -m my-model --quantize int4 --batch-size 8 --on rtx4090",
]
_MIB, _GIB = 1 << 20, 1 << 30


@options.expand
def run(
    *,
    prompt_tokens: Annotated[
        int | None,
        flag("--prompt-tokens", metavar="N", help="Tokens of a prompt.", default="512, or what fits"),
    ] = None,
    new_tokens: Annotated[
        int | None,
        flag("--new-tokens", metavar="N", help="Tokens of an answer.", default="256, or what fits"),
    ] = None,
    batch_size: Annotated[int, flag("--batch-size", metavar="N", help="Rows at the same time.")] = 1,
    on: Annotated[
        str | None,
        flag(
            "--on",
            metavar="NAME|FILE",
            help="Machine to fit into: t4, rtx3090, rtx4090, l4, a100, h100, h200, or a .json file.",
            default="none",
        ),
    ] = None,
    json: Annotated[bool, flag("--json", help="Print the result as one line of JSON.")] = False,
    model: Annotated[
        str,
        flag("-m", "--model", metavar="NAME|PATH", help="Hub id, local folder, or embedded model."),
    ],
    revision: Annotated[
        str | None,
        flag("--revision", metavar="NAME", help="Branch, tag or commit on the Hub.", default="main"),
    ] = None,
    dtype: Annotated[
        str,
        flag("--dtype", metavar="NAME", help="auto, float32, bfloat16 or float16; auto is the file's."),
    ] = "auto",
    quantize: Annotated[
        str | None,
        flag("--quantize", metavar="int8|int4", help="Weights in 8 or 4 bits.", default="as stored"),
    ] = None,
    offline: Annotated[bool, flag("--offline", help="Download nothing; use only files on this machine.")] = (
        False
    ),
    messages: options.MessageFlags,
) -> None:
    """Estimate the memory and time of a model, before it is downloaded or loaded."""
    from llmkit.cli.common.loading import quick_imports
    from llmkit.runtime.spec import ModelSpec

    for name, value in (
        ("prompt-tokens", prompt_tokens),
        ("new-tokens", new_tokens),
        ("batch-size", batch_size),
    ):
        if value is not None and value < 1:
            raise InputError(f"--{name} {value}: must be 1 or more")
    with quick_imports():
        from llmkit.runtime.estimate.estimate import estimate
        from llmkit.runtime.estimate.machines import machine_named
    machine = None if on is None else machine_named(on)
    spec = ModelSpec(model, revision=revision, dtype=dtype, quantize=quantize, offline=offline)
    found = estimate(spec, machine, prompt_tokens=prompt_tokens, new_tokens=new_tokens, batch_size=batch_size)
    if json:
        print(json_module.dumps({**dataclasses.asdict(found), "total": found.total}))
        return
    _show(found)


def _show(found: Estimate) -> None:
    work = found.workload
    rows = f"{work.batch_size} {'rows' if work.batch_size > 1 else 'row'}"
    active = f", {_short(found.active_parameters)} for a token" * (
        found.active_parameters < 0.9 * found.parameters
    )
    print(
        f"{printable(found.model)}: {found.architecture}, {_short(found.parameters)} parameters{active},"
        f" {found.layers} layers, {found.dtype}"
    )
    print("\nmemory")
    for term in (*found.memory, None):
        name, size = ("total", found.total) if term is None else (term.name, term.bytes)
        print(f"  {name:<36} {_size(size):>10}")
    print(f"  not counted: {', '.join(found.left_out)}")
    print("\ncompute")
    print(
        f"  reading {work.batch_size} x {work.prompt_tokens:,} tokens   {found.prompt_flops / 1e9:,.1f} GFLOP"
    )
    operations = f"{found.token_flops / 1e9:,.2f} GFLOP"
    print(f"  each further token of {rows}   {operations}, {_size(found.token_bytes)} read")
    machine = found.machine
    if machine is None or found.prompt_seconds is None or found.token_seconds is None:
        return
    print(f"\non {machine.name} ({machine.memory_gb:g} GB, {machine.bandwidth_gbs:g} GB/s; {machine.source})")
    free = machine.memory - found.total
    fits, rest = ("fits", "free") if free >= 0 else ("does not fit", "missing")
    print(f"  {fits}: {_size(abs(free))} {rest}")
    print(f"  at most {found.largest_batch:,} rows of {work.tokens:,} tokens")
    print(f"  at most {found.longest_row:,} tokens in {rows}")
    print(f"  prompts take at least {_time(found.prompt_seconds)}")
    print(
        f"  a token takes at least {_time(found.token_seconds)}:"
        f" at most {work.batch_size / found.token_seconds:,.0f} tokens/s"
    )


def _size(size: float) -> str:
    return f"{size / _GIB:,.2f} GiB" if size >= _GIB else f"{size / _MIB:,.1f} MiB"


def _short(count: int) -> str:
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:,.3g}{letter}"
    return str(count)


def _time(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{1000 * seconds:,.3g} ms"
