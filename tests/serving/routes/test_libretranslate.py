"""LibreTranslate's routes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llmkit import ModelSpec, translate
from llmkit.engines.base import Engine
from llmkit.engines.open import open_engine
from tests.serving.conftest import Client, serving

TEXT = "The cat sleeps."


@pytest.fixture(scope="module")
def translator() -> Engine:
    return open_engine(ModelSpec("translator", device="cpu", bundled=True))


@pytest.fixture(scope="module")
def client(translator: Engine) -> Iterator[Client]:
    with serving({"translator": translator}) as found:
        yield found


def test_texts_are_translated_as_by_the_library(client: Client, translator: Engine) -> None:
    (expected,) = [one.texts[0] for one in translate(translator, TEXT, source="en", target="de")]
    body: dict[str, Any] = {"q": TEXT, "source": "en", "target": "de"}
    assert client.post("/translate", body) == (200, {"translatedText": expected})
    many = client.post("/translate", {**body, "q": [TEXT, TEXT], "format": "text", "alternatives": 0})[1]
    assert many == {"translatedText": [expected, expected]}
    form = client.full("POST", "/translate", data=body)[1]  # as most clients send it
    assert form == {"translatedText": expected}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}  # as curl names JSON too
    curl = client.full("POST", "/translate", data=json.dumps(body), headers=headers)[1]
    assert curl == {"translatedText": expected}
    found = client.post("/translate", {**body, "source": "auto"})[1]
    assert found["translatedText"] == expected
    assert found["detectedLanguage"]["language"] == "en"
    same = {"q": "Guten Tag, wie ist das Wetter?", "source": "auto", "target": "de"}
    assert client.post("/translate", same)[1]["translatedText"] == same["q"]


def test_languages_and_their_detection(client: Client) -> None:
    found = client.get("/languages")[1]
    assert {"code": "en", "name": "English", "targets": ["de"]} in found
    (best, *_) = client.post("/detect", {"q": "Der Hund und die Katze sind nicht da."})[1]
    assert best["language"] == "de"
    assert 0 < best["confidence"] <= 100
    assert client.post("/detect", {"q": "123"})[1] == []


@pytest.mark.parametrize(
    "change",
    [
        {"q": None},
        {"q": ""},
        {"q": [1]},
        {"q": "x" * 300_000},
        {"target": None},
        {"target": "xx"},
        {"target": "fr"},
        {"format": "html", "q": "<b>x</b>"},
        {"alternatives": 3},
        {"colour": 1},
    ],
)
def test_bad_fields_are_refused(client: Client, change: dict[str, Any]) -> None:
    status, answer = client.post("/translate", {"q": TEXT, "source": "en", "target": "de", **change})
    assert status == 400
    assert isinstance(answer["error"], str)


def test_the_key_may_be_in_the_body(translator: Engine) -> None:
    body = {"q": TEXT, "source": "en", "target": "de"}
    with serving({"translator": translator}, api_keys=("right",)) as client:
        assert client.post("/translate", body)[0] == 401
        assert client.post("/translate", {**body, "api_key": "wrong"})[0] == 401
        assert client.post("/translate", {**body, "api_key": "right"})[0] == 200
        assert client.post("/translate", body, headers={"Authorization": "Bearer right"})[0] == 200
        assert client.post("/detect", {"q": TEXT})[0] == 401
        assert client.get("/languages")[0] == 401
        assert client.post("/v1/translations", {"input": TEXT, "api_key": "right"})[0] == 401


def test_a_chat_model_lists_the_languages_of_the_table(serve: Any) -> None:
    with serve() as client:
        found = client.get("/languages")[1]
        assert len(found) > 150
        assert "de" in next(one for one in found if one["code"] == "en")["targets"]
