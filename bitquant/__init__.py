"""bitquant: a compiler for mixed-precision matrix multiplication on GPUs.

A person states a problem (`MatmulConfig`) and gets a kernel (`Matmul`); every stage of its making can be read.
"""

from __future__ import annotations

from bitquant.config import MatmulConfig
from bitquant.errors import (
    BitquantError,
    BuildError,
    CallError,
    ConfigError,
    RecordError,
    ScheduleError,
    UnsupportedError,
)
from bitquant.matmul import Matmul
from bitquant.operator import Operator
from bitquant.packing import general_compress, general_decompress

__version__ = "0.1.0"

__all__ = [
    "BitquantError",
    "BuildError",
    "CallError",
    "ConfigError",
    "Matmul",
    "MatmulConfig",
    "Operator",
    "RecordError",
    "ScheduleError",
    "UnsupportedError",
    "__version__",
    "general_compress",
    "general_decompress",
]
