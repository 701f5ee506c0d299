"""Untrusted zip archives: read with bounds, write member by member."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.errors import InputError

MOST_MEMBERS = 20_000
MOST_BYTES = 512 * 2**20  # of all members together, unpacked
_CHUNK = 2**20


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    info: zipfile.ZipInfo
    content: bytes


def read_members(data: bytes, *, most_bytes: int = MOST_BYTES) -> list[Member]:
    """Unpack an archive into memory.

    Args:
        data: the archive.
        most_bytes: unpacked bytes of all members together.

    Raises:
        InputError: no zip archive, a damaged or encrypted one, one that unpacks to more than `most_bytes`, or
            names that lead out of the archive.
    """
    members: list[Member] = []
    left = most_bytes
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) > MOST_MEMBERS:
                raise InputError(
                    f"the document has {len(infos)} files in it; at most {MOST_MEMBERS} are read"
                )
            for info in infos:
                _check(info)
                content = _read(archive, info, left)
                left -= len(content)
                members.append(Member(info, content))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError) as error:
        raise InputError(f"the document is a damaged zip archive: {error}") from error
    return members


def _check(info: zipfile.ZipInfo) -> None:
    name = info.filename
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise InputError(f"the document names a file outside itself: {name!r}")
    if info.flag_bits & 0x1:
        raise InputError("the document is encrypted; save it without a password")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, left: int) -> bytes:
    """Return a member's content; sizes in the archive may be wrong, so the output is counted."""
    chunks: list[bytes] = []
    size = 0
    with archive.open(info) as stream:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > left:
                raise InputError(f"the document unpacks to more than {MOST_BYTES // 2**20} MiB")
            chunks.append(chunk)
    return b"".join(chunks)


def write_members(members: Sequence[Member]) -> bytes:
    """An archive of members in their order, with the names, dates and kinds of compression that they had."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member in members:
            info = zipfile.ZipInfo(member.info.filename, member.info.date_time)
            known = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
            kind = member.info.compress_type
            info.compress_type = kind if kind in known else zipfile.ZIP_DEFLATED
            info.external_attr = member.info.external_attr
            info.create_system = member.info.create_system
            archive.writestr(info, member.content)
    return out.getvalue()


def refuse_entities(text: str, name: str) -> None:
    """Refuse XML that declares entities: they unfold to any size, and documents need none.

    Raises:
        InputError: there is such a declaration.
    """
    head = text[: text.find(">", text.find("<!DOCTYPE")) + 1 or None] if "<!DOCTYPE" in text else ""
    if "<!ENTITY" in text or "[" in head:
        raise InputError(f"{name} declares XML entities, which are not read")
