"""The programs that make the corpora of the translator, the reader and the storyteller."""

import importlib
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

FOLDER = Path(__file__).parents[2] / "examples" / "models"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a program's module by name; they import each other as scripts do."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def test_pairs_that_share_a_sentence_stay_on_one_side(
    example: Callable[[str], Any],
) -> None:
    prepare = example("prepare_translation")
    pairs = [(f"Word {i}.", f"Wort {i // 2}.") for i in range(60)]  # two English sentences for a German one
    pairs += [(f"WORD {2 * i}.", f"Anders {i}.") for i in range(30)]  # joined by case alone
    train, test = prepare.hold_out(pairs, lambda group: prepare.is_drawn(group, 0.5))
    assert sorted(train + test) == sorted(pairs)
    assert min(len(train), len(test)) > 10
    for side in (0, 1):
        assert not {pair[side].lower() for pair in train} & {pair[side].lower() for pair in test}


def test_both_directions_are_told_apart_by_the_language_wanted(example: Callable[[str], Any]) -> None:
    rows = example("prepare_translation").both_ways([("Yes.", "Ja.")])
    assert rows == [{"source": "de: Yes.", "target": "Ja."}, {"source": "en: Ja.", "target": "Yes."}]


PASSAGE = (
    "In the year 1492 the brave sailor Christopher Columbus crossed the wide ocean with three small ships. "
    "He believed that the earth was round and that India lay behind the water. After many weeks of fear his "
    "men saw the white beach of an island in the morning sun. They thanked the sailor and rowed to the shore."
)


def test_a_cloze_question_leaves_its_answer_out_and_tells_where_it_stands(
    example: Callable[[str], Any],
) -> None:
    module = example("cloze")
    chance = random.Random(0)
    asked = [row for row in (module.cloze(PASSAGE, chance) for _ in range(300)) if row]
    assert len(asked) > 200
    for row in asked:
        (answer,), (start,) = row["answers"]["text"], row["answers"]["answer_start"]
        assert PASSAGE[start : start + len(answer)] == answer
        assert 1 <= len(answer.split()) <= 5
        assert row["question"].endswith("?")
        assert answer not in row["question"]
    answers = {row["answers"]["text"][0] for row in asked}
    assert {"1492", "Christopher Columbus", "India", "three small ships"} <= answers
    years = [row["question"].lower() for row in asked if row["answers"]["text"] == ["1492"]]
    assert all("when" in question or "year" in question for question in years)


def test_passages_are_whole_sentences_and_lose_none(example: Callable[[str], Any]) -> None:
    text = " ".join(f"This is sentence number {i} of the text." for i in range(40))
    found = list(example("cloze").passages(text, 30))
    assert " ".join(found) == text
    assert all(piece.endswith(".") for piece in found)


BABI = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Mary went to the hallway.
5 Where is Mary? \thallway\t4
1 Sandra moved to the garden.
2 Where is Sandra? \tgarden\t1
"""


def test_babi_s_answer_is_the_one_in_the_supporting_sentence(
    example: Callable[[str], Any], tmp_path: Path
) -> None:
    (tmp_path / "qa" / "babi").mkdir(parents=True)
    (tmp_path / "qa" / "babi" / "qa1_single-supporting-fact_test.txt").write_text(BABI)
    rows = example("prepare_answers").babi(tmp_path, 1, "test")
    assert [row["answers"]["text"] for row in rows] == [["bathroom"], ["hallway"], ["garden"]]
    # Of two hallways the one that Mary went to.
    assert rows[1]["answers"]["answer_start"] == [rows[1]["context"].rindex("hallway")]
    assert rows[2]["context"] == "Sandra moved to the garden."


@pytest.mark.parametrize("words", [1, 25, 40, 500])
def test_a_cropped_context_keeps_its_answer(example: Callable[[str], Any], words: int) -> None:
    prepare = example("prepare_answers")
    start = PASSAGE.index("India")
    row = prepare.row("Where?", PASSAGE, ["India", "the water"], [start, PASSAGE.index("the water")])
    made = prepare.cropped(row, words, random.Random(0))
    (answer,), (at,) = made["answers"]["text"], made["answers"]["answer_start"]
    assert made["context"][at : at + len(answer)] == answer == "India"
    assert made["context"] in PASSAGE
    assert len(made["context"].split()) <= max(words, 15)
    assert (made["context"] == PASSAGE) == (words == 500)


def article(title: str, context: str, *asked: tuple[str, str]) -> dict[str, Any]:
    """An article of one paragraph in SQuAD's form; questions with their answers, empty if there are none."""
    rows = [
        {"question": q, "answers": [{"text": a, "answer_start": context.index(a)}] if a else []}
        for q, a in asked
    ]
    return {"title": title, "paragraphs": [{"context": context, "qas": rows}]}


