# SPDX-License-Identifier: Apache-2.0
"""In which type a CPU multiplies, and with which instruction."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm.target import Target

from bitquant.problem import Problem

__all__ = ["BFLOAT16", "FLOAT32", "INT8", "Product", "byte_instruction", "has_features", "missing"]


@dataclass(frozen=True)
class Product:
    """A type of products.

    Attributes
    ----------
    dtype
        The type, "float32", "bfloat16" or "int8". int8 stands for bytes of A with a sign, and of W without one.
    unit_bits
        Bits of a factor: each 32-bit lane of a sum adds 32 / unit_bits products.
    unit_dtype
        TVM type in which factors are kept: bfloat16 as bits.
    sum_dtype
        TVM type of sums.
    """

    dtype: str
    unit_bits: int
    unit_dtype: str
    sum_dtype: str


FLOAT32 = Product("float32", 32, "float32", "float32")
BFLOAT16 = Product("bfloat16", 16, "int16", "float32")
INT8 = Product("int8", 8, "int8", "int32")

#: What vectors of so many 32-bit lanes need, for float32.
_FLOAT32_FEATURES: dict[int, tuple[str, ...]] = {16: ("avx512f", "avx512bw", "avx512dq"), 8: ("avx2", "fma", "f16c")}
_BFLOAT16_FEATURES: dict[int, tuple[str, ...]] = {16: ("avx512bf16",), 8: ("avx512bf16", "avx512vl")}


def has_features(target: Target, *names: str) -> bool:
    """Return whether a CPU has all of these features, in LLVM's spelling."""
    ask = tvm.get_global_func("target.target_has_feature")
    return all(bool(ask(name, target)) for name in names)


def missing(problem: Problem, product: Product, lanes: int) -> str | None:
    """Return which features vectors of `lanes` need that the target lacks, or None."""
    needed = _FLOAT32_FEATURES[lanes] + (_BFLOAT16_FEATURES[lanes] if product is BFLOAT16 else ())
    if has_features(problem.target, *needed):
        return None
    cpu = problem.target.attrs.get("mcpu", "")
    return f"needs a CPU with {', '.join(needed)} for vectors of {32 * lanes} bits (got {cpu or 'one of any kind'})"


def byte_instruction(target: Target, lanes: int) -> str:
    """Return the instruction for `instructions.dot_bytes`."""
    if has_features(target, "avx512vnni") and (lanes == 16 or has_features(target, "avx512vl")):
        return "vpdpbusd"
    return "vpdpbusd" if lanes == 8 and has_features(target, "avxvnni") else "vpmaddubsw"
