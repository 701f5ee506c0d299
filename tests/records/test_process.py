import io
import json
import random
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from llmkit.errors import InputError, LLMKitError, OptionError, OutOfMemory, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.output import JournaledOutput, StreamOutput
from llmkit.records.process import Summary, process
from llmkit.records.read import open_rows, rows_of
from llmkit.tasks.summarization.files import file_rows


def prepare(rows):
    return [PreparedRow(row, len(row.data["text"]), row.data["text"]) for row in rows]


def to_stream(source, work, *, budget=None, **options):
    """Process into a string; returns the rows written and the summary."""
    stream = io.StringIO()
    budget = budget or Budget(tokens=None, rows=4, new_tokens=0)
    options = {"prepare": prepare, "window": 8, **options}
    summary = process(source, work=work, output=StreamOutput(stream), budget=budget, **options)
    return [json.loads(line) for line in stream.getvalue().splitlines()], summary


def upper(batch, budget=None):
    return [{"upper": prepared.payload.upper()} for prepared in batch]


def counts(summary):
    return summary.rows, summary.failed, summary.resumed


# In order, one output row per input row.


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 16, 17])
def test_rows_come_out_in_input_order_around_window_ends(count):
    rng = random.Random(count)
    texts = ["x" * rng.randrange(1, 30) + str(i) for i in range(count)]
    rows, summary = to_stream(rows_of(texts), upper)
    assert rows == [{"text": text, "upper": text.upper()} for text in texts]
    assert counts(summary) == (count, 0, 0)


def test_work_gets_the_longest_rows_of_a_window_first():
    seen = []

    def work(batch, budget=None):
        seen.append([prepared.payload for prepared in batch])
        return upper(batch)

    texts = ["a", "bbb", "cc", "dd", "eeee", "f"]
    to_stream(rows_of(texts), work, budget=Budget(None, 2, 0), window=5)
    assert seen == [["eeee", "bbb"], ["cc", "dd"], ["a"], ["f"]]


def answered(batch, budget):
    return [{"answer": prepared.payload.upper(), "score": 0.5} for prepared in batch]


@pytest.mark.parametrize("columns", [(), ("answer",)])
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_result_never_replaces_a_column(tmp_path, columns, on_error):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a", "answer": "gold"}\n{"text": "b"}\n')
    ran = []

    def work(batch, budget):
        ran.extend(batch)
        return answered(batch, budget)

    if columns or on_error == "fail":
        with pytest.raises(InputError) as caught:
            to_stream(open_rows(path), work, columns=columns, on_error=on_error)
        assert "`result_field`" in str(caught.value)
        assert f"{path}:1" in str(caught.value)
        assert "'answer'" in str(caught.value)
        assert bool(ran) == (not columns)  # names that are declared are looked at before any work
        return
    rows, summary = to_stream(open_rows(path), work, on_error=on_error)
    assert [row["answer"] for row in rows] == ["gold", "B"]
    assert summary.failed == 1


def test_result_field_renames_all_results(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a", "answer": "gold", "score": 1}\n')
    for columns in ((), ("answer",), ("answer", "score")):
        rows, _ = to_stream(open_rows(path), answered, columns=columns, result_field="said")
        assert rows == [{"text": "a", "answer": "gold", "score": 1, "said": "A", "said_score": 0.5}]
    path.write_text('{"text": "a", "said": 1}\n')
    with pytest.raises(OptionError) as caught:
        to_stream(open_rows(path), answered, columns=("answer",), result_field="said")
    assert caught.value.option == "result_field"


def test_a_late_column_in_the_way_is_its_rows_failure(tmp_path):
    path = tmp_path / "in.jsonl"
    lines = ['{"text": "a"}'] * 8 + ['{"text": "b", "answer": "gold"}', '{"text": "c"}']
    path.write_text("\n".join(lines))
    rows, summary = to_stream(open_rows(path), answered, columns=("answer",), on_error="skip")
    assert summary.failed == 1
    assert rows[8]["answer"] == "gold"
    assert "'answer'" in rows[8]["error"]
    assert rows[9]["answer"] == "C"


def test_an_error_column_of_the_input_is_kept_and_says_nothing_about_failure(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a", "error": "E1"}\n{"text": "unfit", "error": "E2"}\n')
    failures = []

    def render(row, failure):
        failures.append(failure)
        return json.dumps(row)

    stream = io.StringIO()
    summary = process(
        open_rows(path),
        prepare=fussy_prepare,
        work=upper,
        output=StreamOutput(stream, render),
        budget=Budget(None, 4, 0),
        on_error="skip",
    )
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"text": "a", "error": "E1", "upper": "A"},
        {"text": "unfit", "error": "E2", "llmkit_error": "is unfit"},
    ]
    assert failures == [None, "is unfit"]
    assert summary.failed == 1


