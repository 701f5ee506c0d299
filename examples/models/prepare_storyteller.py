"""Make the storyteller's rows: conversations in which a story is asked for, told, and gone on with.

    LLMKIT_DATA=/path/to/data python examples/models/prepare_storyteller.py STORIES OUT

STORIES is a folder of `prepare_stories.py`. Writes talks.jsonl, and talks_last.jsonl for the last steps. In
talks_test.jsonl are held-out requests (`prompt`) with the words asked for (`words`), in talks_dev.jsonl the
same for stories that the others leave out, and in talks_requests.jsonl requests that the model answers to
learn from its own answers (`prepare_preferences.py`).
"""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path
from typing import Any

import small_talk
from prepare_stories import data_folder
from story_words import Wish, Words

HERE = Path(__file__).parent
ROWS = 22_000
# Rows of the last steps, in which what is asked for is told of soon, in shorter stories.
LAST_ROWS = 10_000
REQUESTS = 2_000
# The most words of a story that another follows.
BRIEF = 120
# Share of the rows without a story.
SHARE_TALK = 0.10
# What is asked for is told of before so much of the story is over, and a story has at most so many words.
EARLY, LAST_EARLY = 0.6, 0.3
LONGEST, LAST_LONGEST = 220, 160
# How many stories are put aside to choose settings by.
DEVELOPMENT = 150
# Of the wishes, how many are exchanged for something else.
SHARE_EXCHANGED = 0.5
# In the last rows all are, and this share of what else is there: knowing a story by heart shall help little.
SHARE_OTHERS_EXCHANGED = 0.2
ABOUT = (
    "Tell me a story about {}.", "Tell me a story about {}.", "Tell me a story about {}!",
    "Can you tell me a story about {}?", "Please tell me a story about {}.", "Write a story about {}.",
    "I want to hear a story about {}.", "Do you know a story about {}?", "Make up a story about {}.",
    "A story about {}, please.", "A story about {}", "Tell me about {}.", "I want a story about {}.",
    "Could you tell me a short story about {}?", "Write a short story about {}.", "story about {}",
    "Tell a tale about {}.", "Let me hear a story about {}.", "Give me a story about {}.", "{}, please.",
    "Tell me something about {}.", "I would like to hear about {}.", "Tell me a bedtime story about {}.",
)  # fmt: skip
WITH = (
    "Tell me a story with {}.", "Can you tell a story with {} in it?", "Write a short story with {}.",
    "I would like a story with {}.", "Please tell me a story with {}.", "Write a story that has {} in it.",
    "Tell me a story in which there is {}.", "{}",
)  # fmt: skip
LISTED = (
    "Write a story with the words {}.", "Write a story with these words: {}.",
    "Use these words in a story: {}.", "Tell me a story that has the words {}.", "Words: {}.",
)  # fmt: skip
ANY = (
    "Tell me a story.", "Tell me a story!", "Can you tell me a story?", "Please tell me a story.",
    "A story, please.", "I want to hear a story.", "Write a story.", "Tell me another story.",
    "Another one, please.", "Story please", "Tell me a bedtime story.", "Tell me a short story.",
    "One more story!", "Tell me something nice.",
)  # fmt: skip
NEXT = (
    "What happens next?", "And then?", "What happened then?", "Go on, please.", "How does it go on?",
    "Tell me more.", "Go on", "Continue.", "Please continue the story.", "More!",
)  # fmt: skip
WHO = (
    "Who is in the story?",
    "Who was in the story?",
    "Who are the people in the story?",
    "Who is it about?",
)
Messages = list[tuple[str, str]]


