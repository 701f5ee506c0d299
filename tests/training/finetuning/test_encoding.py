"""Rows to tokens: input and targets, objective by objective."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from llmkit.errors import InputError
from llmkit.runtime.spec import ModelSpec
from llmkit.training.encoded import IGNORED, Encoded
from llmkit.training.finetuning.columns import BadRowError, recognize
from llmkit.training.finetuning.encoding import encoder, kind_of
from llmkit.training.finetuning.plan import prepare
from llmkit.training.finetuning.recipe import FinetuneRecipe
from llmkit.training.loss import patch_forward_with_summed_loss
from tests.parity.folders import make_folder
from tests.tiny import make_tokenizer
from tests.training.helpers import refuses

Row = dict[str, Any]


def encode(row: Row, tokenizer: Any, size: int = 64, kind: str = "causal", **options: Any) -> list[Encoded]:
    return encoder(recognize(row), kind, tokenizer, size, **options)(row)


def target_text(tokenizer: Any, one: Encoded) -> str:
    return str(tokenizer.decode([target for target in one.targets if target != IGNORED]))


def follows(one: Encoded) -> bool:
    """Whether each target is the id that is read next."""
    pairs = zip(one.targets[:-1], one.ids[1:], strict=True)
    return len(one.ids) == len(one.targets) and all(t in (IGNORED, i) for t, i in pairs)


def spaced() -> Any:
    """A tokenizer in SentencePiece's manner: a space is put before every text, and belongs to the word."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.decoder = decoders.Metaspace(prepend_scheme="first")
    words = ["Say dog: dog", "Say moon: moon", "dog moon say Say", "a b.c\nd"]
    core.train_from_iterator(words * 5, trainers.BpeTrainer(special_tokens=["<unk>", "<s>", "</s>"]))
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


def test_a_text_is_trained_whole_with_its_end() -> None:
    tokenizer = make_tokenizer()
    (one,) = encode({"text": "The cat sat on the mat."}, tokenizer)
    assert follows(one)
    assert tokenizer.decode(one.ids) == "<s>The cat sat on the mat."
    assert target_text(tokenizer, one) == "The cat sat on the mat.</s>"
    assert not one.cut


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("size", [8, 9, 13, 64])
def test_of_a_long_text_every_token_is_a_target_once(size: int, bos: bool) -> None:
    tokenizer = make_tokenizer(bos=bos)
    for count in range(1, 24):
        text = " ".join(f"dog {i}" for i in range(count))
        pieces = encode({"text": text}, tokenizer, size)
        assert all(follows(one) and 0 < len(one.ids) <= size for one in pieces)
        whole = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        assert [target for one in pieces for target in one.targets] == whole[1:]
        assert [token for one in pieces for token in one.ids] == whole[:-1]


def test_an_end_that_the_tokenizer_puts_is_not_put_twice() -> None:
    from tokenizers import processors

    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    assert target_text(tokenizer, encode({"text": "a dog"}, tokenizer)[0]) == "a dog</s>"
    (one,) = encode({"prompt": "Say:", "completion": " dog"}, tokenizer)
    assert tokenizer.decode(one.ids) == "<s>Say: dog"
    assert target_text(tokenizer, one) == " dog</s>"


COMPLETIONS = [
    ("Say dog:", " dog"),
    ("Say dog: ", "dog"),  # the space and the word are one token together
    ("Say do", "g"),
    ("Say", "\n"),
    ("", "dog"),
    ("Once upon a ti", "me there was"),
    ("猫", "在椅子上🙂"),
]


