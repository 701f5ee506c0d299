"""How each family is told what to translate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from llmkit.errors import InputError
from llmkit.tasks.direction import Direction, find_direction
from tests.text.test_languages import codes_of


def model(
    model_type: str, *tokens: str, name: str = "some/model", template: str | None = None, **config: Any
) -> Any:
    """The parts of an engine that name its languages: a config, and a tokenizer with these tokens."""
    vocab = {"<unk>": 0, "a": 1, "</s>": 2, **{token: 3 + i for i, token in enumerate(tokens)}}
    config.setdefault("vocab_size", 1000)
    decoder_only = model_type in {"llama", "gemma3_text"}
    return SimpleNamespace(
        name=name,
        config=SimpleNamespace(model_type=model_type, **config),
        tokenizer=_Tokenizer(vocab, template),
        is_encoder_decoder=not decoder_only,
        has_chat_template=template is not None,
    )


class _Tokenizer:
    """Puts the language that it is told before the text, as mBART-50 does."""

    unk_token_id = 0

    def __init__(self, vocab: dict[str, int], template: str | None) -> None:
        self._vocab = vocab
        self.chat_template = template
        self.src_lang = ""

    def get_vocab(self) -> dict[str, int]:
        return self._vocab

    def __call__(self, texts: list[str], **options: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[self._vocab[self.src_lang], 1, 2] for _ in texts]}


class _FirstMBart(_Tokenizer):
    """Puts it after the text."""

    def __call__(self, texts: list[str], **options: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[1, 2, self._vocab[self.src_lang]] for _ in texts]}


def refused(loaded: Any, source: str | None, target: str | None) -> str:
    with pytest.raises(InputError) as raised:
        find_direction(loaded, source, target)
    return str(raised.value)


def test_nllb_gets_both_codes() -> None:
    loaded = model("m2m_100", *codes_of("nllb"))
    direction = find_direction(loaded, "German", "zh-Hant")
    vocab = loaded.tokenizer.get_vocab()
    assert direction.source_token == "deu_Latn"
    assert direction.first_token == vocab["zho_Hant"]
    assert (direction.prefix, direction.message, direction.notes) == ("", None, ())


def test_languages_that_only_the_tokenizer_has_are_none_of_the_model_s() -> None:
    loaded = model("m2m_100", "eng_Latn", "deu_Latn", "fra_Latn", vocab_size=5)
    assert "it has deu_Latn, eng_Latn" in refused(loaded, "en", "fr")


def test_m2m100_lists_its_codes_apart_from_the_vocabulary() -> None:
    loaded = model("m2m_100")
    loaded.tokenizer.lang_code_to_id = {code: 100 + i for i, code in enumerate(codes_of("m2m100"))}
    direction = find_direction(loaded, "eng", "deu")
    assert direction.source_token == "en"
    assert direction.first_token == 100 + codes_of("m2m100").index("de")


def test_the_first_mbart_begins_its_answer_otherwise_than_mbart_50() -> None:
    fifty = model("mbart", *codes_of("mbart"))
    index = fifty.tokenizer.get_vocab()["ro_RO"]
    direction = find_direction(fifty, "en", "ro")
    assert (direction.first_token, direction.decoder_start_token) == (index, None)
    fifty.tokenizer = _FirstMBart(fifty.tokenizer.get_vocab(), None)
    direction = find_direction(fifty, "en", "ro")
    assert (direction.first_token, direction.decoder_start_token) == (None, index)


def test_a_tokenizer_gets_its_language_back() -> None:
    fifty = model("mbart", *codes_of("mbart"))
    vocab = fifty.tokenizer.get_vocab()
    fifty.tokenizer.src_lang = "fr_XX"
    direction = find_direction(fifty, "en", "ro")
    assert direction.encode(fifty.tokenizer, ["a"]) == [[vocab["en_XX"], 1, 2]]
    assert fifty.tokenizer.src_lang == "fr_XX"


def test_a_model_with_language_tokens_must_be_told_both() -> None:
    loaded = model("mbart", "en_XX", "de_DE")
    assert refused(loaded, None, "de") == (
        "some/model needs the language of the text: give it with `source` (it has de_DE, en_XX)"
    )
    assert "the language to write: give it with `target`" in refused(loaded, "en", None)
    assert "it has de_DE, en_XX" in refused(loaded, "en", "fr")


def test_two_regions_with_one_code_are_one_language_to_the_model() -> None:
    message = refused(model("m2m_100", "por_Latn", "eng_Latn"), "pt-BR", "pt-PT")
    assert message.startswith("some/model has one code for pt-BR and pt-PT, por_Latn")


def test_a_region_that_the_model_cannot_tell_is_told() -> None:
    (note,) = find_direction(model("m2m_100", "por_Latn", "eng_Latn"), "en", "pt-BR").notes
    assert note == "pt-BR: the model has only por_Latn, for all Portuguese"


@pytest.mark.parametrize(
    ("name", "pair"),
    [("Helsinki-NLP/opus-mt-en-de", {}), ("mine", {"source_lang": "eng", "target_lang": "deu"})],
)
def test_marian_for_one_pair_need_not_be_told(name: str, pair: dict[str, str]) -> None:
    loaded = model("marian", name=name)
    vars(loaded.tokenizer).update(pair)
    for source, target in ((None, None), ("en", "de"), ("English", None)):
        direction = find_direction(loaded, source, target)
        assert direction.source is not None
        assert direction.target is not None
        assert (direction.source.tag, direction.target.tag) == ("en", "de")
        assert (direction.prefix, direction.notes) == ("", ())
    assert f"source=fr: {name} translates en" in refused(loaded, "fr", "de")
    assert f"target=fr: {name} translates en" in refused(loaded, "en", "fr")


def test_marian_that_does_not_say_its_pair() -> None:
    (note,) = find_direction(model("marian"), "en", "de").notes
    assert note == "some/model does not say which languages it translates between"


def test_marian_with_several_targets_gets_the_target_s_token() -> None:
    loaded = model(
        "marian", ">>fr<<", ">>pt_br<<", ">>pt<<", ">>cmn_Hans<<", name="Helsinki-NLP/opus-mt-en-ROMANCE"
    )
    prefixes = [find_direction(loaded, "en", target).prefix for target in ("fra", "pt-BR", "pt", "zh")]
    assert prefixes == [">>fr<< ", ">>pt_br<< ", ">>pt<< ", ">>cmn_Hans<< "]
    assert find_direction(loaded, None, "fr").source is not None
    assert "`target` de: Helsinki-NLP/opus-mt-en-ROMANCE does not know German" in refused(loaded, "en", "de")
    assert "needs the language to write" in refused(loaded, "en", None)
    assert "source=de: Helsinki-NLP/opus-mt-en-ROMANCE takes en" in refused(loaded, "de", "fr")


def test_marian_with_a_pair_and_tokens_for_dialects() -> None:
    loaded = model("marian", ">>apc<<", ">>ara<<", name="opus-mt-en-ar")
    assert find_direction(loaded, "en", None).prefix == ">>ara<< "
    assert find_direction(loaded, "en", "apc").prefix == ">>apc<< "
    strays = model("marian", ">>fra<<", name="opus-mt-en-de")
    assert find_direction(strays, "en", "de").prefix == ""


def test_t5_is_told_in_words() -> None:
    direction = find_direction(model("t5"), "en", "deu")
    assert direction.prefix == "translate English to German: "
    assert "needs both languages" in refused(model("mt5"), None, "de")
    assert "`target` tyv: no such language" in refused(model("t5"), "en", "tyv")


def test_t5_that_says_what_it_was_trained_for() -> None:
    loaded = model("t5", task_specific_params={"summarization": {}, "translation_en_to_de": {}})
    assert find_direction(loaded, "en", "de").notes == ()
    (note,) = find_direction(loaded, "en", "ja").notes
    assert note == "some/model says that it was trained for en_to_de only"


def test_madlad_gets_the_target_s_token() -> None:
    loaded = model("t5", "<2de>", "<2zh_Hant>", "<2translate>", "<extra_id_0>")
    assert find_direction(loaded, None, "German").prefix == "<2de> "
    assert find_direction(loaded, "en", "zh-TW").prefix == "<2zh_Hant> "
    assert "does not know French" in refused(loaded, "en", "fr")


def test_fsmt_has_one_pair() -> None:
    loaded = model("fsmt", langs=["en", "ru"])
    assert find_direction(loaded, "en", "ru").notes == ()
    assert "target=de: some/model translates en to ru" in refused(loaded, "en", "de")


def content(direction: Direction) -> Any:
    assert direction.message is not None
    turn = direction.message("Hi")
    assert turn["role"] == "user"
    return turn["content"]


def test_chat_models_are_asked() -> None:
    asked = content(find_direction(model("llama", template="{{ messages }}"), "en", "zh-Hant"))
    assert asked.startswith("Translate the following text from English into Traditional Chinese.")
    assert asked.endswith("\n\nHi")
    assert "text into German" in content(find_direction(model("llama", template="x"), None, "de"))
    assert "give it with `target`" in refused(model("llama", template="x"), "en", None)


def test_translategemma_s_template_takes_codes() -> None:
    loaded = model("gemma3_text", template="{{ message['content'][0]['source_lang_code'] }}")
    assert content(find_direction(loaded, "English", "pt-BR")) == [
        {"type": "text", "source_lang_code": "en", "target_lang_code": "pt-BR", "text": "Hi"}
    ]
    assert "give it with `source`" in refused(loaded, None, "de")


def test_models_that_cannot_be_told() -> None:
    assert "use a translation model or a chat model" in refused(model("llama"), "en", "de")
    (note,) = find_direction(model("bart"), "en", "de").notes
    assert note == "some/model takes no languages; it gets the text as it is"


def test_the_same_language_twice() -> None:
    assert "are the same language, German" in refused(model("t5"), "de", "German")


TASKS = {
    "translation_en_to_de": {"prefix": "de: "},
    "translation_de_to_en": {"prefix": "en: "},
    "translation_zh-Hant_to_ja": {"prefix": "ja: "},
    "translation_fr_to_it": {"prefix": 3},
    "summarization": {"prefix": "sum: "},
}


@pytest.mark.parametrize(
    ("source", "target", "prefix"),
    [
        ("en", "de", "de: "),
        ("German", "English", "en: "),
        (None, "de", "de: "),
        ("de", None, "en: "),
        ("zh-Hant", "ja", "ja: "),
    ],
)
def test_an_encoder_decoder_s_own_prefixes_are_taken(
    source: str | None, target: str | None, prefix: str
) -> None:
    direction = find_direction(model("bart", task_specific_params=TASKS), source, target)
    assert (direction.prefix, direction.notes) == (prefix, ())
    assert direction.source is not None
    assert direction.target is not None
    assert f"{direction.target.tag}: " == prefix


def test_pairs_without_a_prefix_of_their_own_are_refused() -> None:
    loaded = model("bart", name="translator", task_specific_params=TASKS)
    assert refused(loaded, "en", "fr") == (
        "source=en target=fr: translator translates en to de, de to en, zh-Hant to ja only; give another"
        " `model`"
    )
    assert refused(loaded, None, "fr").startswith("target=fr: translator translates")
    assert refused(loaded, None, None) == (
        "translator translates en to de, de to en, zh-Hant to ja: give the language with `target`"
    )
