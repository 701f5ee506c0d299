"""Make the story model's corpus: stories.txt to train on, stories_heldout.txt and heldout.jsonl to judge by.

    LLMKIT_DATA=DATA LLMKIT_TINYSTORIES=FILE python examples/models/prepare_stories.py OUT

The three TinyStories files of LLMKIT_DATA overlap: one is all lower case and contains most of the other two.
Each story is kept once, cased where a cased copy exists and true-cased from the cased stories' statistics
otherwise. LLMKIT_TINYSTORIES names a text file with more stories of the data set, with a line
`<|endoftext|>` after each; none of them is held out.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

SEPARATOR = "<|endoftext|>"
HELD_OUT_SHARE = 0.05
# Share of a story's 8-word sequences that it may have in common with a held-out story.
OVERLAP_LIMIT = 0.2

# A newcomer's first prompt should not end in a shooting; stories with these words are left out.
UNWANTED = re.compile(
    r"\b(guns?|rifles?|pistols?|swords?|kni(?:fe|ves)|daggers?|weapons?|bullets?|bombs?|arrows?|cannons?|blood\w*"
    r"|bleed\w*|bled|kill\w*|murder\w*|die[ds]?|dying|dead|deadly|deaths?|corpses?|graves?|funerals?|war|wars"
    r"|poison\w*|suicide|hang(?:ed)? himself|hell|drunk|beer|wine|sex\w*|naked|stupid)\b",
    re.IGNORECASE,
)
CURLY = str.maketrans("“”„‘’‚–—…\u00a0", "\"\"\"'''--. ")
# The lower-case file went through a lower-casing of UTF-8 read as cp1252: â€œ is a curly quote.
MOJIBAKE = re.compile(r"[âãÂÃ][\u0080-\uffff]{1,2}")
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def clean(text: str) -> str:
    """One line a paragraph, ASCII quotes, single spaces."""

    def repair(match: re.Match[str]) -> str:
        try:
            return match[0].encode("cp1252").decode("utf-8")
        except UnicodeError:
            return " "

    text = MOJIBAKE.sub(repair, text).replace("…", "...").translate(CURLY)
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def key(story: str) -> str:
    """What makes two copies of a story the same: its letters and digits."""
    return " ".join(re.findall(r"\w+", story.lower()))


def opening(story: str) -> str:
    return " ".join(key(story[:80]).split()[:2])


def ngrams(story: str, n: int = 8) -> set[str]:
    words = key(story).split()
    return {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}


def cased_stories(folder: Path) -> list[str]:
    """The stories of the two cased files, each once, in order; the file's last one is cut off and dropped."""
    marked = (folder / "tinystories.txt").read_text(encoding="utf-8").split(SEPARATOR)[:-1]
    extra = fragments((folder / "tinystories_extra.txt").read_text(encoding="utf-8"))
    stories = {}
    for story in map(clean, marked + extra[:-1]):
        stories.setdefault(key(story), story)
    return list(stories.values())


def fragments(text: str) -> list[str]:
    """Split where exactly one newline stands: between stories, and within some of them."""
    return [part for part in re.split(r"(?<!\n)\n(?!\n)", text) if part.strip()]


def lowercase_stories(folder: Path, cased: list[str]) -> list[str]:
    """The stories that stand in the lower-case file only, put together from its fragments.

    Where a paragraph of a story ends in a single newline, the file does not say that the story goes on. A
    fragment is taken for a new story when it opens as stories do, or is long and opens with neither a
    quotation nor a pronoun, and the fragment before it ends a sentence.
    """
    known = "\0".join(map(key, cased))
    openings = {words for words, n in Counter(map(opening, cased)).items() if n > 1}
    stories: list[str] = []
    previous_new = False
    for raw in fragments((folder / "tinystories_lowercase.txt").read_text(encoding="utf-8")):
        fragment = clean(raw)
        if key(fragment) in known:
            previous_new = False
            continue
        starts = opening(fragment) in openings or (
            len(fragment) > 450 and not re.match(r'"|(he|she|they|it|his|her|but|so|then|after)\b', fragment)
        )
        ended = not previous_new or stories[-1][-1] in '.!?"'
        if starts and ended:
            stories.append(fragment)
            previous_new = True
        elif previous_new:
            stories[-1] += "\n" + fragment
    # The file may end within its last story, and a short one has lost its beginning or its end.
    return [s for s in stories[:-1] if len(s) >= 200]


