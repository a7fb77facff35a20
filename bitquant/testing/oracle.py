# SPDX-License-Identifier: Apache-2.0
"""What a matrix multiplication should give, in float64 and NumPy, and how far from it a kernel may be.

Written from the specifications and sharing no code with what it checks: own tables, own bit reader, own arithmetic. It
is slow on purpose where that keeps it obvious.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bitquant.config import MatmulConfig
from bitquant.formats import NumberFormat
from bitquant.testing.activations import activate

__all__ = [
    "FEW_ELEMENTS",
    "assert_close",
    "code_values",
    "decode_plain",
    "oracle",
    "oracle_argument",
    "oracle_weight",
    "relative_error",
    "round_to_output",
    "tolerance",
]

#: NF4 levels by code (QLoRA, appendix E, in the float32 digits of bitsandbytes).
_NF4_LEVELS = np.array(
    [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ]
)  # fmt: skip

#: Unit roundoff: half the distance from 1 to the next number. 11, 8 and 24 significant bits (IEEE 754; bfloat16).
_UNIT_ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24}

#: See `tolerance`.
_SAFETY = 2

#: What an activation in float32 adds: some 8 roundings of 2^-24, exp and quotient among them.
_ACTIVATION_ERROR = 16 * 2.0**-24

#: Elements of a float64 temporary, 128 MiB.
_CHUNK_ELEMENTS = 1 << 24


# Values.


def _small_float(codes: np.ndarray, exponent_bits: int, mantissa_bits: int, has_infinity: bool) -> np.ndarray:
    """Return the float64 values of small floating-point bit patterns.

    (-1)^s * 2^(e - bias) * (1 + f / 2^mantissa_bits), and for e = 0: (-1)^s * 2^(1 - bias) * f / 2^mantissa_bits, with
    bias = 2^(exponent_bits - 1) - 1. Where `has_infinity`, the largest e means infinity and NaN, as in IEEE 754 and
    OCP's E5M2; otherwise, for 8 bits, only the pattern of all ones is NaN, as in OCP's E4M3.
    """
    codes = codes.astype(np.int64)
    bias = 2 ** (exponent_bits - 1) - 1
    sign = np.where(codes >> (exponent_bits + mantissa_bits) & 1, -1.0, 1.0)
    exponent = codes >> mantissa_bits & (2**exponent_bits - 1)
    fraction = (codes & (2**mantissa_bits - 1)) / 2.0**mantissa_bits
    value: np.ndarray = sign * np.where(
        exponent == 0, 2.0 ** (1 - bias) * fraction, 2.0 ** (exponent - bias) * (1 + fraction)
    )
    if has_infinity:
        top = exponent == 2**exponent_bits - 1
        return np.where(top, np.where(fraction == 0, sign * np.inf, np.nan), value)
    if exponent_bits + mantissa_bits == 7:
        return np.where((codes & 0x7F) == 0x7F, np.nan, value)
    return value


#: The values of codes, for packed formats of other numbers than integers, by name. Each such format has an entry here.
_CODE_VALUES: dict[str, Callable[..., np.ndarray]] = {
    "nf4": lambda codes: _NF4_LEVELS[codes],
    "code4": lambda codes, levels: np.float32(levels).astype(np.float64)[codes],
    "fp4_e2m1": lambda codes: _small_float(codes, exponent_bits=2, mantissa_bits=1, has_infinity=False),
    "float6_e3m2": lambda codes: _small_float(codes, exponent_bits=3, mantissa_bits=2, has_infinity=False),
    "float6_e2m3": lambda codes: _small_float(codes, exponent_bits=2, mantissa_bits=3, has_infinity=False),
}


def code_values(codes: Any, fmt: NumberFormat) -> np.ndarray:
    """Return the values of codes, the unsigned bits of numbers in that format, in float64; NaN and infinity too."""
    codes = np.asarray(codes).astype(np.int64)
    if fmt.is_packed and not fmt.is_integer:
        return _CODE_VALUES[fmt.name](codes, *([fmt.levels] if fmt.takes_codebook else []))
    if fmt.is_integer and fmt.is_unsigned:
        return codes.astype(np.float64)
    if fmt.is_integer:
        if fmt.bits == 1:
            return np.where(codes == 1, 1.0, -1.0)
        if fmt.bits < 8:
            return np.asarray(codes - 2 ** (fmt.bits - 1), np.float64)
        return np.where(codes >= 128, codes - 256, codes).astype(np.float64)
    if fmt.name == "float8_e4m3":
        return _small_float(codes, 4, 3, has_infinity=False)
    if fmt.name == "float8_e5m2":
        return _small_float(codes, 5, 2, has_infinity=True)
    if fmt.name == "float8_e8m0":  # OCP Microscaling Formats specification 1.0, 5.4.1.
        return np.where(codes == 255, np.nan, 2.0 ** (codes - 127.0))
    exponent_bits, mantissa_bits = {"float16": (5, 10), "bfloat16": (8, 7), "float32": (8, 23)}[fmt.name]
    return _small_float(codes, exponent_bits, mantissa_bits, has_infinity=True)


def _float64(array: Any) -> np.ndarray:
    """Return the exact values of a tensor or array in float64; every type of 32 bits and less fits."""
    if isinstance(array, torch.Tensor):
        return array.detach().to(torch.float64).cpu().numpy()
    return np.asarray(array).astype(np.float64)


def decode_plain(stored: Any, config: MatmulConfig) -> np.ndarray:
    """Return the value of each weight stored in the plain layout, read bit by bit.

    Parameters
    ----------
    stored
        The weight as the operator of `config` takes it, shape ``config.W_shape``: a torch tensor, or a NumPy array
        whose bytes are those of one.
    config
        The problem.

    Returns
    -------
    numpy.ndarray
        float64, shape (N, K), or (K, N) for layout "nn".
    """
    fmt = config.W_format
    if isinstance(stored, torch.Tensor):
        stored = stored.detach().cpu().contiguous().view(torch.uint8).numpy()
    raw = np.ascontiguousarray(stored).view(np.uint8)
    columns = config.N if config.layout == "nn" else config.K
    bits = np.unpackbits(raw, axis=-1, bitorder="little").reshape(raw.shape[0], columns, fmt.bits)
    codes = np.zeros(bits.shape[:2], np.int64)
    for i in range(fmt.bits):
        codes |= bits[..., i].astype(np.int64) << i
    return code_values(codes, fmt)


# Arithmetic.


def oracle_weight(
    config: MatmulConfig, W_values: Any, scale: Any = None, zeros: Any = None, rows: slice = slice(None)
) -> np.ndarray:
    """Return decode(W), without any rounding.

    ::

        original, quantized:  (w[n, k] - z[n, k // group]) * s[n, k // group]
        rescale:              w[n, k] * s[n, k // group] - z[n, k // group]

    Where rows share scales, s[n // rows_per_scale, k // group].

    Parameters
    ----------
    config
        The problem.
    W_values
        (N, K), or (K, N) for layout "nn": integers, floats, or codes of packed formats of other numbers.
    scale
        (ceil(N / rows_per_scale), K / group), for ``config.with_scaling``.
    zeros
        (N, K / group); for zeros_mode "quantized" the integers before packing, (K / group, N).
    rows
        Which n to return.

    Returns
    -------
    numpy.ndarray
        float64, (N, K) in both layouts.
    """
    w: Any = _float64((W_values.T if config.layout == "nn" else W_values)[rows])
    if config.W_format.is_packed and not config.W_format.is_integer:
        w = code_values(w, config.W_format)
    s: Any = 1.0
    if config.with_scaling:
        if config.rows_per_scale > 1:
            scale = np.repeat(_float64(scale), config.rows_per_scale, axis=0)[: config.N]
        s = np.repeat(_float64(scale[rows]), config.group, axis=1)
    z: Any = 0.0
    if config.with_zeros:
        z = np.repeat(_float64((zeros.T if config.has_packed_zeros else zeros)[rows]), config.group, axis=1)
    value: np.ndarray = w * s - z if config.zeros_mode == "rescale" else (w - z) * s
    return value


def oracle(
    config: MatmulConfig,
    A: Any,
    W_values: Any,
    scale: Any = None,
    zeros: Any = None,
    bias: Any = None,
    activation_scale: Any = None,
    channel_scale: Any = None,
) -> np.ndarray:
    """Return the result in float64, not rounded to the output's type.

    ::

        H[m, n] = sum_k A[m, k] * decode(W)[n, k] * activation_scale[m] * channel_scale[n] + Bias[n]
        D[m, n] = H[m, n], or act(H[m, 2 n], H[m, 2 n + 1]) with an activation

    Parameters
    ----------
    config
        The problem.
    A
        (..., K). Its values are taken as they are, bfloat16 and float8 included.
    W_values, scale, zeros
        As in `oracle_weight`.
    bias
        (N,), for ``config.with_bias``.
    activation_scale
        The leading dimensions of A, for ``config.with_activation_scale``.
    channel_scale
        (N,), for ``config.with_channel_scale``.

    Returns
    -------
    numpy.ndarray
        float64, (..., N), or (..., N / 2) with an activation.
    """
    H = oracle_argument(config, A, W_values, scale, zeros, bias, activation_scale, channel_scale)
    return H if config.activation is None else activate(config.activation, H)


def oracle_argument(
    config: MatmulConfig,
    A: Any,
    W_values: Any,
    scale: Any = None,
    zeros: Any = None,
    bias: Any = None,
    activation_scale: Any = None,
    channel_scale: Any = None,
) -> np.ndarray:
    """Return H of `oracle`, float64, (..., N), for the same parameters: what an activation is applied to."""
    a = _float64(A)
    result = np.empty((*a.shape[:-1], config.N))
    step = max(1, _CHUNK_ELEMENTS // a.shape[-1])
    for start in range(0, config.N, step):
        rows = slice(start, start + step)
        result[..., rows] = a @ oracle_weight(config, W_values, scale, zeros, rows).T
    if config.with_activation_scale:
        result *= _float64(activation_scale)[..., None]
    if config.with_channel_scale:
        result *= _float64(channel_scale)
    return result + _float64(bias) if config.with_bias else result


def round_to_output(ref: np.ndarray, config: MatmulConfig) -> np.ndarray:
    """Return float64 results as an integer output holds them: to nearest, ties to even, saturated.

    Results for a floating-point output come back as they are; there `tolerance` has room for the last rounding.
    """
    if not config.out_format.is_integer:
        return ref
    end = 2.0 ** (config.out_format.bits - 1)
    rounded: np.ndarray = np.clip(np.rint(ref), -end, end - 1)
    return rounded


# Comparison.


def relative_error(actual: Any, ref: np.ndarray) -> float:
    """Return ||actual - ref|| / ||ref|| in the Frobenius norm.

    Infinite if `actual` holds a NaN or an infinity. With ref = 0: 0 where `actual` is 0 too, else infinite.
    """
    actual = _float64(actual)
    if not np.isfinite(actual).all():
        return math.inf
    distance, norm = float(np.linalg.norm(actual - ref)), float(np.linalg.norm(ref))
    if distance == 0:
        return 0.0
    return distance / norm if norm else math.inf


def tolerance(config: MatmulConfig, passed_on: float = 1.0) -> float:
    """Return the bound on `relative_error` for this problem, before any rounding to integers.

    A rounding to nearest with unit roundoff u changes a number by at most u of itself, in the root mean square by at
    most u / sqrt(3). What is rounded:

    - the output, once, in its type;
    - each weight in the type of B_decode: levels of a codebook, the subtraction of a zero point that is no integer, the
      multiplication by the scale; and Scale and Zeros themselves where their type is wider than that of B_decode;
    - each of the K additions in float32. Their errors accumulate like sqrt(K); tensor cores truncate, which
      accumulates like the number of additions of whole blocks of 16, K / 16;
    - the sum, where it is scaled afterwards: once to float32 if it is an integer, and once for each output scale. A
      scale changes no relative error, and those of an element are the same in each row and column.

    Errors of different weights are independent, so in sum_k A[m, k] * W[n, k] they add up as squares, as do, in the
    norm, the products themselves: the relative error of the sum is that of a weight. Times 2, because the norm of the
    result may be half of what it is without cancellation; `make_inputs` draws none with less. Examples, float16:
    5.6e-4 for a W decoded exactly, 8.0e-4 with a scale, 9.8e-4 with a scale and a fractional zero point.

    Sums in int32 are exact: 0, but for the roundings to a floating-point output and of output scales.

    With an activation this holds of its arguments in float32, whose errors it passes on: as many times as large,
    relative to D, as `passed_on` says, the norm of `bitquant.testing.activations.spread` by that of D. To these are
    added what the activation itself rounds, and the rounding of the output.
    """
    if config.activation is not None:
        output = 0.0 if config.out_format.is_integer else _UNIT_ROUNDOFF[config.out_format.name]
        of_argument = tolerance(dataclasses.replace(config, activation=None, out_dtype="float32"))
        return _SAFETY * output / math.sqrt(3) + _ACTIVATION_ERROR + passed_on * of_argument
    output = 0.0 if config.out_format.is_integer else _UNIT_ROUNDOFF[config.out_format.name]
    scalings = config.with_activation_scale + config.with_channel_scale
    if config.reduce_dtype == "int32":
        scalings += bool(scalings)
        return _SAFETY * math.sqrt((output**2 + scalings * _UNIT_ROUNDOFF["float32"] ** 2) / 3)
    decode = _UNIT_ROUNDOFF.get(config.decode_dtype, 0.0)  # 0: integers and float8, decoded without rounding.
    operands_rounded = _UNIT_ROUNDOFF.get(config.scale_format.name, 1.0) < decode  # Those of 8 bits are held.
    roundings = 1 if config.W_format.needs_table else 0
    if config.with_scaling:
        roundings += 1 + operands_rounded
    if config.with_zeros and not config.has_packed_zeros:
        roundings += 1 + operands_rounded
    accumulate = (4 * math.sqrt(config.K) + config.K / 16) * 2.0**-24
    scaled = scalings * _UNIT_ROUNDOFF["float32"] ** 2
    return _SAFETY * math.sqrt((output**2 + roundings * decode**2 + scaled) / 3) + accumulate


#: Elements of a result up to which errors need not average out: they are allowed twice the tolerance.
FEW_ELEMENTS = 16

#: How much larger than the root mean square an error of one element may be: 8 standard deviations of `tolerance`.
_PEAK = 8


def assert_close(actual: Any, ref: np.ndarray, config: MatmulConfig, passed_on: np.ndarray | None = None) -> float:
    """Check a kernel's output against `oracle`: as a whole, and each element; return how near to a bound it came.

    - int32 sums with an integer output and no output scales: equal to ``round_to_output(ref)``.
    - other integer outputs: each element rounds a value within ``8 * tolerance * max(|ref|, rms(ref))`` of ref, so
      that it may be off by one near a tie only.
    - floating-point outputs: `relative_error` within `tolerance`, and each element within
      ``8 * tolerance * max(|ref|, rms(ref))``, so that one wrong element in a large matrix does not drown.

    With an activation `passed_on` stands in the place of the part of max(|ref|, rms(ref)) that is due to its arguments.
    Results of up to `FEW_ELEMENTS` elements are allowed twice the tolerance.

    Parameters
    ----------
    actual
        Tensor or array of the output, the shape of `ref`.
    ref
        The result of `oracle`, not rounded.
    config
        The problem.
    passed_on
        Of a problem with an activation, and of that alone: `bitquant.testing.activations.spread` of its arguments, the
        shape of `ref`.

    Returns
    -------
    float
        The largest share of a bound that an error takes, 0 to 1. Of an integer output the error is what its own
        rounding does not explain.

    Raises
    ------
    AssertionError
        With the error, the bound and the worst element.
    """
    got = _float64(actual)
    if got.shape != ref.shape:
        raise AssertionError(f"{config}: shape {got.shape}, expected {ref.shape}")
    if ref.size == 0:
        return 0.0
    few = 2 if ref.size <= FEW_ELEMENTS else 1
    size = np.maximum(np.abs(ref), np.sqrt(np.mean(ref**2)))
    if passed_on is None:
        if config.activation is not None:
            raise ValueError(f"'passed_on' must be given where there is an activation (got None, {config.activation})")
        bound = few * tolerance(config)
        slack = _PEAK * bound * size
    else:
        own = tolerance(config, 0.0)
        of_argument = tolerance(config) - own
        bound = few * tolerance(config, float(np.linalg.norm(passed_on) / np.linalg.norm(ref)))
        slack = _PEAK * few * (own * size + of_argument * passed_on)
    if not np.isfinite(got).all():
        index = np.unravel_index(np.argmin(np.isfinite(got)), got.shape)
        raise AssertionError(f"{config}: {_element(got, ref, index)}, not finite")
    if config.out_format.is_integer:
        low, high = round_to_output(ref - slack, config), round_to_output(ref + slack, config)
        excess = np.maximum(low - got, got - high)
        index = np.unravel_index(np.argmax(excess), got.shape)
        if excess[index] > 0:
            raise AssertionError(
                f"{config}: {np.count_nonzero(excess > 0)} of {ref.size} elements are wrong; "
                f"{_element(got, ref, index)}, may be {low[index]:g} to {high[index]:g}"
            )
        end = 2.0 ** (config.out_format.bits - 1)
        return _largest_share(np.abs(got - np.clip(ref, -end, end - 1)) - 0.5, slack)
    error = relative_error(got, ref)
    index = np.unravel_index(np.argmax(np.abs(got - ref) - slack), got.shape)
    if error > bound:
        raise AssertionError(f"{config}: relative error {error:.3g} > {bound:.3g}; {_element(got, ref, index)}")
    if abs(got[index] - ref[index]) > slack[index]:
        raise AssertionError(f"{config}: {_element(got, ref, index)}, off by more than {slack[index]:.3g}")
    return max(error / bound if error else 0.0, _largest_share(np.abs(got - ref), slack))


def _largest_share(errors: np.ndarray, slack: np.ndarray) -> float:
    """Return the largest quotient of an error and its bound; errors at or below 0 are none."""
    is_error = errors > 0
    return float((errors[is_error] / slack[is_error]).max(initial=0.0))


def _element(got: np.ndarray, ref: np.ndarray, index: tuple[Any, ...]) -> str:
    return f"at {tuple(int(i) for i in index)} got {got[index]:g}, expected {ref[index]:g}"
