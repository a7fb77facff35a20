# SPDX-License-Identifier: Apache-2.0
"""The disk cache of compiled kernels.

An entry is one file, ``<key>.bqk``, that appears whole or not at all. The key digests what the kernel was made from:
the caller's parts (problem, schedule, architecture, compiler) and the `versions` of the software that made it. A folder
that cannot be used is no error for the user: kernels are compiled anew and a `CacheWarning` says why.

Entries are native code, and whoever can write them can run code as their reader. So the folder is made for its user
alone (0700), and one that belongs to somebody else, or that others can write to, is not used; nor is such an entry.

Environment
-----------
BITQUANT_CACHE
    ``0``, ``off`` or ``false``: neither read nor write the cache.
BITQUANT_CACHE_DIR
    The folder of the entries. Default: ``bitquant`` in the user's cache folder, which also takes the place of a folder
    that is not safe to use.
BITQUANT_CACHE_LIMIT
    Size in bytes, or with a suffix in powers of 1024 (``500M``, ``2G``), beyond which the least recently used entries
    are removed. Default: 2 GiB.
"""

from __future__ import annotations

import os
import re
import stat
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import filelock
import platformdirs

from bitquant.cache_entry import CacheEntry, cache_key, pack, read_header, unpack
from bitquant.errors import ConfigError
from bitquant.files import STALE_S, read_regular, write_whole
from bitquant.versions import versions

__all__ = ["CacheEntry", "CacheWarning", "KernelCache", "cache_dir", "cache_key", "is_enabled", "versions"]

T = TypeVar("T")

_DEFAULT_LIMIT_BYTES: Final = 2 << 30
#: Longest wait for another process that compiles the same kernel; a compilation takes seconds.
_LOCK_TIMEOUT_S: Final = 300.0
#: Permissions that let others write.
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class CacheWarning(UserWarning):
    """The disk cache is damaged or cannot be used. The kernel is right all the same: it is compiled anew."""


def cache_dir() -> Path:
    """Return the folder of the entries: $BITQUANT_CACHE_DIR, else ``bitquant`` in the user's cache folder.

    It is created by the first write, not here.

    Raises
    ------
    ConfigError
        If $BITQUANT_CACHE_DIR begins with the home folder of a user that does not exist.
    """
    chosen = os.environ.get("BITQUANT_CACHE_DIR")
    try:
        return Path(chosen).expanduser().absolute() if chosen else _default_dir()
    except RuntimeError as error:  # What `expanduser` raises for a user that it does not know.
        raise ConfigError(
            f"'BITQUANT_CACHE_DIR' must name a folder (got {chosen!r}): there is no such user; write its path out",
            BITQUANT_CACHE_DIR=chosen,
        ) from error


def _default_dir() -> Path:
    return Path(platformdirs.user_cache_dir("bitquant")).absolute()


def _distrust(status: os.stat_result) -> str | None:
    """Return why a file or folder with this `stat` may have been written by somebody else, or None."""
    if status.st_uid not in (0, os.geteuid()):
        return f"it belongs to another user, number {status.st_uid}"
    if status.st_mode & _OTHERS_WRITE:
        return f"others can write to it (mode {stat.S_IMODE(status.st_mode):04o})"
    return None


def _folder_problem(folder: Path) -> str | None:
    """Return why no entry of a folder can be trusted, or None; one that is not there yet will be made right."""
    try:
        status = folder.stat()
    except (FileNotFoundError, PermissionError):  # The latter is no matter of trust: the first use says it.
        return None
    except OSError as error:
        return str(error.strerror or error)
    return _distrust(status) if stat.S_ISDIR(status.st_mode) else "it is no folder"


def is_enabled() -> bool:
    """Return whether the cache is used, that is whether $BITQUANT_CACHE is none of ``0``, ``off``, ``false``."""
    return os.environ.get("BITQUANT_CACHE", "").strip().lower() not in {"0", "off", "false"}


