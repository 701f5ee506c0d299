"""Decide which tokens of a sequence to guess, and how many: its own earlier text, and a pace that pays.

Guesses are verified together in one step of the model (`verification`). They cost time if they are wrong.
"""

from __future__ import annotations

from collections import defaultdict, deque
from statistics import median

GUESSES = 5
"""Tokens that are guessed at a time, at most."""
VERIFYING = 0.12  # a step with one token more takes this share of a step longer


class Meter:
    """Measures the time that guesses take, where they change no token.

    Args:
        expected: time to propose and to verify one token, as a share of a step of the model.
    """

    _ENOUGH, _KEPT = 5, 15

    def __init__(self, expected: float) -> None:
        self._expected = expected
        self._plain: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=self._KEPT))
        self._costs: deque[float] = deque(maxlen=self._KEPT)

    @property
    def cost(self) -> float:
        """Time to propose and to verify one token, as a share of a step; at first what is expected."""
        return max(0.02, median(self._costs)) if len(self._costs) >= self._ENOUGH else self._expected

    def note(self, rows: int, guessed: int, seconds: float) -> None:
        """Take note of a step of some sequences, with the guesses of all of them."""
        plain = self._plain[rows]
        if not guessed:
            plain.append(seconds)
        elif len(plain) >= self._ENOUGH:
            self._costs.append((seconds / median(plain) - 1) * rows / guessed)


class Pace:
    """Number of tokens to guess, by how many guesses of the same sequence were right.

    It looks at one sequence alone: with a fixed cost, a sequence gets the same guesses in every batch.

    Args:
        rate: share of guesses that is expected to be right.

    Attributes:
        cost: time to propose and to verify one token, as a share of a step of the model.
    """

    _PRIOR, _DECAY = 4.0, 0.85  # guesses that the start counts as; weight of the past after each round
    _FIRST, _LONGEST = 16, 256  # tokens without guesses, after guesses that did not pay
    _PROBE = 2

    def __init__(self, cost: float, rate: float) -> None:
        self.cost = cost
        self._right, self._tried = rate * self._PRIOR, self._PRIOR
        self._pause, self._next_pause = 0, self._FIRST
        self._probing = False

    @property
    def rate(self) -> float:
        """Share of guesses that were right, the newest ones foremost."""
        return self._right / self._tried

    def count(self) -> int:
        """Return the number of tokens to guess in this round, 0 to `GUESSES`.

        With the rate a, k guesses give (1 - a^(k+1)) / (1 - a) tokens for the time of 1 + cost k steps
        (Leviathan et al. 2023, https://arxiv.org/abs/2211.17192, section 3.3).
        """
        if self._pause:
            self._pause -= 1
            self._probing = not self._pause
            return 0
        best, gain = 0, 1.0
        for k in range(1, GUESSES + 1):
            tokens = sum(self.rate**i for i in range(k + 1))
            if tokens / (1 + self.cost * k) > gain:
                best, gain = k, tokens / (1 + self.cost * k)
        if best:
            return best
        if self._probing:
            return self._PROBE
        self._rest()
        return 0

    def note(self, guessed: int, right: int) -> None:
        """Take note of a round: of the guesses, the first `right` ones were right."""
        if not guessed:
            return
        missed = int(right < guessed)
        if self._probing:  # what was long ago says little
            self._probing = False
            self._right, self._tried = float(right), float(right + missed)
            if missed and not right:
                self._rest()
                return
            self._next_pause = self._FIRST
        self._right = self._DECAY * self._right + right
        self._tried = self._DECAY * self._tried + right + missed

    def _rest(self) -> None:
        self._pause, self._next_pause = self._next_pause, min(2 * self._next_pause, self._LONGEST)


class PromptLookup:
    """Guesses the continuation of a sequence by its last tokens' earlier occurrence.

    Method: prompt lookup (Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding).
    """

    _SIZES = (3, 2)

    def __init__(self, ids: list[int]) -> None:
        self._ids: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}  # n-gram -> where it last ended, before the newest token
        for token in ids:
            self.add(token)

    def add(self, token: int) -> None:
        """Take the sequence's next token."""
        for size in self._SIZES:
            if len(self._ids) >= size:
                self._ends[tuple(self._ids[-size:])] = len(self._ids)
        self._ids.append(token)

    def find(self) -> int | None:
        """Return the index of the token that followed the last tokens when they occurred before."""
        for size in self._SIZES:
            end = self._ends.get(tuple(self._ids[-size:])) if len(self._ids) >= size else None
            if end is not None:
                return end
        return None

    def guesses(self, begin: int, count: int) -> list[int]:
        """Return up to `count` tokens from an index on."""
        return self._ids[begin : begin + count]
