"""Checks of what is packed: shapes, types, and that every value is one that its format holds.

A call synchronises with the device once. The index of a culprit is looked for only when there is one.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor

from bitquant.dtypes import NumberFormat
from bitquant.errors import ConfigError

__all__ = [
    "FLOAT8_DTYPES",
    "check_codes",
    "check_dense",
    "check_dtype",
    "check_finite",
    "check_is_there",
    "check_shape",
    "check_values",
]

FLOAT8_DTYPES = (torch.float8_e4m3fn, torch.float8_e5m2)
_INTEGER_DTYPES = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
_FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, *FLOAT8_DTYPES)


def check_shape(tensor: torch.Tensor, shape: tuple[int, ...], argument: str, meaning: str) -> None:
    """Check that an argument has a shape; `meaning` names its sizes."""
    if tuple(tensor.shape) != tuple(shape):
        raise ConfigError(
            f"{argument!r} must have shape {meaning} = {tuple(shape)} (got {tuple(tensor.shape)})",
            **{argument: tuple(tensor.shape)},
        )


def check_dtype(tensor: torch.Tensor, dtype: torch.dtype, argument: str) -> None:
    """Check that an argument has a type."""
    if tensor.dtype != dtype:
        raise ConfigError(f"{argument!r} must be {dtype} (got {tensor.dtype})", **{argument: tensor.dtype})


def check_dense(tensor: torch.Tensor, argument: str) -> None:
    """Check that a tensor is a plain array of numbers: not nested, sparse or one of torch's quantized types."""
    if tensor.is_nested or tensor.layout is not torch.strided or tensor.is_quantized:
        kind = "nested" if tensor.is_nested else "quantized" if tensor.is_quantized else tensor.layout
        raise ConfigError(
            f"{argument!r} must be a dense tensor (got one that is {kind}); use .to_dense(), .dequantize() or "
            "torch.nested.to_padded_tensor",
            **{argument: kind},
        )


def check_is_there(tensor: torch.Tensor, argument: str) -> None:
    """Check that a tensor holds values: one on torch's "meta" device, or a fake one of a trace, has none."""
    if tensor.is_meta or isinstance(tensor, FakeTensor):
        raise ConfigError(
            f"{argument!r} must hold values to be packed (got a tensor that has none: a fake one, or on the meta "
            "device); pack it where it is loaded, outside of traces",
            **{argument: tensor.device},
        )


def check_finite(weight: torch.Tensor) -> None:
    """Check that a weight that is to be rounded holds numbers alone."""
    check_is_there(weight, "weight")
    if not (finite := torch.isfinite(weight)).all():
        index = tuple((~finite).nonzero()[0].tolist())
        raise ConfigError(
            f"'weight' must be finite (got {weight[index].item()} at {index})", weight=weight, index=index
        )


def check_codes(codes: torch.Tensor, bits: int, argument: str) -> None:
    """Check that integers are codes of `bits` bits."""
    check_is_there(codes, argument)
    if codes.dtype not in _INTEGER_DTYPES:
        raise ConfigError(f"{argument!r} must hold integers (got {codes.dtype})", **{argument: codes.dtype})
    _check_range(codes, 0, (1 << bits) - 1, argument, f"{bits}-bit codes are 0..{(1 << bits) - 1}")


def check_values(values: torch.Tensor, fmt: NumberFormat) -> None:
    """Check that a format takes values of this type and holds each of them."""
    check_is_there(values, "weight")
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
    elif fmt.torch_dtype in FLOAT8_DTYPES and not floating:
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
    values = values.to(torch.float16) if values.dtype in FLOAT8_DTYPES else values
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