def _limit_from_environment() -> int:
    text = os.environ.get("BITQUANT_CACHE_LIMIT", "").strip()
    if not text:
        return _DEFAULT_LIMIT_BYTES
    match = re.fullmatch(r"([0-9]{1,18})([KMGT]?)", text.upper())
    limit_bytes = int(match[1]) << 10 * " KMGT".index(match[2] or " ") if match else 0
    if limit_bytes < 1:
        raise ConfigError(
            "'BITQUANT_CACHE_LIMIT' must be a positive whole number of bytes, with or without a suffix K, M, G or T in "
            f"powers of 1024 (got {text!r}); try '500M' or '2G', or BITQUANT_CACHE=0 for no cache",
            BITQUANT_CACHE_LIMIT=text,
        )
    return limit_bytes


class KernelCache:
    """A folder of compiled kernels, shared by any number of threads and processes.

    Parameters
    ----------
    directory
        The folder. Default: `cache_dir`, or the default one where that is not safe to use (a `CacheWarning` says so).
        Created by the first write, for this user alone.
    limit_bytes
        Size beyond which the least recently used entries are removed. Default: $BITQUANT_CACHE_LIMIT, else 2 GiB.

    Raises
    ------
    ConfigError
        If the limit is not a positive whole number of bytes, or $BITQUANT_CACHE_DIR is none.

    Notes
    -----
    Where `is_enabled` is false, or the folder is not safe to use, `load` finds nothing, `store` keeps nothing and
    `lock` does not wait; `entries`, `remove` and `clear` work as ever.
    """

    def __init__(self, directory: Path | None = None, limit_bytes: int | None = None) -> None:
        if limit_bytes is not None and limit_bytes < 1:
            raise ConfigError(
                f"'limit_bytes' must be >= 1 (got {limit_bytes}); set BITQUANT_CACHE=0 for no cache",
                limit_bytes=limit_bytes,
            )
        self._has_warned_unusable = False
        self.directory: Final = self._safe_directory() if directory is None else Path(directory).absolute()
        self.limit_bytes: Final = _limit_from_environment() if limit_bytes is None else limit_bytes

    # Reading and writing one entry.

    def load(self, key: str, read: Callable[[bytes], T]) -> T | None:
        """Return ``read(payload)`` for the entry of `key`, or None where there is none that is whole.

        An entry is whole when it is a file that only this user or root can have written, its checksum fits, and `read`
        does not raise. One that is not is removed with a `CacheWarning`, so that the caller makes it anew.

        Parameters
        ----------
        key
            What `cache_key` returned.
        read
            Makes the value, which must not be None, from the payload.

        Raises
        ------
        ConfigError
            If `key` cannot be the name of a file.
        """
        path = self._path(key, ".bqk")
        found = self._read_file(path) if self._is_usable() else None
        if found is None:
            return None
        content, opened = found
        try:
            value = read(unpack(key, content))
        except Exception as error:  # noqa: BLE001 - a damaged payload may raise anything
            self._discard(path, opened, _describe(error))
            return None
        with suppress(OSError):  # Another process may have removed it, or the folder may be read-only.
            os.utime(path)
        return value

    def store(self, key: str, payload: bytes, title: str = "") -> None:
        """Keep `payload` as the entry of `key`, then remove the least recently used entries over the limit.

        The entry appears whole or not at all, and replaces an earlier one. Where it cannot be written (full disk,
        read-only folder) a `CacheWarning` says so and nothing is kept.

        Parameters
        ----------
        key
            What `cache_key` returned.
        payload
            What to keep.
        title
            What the entry holds, in words for people, such as the config and the target.

        Raises
        ------
        ConfigError
            If `key` cannot be the name of a file.
        """
        path = self._path(key, ".bqk")
        if not self._is_usable():
            return
        try:
            self._make_directory()
            write_whole(path, pack(key, title, payload), 0o600)
            self._sweep()
            self._evict(keep=path)
        except OSError as error:
            self._warn_unusable(error)

    @contextmanager
    def lock(self, key: str, timeout: float = _LOCK_TIMEOUT_S) -> Iterator[None]:
        """Hold the lock of `key` among all threads and processes, so that a kernel is compiled once.

        Parameters
        ----------
        key
            What `cache_key` returned.
        timeout
            Seconds to wait for another holder. After them, or where no lock can be had (read-only folder), the block
            runs without the lock and a `CacheWarning` says so.

        Raises
        ------
        ConfigError
            If `key` cannot be the name of a file.
        """
        path = self._path(key, ".lock")
        if not self._is_usable():
            yield
            return
        lock = filelock.FileLock(path, mode=0o600)
        try:
            self._make_directory()
            lock.acquire(timeout=timeout)
            with suppress(OSError):
                os.utime(path)  # Shows `_sweep` that it is in use.
        except filelock.Timeout:
            _warn(
                f"kernel cache: entry {key} has been locked by another process or thread for {timeout:g} s; "
                "going on without the lock"
            )
        except OSError as error:
            self._warn_unusable(error)
        try:
            yield
        finally:
            lock.release()

    def get_or_build(
        self,
        key: str,
        read: Callable[[bytes], T],
        build: Callable[[], T],
        write: Callable[[T], bytes],
        title: str = "",
    ) -> T:
        """Return the value of `key`: loaded, or else built under the lock of `key` and stored.

        Parameters
        ----------
        key, read, title
            As for `load` and `store`.
        build
            Makes the value, which must not be None. What it raises reaches the caller.
        write
            Returns the payload that `read` makes the value from again. Where it raises, the value is not kept, and a
            `CacheWarning` says so.

        Raises
        ------
        ConfigError
            If `key` cannot be the name of a file.
        """
        value = self.load(key, read)
        if value is not None:
            return value
        with self.lock(key):
            value = self.load(key, read)
            if value is not None:
                return value
            built = build()
            try:
                payload = write(built)
            except Exception as error:  # noqa: BLE001 - the kernel is made and works; only keeping it failed
                _warn(f"kernel cache: entry {key} cannot be written ({_describe(error)}); it is not kept")
            else:
                self.store(key, payload, title)
            return built

    # The whole folder.

    def entries(self) -> list[CacheEntry]:
        """Return the entries, most recently used first; what cannot be opened is left out."""
        found = []
        for path, status in self._files(".bqk"):
            with suppress(OSError):  # Another process may have removed it.
                title, created = read_header(path)
                last_used = status.st_mtime
                created = last_used if created is None else created
                found.append(CacheEntry(path.stem, path, status.st_size, created, last_used, title))
        return sorted(found, key=lambda entry: entry.last_used, reverse=True)

    @property
    def total_bytes(self) -> int:
        """Size of all entries in bytes."""
        return sum(status.st_size for _, status in self._files(".bqk"))

    def remove(self, key: str) -> bool:
        """Remove the entry of `key` and return whether there was one.

        Raises
        ------
        ConfigError
            If `key` cannot be the name of a file.
        """
        return self._unlink(self._path(key, ".bqk"))

    def clear(self) -> tuple[int, int]:
        """Remove all entries and return how many there were, and their size in bytes.

        Others may use the cache meanwhile: what they have opened they read to the end, and what they are compiling
        they store when it is done.
        """
        removed = [status.st_size for path, status in self._files(".bqk") if self._unlink(path)]
        self._sweep()
        return len(removed), sum(removed)

    # Files.

    def _path(self, key: str, suffix: str) -> Path:
        if not re.fullmatch(r"[0-9A-Za-z_-]+", key):
            raise ConfigError(
                f"'key' must be made of letters, digits, '_' and '-' (got {key!r}); use cache_key(parts)", key=key
            )
        return self.directory / (key + suffix)

    def _files(self, suffix: str) -> list[tuple[Path, os.stat_result]]:
        """Return the files that end in `suffix`, and what `stat` says of them; those that vanish are left out."""
        found = []
        try:
            with os.scandir(self.directory) as scan:
                for file in scan:
                    if file.name.endswith(suffix):
                        with suppress(FileNotFoundError):
                            found.append((Path(file.path), file.stat(follow_symlinks=False)))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ConfigError(
                f"the folder of the kernel cache, {self.directory}, cannot be listed: {error.strerror or error}; set "
                "BITQUANT_CACHE_DIR to a folder that can",
                BITQUANT_CACHE_DIR=str(self.directory),
            ) from error
        return found

    def _safe_directory(self) -> Path:
        """Return `cache_dir`, or the default folder where that is not safe; a `CacheWarning` says so."""
        chosen, default = cache_dir(), _default_dir()
        if chosen == default:
            # Nobody else has any business there, so that a mask which lets a group write is mended here.
            with suppress(OSError):
                status = default.stat()
                if status.st_uid == os.geteuid() and status.st_mode & _OTHERS_WRITE:
                    default.chmod(0o700)
            return default
        if is_enabled() and (problem := _folder_problem(chosen)) is not None:
            _warn(
                f"kernel cache: {chosen} cannot be used ({problem}); {default} takes its place. Set "
                "BITQUANT_CACHE_DIR to a folder of your own, with mode 0700"
            )
            return default
        return chosen

    @property
    def problem(self) -> str | None:
        """Why the folder is not safe to use, or None; for people."""
        return _folder_problem(self.directory)

    def _is_usable(self) -> bool:
        """Return whether entries are read and written: the cache is not switched off, and its folder is safe."""
        if not is_enabled():
            return False
        if (problem := self.problem) is not None:
            self._warn_unusable(OSError(problem))
            return False
        return True

    def _make_directory(self) -> None:
        if not self.directory.is_dir():
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            self.directory.mkdir(mode=0o700, exist_ok=True)

    def _read_file(self, path: Path) -> tuple[bytes, os.stat_result] | None:
        """Return the bytes of an entry and what `fstat` says of it; None where it cannot be read or trusted."""
        try:
            content, opened = read_regular(path, follow=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            try:
                status = path.lstat()
            except OSError:
                return None
            if stat.S_ISREG(status.st_mode):
                self._warn_unusable(error)
            else:
                self._discard(path, status, "it is no file")
            return None
        if (problem := _distrust(opened)) is not None:
            self._discard(path, opened, problem)
            return None
        return content, opened

    def _unlink(self, path: Path) -> bool:
        """Remove a file and return whether this call did it."""
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            self._warn_unusable(error)
            return False
        return True

    def _discard(self, path: Path, opened: os.stat_result, problem: str) -> None:
        """Remove the entry that was `opened`, and not one that another process has put in its place since."""
        _warn(f"kernel cache: entry {path} is damaged ({problem}); it is removed and built anew")
        with suppress(OSError):
            now = path.lstat()
            if (now.st_ino, now.st_mtime_ns) == (opened.st_ino, opened.st_mtime_ns):
                path.unlink()

    def _evict(self, keep: Path) -> None:
        files = sorted(self._files(".bqk"), key=lambda item: item[1].st_mtime_ns)
        excess = sum(status.st_size for _, status in files) - self.limit_bytes
        for path, status in files:
            if excess <= 0:
                return
            if path != keep:
                self._unlink(path)
                excess -= status.st_size  # Whoever removed it.

    def _sweep(self) -> None:
        """Remove the temporary and lock files that dead processes left."""
        oldest = time.time() - STALE_S
        for path, status in (*self._files(".tmp"), *self._files(".lock")):
            if status.st_mtime < oldest:
                self._unlink(path)

    def _warn_unusable(self, error: OSError) -> None:
        if not self._has_warned_unusable:
            self._has_warned_unusable = True
            _warn(
                f"kernel cache: {self.directory} cannot be used ({_describe(error)}), so kernels are compiled anew in "
                "each process; set BITQUANT_CACHE_DIR to a writable folder, or BITQUANT_CACHE=0 for no cache"
            )


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _warn(message: str) -> None:
    warnings.warn(message, CacheWarning, stacklevel=2)
