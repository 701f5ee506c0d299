"""Guesses of a draft model change no greedy text and no distribution, and depend on no batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.generation import logits_process

from llmkit.engines.base import Completion, Request, Sampling
from llmkit.engines.open import open_engine
from llmkit.engines.transformers import draft_model, step_decoder
from llmkit.engines.transformers.draft_model import Drafter, DraftModel
from llmkit.engines.transformers.engine import TransformersEngine
from llmkit.engines.transformers.native_decoder import NativeDecoder
from llmkit.engines.transformers.row_sampler import RowSampler
from llmkit.engines.transformers.sampling import Settings
from llmkit.engines.transformers.speculation import GUESSES, VERIFYING, Guesser, Meter, Pace
from llmkit.engines.transformers.step_decoder import RunningSequence, StepDecoder
from llmkit.engines.transformers.verification import DraftToken, verify
from llmkit.errors import OptionError
from llmkit.runtime.load import LoadedModel, load
from llmkit.runtime.spec import ModelSpec
from tests.engines.native_contract import SETTINGS
from tests.engines.test_step_decoder import requests

STORIES = ModelSpec("stories", device="cpu", bundled=True)
FORMS = {
    "float32": replace(STORIES, dtype="float32"),
    "bfloat16": replace(STORIES, dtype="bfloat16"),
    "int8": replace(STORIES, quantize="int8"),
    "int4": replace(STORIES, quantize="int4"),
}


@pytest.fixture(scope="module")
def draft() -> LoadedModel:
    """The story model in 4 bits without its last two layers."""
    found = load(FORMS["int4"])
    model: Any = found.model
    model.model.layers = model.model.layers[:-2]
    model.config.num_hidden_layers -= 2
    return found


@pytest.fixture(scope="module")
def drafted(draft: LoadedModel) -> TransformersEngine:
    return TransformersEngine(load(FORMS["float32"]), draft)


def ids_of(answers: list[list[Completion]]) -> list[list[int]]:
    return [one.ids for answer in answers for one in answer]


def guesses_of(engine: TransformersEngine) -> tuple[int, int]:
    """Guessed tokens of an engine's batches, and those that were right."""
    decoder: Any = engine._steps
    return decoder._decoder.guessed, decoder._decoder.right


GREEDY = (
    Sampling(max_new_tokens=30),
    Sampling(max_new_tokens=30, repetition_penalty=1.3, min_new_tokens=20, no_repeat_ngram_size=3),
    Sampling(max_new_tokens=30, presence_penalty=0.7, frequency_penalty=0.4, logit_bias=((300, 2.0),)),
)


@pytest.mark.parametrize("form", FORMS)
def test_greedy_text_is_the_same_to_the_bit(
    form: str, draft: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small models would seldom guess: their steps take less time than the rest.
    monkeypatch.setattr(draft_model, "_OVERHEAD", 0)
    monkeypatch.setattr(Meter, "cost", lambda self, source: 0.05)
    loaded = load(FORMS[form])
    plain, engine = TransformersEngine(loaded), TransformersEngine(loaded, draft)
    for sampling in GREEDY:
        for one in requests(plain, sampling)[::2]:
            asked = replace(one, logprobs=2)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(step_decoder, "GUESSING_ROWS", 0)
                expected = plain.generate([asked])
            assert engine.generate([asked]) == expected == plain.generate([asked])
    guessed, right = guesses_of(engine)
    assert 0 < right < guessed


def test_a_drawn_text_depends_on_no_batch(drafted: TransformersEngine) -> None:
    for sampling in (SETTINGS["sampling"], SETTINGS["everything"], SETTINGS["penalties"]):
        batch = requests(drafted, replace(sampling, max_new_tokens=40))
        alone = [drafted.generate([one])[0][0].ids for one in batch]
        before = guesses_of(drafted)
        assert ids_of(drafted.generate(batch)) == alone
        assert guesses_of(drafted) != before
        pieces: list[int] = []
        assert [drafted.stream(one, pieces.extend).ids for one in batch] == alone
        assert pieces == [token for ids in alone for token in ids]
        live = drafted.live_batch(2**20)
        assert live is not None
        answers = []
        for one in batch:
            answers.append(live.add(one, lambda ids: None))
            live.step()
        while any(one.finished is None for one in answers):
            live.step()
        assert [one.completion().ids for one in answers] == alone


def test_limits_stops_and_sessions_are_kept(drafted: TransformersEngine, draft: LoadedModel) -> None:
    plain = TransformersEngine(drafted.loaded)
    first, second, *_ = requests(plain, Sampling(max_new_tokens=60))
    whole = plain.generate([first])[0][0]
    assert plain.tokenizer is not None
    stop = str(plain.tokenizer.decode(whole.ids)).split()[5]
    for change in (
        {"stop": (stop,)},
        {"max_new_tokens": 1},
        {"max_new_tokens": 2},
        {"eos_token_ids": (whole.ids[9],)},
    ):
        asked = replace(first, sampling=replace(first.sampling, **change))
        assert drafted.generate([asked]) == plain.generate([asked])
    heard: list[int] = []

    def listen(ids: Any) -> bool:
        heard.extend(ids)
        return len(heard) < 8

    session = drafted.session()
    assert session is not None
    assert drafted.stream(first, listen, session=session).ids == heard == whole.ids[:8]
    longer = replace(first, ids=[*(first.ids or ()), *heard, 60, 61])
    for one in (longer, second, first):
        assert drafted.stream(one, lambda ids: None, session=session) == plain.generate([one])[0][0]


def test_a_constraint_holds_at_each_guess(drafted: TransformersEngine) -> None:
    from llmkit.engines.form import Form
    from llmkit.engines.structured import constraint_for

    plain = TransformersEngine(drafted.loaded)
    form = constraint_for(Form("regex", "(Tom|Lily) (ran|sat)( and (ran|sat)){3}\\."), plain)
    for sampling in (SETTINGS["greedy"], SETTINGS["sampling"]):
        for one in requests(plain, sampling)[:3]:
            asked = replace(one, constraint=form)
            found = drafted.generate([asked])[0][0]
            if sampling.greedy:
                assert found == plain.generate([asked])[0][0]
            assert drafted.tokenizer is not None
            text = str(drafted.tokenizer.decode(found.ids, skip_special_tokens=True))
            assert text.strip().startswith(("Tom", "Lily"))
            assert set(text.strip(" .").split()) <= {"Tom", "Lily", "ran", "sat", "and"}


# The distribution of drawn tokens: random models of a vocabulary of three.

TOKENS, NEW = 3, 4
PENALTY, TEMPERATURE, TOP_K = 1.5, 0.8, 2


def tiny(seed: int) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=TOKENS,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.15,
        bos_token_id=None,
        eos_token_id=None,
    )
    return LlamaForCausalLM(config).eval()


