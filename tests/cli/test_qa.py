"""`llmkit qa` as its user meets it."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.command import ROOT, assert_refused, rows_of, run, spawn
from tests.conftest import TinyModel
from tests.span_model import make_span_model
from tests.text.documents.test_packages import PACKAGES, package, pdf
from tests.tiny import make_model

ASK = ("--question", "where was it?")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_span_model(tmp_path_factory.mktemp("spans"), positions=384)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    file = tmp_path / "book.txt"
    file.write_bytes(b"it was the cafe.\r\nit was\tLisbon.\r\n")
    return file


def test_the_answer_stands_alone_on_stdout(model: Path, book: Path) -> None:
    result = run("qa", "-m", model, *ASK, "--context", book)
    assert (result.code, result.out, result.err) == (0, "Lisbon\n", "")


def test_json_has_the_place_in_the_file(model: Path, book: Path) -> None:
    (row,) = rows_of(run("qa", "-m", model, *ASK, "--context", book, "--json").out)
    assert row == {
        "question": "where was it?", "answer": "Lisbon", "score": row["score"], "start": 25, "end": 31,
        "file": str(book), "line": 2, "place": "line 2",
    }  # fmt: skip
    assert book.read_bytes().decode()[25:31] == "Lisbon"


def test_the_context_comes_from_stdin(model: Path) -> None:
    text = "it was\tLisbon."
    assert run("qa", "-m", model, *ASK, stdin=text).out == "Lisbon\n"
    assert run("qa", "-m", model, *ASK, "--context", "-", stdin=text).out == "Lisbon\n"


def test_several_questions_and_answers(model: Path, book: Path, tmp_path: Path) -> None:
    result = run("qa", "-m", model, *ASK, "--question", "who?", "--context", book)
    assert result.out == f"where was it?\t{book}:2\tLisbon\nwho?\t{book}:2\tLisbon\n"
    lines = run("qa", "-m", model, *ASK, "--context", book, "--top-k", "3").out.splitlines()
    assert lines[0] == "Lisbon"
    assert len(lines) == 3
    expected = f"where?\t{book}:2\tLisbon\nwho?\t{book}:2\tLisbon\n"
    assert run("qa", "-m", model, "--context", book, stdin="where?\nwho?\n").out == expected
    (tmp_path / "questions.list").write_text("where?\nwho?\n")
    assert run("qa", "-m", model, tmp_path / "questions.list", "--context", book).out == expected
    assert run("qa", "-m", model, "--context", book, stdin="where?\n").out == "Lisbon\n"
    assert run("qa", "-m", model, "where?", "--context", book).out == "Lisbon\n"
    assert run("qa", "-m", model, "where?", stdin="it was\tLisbon.").out == "Lisbon\n"


def test_a_line_break_in_a_name_forges_no_answer(model: Path, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("it was the cafe.\n")
    (tmp_path / "a.txt:1: forged\nb.txt").write_text("it was\tLisbon.\n")
    place = f"{tmp_path}/a.txt:1: forged\\nb.txt:1"
    asked = ("qa", "-m", model, *ASK, "--context", tmp_path)
    assert run(*asked).out == f"{place}: Lisbon\n"
    assert run(*asked, "--question", "who?").out.splitlines()[0] == f"where was it?\t{place}\tLisbon"


def test_of_several_files_the_answer_names_its_own(model: Path, book: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("it was the cafe.\n")
    expected = f"{book}:2: Lisbon\n"
    assert run("qa", "-m", model, *ASK, "--context", other, "--context", book).out == expected
    assert run("qa", "-m", model, *ASK, "--context", tmp_path).out == expected


def test_a_folder_of_documents_tells_page_and_place_and_lists_what_is_no_text(
    model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    files = {
        "a.pdf": pdf("it was the cafe."), "b.docx": PACKAGES["docx"], "c.epub": PACKAGES["epub"],
        "broken.pdf": b"%PDF-1.4 broken", "empty.txt": b"", "photo.jpg": b"\xff\xd8\0\1",
        "null.txt": b"it was Zara\0quill", "esc\x1b[31m.txt": b"\xff", "d.html": b"<p>it was the cafe",
    }  # fmt: skip
    for name, data in files.items():
        (folder / name).write_bytes(data)
    ask = ("qa", "-m", model, *ASK, "--context", folder)
    for name, data, place in (
        ("a.pdf", pdf("it was Lisbon."), "a.pdf p. 1: Lisbon"),
        ("b.docx", PACKAGES["docx"], "b.docx paragraph 2: Lisbon"),
        ("d.html", b"<h1>Where</h1>\n<p>it was\n<b>Lisbon</b>.", "d.html:2: Lisbon"),
        ("notes.md", b"# A\n\nit was `Lisbon`.", "notes.md:3: Lisbon"),
    ):
        if name == "b.docx":
            data = package_with(data, "Plain text", "it was Lisbon")
        (folder / name).write_bytes(data)
        result = run(*ask)
        assert (result.code, result.out) == (0, f"{folder}/{place}\n"), result.err
        (folder / name).write_bytes(files.get(name, b"no place"))
    left_out = [line for line in result.err.splitlines() if "skipped" in line]
    assert len(left_out) == 5
    for name in ("broken.pdf", "empty.txt", "photo.jpg", "null.txt", "esc\\x1b[31m.txt"):
        assert any(name in line for line in left_out), name
    assert "\x1b" not in result.err


def package_with(data: bytes, old: str, new: str) -> bytes:
    """The same package with another text in its members."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        return package(
            {one: source.read(one).replace(old.encode(), new.encode()) for one in source.namelist()}
        )


