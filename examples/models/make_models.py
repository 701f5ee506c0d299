"""Make the models in the box anew: corpora, training, measurements, cards. This is what `make models` runs.

    LLMKIT_DATA=/path/to/data python examples/models/make_models.py [--work FOLDER] [--keep] [NAME...]

Everything is made in FOLDER (build/models), two models at a time with a thread each. What was stopped goes on
where it was when the command is given again. Each finished model is measured, its scores are compared with
those of the card in the package, and it takes the packaged model's place, unless --keep is given.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import average
import card_outputs
import measure_stories
import measure_storyteller
import prepare_answers
import prepare_stories
import prepare_storyteller
import prepare_translation

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[1] / "llmkit" / "models"
WORLD_STORIES = 20_000
Counts = dict[str, dict[str, int]]
Scores = dict[tuple[str, str], tuple[float, list[float] | None]]

FILES = (
    "README.md",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
_SAMPLED = {"do_sample": True, "temperature": 0.6, "top_p": 0.95}
DECODING: dict[str, dict[str, Any]] = {
    "stories": {**_SAMPLED, "repetition_penalty": 1.05},
    # A penalty would fall on the words that were asked for, and so would a higher temperature.
    "storyteller": {**_SAMPLED, "temperature": 0.4, "repetition_penalty": 1.0},
    "translator": {"num_beams": 4, "max_new_tokens": 64},
}


@dataclass(frozen=True)
class Evaluation:
    """A score in a card.

    Attributes:
        dataset: as the card calls the test set.
        arguments: of `llmkit eval`, without the model.
        file: the rows, under the work folder.
    """

    dataset: str
    file: str
    arguments: tuple[str, ...]

    def of(self, model: str) -> tuple[str, ...]:
        """The arguments, with the model where it is to run."""
        runs = "--task" in self.arguments or "perplexity" in self.arguments
        return (*self.arguments, "-m", model) if runs else self.arguments


def _translated(source: str, target: str) -> tuple[str, ...]:
    languages = ("--task", "translate", "--from", source, "--to", target)
    return (*languages, "--field", source, "--reference-field", target, "--metric", "bleu,chrf")


_ASKED = ("--task", "qa", "--metric", "squad")
EVALUATIONS: dict[str, tuple[Evaluation, ...]] = {
    "stories": (Evaluation("TinyStories, held out", "stories/heldout.jsonl", ("--metric", "perplexity")),),
    "storyteller": (
        Evaluation("words asked for, held-out requests", "storyteller/asked.jsonl", ("--metric", "accuracy")),
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
        Evaluation("FairytaleQA validation, answers in the text", "reader/fairytale_test.jsonl", _ASKED),
        Evaluation("bAbI 1 test", "reader/babi1_test.jsonl", _ASKED),
        Evaluation("bAbI 4, 5, 11 and 12 test", "reader/babi_test.jsonl", _ASKED),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the models in the box anew.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(EVALUATIONS))
    parser.add_argument("--work", type=Path, default=HERE.parents[1] / "build" / "models")
    parser.add_argument("--keep", action="store_true", help="leave the packaged models as they are")
    flags = parser.parse_args()
    unknown = set(flags.names) - set(EVALUATIONS)
    if unknown:
        sys.exit(f"no model {', '.join(sorted(unknown))}; there is {', '.join(EVALUATIONS)}")
    wanted = [name for name in EVALUATIONS if name in (flags.names or EVALUATIONS)]
    data, work = prepare_stories.data_folder(), flags.work
    work.mkdir(parents=True, exist_ok=True)
    counts = prepare(data, work, wanted)
    # The storyteller goes on the stories model; the others wait for nobody.
    lines = (("stories", "storyteller"), ("translator", "reader"))

    def one_after_another(names: tuple[str, ...]) -> None:
        for name in names:
            if name == "storyteller" and name in wanted:
                make_storyteller(work, "stories" in wanted)
            elif name in wanted:
                MAKERS[name](work)

    with ThreadPoolExecutor(len(lines)) as pool:
        list(pool.map(one_after_another, lines))
    for name in wanted:
        before = scores_of(PACKAGE / name / "README.md")
        complete(name, work)
        if flags.keep:
            judge(name, str(work / name / "model"), work, counts)
        else:
            package(name, work)
            judge(name, name, work, counts)
            shutil.copyfile(work / name / "model" / "README.md", PACKAGE / name / "README.md")
        compare(name, before, scores_of(work / name / "model" / "README.md"))
    if "stories" in wanted and "storyteller" not in wanted and not flags.keep:
        print("storyteller goes on stories: make it anew too")


def prepare(data: Path, work: Path, wanted: Sequence[str]) -> Counts:
    """The corpora of models, each once; returns the numbers that their cards tell."""
    world, stories = work / "world", work / "stories"
    if not world.is_dir():
        options = ["--seed", "1", "--stories", str(WORLD_STORIES), "-o", str(world)]
        run([sys.executable, str(HERE / "world" / "tell.py"), *options])
    text = stories / "stories.txt"
    makers: dict[str, Callable[[], dict[str, int]]] = {
        "stories": lambda: prepare_stories.prepare(data, prepare_stories.more_stories(), stories),
        "storyteller": lambda: prepare_storyteller.prepare(data, stories, work / "storyteller", world),
        "translator": lambda: prepare_translation.prepare(
            data, prepare_translation.tatoeba_file(), work / "translator"
        ),
        "reader": lambda: prepare_answers.prepare(
            data, prepare_answers.questions_folder(), world, text, work / "reader"
        ),
    }
    counts: Counts = {}
    for name, make in makers.items():
        # The storyteller and the reader learn from the stories too.
        if name in wanted or name == "stories":
            done = work / f"counts-{name}.json"
            if not done.is_file():
                done.write_text(json.dumps(make(), indent=2), encoding="utf-8")
            counts[name] = json.loads(done.read_text(encoding="utf-8"))
    return counts


def make_stories(work: Path) -> None:
    folder = work / "stories"
    train(
        "pretrain",
        folder / "model",
        folder / "stories.txt",
        "stories",
        "--eval-data",
        str(folder / "stories_heldout.txt"),
        "--save-dtype",
        "float16",
    )


def make_storyteller(work: Path, on_new: bool) -> None:
    """On the stories model made in this run, or else on the packaged one."""
    folder = work / "storyteller"
    base = str(work / "stories" / "model") if on_new else "stories"
    first = folder / "first"
    train("finetune", first, folder / "talks.jsonl", "storyteller", "-m", base)
    for name in ("last", "world"):
        rows = folder / f"talks_{name}.jsonl"
        train("finetune", folder / name, rows, "storyteller-last", "-m", str(first))
    mean = folder / "mean"
    average.average([folder / "last", folder / "world"], mean)
    rows = folder / "talks_turns.jsonl"
    train("finetune", folder / "turns", rows, "storyteller-turns", "-m", str(mean))
    average.average([mean, folder / "turns"], folder / "model")


def make_translator(work: Path) -> None:
    folder = work / "translator"
    train("pretrain", folder / "base", folder / "bilingual.txt", "translator-base")
    rows = folder / "translation.jsonl"
    train("finetune", folder / "two-passes", rows, "translator", "-m", str(folder / "base"))
    more = ("-m", str(folder / "two-passes"), "--save-dtype", "float16")
    train("finetune", folder / "model", rows, "translator-more", *more)


def make_reader(work: Path) -> None:
    folder = work / "reader"
    train("pretrain", folder / "base", folder / "english.txt", "reader-base")
    train("finetune", folder / "cloze", folder / "cloze.jsonl", "reader-cloze", "-m", str(folder / "base"))
    rows = folder / "answers.jsonl"
    train(
        "finetune", folder / "model", rows, "reader", "-m", str(folder / "cloze"), "--save-dtype", "float16"
    )


MAKERS: dict[str, Callable[[Path], None]] = {
    "stories": make_stories,
    "translator": make_translator,
    "reader": make_reader,
}


def train(verb: str, output: Path, data: Path, recipe: str, *arguments: str) -> None:
    """Run a recipe to its end, from where it stands."""
    if (output / "README.md").is_file():
        return
    resume = ["--resume"] if (output / "checkpoints" / "run.json").is_file() else []
    log = output.with_suffix(".log")
    print(f"{verb} {recipe}.yaml; see {log}", flush=True)
    llmkit(
        verb,
        str(data),
        "--config",
        str(HERE / f"{recipe}.yaml"),
        "-o",
        str(output),
        *arguments,
        *resume,
        log=log,
    )


def complete(name: str, work: Path) -> None:
    """What the training does not write: how the model is run, and its card, yet without scores."""
    folder = work / name / "model"
    if name in DECODING:
        amend(folder / "generation_config.json", DECODING[name])
    if name == "translator":
        pairs = (("en", "de"), ("de", "en"))
        tasks = {f"translation_{a}_to_{b}": {"prefix": prepare_translation.PREFIXES[b]} for a, b in pairs}
        amend(folder / "config.json", {"task_specific_params": tasks})
    shutil.copyfile(HERE / "cards" / f"{name}.md", folder / "README.md")


def judge(name: str, model: str, work: Path, counts: Counts) -> None:
    """Measure the model and put what comes out into its card.

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
        values |= plain(work) | measure_storyteller.measured(work / name)
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
        values |= measure_stories.measured(work / name, folder)
    # The header has YAML's own braces.
    _, header, body = card.read_text(encoding="utf-8").split("---\n", 2)
    filled = re.sub(
        r"\{(\w+)(:[^}]+)?\}", lambda match: format(values[match[1]], (match[2] or ":")[1:]), body
    )
    card.write_text(f"---\n{header}---\n{filled}", encoding="utf-8")


