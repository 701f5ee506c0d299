"""The models in the box: what each must be to ship, and that each verb runs on its own."""

import pytest
import yaml

from llmkit.models.bundled import DEFAULTS, EmbeddedModel, embedded_models

# Bytes at most: what the package may weigh.
LIMITS = {"stories": 10e6, "storyteller": 10e6, "translator": 30e6, "reader": 11e6}


@pytest.fixture(params=embedded_models(), ids=lambda model: model.name)
def model(request: pytest.FixtureRequest) -> EmbeddedModel:
    found: EmbeddedModel = request.param
    return found


def test_every_verb_s_model_is_there() -> None:
    assert set(DEFAULTS.values()) == {model.name for model in embedded_models()} == set(LIMITS)


def test_it_is_small_and_holds_no_pickle_and_no_code(model: EmbeddedModel) -> None:
    assert model.bytes <= LIMITS[model.name]
    assert {path.suffix for path in model.folder.iterdir()} <= {".json", ".safetensors", ".md", ".jinja"}


def test_its_card_tells_licence_data_recipe_results_and_limits(model: EmbeddedModel) -> None:
    card = (model.folder / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(card.split("---\n")[1])
    assert {"license", "language", "library_name", "pipeline_tag", "tags"} <= set(header)
    for title in ("## Data", "## Recipe", "## Limits"):
        assert title in card
    assert model.scores
    for result in header["model-index"][0]["results"]:
        for metric in result["metrics"]:
            if "interval" not in metric["args"]:  # all rows alike, or the best score at any threshold
                continue
            low, high = metric["args"]["interval"]
            assert low <= metric["value"] <= high
            # The table tells the same; the header has four decimals, which may round otherwise.
            shown = {f"{metric['value'] + off:.4g}" for off in (-5e-5, 0, 5e-5)}
            assert any(number in card.split("---\n", 2)[2] for number in shown)
    assert "BASELINE" not in card
    assert "{" not in card.split("---\n", 2)[2].replace("{`", "")