def test_an_index_reads_a_folder_once(model: Path, tiny_model: TinyModel, tmp_path: Path) -> None:
    folder, index = tmp_path / "docs", tmp_path / "docs" / "index"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.md").write_text(f"it was the cafe number {i}.\n" * 40)
    (folder / "3.md").write_text("it was Lisbon.")
    ask = ("qa", "-v", "-m", model, *ASK, "--context", folder, "--index", index)
    rank = ("--rank", tiny_model("bert"))
    plain = run("qa", "-m", model, *ASK, "--context", folder)
    first = run(*ask, *rank)
    assert first.out == plain.out == f"{folder}/3.md:1: Lisbon\n"
    assert "4 files read, 0 from the index" in first.err
    (vectors,) = index.glob("vectors-*.safetensors")
    before = vectors.read_bytes()
    again = run(*ask, *rank)
    assert again.out == first.out
    assert "0 files read, 4 from the index" in again.err
    assert vectors.read_bytes() == before
    # A new time alone is no change; a new text is; a file that is gone leaves the index.
    os.utime(folder / "1.md", ns=(1, 1))
    (folder / "3.md").write_text("it was Zara quill.")
    (folder / "2.md").unlink()
    changed = run(*ask, *rank)
    assert changed.out == f"{folder}/3.md:1: Zara quill\n"
    assert "1 file read, 2 from the index" in changed.err
    assert len(list((index / "texts").iterdir())) == 3
    for path in (*(index / "texts").iterdir(), index / "index.json", vectors):
        path.write_bytes(b"{damaged")
    assert run(*ask, *rank).out == changed.out
    assert_refused(run("qa", "-m", model, *ASK, "--context", folder, "--index", tmp_path), "other files")
    # A run that fails, or is killed at its first write, leaves an index for the next one.
    failed, killed = tmp_path / "failed", tmp_path / "killed"
    assert_refused(run("qa", "-m", model, *ASK, "--context", tmp_path / "none", "--index", failed), "none")
    killed.mkdir()
    (killed / ".index.json.partial").write_bytes(b"{")
    for left in (failed, killed):
        assert run("qa", "-m", model, *ASK, "--context", folder, "--index", left).code == 0


