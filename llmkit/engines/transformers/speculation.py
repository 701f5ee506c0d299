"""Decide the source and number of guessed tokens: the sequence's text, a draft model, or no guesses.

Guesses are verified together in one step of the model (`verification`). Wrong guesses take time.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from statistics import median
from typing import Literal

GUESSES = 5
"""Maximum number of tokens to guess at a time."""
VERIFYING = 0.08  # time of one more token in a step, as a share of a step
# Minimum speedup by guesses. The time of a draft may be an estimate, so its minimum has a margin.
_LEAST_LOOKED_UP, _LEAST_DRAFTED = 1.03, 1.1
_LOOKED_UP, _DRAFTED = 0.5, 0.7  # expected shares of right guesses

Source = Literal["lookup", "draft"]


class Meter:
    """Measures the time of guesses; used only if guesses do not change the tokens.

    Args:
        draft: estimate of the time to draft and to verify one token, as a share of a step of the model, until
            it is measured; None without a draft model.
    """

    _ENOUGH, _KEPT = 5, 15

    def __init__(self, draft: float | None = None) -> None:
        self._expected: dict[Source, float] = {"lookup": VERIFYING, "draft": draft or 0.0}
        self._plain: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=self._KEPT))
        self._costs: dict[Source, deque[float]] = defaultdict(lambda: deque(maxlen=self._KEPT))

    def cost(self, source: Source) -> float:
        """Return the time to propose and to verify one token, as a share of a step."""
        costs = self._costs[source]
        return max(0.02, median(costs)) if len(costs) >= self._ENOUGH else self._expected[source]

    def note(self, rows: int, guessed: int, seconds: float, source: Source) -> None:
        """Record a step of some sequences, with all their guesses, which are from one source."""
        plain = self._plain[rows]
        if not guessed:
            plain.append(seconds)
        elif len(plain) >= self._ENOUGH:
            self._costs[source].append((seconds / median(plain) - 1) * rows / guessed)


class Pace:
    """Number of tokens to guess, by the share of right guesses in the same sequence.

    It depends on one sequence only: with a fixed cost, a sequence gets the same guesses in every batch.

    Args:
        cost: see below.
        rate: expected share of right guesses.
        least: minimum speedup by guesses.

    Attributes:
        cost: time to propose and to verify one token, as a share of a step of the model.
    """

    _PRIOR, _DECAY = 4.0, 0.85  # weight of the initial rate, in guesses; decay of the past in each round
    _FIRST, _LONGEST = 16, 256  # number of tokens without guesses, after guesses that gave no speedup
    _PROBE = 2

    def __init__(self, cost: float, rate: float, least: float) -> None:
        self.cost, self._least = cost, least
        self._right, self._tried = rate * self._PRIOR, self._PRIOR
        self._pause, self._next_pause = 0, self._FIRST
        self._probing = False

    def best(self) -> tuple[int, float]:
        """Return the best number of guesses, 0 to `GUESSES`, and its speedup.

        With a share a of right guesses, k of them give (1 - a^(k+1)) / (1 - a) tokens for the time of
        1 + cost k steps (Leviathan et al. 2023, https://arxiv.org/abs/2211.17192, section 3.3).
        """
        rate = self._right / self._tried
        count, gain, tokens = 0, self._least, 1.0
        for k in range(1, GUESSES + 1):
            tokens += rate**k
            if tokens / (1 + self.cost * k) > gain:
                count, gain = k, tokens / (1 + self.cost * k)
        return (count, gain) if count else (0, 1.0)

    def next(self) -> tuple[int, float]:
        """Like `best`, with pauses and new attempts: for guesses whose quality only an attempt shows."""
        if self._pause:
            self._pause -= 1
            self._probing = not self._pause
            return 0, 1.0
        count, gain = self.best()
        if not count and self._probing:
            return self._PROBE, self._least
        if not count:
            self._rest()
        return count, gain

    def note(self, guessed: int, right: int) -> None:
        """Record a round: the first `right` guesses were right."""
        if not guessed:
            return
        past = self._DECAY
        if self._probing:  # older rounds count less
            past = 0.5
        self._right = past * self._right + right
        self._tried = past * self._tried + right + int(right < guessed)
        if self._probing:
            self._probing = False
            if self.best()[0]:
                self._next_pause = self._FIRST
            else:
                self._rest()

    def _rest(self) -> None:
        self._pause, self._next_pause = self._next_pause, min(2 * self._next_pause, self._LONGEST)


def can_pay(cost: float) -> bool:
    """Return True if a draft model with this cost is faster when all its guesses are right."""
    return Pace(cost, 1.0, _LEAST_DRAFTED).best()[0] > 0


class Guesser:
    """Planner of the guesses of one sequence.

    Args:
        ids: its prompt.

    Attributes:
        lookup: guesses from its text.
        looking, drafting: paces of the two sources.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self.lookup = PromptLookup(ids)
        self.looking = Pace(VERIFYING, _LOOKED_UP, _LEAST_LOOKED_UP)
        self.drafting: Pace | None = None
        self._found: list[int] = []

    def drafts(self, cost: float) -> None:
        """Enable guesses by a draft model."""
        self.drafting = Pace(cost, _DRAFTED, _LEAST_DRAFTED)

    def measured(self, meter: Meter) -> None:
        """Use measured costs."""
        self.looking.cost = meter.cost("lookup")
        if self.drafting is not None:
            self.drafting.cost = meter.cost("draft")

    def plan(self, room: int) -> tuple[list[int], int]:
        """Return tokens guessed from the text, or the number of tokens to draft in place of them.

        Args:
            room: maximum number of tokens to guess.
        """
        self._found = self.lookup.guesses(min(GUESSES, room))
        count, gain = self.looking.best() if self._found else (0, 1.0)
        if self.drafting is not None and room > 0:
            drafted, faster = self.drafting.next()
            if drafted and faster > gain:
                return [], min(drafted, room)
        return self._found[:count], 0

    def note(self, chosen: Sequence[int], drafted: int, right: int) -> None:
        """Record a round.

        Args:
            chosen: its tokens.
            drafted: number of drafted tokens.
            right: number of them that were accepted.
        """
        if self.drafting is not None:
            self.drafting.note(drafted, right)
        # Compare the text's continuation even if it was not guessed.
        seen = list(zip(self._found, chosen, strict=False))
        wrong = next((i for i, (foreseen, token) in enumerate(seen) if foreseen != token), len(seen))
        self.looking.note(len(seen), wrong)
        self._found = []


class PromptLookup:
    """Guesses the continuation of a sequence by its last tokens' earlier occurrence.

    Method: prompt lookup (Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding).
    """

    _SIZES = (3, 2)

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}  # n-gram -> its last end before the newest token
        for token in ids:
            self.add(token)

    def add(self, token: int) -> None:
        """Add the sequence's next token."""
        for size in self._SIZES:
            if len(self._ids) >= size:
                self._ends[tuple(self._ids[-size:])] = len(self._ids)
        self._ids.append(token)

    def guesses(self, most: int) -> list[int]:
        """Return the tokens after the previous occurrence of the last tokens, at most `most`."""
        for size in self._SIZES:
            end = self._ends.get(tuple(self._ids[-size:])) if len(self._ids) >= size else None
            if end is not None:
                return self._ids[end : end + max(0, most)]
        return []
