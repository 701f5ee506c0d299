"""The Triton kernel under Triton's interpreter, on the CPU, and compiled for GPUs that need not be here.

Each part runs in its own process, with `flash_program.py`: Triton decides at import whether it interprets.
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


def results_of(*parts, interpreted, cache):
    """Run parts of `flash_program`, each as `name` or `name:argument:argument`, in one process."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(cache), "TRITON_DEFAULT_FP_FUSION": "1"}
    environment["TRITON_INTERPRET"] = "1" if interpreted else "0"
    done = subprocess.run(
        [sys.executable, "-m", "tests.attention.flash_program", *parts],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}


@needs_triton
@pytest.mark.parametrize("some", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_proof(tmp_path, some):
    """Everything that it declares, in three dtypes, forward and backward, against float64.

    And packed texts, and rows that see nothing, whose zeros are exact.
    """
    parts = ("proof:some" if some else "proof", "packed", "first_row_fully_masked")
    found = results_of(*parts, interpreted=True, cache=tmp_path)
    assert [one for one in found.values() if one["passed"] is False] == []
    passed = {name for name, one in found.items() if one["passed"]}
    alone = {name for name in passed if name.startswith(("packed, ", "first_row_fully_masked, "))}
    assert len(alone) == 4 + 2
    assert len(passed - alone) >= (12 if some else 33)
    expected = {
        *("causal", "left padding", "right padding", "cached decoding, one token", "one past a block"),
        *("cached decoding, several tokens", "sliding window", "softcap", "a fully masked row"),
        *("causal, bfloat16", "the same twice"),
    }
    assert expected | ({"gradients", "causal, float16"} if not some else set()) <= passed


@needs_triton
@pytest.mark.parametrize("names", [["forward", "combine"], pytest.param([], marks=pytest.mark.slow)])
def test_it_compiles_for_gpus_that_are_not_here(tmp_path, names):
    """PTX for a Hopper and assembly for an MI300; programs with products use the matrix units."""
    found = results_of(":".join(["compiled", *names]), interpreted=False, cache=tmp_path)
    assert [name for name, one in found.items() if not one["passed"]] == []
    assert len(found) == 2 * (len(names) or 5)


def test_without_a_gpu_it_is_refused(tiny_model):
    refused = run("generate", "a", "--attn", "flash", "-m", tiny_model("llama"), "--device", "cpu", "-q")
    assert_refused(refused, "flash runs on cuda, not on cpu", option="attn")