def test_the_summary_counts_rows_and_seconds(source, fake, tmp_path):
    summary = fake.run(source, tmp_path / "out.jsonl")
    assert isinstance(summary, Summary)
    assert counts(summary) == (70, 0, 0)
    assert summary.seconds > 0


def test_progress_tells_rows_failures_fields_and_the_share_done(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("".join("abcd bad\n"[: 5 if i % 10 else 9].strip() + "\n" for i in range(40)))
    told = []

    def ready(rows):
        return [
            RowError(row.where, "bad") if "bad" in row.data["text"] else PreparedRow(row, 4, "abcd")
            for row in rows
        ]

    to_stream(
        open_rows(path),
        upper,
        prepare=ready,
        on_error="skip",
        window=20,
        progress=lambda *values: told.append(values),
    )
    assert [done for done, *_ in told] == [2, 6, 10, 14, 18, 20, 22, 26, 30, 34, 38, 40]
    assert [failed for _, failed, *_ in told] == [2] * 6 + [4] * 6
    assert [fields and len(fields) for _, _, fields, _ in told] == [None, 4, 4, 4, 4, 2] * 2
    shares = [share for *_, share in told]
    assert shares == sorted(shares)
    assert abs(shares[1] - 6 / 40) < 0.05
    assert abs(shares[5] - 20 / 40) < 0.05
    assert shares[-1] == 1.0


def test_a_source_of_unknown_length_has_no_share_before_its_end():
    told = []
    to_stream(rows_of(iter("abc")), upper, progress=lambda *values: told.append(values[3]), window=2)
    assert told == [None, None, 2 / 3, 1.0]


# Rows that fail.


@pytest.fixture
def troubled(tmp_path):
    """Rows 0 to 5: unreadable, good, refused by `prepare`, good, refused by `work`, good."""
    path = tmp_path / "troubled.jsonl"
    texts = ["", "good 1", "unfit", "good 3", "unlucky", "good 5"]
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(texts)]
    lines[0] = '{"id": 0'
    path.write_text("\n".join(lines) + "\n")
    return path


def fussy_prepare(rows):
    return [
        RowError(row.where, "is unfit")
        if row.data["text"] == "unfit"
        else PreparedRow(row, 1, row.data["text"])
        for row in rows
    ]


def fussy_work(batch, budget=None):
    return [
        RowError(prepared.row.where, "had no luck")
        if prepared.payload == "unlucky"
        else {"upper": prepared.payload.upper()}
        for prepared in batch
    ]


def test_skip_writes_every_row_with_its_error(troubled):
    rows, summary = to_stream(open_rows(troubled), fussy_work, prepare=fussy_prepare, on_error="skip")
    assert rows == [
        {"error": f"{troubled}:1: not JSON: Expecting ',' delimiter at column 9"},
        {"id": 1, "text": "good 1", "upper": "GOOD 1"},
        {"id": 2, "text": "unfit", "error": "is unfit"},
        {"id": 3, "text": "good 3", "upper": "GOOD 3"},
        {"id": 4, "text": "unlucky", "error": "had no luck"},
        {"id": 5, "text": "good 5", "upper": "GOOD 5"},
    ]
    assert counts(summary) == (6, 3, 0)


