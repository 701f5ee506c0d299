"""`llmkit kernels`: list, verify and time attention kernels."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import console, options, progress
from llmkit.cli.common.options import argument, flag
from llmkit.errors import InputError, OptionError
from llmkit.records.disk import check_folder
from llmkit.records.strict_json import finite
from llmkit.whole_file import write_whole

if TYPE_CHECKING:
    from llmkit.attention.benchmark import Limits, Timing
    from llmkit.attention.registry import Kernel
    from llmkit.attention.verify import Result

DTYPES = ("float32", "bfloat16", "float16")
# The way to apply each kind of mask.
_MASK_ADVICE = {
    "boolean": "fill its scores with the dtype's lowest number where attention_mask is False",
    "additive": "add attention_mask to its scores before the softmax",
    "padding": "leave out the keys where attention_mask is False, and under is_causal those after the query",
    "none": "leave out the keys after the query under is_causal",
    "block": "pass attention_mask to flex_attention as its block_mask",
}


EXAMPLES = [
    "llmkit kernels verify examples/attention/one_pass.py:attend",
    "llmkit kernels bench eager sdpa",
]


@options.expand
def run(
    *,
    action: Annotated[str, argument("list|verify|bench", help="Action.")] = "list",
    names: Annotated[
        list[str] | None,
        argument("KERNEL...", help="Names from the list, or FILE.py:FUNCTION."),
    ] = None,
    model: Annotated[
        str | None,
        flag(
            "-m",
            "--model",
            metavar="NAME|PATH",
            help="verify: also run the kernel in this model.",
            default="only a small model",
        ),
    ] = None,
    device: Annotated[str, flag("--device", metavar="NAME", help="cpu, cuda, cuda:N or mps.")] = "cpu",
    dtype: Annotated[
        str, flag("--dtype", metavar="NAME", help="bench: float32, bfloat16 or float16.")
    ] = "float32",
    quick: Annotated[bool, flag("--quick", help="verify: only the cases that fail most often.")] = False,
    json: Annotated[bool, flag("--json", help="Print one JSON object per line.")] = False,
    picture: Annotated[
        Path | None,
        flag("--picture", metavar="FILE.svg", help="bench: plot the times into this file.", default="none"),
    ] = None,
    trust_remote_code: Annotated[
        bool, flag("--trust-remote-code", help="Run kernels of any Hub repository.")
    ] = False,
    messages: options.MessageFlags,
) -> None:
    """List, verify or benchmark attention kernels."""
    if action == "list" and not names:
        _list(json)
    elif action == "verify" and names and len(names) == 1:
        _verify(names[0], model, device, quick, json, trust_remote_code)
    elif action == "bench":
        _bench(names or ["eager", "sdpa"], device, dtype, json, picture, trust_remote_code)
    else:
        raise InputError("use `llmkit kernels list`, `kernels verify NAME` or `kernels bench [NAME ...]`")


def _list(json: bool) -> None:
    from llmkit.attention.registry import find, names

    kernels = [find(name) for name in names()]
    if json:
        for kernel in kernels:
            print(json_module.dumps(_described(kernel)))
        return
    rows = [["kernel", "mask", "devices", "dtypes", "supports"]]
    for kernel in kernels:
        about = _described(kernel)
        rows.append(
            [about["name"], about["mask"], *(" ".join(about[k]) for k in ("devices", "dtypes", "supports"))]
        )
    _print(rows, left=5)


def _described(kernel: Kernel) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "mask": kernel.mask,
        "devices": list(kernel.devices),
        "dtypes": list(kernel.dtypes),
        "head_dims": list(kernel.head_dims),
        "supports": sorted(kernel.supports),
        "from": "transformers" if kernel.native else "llmkit",
    }


def _verify(
    name: str, model: str | None, device: str, quick: bool, json: bool, trust_remote_code: bool
) -> None:
    from llmkit.attention.verify import verify
    from llmkit.attention.verify_model import small_model, verify_inside
    from llmkit.runtime.device import choose_device

    kernel = _find(name, trust_remote_code)
    device = choose_device(device, 0).device
    if device.partition(":")[0] not in kernel.devices:
        raise OptionError("device", f"{device}: {name} runs on {', '.join(kernel.devices)}")
    results = []
    bar = progress.Progress("verify")
    with bar:
        for result in verify(kernel, device=device, quick=quick):
            results.append(result)
            bar.update(0, f"{len(results)} cases")
        results += verify_inside(kernel, small_model(kernel).to(device))
        if model is not None:
            results += verify_inside(kernel, _load(model, device, _dtype_of(kernel)))
    wrong = any(one.passed is False for one in results)
    console.will_exit(int(wrong))
    _report(kernel, results, json)
    if wrong:
        raise console.Exit(1)


def _load(name: str, device: str, dtype: str) -> Any:
    """Load the model with its own head."""
    from llmkit.cli.common.loading import load_model
    from llmkit.runtime.load import is_extractive_qa, is_masked_lm, saved_architecture
    from llmkit.runtime.spec import ModelSpec

    spec = ModelSpec(name=name, device=device, dtype=dtype)
    if is_masked_lm(spec):
        spec = replace(spec, task="fill-mask")
    elif saved_architecture(spec) and is_extractive_qa(spec):
        spec = replace(spec, task="question-answering")
    return load_model(spec).model


def _find(name: str, trust_remote_code: bool) -> Kernel:
    """Return the kernel that an argument names; its errors name no option, because it is an argument."""
    from llmkit.attention.registry import find

    try:
        return find(name, trust_remote_code=trust_remote_code)
    except OptionError as error:
        raise InputError(error.reason) from error


def _dtype_of(kernel: Kernel) -> str:
    return "float32" if "float32" in kernel.dtypes else kernel.dtypes[0]


def _report(kernel: Kernel, results: Sequence[Result], json: bool) -> None:
    from llmkit.attention.verify import IGNORED

    verdicts = {True: "ok", False: "WRONG", None: "-"}
    if json:
        for one in results:
            error = one.error if one.error is None or one.error < float("inf") else None
            passed = {"case": one.name, "passed": one.passed, "error": error, "tolerance": one.tolerance}
            print(json_module.dumps({**passed, "note": one.note}))
    else:
        rows = [["case", "error", "allowed", "", ""]]
        rows += [
            [one.name, _number(one.error), _number(one.tolerance), verdicts[one.passed], one.note]
            for one in results
        ]
        _print(rows, left=1)
    wrong = sum(one.passed is False for one in results)
    right = sum(one.passed is True for one in results)
    unclaimed = len(results) - wrong - right
    console.notice(f"{kernel.name}: {right} right, {wrong} wrong, {unclaimed} not claimed")
    for note in IGNORED:
        cases = sum(one.note == note for one in results)
        if cases:
            advice = f"in {console.count(cases, 'case')} {note}; {_MASK_ADVICE[kernel.mask]}"
            console.notice(f"{kernel.name} does not apply its mask: {advice}")


def _bench(
    names: Sequence[str], device: str, dtype: str, json: bool, picture: Path | None, trust_remote_code: bool
) -> None:
    if dtype not in DTYPES:
        raise OptionError("dtype", f"{dtype}: use {', '.join(DTYPES)}")
    kernels = [_find(name, trust_remote_code) for name in names]
    if picture is not None and picture.suffix != ".svg":
        raise OptionError("picture", f"{picture}: the picture is an SVG; use a name that ends in .svg")
    if picture is not None and picture.parent.is_dir():
        check_folder(picture.parent, "picture", picture)
    import torch

    from llmkit.attention.benchmark import compare
    from llmkit.runtime.device import choose_device

    device = choose_device(device, 0).device
    reached, found = compare(kernels, device=device, dtype=getattr(torch, dtype))
    if picture is not None:
        from llmkit.text.html.svg import bars

        drawn, notes = [], []
        for one in found:
            if one.seconds is not None and one.share is not None:
                drawn.append((f"{one.shape}: {one.kernel}", one.seconds * 1000))
                notes.append(f"{one.share:.0%} of the limit in {one.bound}")
        write_whole(picture, bars(drawn, unit="ms", notes=notes))
        console.notice(f"picture written to {picture}")
    console.notice(_limit_line(reached))
    if json:
        for one in found:
            print(json_module.dumps(finite(vars(one))))
    else:
        _print(_timings(found), left=1)


def _timings(found: Sequence[Timing]) -> list[list[str]]:
    """Return a row for each shape and kernel, with the ratio to the first kernel's time."""
    rows = [["shape", "kernel", "ms", "times as fast", "of the limit", "limit"]]
    first: dict[str, float] = {}
    for one in found:
        if one.seconds is None or one.share is None:
            rows.append([one.shape, one.kernel, "-", "-", "-", one.note])
            continue
        base = first.setdefault(one.shape, one.seconds)
        rows.append(
            [
                one.shape,
                one.kernel,
                f"{one.seconds * 1000:.3f}",
                f"{base / one.seconds:.2f}",
                f"{one.share:.0%}",
                one.bound,
            ]
        )
    return rows


def _limit_line(reached: Limits) -> str:
    return (
        f"limits measured here: {reached.operations / 1e9:,.0f} GFLOP/s in a matrix product,"
        f" {reached.bandwidth / 1e9:.1f} GB/s in a copy"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def _print(rows: Sequence[Sequence[str]], left: int) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1
    for row in rows:
        cells = [
            cell.ljust(width) if i < left or i == last else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print(console.fitted("  ".join(cells).rstrip(), indent=sum(widths[:-1]) + 2 * last))