class Teller:
    """Makes conversations of stories.

    Args:
        stories: those that may be told.
        words: their nouns and names.
        chance: source of every choice.
        last: the rows are those of the last steps.
    """

    def __init__(self, stories: list[str], words: Words, chance: random.Random, *, last: bool) -> None:
        longest = LAST_LONGEST if last else LONGEST
        self.stories = [story for story in stories if len(story.split()) <= longest]
        self.brief = [story for story in self.stories if len(story.split()) <= BRIEF]
        self.words, self.chance, self.last = words, chance, last
        self.names = sorted(words.names)

    def told(self, story: str) -> tuple[str, str, list[str]] | None:
        """A request, the story that answers it, and the words that it asks for; None if there are none."""
        early = LAST_EARLY if self.last else EARLY
        wishes = [wish for wish in self.words.wishes(story) if wish.place < early]
        if not wishes:
            return None
        number = self.chance.choices((1, 2, 3, 4), (4, 6, 1, 0) if self.last else (4, 5, 2, 1))[0]
        chosen = []
        for _ in range(min(number, len(wishes))):
            # What the story says often is what it is about; what it says once can be asked for too.
            most = 2 if self.last else 100
            (wish,) = self.chance.choices(wishes, [0.7 + min(wish.times, most) for wish in wishes])
            wishes.remove(wish)
            other = None
            if self.last or self.chance.random() < SHARE_EXCHANGED:
                other = self.words.exchanged(story, wish, self.chance)
            if other:
                story, wish = other
            chosen.append(wish)
        if self.last:
            story = self.changed(story, {wish.word for wish in chosen})
        return self.request(chosen), story, [wish.word for wish in chosen]

    def changed(self, story: str, kept: set[str]) -> str:
        """The story with other things than those that were asked for exchanged too."""
        for wish in self.words.wishes(story):
            if wish.word not in kept and self.chance.random() < SHARE_OTHERS_EXCHANGED:
                other = self.words.exchanged(story, wish, self.chance)
                if other:
                    story = other[0]
        return story

    def request(self, wishes: list[Wish]) -> str:
        """A sentence that asks for a story."""
        if self.chance.random() < 0.12:
            asked = self.chance.choice(LISTED).format(_listed([wish.word for wish in wishes], self.chance))
        else:
            asked = self.chance.choice(ABOUT if self.chance.random() < 0.7 else WITH)
            asked = asked.format(_listed([wish.phrase for wish in wishes], self.chance))
        return small_talk.varied(asked, self.chance) if self.chance.random() < 0.3 else asked

    def conversation(self, story: str) -> Messages | None:
        """A story that is asked for, and mostly nothing else."""
        found = self.told(story)
        if not found:
            return None
        asked, text, words = found
        turns = [(asked, text)]
        kind = self.chance.random()
        if kind < 0.10 and (halves := parted(text)):
            turns = [(asked, halves[0]), (self.chance.choice(NEXT), halves[1])]
        elif kind < 0.14:
            turns.insert(0, small_talk.exchange(self.names, self.chance))
        elif kind < 0.18 and words[0] in small_talk.NOUNS:
            before, (yes, _) = small_talk.offered(words[0], self.names, self.chance)
            turns = [before, (yes, text)]
        elif kind < 0.22:
            turns = [(self.chance.choice(ANY), text)]
        elif kind < 0.26 and (people := self.people(text)):
            turns.append((self.chance.choice(WHO), people))
        elif kind < 0.30:
            turns.append((self.chance.choice(small_talk.THANKS), self.chance.choice(small_talk.WELCOME)))
        elif kind < 0.42 and (first := self.told(self.chance.choice(self.brief))):
            # Another story after one, or small talk.
            turns.insert(0, first[:2])
            if self.chance.random() < 0.15:
                turns[1] = (self.chance.choice(ANY), text)
            elif self.chance.random() < 0.25:
                turns[1] = small_talk.exchange(self.names, self.chance)
        return turns

    def people(self, story: str) -> str | None:
        """An answer to who is in the story."""
        found = [name for name in re.findall(r"\b[A-Z][a-z]+\b", story) if name in self.words.names]
        names = list(dict.fromkeys(found))[:3]
        if not names:
            return None
        return f"{_joined(names)} {'is' if len(names) == 1 else 'are'} in the story."

    def rows(self, number: int) -> list[Messages]:
        """Conversations of every story, until there are so many, each time about something else."""
        made: list[Messages] = []
        while len(made) < number:
            for story in self.chance.sample(self.stories, len(self.stories)):
                if turns := self.conversation(story):
                    made.append(turns)
        return made[:number]


