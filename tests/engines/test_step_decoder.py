"""Continuous batching: the same text as `generate`, for each sequence as if it were alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.engines.base import Request, Sampling
from llmkit.engines.transformers import step_batch, step_decoder
from llmkit.engines.transformers.engine import TransformersEngine
from llmkit.engines.transformers.native_decoder import NativeDecoder
from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec
from tests.engines.native_contract import SETTINGS, NativeContract, ids_alone, ids_of, requests_for

TEXTS = ("Once upon a time", "Tom", "The dog saw a cat. " * 12, "One day, Lily went to the", "He was")


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    found = TransformersEngine(load(ModelSpec("stories", dtype="float32", device="cpu", bundled=True)))
    assert found._steps is not None
    return found


@pytest.fixture(scope="module")
def plain() -> TransformersEngine:
    """The same model by transformers' own `generate`."""
    spec = ModelSpec("stories", dtype="float32", device="cpu", bundled=True, attn="sdpa")
    found = TransformersEngine(load(spec))
    assert found._steps is None
    return found


def requests(engine: TransformersEngine, sampling: Sampling) -> list[Request]:
    return requests_for(engine, TEXTS, sampling)


class TestNative(NativeContract):
    """What native steps promise, with guessed tokens, rows that leave, and prompts read in pieces."""

    texts = TEXTS
    changes = (
        (step_decoder, "GUESSING_ROWS", 0),
        (step_decoder, "MAX_ROWS", 2),  # the others join as rows leave
        (step_decoder, "READ", 7),  # tokens of prompts at a time
    )


