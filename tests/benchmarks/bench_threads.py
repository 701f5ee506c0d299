"""What waiting threads cost on a machine that does something else besides."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.benchmarks.side_by_side import command, report, seconds_of

LINEARS = """
import torch
weight, rows = torch.randn(704, 256), torch.randn(64, 256)
with torch.inference_mode():
    for _ in range(2000):
        torch.nn.functional.linear(rows, weight)
"""


def main() -> None:
    """2,000 small matrix products under OpenMP's two policies, alone and beside a busy process a core."""
    ways = {
        f"{policy.lower()} waiting": command(
            ["env", f"OMP_WAIT_POLICY={policy}", sys.executable, "-c", LINEARS]
        )
        for policy in ("ACTIVE", "PASSIVE")
    }
    report("OpenMP, quiet machine (import included)", seconds_of(ways, 5), "active waiting")
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        report("OpenMP, every core also busy", seconds_of(ways, 3), "active waiting")
    finally:
        for process in busy:
            process.kill()
            process.wait()
