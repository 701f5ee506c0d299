import random
import socket
import threading
import time
from functools import partial

import pytest

from llmkit.cluster.connect import connect
from llmkit.cluster.engine import ClusterEngine, WorkerEngine
from llmkit.cluster.options import ClusterOptions
from llmkit.cluster.pool import WorkerPool
from llmkit.engines.base import Request, Sampling
from llmkit.errors import InputError, LLMKitError, OptionError, RequestRefused
from llmkit.records.output import JournaledOutput
from llmkit.records.process import process
from llmkit.records.read import open_rows
from llmkit.tasks.generation import Generation, GenerationOptions
from tests.cluster.fake_engine import FakeEngine
from tests.cluster.fake_ray import FakeRay


def start(ray, *, count=2, opener=FakeEngine, notice=lambda message: None, **options):
    wanted = ClusterOptions("auto", **options)
    return WorkerPool(ray, partial(WorkerEngine, opener), wanted, count, {"num_cpus": 0}, notice)


def write(path, rows, **replaced):
    texts = [replaced.get(f"row{i}", f"text {i}") for i in range(rows)]
    path.write_text("".join(f'{{"prompt": "{text}"}}\n' for text in texts), encoding="utf-8")
    return path


def generate(engine, source, target, *, on_error="fail", temperature=None, resume=False):
    """Run `Generation` over rows, as the command line does."""
    wanted = GenerationOptions(seed=5, max_new_tokens=8, temperature=temperature)
    task, rows = Generation(engine, wanted), open_rows(source)
    workers = task.run_state.workers
    header = {**task.header(), "input": rows.identity()}
    with JournaledOutput(target, header, resume=resume) as output:
        return process(
            rows,
            prepare=task.prepare,
            work=task.fields,
            output=output,
            budget=task.budget(None),
            window=64,
            on_error=on_error,
            at_once=1 if workers is None else workers.calls,
            turn=None if workers is None else workers.turn,
        )


@pytest.mark.parametrize("temperature", [None, 1.0], ids=["greedy", "seeded"])
@pytest.mark.parametrize("count", [1, 5])
def test_the_file_is_that_of_one_process_while_workers_die(tmp_path, count, temperature):
    source = write(tmp_path / "in.jsonl", 700)
    generate(FakeEngine(), source, tmp_path / "one.jsonl", temperature=temperature)
    rng, lock = random.Random(count), threading.Lock()

    def dies(arguments):
        with lock:
            return rng.random() < 0.15

    pool = start(FakeRay(dies), count=count)
    generate(ClusterEngine(pool), source, tmp_path / "many.jsonl", temperature=temperature)
    assert (tmp_path / "many.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()
    assert pool.deaths > 0


def deadly(arguments):
    _, (requests,), _ = arguments
    return any("die" in one.text for one in requests)


def test_a_row_that_kills_its_workers_is_found_and_fails_alone(tmp_path):
    source = write(tmp_path / "in.jsonl", 100, row13="die")
    pool = start(FakeRay(deadly))
    summary = generate(ClusterEngine(pool), source, tmp_path / "out.jsonl", on_error="skip")
    assert (summary.rows, summary.failed) == (100, 1)
    failed = [row.data for row in open_rows(tmp_path / "out.jsonl") if "error" in row.data]
    assert [row["prompt"] for row in failed] == ["die"]
    assert "worker died" in failed[0]["error"]
    # Four tries of the batch of 32, then one of each half of it that holds the row.
    assert pool.deaths == 4 + 5


def test_a_row_that_kills_its_workers_ends_the_run_under_fail(tmp_path):
    source = write(tmp_path / "in.jsonl", 100, row13="die")
    with pytest.raises(InputError, match=r"in.jsonl:14: its worker died"):
        generate(ClusterEngine(start(FakeRay(deadly))), source, tmp_path / "out.jsonl")


def test_a_call_runs_again_three_times():
    calls = []

    def dies(arguments):
        calls.append(arguments)
        return len(calls) <= deaths

    for deaths, works in ((3, True), (4, False)):
        calls.clear()
        engine = ClusterEngine(start(FakeRay(dies), count=1))
        request = Request(Sampling(), text="a", key=(0, deaths, 0))
        if works:
            assert engine.generate([request])[0][0].finish_reason == "stop"
        else:
            with pytest.raises(RequestRefused):
                engine.generate([request])
        assert len(calls) == 4


def test_errors_of_a_worker_arrive_with_their_class_and_option():
    engine = ClusterEngine(start(FakeRay()))
    with pytest.raises(OptionError) as caught:
        engine.generate([Request(Sampling(), text="refuse")])
    assert caught.value.option == "temperature"


def fails():
    raise InputError("no such model")


def test_a_model_that_no_worker_can_open_is_an_input_error():
    with pytest.raises(InputError, match="no such model"):
        ClusterEngine(start(FakeRay(), opener=fails))


def test_a_lost_connection_ends_the_run():
    ray = FakeRay()
    engine = ClusterEngine(start(ray))

    def lost(*told, **more):
        raise ConnectionError("Client is shutting down.")

    ray.get = lost
    with pytest.raises(LLMKitError, match="connection to the cluster is lost"):
        engine.generate([Request(Sampling(), text="a")])


_NAMES = iter(range(1000))


def differs():
    return FakeEngine(name=f"model {next(_NAMES)}")


@pytest.mark.parametrize("allow", [False, True])
def test_workers_that_differ_are_refused(allow):
    pool = start(FakeRay(), opener=differs, allow_mixed=allow)
    while pool.describe() != "2 workers":
        time.sleep(0.001)
    if allow:
        ClusterEngine(pool).generate([Request(Sampling(), text="a")])
        return
    with pytest.raises(InputError) as caught:
        ClusterEngine(pool)
    assert "allow_mixed" in str(caught.value)
    assert "model" in str(caught.value)


def test_calls_fail_after_the_end():
    engine = ClusterEngine(start(FakeRay()))
    engine.workers.close()
    with pytest.raises(LLMKitError):
        engine.generate([Request(Sampling(), text="a")])


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"cluster": "0"}, "cluster"),
        ({"cluster": "100000"}, "cluster"),
        ({"cluster": "somewhere"}, "cluster"),
        ({"cluster": "http://host:1"}, "cluster"),
        ({"cluster": "host:6379; rm"}, "cluster"),
        ({"cluster": "2", "workers": 2}, "workers"),
        ({"cluster": "auto", "workers": 0}, "workers"),
        ({"cluster": "auto", "gpus_per_worker": -1}, "gpus_per_worker"),
        ({"cluster": "auto", "gpus_per_worker": 1.5}, "gpus_per_worker"),
        ({"cluster": "auto", "gpus_per_worker": float("nan")}, "gpus_per_worker"),
    ],
)
def test_bad_options_are_refused(options, option):
    with pytest.raises(OptionError) as caught:
        ClusterOptions(**options)
    assert caught.value.option == option


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "127.0.0.1:99999"])
def test_a_cluster_that_does_not_answer_is_refused_at_once(address):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OptionError) as caught:
        connect(ClusterOptions(address.format(port)))
    assert caught.value.option == "cluster"
    assert "127.0.0.1" in str(caught.value)


def test_the_address_of_a_job_is_taken_from_the_environment(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert ClusterOptions("auto").address == "10.0.0.1:6379"
    assert ClusterOptions("2").address is None
    assert ClusterOptions("ray://h:10001", workers=3).wanted == 3
    monkeypatch.delenv("RAY_ADDRESS")
    assert ClusterOptions("auto").address is None
