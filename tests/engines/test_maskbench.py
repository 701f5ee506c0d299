"""How exactly schemas are enforced, counted on MaskBench; LLMKIT_MASKBENCH names its folder of schemas."""

from __future__ import annotations

import pytest

from llmkit import ModelSpec
from llmkit.engines.open import open_engine
from tests.benchmarks import bench_schemas


@pytest.mark.slow
def test_most_schemas_are_exact_and_none_is_too_lax() -> None:
    where = bench_schemas.folder()
    if where is None:
        pytest.skip("LLMKIT_MASKBENCH names no folder (jsonschemabench/maskbench/data)")
    chosen = bench_schemas.sample(bench_schemas.cases(where))
    engine = open_engine(ModelSpec("stories", device="cpu", dtype="float32", bundled=True))
    judged = bench_schemas.judge(chosen, engine)
    assert judged.names.get("too lax", []) == []
    assert judged.count("exact") >= 425