def test_no_answer_is_refused_by_a_model_that_always_answers(book: Path, model: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(model, own)
    asked = ("qa", "-m", own, *ASK, "--context", book, "--no-answer")
    for card, code in (("datasets: [squad]", 2), ("datasets: [squad, squad_v2]", 0), ("license: mit", 0)):
        (own / "README.md").write_text(f"---\n{card}\n---\nA model of SQuAD 2.")
        assert run(*asked).code == code
    (own / "README.md").write_text("---\ndatasets: [squad]\n---\n")
    assert_refused(run(*asked), "SQuAD 2", option="no_answer")


def test_the_embedded_reader_says_that_there_is_no_answer(book: Path) -> None:
    found = run("qa", "Where do elephants live?", "--context", book, "--no-answer", "--json")
    assert found.code == 0
    assert json.loads(found.out)["answer"] == ""


def test_no_answer_is_an_empty_line(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text("it was the cafe.")
    assert run("qa", "-m", model, *ASK, "--context", file, "--no-answer").out == "\n"
    assert run("qa", "-m", model, *ASK, "--context", file).out != "\n"
    sure = ("--no-answer", "--no-answer-threshold", "0.9")
    assert run("qa", "-m", model, *ASK, "--context", file, *sure).out != "\n"


def test_rows_keep_their_columns_and_order(model: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows = [
        {"id": i, "question": "where?", "context": "it was the cafe. " * (i % 5) + "Zara, quill"}
        for i in range(20)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("qa", "-m", model, "--input", file, "-o", out)
    assert result.code == 0, result.err
    written = rows_of(out.read_text())
    assert [{name: row[name] for name in rows[0]} for row in written] == rows
    for row in written:
        assert row["answer"] == "Zara, quill"
        assert str(row["context"])[row["start"] : row["end"]] == "Zara, quill"  # type: ignore[misc]
    assert "finished already" in run("qa", "-m", model, "--input", file, "-o", out, "--resume").err


def test_an_interrupted_run_resumes_to_the_same_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, whole, out = tmp_path / "rows.jsonl", tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    rows = [{"question": f"who {i}?", "context": "it was the cafe, " * i + "lisbon"} for i in range(12)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("qa", "-m", model, "--input", file, "--batch-size", "3")
    assert run(*arguments, "-o", whole).code == 0
    from llmkit.tasks.qa.reader import SpanReader

    answer, calls = SpanReader.answer, []

    def interrupted(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answer(*given)

    monkeypatch.setattr(SpanReader, "answer", interrupted)
    assert run(*arguments, "-o", out).code == 130
    assert not out.exists()
    assert run(*arguments, "-o", out, "--resume").code == 0
    assert len(calls) == 3 + 2
    assert out.read_bytes() == whole.read_bytes()


def test_a_bad_row_is_skipped_with_its_reason(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "where?", "context": " "}\n{"question": "where?", "context": "lisbon"}\n')
    assert_refused(run("qa", "-m", model, "--input", file), "rows.jsonl:1: the context is empty")
    result = run("qa", "-m", model, "--input", file, "--on-error", "skip", "--json")
    assert result.code == 3
    first, second = rows_of(result.out)
    assert first["error"] == "the context is empty"
    assert second["answer"] == "lisbon"


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        ([], None, "no question: give QUESTION"),
        (["where?", "--question", "who?", "--context", "BOOK"], None, "a question and --question"),
        (["where?", "--input", "x.jsonl"], None, "a question and --input"),
        (["gone.txt", "--context", "BOOK"], None, "gone.txt: no such file"),
        (["where?", "--index", "new"], "it was Lisbon.", "--index stores the files of --context"),
        ([*ASK], None, "no context: give it with --context FILE"),
        ([*ASK], "  \n", "stdin is empty, or contains only white space"),
        ([*ASK], "", "stdin is empty"),
        (["--question", " ", "--context", "BOOK"], None, "question:1: the question is empty"),
        (["--context", "BOOK"], None, "no input: give"),
        (["--context", "-"], "text", "no question: give QUESTION"),
        (["--input", "-", "--context", "-"], "text", "stdin can be read only once"),
        ([*ASK, "--input", "x.jsonl"], None, "--question and --input"),
        ([*ASK, "--context", "gone.txt"], None, "gone.txt"),
        ([*ASK, "--context", "BOOK", "--top-k", "0"], None, "--top-k must be 1 or more"),
        ([*ASK, "--context", "BOOK", "--no-answer-threshold", "0.5"], None, "needs --no-answer"),
        ([*ASK, "--context", "BOOK", "--window", "9999"], None, "reads at most 384 tokens"),
        ([*ASK, "--context", "BOOK", "--passages", "0"], None, "--passages must be 1 or more"),
    ],
)
def test_bad_usage(model: Path, book: Path, arguments: list[str], stdin: str | None, said: str) -> None:
    given = [str(book) if argument == "BOOK" else argument for argument in arguments]
    assert_refused(run("qa", "-m", model, *given, stdin=stdin), said)


def test_a_model_must_be_of_the_right_kind(tiny_model: TinyModel, model: Path, book: Path) -> None:
    assert_refused(run("qa", "-m", tiny_model("gpt2"), *ASK, "--context", book), "use `llmkit generate`")
    assert_refused(run("qa", "-m", tiny_model("t5"), *ASK, "--context", book), "use `llmkit translate`")


def test_options_for_the_other_kind_of_model_are_refused(
    tiny_model: TinyModel, model: Path, book: Path
) -> None:
    chat = ["qa", "-m", tiny_model("llama", chat=True), *ASK, "--context", book]
    for option in ("max_answer_tokens", "window", "doc_stride"):
        assert_refused(run(*chat, f"--{option.replace('_', '-')}", "9"), "extractive", option=option)
    assert_refused(run(*chat, "--num-return-sequences", "2"), option="num_return_sequences")
    assert_refused(run(*chat, "--top-p", "0"), option="top_p")

    reader = ["qa", "-m", model, *ASK, "--context", book]
    options = (
        ("temperature", "1"),
        ("max_new_tokens", "9"),
        ("top_p", "0.5"),
        ("stop", "x"),
        ("num_beams", "2"),
    )
    for option, value in options:
        assert_refused(run(*reader, f"--{option.replace('_', '-')}", value), "chat", option=option)


def test_a_chat_model_answers_too(tmp_path_factory: pytest.TempPathFactory, book: Path) -> None:
    chat = make_model("llama", tmp_path_factory.mktemp("chat"), chat=True)
    config = json.loads((chat / "config.json").read_text())
    (chat / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 512}))
    ask = ("qa", "-m", chat, *ASK, "--context", book, "--max-new-tokens", "5")
    result = run(*ask)
    assert result.code == 0, result.err
    assert result.out.count("\n") == 1
    stop = result.out[3]
    assert run(*ask, "--stop", stop).out.strip() == result.out.partition(stop)[0].strip()
    assert result.err == "llmkit: answers without a quotation from the context: 1\n"
    (row,) = rows_of(run(*ask, "--json").out)
    assert row == {
        "question": ASK[1], "answer": row["answer"], "score": None, "start": None, "end": None,
        "quotation": None, "file": None, "line": None, "place": None,
    }  # fmt: skip


def test_generate_sends_its_user_here(model: Path) -> None:
    assert_refused(run("generate", "-m", model, "x"), "use `llmkit qa`")


def test_a_novel_goes_through_whole(model: Path, data_folder: Path, tmp_path: Path) -> None:
    """The answer stands once, near the end of 100,000 words, and its offsets slice to it."""
    text = (data_folder / "lm" / "sherlock.txt").read_bytes().decode("utf-8-sig").replace("Lisbon", "London")
    assert len(text.split()) > 100_000
    file = tmp_path / "novel.txt"
    place = text.rindex("\n", 0, len(text) - 5000)
    text = f"{text[:place]} Lisbon {text[place:]}"
    file.write_bytes(text.encode())
    done = spawn("qa", "-m", model, *ASK, "--context", file, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = rows_of(done.stdout)
    assert row["answer"] == "Lisbon"
    assert text[row["start"] : row["end"]] == "Lisbon"  # type: ignore[misc]
    assert row["start"] == place + 1
    # Of all children of this process, in KiB: torch alone takes about 400 MiB.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2 * 2**20


def test_without_a_model_the_embedded_reader_answers() -> None:
    story = ROOT / "examples" / "story.txt"
    result = run("qa", "--question", "Who came out of the grass?", "--context", story)
    assert (result.code, result.out) == (0, "a duck\n")
