"""`--draft` as its user meets it: the same text, the same bytes after a resume, and clear refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmkit.cli.common.serve_flags import ServedModelFlags
from llmkit.engines.transformers.draft_model import Drafter
from llmkit.engines.transformers.engine import TransformersEngine
from llmkit.errors import OptionError
from tests.command import run

SHORT = ("--max-new-tokens", "12")


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model of `llmkit generate` in 4 bits."""
    folder = tmp_path_factory.mktemp("draft") / "int4"
    assert run("quantize", "-m", "stories", "--bits", "4", "-o", folder).code == 0
    return folder


@pytest.fixture
def proposed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of tokens that drafts propose."""
    found: list[int] = []
    propose = Drafter.propose

    def counted(self: Drafter, rows: Any) -> Any:
        guesses = propose(self, rows)
        found.extend(map(len, guesses))
        return guesses

    monkeypatch.setattr(Drafter, "propose", counted)
    return found


def test_a_draft_changes_no_greedy_text(tmp_path: Path, draft: Path, proposed: list[int]) -> None:
    rows = tmp_path / "rows.txt"
    rows.write_text("Once upon a time\nTom and Lily\n")
    plain = run("generate", "--input", rows, "--json", "--greedy", *SHORT)
    drafted = run("generate", "--input", rows, "--json", "--greedy", *SHORT, "--draft", draft)
    assert (drafted.code, drafted.out) == (plain.code, plain.out)
    assert drafted.out
    assert sum(proposed) > 0


def test_a_resumed_file_of_drawn_rows_is_that_of_one_run(
    tmp_path: Path, draft: Path, proposed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, whole, cut = (tmp_path / name for name in ("rows.txt", "whole.jsonl", "cut.jsonl"))
    rows.write_text("".join(f"One day {name}\n" for name in ("Tom", "Lily", "a dog", "the sun", "Ben")))
    sampled = ("generate", *SHORT, "--temperature", "1", "--seed", "7", "--batch-size", "2", "--input", rows)
    assert run(*sampled, "--draft", draft, "-o", whole).code == 0
    calls, generate = [0], TransformersEngine.generate

    def stopped(self: TransformersEngine, requests: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        return generate(self, requests)

    monkeypatch.setattr(TransformersEngine, "generate", stopped)
    assert run(*sampled, "--draft", draft, "-o", cut).code == 130
    assert not cut.exists()
    assert run(*sampled, "-o", cut, "--resume").code == 2  # drawn tokens depend on the draft
    assert run(*sampled, "--draft", draft, "-o", cut, "--resume").code == 0
    assert cut.read_bytes() == whole.read_bytes()
    assert sum(proposed) > 0
    assert calls[0] == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ("translate", "--from", "en", "--to", "de", "Good morning", "--draft", "stories"),
        ("generate", "x", "--draft", "stories", "--engine", "llamacpp", "-m", "stories"),
        ("generate", "x", "--draft", "stories", "--num-beams", "2"),
        ("generate", "x", "--draft", "stories", "--attn", "eager"),
        ("summarize", "A text.", "--draft", "stories"),
        ("qa", "--question", "Who?", "--context", "examples/story.txt", "--draft", "stories"),
        ("eval", "--metric", "perplexity", "examples/story.txt", "--draft", "stories"),
        ("generate", "x", "--draft", ""),
        ("generate", "x", "--draft", "translator"),
        ("generate", "x", "--draft", "reader"),
        ("generate", "x", "--draft", "no/such-model", "--offline"),
    ],
)
def test_a_draft_that_would_do_nothing_is_refused(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.code == 2, result.err
    assert any(word in result.err for word in ("draft", "reader", "no/such-model"))


def test_several_served_models_have_no_common_draft() -> None:
    with pytest.raises(OptionError) as caught:
        ServedModelFlags(model=["stories", "storyteller"], draft="stories").specs()
    assert caught.value.option == "draft"
    (spec,) = ServedModelFlags(model=["storyteller"], draft="stories").specs().values()
    assert spec.draft == "stories"
