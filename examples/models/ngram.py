"""A 5-gram language model over token ids: the yardstick for a trained one on the same text.

Interpolated, with modified Kneser-Ney discounts (Chen and Goodman 1999, section 3). Lower orders count in how
many contexts an n-gram was seen, except those that begin a document, which have no context to their left.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence


class KneserNey:
    """p(token | up to four tokens before it), smoothed down to the uniform distribution.

    Args:
        documents: token ids of each; `boundary` is put before and after.
        vocabulary: number of ids.
        boundary: the id before and after a document.
        order: 5 for a 5-gram.
    """

    def __init__(
        self, documents: Iterable[Sequence[int]], *, vocabulary: int, boundary: int, order: int = 5
    ) -> None:
        self.vocabulary, self.boundary, self.order = vocabulary, boundary, order
        # An n-gram is one integer, its tokens the digits; there is a table for each n, so lengths cannot mix.
        self.counts: list[dict[int, int]] = [defaultdict(int) for _ in range(order + 1)]
        starting = self._count(documents)
        for n in range(order - 1, 0, -1):
            left_contexts: dict[int, int] = defaultdict(int)
            for gram in self.counts[n + 1]:
                left_contexts[gram % vocabulary**n] += 1
            for gram in starting[n]:
                left_contexts[gram] = self.counts[n][gram]
            self.counts[n] = left_contexts
        self.discounts = [self._discounts(counts) for counts in self.counts]
        self.contexts = [self._contexts(n) for n in range(order + 1)]

    def _count(self, documents: Iterable[Sequence[int]]) -> list[set[int]]:
        starting: list[set[int]] = [set() for _ in range(self.order + 1)]
        for document in documents:
            row = [self.boundary, *document, self.boundary]
            for end in range(1, len(row)):
                gram, digit = 0, 1
                for n in range(1, min(self.order, end + 1) + 1):
                    gram += row[end - n + 1] * digit
                    digit *= self.vocabulary
                    self.counts[n][gram] += 1
                    if n == end + 1:
                        starting[n].add(gram)
        return starting

    def _discounts(self, counts: dict[int, int]) -> tuple[float, float, float]:
        """What is taken from a count of 1, of 2, and of 3 or more."""
        ones, twos, threes, fours = (sum(c == k for c in counts.values()) for k in (1, 2, 3, 4))
        if not (ones and twos and threes and fours):
            return 0.5, 0.5, 0.5
        y = ones / (ones + 2 * twos)
        return 1 - 2 * y * twos / ones, 2 - 3 * y * threes / twos, 3 - 4 * y * fours / threes

    def _contexts(self, n: int) -> dict[int, tuple[int, float]]:
        """For each context of n-grams, the sum of its counts and the mass that discounting frees."""
        totals: dict[int, int] = defaultdict(int)
        freed: dict[int, float] = defaultdict(float)
        for gram, count in self.counts[n].items():
            context = gram // self.vocabulary
            totals[context] += count
            freed[context] += self.discounts[n][min(count, 3) - 1]
        return {context: (total, freed[context]) for context, total in totals.items()}

    def probability(self, history: Sequence[int], token: int) -> float:
        """p(token | history); history begins with the boundary, and its last `order` - 1 tokens matter."""
        p = 1 / self.vocabulary
        context, digit = 0, 1
        for n in range(1, min(self.order, len(history) + 1) + 1):
            if n > 1:
                context += history[-n + 1] * digit
                digit *= self.vocabulary
            if context not in self.contexts[n]:
                break
            total, freed = self.contexts[n][context]
            count = self.counts[n].get(context * self.vocabulary + token, 0)
            kept = count - self.discounts[n][min(count, 3) - 1] if count else 0.0
            p = (kept + freed * p) / total
        return p

    def nats(self, document: Sequence[int]) -> float:
        """-ln p of a document's tokens and of its end."""
        row = [self.boundary, *document, self.boundary]
        return -sum(
            math.log(self.probability(row[max(0, i - self.order + 1) : i], row[i]))
            for i in range(1, len(row))
        )
