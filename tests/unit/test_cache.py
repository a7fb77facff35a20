# SPDX-License-Identifier: Apache-2.0
"""The disk cache: whole entries or none, one build among many processes, and never an error for the user."""

from __future__ import annotations

import errno
import hashlib
import io
import multiprocessing
import os
import stat
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import filelock
import pytest

import bitquant
from bitquant import cache as cache_module
from bitquant import cache_entry
from bitquant import versions as versions_module
from bitquant.cache import CacheWarning, KernelCache, cache_dir, cache_key, is_enabled, versions
from bitquant.errors import ConfigError

KEY = "0123456789abcdef0123456789abcdef01234567"
PAYLOAD = bytes(range(256)) * 4
HOUR_S = 3600


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in ("BITQUANT_CACHE", "BITQUANT_CACHE_DIR", "BITQUANT_CACHE_LIMIT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cache(tmp_path):
    return KernelCache(tmp_path / "kernels")


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


def set_age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def names(cache):
    return sorted(path.name for path in cache.directory.iterdir())


# Environment and keys


def test_cache_dir_follows_the_environment(monkeypatch, tmp_path):
    """$BITQUANT_CACHE_DIR wins, "~" is expanded, a relative folder is made absolute and empty means unset."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    default = cache_dir()
    assert default.name == "bitquant"
    assert tmp_path in default.parents
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path / "here"))
    assert cache_dir() == tmp_path / "here"
    assert KernelCache().directory == tmp_path / "here"
    monkeypatch.setenv("BITQUANT_CACHE_DIR", "~/there")
    assert cache_dir() == tmp_path / "there"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITQUANT_CACHE_DIR", "relative")
    assert cache_dir() == tmp_path / "relative"
    monkeypatch.setenv("BITQUANT_CACHE_DIR", "")
    assert cache_dir() == default
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", False), ("off", False), ("OFF", False), (" false ", False), ("1", True), ("on", True), ("", True)],
)
def test_is_enabled_follows_the_environment(monkeypatch, value, expected):
    """Exactly "0", "off" and "false" turn the cache off; it is on by default."""
    assert is_enabled()
    monkeypatch.setenv("BITQUANT_CACHE", value)
    assert is_enabled() is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", 1), ("4096", 4096), ("3K", 3072), ("500M", 500 * 2**20), ("2g", 2**31), ("1T", 2**40), ("", 2**31)],
)
def test_limit_reads_bytes_and_suffixes(monkeypatch, tmp_path, value, expected):
    """The limit is a number of bytes or one with a suffix in powers of 1024, and 2 GiB by default."""
    monkeypatch.setenv("BITQUANT_CACHE_LIMIT", value)
    assert KernelCache(tmp_path).limit_bytes == expected
    assert KernelCache(tmp_path, limit_bytes=7).limit_bytes == 7


@pytest.mark.parametrize("value", ["0", "0G", "-1", "1.5G", "G", "2GB", "2 G", "many", "9" * 5000, "²"])
def test_bad_limit_is_named(monkeypatch, tmp_path, value):
    """A limit that is no positive size is an error that names variable, rule, value and fix."""
    monkeypatch.setenv("BITQUANT_CACHE_LIMIT", value)
    with pytest.raises(ConfigError, match=r"'BITQUANT_CACHE_LIMIT' must be a positive whole number.*500M") as caught:
        KernelCache(tmp_path)
    assert caught.value.values == {"BITQUANT_CACHE_LIMIT": value}


@pytest.mark.parametrize("limit", [0, -1])
def test_bad_limit_argument_is_named(tmp_path, limit):
    """The argument obeys the rule of the variable."""
    with pytest.raises(ConfigError, match=rf"'limit_bytes' must be >= 1 \(got {limit}\)"):
        KernelCache(tmp_path, limit_bytes=limit)


@pytest.mark.parametrize("key", ["", "../escape", "a/b", "a.b", "a\n", "ä"])
def test_key_that_is_no_file_name_is_refused(cache, key):
    """No key reaches outside the folder, whichever way it comes in."""
    for call in (
        lambda: cache.load(key, bytes),
        lambda: cache.store(key, PAYLOAD),
        lambda: cache.lock(key).__enter__(),
        lambda: cache.remove(key),
    ):
        with pytest.raises(ConfigError, match="'key' must be made of letters"):
            call()


def test_key_is_canonical():
    """40 hex digits that depend on the values of the parts alone, not on the order of their fields."""
    key = cache_key({"a": 1, "b": {"c": [1, 2.5], "d": None}})
    assert key == cache_key({"b": {"d": None, "c": [1, 2.5]}, "a": 1})
    assert len(key) == 40
    assert set(key) <= set("0123456789abcdef")
    others = [{}, {"a": 1}, {"a": "1"}, {"a": True}, {"a": 1.5}, {"a": None}, {"a": [1]}, {"b": 1}, {"a": {"a": 1}}]
    assert len({cache_key(parts) for parts in others}) == len(others)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"bytes"])
def test_key_of_what_json_cannot_hold_is_refused(value):
    """Parts without a canonical text are refused, not spelled at random."""
    with pytest.raises((TypeError, ValueError)):
        cache_key({"a": value})


@pytest.mark.parametrize("part", sorted(versions()))
def test_key_changes_with_each_version(monkeypatch, part):
    """What another version made is never found."""
    before = cache_key({"a": 1})
    changed = {**versions(), part: "other"}
    monkeypatch.setattr(cache_entry, "versions", lambda: changed)
    assert cache_key({"a": 1}) != before


def test_versions_say_what_made_a_kernel():
    """All that decides a kernel beside the caller's parts is there, and a caller cannot change it."""
    assert set(versions()) == {"bitquant", "bitquant_source", "apache-tvm", "apache-tvm-ffi", "machine", "os"}
    versions()["os"] = "changed"
    assert versions()["os"] != "changed"
    digest = versions_module._source_digest(Path(bitquant.__file__).parent)
    assert len(digest) == 64


def test_absent_distribution_has_a_version():
    """A checkout that is not installed has keys too."""
    assert versions_module._distribution_version("no-such-distribution-of-bitquant") == "not installed"
    assert versions_module._distribution_version("pytest") == pytest.__version__


def test_source_digest_follows_every_source_file(tmp_path):
    """Content, names and places of the *.py files decide the digest; nothing else does."""
    digest = lambda: versions_module._source_digest(tmp_path)  # noqa: E731
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.py").write_text("a = 1\n")
    (tmp_path / "sub" / "b.py").write_text("b = 1\n")
    seen = [digest()]
    (tmp_path / "notes.txt").write_text("not a source")
    (tmp_path / ".#a.py").symlink_to("nowhere")
    (tmp_path / "dangling.py").symlink_to("nowhere")
    (tmp_path / "folder.py").mkdir()
    assert digest() == seen[0]
    (tmp_path / "sub" / "b.py").write_text("b = 2\n")
    seen.append(digest())
    (tmp_path / "sub" / "b.py").rename(tmp_path / "b.py")
    seen.append(digest())
    (tmp_path / "a.py").write_text("a = 1\nb = 2\n")
    (tmp_path / "b.py").write_text("")
    seen.append(digest())
    (tmp_path / "b.py").unlink()
    seen.append(digest())
    assert len(set(seen)) == len(seen)
    (tmp_path / "b.py").write_text("")
    assert digest() == seen[-2]


def test_import_has_no_side_effects(tmp_path):
    """Importing the module creates no file and loads neither torch nor tvm."""
    # A bare package in place of bitquant/__init__.py, which may import more.
    script = f"""
import sys, types
package = types.ModuleType("bitquant")
package.__path__ = [{str(Path(bitquant.__file__).parent)!r}]
sys.modules["bitquant"] = package
from bitquant import cache
assert not {{"torch", "tvm", "numpy"}} & set(sys.modules), "heavy import"
cache.KernelCache().load("absent", bytes)
assert cache.KernelCache().entries() == [] and cache.KernelCache().clear() == (0, 0)
"""
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-B", "-c", script], check=True, env=environment, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


# One entry


@pytest.mark.parametrize("payload", [b"", b"\n", b"\n\n", PAYLOAD, os.urandom(1 << 20)])
def test_store_then_load_gives_the_payload(cache, payload):
    """What was written is read back bit for bit, and nothing but the entry stays behind."""
    assert cache.load(KEY, bytes) is None
    assert not cache.directory.exists()
    cache.store(KEY, payload)
    assert cache.load(KEY, bytes) == payload
    assert names(cache) == [f"{KEY}.bqk"]


def test_store_replaces(cache):
    """The later of two stores wins."""
    cache.store(KEY, b"old")
    cache.store(KEY, b"new")
    assert cache.load(KEY, bytes) == b"new"
    assert len(cache.entries()) == 1


def test_loading_costs_little(cache):
    """Reading and verifying 500 KB takes less than 5 ms over what `read` takes."""
    cache.store(KEY, os.urandom(500_000))
    costs = []
    for _ in range(20):
        start = time.perf_counter()
        cache.load(KEY, lambda _payload: True)
        costs.append(time.perf_counter() - start)
    assert min(costs) < 5e-3


def test_entries_tell_what_is_there(cache):
    """Key, size, times and title of each entry, most recently used first."""
    before = time.time()
    cache.store("first", PAYLOAD, title="matmul_nt(M=1)\nsm_90a ä")
    cache.store("second", b"")
    set_age(cache.directory / "first.bqk", HOUR_S)
    second, first = cache.entries()
    assert (first.key, second.key) == ("first", "second")
    assert (first.title, second.title) == ("matmul_nt(M=1)\nsm_90a ä", "")
    assert first.path == cache.directory / "first.bqk"
    assert first.size_bytes == first.path.stat().st_size > len(PAYLOAD)
    assert cache.total_bytes == first.size_bytes + second.size_bytes
    assert int(before) <= first.created <= time.time()
    assert first.last_used == pytest.approx(time.time() - HOUR_S, abs=60)
    assert cache.load("first", bytes) == PAYLOAD
    assert [entry.key for entry in cache.entries()] == ["first", "second"]
    assert cache.entries()[0].created == first.created


def test_entries_list_what_is_damaged(cache):
    """A damaged header does not hide an entry, nor does an unreadable one hide the others."""
    cache.store(KEY, PAYLOAD)
    (cache.directory / "empty.bqk").write_bytes(b"")
    (cache.directory / "list.bqk").write_bytes(b"\n[1]\n")
    (cache.directory / "folder.bqk").mkdir()
    assert {entry.key: entry.title for entry in cache.entries()} == {KEY: "", "empty": "(damaged)", "list": "(damaged)"}


def test_remove_and_clear(cache):
    """`remove` takes one entry, `clear` all of them, and both say what they did."""
    for key in ("a", "b", "c"):
        cache.store(key, PAYLOAD)
    total_bytes = cache.total_bytes
    assert cache.remove("a")
    assert not cache.remove("a")
    assert cache.clear() == (2, total_bytes // 3 * 2)
    assert cache.clear() == (0, 0)
    assert names(cache) == []


def test_disabled_cache_neither_reads_nor_writes(monkeypatch, cache):
    """With BITQUANT_CACHE=0 every call builds; what is stored stays, and can be cleared."""
    cache.store(KEY, PAYLOAD)
    monkeypatch.setenv("BITQUANT_CACHE", "0")
    assert cache.load(KEY, bytes) is None
    assert cache.get_or_build("other", bytes, lambda: b"built", bytes) == b"built"
    assert names(cache) == [f"{KEY}.bqk"]
    assert cache.clear()[0] == 1


# Damage


def check_damage_is_mended(cache, reason):
    with pytest.warns(CacheWarning, match=rf"entry .*{KEY}\.bqk is damaged \({reason}.*removed and built anew"):
        assert cache.load(KEY, bytes) is None
    assert cache.entries() == []
    assert cache.get_or_build(KEY, bytes, lambda: PAYLOAD, bytes) == PAYLOAD
    assert cache.load(KEY, bytes) == PAYLOAD


def test_entry_cut_at_any_length_is_damaged(cache):
    """No prefix of an entry passes for the entry."""
    cache.store(KEY, b"payload", title="title")
    path = cache.directory / f"{KEY}.bqk"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.warns(CacheWarning, match="checksum does not fit"):
            assert cache.load(KEY, bytes) is None
        assert not path.exists()


def test_entry_with_any_byte_changed_is_damaged(cache):
    """Every byte of magic, digest, title, time and payload is covered by the checksum."""
    cache.store(KEY, b"payload", title="title")
    path = cache.directory / f"{KEY}.bqk"
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.warns(CacheWarning, match="checksum does not fit"):
            assert cache.load(KEY, bytes) is None
        assert not path.exists()


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"x", lambda b: bytes(len(b)), lambda _: b""])
def test_damaged_entry_is_rebuilt(cache, change):
    """A damaged entry is named in a warning, removed and built anew."""
    cache.store(KEY, PAYLOAD)
    path = cache.directory / f"{KEY}.bqk"
    path.write_bytes(change(path.read_bytes()))
    check_damage_is_mended(cache, "ValueError: its checksum does not fit")


