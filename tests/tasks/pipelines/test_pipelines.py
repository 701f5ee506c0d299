"""The pipelines through the real `transformers.pipeline()`, held to what those of 4.57.6 returned."""

from __future__ import annotations

import importlib
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import llmkit
from llmkit.errors import InputError
from llmkit.runtime.load import LoadedModel
from llmkit.tasks import pipelines
from llmkit.tasks.pipelines import (
    QuestionAnsweringPipeline,
    ReturnType,
    SummarizationPipeline,
    Text2TextGenerationPipeline,
    TranslationPipeline,
)
from llmkit.tasks.qa.reader import SpanReader
from tests.conftest import TinyModel
from tests.parity import make_fixtures
from tests.parity.make_fixtures import KNOWN, SHORT, T5_TASKS, TOLD, TWO, UNSEEN, case, folder_of, run

PARITY = Path(make_fixtures.__file__).parent
ROWS = {name: json.loads((PARITY / f"{name}.json").read_text("utf-8")) for name in ("text", "questions")}
FEW: dict[str, Any] = {"max_new_tokens": 4, "num_beams": 1}
ASKED = {"question": "Where are the islands?", "context": SHORT}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parity")


def folder(root: Path, family: str, **changes: Any) -> str:
    return str(folder_of(case(family, "", "", changes), root))


def pipe(root: Path, task: str, family: str, **options: Any) -> Any:
    make: Any = transformers.pipeline  # its overloads name only the tasks that transformers has
    return make(task, model=folder(root, family), device="cpu", **options)


def assert_same(new: Any, old: Any) -> None:
    if isinstance(old, dict):
        assert new.keys() == old.keys()
        for key in old:
            assert_same(new[key], old[key])
    elif isinstance(old, list):
        assert len(new) == len(old)
        for one, other in zip(new, old, strict=True):
            assert_same(one, other)
    else:
        assert new == (pytest.approx(old, abs=1e-4) if isinstance(old, float) else old)


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(one, id=f"{one['family']}-{one['task']}-{i}")
        for rows in ROWS.values()
        for i, one in enumerate(rows)
    ],
)
def test_results_are_those_of_transformers_4(one: dict[str, Any], checkpoints: Path) -> None:
    assert_same(run(transformers.pipeline, one, folder_of(one, checkpoints)), one["output"])


@pytest.mark.parametrize("name", ROWS)
def test_the_fixtures_are_of_the_calls_that_the_script_makes(name: str) -> None:
    cases = list(getattr(make_fixtures, {"text": "text_cases", "questions": "question_cases"}[name])())
    kept = [{key: value for key, value in row.items() if key != "output"} for row in ROWS[name]]
    assert kept == json.loads(json.dumps(cases))


def test_the_trained_models_do_what_they_were_taught(checkpoints: Path) -> None:
    translate = pipe(checkpoints, "translation_en_to_de", "trained-marian", num_beams=1)
    assert [row["translation_text"] for row in translate(list(UNSEEN))] == list(UNSEEN.values())
    read = pipe(checkpoints, "question-answering", "trained-bert", handle_impossible_answer=True)
    answers = read(question=list(KNOWN), context=TOLD)
    assert [row["answer"] for row in answers] == list(KNOWN.values())
    unanswered = read(question=list(KNOWN), context="The sea was calm. It has 40 lamps and 3 towers.")
    assert [row["answer"] for row in unanswered] == [""] * 3


# The door to transformers.pipeline


def test_transformers_knows_the_tasks_again_and_keeps_its_own() -> None:
    known = transformers.pipelines.get_supported_tasks()
    assert {"translation", "summarization", "text2text-generation", "question-answering"} <= set(known)
    _, entry, languages = transformers.pipelines.check_task("translation_en_to_fr")
    assert (entry["impl"], languages) == (TranslationPipeline, ("en", "fr"))
    assert "TextGenerationPipeline" in str(transformers.pipelines.check_task("text-generation")[1]["impl"])


@pytest.mark.parametrize("task", ["translation_en", "translation_en_XX_to_de_DE", "vqa", "sumarization"])
def test_other_names_stay_refused(task: str) -> None:
    with pytest.raises(KeyError):
        transformers.pipelines.check_task(task)


@pytest.mark.parametrize(
    ("task", "model"),
    [
        ("translation_en_to_ro", "google-t5/t5-base"),
        ("summarization", "sshleifer/distilbart-cnn-12-6"),
        ("text2text-generation", "google-t5/t5-base"),
        ("question-answering", "distilbert/distilbert-base-cased-distilled-squad"),
    ],
)
def test_without_a_model_the_default_of_transformers_4_is_asked_for(task: str, model: str) -> None:
    _, entry, languages = transformers.pipelines.check_task(task)
    assert transformers.pipelines.base.get_default_model_and_revision(entry, languages)[0] == model


