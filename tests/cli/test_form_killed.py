"""A batch whose rows have a schema each, killed at several moments and resumed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.benchmarks import bench_schemas
from tests.command import rows_of, run

ROWS = 200


def schemas() -> list[Any]:
    """A schema for each row: MaskBench's where LLMKIT_MASKBENCH names its folder, else some of our own."""
    where = bench_schemas.folder()
    if where is not None:
        return [case["schema"] for case in bench_schemas.sample(bench_schemas.cases(where), ROWS).values()]
    return [
        {
            "type": "object",
            "properties": {
                f"name{i}": {"type": "string", "maxLength": 3 + i % 9},
                "number": {"type": "integer", "minimum": i, "maximum": i + 9},
                "list": {"type": "array", "items": {"enum": [f"a{i}", i, None]}, "maxItems": 1 + i % 3},
            },
            "required": [f"name{i}", "number", "list"],
            "additionalProperties": False,
        }
        for i in range(ROWS)
    ]


@pytest.mark.slow
def test_a_batch_with_a_schema_each_survives_kills(tmp_path: Path) -> None:
    file, whole, cut = (tmp_path / name for name in ("in.jsonl", "whole.jsonl", "cut.jsonl"))
    rows = [{"id": i, "prompt": f"Story {i}:", "form": one} for i, one in enumerate(schemas())]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ["--input", str(file), "--schema-field", "form", "--temperature", "1", "--seed", "5"]
    flags += ["--max-new-tokens", "120", "--on-error", "skip", "--details", "--batch-size", "8"]
    assert run("generate", *flags, "-o", whole).code in (0, 3)
    journal = Path(f"{cut}.journal")
    generator = random.Random(1)
    kills = 0
    for _ in range(6):
        command = [sys.executable, "-m", "llmkit", "generate", *flags, "-o", str(cut)]
        process = subprocess.Popen([*command, *(["--resume"] if journal.exists() else [])])
        before = journal.read_text().count("\n") if journal.exists() else 0
        wanted = before + generator.randint(1, 5)
        while process.poll() is None and (not journal.exists() or journal.read_text().count("\n") < wanted):
            time.sleep(0.02)
        time.sleep(generator.random() * 0.2)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        if cut.exists() and not journal.exists():
            break
    assert kills >= 3
    assert run("generate", *flags, "-o", cut, "--resume").code in (0, 3)
    assert cut.read_bytes() == whole.read_bytes()
    found = rows_of(cut.read_text())
    assert len(found) == ROWS
    finished = [row for row in found if row.get("finish_reason") == "stop"]
    assert finished
    for row in finished:
        kind = jsonschema.validators.validator_for(row["form"])
        kind(row["form"]).validate(json.loads(row["generated_text"]))
    assert all("error" in row or row["finish_reason"] in ("stop", "length") for row in found)
    print(f"{kills} kills; {len(finished)} of {ROWS} rows finished and valid")
