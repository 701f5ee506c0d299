"""The models that ship inside the package: a folder each, with weights, tokenizer and card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_BOX = Path(__file__).parent


@dataclass(frozen=True)
class EmbeddedModel:
    """One model in the box.

    Attributes:
        name: what `-m` takes.
        folder: where it lies; a standard Hugging Face folder.
        task: the verb's task, from the card's ``pipeline_tag``.
        licence: the card's ``license``.
        bytes: size of all its files on disk.
        summary: the card's first sentence.
    """

    name: str
    folder: Path
    task: str
    licence: str
    bytes: int
    summary: str


def embedded_folder(name: str) -> Path | None:
    """The folder of the embedded model called `name`, or None."""
    # A name is looked up among what is there, never joined to a path: `../x` finds nothing.
    return {folder.name: folder for folder in _folders()}.get(name)


def embedded_models() -> list[EmbeddedModel]:
    """All models in the box, by name."""
    return [_describe(folder) for folder in _folders()]


def _folders() -> list[Path]:
    return sorted(path.parent for path in _BOX.glob("*/config.json"))


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
    )
