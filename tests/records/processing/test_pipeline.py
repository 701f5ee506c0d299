import io
import json
import random
import threading
import time

import pytest

from llmkit.errors import LLMKitError, RequestRefused, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.output import StreamOutput
from llmkit.records.process import process
from llmkit.records.processing.turn import Turn
from llmkit.records.read import rows_of
from tests.records import fake_run


class SlowWork:
    """Work that gives up its turn for random times, and counts how many batches were under way at once."""

    def __init__(self, work, turn, seed=0):
        self.work, self.turn, self.rng = work, turn, random.Random(seed)
        self.inside = self.together = self.calls = 0

    def __call__(self, batch, budget):
        assert self.inside == 0, "two threads ran the task at the same time"
        self.inside += 1
        self.calls += 1
        seconds = self.rng.choice([0, 0, 0.001, 0.004])
        self.inside -= 1
        with self.turn.waiting():
            self.together = max(self.together, threading.active_count())
            time.sleep(seconds)
        return self.work(batch, budget)


def run(source, target, *, work=fake_run.work, at_once=5, **options):
    turn = Turn()
    slow = SlowWork(work, turn)
    fake_run.run(source, target, work=slow, at_once=at_once, turn=turn, **options)
    return slow


@pytest.mark.parametrize("at_once", [2, 7, 40])
@pytest.mark.parametrize("memory", [10_000, 220], ids=["roomy", "out of memory"])
def test_the_file_is_that_of_one_batch_at_a_time(tmp_path, at_once, memory):
    source = fake_run.write_input(tmp_path / "in.jsonl", 300)
    work = fake_run.work_in(memory)
    fake_run.run(source, tmp_path / "one.jsonl", work=work, on_error="skip")
    run(source, tmp_path / "many.jsonl", work=work, at_once=at_once, on_error="skip")
    assert (tmp_path / "many.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


class Cut(Exception):  # noqa: N818 (stands for a kill)
    """Ends a run, as a kill does, after some batches."""


@pytest.mark.parametrize("seed", range(3))
def test_a_cut_run_goes_on_with_another_number_of_workers(tmp_path, seed):
    source, target = fake_run.write_input(tmp_path / "in.jsonl", 200), tmp_path / "many.jsonl"
    work = fake_run.work_in(220)
    fake_run.run(source, tmp_path / "one.jsonl", work=work, on_error="skip")
    rng = random.Random(seed)
    for _ in range(20):
        left = rng.randrange(1, 12)

        def cut(*told):
            nonlocal left
            left -= 1
            if not left:
                raise Cut

        try:
            at_once = rng.choice([1, 2, 3, 9])
            run(source, target, work=work, at_once=at_once, on_error="skip", resume=True, progress=cut)
            break
        except Cut:
            continue
    else:
        run(source, target, work=work, on_error="skip", resume=True)
    assert target.read_bytes() == (tmp_path / "one.jsonl").read_bytes()


def prepare(rows):
    return [PreparedRow(row, 1, row.data["text"]) for row in rows]


def stream(texts, work, **options):
    out = io.StringIO()
    budget = Budget(None, 4, 0)
    options = {"window": 8, "at_once": 3, **options}
    try:
        process(
            rows_of(texts), prepare=prepare, work=work, output=StreamOutput(out), budget=budget, **options
        )
    finally:
        rows = [json.loads(line) for line in out.getvalue().splitlines()]
    return rows


def test_a_failure_comes_in_its_order_and_keeps_what_was_before(tmp_path):
    source = fake_run.write_input(tmp_path / "in.jsonl", 100)

    def work(batch, budget):
        failed = any(one.row.index == 70 for one in batch)
        return [RowError(one.row.where, "is broken") for one in batch] if failed else fake_run.work(batch)

    with pytest.raises(RowError) as caught:
        run(source, tmp_path / "out.jsonl", work=work)
    assert "resume=True" in str(caught.value)
    assert len((tmp_path / "out.jsonl.partial").read_text(encoding="utf-8").splitlines()) >= 64
    run(source, tmp_path / "out.jsonl", resume=True)
    fake_run.run(source, tmp_path / "one.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


def test_a_row_that_is_refused_fails_alone():
    def work(batch, budget):
        if any(one.payload == "13" for one in batch):
            raise RequestRefused("the worker died")
        return [{"upper": one.payload} for one in batch]

    rows = stream([str(i) for i in range(40)], work, on_error="skip")
    assert [row["text"] for row in rows if "error" in row] == ["13"]
    assert len(rows) == 40


def test_an_error_of_the_work_ends_the_run():
    def work(batch, budget):
        raise LLMKitError("no worker is left")

    with pytest.raises(LLMKitError, match="no worker is left"):
        stream(["a", "b"], work)


def test_a_slow_batch_stops_the_others_only_at_the_limit():
    begun, seen, release = [], [], threading.Event()
    turn = Turn()

    def work(batch, budget):
        begun.append(batch[0].row.index)
        if batch[0].row.index == 0:
            with turn.waiting():
                release.wait(10)
        return [{"upper": one.payload} for one in batch]

    def end():
        seen.append(len(begun))
        release.set()

    threading.Timer(0.5, end).start()
    rows = stream([str(i) for i in range(400)], work, turn=turn)
    assert [row["text"] for row in rows] == [str(i) for i in range(400)]
    assert seen == [12]  # four times as many as run at once