def test_a_shared_beginning_is_read_once_and_changes_nothing(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.tokenizer is not None
    begin: Any = engine.tokenizer("Once there was a boy who had a red ball and a blue kite. " * 3)[
        "input_ids"
    ]
    batch = [
        Request(SETTINGS["greedy"], ids=[*begin, *tail], key=(0, i, 0))
        for i, tail in enumerate(([50, 60, 70], [51], list(range(40, 70)), [52, 53]))
    ]
    read: list[int] = []
    native = NativeDecoder
    prefill = native.prefill

    def counting(self: Any, rows: Any) -> torch.Tensor:
        read.extend(len(ids) for _, ids in rows)
        return prefill(self, rows)

    monkeypatch.setattr(native, "prefill", counting)
    alone = ids_alone(engine, batch)
    separately, read[:] = sum(read), []
    assert ids_of(engine.generate(batch)) == alone
    assert sum(read) == separately - 3 * len(begin)


def test_an_answer_ends_at_its_own_limit_stop_string_or_listener(engine: TransformersEngine) -> None:
    (first, second, *_) = requests(engine, Sampling(max_new_tokens=60))
    whole = engine.generate([first])[0][0]
    assert engine.tokenizer is not None
    text: Any = engine.tokenizer.decode(whole.ids)
    stop = text.split()[5]
    stopping = replace(first.sampling, stop=(stop,))
    short = replace(second.sampling, max_new_tokens=7)
    stopped, cut = (
        one[0]
        for one in engine.generate([replace(first, sampling=stopping), replace(second, sampling=short)])
    )
    assert stopped.finish_reason == "stop"
    assert stop in str(engine.tokenizer.decode(stopped.ids))
    assert stop not in str(engine.tokenizer.decode(stopped.ids[:-1]))
    assert (len(cut.ids), cut.finish_reason) == (7, "length")
    heard: list[int] = []

    def listen(ids: Any) -> bool:
        heard.extend(ids)
        return len(heard) < 5

    interrupted = engine.stream(first, listen)
    assert interrupted.finish_reason == "interrupted"
    assert interrupted.ids == heard == whole.ids[:5]


def test_a_session_reads_only_what_is_new(engine: TransformersEngine) -> None:
    (request, *_) = requests(engine, Sampling(max_new_tokens=10))
    session = engine.session()
    assert session is not None
    first = engine.stream(request, lambda ids: None, session=session)
    longer = replace(request, ids=[*(request.ids or ()), *first.ids, 60, 61])
    held = len(session.ids)
    assert held == len(request.ids or ()) + len(first.ids) - 1
    again = engine.stream(longer, lambda ids: None, session=session)
    assert again.ids == engine.generate([longer])[0][0].ids
    other = requests(engine, Sampling(max_new_tokens=10))[2]
    assert engine.stream(other, lambda ids: None, session=session).ids == engine.generate([other])[0][0].ids


def test_memory_that_runs_out_is_told_as_such(
    engine: TransformersEngine, tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmkit.errors import OutOfMemory

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(step_decoder, "NativeDecoder", fail)
    steps = engine._steps
    assert steps is not None
    monkeypatch.setattr(steps, "_decoder", None)
    with pytest.raises(OutOfMemory):
        engine.generate(requests(engine, SETTINGS["greedy"]))


@pytest.mark.parametrize("which", ["engine", "plain"])
def test_logprobs_are_those_of_the_models_forward_pass(which: str, request: pytest.FixtureRequest) -> None:
    model: TransformersEngine = request.getfixturevalue(which)
    asked = replace(requests(model, SETTINGS["penalties"])[0], logprobs=2)
    found = model.generate([asked])[0][0]
    ids = [*(asked.ids or ()), *found.ids]
    with torch.inference_mode():
        logits = model.loaded.model(input_ids=torch.tensor([ids])).logits[0, len(asked.ids or ()) - 1 : -1]
    expected = logits.log_softmax(dim=-1)
    assert found.logprobs is not None
    for row, one in zip(expected, found.logprobs, strict=True):
        assert one.logprob == pytest.approx(float(row[one.token]), abs=1e-3)
        assert [value for _, value in one.top] == pytest.approx(row.topk(2).values.tolist(), abs=1e-3)


def test_a_model_with_an_adapter_writes_the_text_of_generate(stories_adapter: Path) -> None:
    specs = (
        ModelSpec(str(stories_adapter), dtype="float32", device="cpu", attn=attn) for attn in (None, "sdpa")
    )
    ours, theirs = (TransformersEngine(load(spec)) for spec in specs)
    assert ours._steps is not None
    assert theirs._steps is None
    batch = requests(ours, SETTINGS["greedy"])
    assert ids_of(ours.generate(batch)) == ids_of(theirs.generate(batch))


def test_a_live_batch_gives_each_request_the_text_it_has_alone(engine: TransformersEngine) -> None:
    batch = engine.live_batch()
    assert batch is not None
    asked = requests(engine, SETTINGS["sampling"])
    alone = [engine.generate([one])[0][0] for one in asked]
    heard: dict[int, list[int]] = {i: [] for i in range(len(asked))}
    answers: dict[int, Any] = {}
    for i, one in enumerate(asked):
        assert batch.takes(one)
        answers[i] = batch.add(one, heard[i].extend)
        batch.step()  # the next one joins while this one is on its way
    while any(one.finished is None for one in answers.values()):
        batch.step()
    assert [answers[i].completion() for i in answers] == alone
    assert [heard[i] for i in heard] == [one.ids for one in alone]
    assert not batch.takes(replace(asked[0], sampling=Sampling(num_beams=2)))


def test_an_answer_is_cancelled_while_it_waits_is_read_and_is_written(engine: TransformersEngine) -> None:
    batch: Any = engine.live_batch()
    free = list(batch._decoder.native._spans._free)
    long = requests(engine, Sampling(max_new_tokens=50))[2]
    long = replace(long, ids=list(long.ids or ()) * 5)  # three pieces
    assert len(long.ids) > 2 * step_batch._READ
    for steps in (0, 1, 2, 6):
        answer = batch.add(long, lambda ids: None)
        for _ in range(steps):
            assert batch.step() == []
        answer.cancelled = True
        assert batch.step() == [answer]
        assert answer.finished == "interrupted"
        assert batch._decoder.native._spans._free == free


def test_an_answer_behind_one_that_needs_room_is_cancelled(engine: TransformersEngine) -> None:
    batch: Any = engine.live_batch()
    native = batch._decoder.native
    (request, *_) = requests(engine, Sampling(max_new_tokens=300))
    rest = native.allocate(native.tokens - 320)  # room for one
    first, second, third = (batch.add(request, lambda ids: None) for _ in range(3))
    assert batch.step() == []
    third.cancelled = True
    assert batch.step() == [third]
    first.cancelled = True
    assert batch.step() == [first]
    while second.finished is None:
        batch.step()
    assert second.completion() == engine.generate([request])[0][0]
    native.release(rest)
