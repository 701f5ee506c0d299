"""`llmkit translate` as its user meets it."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.command import assert_refused, rows_of, run, spawn
from tests.conftest import TinyModel
from tests.parity.folders import make_folder

SHORT = ("--max-new-tokens", "4")
PAIR = ("--from", "en", "--to", "de")
TEXT = "# The sea\n\nAnna asked. The boat went out.\n\n\n  - 1912\n  - the harbour\n"


@pytest.fixture(scope="module")
def marian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder("marian", tmp_path_factory.mktemp("marian"))


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder("nllb", tmp_path_factory.mktemp("nllb"))


@pytest.fixture(scope="module")
def t5(tiny_model: TinyModel) -> Path:
    return tiny_model("t5")


def test_a_text_is_translated_on_stdout_with_its_lines(marian: Path) -> None:
    result = run("translate", "-m", marian, *PAIR, *SHORT, "-q", TEXT)
    assert (result.code, result.err) == (0, "")
    shape = [line[:4] for line in TEXT.split("\n")]
    lines = result.out.removesuffix("\n").split("\n")
    assert len(lines) == len(shape)
    assert [line == "" for line in lines] == [line == "" for line in shape]
    assert (lines[0][:2], lines[5], lines[6][:4]) == ("# ", "  - 1912", "  - ")


def test_stdin_is_one_text_and_with_lines_many(marian: Path) -> None:
    whole = run("translate", "-m", marian, *PAIR, *SHORT, stdin=TEXT)
    assert whole.out.rstrip("\n") == run("translate", "-m", marian, *PAIR, *SHORT, TEXT).out.rstrip("\n")
    lines = run("translate", "-m", marian, *PAIR, *SHORT, "--lines", stdin=TEXT)
    assert lines.out == whole.out


def test_interrupted_lines_leave_the_finished_ones_on_stdout(
    marian: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmkit.tasks.translation import Translation

    lines = [f"The {'old ' * (i % 7)}cat {i}." for i in range(300)]
    command = ("translate", "-m", marian, *PAIR, *SHORT, "--lines", "--batch-size", "8")
    whole = run(*command, "--limit", "64", stdin="\n".join(lines)).out
    fields, done = Translation.fields, 0

    def stopped(self: Translation, batch: Any, budget: Any) -> Any:
        nonlocal done
        if done > 40:
            raise KeyboardInterrupt
        done += len(batch)
        return fields(self, batch, budget)

    monkeypatch.setattr(Translation, "fields", stopped)
    result = run(*command, stdin="\n".join(lines))
    written = result.out.count("\n")
    assert result.code == 130
    assert 20 < written <= done
    assert whole.startswith(result.out)
    assert f"interrupted: {written} rows" in result.err


def test_each_language_gives_its_own_translation(nllb: Path) -> None:
    said = [("en", "de"), ("eng_Latn", "German"), ("English", "deu"), ("en", "Romanian")]
    outs = [
        run("translate", "-m", nllb, "--from", a, "--to", b, "--max-new-tokens", "12", "The islands.").out
        for a, b in said
    ]
    assert outs[0] == outs[1] == outs[2] != outs[3]


def test_json_and_a_file_carry_the_row(t5: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "in.csv", tmp_path / "out.jsonl"
    file.write_text("id,en\n1,The cat.\n2,The dog.\n")
    arguments = ("translate", "-m", t5, *PAIR, *SHORT, "--input", file, "--field", "en")
    shown = rows_of(run(*arguments, "--json").out)
    assert [sorted(row) for row in shown] == [["en", "id", "translation_text"]] * 2
    assert run(*arguments, "-o", out).code == 0
    assert rows_of(out.read_text()) == shown


def test_a_thousand_lines_give_a_thousand_lines(t5: Path) -> None:
    lines = [f"The {'little ' * (i % 3)}cat {i}. It sat!" if i % 10 else "" for i in range(1000)]
    result = run(
        "translate", "-m", t5, *PAIR, "--max-new-tokens", "2", "--lines", stdin="\n".join(lines) + "\n"
    )
    assert result.code == 0, result.err
    out = result.out.split("\n")
    assert len(out) == 1001
    assert [line == "" for line in out[:-1:10]] == [True] * 100


@pytest.mark.slow
@pytest.mark.parametrize("family", ["t5", "marian"])
def test_captions_line_for_line(
    family: str, t5: Path, marian: Path, data_folder: Path, tmp_path: Path
) -> None:
    packed = data_folder / "mt" / "multi30k" / "test_2016_flickr.en.gz"
    text = gzip.decompress(packed.read_bytes()).decode()
    model = {"t5": t5, "marian": marian}[family]
    result = run("translate", "-m", model, *PAIR, *SHORT, "--lines", stdin=text)
    assert result.code == 0, result.err
    assert result.out.count("\n") == text.count("\n") == 1000


def test_what_is_kept_comes_through(marian: Path, tmp_path: Path) -> None:
    terms = tmp_path / "terms.txt"
    terms.write_text("Acme Boats\n\nAnna\n")
    text = "Anna of Acme Boats has {n} boats.\nSee https://acme.example/b?c=1"
    result = run("translate", "-m", marian, *PAIR, *SHORT, "--keep", terms, text)
    assert result.code == 0, result.err
    for kept in ("Anna", "Acme Boats", "{n}", "https://acme.example/b?c=1"):
        assert result.out.count(kept) == 1
        assert f"text:1: the model lost {kept}; " in result.err


def test_a_chat_model_is_asked(tiny_model: TinyModel) -> None:
    model = tiny_model("bloom", chat=True)
    result = run("translate", "-m", model, "--to", "German", *SHORT, "-q", "The cat.\n\nThe dog.")
    assert result.code == 0, result.err
    assert result.out.count("\n") == 3
    other = run("translate", "-m", model, "--to", "French", *SHORT, "-q", "The cat.\n\nThe dog.")
    assert other.out != result.out


def test_verbose_says_which_languages(marian: Path) -> None:
    result = run("translate", "-m", marian, *SHORT, "-v", "Anna asked.")
    assert "translating from English to German" in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "en", "--to", "de", ""], "nothing to translate: the text is empty"),
        (["--from", "en", "--to", "de", " \n\t"], "nothing to translate: the text is empty"),
        (["--from", "de", "--to", "German", "x"], "--from de and --to German are the same language, German"),
        (["--from", "en", "--to", "Germn", "x"], "--to Germn: no such language; the nearest are de (German)"),
        (["--from", "en", "--to", "fr", "x"], "does not know French; it has deu_Latn, eng_Latn, ron_Latn"),
        (["--to", "de", "x"], "needs the language of the text: give it with --from"),
        (["--from", "en", "x"], "needs the language to write: give it with --to"),
        (["--from", "en", "--to", "de", "--keep", "/nowhere/terms", "x"], "--keep /nowhere/terms: no such"),
        (["--from", "en", "--to", "de", "--system", "Be brief", "x"], "--system needs a chat template"),
        (["--from", "en", "--to", "de"], "no input: give"),
    ],
)
def test_bad_usage(nllb: Path, arguments: list[str], said: str) -> None:
    assert_refused(run("translate", "-m", nllb, *arguments), said)


def test_empty_stdin(nllb: Path) -> None:
    assert_refused(run("translate", "-m", nllb, *PAIR, stdin=""), "stdin is empty")


def test_models_of_the_wrong_kind(tiny_model: TinyModel) -> None:
    assert_refused(
        run("translate", "-m", tiny_model("bert-qa"), *PAIR, "x"),
        "is an extractive-QA model; use `llmkit qa`",
    )
    assert_refused(
        run("translate", "-m", tiny_model("llama"), *PAIR, "x"), "use a translation model or a chat model"
    )


def test_the_embedded_model_translates_english_and_german_only() -> None:
    assert_refused(
        run("translate", "--from", "en", "--to", "fr", "x"),
        "--from en --to fr: translator translates en to de, de to en only; give another --model",
    )


@pytest.mark.parametrize(
    ("target", "text", "translation"),
    [("de", "Where is my book?", "Wo ist mein Buch?"), ("en", "Ich habe Hunger.", "I'm hungry.")],
)
def test_without_a_model_the_embedded_one_translates(target: str, text: str, translation: str) -> None:
    result = run("translate", "--to", target, text)
    assert (result.code, result.out) == (0, translation + "\n")


def test_a_missing_column_and_a_failed_row(t5: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"text": "The cat."}\n{"text": null}\n')
    assert_refused(
        run("translate", "-m", t5, *PAIR, *SHORT, "--input", file), "x.jsonl:2: column 'text' is null"
    )
    result = run("translate", "-m", t5, *PAIR, *SHORT, "--input", file, "--on-error", "skip", "--json")
    assert result.code == 3
    assert ["error" in row for row in rows_of(result.out)] == [False, True]


def test_a_killed_run_resumes_byte_for_byte(t5: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"text": f"The {'little ' * (i % 5)}cat {i}. It sat.\n\nA dog!"} for i in range(40)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("translate", "-m", t5, *PAIR, "--max-new-tokens", "12", "--batch-size", "3", "--input", file)
    command = [sys.executable, "-m", "llmkit", *map(str, arguments), "-o", str(out)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        journal = tmp_path / "out.jsonl.journal"
        for _ in range(12000):
            if journal.exists() and journal.read_bytes().count(b'{"batch"') >= 3:
                break
            time.sleep(0.01)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    assert not out.exists()
    assert_refused(run(*arguments, "-o", out, "--resume", "--to", "fr"), 'to was "de" and is now "fr"')
    resumed = spawn(*arguments, "-o", out, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    whole = tmp_path / "whole.jsonl"
    assert run(*arguments, "-o", whole).code == 0
    assert out.read_bytes() == whole.read_bytes()
