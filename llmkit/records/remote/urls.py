"""Names of objects in object storage, and their file systems."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from llmkit.errors import InputError, one_line

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_PROTOCOLS = (*_PACKAGES, "hf", "memory")
# `Path` turns two slashes into one.
_URL = re.compile(rf"({'|'.join(_PROTOCOLS)}):/{{1,2}}([^/].*)", re.DOTALL)


def url_of(name: str | Path) -> str | None:
    """Return a name that is a URL, with both slashes; None for the name of a local file.

    >>> url_of(Path("s3://bucket/rows.jsonl")), url_of("rows.jsonl"), url_of("hf:dataset")
    ('s3://bucket/rows.jsonl', None, None)

    Raises:
        InputError: it chains file systems, as in ``zip://a::s3://b``.
    """
    found = _URL.fullmatch(str(name))
    if found is None:
        return None
    if "::" in str(name):
        raise InputError(f"{one_line(str(name))}: a URL of one file system is read, without `::`")
    return f"{found.group(1)}://{found.group(2)}"


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path in it. Credentials are those of its library.

    Raises:
        InputError: the library is not installed, or has no settings.
    """
    import fsspec

    protocol = url.partition("://")[0]
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError:
        package = _PACKAGES.get(protocol, "huggingface_hub")
        raise InputError(f"{url} needs {package}: pip install {package}") from None
    except Exception as error:
        raise InputError(f"{url}: {one_line(error)}") from error
    return found