def settings_of(name: str) -> Settings:
    warpers: tuple[Any, ...] = (logits_process.TemperatureLogitsWarper(TEMPERATURE),)
    if name == "all":
        warpers += (logits_process.TopKLogitsWarper(TOP_K),)
    penalty = PENALTY if name == "all" else 1.0
    return Settings(GenerationConfig(), True, False, warpers, penalty, (), frozenset())


def exact(model: Any, name: str) -> dict[tuple[int, ...], float]:
    """The probability of each answer of `NEW` tokens, by transformers' own processors."""
    settings, found = settings_of(name), {}
    answers = list(product(range(TOKENS), repeat=NEW))
    ids = torch.tensor([[0, *answer] for answer in answers])
    with torch.inference_mode():
        logits = model(ids).logits
    penalize = logits_process.RepetitionPenaltyLogitsProcessor(settings.repetition_penalty)
    total = torch.ones(len(answers), dtype=torch.float64)
    for i in range(NEW):
        scores = penalize(ids[:, : i + 1], logits[:, i])
        for warp in settings.warpers:
            scores = warp(ids, scores)
        total *= scores.double().softmax(-1).gather(1, ids[:, i + 1 : i + 2]).squeeze(1)
    for answer, probability in zip(answers, total.tolist(), strict=True):
        found[answer] = probability
    return found


def surprise(counts: Counter[tuple[int, ...]], expected: dict[tuple[int, ...], float]) -> float:
    """The p-value of Pearson's test; answers that are expected fewer than 5 times count as one."""
    total = sum(counts.values())
    often = [one for one, share in expected.items() if share * total >= 5]
    cells = [(counts[one], expected[one] * total) for one in often]
    rest = total - sum(seen for seen, _ in cells), total - sum(want for _, want in cells)
    if rest[1] > 1e-6:
        cells.append(rest)
    elif rest[0]:
        return 0.0
    statistic = sum((seen - want) ** 2 / want for seen, want in cells)
    half = torch.tensor([len(cells) - 1, statistic], dtype=torch.float64) / 2
    return float(torch.special.gammaincc(half[0], half[1]))


@pytest.mark.parametrize("name", ["temperature", "all"])
def test_drawn_answers_have_the_distribution_of_the_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, other = tiny(1), tiny(2)
    decoder = StepDecoder(target, 32 * 16)
    drafter = Drafter.__new__(Drafter)
    fake = DraftModel.__new__(DraftModel)
    fake.cost, fake.positions, fake.vocabulary = 0.01, None, TOKENS
    drafter.draft, drafter.native = fake, NativeDecoder(other, 32 * 16)
    drafter._width, drafter._mirrors = TOKENS, {}
    decoder.drafter = drafter
    sampling, settings = Sampling(max_new_tokens=NEW, temperature=TEMPERATURE), settings_of(name)
    nothing: Any = None
    rows = [Request(sampling, ids=[0], key=(5, row, 0)) for row in range(1000)]
    for row in rows:
        decoder.add(RunningSequence(row, settings, nothing))
    counts: Counter[tuple[int, ...]] = Counter(tuple(one.sampler.written) for one in decoder.run())
    assert 0.1 < decoder.right / decoder.guessed < 0.9
    assert surprise(counts, exact(target, name)) > 0.01
    assert surprise(counts, exact(other, name)) < 1e-9