def plain(work: Path) -> dict[str, float]:
    """How many of the words asked for `stories` has in the story that it goes on with, decoded alike."""
    folder = work / "storyteller"
    ask_for_words("stories", work, "plain", "--repetition-penalty", "1")
    scores = folder / "scores-plain.json"
    into = ("-o", str(scores), "--overwrite", "-q")
    llmkit("eval", "--metric", "accuracy", str(folder / "plain.jsonl"), *into)
    (found,) = json.loads(scores.read_text(encoding="utf-8"))["scores"]
    return {"plain": found["score"], "plain_low": found["low"], "plain_high": found["high"]}


def ask_for_words(model: str, work: Path, name: str, *decoding: str) -> None:
    """Have the held-out requests answered, and write for each word asked for whether it is there.

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
            there = re.search(rf"\b{re.escape(word)}s?\b", row["generated_text"], re.IGNORECASE) is not None
            rows.append({"word": word, "prediction": "there" if there else "missing", "reference": "there"})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def table(evaluation: Evaluation, found: dict[str, Any]) -> list[str]:
    """A line for each score, for the card's table of results."""
    return [
        f"| {evaluation.dataset} | {found['rows']:,} | {score['name']} | {score['score']:.4g} |"
        f" {score['low']:.4g} to {score['high']:.4g} |"
        for score in found["scores"]
    ]


