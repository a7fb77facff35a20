# SPDX-License-Identifier: Apache-2.0
"""x86 instructions as expressions on whole vectors.

TVM 0.27 lowers bfloat16 to float32 in all expressions for a CPU, so that LLVM's intrinsics for bfloat16 cannot be
called from TIR. Functions in LLVM's language can: they take bits as integers, are linked into the kernel and inlined.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx

__all__ = [
    "dot_bfloat16",
    "dot_bytes",
    "functions",
    "permute_16",
    "permute_32",
    "prefetch",
    "sum_of_lanes",
    "to_bfloat16",
    "to_bfloat16_pairs",
]

Expr = Any

#: AVX-512 or AVX2, by 32-bit lanes.
_BITS = {16: 512, 8: 256}


#: A read that is met in all levels of cache.
_PREFETCH = """
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
define i32 @bitquant_prefetch(ptr %address) {
  call void @llvm.prefetch.p0(ptr %address, i32 0, i32 3, i32 1)
  ret i32 0
}"""


def _name(what: str, lanes: int) -> str:
    return f"bitquant_{what}_{lanes}"


def dot_bfloat16(total: Expr, a: Expr, w: Expr, lanes: int) -> Expr:
    """Return total + a[0] w[0] + a[1] w[1] in each float32 lane, for two bfloat16 in each int32 lane of `a` and `w`."""
    return tirx.call_pure_extern(f"float32x{lanes}", _name("dot_bfloat16", lanes), total, a, w)


def to_bfloat16(values: Expr, lanes: int) -> Expr:
    """Return the bits of 2 * `lanes` float32 rounded to bfloat16, as int16."""
    return tirx.call_pure_extern(f"int16x{2 * lanes}", _name("to_bfloat16", lanes), values)


def to_bfloat16_pairs(even: Expr, odd: Expr, lanes: int) -> Expr:
    """Return the bits of even[0], odd[0], even[1], ... rounded to bfloat16, as int16, of two vectors of float32."""
    return tirx.call_pure_extern(f"int16x{2 * lanes}", _name("to_bfloat16_pairs", lanes), even, odd)


def dot_bytes(total: Expr, w: Expr, a: Expr, lanes: int, instruction: str) -> Expr:
    """Return total + sum of four products of unsigned bytes of `w` by signed bytes of `a`, in each int32 lane.

    Parameters
    ----------
    total, w, a
        int32 vectors.
    lanes
        Their lanes.
    instruction
        "vpdpbusd", which is exact; or "vpmaddubsw", whose sums of two products must fit 16 bits.
    """
    bits, dtype = _BITS[lanes], f"int32x{lanes}"
    as_bytes = [tirx.reinterpret(f"int8x{4 * lanes}", x) for x in (w, a)]
    if instruction == "vpdpbusd":
        return tirx.call_llvm_pure_intrin(dtype, f"llvm.x86.avx512.vpdpbusd.{bits}", total, *as_bytes)
    isa, multiply, add = {
        16: ("avx512", "pmaddubs.w.512", "pmaddw.d.512"), 8: ("avx2", "pmadd.ub.sw", "pmadd.wd"),
    }[lanes]  # fmt: skip
    pairs = tirx.call_llvm_pure_intrin(f"int16x{2 * lanes}", f"llvm.x86.{isa}.{multiply}", *as_bytes)
    ones = tirx.Broadcast(tirx.const(1, "int16"), 2 * lanes)
    return total + tirx.call_llvm_pure_intrin(dtype, f"llvm.x86.{isa}.{add}", pairs, ones)


def permute_16(table: Expr, index: Expr, lanes: int) -> Expr:
    """Return table[index] for 2 * `lanes` int16, by the low bits of each index."""
    return tirx.call_llvm_pure_intrin(f"int16x{2 * lanes}", f"llvm.x86.avx512.permvar.hi.{_BITS[lanes]}", table, index)


def permute_32(table: Expr, index: Expr, lanes: int) -> Expr:
    """Return table[index] for `lanes` float32, by the low bits of each int32 index."""
    name = {16: "llvm.x86.avx512.permvar.sf.512", 8: "llvm.x86.avx2.permps"}[lanes]
    return tirx.call_llvm_pure_intrin(f"float32x{lanes}", name, table, index)


def sum_of_lanes(values: Expr, dtype: str, lanes: int) -> Expr:
    """Return the sum of a vector of float32 or int32."""
    if dtype == "int32":
        return tirx.call_llvm_pure_intrin("int32", f"llvm.vector.reduce.add.v{lanes}i32", values)
    return tirx.call_pure_extern("float32", _name("sum", lanes), values)


def prefetch(address: Expr) -> Expr:
    """Ask for the line of cache that holds an address, which may lie anywhere: nothing is read that is not there."""
    return tirx.call_extern("int32", "bitquant_prefetch", address)


def functions(lanes: int, has_bfloat16: bool) -> str:
    """Return the functions that the expressions above call, in LLVM's language, for vectors of `lanes`."""
    text = [_sum_function(lanes), _PREFETCH]
    if has_bfloat16:
        intrinsic = f"@llvm.x86.avx512bf16.dpbf16ps.{_BITS[lanes]}"
        single, pair, word = f"<{lanes} x float>", f"<{2 * lanes} x bfloat>", f"<{lanes} x i32>"
        order = ", ".join(f"i32 {i // 2 + i % 2 * lanes}" for i in range(2 * lanes))
        text.append(f"""
declare {single} {intrinsic}({single}, {pair}, {pair})
define {single} @{_name("dot_bfloat16", lanes)}({single} %total, {word} %a, {word} %w) {{
  %x = bitcast {word} %a to {pair}
  %y = bitcast {word} %w to {pair}
  %result = call {single} {intrinsic}({single} %total, {pair} %x, {pair} %y)
  ret {single} %result
}}
define <{2 * lanes} x i16> @{_name("to_bfloat16", lanes)}(<{2 * lanes} x float> %values) {{
  %rounded = fptrunc <{2 * lanes} x float> %values to {pair}
  %bits = bitcast {pair} %rounded to <{2 * lanes} x i16>
  ret <{2 * lanes} x i16> %bits
}}
define <{2 * lanes} x i16> @{_name("to_bfloat16_pairs", lanes)}({single} %even, {single} %odd) {{
  %values = shufflevector {single} %even, {single} %odd, <{2 * lanes} x i32> <{order}>
  %rounded = fptrunc <{2 * lanes} x float> %values to {pair}
  %bits = bitcast {pair} %rounded to <{2 * lanes} x i16>
  ret <{2 * lanes} x i16> %bits
}}""")
    return "\n".join(text)


def _sum_function(lanes: int) -> str:
    """Return the function that adds the upper half of a vector to its lower half until one lane is left."""
    lines = [f"define float @{_name('sum', lanes)}(<{lanes} x float> %x{lanes}) {{"]
    width = lanes
    while width > 1:
        half, vector = width // 2, f"<{width} x float>"
        for name, first in (("low", 0), ("high", half)):
            mask = ", ".join(f"i32 {first + i}" for i in range(half))
            lines.append(
                f"  %{name}{half} = shufflevector {vector} %x{width}, {vector} poison, <{half} x i32> <{mask}>"
            )
        lines.append(f"  %x{half} = fadd <{half} x float> %low{half}, %high{half}")
        width = half
    return "\n".join([*lines, "  %sum = extractelement <1 x float> %x1, i32 0", "  ret float %sum", "}"])
