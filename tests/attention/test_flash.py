"""The Triton kernel under Triton's interpreter, on the CPU, and compiled for GPUs that need not be here.

Each part is a process of its own: Triton decides when it is imported whether it interprets. What is asked
there stands in `flash_program.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.command import ROOT, assert_refused, run

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed (Linux only)")


def told(part, *, interpreted, cache):
    environment = {**os.environ, "TRITON_CACHE_DIR": str(cache), "TRITON_DEFAULT_FP_FUSION": "1"}
    environment["TRITON_INTERPRET"] = "1" if interpreted else "0"
    done = subprocess.run(
        [sys.executable, "-m", "tests.attention.flash_program", part],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}


@needs_triton
def test_the_proof(tmp_path):
    """All that it declares, in three precisions, forward and backward, against float64."""
    found = told("proof", interpreted=True, cache=tmp_path)
    assert [one for one in found.values() if one["passed"] is False] == []
    claimed = {name for name, one in found.items() if one["passed"]}
    assert len(claimed) >= 33
    assert {
        "causal",
        "left padding",
        "right padding",
        "cached decoding, one token",
        "cached decoding, several tokens",
        "one past a block",
        "sliding window",
        "softcap",
        "gradients",
        "a row that sees nothing",
        "causal, float16",
        "causal, bfloat16",
        "the same twice",
    } <= claimed


@needs_triton
@pytest.mark.parametrize(("part", "cases"), [("packed", 4), ("first_row_fully_masked", 2)])
def test_by_itself(part, cases, tmp_path):
    found = told(part, interpreted=True, cache=tmp_path)
    assert [one for one in found.values() if not one["passed"]] == []
    assert len(found) == cases


@needs_triton
def test_it_compiles_for_gpus_that_are_not_here(tmp_path):
    """PTX for a Hopper and assembly for an MI300, with the matrix units in it where there are products."""
    found = told("compiled", interpreted=False, cache=tmp_path)
    assert [name for name, one in found.items() if not one["passed"]] == []
    assert len(found) == 10


def test_without_a_gpu_it_is_refused(tiny_model):
    refused = run("generate", "a", "--attn", "flash", "-m", tiny_model("llama"), "--device", "cpu", "-q")
    assert_refused(refused, "--attn flash runs on cuda, not on cpu")
