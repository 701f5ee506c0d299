# ruff: noqa: E501 - a script is a line
"""All plots, and the small scenes that may happen within any of them."""

from __future__ import annotations

import plots_nature
import plots_people
import plots_things
from script import Scene

PLOTS = [*plots_things.PLOTS, *plots_nature.PLOTS, *plots_people.PLOTS]
SCENES = {
    "sun": Scene("", "sun", side=True),
    "animal": Scene("N animal", "sees_animal animal_does", side=True),
    "way": Scene("", "on_the_way (hears|senses|others)?50", side=True),
    "hears": Scene("", "hears wonders?50", side=True),
    "senses": Scene("", "senses (wonders|plays_bit)?50", side=True),
    "others": Scene("", "others plays_bit?50", side=True),
    "wonders": Scene("", "wonders plays_bit?40", side=True),
    "plays_bit": Scene("", "plays_bit", side=True),
    "small": Scene(
        "N animal frog mouse snail ladybug hedgehog butterfly bee ant worm caterpillar",
        "small_animal small_talk?50",
        side=True,
    ),
    "snack": Scene("y thing fruit baked=cookie,sandwich,muffin", "hungry_snack", side=True),
    "drink": Scene("y thing drink", "drinks", side=True),
    "butterfly": Scene("", "butterfly", side=True),
    "song": Scene("", "hums", side=True),
    "flower": Scene("x thing plant=flower,daisy,rose,tulip", "picks", side=True),
    "ice_cream": Scene("", "ice_cream happy?50", side=True),
    "greeting": Scene(
        "C person farmer baker lady man woman neighbor fisherman gardener", "greets", side=True
    ),
    "cloud": Scene("q,r words clouds", "clouds", side=True),
    "puddle": Scene("", "puddle", side=True),
    "pocket": Scene(
        "x thing treasure=shell,stone,button,feather,acorn,coin,pine_cone", "finds_small", side=True
    ),
    "counting": Scene("x several counted", "counts_animals", side=True),
    "lost_small": Scene(
        "N animal duck mouse hedgehog rabbit bunny lamb kitten puppy",
        "sees_trouble asks_matter trouble_home walks_home_n n_thanks goes_on?",
        side=True,
    ),
    "thirsty_small": Scene(
        "N animal dog cat bird horse donkey goat cow",
        "sees_trouble asks_matter? trouble_thirsty gives_water n_thanks goes_on?",
        side=True,
    ),
    "fallen_bird": Scene(
        "N animal bird owl parrot", "sees_trouble asks_matter trouble_fell back_to_nest n_thanks?", side=True
    ),
    "upside_down": Scene(
        "N animal turtle ladybug", "sees_animal trouble_legs turns_over n_thanks goes_on?", side=True
    ),
    "cold_small": Scene(
        "N animal mouse kitten snail frog hedgehog bird",
        "sees_trouble asks_matter? trouble_cold warms n_thanks goes_on?",
        side=True,
    ),
    "play_tag": Scene(
        "N animal dog puppy cat kitten rabbit bunny squirrel goat lamb pony monkey",
        "meets says_play plays_tag must_go",
        side=True,
    ),
    "share_snack": Scene(
        "N animal dog squirrel bird duck mouse rabbit; x thing fruit baked=cookie,sandwich,muffin",
        "has_food meets hungry_says gives_food animal_eats",
        side=True,
    ),
    "shower": Scene("", "shower under_tree sniff?50 rainbow_seen?40", side=True),
    "home_story": Scene("y thing dish baked=pizza,pancake,pie", "tells_all:then listens_m dinner?60"),
    "bedtime": Scene("", "bedtime love_back?40 (sleeps:then|in_bed)"),
    "sad_home": Scene("", "tells_all hug"),
    "again": Scene("", "after"),
    "moon": Scene("", "moon in_bed?60"),
    "dinner": Scene("y thing dish baked=pizza,pancake,pie", "eats_dinner"),
    "ready": Scene(
        "x thing fruit=apple,banana,pear baked=sandwich,pancake,muffin; y coloured wear=hat,coat,jacket,cap,scarf,sweater",
        "(breakfast|dresses) (have_fun i_will?|asks_parent)?",
    ),
    "rainbow": Scene("", "rainbow_seen"),
    "rain": Scene("", "rain"),
}
