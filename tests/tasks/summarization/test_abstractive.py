"""Abstractive summaries on tiny random models: every word of a text of any length reaches the model."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit import GenerationOptions, InputError, LoadedModel, ModelSpec, load
from llmkit.engines.open import as_engine
from llmkit.errors import RowError
from llmkit.records.read import rows_of
from llmkit.tasks.summarization.abstractive import SourceText, Summarization
from llmkit.tasks.summarization.extractive import SummaryLength
from llmkit.tasks.summarization.options import SummaryOptions
from llmkit.text.words import count_words
from tests.conftest import TinyModel

SHORT = GenerationOptions(max_new_tokens=8)
TEXT = "One day, Tom and Lily went to the park to play with a red ball."
LONG = "\n\n".join(f"The cat number {i} sat on the mat. It looked at the moon {i} times." for i in range(30))


@pytest.fixture(scope="module")
def bart(tiny_model: TinyModel) -> LoadedModel:
    return load(ModelSpec(str(tiny_model("bart")), device="cpu"))


@pytest.fixture(scope="module")
def chat(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A tiny chat model that sees 512 tokens, since a request alone takes some 300."""
    folder = tmp_path_factory.mktemp("chat") / "model"
    shutil.copytree(tiny_model("llama", chat=True), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 512}))
    return load(ModelSpec(str(folder), device="cpu"))


