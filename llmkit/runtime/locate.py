"""Turn a model's name into a folder on this disk: embedded, local, cached, or downloaded from the Hub.

A Hub model is resolved to one commit, and only the files that loading needs are downloaded. The errors for a
missing, private or gated repository, a wrong revision and a dead network say what to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError, OptionError, did_you_mean
from llmkit.models.bundled import embedded_folder, embedded_models
from llmkit.runtime.gguf_files import one_gguf
from llmkit.text.names import check_name

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_CONFIGS = ("config", "adapter_config")
# Files that loading reads beside the weights; Python files are added if the user trusts them.
_SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.spm", "*.vocab")


@dataclass(frozen=True)
class Location:
    """Location of a model.

    Attributes:
        folder: a local folder in Hugging Face layout, or a GGUF file.
        revision: the commit of a Hub model, ``embedded`` for an embedded one, ``local`` for a folder.
    """

    folder: Path
    revision: str

    @property
    def is_gguf(self) -> bool:
        return self.folder.suffix == ".gguf" and self.folder.is_file()


def locate(name: str, spec: ModelSpec) -> Location:
    """Find the model (or adapter) `name`; download it if needed and allowed.

    Raises:
        InputError: there is no such model, or access is refused; the message says what to do.
        LLMKitError: the download failed.
    """
    if not name:
        raise OptionError("model", "is empty: give a Hub id, a folder, or an embedded model")
    check_name("model" if name == spec.name else "adapter", name)
    path = Path(name).expanduser()
    embedded = embedded_folder(name)
    if spec.revision is not None and (embedded is not None or path.exists()):
        kind = "embedded" if embedded is not None else "a folder" if path.is_dir() else "a file"
        raise OptionError(
            "revision", f"{spec.revision}: only Hub models have revisions, and {name} is {kind}"
        )
    if embedded is not None:
        if not spec.bundled and any((path / f"{kind}.json").is_file() for kind in _CONFIGS):
            raise InputError(
                f"{name} is an embedded model and a folder here: write ./{name} for the folder, or run in"
                " another folder for the embedded model"
            )
        return Location(embedded, "embedded")
    if path.is_dir():
        return Location(one_gguf(path) or path, "local")
    if path.is_file() and path.suffix == ".gguf":
        return Location(path, "local")
    if path.is_file():
        raise InputError(f"{name} is a file; give the model's folder, such as {path.parent}")
    if name.startswith((".", "/", "~")) or not _HUB_ID.fullmatch(name) or ".." in name:
        raise InputError(f"no model folder at {name}")
    return _from_hub(name, spec)


def _from_hub(name: str, spec: ModelSpec) -> Location:
    from huggingface_hub import constants

    if spec.offline or constants.HF_HUB_OFFLINE:
        return _from_cache(name, spec, "this run is offline")
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        info = HfApi().model_info(name, revision=spec.revision)
        files = _files_to_fetch(name, [s.rfilename for s in info.siblings or []], spec)
        folder = snapshot_download(name, revision=info.sha, allow_patterns=files, cache_dir=spec.cache_dir)
    except GatedRepoError as error:
        raise InputError(
            f"{name} is gated: accept its terms at https://huggingface.co/{name}, then log in with"
            " `hf auth login` or set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(_unknown(name)) from error
    except RevisionNotFoundError as error:
        raise InputError(
            f"{name} has no revision {spec.revision}; see https://huggingface.co/{name}/tree/main"
        ) from error
    except HfHubHTTPError as error:
        raise LLMKitError(f"the Hub refused {name}: {str(error).splitlines()[0]}") from error
    except OSError as error:
        if getattr(error, "errno", None) is not None and error.filename:
            raise  # an error of this disk, not of the network
        return _from_cache(name, spec, "the Hub cannot be reached")
    except Exception as error:
        # httpx is an implementation detail of huggingface_hub; only its class names are stable.
        if type(error).__name__ in {"ConnectError", "ConnectTimeout", "ReadTimeout", "ProxyError"}:
            return _from_cache(name, spec, "the Hub cannot be reached")
        raise
    return Location(Path(folder), str(info.sha))


def _from_cache(name: str, spec: ModelSpec, why: str) -> Location:
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
        # A part of the repository is what `_from_hub` downloads; loading checks that it is enough.
        folder = Path(error.snapshot_path)
    except (LocalEntryNotFoundError, HFValidationError) as error:
        at = f" at revision {spec.revision}" if spec.revision else ""
        raise InputError(
            f"{name} is not in the cache{at}, and {why}{_near(name)}; `llmkit models` lists what is on this"
            " machine"
        ) from error
    return Location(folder, folder.name)


def _unknown(name: str) -> str:
    return (
        f"no model {name}: not embedded, not a folder, and not on the Hub (or private: see"
        f" https://huggingface.co/{name} and log in with `hf auth login`){_near(name)}"
    )


def _near(name: str) -> str:
    return did_you_mean(name, [model.name for model in embedded_models()])


def _files_to_fetch(name: str, files: list[str], spec: ModelSpec) -> list[str]:
    """Return the top-level files of the repository that loading reads."""
    from fnmatch import fnmatch

    top = [f for f in files if "/" not in f]
    wanted = [f for f in top if any(fnmatch(f, pattern) for pattern in _SMALL_FILES)]
    if spec.trust_remote_code:
        wanted += [f for f in files if f.endswith(".py")]
    weights = [f for f in top if f.endswith(".safetensors")]
    # Many repositories have a consolidated copy of the same weights beside the sharded ones.
    named = [f for f in weights if re.fullmatch(r"(adapter_)?model(-\d+-of-\d+)?\.safetensors", f)]
    weights = named or weights
    if not weights and spec.allow_bin:
        weights = [f for f in top if re.fullmatch(r"(pytorch|adapter)_model(-\d+-of-\d+)?\.bin", f)]
    if not weights:
        check_weight_names(name, top, allow_bin=spec.allow_bin)
    return wanted + weights


def check_weight_names(name: Any, files: list[str], *, allow_bin: bool) -> None:
    """Refuse a checkpoint with weights of a kind that is not read; the error says what to do.

    Args:
        name: the model, for the message.
        files: names of the files in its folder.
        allow_bin: pickled PyTorch weights may be read.

    Raises:
        InputError: the weights are missing or of another kind.
    """
    if any(f.endswith(".safetensors") for f in files):
        return
    if any(f.endswith(".bin") and "model" in f for f in files):
        if allow_bin:
            return
        raise InputError(
            f"{name} has only pytorch_model.bin, a pickle file; if you trust its source, set allow_bin=True"
            " (torch then reads weights only)"
        )
    if any(f.endswith((".h5", ".ckpt.index", ".data-00000-of-00001")) for f in files):
        raise InputError(
            f"{name} is a TensorFlow checkpoint; convert it to safetensors first, with `llmkit convert`"
        )
    if any(f.endswith(".msgpack") for f in files):
        raise InputError(
            f"{name} is a Flax checkpoint; convert it to safetensors first, with `llmkit convert`"
        )
    if any(f.endswith(".gguf") for f in files):
        raise InputError(
            f"{name} holds GGUF files; download one, and name the file: `hf download {name} FILE`"
        )
    raise InputError(f"{name} has no weights: no model.safetensors in it")
