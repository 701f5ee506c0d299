"""`llmkit summarize` as its user meets it: a file, stdin, rows; with a model and without one."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import ROOT, assert_refused, rows_of, run, spawn
from tests.conftest import TinyModel
from tests.text.documents.test_packages import PACKAGES, pdf

NEWS = (
    "Heavy snow fell on the city of Bern last night. The snow closed the roads of the city for hours."
    " My aunt prefers tea. Buses and trams of the city stood still in the snow until noon."
    " A bakery gave away bread. The city sent ploughs to clear the snow from the roads.\n"
)
LONG = "\n\n".join(f"The cat number {i} sat on the mat. It looked at the moon {i} times." for i in range(30))
SHORT = ("--max-new-tokens", "6")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    file = tmp_path / "report.txt"
    file.write_text(NEWS)
    return file


@pytest.fixture(scope="module")
def model(tiny_model: TinyModel) -> Path:
    return tiny_model("bart")


def test_without_a_model_sentences_are_picked(report: Path) -> None:
    result = run("summarize", report, "--max-words", "40")
    assert result.code == 0
    assert result.err == ""
    assert all(sentence in NEWS for sentence in result.out.rstrip("\n").split(". "))
    assert 20 <= len(result.out.split()) <= 40
    assert run("summarize", report, "--max-words", "40", "--extractive").out == result.out


def test_a_file_stdin_and_a_dash_are_the_same(report: Path, tmp_path: Path) -> None:
    expected = run("summarize", report).out
    assert run("summarize", stdin=NEWS).out == expected
    assert run("summarize", "-", stdin=NEWS).out == expected
    zipped = tmp_path / "report.md.gz"
    zipped.write_bytes(gzip.compress(NEWS.encode()))
    assert run("summarize", zipped).out == expected


def test_each_line_can_be_a_text(tmp_path: Path) -> None:
    lines = NEWS + "The second text has one sentence.\n"
    result = run("summarize", "--lines", "--json", stdin=lines)
    first, second = rows_of(result.out)
    assert first["text"] + "\n" == NEWS
    assert second["summary_text"] == second["text"]
    file = tmp_path / "lines.txt"
    file.write_text(lines)
    assert run("summarize", "--lines", "--json", file).out == result.out


def test_rows_gain_a_summary(tmp_path: Path) -> None:
    file, out = tmp_path / "x.jsonl", tmp_path / "out.jsonl"
    file.write_text(json.dumps({"id": 1, "document": NEWS}) + "\n" + json.dumps({"id": 2, "document": "Hm."}))
    result = run("summarize", "--input", file, "-o", out)
    assert result.code == 0, result.err
    rows = rows_of(out.read_text())
    assert [list(row) for row in rows] == [["id", "document", "summary_text"]] * 2
    assert rows[0]["summary_text"] == run("summarize", stdin=NEWS).out.rstrip("\n")
    assert run("summarize", "--input", file, "-o", out, "--resume").code == 0
    template = run("summarize", "--input", file, "--template", "{document}", "--json")
    assert rows_of(template.out) == rows


README = f"""# Weather

[![build](x.svg)](y) [![docs](z.svg)](w)

{NEWS}
Options:

- snow
- roads of the city

| city | snow |
|---|---|
| Bern | The snow of the city of Bern in the table is deep. |

```sh
snow --roads city of Bern. It is no sentence of the city.
```