def test_entry_that_read_refuses_is_rebuilt(cache):
    """What `read` raises counts as damage, and the warning tells it."""
    cache.store(KEY, b"no archive")

    def read(payload):
        return zipfile.ZipFile(io.BytesIO(payload)).namelist()

    with pytest.warns(CacheWarning, match=r"is damaged \(BadZipFile: .*removed and built anew"):
        assert cache.load(KEY, read) is None
    assert cache.entries() == []


def test_interrupt_while_reading_is_no_damage(cache):
    """Ctrl-C in `read` reaches the user and keeps the entry."""
    cache.store(KEY, PAYLOAD)

    def read(_payload):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.load(KEY, read)
    assert cache.load(KEY, bytes) == PAYLOAD


def test_damage_that_another_process_mended_is_left_alone(cache):
    """An entry that took the place of the damaged one meanwhile is not removed in its stead."""
    cache.store(KEY, b"old")

    def read(_payload):
        cache.store(KEY, b"new")
        raise ValueError("damaged")

    with pytest.warns(CacheWarning, match="ValueError: damaged"):
        assert cache.load(KEY, read) is None
    assert cache.load(KEY, bytes) == b"new"


# Limit and leftovers


def test_least_recently_used_entries_go_first(tmp_path):
    """A store beyond the limit removes the entries that were not loaded for longest, and no more than it must."""
    unlimited = KernelCache(tmp_path)
    for age, key in enumerate(("d", "c", "b", "a")):
        unlimited.store(key, PAYLOAD)
        set_age(tmp_path / f"{key}.bqk", (age + 1) * HOUR_S)
    size_bytes = unlimited.total_bytes // 4
    cache = KernelCache(tmp_path, limit_bytes=4 * size_bytes)
    assert cache.load("a", bytes) == PAYLOAD
    cache.store("e", PAYLOAD)
    assert names(cache) == ["a.bqk", "c.bqk", "d.bqk", "e.bqk"]
    cache.store("f", PAYLOAD * 2)
    assert names(cache) == ["a.bqk", "e.bqk", "f.bqk"]
    assert cache.total_bytes <= cache.limit_bytes


