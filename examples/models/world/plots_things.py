# ruff: noqa: E501 - a script is a line
"""Plots about things: lost, shared, broken, found, made, built, sent on the water."""

from __future__ import annotations

from script import Plot

PLOTS = [
    Plot(
        "lost_and_found",
        "x coloured toy wear; P place out; Q spot out; R spot out; S spot out; B one B M",
        "begin owns / (+ready carries|carries:day|carries:day) +side?90 ! lose cries_lost sad?50 no_know?40 search?70 "
        "/ arrives:sudden asks_wrong[M=B] (offers[M=B] agrees?55)?80 search_help:so / ",
        "(find[Q=S]:end|find_for[Q=S]:sudden give:then) thanks[M=B]?80 welcome[M=B]?40 (happy|relieved|happy relieved) / (careful_since:since|moral_help)?70 +end?60 close",
        "not_found remember careful_since:since?60 +end?60 close",
        (
            "{A} lost {A:his} {x:n}, but with the help of {B} it was found {S:in}.",
            "{B} helped {A} look for the lost {x:n}, and it was {S:in}.",
        ),
        (
            "{A} lost {A:his} {x:n} and could not find it again.",
            "{A} lost {x:a} {P:in}, and nobody could find it.",
        ),
    ),
    Plot(
        "lost_at_home",
        "x coloured toy wear; Q spot home; R spot home; S spot home; B one M M",
        "begin owns / plays_home:day +rain?20 ! lose_home cries_lost sad?50 no_know?40 search?80 / asks_wrong[M=B] (offers[M=B] agrees?55)?80 search_help:so / ",
        "(find[Q=S]:end|find_for[Q=S]:sudden give:then) thanks[M=B]?80 welcome[M=B]?40 (happy|relieved|happy relieved) / careful_since:since?70 +end?60 close",
        "not_found remember careful_since:since?60 +end?60 close",
        (
            "{A} lost {A:his} {x:n} at home, and it was {S:in}.",
            "{A} and {B} looked for the lost {x:n} and found it {S:in}.",
        ),
        ("{A} lost {A:his} {x:n} at home and could not find it again.",),
    ),
    Plot(
        "sharing",
        "x coloured toy; P place play out",
        "begin owns / (+ready carries|carries:day|carries:day) +side?80 / friend_comes:then wants_play ! refuse (b_sad|why_share|why_share) / ",
        "(adult_share thinks|bored_alone) sorry:then forgive?60 share / both_play both_happy / (learn_share|always_share:since) +end?60 close_fun",
        "bored_alone no_share_end:end sad_end +end?60 close",
        (
            "{A} did not want to share {A:his} {x:n} with {B} at first, but then they played together.",
            "{A} learned to share {A:his} {x:n} with {B}.",
        ),
        ("{A} did not share {A:his} {x:n} with {B} and was alone in the end.",),
    ),
    Plot(
        "broken_mended",
        "x coloured toy; t,u words glue; P place out; M relative mom dad grandpa grandma brother sister mommy daddy",
        "begin owns / (+ready carries|carries:day|carries:day) +side?80 ! break:sudden (sad|why_broken|why_broken) no_know?40 try_fix?60 / home:so asks_fix ",
        "(offers agrees?55)?80 / fixes:then as_new (happy|relieved|happy relieved) thanks?70 welcome?40 / careful_since:since?60 +end?60 close",
        "cannot_fix hug remember +end?60 close",
        ("{A} broke {A:his} {x:n}, and {M} fixed it with {t}.", "{M} fixed {A:his} broken {x:n}."),
        ("{A} broke {A:his} {x:n}, and it could not be fixed.",),
    ),
    Plot(
        "honest_finder",
        "x thing treasure wear; C person lady man woman farmer baker fisherman; P place out town; y thing fruit baked toy",
        "begin / (+ready goes|goes:day|goes:day) +side?80 finds_thing:sudden wants_keep ! owner_sad asks_seen ",
        "thinks tells_found:then give[B=A,A=C] / thanks[A=C,M=A] welcome[M=A]?40 reward (happy|relieved|happy relieved) honest_moral?50 +end?60 close",
        "keeps home:then bad_feeling sad_end +end?60 close",
        ("{A} found {x:a} {P:in} and gave it back to {C}.", "{A} was honest and got {y:a} from {C}."),
        ("{A} found {x:a} {P:in} and kept it, but felt bad.",),
    ),
    Plot(
        "building",
        "x thing craft; P place out sand; N animal dog cat puppy goat duck",
        "begin2 / both_go:day +side?80 builds build_steps ! knocked:sudden sad no_know?40 / ",
        "build_again thinks?30 built_better both_happy (praise says_love?35)?70 / work_moral +end?60 close_fun",
        "gives_up_build b_sad +end?60 close",
        ("{A} and {B} built {x:a} {P:in}, and when it fell down they built it again.",),
        ("{A} and {B} built {x:a}, but it fell down and {A} went away angry.",),
    ),
    Plot(
        "boat",
        "x thing toy=toy_boat drawing=paper_boat; P place water; N animal duck fish frog dog turtle dolphin; y thing tool=net,stick",
        "begin owns / (+ready carries|carries:day|carries:day) +side?70 boat_put ! boat_away:sudden cant_reach sad?50 no_know?40 / ",
        "(animal_brings:sudden thanks[M=N]|gets_help fish_out thanks) (happy|relieved|happy relieved) / careful_since:since?40 +end?60 close",
        "gone_forever sad_end +end?60 close",
        (
            "{A:p} {x:n} floated away {P:in}, but {A} got it back.",
            "{A} let {A:his} {x:n} swim, and it came back in the end.",
        ),
        ("{A:p} {x:n} floated away and was gone.",),
    ),
    Plot(
        "kite",
        "x coloured toy=kite,balloon,toy_plane; P place out; y thing tool=ladder,stick,rope",
        "begin owns / (+ready carries|carries:day|carries:day) windy?60 kite_up happy?40 ! kite_stuck:sudden (sad|why_kite)?70 no_know?40 tries_alone / ",
        "gets_help:so kite_down thanks?70 welcome?40 (happy|relieved|happy relieved) / string_tight:since?60 +end?60 close_fun",
        "kite_torn sad no_know?40 home +end?60 close",
        ("{A:p} {x:n} got stuck in a tree, and {M} got it down with {y:a}.",),
        ("{A:p} {x:n} got stuck in a tree and was torn.",),
    ),
    Plot(
        "riding",
        "child; x coloured toy=bike,scooter,skateboard,sled; P place out",
        "begin owns wants_ride / (+ready goes_with|goes_with:day|goes_with:day) +side?60 falls_off ! (why_fell|too_hard|why_fell too_hard) sad?40 no_know?40 / ",
        "encourage holds_seat?60 practice rides:end (proud|why_proud) happy?40 (praise says_love?35)?70 / +end?60 close_fun",
        "gives_up sad_end +end?60 close",
        (
            "{A} learned to ride {A:his} {x:n} because {M} helped.",
            "{A} fell off {A:his} {x:n}, but did not give up.",
        ),
        ("{A} wanted to ride {A:his} {x:n}, but gave up.",),
    ),
    Plot(
        "gift",
        "child; x thing drawing=card,picture,painting; C relative grandma grandpa sister brother mom dad; Q spot home; n words numbers",
        "begin birthday_soon wants_surprise / plans?50 makes_gift hides_gift balloons?50 ! ",
        "fetches_gift:then surprise give_gift loves_gift why_gift?50 / hug[M=C] (happy|relieved|happy relieved) +end?60 close_fun",
        "gift_wet sad no_know?40 / still_loves hug[M=C] +end?60 close",
        ("{A} made {x:a} as a birthday surprise for {C}.", "{A} hid {x:a} {Q:in} and surprised {C}."),
        ("{A} made {x:a} for {C}, but it got wet.",),
    ),
    Plot(
        "magic_stone",
        "x thing treasure=stone,ring,shell,lamp,crystal,coin; P place out; w,v words wishes",
        "begin / (+ready goes|goes:day|goes:day) +side?60 finds_thing:sudden glows excited wish_big ! ",
        "poof (too_much wish_back gone_again wish_moral|happy wish_share everyone_happy wish_moral) +end?60 close",
        "wish_wasted sad no_know?40 home +end?60 close",
        ("{A} found {x:a} {P:in} and wished for {w}.", "{A} made a wish with {x:a}."),
        ("{A} found {x:a} and made a wish, but nothing happened.",),
    ),
]
