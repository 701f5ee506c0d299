"""Questions that need no annotator: a sentence with something left out, asked of the passage it stands in.

After Lewis, Denoyer and Riedel 2019, "Unsupervised Question Answering by Cloze Translation". Here they stand
where masked language modelling would: minutes of that teach an encoder of a few million parameters nothing
that a reader of answers can use, and these teach it at once to look at what surrounds the question's words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

from llmkit.text.sentences import split_sentences

_FUNCTION = """
    a an the of to in on at by for from with into onto over under about after before between through
    during and or but nor so yet if then than as that which who whom whose what when where why how this
    these those it its he him his she her hers they them their theirs we us our you your i me my is am
    are was were be been being do does did done has have had having will would shall should can could
    may might must not no all any some each every such there here very more most much many too also just
    only up down out off again said"""
_MONTHS = "january february march april may june july august september october november december"
_NUMBERS = (
    "two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred thousand"
)
FUNCTION_WORDS = frozenset(_FUNCTION.split())
MONTHS = frozenset(_MONTHS.split())
NUMBERS = frozenset(_NUMBERS.split())
DETERMINERS = frozenset(("the", "a", "an", "his", "her", "their"))
PLACES = frozenset(["in", "at", "to", "from", "near", "into", "across"])
_WORD = re.compile(r"\w+(?:['.,-]\w+)*")


def passages(text: str, words: int) -> Iterator[str]:
    """A long text in pieces of whole sentences, of about `words` words."""
    piece: list[str] = []
    length = 0
    text = " ".join(text.split())
    for start, end in split_sentences(text, "en"):
        piece.append(text[start:end])
        length += len(piece[-1].split())
        if length >= words:
            yield " ".join(piece)
            piece, length = [], 0
    if length >= words // 2:
        yield " ".join(piece)


def cloze(passage: str, chance: random.Random) -> dict[str, Any] | None:
    """A question with its answer in `passage`, or None where the sentence drawn has nothing to ask for."""
    places = [(a, b) for a, b in split_sentences(passage, "en") if 6 <= len(passage[a:b].split()) <= 60]
    if not places:
        return None
    start, stop = chance.choice(places)
    sentence = passage[start:stop]
    words = list(_WORD.finditer(sentence))
    spans = _answers(sentence, words)
    if not spans:
        return None
    first, last = chance.choice(spans)
    begin, end = words[first].start(), words[last].end()
    answer = sentence[begin:end]
    kept = _kept([w[0] for w in words], first, last, chance)
    if kept is None:
        return None
    before, after = kept
    asked = _asked(answer, words[first - 1][0] if first else "", chance)
    question = [asked, *before, *after] if chance.random() < 0.5 else [*before, asked, *after]
    question[0] = question[0][0].upper() + question[0][1:]
    at = start + begin
    assert passage[at : at + len(answer)] == answer
    return {
        "question": " ".join(question) + "?",
        "context": passage,
        "answers": {"text": [answer], "answer_start": [at]},
    }


def _answers(text: str, words: list[re.Match[str]]) -> list[tuple[int, int]]:
    """Runs of words, first and last, that could be asked for: of up to five, none of them a function word."""
    runs: list[list[int]] = [[]]
    for i, word in enumerate(words):
        joined = not runs[-1] or re.fullmatch(r"[\s$£%\"'-]*", text[words[i - 1].end() : word.start()])
        if word[0].lower() in FUNCTION_WORDS or not joined:
            runs.append([])
        if word[0].lower() not in FUNCTION_WORDS:
            runs[-1].append(i)
    found = []
    for run in runs:
        if not run:
            continue
        found.append((run[0], run[-1])) if len(run) <= 5 else None
        # Of "beautiful old castle" the end alone, of "castle stood" the beginning.
        if len(run) > 2:
            found += [(run[0], run[1]), (run[-2], run[-1])]
        # A name or a number within the run.
        marked = [i for i in run if i and (words[i][0][0].isupper() or words[i][0][0].isdigit())]
        if marked and marked != run and marked == list(range(marked[0], marked[-1] + 1)):
            found += [(marked[0], marked[-1])] * 2
        # With what stands before it: "of the castle" is asked for as "the castle".
        if len(run) <= 4 and run[0] and words[run[0] - 1][0].lower() in DETERMINERS:
            found.append((run[0] - 1, run[-1]))
    return found


def _kept(
    words: list[str], first: int, last: int, chance: random.Random
) -> tuple[list[str], list[str]] | None:
    """What the question keeps of the sentence before and after the answer; None if that says too little."""
    reach = chance.randint(4, 14)
    drop = chance.choice((0.0, 0.2, 0.4))

    def keep(word: str) -> bool:
        often = min(0.9, drop * 1.5) if word.lower() in FUNCTION_WORDS else drop
        return chance.random() >= often

    before = [w for w in words[max(0, first - reach) : first] if keep(w)]
    after = [w for w in words[last + 1 : last + 1 + reach] if keep(w)]
    if sum(w.lower() not in FUNCTION_WORDS for w in (*before, *after)) < 2:
        return None
    return before, after


def _asked(answer: str, before: str, chance: random.Random) -> str:
    """The question's word for an answer of this look."""
    words = answer.split()
    if re.fullmatch(r"1\d{3}|20\d\d", words[-1]) or words[0].lower() in MONTHS:
        return chance.choice(("when", "when", "what year", "in what year"))
    if any(ch.isdigit() for ch in answer) or words[0].lower() in NUMBERS:
        return chance.choice(("how many", "how much", "how many", "what"))
    if words[0][0].isupper():
        if before.lower() in PLACES:
            return chance.choice(("where", "where", "what", "which"))
        return chance.choice(("who", "who", "who", "what", "which", "what"))
    if before.lower() in PLACES:
        return chance.choice(("where", "what", "what", "when"))
    return chance.choice(("what", "what", "what", "which", "how", "why"))