def _joined(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _listed(items: list[str], chance: random.Random) -> str:
    return ", ".join(items) if chance.random() < 0.15 else _joined(items)


def parted(story: str) -> tuple[str, str] | None:
    """A story in two, after the sentence nearest to its middle."""
    ends = [match.end() for match in re.finditer(r"[.!?]\"?(?=\s)", story)]
    ends = [end for end in ends if 0.3 < end / len(story) < 0.7]
    if not ends:
        return None
    at = min(ends, key=lambda end: abs(end / len(story) - 0.5))
    return story[:at], story[at:].strip()


def requests_for(stories: list[str], words: Words, chance: random.Random) -> list[dict[str, Any]]:
    """Requests for what is rarest in each story, as those of requests.jsonl were made."""
    rows = []
    for story in stories:
        wishes = [wish for wish in words.wishes(story) if wish.times > 1]
        named = [wish for wish in wishes if " named " in wish.phrase]
        rest = [wish for wish in wishes if wish.word in words.nouns]
        rare = sorted(rest, key=lambda wish: (words.nouns[wish.word], wish.word))[:2] + named[:1]
        if rare:
            chosen = chance.sample(rare, min(len(rare), chance.choice((1, 2, 2))))
            asked = chance.choice(ABOUT[:10] + WITH[:5]).format(" and ".join(one.phrase for one in chosen))
            rows.append({"prompt": asked, "words": [one.word for one in chosen]})
    return rows


def requests_to_answer(stories: list[str], words: Words, number: int) -> list[dict[str, Any]]:
    """Requests without stories: a half for what is rarest in a story, a half with exchanged things."""
    chance = random.Random(3)
    chosen = chance.sample(stories, len(stories))
    rows = requests_for(chosen[: number // 2], words, chance)
    teller = Teller(chosen[number // 2 :], words, chance, last=True)
    for story in teller.stories:
        if len(rows) == number:
            break
        if found := teller.told(story):
            rows.append({"prompt": found[0], "words": found[2]})
    return rows


def talk(teller: Teller, data: Path, number: int) -> list[Messages]:
    """Exchanges in which no story is told: of the lists here, and with instructions by other people."""
    chance = teller.chance
    instructions = json.loads((data / "chat" / "instruction-data.json").read_text(encoding="utf-8"))
    made: list[Messages] = []
    for _ in range(number):
        if chance.random() < 0.25:
            row = chance.choice(instructions)
            asked = f"{row['instruction']} {row['input']}".strip()
            made.append([(" ".join(asked.split()[:40]), small_talk.declined(chance))])
        else:
            turns = [small_talk.exchange(teller.names, chance)]
            if chance.random() < 0.2:
                turns.append(small_talk.exchange(teller.names, chance))
            made.append(turns)
    return made


def conversation(turns: Messages) -> dict[str, Any]:
    """The row of a conversation."""
    roles = ("user", "assistant")
    return {
        "messages": [{"role": r, "content": t} for turn in turns for r, t in zip(roles, turn, strict=True)]
    }


def made(data: Path, told: list[str], counts: dict[str, int]) -> dict[str, list[Any]]:
    """The rows to train on: `talks`, and `talks_last` for the last steps.

    Args:
        data: the folder of the corpora.
        told: the stories.
        counts: gets the number of rows of each kind.
    """
    chance = random.Random(0)
    put_aside = set(chance.sample(told, min(DEVELOPMENT, len(told) // 20)))
    words = Words(told)
    told = [story for story in told if story not in put_aside]
    asked = {row["prompt"] for row in held_out()}
    files = {}
    for name, number in (("talks", ROWS), ("talks_last", LAST_ROWS)):
        teller = Teller(told, words, chance, last=name == "talks_last")
        spoken = talk(teller, data, round(SHARE_TALK * number))
        real = teller.rows(number - len(spoken))
        rows = [conversation(turns) for turns in real + spoken]
        files[name] = [row for row in rows if not asked & said(row)]
        chance.shuffle(files[name])
        counts |= {f"real_{name}": len(real), f"spoken_{name}": len(spoken)}
    files["talks_dev"] = requests_for(sorted(put_aside), words, random.Random(2))
    requests = requests_to_answer(told, words, REQUESTS)
    files["talks_requests"] = [row for row in requests if row["prompt"] not in asked]
    counts["requests"] = len(files["talks_requests"])
    return files


def said(row: dict[str, Any]) -> set[str]:
    """The messages of a row."""
    return {message["content"] for message in row["messages"]}


def held_out() -> list[dict[str, Any]]:
    """The requests that judge the model."""
    return [json.loads(line) for line in (HERE / "requests.jsonl").read_text(encoding="utf-8").splitlines()]


def prepare(data: Path, stories: Path, output: Path) -> dict[str, int]:
    """Write the files under `output` and return how many rows each has."""
    told = (stories / "stories.txt").read_text(encoding="utf-8").strip().split("\n<|endoftext|>\n")
    counts: dict[str, int] = {}
    files = {**made(data, told, counts), "talks_test": held_out()}
    counts |= {"held_out": len(files["talks_test"]), "development": len(files["talks_dev"])}
    output.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (output / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return counts


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python prepare_storyteller.py STORIES OUTPUT")
    for name, count in prepare(data_folder(), *map(Path, sys.argv[1:])).items():
        print(f"{name}: {count:,}")