@pytest.mark.parametrize(("prompt", "completion"), [pair for pair in COMPLETIONS if pair[1].strip()])
@pytest.mark.parametrize("make", [make_tokenizer, spaced], ids=["bytes", "spaces"])
def test_the_completion_is_trained_after_the_prompt_as_it_comes_alone(
    make: Callable[[], Any], prompt: str, completion: str
) -> None:
    tokenizer = make()
    (one,) = encode({"prompt": prompt, "completion": completion}, tokenizer)
    assert follows(one)
    start = tokenizer(prompt)["input_ids"]
    assert list(one.ids[: len(start)]) == start
    whole = [*one.ids, one.targets[-1]]
    spoken = tokenizer.decode([*tokenizer(prompt + completion)["input_ids"], tokenizer.eos_token_id])
    assert tokenizer.decode(whole) == spoken
    # The first token of all has nothing before it.
    first = max(1, len(start))
    assert [t for t in one.targets if t != IGNORED] == whole[first:]


def test_an_input_stands_in_a_part_of_its_own() -> None:
    tokenizer = make_tokenizer()
    row = {"instruction": "Name it.", "input": "a dog", "output": "dog"}
    (one,) = encode(row, tokenizer, 128)
    assert tokenizer.decode(one.ids).startswith(
        "<s>### Instruction:\nName it.\n\n### Input:\na dog\n\n### Response:\n"
    )
    assert target_text(tokenizer, one) == "dog</s>"
    columns = recognize(row)
    for empty in ({**row, "input": ""}, {**row, "input": None}, {"instruction": "Name it.", "output": "dog"}):
        (one,) = encoder(columns, "causal", tokenizer, 128)(empty)
        assert tokenizer.decode(one.ids).startswith("<s>### Instruction:\nName it.\n\n### Response:\n")


def test_an_input_that_was_mapped_is_not_lost() -> None:
    row = {"task": "Name it.", "more": "a dog", "reply": "dog"}
    columns = recognize(row, {"prompt": "task", "input": "more", "completion": "reply"})
    tokenizer = make_tokenizer()
    (one,) = encoder(columns, "causal", tokenizer, 128)(row)
    assert "a dog" in tokenizer.decode(one.ids)


def test_with_a_chat_template_prompt_and_completion_are_turns() -> None:
    tokenizer = make_tokenizer(chat=True)
    (one,) = encode({"prompt": "Say dog", "completion": " dog"}, tokenizer)
    assert tokenizer.decode([*one.ids, one.targets[-1]]) == "<s><|user|>Say dog</s><|assistant|>dog</s>"
    assert target_text(tokenizer, one) == "dog</s>"
    turns = {
        "prompt": [{"role": "system", "content": "x"}, {"role": "user", "content": "Say dog"}],
        "completion": [{"role": "assistant", "content": "dog"}],
    }
    assert target_text(tokenizer, encode(turns, tokenizer)[0]) == "dog</s>"


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("size", [8, 16, 32, 200])
@pytest.mark.parametrize(("asked", "said"), [(40, 3), (3, 40), (40, 40), (2, 2)])
def test_a_prompt_too_long_loses_its_beginning(size: int, asked: int, said: int, bos: bool) -> None:
    tokenizer = make_tokenizer(bos=bos)
    prompt, completion = " ".join(str(i) for i in range(asked)), "".join(f" {i}" for i in range(said))
    (one,) = encode({"prompt": prompt, "completion": completion}, tokenizer, size)
    start, end = tokenizer(prompt)["input_ids"], tokenizer(completion, add_special_tokens=False)["input_ids"]
    end = [*end, tokenizer.eos_token_id]
    fits = len(start) + len(end) <= size + 1
    assert follows(one)
    assert one.cut is not fits
    assert len(one.ids) == min(len(start) + len(end) - 1, size)
    assert (one.ids[0] == tokenizer.bos_token_id) is bos
    found = [target for target in one.targets if target != IGNORED]
    assert found == end[: len(found)]
    # The completion is whole where it fits beside a quarter of the prompt.
    if len(end) <= size - size // 4:
        assert found == end
    # Of the prompt the end is left, right before the targets.
    assert tokenizer.decode(one.ids[: len(one.ids) - len(found) + 1]).endswith(prompt[-1])


