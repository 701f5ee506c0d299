"""The meaning of arguments and of standard input, the same in every verb: each cell of the contract's table.

| verb | argument | standard input without an argument |
|---|---|---|
| generate, translate, summarize, chat | TEXT, FILE or (translate, summarize) several FILEs and folders | one text; `--lines`: each line is one |
| qa | QUESTION, FILE of questions, with `--context FILE, DIR or -` | questions, one a line |
"""  # noqa: E501

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import assert_refused, rows_of, run
from tests.conftest import TinyModel
from tests.parity.folders import make_folder
from tests.span_model import make_span_model

Commands = dict[str, tuple[str, ...]]
TEXT = "The cat sat on the mat. The moon looked back."
VERBS = ["generate", "translate", "summarize", "chat"]
RESULTS = {
    "generate": "generated_text", "chat": "generated_text", "translate": "translation_text",
    "summarize": "summary_text",
}  # fmt: skip
FIELDS = {"generate": "prompt", "chat": "prompt", "translate": "text", "summarize": "text"}


@pytest.fixture(scope="module")
def commands(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """The command of each verb, with a tiny model and short answers."""
    chat, marian = (
        str(tiny_model("llama", chat=True)),
        str(make_folder("marian", tmp_path_factory.mktemp("m"))),
    )
    short = ("--max-new-tokens", "6", "-q")
    return {
        "generate": ("generate", "-m", str(tiny_model("gpt2")), *short),
        "translate": ("translate", "-m", marian, "--from", "en", "--to", "de", *short),
        "summarize": ("summarize", "--min-words", "5"),
        "chat": ("chat", "-m", chat, *short),
        "qa": ("qa", "-m", str(make_span_model(tmp_path_factory.mktemp("s"), positions=128)), "-q"),
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text(TEXT + "\n")
    return path


@pytest.mark.parametrize("verb", VERBS)
def test_text_file_and_stdin_are_the_same_text(verb: str, commands: Commands, file: Path) -> None:
    expected = run(*commands[verb], TEXT)
    assert expected.code == 0, expected.err
    assert expected.out.strip()
    assert run(*commands[verb], file).out == expected.out
    assert run(*commands[verb], stdin=TEXT + "\n").out == expected.out
    assert run(*commands[verb], "-", stdin=TEXT + "\n").out == expected.out


@pytest.mark.parametrize("verb", VERBS)
def test_an_argument_is_read_and_not_stdin(verb: str, commands: Commands) -> None:
    assert run(*commands[verb], TEXT, stdin="Something else.").out == run(*commands[verb], TEXT).out


@pytest.mark.parametrize("verb", VERBS)
def test_lines_makes_each_line_a_text(verb: str, commands: Commands, tmp_path: Path) -> None:
    lines = "The cat sat on the mat.\nThe moon looked back at it.\n"
    found = run(*commands[verb], "--lines", "--json", stdin=lines)
    rows = rows_of(found.out)
    assert [row[FIELDS[verb]] for row in rows] == lines.splitlines()
    alone = run(*commands[verb], lines.splitlines()[1]).out.strip()
    assert " ".join(rows[1][RESULTS[verb]].split()) == " ".join(alone.split())
    if verb != "translate":  # a file of lines is a document of lines there
        (tmp_path / "x.list").write_text(lines)
        assert run(*commands[verb], "--lines", "--json", tmp_path / "x.list").out == found.out


@pytest.mark.parametrize("name", ["train.en", "a.de", "dev.zh-Hant", "x.list", "hyp.de.gz"])
def test_names_of_parallel_texts_are_lines(name: str, commands: Commands, tmp_path: Path) -> None:
    import gzip

    data = b"The cat.\nThe moon.\n"
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    found = run(*commands["translate"], "--input", tmp_path / name, "--json")
    assert [row["text"] for row in rows_of(found.out)] == ["The cat.", "The moon."]
    if not name.endswith(".gz"):
        document = run(*commands["translate"], tmp_path / name)
        assert document.out.count("\n") == 2


@pytest.mark.parametrize("verb", [*VERBS, "qa"])
@pytest.mark.parametrize(
    "path", ["film.srt", "./notes", "/no/such/file", "a/b.md", "~/x", "gone.jsonl", "train.en"]
)
def test_a_path_that_does_not_exist_is_no_text(verb: str, path: str, commands: Commands) -> None:
    more = ("--context", "README.md") if verb == "qa" else ()
    assert_refused(run(*commands[verb], path, *more), path, "no such file")


@pytest.mark.parametrize(
    "text", ["and/or", "Node.js", "e.g.", "3.5", "https://x.org/a.md", "See film.srt", "U.S."]
)
def test_a_text_with_dots_and_slashes_is_a_text(text: str, commands: Commands) -> None:
    assert run(*commands["generate"], text).code == 0


@pytest.mark.parametrize("verb", VERBS)
def test_files_that_are_no_text(verb: str, commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "empty.txt").write_text(" \n")
    assert_refused(run(*commands[verb], tmp_path / "rows.jsonl"), "rows.jsonl", option="input")
    assert run(*commands[verb], tmp_path / "empty.txt").code == 2
    if verb in {"generate", "chat"}:
        (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4")
        (tmp_path / "null.txt").write_bytes(b"a\0b")
        for name in ("a.pdf", "null.txt"):
            assert_refused(run(*commands[verb], tmp_path / name), name)
        assert_refused(run(*commands[verb], tmp_path), "folder")


@pytest.mark.parametrize("verb", ["translate", "summarize"])
def test_several_files_and_folders(verb: str, commands: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("a.md", "b.txt"):
        (folder / name).write_text(TEXT)
    out = tmp_path / ("out" if verb == "translate" else "out.jsonl")
    for given in ([folder], [folder / "a.md", folder / "b.txt"]):
        done = run(*commands[verb], *given, "-o", out, "--overwrite", "--on-error", "skip")
        assert done.code == 0, done.err
    if verb == "summarize":
        assert [Path(row["file"]).name for row in rows_of(out.read_text())] == ["a.md", "b.txt"]
    else:
        assert {path.name for path in out.rglob("*.*")} == {"a.md", "b.txt"}


def test_rows_on_stdin_are_one_text_and_a_notice_says_so(commands: Commands) -> None:
    loud = [part for part in commands["chat"] if part != "-q"]
    result = run(*loud, stdin='{"prompt": "Hello"}\n')
    assert result.code == 0
    assert "--input -" in result.err


def test_qa_takes_questions(commands: Commands, tmp_path: Path) -> None:
    book, asked = tmp_path / "book.txt", tmp_path / "asked.txt"
    book.write_text("it was Lisbon.")
    asked.write_text("where?\nwho?\n")
    both = f"where?\t{book}:1\tLisbon\nwho?\t{book}:1\tLisbon\n"
    qa = commands["qa"]
    assert run(*qa, "where?", "--context", book).out == "Lisbon\n"
    assert run(*qa, "where?", "--context", "-", stdin="it was Lisbon.").out == "Lisbon\n"
    assert run(*qa, "where?", stdin="it was Lisbon.").out == "Lisbon\n"
    assert run(*qa, "where?", "--context", tmp_path / "book.txt", stdin="not read").out == "Lisbon\n"
    assert run(*qa, asked, "--context", book).out == both
    assert run(*qa, "--context", book, stdin="where?\nwho?\n").out == both
    assert run(*qa, "-", "--context", book, stdin="where?\nwho?\n").out == both
