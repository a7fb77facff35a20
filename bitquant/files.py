# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all, are no trap to read, and go with the process that made them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bitquant.errors import BitquantError, BuildError

__all__ = [
    "STALE_S",
    "as_path",
    "lock_folder",
    "read_regular",
    "scratch_folder",
    "sweep_scratch",
    "write_scratch",
    "write_whole",
]

#: Age from which a temporary or lock file can only be left over from a process that died.
STALE_S: Final = 24 * 3600.0
_PREFIX: Final = "bitquant-"
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

_has_swept = False


def _kind(mode: int) -> str:
    return next((word for is_kind, word in _KINDS if is_kind(mode)), "of an unknown kind")


def as_path(value: Any, argument: str, error: type[BitquantError]) -> Path:
    """Return the path that a caller means.

    Raises
    ------
    BitquantError
        `error`, if it is none: neither a string nor a path object, empty, or with a NUL in it.
    """
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    try:
        is_path = isinstance(text, str) and b"\0" not in (os.fsencode(text) or b"\0")
    except UnicodeEncodeError:
        is_path = False
    if not is_path:
        raise error(f"{argument!r} must be a path, as a string or a pathlib.Path (got {value!r:.80})", path=value)
    return Path(str(text))


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file that appears whole or not at all, whatever others write to the same path meanwhile.

    It is written beside `path`, under a name of its own, and renamed when the disk has it. A link at `path` is
    replaced, not followed.

    Parameters
    ----------
    path
        Where; its folder must be there.
    content
        What.
    mode
        Permissions, of which the user's mask takes away.

    Raises
    ------
    OSError
        If it cannot be written, or there is something at `path` that is no file. What was there stays.
    """
    with contextlib.suppress(FileNotFoundError):  # A link that leads nowhere is replaced as well.
        if not stat.S_ISREG(kind := path.stat().st_mode):
            raise OSError(f"it is {_kind(kind)}, and no file")
    part = path.with_name(f".{path.name[:100]}-{uuid.uuid4().hex}.tmp")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # Else a power failure may leave the name without the content.
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # The file is there; a file system that syncs no folder loses the name at worst.
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_regular(path: Path, limit_bytes: int = 1 << 30, *, follow: bool = True) -> tuple[bytes, os.stat_result]:
    """Return the bytes of a file, and what `fstat` says of it.

    Parameters
    ----------
    path
        Which. A pipe or a device is an error at once; opening one may otherwise take forever.
    limit_bytes
        The most bytes that it may have.
    follow
        Whether `path` may be a link.

    Raises
    ------
    OSError
        If it cannot be read, is no regular file, or is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(f"it is {_kind(status.st_mode)}, and no file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise OSError(f"it has {status.st_size} bytes, more than {limit_bytes}")
    return content, status


@contextlib.contextmanager
def lock_folder(folder: Path, timeout_s: float) -> Iterator[None]:
    """Hold the lock of a folder among all threads and processes that use this function.

    The folder itself is what is locked: that leaves no file, and takes no more than that it can be read.

    Raises
    ------
    TimeoutError
        If another has held it for `timeout_s` seconds.
    OSError
        If the folder cannot be opened or locked.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError(errno.ETIMEDOUT, f"another process has locked it for {timeout_s:g} s") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)  # And with it goes the lock.


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a temporary folder that is gone at the end; the first of a process also removes what dead ones have left.

    Raises
    ------
    BuildError
        If there can be none; the message says what to do.
    """
    global _has_swept  # noqa: PLW0603  once a process
    if not _has_swept:
        _has_swept = True
        sweep_scratch()
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # Held as long as this process lives, it shows `sweep_scratch` that the folder is in use.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BuildError(
            f"no temporary folder can be made ({error}); free some space, or set TMPDIR to a folder that has it"
        ) from error
    try:
        with contextlib.suppress(OSError):  # A file system without locks has its folders swept by age alone.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def write_scratch(path: Path, content: bytes) -> None:
    """Write a file in a temporary folder.

    Raises
    ------
    BuildError
        If it does not fit; the message says what to do.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise BuildError(
            f"{path} of {len(content)} bytes cannot be written ({error}); free some space, or set TMPDIR to a folder "
            "that has it"
        ) from error


def sweep_scratch() -> None:
    """Remove the temporary folders that this user's dead processes have left: older than a day, and in nobody's use."""
    oldest = time.time() - STALE_S
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as scan:
        for entry in scan:
            if entry.name.startswith(_PREFIX):
                with contextlib.suppress(OSError):
                    _sweep(entry, oldest)


def _sweep(entry: os.DirEntry[str], oldest: float) -> None:
    status = entry.stat(follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mtime >= oldest:
        return
    descriptor = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Raises while a process uses it.
        shutil.rmtree(entry.path, ignore_errors=True)
    finally:
        os.close(descriptor)