def test_the_rule_gives_each_token_its_probability() -> None:
    wanted = torch.tensor([0.5, 0.2, 0.3, 0.0], dtype=torch.float64)
    drawn_from = torch.tensor([0.1, 0.6, 0.0, 0.3], dtype=torch.float64)
    grid = [(i + 0.5) / 40 for i in range(40)]
    settings = Settings(GenerationConfig(), True, False, (), 1.0, (), frozenset())
    sampler = RowSampler(Request(Sampling(max_new_tokens=1, temperature=1.0), ids=[0]), settings)
    found = torch.zeros(4, dtype=torch.float64)
    for accept, number in product(grid, grid):
        for guess, share in enumerate(drawn_from.tolist()):
            if share:
                sampler.written.clear()
                sampler._streams = {0: torch.tensor([number]).numpy(), 1: torch.tensor([accept]).numpy()}
                token = verify(sampler, wanted.log().float(), DraftToken(guess, drawn_from))
                found[token] += share / len(grid) ** 2
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)


def test_the_pace_follows_what_pays() -> None:
    always, never, costly = Pace(0.3, 0.7, 1.1), Pace(0.3, 0.7, 1.1), Pace(1.1, 1.0, 1.1)
    counts = []
    for _ in range(200):
        count, _ = always.next()
        counts.append(count)
        always.note(count, count)
    assert counts[-1] == GUESSES
    wasted = 0
    for _ in range(1000):
        count, _ = never.next()
        wasted += count
        never.note(count, 0)
    assert 0 < wasted < 40
    assert any(never.next()[0] for _ in range(300))  # it tries again
    assert costly.best() == (0, 1.0)


def test_text_is_looked_up_where_it_repeats_and_only_there() -> None:
    guesser = Guesser([1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3])
    assert guesser.plan(9)[0] == [4, 5, 6]
    guesser.note([4, 5, 6, 7], 0, 0)
    assert len(guesser.plan(9)[0]) > 3
    assert guesser.plan(2) == ([4, 5], 0)
    assert guesser.plan(0) == ([], 0)
    for _ in range(20):  # what follows is another token each time
        guesser.plan(9)
        guesser.note([99], 0, 0)
    assert guesser.plan(9) == ([], 0)
    for _ in range(20):  # it is seen to be right without a guess
        guesser.plan(9)
        guesser.note([4], 0, 0)
    assert guesser.plan(9)[0]


def test_costs_come_from_the_clock_once_they_are_known() -> None:
    meter = Meter(0.5)
    for _ in range(20):
        meter.note(1, 0, 0.010, "lookup")
        meter.note(1, 4, 0.030, "draft")
    assert meter.cost("draft") == pytest.approx(0.5)  # three times the time for four tokens more
    assert meter.cost("lookup") == VERIFYING


def test_a_draft_that_cannot_help_is_refused(
    drafted: TransformersEngine, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    other = load(ModelSpec(str(tiny_model("llama"))))
    other.model.config.update({"hidden_size": 32, "num_attention_heads": 2, "head_dim": 16})
    LlamaForCausalLM(other.model.config).save_pretrained(tmp_path)
    other.tokenizer.save_pretrained(tmp_path)
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: open_engine(replace(STORIES, draft=str(tmp_path))), "vocabulary of stories"),
        (
            lambda: open_engine(replace(STORIES, draft=str(tiny_model("gpt2")))),
            "layers of an unsupported kind",
        ),
        (lambda: open_engine(replace(STORIES, draft=str(tiny_model("t5")))), "encoder-decoder"),
        (
            lambda: open_engine(ModelSpec(str(tiny_model("gpt2")), draft="stories")),
            "layers of an unsupported kind",
        ),
        (lambda: open_engine(ModelSpec("translator", draft="stories")), "native steps"),
        (lambda: open_engine(replace(STORIES, attn="sdpa", draft="stories")), "sdpa"),
        (lambda: open_engine(replace(STORIES, draft="stories")), "smaller"),
        (lambda: load(replace(STORIES, draft="stories")), "applies only to text generation"),
        (lambda: open_engine(replace(STORIES, engine="ctranslate2", draft="stories")), "ctranslate2"),
        (lambda: open_engine(ModelSpec("m", engine="http://x/v1", draft="stories")), "server"),
        (lambda: drafted.generate(requests(drafted, Sampling(num_beams=2))), "num_beams"),
        (lambda: drafted.stream(requests(drafted, Sampling(num_beams=2))[0], print), "num_beams"),
    ]
    for call, word in cases:
        with pytest.raises(OptionError) as caught:
            call()
        assert caught.value.option == "draft"
        assert word in str(caught.value)
