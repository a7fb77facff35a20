"""Number formats: the one table of what a name means to torch, to TVM and on disk.

A *format* is how one number is written down. Activations come in the types that torch has; weights
come, besides, in integers of 1 to 8 bits and in two 4-bit codes. Formats of fewer than 8 bits are
packed (see `bitquant.packing`); those of 8 bits and more are stored as tensors of their own type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from bitquant.errors import ConfigError
from bitquant.spelling import did_you_mean

__all__ = [
    "ACCUM_DTYPES",
    "ACTIVATION_DTYPES",
    "FP4_E2M1_VALUES",
    "NF4_VALUES",
    "OUT_DTYPES",
    "SCALE_DTYPES",
    "WEIGHT_DTYPES",
    "NumberFormat",
    "canonical_name",
    "number_format",
]

#: The 16 levels of NF4, quantiles of a normal distribution scaled to [-1, 1] (Dettmers et al., "QLoRA:
#: Efficient Finetuning of Quantized LLMs", 2023, appendix E), in float32 as bitsandbytes writes them.
NF4_VALUES: tuple[float, ...] = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)  # fmt: skip

#: FP4 with 2 exponent bits and 1 mantissa bit, by code (OCP Microscaling Formats specification v1.0, table 5).
FP4_E2M1_VALUES: tuple[float, ...] = (
    0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0,
)  # fmt: skip


@dataclass(frozen=True)
class NumberFormat:
    """One number format.

    Attributes
    ----------
    name
        Canonical name, as `MatmulConfig` prints it.
    kind
        ``uint``, ``int``: integers. ``float``: IEEE or OCP floating point of 8 bits and more.
        ``code``: a 4-bit index into a table of values.
    bits
        Bits a value.
    torch_dtype, tvm_dtype
        The type of a tensor that holds values of this format one an element; for packed formats the type of the
        packed storage (int8).
    codebook
        The value of each code, for ``kind == "code"``.
    """

    name: str
    kind: Literal["uint", "int", "float", "code"]
    bits: int
    torch_dtype: torch.dtype
    tvm_dtype: str
    codebook: tuple[float, ...] | None = None

    @property
    def is_packed(self) -> bool:
        """Whether several values share a byte."""
        return self.bits < 8

    @property
    def is_integer(self) -> bool:
        """Whether every value is an integer."""
        return self.kind in ("uint", "int")

    @property
    def needs_table(self) -> bool:
        """Whether a code becomes a value by `codebook` alone; fp4_e2m1 is computed from its bits as well."""
        return self.codebook is not None and self.name != "fp4_e2m1"

    @property
    def code_offset(self) -> int:
        """What is added to a value to get its unsigned code: 2^(bits-1) for signed packed integers, else 0.

        int1 is the exception: {-1, +1} are stored as {0, 1}, so value = 2 * code - 1.
        """
        return 1 << (self.bits - 1) if self.kind == "int" and self.is_packed else 0

    @property
    def min_value(self) -> int:
        """Least integer of the format (integers only)."""
        if self.name == "int1":
            return -1
        return -(1 << (self.bits - 1)) if self.kind == "int" else 0

    @property
    def max_value(self) -> int:
        """Greatest integer of the format (integers only)."""
        if self.name == "int1":
            return 1
        return (1 << (self.bits - 1)) - 1 if self.kind == "int" else (1 << self.bits) - 1


def _table() -> dict[str, NumberFormat]:
    formats = [
        NumberFormat("float32", "float", 32, torch.float32, "float32"),
        NumberFormat("float16", "float", 16, torch.float16, "float16"),
        NumberFormat("bfloat16", "float", 16, torch.bfloat16, "bfloat16"),
        NumberFormat("float8_e4m3", "float", 8, torch.float8_e4m3fn, "float8_e4m3fn"),
        NumberFormat("float8_e5m2", "float", 8, torch.float8_e5m2, "float8_e5m2"),
        NumberFormat("int32", "int", 32, torch.int32, "int32"),
        NumberFormat("int8", "int", 8, torch.int8, "int8"),
        NumberFormat("uint8", "uint", 8, torch.uint8, "uint8"),
        NumberFormat("nf4", "code", 4, torch.int8, "int8", NF4_VALUES),
        NumberFormat("fp4_e2m1", "code", 4, torch.int8, "int8", FP4_E2M1_VALUES),
    ]
    for bits in range(1, 8):
        formats.append(NumberFormat(f"uint{bits}", "uint", bits, torch.int8, "int8"))
        formats.append(NumberFormat(f"int{bits}", "int", bits, torch.int8, "int8"))
    return {f.name: f for f in formats}


_FORMATS = _table()

_ALIASES = {
    "float8_e4m3fn": "float8_e4m3",
    "e4m3_float8": "float8_e4m3",
    "e4m3": "float8_e4m3",
    "e5m2_float8": "float8_e5m2",
    "e5m2": "float8_e5m2",
    "fp16": "float16",
    "bf16": "bfloat16",
    "fp32": "float32",
    "fp4": "fp4_e2m1",
    "e2m1_float4": "fp4_e2m1",
    "float4_e2m1fn": "fp4_e2m1",
    "normal_float4": "nf4",
}

ACTIVATION_DTYPES: tuple[str, ...] = (
    "float16", "bfloat16", "int8", "float8_e4m3", "float8_e5m2", "float32",
)  # fmt: skip
WEIGHT_DTYPES: tuple[str, ...] = (
    *ACTIVATION_DTYPES,
    *(f"uint{b}" for b in range(1, 9)),
    *(f"int{b}" for b in range(1, 8)),
    "nf4",
    "fp4_e2m1",
)
ACCUM_DTYPES: tuple[str, ...] = ("float16", "float32", "int32")
OUT_DTYPES: tuple[str, ...] = ("float16", "bfloat16", "float32", "int32", "int8")
SCALE_DTYPES: tuple[str, ...] = ("float16", "bfloat16", "float32")


def canonical_name(name: str, argument: str, allowed: tuple[str, ...]) -> str:
    """Return the canonical spelling of a dtype name.

    Raises
    ------
    ConfigError
        If `name` is not the name (or another accepted spelling) of one of `allowed`; it suggests the nearest one.
    """
    if not isinstance(name, str):
        raise ConfigError(
            f"{argument!r} must be a string (got {name!r:.200} of type {type(name).__name__}); "
            f"for example {argument}={allowed[0]!r}",
            **{argument: name},
        )
    canonical = _ALIASES.get(name, name)
    if canonical in allowed:
        return canonical
    raise ConfigError(
        f"{argument!r} must be one of {', '.join(allowed)} (got {name!r:.200}){did_you_mean(name, allowed, _ALIASES)}",
        **{argument: name},
    )


def number_format(name: str) -> NumberFormat:
    """Return the format of that name, in any accepted spelling.

    Raises
    ------
    ConfigError
        If no format has that name.
    """
    canonical = _ALIASES.get(name, name) if isinstance(name, str) else name
    try:
        return _FORMATS[canonical]
    except (KeyError, TypeError):
        canonical_name(name, "dtype", tuple(_FORMATS))
        raise
