"""Programs that test_flash.py runs in their own processes: Triton decides at import whether it interprets."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import torch

from llmkit.attention.flash import flash_attention
from llmkit.attention.registry import Kernel
from llmkit.attention.verify import truth, verify
from llmkit.attention.verify_cases import matrix

KERNEL: Kernel = replace(vars(flash_attention)["llmkit_kernel"], name="flash")


def report(name, error, passed, note=""):
    print(json.dumps({"name": name, "error": error, "passed": passed, "note": note}))


def proof(some=""):
    """Every case of the matrix but the 1,000-token one, or the quick ones and a few more.

    The interpreter is slow.
    """
    import llmkit.attention.verify as module

    quick = {case.name for case in matrix(KERNEL, quick=True)} - {"gradients"}
    quick |= {"right padding", "one past a block", "sliding window", "softcap", "causal, bfloat16"}
    cases = [case for case in matrix(KERNEL) if case.keys <= 130 and (not some or case.name in quick)]
    vars(module)["matrix"] = lambda kernel, quick=False: cases
    for result in verify(KERNEL):
        report(result.name, result.error, result.passed, result.note)


def packed():
    """Three texts in a row, separated by their positions only, in a batch of two cut differently."""
    from types import SimpleNamespace

    for causal in (True, False):
        for name, cuts in (("one row", [[0, 20, 70]]), ("two rows", [[0, 20, 70], [0, 50, 51]])):
            made = torch.Generator().manual_seed(1)
            q, k, v = (
                torch.randn(len(cuts), n, 90, 16, generator=made, dtype=torch.float64) for n in (4, 2, 2)
            )
            text = torch.stack([(torch.arange(90)[:, None] >= torch.tensor(row)).sum(1) for row in cuts])
            start = torch.stack([torch.tensor(row)[text[i] - 1] for i, row in enumerate(cuts)])
            seen = (text[:, :, None] == text[:, None])[:, None]
            seen = seen.tril() if causal else seen
            exact = [x.clone().requires_grad_() for x in (q, k, v)]
            given = [x.float().requires_grad_() for x in (q, k, v)]
            expected = truth(
                SimpleNamespace(query=exact[0], key=exact[1], value=exact[2], seen=seen, extra={}), 0.25
            )
            found, _ = flash_attention(
                None,
                *given,
                None,
                scaling=0.25,
                is_causal=causal,
                position_ids=torch.arange(90)[None] - start,
            )
            weight = torch.randn(expected.shape, generator=made, dtype=torch.float64)
            expected.backward(weight)
            found.backward(weight.float())
            pairs = [(found, expected), *((a.grad, b.grad) for a, b in zip(given, exact, strict=True))]
            off = max(float((a.double() - b).abs().max()) for a, b in pairs)
            report(f"packed, {name}, causal={causal}", off, off < 2e-5)


def first_row_fully_masked():
    """A row that sees no key gives exact zeros, forward, backward and decoded."""
    mask = torch.ones(2, 33)
    mask[0] = 0
    for queries, trains in ((33, True), (1, False)):
        q, k, v = (torch.randn(2, 2, n, 16, requires_grad=trains) for n in (queries, 33, 33))
        out, _ = flash_attention(None, q, k, v, mask, scaling=0.25, is_causal=queries > 1)
        parts = [out]
        if trains:
            out.sum().backward()
            parts += [q.grad, k.grad, v.grad]
        zero = all(bool((x[0] == 0).all()) and bool(torch.isfinite(x).all()) for x in parts)
        report(f"first_row_fully_masked, {queries} queries", None, zero)


def compiled(*names):
    """Compile programs, or all, for a Hopper GPU (PTX) and for an MI300 (AMD assembly)."""
    import inspect

    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from llmkit.attention import flash_kernels

    whole = {"D": 64, "BLOCK_D": 64, "BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_S": 16, "UPCAST": False}
    kinds = {"lse": "*fp32", "delta": "*fp32", "part": "*fp32", "mass_of": "*fp32", "tokens": "*u8",
             "starts": "*i32", "ends": "*i32", "scale": "fp32", "softcap": "fp32"}  # fmt: skip
    targets = (
        (GPUTarget("cuda", 90, 32), "ptx", "mma"),
        (GPUTarget("hip", "gfx942", 64), "amdgcn", "mfma"),
    )
    for target, kind, unit in targets:
        for name in names or ("forward", "backward_queries", "backward_keys", "decode", "combine"):
            function = getattr(flash_kernels, name)
            constants, signature = {}, {}
            for at, parameter in enumerate(inspect.signature(function.fn).parameters):
                if parameter.isupper() and parameter not in {"H", "GROUPS", "Q", "K", "SPLITS", "SPLIT"}:
                    constants[(at,)] = whole.get(parameter, True)
                    signature[parameter] = "constexpr"
                elif parameter in {"q", "k", "v", "o", "do", "dq", "dk", "dv"}:
                    signature[parameter] = "*bf16"
                else:
                    signature[parameter] = kinds.get(parameter, "i32")
            built = triton.compile(ASTSource(function, signature, constants), target=target)
            product = built.asm[kind]
            report(
                f"{name} for {target.arch}",
                None,
                (unit in product) == (name != "combine"),
                f"{len(product)}",
            )


if __name__ == "__main__":
    for call in sys.argv[1:]:
        part, *arguments = call.split(":")
        globals()[part](*arguments)
