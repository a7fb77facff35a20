# SPDX-License-Identifier: Apache-2.0
"""Random operands of a call: the one generator that timing, tuning, benchmarks and tests draw from.

Sizes follow from the problem, so that its output type holds the results: A is small enough for the rows of decode(W),
factors bring sums into the range of the output, and what is added has half of the size of the results. Operands are
those of `bitquant.operands`; one more vector there needs nothing here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from bitquant.config import MatmulConfig
from bitquant.formats import NumberFormat
from bitquant.layouts import WeightLayout
from bitquant.operands import ARGUMENTS, EPILOGUE, INPUTS, present
from bitquant.packing import pack, pack_zeros
from bitquant.relayout import to_layout

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Inputs", "draw_inputs"]

#: Root mean square that outputs aim at: a few of int8 saturate; float16 (65504) is not reached in 16 standard
#: deviations, bias included.
_TARGET_RMS = {"int8": 90.0, "int32": 4000.0, "float16": 4000.0}
#: The same for arguments of an activation, the roots of these for integers; floats are on both sides of its bend.
_TARGET_RMS_OF_ARGUMENTS = {"int8": 9.0, "int32": 64.0}
_TARGET_RMS_OF_FLOATS = 4.0
_LARGEST_FLOAT16 = 65504.0
#: Root mean square of numbers spread evenly over int8, -128 ... 127.
_INT8_RMS = math.sqrt((256**2 - 1) / 12)
#: Elements of a temporary.
_CHUNK_ELEMENTS = 1 << 24


@dataclass(frozen=True)
class Inputs:
    """Operands of one call, and what the stored ones among them stand for.

    Each is an attribute by its name at the call (`bitquant.operands.ARGUMENTS`), None where the problem does not have
    it. `W` are values; `stored` has the operand.

    Attributes
    ----------
    config
        The problem.
    W
        Values, not packed: (N, K), or (K, N) for layout "nn". int8 or uint8 for integers, codes in int8 for formats
        that have levels (nf4 ...), else the type of W. `bitquant.packing.pack` and `transform_weight` take it.
    given
        All other operands that there are, by their names at the call.
    zeros_values
        `zeros`, and where that is packed the integers, (K / group, N).
    zero_points
        The integers z of (w - z) * s, float32, (N, K / group), where zero points are integers in every mode; else None.
    """

    config: MatmulConfig
    W: torch.Tensor
    given: dict[str, torch.Tensor] = field(default_factory=dict)
    zeros_values: torch.Tensor | None = None
    zero_points: torch.Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        if name in ARGUMENTS:
            return self.given.get(name)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    @property
    def optional(self) -> dict[str, torch.Tensor]:
        """What `Operator.forward` takes beside A and W, in the order of the kernels' parameters."""
        return {name: self.given[name] for name in ARGUMENTS if name in self.given and name != "A"}

    def stored(self, layout: WeightLayout) -> dict[str, torch.Tensor]:
        """Return all operands, with the weight as an operator stores it, in the order of the kernels' parameters."""
        operands = {**self.given, "W": to_layout(pack(self.W, self.config), self.config, layout)}
        return {name: operands[name] for name in ARGUMENTS if name in operands}

    def replace(self, **operands: torch.Tensor) -> Self:
        """Return this with other operands, by their names at the call."""
        return dataclasses.replace(self, given={**self.given, **operands})

    def to(self, device: torch.device | str) -> Self:
        """Return the same numbers on a device."""

        def moved(tensor: torch.Tensor | None) -> Any:
            return None if tensor is None else tensor.to(device)

        return dataclasses.replace(
            self,
            W=moved(self.W),
            given={name: moved(tensor) for name, tensor in self.given.items()},
            zeros_values=moved(self.zeros_values),
            zero_points=moved(self.zero_points),
        )

    def rows(self, rows: slice) -> Self:
        """Return some rows m of the problem."""
        by_row = {o.argument for o in INPUTS if o.rows == "A"}
        given = {name: t[rows].contiguous() if name in by_row else t for name, t in self.given.items()}
        return dataclasses.replace(self, given=given)

    def columns(self, columns: torch.Tensor) -> Self:
        """Return some columns n of the problem; `zeros_values` alone has its packed zero points then."""
        c, given = self.config, dict(self.given)
        if c.has_packed_zeros:
            del given["zeros"]
        by_column = {o.argument for o in INPUTS if o.rows == "W"}
        if c.rows_per_scale > 1 and self.scale is not None:
            given["scale"] = self.scale[torch.arange(c.N, device=self.scale.device) // c.rows_per_scale]
            c = dataclasses.replace(c, rows_per_scale=1)
        given = {name: t[columns] if name in by_column else t for name, t in given.items()}
        zeros_values = given.get("zeros")
        if self.zeros_values is not None and c.has_packed_zeros:
            zeros_values = self.zeros_values[:, columns]
        return dataclasses.replace(
            self,
            config=dataclasses.replace(c, N=len(columns)),
            W=self.W[columns] if c.layout == "nt" else self.W[:, columns],
            given=given,
            zeros_values=zeros_values,
            zero_points=None if self.zero_points is None else self.zero_points[columns],
        )

    def decoded(self, rows: slice) -> torch.Tensor:
        """Return decode(W) for some n, (n, K) in float64: (w - z) * s, or w * s - z for zeros_mode "rescale"."""
        c, levels = self.config, self.config.W_format.levels
        w = self.W[rows] if c.layout == "nt" else self.W[:, rows].T
        w = torch.tensor(levels, device=w.device, dtype=torch.float64)[w.int()] if levels else w.double()

        def of_groups(tensor: torch.Tensor | None, absent: float, shared_by: int = 1) -> Any:
            if tensor is None:
                return absent
            of_rows = tensor.double().repeat_interleave(shared_by, 0)[: c.N] if shared_by > 1 else tensor
            return of_rows[rows].double().repeat_interleave(c.group, 1)

        zeros = self.zeros_values
        s = of_groups(self.scale, 1.0, c.rows_per_scale)
        z = of_groups(zeros.T if zeros is not None and c.has_packed_zeros else zeros, 0.0)
        value: torch.Tensor = w * s - z if c.zeros_mode == "rescale" else (w - z) * s
        return value

    def with_rows(self, m: int, generator: torch.Generator) -> Self:
        """Return this with new operands for `m` rows: A, and whatever else goes by row of A."""
        sizes = _Sizes.of(self)
        given = {**self.given, "A": _draw_A(self.config, m, sizes, generator)}
        given |= _draw_epilogue(self.config, "A", m, sizes, generator)
        return dataclasses.replace(self, given=given)


def draw_inputs(
    config: MatmulConfig,
    m: int,
    generator: torch.Generator,
    *,
    every_float8: bool = False,
    is_portable: bool = False,
) -> Inputs:
    """Draw operands for a call with `m` rows, on the device of `generator`.

    Integers and codes of W take every value of their format as often, each at least once where it has room; floats are
    normal. Scales have both signs and undo the range of W, zero points take the range of W. A is normal, or uniform up
    to -128 ... 127 for int8, and small enough for the output type to hold the results; a few percent of int8 outputs
    saturate. Factors of the sums have both signs, and bring results of the whole range of int8 into the output type.

    Parameters
    ----------
    config
        The problem.
    m
        Rows of A, 0 and more.
    generator
        Where the numbers come from.
    every_float8
        Whether a W of float8 takes every finite value as often, too.
    is_portable
        Whether to draw what other libraries can store: integer zero points, and positive scales.
    """
    W = _draw_W(config, generator, every_float8)
    inputs, rms = Inputs(config, W), _rms(config.W_format, every_float8)
    if config.with_scaling:
        inputs.given["scale"] = _draw_scales(config, rms, generator, is_portable)
    if config.with_zeros:
        inputs = _with_zeros(inputs, rms, generator, is_portable)
    inputs.given.update(_draw_epilogue(config, "W", m, _Sizes.of(inputs), generator, is_portable))
    return inputs.with_rows(m, generator)


@dataclass(frozen=True)
class _Sizes:
    """Root mean squares: of A, of the sums, and of what factors are to bring them down by."""

    A: float
    sums: float
    unit: float

    @classmethod
    def of(cls, inputs: Inputs) -> _Sizes:
        """Return the sizes that suit the largest 2-norm of a row of decode(W), of no more than 256 rows."""
        c = inputs.config
        norm = float(inputs.decoded(slice(256)).norm(dim=1).max())
        target, least = _TARGET_RMS.get(c.out_format.name, math.inf), 2.0**-6
        if c.activation is not None:
            target = _TARGET_RMS_OF_ARGUMENTS.get(c.out_format.name, _TARGET_RMS_OF_FLOATS)
            least = 2.0**-9 if c.A_format.name == "float8_e4m3" else 2.0**-14  # Products of two must not overflow.
        # int32 holds every sum of int8, and factors will bring outputs into their type.
        has_room = c.reduce_dtype == "int32" and c.out_format.bits == 32 and c.activation is None
        has_room = has_room or (c.A_format.is_integer and c.has_output_scales)
        wanted = (math.inf if has_room else target) / norm if norm else 1.0
        if c.A_format.is_integer:
            rms = min(wanted, _INT8_RMS)
        else:
            # float16 outputs need not be large, integer ones must be to show their digits. float8_e4m3 reaches from
            # 2^-6 (normal) to 448, that is 64 times 7 standard deviations.
            wanted = min(max(wanted, least), 64.0 if c.out_format.is_integer else 1.0)
            rms = 2.0 ** math.floor(math.log2(wanted))
        sums = rms * norm
        return cls(rms, sums, min(1.0, target / sums) if sums else 1.0)


def _draw_epilogue(
    config: MatmulConfig, rows: str, m: int, sizes: _Sizes, generator: torch.Generator, is_portable: bool = False
) -> dict[str, torch.Tensor]:
    """Return what sums meet, of the operands that go by rows of A, or of W."""
    there = present(config, EPILOGUE)
    factors = [o for o in there if o.role == "factor"]
    drawn: dict[str, torch.Tensor] = {}
    for operand in (o for o in there if o.rows == rows):
        shape = operand.shape(config, m, "plain")
        if operand.role == "factor":
            # One of them brings outputs down; of the rest of their size there are a half to one.
            unit = sizes.unit if operand is factors[0] else 1.0
            numbers = unit * _draw_signed(shape, (0.5, 1.0), generator, is_portable)
        else:
            numbers = _draw_addend(config, shape, sizes.sums * (sizes.unit if factors else 1.0), generator)
        drawn[operand.argument] = numbers.to(operand.torch_dtype(config))
    return drawn


def _draw_addend(
    config: MatmulConfig, shape: tuple[int, ...], output_rms: float, generator: torch.Generator
) -> torch.Tensor:
    """Return numbers of half the size of the outputs; for integer outputs integers, the extremes of int8 among them."""
    if not config.out_format.is_integer:
        return torch.randn(shape, device=generator.device, generator=generator) * output_rms / 2
    reach = min(64, int(output_rms) + 1) if config.out_format.bits == 8 else int(output_rms) + 1
    numbers = torch.randint(-reach, reach + 1, shape, device=generator.device, generator=generator)
    if numbers.numel() >= 2:
        numbers.view(-1)[0], numbers.view(-1)[-1] = -128, 127
    return numbers


def _draw_signed(
    shape: Sequence[int], reach: tuple[float, float], generator: torch.Generator, is_positive: bool = False
) -> torch.Tensor:
    """Return numbers of either sign, unless they are to be positive, whose sizes are spread evenly; float32."""
    sizes = _uniform(shape, *reach, generator)
    if is_positive:
        return sizes
    return sizes * (torch.randint(0, 2, tuple(shape), device=generator.device, generator=generator) * 2 - 1)


def _uniform(shape: Sequence[int], low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(tuple(shape), device=generator.device, generator=generator) * (high - low) + low


def _draw_scales(config: MatmulConfig, rms: float, generator: torch.Generator, is_portable: bool) -> torch.Tensor:
    """Return scales that bring weights of size `rms` to some 1, in their type: there is no negative power of two."""
    fmt = config.scale_format
    has_sign = fmt.name != "float8_e8m0"
    unit = 1.0 / rms
    if fmt.bits == 8 and has_sign:
        unit = max(unit, 2.0**-5)  # E4M3 is normal from 2^-6 on.
    scale = _draw_signed(config.scale_shape, (0.5, 1.5), generator, is_portable or not has_sign) * unit
    return scale.to(fmt.torch_dtype)


# W, and its zero points.


def _all_values(fmt: NumberFormat) -> torch.Tensor:
    """Return every finite value of a format of 8 bits and fewer; codes of formats that have levels."""
    if fmt.is_integer:
        return torch.arange(int(fmt.min_value), int(fmt.max_value) + 1, fmt.step).to(fmt.torch_dtype)
    patterns = torch.arange(1 << fmt.bits, dtype=torch.uint8)
    if fmt.is_packed:
        return patterns.view(torch.int8)
    return patterns[patterns.view(fmt.torch_dtype).to(torch.float32).isfinite()].view(fmt.torch_dtype)


def _is_normal(fmt: NumberFormat, every_float8: bool) -> bool:
    """Whether W is drawn from normal numbers, not from all values of its format."""
    return not fmt.is_integer and not fmt.is_packed and (fmt.bits > 8 or not every_float8)


def _rms(fmt: NumberFormat, every_float8: bool) -> float:
    """Return the root mean square of the weights that are drawn."""
    if _is_normal(fmt, every_float8):
        return 1.0
    values = _all_values(fmt)
    values = values if fmt.levels is None else fmt.decode(values)
    return float(values.to(torch.float64).square().mean().sqrt())


def _draw_from(values: torch.Tensor, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Return values drawn uniformly, each at least once where there is room, spread evenly over the tensor."""
    size, count, device = math.prod(shape), len(values), generator.device
    if size == 0:
        return torch.empty(shape, dtype=values.dtype, device=device)
    indices = torch.randint(0, count, (size,), device=device, generator=generator, dtype=torch.uint8)
    planted = torch.randperm(count, device=device, generator=generator)[:size]
    start = int(torch.randint(0, size, (1,), device=device, generator=generator))
    places = (torch.arange(len(planted), device=device) * max(1, size // count) + start) % size
    indices[places] = planted.to(torch.uint8)
    raw = values.view(torch.uint8).to(device)  # index_select knows no float8.
    for part in indices.split(_CHUNK_ELEMENTS):
        part.copy_(raw.index_select(0, part.to(torch.int32)))
    return indices.view(values.dtype).view(shape)


def _draw_W(config: MatmulConfig, generator: torch.Generator, every_float8: bool) -> torch.Tensor:
    fmt = config.W_format
    shape = (config.N, config.K) if config.layout == "nt" else (config.K, config.N)
    if not _is_normal(fmt, every_float8):
        return _draw_from(_all_values(fmt), shape, generator)
    W = torch.empty(shape, dtype=fmt.torch_dtype, device=generator.device)
    for part in W.split(max(1, _CHUNK_ELEMENTS // shape[1])):
        part.copy_(torch.randn(part.shape, device=generator.device, generator=generator))
    return W


def _with_zeros(inputs: Inputs, rms: float, generator: torch.Generator, is_portable: bool) -> Inputs:
    """Return this with zero points: integers where they are packed, or are to be, else fractions and integers."""
    c, fmt = inputs.config, inputs.config.W_format
    points: torch.Tensor | None = None
    if c.has_packed_zeros:
        codes = torch.arange(1 << fmt.bits, dtype=torch.uint8)
        values = _draw_from(codes, (c.num_groups, c.N), generator)
        zeros, points = pack_zeros(values, c), values.T.float()
    elif is_portable:
        low, high = (int(fmt.min_value), int(fmt.max_value)) if fmt.is_integer else (-1, 1)
        drawn = torch.randint(low, high + 1, c.scale_shape, device=generator.device, generator=generator)
        points = drawn.float()
        scaled = points * inputs.scale.float() if c.zeros_mode == "rescale" and c.with_scaling else points
        zeros = values = scaled.to(c.scale_format.torch_dtype)
    else:
        zeros = values = _draw_fractions(c, rms, generator).to(c.scale_format.torch_dtype)
    return dataclasses.replace(
        inputs,
        given={**inputs.given, "zeros": zeros},
        zeros_values=values,
        zero_points=points if is_portable else None,
    )


def _draw_fractions(config: MatmulConfig, rms: float, generator: torch.Generator) -> torch.Tensor:
    """Return zero points that are not packed: fractions, and half of them integers for "original" with an integer W."""
    fmt, shape = config.W_format, config.scale_shape
    if config.zeros_mode == "original" and fmt.is_integer:
        zeros = _uniform(shape, fmt.min_value, fmt.max_value, generator)
        is_whole = torch.rand(shape, device=generator.device, generator=generator) < 0.5
        return torch.where(is_whole, zeros.round(), zeros)
    reach = 1.0 if config.zeros_mode == "rescale" and config.with_scaling else rms
    if not fmt.is_integer and fmt.bits == 8:  # w - z is kept within float16.
        reach = min(reach, 0.9 * (_LARGEST_FLOAT16 - fmt.max_value))
    return _uniform(shape, -reach, reach, generator)


# A.


def _draw_A(config: MatmulConfig, m: int, sizes: _Sizes, generator: torch.Generator) -> torch.Tensor:
    shape = (m, config.K)
    if config.A_format.is_integer:
        return _draw_int8(shape, sizes.A, generator)
    A = torch.randn(shape, device=generator.device, generator=generator) * sizes.A
    return A.to(config.A_format.torch_dtype)


def _draw_int8(shape: tuple[int, int], rms: float, generator: torch.Generator) -> torch.Tensor:
    """Return int8 values of about that RMS: uniform in -128 ... 127 or less, or -1, 0 and 1 with few that are not 0."""
    options: dict[str, Any] = {"device": generator.device, "generator": generator}
    if rms >= math.sqrt(127 * 128 / 3):
        return _draw_from(torch.arange(-128, 128).to(torch.int8), shape, generator)
    largest = int((math.sqrt(1 + 12 * rms**2) - 1) / 2)  # Integers up to a have a mean square of a (a + 1) / 3.
    if largest >= 1:
        return torch.randint(-largest, largest + 1, shape, dtype=torch.int8, **options)
    values = torch.randint(0, 2, shape, dtype=torch.int8, **options) * 2 - 1
    kept = torch.rand(shape, **options) < rms**2
    kept[torch.arange(shape[0], device=generator.device), torch.randint(0, shape[1], (shape[0],), **options)] = True
    return values * kept
