"""Measure the models of the package, and fill in their cards.

Public: `EVALUATIONS`, `judge`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import card_outputs
import coherence
import measure_reader
import measure_stories
import prepare_preferences
import prepare_stories
from commands import llmkit

Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Evaluation:
    """A score in a card.

    Attributes:
        dataset: name of the test set in the card.
        arguments: of `llmkit eval`, without the model.
        file: the rows, under the work folder.
    """

    dataset: str
    file: str
    arguments: tuple[str, ...]

    def of(self, model: str) -> tuple[str, ...]:
        """Return the arguments, with the model if the evaluation runs it."""
        runs = "--task" in self.arguments or "perplexity" in self.arguments
        return (*self.arguments, "-m", model) if runs else self.arguments


def _translated(source: str, target: str) -> tuple[str, ...]:
    languages = ("--task", "translate", "--from", source, "--to", target)
    return (*languages, "--field", source, "--reference-field", target, "--metric", "bleu,chrf")


_ASKED = ("--task", "qa", "--metric", "squad")
_ASKED_2 = ("--task", "qa", "--no-answer", "--metric", "squad_v2")
EVALUATIONS: dict[str, tuple[Evaluation, ...]] = {
    "stories": (Evaluation("TinyStories, held out", "stories/heldout.jsonl", ("--metric", "perplexity")),),
    "storyteller": (
        Evaluation("requested words, held-out requests", "storyteller/asked.jsonl", ("--metric", "accuracy")),
    ),
    "translator": tuple(
        Evaluation(
            f"{name}, {source} to {target}", f"translator/{file}_test.jsonl", _translated(source, target)
        )
        for name, file in (
            ("Tatoeba, held out", "tatoeba"),
            ("Tatoeba of every length, held out", "tatoeba_long"),
            ("Multi30k test_2016_flickr", "multi30k"),
            ("FLORES-200 dev", "flores"),
        )
        for source, target in (("en", "de"), ("de", "en"))
    ),
    "reader": (
        Evaluation("SQuAD 1.1, held-out articles", "reader/squad_test.jsonl", _ASKED),
        Evaluation(
            "SQuAD 1.1, held-out articles, each question also with another passage",
            "reader/squad_elsewhere_test.jsonl",
            _ASKED_2,
        ),
        Evaluation("SQuAD 2.0, held-out articles", "reader/squad2_test.jsonl", _ASKED_2),
        Evaluation("FairytaleQA validation, answers in the text", "reader/fairytale_test.jsonl", _ASKED),
        Evaluation("bAbI 1 test", "reader/babi1_test.jsonl", _ASKED),
        Evaluation("bAbI 4, 5, 11 and 12 test", "reader/babi_test.jsonl", _ASKED),
    ),
}


def judge(name: str, model: str, work: Path, counts: Counts) -> None:
    """Measure the model, and write its scores into its card.

    Args:
        name: of the model.
        model: what `llmkit eval -m` takes; its name where it is packaged, so that the card has no paths.
        work: the work folder; the card is there.
        counts: of the corpora.
    """
    folder = work / name / "model"
    card = folder / "README.md"
    values: dict[str, Any] = dict(counts[name])
    if name == "storyteller":
        ask_for_words(model, work, "asked")
        values |= plain(work) | coherence.numbers(work / name / "asked_answers.jsonl")
        pairs = (work / name / "preferences.jsonl").read_text(encoding="utf-8")
        values["pairs"] = len(pairs.splitlines())
    rows = []
    for number, evaluation in enumerate(EVALUATIONS[name]):
        print(f"{name}: {evaluation.dataset}", flush=True)
        scores = work / name / f"scores-{number}.json"
        into = ("--card", str(card), "--dataset", evaluation.dataset, "-o", str(scores), "--overwrite", "-q")
        llmkit("eval", *evaluation.of(model), str(work / evaluation.file), *into)
        rows += table(evaluation, json.loads(scores.read_text(encoding="utf-8")))
    values["results"] = "\n".join(rows)
    values["outputs"] = card_outputs.outputs(name, model)
    if name == "stories":
        values |= measure_stories.measured(work / name, folder) | told(model, work)
    if name == "reader":
        values |= {"by_word": by_word(model, work), "parameters": parameters(folder)}
    # The header has YAML's own braces.
    _, header, body = card.read_text(encoding="utf-8").split("---\n", 2)
    filled = re.sub(
        r"\{(\w+)(:[^}]+)?\}", lambda match: format(values[match[1]], (match[2] or ":")[1:]), body
    )
    card.write_text(f"---\n{header}---\n{filled}", encoding="utf-8")


def plain(work: Path) -> dict[str, float]:
    """Measure the share of requested words if `stories` continues the same requests, decoded alike."""
    folder = work / "storyteller"
    ask_for_words("stories", work, "plain", "--repetition-penalty", "1")
    scores = folder / "scores-plain.json"
    into = ("-o", str(scores), "--overwrite", "-q")
    llmkit("eval", "--metric", "accuracy", str(folder / "plain.jsonl"), *into)
    (found,) = json.loads(scores.read_text(encoding="utf-8"))["scores"]
    return {"plain": found["score"], "plain_low": found["low"], "plain_high": found["high"]}


def told(model: str, work: Path) -> dict[str, Any]:
    """Measure the coherence of 200 stories, and of the held-out stories."""
    prompts, answers = work / "stories" / "openings.jsonl", work / "stories" / "told.jsonl"
    prompts.write_text(coherence.openings(200), encoding="utf-8")
    options = ("--max-new-tokens", "300", "--seed", "0", "-o", str(answers), "--overwrite", "-q")
    llmkit("generate", "--input", str(prompts), "-m", model, *options)
    text = (work / "stories" / "stories_heldout.txt").read_text(encoding="utf-8")
    held_out = coherence.measured(text.split(f"\n{prepare_stories.SEPARATOR}\n"))
    return {**coherence.numbers(answers), "hero_held_out": held_out["hero_stays"]}


def parameters(folder: Path) -> int:
    """Return the number of parameters of a model, whose weights are in one file."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="np") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def by_word(model: str, work: Path) -> str:
    """Score the reader by the word that a question asks with, as rows of a table."""
    rows, scores = measure_reader.asked(work / "reader"), work / "reader" / "scores-by-word.json"
    into = ("--by", "asks", "-o", str(scores), "--overwrite", "-q")
    llmkit("eval", *_ASKED, "-m", model, str(rows), *into)
    return measure_reader.table(json.loads(scores.read_text(encoding="utf-8"))["scores"])


