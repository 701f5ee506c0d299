"""The user's folders, as the XDG Base Directory Specification places them."""

from __future__ import annotations

import os

import pytest

from llmkit.user_folder import cache_folder, state_folder


@pytest.mark.parametrize(
    ("variable", "home", "found"),
    [
        (None, "/home/one", "/home/one/.cache/llmkit/a"),
        ("", "/home/one", "/home/one/.cache/llmkit/a"),
        ("/caches", "/home/one", "/caches/llmkit/a"),
        ("caches", "/home/one", "/home/one/.cache/llmkit/a"),  # "consider the path invalid and ignore it"
        (None, "~", f"{os.devnull}/llmkit/a"),  # a user without a home: nothing can be made there
    ],
)
def test_the_cache(variable: str | None, home: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: home)
    if variable is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", variable)
    assert str(cache_folder("a")) == found


def test_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: "/home/one")
    assert str(state_folder("b")) == "/home/one/.local/state/llmkit/b"
