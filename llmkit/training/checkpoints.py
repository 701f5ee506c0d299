"""Trainer's checkpoints: find the newest whole one, and check that it belongs to the same run.

Public: `newest_whole`, `step_of`, `is_whole`, `write_manifest`, `write_run`, `check_run`, `cut_metrics`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from llmkit.errors import OptionError
from llmkit.training.files import write_whole

RUN_FILE = "run.json"
MANIFEST = "manifest.json"


def newest_whole(folder: Path, steps: int, notice: Callable[[str], None]) -> Path | None:
    """Find the checkpoint to resume from; remove torn ones (a kill while they were written) with a notice.

    Args:
        folder: folder of the checkpoints.
        steps: number of steps of the whole run. A checkpoint of the last step is not used: Trainer would take
            one step too many, and the steps since the checkpoint before it give the same weights again.
        notice: called with a sentence for the user.

    Returns:
        The newest `checkpoint-STEP` folder in which every file is as it was written, or None.
    """
    found = [p for p in folder.glob("checkpoint-*") if p.name.removeprefix("checkpoint-").isdigit()]
    for checkpoint in sorted(found, key=step_of, reverse=True):
        if step_of(checkpoint) >= steps:
            continue
        if is_whole(checkpoint):
            if _best_is_whole(checkpoint):
                return checkpoint
            notice(f"{checkpoint} is skipped: the checkpoint with the best weights before it is torn")
        else:
            notice(f"{checkpoint} is torn and is skipped")
        # Trainer counts and deletes checkpoints by name; a torn one must not displace a whole one.
        shutil.rmtree(checkpoint)
    return None


def step_of(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def is_whole(checkpoint: Path) -> bool:
    """Return True if a checkpoint has the files of its manifest, with their sizes and hashes."""
    try:
        manifest = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest) and manifest == _contents(checkpoint, manifest)
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def write_manifest(checkpoint: Path) -> None:
    """Write names, sizes and SHA-256 of a checkpoint's files into it; call it when they are all written.

    Raises:
        OSError: it cannot be written.
    """
    names = [path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file()]
    contents = _contents(checkpoint, sorted(set(names) - {MANIFEST}))
    write_whole(checkpoint / MANIFEST, json.dumps(contents, indent=2) + "\n")


def _contents(checkpoint: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for name in names:
        if not (checkpoint / name).resolve().is_relative_to(checkpoint.resolve()):
            raise ValueError(f"{name}: lies outside the checkpoint")
        with (checkpoint / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[name] = {"bytes": file.tell(), "sha256": digest}
    return found


def _best_is_whole(checkpoint: Path) -> bool:
    """Return True if the checkpoint with the best weights until this one is whole too, or is this one."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    best = state.get("best_model_checkpoint")
    # The run's folder may have been moved since.
    return best is None or is_whole(checkpoint.with_name(Path(best).name))


def write_run(folder: Path, run: dict[str, Any]) -> None:
    """Write the options of a run beside its checkpoints."""
    write_whole(folder / RUN_FILE, json.dumps(run, indent=2) + "\n")


def check_run(folder: Path, run: dict[str, Any], notice: Callable[[str], None]) -> None:
    """Refuse to resume a run with other options or data than it was started with.

    More `epochs` or `max_steps` than before extend the run: its options are written anew.

    Args:
        folder: folder of the checkpoints.
        run: options of the run, as JSON.
        notice: called with a sentence for the user.

    Raises:
        OptionError: naming the first option that differs, or because there is no run to resume.
    """
    try:
        before = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise OptionError(
            "resume",
            f"{folder.parent}: no unfinished run is there; to start one, omit `resume`, and give `overwrite`"
            " if the folder is not empty",
        ) from None
    longer = []
    for name, value in json.loads(json.dumps(run)).items():
        if name in ("epochs", "max_steps") and _is_more(value, before.get(name)):
            longer.append(f"from {before[name]:g} to {value:g} {name}")
        elif before.get(name) != value:
            raise OptionError(
                "resume",
                f"{folder.parent}: `{name}` was {before.get(name)!r} and is now {value!r}; give the same"
                " options and data as before, or start again with overwrite=True",
            )

    if longer:
        notice(
            f"the run is extended {' and '.join(longer)}; from here on the learning rate follows the new"
            " length, so the weights are not those of a run that was planned so long"
        )
        write_run(folder, run)


def _is_more(value: Any, before: Any) -> bool:
    numbers = isinstance(value, int | float) and isinstance(before, int | float)
    return numbers and value > before


def cut_metrics(file: Path, step: int) -> None:
    """Drop the lines of metrics.jsonl about steps after `step`, which will run again."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break  # only the last line can be cut off
        if row["step"] <= step:
            kept.append(line)
    write_whole(file, "".join(line + "\n" for line in kept))
