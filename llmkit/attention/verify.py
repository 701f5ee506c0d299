"""Verify a kernel: compare it with softmax(QKᵀ/√d_k)V in float64 over a matrix of cases.

Only declared abilities are tested; cases that need others are listed as not claimed.
`llmkit.attention.verify_model` tests the kernel inside a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import torch

from llmkit.attention.interface import additive, causal_pattern, wrap_kernel
from llmkit.attention.registry import Kernel
from llmkit.attention.verify_cases import BACKWARD, BLOCK, TOLERANCES, Case, matrix
from llmkit.errors import InputError, OptionError, one_line

IGNORED = ("its result is that of attention without a mask", "its result is causal and ignores the mask")
"""Notes for the two most frequent mistakes, which are recognized by their results."""
_NAN = "; for a fully masked query, fill with the dtype's lowest number, not with minus infinity"


@dataclass(frozen=True)
class Result:
    """Result of a case.

    Attributes:
        name: name of the case.
        error: largest difference from the right result; None if the case did not run or has no such number.
        tolerance: largest allowed difference.
        passed: True if the result is right; None if the kernel does not claim the ability.
        note: the fault, or the reason why the case did not run.
    """

    name: str
    error: float | None
    tolerance: float | None
    passed: bool | None
    note: str = ""


def verify(kernel: Kernel, *, device: str = "cpu", quick: bool = False) -> Iterator[Result]:
    """Run a kernel over its matrix of cases.

    Args:
        kernel: the kernel.
        device: device to run on.
        quick: run only the cases that fail most often.

    Yields:
        A result for each case, for determinism, and for `torch.autograd.gradcheck` if float64 is declared.
    """
    for case in matrix(kernel, quick=quick):
        yield _run_case(kernel, case, device)
    if quick:
        return
    yield _deterministic(kernel, device)
    if "backward" in kernel.supports and "float64" in kernel.dtypes:
        yield _gradcheck(kernel, device)


@dataclass
class _CaseInputs:
    """Tensors of a case in float64, and the keys that each query sees."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    seen: torch.Tensor  # (batch, 1, queries, keys)
    tokens: torch.Tensor  # (batch, keys): True for text, False for padding
    extra: dict[str, torch.Tensor | float] = field(default_factory=dict)


