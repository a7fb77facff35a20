# SPDX-License-Identifier: Apache-2.0
"""The module `bitblas.quantization`."""

from bitquant.bitblas.quantization.utils import general_compress

__all__ = ["general_compress"]
