"""Run the pipelines of transformers 4.57.6 on tiny checkpoints and keep what they return, as JSON.

Rerun, from the repository's root, in an environment of its own:

    python3 -m venv /tmp/v457
    /tmp/v457/bin/pip install transformers==4.57.6 torch==2.13.0 sentencepiece
    /tmp/v457/bin/python -m tests.parity.make_fixtures

tests/tasks/test_pipelines.py makes the same checkpoints (folders.py) and compares. Most are random; the
weights of the trained ones, which train.py made, are kept here.
"""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.parity.folders import HERE, make_folder

SHORT = "The sailor said that the islands are a day away."
LONG = "Anna asked the old sailor where the islands are, and the harbour was built by workers from the north."
TWO = [SHORT, "Das Meer war ruhig, und das Boot fuhr hinaus!"]
SIX: dict[str, Any] = {"max_new_tokens": 6}
# What a finetuned T5 has in its config.json.
T5_TASKS = {
    "task_specific_params": {
        "summarization": {"max_length": 20, "min_length": 5, "num_beams": 2, "prefix": "summarize: "},
        "translation_en_to_de": {"num_beams": 3, "early_stopping": True, "prefix": "translate: "},
    }
}
# Many ends, so that beams finish before the length limit does.
ENDS = {"eos_token_id": [1, 2, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200], "max_length": 24}
# Sentences that the trained translator never saw, with their translations by its toy grammar.
UNSEEN = {
    "The old sailor went out with the fog.": "Der alte Seemann fuhr mit dem Nebel hinaus.",
    "The sea asked the old sailor.": "Das Meer fragte den alten Seemann.",
    "The little boat went out with the sea.": "Das kleine Boot fuhr mit dem Meer hinaus.",
    "The day said that the day asked Anna.": "Der Tag sagte, dass der Tag Anna fragte.",
    "Anna said that the day went out with Anna.": "Anna sagte, dass der Tag mit Anna hinausfuhr.",
}
# What the trained reader is asked, and what the facts answer.
TOLD = (
    "The sea was calm. The boat is behind the long wall. It has 40 lamps and 3 towers. They don't see the"
    " islands now. Anna asked the sailor. It was built in 1934 by workers."
)
KNOWN = {
    "who asked the sailor?": "Anna",
    "where is it?": "behind the long wall",
    "when was it built?": "1934",
}
LANGUAGES = {
    "mbart": ("en_XX", "de_DE"),
    "m2m100": ("en", "de"),
    "nllb": ("eng_Latn", "deu_Latn"),
}


def case(
    family: str,
    task: str,
    inputs: Any,
    changes: dict[str, Any] | None = None,
    init: dict[str, Any] | None = None,
    **call: Any,
) -> dict[str, Any]:
    """A checkpoint, a pipeline on it and a call."""
    return {
        "family": family,
        "task": task,
        "changes": changes or {},
        "init": init or {},
        "inputs": inputs,
        "call": call,
    }


def text_cases() -> Iterator[dict[str, Any]]:
    """Calls of the text-to-text pipelines."""
    for family in ("marian", "t5", "mt5", "bart", "pegasus", "led"):
        yield case(family, "text2text-generation", SHORT, **SIX)
        yield case(family, "summarization", [LONG, SHORT], **SIX, num_beams=1)
        yield case(family, "translation", TWO, **SIX, num_return_sequences=2, batch_size=2)
        yield case(family, "translation_en_to_de", SHORT, **SIX, return_tensors=True)
    for family, (source, target) in LANGUAGES.items():
        pair: dict[str, Any] = {"src_lang": source, "tgt_lang": target}
        yield case(family, "translation", SHORT, **SIX, **pair)
        yield case(family, "translation", TWO, init=pair, **SIX, batch_size=2)
        yield case(family, "translation", SHORT, **SIX, src_lang=target, tgt_lang=source, num_beams=1)
        yield case(family, "text2text-generation", TWO, **SIX, num_return_sequences=2)
        yield case(family, "summarization", LONG, **SIX)
    yield case("m2m100", "translation_en_to_de", TWO, **SIX)
    for task in ("summarization", "translation_en_to_de", "translation", "text2text-generation"):
        yield case("t5", task, LONG, {"config": T5_TASKS}, max_new_tokens=8)
        yield case("t5", task, LONG, {"config": T5_TASKS}, init={"num_beams": 1, "max_new_tokens": 7})
    yield case("t5", "summarization", SHORT, {"config": {"prefix": "summarize: "}}, **SIX)
    yield from setting_cases()
    yield from trained_cases()


