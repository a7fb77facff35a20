# SPDX-License-Identifier: Apache-2.0
"""The meaning of a problem as a tensor expression: B_decode, C, D, or B_decode, C, H, D with an activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import te, tirx

from bitquant.compute.activation import activated
from bitquant.compute.decode import apply_scale_and_zero, unpack_code
from bitquant.config import MatmulConfig
from bitquant.grouped_config import GroupedMatmulConfig, config_from_problem
from bitquant.layouts import WeightLayout, fragment_code, fragment_layout
from bitquant.operands import EPILOGUE, WEIGHT, Operand, present

__all__ = [
    "CONFIG_ATTR",
    "LAYOUT_ATTR",
    "RUNG_ATTR",
    "activated_output",
    "cast_output",
    "config_of",
    "decode_weight",
    "dequantize_b",
    "epilogue_value",
    "layout_of",
    "matmul_dequantize_b",
    "output_value",
    "placeholder",
    "rung_of",
    "scale_row",
    "scale_value",
    "symbol",
    "tag",
    "zero_point",
]

#: Function attributes that carry the problem (`MatmulConfig.problem`), the rung of the ladder and the layout of the
#: weight, for rules to read.
CONFIG_ATTR = "bitquant.config"
RUNG_ATTR = "bitquant.rung"
LAYOUT_ATTR = "bitquant.layout"

Expr = Any


def symbol(rung: int, operation: str = MatmulConfig.operation) -> str:
    """Return the name of the function that serves calls of at most `rung` rows."""
    return f"{operation}_m{rung}"


def tag(
    func: tvm.tirx.PrimFunc, config: MatmulConfig | GroupedMatmulConfig, rung: int, layout: WeightLayout = "plain"
) -> tvm.tirx.PrimFunc:
    """Return `func` with its symbol and with the problem, rung and weight layout that it was made for."""
    name = symbol(rung, config.operation)
    attrs = {"global_symbol": name, CONFIG_ATTR: config.problem(), RUNG_ATTR: rung, LAYOUT_ATTR: layout}
    return func.with_attrs(attrs)


def config_of(func: tvm.tirx.PrimFunc) -> Any:
    """Return the config that `func` was made for, of whatever operation, or None where it carries none."""
    problem = func.attrs.get(CONFIG_ATTR) if func.attrs else None
    if problem is None:
        return None
    lists = ("M", "codebook")
    fields = {k: list(v) if k in lists and not isinstance(v, int) else v for k, v in problem.items()}
    return config_from_problem(fields)


def rung_of(func: tvm.tirx.PrimFunc) -> int:
    """Return the most rows that a call of `func` has."""
    return int(func.attrs[RUNG_ATTR])


def layout_of(func: tvm.tirx.PrimFunc) -> WeightLayout:
    """Return the layout in which `func` reads the weight."""
    layout = func.attrs.get(LAYOUT_ATTR) if func.attrs else None
    return "fragment" if layout == "fragment" else "plain"


def decode_weight(
    config: MatmulConfig,
    B: Expr,
    Scale: Expr,
    Zeros: Expr,
    n: Expr,
    k: Expr,
    dtype: str,
    layout: WeightLayout = "plain",
    table: Callable[[Expr], Expr] | None = None,
) -> Expr:
    """Return decode(W)[n, k] in `dtype`, read from the stored operands.

    Parameters
    ----------
    config
        The problem.
    B, Scale, Zeros
        The stored operands, anything indexed by [row, column]: TE tensors or TIR buffers; None where absent.
    n, k
        Column of D and index of the reduction.
    dtype
        TVM type of the value. Scales and fractional zero points are applied in float32, and rounded to it once.
    layout
        Layout of B.
    table
        Returns the value of a code in float32; None: `NumberFormat.value` does, without memory.
    """
    w_format = config.W_format
    work = dtype if config.decodes_to_integer else "float32"
    if layout == "fragment":
        code = fragment_code(lambda row, byte: B[row, byte], n, k, fragment_layout(config))
        code = code if w_format.is_packed else tirx.reinterpret(w_format.tvm_dtype, code)
    elif w_format.is_packed:
        code = unpack_code(lambda byte: B[n, byte], k, w_format.bits)
    else:
        code = B[n, k] if config.layout == "nt" else B[k, n]
    g = k // config.group if config.num_groups > 1 else 0
    scale = scale_value(config, Scale, n, g, work) if config.with_scaling else None
    zero = zero_point(config, Zeros, n, g).astype(work) if config.with_zeros else None
    w = w_format.value(code, work) if table is None else table(code)
    w = apply_scale_and_zero(w, scale, zero, config.zeros_mode)
    return w.astype(dtype)


def scale_row(config: MatmulConfig, n: Expr) -> Expr:
    """Return the row of Scale that row `n` of W is scaled by."""
    return n // config.rows_per_scale if config.rows_per_scale > 1 else n


def scale_value(config: MatmulConfig, Scale: Expr, n: Expr, g: Expr, dtype: str) -> Expr:
    """Return the scale of group `g` of row `n` of W in `dtype`, a float type that holds it."""
    return config.scale_format.value(Scale[scale_row(config, n), g], dtype)


def zero_point(config: MatmulConfig, Zeros: Expr, n: Expr, g: Expr) -> Expr:
    """Return the zero point of group `g` of row `n` as it is stored: a number of Scale's type, or a uint8."""
    if not config.has_packed_zeros:
        return Zeros[n, g]
    if config.W_format.is_packed:
        return unpack_code(lambda byte: Zeros[g, byte], n, config.W_format.bits)
    return Zeros[g, n].astype("uint8")


