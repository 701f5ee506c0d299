"""Energy, carbon and price of a run: rough numbers, each with its source.

Public: `GRIDS`, `GRID_SOURCE`, `Cost`, `cost_of`, `grid_named`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmkit.errors import OptionError, did_you_mean

GRID_SOURCE = (
    "Ember (2024) and Energy Institute (2024), by Our World in Data: carbon intensity of electricity, 2023"
)
"""Source and year of `GRIDS`."""
GRIDS = {
    **{"australia": 548.7, "brazil": 98.3, "canada": 170.0, "china": 582.3, "finland": 79.2, "france": 56.0},
    **{
        "germany": 381.0,
        "india": 713.4,
        "italy": 330.7,
        "japan": 485.4,
        "netherlands": 267.6,
        "norway": 30.1,
    },
    **{"poland": 661.9, "south-africa": 707.7, "south-korea": 430.6, "spain": 174.1, "sweden": 40.7},
    **{"switzerland": 34.8, "uk": 237.6, "usa": 369.5},
}
"""Grams of CO2 equivalent for a kWh."""


@dataclass(frozen=True)
class Cost:
    """Time, energy, carbon and price of a run; None where a number was not given.

    Attributes:
        seconds: its time.
        kwh: energy of the devices.
        carbon_kg: CO2 equivalent in kg.
        price: price in the currency of `price` an hour.
        how: the assumptions.
    """

    seconds: float
    kwh: float | None
    carbon_kg: float | None
    price: float | None
    how: str


def cost_of(
    seconds: float,
    *,
    devices: int = 1,
    watts: float | None = None,
    grid: float | None = None,
    price: float | None = None,
) -> Cost:
    """Return the cost of a run: energy = time x power, carbon = energy x the grid's intensity.

    Args:
        seconds: its time.
        devices: number of devices that run for it.
        watts: power of a device; None if it is not known.
        grid: grams of CO2 for a kWh; None leaves the carbon out.
        price: price of a device for an hour; None leaves it out.
    """
    hours = devices * seconds / 3600
    kwh = None if watts is None else hours * watts / 1000
    carbon = None if kwh is None or grid is None else kwh * grid / 1000
    how = "all devices at the same power all the time; without cooling, network and making the devices"
    return Cost(seconds, kwh, carbon, None if price is None else hours * price, how)


def grid_named(grid: str) -> tuple[float, str]:
    """Return the grams of CO2 for a kWh of a country, or of a number as it is, with its source.

    Raises:
        OptionError: neither a country of `GRIDS` nor a number from 0 on.
    """
    key = grid.strip().lower().replace(" ", "-")
    if key in GRIDS:
        return GRIDS[key], GRID_SOURCE
    try:
        value = float(key)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise OptionError(
            "grid",
            f"{grid} is not known{did_you_mean(key, GRIDS)}; use {', '.join(GRIDS)}, or grams of CO2 a kWh",
        )
    return value, "as given"
