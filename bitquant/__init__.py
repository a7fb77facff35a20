# SPDX-License-Identifier: Apache-2.0
"""bitquant: a compiler for mixed-precision matrix multiplication on GPUs.

A person states a problem (`MatmulConfig`) and gets a kernel (`Matmul`); every stage of its making can be read.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitquant.config import MatmulConfig
    from bitquant.errors import (
        BitquantError,
        BuildError,
        CallError,
        CheckpointError,
        ConfigError,
        RecordError,
        ScheduleError,
        UnsupportedError,
    )
    from bitquant.grouped_config import GroupedMatmulConfig
    from bitquant.grouped_matmul import GroupedMatmul
    from bitquant.matmul import Matmul
    from bitquant.nn import BitLinear, Linear, dequantize_model, load_model, prepare_model, quantize_model
    from bitquant.nn.checkpoints import QuantizedWeight, read_checkpoint
    from bitquant.operator import Operator
    from bitquant.packing import general_compress, general_decompress

__version__ = "0.2.0"

__all__ = [
    "BitLinear",
    "BitquantError",
    "BuildError",
    "CallError",
    "CheckpointError",
    "ConfigError",
    "GroupedMatmul",
    "GroupedMatmulConfig",
    "Linear",
    "Matmul",
    "MatmulConfig",
    "Operator",
    "QuantizedWeight",
    "RecordError",
    "ScheduleError",
    "UnsupportedError",
    "__version__",
    "dequantize_model",
    "general_compress",
    "general_decompress",
    "load_model",
    "prepare_model",
    "quantize_model",
    "read_checkpoint",
]

#: Module of each public name. It is imported when the name is first used (PEP 562), because torch and TVM take seconds:
#: the command line's help needs neither, and its doctor must start where one is missing.
_HOMES = {
    "BitLinear": "nn",
    "BitquantError": "errors",
    "BuildError": "errors",
    "CallError": "errors",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "GroupedMatmul": "grouped_matmul",
    "GroupedMatmulConfig": "grouped_config",
    "Linear": "nn",
    "Matmul": "matmul",
    "MatmulConfig": "config",
    "Operator": "operator",
    "QuantizedWeight": "nn.checkpoints",
    "RecordError": "errors",
    "ScheduleError": "errors",
    "UnsupportedError": "errors",
    "dequantize_model": "nn",
    "general_compress": "packing",
    "general_decompress": "packing",
    "load_model": "nn",
    "prepare_model": "nn",
    "quantize_model": "nn",
    "read_checkpoint": "nn.checkpoints",
}
#: Modules that need no import of their own.
_MODULES = frozenset({"arch", "bitblas", "cache", "compute", "nn", "schedule"})


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name in _MODULES or name in _HOMES.values():
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, *(name for name in globals() if name.startswith("__"))})
