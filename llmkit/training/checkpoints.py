"""Trainer's checkpoints: find the newest complete one, and check that it belongs to the same run.

Public: `newest_whole`, `step_of`, `is_whole`, `write_manifest`, `write_run`, `check_run`,
`restore_metrics`, `metrics_line`,
`is_finished`, `write_finished`, `check_finished`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import llmkit
from llmkit.errors import OptionError
from llmkit.whole_file import write_whole

RUN_FILE = "run.json"
MANIFEST = "manifest.json"
FINISHED = "finished.json"
# Keys of metrics.jsonl in their order. Trainer sorts those of a checkpoint by name.
_METRICS = ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_perplexity")
# Folder for a corpus while it is read. The run can still be refused; a later run replaces the folder.
UNFINISHED = "unfinished-corpus"


def newest_whole(folder: Path, steps: int, notice: Callable[[str], None]) -> Path | None:
    """Find the checkpoint to resume from; remove incomplete ones (left by a kill) with a notice.

    Args:
        folder: folder of the checkpoints.
        steps: number of steps of the whole run. A checkpoint of the last step is not used: Trainer would take
            one step too many. The steps after the checkpoint before it give the same weights.
        notice: called with a sentence for the user.

    Returns:
        The newest `checkpoint-STEP` folder whose files are all unchanged since they were written, or None.
    """
    found = [p for p in folder.glob("checkpoint-*") if p.name.removeprefix("checkpoint-").isdecimal()]
    for checkpoint in sorted(found, key=step_of, reverse=True):
        if step_of(checkpoint) >= steps:
            continue
        if is_whole(checkpoint):
            if _best_is_whole(checkpoint):
                return checkpoint
            notice(f"{checkpoint} is skipped: the earlier checkpoint with the best weights is incomplete")
        else:
            notice(f"{checkpoint} is incomplete and is skipped")
        # Trainer counts and deletes checkpoints by name; an incomplete one must not displace a complete one.
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
    """Write the manifest of a checkpoint: names, sizes and SHA-256 of its files. Call it after the last file.

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
    """Return True if the best checkpoint so far is complete too, or is this one."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    best = state.get("best_model_checkpoint")
    # The run's folder may have been moved since then.
    return best is None or is_whole(checkpoint.with_name(Path(best).name))


def write_run(folder: Path, run: dict[str, Any]) -> None:
    """Write the options of a run into the folder of its checkpoints."""
    write_whole(folder / RUN_FILE, json.dumps(run, indent=2) + "\n")


def check_run(folder: Path, run: dict[str, Any], notice: Callable[[str], None]) -> None:
    """Refuse to resume a run with options or data that differ from those at its start.

    More `epochs` or `max_steps` than before extend the run: its options are written again.

    Args:
        folder: folder of the checkpoints.
        run: options of the run, as JSON.
        notice: called with a sentence for the user.

    Raises:
        OptionError: an option differs (the error names the first), or there is no run to resume.
    """
    try:
        before = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise OptionError(
            "resume",
            f"{folder.parent}: contains no unfinished run; to start one, omit `resume`, and give `overwrite`"
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
        write_run(folder, {**before, **run})


def _is_more(value: Any, before: Any) -> bool:
    numbers = isinstance(value, int | float) and isinstance(before, int | float)
    return numbers and value > before


def is_finished(output: Path, asked: dict[str, Any]) -> bool:
    """Return True if a folder contains a finished run's result, and no run that can be resumed.

    A run removes an older result before its first step, and writes the model's configuration last. If a kill
    left checkpoints of a finished run, they are removed.

    Args:
        output: the folder.
        asked: what was asked for, as of `TrainingRun.finish`.

    Raises:
        OptionError: the finished run had other options or data, or they are not recorded.
    """
    begun = (output / "checkpoints" / RUN_FILE, output / UNFINISHED)
    if any(path.exists() for path in begun) or not (output / "metrics.jsonl").is_file():
        return False
    if not any((output / name).is_file() for name in ("config.json", "adapter_config.json")):
        return False
    check_finished(output, asked)
    if os.environ.get("RANK", "0") == "0":
        shutil.rmtree(output / "checkpoints", ignore_errors=True)
    return True


def write_finished(folder: Path, asked: dict[str, Any]) -> None:
    """Write hashes of a finished run's options and data into its model's folder.

    Hashes, because users share model folders: names of files and machines must not be in them.
    """
    text = json.dumps({"llmkit": llmkit.__version__, "options": _hashes(asked)}, indent=2)
    write_whole(folder / FINISHED, text + "\n")


def check_finished(output: Path, asked: dict[str, Any]) -> None:
    """Refuse a finished model whose run had other options or data.

    Args:
        output: folder of the model.
        asked: what the run is asked for, as JSON.

    Raises:
        OptionError: an option differs (the error names the first), or the folder has no record of them.
    """
    again = "; give the same options and data, or overwrite=True starts again"
    try:
        before = dict(json.loads((output / FINISHED).read_text(encoding="utf-8"))["options"])
    except (OSError, ValueError, KeyError, TypeError):
        raise OptionError(
            "resume",
            f"{output}: contains a model without a record of its run; overwrite=True trains again",
        ) from None
    for name, value in _hashes(asked).items():
        if before.get(name) != value:
            raise OptionError("resume", f"{output}: the finished run had another `{name}`{again}")


def _hashes(asked: dict[str, Any]) -> dict[str, str]:
    return {
        name: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
        for name, value in json.loads(json.dumps(asked)).items()
    }


def restore_metrics(file: Path, start: Path | None) -> None:
    """Restore metrics.jsonl to its state at a checkpoint, from the checkpoint's copy, which has a checksum.

    Args:
        file: metrics.jsonl.
        start: the checkpoint; None for the beginning of the run.
    """
    rows: list[dict[str, Any]] = []
    if start is not None:
        rows = json.loads((start / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    lines = [metrics_line(row["step"], row) for row in rows if "train_runtime" not in row]
    if lines or file.exists():
        write_whole(file, "".join(lines))


def metrics_line(step: int, logs: dict[str, Any]) -> str:
    """Return a line of metrics.jsonl; the order of its keys does not depend on that of `logs`."""
    first = [key for key in _METRICS if key in logs]
    rest = sorted(logs.keys() - {*_METRICS, "step", "epoch"})
    keys = [*first, *rest, *(["epoch"] if "epoch" in logs else [])]
    return json.dumps({"step": step, **{key: logs[key] for key in keys}}, ensure_ascii=False) + "\n"
