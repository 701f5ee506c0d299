"""`--limit` and `--encoding` mean the same in every verb that reads rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmkit.training.finetuning.examples import read_source
from llmkit.training.pretraining.corpus import Corpus
from tests.command import assert_refused, rows_of, run

WORDS = ["你好", "再见", "谢谢", "是的"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"text": word, "prediction": word, "reference": "你好", "target": "x"} for word in WORDS]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    Path("rows.jsonl").write_text(text, encoding="gb18030")
    Path("lines.de").write_text("\n".join(WORDS) + "\n", encoding="gb18030")
    Path("right.de").write_text("你好\n" * 4, encoding="gb18030")
    Path("texts.txt").write_text("\n\n".join(WORDS) + "\n", encoding="gb18030")


READ = ["--limit", "2", "--encoding", "gb18030"]


@pytest.mark.parametrize(
    ("arguments", "field", "expected"),
    [
        (["summarize", "--input", "rows.jsonl", "--json", "--field", "text"], "summary_text", WORDS[:2]),
        (["summarize", "--input", "lines.de", "--lines", "--json"], "summary_text", WORDS[:2]),
        (["summarize", "lines.de", "--lines", "--json"], "summary_text", WORDS[:2]),
    ],
)
def test_rows(arguments: list[str], field: str, expected: list[str]) -> None:
    done = run(*arguments, *READ)
    assert [row[field] for row in rows_of(done.out)] == expected, done.err


def test_a_text_file_to_summarize() -> None:
    done = run("summarize", "texts.txt", "--encoding", "gb18030")
    assert done.code == 0, done.err
    assert done.out.strip() in WORDS


def test_several_documents() -> None:
    Path("page.html").write_text("<p>这本书在哪里？</p>", encoding="gb18030")
    done = run("summarize", "texts.txt", "page.html", "--encoding", "gb18030", "--json")
    assert done.code == 0, done.err
    first, second = (row["summary_text"] for row in rows_of(done.out))
    assert first in WORDS
    assert second == "这本书在哪里？"
    asked = ("qa", "--question", "谁", "--context", "page.html", "--encoding", "utf-8")
    assert_refused(run(*asked), "page.html", option="encoding")


def test_lines_of_stdin() -> None:
    done = run("summarize", "--lines", "--json", *READ, stdin=Path("lines.de").read_bytes())
    assert [row["summary_text"] for row in rows_of(done.out)] == WORDS[:2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["rows.jsonl"],
        ["lines.de", "--references", "right.de"],
        ["rows.jsonl", "--task", "summarize", "--field", "text", "--reference-field", "reference"],
    ],
)
def test_eval(arguments: list[str]) -> None:
    if "--task" in arguments:  # `prediction` is another system's
        text = Path("rows.jsonl").read_text("gb18030").replace('"prediction"', '"other"')
        Path("rows.jsonl").write_text(text, "gb18030")
    done = run("eval", "--metric", "exact_match", *arguments, *READ, "--json")
    assert done.code == 0, done.err
    score = json.loads(done.out)["scores"][0]
    assert (score["score"], score["rows"]) == (0.5, 2)


def test_training_data() -> None:
    source = read_source(
        ["rows.jsonl"], mapping={"prompt": "text", "completion": "target"}, limit=3, encoding="gb18030"
    )
    assert len(source.rows) == source.summary.rows == 3
    assert list(Corpus(["texts.txt"], separator="\n\n", limit=3, encoding="gb18030")) == WORDS[:3]
    assert list(Corpus(["rows.jsonl"], field="text", limit=3, encoding="gb18030")) == WORDS[:3]


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["generate", "--limit", "1", "text"], "limit"),
        (["generate", "--encoding", "gb18030", "text"], "encoding"),
        (["summarize", "--limit", "1", "lines.de"], "limit"),
        (["summarize", "--input", "rows.jsonl", "--limit", "0"], "limit"),
        (["generate", "--input", "rows.jsonl", "--encoding", "klingon"], "encoding"),
        (["summarize", "texts.txt", "lines.de", "--encoding", "klingon"], "encoding"),
        (["translate", "--from", "en", "--to", "de", "texts.txt", "--encoding", "klingon"], "encoding"),
        (["translate", "--from", "en", "--to", "de", "texts.txt", "--encoding", "utf-8"], "encoding"),
        (["eval", "rows.jsonl", "--metric", "bleu", "--limit", "0", "--encoding", "gb18030"], "limit"),
        (["eval", "texts.txt", "--metric", "perplexity", "--limit", "1"], "limit"),
        (["eval", "--benchmark", "arc_easy", "--encoding", "gb18030"], "encoding"),
        (["eval", "rows.jsonl", "--task", "summarize", "--save-predictions", "x.csv"], "save_predictions"),
        (["finetune", "rows.jsonl", "--limit", "0"], "limit"),
    ],
)
def test_bad_usage(arguments: list[str], option: str) -> None:
    assert_refused(run(*arguments), option=option)


def test_the_message_about_bytes_names_the_flag() -> None:
    done = run("summarize", "--input", "rows.jsonl", "--field", "text")
    assert "rows.jsonl:1: byte 0xc4 is not UTF-8; give the encoding, e.g. --encoding gb18030" in done.err
