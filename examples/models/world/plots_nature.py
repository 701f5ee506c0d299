"""Plots about animals, plants, weather and the night."""

from __future__ import annotations

from cast import Cast
from entities import Word
from scenes import begin, close, side
from story import Story

SHADOWS = (
    (Word("a monster", "ein Monster"), Word("a coat on the chair", "ein Mantel auf dem Stuhl")),
    (Word("a big bear", "ein großer Bär"), Word("a teddy bear on the shelf", "ein Teddybär auf dem Regal")),
    (Word("a ghost", "ein Gespenst"), Word("a white curtain", "ein weißer Vorhang")),
    (Word("a dragon", "ein Drache"), Word("a toy on the window", "ein Spielzeug am Fenster")),
    (Word("a giant", "ein Riese"), Word("a tree outside", "ein Baum draußen")),
    (Word("a big hand", "eine große Hand"), Word("a branch in the wind", "ein Ast im Wind")),
)


def stuck_animal(s: Story, c: Cast) -> None:
    s.b |= {
        "P": c.place("out"),
        "N": c.animal(named=False, kinds=("cat", "kitten", "squirrel", "bird", "monkey", "bear", "owl")),
    }
    s.b["x"] = c.thing("tool", only=("ladder", "rope", "net", "basket"), adjectives=1)
    begin(s, c)
    s.para()
    s.tell("goes", "day")
    side(s, c)
    s.tell("hears_cry", "sudden")
    s.tell("stuck")
    s.turn()
    if s.chance(0.7):
        s.tell("tries_reach")
    if not s.happy:
        s.tell("runs_off")
        s.tell("sad")
        s.sum_up("{A} wanted to help {N:a}, but it ran away.")
        return close(s, c)
    if s.chance(0.5):
        s.tell("idea")
    s.tell("gets_help", "so")
    s.para()
    s.tell("rescue", "then")
    s.tell("animal_safe")
    s.tell("animal_thanks")
    if s.chance(0.6):
        s.tell("praise")
    s.para()
    s.tell("animal_friend", "since")
    s.sum_up(
        "{A} and {M} helped {N:a} down from a tree.", "With {x:a}, {M} helped {N:a} that was stuck in a tree."
    )
    close(s, c)


def hurt_bird(s: Story, c: Cast) -> None:
    s.b |= {
        "P": c.place("out"),
        "N": c.animal(named=False, kinds=("bird", "owl", "duck", "butterfly", "parrot")),
        "x": c.thing("tool", "treasure", only=("basket", "box"), adjectives=1),
    }
    begin(s, c)
    s.para()
    s.tell("goes", "day")
    side(s, c)
    s.tell("hurt_wing", "sudden")
    s.turn()
    s.tell("sad")
    s.tell("carry_home", "so")
    if s.chance(0.5):
        s.tell("offers")
    s.para()
    if not s.happy:
        s.tell("runs_away_window")
        s.tell("sad")
        s.sum_up("{A} took {N:a} with a hurt wing home, but it was gone in the morning.")
        return close(s, c)
    s.tell("heals")
    s.tell("flies_free", "end")
    s.tell("waves_bye")
    s.para()
    if s.chance(0.5):
        s.tell("sings_back", "next")
    else:
        s.tell("animal_friend", "since")
    s.sum_up(
        "{A} helped {N:a} with a hurt wing until it could fly again.", "{A} took {N:a} home and made it well."
    )
    close(s, c)


def seed(s: Story, c: Cast) -> None:
    s.b |= {"x": c.thing("plant", adjectives=1), "P": c.place("plant")}
    begin(s, c)
    s.para()
    s.tell("has_seed", "day")
    s.tell("plants_seed", "then")
    s.tell("waters")
    s.turn()
    s.tell("impatient")
    s.tell("wait_says")
    s.para()
    if not s.happy:
        s.tell("not_grown")
        s.tell("sad")
        s.sum_up("{A} planted a seed {P:in}, but it did not grow.")
        return close(s, c)
    if s.chance(0.5):
        side(s, c)
    s.tell("sprout", "next")
    s.tell("excited")
    s.tell("grown")
    s.tell("happy")
    s.para()
    if s.chance(0.7):
        s.tell("patient_moral")
    s.sum_up("{A} planted a seed and got {x:a}.", "{A} waited patiently until the seed {P:in} became {x:a}.")
    close(s, c)


def storm(s: Story, c: Cast) -> None:
    s.b |= {"Q": c.spot("home"), "S": c.spot("home")}
    begin(s, c)
    s.para()
    s.tell("home", "day")
    s.tell("storm_comes", "sudden")
    s.turn()
    s.tell("scared")
    s.tell("hides")
    s.para()
    s.tell("calls")
    s.tell("comfort")
    if not s.happy:
        s.tell("storm_stays")
        s.tell("cannot_sleep")
        s.sum_up("{A} was afraid of the storm and hid {Q:in}.")
        return close(s, c)
    s.tell("hug")
    if s.chance(0.7):
        s.tell("storm_game")
    s.para()
    s.tell("storm_over", "end")
    s.tell("not_afraid")
    s.sum_up(
        "{A} was afraid of a storm, but {M} helped {A:him}.", "{A} hid {Q:in} during a storm until {M} came."
    )
    close(s, c)


def dark(s: Story, c: Cast) -> None:
    q, r = c.rng.choice(SHADOWS)
    s.b |= {"q": q, "r": r, "x": c.thing("tool", "house", only=("flashlight", "lamp"), adjectives=1)}
    begin(s, c)
    s.para()
    s.tell("dark_room", "night")
    s.tell("sees_shape", "sudden")
    s.turn()
    s.tell("scared")
    s.tell("calls")
    s.para()
    if not s.happy:
        s.tell("nobody_came")
        s.tell("cannot_sleep")
        s.sum_up("{A} saw a shadow in the dark and could not sleep.")
        return close(s, c)
    s.tell("light_on", "then")
    s.tell("laughs_at_it")
    s.tell("night_light")
    s.para()
    s.tell("thanks")
    s.tell("not_afraid", "since" if s.chance(0.4) else "")
    s.tell("sleeps", "then")
    s.sum_up(
        "{A} was afraid of a shadow that looked like {q}, but it was only {r}.",
        "{A} was afraid of the dark until {M} turned on the light.",
    )
    close(s, c)


PLOTS = [stuck_animal, hurt_bird, seed, storm, dark]
