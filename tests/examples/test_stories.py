"""The programs that make the embedded story model, on a few planted stories."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "models"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a program's module by name; they import each other as scripts do."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def story(name: str, thing: str) -> str:
    return (
        f"Once upon a time, there was a girl named {name}. {name} had a {thing}.\n"
        f'"I like my {thing}," {name} said. "It is the best {thing} in the whole wide world."\n'
        f"Then {name} took the {thing} home to Mom, and they were all very happy that day."
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three files that overlap as the real ones do."""
    things = ["ball", "kite", "boat", "cake", "drum", "doll", "frog", "hat", "pear", "bell"]
    names = [f"Name{letter}" for letter in "abcdefghijklmnopqrstuvwxyzäöüß"]
    cased = [story(name, thing) for name, thing in zip(names, things * 3, strict=True)]
    cased = [s.replace("the best", f"the {n}th best") for n, s in enumerate(cased)]
    folder = tmp_path / "data" / "stories"
    folder.mkdir(parents=True)
    end = "\n<|endoftext|>\n"
    bad = story("Max", "gun")
    (folder / "tinystories.txt").write_text(end.join([*cased, bad, "One day, Tom was cut"]))
    parted = [s.replace("\n", "\n\n") for s in cased[:3]]
    (folder / "tinystories_extra.txt").write_text("\n".join([*parted, "Cut off"]))
    only_lower = story("Zoe", "purple elephant").replace("\n", "\n\n").lower()
    lower = [
        *(s.replace("\n", "\n\n").lower() for s in cased),
        only_lower,
        "once upon a time a cat was cut off",
    ]
    (folder / "tinystories_lowercase.txt").write_text("\n".join(lower))
    return tmp_path / "data"


def read(file: Path) -> list[str]:
    return file.read_text().strip().split("\n<|endoftext|>\n")


def test_each_story_is_kept_once_and_on_one_side(
    example: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_stories = example("prepare_stories")
    # The planted stories are all near copies of one another.
    monkeypatch.setattr(prepare_stories, "OVERLAP_LIMIT", 1.0)
    known = (data / "stories" / "tinystories.txt").read_text().partition("\n<|endoftext|>\n")[0]
    new = "A mole said: “I dig.” He dug for seven days and found a wide and silent lake below the hill."
    more = tmp_path / "more.txt"
    more.write_text("\n<|endoftext|>\n".join([known, new, new.replace("mole", "gun")]) + "\n<|endoftext|>\n")
    counts = prepare_stories.prepare(data, more, tmp_path / "out")
    train, held_out = read(tmp_path / "out/stories.txt"), read(tmp_path / "out/stories_heldout.txt")
    assert (counts["cased"], counts["lower_case_only"], counts["more"]) == (31, 1, 3)
    assert counts["left_out_for_content"] == 2
    assert (len(train), len(held_out)) == (counts["train"], counts["held_out"])
    keys = [prepare_stories.key(s) for s in train + held_out]
    assert len(keys) == len(set(keys)) == 32
    assert prepare_stories.clean(new) in train
    assert not any("gun" in s or "ut off" in s or "was cut" in s for s in train + held_out)


def test_what_was_lower_case_gets_its_capitals_back(example: Any) -> None:
    caser = example("prepare_stories").TrueCaser([story("Lily", "ball"), story("Tom", "kite")] * 3)
    lower = 'i saw lily.\nthen mom said, "it is a day." a dog named rex came! "yes!" said lily.'
    expected = 'I saw Lily.\nThen Mom said, "It is a day." A dog named Rex came! "Yes!" said Lily.'
    assert caser(lower) == expected


def test_curly_and_broken_quotes_become_plain(example: Any) -> None:
    clean = example("prepare_stories").clean
    broken = "“Hi,” he said".encode().decode("cp1252", errors="replace").lower()
    assert clean("“Hi,”  he said. It’s\u00a0late…\n\n ") == '"Hi," he said. It\'s late...'
    assert clean("it" + "’".encode().decode("cp1252") + "s") == "it's"
    assert "â" not in clean(broken)


@pytest.mark.parametrize("history", [[0], [0, 1], [0, 1, 2], [1, 2, 2], [7, 7, 7], [3, 1, 4, 1, 5]])
def test_ngram_probabilities_sum_to_one(example: Any, history: list[int]) -> None:
    documents = [[(i * i + j) % 5 + 1 for j in range(i % 7 + 1)] for i in range(100)]
    model = example("ngram").KneserNey(documents, vocabulary=8, boundary=0)
    assert sum(model.probability(history, token) for token in range(8)) == pytest.approx(1)


def test_ngrams_of_higher_order_predict_what_depends_on_the_past(example: Any) -> None:
    documents = [[1, 2, 3, 1, 2, 4] * 3] * 20
    scores = [
        example("ngram").KneserNey(documents, vocabulary=8, boundary=0, order=n).nats(documents[0])
        for n in (1, 2, 3, 4)
    ]
    assert scores == sorted(scores, reverse=True)


def test_a_bigram_model_by_hand(example: Any) -> None:
    # One document, 0 1 2 1 0. Bigrams 01, 12, 21, 10 once each; too few counts, so every discount is 1/2.
    # Left contexts: 1 has two (0 and 2), 2 and 0 have one each: p(1) = (2 - .5 + 1.5 / 4) / 4 = .46875.
    # p(1 | 0) = (1 - .5 + .5 * p(1)) / 1.
    model = example("ngram").KneserNey([[1, 2, 1]], vocabulary=4, boundary=0, order=2)
    assert model.probability([0], 1) == pytest.approx(0.5 + 0.5 * 0.46875)


def test_the_share_of_known_sequences(example: Any) -> None:
    known = example("prepare_stories").ngrams("a b c d e f g h i")
    assert len(known) == 2
    assert example("measure_stories").share_known(["A b c, d e f g h! X"], known) == pytest.approx(0.5)


def test_without_the_data_folder_the_program_says_what_to_set() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "LLMKIT_DATA"}
    done = subprocess.run(
        [sys.executable, FOLDER / "make_models.py"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 1
    assert done.stderr == "set LLMKIT_DATA to the data folder, the one that holds stories/tinystories.txt\n"


@pytest.mark.slow
def test_no_held_out_story_stands_in_the_real_training_text(
    example: Any, data_folder: Path, tmp_path: Path
) -> None:
    prepare_stories = example("prepare_stories")
    (tmp_path / "more.txt").write_text("")
    counts = prepare_stories.prepare(data_folder, tmp_path / "more.txt", tmp_path)
    train, held_out = read(tmp_path / "stories.txt"), read(tmp_path / "stories_heldout.txt")
    assert counts["train"] > 4000
    assert 0.03 < len(held_out) / (len(train) + len(held_out)) < 0.07
    openings = {prepare_stories.key(s)[:150] for s in train}
    assert not any(prepare_stories.key(s)[:150] in openings for s in held_out)
