# SPDX-License-Identifier: Apache-2.0
"""One entry of the disk cache: its key, what its file holds, and how that shows that it is whole."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from bitquant.versions import versions

__all__ = ["CacheEntry", "cache_key", "pack", "read_header", "unpack"]

#: What a part of a key may be.
JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

#: Hex digits of a key: 160 bits of the SHA-256, so that names stay short and never collide.
_KEY_DIGITS: Final = 40
#: First bytes of an entry; the number is that of the file format.
_MAGIC: Final = b"bitquant-kernel 2 "
#: Most bytes of a line of an entry's head.
_MAX_LINE_BYTES: Final = 1 << 16


def cache_key(parts: Mapping[str, JSON]) -> str:
    """Return the key of what is made from `parts` by these `versions`.

    Parameters
    ----------
    parts
        Everything else that decides the kernel: problem, schedule, architecture, name and version of the compiler. The
        order of its fields does not matter.

    Returns
    -------
    str
        The first 40 hex digits of SHA-256(canonical JSON of parts and versions).

    Raises
    ------
    TypeError, ValueError
        If `parts` holds what JSON cannot: other types, NaN, infinities.
    """
    made_from = {"parts": parts, "versions": versions()}
    text = json.dumps(made_from, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


@dataclass(frozen=True)
class CacheEntry:
    """One entry of a `KernelCache`.

    Attributes
    ----------
    key
        What it is stored under.
    path
        Its file.
    size_bytes
        Size of the file.
    created, last_used
        Seconds since the epoch.
    title
        What it holds, in words for people.
    """

    key: str
    path: Path
    size_bytes: int
    created: float
    last_used: float
    title: str


def pack(key: str, title: str, payload: bytes) -> bytes:
    """Return the bytes of an entry: magic and SHA-256 of the key and all that follows, a line of JSON, the payload."""
    header = json.dumps({"title": title, "created": int(time.time())}).encode()
    body = header + b"\n" + payload
    return _MAGIC + _checksum(key, body) + b"\n" + body


def unpack(key: str, content: bytes) -> bytes:
    """Return the payload of an entry; ValueError where its checksum does not fit, as under another key's name."""
    first_line, _, body = content.partition(b"\n")
    if first_line != _MAGIC + _checksum(key, body):
        raise ValueError("its checksum does not fit")
    return body.partition(b"\n")[2]


def _checksum(key: str, body: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + body).hexdigest().encode()


def read_header(path: Path) -> tuple[str, float | None]:
    """Return title and time of creation of an entry, without verifying its payload; no time where it is damaged."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no file")
    with os.fdopen(descriptor, "rb") as file:
        file.readline(_MAX_LINE_BYTES)
        line = file.readline(_MAX_LINE_BYTES)
    try:
        header = json.loads(line)
        return str(header["title"]), float(header["created"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return "(damaged)", None
