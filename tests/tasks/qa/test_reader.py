"""Reading spans off models: hand-set ones whose answers are known, and random ones."""

from __future__ import annotations

import math
from typing import Any

import pytest

from llmkit.errors import InputError, OutOfMemory
from llmkit.runtime.load import LoadedModel, is_extractive_qa, load
from llmkit.runtime.spec import ModelSpec
from llmkit.tasks.qa.reader import SpanReader
from llmkit.tasks.qa.spans import AnswerOptions, Answers, SpanAnswer
from llmkit.training.finetuning.columns import Columns
from llmkit.training.finetuning.encoding import encoder
from tests.conftest import TinyModel
from tests.span_model import make_span_model

QUESTION = "who wrote it?"
FILLER = "the cafe was in the cafe and it was the cafe. "


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = make_span_model(tmp_path_factory.mktemp("spans"))
    return load(ModelSpec(str(folder), task="question-answering"))


def reader(loaded: LoadedModel, **options: Any) -> SpanReader:
    return SpanReader(loaded.model, loaded.tokenizer, AnswerOptions(**options))


def ask(loaded: LoadedModel, *contexts: str, question: str = QUESTION, **options: Any) -> Answers:
    one = reader(loaded, **options)
    reading = one.reading(one.encode_question(question), [one.encode_context(text) for text in contexts])
    (answers,) = one.answer([reading])
    return answers


def test_the_score_is_the_product_of_two_softmaxes(loaded: LoadedModel) -> None:
    """Seven context tokens, two of them with a logit of 10 where the others have 0, and 2 for [CLS]."""
    (best,) = ask(loaded, "it was zara and the quill.").best
    assert best == SpanAnswer("zara and the quill", pytest.approx(best.score), 7, 25)
    likely = math.exp(10) / (math.exp(10) + 6 + math.exp(2))
    assert best.score == pytest.approx(likely**2, rel=1e-5)


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("in\r\n\tZara\r\n\tQuill\r\n", "Zara\r\n\tQuill"),
        ("the caf\u0065\u0301 🙂🏽 in Zara, Qu\u0069ll!", "Zara, Quill"),
        ("猫 Zara—Quill 猫", "Zara—Quill"),
        ("L\u0069\u0301sbon\u0301 it was", "L\u0069\u0301sbon\u0301"),
        ("\ufeffÄÖÜ \u00a0 LISBON\u2028", "LISBON"),
        ("𝄞𝄞 lisbon", "lisbon"),
        ("lisbon", "lisbon"),
    ],
)
def test_offsets_slice_the_original_text(loaded: LoadedModel, context: str, answer: str) -> None:
    (best,) = ask(loaded, context).best
    assert best.answer == answer
    assert (best.start, best.end) == (context.index(answer), context.index(answer) + len(answer))


def test_words_of_the_question_are_no_answers(loaded: LoadedModel) -> None:
    (best,) = ask(loaded, "it was lisbon.", question="was it zara quill?").best
    assert best.answer == "lisbon"


@pytest.mark.parametrize("shift", range(0, 60, 3))
def test_an_answer_is_found_wherever_the_window_borders_fall(loaded: LoadedModel, shift: int) -> None:
    """The answer's eight tokens move through all places of a window of 32 tokens, 8 shared."""
    answer = "zara in the cafe and the quill"
    context = "it " * (40 + shift) + answer + " was" * 90
    (best,) = ask(loaded, context, window=32, doc_stride=8).best
    assert (best.answer, best.start) == (answer, context.index(answer))


def test_without_overlap_an_answer_on_a_border_is_lost(loaded: LoadedModel) -> None:
    """What the test above would miss if windows did not overlap."""
    answer = "zara in the cafe and the quill"
    found = [
        ask(loaded, "it " * n + answer + " was" * 90, window=32, doc_stride=0).best[0].answer
        for n in range(40, 66)
    ]
    assert 0 < found.count(answer) < len(found)


