# SPDX-License-Identifier: Apache-2.0
"""Tensor expressions: what is computed, before anything says how."""

from __future__ import annotations

from collections.abc import Iterable

import tvm

from bitquant.compute.grouped import grouped_matmul_dequantize_b
from bitquant.compute.matmul import dequantize_b, matmul_dequantize_b, symbol
from bitquant.config import MatmulConfig
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.layouts import WeightLayout

__all__ = ["dequantize_b", "grouped_matmul_dequantize_b", "matmul_dequantize_b", "select_implementation"]


def select_implementation(
    config: MatmulConfig | GroupedMatmulConfig, layout: WeightLayout = "plain", rungs: Iterable[int] | None = None
) -> tvm.IRModule:
    """Return the unscheduled module of a problem: one prim_func for each of `rungs`, by default of its ladder."""
    functions = {}
    for rung in config.ladder if rungs is None else rungs:
        if isinstance(config, GroupedMatmulConfig):
            function = grouped_matmul_dequantize_b(config, rung, layout=layout)
        else:
            function = matmul_dequantize_b(config, rung, layout=layout)
        functions[symbol(rung, config.operation)] = function
    return tvm.IRModule(functions)
