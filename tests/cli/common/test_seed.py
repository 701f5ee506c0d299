"""`--seed` where nothing is drawn at random: every verb that takes the flag says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import run
from tests.conftest import TinyModel

TEXT = "The dog sleeps. The cat runs. The cat sees the dog."


@pytest.mark.parametrize(
    ("arguments", "family"),
    [
        (("generate", "Once", "--max-new-tokens", "1"), "llama"),
        (("generate", "Once", "--max-new-tokens", "1", "--num-beams", "2"), "llama"),
        (("chat", "--lines", "--max-new-tokens", "1"), "llama"),
        (("translate", "Once", "--max-new-tokens", "1"), "bart"),
        (("summarize", "--max-new-tokens", "1"), "bart"),
        (("summarize",), None),
        (("qa", "--question", "Who?", "--max-answer-tokens", "2"), "bert-qa"),
    ],
)
def test_a_seed_without_effect_is_noticed(
    arguments: tuple[str, ...], family: str | None, tiny_model: TinyModel
) -> None:
    model = [] if family is None else ["-m", tiny_model(family, chat=arguments[0] == "chat")]
    stdin = None if arguments[1:2] == ("Once",) else TEXT
    said = {
        seed: run(*arguments, *model, *seed, stdin=stdin) for seed in [(), ("--seed", "0"), ("--seed", "7")]
    }
    assert {one.code for one in said.values()} == {0}
    assert len({one.out for one in said.values()}) == 1
    assert [("--seed" in one.err) for one in said.values()] == [False, True, True]


def test_a_seed_of_sampling_is_not(tiny_model: TinyModel) -> None:
    sampled = ("-m", tiny_model("llama"), "--temperature", "1", "--max-new-tokens", "1", "--seed", "1")
    assert run("generate", "Once", *sampled).err == ""


def test_a_seed_in_eval_draws_the_resamples(tmp_path: Path, tiny_model: TinyModel) -> None:
    """There it has an effect, with a greedy model too."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "Who sleeps?", "context": "The dog sleeps.", "answers": ["dog"]}\n')
    result = run("eval", "--task", "qa", rows, "-m", tiny_model("bert-qa"), "--seed", "3")
    assert result.code == 0
    assert "--seed" not in result.err
