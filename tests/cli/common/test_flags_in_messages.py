"""Options in messages of the library are shown as flags of the running verb."""

from __future__ import annotations

import pytest

from llmkit.cli.common import console

FLAGS = {
    "num_beams": ("--num-beams", None),
    "resume": ("--resume", None),
    "chat": ("--chat", "--no-chat"),
    "source": ("--from", None),
    "truncate": ("--truncate", None),
}


@pytest.fixture(autouse=True)
def flags_of_a_verb() -> None:
    console.use_flags(FLAGS)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("`num_beams` must be 1 or more", "--num-beams must be 1 or more"),
        ("set num_beams=4", "set --num-beams 4"),
        ("resume=True goes on", "--resume goes on"),
        ("omit chat=False", "omit --no-chat"),
        ('truncate="left" keeps its end', "--truncate left keeps its end"),
        ("column `source` is empty; set `source`", "column `source` is empty; set --from"),
        ("`llmkit models` lists `unknown` names, x=3", "`llmkit models` lists `unknown` names, x=3"),
    ],
)
def test_options_are_shown_as_flags(message: str, shown: str) -> None:
    assert console.with_flags(message) == shown
