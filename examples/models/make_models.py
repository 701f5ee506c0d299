"""Make the models in the package: corpora, training, measurements, cards. This is what `make models` runs.

    python examples/models/make_models.py [--work FOLDER] [--keep] [NAME...]

The environment variables LLMKIT_DATA, LLMKIT_TINYSTORIES, LLMKIT_TATOEBA and LLMKIT_QUESTIONS name the
data (see docs/models.md). Everything is made in FOLDER (build/models), two models at a time with a thread
each. A run that was stopped goes on when the command is given again. Each finished model is measured, its
scores are compared with those of the card in the package, and it takes the packaged model's place, unless
--keep is given. FOLDER/seconds.jsonl has the seconds of each training and of the measurements.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import prepare_answers
import prepare_preferences
import prepare_stories
import prepare_storyteller
import prepare_translation
from commands import llmkit
from judge import EVALUATIONS, Counts, judge

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[1] / "llmkit" / "models"
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
    # A penalty would fall on the words that were asked for.
    "storyteller": {**_SAMPLED, "repetition_penalty": 1.0},
    "translator": {"num_beams": 4, "max_new_tokens": 64},
}

# Options of the storyteller's answers to compare.
ANSWERS = ("--num-return-sequences", "8", "--temperature", "0.7", "--max-new-tokens", "220", "--seed", "0")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the models of the package.")
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
        if not flags.keep:
            package(name, work)
        with timed(work, name, "measurements"):
            judge(name, str(work / name / "model") if flags.keep else name, work, counts)
        if not flags.keep:
            shutil.copyfile(work / name / "model" / "README.md", PACKAGE / name / "README.md")
        compare(name, before, scores_of(work / name / "model" / "README.md"))
    if "stories" in wanted and "storyteller" not in wanted and not flags.keep:
        print("storyteller is trained from stories: make it too")


def prepare(data: Path, work: Path, wanted: Sequence[str]) -> Counts:
    """The corpora of models, each once; returns the numbers that their cards tell."""
    stories = work / "stories"
    text = stories / "stories.txt"
    makers: dict[str, Callable[[], dict[str, int]]] = {
        "stories": lambda: prepare_stories.prepare(data, prepare_stories.more_stories(), stories),
        "storyteller": lambda: prepare_storyteller.prepare(data, stories, work / "storyteller"),
        "translator": lambda: prepare_translation.prepare(
            data, prepare_translation.tatoeba_file(), work / "translator"
        ),
        "reader": lambda: prepare_answers.prepare(
            data, prepare_answers.questions_folder(), text, work / "reader"
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
    last = folder / "last"
    half = ("--save-dtype", "float16")
    train("finetune", last, folder / "talks_last.jsonl", "storyteller-last", "-m", str(first), *half)
    pairs = folder / "preferences.jsonl"
    if not pairs.is_file():
        answer_requests(work, last, pairs)
    train("finetune", folder / "model", pairs, "storyteller-preferred", "-m", str(last), *half)


def answer_requests(work: Path, model: Path, pairs: Path) -> None:
    """Let the storyteller answer requests, and write pairs of its answers."""
    answers = pairs.with_name("requests_answers.jsonl")
    requests = ("--input", str(pairs.with_name("talks_requests.jsonl")))
    into = ("-o", str(answers), "--overwrite", "--details")
    with timed(work, "storyteller", "answers"):
        llmkit("generate", "-m", str(model), *requests, *ANSWERS, *into, log=answers.with_suffix(".log"))
    rows = prepare_preferences.rows(answers)
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


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
    cloze, more = folder / "cloze", folder / "cloze-more"
    train("finetune", cloze, folder / "cloze.jsonl", "reader-cloze", "-m", str(folder / "base"))
    train("finetune", more, folder / "cloze_more.jsonl", "reader-cloze", "-m", str(cloze))
    first, last = folder / "first", folder / "last"
    half = ("--save-dtype", "float16")
    train("finetune", first, folder / "answers.jsonl", "reader", "-m", str(more), *half)
    train("finetune", last, folder / "answers_last.jsonl", "reader-last", "-m", str(first), *half)
    average(first, last, folder / "model")


def average(first: Path, second: Path, output: Path) -> None:
    """Write the mean of the weights of two models, of which one goes on from the other."""
    from safetensors.torch import load_file, save_file

    output.mkdir(exist_ok=True)
    for file in FILES:
        if (second / file).is_file():
            shutil.copyfile(second / file, output / file)
    weights, others = (load_file(folder / "model.safetensors") for folder in (first, second))
    means = {name: ((one.float() + others[name].float()) / 2).to(one.dtype) for name, one in weights.items()}
    save_file(means, output / "model.safetensors", metadata={"format": "pt"})


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
    recipe_options = ("--config", str(HERE / f"{recipe}.yaml"), "-o", str(output))
    with timed(output.parents[1], output.parent.name, recipe):
        llmkit(verb, str(data), *recipe_options, *arguments, *resume, log=log)


@contextmanager
def timed(work: Path, name: str, step: str) -> Iterator[None]:
    """Add the seconds of a step to seconds.jsonl; one that was stopped and went on has several lines."""
    start = time.monotonic()
    try:
        yield
    finally:
        line = {"model": name, "step": step, "seconds": round(time.monotonic() - start)}
        with (work / "seconds.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def complete(name: str, work: Path) -> None:
    """What the training does not write: how the model is run, and its card, yet without scores."""
    folder = work / name / "model"
    if name in DECODING:
        amend(folder / "generation_config.json", DECODING[name])
    if name == "translator":
        pairs = (("en", "de"), ("de", "en"))
        tasks = {f"translation_{a}_to_{b}": {"prefix": prepare_translation.PREFIXES[b]} for a, b in pairs}
        amend(folder / "config.json", {"task_specific_params": tasks})
    if name == "reader":
        longest = {"max_answer_len": prepare_answers.LONGEST_ANSWER}
        amend(folder / "config.json", {"task_specific_params": {"question-answering": longest}})
    shutil.copyfile(HERE / "cards" / f"{name}.md", folder / "README.md")


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


if __name__ == "__main__":
    main()
