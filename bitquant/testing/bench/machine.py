# SPDX-License-Identifier: Apache-2.0
"""What a run is done on: device, versions, commit, clocks."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import tvm
from tvm.target import Target

import bitquant
from bitquant.errors import UnsupportedError
from bitquant.testing.bench.peers import Peer

__all__ = ["checkout_commit", "clocks", "describe", "device_of", "gpu_works", "versions_of"]


def device_of(target: Target) -> torch.device:
    """Return the device that runs the kernels of a target.

    Raises
    ------
    UnsupportedError
        If the target is a GPU and there is none.
    """
    if target.kind.name != "cuda":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UnsupportedError(
            f"timing kernels for {target.arch} needs that GPU, and none is visible; use --target cpu", target=target
        )
    return torch.device("cuda", torch.cuda.current_device())


def versions_of(peers: Sequence[Peer]) -> dict[str, str]:
    """Return the versions of bitquant, of what it runs on, and of the peers that are installed."""
    versions = {
        "bitquant": bitquant.__version__,
        "tvm": str(tvm.__version__),
        "torch": str(torch.__version__),
        "cuda": str(torch.version.cuda),
        "python": platform.python_version(),
    }
    versions.update({peer.name: version for peer in peers if (version := peer.version()) is not None})
    return versions


def checkout_commit() -> str | None:
    """Return the commit of the checkout that this package is in, with "-dirty" where files were changed, or None."""
    git = ["git", "-C", str(Path(bitquant.__file__).parent)]
    try:
        # In somebody else's repository, as in an environment within it, this file is not tracked.
        subprocess.run(
            [*git, "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, check=True, timeout=20
        )
        command = [*git, "describe", "--always", "--dirty", "--exclude=*"]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def describe(target: Target, device: torch.device) -> dict[str, Any]:
    """Return name, architecture and sizes of a device, as results have them."""
    if device.type != "cuda":
        return {"name": f"CPU {target.attrs.get('mcpu', '')}", "arch": "llvm", "cores": os.cpu_count()}
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "arch": str(target.arch),
        "multiprocessors": properties.multi_processor_count,
        "l2_bytes": properties.L2_cache_size,
        "memory_bytes": properties.total_memory,
        "driver": _nvidia_smi("driver_version"),
    }


def _nvidia_smi(fields: str) -> str | None:
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", "--id=0"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def clocks() -> dict[str, str] | None:
    """Return clocks, power and temperature of the first GPU, or None where nvidia-smi does not say."""
    fields = ("clocks.sm", "clocks.mem", "power.draw", "temperature.gpu")
    answer = _nvidia_smi(",".join(fields))
    return None if answer is None else dict(zip(fields, answer.split(", "), strict=False))


def gpu_works() -> bool:
    """Whether the GPU still answers; some errors of a kernel last until the process ends."""
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True
