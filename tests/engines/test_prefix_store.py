"""Beginnings of prompts: what is kept, what is found, and who may use it."""

from __future__ import annotations

import torch

from llmkit.engines.transformers.prefix_store import PrefixStore

PIECE = 4
TOKEN = 2 * 2 * 1 * 8 * 4  # bytes of a token in `states`


def states(tokens: int, value: float = 0.0) -> torch.Tensor:
    return torch.full((2, 2, tokens, 1, 8), value)


def test_whole_pieces_of_the_longest_beginning_are_found() -> None:
    store = PrefixStore(10**6, PIECE)
    store.keep("", list(range(10)), states(10, 1.0))
    store.keep("", [0, 1, 2, 3, 9, 9, 9, 9], states(8, 2.0))
    found = store.find("", [*range(8), 99])
    assert found is not None
    assert (found[1], found[0].shape[2], float(found[0].flatten()[0])) == (8, 8, 1.0)
    assert store.find("", [0, 1, 2, 99]) is None
    assert store.find("", [0, 1, 2, 3]) is None  # the last token is read
    assert store.find("", [0, 1, 2, 3, 4])[1] == 4  # type: ignore[index]


def test_scopes_share_nothing() -> None:
    store = PrefixStore(10**6, PIECE)
    store.keep("a", list(range(8)), states(8))
    assert store.find("b", list(range(9))) is None
    assert store.find("a", list(range(9))) is not None


def test_the_limit_holds_and_the_unused_go_first() -> None:
    store = PrefixStore(2 * 8 * TOKEN, PIECE)
    for start in (0, 100):
        store.keep("", list(range(start, start + 8)), states(8))
    assert store.size == 2 * 8 * TOKEN
    store.find("", list(range(9)))
    store.keep("", list(range(200, 208)), states(8))
    assert store.size == 2 * 8 * TOKEN
    assert store.find("", list(range(9))) is not None
    assert store.find("", list(range(100, 109))) is None
    store.keep("", list(range(300, 324)), states(24))  # larger than all of it
    assert store.find("", list(range(300, 325))) is None


def test_a_beginning_of_another_is_not_kept_twice() -> None:
    store = PrefixStore(10**6, PIECE)
    store.keep("", list(range(8)), states(8))
    store.keep("", list(range(4)), states(4))
    assert store.size == 8 * TOKEN
    store.keep("", list(range(12)), states(12))
    assert store.size == 12 * TOKEN