def test_no_question_is_learnt_on_text_that_judges(example: Callable[[str], Any], tmp_path: Path) -> None:
    prepare = example("prepare_answers")
    held = next(name for name in map(str, range(99)) if prepare.is_held_out(name))
    kept = next(name for name in map(str, range(99)) if not prepare.is_held_out(name))
    first = article(held, PASSAGE, ("Who?", "Christopher Columbus"))
    learnt = article(kept, "Ada wrote a poem.", ("Who wrote?", "Ada"))
    files = {
        "qa/squad_v1.1_dev_part.json": [first, learnt],
        "more/a_dev.json": [
            article(held, PASSAGE, ("Who swam?", "")),
            article(kept, "Ada wrote a poem.", ("Who wrote?", "Ada"), ("Who read?", "")),
        ],
        # Not of the development set: its title says nothing, but it has the held-out text.
        "more/b.json": [
            article(held, "Bees fly.", ("Who flies?", "Bees")),
            article("other", "So: " + PASSAGE, ("Where?", "India")),
        ],
    }
    for name, articles in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"data": articles}))
    found = prepare.Wikipedia.read(tmp_path, tmp_path / "more")
    assert [row["question"] for row in found.test[held]] == ["Who?"]
    assert list(found.test) == [held]
    assert [row["question"] for row in found.test_2] == ["Who swam?"]
    learned = {title: [row["question"] for row in rows] for title, rows in found.train.items()}
    assert learned == {kept: ["Who wrote?", "Who read?"], held: ["Who flies?"], "other": []}
    assert found.paragraphs == ["Ada wrote a poem.", "Bees fly."]


def test_a_question_is_put_to_a_passage_without_its_answer(example: Callable[[str], Any]) -> None:
    prepare = example("prepare_answers")
    texts = ["Ada wrote a poem.", "Bob heard of Ada.", "The poem was long."]
    rows = [prepare.row("Who wrote the poem?", texts[0], ["Ada"], [0])]
    rows += [prepare.row("Who?", text, [], []) for text in texts[1:]]
    made = [row for seed in range(20) for row in prepare.elsewhere(rows, 1, random.Random(seed))]
    assert {(row["question"], row["context"]) for row in made} == {("Who wrote the poem?", texts[2])}
    assert all(row["answers"] == {"text": [], "answer_start": []} for row in made)
    assert prepare.elsewhere(rows, 0, random.Random(0)) == []