def output_value(
    config: MatmulConfig, c: Expr, bias: Expr = None, activation_scale: Expr = None, channel_scale: Expr = None
) -> Expr:
    """Return an output from its accumulated sum, cast_out(c * activation_scale * channel_scale + bias).

    Scales are applied in float32, to which an int32 sum is rounded once. Bias is added in float32, and exactly where
    sum and output are integers and there are no scales. Then there is one cast; integers saturate, and are 0 for NaN.

    Parameters
    ----------
    config
        The problem, without an activation; of the operands below those are given, or used, that it has.
    c
        The sum, of type `config.reduce_dtype`.
    bias, activation_scale, channel_scale
        Bias[n], of the output's type, ActivationScale[m] and ChannelScale[n], float32: `bitquant.operands.EPILOGUE`.
    """
    value, dtype = epilogue_value(config, c, bias, activation_scale, channel_scale)
    return cast_output(value, dtype, config.out_format.tvm_dtype)


def epilogue_value(
    config: MatmulConfig, c: Expr, bias: Expr = None, activation_scale: Expr = None, channel_scale: Expr = None
) -> tuple[Expr, str]:
    """Return c * activation_scale * channel_scale + bias, not rounded to the output's type, and its TVM type.

    With an activation it is one of that one's two arguments, in float32.

    Parameters
    ----------
    config, c, bias, activation_scale, channel_scale
        As for `output_value`.
    """
    c_dtype = config.reduce_dtype
    if config.has_output_scales:
        c, c_dtype = c.astype("float32"), "float32"
        c = c * activation_scale if config.with_activation_scale else c
        c = c * channel_scale if config.with_channel_scale else c
    if config.with_bias:
        # Two numbers of 32 bits have a sum of 33.
        is_exact = c_dtype == "int32" and config.out_format.is_integer and config.activation is None
        c_dtype = "int64" if is_exact else "float32"
        c = c.astype(c_dtype) + bias.astype(c_dtype)
    if config.activation is not None:
        c, c_dtype = c.astype("float32"), "float32"
    return c, c_dtype


def activated_output(
    config: MatmulConfig, gate: Expr, up: Expr, reciprocal: Callable[[Expr], Expr] | None = None
) -> Expr:
    """Return an output from the `epilogue_value` of its gate and of its up; parameters are those of `activated`."""
    return cast_output(activated(config, gate, up, reciprocal), "float32", config.out_format.tvm_dtype)


def cast_output(x: Expr, x_dtype: str, dtype: str) -> Expr:
    """Return an accumulated value in the output's type; integers round to nearest even, saturate, and are 0 for NaN."""
    if not dtype.startswith("int"):
        return x.astype(dtype)
    low, high = int(tirx.min_value(dtype)), int(tirx.max_value(dtype))
    if x_dtype.startswith("int"):
        if dtype == x_dtype:
            return x
        return tirx.max(tirx.min(x, tirx.const(high, x_dtype)), tirx.const(low, x_dtype)).astype(dtype)
    is_nan, x = tirx.isnan(x), tirx.nearbyint(x)
    # The greatest int32 is no float32; clamp to the float below and let the last step pick the true maximum.
    top = float(high) if dtype == "int8" else float(high + 1 - 128)
    inside = tirx.max(tirx.min(x, tirx.const(top, "float32")), tirx.const(float(low), "float32")).astype(dtype)
    if dtype == "int32":
        inside = tirx.Select(x > tirx.const(top, "float32"), tirx.const(high, dtype), inside)
    return tirx.Select(is_nan, tirx.const(0, dtype), inside)


