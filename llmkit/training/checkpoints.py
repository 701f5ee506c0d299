"""Trainer's checkpoints: which is the newest whole one, and what the run that wrote them was."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmkit.errors import InputError

RUN_FILE = "run.json"


def newest_whole(folder: Path, steps: int, notice: Callable[[str], None]) -> Path | None:
    """The checkpoint to go on from; torn ones (a kill while it was written) are named in a notice.

    Args:
        folder: where the checkpoints are.
        steps: of the whole run. A checkpoint of the last step is left aside: Trainer goes one step too far
            from there, and the steps since the one before give the same weights again.
        notice: called with a sentence for the user.

    Returns:
        The newest `checkpoint-STEP` folder in which every file can be read, or None.
    """
    found = [p for p in folder.glob("checkpoint-*") if p.name.removeprefix("checkpoint-").isdigit()]
    for checkpoint in sorted(found, key=step_of, reverse=True):
        if step_of(checkpoint) >= steps:
            continue
        if is_whole(checkpoint):
            return checkpoint
        notice(f"{checkpoint} is torn and is skipped")
        # Trainer counts and rotates by name; what cannot be read must not push out what can.
        shutil.rmtree(checkpoint)
    return None


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def is_whole(checkpoint: Path) -> bool:
    """Whether weights, optimizer, schedule, random state and trainer state are all readable."""
    from safetensors import SafetensorError, safe_open

    try:
        weights = list(checkpoint.glob("*.safetensors"))
        # FSDP and DeepSpeed may write the shards of each process into folders of their own.
        if not weights and not any(path.is_dir() for path in checkpoint.iterdir()):
            return False
        for file in weights:
            with safe_open(file, framework="pt"):
                pass
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        pickled = [path for pattern in ("*.pt", "*.pth", "*.bin") for path in checkpoint.glob(pattern)]
        # torch.save writes zip files, whose directory comes last.
        return bool(pickled) and all(zipfile.is_zipfile(path) for path in pickled)
    except (OSError, ValueError, SafetensorError):
        return False


def write_run(folder: Path, run: dict[str, Any]) -> None:
    """Keep what a run was started with beside its checkpoints."""
    (folder / RUN_FILE).write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")


def check_run(folder: Path, run: dict[str, Any]) -> None:
    """Refuse to go on with other options or another corpus than the run was started with.

    Raises:
        InputError: naming the first thing that differs, or that there is no run to resume.
    """
    try:
        before = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"--resume: {folder.parent} holds no unfinished run: it is finished, or was never begun; to start"
            " one there, leave --resume out, and where something stands there give --overwrite"
        ) from None
    for name, value in json.loads(json.dumps(run)).items():
        if before.get(name) != value:
            what = name.replace("_", "-")
            raise InputError(
                f"--resume: {what} was {before.get(name)!r} and is now {value!r}; repeat the first command's "
                "options and corpus, or start anew with --overwrite"
            )


def cut_metrics(file: Path, step: int) -> None:
    """Drop what metrics.jsonl says of steps after `step`, which are about to run again."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break  # the line that the kill cut off is the last
        if row["step"] <= step:
            kept.append(line)
    file.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
