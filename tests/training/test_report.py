"""The page of a training run."""

from __future__ import annotations

import json
from pathlib import Path

from llmkit.training.report import ReportPage, write_report


def test_samples_may_have_any_line_break(tmp_path: Path) -> None:
    rows = [{"step": 1, "loss": 2.0}, {"step": 1, "prompt": "A", "sample": " dog\u2028barks\x85loudly"}]
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    write_report(metrics, ReportPage("m", "a model", "", "token", None, [], []))
    assert "A dog\u2028barks\x85loudly" in (tmp_path / "report.html").read_text("utf-8")
