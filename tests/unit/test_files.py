# SPDX-License-Identifier: Apache-2.0
"""Files: exports that are whole or not there, temporary folders that fill up, and what dead processes leave."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

import bitquant as bq
from bitquant import files

CONFIG = bq.MatmulConfig(M=1, N=16, K=32, W_dtype="uint4")


@pytest.fixture(scope="module")
def operator():
    return bq.Matmul(CONFIG, target="cpu")


def test_exports_to_one_path_never_tear_it(operator, tmp_path):
    """Threads that export to one path, again and again, never fail, and readers find a whole file at any time."""
    path, errors = tmp_path / "operator.bq", []
    operator.export(path)

    def repeat(action):
        try:
            for _ in range(20):
                action()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shall show it
            errors.append(error)

    actions = [lambda: operator.export(path)] * 4 + [lambda: files.read_regular(path)] * 2
    actions.append(lambda: bq.Operator.load(path))
    threads = [threading.Thread(target=repeat, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [p.name for p in tmp_path.iterdir()] == ["operator.bq"]


def test_export_follows_no_link_that_someone_has_put_in_its_way(operator, tmp_path):
    """A temporary file has a name that nobody can foresee; a link at the path itself is replaced, not followed."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path = tmp_path / "operator.bq"
    for name in ("operator.bq", "operator.bq.part", ".operator.bq.tmp"):
        (tmp_path / name).symlink_to(victim)
    operator.export(path)
    assert victim.read_text() == "mine"
    assert not path.is_symlink()
    bq.Operator.load(path)


@pytest.mark.parametrize("kind", ["folder", "fifo", "socket", "link to a device"])
def test_export_replaces_files_alone(operator, tmp_path, kind):
    """What is no file is not replaced by one: a device, a pipe, a folder. The error names the path."""
    path = tmp_path / "operator.bq"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        path.symlink_to("/dev/null")
    with pytest.raises(bq.BuildError, match=r"operator\.bq cannot be written: it is a"):
        operator.export(path)
    assert not path.is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["operator.bq"]


def test_write_that_fails_leaves_what_was_there(operator, tmp_path, monkeypatch):
    """A disk that is full while the file is written leaves the old file, no part of a new one, and a BuildError."""
    path = tmp_path / "operator.bq"
    path.write_bytes(b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(bq.BuildError, match=r"operator\.bq cannot be written: .*No space left on device"):
        operator.export(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["operator.bq"]


def test_exported_file_is_as_private_as_the_user_s_others(operator, tmp_path):
    """An exported file has the permissions that the user's mask leaves, as any file that a program writes."""
    before = os.umask(0o027)
    try:
        operator.export(tmp_path / "operator.bq")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "operator.bq").stat().st_mode) == 0o640


TINY_DISKS = """
import os, sys, tempfile
import bitquant as bq
os.environ["BITQUANT_CACHE"] = "0"
for tempfile.tempdir in sys.argv[1:]:
    os.environ["TMPDIR"] = tempfile.tempdir
    try:
        bq.Matmul(bq.MatmulConfig(M=1, N=16, K=32, W_dtype="uint4"), target="cpu").rt_mod
    except bq.BuildError as error:
        print("BuildError:", str(error).replace("\\n", " "), os.listdir(tempfile.tempdir))
"""


@pytest.mark.thorough
def test_full_temporary_folder_is_an_error_and_not_the_end(tmp_path):
    """On a disk where nothing or only the object file fits, a build is a BuildError, and nothing stays there."""
    disks = [tmp_path / "4k", tmp_path / "24k"]
    mount = "".join(f"mkdir {disk} && mount -t tmpfs -o size={disk.name} none {disk} && " for disk in disks)
    in_namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{mount} exec "$@"', "sh"]
    if subprocess.run([*in_namespace, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets no user mount a small disk")
    for disk in disks:
        disk.rmdir()
    answer = subprocess.run(
        [*in_namespace, sys.executable, "-c", TINY_DISKS, *disks], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert len(lines) == len(disks)
    for line in lines:
        assert line.startswith("BuildError:")
        assert "TMPDIR" in line
        assert line.endswith("[]")


SMALL_FILES = """
import os, resource, signal
import bitquant as bq
os.environ["BITQUANT_CACHE"] = "0"
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    bq.Matmul(bq.MatmulConfig(M=1, N=16, K=32, W_dtype="uint4"), target="cpu")
except bq.BuildError as error:
    print("BuildError:", error)
"""


@pytest.mark.thorough
def test_limit_on_the_size_of_files_is_an_error_and_not_the_end():
    """LLVM would end the process: a limit that its object files may not fit is refused before."""
    answer = subprocess.run([sys.executable, "-c", SMALL_FILES], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("BuildError: the limit on the size of files must be at least 16777216 bytes")
    assert "ulimit -f" in answer.stdout


def test_no_temporary_folder_at_all(monkeypatch):
    """Where no temporary folder can be made, the error says what to set."""
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    with pytest.raises(bq.BuildError, match=r"no temporary folder can be made .* set TMPDIR"), files.scratch_folder():
        pass


def test_folders_of_dead_processes_are_swept(tmp_path, monkeypatch):
    """Old temporary folders go; young ones, those in use, other programs', links and what they name stay."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("kept")
    for name in ("bitquant-old", "bitquant-young", "other-old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "host.o").write_text("")
    (tmp_path / "bitquant-old" / "link").symlink_to(elsewhere)
    (tmp_path / "bitquant-link").symlink_to(elsewhere)
    with files.scratch_folder() as used:
        then = time.time() - 2 * 24 * 3600
        for path in (tmp_path / "bitquant-old", tmp_path / "other-old", used):
            os.utime(path, (then, then))
        os.utime(tmp_path / "bitquant-link", (then, then), follow_symlinks=False)
        files.sweep_scratch()
        assert used.is_dir()
        found = {path.name for path in tmp_path.iterdir()} - {used.name}
        assert found == {"bitquant-young", "bitquant-link", "other-old", "elsewhere"}
    assert not used.exists()
    assert (elsewhere / "file").read_text() == "kept"


def test_folder_of_a_killed_process_can_be_swept(tmp_path):
    """A process that is killed leaves its folder, and nothing that would keep the next one from removing it."""
    code = "from bitquant import files\nwith files.scratch_folder():\n import os; os._exit(9)"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 9
    (left,) = tmp_path.iterdir()
    then = time.time() - 2 * 24 * 3600
    os.utime(left, (then, then))
    code = "from bitquant import files\nwith files.scratch_folder(): pass"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_is_not_read(tmp_path):
    """A pipe, a device or a folder under the name of a file is an error at once: nobody waits for it."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero"), tmp_path):
        with pytest.raises(bq.BuildError, match="is not an exported operator"):
            bq.Operator.load(path)


def test_kernels_run_where_nothing_was_linked_yet(operator):
    """The operator of these tests computes: what they damage is not what they test."""
    A, W = torch.ones(1, 32).half(), operator.transform_weight(torch.ones(16, 32, dtype=torch.int8))
    assert torch.equal(operator(A, W), torch.full((1, 16), 32.0).half())