def _inputs(case: Case, device: str) -> _CaseInputs:
    made = torch.Generator().manual_seed(len(case.name) * 1009 + case.queries * 31 + case.keys)

    def draw(*shape: int) -> torch.Tensor:
        # Rounded to the case's dtype, so that the rounding of the inputs is not counted as an error.
        exact = torch.randn(*shape, generator=made, dtype=torch.float64).to(getattr(torch, case.dtype))
        return exact.to(torch.float64).to(device)

    b, h, g, q, k, d = case.batch, case.heads, case.kv_heads, case.queries, case.keys, case.head_dim
    inputs = _CaseInputs(
        draw(b, h, q, d),
        draw(b, g, k, d),
        draw(b, g, k, d),
        torch.ones(b, 1, q, k, dtype=torch.bool, device=device),
        torch.ones(b, k, dtype=torch.bool, device=device),
    )
    if case.causal:
        inputs.seen &= causal_pattern(q, k, device)
    if case.window is not None:
        inputs.seen &= ~causal_pattern(q, k, device).tril(k - q - case.window)
    if case.packed:
        text = (torch.arange(k, device=device) >= k // 2).long()
        inputs.seen &= (text[k - q :, None] == text[None])[None, None]
    for row in range(b):
        empty = (
            k if case.first_row_fully_masked and row == 0 else (row + 1) * k // (b + 2) if case.padding else 0
        )
        if case.padding == "right":
            inputs.tokens[row, k - empty :] = False
        elif empty:
            inputs.tokens[row, :empty] = False
    inputs.seen &= inputs.tokens[:, None, None]
    if case.softcap is not None:
        inputs.extra["softcap"] = case.softcap
    if case.sinks:
        inputs.extra["s_aux"] = draw(h)
    if case.bias:
        inputs.extra["position_bias"] = draw(1, h, q, k)
    return inputs


def truth(inputs: Any, scaling: float) -> torch.Tensor:
    """Return softmax(QKᵀ·scaling)V over the keys that each query sees, (batch, queries, heads, head_dim).

    Vaswani et al. 2017, equation 1, with additions of later models; zeros for a query that sees no key. This
    code does not share a line with `llmkit.attention.reference`.
    """
    groups = inputs.query.shape[1] // inputs.key.shape[1]
    rows = []
    for head in range(inputs.query.shape[1]):
        key, value = inputs.key[:, head // groups], inputs.value[:, head // groups]
        scores = torch.einsum("bqd,bkd->bqk", inputs.query[:, head], key) * scaling
        if "softcap" in inputs.extra:
            scores = inputs.extra["softcap"] * torch.tanh(scores / inputs.extra["softcap"])
        if "position_bias" in inputs.extra:
            scores = scores + inputs.extra["position_bias"][:, head]
        exp = torch.exp(scores - scores.amax(-1, keepdim=True).detach()) * inputs.seen[:, 0]
        total = exp.sum(-1, keepdim=True)
        if "s_aux" in inputs.extra:
            total = total + torch.exp(inputs.extra["s_aux"][head] - scores.amax(-1, keepdim=True).detach())
        rows.append(torch.einsum("bqk,bkd->bqd", exp / total.clamp_min(1e-300), value))
    return torch.stack(rows, dim=2)


def _run_case(kernel: Kernel, case: Case, device: str) -> Result:
    lacking = _lacks(kernel, case)
    if lacking:
        return Result(case.name, None, None, None, f"not claimed: {lacking}")
    inputs = _inputs(case, device)
    tolerance = TOLERANCES[case.dtype] * (BACKWARD if case.backward else 1)
    leaves = [x.clone().requires_grad_(case.backward) for x in (inputs.query, inputs.key, inputs.value)]
    exact = replace(inputs, query=leaves[0], key=leaves[1], value=leaves[2])
    expected = truth(exact, case.head_dim**-0.5)
    dtype = getattr(torch, case.dtype)
    given = [
        _as_given(x, dtype, case).requires_grad_(case.backward)
        for x in (inputs.query, inputs.key, inputs.value)
    ]
    try:
        found = call(kernel, case, inputs, *given)
    except Exception as error:
        # A kernel may raise anything; that is its failure, and the next case runs.
        return Result(case.name, None, tolerance, False, reason(kernel.name, error))
    lit = inputs.seen.any(-1).transpose(1, 2)[..., None]  # (batch, queries, 1, 1)
    pairs = [(found, expected)]
    if case.backward:
        weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        weight = weight.to(expected.device) * lit
        expected.backward(weight)
        try:
            found.backward(weight.to(found.dtype))
        except Exception as error:
            return Result(case.name, None, tolerance, False, reason(kernel.name, error))
        pairs += [(one.grad, other.grad) for one, other in zip(given, leaves, strict=True)]  # type: ignore[misc]
    judged = _judge(case, pairs, lit, tolerance)
    if judged.passed is False and judged.error is not None and judged.error < math.inf:
        note = _ignored(case, inputs, found.detach().double(), lit, tolerance)
        return replace(judged, note=note or judged.note)
    return judged


def _ignored(
    case: Case, inputs: _CaseInputs, found: torch.Tensor, lit: torch.Tensor, tolerance: float
) -> str | None:
    """Return the note of `IGNORED` for an output that is right for a weaker mask; None otherwise."""
    everything = torch.ones_like(inputs.seen)
    causal = everything & causal_pattern(case.queries, case.keys, found.device)
    for seen, note in zip((everything, causal), IGNORED, strict=True):
        right = truth(replace(inputs, seen=seen), case.head_dim**-0.5)
        if not bool((seen == inputs.seen).all()) and float(((found - right).abs() * lit).max()) <= tolerance:
            return note
    return None


def _judge(
    case: Case, pairs: list[tuple[torch.Tensor, torch.Tensor]], lit: torch.Tensor, tolerance: float
) -> Result:
    """Compare outputs, and gradients of the query, the key and the value."""
    worst, what = 0.0, ""
    for (found, expected), name in zip(pairs, ("output", "query", "key", "value"), strict=False):
        if found is None:
            return Result(case.name, None, tolerance, False, f"no gradient of the {name}")
        if not bool(torch.isfinite(found).all()):
            kind = "output" if name == "output" else f"gradient of the {name}"
            hint = "" if bool(lit.all()) else _NAN
            return Result(case.name, math.inf, tolerance, False, f"NaN or infinity in the {kind}{hint}")
        # A query that sees no key may give any finite number, since it is not used.
        off = (found.detach().double() - expected.detach()).abs()
        error = float((off * lit if name == "output" else off).max())
        if error > worst:
            worst, what = error, "" if name == "output" else f"gradient of the {name}"
    passed = worst <= tolerance
    return Result(case.name, worst, tolerance, passed, "" if passed else what)


def call(
    kernel: Kernel, case: Case, inputs: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """Return the kernel's output for a case; call it as transformers does, with the mask that it declared."""
    mask: Any = inputs.seen
    keywords: dict[str, Any] = {
        name: x.to(query.dtype) if isinstance(x, torch.Tensor) else x for name, x in inputs.extra.items()
    }
    plain = case.padding is None and not case.first_row_fully_masked
    if kernel.mask == "additive":
        mask = additive(mask, query.dtype)
    elif kernel.mask == "padding":
        mask = None if plain else inputs.tokens
        if case.window is not None:
            keywords["sliding_window"] = case.window
        if case.packed:
            keywords["position_ids"] = _positions(case, query.device)
    elif kernel.mask == "none" or (
        "is_causal" in kernel.supports
        and plain
        and not case.packed
        and case.window is None
        and (case.queries == case.keys or not case.causal)
    ):
        mask = None
    elif kernel.mask == "block":
        from torch.nn.attention.flex_attention import create_block_mask

        seen = mask[:, 0]
        mask = create_block_mask(
            lambda b, h, q, k: seen[b, q, k],
            case.batch,
            None,
            case.queries,
            case.keys,
            device=str(query.device),
        )
    module: Any = SimpleNamespace(
        is_causal=case.causal,
        num_key_value_groups=case.heads // case.kv_heads,
        layer_idx=0,
        training=False,
        config=SimpleNamespace(_attn_implementation=kernel.name),
    )
    output, _ = wrap_kernel(kernel)(module, query, key, value, mask, scaling=case.head_dim**-0.5, **keywords)
    return output


def _positions(case: Case, device: torch.device) -> torch.Tensor:
    """Return position ids of two texts in a row: they restart at the second."""
    first = case.keys // 2
    parts = [torch.arange(size, device=device) for size in (first, case.keys - first)]
    return torch.cat(parts).expand(case.batch, -1)


def _lacks(kernel: Kernel, case: Case) -> str:
    """Return the ability that the case needs and the kernel does not declare; empty if there is none."""
    missing = sorted(case.needs - kernel.supports)
    if missing:
        return ", ".join(missing)
    if kernel.mask == "none" and (case.padding or case.first_row_fully_masked or case.packed or case.window):
        return "it accepts no mask"
    if kernel.mask == "padding" and case.packed and "packed" not in kernel.supports:
        return "packed"
    if kernel.mask == "padding" and case.window is not None and "sliding_window" not in kernel.supports:
        return "sliding_window"
    return ""


def _as_given(x: torch.Tensor, dtype: torch.dtype, case: Case) -> torch.Tensor:
    """Return a tensor in the layout that models use: contiguous, or a transposed view of a projection."""
    given = x.to(dtype)
    return given.transpose(1, 2).contiguous().transpose(1, 2) if case.strided else given.clone()


def _deterministic(kernel: Kernel, device: str) -> Result:
    case = next(case for case in matrix(kernel, quick=True) if case.name == "causal")
    case = replace(case, name="the same twice", queries=BLOCK + 3, keys=BLOCK + 3)
    inputs = _inputs(case, device)
    given = [x.to(getattr(torch, case.dtype)) for x in (inputs.query, inputs.key, inputs.value)]
    try:
        one, two = (call(kernel, case, inputs, *given) for _ in range(2))
    except Exception as error:
        return Result(case.name, None, 0.0, False, reason(kernel.name, error))
    off = float((one - two).abs().max())
    return Result(case.name, off, 0.0, off == 0)


def _gradcheck(kernel: Kernel, device: str) -> Result:
    size = min(kernel.head_dims) if kernel.head_dims else 8
    case = Case("gradients by finite differences", 1, 2, 1, 3, 3, size, dtype="float64", backward=True)
    inputs = _inputs(case, device)
    given = [x.clone().requires_grad_() for x in (inputs.query, inputs.key, inputs.value)]
    try:
        right = torch.autograd.gradcheck(
            lambda q, k, v: call(kernel, case, inputs, q, k, v), given, raise_exception=False
        )
    except Exception as error:
        return Result(case.name, None, None, False, reason(kernel.name, error))
    return Result(case.name, None, None, right, "" if right else "torch.autograd.gradcheck disagrees")


def reason(name: str, error: Exception) -> str:
    """Return an error as one line; without option and kernel name for errors of llmkit."""
    if isinstance(error, OptionError):
        return one_line(error.reason).removeprefix(name).lstrip(": ")
    if isinstance(error, InputError):
        return one_line(error)
    return f"{type(error).__name__}: {one_line(error, 200)}"