def test_fail_ends_at_the_first_bad_row_and_runs_nothing(troubled):
    def never(batch, budget=None):
        raise AssertionError("a row ran")

    with pytest.raises(RowError) as caught:
        to_stream(open_rows(troubled), never, prepare=fussy_prepare)
    assert caught.value.where == f"{troubled}:1"
    assert "kept" not in str(caught.value)


def test_fail_ends_at_the_first_row_that_work_refuses():
    def refuse(batch, budget=None):
        return [RowError(prepared.row.where, "refused") for prepared in batch]

    with pytest.raises(RowError, match="argument:2: refused"):
        to_stream(rows_of(["", "bb", "aaaa", "ccc"]), refuse, budget=Budget(None, 3, 0))


def test_a_result_that_json_cannot_hold_is_that_rows_failure():
    rows, summary = to_stream(
        rows_of(["a", "b"]),
        lambda batch, budget: [{"score": float("nan") if p.payload == "a" else 0.5} for p in batch],
        on_error="skip",
    )
    assert rows[0].keys() == {"text", "error"}
    assert "NaN" in rows[0]["error"]
    assert rows[1] == {"text": "b", "score": 0.5}
    assert summary.failed == 1


def test_a_failed_run_says_what_is_kept_and_goes_on_under_skip(fake, tmp_path):
    source = tmp_path / "in.jsonl"
    texts = [f"row {i}" for i in range(40)]
    texts[20], texts[38] = "bad", "bad"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    target = tmp_path / "out.jsonl"
    with pytest.raises(RowError) as caught:
        fake.run(source, target)
    assert str(caught.value).startswith(f"{source}:21: is marked bad (16 rows are done")
    assert "resume=True on_error=skip" in str(caught.value)
    with pytest.raises(RowError, match=r"in\.jsonl:21: is marked bad"):
        fake.run(source, target, resume=True)
    summary = fake.run(source, target, resume=True, on_error="skip")
    assert counts(summary) == (40, 2, 16)
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["text"] for row in rows] == texts
    assert [i for i, row in enumerate(rows) if "error" in row] == [20, 38]
    fake.run(source, tmp_path / "at once.jsonl", on_error="skip")
    assert (tmp_path / "at once.jsonl").read_bytes() == target.read_bytes()


