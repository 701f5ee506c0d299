"""Rank the sentences of a text by their centrality.

Continuous LexRank (Erkan and Radev, LexRank: Graph-based Lexical Centrality as Salience in Text
Summarization, JAIR 22, 2004, section 3.3, https://doi.org/10.1613/jair.1523) ranks the sentences by tf-idf
vectors, or by a model's embeddings. The graph has an edge between any two sentences, but it is never stored:
with X the matrix of unit vectors, its product with v is X(X'v). Time and memory are linear in the length of
the text.

The first sentences weigh more, since writers of news and papers put the main point first: by LexRank alone,
a summary of news is worse than its first three sentences. The weight fades in long texts.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

_DAMPING = 0.85
_BLOCKS = 100
# The rank of sentence i is multiplied by 1 + _LEAD * exp(-i / _LEAD_SENTENCES).
_LEAD = 2.0
_LEAD_SENTENCES = 3
_ARTICLE = 100  # sentences; the weight of the lead falls with the inverse of the length beyond that


class Vectors(Protocol):
    """Unit vectors of sentences, with the operations of ranking and picking."""

    @property
    def sentences(self) -> int: ...

    def spread(self, mass: np.ndarray) -> np.ndarray:
        """Give each sentence the mass of all others, weighted by similarity (0 or more): [sentences]."""
        ...

    def similarity_to(self, row: int) -> np.ndarray:
        """Return the cosine of every sentence with the sentence `row`: [sentences]."""
        ...


@dataclass(frozen=True)
class DenseVectors:
    """Embeddings by a model, [sentences, dimensions].

    The walk uses (1 + c) / 2 in place of a cosine c: cosines of embeddings may be negative, probabilities
    may not.
    """

    matrix: np.ndarray

    @property
    def sentences(self) -> int:
        return int(self.matrix.shape[0])

    def spread(self, mass: np.ndarray) -> np.ndarray:
        import numpy as np

        return np.maximum((mass.sum() + self.matrix @ (self.matrix.T @ mass)) / 2 - mass, 0.0)

    def similarity_to(self, row: int) -> np.ndarray:
        cosines: np.ndarray = self.matrix @ self.matrix[row]
        return cosines


@dataclass(frozen=True)
class SparseVectors:
    """A sparse matrix of unit row vectors: entry k is `weights[k]` at (`rows[k]`, `terms[k]`).

    Entries are sorted by term; those of term t begin at `starts[t]`.
    """

    rows: np.ndarray
    terms: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    shape: tuple[int, int]

    @property
    def sentences(self) -> int:
        return self.shape[0]

    def spread(self, mass: np.ndarray) -> np.ndarray:
        import numpy as np

        sentences, terms = self.shape
        in_terms = np.bincount(self.terms, self.weights * mass[self.rows], minlength=terms)
        reached = np.bincount(self.rows, self.weights * in_terms[self.terms], minlength=sentences)
        # The difference of two equal numbers is not quite 0.
        return np.maximum(reached - self._itself * mass, 0.0)

    @cached_property
    def _itself(self) -> np.ndarray:
        import numpy as np

        return np.bincount(self.rows, self.weights**2, minlength=self.shape[0])

    def similarity_to(self, row: int) -> np.ndarray:
        import numpy as np

        cosines = np.zeros(self.shape[0])
        for entry in np.flatnonzero(self.rows == row):
            term = self.terms[entry]
            others = slice(self.starts[term], self.starts[term + 1])
            cosines[self.rows[others]] += self.weights[entry] * self.weights[others]
        return cosines


def tf_idf(sentences: list[list[str]]) -> SparseVectors:
    """Compute term counts times inverse document frequency, scaled to unit vectors of the sentences.

    A document is a sentence. In a long text it is a block of sentences, a hundredth of the text: among
    thousands of sentences even `she` would be rare enough to count.
    """
    import numpy as np

    blocks = min(len(sentences), _BLOCKS)
    vocabulary: dict[str, int] = {}
    found: list[tuple[int, int, int]] = []
    for i, sentence in enumerate(sentences):
        for term, count in Counter(sentence).items():
            found.append((vocabulary.setdefault(term, len(vocabulary)), i, count))
    entries = np.array(sorted(found), dtype=np.int64).reshape(-1, 3)
    block = entries[:, 1] * blocks // len(sentences)
    in_blocks = np.unique(entries[:, 0] * blocks + block) // blocks
    idf = np.log(blocks / np.bincount(in_blocks, minlength=len(vocabulary)))
    # A term in most blocks of a book is no topic of the book.
    entries = entries[idf[entries[:, 0]] > (math.log(2) if blocks == _BLOCKS else 0)]
    terms, rows = entries[:, 0], entries[:, 1]
    counts = entries[:, 2] * idf[terms]
    weights = counts / np.sqrt(np.bincount(rows, counts**2, minlength=len(sentences)))[rows]
    starts = np.searchsorted(terms, np.arange(len(vocabulary) + 1))
    return SparseVectors(rows, terms, weights, starts, (len(sentences), len(vocabulary)))


def lexrank(vectors: Vectors) -> np.ndarray:
    """Compute the stationary distribution of a random walk over similar sentences.

    A step goes to another sentence in proportion to the cosine, or with probability 1 - `_DAMPING` to any
    sentence. A sentence is not its own neighbor; otherwise a sentence similar to no other would keep all its
    mass. From such a sentence the walk goes anywhere, as from PageRank's dangling nodes.
    """
    import numpy as np

    sentences = vectors.sentences
    degree = vectors.spread(np.ones(sentences))
    alone = degree < 1e-9
    share = np.where(alone, 0.0, 1 / np.where(alone, 1.0, degree))
    rank = np.full(sentences, 1 / sentences)
    for _ in range(100):
        after = _DAMPING * vectors.spread(rank * share)
        after += (1 - after.sum()) / sentences
        moved = np.abs(after - rank).sum()
        rank = after
        if moved < 1e-7:
            break
    return rank


def lead_weights(sentences: int) -> np.ndarray:
    """Return the factor of each sentence's rank: above 1 for the first few."""
    import numpy as np

    fade = min(1.0, _ARTICLE / max(sentences, 1))
    weights: np.ndarray = 1 + _LEAD * fade * np.exp(-np.arange(sentences) / _LEAD_SENTENCES)
    return weights
