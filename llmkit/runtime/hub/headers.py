"""Read the headers of a Hub model's weight files by range requests; no weight is downloaded.

Public: `HubHeaders`, `hub_headers`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError
from llmkit.runtime.gguf.files import choose_gguf
from llmkit.runtime.hub.access import hub_errors
from llmkit.runtime.hub.weight_files import files_to_fetch
from llmkit.temporary import temporary_folder

if TYPE_CHECKING:
    from llmkit.formats.gguf.checkpoint import GGUFCheckpoint
    from llmkit.runtime.spec import ModelSpec

_AT_ONCE = 8  # headers that are read at the same time
_CONFIGS = ("config.json", "adapter_config.json")
_TOKENIZER = "tokenizer.json"
_GGUF_FIRST, _GGUF_MOST = 8 << 20, 128 << 20


@dataclass(frozen=True)
class HubHeaders:
    """A repository's configuration and headers.

    Attributes:
        folder: folder of its config.json and adapter_config.json.
        dtypes: bytes and values of its tensors, by safetensors' name of their type.
        tokenizer_bytes: size of its tokenizer.json; 0 without one.
        gguf: the header of its GGUF file; None for other repositories.
        gguf_bytes: size of that file.
    """

    folder: Path
    dtypes: dict[str, tuple[int, int]]
    tokenizer_bytes: int
    gguf: GGUFCheckpoint | None = None
    gguf_bytes: int = 0


def hub_headers(name: str, spec: ModelSpec, variant: str | None) -> HubHeaders:
    """Download config.json, and the first bytes of each weight file.

    Args:
        name: the repository.
        spec: the request: revision, cache, permissions.
        variant: a GGUF file of it, or its type; see `choose_gguf`.

    Raises:
        InputError: there is no such model, access is refused, or a header is damaged.
        LLMKitError: the connection broke.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with hub_errors(name, spec.revision, spec.cache_dir):
        info = api.model_info(name, revision=spec.revision, files_metadata=True)
        sizes = {one.rfilename: int(one.size or 0) for one in info.siblings or []}
        wanted = files_to_fetch(name, list(sizes), spec, variant)
        if wanted[0].endswith(".gguf"):
            file = choose_gguf(wanted, wanted[0], name)
            if len(wanted) > 1:
                raise InputError(f"{name}: {file} has {len(wanted)} parts; download it first")
            opened = _gguf_header(name, file, sizes[file], info.sha, api.endpoint)
            return HubHeaders(Path(file), {}, 0, opened, sizes[file])
        folders = [_download(name, one, spec, api.endpoint) for one in _CONFIGS if one in sizes]
        if not folders:
            raise InputError(f"{name} is not a model: no config.json in it")
        weights = [one for one in wanted if one.endswith(".safetensors")]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            headers = list(pool.map(lambda file: _safetensors_header(api, name, file, info.sha), weights))
    dtypes: dict[str, tuple[int, int]] = {}
    for header in headers:
        for kind, (size, values) in header.items():
            before = dtypes.get(kind, (0, 0))
            dtypes[kind] = (before[0] + size, before[1] + values)
    return HubHeaders(folders[0], dtypes, sizes.get(_TOKENIZER, 0))


def _download(name: str, file: str, spec: ModelSpec, endpoint: str) -> Path:
    """Download a small file; return the folder that it is in."""
    from huggingface_hub import hf_hub_download

    # By the name of the revision: the cache then knows it when there is no network.
    found = hf_hub_download(name, file, revision=spec.revision, cache_dir=spec.cache_dir, endpoint=endpoint)
    return Path(found).parent


def _safetensors_header(api: Any, name: str, file: str, revision: str | None) -> dict[str, tuple[int, int]]:
    """Return bytes and values of a file's tensors by their type."""
    from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

    try:
        header = api.parse_safetensors_file_metadata(name, file, revision=revision)
    except (SafetensorsParsingError, NotASafetensorsRepoError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{name}: {file} is not a safetensors file, or is cut off") from error
    found: dict[str, tuple[int, int]] = {}
    for tensor in header.tensors.values():
        first, last = tensor.data_offsets
        before = found.get(tensor.dtype, (0, 0))
        found[tensor.dtype] = (before[0] + last - first, before[1] + tensor.parameter_count)
    return found


def _gguf_header(name: str, file: str, size: int, revision: str | None, endpoint: str) -> GGUFCheckpoint:
    """Read the header of a GGUF file from its first bytes, more of them if it is longer."""
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub import utils as hub_utils

    from llmkit.formats.gguf.checkpoint import as_checkpoint

    utils: Any = hub_utils  # it does not declare what it exports
    url = hf_hub_url(name, file, revision=revision, endpoint=endpoint)
    count = _GGUF_FIRST
    with temporary_folder("header") as folder:
        while True:
            count = min(count, size, _GGUF_MOST)
            headers = {**utils.build_hf_headers(), "Range": f"bytes=0-{count - 1}"}
            path = folder / Path(file).name
            with get_session().stream("GET", url, headers=headers) as answer, path.open("wb") as out:
                utils.hf_raise_for_status(answer)
                for part in answer.iter_bytes(1 << 20):  # a server may send more than the range
                    out.write(part[: count - out.tell()])
                    if out.tell() >= count:
                        break
                out.truncate(size)  # the rest is a hole, which takes no space
            try:
                opened = as_checkpoint(path)
                if min((one.offset for one in opened.header.tensors.values()), default=0) <= count:
                    return opened
            except InputError:
                if count >= min(size, _GGUF_MOST):
                    raise
            if count >= min(size, _GGUF_MOST):
                raise LLMKitError(f"{name}: the header of {file} is longer than {_GGUF_MOST >> 20} MiB")
            count *= 4