def test_failures_are_counted_over_all_parts_of_a_run(fake, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": "bad" if i % 8 == 0 else "ok"}) + "\n" for i in range(64)))
    target = tmp_path / "out.jsonl"

    def stop_in_the_third_window(done, *_):
        if done > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fake.run(source, target, on_error="skip", progress=stop_in_the_third_window)
    told = []
    summary = fake.run(
        source, target, resume=True, on_error="skip", progress=lambda *values: told.append(values[:2])
    )
    assert counts(summary) == (64, 8, 46)
    assert told[0] == (48, 6)
    assert told[-1] == (64, 8)


def test_a_rows_failure_in_work_is_kept_in_the_journal(fake, tmp_path, source):
    def refuse_one(batch, budget=None):
        answers = fake.work(batch)
        return [
            RowError(prepared.row.where, "no luck") if prepared.row.index == 5 else answer
            for prepared, answer in zip(batch, answers, strict=True)
        ]

    target = tmp_path / "out.jsonl"

    def stop(done, failed, *_):
        if failed:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fake.run(source, target, work=refuse_one, on_error="skip", progress=stop)
    summary = fake.run(source, target, work=fake.work, on_error="skip", resume=True)
    assert summary.failed == 1
    assert json.loads(target.read_text().splitlines()[5])["error"] == "no luck"


# Out of memory.


def test_out_of_memory_halves_the_batch_and_goes_on():
    sizes, notices = [], []

    def work(batch, budget=None):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise OutOfMemory("full")
        return upper(batch)

    texts = ["x" * 9] * 20
    rows, _ = to_stream(
        rows_of(texts), work, budget=Budget(90, None, 0), window=20, notice=lambda text: notices.append(text)
    )
    assert [row["upper"] for row in rows] == ["X" * 9] * 20
    assert sizes == [10, 5, *[2] * 10]
    assert notices == [
        "out of memory with 10 rows at once; continuing with fewer",
        "out of memory with 5 rows at once; continuing with fewer",
    ]


def test_the_smaller_budget_holds_for_later_windows():
    sizes = []

    def work(batch, budget=None):
        sizes.append(len(batch))
        if len(batch) > 3:
            raise OutOfMemory("full")
        return upper(batch)

    to_stream(rows_of(["x"] * 12), work, budget=Budget(None, 6, 0), window=6)
    assert sizes == [6, 3, 3, 3, 3]


def test_a_row_that_does_not_fit_alone_is_a_failed_row():
    def work(batch, budget=None):
        if max(prepared.length for prepared in batch) > 5:
            raise OutOfMemory("the device is full")
        return upper(batch)

    texts = ["x" * 9, "a", "b"]
    rows, summary = to_stream(rows_of(texts), work, on_error="skip")
    assert [row.get("upper") for row in rows] == [None, "A", "B"]
    assert rows[0]["error"] == "does not fit into memory: the device is full"
    assert summary.failed == 1
    with pytest.raises(RowError, match="argument:1: does not fit into memory: the device is full"):
        to_stream(rows_of(texts), work)


def test_while_a_smaller_batch_runs_nothing_holds_the_failed_one():
    class Tensor:
        alive = 0

        def __init__(self):
            Tensor.alive += 1

        def __del__(self):
            Tensor.alive -= 1

    seen = []

    def work(batch, budget=None):
        seen.append(Tensor.alive)
        activations = Tensor()
        if len(batch) > 1:
            raise OutOfMemory("full")
        del activations
        return upper(batch)

    to_stream(rows_of(["a", "b"]), work)
    assert seen == [0, 0, 0]


def test_a_resumed_run_keeps_the_smaller_budget(fake, source, tmp_path):
    memory = fake.work_in(250)
    target = tmp_path / "out.jsonl"
    notices = []

    def stop(done, *_):
        if done > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fake.run(source, target, work=memory, notice=lambda text: notices.append(text), progress=stop)
    assert notices
    again = []
    fake.run(source, target, work=memory, resume=True, notice=lambda text: again.append(text))
    assert again == []
    fake.run(source, tmp_path / "whole.jsonl", work=memory)
    assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_long_run_holds_one_window_in_memory(tmp_path):
    path = tmp_path / "in.jsonl"
    with open(path, "w") as file:
        for number in range(1500):
            file.write(f'{{"id": {number}, "text": "{"word " * 1200}"}}\n')
    tracemalloc.start()
    with JournaledOutput(tmp_path / "out.jsonl", {}) as output:
        summary = process(
            open_rows(path),
            prepare=prepare,
            work=lambda batch, budget: [{"echo": prepared.payload} for prepared in batch],
            output=output,
            budget=Budget(None, 64, 0),
            window=64,
        )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert summary.rows == 1500
    assert peak < 5 << 20 < path.stat().st_size


def named(row):
    """A row with the text of the file that it names."""
    return replace(row, data={"text": Path(row.data["file"]).read_text()})


def test_long_rows_make_a_window_shorter(fake, source, tmp_path, monkeypatch):
    """The windows depend on the rows alone, so that a killed run goes on with the same ones."""
    monkeypatch.setattr("llmkit.records.processing.windows._MOST_CHARACTERS", 100)
    windows = []

    def look(rows):
        windows.append([len(row.data["text"]) for row in rows])
        return prepare(rows)

    texts = ["a" * 60, "b" * 60, "c", "d" * 300, "e", "f"]
    rows, _ = to_stream(rows_of(texts), upper, prepare=look)
    assert windows == [[60, 60], [1, 300], [1, 1]]
    assert [row["text"] for row in rows] == texts
    windows.clear()
    nested = [{"text": "a", "list": [{"x" * 60: ["y" * 60]}]}, {"text": "b"}]
    path = tmp_path / "nested.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in nested))
    to_stream(open_rows(path), upper, prepare=look)
    assert windows == [[1], [1]]

    windows.clear()
    files = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]
    for file in files:  # a row that names a file stands for its text
        file.write_text("z" * 60)
    to_stream(
        file_rows(list(map(str, files))), upper, prepare=lambda rows: look([named(row) for row in rows])
    )
    assert windows == [[60, 60], [60]]

    def stop(done, *_):
        if done > 40:
            raise KeyboardInterrupt

    target = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        fake.run(source, target, progress=stop)
    fake.run(source, target, resume=True)
    fake.run(source, tmp_path / "whole.jsonl")
    assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def window_sizes(texts, budget):
    """Rows of each window that `process` takes for a stream whose reader waits."""
    found = []

    def look(rows):
        found.append(len(rows))
        return prepare(rows)

    rows, _ = to_stream(rows_of(texts), upper, prepare=look, budget=budget, window=1024, early=True)
    assert [row["text"] for row in rows] == texts
    return found