def ask_for_words(model: str, work: Path, name: str, *decoding: str) -> None:
    """Answer the held-out requests, and write for each requested word if the story has it.

    Args:
        model: what answers.
        work: the work folder.
        name: of the file, under the storyteller's folder.
        decoding: flags of `llmkit generate`.
    """
    folder = work / "storyteller"
    answers = folder / f"{name}_answers.jsonl"
    options = (*decoding, "--max-new-tokens", "200", "--seed", "0", "-o", str(answers), "--overwrite", "-q")
    llmkit("generate", "--input", str(folder / "talks_test.jsonl"), "-m", model, *options)
    rows = []
    for row in map(json.loads, answers.read_text(encoding="utf-8").splitlines()):
        for word in row["words"]:
            there = prepare_preferences.has(row["generated_text"], word)
            rows.append({"word": word, "prediction": "there" if there else "missing", "reference": "there"})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def table(evaluation: Evaluation, found: dict[str, Any]) -> list[str]:
    """Return a row of the card's table for each score that has an interval."""
    return [
        f"| {evaluation.dataset} | {found['rows']:,} | {score['name']} | {score['score']:.4g} |"
        f" {score['low']:.4g} to {score['high']:.4g} |"
        for score in found["scores"]
        if score["low"] is not None
    ]
