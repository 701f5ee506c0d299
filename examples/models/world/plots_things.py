"""Plots about things: lost, shared, broken, found."""

from __future__ import annotations

from cast import Cast
from entities import Character, Word
from lexicon_world import HOME
from scenes import begin, close, set_out, side
from story import Story

GLUES = (
    (Word("glue", "Kleber"), Word("glue", "Kleber")),
    (Word("tape", "Klebeband"), Word("tape", "Klebeband")),
    (Word("a new nail", "einen neuen Nagel"), Word("a new nail", "einem neuen Nagel")),
    (Word("a needle and thread", "Nadel und Faden"), Word("a needle and thread", "Nadel und Faden")),
)


def lost_and_found(s: Story, c: Cast) -> None:
    x = c.thing("toy", "wear", colour=True)
    place = c.place("out")
    home = c.rng.random() < 0.3
    kind = "home" if home else "out"
    s.b |= {"x": x, "P": HOME if home else place, "Q": c.spot(kind), "R": c.spot(kind), "S": c.spot(kind)}
    helper = s.b["B"] if c.rng.random() < 0.5 else s.b["M"]
    s.b |= {"B": helper, "AB": c.both(s.b["A"], helper)}
    begin(s, c)
    s.tell("owns")
    if helper.name:
        s.tell("friend_near")
    s.para(0.5)
    s.tell("plays_home" if home else "carries", "day")
    side(s, c)
    s.turn()
    s.tell("lose", "")
    s.tell("cries_lost")
    if s.chance(0.5):
        s.tell("sad")
    if s.chance(0.7):
        s.tell("search")
    s.para()
    s.tell("arrives", "sudden")
    s.tell("asks_wrong", M=helper)
    if s.chance(0.6):
        s.tell("offers", M=helper)
    s.tell("search_help", "so")
    s.para()
    if not s.happy:
        s.tell("not_found")
        s.tell("remember")
        if s.chance(0.6):
            s.tell("careful_since", "since")
        s.sum_up(
            "{A} lost {A:his} {x:n} and could not find it again.",
            "{A} lost {x:a} {P:in}, and nobody could find it.",
        )
        return close(s, c)
    if s.chance(0.5):
        s.tell("find", "end", Q=s.b["S"])
        s.sum_up(
            "{A} lost {A:his} {x:n} and found it {S:in} with the help of {B}.",
            "With the help of {B}, {A} found the lost {x:n}.",
        )
    else:
        s.tell("find_for", "sudden", Q=s.b["S"])
        s.tell("give", "then")
        s.sum_up(
            "{A} lost {A:his} {x:n}, but {B} found it {S:in}.", "{B} helped {A} find {A:his} lost {x:n}."
        )
    if s.chance(0.8):
        s.tell("thanks", M=helper)
    s.tell("happy")
    s.para()
    if s.chance(0.6):
        s.tell("careful_since", "since")
    elif s.chance(0.3):
        s.tell("moral_help")
    close(s, c)


def sharing(s: Story, c: Cast) -> None:
    s.b |= {"x": c.thing("toy", colour=True), "P": c.place("play", "out")}
    begin(s, c)
    s.tell("owns")
    s.para()
    s.tell("carries", "day")
    side(s, c)
    s.para()
    set_out(s, "B")
    s.tell("wants_play")
    s.turn()
    s.tell("refuse")
    s.tell("b_sad")
    s.para()
    if not s.happy:
        s.tell("bored_alone")
        s.tell("no_share_end", "end")
        s.tell("sad_end")
        s.sum_up("{A} did not share {A:his} {x:n} with {B} and was alone in the end.")
        return close(s, c)
    if s.chance(0.5):
        s.tell("adult_share")
        s.tell("thinks")
    else:
        s.tell("bored_alone")
    s.tell("sorry", "then")
    if s.chance(0.6):
        s.tell("forgive")
    s.tell("share")
    s.para()
    s.tell("both_play")
    s.tell("both_happy")
    s.para(0.3)
    if s.chance(0.5):
        s.tell("learn_share")
    else:
        s.tell("always_share", "since")
    s.sum_up(
        "{A} did not want to share {A:his} {x:n} with {B} at first, but then they played together.",
        "{A} learned to share {A:his} {x:n} with {B}.",
    )
    close(s, c)


def broken_mended(s: Story, c: Cast) -> None:
    x = c.thing("toy", colour=True)
    t, u = c.rng.choice(GLUES)
    M = s.b["M"] if c.rng.random() < 0.6 else c.relative(s.b["A"], "grandpa", "grandma", "brother", "sister")  # type: ignore[arg-type]  # noqa: N806
    s.b |= {"x": x, "t": t, "u": u, "P": c.place("out"), "M": M, "AM": c.both(s.b["A"], M)}  # type: ignore[arg-type]
    begin(s, c)
    s.tell("owns")
    s.para()
    s.tell("carries", "day")
    side(s, c)
    s.turn()
    s.tell("break", "sudden")
    s.tell("sad")
    if s.chance(0.6):
        s.tell("try_fix")
    s.para()
    s.tell("home", "so", H=HOME)
    s.tell("asks_fix")
    if not s.happy:
        s.tell("cannot_fix")
        s.tell("hug")
        s.tell("remember")
        s.sum_up("{A} broke {A:his} {x:n}, and it could not be fixed.")
        return close(s, c)
    if s.chance(0.6):
        s.tell("offers")
    s.para()
    s.tell("fixes", "then")
    s.tell("as_new")
    s.tell("happy")
    if s.chance(0.7):
        s.tell("thanks")
        if s.chance(0.4):
            s.tell("welcome")
    s.para()
    if s.chance(0.6):
        s.tell("careful_since", "since")
    s.sum_up(
        "{A} broke {A:his} {x:n}, and {M} fixed it with {t}.",
        "{M} fixed {A:his} broken {x:n}.",
    )
    close(s, c)


def honest_finder(s: Story, c: Cast) -> None:
    C: Character = c.person("lady", "man", "woman", "farmer", "baker", "fisherman")  # noqa: N806
    s.b |= {
        "x": c.thing("treasure", "wear"),
        "C": C,
        "P": c.place("out", "town"),
        "y": c.thing("fruit", "baked", "toy"),
    }
    begin(s, c)
    s.para()
    s.tell("goes", "day")
    side(s, c)
    s.tell("finds_thing", "sudden")
    s.tell("wants_keep")
    s.turn()
    s.tell("owner_sad")
    s.tell("asks_seen")
    if not s.happy:
        s.tell("keeps")
        s.tell("home", "then", H=HOME)
        s.tell("bad_feeling")
        s.tell("sad_end")
        s.sum_up("{A} found {x:a} {P:in} and kept it, but felt bad.")
        return close(s, c)
    s.tell("thinks")
    s.tell("tells_found", "then")
    s.tell("give", "", B=s.b["A"], A=C)
    s.para()
    s.tell("thanks", A=C, M=s.b["A"])
    s.tell("reward")
    s.tell("happy")
    if s.chance(0.5):
        s.tell("honest_moral")
    s.sum_up("{A} found {x:a} {P:in} and gave it back to {C}.", "{A} was honest and got {y:a} from {C}.")
    close(s, c)


PLOTS = [lost_and_found, sharing, broken_mended, honest_finder]
