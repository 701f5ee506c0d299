"""`llmkit translate` with documents: files, folders, standard input, and runs that are killed.

The models have random weights: whatever they write, the structure of the documents stays.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmkit.text.documents import skeleton
from tests.command import assert_refused, run
from tests.conftest import TinyModel
from tests.parity.folders import make_folder
from tests.text.documents.samples import HTML, MARKDOWN, PO, SRT

PAIR = ("--from", "en", "--to", "de", "--max-new-tokens", "4", "-q")
FILES = {"a.md": MARKDOWN, "sub/b.html": HTML, "sub/c.srt": SRT, "d.po": PO}


@pytest.fixture(scope="module")
def marian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder("marian", tmp_path_factory.mktemp("marian"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="")
    (tmp_path / "docs" / "picture.png").write_bytes(b"\x89PNG\0")
    (tmp_path / "docs" / ".git").mkdir()
    (tmp_path / "docs" / ".git" / "x.md").write_text("Hidden text")
    return tmp_path / "docs"


def written(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_a_folder_keeps_its_tree_and_each_document_its_structure(
    marian: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run("translate", "-m", marian, *PAIR, folder, "-o", out, "--on-error", "skip")
    assert result.code in {0, 3}, result.err
    assert result.out == ""
    found = written(out)
    assert sorted(found) == sorted(f"docs/{name}" for name in FILES)
    for name, content in FILES.items():
        format = parse_format(name)
        assert skeleton(found[f"docs/{name}"], format) == skeleton(content, format)
        assert found[f"docs/{name}"] != content.encode()


def parse_format(name: str) -> str:
    return name.rpartition(".")[2]


def test_one_document_goes_to_stdout_or_to_a_file(marian: Path, folder: Path, tmp_path: Path) -> None:
    arguments = ("translate", "-m", marian, *PAIR, "--on-error", "skip")
    shown = run(*arguments, folder / "a.md")
    assert skeleton(shown.out, "md") == skeleton(MARKDOWN, "md")
    assert run(*arguments, "--format", "md", stdin=MARKDOWN).out == shown.out
    for output, path in ((tmp_path / "x.md", "x.md"), (tmp_path / "new", "new/a.md")):
        assert run(*arguments, folder / "a.md", "-o", output).code == shown.code
        assert (tmp_path / path).read_bytes() == shown.out.encode()
    assert not list(tmp_path.rglob(".*segments*"))


def test_line_breaks_of_unicode_do_not_end_a_row(marian: Path) -> None:
    text = "A dog\x85is here.\u2028It barks.\n"
    result = run("translate", "-m", marian, *PAIR, "--on-error", "skip", "--format", "txt", stdin=text)
    assert result.code in {0, 3}, result.err
    assert result.out.endswith("\n")


def test_what_exists_is_kept(marian: Path, folder: Path, tmp_path: Path) -> None:
    arguments = (
        "translate",
        "-m",
        marian,
        *PAIR,
        folder / "d.po",
        "-o",
        tmp_path / "out.po",
        "--on-error",
        "skip",
    )
    assert run(*arguments).code in {0, 3}
    first = (tmp_path / "out.po").read_bytes()
    assert_refused(run(*arguments), "out.po", option="overwrite")
    assert run(*arguments, "--resume").code == 0
    (tmp_path / "out.po").write_text("old")
    assert run(*arguments, "--overwrite").code in {0, 3}
    assert (tmp_path / "out.po").read_bytes() == first


def test_terms_are_kept_and_unmet_glossary_terms_listed(marian: Path, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("The sea by Acme is here.\n")
    (tmp_path / "keep.txt").write_text("Acme\n")
    (tmp_path / "terms.tsv").write_text("sea\tMeer\nAcme\tGipfel\n")
    flags = PAIR[:-1]
    result = run(
        "translate", "-m", marian, *flags, tmp_path / "a.md", "--keep", tmp_path / "keep.txt",
        "--glossary", tmp_path / "terms.tsv", "--on-error", "skip",
    )  # fmt: skip
    assert result.out.count("Acme") == 1
    assert result.out.count("Meer") == 1
    assert "Acme -> Gipfel: missing in 1 of 1 segments" in result.err
    assert "sea -> Meer" not in result.err


def test_a_text_takes_a_glossary_too(tmp_path: Path) -> None:
    (tmp_path / "terms.tsv").write_text("book\tBand\n")
    arguments = ("translate", "--from", "en", "--to", "de", "--glossary", tmp_path / "terms.tsv")
    assert run(*arguments, "Where is my book?").out == "Wo ist mein Band?\n"
    assert run(*arguments, stdin="Where is my book?\n").out == "Wo ist mein Band?\n"
    assert_refused(run(*arguments, "--input", "x.jsonl"), option="glossary")


def test_markup_goes_to_the_words_that_the_model_aligns(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Where is my **new book**? The [black](x.md) dog is here.\n")
    result = run("translate", "--from", "en", "--to", "de", tmp_path / "a.md")
    assert (result.code, result.err) == (0, "")
    assert result.out == "Wo ist mein **neues Buch**? Der [schwarze](x.md) Hund ist hier.\n"


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        (["no/such.md"], ["no/such.md"]),
        (["{docs}/a.md", "{docs}/nothing.md"], ["nothing.md"]),
        (["{docs}"], ["--output"]),
        (["{docs}/a.md", "{docs}/d.po"], ["--output"]),
        (["{docs}/a.md", "--format", "rtf"], ["--format rtf"]),
        (["{docs}/a.md", "--json"], ["--json"]),
        (["{docs}/a.md", "--lines"], ["--lines"]),
        (["A text", "--reflow"], ["--reflow"]),
        (["{docs}/a.md", "{docs}/sub/../a.md", "-o", "out"], ["a.md"]),
        (["{docs}/.git/../picture.png", "--format", "docx"], ["picture.png", "zip"]),
    ],
)
def test_refusals(folder: Path, arguments: list[str], mentions: list[str]) -> None:
    given = [one.replace("{docs}", str(folder)) for one in arguments]
    assert_refused(run("translate", *PAIR, *given), *mentions)


def test_finished_documents_are_proven_and_compared(
    tiny_model: TinyModel, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("translate", "-m", tiny_model("t5"), *PAIR[:4], "--on-error", "skip", folder, "-o", out)
    limit = ("--max-new-tokens", "3")
    assert run(*command, *limit).code in {0, 3}
    assert "finished already" in run(*command, *limit, "--resume").err
    assert_refused(run(*command, "--max-new-tokens", "2", "--resume", "-q"), "max_new_tokens")
    page = out / folder.name / "a.md"
    whole = page.read_bytes()
    page.write_bytes(whole + b"mine")
    assert_refused(run(*command, *limit, "--resume", "-q"), "a.md", option="overwrite")
    assert page.read_bytes() == whole + b"mine"


def test_a_user_s_own_file_of_segments_is_not_replaced(
    tiny_model: TinyModel, folder: Path, tmp_path: Path
) -> None:
    own = tmp_path / "out/.segments.jsonl"
    own.parent.mkdir()
    for content in ("my notes", '{"mine": 1}\n'):
        own.write_text(content)
        for flag in ("--resume", "--overwrite"):
            command = ("translate", "-m", tiny_model("t5"), *PAIR, folder, "-o", own.parent, flag)
            assert_refused(run(*command), ".segments.jsonl")
        assert own.read_text() == content


@pytest.mark.slow
def test_killed_runs_resume_byte_for_byte(tiny_model: TinyModel, tmp_path: Path) -> None:
    file, out = tmp_path / "a.md", tmp_path / "out.md"
    file.write_text("".join(f"{'The *cat* ' * (i % 4 + 1)} {i}.\n\n" for i in range(60)))
    arguments = ("translate", "-m", tiny_model("t5"), *PAIR, "--on-error", "skip", "--batch-size", "3", file)
    command = [sys.executable, "-m", "llmkit", *map(str, arguments), "-o", str(out), "--resume"]
    journal = tmp_path / ".out.md.segments.jsonl.journal"
    for batches in (1, 4):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            for _ in range(12000):
                if journal.exists() and journal.read_bytes().count(b'{"batch"') >= batches:
                    break
                time.sleep(0.01)
            process.kill()
        assert not out.exists()
    resumed = run(*arguments, "-o", out, "--resume")
    whole = run(*arguments, "-o", tmp_path / "whole.md")
    assert resumed.code == whole.code
    assert whole.code in {0, 3}
    assert out.read_bytes() == (tmp_path / "whole.md").read_bytes()
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("stdin", [False, True])
def test_a_document_beyond_the_limit_is_refused(
    stdin: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmkit.cli import translate

    monkeypatch.setattr(translate, "_MAX_DOCUMENT", 1000)
    (tmp_path / "a.md").write_text("word " * 300)
    if stdin:
        result = run("translate", *PAIR, "--format", "md", stdin="word " * 300)
    else:
        result = run("translate", *PAIR, tmp_path / "a.md")
    assert_refused(result, "stdin" if stdin else "a.md", "limit")


def test_a_zipped_document_is_not_written_to_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests import command

    monkeypatch.setattr(command._Captured, "isatty", lambda _: True)
    (tmp_path / "a.docx").write_bytes(b"PK")
    assert_refused(run("translate", *PAIR, tmp_path / "a.docx"), "terminal", option="output")