def test_importing_again_changes_nothing() -> None:
    check_task = transformers.pipelines.PIPELINE_REGISTRY.check_task
    importlib.reload(pipelines)
    assert transformers.pipelines.PIPELINE_REGISTRY.check_task is check_task


def test_a_transformers_that_still_refuses_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(task: str) -> None:
        raise KeyError(f"{task} is gone")

    monkeypatch.setattr(transformers.pipelines, "check_task", refuse)
    with pytest.warns(UserWarning, match=r"use llmkit\.pipeline"):
        importlib.reload(pipelines)


def test_a_saved_pipeline_is_a_plain_checkpoint(checkpoints: Path, tmp_path: Path) -> None:
    pipe(checkpoints, "summarization", "t5").save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py"))
    assert "custom_pipelines" not in json.loads((tmp_path / "config.json").read_text())


# The door of llmkit


def test_touching_the_door_imports_nothing_heavy() -> None:
    code = "import sys, llmkit; llmkit.pipeline; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_door_gives_the_same_results(checkpoints: Path) -> None:
    for task, family in (("translation_en_to_de", "m2m100"), ("summarization", "bart")):
        ours = llmkit.pipeline(task, folder(checkpoints, family), device="cpu", batch_size=2)
        assert ours(TWO, **FEW) == pipe(checkpoints, task, family)(TWO, **FEW)
    ours = llmkit.pipeline("question-answering", folder(checkpoints, "roberta"), device="cpu", top_k=3)
    assert_same(ours(**ASKED), pipe(checkpoints, "question-answering", "roberta")(**ASKED, top_k=3))


def test_the_door_takes_a_loaded_model_and_its_device(checkpoints: Path) -> None:
    loaded = llmkit.load(
        llmkit.ModelSpec(folder(checkpoints, "t5"), task="text2text-generation", device="cpu")
    )
    made: Any = llmkit.pipeline("translation", loaded, num_beams=1)
    assert (made.model, made.device) == (loaded.model, loaded.device)
    assert made.generation_config.num_beams == 1
    with pytest.raises(InputError, match="device cannot change it"):
        llmkit.pipeline("translation", loaded, device="cuda")


def test_the_door_to_text_generation(tiny_model: TinyModel) -> None:
    made = llmkit.pipeline("text-generation", str(tiny_model("llama")), device="cpu")
    assert type(made) is transformers.TextGenerationPipeline
    (result,) = made("The cat", max_new_tokens=3)
    assert result["generated_text"].startswith("The cat")


@pytest.mark.parametrize(
    ("task", "family", "message"),
    [
        ("translate", "t5", "no pipeline for task 'translate'; there is text-generation"),
        ("translation_en_to", "t5", "no pipeline for task"),
        ("summarization", None, r"pipeline\('summarization'\) needs a model"),
        ("text-generation", "t5", "is an encoder-decoder model"),
        ("translation", "bert", "extractive-QA model; use `llmkit qa`"),
    ],
)
def test_the_door_refuses(task: str, family: str | None, message: str, checkpoints: Path) -> None:
    with pytest.raises(InputError, match=message):
        llmkit.pipeline(task, folder(checkpoints, family) if family else None)


