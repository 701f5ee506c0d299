import pytest

from llmkit.errors import OptionError, RowError
from llmkit.records.rows import Row, text_of


def row(**data):
    return Row(2, data, "data.jsonl:3")


def text(data, field=None, template=None, defaults=("prompt", "text")):
    return text_of(row(**data), field=field, template=template, defaults=defaults)


@pytest.mark.parametrize(
    ("data", "field", "expected"),
    [
        ({"a": "x", "text": "y"}, "a", "x"),
        ({"a": 3}, "a", "3"),
        ({"a": 0.5}, "a", "0.5"),
        ({"a": ""}, "a", ""),
        ({"a.b": "dotted"}, "a.b", "dotted"),
    ],
)
def test_a_named_field_is_taken(data, field, expected):
    assert text(data, field=field) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"text": "t", "prompt": "p", "other": "o"}, "p"),
        ({"text": "t", "other": "o"}, "t"),
        ({"id": 4, "story": "the only string", "tags": ["a"]}, "the only string"),
    ],
)
def test_without_a_field_the_first_default_or_the_only_string_is_taken(data, expected):
    assert text(data) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Q: {question}", "Q: why?"),
        ("{question}{n}", "why?3"),
        ("no column", "no column"),
        ("{{question}}", "{question}"),
        ("{{{question}}}", "{why?}"),
        ('{{"q": "{question}"}}', '{"q": "why?"}'),
        ("{with space}", "odd"),
        ("{question.__class__}", "only a name"),
        ("{n:>10}", "a name too"),
    ],
)
def test_a_template_replaces_names_and_does_nothing_else(template, expected):
    data = {
        "question": "why?",
        "n": 3,
        "with space": "odd",
        "question.__class__": "only a name",
        "n:>10": "a name too",
    }
    assert text(data, template=template) == expected


def test_text_from_a_column_is_not_expanded_again():
    assert text({"a": "{b}", "b": "secret"}, template="<{a}>") == "<{b}>"


@pytest.mark.parametrize("template", ["{", "}", "{}", "{a", "a}", "{a{b}}", 'json {"a": {b}}'])
def test_a_broken_template_names_the_option(template):
    with pytest.raises(OptionError, match=r"'[{}]' at character \d+") as caught:
        text({"a": "x", "b": "y"}, template=template)
    assert caught.value.option == "template"


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        ({"question": "x"}, {"field": "qestion"}, "no column 'qestion'; did you mean 'question'?"),
        ({"Text": "x"}, {"field": "text"}, "no column 'text'; did you mean 'Text'?"),
        ({"a": "x", "b": 1}, {"field": "zzz"}, "no column 'zzz'; its columns are a, b"),
        ({}, {"field": "a"}, "no column 'a'; it has no columns"),
        ({"question": "x"}, {"template": "{question} {answr}"}, "no column 'answr'"),
        ({"a": None}, {"field": "a"}, "column 'a' is null"),
        ({"a": None}, {"template": "{a}"}, "column 'a' is null"),
        ({"a": ["x"]}, {"field": "a"}, "column 'a' is a list, not a text"),
        ({"a": {"b": 1}}, {"field": "a"}, "column 'a' is a dict, not a text"),
        ({"a": True}, {"field": "a"}, "column 'a' is a bool, not a text"),
        ({"prompt": None, "text": "x"}, {}, "column 'prompt' is null"),
        ({"a": "x", "b": "y"}, {}, "no text column: its columns are a, b; give one with `field`"),
        ({"n": 1}, {}, "give one with `field`"),
        ({}, {}, "it has no columns"),
        ({"a": "half \ud83d"}, {"field": "a"}, "U+D83D"),
    ],
)
def test_a_row_without_its_text_says_where_and_what(data, options, reason):
    with pytest.raises(RowError) as caught:
        text(data, **options)
    assert caught.value.where == "data.jsonl:3"
    assert reason in caught.value.reason


def test_an_unreadable_row_raises_its_own_error():
    broken = Row(0, {}, "data.jsonl:1", "not JSON: Expecting value at column 1")
    with pytest.raises(RowError, match=r"data\.jsonl:1: not JSON"):
        text_of(broken, field="text", template=None, defaults=())


def test_field_and_template_exclude_each_other():
    with pytest.raises(OptionError) as caught:
        text({"a": "x"}, field="a", template="{a}")
    assert caught.value.option == "field"
    assert "`template`" in caught.value.reason