def test_entry_just_stored_is_never_evicted(tmp_path):
    """An entry larger than the limit replaces all others, but not itself."""
    cache = KernelCache(tmp_path, limit_bytes=1)
    for key in ("a", "b"):
        cache.store(key, PAYLOAD)
        assert names(cache) == [f"{key}.bqk"]
    set_age(tmp_path / "b.bqk", -HOUR_S)  # By a clock ahead of ours.
    cache.store("c", PAYLOAD)
    assert names(cache) == ["c.bqk"]


def test_eviction_and_clear_tolerate_concurrent_deletion(monkeypatch, tmp_path):
    """Files that others remove between listing and removal count as gone, not as an error."""
    cache = KernelCache(tmp_path)
    for key in ("a", "b", "c"):
        cache.store(key, PAYLOAD)
        set_age(tmp_path / f"{key}.bqk", HOUR_S)
    files = KernelCache._files

    def files_then_gone(self, suffix):
        found = files(self, suffix)
        (tmp_path / "a.bqk").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(KernelCache, "_files", files_then_gone)
    KernelCache(tmp_path, limit_bytes=cache.total_bytes).store("d", PAYLOAD)
    assert names(cache) == ["b.bqk", "c.bqk", "d.bqk"]
    assert {entry.key for entry in cache.entries()} == {"b", "c", "d"}
    (tmp_path / "a.bqk").write_bytes(b"x")
    assert cache.clear()[0] == 3