@pytest.mark.parametrize("task", ["translation", "question-answering"])
def test_the_door_refuses_a_decoder(
    task: str, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = logged.append  # type: ignore[method-assign]
    logger = logging.getLogger("transformers.modeling_utils")
    monkeypatch.setattr(logger, "level", logging.WARNING)
    monkeypatch.setattr(logger, "handlers", [handler])
    with pytest.raises(InputError, match="gpt2"):
        llmkit.pipeline(task, str(tiny_model("gpt2")))
    # The error alone: transformers' table of missing weights is not shown.
    assert [one.getMessage() for one in logged] == []


# Text to text


def test_inputs_of_every_shape(checkpoints: Path) -> None:
    summarize = pipe(checkpoints, "summarization", "t5", framework="pt", modelcard=None)
    (one,) = summarize(SHORT, **FEW)
    two = summarize(TWO, **FEW)
    assert two[0] == one
    assert summarize([], **FEW) == []
    streamed = summarize((text for text in TWO), **FEW)
    assert isinstance(streamed, Iterator)
    assert list(streamed) == [[two[0]], [two[1]]]
    assert summarize([[SHORT]], **FEW) == [[one]]
    with pytest.raises(TypeError, match="not int"):
        summarize(3)


def test_token_ids_or_text(checkpoints: Path) -> None:
    generate = pipe(checkpoints, "text2text-generation", "t5", **FEW)
    (ids,) = generate(SHORT, return_tensors=True)
    assert isinstance(ids["generated_token_ids"], torch.Tensor)
    (same,) = generate(SHORT, return_type=ReturnType.TENSORS)
    assert torch.equal(ids["generated_token_ids"], same["generated_token_ids"])
    assert list(generate(SHORT, return_tensors=False)[0]) == ["generated_text"]


def test_a_calls_generation_config_replaces_the_pipelines(checkpoints: Path) -> None:
    generate = pipe(checkpoints, "text2text-generation", "t5", max_new_tokens=9)
    config = transformers.GenerationConfig(max_new_tokens=3)
    (result,) = generate(SHORT, generation_config=config, return_tensors=True)
    assert len(result["generated_token_ids"]) == 4  # the start token is one of them
    assert generate.generation_config.max_new_tokens == 9
    assert config.num_beams is None


def test_a_model_keeps_its_settings(checkpoints: Path) -> None:
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder(checkpoints, "t5", config=T5_TASKS))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder(checkpoints, "t5", config=T5_TASKS))
    before = model.generation_config.to_dict()
    for _ in range(2):
        summarize = SummarizationPipeline(model, tokenizer, task="summarization", device="cpu")
        assert summarize.prefix == "summarize: "
        summarize(SHORT, **FEW)
    assert model.generation_config.to_dict() == before


def test_an_assistant_model_changes_no_word(checkpoints: Path) -> None:
    plain = pipe(checkpoints, "text2text-generation", "t5")
    helped = pipe(checkpoints, "text2text-generation", "t5", assistant_model=folder(checkpoints, "t5"))
    assert helped(SHORT, max_new_tokens=8, num_beams=1) == plain(SHORT, max_new_tokens=8, num_beams=1)


def test_an_assistant_of_another_vocabulary_needs_its_tokenizer(checkpoints: Path) -> None:
    other = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder(checkpoints, "mbart"))
    with pytest.raises(InputError, match="give its assistant_tokenizer"):
        pipe(checkpoints, "text2text-generation", "t5", assistant_model=other)


def test_a_stop_sequence_of_several_tokens_is_told_of(checkpoints: Path) -> None:
    generate = pipe(checkpoints, "text2text-generation", "t5")
    with pytest.warns(UserWarning, match="the first of them stops"):
        generate(SHORT, stop_sequence="the islands are", **FEW)


def test_plain_translation_says_which_pair_it_takes(checkpoints: Path) -> None:
    make: Any = transformers.pipeline
    with pytest.warns(UserWarning, match='taking the model\'s "translation_en_to_de"'):
        made = make("translation", model=folder(checkpoints, "t5", config=T5_TASKS), device="cpu")
    assert made.prefix == "translate: "


@pytest.mark.parametrize(("family", "good"), [("nllb", "eng_Latn"), ("mbart", "en_XX"), ("m2m100", "en")])
def test_a_language_the_model_lacks_is_refused(family: str, good: str, checkpoints: Path) -> None:
    translate = pipe(checkpoints, "translation", family)
    for pair in ((good, "xx_Xxxx"), ("xx_Xxxx", good)):
        with pytest.raises(InputError, match=r"`(src|tgt)_lang` xx_Xxxx"):
            translate(SHORT, src_lang=pair[0], tgt_lang=pair[1])
    with pytest.raises(ValueError, match="src_lang"):
        translate(SHORT)


@pytest.mark.parametrize(
    ("family", "codes"), [("nllb", ("eng_Latn", "deu_Latn")), ("mbart", ("en_XX", "de_DE"))]
)
def test_languages_by_any_name(family: str, codes: tuple[str, str], checkpoints: Path) -> None:
    translate = pipe(checkpoints, "translation_en_to_de", family, **FEW)
    wanted = translate(SHORT, src_lang=codes[0], tgt_lang=codes[1])
    assert translate(SHORT) == wanted
    assert translate(SHORT, src_lang="English", tgt_lang="deu") == wanted


@pytest.mark.parametrize("kind", [Text2TextGenerationPipeline, QuestionAnsweringPipeline])
def test_another_framework_or_another_model_is_refused(
    kind: Any, checkpoints: Path, tiny_model: TinyModel
) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model("gpt2"))
    with pytest.raises(InputError, match="GPT2LMHeadModel is not"):
        kind(model, None)
    with pytest.raises(InputError, match="only PyTorch is supported"):
        kind(model, None, framework="tf")


# Question answering


@pytest.fixture(scope="module")
def answerer(checkpoints: Path) -> Any:
    return pipe(checkpoints, "question-answering", "bert")


