"""What native steps of every model promise: the text of `generate`, for each request as if it were alone."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, ClassVar

import pytest

from llmkit.engines.base import Completion, Request, Sampling
from llmkit.engines.transformers.engine import TransformersEngine

SETTINGS = {
    "greedy": Sampling(max_new_tokens=24),
    "sampling": Sampling(max_new_tokens=24, temperature=1.2, top_k=40),
    "one token": Sampling(max_new_tokens=1, temperature=1.0),
    "everything": Sampling(
        max_new_tokens=24,
        min_new_tokens=6,
        temperature=0.9,
        top_p=0.9,
        min_p=0.01,
        repetition_penalty=1.3,
        no_repeat_ngram_size=3,
    ),
    "penalties": Sampling(
        max_new_tokens=24,
        temperature=0.8,
        presence_penalty=0.7,
        frequency_penalty=0.4,
        logit_bias=((300, 2.0), (12, -100.0)),
    ),
}


def requests_for(engine: TransformersEngine, texts: Sequence[str], sampling: Sampling) -> list[Request]:
    """A request for each text, each with its own random stream."""
    assert engine.tokenizer is not None
    ids: Any = engine.tokenizer(list(texts))["input_ids"]
    return [Request(sampling, ids=one, key=(3, row, 0)) for row, one in enumerate(ids)]


def ids_of(answers: list[list[Completion]]) -> list[list[int]]:
    return [one.ids for answer in answers for one in answer]


def ids_alone(engine: TransformersEngine, batch: Sequence[Request]) -> list[list[int]]:
    return [ids for one in batch for ids in ids_of(engine.generate([one]))]


class NativeContract:
    """Tests of two fixtures: `engine`, in native steps, and `plain`, the same model by `generate`.

    Attributes:
        texts: prompts of several lengths.
        changes: (module, name, value) of numbers that must not change a text.
    """

    texts: ClassVar[Sequence[str]]
    changes: ClassVar[Sequence[tuple[ModuleType, str, int]]]

    def batch(self, engine: TransformersEngine, name: str) -> list[Request]:
        if name == "penalties" and "presence_penalty" not in engine.abilities:
            pytest.skip("the engine refuses them")
        return requests_for(engine, self.texts, SETTINGS[name])

    @pytest.mark.parametrize("name", SETTINGS)
    def test_the_text_is_that_of_generate(
        self, name: str, engine: TransformersEngine, plain: TransformersEngine
    ) -> None:
        batch = self.batch(engine, name)
        assert engine.generate(batch) == plain.generate(batch)

    @pytest.mark.parametrize("name", SETTINGS)
    def test_alone_in_a_batch_and_streamed_are_one_text(
        self, name: str, engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch = self.batch(engine, name)
        together = ids_of(engine.generate(batch))
        pieces: list[int] = []
        streamed = [engine.stream(one, pieces.extend).ids for one in batch]
        assert together == ids_alone(engine, batch) == streamed
        assert pieces == [token for ids in streamed for token in ids]
        for change in self.changes:
            monkeypatch.setattr(*change)
            assert together[:2] == ids_alone(engine, batch[:2]), change
            assert together == ids_of(engine.generate(batch)), change