def test_leftovers_of_dead_processes_are_swept(cache):
    """Temporary and lock files older than a day go at the next store; younger ones and strangers stay."""
    cache.directory.mkdir()
    for name, hours in {"a.tmp": 25, "b.lock": 25, "c.tmp": 23, "d.lock": 23, "e.txt": 1000, "f.bqk": 1000}.items():
        (cache.directory / name).write_bytes(b"")
        set_age(cache.directory / name, hours * HOUR_S)
    cache.store(KEY, PAYLOAD)
    assert names(cache) == [f"{KEY}.bqk", "c.tmp", "d.lock", "e.txt", "f.bqk"]


def test_lock_in_use_is_not_swept(cache):
    """A lock file that was made long ago but is held now is not a leftover."""
    cache.directory.mkdir()
    lock_path = cache.directory / f"{KEY}.lock"
    lock_path.touch()
    set_age(lock_path, 48 * HOUR_S)
    with cache.lock(KEY):
        cache.store("other", PAYLOAD)
        assert lock_path.exists()


# A folder that cannot be used


def fail_with(code):
    def fail(*_args, **_kwargs):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("function", ["replace", "fsync", "mkdir"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_folder_that_cannot_be_written_is_no_error(monkeypatch, tmp_path, function, code):
    """Disk full, read-only, not ours: one warning with the reason and the fix, then kernels are built every time."""
    cache = KernelCache(tmp_path if function == "fsync" else tmp_path / "kernels")
    real_mkdir = os.mkdir
    refuse = fail_with(code)

    def mkdir(path, *args):
        return refuse() if str(path) == str(cache.directory) else real_mkdir(path, *args)

    monkeypatch.setattr(os, function, mkdir if function == "mkdir" else refuse)
    built = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            value = cache.get_or_build(KEY, bytes, lambda: built.append(1) or PAYLOAD, bytes)
            assert value == PAYLOAD
    assert len(built) == 3
    (warning,) = caught
    assert issubclass(warning.category, CacheWarning)
    for part in (str(cache.directory), os.strerror(code), "BITQUANT_CACHE_DIR", "BITQUANT_CACHE=0"):
        assert part in str(warning.message)
    monkeypatch.undo()
    assert cache.entries() == []
    assert list(cache.directory.rglob("*.tmp")) == []


def test_read_only_cache_is_read(monkeypatch, cache):
    """Entries of a folder that cannot be written are used without a warning."""
    cache.store(KEY, PAYLOAD)
    monkeypatch.setattr(os, "utime", fail_with(errno.EROFS))
    assert cache.get_or_build(KEY, bytes, pytest.fail, bytes) == PAYLOAD


def test_entry_that_cannot_be_opened_is_kept(monkeypatch, cache):
    """No permission to read an entry is not damage: it is kept, with a warning."""
    cache.store(KEY, PAYLOAD)
    with monkeypatch.context() as patch, pytest.warns(CacheWarning, match="cannot be used"):
        patch.setattr(cache_module, "read_regular", fail_with(errno.EACCES))
        assert cache.load(KEY, bytes) is None
    assert cache.load(KEY, bytes) == PAYLOAD


def test_folder_that_is_a_file_is_no_error(tmp_path):
    """A file in the place of the folder is a warning too."""
    (tmp_path / "kernels").write_text("a file")
    cache = KernelCache(tmp_path / "kernels")
    with pytest.warns(CacheWarning, match="cannot be used") as caught:
        assert cache.get_or_build(KEY, bytes, lambda: PAYLOAD, bytes) == PAYLOAD
    assert len(caught) == 1


def test_entry_that_cannot_be_removed_is_told(monkeypatch, cache):
    """A clear that removes nothing counts nothing and says why."""
    cache.store(KEY, PAYLOAD)
    monkeypatch.setattr(Path, "unlink", fail_with(errno.EROFS))
    with pytest.warns(CacheWarning, match="Read-only file system"):
        assert cache.clear() == (0, 0)


def test_write_that_raises_keeps_the_value(cache):
    """A value that cannot be written is returned all the same, with a warning, and leaves no file."""

    def write(_value):
        raise RuntimeError("cannot export")

    with pytest.warns(CacheWarning, match=rf"entry {KEY} cannot be written \(RuntimeError: cannot export\)"):
        assert cache.get_or_build(KEY, bytes, lambda: PAYLOAD, write) == PAYLOAD
    assert names(cache) == [f"{KEY}.lock"]


def test_interrupt_while_writing_leaves_no_file(monkeypatch, cache):
    """Ctrl-C before the entry is in place reaches the user and leaves neither entry nor temporary file."""

    def interrupt(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.store(KEY, PAYLOAD)
    assert names(cache) == []


def test_error_of_build_reaches_the_caller(cache):
    """A failed build is raised, stores nothing and frees the lock."""

    def build():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.get_or_build(KEY, bytes, build, bytes)
    assert cache.entries() == []
    filelock.FileLock(cache.directory / f"{KEY}.lock").acquire(timeout=0).lock.release()


# Who may have written what is loaded


def test_folder_and_entries_are_private(tmp_path):
    """Whatever mask the user has, folder, entries and locks are for nobody else."""
    before = os.umask(0)
    try:
        cache = KernelCache(tmp_path / "new" / "kernels")
        cache.get_or_build(KEY, bytes, lambda: PAYLOAD, bytes)
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache.directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in cache.directory.iterdir()} == {0o600}


def make_foreign(folder):
    """Give a folder to another user, or let a group write to it where only root could do so."""
    os.chown(folder, 12345, 12345)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda folder: folder.chmod(0o770), r"others can write to it \(mode 0770\)"),
        (lambda folder: folder.chmod(0o1777), r"others can write to it \(mode 1777\)"),
        pytest.param(
            make_foreign,
            "it belongs to another user, number 12345",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away"),
        ),
    ],
)
def test_folder_that_others_can_write_to_is_not_used(monkeypatch, tmp_path, spoil, problem):
    """No entry is read from it, and none written; the user's own folder takes its place, with a warning."""
    shared = tmp_path / "shared"
    before = KernelCache(shared)
    before.store(KEY, b"planted")
    spoil(shared)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(shared))
    with pytest.warns(CacheWarning, match=rf"shared cannot be used \({problem}\); .* mode 0700"):
        cache = KernelCache()
    assert cache.directory == tmp_path / "own" / "bitquant"
    assert cache.get_or_build(KEY, bytes, lambda: PAYLOAD, bytes) == PAYLOAD
    assert cache.load(KEY, bytes) == PAYLOAD
    with pytest.warns(CacheWarning, match=problem):  # Named by the caller, there is nothing to take its place.
        assert before.get_or_build(KEY, bytes, lambda: PAYLOAD, bytes) == PAYLOAD
    assert names(before) == [f"{KEY}.bqk"]