def compare(name: str, before: Scores, after: Scores) -> None:
    """Say how far the new scores are from those of the packaged card."""
    for key, (value, _) in after.items():
        if key not in before:
            print(f"{name}: {': '.join(key)} {value:.4g} (new)")
            continue
        old, interval = before[key]
        inside = interval is not None and interval[0] <= value <= interval[1]
        where = "inside" if inside else "outside"
        print(f"{name}: {': '.join(key)} {value:.4g}, card {old:.4g}: {where} the card's interval")


def scores_of(card: Path) -> Scores:
    """(test set, metric) -> score and interval, by the card's model-index."""
    import yaml

    if not card.is_file():
        return {}
    header = yaml.safe_load(card.read_text(encoding="utf-8").split("---\n")[1])
    return {
        (result["dataset"]["name"], metric["name"]): (metric["value"], metric.get("args", {}).get("interval"))
        for model in header.get("model-index", [])
        for result in model["results"]
        for metric in result["metrics"]
    }


def package(name: str, work: Path) -> None:
    """Let the model take the packaged one's place."""
    target = PACKAGE / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for file in FILES:
        made = work / name / "model" / file
        if made.is_file():
            shutil.copyfile(made, target / file)


def amend(file: Path, values: dict[str, Any]) -> None:
    """Set values in a JSON file."""
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps({**before, **values}, indent=2) + "\n", encoding="utf-8")


def llmkit(*arguments: str, log: Path | None = None) -> None:
    run([sys.executable, "-m", "llmkit", *arguments], log)


def run(command: list[str], log: Path | None = None) -> None:
    """Run a program on one thread; its messages go to `log`, and its failure ends ours."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if log is None:
        subprocess.run(command, check=True, env=environment)
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        subprocess.run(command, check=True, env=environment, stdout=file, stderr=file)


if __name__ == "__main__":
    main()
