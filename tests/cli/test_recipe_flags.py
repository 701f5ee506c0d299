"""Flags built from a recipe: each default and help text is that of the recipe's field."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from llmkit.cli.common.recipe_flags import recipe_of, show
from llmkit.cli.finetune import FinetuneFlags
from llmkit.cli.pretrain import PretrainFlags
from llmkit.errors import OptionError
from llmkit.training.finetuning.recipe import FinetuneRecipe
from llmkit.training.pretraining.recipe import PretrainRecipe
from tests.command import run


@pytest.mark.parametrize(
    ("flags", "recipe"), [(FinetuneFlags, FinetuneRecipe), (PretrainFlags, PretrainRecipe)]
)
def test_without_flags_the_recipe_has_its_own_defaults(flags: Any, recipe: Any) -> None:
    assert recipe_of(recipe, flags()) == recipe()


def test_every_field_has_a_flag_or_comes_from_elsewhere() -> None:
    def missing(flags: Any, recipe: Any) -> set[str]:
        return {one.name for one in dataclasses.fields(recipe)} - {
            one.name for one in dataclasses.fields(flags)
        }

    assert missing(PretrainFlags, PretrainRecipe) == set()
    assert missing(FinetuneFlags, FinetuneRecipe) == {"seed", "dtype", "mapping"}


def test_a_batch_size_is_a_number_or_auto() -> None:
    flags: Any = FinetuneFlags
    assert recipe_of(FinetuneRecipe, flags(batch_size="auto")).batch_size is None
    assert recipe_of(FinetuneRecipe, flags(batch_size="4")).batch_size == 4
    for wrong in ("none", "0", "-1", "1.5"):
        with pytest.raises(OptionError) as caught:
            recipe_of(FinetuneRecipe, flags(batch_size=wrong))
        assert caught.value.option == "batch_size"


@pytest.mark.parametrize(
    ("verb", "help", "default"),
    [
        ("finetune", "Rank of the adapter's matrices", "16"),
        ("finetune", "Scale of the adapter", "twice the rank"),
        ("finetune", "Rows in a forward pass; auto takes the most that fit", "8"),
        ("finetune", "Steps between checkpoints", "as --eval-steps"),
        ("finetune", "Dropout on the adapter's input", "0"),
        ("finetune", "Passes over the rows", "3"),
        ("pretrain", "Passes over the corpus", "from the corpus, 1 to 8"),
        ("pretrain", "Peak learning rate", "0.003"),
    ],
)
def test_the_help_shows_each_default(verb: str, help: str, default: str) -> None:
    page = " ".join(run(verb, "--help").out.split())
    assert re.search(rf"{re.escape(help)}\.? [(\[](default: )?{re.escape(default)}[)\]]", page), page


def test_a_result_shows_units(capsys: pytest.CaptureFixture[str]) -> None:
    show({"steps": 1200, "train_loss": 1.54219, "peak_memory": 771_039_232, "resumed": None}, as_json=False)
    assert capsys.readouterr().out == "steps: 1,200\nlast training loss: 1.542\npeak memory: 0.77 GB\n"
