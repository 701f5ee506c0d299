"""What rows are for, by the spellings of public data sets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import InputError, LLMKitError
from llmkit.training.finetuning.columns import recognize
from llmkit.training.finetuning.examples import read_source
from tests.training.helpers import refuses

# columns as a data set has them -> what they are for, and the columns that are used
SEEN: dict[str, tuple[str, str]] = {
    "text": ("text", "text"),  # TinyStories, WikiText
    "content repo path": ("text", "content"),  # The Stack
    "text label": ("text", "text"),  # IMDb
    "prompt completion": ("completion", "prompt completion"),
    "prompt response": ("completion", "prompt response"),
    "instruction input output": ("completion", "instruction input output"),  # Alpaca
    "instruction output": ("completion", "instruction output"),
    "instruction context response category": ("completion", "instruction context response"),  # Dolly
    "question answer": ("completion", "question answer"),  # GSM8K
    "id system_prompt question response": ("completion", "question response"),  # OpenOrca
    "query response type original_question": ("completion", "query response"),  # MetaMathQA
    "inputs targets language": ("completion", "inputs targets"),  # Aya
    "messages": ("messages", "messages"),
    "prompt prompt_id messages": ("messages", "messages"),  # UltraChat
    "id conversations": ("messages", "conversations"),  # ShareGPT, OpenHermes
    "source target": ("pairs", "source target"),
    "src tgt": ("pairs", "src tgt"),
    "document summary id": ("pairs", "document summary"),  # XSum
    "article highlights id": ("pairs", "article highlights"),  # CNN / DailyMail
    "id dialogue summary topic": ("pairs", "dialogue summary"),  # DialogSum
    "text summary title": ("pairs", "text summary"),  # BillSum
    "input_text target_text prefix": ("pairs", "input_text target_text"),
    "id translation": ("pairs", "translation translation"),  # WMT
    "id title context question answers": ("answers", "question context answers"),  # SQuAD
    "question context answer": ("answers", "question context answer"),
    "prompt chosen rejected": ("preference", "prompt chosen rejected"),
    "chosen rejected": ("preference", "chosen rejected"),  # Anthropic's HH
    "prompt prompt_id chosen rejected messages score_chosen": ("preference", "prompt chosen rejected"),
    "system question chosen rejected": ("preference", "question chosen rejected"),  # Orca DPO
}


@pytest.mark.parametrize("columns", SEEN)
def test_the_objective_follows_from_the_columns(columns: str) -> None:
    found = recognize(columns.split())
    objective, used = SEEN[columns]
    assert found.objective == objective
    assert list(found.names.values()) == used.split()


@pytest.mark.parametrize(
    ("columns", "choices"),
    [
        ("instruction input output text", ["completion", "text"]),  # Alpaca with its prompts written out
        ("source target text", ["pairs", "text"]),
        ("messages text", ["messages", "text"]),
        ("document summary question answer", ["completion", "pairs"]),
    ],
)
def test_what_may_be_meant_in_two_ways_is_asked_for(columns: str, choices: list[str]) -> None:
    with pytest.raises(InputError, match="ambiguous") as caught:
        recognize(columns.split())
    for choice in choices:
        assert f"objective={choice}" in str(caught.value)
        assert recognize(columns.split(), objective=choice).objective == choice


def test_what_is_not_recognized_names_the_columns() -> None:
    with pytest.raises(InputError, match=r"its columns are headline, body, "):
        recognize(["headline", "body"])
    with pytest.raises(InputError, match=r"its columns are none"):
        recognize([])
    with refuses("objective", "pairs", "'pair'"):
        recognize(["text"], objective="pair")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("promt completion", "(did you mean prompt for promt?)"),
        ("instrution input ouput", "(did you mean instruction for instrution, output for ouput?)"),
        ("id mesages", "(did you mean messages for mesages?)"),
        ("texts", "(did you mean text for texts?)"),
        # Of no use without the other half.
        ("promt reply", "objective; give"),
        ("headline body", "objective; give"),
    ],
)
def test_a_column_that_is_nearly_one_is_asked_after(columns: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        recognize(columns.split())
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "mapping", "objective", "names"),
    [
        ("body headline", "source=body target=headline", "pairs", "source=body target=headline"),
        ("body text", "text=body", "text", "text=body"),
        ("ask reply", "prompt=ask completion=reply", "completion", "prompt=ask completion=reply"),
        # Roles that keep their names need not be mapped.
        ("ask completion", "prompt=ask", "completion", "prompt=ask completion=completion"),
        ("task more reply", "prompt=task input=more completion=reply", "completion", "input=more"),
        ("turns", "messages=turns", "messages", "messages=turns"),
        ("q passage gold", "question=q context=passage answers=gold", "answers", "answers=gold"),
        ("better worse", "chosen=better rejected=worse", "preference", "chosen=better rejected=worse"),
    ],
)
def test_a_map_says_which_column_is_which(columns: str, mapping: str, objective: str, names: str) -> None:
    pairs = dict(pair.split("=") for pair in mapping.split())
    found = recognize(columns.split(), pairs)
    assert found.objective == objective
    assert dict(pair.split("=") for pair in names.split()).items() <= found.names.items()


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        ({"sorce": "body"}, "no role 'sorce'; did you mean source?"),
        ({"zzz": "body"}, "no role 'zzz'; the roles are "),
        ({"source": "bdy"}, "no column 'bdy'; did you mean body?"),
        ({"source": "zzz"}, "no column 'zzz'; its columns are body, headline"),
        ({"source": "body"}, "source=body: these roles alone fit no objective"),
        ({"source": "body", "text": "headline"}, "these roles alone fit no objective"),
    ],
)
def test_a_map_that_says_nothing_is_refused(mapping: dict[str, str], reason: str) -> None:
    with refuses("mapping", reason):
        recognize(["body", "headline"], mapping)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def rows(*made: Any) -> Path:
        file = tmp_path / "rows.jsonl"
        file.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in made), "utf-8")
        return file

    return rows


def test_the_rows_of_a_file_have_the_same_columns(write: Callable[..., Path]) -> None:
    file = write({"text": "a"}, {"text": "b", "more": 1}, {"body": "c"})
    with pytest.raises(InputError, match=r"rows.jsonl:3: no column 'text', but the rows before"):
        read_source([file])
    source = read_source([file], on_error="skip")
    assert [row.data["text"] for row in source.rows] == ["a", "b"]
    assert source.summary.rows == 3
    assert len(source.summary.skipped) == 1


@pytest.mark.parametrize("first", [0, 1], ids=["with it first", "without it first"])
def test_a_column_that_may_be_missing_is_read_where_it_is(write: Callable[..., Path], first: int) -> None:
    """Alpaca's rows leave out an input that is empty, or do not."""
    rows = [
        {"instruction": "Say.", "input": "dog", "output": "dog"},
        {"instruction": "Say moon.", "output": "moon"},
    ]
    source = read_source([write(rows[first], rows[1 - first])])
    assert source.columns.names == {"prompt": "instruction", "input": "input", "completion": "output"}
    assert len(source.rows) == 2


