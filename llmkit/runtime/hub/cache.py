"""The models in the Hub cache: list them, find one, remove one.

A repository is a folder ``models--USER--NAME`` with ``refs/BRANCH`` (a commit), ``snapshots/COMMIT/FILE``
(links) and ``blobs/HASH``: https://huggingface.co/docs/huggingface_hub/guides/manage-cache

Public: `CachedModel`, `cached_models`, `cached_model`, `plan_removal`, `Removal`, `drop_file`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmkit.errors import InputError, LLMKitError, OptionError, did_you_mean
from llmkit.runtime.gguf.files import choose_gguf, gguf_files, shards_of

_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"models--([\w.-]+?)(?:--([\w.-]+))?")


@dataclass(frozen=True)
class CachedModel:
    """A model in the cache.

    Attributes:
        name: such as ``org/model``.
        folder: its folder in the cache.
        revisions: commit to the names that point to it, such as ``main``.
        bytes: size on disk; a blob that several snapshots share counts once.
    """

    name: str
    folder: Path
    revisions: dict[str, tuple[str, ...]]
    bytes: int

    def snapshot(self, revision: str | None = None) -> Path:
        """Return the folder of a revision: a commit, the beginning of one, or a name; None for ``main``.

        Raises:
            InputError: it is not in the cache.
        """
        found = [
            commit
            for commit, names in self.revisions.items()
            if revision in names
            or (revision is not None and len(revision) > 5 and commit.startswith(revision))
        ]
        if revision is None:
            mains = [commit for commit, names in self.revisions.items() if "main" in names]
            found = mains or list(self.revisions)
        if len(found) == 1:
            return self.folder / "snapshots" / found[0]
        have = ", ".join(
            f"{commit[:12]} {' '.join(names)}".strip() for commit, names in self.revisions.items()
        )
        if revision is None and found:
            raise OptionError("revision", f"must name one of the revisions of {self.name}: {have}")
        raise InputError(
            f"{self.name} has no revision {revision or 'main'} in the cache; it has {have or 'none'}"
        )


def cache_folder(cache_dir: Path | None) -> Path:
    """Return the folder of the Hub cache."""
    from huggingface_hub import constants

    return Path(cache_dir or constants.HF_HUB_CACHE).expanduser()


def cached_models(cache_dir: Path | None = None) -> list[CachedModel]:
    """Return the models in the cache, by name. Folders that are links are passed over.

    Args:
        cache_dir: the cache; None for huggingface_hub's.
    """
    cache = cache_folder(cache_dir)
    try:
        folders = sorted(cache.iterdir())
    except OSError:
        return []
    found = []
    for folder in folders:
        match = _NAME.fullmatch(folder.name)
        if match is None or not folder.is_dir() or folder.is_symlink():
            continue
        name = match[1] if match[2] is None else f"{match[1]}/{match[2]}"
        found.append(CachedModel(name, folder, _revisions(folder), _size(folder)))
    return sorted(found, key=lambda model: model.name)


def cached_model(name: str, cache_dir: Path | None = None) -> CachedModel:
    """Return a model in the cache.

    Raises:
        InputError: it is not there.
    """
    found = cached_models(cache_dir)
    for model in found:
        if model.name == name:
            return model
    near = did_you_mean(name, [model.name for model in found])
    raise InputError(f"{name} is not in the cache {cache_folder(cache_dir)}{near}")


def _revisions(folder: Path) -> dict[str, tuple[str, ...]]:
    names: dict[str, list[str]] = {}
    refs = folder / "refs"
    for path in sorted(refs.rglob("*")) if refs.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            names.setdefault(text, []).append(path.relative_to(refs).as_posix())
    snapshots = folder / "snapshots"
    commits = sorted(snapshots.iterdir()) if snapshots.is_dir() else []
    return {
        path.name: tuple(names.get(path.name, ()))
        for path in commits
        if _COMMIT.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    }


def _size(folder: Path) -> int:
    """Return the bytes of a repository's files, each once; links out of the cache do not count."""
    cache, sizes = folder.parent.resolve(), {}
    for path in _files(folder):
        real = path.resolve()
        if real.is_file() and real.is_relative_to(cache):
            about = real.stat()
            sizes[about.st_dev, about.st_ino] = about.st_size
    return sum(sizes.values())


def _files(folder: Path) -> Iterator[Path]:
    """Files and links below a folder; folders that are links are not entered."""
    for root, folders, files in os.walk(folder, followlinks=False):
        yield from (Path(root) / name for name in files)
        yield from (Path(root) / name for name in folders if (Path(root) / name).is_symlink())