def test_a_sentence_s_question_is_asked_of_several(example: Callable[[str], Any], tmp_path: Path) -> None:
    prepare = example("prepare_answers")
    rows = [prepare.row(f"Who is {i}?", f"It is {name}.", [name], [6]) for i, name in enumerate("ABCDEFG")]
    (tmp_path / "qamr.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = prepare.qamr(tmp_path / "qamr.jsonl", random.Random(0))
    assert len(made) == 7
    for row in made:
        (answer,), (at,) = row["answers"]["text"], row["answers"]["answer_start"]
        assert row["context"][at] == answer
        assert row["question"] == f"Who is {'ABCDEFG'.index(answer)}?"
        assert row["context"].count("It is") >= 4


def kites() -> list[str]:
    return [
        f"Once upon a time there was a girl named {name}. She saw a red {thing}. Then the {thing} was gone,"
        f" and she had a small {thing}. It was a warm day. A rock was there. {name} sat on the rock."
        for name in ("Lily", "Anna", "Mia", "Sue")
        for thing in ("kite", "apple", "ball")
    ]


def test_a_story_is_asked_for_by_what_is_in_it(example: Callable[[str], Any]) -> None:
    words = example("story_words").Words(kites())
    assert set(words.nouns) == {"kite", "apple", "ball", "rock", "girl"}
    assert words.names == {"Lily": "f", "Anna": "f", "Mia": "f", "Sue": "f"}
    wishes = {wish.word: wish for wish in words.wishes(kites()[0])}
    assert {word: wish.phrase for word, wish in wishes.items()} == {
        "kite": "a red kite",
        "rock": "the rock",
        "Lily": "a girl named Lily",
    }
    assert wishes["kite"].times == 3
    assert wishes["rock"].place > 0.5


def test_what_is_asked_for_is_exchanged_in_the_request_and_the_story(example: Callable[[str], Any]) -> None:
    words = example("story_words").Words(kites())
    story = kites()[0]
    wishes = {wish.word: wish for wish in words.wishes(story)}
    for seed in range(20):
        for word in ("kite", "Lily"):
            text, wish = words.exchanged(story, wishes[word], random.Random(seed))
            assert wish.word in (("apple", "ball") if word == "kite" else ("Anna", "Mia", "Sue"))
            assert word not in text
            assert text.count(wish.word) == story.count(word)
            assert wish.phrase.replace(wish.word, word) == wishes[word].phrase
            assert not re.search(r"\ba apple|\ban (?!apple)", text)
    # Nothing takes the place of a part of another thing.
    assert words.exchanged("He had a kite apple.", wishes["kite"], random.Random(0)) is None


def test_the_storyteller_learns_no_request_that_judges_it(
    example: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = example("prepare_storyteller")
    monkeypatch.setattr(prepare, "ROWS", 300)
    stories = [story.replace("warm", f"warm{i}") for i, story in enumerate(kites() * 10)]
    (tmp_path / "stories.txt").write_text("\n<|endoftext|>\n".join(stories) + "\n")
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat/instruction-data.json").write_text(
        json.dumps([{"instruction": "Add.", "input": "1 2"}])
    )
    monkeypatch.setattr(prepare, "LAST_ROWS", 100)
    counts = prepare.prepare(tmp_path, tmp_path, tmp_path / "out")
    files = {
        file.stem: [json.loads(line) for line in file.read_text().splitlines()]
        for file in (tmp_path / "out").iterdir()
    }
    rows, tests = files["talks"] + files["talks_last"], files["talks_test"]
    assert (counts["held_out"], counts["real_talks"], counts["spoken_talks"]) == (151, 270, 30)
    assert (counts["real_talks_last"], counts["spoken_talks_last"]) == (90, 10)
    assert len(tests) == 151
    said = {message["content"] for row in rows for message in row["messages"]}
    asked = {row["prompt"] for row in tests}
    assert said.isdisjoint(asked)
    assert asked.isdisjoint(row["prompt"] for row in files["talks_requests"])
    assert counts["requests"] == len(files["talks_requests"]) > 30
    aside = random.Random(0).sample(stories, 6)
    assert not [story for story in aside if any(story[60:] in text for text in said)]
    for row in rows:
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
    # A second story is asked for too.
    assert any(sum("Once upon" in text["content"] for text in row["messages"]) == 2 for row in rows)
    first, second = prepare.parted(stories[0])
    assert f"{first} {second}" == stories[0]


def test_pairs_prefer_the_answer_that_keeps_to_the_request(
    example: Callable[[str], Any], tmp_path: Path
) -> None:
    good = "A cat named Tom saw two birds. Tom smiled at them and went home."
    dull = "A cat named Tom saw a bird. A bird saw Tom. Tom saw a bird. A bird saw Tom."
    lost = "A cat named Tom saw a bird. The bird flew off. A dog came. It barked."
    bare = "A dog named Tom ran. Tom ran home."
    answers = tmp_path / "answers.jsonl"

    def pairs(*texts: str, cut: int = 0) -> list[tuple[str, str]]:
        reasons = ["length"] * cut + ["stop"] * (len(texts) - cut)
        row = {"prompt": "A cat, a bird.", "words": ["cat", "bird"]}
        answers.write_text(json.dumps({**row, "generated_text": texts, "finish_reason": reasons}))
        found = example("prepare_preferences").rows(answers)
        assert all(one["prompt"] == [{"role": "user", "content": "A cat, a bird."}] for one in found)
        return [(one["chosen"][0]["content"], one["rejected"][0]["content"]) for one in found]

    assert pairs(dull, lost, good, bare) == [(good, bare), (good, dull)]
    assert pairs(lost, good) == [(good, lost)]  # the hero is gone at the end
    assert pairs(good, good) == []
    assert pairs(lost, bare) == []
    assert pairs(bare, good, cut=1) == []


def test_the_mean_of_two_models_has_the_files_of_the_second(
    example: Callable[[str], Any], tmp_path: Path
) -> None:
    for name, value in (("first", 1.0), ("last", 2.0)):
        (tmp_path / name).mkdir()
        save_file({"weight": torch.full((2,), value).half()}, tmp_path / name / "model.safetensors")
        (tmp_path / name / "config.json").write_text(json.dumps({"model": name}))
    example("make_models").average(tmp_path / "first", tmp_path / "last", tmp_path / "mean")
    (weight,) = load_file(tmp_path / "mean" / "model.safetensors").values()
    assert (weight.dtype, weight.tolist()) == (torch.float16, [1.5, 1.5])
    assert json.loads((tmp_path / "mean" / "config.json").read_text()) == {"model": "last"}


def test_rows_with_more_of_some_questions(example: Callable[[str], Any]) -> None:
    rows = [{"question": str(number)} for number in range(20)]
    found = example("prepare_answers").with_more_of(rows, {"1", "2", "x"}, random.Random(0))
    asked = sorted(one["question"] for one in found)
    assert len(asked) == len(set(asked)) == 6
    assert {"1", "2"} < set(asked)


def test_small_talk_leaves_no_gap(example: Callable[[str], Any]) -> None:
    talk, chance = example("small_talk"), random.Random(0)
    for _ in range(2000):
        said = [
            *talk.exchange(["Ann"], chance),
            *talk.offered("owl", ["Ann"], chance)[0],
            talk.declined(chance),
        ]
        for text in said:
            assert text
            assert not set("{}") & set(text)
            assert not re.search(r"\b[Aa] (?=[aeiou])", text)


def test_a_hero_who_stays_and_words_said_again(example: Callable[[str], Any]) -> None:
    found = example("coherence")
    story = "Once there was a boy named Ben. Mom saw Ben. It rained. {} The end."
    assert found.hero(story) == "Ben"
    assert found.hero_stays(story.format("Ben was glad.")) is True
    assert found.hero_stays(story.format("Tim was glad.")) is False
    assert found.hero_stays("A dog ran. It was glad.") is None
    words = "one two three four five six seven eight"
    assert found.repeated(f"{words} {words}") == (1, 9)
    assert found.repeated(words) == (0, 1)
    row = found.measured([story.format("Ben was glad."), story.format("Tim was glad."), f"{words} {words}"])
    assert (row["stories"], row["named"], row["hero_stays"]) == (3, 2, 0.5)
    assert row["hero_stays_interval"] == [0.0, 1.0]


def test_questions_are_told_apart_by_the_word_that_they_ask_with(example: Callable[[str], Any]) -> None:
    measure = example("measure_reader")
    asked = {
        "Who came?": "who",
        "To whom did it go?": "who",
        "How much was it?": "how many",
        "How did it go?": "how",
        "In what year, and where?": "what",
        "Name the king.": "other",
    }
    assert {question: measure.word_of(question) for question in asked} == asked
    scores = [
        {"name": "squad_f1", "group": group, "rows": 1200, "score": 50.04, "low": low, "high": 60.0}
        for group, low in ((None, 40), ("why", 40.0), ("who", 41.0), ("when", None), ("other", 42.0))
    ]
    assert (
        measure.table(scores)
        == "| who | 1,200 | 50.0 | 41.0 to 60.0 |\n| why | 1,200 | 50.0 | 40.0 to 60.0 |"
    )


def test_every_recipe_is_one_that_the_verbs_take(example: Callable[[str], Any]) -> None:
    from llmkit.cli import finetune, pretrain
    from llmkit.cli.common.options import ModelFlags

    make = example("make_models")
    recipes = {file.stem for file in FOLDER.glob("*.yaml")}
    source = Path(make.__file__).read_text()
    for name in recipes:
        assert f'"{name}"' in source
        options = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
        flags = pretrain.PretrainFlags if "arch" in options else finetune.FinetuneFlags
        known = {*flags.__dataclass_fields__, *ModelFlags.__dataclass_fields__}
        assert {key.replace("-", "_") for key in options} <= known
    assert {file.stem for file in (FOLDER / "cards").glob("*.md")} == set(make.EVALUATIONS)


def test_the_card_s_table_and_the_comparison_read_the_scores(
    example: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, judge = example("make_models"), example("judge")
    found = {"rows": 1200, "scores": [{"name": "BLEU", "score": 43.217, "low": 40.5, "high": 46.04}]}
    row = judge.table(judge.Evaluation("Tatoeba", "x.jsonl", ()), found)
    assert row == ["| Tatoeba | 1,200 | BLEU | 43.22 | 40.5 to 46.04 |"]
    cards = {}
    for side, value in (("old", 43.2), ("new", 46.5)):
        metric = {"name": "BLEU", "value": value, "args": {"interval": [value - 2, value + 2]}}
        index = [{"results": [{"dataset": {"name": "Tatoeba"}, "metrics": [metric]}]}]
        card = tmp_path / f"{side}.md"
        card.write_text(f"---\n{json.dumps({'model-index': index})}\n---\n# m\n")
        cards[side] = make.scores_of(card)
    make.compare("m", cards["old"], cards["new"])
    assert capsys.readouterr().out == "m: Tatoeba: BLEU 46.5, card 43.2: outside the card's interval\n"