def test_a_broken_line_is_reported_with_its_place(write: Callable[..., Path]) -> None:
    file = write({"text": "a"}, {"text": "b"}, '{"text": "c"')
    with pytest.raises(InputError, match=r"rows.jsonl:3: "):
        read_source([file])
    assert [line.partition(": ")[0] for line in read_source([file], on_error="skip").summary.skipped] == [
        f"{file}:3"
    ]


def test_no_row_at_all_is_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"rows.jsonl is empty"):
        read_source([write()])
    with pytest.raises(InputError, match=r"no usable row: .*rows.jsonl:1: "):
        read_source([write("{")], on_error="skip")


def test_rows_with_the_same_question_are_held_out_together(write: Callable[..., Path]) -> None:
    file = write(*({"prompt": f"p{i % 10}", "completion": f"c{i}"} for i in range(40)))
    source = read_source([file])
    train, held = source.split(0.2, seed=1)
    assert (len(train.rows), len(held.rows), held.summary.rows) == (32, 8, 8)
    assert not {row.data["prompt"] for row in train.rows} & {row.data["prompt"] for row in held.rows}
    # Chosen by what they say, not by where they stand.
    other = read_source([write(*(row.data for row in reversed(source.rows)))]).split(0.2, seed=1)[1]
    assert {row.data["completion"] for row in other.rows} == {row.data["completion"] for row in held.rows}
    assert source.split(0.2, seed=2)[1].rows != held.rows
    assert source.split(0.0, seed=1)[1].rows == []
    with refuses("eval_split"):
        read_source([write({"prompt": "a", "completion": "b"})]).split(0.5, seed=1)


def test_a_source_is_known_again_by_its_rows(write: Callable[..., Path]) -> None:
    rows = [{"text": "a"}, {"text": "b"}]
    known = read_source([write(*rows)]).fingerprint()
    assert read_source([write(*rows)]).fingerprint() == known
    assert read_source([write(*rows[::-1])]).fingerprint() != known


@pytest.mark.parametrize("name", ["story.txt", "STORY.TXT", "story.en", "story.lines"])
def test_blank_lines_between_paragraphs_are_no_rows(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("The dog.\n\n \nThe cat.\n", encoding="utf-8")
    source = read_source([file])
    assert [row.data["text"] for row in source.rows] == ["The dog.", "The cat."]
    assert source.summary.rows == 2
    assert source.rows[1].where.endswith(f"{name}:4")


def test_rows_that_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the system ends the process: all rows of a finetuning are in memory."""
    import psutil

    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a"}\n' * 5000)
    assert len(read_source([file]).rows) == 5000
    full = psutil.virtual_memory()._replace(available=100 << 20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: full)
    with pytest.raises(LLMKitError, match=r"rows\.jsonl.*memory"):
        read_source([file])
