"""The numbers that lm-evaluation-harness finds with the same model, on the same rows.

The harness runs in a Python of its own, by transformers; the prompts are those of its tasks.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from llmkit.text.words import is_unspaced
from tests.command import run
from tests.real import table
from tests.real.conftest import cores
from tests.real.table import THIN

WINDOW = 1024
PIQA, OPENBOOK, BLIMP, PAGES = 200 // THIN, 200 // THIN, 60 // THIN, max(3 // THIN, 1)
BLIMP_SETS = (
    "anaphor_gender_agreement",
    "determiner_noun_agreement_1",
    "irregular_past_participle_verbs",
    "npi_present_1",
    "regular_plural_subject_verb_agreement_1",
)


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def piqa(data: Path) -> list[dict[str, Any]]:
    rows = (data / "mc" / "piqa_valid.jsonl").read_text(encoding="utf-8").splitlines()[:PIQA]
    labels = (data / "mc" / "piqa_valid_labels.lst").read_text().split()
    return [{**json.loads(row), "label": int(label)} for row, label in zip(rows, labels, strict=False)]


def openbookqa(data: Path) -> list[dict[str, Any]]:
    with (data / "mc" / "openbookqa_dev.tsv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))[:OPENBOOK]
    return [
        {
            "question_stem": row["Question Stem"],
            "choices": {
                "text": [one.strip() for one in re.split(r"\([A-D]\) ", row["Choices"])[1:]],
                "label": ["A", "B", "C", "D"],
            },
            "answerKey": row["Answer Key"],
        }
        for row in rows
    ]


def blimp(data: Path, name: str) -> list[dict[str, Any]]:
    rows = (data / "mc" / "blimp" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:BLIMP]
    return [json.loads(row) for row in rows]


def pages(data: Path) -> list[dict[str, Any]]:
    """The first articles of the test set that have no Chinese or Japanese.

    The heading of an article is ` = Title = `. In scripts without spaces llmkit counts each character as a
    word, and the harness does not.
    """
    text = (data / "lm" / "wiki.test.raw").read_text(encoding="utf-8")
    starts = [found.start() for found in re.finditer(r"(?m)^ = [^=\n]+ = \n", text)]
    articles = (text[a:b] for a, b in itertools.pairwise(starts))
    return [{"page": page} for page in itertools.islice(itertools.filterfalse(is_unspaced, articles), PAGES)]


@pytest.fixture(scope="module")
def rows(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files with the rows of each task."""
    folder = tmp_path_factory.mktemp("rows")
    found = {
        "piqa": piqa(data_folder),
        "openbookqa": openbookqa(data_folder),
        "wikitext": pages(data_folder),
        **{name: blimp(data_folder, name) for name in BLIMP_SETS},
    }
    return {name: write(folder / f"{name}.jsonl", lines) for name, lines in found.items()}


