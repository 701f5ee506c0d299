"""The embedded models: one folder each inside the package, with weights, tokenizer and card.

Public: `DEFAULTS`, `EmbeddedModel`, `ModelScore`, `embedded_folder`, `embedded_models`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent

# The model of each verb if the user names none.
DEFAULTS = {"generate": "stories", "chat": "storyteller", "translate": "translator", "qa": "reader"}


@dataclass(frozen=True)
class ModelScore:
    """A result from a card's ``model-index``.

    Attributes:
        dataset: the test set's name.
        metric: the metric's name.
        value: the number in the card.
    """

    dataset: str
    metric: str
    value: float


@dataclass(frozen=True)
class EmbeddedModel:
    """An embedded model.

    Attributes:
        name: its name, a value of the option `model`.
        folder: its folder, in Hugging Face layout.
        task: the card's ``pipeline_tag``.
        license: the card's ``license``.
        bytes: size of all its files on disk.
        summary: first paragraph of the card.
        scores: scores of the card, the most important first.
    """

    name: str
    folder: Path
    task: str
    license: str
    bytes: int
    summary: str
    scores: tuple[ModelScore, ...]


def embedded_folder(name: str) -> Path | None:
    """Return the folder of the embedded model called `name`, or None."""
    # The name is compared with existing folders and never joined to a path, so `../x` finds nothing.
    return {folder.name: folder for folder in _folders()}.get(name)


def embedded_models() -> list[EmbeddedModel]:
    """Return all embedded models, sorted by name."""
    return [_describe(folder) for folder in _folders()]


def _folders() -> list[Path]:
    return sorted(path.parent for path in _FOLDER.glob("*/config.json"))


def _describe(folder: Path) -> EmbeddedModel:
    import yaml

    _, header, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    card = yaml.safe_load(header)
    paragraphs = [p.strip() for p in body.split("\n\n") if p.strip() and not p.strip().startswith("#")]
    return EmbeddedModel(
        name=folder.name,
        folder=folder,
        task=card["pipeline_tag"],
        license=card["license"],
        bytes=sum(path.stat().st_size for path in folder.iterdir()),
        summary=" ".join(paragraphs[0].split()),
        scores=tuple(
            ModelScore(result["dataset"]["name"], metric.get("name", metric["type"]), float(metric["value"]))
            for model in card.get("model-index", [])
            for result in model["results"]
            for metric in result["metrics"]
        ),
    )
