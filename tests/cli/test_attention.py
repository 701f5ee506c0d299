"""Each verb on each attention implementation that its model family has: the answers are the same.

Rows of unlike lengths share a batch, so that padding is masked in each. flex_attention runs on a GPU only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import tiny
from tests.command import Result, run
from tests.conftest import TinyModel
from tests.parity import folders

KERNELS = ("eager", "sdpa", "reference")
GREEDY = ("--max-new-tokens", "8", "--greedy")
LINES = (
    "Anna asked.\nThe old sailor said that the islands are a day away, behind the fog. The boat went out.\n"
)
ASKED = [
    {"question": "Who asked?", "context": LINES},
    {"question": "Where are the islands?", "context": f"The sea was calm. {LINES * 2}"},
]
CHATS = [
    {"messages": [{"role": "user", "content": "Hello"}]},
    {"messages": [{"role": "user", "content": "Where are the islands? I am an old sailor, and I ask."}]},
]
ROWS = {
    "generate": LINES,
    "translate": LINES,
    "summarize": LINES,
    "chat": "".join(json.dumps(row) + "\n" for row in CHATS),
}
FLAGS = {
    "generate": ("--lines", *GREEDY),
    "translate": ("--from", "en", "--to", "de", "--lines", *GREEDY),
    "summarize": ("--lines", *GREEDY),
    "chat": ("--input", "-", *GREEDY),
}
# verb -> the families that its models come from. Those without SDPA in transformers stand below.
VERBS = {
    "generate": ("gpt2", "llama", "qwen3", "opt", "bloom"),
    "translate": ("marian", "t5", "mt5", "mbart", "m2m100", "nllb", "llama-chat"),
    "summarize": ("bart", "pegasus", "t5", "led", "llama-chat"),
    "chat": ("llama-chat", "qwen3-chat", "bloom-chat"),
    "qa": ("bert", "distilbert", "roberta", "deberta", "llama-chat"),
}
QUICK = {
    *(("generate", "llama"), ("generate", "bloom"), ("translate", "nllb"), ("translate", "marian")),
    *(("summarize", "bart"), ("chat", "llama-chat"), ("qa", "bert"), ("qa", "deberta")),
}
EAGER_ONLY = {"bloom", "bloom-chat", "led", "deberta"}


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory, tiny_model: TinyModel) -> Callable[[str], Path]:
    """The folder of a family's tiny model; chat models have room for a prompt with a text in it."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family in folders.FAMILIES:
            return folders.make_folder(family, tmp_path_factory.mktemp(family))
        if not family.endswith("-chat"):
            return tiny_model(family)
        folder = tiny.make_model(family.removesuffix("-chat"), tmp_path_factory.mktemp(family), chat=True)
        config = folder / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 1024}))
        return folder

    def get(family: str) -> Path:
        if family not in made:
            made[family] = make(family)
        return made[family]

    return get


def asked(verb: str, model: Path, attn: str, tmp_path: Path) -> Result:
    """The verb over two rows in a batch, as JSON lines."""
    shared = ("-m", model, "--attn", attn, "--batch-size", "2", "--dtype", "float32", "--json", "-v")
    if verb != "qa":
        return run(verb, *shared, *FLAGS[verb], stdin=ROWS[verb])
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ASKED))
    return run("qa", *shared, "--input", file)


@pytest.mark.parametrize(
    ("verb", "family"),
    [
        pytest.param(verb, family, marks=[] if (verb, family) in QUICK else pytest.mark.slow)
        for verb, families in VERBS.items()
        for family in families
    ],
)
def test_the_answers_are_the_same(
    verb: str, family: str, model_of: Callable[[str], Path], tmp_path: Path
) -> None:
    results = {attn: asked(verb, model_of(family), attn, tmp_path) for attn in KERNELS}
    if family in EAGER_ONLY:
        for attn in ("sdpa", "reference"):
            refused = results.pop(attn)
            assert (refused.code, refused.out) == (2, "")
            assert f"--attn {attn}" in refused.err
    answers, scores = {}, {}
    for attn, result in results.items():
        assert result.code == 0, result.err
        assert f"attention {attn}" in result.err
        rows = [json.loads(line) for line in result.out.splitlines()]
        assert len(rows) == 2
        scores[attn] = [row.pop("score", None) or 0.0 for row in rows]
        answers[attn] = rows
    for attn in answers:
        assert answers[attn] == answers["eager"]
        assert scores[attn] == pytest.approx(scores["eager"], rel=1e-4)
