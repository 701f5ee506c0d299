"""Two Ray nodes, 10,000 rows: the file equals that of one process, whatever dies on the way.

    python -m tests.cluster.trials [--rows N] [--tokens N] [--spaces] [--only NAME]

Each line it prints is a trial. It takes about 15 minutes on two quiet cores. `--spaces` puts the second node
into a network namespace, which needs root.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.cluster import nodes

GREEDY = ["--greedy"]
SEEDED = ["--temperature", "1", "--seed", "3"]


class Trial:
    """Runs of `llmkit generate` over one file of rows, in a folder."""

    def __init__(self, folder, rows, tokens):
        self.folder, self.rows = Path(folder), rows
        self.source = self.folder / "rows.jsonl"
        self.tokens = tokens
        rng = random.Random(1)
        words = ["fox", "dog", "sun", "tree", "river", "little", "girl", "boy", "house", "moon"]
        with self.source.open("w") as file:
            for number in range(rows):
                text = "Once there was a " + " ".join(rng.choice(words) for _ in range(rng.randrange(1, 9)))
                file.write(json.dumps({"id": number, "prompt": text}) + "\n")

    def start(self, output, *flags):
        """Start a run."""
        command = [sys.executable, "-m", "llmkit", "generate", "--input", str(self.source), "-o", str(output)]
        command += ["--max-new-tokens", str(self.tokens), "--batch-size", "32", *flags]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, run):
        """Wait for a run that must succeed; return its messages."""
        _, messages = run.communicate()
        if run.returncode:
            raise RuntimeError(f"exit code {run.returncode}: {messages[-2000:]}")
        return messages

    def kept(self, output):
        """Rows that a run has written so far, or has finished."""
        path = output if output.exists() else Path(f"{output}.partial")
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def wait_for(self, run, output, rows):
        """Wait until a run has some rows; return False if it ended first."""
        while run.poll() is None:
            if self.kept(output) >= rows:
                return not output.exists()
            time.sleep(0.02)
        return False

    def same(self, output, expected):
        """Compare two finished files; each row's `id` must be there once."""
        ids = [json.loads(line)["id"] for line in output.open()]
        assert ids == list(range(self.rows)), "rows are lost or doubled"
        assert output.read_bytes() == expected.read_bytes(), "the bytes differ"


def undisturbed(trial, cluster, ends, expected, flags, name):
    """Run without any fault."""
    output = trial.folder / f"{name}.jsonl"
    trial.finish(trial.start(output, *flags, "--cluster", cluster, "--workers", "2"))
    trial.same(output, expected)
    return ""


def actors(trial, cluster, ends, expected, flags, name):
    """Kill a worker at five random moments."""
    output, rng, killed = trial.folder / f"{name}.jsonl", random.Random(7), 0
    run = trial.start(output, *flags, "--cluster", cluster, "--workers", "3")
    for share in sorted(rng.uniform(0.02, 0.8) for _ in range(5)):
        if not trial.wait_for(run, output, share * trial.rows):
            break
        for _ in range(200):
            found = [pid for node in ends for pid in node.workers()]
            if found:
                os.kill(rng.choice(found), signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.1)
    messages = trial.finish(run)
    trial.same(output, expected)
    assert killed == 5, f"only {killed} workers were killed"
    return f"{killed} killed, {messages.count('died')} deaths seen"


def node(trial, cluster, ends, expected, flags, name):
    """Kill the second node while it runs workers."""
    output = trial.folder / f"{name}.jsonl"
    run = trial.start(output, *flags, "--cluster", cluster, "--workers", "4")
    assert trial.wait_for(run, output, trial.rows * 0.5)  # its workers have started by then
    lost = len(ends[1].workers())
    assert lost, "no worker runs on the second node"
    ends[1].kill()
    messages = trial.finish(run)
    trial.same(output, expected)
    deaths = messages.count("died") + messages.count("was lost")
    assert deaths, f"no death of a worker was seen: {messages[-1500:]}"
    return f"{lost} workers lost, {deaths} deaths seen"


def driver(trial, cluster, ends, expected, flags, name):
    """Kill the driver three times, and resume with another number of workers each time."""
    output = trial.folder / f"{name}.jsonl"
    kills = []
    for workers, share in ((2, 0.15), (3, 0.4), (1, 0.7)):
        run = trial.start(output, *flags, "--cluster", cluster, "--workers", str(workers), "--resume")
        assert trial.wait_for(run, output, share * trial.rows)
        run.kill()
        run.communicate()
        kills.append(trial.kept(output))
    trial.finish(trial.start(output, *flags, "--cluster", cluster, "--workers", "2", "--resume"))
    trial.same(output, expected)
    return f"killed at {kills} rows"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--spaces", action="store_true")
    parser.add_argument("--only", default="")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmkit-trials-") as folder:
        trial = Trial(folder, told.rows, told.tokens)
        expected = {}
        for name, flags in (("greedy", GREEDY), ("seeded", SEEDED)):
            expected[name] = trial.folder / f"{name}.jsonl"
            trial.finish(trial.start(expected[name], *flags))
        with nodes.two_nodes(folder, spaces=told.spaces) as (address, ends):
            # The second node is lost in the last trial.
            for work, name in (
                *((undisturbed, name) for name in expected),
                (actors, "seeded"),
                (driver, "seeded"),
                (node, "greedy"),
            ):
                if told.only and told.only != work.__name__:
                    continue
                flags = GREEDY if name == "greedy" else SEEDED
                begun = time.monotonic()
                label = f"{work.__name__}-{name}"
                found = work(trial, address, ends, expected[name], flags, label)
                print(f"{label}: same bytes; {time.monotonic() - begun:.0f} s; {found}", flush=True)


if __name__ == "__main__":
    main()
