# SPDX-License-Identifier: Apache-2.0
"""The interface of BitBLAS over bitquant: for programs that are written for the module `bitblas`.

``import bitquant.bitblas as bitblas`` gives it to a program of one's own; `install` to programs
that import `bitblas` themselves. docs/bitblas.md says what differs.
"""

from __future__ import annotations

import logging

import tvm

from bitquant.bitblas import cache, module, ops, quantization, utils
from bitquant.bitblas.config import MatmulConfig, OptimizeStrategy, TransformKind
from bitquant.bitblas.finder import install
from bitquant.bitblas.matmul import Matmul
from bitquant.bitblas.module import Linear
from bitquant.bitblas.serialized import unpack_serialized_weight
from bitquant.bitblas.utils import auto_detect_nvidia_target

__all__ = [
    "Linear",
    "Matmul",
    "MatmulConfig",
    "OptimizeStrategy",
    "TransformKind",
    "__version__",
    "auto_detect_nvidia_target",
    "cache",
    "install",
    "module",
    "ops",
    "quantization",
    "set_log_level",
    "tvm",
    "unpack_serialized_weight",
    "utils",
]

#: The release of BitBLAS whose interface this is; clients ask for at least that one.
__version__ = "0.1.0.post1+bitquant"


def set_log_level(level: str | int) -> None:
    """Set from which level on messages of this package are logged (logger "bitquant.bitblas").

    Parameters
    ----------
    level
        A number of `logging`, or its name in any case.
    """
    logging.getLogger("bitquant.bitblas").setLevel(level.upper() if isinstance(level, str) else level)