def matmul_dequantize_b(
    config: MatmulConfig, rung: int, decode_dtype: str | None = None, layout: WeightLayout = "plain"
) -> tvm.tirx.PrimFunc:
    """Return D = cast(A x decode(B)^T * ActivationScale * ChannelScale + Bias) as an unscheduled prim_func.

    Parameters
    ----------
    config
        The problem.
    rung
        The most rows that a call of this function has; the last rung serves more, too. M is symbolic unless
        `MatmulConfig.has_fixed_rows`.
    decode_dtype
        TVM type of B_decode; default `config.decode_dtype`. A schedule that multiplies in float32 anyway passes
        float32 and saves a rounding.
    layout
        Layout of the stored weight B (`bitquant.layouts`).

    Returns
    -------
    PrimFunc
        Parameters: the operands that the config has, in the order of `bitquant.operands.OPERANDS`. Blocks: B_decode
        (where W needs decoding), C (the reduction), D (output scales, bias, cast). With an activation H has output
        scales and bias, and D activation and cast.
    """
    N, K = config.N, config.K
    M = rung if config.has_fixed_rows(rung) else tirx.Var("m", "int32")
    given: dict[str, Expr] = {o.name: placeholder(o, config, M, layout) for o in present(config)}
    A, B, Scale, Zeros = given["A"], given["B"], given.get("Scale"), given.get("Zeros")

    reduce_dtype = config.reduce_dtype
    needs_decode = config.needs_decode or layout != "plain"
    if needs_decode:
        dtype = decode_dtype or config.decode_dtype

        def weight(n: Expr, k: Expr) -> Expr:
            return decode_weight(config, B, Scale, Zeros, n, k, dtype, layout)

        B_decode = te.compute((N, K), weight, name="B_decode")
    k = te.reduce_axis((0, K), name="k")

    def product(i: Expr, j: Expr) -> Expr:
        a = config.A_format.value(A[i, k], reduce_dtype)
        if needs_decode:
            b = B_decode[j, k].astype(reduce_dtype)
        else:
            b = config.W_format.value(B[j, k] if config.layout == "nt" else B[k, j], reduce_dtype)
        return te.sum(a * b, axis=k)

    C = te.compute((M, N), product, name="C")

    def epilogue(i: Expr, j: Expr) -> dict[str, Expr]:
        return {o.argument: given[o.name][i if o.rows == "A" else j] for o in present(config, EPILOGUE)}

    if config.activation is None:
        D = te.compute((M, N), lambda i, j: output_value(config, C[i, j], **epilogue(i, j)), name="D")
    else:
        H = te.compute((M, N), lambda i, j: epilogue_value(config, C[i, j], **epilogue(i, j))[0], name="H")
        D = te.compute(
            (M, config.columns), lambda i, j: activated_output(config, H[i, 2 * j], H[i, 2 * j + 1]), name="D"
        )
    func = te.create_prim_func([*given.values(), D])
    return tag(func, config, rung, layout)


def dequantize_b(config: MatmulConfig, dtype: str, layout: WeightLayout = "plain") -> tvm.tirx.PrimFunc:
    """Return D = decode(B), (N, K), as an unscheduled prim_func.

    Parameters
    ----------
    config
        The problem whose weight it is.
    dtype
        TVM type of D. Scales and fractional zero points are applied in float32, and rounded to it once.
    layout
        Layout of the stored weight B (`bitquant.layouts`).

    Returns
    -------
    PrimFunc
        Parameters: those of `bitquant.operands.WEIGHT` that the config has, and D. Blocks: Table, the values of all
        codes in float32, where the format needs one, and B_decode.
    """
    given: dict[str, Expr] = {o.name: placeholder(o, config, 0, layout) for o in present(config, WEIGHT)}
    B, Scale, Zeros = given["B"], given.get("Scale"), given.get("Zeros")
    fmt, table = config.W_format, None
    if fmt.needs_table:
        Table = te.compute((1 << fmt.bits,), lambda i: fmt.value(i.astype("uint8"), "float32"), name="Table")

        def table(code: Expr) -> Expr:
            return Table[code.astype("int32")]

    def value(n: Expr, k: Expr) -> Expr:
        return decode_weight(config, B, Scale, Zeros, n, k, dtype, layout, table)

    D = te.compute((config.N, config.K), value, name="B_decode")
    func = te.create_prim_func([*given.values(), D])
    attrs = {"global_symbol": "dequantize", CONFIG_ATTR: config.problem(), RUNG_ATTR: 0, LAYOUT_ATTR: layout}
    return func.with_attrs(attrs)


def placeholder(operand: Operand, config: MatmulConfig | GroupedMatmulConfig, m: Any, layout: WeightLayout) -> Expr:
    """Return an operand as the tensor that an expression reads."""
    shape, dtype = operand.shape(config, m, layout), operand.dtype(config, layout)
    return te.placeholder(shape, name=operand.name, dtype=dtype)
