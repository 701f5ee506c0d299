"""The story world: what its stories, questions, conversations and German sentences must keep to."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MODELS = Path(__file__).parents[2] / "examples" / "models"
FOLDER = MODELS / "world"
STORIES = 300
# Measured: 0.92 of these stories' 8-word sequences are distinct (0.62 of 20,000 stories').
DISTINCT_8GRAMS = 0.85

# German endings, written out here once more so that the world's own tables can be wrong.
ARTICLES = {
    "nom": {"m": "der", "f": "die", "n": "das", "p": "die"},
    "acc": {"m": "den", "f": "die", "n": "das", "p": "die"},
    "dat": {"m": "dem", "f": "der", "n": "dem", "p": "den"},
    "gen": {"m": "des", "f": "der", "n": "des", "p": "der"},
}
EIN = {
    "nom": {"m": "", "f": "e", "n": "", "p": "e"},
    "acc": {"m": "en", "f": "e", "n": "", "p": "e"},
    "dat": {"m": "em", "f": "er", "n": "em", "p": "en"},
    "gen": {"m": "es", "f": "er", "n": "es", "p": "er"},
}


def adjective_ending(article: str, gender: str, case: str) -> str:
    """By the rule of thumb: where the article does not show gender and case, the adjective does."""
    shows = article == "der" or (article != "" and EIN[case][gender] != "")
    if not shows:
        if case == "gen" and gender in "mn":
            return "en"
        return {"der": "er", "den": "en", "dem": "em", "die": "e", "das": "es"}[ARTICLES[case][gender]]
    if gender == "p" or case in ("dat", "gen") or (case, gender) == ("acc", "m"):
        return "en"
    return "e"


@pytest.fixture(scope="module")
def world() -> Any:
    """Import one of the world's modules by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(MODELS))
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module


@pytest.fixture(scope="module")
def stories(world: Any) -> list[Any]:
    told = world("make").told
    return [told(f"test/{number}") for number in range(STORIES)]


def run(folder: Path, hash_seed: str, count: int = 40) -> dict[str, str]:
    command = [
        sys.executable,
        str(FOLDER / "tell.py"),
        "--seed",
        "3",
        "--stories",
        str(count),
        "-o",
        str(folder),
    ]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True)
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(folder.iterdir())}


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_seed_writes_the_same_files_in_every_process(tmp_path: Path) -> None:
    first, second = run(tmp_path / "a", "1"), run(tmp_path / "b", "2")
    assert first == second
    assert set(first) == {"stories.txt", "questions.jsonl", "gists.jsonl", "pairs.jsonl"}
    assert first["stories.txt"].count("\n<|endoftext|>\n") == 39


def test_answers_are_spans_and_some_questions_have_none(world: Any, stories: list[Any]) -> None:
    import random

    kinds = set()
    for number, story in enumerate(stories):
        for row in world("questions").questions_of(story, random.Random(number)):
            texts, starts = row["answers"]["text"], row["answers"]["answer_start"]
            assert (row["kind"] == "impossible") == (not texts)
            for text, start in zip(texts, starts, strict=True):
                assert text
                around = row["context"][max(0, start - 1) : start + len(text) + 1]
                assert re.fullmatch(r"(^|\W)\w(.*\w)?(\W|$)", around), around
                assert row["context"][start : start + len(text)] == text
                assert text.lower() not in {"he", "she", "it", "they", "him", "her", "them", "his", "their"}
            kinds.add(row["kind"])
    assert {"who", "what", "where", "impossible", "what color"} <= kinds


def test_every_story_is_true_to_itself(stories: list[Any]) -> None:
    """Replays the log by rules of its own: who has a thing, and where everyone is."""
    claims = 0
    for story in stories:
        has: dict[str, str] = {}
        at: dict[str, str] = {}
        is_: dict[str, str] = {}
        for event in story.world.log:
            for fact in event.needs:
                claims += 1
                if fact.relation == "has":
                    assert (has.get(fact.value) == fact.subject) is fact.holds, (event.name, fact, story.text)
                elif fact.relation == "at":
                    carrier = has.get(fact.subject, fact.subject)
                    assert at.get(carrier, fact.value) == fact.value, (event.name, fact, story.text)
                elif fact.relation == "is":
                    assert (is_.get(fact.subject) == fact.value) is fact.holds, (event.name, fact, story.text)
            for fact in event.then:
                if fact.relation == "has" and fact.holds:
                    has[fact.value] = fact.subject
                    at.pop(fact.value, None)
                elif fact.relation == "has":
                    has.pop(fact.value, None)
                elif fact.relation == "at":
                    has.pop(fact.subject, None)
                    at[fact.subject] = fact.value
                elif fact.relation == "is":
                    is_[fact.subject] = fact.value
    assert claims > STORIES


