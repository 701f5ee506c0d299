"""The recipes of examples/finetune: rows made from miniature data, then each recipe for a step or two."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import ROOT, rows_of, run

FOLDER = ROOT / "examples" / "finetune"
THINGS = ["ball", "kite", "boat", "cake", "drum", "doll", "frog", "hat", "pear", "bell"]
SMALL = ["--params", "120k", "--vocab-size", "400", "--max-length", "64", "--batch-size", "4"]
# Recipe -> the recipe of the model that it begins with, where it is not the one in the box.
RECIPES = {
    "stories": None,
    "chat": None,
    "preferences": None,
    "translation": ("translation-base", "bilingual.txt"),
    "tldr": ("tldr-base", "english.txt"),
    "squad": ("encoder-base", "english.txt"),
}


def _write(file: Path, rows: list[dict[str, Any]], *, lines: bool = True) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows)
    file.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What prepare.py makes of a few rows in each data set's own form."""
    data, made = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("rows")
    names = [f"{a}{b}" for a in "BDFGHJKLMN" for b in ("ob", "en")]
    told = [f"{n} had a {t}. Now a cat saw the {t}, and the cat ran." for n in names for t in THINGS]
    (data / "stories").mkdir()
    (data / "stories/tinystories.txt").write_text("\n<|endoftext|>\n".join(told))
    (data / "mt").mkdir()
    with (data / "mt/tatoeba_en_de.tsv").open("w", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerows([("en", "de"), *((f"I am {name}.", f"Ich bin {name}.") for name in names)])
    abstracts = [{"source": [f"We study {t}s.", f"{t}s fly."], "target": [f"On {t}s.", "?"]} for t in THINGS]
    for part in ("train", "dev"):
        _write(data / f"summ/scitldr_{part}.jsonl", abstracts)
    paragraph = "In the north stands a tower that King {} built of stone."
    articles = [
        {
            "title": name,
            "paragraphs": [
                {
                    "context": paragraph.format(name),
                    "qas": [{"question": "Who built it?", "answers": [{"text": name, "answer_start": 38}]}],
                }
            ],
        }
        for name in names
    ]
    assert paragraph.format("Bob")[38:41] == "Bob"
    (data / "qa").mkdir()
    (data / "qa/squad_v1.1_dev_part.json").write_text(json.dumps({"data": articles}))
    asked = [{"instruction": f"Say {t}.", "input": "", "output": f"{t.title()}."} for t in THINGS * 5]
    talks = [
        {"conversations": [{"from": "human", "value": f"Hi {n}"}, {"from": "gpt", "value": "Hello."}]}
        for n in names
    ]
    _write(data / "chat/instruction-data.json", asked, lines=False)
    _write(data / "chat/dummy_conversation.json", talks, lines=False)
    liked = [{**row, "chosen": row["output"], "rejected": "No."} for row in asked]
    _write(data / "chat/instruction-data-with-preference.json", liked, lines=False)
    (data / "lm").mkdir()
    for book in ("sherlock", "wizard_of_oz"):
        (data / f"lm/{book}.txt").write_text("\n\n".join(told[:200]))
    done = subprocess.run(
        [sys.executable, FOLDER / "prepare.py", made],
        env={**os.environ, "LLMKIT_DATA": str(data)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return made


def test_what_is_held_out_is_not_learnt(rows: Path) -> None:
    for name, asked in (("stories", "prompt"), ("translation", "source"), ("squad", "title")):
        train, test = (rows_of((rows / f"{name}{end}.jsonl").read_text()) for end in ("", "_test"))
        assert train
        assert not {row[asked] for row in train} & {row[asked] for row in test}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_runs(recipe: str, rows: Path, tmp_path: Path) -> None:
    model: list[str | Path] = []
    base = RECIPES[recipe]
    if base is not None:
        config, corpus = base
        made = run(
            "pretrain",
            rows / corpus,
            "--config",
            FOLDER / f"{config}.yaml",
            "-o",
            tmp_path / "base",
            *SMALL,
            *("--max-steps", "2", "--eval-split", "0"),
        )
        assert made.code == 0, made.err
        model = ["-m", tmp_path / "base"]
    options = ["--max-steps", "1", "--batch-size", "4", "--json"]
    done = run(
        "finetune",
        rows / f"{recipe}.jsonl",
        *model,
        "--config",
        FOLDER / f"{recipe}.yaml",
        "-o",
        tmp_path / "out",
        *options,
    )
    assert done.code == 0, done.err
    assert json.loads(done.out)["steps"] == 1


def test_every_recipe_is_run(rows: Path) -> None:
    there = {file.stem for file in FOLDER.glob("*.yaml")}
    assert there == {*RECIPES, *(base[0] for base in RECIPES.values() if base)}


def test_the_metric_counts_the_words_asked_for(tmp_path: Path) -> None:
    rows = [
        {"prediction": "Two Dogs ran.", "references": ["dog", "moon"]},
        {"prediction": "A cat.", "references": ["cat"]},
    ]
    _write(tmp_path / "rows.jsonl", rows)
    done = run("eval", "--metric", FOLDER / "asked_for.py", tmp_path / "rows.jsonl", "--bare")
    assert done.code == 0, done.err
    assert float(done.out) == pytest.approx(200 / 3)