def test_default_folder_is_made_private(monkeypatch, tmp_path):
    """A mask that lets a group write has no say over the folder that is bitquant's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "bitquant").mkdir()
    (tmp_path / "bitquant").chmod(0o775)
    cache = KernelCache()
    cache.store(KEY, PAYLOAD)
    assert cache.load(KEY, bytes) == PAYLOAD
    assert stat.S_IMODE(cache.directory.stat().st_mode) == 0o700


def test_entry_that_others_can_write_is_not_loaded(cache):
    """An entry with a right checksum that somebody else may have written is built anew."""
    cache.store(KEY, PAYLOAD)
    (cache.directory / f"{KEY}.bqk").chmod(0o666)
    check_damage_is_mended(cache, r"others can write to it \(mode 0666\)")
    if os.geteuid() == 0:
        os.chown(cache.directory / f"{KEY}.bqk", 12345, 12345)
        check_damage_is_mended(cache, "it belongs to another user, number 12345")


@pytest.mark.parametrize("kind", ["fifo", "link", "device"])
def test_entry_that_is_no_file_is_not_waited_for(cache, kind):
    """A pipe, a link or a device under the name of an entry is removed, and nothing hangs."""
    cache.store("other", PAYLOAD)
    path = cache.directory / f"{KEY}.bqk"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(cache.directory / "other.bqk")
    else:
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("only root can make a device")
    assert [entry.key for entry in cache.entries() if entry.title != "(damaged)"] == ["other"]
    with pytest.warns(CacheWarning, match=r"is damaged \(it is no file\)"):
        assert cache.load(KEY, bytes) is None
    assert cache.get_or_build(KEY, bytes, lambda: PAYLOAD, bytes) == PAYLOAD
    assert cache.load(KEY, bytes) == PAYLOAD


def test_entry_under_another_name_is_damaged(cache):
    """The kernels of one problem under the key of another are not taken for its own."""
    cache.store("other", PAYLOAD)
    (cache.directory / "other.bqk").rename(cache.directory / f"{KEY}.bqk")
    check_damage_is_mended(cache, "ValueError: its checksum does not fit")


# Threads and processes


def test_lock_falls_through_when_it_cannot_be_had(cache):
    """A lock that another thread keeps is waited for, then done without; other keys are free."""
    held, free = threading.Event(), threading.Event()

    def hold():
        with cache.lock(KEY):
            held.set()
            free.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    start = time.perf_counter()
    with pytest.warns(CacheWarning, match=rf"{KEY} has been locked .* for 0\.2 s"), cache.lock(KEY, timeout=0.2):
        assert time.perf_counter() - start >= 0.2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with cache.lock("other", timeout=0.2):
            pass
        free.set()
        with cache.lock(KEY, timeout=30):
            pass
    thread.join()


def test_threads_build_once(cache):
    """Threads that want the same entry at once get one value from one build."""
    built, values = [], []

    def build():
        time.sleep(0.1)
        built.append(os.urandom(64))
        return built[-1]

    def want():
        values.append(cache.get_or_build(KEY, bytes, build, bytes))

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert values == built * 8


def meet(folder, parties):
    """Wait until all processes are here, so that they start together."""
    (folder / f"ready-{os.getpid()}").touch()
    deadline = time.monotonic() + 60
    while len(list(folder.glob("ready-*"))) < parties and time.monotonic() < deadline:
        time.sleep(0.001)


def build_in_process(folder):
    """Return the digest of the value of KEY and the number of warnings, in one of four processes."""

    def build():
        (folder / f"built-{os.getpid()}").touch()
        time.sleep(0.3)
        return os.urandom(300_000)

    meet(folder, 4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = KernelCache(folder / "kernels").get_or_build(KEY, bytes, build, bytes)
    return hashlib.sha256(value).hexdigest(), len(caught)


@pytest.mark.parametrize("damaged", [False, True])
def test_processes_build_once(pool, tmp_path, damaged):
    """Four processes that want the same entry at once get one whole value from one build, also over a damaged one."""
    cache = KernelCache(tmp_path / "kernels")
    if damaged:
        cache.store(KEY, PAYLOAD)
        path = cache.directory / f"{KEY}.bqk"
        path.write_bytes(path.read_bytes()[:-1])
    results = [future.result(60) for future in [pool.submit(build_in_process, tmp_path) for _ in range(4)]]
    assert len(list(tmp_path.glob("ready-*"))) == 4
    assert len(list(tmp_path.glob("built-*"))) == 1
    value = cache.load(KEY, bytes)
    assert {digest for digest, _ in results} == {hashlib.sha256(value).hexdigest()}
    warned = sum(count for _, count in results)
    assert 1 <= warned <= 4 if damaged else warned == 0


def use_in_process(folder, seconds):
    """Store and load a few keys for a while; return the number of uses. Any warning or wrong value is an error."""
    cache = KernelCache(folder / "kernels", limit_bytes=150_000)
    meet(folder, 4)
    uses = 0
    deadline = time.monotonic() + seconds
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while time.monotonic() < deadline:
            key = f"key{uses % 5}"
            expected = key.encode() * 10_000
            value = cache.get_or_build(key, bytes, lambda content=expected: content, bytes)
            assert value == expected
            uses += 1
    return uses


def test_clear_while_others_load(pool, tmp_path):
    """Clearing, evicting, listing, storing and loading at once disturb nobody."""
    cache = KernelCache(tmp_path / "kernels")
    futures = [pool.submit(use_in_process, tmp_path, 0.5) for _ in range(4)]
    cleared = 0
    while not all(future.done() for future in futures):
        cleared += cache.clear()[0]
        assert all(entry.title == "" for entry in cache.entries())
        assert cache.total_bytes >= 0
    uses = [future.result() for future in futures]
    assert min(uses) >= 1
    assert cleared >= 1
    assert list(cache.directory.glob("*.tmp")) == []


def die_while_writing(folder):
    """Hold the lock and be killed while the entry is being written."""
    cache = KernelCache(folder / "kernels")
    os.fsync = lambda _descriptor: os._exit(9)
    cache.get_or_build(KEY, bytes, lambda: PAYLOAD, bytes)


def test_killed_process_leaves_no_entry_and_no_lock(tmp_path):
    """After a process dies in the middle of a store, the next one builds at once."""
    process = multiprocessing.get_context("spawn").Process(target=die_while_writing, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    cache = KernelCache(tmp_path / "kernels")
    (leftover,) = cache.directory.glob("*.tmp")
    assert cache.entries() == []
    start = time.perf_counter()
    assert cache.get_or_build(KEY, bytes, lambda: PAYLOAD, bytes) == PAYLOAD
    assert time.perf_counter() - start < 10
    set_age(leftover, 25 * HOUR_S)
    cache.store("other", PAYLOAD)
    assert not leftover.exists()
