"""Model folders are replaced in one step, and never together with other files."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit.errors import OptionError
from llmkit.records import output_folder
from llmkit.records.output_folder import foreign_files, refuse_foreign, replace_folder


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(folder.name)
    return folder


@pytest.mark.parametrize(
    ("names", "foreign"),
    [
        (["config.json", "model-00001-of-00002.safetensors", "spiece.model", "README.md"], []),
        (["README.md"], ["README.md"]),  # no model is there
        (["config.json", "thesis.txt"], ["thesis.txt"]),
        (["config.json", "thesis.model", ".git/HEAD"], [".git", "thesis.model"]),
        (["config.json", "checkpoints/run.json"], ["checkpoints"]),
        (["config.json", "vocab.json/mine.txt"], ["vocab.json"]),
    ],
)
def test_files_that_no_model_has(tmp_path: Path, names: list[str], foreign: list[str]) -> None:
    folder = make(tmp_path / "folder", *names)
    assert foreign_files(folder) == foreign
    if foreign:
        with pytest.raises(OptionError, match=foreign[0]):
            refuse_foreign(folder)


@pytest.mark.parametrize("exchange", [True, False], ids=["in one step", "by two renames"])
def test_a_folder_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool) -> None:
    if not exchange:
        monkeypatch.setattr(output_folder, "_exchange", lambda one, other: False)
    new, place = make(tmp_path / "new", "config.json"), make(tmp_path / "place", "config.json", "old.txt")
    replace_folder(new, place)
    assert [path.name for path in place.iterdir()] == ["config.json"]
    assert (place / "config.json").read_text() == "new"
    assert (new / "old.txt").read_text() == "place"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "place"]
    replace_folder(place, tmp_path / "other")
    assert (tmp_path / "other/config.json").read_text() == "new"
