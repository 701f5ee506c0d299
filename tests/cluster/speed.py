"""Speed and memory of the driver: 8 workers with an engine that only sleeps, 1 ms a row.

    python -m tests.cluster.speed [--rows 10000 100000 1000000] [--actors 8] [--seconds 0.001]

For each number of rows it prints rows/s through the driver, and the driver's peak memory. Each runs in a
process of its own. On a quiet machine 1,000,000 rows take about three minutes.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from llmkit.cluster.open import open_cluster_engine
from llmkit.cluster.options import ClusterOptions
from llmkit.records.output import JournaledOutput
from llmkit.records.process import process
from llmkit.records.read import open_rows
from llmkit.tasks.generation import Generation, GenerationOptions
from tests.cluster.fake_engine import FakeEngine

WINDOW = 1024


def run(rows, actors, seconds):
    """Run rows through workers, and print what was measured."""
    with tempfile.TemporaryDirectory(prefix="llmkit-speed-") as folder:
        source, target = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
        with source.open("w") as file:
            for number in range(rows):
                file.write(
                    json.dumps({"id": number, "prompt": f"Once upon a time there were {number}"}) + "\n"
                )
        engine = open_cluster_engine(partial(FakeEngine, seconds), ClusterOptions(str(actors)))
        while engine.workers.describe() != f"{actors} workers":
            time.sleep(0.1)
        task, opened = Generation(engine, GenerationOptions(seed=1, max_new_tokens=8)), open_rows(source)
        begun, used = time.monotonic(), time.process_time()
        with JournaledOutput(target, {"input": opened.identity()}) as output:
            summary = process(
                opened,
                prepare=task.prepare,
                work=task.fields,
                output=output,
                budget=task.budget(None),
                window=WINDOW,
                at_once=engine.workers.calls,
                turn=engine.workers.turn,
            )
        took, used = time.monotonic() - begun, time.process_time() - used
        assert summary.rows == rows
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{rows:>9,} rows: {rows / took:7,.0f} rows/s, {1e6 * used / rows:5.0f} us of the driver's CPU"
            f" a row, peak {peak:,.0f} MiB",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--actors", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.001)
    told = parser.parse_args()
    if len(told.rows) == 1:
        run(told.rows[0], told.actors, told.seconds)
        return
    for rows in told.rows:
        command = [sys.executable, "-m", "tests.cluster.speed", "--rows", str(rows)]
        command += ["--actors", str(told.actors), "--seconds", str(told.seconds)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
