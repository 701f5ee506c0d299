"""The models that ship inside the package: a folder each, with weights, tokenizer and card.

Public: `DEFAULTS`, `EmbeddedModel`, `ModelScore`, `embedded_folder`, `embedded_models`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_BOX = Path(__file__).parent

# What a verb runs where no model is named.
DEFAULTS = {"generate": "stories", "chat": "storyteller", "translate": "translator", "qa": "reader"}


@dataclass(frozen=True)
class ModelScore:
    """A result from a card's ``model-index``.

    Attributes:
        dataset: the test set's name.
        metric: the metric's name.
        value: as the card has it.
    """

    dataset: str
    metric: str
    value: float


@dataclass(frozen=True)
class EmbeddedModel:
    """One model in the box.

    Attributes:
        name: what `-m` takes.
        folder: where it lies; a standard Hugging Face folder.
        task: the verb's task, from the card's ``pipeline_tag``.
        licence: the card's ``license``.
        bytes: size of all its files on disk.
        summary: the card's first paragraph.
        scores: from the card, the most telling first.
    """

    name: str
    folder: Path
    task: str
    licence: str
    bytes: int
    summary: str
    scores: tuple[ModelScore, ...]


def embedded_folder(name: str) -> Path | None:
    """The folder of the embedded model called `name`, or None."""
    # A name is looked up among what is there, never joined to a path: `../x` finds nothing.
    return {folder.name: folder for folder in _folders()}.get(name)


def embedded_models() -> list[EmbeddedModel]:
    """All models in the box, by name."""
    return [_describe(folder) for folder in _folders()]


def _folders() -> list[Path]:
    # An adapter has a config of its own kind, and the name of the embedded model that it goes on.
    return sorted(
        {path.parent for name in ("config", "adapter_config") for path in _BOX.glob(f"*/{name}.json")}
    )


def _describe(folder: Path) -> EmbeddedModel:
    import yaml

    _, header, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    card = yaml.safe_load(header)
    paragraphs = [p.strip() for p in body.split("\n\n") if p.strip() and not p.strip().startswith("#")]
    return EmbeddedModel(
        name=folder.name,
        folder=folder,
        task=card["pipeline_tag"],
        licence=card["license"],
        bytes=sum(path.stat().st_size for path in folder.iterdir()),
        summary=" ".join(paragraphs[0].split()),
        scores=tuple(
            ModelScore(result["dataset"]["name"], metric.get("name", metric["type"]), float(metric["value"]))
            for model in card.get("model-index", [])
            for result in model["results"]
            for metric in result["metrics"]
        ),
    )
