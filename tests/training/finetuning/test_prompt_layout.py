"""How prompts are laid out is reported as the model then reads it."""

from typing import Any

import pytest

from llmkit.training.finetuning.columns import recognize
from llmkit.training.finetuning.encoding import encoder
from llmkit.training.finetuning.prompt_layout import PromptLayout, layout_of
from tests.tiny import make_tokenizer

SECTIONS = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
LANGUAGES = ("en", "de")


def laid_out(
    columns: str, kind: str = "causal", *, chat: bool = False, **options: Any
) -> PromptLayout | None:
    return layout_of(recognize(columns.split()), kind, make_tokenizer(chat=chat), **options)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ("instruction input output", SECTIONS),
        ("instruction output", "### Instruction:\n{instruction}\n\n### Response:\n"),
        ("source target", "summarize: {source}\n\n"),
        ("document summary", "summarize: {document}\n\n"),
        ("question context answers", "{context}\n\nQuestion: {question}\nAnswer:"),
        ("instruction chosen rejected", "### Instruction:\n{instruction}\n\n### Response:\n"),
    ],
)
def test_it_is_what_the_model_reads_before_what_it_learns(columns: str, text: str) -> None:
    layout = laid_out(columns, source_prefix="summarize: ")
    assert layout is not None
    assert (layout.text, layout.turn) == (text, False)
    if "chosen" not in columns:
        row = {name: f"the {name}" for name in columns.split()}
        tokenizer = make_tokenizer(bos=False)
        encode = encoder(recognize(row), "causal", tokenizer, 256, source_prefix="summarize: ")
        (one,) = encode(row)
        assert tokenizer.decode(one.ids).startswith(text.format(**row))


def test_an_encoder_reads_its_source_with_the_prefix_alone() -> None:
    layout = laid_out("source target", "seq2seq", source_prefix="summarize: ")
    assert layout == PromptLayout("summarize: {source}", False, None)
    layout = laid_out("instruction input output", "seq2seq")
    assert layout == PromptLayout(SECTIONS.strip(), False, "input")
    layout = laid_out("translation", "seq2seq", source_prefix="to German: ", languages=LANGUAGES)
    assert layout == PromptLayout("to German: {en}", False, None)


def test_within_a_chat_template_it_is_the_user_s_turn() -> None:
    layout = laid_out("instruction input output", chat=True)
    assert layout == PromptLayout("{instruction}\n\n{input}", True, "input")
    assert layout.quoted == r'"{instruction}\n\n{input}"'
    assert layout.conditions == (
        " (the user's turn in the chat template; the part with {input} only if a row has one)"
    )


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ("text", "causal"),
        ("messages", "causal"),
        ("prompt completion", "causal"),
        ("question answer", "causal"),
        ("chosen rejected", "preference"),
        ("prompt chosen rejected", "preference"),
        ("question context answers", "spans"),
        ("source target", "seq2seq"),
        ("translation", "seq2seq"),
    ],
)
def test_where_a_prompt_is_a_column_there_is_nothing_to_report(columns: str, kind: str) -> None:
    assert laid_out(columns, kind, languages=LANGUAGES) is None
