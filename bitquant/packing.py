"""Weights on disk and in memory: values <-> codes <-> packed bytes, in the plain layout.

Three forms of one weight, each a function away from the next::

    values (N, K)  --encode-->  codes (N, K)  --general_compress-->  bytes (N, K * bits / 8)      `pack` does both
    values (N, K)  <--decode--  codes (N, K)  <--general_decompress--  bytes (N, K * bits / 8)    `unpack` does both

*Values* are what the arithmetic means: integers, float8 or native floats; for nf4 and fp4_e2m1 a level. *Codes* are
unsigned numbers of `bits` bits. Element k of a row occupies bits [k * bits, (k + 1) * bits) of the row's
little-endian bit stream; for 4 bits that is low nibble first. Nothing wraps: a value that its format cannot hold is a
`ConfigError` that names the value and its index.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from bitquant.config import MatmulConfig
from bitquant.dtypes import NumberFormat
from bitquant.errors import ConfigError

__all__ = [
    "decode",
    "encode",
    "general_compress",
    "general_decompress",
    "pack",
    "pack_zeros",
    "unpack",
    "unpack_zeros",
]

Array = TypeVar("Array", torch.Tensor, np.ndarray)

_INTEGER_DTYPES = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
_FLOAT8_DTYPES = (torch.float8_e4m3fn, torch.float8_e5m2)
_FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, *_FLOAT8_DTYPES)

#: Elements handled at a time: temporaries, of at most 8 bytes an element, stay below 32 MiB each. Larger chunks
#: measured no faster.
_CHUNK_ELEMENTS = 1 << 22

#: The integer type that holds so many codes, one a byte.
_LANE_DTYPES = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


# Bits: codes <-> bytes.


def general_compress(weight: Array, source_bits: int = 4, storage_dtype: Any = "int8") -> Array:
    """Pack unsigned codes of `source_bits` bits, without gaps, into bytes.

    ``stream[k * b + i] = bit i of weight[..., k]`` for i < b = source_bits; byte j of a row is
    ``sum_i stream[8 * j + i] << i``.

    Parameters
    ----------
    weight
        Codes 0 ... 2^b - 1, shape (..., K), int8, uint8, int16, int32 or int64, on any device. For 8 bits an int8
        tensor is taken as it is, bit for bit.
    source_bits
        Bits a code, 1 to 8.
    storage_dtype
        Accepted for BitBLAS; int8 (as a string, a NumPy or a torch type) is the only value allowed.

    Returns
    -------
    torch.Tensor or numpy.ndarray
        Shape (..., K * b / 8), int8; what `weight` is, a tensor on its device or an array.

    Raises
    ------
    ConfigError
        If a code is out of range, K * b is not a multiple of 8, or a type is not one of those above.
    """
    _check_source_bits(source_bits)
    if storage_dtype not in ("int8", np.int8, np.dtype(np.int8), torch.int8):
        raise ConfigError(
            f"'storage_dtype' must be 'int8', the type of every packed weight (got {storage_dtype!r})",
            storage_dtype=storage_dtype,
        )
    codes = _to_tensor(weight, "weight")
    _check_row_bits(codes, source_bits)
    if source_bits < 8 or codes.dtype != torch.int8:
        _check_codes(codes, source_bits, "weight")
    return _like(_compress_rows(codes, source_bits), weight)


def general_decompress(packed: Array, source_bits: int = 4) -> Array:
    """Unpack bytes into unsigned codes, the inverse of `general_compress`.

    Parameters
    ----------
    packed
        Shape (..., bytes), int8 or uint8.
    source_bits
        Bits a code, b, 1 to 8.

    Returns
    -------
    torch.Tensor or numpy.ndarray
        Codes 0 ... 2^b - 1, shape (..., bytes * 8 / b); int8, and uint8 for 8 bits. What `packed` is, on its device.

    Raises
    ------
    ConfigError
        If `packed` is not int8 or uint8, or its rows do not hold a whole number of byte-aligned runs of codes.
    """
    _check_source_bits(source_bits)
    stored = _to_tensor(packed, "packed")
    if stored.dtype not in (torch.int8, torch.uint8) or stored.ndim == 0:
        raise ConfigError(
            "'packed' must be an int8 tensor of at least one dimension "
            f"(got {stored.dtype}, shape {tuple(stored.shape)})",
            packed=stored.dtype,
        )
    lane_bytes = _lane(source_bits) * source_bits // 8
    if stored.shape[-1] % lane_bytes:
        raise ConfigError(
            f"rows of 'packed' must be a multiple of {lane_bytes} bytes where 'source_bits' is {source_bits} "
            f"(got {stored.shape[-1]} bytes); they were packed with another width",
            packed=tuple(stored.shape), source_bits=source_bits,
        )  # fmt: skip
    width = stored.shape[-1] * 8 // source_bits
    dtype = torch.int8 if source_bits < 8 else torch.uint8
    codes = _map_rows(stored, width, dtype, lambda rows: _decompress(rows, source_bits))
    return _like(codes, packed)


def _lane(bits: int) -> int:
    """Return the fewest codes that fill whole bytes."""
    return next(count for count in _LANE_DTYPES if count * bits % 8 == 0)


def _halvings(bits: int) -> list[tuple[int, int, int]]:
    """Return (low mask, used, gap) of every step that closes the gaps of a lane.

    Before the step a lane is made of slots of `used + gap` bits with `used` low bits in use. The step joins
    neighbours: the upper slot's bits move down by `gap`, so that slots and used bits double. `low` masks the used bits
    of the lower slot of each pair.
    """
    steps = []
    slot, used, lane_bits = 8, bits, 8 * _lane(bits)
    while slot < lane_bits:
        low = sum(((1 << used) - 1) << start for start in range(0, lane_bits, 2 * slot))
        steps.append((low, used, slot - used))
        slot, used = 2 * slot, 2 * used
    return steps


def _compress_rows(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Pack integer codes (..., K), known to be in range; returns int8 (..., K * bits / 8)."""
    width = codes.shape[-1] * bits // 8
    return _map_rows(codes, width, torch.int8, lambda rows: _compress(rows.to(torch.uint8), bits))


