"""What the storyteller's card tells besides its score: how its stories hold together.

Public: `measured`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coherence


def measured(folder: Path) -> dict[str, Any]:
    """The card's numbers, by the names that its template has for them.

    Args:
        folder: the storyteller's, with the answers to the held-out requests.
    """
    found = coherence.measured(coherence.told(folder / "asked_answers.jsonl"))
    low, high = found["hero_stays_interval"]
    return {
        "hero": found["hero_stays"],
        "hero_low": low,
        "hero_high": high,
        "named": found["named"],
        "repeated": found["repeated_8grams"],
    }
