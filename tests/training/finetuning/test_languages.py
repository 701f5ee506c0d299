"""A translation model is trained with the prefix that `translate` gives it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmkit.errors import InputError
from llmkit.runtime.spec import ModelSpec
from llmkit.training.finetuning.columns import recognize
from llmkit.training.finetuning.languages import translation_prefix
from llmkit.training.finetuning.plan import prepare
from tests.training.finetuning.runs import QUICK

DE = {"translation_en_to_de": {"prefix": "de: "}}
SUMMARIES = {"summarization": {"prefix": "summarize: "}}


def loaded(family: str, *tokens: str, tasks: dict[str, Any] | None = None, **more: Any) -> Any:
    tokenizer = SimpleNamespace(get_vocab=lambda: dict.fromkeys(tokens, 1), chat_template=None, **more)
    return SimpleNamespace(
        spec=SimpleNamespace(name="some/model"),
        model=SimpleNamespace(config=SimpleNamespace(model_type=family, task_specific_params=tasks)),
        tokenizer=tokenizer,
        has_chat_template=False,
        is_encoder_decoder=True,
    )


@pytest.mark.parametrize(
    ("model", "languages", "prefix"),
    [
        (loaded("bart", tasks=DE), ("en", "de"), "de: "),
        (loaded("bart", tasks=DE), None, "de: "),
        (loaded("bart", tasks=DE | SUMMARIES), None, ""),  # which task is meant is not known
        (loaded("bart"), ("en", "de"), ""),
        (loaded("marian", ">>deu<<", ">>nld<<"), ("en", "de"), ">>deu<< "),
        (loaded("t5", "<2de>", "<2fr>"), ("en", "de"), "<2de> "),
        (loaded("t5", tasks=DE), ("English", "German"), "translate English to German: "),
    ],
)
def test_the_prefix_is_that_of_translate(model: Any, languages: tuple[str, str] | None, prefix: str) -> None:
    pairs = recognize(["source", "target"])
    assert translation_prefix(model, languages, "seq2seq", pairs) == prefix
    assert translation_prefix(model, languages, "causal", pairs) == ""
    summaries = recognize(["document", "summary"])
    assert translation_prefix(model, languages, "seq2seq", summaries) == ""


def test_another_pair_is_refused_and_other_keys_are_not() -> None:
    pairs = recognize(["source", "target"])
    with pytest.raises(InputError, match="some/model translates en to de only"):
        translation_prefix(loaded("bart", tasks=DE), ("en", "fr"), "seq2seq", pairs)
    with pytest.raises(InputError, match="`target_language`"):
        translation_prefix(loaded("bart", tasks=DE), ("en", "xxqq"), "seq2seq", pairs)
    by_key = recognize(["translation"])
    assert translation_prefix(loaded("bart", tasks=DE), ("complex", "simple"), "seq2seq", by_key) == ""


def test_the_prefix_is_in_the_examples(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    model = shutil.copytree(tiny_model("bart"), tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"task_specific_params": DE}))
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"source": "The dog", "target": "Der Hund", "id": 3, "system": "Be brief."}\n')
    spec, recipe = ModelSpec(str(model), device="cpu"), replace(QUICK, eval_split=0.0)
    notices: list[str] = []
    inputs = prepare([rows], spec, recipe, notice=notices.append)
    decode = inputs.loaded.tokenizer.decode
    assert decode(inputs.train[0].ids, skip_special_tokens=True) == "de: The dog"
    assert any('"de: {source}"' in notice for notice in notices)
    assert "unused columns: id, system" in notices
    inputs = prepare([rows], spec, replace(recipe, source_prefix="to German: "))
    assert decode(inputs.train[0].ids, skip_special_tokens=True) == "to German: The dog"