def test_windows_grow_from_a_quarter_of_a_batch_to_four():
    assert window_sizes(["x"] * 100, Budget(None, 8, 0)) == [2, 4, 8, 16, 32, 32, 6]
    # A row of 40 characters, with its column, has about 10 tokens: 20 rows of 10 + 10 tokens have 400.
    assert window_sizes(["x" * 36] * 200, Budget(400, None, 10)) == [5, 10, 20, 40, 80, 45]
    assert window_sizes(["x"] * 9, Budget(None, 1, 0)) == [1, 1, 1, 2, 4]
    assert window_sizes(["x"] * 3000, Budget(None, None, 0)) == [1024, 1024, 952]


@pytest.mark.parametrize("at_once", [1, 3])
def test_an_interrupted_stream_has_most_of_the_finished_rows(at_once):
    stream, done = io.StringIO(), []
    rng = random.Random(0)
    texts = ["x" * rng.randrange(1, 50) + str(i) for i in range(2000)]

    def work(batch, budget=None):
        if len(done) > 500:
            raise KeyboardInterrupt
        done.extend(batch)
        return upper(batch)

    with pytest.raises(KeyboardInterrupt):
        process(
            rows_of(texts),
            prepare=prepare,
            work=work,
            output=StreamOutput(stream),
            budget=Budget(None, 16, 0),
            early=True,
            at_once=at_once,
        )
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [row["text"] for row in rows] == texts[: len(rows)]
    assert len(rows) > len(done) // 2


def test_a_row_is_written_as_soon_as_all_rows_before_it_are_done():
    stream, seen = io.StringIO(), []

    def work(batch, budget=None):
        seen.append(stream.getvalue().count("\n"))
        return upper(batch)

    def look(rows):
        return [RowError(rows[0].where, "is bad"), *prepare(rows[1:])]

    process(
        rows_of(["bad", "1234", "123", "1", "12"]),
        prepare=look,
        work=work,
        output=StreamOutput(stream),
        budget=Budget(None, 1, 0),
        on_error="skip",
    )
    assert seen == [1, 2, 3, 3]
    assert stream.getvalue().count("\n") == 5


def test_the_errors_of_the_work_pass_through(fake, source, tmp_path):
    def broken(batch, budget=None):
        raise LLMKitError("the device is gone")

    with pytest.raises(LLMKitError, match="the device is gone"):
        fake.run(source, tmp_path / "out.jsonl", work=broken)
