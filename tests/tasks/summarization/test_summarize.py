"""`summarize`: one function with and without a model."""

from __future__ import annotations

import pytest

from llmkit import GenerationOptions, ModelSpec, load
from llmkit.errors import OptionError, RowError
from llmkit.tasks.summarization.extractive import SummaryLength, extract
from llmkit.tasks.summarization.options import SummaryOptions
from llmkit.tasks.summarization.summarize import summarize
from tests.conftest import TinyModel

TEXT = "One day, Tom and Lily went to the park. They had a red ball. The dog took the ball and ran."
LONG = "\n\n".join(f"The cat number {i} sat on the mat. It looked at the moon {i} times." for i in range(30))


def test_without_a_model_sentences_are_picked() -> None:
    length = SummaryLength(max_words=9)
    (result,) = summarize(None, TEXT, summary=SummaryOptions(length))
    assert result.text == extract(TEXT, length).text
    assert result.text in TEXT
    assert (result.tokens, result.prompt_tokens, result.finish_reason) == (0, 0, "stop")


def test_a_model_writes_them(tiny_model: TinyModel) -> None:
    model = load(ModelSpec(str(tiny_model("bart")), device="cpu"))
    options = GenerationOptions(max_new_tokens=8, seed=4)
    short, long = summarize(model, [TEXT, LONG], options=options)
    assert short == summarize(model, TEXT, options=options)[0]
    assert short.prompt_tokens == len(model.tokenizer(TEXT)["input_ids"])
    assert 0 < short.tokens <= 8
    assert short.seed == 4
    # Its parts count, too.
    assert long.prompt_tokens > len(model.tokenizer(LONG)["input_ids"])
    assert long.tokens > 8


def test_a_model_s_own_length_is_the_default_limit(tiny_model: TinyModel) -> None:
    model = load(ModelSpec(str(tiny_model("bart")), device="cpu"))
    model.model.generation_config.max_length = 6
    (result,) = summarize(model, TEXT)
    assert (result.tokens, result.finish_reason) == (5, "length")


def test_what_does_not_go_together_is_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(OptionError, match="`options` need a model"):
        summarize(None, TEXT, options=GenerationOptions())
    with pytest.raises(OptionError, match="`strategy` needs a model"):
        summarize(None, TEXT, summary=SummaryOptions(strategy="refine"))
    with pytest.raises(RowError, match="text 2: the text is empty"):
        summarize(None, [TEXT, " "])
    with pytest.raises(RowError, match="text 1: no sentence has 1 words"):
        summarize(None, TEXT, summary=SummaryOptions(SummaryLength(max_words=1)))
