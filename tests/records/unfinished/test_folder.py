"""The hidden folder of a model that is being written: continued by its own command, and by no other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import OptionError
from llmkit.records import output_folder
from llmkit.records.unfinished.folder import UnfinishedFolder, clear_leftover, unfinished_folder

HEADER = {"source": "abc", "kind": "float32"}


def killed(place: Path, work: Callable[[UnfinishedFolder], object]) -> None:
    """Do some work in the folder of an output in a process that is then gone."""
    if os.fork() == 0:
        with unfinished_folder(place, HEADER) as folder:
            work(folder)
            os._exit(9)
    os.wait()


def two_parts(folder: UnfinishedFolder) -> None:
    for name in ("one", "two"):
        (folder.result / name).write_text(name)
        folder.add(name)
    (folder.result / "three").write_text("not finished")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_the_same_command_keeps_whole_parts_alone(place: Path) -> None:
    killed(place, two_parts)
    (place.with_name(".out.unfinished") / "result/two").write_text("twa")
    with unfinished_folder(place, HEADER) as folder:
        assert folder.is_whole("one")
        assert not folder.is_whole("two")
        assert folder.continued == 1
        assert [path.name for path in folder.result.iterdir()] == ["one"]
    assert list(place.parent.iterdir()) == []


@pytest.mark.parametrize("damage", ["", "header", "lines"])
def test_another_command_or_a_damaged_folder_starts_again(place: Path, damage: str) -> None:
    killed(place, two_parts)
    beside = place.with_name(".out.unfinished")
    if damage == "header":
        (beside / "run.json").write_bytes((beside / "run.json").read_bytes()[:-9] + b"\xff")
    elif damage == "lines":
        (beside / "shards.jsonl").write_text("[\n")
    with unfinished_folder(place, HEADER if damage else {**HEADER, "kind": "float16"}) as folder:
        assert folder.continued == 0
        assert list(folder.result.iterdir()) == []


@pytest.mark.parametrize("as_link", [True, False])
def test_somebody_else_s_folder_is_refused_and_untouched(place: Path, as_link: bool) -> None:
    beside, victim = place.with_name(".out.unfinished"), place.with_name("victim")
    victim.mkdir()
    (victim / "thesis.txt").write_text("mine")
    beside.symlink_to(victim) if as_link else victim.rename(beside)
    clear_leftover(place)
    with pytest.raises(OptionError) as refused, unfinished_folder(place, HEADER):
        pass
    assert refused.value.option == "output"
    assert str(beside) in str(refused.value)
    assert (beside / "thesis.txt").read_text() == "mine"


def test_two_commands_do_not_work_in_one_folder(place: Path) -> None:
    with unfinished_folder(place, HEADER) as folder:
        with pytest.raises(OptionError, match="another process"), unfinished_folder(place, HEADER):
            pass
        clear_leftover(place)
        assert folder.result.is_dir()


def test_what_is_of_no_use_is_removed_and_parts_are_not(place: Path) -> None:
    killed(place, lambda folder: (folder.result / "half").write_text("x"))
    clear_leftover(place)
    assert list(place.parent.iterdir()) == []
    killed(place, two_parts)
    clear_leftover(place)
    assert place.with_name(".out.unfinished").is_dir()


def test_a_signal_keeps_parts_and_an_error_does_not(place: Path) -> None:
    for error, kept in ((KeyboardInterrupt, True), (ValueError, False)):
        with contextlib.suppress(error), unfinished_folder(place, HEADER) as folder:
            two_parts(folder)
            raise error
        assert place.with_name(".out.unfinished").exists() == kept


def test_a_kill_between_two_renames_loses_no_older_model(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a disk cannot exchange two names in one step."""
    monkeypatch.setattr(output_folder, "_exchange", lambda one, other: False)
    place.mkdir()
    (place / "config.json").write_text("older")
    rename = Path.replace

    def second_kills(self: Path, target: Path) -> Path:
        if target == place:
            os._exit(9)
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", second_kills)
    killed(place, lambda folder: folder.replace_place())
    monkeypatch.undo()
    assert not place.exists()
    clear_leftover(place)
    assert (place / "config.json").read_text() == "older"
    assert [path.name for path in place.parent.iterdir()] == ["out"]
