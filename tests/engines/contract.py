"""The suite that every engine has to pass.

Subclass `EngineContract` in the engine's test file and give it a fixture `engine`. Tests of abilities that
the engine does not name are skipped, and each such ability must be refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llmkit.engines.base import Completion, Engine, Request, Sampling
from llmkit.errors import OptionError
from llmkit.tasks.streaming import decode
from llmkit.text.stops import cut_at_stop

PROMPTS = [
    "Once upon a time there was",
    "The",
    "One day, Tom and Lily went to the park to play with a red ball. The cat sat on the mat",
    "春天来了，花",
]
# A value other than the default for each setting that an engine may lack.
OTHER: dict[str, Any] = {
    "min_new_tokens": 2,
    "top_k": 5,
    "top_p": 0.5,
    "min_p": 0.1,
    "repetition_penalty": 1.5,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "num_beams": 2,
    "num_return_sequences": 2,
    "length_penalty": 2.0,
    "early_stopping": True,
    "no_repeat_ngram_size": 2,
    "logit_bias": ((7, 1.0),),
    "stop": ("x",),
    "eos_token_ids": (7,),
    "first_token": 7,
    "decoder_start_token": 7,
}


def request(engine: Engine, text: str, *, key: tuple[int, int, int] = (7, 0, 0), **changes: Any) -> Request:
    """A request for 12 tokens without an end token, changed as said."""
    settings: dict[str, Any] = {"max_new_tokens": 12, "temperature": 0.0}
    if "eos_token_ids" in engine.abilities:
        settings["eos_token_ids"] = ()
    sampling = Sampling(**{**settings, **changes})
    if engine.tokenizer is None:
        return Request(sampling, text=text, key=key)
    ids: Any = engine.tokenizer(text)
    return Request(sampling, ids=ids["input_ids"], key=key)


def requests(engine: Engine, **changes: Any) -> list[Request]:
    return [request(engine, text, key=(7, row, 0), **changes) for row, text in enumerate(PROMPTS)]


def text_of(engine: Engine, completion: Completion, stop: Sequence[str] = ()) -> str:
    if completion.text is not None:
        return completion.text
    return cut_at_stop(decode(engine.tokenizer, completion.ids), stop)


def need(engine: Engine, *abilities: str) -> None:
    for ability in abilities:
        if ability not in engine.abilities:
            pytest.skip(f"{engine.name} has no {ability}")


BESIDE = ("constraint", "logprobs", "answer_prefix")


class EngineContract:
    """What tasks rely on."""

    def test_it_describes_itself(self, engine: Engine) -> None:
        identity = json.loads(json.dumps(engine.identity()))
        assert {"engine", "model"} <= identity.keys(), "identity() names the engine and the model"
        assert engine.identity() == engine.identity()
        assert engine.abilities <= {*OTHER, "row_seeds", "session", *BESIDE, "alignment", "score"}
        assert json.loads(json.dumps(engine.defaults.as_json())) is not None
        budget = engine.token_budget()
        assert budget is None or budget > 0
        assert engine.has_chat_template in (True, False)

    def test_every_setting_is_taken_or_refused_by_name(self, engine: Engine) -> None:
        for name, value in OTHER.items():
            more = {"temperature": 1.0} if name in ("num_return_sequences", "top_k", "top_p", "min_p") else {}
            asked = request(engine, "The", **{name: value}, **more)
            if name in engine.abilities:
                assert engine.generate([asked])
                continue
            with pytest.raises(OptionError) as raised:
                engine.generate([asked])
            assert raised.value.option == name
            with pytest.raises(OptionError):
                engine.stream(asked, lambda ids: None)

    @pytest.mark.parametrize("ability", BESIDE)
    def test_what_is_asked_beside_settings_is_refused_by_name(self, engine: Engine, ability: str) -> None:
        if ability in engine.abilities:
            pytest.skip(f"{engine.name} has {ability}")
        asked = replace(request(engine, "The"), **{ability: object()})  # type: ignore[arg-type]
        with pytest.raises(OptionError) as raised:
            engine.generate([asked])
        assert raised.value.option == ability

    def test_no_requests_no_completions(self, engine: Engine) -> None:
        assert engine.generate([]) == []

    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    def test_a_batch_writes_what_single_requests_write(self, engine: Engine, temperature: float) -> None:
        if temperature:
            need(engine, "row_seeds")
        asked = requests(engine, temperature=temperature)
        together = engine.generate(asked)
        assert together == [engine.generate([one])[0] for one in asked]
        assert engine.generate(asked[::-1]) == together[::-1]
        assert len({text_of(engine, found[0]) for found in together}) > 1

    def test_requests_with_different_settings_may_come_together(self, engine: Engine) -> None:
        need(engine, "row_seeds", "top_k", "num_beams")
        changes = [{}, {"temperature": 1.0}, {"num_beams": 2}, {"temperature": 2.0, "top_k": 3}]
        asked = [request(engine, "The", **change) for change in [*changes, *changes]]
        together = engine.generate(asked)
        assert together == [engine.generate([one])[0] for one in asked]

    def test_each_request_has_its_own_limit(self, engine: Engine) -> None:
        limits = [3, 12, 1, 7]
        full = engine.generate(requests(engine))
        asked = [
            replace(one, sampling=replace(one.sampling, max_new_tokens=limit))
            for one, limit in zip(requests(engine), limits, strict=True)
        ]
        for (found,), (whole,), limit in zip(engine.generate(asked), full, limits, strict=True):
            assert found.ids == whole.ids[:limit]
            # Without the ability eos_token_ids, an engine may end an answer before 12 tokens.
            ended = whole.finish_reason == "stop" and len(whole.ids) <= limit
            assert found.finish_reason == ("stop" if ended else "length"), f"limit {limit}: {found}"

    def test_it_counts_the_prompt(self, engine: Engine) -> None:
        asked = requests(engine)
        for one, (found,) in zip(asked, engine.generate(asked), strict=True):
            assert found.prompt_tokens > 0
            assert one.ids is None or found.prompt_tokens == len(one.ids)

    def test_end_tokens_end_an_answer_and_belong_to_it(self, engine: Engine) -> None:
        need(engine, "eos_token_ids")
        asked = requests(engine)
        ends = [found[0].ids[4] for found in engine.generate(asked)]
        for one, end in zip(asked, ends, strict=True):
            ending = replace(one, sampling=replace(one.sampling, eos_token_ids=(end,)))
            ((whole,),), ((found,),) = engine.generate([one]), engine.generate([ending])
            length = whole.ids.index(end) + 1
            assert (found.ids, found.finish_reason) == (whole.ids[:length], "stop")

    def test_an_answer_has_its_least_tokens(self, engine: Engine) -> None:
        need(engine, "eos_token_ids", "min_new_tokens")
        asked = requests(engine)
        ends = tuple({found[0].ids[0] for found in engine.generate(asked)})
        leasts = [0, 5, 0, 9]
        batch = [
            replace(one, sampling=replace(one.sampling, eos_token_ids=ends, min_new_tokens=least))
            for one, least in zip(asked, leasts, strict=True)
        ]
        for (found,), least in zip(engine.generate(batch), leasts, strict=True):
            assert len(found.ids) > least if least else len(found.ids) == 1
            assert not set(found.ids[:least]) & set(ends)

    def test_stop_strings_end_an_answer_and_are_cut(self, engine: Engine) -> None:
        need(engine, "stop")
        (whole,) = engine.generate([request(engine, PROMPTS[0], max_new_tokens=40)])[0]
        text = text_of(engine, whole)
        stop = (text[10:13], "never there")
        (found,) = engine.generate([request(engine, PROMPTS[0], max_new_tokens=40, stop=stop)])[0]
        assert text_of(engine, found, stop) == text[: text.index(stop[0])]
        assert len(found.ids) < 40
        assert found.finish_reason == "stop"

    @pytest.mark.parametrize("changes", [{}, {"temperature": 1.0}, {"num_beams": 2}])
    def test_a_stream_writes_what_generate_writes(self, engine: Engine, changes: dict[str, Any]) -> None:
        if changes:
            need(engine, "row_seeds" if "temperature" in changes else "num_beams")
        for one in requests(engine, **changes):
            pieces: list[int] = []
            found = engine.stream(one, lambda ids, pieces=pieces: pieces.extend(ids))
            assert [found] == engine.generate([one])[0]
            assert pieces == found.ids

    def test_a_stream_can_be_interrupted(self, engine: Engine) -> None:
        one, pieces = request(engine, PROMPTS[0]), list[int]()

        def take(ids: Sequence[int]) -> bool:
            pieces.extend(ids)
            return len(pieces) < 3

        found = engine.stream(one, take)
        assert found.finish_reason == "interrupted"
        assert 3 <= len(found.ids) < 12
        assert found.ids == pieces == engine.generate([one])[0][0].ids[: len(pieces)]

    def test_a_stream_is_of_one_answer(self, engine: Engine) -> None:
        with pytest.raises(OptionError) as raised:
            engine.stream(request(engine, "The", temperature=1.0, num_return_sequences=2), lambda ids: None)
        assert raised.value.option == "num_return_sequences"

    def test_a_sample_depends_on_its_key_alone(self, engine: Engine) -> None:
        need(engine, "row_seeds")

        def drawn(*key: int) -> list[int]:
            others = [request(engine, text, temperature=1.0, key=(1, 9, 9)) for text in PROMPTS]
            one = request(engine, "The", temperature=1.0, key=key)  # type: ignore[arg-type]
            return engine.generate([*others, one])[-1][0].ids

        keys = [(7, 0, 0), (8, 0, 0), (7, 1, 0), (7, 0, 1)]
        assert len({tuple(drawn(*key)) for key in keys}) == 4
        assert (
            drawn(7, 1, 0)
            == engine.generate([request(engine, "The", temperature=1.0, key=(7, 1, 0))])[0][0].ids
        )

    def test_several_samples_are_those_of_their_keys(self, engine: Engine) -> None:
        need(engine, "row_seeds", "num_return_sequences")
        (found,) = engine.generate([request(engine, "The", temperature=1.0, num_return_sequences=3)])
        alone = [request(engine, "The", temperature=1.0, key=(7, 0, n)) for n in range(3)]
        assert [[one] for one in found] == engine.generate(alone)

    def test_several_beams_come_best_first(self, engine: Engine) -> None:
        need(engine, "num_beams", "num_return_sequences")
        asked = requests(engine, num_beams=3)
        several = [replace(one, sampling=replace(one.sampling, num_return_sequences=2)) for one in asked]
        for (best,), found in zip(engine.generate(asked), engine.generate(several), strict=True):
            assert found[0] == best
            assert len({tuple(one.ids) for one in found}) == 2

    def test_a_session_changes_no_answer(self, engine: Engine) -> None:
        need(engine, "session")
        session = engine.session()
        assert session is not None
        for text in ("Once upon a time", "Once upon a time there was a dog", "Once upon a cat"):
            one = request(engine, text)
            found = engine.stream(one, lambda ids: None, session=session)
            assert [found] == engine.generate([one])[0]

    def test_penalties_and_biases_move_the_logits(self, engine: Engine) -> None:
        need(engine, "presence_penalty", "frequency_penalty", "logit_bias")
        plain = engine.generate([request(engine, "The")])[0][0]
        banned = ((plain.ids[0], -1e9),)
        changed = [
            request(engine, "The", logit_bias=banned),
            request(engine, "The", presence_penalty=1e9),
            request(engine, "The", frequency_penalty=1e9),
        ]
        without, once, rarely = (answer[0].ids for answer in engine.generate(changed))
        assert plain.ids[0] not in without
        assert len(set(once)) == len(once)
        assert len(set(rarely)) == len(rarely)
        assert once[0] == plain.ids[0]  # only tokens of the answer count
        for one in changed:
            streamed: list[int] = []
            assert engine.stream(one, streamed.extend).ids == streamed == engine.generate([one])[0][0].ids

    def test_logprobs_are_the_models_own(self, engine: Engine) -> None:
        need(engine, "logprobs", "top_k")
        asked = replace(request(engine, "The", temperature=2.0, top_k=3), logprobs=3)
        ((found,),) = engine.generate([asked])
        assert found.logprobs is not None
        assert [one.token for one in found.logprobs] == found.ids
        for one in found.logprobs:
            assert len(one.top) == 3
            assert [value for _, value in one.top] == sorted((v for _, v in one.top), reverse=True)
            assert dict(one.top)[one.token] == one.logprob  # top_k draws one of the likeliest three
        assert engine.stream(asked, lambda ids: None) == found
        greedy = engine.generate([replace(request(engine, "The"), logprobs=1)])[0][0]
        assert all(one.top == ((one.token, one.logprob),) for one in greedy.logprobs or ())
        assert engine.generate([request(engine, "The")])[0][0].ids == greedy.ids

    @pytest.mark.parametrize("beams", [1, 3])
    def test_an_answer_begins_with_its_prefix(self, engine: Engine, beams: int) -> None:
        need(engine, "answer_prefix", "num_beams")
        prefixes = [(40, 41, 42), None, (50,)]
        asked = [
            replace(request(engine, text, num_beams=beams, max_new_tokens=6), answer_prefix=prefix)
            for text, prefix in zip(PROMPTS, prefixes, strict=False)
        ]
        for one, found in zip(asked, engine.generate(asked), strict=True):
            prefix = one.answer_prefix or ()
            assert tuple(found[0].ids[: len(prefix)]) == prefix
            assert len(found[0].ids) > len(prefix)

    def test_an_alignment_is_a_distribution_over_the_prompt(self, engine: Engine) -> None:
        need(engine, "alignment")
        prompts, answers = [[5, 6, 7, 8], [9, 10]], [[11, 12], [13, 14, 15]]
        together = engine.align(prompts, answers)  # type: ignore[attr-defined]
        for prompt, answer, weights in zip(prompts, answers, together, strict=True):
            assert weights.shape == (len(answer), len(prompt))
            assert weights.sum(1) == pytest.approx([1.0] * len(answer), abs=1e-5)
            (alone,) = engine.align([prompt], [answer])  # type: ignore[attr-defined]
            assert alone == pytest.approx(weights, abs=1e-5)

    def test_a_constraint_masks_each_row_by_itself(self, engine: Engine) -> None:
        need(engine, "constraint")
        asked = [
            replace(request(engine, "The", max_new_tokens=4), constraint=_Script(ids))
            for ids in ([50, 51, 52, 53], [60, 61, 62, 63])
        ]
        together = engine.generate([*asked, request(engine, "The", max_new_tokens=4)])
        assert [answer[0].ids for answer in together[:2]] == [[50, 51, 52, 53], [60, 61, 62, 63]]
        assert together[2] == engine.generate([request(engine, "The", max_new_tokens=4)])[0]

    def test_beams_do_not_go_with_what_belongs_to_one_row(self, engine: Engine) -> None:
        need(engine, "constraint", "num_beams")
        asked = replace(request(engine, "The", num_beams=2), constraint=_Script([50]))
        with pytest.raises(OptionError) as raised:
            engine.generate([asked])
        assert raised.value.option == "constraint"


class _Script:
    """A constraint that allows one answer."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def new_mask(self) -> _ScriptMask:
        return _ScriptMask(self.ids)

    def identity(self) -> dict[str, Any]:
        return {"script": self.ids}


class _ScriptMask:
    def __init__(self, ids: list[int]) -> None:
        self.left = list(ids)

    def allowed(self) -> np.ndarray:
        found = np.zeros(max(self.left[:1], default=0) + 1, dtype=bool)
        found[self.left[:1]] = True
        return found

    def accept(self, token: int) -> None:
        assert self.left.pop(0) == token