[snow in the city](a) [roads of Bern](b) [trams of the city](c).
"""


def test_code_tables_badges_and_lists_are_no_sentences(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(README)
    result = run("summarize", file, "--min-words", "500")
    assert result.out == NEWS
    assert run("summarize", "--format", "md", "--min-words", "500", stdin=README).out == NEWS
    bullets = run("summarize", file, "--max-words", "40", "--style", "bullets").out
    assert bullets.count("- ") == bullets.count("\n") >= 2
    assert all(line.removeprefix("- ") in NEWS for line in bullets.splitlines())


def test_several_files_have_a_summary_each(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text(README)
    (folder / "b.html").write_text(f"<nav><p>Snow menu of the city.</p></nav><p>{NEWS}</p><pre>Snow.</pre>")
    (folder / "c.pdf").write_bytes(pdf("Snow fell on the city of Bern."))
    (folder / "d.docx").write_bytes(PACKAGES["docx"])
    (folder / "picture.png").write_bytes(b"\x89PNG")
    result = run("summarize", folder, "--max-words", "40", "--json")
    assert result.code == 0, result.err
    rows = rows_of(result.out)
    assert [list(row) for row in rows] == [["file", "summary_text"]] * 4
    assert [Path(row["file"]).name for row in rows] == ["a.md", "b.html", "c.pdf", "d.docx"]
    assert rows[0]["summary_text"] == rows[1]["summary_text"]
    assert rows[2]["summary_text"] == "Snow fell on the city of Bern. SNOW FELL ON THE CITY OF BERN."
    assert "1 file" in result.err
    plain = run("summarize", folder / "c.pdf", folder / "a.md", "--max-words", "40")
    assert plain.out == (
        f"==> {folder / 'c.pdf'} <==\n{rows[2]['summary_text']}\n\n"
        f"==> {folder / 'a.md'} <==\n{rows[0]['summary_text']}\n\n"
    )
    (folder / "e.pdf").write_bytes(b"no pdf")
    assert "e.pdf" in run("summarize", folder).err
    skipped = run("summarize", folder, "--on-error", "skip", "--json")
    assert (skipped.code, len(rows_of(skipped.out))) == (3, 5)


@pytest.mark.parametrize("family", ["bert-qa", "gpt2", "bart"])
def test_sentences_are_picked_by_a_models_embeddings(tiny_model: TinyModel, family: str) -> None:
    command = ("summarize", "--extractive", "-m", tiny_model(family), "--max-words", "30")
    result = run(*command, stdin=NEWS)
    assert result.code == 0
    assert result.err == ""
    assert all(sentence in NEWS for sentence in result.out.rstrip("\n").split(". "))
    assert 15 <= len(result.out.split()) <= 30
    assert run(*command, stdin=NEWS).out == result.out


def test_v_tells_of_sentences_that_the_model_does_not_see_whole(tiny_model: TinyModel) -> None:
    text = "The cat sat. The cat sat on the mat" + " and on the mat" * 60 + ". The moon looked back.\n"
    result = run(
        "summarize", "--extractive", "-v", "-m", tiny_model("bert-qa"), "--min-words", "999", stdin=text
    )
    assert result.out == text
    assert (
        "longer than the 128 tokens of the model's context, compared by their beginning: 1 sentence"
        in result.err
    )


def test_rows_by_embeddings_do_not_depend_on_their_batch(tiny_model: TinyModel, tmp_path: Path) -> None:
    file, outs = tmp_path / "x.jsonl", [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    texts = [NEWS, "One sentence only.", LONG]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    model = tiny_model("bert-qa")
    command = ("summarize", "--extractive", "-m", model, "--input", file)
    for out, size in zip(outs, ("1", "3"), strict=True):
        assert run(*command, "-o", out, "--batch-size", size).code == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    alone = [run("summarize", "--extractive", "-m", model, stdin=text).out for text in texts]
    assert [row["summary_text"] + "\n" for row in rows_of(outs[0].read_text())] == alone


def test_a_run_is_not_resumed_with_another_models_embeddings(tiny_model: TinyModel, tmp_path: Path) -> None:
    file, out = tmp_path / "x.jsonl", tmp_path / "out.jsonl"
    file.write_text("".join(json.dumps({"text": NEWS[i:]}) + "\n" for i in range(5)))
    command = ("summarize", "--extractive", "--input", file, "-o", out)
    model = ("-m", tiny_model("bert-qa"))
    stopped = spawn(*command, *model, env={"PYTHONPATH": f"{_killer(tmp_path)}:{ROOT}"})
    assert stopped.returncode == -9
    assert_refused(run(*command, "--resume", "-m", tiny_model("gpt2")), "cannot resume: model was")
    assert_refused(run(*command, "--resume"), "cannot resume")
    assert run(*command, *model, "--resume").code == 0
    assert len(rows_of(out.read_text())) == 5


def test_an_empty_row_fails_alone(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"text": "One."}\n{"text": "  "}\n')
    stopped = run("summarize", "--input", file)
    assert (stopped.code, stopped.out) == (2, "One.\n")
    assert "x.jsonl:2: the text is empty" in stopped.err
    result = run("summarize", "--input", file, "--on-error", "skip", "--json")
    assert result.code == 3
    assert rows_of(result.out)[1]["error"] == "the text is empty"


def test_without_a_model_nothing_heavy_is_imported(report: Path, tmp_path: Path) -> None:
    probe = (
        "import sys; from llmkit.cli.main import run_command; code = run_command(sys.argv[1:]);"
        "print(code, [m for m in ('torch', 'transformers', 'datasets', 'tokenizers') if m in sys.modules])"
    )
    for more in ([], ["-o", str(tmp_path / "out.jsonl")]):
        command = [sys.executable, "-c", probe, "summarize", str(report), *more]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.endswith("0 []\n")


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        ([], None, "no input: give"),
        ([], "", "stdin is empty"),
        ([], " \n\t\n", "stdin is empty"),
        (["-"], " \n", "stdin is empty"),
        (["no-such-file.txt"], None, "no-such-file.txt: no such file"),
        (["rows.jsonl"], None, "read it with --input"),
        (["x.txt", "--input", "y.jsonl"], None, "--input: applies to rows"),
        (["x.txt", "--field", "a"], None, "--field: applies to rows"),
        (["x.txt", "gone.txt"], None, "gone.txt: no such file"),
        (["x.txt", "--format", "rtf"], None, "--format rtf"),
        (["A text.", "--format", "md"], None, "--format: applies to documents"),
        (["blank.txt"], None, "blank.txt is empty"),
        (["binary.txt"], None, "binary.txt: not text"),
        (["damaged.docx"], None, "damaged.docx"),
        (["empty"], None, "empty: no documents in this folder"),
        (["--min-words", "9", "--max-words", "3"], "x", "--min-words is 9, more than --max-words 3"),
        (["--max-words", "0"], "x", "--max-words must be 1 or more"),
        (["--max-words", "2"], "A sentence of five words.", "no sentence has 2 words or fewer"),
        (["--ratio", "2"], "x", "--ratio must be above 0 and below 1"),
        (["--style", "verse"], "x", "--style cannot be 'verse'; use paragraph, bullets"),
        (["--temperature", "1", "--strategy", "refine"], "x", "--temperature: applies only to a model"),
        (
            ["--extractive", "--device", "cpu"],
            "x",
            "--device: applies only to a model; give one with -m/--model",
        ),
        (["--extractive", "-m", "no/such-model"], "x.", "no/such-model"),
        (["--device", "cpu"], "x", "--device: applies only to a model; give one with -m/--model"),
    ],
)
def test_bad_usage(
    arguments: list[str], stdin: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, data in {
        "x.txt": b"A text.", "rows.jsonl": b"{}", "blank.txt": b" \n", "binary.txt": b"a\0b",
        "damaged.docx": b"PK",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert_refused(run("summarize", *arguments, stdin=stdin), said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--extractive", "--num-beams", "2"], "--num-beams: applies to a model that writes"),
        (["--strategy", "guess"], "--strategy cannot be 'guess'; use map-reduce, refine, truncate"),
        (["--style", "bullets"], "--style needs a chat model"),
        (["--system", "Be brief"], "--system needs a chat template"),
        (["--num-return-sequences", "2", "--num-beams", "2"], "a text has one summary"),
        (["--window", "4000"], "has room for"),
    ],
)
def test_bad_usage_with_a_model(model: Path, arguments: list[str], said: str) -> None:
    assert_refused(run("summarize", "-m", model, *arguments, stdin="A text."), said)


def test_models_that_cannot_summarize(tiny_model: TinyModel) -> None:
    assert_refused(run("summarize", "-m", tiny_model("bert-qa"), stdin="A text."), "use `llmkit qa`")
    assert_refused(run("summarize", "-m", tiny_model("gpt2"), stdin="A text."), "has no chat template")


def test_a_model_writes_the_summary(model: Path) -> None:
    result = run("summarize", "-m", model, *SHORT, stdin="The cat sat on the mat.")
    assert result.code == 0
    assert result.err == ""
    assert result.out.strip()
    again = run("summarize", "-m", model, *SHORT, "--json", stdin="The cat sat on the mat.")
    assert rows_of(again.out)[0]["summary_text"] == result.out.rstrip("\n")


def test_stderr_says_how_many_parts_were_made(model: Path) -> None:
    said = run("summarize", "-m", model, *SHORT, stdin=LONG).err
    assert said.startswith("llmkit: the text is longer than 123 tokens: ")
    assert "parts, summarized, and their summaries combined" in said
    refine = run("summarize", "-m", model, *SHORT, "--strategy", "refine", stdin=LONG).err
    assert "parts, read one after another" in refine
    cut = run("summarize", "-m", model, *SHORT, "--strategy", "truncate", stdin=LONG).err
    assert cut == "llmkit: the text was longer than 123 tokens; only the beginning was read\n"
    assert run("summarize", "-q", "-m", model, *SHORT, stdin=LONG).err == ""


def test_many_texts_and_their_parts(model: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "x.jsonl", tmp_path / "out.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in [LONG, "A cat.", LONG[:900]]))
    result = run("summarize", "-m", model, *SHORT, "--input", file, "-o", out)
    assert result.code == 0, result.err
    assert "2 texts were longer than 123 tokens: " in result.err
    alone = [run("summarize", "-m", model, *SHORT, stdin=row["text"]).out for row in rows_of(out.read_text())]
    assert [row["summary_text"] + "\n" for row in rows_of(out.read_text())] == alone


@pytest.mark.slow
def test_a_killed_run_resumes_byte_for_byte(model: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "x.jsonl", tmp_path / "out.jsonl"
    rows = [json.dumps({"text": LONG[: 300 + 90 * i]}) + "\n" for i in range(8)]
    sampled = ("--temperature", "1", "--seed", "5", "--batch-size", "2")
    file.write_text("".join(rows[:5]) + "{broken\n" + "".join(rows[5:]))
    arguments = ("summarize", "-m", model, *SHORT, *sampled, "--on-error", "skip", "--input", file, "-o")
    assert run(*arguments, tmp_path / "whole.jsonl").code == 3
    stopped = spawn(*arguments, out, env={"PYTHONPATH": f"{_killer(tmp_path)}:{ROOT}"})
    assert stopped.returncode == -9
    assert not out.exists()
    assert run(*arguments, out, "--resume").code == 3
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def _killer(folder: Path) -> Path:
    """A folder whose sitecustomize kills the process when its second batch is to be committed."""
    place = folder / "killer"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import os, signal\n"
        "from llmkit.records.output import JournaledOutput\n"
        "commit, calls = JournaledOutput.commit, []\n"
        "def stop(self, results):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 2:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    commit(self, results)\n"
        "JournaledOutput.commit = stop\n"
    )
    return place


def test_a_novel_without_a_model(data_folder: Path) -> None:
    result = run("summarize", data_folder / "lm" / "sherlock.txt", "--max-words", "200")
    assert result.code == 0
    assert 100 <= len(result.out.split()) <= 200
