"""Make the storyteller's rows: conversations in which a story is asked for, told, and gone on with.

    LLMKIT_DATA=/path/to/data python examples/models/prepare_storyteller.py WORLD STORIES OUT

WORLD is a folder that `world/tell.py` wrote, STORIES one of `prepare_stories.py`. Writes talks.jsonl, and
talks_test.jsonl: requests (`prompt`) made from held-out stories, with the words that are asked for (`words`).
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "world"))
from talks import ABOUT, NEXT, WITH

WORLD_TALKS = 8_000
# Each real story is asked for so often, each time for other things in it where there are some.
REQUESTS = 2
# In training, what is asked for is spoken of before so much of the story is over.
EARLY = 0.4
# A story that is told in two turns is cut after the sentence nearest to here.
CUT_AT = 0.5
SHARE_CUT = 0.4
KINDS = "boy|girl|dog|cat|bird|bear|bunny|rabbit|fish|mouse|frog|puppy|kitten|duck|princess|man|woman"
# Nouns that nobody asks for a story about.
VAGUE = frozenset(
    ("time", "day", "way", "lot", "idea", "end", "thing", "part", "side", "place", "moment", "bit")
)
AFTER_NOUNS = frozenset(
    (
        "and",
        "was",
        "in",
        "that",
        "to",
        "on",
        "with",
        "who",
        "named",
        "for",
        "were",
        "had",
        "said",
        "at",
        "called",
    )
)


def nouns(stories: list[str]) -> Counter[str]:
    """Words that end what an article begins, more often than not, with the number of stories they are in."""
    ends: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    known: Counter[str] = Counter()
    for story in stories:
        here = set()
        for word, after in re.findall(r"\b(?:a|an|the|his|her) ([a-z]{3,9})\b(\W+\w+|\W*$)", story):
            seen[word] += 1
            ends[word] += not re.fullmatch(r" [a-z]+", after) or after[1:] in AFTER_NOUNS
            here.add(word)
        known.update(here)
    # Of what is talked of in many stories: `dog`, and neither `red` nor `hedgerow`.
    return Counter(
        {
            word: count
            for word, count in known.items()
            if count > 9 and ends[word] > 0.6 * seen[word] and word[-1] != "s" and word not in VAGUE
        }
    )


def wished(story: str, known: Counter[str], *, salient: bool) -> list[tuple[str, str]]:
    """What one could have wished for to be told this story: (word, as the request has it).

    Args:
        story: its text.
        known: see `nouns`.
        salient: what the story is about, by how often it says it and how soon; otherwise what is rarest.
    """
    named = re.search(rf"\b({KINDS}) named ([A-Z][a-z]+)\b", story)
    found = {}
    counts = Counter(re.findall(r"\b[a-z]{3,9}\b", story))
    least = 3 if salient else 2
    for adjective, word in re.findall(r"\b(?:a|an|the) ([a-z]+ )?([a-z]{3,9})\b", story):
        late = salient and story.find(word) > EARLY * len(story)
        if known[word] and counts[word] >= least and not late and adjective.strip() not in known:
            phrase = adjective + word
            found.setdefault(word, f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}")
    if salient:
        chosen = sorted(found, key=lambda word: (-counts[word], word))[:3]
    else:
        chosen = sorted(found, key=lambda word: (known[word], word))[:2]
    wishes = [(word, found[word]) for word in chosen if not named or word != named[1]]
    if named:
        wishes.append((named[2], f"a {named[1]} named {named[2]}"))
    return wishes


def parted(story: str) -> tuple[str, str] | None:
    ends = [match.end() for match in re.finditer(r"[.!?]\"?(?=\s)", story)]
    ends = [end for end in ends if 0.3 < end / len(story) < 0.7]
    if not ends:
        return None
    at = min(ends, key=lambda end: abs(end / len(story) - CUT_AT))
    return story[:at], story[at:].strip()


def asked_for(
    stories: list[str], known: Counter[str], chance: random.Random, *, salient: bool
) -> Iterator[tuple[str, str, list[str]]]:
    """Stories with a request for each, and the words that it asks for."""
    for story in stories:
        wishes = wished(story, known, salient=salient)
        if wishes:
            chosen = chance.sample(wishes, min(len(wishes), chance.choice((1, 2, 2))))
            asked = chance.choice(ABOUT + WITH).format(" and ".join(as_asked for _, as_asked in chosen))
            yield story, asked, [word for word, _ in chosen]


def conversation(story: str, asked: str, chance: random.Random) -> dict[str, Any]:
    """The story told at once, or in two turns."""
    halves = parted(story) if chance.random() < SHARE_CUT else None
    turns = [asked, *((halves[0], chance.choice(NEXT), halves[1]) if halves else (story,))]
    roles = ("user", "assistant") * 2
    return {"messages": [{"role": r, "content": t} for r, t in zip(roles, turns, strict=False)]}


def prepare(world: Path, stories: Path, output: Path) -> dict[str, int]:
    """Write the files under `output` and return how many rows each has."""
    chance = random.Random(0)
    told, held_out = (
        (stories / f"{name}.txt").read_text(encoding="utf-8").strip().split("\n<|endoftext|>\n")
        for name in ("stories", "stories_heldout")
    )
    known = nouns(told)
    asked = {
        (story, request)
        for _ in range(REQUESTS)
        for story, request, _ in asked_for(told, known, chance, salient=True)
    }
    talks = [conversation(story, request, chance) for story, request in sorted(asked)]
    lines = (world / "talks.jsonl").read_text(encoding="utf-8").splitlines()
    simulated = [json.loads(line) for line in chance.sample(lines, min(WORLD_TALKS, len(lines)))]
    rows = talks + simulated
    chance.shuffle(rows)
    # Drawn by themselves, so that what is learnt does not change what is asked. Requests are short: one may
    # have been learnt, and then it judges nothing.
    learnt = {row["messages"][0]["content"] for row in rows}
    requests = {
        asked: {"prompt": asked, "words": words}
        for _, asked, words in asked_for(held_out, known, random.Random(1), salient=False)
        if asked not in learnt
    }
    output.mkdir(parents=True, exist_ok=True)
    for name, made in (("talks", rows), ("talks_test", list(requests.values()))):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
        (output / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return {"real": len(talks), "simulated": len(simulated), "held_out": len(requests)}


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python prepare_storyteller.py WORLD STORIES OUTPUT")
    for name, count in prepare(*map(Path, sys.argv[1:])).items():
        print(f"{name}: {count:,}")
