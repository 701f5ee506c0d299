import json

import pytest

from llmkit.records.strict_json import StrictDecoder, dumps


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"b": 1, "a": "é 雪 🦊"}, '{"b": 1, "a": "é 雪 🦊"}'),
        ({"a": "x\ny\x00"}, '{"a": "x\\ny\\u0000"}'),
        ({"a": "half \ud83d, other half \ude00"}, '{"a": "half \\ud83d, other half \\ude00"}'),
        ({"\udcff": "é"}, '{"\\udcff": "é"}'),
        ({"a": 0.1, "b": 1e300, "c": -0.0}, '{"a": 0.1, "b": 1e+300, "c": -0.0}'),
    ],
)
def test_a_line_is_readable_utf8_that_reads_back(value, line):
    assert dumps(value) == line
    line.encode("utf-8")
    assert json.loads(line) == value


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_nan_is_not_written(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps({"a": [number]})


def test_decoding_tells_where_a_value_ends():
    assert StrictDecoder().decode('xx{"a": 1.5} yy', 2) == ({"a": 1.5}, 12, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": NaN}', "NaN is not JSON; write null"),
        ('{"a": [-Infinity]}', "-Infinity is not JSON; write null"),
        ('{"a": 1e999}', "1e999 is too large a number"),
    ],
)
def test_numbers_that_could_not_be_written_are_told(text, problem):
    decoder = StrictDecoder()
    assert decoder.decode(text)[2] == problem
    assert decoder.decode('{"a": 1}')[2] is None


@pytest.mark.parametrize("depth", [201, 990, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}")])
def test_nesting_that_could_not_be_written_is_refused(depth, opening, closing):
    with pytest.raises(ValueError, match="nested more than 200 levels"):
        StrictDecoder().decode(opening * depth + "1" + closing * depth)


def test_many_brackets_side_by_side_are_not_nesting():
    value = {"a": [[i] for i in range(1000)], "b": "[" * 500}
    assert StrictDecoder().decode(json.dumps(value))[0] == value
