"""Rounds and runs under a clock that does not depend on the machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from llmkit.benchmark.measure import benchmark, first_output, take_turns
from llmkit.benchmark.results import BenchmarkOptions
from llmkit.benchmark.systems import BatchRun, BenchmarkPrompt, EngineSystem, PromptSource, SingleRun
from llmkit.engines.base import Completion
from llmkit.errors import InputError, LLMKitError, OptionError
from llmkit.runtime.spec import ModelSpec
from tests.conftest import TinyModel
from tests.tiny import make_tokenizer


class FakeEngine:
    """Takes 2 seconds to a first token, half a second for each later one, and a second for a batch."""

    def __init__(self, budget: int | None = None) -> None:
        self.now = 0.0
        self.budget = budget
        self.batches: list[list[int]] = []

    def clock(self) -> float:
        return self.now

    def token_budget(self) -> int | None:
        return self.budget

    def stream(self, request: Any, on_tokens: Any) -> None:
        self.now += 2.0
        for i in range(request.sampling.max_new_tokens):
            self.now += 0.5 if i else 0.0
            on_tokens([i])

    def generate(self, requests: Sequence[Any]) -> list[list[Completion]]:
        self.now += 1.0
        self.batches.append([len(request.ids) for request in requests])
        assert all(request.sampling.eos_token_ids == () for request in requests)
        counts = [request.sampling.max_new_tokens for request in requests]
        return [[Completion([0] * count, "length", 0)] for count in counts]


def test_a_stream_is_divided_at_its_first_token() -> None:
    engine: Any = FakeEngine()
    run = EngineSystem(engine, engine.clock).single(BenchmarkPrompt((1, 2, 3), "", 5))
    assert run == SingleRun(prompt_tokens=3, first=2.0, later_tokens=4, later=2.0)


def test_a_stream_of_one_token_is_refused() -> None:
    engine: Any = FakeEngine()
    with pytest.raises(InputError, match="before the second token"):
        EngineSystem(engine, engine.clock).single(BenchmarkPrompt((1,), "", 1))


def test_a_batch_runs_longest_first_within_the_engine_s_budget() -> None:
    engine: Any = FakeEngine(budget=20)
    prompts = [BenchmarkPrompt(tuple(range(length)), "", 2) for length in (3, 8, 5)]
    assert EngineSystem(engine, engine.clock).many(prompts) == BatchRun(tokens=6, seconds=2.0)
    assert engine.batches == [[8, 5], [3]]


class FakeSystem:
    """Notes what it is asked, and fails from a round on."""

    def __init__(self, name: str, asked: list[tuple[str, Any]], fails_at: int = 99) -> None:
        self.name, self.notes = name, ["a note"]
        self._asked, self._fails_at, self._round = asked, fails_at, 0

    def single(self, prompt: BenchmarkPrompt) -> SingleRun:
        self._asked.append((self.name, prompt))
        if self._round == self._fails_at:
            raise ValueError("out of order")
        self._round += 1
        return SingleRun(prompt.length, 1.0, 1, 1.0)

    def many(self, prompts: Sequence[BenchmarkPrompt]) -> BatchRun:
        self._asked.append((self.name, tuple(prompts)))
        return BatchRun(len(prompts), float(self._round))

    def close(self) -> None:
        pass


def source(**options: Any) -> PromptSource:
    return PromptSource(make_tokenizer(), BenchmarkOptions(prompt_tokens=8, batch=3, **options))


def test_programs_take_turns_on_the_same_prompts() -> None:
    asked: list[tuple[str, Any]] = []
    done: list[tuple[int, int]] = []
    systems = [FakeSystem("a", asked), FakeSystem("b", asked)]
    runs = take_turns(systems, source(), 2, lambda *numbers: done.append(numbers))
    assert [name for name, _ in asked] == list("aabbbbaaaabb")
    for at in range(0, 12, 4):
        assert asked[at][1] == asked[at + 2][1]
        assert asked[at + 1][1] == asked[at + 3][1]
    assert len({asked[at][1] for at in range(0, 12, 4)}) == 3  # no prompt comes twice
    # The first of three rounds does not count.
    assert [run.seconds for run in runs["b"].many] == [2.0, 3.0]
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_a_peer_that_fails_is_left_out_and_llmkit_s_own_failure_is_not_hidden() -> None:
    asked: list[tuple[str, Any]] = []
    runs = take_turns(
        [FakeSystem("a", asked), FakeSystem("b", asked, fails_at=1)], source(), 2, lambda *_: None
    )
    assert runs["b"].failure == "out of order"
    assert len(runs["a"].single) == 2
    with pytest.raises(ValueError, match="out of order"):
        take_turns([FakeSystem("a", [], fails_at=1)], source(), 2, lambda *_: None)


def test_prompts_have_the_lengths_that_were_asked_for() -> None:
    made = source().batch()
    assert [(one.length, one.new_tokens) for one in made] == [(8, 64)] * 3
    assert all(make_tokenizer().decode(one.ids) == one.text for one in made)
    mixed = PromptSource(
        make_tokenizer(), BenchmarkOptions(prompt_tokens=8, new_tokens=4, batch=4, mixed=True)
    )
    made = mixed.batch()
    assert sorted(one.length for one in made) == [2, 4, 6, 8]
    assert sorted(one.new_tokens for one in made) == [2, 2, 3, 4]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"prompt_tokens": 0}, "prompt_tokens"),
        ({"new_tokens": 1}, "new_tokens"),
        ({"batch": 0}, "batch"),
        ({"batch": 10**9}, "batch"),
        ({"repeats": 0}, "repeats"),
        ({"threads": 0}, "threads"),
        ({"compare": ("vllm",)}, "compare"),
        ({"compare": ("pipeline", "pipeline")}, "compare"),
        ({"peer_python": ("python",)}, "peer_python"),
        ({"peer_python": ("/no/such/python",), "compare": ("llama.cpp",)}, "peer_python"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], option: str) -> None:
    with pytest.raises(OptionError) as refused:
        BenchmarkOptions(**options).check()
    assert refused.value.option == option


def test_a_model_is_measured(tiny_model: TinyModel) -> None:
    import torch

    threads = torch.get_num_threads()
    options = BenchmarkOptions(prompt_tokens=16, new_tokens=4, batch=2, repeats=2, threads=1)
    result = benchmark(ModelSpec(str(tiny_model("llama"))), options)
    (ours,) = result.systems
    counts = {one.name: len(one.samples) for one in ours.measurements}
    assert counts == {"load": 2, "peak memory": 1, "first token": 2, "prefill": 2, "decode": 2, "batch": 2}
    assert all(value > 0 for one in ours.measurements for value in one.samples)
    limited = {one.name for one in ours.measurements if one.limit is not None}
    assert limited == set(counts) - {"load"}
    assert (result.threads, torch.get_num_threads()) == (1, threads)
    assert result.busy == bool(result.reasons)
    first = ours.find("first token")
    prefill = ours.find("prefill")
    assert first is not None
    assert prefill is not None
    assert prefill.samples == pytest.approx([16 / seconds for seconds in first.samples])


def test_a_model_that_loads_slowly_is_loaded_once(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmkit.benchmark import measure

    class Minutes:
        """A clock on which all takes minutes."""

        now = 0.0

        def perf_counter(self) -> float:
            self.now += 90.0
            return self.now

    monkeypatch.setattr(measure, "time", Minutes())
    options = BenchmarkOptions(prompt_tokens=16, new_tokens=4, batch=2, repeats=3)
    result = benchmark(ModelSpec(str(tiny_model("llama"))), options)
    load = result.systems[0].find("load")
    assert load is not None
    assert load.samples == (90.0,)
    assert any("loaded 1 instead of 3 times" in note and "90 s" in note for note in result.notes)


def test_prompts_longer_than_the_context_are_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(OptionError) as refused:
        benchmark(ModelSpec(str(tiny_model("llama"))), BenchmarkOptions(prompt_tokens=126, new_tokens=4))
    assert refused.value.option == "prompt_tokens"
    assert "128" in refused.value.reason


def test_the_first_byte_of_a_command_is_timed() -> None:
    ticks = iter([1.0, 4.0])
    endless = "import time; print('x', flush=True); time.sleep(600)"
    assert first_output([sys.executable, "-c", endless], lambda: next(ticks)) == 3.0
    with pytest.raises(LLMKitError, match="no such thing"):
        first_output([sys.executable, "-c", "raise SystemExit('no such thing')"])
