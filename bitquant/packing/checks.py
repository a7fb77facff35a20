# SPDX-License-Identifier: Apache-2.0
"""Checks of what is packed: shapes, types, and that every value is one that its format holds.

A call synchronises with the device once. The index of a culprit is looked for only when there is one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor

from bitquant.errors import ConfigError
from bitquant.formats import NumberFormat

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


def check_codes(codes: torch.Tensor, bits: int, argument: str, fix: str | None = None) -> None:
    """Check that integers are codes of `bits` bits; `fix` says what to do with others, if not what it is for codes."""
    check_is_there(codes, argument)
    if codes.dtype not in _INTEGER_DTYPES:
        raise ConfigError(f"{argument!r} must hold integers (got {codes.dtype})", **{argument: codes.dtype})
    fix = fix or f"add {1 << (bits - 1)} to signed ones first, or use more bits"
    _check_range(codes, 0, (1 << bits) - 1, argument, f"{bits}-bit codes are 0..{(1 << bits) - 1}", fix)


def check_values(values: torch.Tensor, fmt: NumberFormat) -> None:
    """Check that a format takes values of this type and holds each of them."""
    check_is_there(values, "weight")
    if values.dtype not in _INTEGER_DTYPES + _FLOAT_DTYPES:
        raise ConfigError(f"'weight' must hold integers or floats (got {values.dtype})", weight=values.dtype)
    if (bounds := fmt.bounds(values.dtype)) is not None:
        _check_range(values, bounds.low, bounds.high, "weight", bounds.held, bounds.fix, bounds.step)


def _check_range(
    values: torch.Tensor, low: float, high: float, argument: str, what: str, fix: str, step: int = 0
) -> None:
    """Raise if a value is below `low`, above `high`, NaN or between two steps from `low`; `what` says what is held."""
    if _all_within(values, low, high, step):
        return
    wide = values.to(torch.float64)  # The bounds need not be numbers of the tensor's own type.
    held = (wide >= low) & (wide <= high)
    held &= (wide - low) % step == 0 if step > 1 else True
    _raise_at(~held, values, argument, what, fix)


def _all_within(values: torch.Tensor, low: float, high: float, step: int) -> bool:
    if values.numel() == 0:
        return True
    # float8 has no minimum in torch; float16 holds all of it.
    values = values.to(torch.float16) if values.dtype in FLOAT8_DTYPES else values
    found = list(torch.aminmax(values))
    if step > 1:
        found.append(((values - int(low)) % step).amax())
    least, greatest, *over = torch.stack(found).tolist()  # NaN if there is one.
    return bool(least >= low and greatest <= high and not any(over))


def _raise_at(bad: torch.Tensor, values: torch.Tensor, argument: str, what: str, fix: str) -> None:
    """Raise for the first element of `values` at which `bad` holds."""
    position = int(bad.reshape(-1).to(torch.uint8).argmax())
    index = tuple(int(i) for i in np.unravel_index(position, tuple(values.shape)))
    value = values[index].item()
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    raise ConfigError(
        f"{argument!r} out of range: got value {shown} at {index}, {what}; {fix}", value=value, index=index
    )
