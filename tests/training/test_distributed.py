"""One run in several processes, on this machine's CPU by gloo: the same losses, one voice, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.command import run, spawn

COMMON = [*("--device", "cpu", "--dtype", "float32", "--lr", "1e-3", "--max-length", "64")]
STEPS = [*("--max-steps", "8", "--eval-steps", "4")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A number of rows that two processes cannot share evenly."""
    rows = [{"prompt": f"Say {i}:", "completion": " The dog saw the cat." * (1 + i % 3)} for i in range(29)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def model(tiny_model: Callable[..., Path]) -> Path:
    return tiny_model("llama")


def arguments(data: Path, model: Path, output: Path, *more: str) -> list[str]:
    return ["finetune", str(data), "-m", str(model), "-o", str(output), *COMMON, *more]


def metrics(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def assert_same(one: Path, other: Path) -> None:
    """The same losses step by step, and the same weights, to float32's rounding."""
    ours, theirs = metrics(one), metrics(other)
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    for a, b in zip(ours, theirs, strict=True):
        for name in ("loss", "eval_loss", "grad_norm"):
            assert (name in a) == (name in b)
            assert a.get(name, 0.0) == pytest.approx(b.get(name, 0.0), rel=1e-5)
    (mine,), (yours,) = (list(folder.glob("*.safetensors")) for folder in (one, other))
    first, second = load_file(mine), load_file(yours)
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-5)


CASES = {
    "adapter": [],
    "whole": ["--full"],
    "muon": ["--full", "--optimizer", "muon"],
    "packing": ["--packing"],
    "preferences": ["--full"],
}


@pytest.mark.parametrize(
    "case",
    [
        "adapter",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("whole", "muon", "packing", "preferences")),
    ],
)
def test_two_processes_learn_what_one_does(data: Path, model: Path, tmp_path: Path, case: str) -> None:
    more = [*STEPS, *CASES[case]]
    if case == "preferences":
        pytest.importorskip("trl")
        rows = [json.loads(line) for line in data.read_text().splitlines()]
        pairs = [
            {"prompt": row["prompt"], "chosen": row["completion"], "rejected": " No, thanks."} for row in rows
        ]
        data.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    alone = run(
        *arguments(data, model, tmp_path / "one", "--batch-size", "2", "--gradient-accumulation", "2", *more)
    )
    both = spawn(*arguments(data, model, tmp_path / "two", "--batch-size", "2", "--processes", "2", *more))
    assert alone.code == both.returncode == 0, both.stderr
    assert_same(tmp_path / "one", tmp_path / "two")
    # One voice: the result once on stdout, each notice once on stderr, and nothing of torch's.
    assert both.stdout.count("folder: ") == 1
    assert both.stderr.count("held-out loss") == 3
    assert all(line.startswith("llmkit: ") for line in both.stderr.splitlines())