def setting_cases() -> Iterator[dict[str, Any]]:
    """Where generation parameters can stand, and which of them win."""
    ends = {"generation_config": ENDS}
    six_beams = {"generation_config": {"num_beams": 6, "max_length": 12}}
    old = {"config": {"num_beams": 2, "max_length": 14, "no_repeat_ngram_size": 2}, "generation_config": None}
    yield case("bart", "summarization", SHORT)
    yield case("bart", "summarization", SHORT, {"generation_config": {"suppress_tokens": [2]}})
    yield case("bart", "summarization", SHORT, max_length=10)
    yield case("bart", "summarization", SHORT, init={"max_length": 10})
    yield case("bart", "summarization", TWO, ends)
    yield case("bart", "text2text-generation", TWO, ends, num_return_sequences=3, early_stopping=True)
    yield case("bart", "text2text-generation", TWO, ends, length_penalty=2.0, min_length=8)
    yield case("bart", "translation", SHORT, six_beams)
    yield case("bart", "translation", SHORT, six_beams, max_length=9)
    yield case("bart", "translation", SHORT, six_beams, init={"num_beams": 2})
    yield case("bart", "translation", SHORT, {"generation_config": {"max_new_tokens": 5, "num_beams": 2}})
    yield case("bart", "summarization", LONG, old)
    yield case("bart", "summarization", LONG, old, num_beams=3, max_length=9)
    yield case("bart", "text2text-generation", LONG, max_new_tokens=30, clean_up_tokenization_spaces=True)
    yield case("t5", "text2text-generation", LONG, max_new_tokens=30, clean_up_tokenization_spaces=True)
    yield case("bart", "text2text-generation", SHORT, max_new_tokens=30, stop_sequence="e")
    yield case("t5", "text2text-generation", " ".join([LONG] * 9), **SIX, truncation=True)
    yield case("t5", "text2text-generation", SHORT, max_new_tokens=12, repetition_penalty=2.0)
    yield case("marian", "translation", SHORT, {"generation_config": {"forced_eos_token_id": 0}}, **SIX)
    yield case("marian", "translation", SHORT, {"generation_config": {"bad_words_ids": [[9]]}}, **SIX)


def trained_cases() -> Iterator[dict[str, Any]]:
    """A model that knows where a sentence ends: beams of unlike lengths, which scores must rank."""
    family = "trained-marian"
    yield case(family, "translation_en_to_de", list(UNSEEN), num_beams=1)
    yield case(family, "translation", list(UNSEEN), num_beams=4, batch_size=3)
    yield case(family, "translation", list(UNSEEN), num_beams=5, num_return_sequences=5, batch_size=2)
    yield case(family, "translation", " ".join(UNSEEN), num_beams=3, length_penalty=0.4, early_stopping=True)
    yield case(family, "text2text-generation", SHORT, num_beams=4, num_return_sequences=2, max_new_tokens=60)
    yield case(family, "summarization", list(UNSEEN), num_beams=2, return_tensors=True, max_new_tokens=60)


