"""Translation as a library: texts in, texts out, with what stands between sentences untouched."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmkit.engines.open import as_engine
from llmkit.errors import InputError, RowError
from llmkit.records.rows import Row
from llmkit.runtime.load import LoadedModel, load
from llmkit.runtime.spec import ModelSpec
from llmkit.tasks.generation import Generation, GenerationOptions, GenerationResult
from llmkit.tasks.prompts import Prompt
from llmkit.tasks.translation import Translation, TranslationResult, translate
from tests.conftest import TinyModel
from tests.parity.folders import make_folder
from tests.text.test_layout import PIECES

SHORT = GenerationOptions(max_new_tokens=8)
SEEDED = GenerationOptions(max_new_tokens=8, seed=1)
PREFIX = "translate English to German: "
TEXT = "# Report\r\n\r\n\tThe boat went out. Anna asked!  \n\n\n- 1912\n- They don't see it now.\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = make_folder(family, tmp_path_factory.mktemp(family))
        return made[family]

    return get


@pytest.fixture(scope="module")
def t5(tiny_model: TinyModel) -> LoadedModel:
    return load(ModelSpec(str(tiny_model("t5")), device="cpu"))


Rewrite = Callable[[Callable[[str], str]], list[str]]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch, t5: LoadedModel) -> Rewrite:
    """Put a function in the place of the model; returns the passages that it is given."""
    generation = Generation(as_engine(t5), SHORT)
    (real,) = generation.run([generation.prompts.prepare_one("a")])

    def put(rewrite: Callable[[str], str]) -> list[str]:
        seen: list[str] = []

        def run(self: Generation, batch: Sequence[Prompt]) -> list[GenerationResult]:
            passages = [str(one.text).removeprefix(PREFIX) for one in batch]
            seen.extend(passages)
            answers = [replace(real.answers[0], text=rewrite(passage), tokens=1) for passage in passages]
            return [replace(real, answers=[answer]) for answer in answers]

        monkeypatch.setattr(Generation, "run", run)
        return seen

    return put


def run(task: Translation, *rows: Row) -> list[TranslationResult]:
    prepared = [one for one in task.prepare(rows) if not isinstance(one, RowError)]
    assert len(prepared) == len(rows)
    return task.run([one.payload for one in prepared], task.budget(None))


def to_german(loaded: LoadedModel, texts: str | list[str], **more: Any) -> list[str]:
    results = translate(loaded, texts, source="en", target="de", **more)
    return [result.texts[0] for result in results]


def test_what_stands_between_sentences_comes_back_byte_for_byte(t5: LoadedModel, answering: Rewrite) -> None:
    answering(lambda passage: passage)
    chance = random.Random(2)
    texts = ["".join(chance.choices(PIECES, k=chance.randint(0, 60))) for _ in range(60)]
    assert to_german(t5, [TEXT, *texts]) == [TEXT, *texts]


def test_each_sentence_is_translated_by_itself(t5: LoadedModel, answering: Rewrite) -> None:
    seen = answering(str.upper)
    assert to_german(t5, TEXT) == [
        "# REPORT\r\n\r\n\tTHE BOAT WENT OUT. ANNA ASKED!  \n\n\n- 1912\n- THEY DON'T SEE IT NOW.\n"
    ]
    assert sorted(seen) == ["Anna asked!", "Report", "The boat went out.", "They don't see it now."]


def test_a_sentence_beyond_the_window_is_cut_and_nothing_of_it_is_lost(
    t5: LoadedModel, answering: Rewrite
) -> None:
    seen = answering(lambda passage: passage)
    long = ", ".join(f"the {i}th little boat of Anna and the sailor" for i in range(200)) + "."
    assert to_german(t5, long) == [long]
    assert len(seen) > 4
    lengths = [len(t5.tokenizer(PREFIX + passage)["input_ids"]) for passage in seen]
    assert max(lengths) <= 512
    assert sum(lengths) / len(lengths) > 128


def test_a_line_stays_a_line(t5: LoadedModel, answering: Rewrite) -> None:
    answering(lambda passage: f" {passage}\nand more\n")
    assert to_german(t5, "One.\nTwo.") == ["One. and more\nTwo. and more"]


def test_spaces_between_sentences_are_those_of_the_target(t5: LoadedModel, answering: Rewrite) -> None:
    answering(lambda passage: passage.removeprefix("translate Chinese to English: "))
    (result,) = translate(t5, "好。走吧！\n你呢？", source="zh", target="en")
    assert result.texts == ["好。 走吧！\n你呢？"]


def test_what_is_kept_comes_through(t5: LoadedModel, answering: Rewrite) -> None:
    notices: list[str] = []
    seen = answering(str.lower)
    engine = as_engine(t5)
    task = Translation(engine, SHORT, source="en", target="de", keep=["Anna"], notice=notices.append)
    text = "Ask Anna and {NAME}. Go on. See %s.\n{NAME}\nAnna"
    (result,) = run(task, Row(3, {"text": text}, "x.jsonl:4"))
    assert result.texts == ["ask Anna and {NAME}. go on. see %s.\n{NAME}\nAnna"]
    assert result.separated == ["Anna", "{NAME}"]
    assert [
        notice.startswith(f"x.jsonl:4: the model lost {term}")
        for notice, term in zip(notices, ["Anna", "{NAME}"], strict=True)
    ] == [True, True]
    assert seen[3:] == ["Ask", "and"]  # nothing else was translated twice


def test_what_is_kept_comes_through_a_random_model(folder: Callable[[str], Path]) -> None:
    loaded = load(ModelSpec(str(folder("marian")), device="cpu"))
    text = "The {n} boats of Acme: see https://a.io/b?c=1 <b>now</b>, %d times.\nAcme asked Anna."
    (result,) = translate(loaded, text, target="de", options=SHORT, keep=["Acme", "Anna"])
    for kept in ("{n}", "https://a.io/b?c=1", "<b>", "</b>", "%d", "Anna"):
        assert result.texts[0].count(kept) == 1
    assert result.texts[0].count("Acme") == 2
    assert result.texts[0].count("\n") == 1


def test_what_is_kept_is_not_cut_in_two(t5: LoadedModel, answering: Rewrite) -> None:
    answering(str.upper)
    text = 'Go <a title="Oh. No">on</a> now. Ask the J. P. Doe. Co at once.'
    assert to_german(t5, text, keep=["J. P. Doe. Co"]) == [
        'GO <a title="Oh. No">ON</a> NOW. ASK THE J. P. Doe. Co AT ONCE.'
    ]


def test_two_directions_of_one_model_do_not_disturb_each_other(folder: Callable[[str], Path]) -> None:
    loaded = load(ModelSpec(str(folder("nllb")), device="cpu"))
    row = Row(0, {"text": "The islands are a day away."}, "x")
    there = Translation(as_engine(loaded), SEEDED, source="en", target="de")
    alone = run(there, row)
    before = loaded.tokenizer.src_lang
    other = Translation(as_engine(loaded), SEEDED, source="ro", target="de")
    assert run(other, row) != alone
    assert run(there, row) == alone
    assert loaded.tokenizer.src_lang == before


@pytest.mark.parametrize(
    ("family", "source", "target", "arguments"),
    [
        ("nllb", "en", "Romanian", ("eng_Latn", {"forced_bos_token_id": "ron_Latn"})),
        ("nllb", "ron", "de", ("ron_Latn", {"forced_bos_token_id": "deu_Latn"})),
        ("m2m100", "de", "French", ("de", {"forced_bos_token_id": "__fr__"})),
        ("mbart", "en", "ro", ("en_XX", {"decoder_start_token_id": "ro_RO"})),
        ("marian", None, None, (None, {})),
    ],
)
def test_each_family_gets_what_its_own_documentation_says(
    folder: Callable[[str], Path],
    family: str,
    source: str | None,
    target: str | None,
    arguments: tuple[str | None, dict[str, str]],
) -> None:
    loaded = load(ModelSpec(str(folder(family)), device="cpu"))
    sentence = "The islands are a day away."
    (result,) = translate(loaded, sentence, source=source, target=target, options=SHORT)
    tokenizer: Any = loaded.tokenizer
    source_code, tokens = arguments
    if source_code is not None:
        tokenizer.src_lang = source_code
    expected = loaded.model.generate(
        **tokenizer(sentence, return_tensors="pt"),
        max_new_tokens=8,
        **{name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()},
    )
    assert result.texts == [tokenizer.decode(expected[0], skip_special_tokens=True).strip()]


def test_a_chat_model_translates_line_by_line(tiny_model: TinyModel) -> None:
    loaded = load(ModelSpec(str(tiny_model("bloom", chat=True)), device="cpu"))
    (result,) = translate(loaded, TEXT, target="de", options=SHORT)
    assert result.texts[0].startswith("# ")
    assert [line[:2] for line in result.texts[0].split("\n")[3:5]] == ["", ""]
    assert result.texts[0].count("\n") == TEXT.count("\n")
    assert "- 1912\n- " in result.texts[0]


def test_rows_do_not_change_each_other(t5: LoadedModel) -> None:
    texts = ["The cat. The mat!", "One day", "", " \n\t", TEXT]
    together = to_german(t5, texts, options=SHORT)
    assert together == [to_german(t5, text, options=SHORT)[0] for text in texts]
    assert together[2:4] == ["", " \n\t"]


def test_several_translations_of_one_text(t5: LoadedModel) -> None:
    options = GenerationOptions(max_new_tokens=6, num_beams=3, num_return_sequences=2)
    (result,) = translate(t5, "The cat.\n\nThe mat!", source="en", target="de", options=options)
    assert len(result.texts) == 2
    assert result.texts[0] != result.texts[1]
    assert [text.count("\n\n") for text in result.texts] == [1, 1]


def test_an_answer_that_reached_its_limit_is_reported_once(t5: LoadedModel) -> None:
    notices: list[str] = []
    options = GenerationOptions(max_new_tokens=2, seed=5)
    task = Translation(as_engine(t5), options, source="en", target="de", notice=notices.append)
    results = run(task, *(Row(i, {"text": "The cat sat. The dog sat."}, f"x:{i + 1}") for i in range(3)))
    assert len(notices) == 1
    assert "a passage reached its limit of 2 tokens" in notices[0]
    assert {(one.finish_reason, one.tokens, one.seed) for one in results} == {("length", 4, 5)}
    lengths = [len(t5.tokenizer(PREFIX + text)["input_ids"]) for text in ("The cat sat.", "The dog sat.")]
    assert results[0].prompt_tokens == sum(lengths)


def test_samples_of_a_row_do_not_depend_on_its_neighbours(t5: LoadedModel) -> None:
    options = GenerationOptions(max_new_tokens=8, temperature=1.0, seed=7)
    rows = [Row(i, {"text": f"The cat {i}. And a dog."}, "x") for i in range(3)]

    def texts(chosen: list[Row]) -> list[list[str]]:
        task = Translation(as_engine(t5), options, source="en", target="de")
        return [result.texts for result in run(task, *chosen)]

    assert texts(rows)[2] == texts(rows[2:])[0]
    sentences = texts(rows)[0][0]
    assert sentences != texts(rows)[1][0]


def test_a_model_that_sees_too_little(tiny_model: TinyModel) -> None:
    loaded = load(ModelSpec(str(tiny_model("llama", chat=True)), device="cpu"))
    loaded.context_length = 40
    with pytest.raises(
        InputError, match=r"cannot translate: the prompt has \d+ tokens, but .* has a context of 40$"
    ):
        translate(loaded, "One.", target="de", options=SHORT)
