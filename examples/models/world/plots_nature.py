# ruff: noqa: E501 - a script is a line
"""Plots about animals, plants, weather, water and the night."""

from __future__ import annotations

from script import Plot

PLOTS = [
    Plot(
        "stuck_animal",
        "P place out; N animal cat kitten squirrel bird monkey; x thing tool=ladder,rope,net,basket",
        "begin / (+ready goes|goes:day|goes:day) +side?80 hears_cry:sudden stuck why_stuck?40 ! tries_reach?70 ",
        "idea?50 gets_help:so / rescue:then animal_safe animal_thanks (praise says_love?35)?70 / animal_friend:since +end?60 close",
        "runs_off sad no_know?40 +end?60 close",
        (
            "{A} and {M} helped {N:a} down from a tree.",
            "With {x:a}, {M} helped {N:a} that was stuck in a tree.",
        ),
        ("{A} wanted to help {N:a}, but it ran away.",),
    ),
    Plot(
        "hurt_bird",
        "P place out; N animal bird owl duck butterfly parrot; x thing tool=basket treasure=box",
        "begin / (+ready goes|goes:day|goes:day) +side?80 hurt_wing:sudden ! sad?70 no_know?40 carry_home:so (offers agrees?55)?80 / ",
        "heals flies_free:end waves_bye / sings_back:next?70 +end?60 close",
        "runs_away_window sad no_know?40 +end?60 close",
        (
            "{A} helped {N:a} with a hurt wing until it could fly again.",
            "{A} took {N:a} home and made it well.",
        ),
        ("{A} took {N:a} with a hurt wing home, but it was gone in the morning.",),
    ),
    Plot(
        "seed",
        "x thing plant; P place plant",
        "begin / has_seed:day plants_seed:then waters ! impatient wait_says / ",
        "+side?70 sprout:next excited grown (happy|relieved|happy relieved) / patient_moral?70 +end?60 close",
        "not_grown sad no_know?40 +end?60 close",
        ("{A} planted a seed and got {x:a}.", "{A} waited patiently until the seed {P:in} became {x:a}."),
        ("{A} planted a seed {P:in}, but it did not grow.",),
    ),
    Plot(
        "storm",
        "Q spot hide; y thing toy",
        "begin / (plays_in|home:day) storm_comes:sudden ! scared (no_know|deep_breath)?50 hides / calls comfort ",
        "hug storm_game?70 / storm_over:end not_afraid happy?30 +end?60 close",
        "storm_stays cannot_sleep +end?60 close",
        (
            "{A} was afraid of a storm, but {M} helped {A:him}.",
            "{A} hid {Q:in} during a storm until {M} came.",
        ),
        ("{A} was afraid of the storm and hid {Q:in}.",),
    ),
    Plot(
        "dark",
        "q,r words shadows; x thing tool=flashlight house=lamp",
        "begin / dark_room:night sees_shape:sudden ! (scared|why_dark) (no_know|deep_breath)?50 calls / ",
        "light_on:then laughs_at_it night_light / thanks welcome?40 not_afraid:since?50 sleeps:then +end?60 close",
        "nobody_came cannot_sleep +end?60 close",
        (
            "{A} was afraid of a shadow that looked like {q}, but it was only {r}.",
            "{A} was afraid of the dark until {M} turned on the light.",
        ),
        ("{A} saw a shadow in the dark and could not sleep.",),
    ),
    Plot(
        "rainy_day",
        "V act in; W act in; Q place water",
        "begin / rain:day wants_out ! (sad|why_rain) no_know?40 / ",
        "(rain_idea both_in|rain_puddles boots) (happy|relieved|happy relieved) / +rainbow?40 +end?60 close_fun",
        "rain_all_day sad_end +end?60 close",
        (
            "It rained, but {A} and {M} had fun anyway.",
            "{A} was sad because of the rain, but then {M} had an idea.",
        ),
        ("It rained all day, and {A} could not play outside.",),
    ),
    Plot(
        "snowman",
        "x thing fruit=carrot,potato; y coloured wear=hat,scarf,cap; z thing drink=hot_chocolate,milk,tea; P place yard play",
        "begin2 / snow_fell both_go:so +side?45 make_snowman nose friend_hat ! ",
        "snow_hat both_happy snow_cold warm_up / +end?60 close_fun",
        "snow_hat melts:next snow_sad next_snow +end?60 close",
        ("{A} and {B} made a snowman {P:in}.", "{A} and {B} made a snowman and gave it {x:a} for a nose."),
        ("{A} and {B} made a snowman, but it melted.",),
    ),
    Plot(
        "swimming",
        "P place water",
        "begin / (+ready goes_with|goes_with:day|goes_with:day) swim_wants ! scared (no_know|deep_breath)?50 too_hard?40 / ",
        "encourage swim_try practice swims:end (proud|why_proud) (praise says_love?35)?70 / not_afraid +end?60 close_fun",
        "home:so sad_end +end?60 close",
        ("{A} was afraid of the water, but {M} helped {A:him} to swim.",),
        ("{A} was afraid of the water and did not swim.",),
    ),
    Plot(
        "lost_in_woods",
        "P place wild; N animal fox rabbit owl squirrel deer hedgehog bird",
        "begin / wander:day ! (scared|why_way) (no_know|deep_breath)?50 sad?50 / ",
        "meets:sudden asks_way shows_way thanks[M=N] welcome[M=N]?40 / waits_home hug promise +end?60 close",
        "night_alone found_late promise +end?60 close",
        ("{A} got lost {P:in}, and {N:a} showed {A:him} the way home.",),
        ("{A} got lost {P:in} and had to wait for {M} in the dark.",),
    ),
    Plot(
        "noise",
        "Q spot hide; N animal mouse cat kitten puppy frog hedgehog; P place home; x thing dish=cheese,fish,bread,rice",
        "begin / noise:night ! scared (no_know|deep_breath)?50 listens brave_look?80 / ",
        "noise_was feed not_afraid animal_friend:since +end?60 close",
        "noise_gone cannot_sleep +end?60 close",
        ("{A} heard a noise, and it was {N:a} {Q:in}.",),
        ("{A} heard a strange noise and could not sleep.",),
    ),
]
