"""Commands of a chat, and its lines on a terminal."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from llmkit.cli.chat.commands import ChatSession, obey
from llmkit.cli.chat.wrap import WordWrap
from llmkit.errors import InputError
from llmkit.tasks.chat import Conversation
from tests.conftest import TinyModel


@pytest.fixture
def session(tiny_model: TinyModel) -> ChatSession:
    conversation = Conversation(str(tiny_model("llama", chat=True)))
    return ChatSession(conversation, lambda ask: None, lambda name: conversation.engine)


def test_clear_keeps_the_system_message_alone(session: ChatSession) -> None:
    conversation = session.conversation
    conversation.system = "Be short."
    conversation.messages += [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    obey(session, "/clear")
    assert conversation.messages == [{"role": "system", "content": "Be short."}]


def test_stop_is_a_setting(session: ChatSession, capsys: pytest.CaptureFixture[str]) -> None:
    obey(session, r"/set stop . \n")
    assert session.conversation.options.stop == (".", "\n")
    obey(session, "/set stop default")
    assert session.conversation.options.stop == ()
    assert capsys.readouterr().err == "stop: '.' '\\n'\nstop: none\n"
    with pytest.raises(InputError, match="/set stop"):
        obey(session, "/set stop")


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["a long", "er word"], "a longer \nword\n"),
        (["one two", "\nthree four"], "one two\nthree four\n"),
        (["x" * 25], "x" * 25 + "\n"),
        (["  kept   spaces"], "  kept   \nspaces\n"),
        (["ten letter", " a b"], "ten letter\na b\n"),
        ([], "\n"),
    ],
)
def test_lines_break_between_words(monkeypatch: pytest.MonkeyPatch, pieces: list[str], expected: str) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: SimpleNamespace(columns=10))
    out = WordWrap()
    for piece in pieces:
        out.write(piece)
    out.end()
    assert shown.getvalue() == expected


def test_a_pipe_gets_the_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    out = WordWrap()
    out.write("word " * 50)
    out.end()
    assert capsys.readouterr().out == "word " * 50 + "\n"
