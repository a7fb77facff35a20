# SPDX-License-Identifier: Apache-2.0
"""The module `bitblas.utils`: which GPU is here."""

from __future__ import annotations

from bitquant.arch import detected_cuda_arch

__all__ = ["auto_detect_nvidia_target"]


def auto_detect_nvidia_target(gpu_id: int = 0) -> str:
    """Return the target of a GPU, such as "cuda -arch=sm_90a"; "llvm", the CPU, where there is none.

    Parameters
    ----------
    gpu_id
        Index of the GPU among those that torch sees.
    """
    arch = detected_cuda_arch(gpu_id)
    return "llvm" if arch is None else f"cuda -arch={arch}"