def test_questions_can_be_given_in_many_ways(answerer: Any) -> None:
    question, context = ASKED["question"], ASKED["context"]
    one = answerer(**ASKED)
    assert one["answer"] == context[one["start"] : one["end"]]
    for args, kwargs in (
        ((ASKED,), {}),
        (([ASKED],), {}),
        ((question, context), {}),
        ((answerer.create_sample(question, context),), {}),
        ((answerer.create_sample([question], [context]),), {}),
        ((), {"data": ASKED}),
        ((), {"X": [ASKED]}),
        ((), {"question": [question], "context": [context]}),
        ((), {**ASKED, "max_seq_len": 5000}),
    ):
        assert answerer(*args, **kwargs) == one
    assert answerer(ASKED, ASKED) == [one, one]
    assert list(answerer(dict(ASKED) for _ in range(2))) == [one, one]
    assert answerer([]) == []
    assert answerer(**ASKED, topk=2) == answerer(**ASKED, top_k=2)


def test_a_context_is_tokenized_once_for_many_questions(
    answerer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    original = SpanReader.encode_context

    def count(self: SpanReader, text: str) -> Any:
        encoded.append(text)
        return original(self, text)

    monkeypatch.setattr(SpanReader, "encode_context", count)
    answerer(question=["Who?", "Where?", "When?"], context="A context that was not asked before.")
    assert len(encoded) == 1


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        (({"question": "Who?"},), {}, KeyError, "has no context"),
        ((), {"question": "", "context": "x"}, ValueError, "question must be a text that is not empty"),
        ((), {"question": "Who?", "context": None}, ValueError, "context must be a text"),
        ((), {"question": ["a", "b"], "context": ["c"]}, ValueError, "2 questions for 1 contexts"),
        (("Who?",), {}, ValueError, "give question="),
        ((["Who?"],), {}, ValueError, "not str"),
        ((), {}, ValueError, "question must be"),
        ((), {**ASKED, "top_k": 0}, ValueError, "top_k must be 1 or more"),
        ((), {**ASKED, "max_answer_len": 0}, ValueError, "max_answer_len must be 1 or more"),
        ((), {**ASKED, "max_seq_len": 20, "doc_stride": 30}, ValueError, "doc_stride 30 is larger"),
        ((), {"question": "Who?", "context": " \n"}, InputError, "the context is empty"),
    ],
)
def test_bad_questions(
    answerer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        answerer(*args, **kwargs)


def test_an_unknown_argument_is_told_of(answerer: Any) -> None:
    with pytest.warns(UserWarning, match="no argument tok_k"):
        answer = answerer(**ASKED, tok_k=3)
    assert answer == answerer(**ASKED)


@pytest.fixture
def of_two_directions(tiny_model: TinyModel, tmp_path: Path) -> LoadedModel:
    """A model whose configuration has a prefix for each direction, and that is no T5."""
    folder = shutil.copytree(tiny_model("bart"), tmp_path / "two")
    config = json.loads((folder / "config.json").read_text())
    tasks = {"translation_en_to_de": {"prefix": "de: "}, "translation_de_to_en": {"prefix": "en: "}}
    (folder / "config.json").write_text(json.dumps({**config, "task_specific_params": tasks}))
    return llmkit.load(llmkit.ModelSpec(str(folder), task="text2text-generation", device="cpu"))


@pytest.mark.parametrize(
    ("task", "options", "prefix"),
    [
        ("translation_de_to_en", {}, "en: "),
        ("translation_eng_to_deu", {}, "de: "),
        ("translation", {"src_lang": "de", "tgt_lang": "en"}, "en: "),
        ("translation", {"tgt_lang": "German"}, "de: "),
    ],
)
def test_a_model_s_own_prefix_is_chosen_by_the_languages(
    of_two_directions: LoadedModel, task: str, options: dict[str, str], prefix: str
) -> None:
    made: Any = llmkit.pipeline(task, of_two_directions, **options)
    ids = made.preprocess("Hallo")["input_ids"][0]
    assert of_two_directions.tokenizer.decode(ids, skip_special_tokens=True) == f"{prefix}Hallo"
    other = {"src_lang": "en", "tgt_lang": "de"} if prefix == "en: " else {"src_lang": "de", "tgt_lang": "en"}
    ids = made.preprocess("Hallo", **other)["input_ids"][0]
    assert not of_two_directions.tokenizer.decode(ids, skip_special_tokens=True).startswith(prefix)


def test_a_pair_that_a_model_has_no_prefix_for_is_refused(of_two_directions: LoadedModel) -> None:
    with pytest.raises(InputError, match=r"source=en target=fr: .* translates en to de, de to en only"):
        llmkit.pipeline("translation_en_to_fr", of_two_directions)