@pytest.fixture(scope="module")
def theirs(lm_eval_python: str, chat_folder: Path, rows: dict[str, Path]) -> dict[str, Any]:
    """Scores and log-likelihoods of the harness."""
    tasks = {
        "piqa": ("piqa/piqa.yaml", "validation"),
        "openbookqa": ("openbookqa/openbookqa.yaml", "validation"),
        "wikitext": ("wikitext/wikitext.yaml", "test"),
        **{name: (f"blimp/{name}.yaml", "validation") for name in BLIMP_SETS},
    }
    request = {
        "model": str(chat_folder),
        "window": WINDOW,
        "threads": cores(),
        "tasks": {
            name: {"include": include, "split": split, "file": str(rows[name])}
            for name, (include, split) in tasks.items()
        },
    }
    done = subprocess.run(
        [lm_eval_python, str(Path(__file__).with_name("harness_program.py"))],
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def judged(
    model: Path, file: Path, metric: str, folder: Path, *options: str
) -> tuple[dict[str, Any], list[Any]]:
    """The scores of `eval`, and the losses of each row."""
    records = folder / "records.jsonl"
    result = run(
        *("eval", "--metric", metric, file, "-m", model, "--dtype", "float32", "--json"),
        *("--per-record", records, "--overwrite", *options),
    )
    assert result.code == 0, result.err
    scores = {one["name"]: one for one in json.loads(result.out)["scores"]}
    losses = [json.loads(line)["losses"] for line in records.read_text(encoding="utf-8").splitlines()]
    return scores, [[one["nll"] for one in row] for row in losses]


def compared(name: str, ours: list[list[float]], theirs: list[Any], least: float = 1e-3) -> str:
    """Check each log-likelihood and each choice; return how many choices are equal."""
    assert len(ours) == len(theirs)
    equal = 0
    for mine, other in zip(ours, theirs, strict=True):
        likelihoods = [reply[0] for reply in other]
        assert [-one for one in mine] == pytest.approx(likelihoods, abs=least, rel=1e-5), name
        equal += mine.index(min(mine)) == likelihoods.index(max(likelihoods))
    assert equal == len(ours), name
    return f"{equal} of {len(ours)} choices equal"


def shown(score: dict[str, Any]) -> str:
    return f"{100 * score['score']:.1f} % ({100 * score['low']:.1f} to {100 * score['high']:.1f})"


@pytest.mark.parametrize(
    ("name", "options"),
    [("piqa", ("--given", "Question: {goal}\nAnswer:")), ("openbookqa", ())],
)
def test_choices_are_those_of_the_harness(
    name: str, options: tuple[str, ...], chat_folder: Path, rows: Any, theirs: Any, tmp_path: Path
) -> None:
    scores, losses = judged(chat_folder, rows[name], "multiple_choice", tmp_path, *options)
    found = theirs[name]["scores"]
    equal = compared(name, losses, theirs[name]["rows"])
    label = f"{name}, {len(losses)} rows: "
    table.add(
        label + "accuracy", shown(scores["accuracy"]), f"{100 * found['acc']:.1f} %", equal, thinned=True
    )
    assert scores["accuracy"]["score"] == pytest.approx(found["acc"], abs=1e-9)
    # The harness divides by characters: the same for text in ASCII.
    per_byte = scores["accuracy_per_byte"]
    table.add(
        label + "accuracy by length",
        shown(per_byte),
        f"{100 * found['acc_norm']:.1f} %",
        per_byte["score"] - found["acc_norm"],
        thinned=True,
    )
    assert per_byte["score"] == pytest.approx(found["acc_norm"], abs=1.5 / len(losses))


def test_minimal_pairs_are_judged_as_by_the_harness(
    chat_folder: Path, rows: Any, theirs: Any, tmp_path: Path
) -> None:
    """The harness puts a space before each sentence, so these rows have one."""
    for name in BLIMP_SETS:
        pairs = [json.loads(line) for line in rows[name].read_text(encoding="utf-8").splitlines()]
        spaced = [{key: f" {pair[key]}" for key in ("sentence_good", "sentence_bad")} for pair in pairs]
        file = write(tmp_path / "pairs.jsonl", spaced)
        scores, losses = judged(chat_folder, file, "minimal_pairs", tmp_path)
        equal = compared(name, losses, theirs[name]["rows"])
        accuracy = theirs[name]["scores"]["acc"]
        table.add(
            f"BLiMP {name}, {len(losses)} pairs",
            shown(scores["accuracy"]),
            f"{100 * accuracy:.1f} %",
            equal,
            thinned=True,
        )
        assert scores["accuracy"]["score"] == pytest.approx(accuracy, abs=1e-9)


def test_perplexity_of_wikitext_is_that_of_the_harness(
    chat_folder: Path, rows: Any, theirs: Any, tmp_path: Path
) -> None:
    """The texts are the harness's own, detokenized; it feeds disjoint windows after one beginning token."""
    found = theirs["wikitext"]
    file = write(tmp_path / "pages.jsonl", [{"text": text} for text in found["texts"]])
    window = ("--window", str(WINDOW), "--stride", str(WINDOW), "--bos", "first")
    scores, losses = judged(chat_folder, file, "perplexity", tmp_path, *window)
    totals = [one for (one,) in losses]
    assert totals == pytest.approx([-one for one in found["rows"]], rel=1e-5)
    label = f"WikiText-2 test, {PAGES} articles, windows of {WINDOW}: "
    for name in ("word_perplexity", "bits_per_byte"):
        ours, other = scores[name]["score"], found["of_texts"][name]
        table.add(label + name, f"{ours:.5f}", f"{other:.5f}", ours - other, thinned=True)
        assert ours == pytest.approx(other, rel=1e-4)
    # The task itself divides by the words and bytes of the page before it was detokenized.
    raw = [json.loads(line)["page"] for line in rows["wikitext"].read_text(encoding="utf-8").splitlines()]
    bits = sum(totals) / 0.6931471805599453 / sum(len(page.encode()) for page in raw)
    other = found["scores"]["bits_per_byte"]
    table.add(
        label + "bits per byte of the raw page", f"{bits:.5f}", f"{other:.5f}", bits - other, thinned=True
    )
    assert bits == pytest.approx(other, rel=1e-5)