@pytest.mark.slow
def test_a_plan_is_reported_once(data: Path, model: Path, tmp_path: Path) -> None:
    done = spawn(*arguments(data, model, tmp_path / "out", "--processes", "2", "--dry-run", "--json"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] > 0
    assert not (tmp_path / "out").exists()


def test_a_bad_row_is_reported_once(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a"}\n{"text": \n')
    done = spawn(*arguments(file, model, tmp_path / "out", "--processes", "2"))
    assert done.returncode == 2
    assert done.stderr.startswith("llmkit: error: ")
    assert done.stderr.count("\n") == 1
    assert "rows.jsonl:2" in done.stderr


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "corpus.txt"
    file.write_text("\n\n".join(f"Once there were {i} cats in a very old house." for i in range(80)))
    return file


def pretraining(corpus: Path, output: Path, *more: str) -> list[str]:
    small = [*("--params", "20k", "--vocab-size", "270"), *COMMON, *STEPS]
    return ["pretrain", str(corpus), "-o", str(output), *small, *more]


@pytest.mark.slow
def test_one_process_reads_the_corpus_for_both(corpus: Path, tmp_path: Path) -> None:
    alone = spawn(*pretraining(corpus, tmp_path / "one", "--batch-size", "4"))
    both = spawn(*pretraining(corpus, tmp_path / "two", "--batch-size", "2", "--processes", "2"))
    assert alone.returncode == both.returncode == 0, both.stderr
    assert_same(tmp_path / "one", tmp_path / "two")
    assert {file.name for file in (tmp_path / "two").iterdir()} == {
        file.name for file in (tmp_path / "one").iterdir()
    }


@pytest.mark.slow
def test_a_bad_corpus_is_reported_once(corpus: Path, tmp_path: Path) -> None:
    corpus.write_bytes(b"good\n\nna\xefve\n")
    done = spawn(*pretraining(corpus, tmp_path / "out", "--processes", "2"))
    assert done.returncode == 2
    assert done.stderr.startswith("llmkit: error: ")
    assert done.stderr.count("\n") == 1
    assert "corpus.txt:3: not UTF-8" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_torchrun_does_as_well(data: Path, model: Path, tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    spawn(*arguments(data, model, tmp_path / "one", "--batch-size", "4", *STEPS))
    command = [sys.executable, *launcher, "-m", "llmkit"]
    done = subprocess.run(
        [*command, *arguments(data, model, tmp_path / "two", "--batch-size", "2", *STEPS)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "one", tmp_path / "two")


@pytest.fixture
def running(data: Path, model: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A long run in two processes that has written its first checkpoint."""
    output = tmp_path / "out"
    long = arguments(data, model, output, *LONG, "--processes", "2")
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit", *long], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (output / "checkpoints/checkpoint-20").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield process
    process.kill()


LONG = [*("--batch-size", "2", "--max-steps", "300", "--eval-steps", "20")]


@pytest.mark.slow
def test_a_signal_saves_and_the_run_goes_on_in_two(
    running: subprocess.Popen[str], data: Path, model: Path, tmp_path: Path
) -> None:
    running.send_signal(signal.SIGTERM)
    _, printed = running.communicate(timeout=60)
    assert running.returncode == 143, printed
    assert "--resume continues" in printed
    assert "Traceback" not in printed
    again = arguments(data, model, tmp_path / "out", *LONG, "--processes", "2")
    assert spawn(*again, "--resume").returncode == 0
    whole = spawn(*arguments(data, model, tmp_path / "whole", *LONG, "--processes", "2"))
    assert whole.returncode == 0, whole.stderr
    assert_same(tmp_path / "whole", tmp_path / "out")


@pytest.mark.slow
def test_one_process_killed_ends_the_others(
    running: subprocess.Popen[str], data: Path, model: Path, tmp_path: Path
) -> None:
    children = subprocess.run(
        ["pgrep", "-P", str(running.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, printed = running.communicate(timeout=90)
    assert running.returncode not in (0, None)
    assert "Traceback" not in printed
    again = arguments(data, model, tmp_path / "out", *LONG, "--processes", "2", "--resume")
    assert spawn(*again).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_sharded_training_equals_a_single_process(
    data: Path, model: Path, tmp_path: Path, optimizer: str
) -> None:
    """FSDP2: each process holds half of every weight."""
    more = ["--full", "--optimizer", optimizer, *STEPS]
    alone = spawn(*arguments(data, model, tmp_path / "one", "--batch-size", "4", *more))
    assert alone.returncode == 0, alone.stderr
    config = tmp_path / "fsdp.yaml"
    config.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nuse_cpu: true\nnum_machines: 1\n"
        "num_processes: 2\nmixed_precision: 'no'\nfsdp_config:\n  fsdp_version: 2\n"
        "  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP\n"
        "  fsdp_transformer_layer_cls_to_wrap: LlamaDecoderLayer\n"
        "  fsdp_state_dict_type: FULL_STATE_DICT\n  fsdp_reshard_after_forward: true\n"
    )
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(config), "-m", "llmkit"]
    done = subprocess.run(
        [
            sys.executable,
            *launcher,
            *arguments(data, model, tmp_path / "two", "--batch-size", "2", *more),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "one", tmp_path / "two")


def _network(*command: str) -> bool:
    return subprocess.run(["ip", *command], capture_output=True).returncode == 0


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by a cable: two hosts, as far as their networks go."""
    names = (f"llmkit-a{os.getpid()}", f"llmkit-b{os.getpid()}")
    if shutil.which("ip") is None or not all(_network("netns", "add", name) for name in names):
        for name in names:
            _network("netns", "del", name)
        pytest.skip("network namespaces need root and iproute2")
    one, other = f"va{os.getpid()}", f"vb{os.getpid()}"
    _network("link", "add", one, "netns", names[0], "type", "veth", "peer", "name", other, "netns", names[1])
    for name, link, address in ((names[0], one, "10.77.0.1"), (names[1], other, "10.77.0.2")):
        _network("-n", name, "addr", "add", f"{address}/24", "dev", link)
        _network("-n", name, "link", "set", link, "up")
        _network("-n", name, "link", "set", "lo", "up")
    yield names
    for name in names:
        _network("netns", "del", name)


def _on_hosts(hosts: tuple[str, str], command: list[str], seconds: str) -> list[subprocess.Popen[str]]:
    links = (f"va{os.getpid()}", f"vb{os.getpid()}")
    started = []
    for rank, (host, link) in enumerate(zip(hosts, links, strict=True)):
        launcher = [
            "torch.distributed.run",
            "--nnodes",
            "2",
            "--nproc_per_node",
            "1",
            "--node_rank",
            str(rank),
        ]
        launcher += ["--master_addr", "10.77.0.1", "--master_port", "29511"]
        started.append(
            subprocess.Popen(
                ["ip", "netns", "exec", host, sys.executable, "-m", *launcher, "-m", "llmkit", *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "GLOO_SOCKET_IFNAME": link, "LLMKIT_PROCESS_TIMEOUT": seconds},
            )
        )
    return started


@pytest.mark.slow
def test_two_hosts_train_together_and_survive_a_cut(
    hosts: tuple[str, str], data: Path, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    command = arguments(data, model, output, "--batch-size", "2", "--max-steps", "3000", "--eval-steps", "20")
    pair = _on_hosts(hosts, command, "15")
    deadline = time.monotonic() + 120
    while not (output / "checkpoints/checkpoint-20").exists():
        assert all(one.poll() is None for one in pair), [one.communicate() for one in pair]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    _network("-n", hosts[1], "link", "set", f"vb{os.getpid()}", "down")
    printed = pair[0].communicate(timeout=120)[1]
    assert pair[0].returncode not in (0, None)
    errors = [line for line in printed.splitlines() if line.startswith("llmkit: error: ")]
    assert len(errors) == 1, printed
    assert "another process" in errors[0]
    for one in pair:
        one.kill()
    pair[1].communicate()
    steps = [row["step"] for row in metrics(output)]
    ending = [
        "--batch-size",
        "2",
        "--max-steps",
        "3000",
        "--eval-steps",
        "20",
        "--resume",
        "--processes",
        "2",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit", *arguments(data, model, output, *ending)],
        stderr=subprocess.PIPE,
        text=True,
    )
    while (newest := max(row["step"] for row in metrics(output))) <= max(steps):
        assert process.poll() is None
        assert time.monotonic() < deadline + 120, newest
        time.sleep(0.1)
    process.terminate()
    assert "resuming after step" in process.communicate(timeout=60)[1]


@pytest.mark.parametrize(("rank", "waits"), [("0", False), ("1", True)])
def test_the_first_process_has_time_to_report(
    rank: str, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launcher ends all processes with the first that ends, whichever that is."""
    from llmkit.cli.common import console, launch
    from llmkit.errors import InputError

    waited: list[float] = []
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setattr("llmkit.cli.common.launch.time.sleep", waited.append)
    with pytest.raises(console.Exit if waits else InputError) as caught, launch.report_once():
        raise InputError("rows.jsonl:2: broken")
    assert bool(waited) == waits
    assert getattr(caught.value, "code" if waits else "exit_code") == 2