def _compress(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Pack contiguous uint8 codes (rows, K), known to be in range; returns int8 (rows, K * bits / 8).

    Codes lie one a byte, so 8 / gcd(8, bits) of them read as one little-endian integer hold every bit in order with
    gaps of 8 - bits. Each of at most three steps halves the number of gaps; then the low bytes are the packed ones.
    """
    count = _lane(bits)
    words = codes.view(-1).view(_LANE_DTYPES[count])
    for low, used, gap in _halvings(bits):
        words = (words & low) | ((words >> gap) & (low << used))
    packed = words.view(torch.int8).view(-1, count)[:, : count * bits // 8]
    return packed.reshape(codes.shape[0], -1)


def _decompress(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """Undo `_compress`; returns uint8 (rows, K), or int8 where bits < 8."""
    count = _lane(bits)
    lanes = packed.reshape(-1, count * bits // 8).view(torch.uint8)
    if lanes.shape[1] < count:
        lanes = torch.nn.functional.pad(lanes, (0, count - lanes.shape[1]))
    words = lanes.contiguous().view(-1).view(_LANE_DTYPES[count])
    for low, used, gap in reversed(_halvings(bits)):
        words = (words & low) | ((words & (low << used)) << gap)
    return words.view(torch.uint8 if bits == 8 else torch.int8).view(packed.shape[0], -1)


# Meaning: values <-> codes.


def encode(weight: torch.Tensor | np.ndarray, fmt: NumberFormat) -> torch.Tensor:
    """Turn values into what is stored for them: unsigned codes for packed formats, else elements of the format's type.

    ===============  ============================================  ===================================================
    format           input                                         result
    ===============  ============================================  ===================================================
    uint1 ... uint7  integers                                      int8, w
    int2 ... int7    integers                                      int8, w + 2^(bits - 1)
    int1             integers -1 and +1                            int8, (w + 1) / 2
    uint8, int8      integers                                      the type itself
    nf4, fp4_e2m1    integers: codes 0 ... 15                      int8, the codes
    nf4, fp4_e2m1    floats                                        int8, code of the nearest level
    float8           floats                                        rounded to nearest; its own type passes untouched
    float8           int8, uint8: bit patterns (as in BitBLAS)     the same bits
    float16 ...      floats, integers                              rounded to nearest; its own type passes untouched
    ===============  ============================================  ===================================================

    A float that lies midway between two levels of nf4 or fp4_e2m1 takes the lower level. A float that rounds to zero
    takes the zero of its own sign where the format has two.

    Parameters
    ----------
    weight
        Values of any shape, on any device.
    fmt
        The format to store them in.

    Returns
    -------
    torch.Tensor
        Same shape and device; int8 for packed formats, else ``fmt.torch_dtype``.

    Raises
    ------
    ConfigError
        If a value is NaN or is not within half a step of the format's range, or the type of `weight` does not fit the
        format.
    """
    values = _to_tensor(weight, "weight")
    _check_values(values, fmt)
    if not fmt.is_packed:
        return _cast(values, fmt)
    rows = values.reshape(1) if values.ndim == 0 else values
    codes = _map_rows(rows, rows.shape[-1], torch.int8, lambda chunk: _encode(chunk, fmt).view(torch.int8))
    return codes.reshape(values.shape)


def decode(codes: torch.Tensor | np.ndarray, fmt: NumberFormat) -> torch.Tensor:
    """Turn what is stored, one element a number, into values, the inverse of `encode`.

    Parameters
    ----------
    codes
        Codes 0 ... 2^bits - 1 of any integer type for packed formats, else a tensor of the format's own type.
    fmt
        Their format.

    Returns
    -------
    torch.Tensor
        Same shape and device; int8 for packed integers, float32 for nf4 and fp4_e2m1; else `codes` itself.

    Raises
    ------
    ConfigError
        If a code is out of range or `codes` has another type.
    """
    stored = _to_tensor(codes, "codes")
    if not fmt.is_packed:
        if stored.dtype != fmt.torch_dtype:
            raise ConfigError(
                f"'codes' of {fmt.name} must be {fmt.torch_dtype} (got {stored.dtype})", codes=stored.dtype
            )
        return stored
    _check_codes(stored, fmt.bits, "codes")
    rows = stored.reshape(1) if stored.ndim == 0 else stored
    values = _map_rows(rows, rows.shape[-1], _value_dtype(fmt), lambda chunk: _decode(chunk.to(torch.int8), fmt))
    return values.reshape(stored.shape)


def _value_dtype(fmt: NumberFormat) -> torch.dtype:
    return torch.float32 if fmt.codebook else fmt.torch_dtype


def _encode(values: torch.Tensor, fmt: NumberFormat) -> torch.Tensor:
    """Return contiguous uint8 codes of values known to be in range."""
    if fmt.codebook is not None and values.is_floating_point():
        return _nearest_code(values, fmt.codebook)
    codes = values.to(torch.int8, memory_format=torch.contiguous_format) + fmt.code_offset
    return (codes >> 1 if fmt.name == "int1" else codes).view(torch.uint8)


def _decode(codes: torch.Tensor, fmt: NumberFormat) -> torch.Tensor:
    """Return the values of int8 codes known to be in range."""
    if fmt.codebook is not None:
        levels = torch.tensor(fmt.codebook, dtype=torch.float32, device=codes.device)
        return levels.index_select(0, codes.reshape(-1).to(torch.int32)).view(codes.shape)
    if fmt.name == "int1":
        return codes * 2 - 1
    return codes - fmt.code_offset


def _nearest_code(values: torch.Tensor, codebook: tuple[float, ...]) -> torch.Tensor:
    """Return the uint8 code of the level nearest to each value; the lower one of two as near."""
    levels = sorted(set(codebook))  # -0.0 and 0.0 are one level here.
    # float64 holds every midpoint exactly, so that no value between two levels goes to the farther one.
    midpoints = torch.tensor(
        [(a + b) / 2 for a, b in itertools.pairwise(levels)], dtype=torch.float64, device=values.device
    )
    code_of = torch.tensor([codebook.index(level) for level in levels], dtype=torch.uint8, device=values.device)
    wide = values.to(torch.float64, memory_format=torch.contiguous_format)
    nearest = torch.bucketize(wide, midpoints, out_int32=True)
    codes = code_of.index_select(0, nearest.view(-1)).view(values.shape)
    zero = codebook.index(0.0)
    negative_zero = next((i for i, level in enumerate(codebook) if level == 0 and math.copysign(1, level) < 0), None)
    if negative_zero is not None:
        codes.masked_fill_((codes == zero) & torch.signbit(wide), negative_zero)
    return codes


def _cast(values: torch.Tensor, fmt: NumberFormat) -> torch.Tensor:
    """Return values known to be in range as a tensor of a format of 8 bits and more."""
    if fmt.torch_dtype in _FLOAT8_DTYPES and not values.is_floating_point():
        return values.view(fmt.torch_dtype)
    return values.to(fmt.torch_dtype)


# Whole operands.


def pack(weight: torch.Tensor | np.ndarray, config: MatmulConfig) -> torch.Tensor:
    """Turn a weight into the tensor that an operator of `config` stores, in the plain layout.

    Parameters
    ----------
    weight
        Values as `encode` takes them, shape (N, K); (K, N) for layout "nn".
    config
        The problem.

    Returns
    -------
    torch.Tensor
        Shape ``config.W_shape``, type ``config.W_format.torch_dtype``, contiguous, on the device of `weight`.

    Raises
    ------
    ConfigError
        If the shape is another one, or as `encode` says.
    """
    values = _to_tensor(weight, "weight")
    fmt = config.W_format
    _check_shape(values, _value_shape(config), "weight", "(N, K)" if config.layout == "nt" else "(K, N)")
    _check_values(values, fmt)
    if not fmt.is_packed:
        return _cast(values, fmt).contiguous()
    return _map_rows(values, config.W_shape[1], torch.int8, lambda rows: _compress(_encode(rows, fmt), fmt.bits))


def unpack(qweight: torch.Tensor | np.ndarray, config: MatmulConfig) -> torch.Tensor:
    """Return the values of a weight in the plain layout, the inverse of `pack`.

    Parameters
    ----------
    qweight
        Shape ``config.W_shape``, type ``config.W_format.torch_dtype``.
    config
        The problem.

    Returns
    -------
    torch.Tensor
        Shape (N, K), or (K, N) for layout "nn"; int8 for packed integers, float32 for nf4 and fp4_e2m1, else `qweight`.

    Raises
    ------
    ConfigError
        If shape or type are other ones.
    """
    stored = _to_tensor(qweight, "qweight")
    fmt = config.W_format
    _check_shape(stored, config.W_shape, "qweight", "the packed (N, K * bits / 8)" if fmt.is_packed else "the stored W")
    _check_dtype(stored, fmt.torch_dtype, "qweight")
    if not fmt.is_packed:
        return stored
    width = _value_shape(config)[1]
    return _map_rows(stored, width, _value_dtype(fmt), lambda rows: _decode(_decompress(rows, fmt.bits), fmt))


def pack_zeros(zeros: torch.Tensor | np.ndarray, config: MatmulConfig) -> torch.Tensor:
    """Pack integer zero points for zeros_mode "quantized".

    Parameters
    ----------
    zeros
        Integers 0 ... 2^bits - 1 of W's width, shape (K / group_size, N): transposed, as BitBLAS stores them. Not
        (N, K / group_size), the shape of Scale.
    config
        The problem.

    Returns
    -------
    torch.Tensor
        Shape ``config.zeros_shape``, (K / group_size, N * bits / 8), int8, packed along N.

    Raises
    ------
    ConfigError
        If a zero point is out of range, the shape is another one, or `config` has no packed zero points.
    """
    _check_has_packed_zeros(config)
    values = _to_tensor(zeros, "zeros")
    _check_shape(values, (config.num_groups, config.N), "zeros", "(K / group_size, N)")  # type: ignore[arg-type]
    _check_codes(values, config.W_format.bits, "zeros")
    return _compress_rows(values, config.W_format.bits)


def unpack_zeros(qzeros: torch.Tensor | np.ndarray, config: MatmulConfig) -> torch.Tensor:
    """Return the integers of packed zero points, the inverse of `pack_zeros`.

    Parameters
    ----------
    qzeros
        Shape ``config.zeros_shape``, int8.
    config
        The problem.

    Returns
    -------
    torch.Tensor
        Integers 0 ... 2^bits - 1, shape (K / group_size, N), int8; uint8 where W has 8 bits.

    Raises
    ------
    ConfigError
        If shape or type are other ones, or `config` has no packed zero points.
    """
    _check_has_packed_zeros(config)
    stored = _to_tensor(qzeros, "qzeros")
    _check_shape(stored, config.zeros_shape, "qzeros", "(K / group_size, N * bits / 8)")
    _check_dtype(stored, torch.int8, "qzeros")
    return general_decompress(stored, config.W_format.bits)


def _value_shape(config: MatmulConfig) -> tuple[int, int]:
    return (config.N, config.K) if config.layout == "nt" else (config.K, config.N)  # type: ignore[return-value]


# Containers.


def _to_tensor(array: Any, argument: str) -> torch.Tensor:
    """Return a tensor that shares the memory of `array` where it can."""
    if isinstance(array, torch.Tensor):
        return array.detach()
    if not isinstance(array, np.ndarray):
        raise ConfigError(
            f"{argument!r} must be a torch tensor or a NumPy array (got {type(array).__name__})", **{argument: array}
        )
    # torch takes neither negative strides nor, without a warning, memory that it may not write.
    owned = array if array.flags.writeable and all(s >= 0 for s in array.strides) else array.copy()
    try:
        return torch.from_numpy(owned)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{argument!r} has a type that torch does not know (got {array.dtype}); cast it first, for example "
            "with .astype('int8')",
            **{argument: array.dtype},
        ) from error


def _like(result: torch.Tensor, source: Array) -> Array:
    return result if isinstance(source, torch.Tensor) else result.numpy()


def _map_rows(
    source: torch.Tensor, width: int, dtype: torch.dtype, function: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Apply `function`, (rows, K) -> (rows, width), to a few rows at a time, which bounds the memory of temporaries.

    The rows are contiguous, and aligned to any type of up to 8 bytes.
    """
    leading = source.shape[:-1]
    table = source.reshape(math.prod(leading), source.shape[-1])
    result = torch.empty((table.shape[0], width), dtype=dtype, device=source.device)
    step = max(1, _CHUNK_ELEMENTS // max(1, width, table.shape[1]))
    for start in range(0, table.shape[0] if width else 0, step):
        # A fresh copy: a slice may start at an address or an offset at which it cannot be read as wider integers.
        rows = table[start : start + step].clone(memory_format=torch.contiguous_format)
        result[start : start + step] = function(rows).view(dtype)
    return result.view(*leading, width)


# Checks. One synchronisation with the device a call; the index of a culprit is looked for only when there is one.


def _check_source_bits(bits: Any) -> None:
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 8:
        raise ConfigError(f"'source_bits' must be an int from 1 to 8 (got {bits!r})", source_bits=bits)


def _check_row_bits(codes: torch.Tensor, bits: int) -> None:
    if codes.ndim == 0:
        raise ConfigError("'weight' must have at least one dimension, (..., K) (got a scalar)", weight=())
    K, step = codes.shape[-1], _lane(bits)
    if K % step:
        raise ConfigError(
            f"the last dimension of 'weight' must be a multiple of {step} so that rows of {bits}-bit codes fill whole "
            f"bytes (got shape {tuple(codes.shape)}, remainder {K % step}); pad K to a multiple of {step}: "
            f"{-(-K // step) * step}",
            weight=tuple(codes.shape), source_bits=bits,
        )  # fmt: skip


def _check_shape(tensor: torch.Tensor, shape: tuple[int, ...], argument: str, meaning: str) -> None:
    if tuple(tensor.shape) != tuple(shape):
        raise ConfigError(
            f"{argument!r} must have shape {meaning} = {tuple(shape)} (got {tuple(tensor.shape)})",
            **{argument: tuple(tensor.shape)},
        )


def _check_dtype(tensor: torch.Tensor, dtype: torch.dtype, argument: str) -> None:
    if tensor.dtype != dtype:
        raise ConfigError(f"{argument!r} must be {dtype} (got {tensor.dtype})", **{argument: tensor.dtype})


def _check_has_packed_zeros(config: MatmulConfig) -> None:
    if not config.has_packed_zeros:
        raise ConfigError(
            "packed zero points need with_zeros=True and zeros_mode='quantized' "
            f"(got with_zeros={config.with_zeros}, zeros_mode={config.zeros_mode!r}); other modes take Zeros as it is",
            with_zeros=config.with_zeros, zeros_mode=config.zeros_mode,
        )  # fmt: skip


def _check_codes(codes: torch.Tensor, bits: int, argument: str) -> None:
    """Check that integers are codes of `bits` bits."""
    if codes.dtype not in _INTEGER_DTYPES:
        raise ConfigError(f"{argument!r} must hold integers (got {codes.dtype})", **{argument: codes.dtype})
    _check_range(codes, 0, (1 << bits) - 1, argument, f"{bits}-bit codes are 0..{(1 << bits) - 1}")


def _check_values(values: torch.Tensor, fmt: NumberFormat) -> None:
    """Check that a format takes values of this type and holds each of them."""
    if values.dtype not in _INTEGER_DTYPES + _FLOAT_DTYPES:
        raise ConfigError(f"'weight' must hold integers or floats (got {values.dtype})", weight=values.dtype)
    floating = values.is_floating_point()
    if fmt.is_integer:
        if floating:
            raise ConfigError(
                f"'weight' must hold integers where W is {fmt.name} (got {values.dtype}); "
                "quantize it first, for example (weight / scale).round().to(torch.int8)",
                weight=values.dtype,
            )
        _check_integers(values, fmt)
    elif fmt.codebook is not None:
        if not floating:
            _check_range(
                values, 0, len(fmt.codebook) - 1, "weight", f"codes of {fmt.name} are 0..{len(fmt.codebook) - 1}"
            )
            return
        levels = sorted(set(fmt.codebook))
        low, high = levels[0] - (levels[1] - levels[0]) / 2, levels[-1] + (levels[-1] - levels[-2]) / 2
        what = f"{fmt.name} reaches from {levels[0]:g} to {levels[-1]:g}"
        _check_range(values, low, high, "weight", what, "divide it by its scale first")
    elif fmt.torch_dtype in _FLOAT8_DTYPES and not floating:
        if values.dtype not in (torch.int8, torch.uint8):
            raise ConfigError(
                f"'weight' must hold floats, or bit patterns as int8 or uint8, where W is {fmt.name} "
                f"(got {values.dtype}); cast it to float32 for values, to uint8 for bit patterns",
                weight=values.dtype,
            )
    elif values.dtype != fmt.torch_dtype:
        # What is less than half a step above the largest number rounds to it (IEEE 754, 4.3.1).
        info = torch.finfo(fmt.torch_dtype)
        step = info.eps * 2.0 ** math.floor(math.log2(info.max))
        limit = math.nextafter(info.max + step / 2, 0.0)
        _check_range(values, -limit, limit, "weight", f"{fmt.name} reaches from {-info.max:g} to {info.max:g}")


def _check_integers(values: torch.Tensor, fmt: NumberFormat) -> None:
    if fmt.name == "int1":
        magnitudes = values.abs()
        if not _all_within(magnitudes, 1, 1):
            _raise_at(magnitudes != 1, values, "weight", "int1 holds -1 and 1")
    elif values.dtype != fmt.torch_dtype or fmt.is_packed:
        _check_range(
            values, fmt.min_value, fmt.max_value, "weight", f"{fmt.name} holds {fmt.min_value}..{fmt.max_value}"
        )


def _check_range(
    values: torch.Tensor, low: float, high: float, argument: str, what: str, fix: str | None = None
) -> None:
    """Raise if a value is below `low`, above `high` or NaN; `what` says what is held."""
    if _all_within(values, low, high):
        return
    wide = values.to(torch.float64)  # The bounds need not be numbers of the tensor's own type.
    _raise_at(~((wide >= low) & (wide <= high)), values, argument, what, fix)


def _all_within(values: torch.Tensor, low: float, high: float) -> bool:
    if values.numel() == 0:
        return True
    # float8 has no minimum in torch; float16 holds all of it.
    values = values.to(torch.float16) if values.dtype in _FLOAT8_DTYPES else values
    least, greatest = torch.stack(torch.aminmax(values)).tolist()  # NaN if there is one.
    return bool(least >= low and greatest <= high)


def _raise_at(bad: torch.Tensor, values: torch.Tensor, argument: str, what: str, fix: str | None = None) -> None:
    """Raise for the first element of `values` at which `bad` holds."""
    position = int(bad.reshape(-1).to(torch.uint8).argmax())
    index = tuple(int(i) for i in np.unravel_index(position, tuple(values.shape)))
    value = values[index].item()
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    advice = f"; {fix}" if fix else ""
    raise ConfigError(
        f"{argument!r} out of range: got value {shown} at {index}, {what}{advice}", value=value, index=index
    )