class TrueCaser:
    """Gives lower-case text its capitals back, by what the cased stories do with the same words.

    A word is capitalised at the start of a sentence and of a quotation; elsewhere as it mostly is after the
    same preceding word (or, where that pair is new, as it mostly is at all), or when the story itself
    introduces it as a name ("a girl named mia").
    """

    def __init__(self, stories: list[str]) -> None:
        self.word: dict[str, Counter[str]] = defaultdict(Counter)
        self.pair: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for story in stories:
            for before, match, first in _words(story):
                if not first:
                    lower = match[0].lower()
                    self.word[lower][match[0]] += 1
                    self.pair[before, lower][match[0]] += 1

    def __call__(self, story: str) -> str:
        named = re.findall(r"\b(?:named|called|name is|name was) (?!the\b|his\b|her\b|a\b|it\b)(\w+)", story)
        names = {name for name in named if sum(self.word[name].values()) < 3}
        pieces, end = [], 0
        for before, match, first in _words(story):
            pieces += [story[end : match.start()], self._case(before, match[0], first, names)]
            end = match.end()
        return "".join(pieces) + story[end:]

    def _case(self, before: str, word: str, first: bool, names: set[str]) -> str:
        stem = word.removesuffix("'s")
        ending = word[len(stem) :]
        if stem in names:
            return stem.capitalize() + ending
        seen = self.pair.get((before, word)) or self.word.get(word) or self.word.get(stem)
        best = seen.most_common(1)[0][0] if seen else stem
        best = best if best.lower() == word else best + ending
        return best[0].upper() + best[1:] if first else best


def _words(story: str) -> list[tuple[str, re.Match[str], bool]]:
    """Each word with the word before it and whether it starts a sentence or a quotation."""
    found, before, end, inside = [], "", 0, False
    for match in WORD.finditer(story):
        gap = story[end : match.start()]
        first = not before or bool(re.search(r"[.!?\n]", gap))
        if gap.count('"') % 2:
            inside = not inside
            # `"Yes!" she said` goes on in lower case; what follows `"Yes."` begins a sentence.
            first = inside or (first and not gap.startswith(("!", "?")))
        if "\n" in gap:
            first, inside = True, '"' in gap.rsplit("\n", 1)[-1]
        found.append((before, match, first))
        before, end = match[0].lower(), match.end()
    return found


def prepare(data: Path, more: Path, output: Path) -> dict[str, int]:
    """Write stories.txt and stories_heldout.txt under `output` and return how many stories went where."""
    folder = data / "stories"
    cased = cased_stories(folder)
    lower = lowercase_stories(folder, cased)
    restore = TrueCaser(cased)
    wanted = [story for story in cased if not UNWANTED.search(story)]
    others = [restore(story) for story in lower if not UNWANTED.search(story)]
    added = [clean(story) for story in more.read_text(encoding="utf-8").split(SEPARATOR) if story.strip()]
    extra = [story for story in added if not UNWANTED.search(story)]

    # A story is held out by a hash of its text, so that more data never moves one to the training side.
    share = HELD_OUT_SHARE * (len(wanted) + len(others)) / len(wanted)
    held = [s for s in wanted if int(hashlib.sha256(key(s).encode()).hexdigest()[:8], 16) < share * 2**32]
    # Openings such as "once upon a time there was a little" are common to all and say nothing.
    counts = Counter(gram for story in wanted + others for gram in ngrams(story))
    held_grams = {gram for story in held for gram in ngrams(story) if counts[gram] <= 5}
    chosen = set(held)
    train, seen, leaks = [], set(), 0
    for story in wanted + others + extra:
        if story in chosen or key(story) in seen:
            continue
        seen.add(key(story))
        grams = ngrams(story)
        if len(grams & held_grams) > OVERLAP_LIMIT * max(1, len(grams)):
            leaks += 1
        else:
            train.append(story)

    output.mkdir(parents=True, exist_ok=True)
    for name, stories in (("stories.txt", train), ("stories_heldout.txt", held)):
        (output / name).write_text(f"\n{SEPARATOR}\n".join(stories) + "\n", encoding="utf-8")
    rows = "".join(json.dumps({"text": story}, ensure_ascii=False) + "\n" for story in held)
    (output / "heldout.jsonl").write_text(rows, encoding="utf-8")
    return {
        "cased": len(cased),
        "lower_case_only": len(lower),
        "more": len(added),
        "left_out_for_content": sum(map(len, (cased, lower, added))) - sum(map(len, (wanted, others, extra))),
        "left_out_as_near_copies_of_held_out": leaks,
        "train": len(train),
        "held_out": len(held),
    }


def data_folder() -> Path:
    """The folder that LLMKIT_DATA names; ends the program with a sentence when it names none."""
    value = os.environ.get("LLMKIT_DATA")
    if not value or not (Path(value) / "stories" / "tinystories.txt").is_file():
        sys.exit("set LLMKIT_DATA to the data folder, the one that holds stories/tinystories.txt")
    return Path(value)


def more_stories() -> Path:
    """The file that LLMKIT_TINYSTORIES names."""
    file = Path(os.environ.get("LLMKIT_TINYSTORIES", ""))
    if not file.is_file():
        sys.exit("set LLMKIT_TINYSTORIES to a text file of TinyStories, such as TinyStories-valid.txt")
    return file


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} OUTPUT_FOLDER")
    for name, count in prepare(data_folder(), more_stories(), Path(sys.argv[1])).items():
        print(f"{name}: {count}")
