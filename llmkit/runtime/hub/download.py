"""Find a Hub model in the cache, or download it.

A model is resolved to one commit, and only the files that loading needs are downloaded.

Public: `from_hub`, `pull`, `Pulled`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError, OptionError
from llmkit.runtime.gguf.files import choose_gguf, gguf_files, one_gguf
from llmkit.runtime.hub.access import NetworkError, hub_errors, near
from llmkit.runtime.hub.cache import drop_file
from llmkit.runtime.hub.check import check_file
from llmkit.runtime.hub.weight_files import CARD_FILES, files_to_fetch

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec

_WAIT = 0.1  # seconds between two looks at the progress


@dataclass(frozen=True)
class Pulled:
    """A downloaded model.

    Attributes:
        name: the repository.
        revision: its commit.
        folder: its folder in the cache.
        files: paths inside the repository.
        bytes: their size.
    """

    name: str
    revision: str
    folder: Path
    files: tuple[str, ...]
    bytes: int


def from_hub(name: str, spec: ModelSpec, variant: str | None) -> tuple[Path, str]:
    """Return a Hub model's folder, or its GGUF file, in the cache, and its commit; download what is missing.

    Args:
        name: the repository.
        spec: the request: revision, cache, permissions.
        variant: a GGUF file of it, or its type; see `choose_gguf`.

    Raises:
        InputError: there is no such model, or access is refused; the message says what to do.
        LLMKitError: the download failed.
    """
    from huggingface_hub import constants

    if spec.offline or constants.HF_HUB_OFFLINE:
        return _from_cache(name, spec, variant, "this run is offline")
    from huggingface_hub import HfApi, snapshot_download

    try:
        with hub_errors(name, spec.revision, spec.cache_dir):
            info = HfApi().model_info(name, revision=spec.revision)
            files = files_to_fetch(name, [s.rfilename for s in info.siblings or []], spec, variant)
            # By the name of the revision, not its commit: the cache then knows it when there is no network.
            folder = Path(
                snapshot_download(
                    name, revision=spec.revision, allow_patterns=_exact(files), cache_dir=spec.cache_dir
                )
            )
    except NetworkError as error:
        try:
            return _from_cache(name, spec, variant, "the Hub cannot be reached")
        except InputError:
            if isinstance(error.__cause__, OSError):
                raise error from None  # the connection was there, and broke
            raise
    return (folder / files[0] if files[0].endswith(".gguf") else folder), folder.name


def _from_cache(name: str, spec: ModelSpec, variant: str | None, why: str) -> tuple[Path, str]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HFValidationError,
        IncompleteSnapshotError,
        LocalEntryNotFoundError,
    )

    try:
        folder = Path(
            snapshot_download(name, revision=spec.revision, cache_dir=spec.cache_dir, local_files_only=True)
        )
    except IncompleteSnapshotError as error:
        # A part of the repository is what `from_hub` downloads; loading checks that it is enough.
        folder = Path(error.snapshot_path)
    except (LocalEntryNotFoundError, HFValidationError) as error:
        at = f" at revision {spec.revision}" if spec.revision else ""
        raise InputError(
            f"{name} is not in the cache{at}, and {why}{near(name)}; `llmkit models` lists what is on this"
            " machine"
        ) from error
    if variant is None:
        return one_gguf(folder, name) or folder, folder.name
    try:
        return folder / choose_gguf(gguf_files(folder), variant, name), folder.name
    except InputError as error:
        raise InputError(f"{error} in the cache, and {why}") from None


def pull(
    name: str,
    spec: ModelSpec,
    variant: str | None = None,
    *,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Pulled:
    """Download a Hub model into the cache: what loading reads, its card and its license.

    A download that was truncated continues from where it stopped. Every new file's hash is compared with the
    Hub's; a file that differs is removed.

    Args:
        name: the repository.
        spec: the request: revision, cache, permissions.
        variant: a GGUF file of it, or its type; see `choose_gguf`.
        progress: called with the bytes that are there and all bytes; in the caller's thread.

    Raises:
        OptionError: `offline` is set.
        InputError: there is no such model, or access is refused.
        LLMKitError: the download failed, or a file's hash is wrong.
    """
    from huggingface_hub import HfApi, constants

    if spec.offline or constants.HF_HUB_OFFLINE:
        given = "is set" if spec.offline else "holds for this run (HF_HUB_OFFLINE is set)"
        raise OptionError("offline", f"{given}, and models pull needs the network")
    with hub_errors(name, spec.revision, spec.cache_dir):
        info = HfApi().model_info(name, revision=spec.revision, files_metadata=True)
        sizes = {s.rfilename: int(s.size or 0) for s in info.siblings or []}
        files = files_to_fetch(name, list(sizes), spec, variant)
        files += [f for f in sizes if any(fnmatch(f, pattern) for pattern in CARD_FILES) and f not in files]
        total = sum(sizes[f] for f in files)
        try:
            folder = _download(name, files, spec, total, progress)
        except NetworkError as error:
            raise LLMKitError(f"{error}; run the command again; it continues from there") from error
    hashes = {s.rfilename: s.lfs.sha256 if s.lfs else s.blob_id for s in info.siblings or []}
    _check_hashes(name, folder, {file: hashes.get(file) for file in files})
    return Pulled(name, folder.name, folder, tuple(files), total)


def _download(
    name: str, files: Sequence[str], spec: ModelSpec, total: int, progress: Callable[[int, int], object]
) -> Path:
    """Download in a second thread, while this one shows how far it is."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import tqdm

    done, stopped = [0], threading.Event()

    class Counter(tqdm):
        """Count the bytes that reach the disk; draw nothing."""

        def __init__(self, *args: Any, name: str | None = None, **options: Any) -> None:
            self.counts = name == "huggingface_hub.snapshot_download"
            super().__init__(*args, name=name, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            if stopped.is_set():
                raise KeyboardInterrupt
            if self.counts:
                done[0] += int(n or 0)
            return None

    result: list[str] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            with hub_errors(name, spec.revision, spec.cache_dir):
                result.append(
                    snapshot_download(
                        name,
                        revision=spec.revision,
                        allow_patterns=_exact(files),
                        cache_dir=spec.cache_dir,
                        tqdm_class=Counter,
                    )
                )
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_WAIT)
            progress(min(done[0], total), total)
    finally:
        stopped.set()
        thread.join(5)
    if failure:
        raise failure[0]
    return Path(result[0])


def _check_hashes(name: str, folder: Path, files: Mapping[str, str | None]) -> None:
    wrong = []
    for file, expected in files.items():
        if check_file(folder, file, expected=expected).ok is False:
            drop_file(folder, file)
            wrong.append(file)
    if wrong:
        raise LLMKitError(
            f"{name}: {', '.join(wrong[:3])} does not have the hash that the Hub gives, and was deleted;"
            " run the command again"
        )


def _exact(files: Sequence[str]) -> list[str]:
    """Return patterns that match these names alone."""
    return [file.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]") for file in files]
