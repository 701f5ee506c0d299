"""Energy, carbon and price, against published totals and arithmetic by hand."""

from __future__ import annotations

import math

import pytest

from llmkit.errors import OptionError
from llmkit.runtime.estimate.energy import GRIDS, cost_of, grid_named


def test_the_published_carbon_of_llama_2() -> None:
    # Touvron et al. 2023 (arXiv:2307.09288), table 2: 7B, 184,320 GPU hours at 400 W: 31.22 t. Their grid has
    # 0.423 kg a kWh.
    found = cost_of(184_320 * 3600, watts=400, grid=423, price=2)
    assert found.kwh == pytest.approx(73_728)
    assert found.carbon_kg == pytest.approx(31_220, rel=0.01)
    assert found.price == pytest.approx(368_640)


def test_what_is_not_given_is_left_out() -> None:
    found = cost_of(3600, devices=3)
    assert (found.seconds, found.kwh, found.carbon_kg, found.price) == (3600, None, None, None)
    assert cost_of(3600, devices=3, watts=100).kwh == pytest.approx(0.3)
    assert cost_of(3600, grid=100).carbon_kg is None


def test_a_grid_is_a_country_or_a_number() -> None:
    assert grid_named("France")[0] == GRIDS["france"]
    assert "2023" in grid_named("South Korea")[1]
    assert grid_named("250")[0] == 250
    for bad in ("nowhere", "-1", "nan", "inf", ""):
        with pytest.raises(OptionError) as error:
            grid_named(bad)
        assert error.value.option == "grid"
    assert all(math.isfinite(grams) and grams > 0 for grams in GRIDS.values())
