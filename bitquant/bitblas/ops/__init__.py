# SPDX-License-Identifier: Apache-2.0
"""The module `bitblas.ops`."""

from bitquant.bitblas.config import MatmulConfig
from bitquant.bitblas.matmul import Matmul
from bitquant.bitblas.ops import general_matmul

__all__ = ["Matmul", "MatmulConfig", "general_matmul"]