@dataclass(frozen=True)
class Removal:
    """Files of the cache to delete.

    Attributes:
        model: the model.
        what: for the user, such as ``org/model`` or one file of it.
        folders: folders to delete with all that is in them.
        files: files and links to delete.
        bytes: size on disk.
    """

    model: CachedModel
    what: str
    folders: tuple[Path, ...]
    files: tuple[Path, ...]
    bytes: int

    def run(self) -> None:
        """Delete them. Links are deleted, never followed.

        Raises:
            LLMKitError: something is outside the cache, or cannot be deleted.
        """
        cache = self.model.folder.parent
        for path in (*self.folders, *self.files):
            if not _is_inside(path, cache):
                raise LLMKitError(f"{path} is not inside {cache}; nothing was deleted")
        try:
            for path in self.files:
                path.unlink(missing_ok=True)
            for path in self.folders:
                shutil.rmtree(path)
        except OSError as error:
            raise LLMKitError(f"{error.filename or self.what} cannot be deleted: {error.strerror}") from error


def _is_inside(path: Path, folder: Path) -> bool:
    """Return True if a path lies below a folder and leads over no link on the way."""
    if folder not in path.parents:
        return False
    between = [above for above in path.parents if folder in above.parents]
    return not any(above.is_symlink() for above in between)


def plan_removal(model: CachedModel, *, revision: str | None = None, variant: str | None = None) -> Removal:
    """Return what removing a model, a revision or a GGUF file would delete.

    Args:
        model: the model.
        revision: remove this revision alone, and the blobs that no other one uses.
        variant: remove this GGUF file alone, see `choose_gguf`.

    Raises:
        InputError: the revision or the file is not in the cache.
    """
    snapshot = None if revision is None and variant is None else model.snapshot(revision)
    if snapshot is None or (variant is None and len(model.revisions) == 1):
        blobs = [path for path in _files(model.folder / "blobs") if path.is_symlink()]
        return Removal(model, model.name, (model.folder,), tuple(_shared(model.folder, blobs)), model.bytes)
    if variant is not None:
        files = gguf_files(snapshot)
        gone = [snapshot / file for file in shards_of(choose_gguf(files, variant, model.name), files)]
        folders: tuple[Path, ...] = ()
        what = f"{gone[0].relative_to(snapshot).as_posix()} of {model.name}"
    else:
        gone, folders = list(_files(snapshot)), (snapshot,)
        what = f"revision {snapshot.name[:12]} of {model.name}"
    blobs = _only_used_by(model, set(gone))
    refs = [] if variant else [model.folder / "refs" / name for name in model.revisions[snapshot.name]]
    kept = [path for path in gone if not path.is_symlink()]
    shared = _shared(model.folder, blobs)
    own = [path for path in (*blobs, *kept) if not path.is_symlink()]
    size = sum(path.stat().st_size for path in (*own, *shared))
    return Removal(model, what, folders, (*([] if folders else gone), *refs, *blobs, *shared), size)


def drop_file(snapshot: Path, file: str) -> None:
    """Delete a damaged file of a snapshot, with its blob, so that it is downloaded again.

    Args:
        snapshot: the snapshot's folder in the cache.
        file: the file's path in it.
    """
    path, folder = snapshot / file, snapshot.parent.parent
    target = _target(path)
    blobs = [target] if target is not None and target.parent == folder / "blobs" else []
    for one in (*_shared(folder, blobs), *blobs, path):
        if _is_inside(one, folder.parent):
            one.unlink(missing_ok=True)


def _only_used_by(model: CachedModel, gone: set[Path]) -> list[Path]:
    """Return the blobs to which only the links in `gone` point."""
    blobs = model.folder / "blobs"
    used: dict[Path, bool] = {}
    for path in _files(model.folder / "snapshots"):
        target = _target(path)
        if target is not None and target.parent == blobs:
            used[target] = used.get(target, True) and path in gone
    return sorted(blob for blob, free in used.items() if free and os.path.lexists(blob))


def _shared(folder: Path, blobs: list[Path]) -> list[Path]:
    """Return files of the cache's shared store (``blobs/AB/HASH``) that only these blobs of a model use."""
    cache = folder.parent
    store = cache / "blobs"
    targets = {target for blob in blobs if (target := _target(blob)) and target.parent.parent == store}
    if not targets:
        return []
    others = {_target(path) for path in cache.glob("*--*/blobs/*") if path not in set(blobs)}
    free = sorted(targets - others)
    return [path for one in free for path in (one, one.with_name(f"{one.name}.refs")) if path.is_file()]


def _target(path: Path) -> Path | None:
    """Return the path that a link names, read as text: nothing is followed. None for a file."""
    if not path.is_symlink():
        return None
    return Path(os.path.normpath(path.parent / os.readlink(path)))