def test_an_answer_that_ends_in_a_word_takes_all_of_it(loaded: LoadedModel) -> None:
    """`quillon` is read as `quill`, `##o`, `##n`."""
    context = "it was zara and quillon."
    assert ask(loaded, context).best[0].answer == "zara and quillon"
    assert ask(loaded, context, align_to_words=False).best[0].answer == "zara and quill"


@pytest.mark.parametrize(
    ("tasks", "longest"),
    [
        (None, 15),
        ({"question-answering": {"max_answer_len": 30}}, 30),
        ({"question-answering": {"max_answer_len": 0}}, 15),
        ({"question-answering": {"max_answer_len": "30"}}, 15),
        ({"question-answering": [30]}, 15),
        ({"summarization": {"max_length": 30}}, 15),
    ],
)
def test_a_model_can_say_how_long_its_answers_are(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, tasks: Any, longest: int
) -> None:
    monkeypatch.setattr(loaded.model.config, "task_specific_params", tasks, raising=False)
    assert reader(loaded).longest == longest
    assert reader(loaded, max_answer_tokens=2).longest == 2
    assert reader(loaded, transformers_4=True).longest == 15


def test_a_script_without_spaces_has_no_whole_words_to_take(tiny_model: TinyModel) -> None:
    """To a byte-level tokenizer a Chinese clause is one word; as an answer it would be too much."""
    loaded = load(ModelSpec(str(tiny_model("bert-qa")), task="question-answering"))
    clause = "春天来了花都开了猫在椅子上睡觉"
    assert len(ask(loaded, clause, max_answer_tokens=2).best[0].answer) < len(clause)
    assert ask(loaded, clause, max_answer_tokens=2, transformers_4=True).best[0].answer == clause