def question_cases() -> Iterator[dict[str, Any]]:
    """Calls of the question-answering pipeline."""
    task = "question-answering"
    where = "Where are the islands?"
    questions = [where, "What was built in 1912?", "Wer fragte den Seemann?"]
    odd = (
        "Anna asked:\t«Where is the harbour?»\r\nThe sailor 🙂 said: über the se\u0301a, 40 lamps (3 towers)."
    )
    story = (
        "The sea was calm and the little boat went out with the morning light. Anna asked the old sailor"
        " where the islands are, and the sailor said that the islands are a day away, behind the fog. In 1912"
        " the harbour was built by workers from the north; it has 3 towers, 40 lamps and a wall of stone."
    )
    windows: dict[str, Any] = {"max_seq_len": 40, "doc_stride": 12}
    # Each family takes one of these to have no answer.
    sea, far, towers = "The sea was calm.", "Das Meer ist weit.", "It has 3 towers."
    asked = [("Who asked Anna?", sea), ("When was 40?", sea), ("Where is the sea?", sea)]
    asked += [("Who asked the sea?", far), ("Where is the sailor?", far), ("When was the sea?", towers)]
    null = {"question": [question for question, _ in asked], "context": [context for _, context in asked]}
    for family in ("bert", "distilbert", "roberta", "deberta"):
        yield case(family, task, null, top_k=4, handle_impossible_answer=True)
        yield case(family, task, null, handle_impossible_answer=True)
        yield case(family, task, {"question": where, "context": SHORT})
        yield case(family, task, {"question": where, "context": LONG}, top_k=4)
        yield case(family, task, {"question": where, "context": LONG}, top_k=3, handle_impossible_answer=True)
        yield case(family, task, {"question": questions, "context": story}, top_k=2)
        yield case(family, task, {"question": where, "context": story}, **windows, top_k=5)
        yield case(family, task, {"question": where, "context": story}, **windows, max_answer_len=3)
        yield case(
            family, task, {"question": where, "context": story}, **windows, handle_impossible_answer=True
        )
        yield case(family, task, {"question": where, "context": story}, **windows, align_to_words=False)
        yield case(family, task, {"question": where, "context": odd}, top_k=5)
        yield case(family, task, {"question": where, "context": odd}, top_k=5, align_to_words=False)
        yield case(
            family,
            task,
            {"question": questions[:2], "context": [LONG, story]},
            init={"batch_size": 2, **windows},
        )
        yield case(
            family, task, {"question": [where], "context": [odd]}, padding="max_length", max_seq_len=100
        )
    family, known = "trained-bert", {"question": list(KNOWN), "context": TOLD}
    unknown = {"question": list(KNOWN), "context": "The sea was calm. It has 40 lamps and 3 towers."}
    for asked_of in (known, unknown):
        yield case(family, task, asked_of)
        yield case(family, task, asked_of, top_k=3, handle_impossible_answer=True)
        yield case(family, task, asked_of, **windows, top_k=4, handle_impossible_answer=True)


def folder_of(one: dict[str, Any], root: Path) -> Path:
    """The checkpoint of a case, made under `root` the first time it is asked for."""
    key = json.dumps([one["family"], one["changes"]], sort_keys=True)
    folder = root / f"{one['family']}-{zlib.crc32(key.encode()):08x}"
    if not folder.exists():
        folder.mkdir()
        make_folder(one["family"], folder, one["changes"])
    return folder


def run(make_pipeline: Any, one: dict[str, Any], folder: Path) -> Any:
    """The result of a case, as JSON can hold it."""
    import torch

    pipe = make_pipeline(one["task"], model=str(folder), device="cpu", dtype=torch.float32, **one["init"])
    if one["task"] == "question-answering":
        return pipe(**one["inputs"], **one["call"])
    return as_json(pipe(one["inputs"], **one["call"]))


def as_json(value: Any) -> Any:
    """Tensors as lists."""
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


def main() -> None:
    """Write text.json and questions.json beside this file."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    import transformers

    if transformers.__version__ != "4.57.6":
        raise SystemExit(f"this is transformers {transformers.__version__}; the fixtures come from 4.57.6")
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    for name, cases in (("text", text_cases()), ("questions", question_cases())):
        with tempfile.TemporaryDirectory() as root:
            rows = [
                {**one, "output": run(transformers.pipeline, one, folder_of(one, Path(root)))}
                for one in cases
            ]
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (HERE / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
