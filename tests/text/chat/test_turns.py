"""Which messages make a turn, and which stay when turns go."""

from __future__ import annotations

from llmkit.text.chat.turns import leave_turns, split_system, turns_of


def conversation(letters: str) -> list[dict[str, str]]:
    """One message for each letter; its content is its place."""
    roles = {"s": "system", "d": "developer", "u": "user", "a": "assistant", "t": "tool"}
    return [{"role": roles[letter], "content": str(i)} for i, letter in enumerate(letters)]


def left(letters: str, turns: int) -> list[int]:
    return [int(message["content"]) for message in leave_turns(conversation(letters), turns)]


def test_a_turn_is_a_user_message_with_all_that_follows_it() -> None:
    assert turns_of(conversation("suatau")) == 2
    assert left("suatau", 0) == [0, 1, 2, 3, 4, 5]
    assert left("suatau", 1) == [0, 5]


def test_a_greeting_goes_with_the_first_turn_and_system_messages_stay() -> None:
    assert left("sdauaua", 0) == [0, 1, 2, 3, 4, 5, 6]
    assert left("sdauaua", 1) == [0, 1, 5, 6]


def test_only_the_head_is_the_system_message() -> None:
    head, rest = split_system(conversation("suasu"))
    assert [len(head), len(rest)] == [1, 4]
    assert split_system(conversation("ss")) == (conversation("ss"), [])
