"""Run all benchmarks, or those named: ``python -m tests.benchmarks start generate``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ALL = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))

for name in sys.argv[1:] or ALL:
    if name not in ALL:
        sys.exit(f"no benchmark {name}; there is {', '.join(ALL)}")
    importlib.import_module(f"tests.benchmarks.bench_{name}").main()