def test_the_windows_are_what_the_tokenizer_makes_of_a_pair(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = FILLER * 6
    expected = loaded.tokenizer(
        QUESTION, context, truncation="only_second", max_length=32, stride=8,
        return_overflowing_tokens=True, padding=True,
    )  # fmt: skip
    seen: list[dict[str, Any]] = []
    forward = loaded.model.forward

    def spy(**inputs: Any) -> Any:
        seen.append(inputs)
        return forward(**inputs)

    one = reader(loaded, window=32, doc_stride=8)
    monkeypatch.setattr(loaded.model, "forward", spy)
    one.answer([one.reading(one.encode_question(QUESTION), [one.encode_context(context)])])
    (inputs,) = seen
    assert len(inputs["input_ids"]) > 3
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert inputs[name].tolist() == expected[name]


def test_no_answer_wins_where_nothing_fits(loaded: LoadedModel) -> None:
    assert ask(loaded, FILLER, no_answer=True).best == [
        SpanAnswer("", pytest.approx(ask(loaded, FILLER).no_answer_probability), 0, 0)
    ]
    assert ask(loaded, FILLER).best[0].answer != ""
    assert ask(loaded, "it was lisbon.", no_answer=True).best[0].answer == "lisbon"


def test_one_window_with_an_answer_outweighs_those_without(loaded: LoadedModel) -> None:
    answers = ask(loaded, FILLER * 20 + "lisbon " + FILLER * 20, no_answer=True)
    assert answers.best[0].answer == "lisbon"
    assert answers.no_answer_probability < 0.01


def test_a_score_stays_a_probability_over_many_windows(loaded: LoadedModel) -> None:
    context = (FILLER * 3 + "lisbon ") * 20
    (best,) = ask(loaded, context).best
    assert best.answer == "lisbon"
    assert 0.9 < best.score <= 1
    assert ask(loaded, context, transformers_4=True).best[0].score > 5


def test_top_k_gives_different_answers_the_likeliest_first(loaded: LoadedModel) -> None:
    found = ask(loaded, "zara was the quill and lisbon", top_k=4).best
    assert len({one.answer for one in found}) == 4
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_several_contexts_say_which_one_answers(loaded: LoadedModel) -> None:
    (best,) = ask(loaded, FILLER, "it was lisbon.", FILLER * 9).best
    assert (best.answer, best.context, best.start) == ("lisbon", 1, 7)


def test_questions_in_one_batch_are_answered_as_alone(tiny_model: TinyModel) -> None:
    loaded = load(ModelSpec(str(tiny_model("bert-qa")), task="question-answering"))
    one = reader(loaded, window=64, doc_stride=16)
    contexts = [one.encode_context(text) for text in (FILLER * 9, "The cat sat.", FILLER * 2)]
    readings = [
        one.reading(one.encode_question(q), [c]) for q in ("Who?", "Where was the cat?") for c in contexts
    ]
    together = one.answer(readings)
    for reading, answers in zip(readings, together, strict=True):
        (alone,) = one.answer([reading])
        assert [a.answer for a in alone.best] == [a.answer for a in answers.best]
        assert [a.score for a in alone.best] == pytest.approx([a.score for a in answers.best], rel=1e-4)


def test_memory_that_runs_out_is_met_with_fewer_windows(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = reader(loaded, window=32, doc_stride=8)
    reading = one.reading(one.encode_question(QUESTION), [one.encode_context(FILLER * 9 + "lisbon")])
    forward, sizes = loaded.model.forward, []

    def small(**inputs: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 2:
            raise MemoryError
        return forward(**inputs)

    monkeypatch.setattr(loaded.model, "forward", small)
    assert one.answer([reading])[0].best[0].answer == "lisbon"
    assert max(sizes) > 2
    with pytest.raises(OutOfMemory):
        one.answer([reading, reading])


def test_progress_counts_windows(loaded: LoadedModel) -> None:
    one = reader(loaded, window=32, doc_stride=8)
    one.tokens_at_once = 64
    reading = one.reading(one.encode_question(QUESTION), [one.encode_context(FILLER * 5)])
    told: list[tuple[int, int]] = []
    one.answer([reading], lambda *counts: told.append(counts))
    total = len(reading.windows)
    assert told == [(n, total) for n in [*range(2, total, 2), total]]


@pytest.mark.parametrize(
    ("question", "context", "options", "said"),
    [
        ("who " * 60, FILLER, {}, "leaves no room for the context"),
        (" ", FILLER, {}, "the question is empty"),
        (QUESTION, "\u0301", {}, "the context is empty"),
        (QUESTION, FILLER, {"window": 65}, "`window` is 65"),
    ],
)
def test_what_cannot_be_asked(
    loaded: LoadedModel, question: str, context: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        ask(loaded, context, question=question, **options)


def test_a_tokenizer_without_offsets_is_refused(loaded: LoadedModel) -> None:
    class Slow:
        is_fast = False

    with pytest.raises(InputError, match=r"tokenizer\.json"):
        SpanReader(loaded.model, Slow(), AnswerOptions())


def test_which_models_find_spans(tiny_model: TinyModel) -> None:
    assert is_extractive_qa(ModelSpec(str(tiny_model("bert-qa"))))
    assert not is_extractive_qa(ModelSpec(str(tiny_model("llama"))))


def test_a_model_that_was_shown_shared_words_is_shown_them_again(tiny_model: TinyModel) -> None:
    """The token types of training are those of reading."""
    spec = ModelSpec(str(tiny_model("bert")), task="question-answering", device="cpu", new_head=True)
    loaded = load(spec)
    loaded.model.config.shared_words_type = 2
    question, context = "Which dogs barked?", "The dog saw a cat. It barked, and the cat ran. No dogs! " * 2
    columns = Columns("answers", {name: name for name in ("question", "context", "answers")})
    row = {"question": question, "context": context, "answers": {"text": [], "answer_start": []}}
    (taught,) = encoder(columns, "spans", loaded.tokenizer, 512, shared_words_type=2)(row)
    one = reader(loaded)
    reading = one.reading(one.encode_question(question), [one.encode_context(context)])
    size, head = len(reading.types[0]), reading.question.head
    assert list(taught.types or ())[head : head + size] == reading.types[0].tolist()
    words = loaded.tokenizer.convert_ids_to_tokens(list(reading.contexts[0].ids))
    marked = "".join(word for word, kind in zip(words, reading.types[0], strict=True) if kind == 2)
    assert marked.replace("\u0120", " ").split() == ["dog", "barked", "dogs"] * 2
