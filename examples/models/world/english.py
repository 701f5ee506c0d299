"""The little English grammar that the story world needs: verb forms, plurals, articles, pronouns."""

from __future__ import annotations

import random
import re
from functools import cache

# lemma: past (and past plural), third person singular where it is irregular, -ing where it is irregular
IRREGULAR = {
    line.split()[0]: line.split()[1:]
    for line in """
be was|were is|are
have had has|have
do did does|do
can could can|can
will would will|will
must had_to has_to|have_to
say said
go went
see saw
get got - getting
give gave - giving
take took - taking
make made - making
come came - coming
run ran - running
find found
think thought
know knew
feel felt
tell told
keep kept
hear heard
hold held
sit sat - sitting
stand stood
begin began - beginning
fall fell
lose lost - losing
bring brought
buy bought
build built
throw threw
catch caught
teach taught
read read
sing sang
swim swam - swimming
fly flew
grow grew
draw drew
drink drank
eat ate
sleep slept
wake woke - waking
wear wore
win won - winning
write wrote - writing
ride rode - riding
drive drove - driving
hide hid - hiding
blow blew
break broke
shake shook - shaking
shine shone - shining
put put - putting
let let - letting
hit hit - hitting
set set - setting
cut cut - cutting
hurt hurt
leave left - leaving
meet met
pay paid
lie lay - lying
spend spent
become became - becoming
send sent
stick stuck
swing swung
slide slid - sliding
forget forgot - forgetting
forgive forgave - forgiving
choose chose - choosing
understand understood
bend bent
dig dug - digging
sell sold
spill spilled
dream dreamed
lead led
spin spun
ring rang
bite bit - biting
beat beat
mean meant
shut shut - shutting
spread spread
sweep swept
lend lent
light lit
rise rose - rising
ring rang
feed fed
""".strip().splitlines()
}
DOUBLING_VERBS = """
hop stop hug drop clap nod pat grab tug plan skip trip slip jog rub beg pop wag tap tip mop flap stir
chop pet trap wrap sip dip grin step shop chat hum spin
"""
DOUBLING = frozenset(DOUBLING_VERBS.split())
VOWELS = "aeiou"
PLURALS = {
    "child": "children",
    "mouse": "mice",
    "foot": "feet",
    "tooth": "teeth",
    "sheep": "sheep",
    "fish": "fish",
    "leaf": "leaves",
    "loaf": "loaves",
    "shelf": "shelves",
    "goose": "geese",
    "man": "men",
    "woman": "women",
    "policeman": "policemen",
    "snowman": "snowmen",
}
PRONOUNS = {  # subject, object, possessive determiner, reflexive
    "m": ("he", "him", "his", "himself"),
    "f": ("she", "her", "her", "herself"),
    "n": ("it", "it", "its", "itself"),
    "p": ("they", "them", "their", "themselves"),
}


# Said in other words that mean the same, each in so many of 100 sentences.
REWORDINGS = (
    (re.compile(r"\bcan not\b"), "cannot", 100),
    (re.compile(r"\b(did|was|were|could|is|are|does|do|would) not\b"), r"\1n't", 55),
    (re.compile(r"\bcannot\b"), "can't", 50),
    (re.compile(r"\ba lot of\b"), "lots of", 50),
    (re.compile(r"\bvery (?=happy|sad|proud|scared|excited|tasty|good)"), "so ", 25),
    (re.compile(r"\bvery (?=happy|sad|kind|fast|good|tired|curious)"), "really ", 12),
    (re.compile(r"\bstarted to\b"), "began to", 35),
    (re.compile(r"\bwalked\b(?= to )"), "headed", 10),
    (re.compile(r"\bsaw (?=an? |some |something)"), "noticed ", 15),
    (re.compile(r"\bsaw (?=an? |some |something)"), "spotted ", 10),
    (re.compile(r"\bran (?=home|over|to )"), "hurried ", 12),
    (re.compile(r"\bshouted\b"), "yelled", 25),
    (re.compile(r"\bsmiled and said\b"), "smiled and replied", 15),
    (re.compile(r"\bIt's okay\b"), "It's OK", 30),
    (re.compile(r"\bLook!"), "Hey, look!", 20),
)


def reworded(sentence: str, spans: list[tuple[str, int, int]], rng: random.Random) -> str:
    """Perhaps the sentence in other words that German has one for; `spans` move with their words."""
    for pattern, other, share in REWORDINGS:
        match = pattern.search(sentence)
        if match and rng.random() * 100 < share:
            new = match.expand(other)
            more = len(new) - len(match[0])
            sentence = sentence[: match.start()] + new + sentence[match.end() :]
            spans[:] = [
                (key, start + (start >= match.end()) * more, end + (end >= match.end()) * more)
                for key, start, end in spans
            ]
    return sentence


@cache
def verb(lemma: str, form: str, plural: bool = False) -> str:
    """`form` is "past", "pres" or "ing"; third person."""
    irregular = IRREGULAR.get(lemma, [])
    if form == "ing":
        if len(irregular) > 2:
            return irregular[2]
        if lemma in DOUBLING:
            return lemma + lemma[-1] + "ing"
        return (lemma[:-1] if lemma.endswith("e") and not lemma.endswith(("ee", "ye")) else lemma) + "ing"
    if form == "pres":
        if len(irregular) > 1 and irregular[1] != "-":
            return _chosen(irregular[1], plural)
        return lemma if plural else _with_s(lemma)
    if irregular:
        return _chosen(irregular[0], plural)
    if lemma in DOUBLING:
        return lemma + lemma[-1] + "ed"
    if lemma.endswith("y") and lemma[-2] not in VOWELS:
        return lemma[:-1] + "ied"
    return lemma + ("d" if lemma.endswith("e") else "ed")


def _chosen(forms: str, plural: bool) -> str:
    singular, _, other = forms.partition("|")
    return (other or singular if plural else singular).replace("_", " ")


@cache
def plural(noun: str) -> str:
    head, _, last = noun.rpartition(" ")
    last = PLURALS.get(last) or _with_s(last)
    return f"{head} {last}".strip()


def _with_s(word: str) -> str:
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    return word + (
        "es" if word.endswith(("s", "x", "z", "ch", "sh", "o")) and word not in ("radio", "piano") else "s"
    )


def article(phrase: str) -> str:
    """ "a" or "an" before `phrase`."""
    return (
        "an"
        if (phrase[0] in VOWELS and not phrase.startswith(("uni", "use", "one"))) or phrase.startswith("hour")
        else "a"
    )


def possessive(name: str) -> str:
    return name + "'s"