def test_a_conversation_is_cut_after_the_last_answer_that_fits() -> None:
    tokenizer = make_tokenizer(chat=True)
    turns = [{"role": ("user", "assistant")[i % 2], "content": f"dog {i}"} for i in range(12)]
    (whole,) = encode({"messages": turns}, tokenizer, 500)
    assert target_text(tokenizer, whole) == "".join(f"dog {i}</s>" for i in range(1, 12, 2))
    (one,) = encode({"messages": turns}, tokenizer, len(whole.ids) // 2)
    assert one.cut
    assert target_text(tokenizer, whole).startswith(target_text(tokenizer, one))
    # Nothing is read after the last target.
    assert one.targets[-1] != IGNORED
    turns[0]["content"] = "dog " * 200
    assert encode({"messages": turns}, tokenizer, 64) == []


SQUAD: Row = {
    "question": "Where is the cat?",
    "context": "The dog lives in the house. " * 3 + "The cat sat on the mat. " + "The moon looked back. " * 3,
    "answers": {"text": ["on the mat"], "answer_start": [96]},
}


def said(tokenizer: Any, one: Encoded) -> str:
    first, last = one.targets
    return str(tokenizer.decode(one.ids[first : last + 1])).strip() if first else ""


@pytest.fixture
def asking() -> Any:
    from tokenizers import processors

    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return tokenizer


@pytest.mark.parametrize("size", [24, 32, 48, 256])
def test_an_answer_is_found_in_every_window_that_holds_it_whole(asking: Any, size: int) -> None:
    assert SQUAD["context"][96:106] == "on the mat"
    windows = encode(SQUAD, asking, size, "spans")
    assert all(len(one.ids) <= size for one in windows)
    for one in windows:
        holds = "on the mat" in asking.decode(one.ids)
        assert said(asking, one) == ("on the mat" if holds else "")
    assert any(said(asking, one) for one in windows)
    # Together they hold the whole context.
    text = " ".join(asking.decode(one.ids) for one in windows)
    assert all(sentence in text.replace("</s>", "") for sentence in ("The dog lives", "looked back."))


def test_windows_are_made_where_hardly_one_fits(asking: Any) -> None:
    for size in range(12, 24):
        windows = encode({**SQUAD, "question": "Cat?"}, asking, size, "spans")
        assert all(len(one.ids) <= size for one in windows)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"text": ["on the mat"], "answer_start": [96]}, "on the mat"),
        ({"text": "on the mat", "answer_start": 96}, "on the mat"),
        ({"text": ["on the mat", "mat"], "answer_start": [96, 103]}, "on the mat"),
        ([{"text": "on the mat", "answer_start": 96}], "on the mat"),
        (["The cat"], "The cat"),
        ("The cat", "The cat"),
        ({"text": [], "answer_start": []}, ""),
        ([], ""),
        ("", ""),
    ],
)
def test_answers_come_in_several_forms(asking: Any, answers: Any, expected: str) -> None:
    (one,) = encode({**SQUAD, "answers": answers}, asking, 256, "spans")
    assert said(asking, one) == expected


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"answers": {"text": ["on the mat"], "answer_start": [90]}},
            "at answer_start 90 the context does not",
        ),
        ({"answers": "a bird"}, "its answer 'a bird' is not in the context"),
        ({"answers": 7}, "its answers are neither"),
        ({"answers": None}, "its answers are neither"),
        ({"question": " "}, "column 'question' is empty"),
        ({"question": "Where is the cat? " * 30}, "more than half of `max_length`"),
    ],
)
def test_an_answer_that_is_not_there_is_a_bad_row(asking: Any, row: Row, reason: str) -> None:
    with pytest.raises(BadRowError, match=reason):
        encode({**SQUAD, **row}, asking, 64, "spans")