class Listener:
    """Keeps what a model was given to read: one text a prompt, in the order of the calls."""

    def __init__(self, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[list[str]] = []
        generate: Any = loaded.model.generate

        def listen(input_ids: torch.Tensor, **options: Any) -> Any:
            self.calls.append([loaded.tokenizer.decode(row, skip_special_tokens=True) for row in input_ids])
            return generate(input_ids=input_ids, **options)

        monkeypatch.setattr(loaded.model, "generate", listen)

    @property
    def texts(self) -> list[str]:
        return [text for call in self.calls for text in call]


def summaries(task: Summarization, *texts: str) -> list[str]:
    results = task.run(measured(task, *texts), task.budget(None))
    return [result.text for result in results if not isinstance(result, RowError)]


def measured(task: Summarization, *texts: str) -> list[SourceText]:
    prepared = [one for one in task.prepare(list(rows_of(texts))) if not isinstance(one, RowError)]
    assert len(prepared) == len(texts)
    return [one.payload for one in prepared]


def summarizer(loaded: LoadedModel, *arguments: Any) -> Summarization:
    return Summarization(as_engine(loaded), *arguments)


def refused(task: Summarization, text: str) -> str:
    (prepared,) = task.prepare(list(rows_of([text])))
    if not isinstance(prepared, RowError):
        (result,) = task.run([prepared.payload], task.budget(None))
        assert isinstance(result, RowError)
        return str(result)
    return str(prepared)


def covered(text: str, parts: list[str]) -> bool:
    """Whether the parts, in whatever order, hold all of the text's words, in runs that meet or overlap."""
    words = text.split()
    seen = [False] * len(words)
    for part in parts:
        mine = part.split()
        for i in range(len(words) - len(mine) + 1):
            if words[i : i + len(mine)] == mine:
                seen[i : i + len(mine)] = [True] * len(mine)
    return all(seen)


def test_a_text_that_fits_is_summarized_at_once(bart: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Listener(bart, monkeypatch)
    task = summarizer(bart, SHORT)
    summaries(task, f"  {TEXT}\n")
    assert heard.calls == [[TEXT]]
    assert (task.long_texts, task.parts) == (0, 0)


def test_map_reduce_reads_every_word(bart: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Listener(bart, monkeypatch)
    told: list[int] = []
    task = summarizer(bart, SHORT)
    task.on_parts = told.append
    (summary,) = summaries(task, LONG)
    assert summary
    assert covered(LONG, heard.texts)
    assert len(heard.texts) == sum(told) + 1
    assert task.parts == sum(told)
    assert told == sorted(told, reverse=True)


def test_neighbouring_parts_share_a_paragraph(bart: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Listener(bart, monkeypatch)
    text = "\n\n".join(f"Moon {i}." for i in range(60))
    task = summarizer(bart, SHORT)
    told: list[int] = []
    task.on_parts = told.append
    summaries(task, text)
    numbers = sorted([[int(w[:-1]) for w in t.split()[1::2]] for t in heard.texts if t.startswith("Moon")])
    first_level = numbers[: told[0]]
    assert all(a[-1] >= b[0] for a, b in itertools.pairwise(first_level))


def test_refine_reads_every_word_after_the_summary_so_far(
    bart: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Listener(bart, monkeypatch)
    task = summarizer(bart, SHORT, SummaryOptions(strategy="refine"))
    summaries(task, LONG)
    assert all(len(call) == 1 for call in heard.calls)
    assert len(heard.calls) == task.parts
    assert covered(LONG, [heard.texts[0], *(text.split("\n\n", 1)[1] for text in heard.texts[1:])])


def test_truncate_reads_the_beginning(bart: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Listener(bart, monkeypatch)
    task = summarizer(bart, SHORT, SummaryOptions(strategy="truncate"))
    summaries(task, LONG)
    (text,) = heard.texts
    assert LONG.startswith(text)
    assert len(text) > 100
    assert task.long_texts == 1


def test_a_smaller_window_makes_more_parts(bart: LoadedModel) -> None:
    task = summarizer(bart, SHORT)
    narrow = summarizer(bart, SHORT, SummaryOptions(window=60))
    summaries(task, LONG), summaries(narrow, LONG)
    assert narrow.parts > task.parts
    with pytest.raises(InputError, match=f"`window` is 5000, .* has room for {task.room} tokens"):
        summarizer(bart, SHORT, SummaryOptions(window=5000))


@pytest.mark.parametrize("strategy", ["map-reduce", "refine", "truncate"])
def test_rows_run_together_and_are_summarized_as_alone(
    bart: LoadedModel, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    options = SummaryOptions(strategy=strategy)
    sampled = GenerationOptions(max_new_tokens=8, temperature=1.0, seed=3)
    texts = [LONG, TEXT, LONG[: len(LONG) // 2], LONG]
    heard = Listener(bart, monkeypatch)
    together = summaries(summarizer(bart, sampled, options), *texts)
    calls = len(heard.calls)
    heard.calls.clear()
    rows = measured(summarizer(bart, sampled, options), *texts)
    alone = []
    for one in rows:
        task = summarizer(bart, sampled, options)
        alone += task.run([one], task.budget(None))
    assert together == [one.text for one in alone if not isinstance(one, RowError)]
    assert calls < len(heard.calls)
    assert together[0] != together[3]  # the same text, with random numbers of its own


def test_a_chat_model_is_asked_for_what_the_user_wants(
    chat: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Listener(chat, monkeypatch)
    options = SummaryOptions(SummaryLength(min_words=5, max_words=20), style="bullets")
    summaries(summarizer(chat, SHORT, options), TEXT)
    (asked,) = heard.texts
    assert "Write 5 to 20 words." in asked
    assert "bullet points" in asked
    assert f"<text>\n{TEXT}\n</text>" in asked


@pytest.mark.parametrize("strategy", ["map-reduce", "refine"])
def test_a_chat_model_reads_every_word_and_is_told_which_part(
    chat: LoadedModel, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    heard = Listener(chat, monkeypatch)
    task = summarizer(chat, SHORT, SummaryOptions(strategy=strategy))
    summaries(task, LONG)
    inside = [text.split("<text>\n")[1].split("\n</text>")[0] for text in heard.texts]
    if strategy == "refine":
        inside = [inside[0], *(text.split("\n\n", 1)[1] for text in inside[1:])]
    assert covered(LONG, inside)
    assert sum("part 2 of" in text for text in heard.texts) >= 1
    last = "Put them together" if strategy == "map-reduce" else "Write a new summary"
    assert last in heard.texts[-1]


def test_a_prefix_stands_before_each_part(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    t5 = load(ModelSpec(str(tiny_model("t5")), device="cpu"))
    heard = Listener(t5, monkeypatch)
    summaries(summarizer(t5, SHORT, SummaryOptions(prefix="tl;dr: ")), TEXT)
    t5.model.config.task_specific_params = {"summarization": {"prefix": "summarize: ", "num_beams": 3}}
    task = summarizer(t5, SHORT)
    summaries(task, TEXT)
    assert heard.texts == [f"tl;dr: {TEXT}", f"summarize: {TEXT}"]
    assert task.generation.sampling.num_beams == 3
    assert summarizer(t5, GenerationOptions(greedy=True)).generation.sampling.num_beams == 1


def test_words_bound_the_summary(bart: LoadedModel) -> None:
    for most in (1, 2, 5):
        options = SummaryOptions(SummaryLength(max_words=most))
        for summary in summaries(summarizer(bart, GenerationOptions(), options), TEXT, LONG):
            assert count_words(summary) <= most


def test_a_model_that_would_end_at_once_goes_on_to_the_least(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(ModelSpec(str(tiny_model("bart")), device="cpu"))
    model.model.final_logits_bias[0, model.tokenizer.eos_token_id] = 1e4
    silent = summarizer(model, SHORT)
    assert summaries(silent, TEXT) == [""]
    assert "the model generated no text" in refused(silent, LONG)
    for beams in (None, 2):
        options = SummaryOptions(SummaryLength(min_words=6, max_words=40))
        task = summarizer(model, GenerationOptions(num_beams=beams), options)
        (text,) = measured(task, TEXT)
        (result,) = task.run([text], task.budget(None))
        assert not isinstance(result, RowError)
        rate = text.tokens / text.words
        assert 6 * rate <= result.tokens <= 6 * rate + 3


def test_a_models_own_least_does_not_bind_short_texts(tiny_model: TinyModel) -> None:
    model = load(ModelSpec(str(tiny_model("bart")), device="cpu"))
    model.model.generation_config.min_length = 60
    model.model.final_logits_bias[0, model.tokenizer.eos_token_id] = 1e4
    task = summarizer(model, GenerationOptions(max_new_tokens=100))
    short, long = task.run(measured(task, "The cat sat on the mat.", LONG[:150]), task.budget(None))
    assert not isinstance(short, RowError)
    assert not isinstance(long, RowError)
    assert short.tokens < 12
    assert long.tokens > 30


def test_summaries_as_long_as_the_text_are_an_error_and_no_endless_loop(
    bart: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = summarizer(bart, SHORT)
    monkeypatch.setattr(
        "llmkit.tasks.generation.decode", lambda tokenizer, ids: "A whole new sentence. " * 40
    )
    assert "as long as the text" in refused(task, LONG)


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_text(bart: LoadedModel, text: str) -> None:
    assert refused(summarizer(bart, SHORT), text) == "argument:1: the text is empty"


def test_models_and_options_that_do_not_go_together(
    bart: LoadedModel, chat: LoadedModel, tiny_model: TinyModel
) -> None:
    base = load(ModelSpec(str(tiny_model("gpt2")), device="cpu"))
    small = load(ModelSpec(str(tiny_model("llama", chat=True)), device="cpu"))
    for model, options, said in [
        (base, SummaryOptions(), "has no chat template, so it continues texts"),
        (bart, SummaryOptions(style="bullets"), "`style` needs a chat model"),
        (chat, SummaryOptions(prefix="x"), "`prefix` is for models without a chat template"),
        (small, SummaryOptions(), "has a context of 128 tokens, of which the request takes"),
    ]:
        with pytest.raises(InputError, match=said):
            summarizer(model, SHORT, options)
    with pytest.raises(InputError, match="num_return_sequences"):
        summarizer(bart, GenerationOptions(num_return_sequences=2, temperature=1.0))
    for bad in ({"strategy": "guess"}, {"style": "verse"}, {"window": 3}):
        with pytest.raises(InputError, match=f"`{next(iter(bad))}`"):
            SummaryOptions(**bad)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_novel_reaches_the_model_whole(
    data_folder: Path, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    novel = (data_folder / "lm" / "sherlock.txt").read_text(encoding="utf-8")
    t5 = load(ModelSpec(str(tiny_model("t5")), device="cpu"))
    heard = Listener(t5, monkeypatch)
    told: list[int] = []
    task = summarizer(t5, SHORT)
    task.on_parts = told.append
    summaries(task, novel)
    assert len(novel.split()) > 100_000
    # Parts run longest first; where each begins puts them back in order.
    parts = sorted((novel.find(part), part) for part in heard.texts[: told[0]])
    end = 0
    for start, part in parts:
        assert start >= 0
        assert novel[end:start].strip() == ""
        end = start + len(part)
    assert novel[end:].strip() == ""