def test_no_unwanted_word_and_no_leftover_of_a_template(world: Any, stories: list[Any]) -> None:
    unwanted = world("prepare_stories").UNWANTED
    for story in stories:
        german = " ".join(sentence.de for sentence in story.sentences)
        assert not unwanted.search(story.text)
        for text in (story.text, german, story.gist):
            assert text
            assert not re.search(r"[{}<>|\[\]*_]|  | [.,!?]|None|\.\.", text), text
        for sentence in story.sentences:
            assert re.match(r'"?[A-Z]', sentence.en), sentence.en
            assert re.search(r'[.!?:]"?$', sentence.en), sentence
            assert re.search(r"[.!?:]“?$", sentence.de), sentence
            assert sentence.en.count('"') == 2 * sentence.de.count("„") == 2 * sentence.de.count("“"), (
                sentence
            )


def test_stories_vary(stories: list[Any]) -> None:
    grams = [
        tuple(words[i : i + 8])
        for words in (re.findall(r"\w+", story.text.lower()) for story in stories)
        for i in range(len(words) - 7)
    ]
    assert len(set(grams)) / len(grams) > DISTINCT_8GRAMS
    assert len({story.text for story in stories}) == STORIES


def test_german_noun_phrases_agree(world: Any, stories: list[Any]) -> None:
    genders: dict[tuple[str, bool], str] = {}
    checked = 0
    for story in stories:
        for text, noun, gender, case, article, adjectives in story.phrases:
            words = text.split()
            many = gender == "p"
            assert genders.setdefault((noun, many), gender) == gender, f"{noun} has two genders"
            if article:
                first = ARTICLES[case][gender] if article == "der" else article + EIN[case][gender]
                assert words.pop(0) == first, text
            for adjective in filter(None, adjectives.split(",")):
                form = words.pop(0)
                if adjective not in ("lila", "rosa", "orange"):
                    assert form.endswith(adjective_ending(article, gender, case)), (text, gender, case)
                    assert form[:2] == adjective[:2]
            assert words, text
            checked += 1
    assert checked > 5 * STORIES


def test_pairs_say_the_same(world: Any, stories: list[Any]) -> None:
    lexicon = world("lexicon_world")
    names = {*lexicon.GIRLS, *lexicon.BOYS, *(n for pool in lexicon.PET_NAMES.values() for n in pool)} - {
        "Will",
        "May",
    }
    numbers = dict(
        zip(
            ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
            ["zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn"],
            strict=True,
        )
    )
    for story in stories:
        own = {who.name for who in story.cast} & names
        for sentence in story.sentences:
            for name in own:
                english = len(re.findall(rf"\b{name}\b", sentence.en))
                assert bool(english) == bool(re.search(rf"\b{name}s?\b", sentence.de)), (
                    sentence.en,
                    sentence.de,
                )
            for en, de in numbers.items():
                assert bool(re.search(rf"\b{en}\b", sentence.en)) == bool(
                    re.search(rf"\b{de}\b", sentence.de)
                ), sentence


def test_another_ending_keeps_the_world(world: Any) -> None:
    told = world("make").told
    for number in range(60):
        happy, sad = (told(f"test/{number}", happy=mood) for mood in (True, False))
        assert (happy.plot, happy.b["A"].key) == (sad.plot, sad.b["A"].key)
        assert happy.text != sad.text


def test_a_gist_is_a_sentence(tmp_path: Path) -> None:
    files = run(tmp_path / "a", "0", 120)
    assert all(row["source"] and row["target"].endswith(".") for row in rows(files["gists.jsonl"]))
