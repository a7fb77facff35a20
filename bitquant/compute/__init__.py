"""Tensor expressions: what is computed, before anything says how."""

from bitquant.compute.matmul import matmul_dequantize_b, select_implementation

__all__ = ["matmul_dequantize_b", "select_implementation"]