def test_a_causal_model_writes_the_answer() -> None:
    tokenizer = make_tokenizer()
    (one,) = encode(SQUAD, tokenizer, 256)
    assert tokenizer.decode(one.ids).endswith("\n\nQuestion: Where is the cat?\nAnswer: on the mat")
    assert target_text(tokenizer, one) == " on the mat</s>"
    (one,) = encode({**SQUAD, "answers": []}, tokenizer, 256)
    assert target_text(tokenizer, one) == " unanswerable</s>"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": ""}, "column 'text' is empty"),
        ({"text": None}, "column 'text' is null, not a text"),
        ({"text": {"a": 1}}, "column 'text' is a dict, not a text"),
        ({"text": ["a", 1]}, "column 'text' is a list, not a text"),
        ({"text": True}, "column 'text' is a bool, not a text"),
        ({"prompt": "a", "completion": " "}, "column 'completion' is empty"),
        ({"messages": "a"}, "its messages are not a list of turns"),
        ({"messages": [{"role": "user", "content": "a"}]}, "it has no text of the assistant"),
        ({"translation": "a"}, "column 'translation' has no texts by language"),
        ({"translation": {"en": "a", "de": ""}}, "column 'translation' has no text under 'de'"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(row: Row, reason: str) -> None:
    with pytest.raises(BadRowError, match=reason):
        encode(row, make_tokenizer(chat="messages" in row), languages=("en", "de"))


def test_numbers_and_lists_of_sentences_are_texts() -> None:
    tokenizer = make_tokenizer()
    (one,) = encode({"source": ["One. ", "Two."], "target": ["A dog.", " A cat."]}, tokenizer)
    assert tokenizer.decode(one.ids) == "<s>One. Two.\n\nA dog. A cat."
    assert target_text(tokenizer, encode({"question": "3 + 4", "answer": 7}, tokenizer)[0]) == "7</s>"


def test_several_languages_in_a_column_are_asked_for() -> None:
    row = {"translation": {"en": "a dog", "de": "ein Hund"}}
    tokenizer = make_tokenizer()
    with refuses("source_language", "target_language", "(en and de)"):
        encode(row, tokenizer)
    (one,) = encode(row, tokenizer, languages=("de", "en"))
    assert target_text(tokenizer, one) == "a dog</s>"
    assert tokenizer.decode(one.ids).startswith("<s>ein Hund\n\n")


@pytest.mark.parametrize(
    ("columns", "model", "kind"),
    [
        ("text", "causal", "causal"),
        ("source target", "causal", "causal"),
        ("source target", "seq2seq", "seq2seq"),
        ("prompt completion", "seq2seq", "seq2seq"),
        ("question context answers", "seq2seq", "seq2seq"),
        ("question context answers", "encoder", "spans"),
        ("question context answers", "causal", "causal"),
        ("prompt chosen rejected", "causal", "preference"),
    ],
)
def test_how_a_model_learns_follows_from_rows_and_model(columns: str, model: str, kind: str) -> None:
    assert kind_of(recognize(columns.split()), model) == kind


@pytest.mark.parametrize(
    ("columns", "model"),
    [("text", "seq2seq"), ("messages", "seq2seq"), ("text", "encoder"), ("source target", "encoder")],
)
def test_rows_that_a_model_cannot_learn_from_are_refused(columns: str, model: str) -> None:
    with pytest.raises(InputError, match="needs rows of"):
        kind_of(recognize(columns.split()), model)


# family -> settings of its tokenizer, the source and the target as they come out
FAMILIES: dict[str, tuple[dict[str, str], str, str]] = {
    "mt5": ({}, "the sea</s>", "das Meer</s>"),
    "marian": ({}, "the sea</s>", "das Meer</s>"),
    "bart": ({}, "<s>the sea</s>", "<s>das Meer</s>"),
    "mbart": ({"src_lang": "en_XX", "tgt_lang": "de_DE"}, "the sea</s>en_XX", "das Meer</s>de_DE"),
    "nllb": (
        {"src_lang": "eng_Latn", "tgt_lang": "deu_Latn"},
        "eng_Latn the sea</s>",
        "deu_Latn das Meer</s>",
    ),
    "m2m100": ({"src_lang": "en", "tgt_lang": "de"}, "__en__ the sea</s>", "__de__ das Meer</s>"),
}


def squeezed(text: str) -> str:
    return text.replace(" ", "").replace("▁", "")


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_decoder_learns_its_target_to_its_end(family: str, tmp_path: Path) -> None:
    settings, source, target = FAMILIES[family]
    make_folder(family, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, **settings)
    (one,) = encode({"source": "the sea", "target": "das Meer"}, tokenizer, kind="seq2seq")
    assert squeezed(tokenizer.decode(one.ids)) == squeezed(source)
    assert squeezed(tokenizer.decode(one.targets)) == squeezed(target)
    long: Sequence[str] = ["the sea was calm and the little boat", "das Meer war ruhig und das kleine Boot"]
    for size in (8, 11):
        (one,) = encode({"source": long[0], "target": long[1]}, tokenizer, size, kind="seq2seq")
        assert (len(one.ids), len(one.targets), one.cut) == (size, size, True)
        for ids, wanted in ((one.ids, source), (one.targets, target)):
            end = "</s>" if wanted.endswith("</s>") else f"</s>{wanted.partition('</s>')[2]}"
            assert squeezed(tokenizer.decode(ids)).endswith(end)


@pytest.mark.parametrize("family", ["mt5", "bart", "mbart", "nllb", "m2m100"])
def test_the_loss_of_pairs_is_the_one_that_transformers_computes(family: str, tmp_path: Path) -> None:
    """Languages from the recipe, targets of several lengths, labels and what the decoder reads."""
    make_folder(family, tmp_path)
    file = tmp_path / "pairs.jsonl"
    pairs = [("the sea", "das Meer"), ("the town was calm and the boat", "die Inseln sind da"), ("a", "ein")]
    file.write_text("".join(json.dumps({"source": a, "target": b}) + "\n" for a, b in pairs), "utf-8")
    recipe = FinetuneRecipe(
        lora=False,
        dtype="float32",
        batch_size=3,
        eval_split=0,
        source_language="en",
        target_language="German",
    )
    prepared = prepare([file], ModelSpec(str(tmp_path), device="cpu"), recipe)
    settings = FAMILIES[family][0]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, **settings)
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, dtype=torch.float32)
    expected = 0.0
    with torch.no_grad():
        for source, target in pairs:
            labels = tokenizer(text_target=target, return_tensors="pt").input_ids
            # T5's models are told the task in words, as `translate` tells them.
            prefix = "translate English to German: " if family == "mt5" else ""
            ids = tokenizer(prefix + source, return_tensors="pt").input_ids
            expected += float(model(input_ids=ids, labels=labels).loss) * labels.numel()
        ours: Any = prepared.loaded.model
        patch_forward_with_summed_loss(ours)
        found = float(ours(**prepared.collate(list(prepared.train.items)))["loss"])
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_model_of_many_languages_needs_them(tmp_path: Path) -> None:
    make_folder("nllb", tmp_path)
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"source": "the sea", "target": "das Meer"}\n' * 2, "utf-8")
    spec, recipe = ModelSpec(str(tmp_path), device="cpu"), FinetuneRecipe(lora=False, eval_split=0)
    with pytest.raises(InputError, match="`source_language` and `target_language`"):
        prepare([file], spec, recipe)
    with refuses("target_language", "fr: "):
        prepare([file], spec, replace(recipe, source_language="en", target_language="fr"))


def test_a_tokenizer_without_an_end_gets_one_for_targets() -> None:
    tokenizer = make_tokenizer()
    (one,) = encode({"source": "a cat", "target": "a dog"}, tokenizer, kind="seq2seq")
    assert tokenizer.decode(one.targets) == "<s>a dog</s>"


def test_a_prefix_stands_before_each_source() -> None:
    tokenizer = make_tokenizer()
    row = {"source": "a cat", "target": "a dog"}
    (one,) = encode(row, tokenizer, kind="seq2seq", source_prefix="summarize: ")
    assert tokenizer.decode(one.ids) == "<s>summarize: a cat"
    (one,) = encode(row, tokenizer, source_prefix="summarize: ")
    assert tokenizer.decode(one.ids) == "<s>summarize: a cat\n\na dog"
