# SPDX-License-Identifier: Apache-2.0
"""Tensor expressions: what is computed, before anything says how."""

from bitquant.compute.matmul import dequantize_b, matmul_dequantize_b, select_implementation

__all__ = ["dequantize_b", "matmul_dequantize_b", "select_implementation"]
