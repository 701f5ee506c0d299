"""Turn a model's name into a folder on this disk: embedded, local, cached, or downloaded from the Hub.

A name may continue with a GGUF file of the folder or repository: ``MODEL:FILE`` or ``MODEL:Q4_K_M``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.errors import InputError, OptionError
from llmkit.models.bundled import embedded_folder
from llmkit.runtime.gguf.files import choose_gguf, gguf_files, one_gguf, split_name
from llmkit.runtime.hub.download import from_hub
from llmkit.text.names import check_name

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_CONFIGS = ("config", "adapter_config")


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
        with path.open("rb") as file:
            if file.read(4) == b"GGUF":
                raise InputError(f"{name} is a GGUF file; its name must end in .gguf")
        raise InputError(f"{name} is a file; give the model's folder, such as {path.parent}")
    if path.suffix == ".gguf" and ":" not in name and not ("/" in name and is_hub_id(name)):
        raise InputError(f"{name}: no such file")
    model, variant = split_name(name) or (name, None)
    if variant is not None:
        found = _variant(model, variant, spec)
        if found is not None:
            return found
    if not is_hub_id(model):
        raise InputError(f"no model folder at {name}")
    return Location(*from_hub(model, spec, variant))


def is_hub_id(name: str) -> bool:
    """Return True for a name that a repository of the Hub may have."""
    return bool(_HUB_ID.fullmatch(name)) and not name.startswith((".", "/", "~")) and ".." not in name


def _variant(model: str, variant: str, spec: ModelSpec) -> Location | None:
    """Return a GGUF file of a folder on this disk; None if there is no such folder."""
    if embedded_folder(model) is not None:
        raise InputError(f"{model} is an embedded model, which contains no GGUF file {variant}")
    path = Path(model).expanduser()
    if path.is_file():
        raise InputError(f"{model} is a file; omit :{variant}")
    if not path.is_dir():
        return None
    if spec.revision is not None:
        raise OptionError("revision", f"{spec.revision}: only Hub models have revisions, not {model}")
    return Location(path / choose_gguf(gguf_files(path), variant, model), "local")
