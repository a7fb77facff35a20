# SPDX-License-Identifier: Apache-2.0
"""The module `bitblas.ops.general_matmul`."""

from bitquant.bitblas.config import MatmulConfig, OptimizeStrategy
from bitquant.bitblas.matmul import Matmul

__all__ = ["Matmul", "MatmulConfig", "OptimizeStrategy"]
