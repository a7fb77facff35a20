"""What is timed: kinds of problems by name, shapes by name, and weights with real values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bitquant.config import MatmulConfig, ZerosMode
from bitquant.errors import ConfigError
from bitquant.formats import ACTIVATION_DTYPES, WEIGHT_DTYPES, canonical_name, number_format
from bitquant.packing import pack_zeros
from bitquant.testing.generators import SHAPE_SETS
from bitquant.testing.oracle import oracle_weight

__all__ = [
    "AXES",
    "Cell",
    "Kind",
    "Weights",
    "cells",
    "draw_activation",
    "draw_activation_scale",
    "draw_weights",
    "parse_kind",
    "parse_shapes",
]

#: Axes of a run, for `cells`.
AXES = ("format", "shape", "m")

_KIND = re.compile(
    r"(?:(?P<A>\w+):)?(?P<W>\w+?)(?:-(?:g(?P<group>\d+)|(?P<row>row)))?(?:-(?P<zeros>(?!scaled$)[a-z]+))?"
    r"(?P<scaled>-scaled)?"
)
_ZEROS: dict[str, ZerosMode] = {
    "zeros": "original",
    "rescale": "rescale",
    "quantized": "quantized",
}


@dataclass(frozen=True)
class Kind:
    """Number formats of a problem, without its sizes.

    Attributes
    ----------
    name
        As `parse_kind` reads it, with the type of A.
    A_dtype, W_dtype
        Types of A and W.
    group_size
        Consecutive k that share a scale; -1: one a row; None: no scales.
    zeros_mode
        None: no zero points.
    is_scaled
        Whether outputs are scaled by row and by column.
    """

    name: str
    A_dtype: str
    W_dtype: str
    group_size: int | None
    zeros_mode: ZerosMode | None
    is_scaled: bool = False

    def config(self, N: int, K: int, M: int) -> MatmulConfig:
        """Return the problem of that size, for exactly M rows.

        The output is of the type of A; for 8-bit A bfloat16 where it is scaled (the one type that torch scales float8
        by row into), int32 where sums are integers, else float16.

        Raises
        ------
        ConfigError
            If the groups do not divide K, say.
        """
        is_integer = self.A_dtype == "int8" and self.group_size is None and number_format(self.W_dtype).is_integer
        eight_bit_out = "bfloat16" if self.is_scaled else "int32" if is_integer else "float16"
        return MatmulConfig(
            M=M,
            N=N,
            K=K,
            A_dtype=self.A_dtype,
            W_dtype=self.W_dtype,
            out_dtype=self.A_dtype if number_format(self.A_dtype).bits > 8 else eight_bit_out,
            accum_dtype="int32" if is_integer else "float32",
            group_size=-1 if self.group_size is None else self.group_size,
            with_scaling=self.group_size is not None,
            with_zeros=self.zeros_mode is not None,
            zeros_mode=self.zeros_mode or "original",
            with_activation_scale=self.is_scaled,
            with_channel_scale=self.is_scaled,
        )


def parse_kind(text: str, A_dtype: str = "float16") -> Kind:
    """Return the kind of problem that a name says.

    ``[A:]W[-gSIZE|-row][-zeros|-rescale|-quantized][-scaled]``: types of A and W, scales for groups of SIZE or for
    whole rows (none where neither is named), zero points by their mode ("zeros" is the mode "original"), and output
    scales by row and column. Examples: ``uint4-g128-zeros``, ``nf4-g64``, ``int8-row``, ``bfloat16:int4-g128``,
    ``int8:int2``, ``int8:int8-scaled``.

    Parameters
    ----------
    text
        The name.
    A_dtype
        Type of A where the name has none.

    Raises
    ------
    ConfigError
        If it is no such name, or a type is unknown.
    """
    match = _KIND.fullmatch(text)
    if match is None or (match["zeros"] is not None and match["zeros"] not in _ZEROS):
        raise ConfigError(
            f"'format' must be [A:]W[-gSIZE|-row][-zeros|-rescale|-quantized][-scaled] (got {text!r}); "
            "for example uint4-g128-zeros, nf4-g64 or int8:int8-scaled",
            format=text,
        )
    W = canonical_name(match["W"], "format", WEIGHT_DTYPES)
    A = canonical_name(match["A"] or A_dtype, "format", ACTIVATION_DTYPES)
    group = int(match["group"]) if match["group"] else -1 if match["row"] else None
    rest = text.partition(":")[2] if match["A"] else text
    zeros_mode = _ZEROS[match["zeros"]] if match["zeros"] else None
    return Kind(f"{A}:{W}{rest[len(match['W']) :]}", A, W, group, zeros_mode, match["scaled"] is not None)


def parse_shapes(text: str) -> tuple[tuple[int, int], ...]:
    """Return the (N, K) of a list of names of `SHAPE_SETS` and of sizes: "llama-3-8b,4096x4096". Each appears once.

    Raises
    ------
    ConfigError
        If a part is neither.
    """
    shapes: dict[tuple[int, int], None] = {}
    for part in text.split(","):
        if part in SHAPE_SETS:
            shapes.update(dict.fromkeys(SHAPE_SETS[part]))
        elif match := re.fullmatch(r"(\d+)x(\d+)", part):
            shapes[int(match[1]), int(match[2])] = None
        else:
            raise ConfigError(
                f"'shapes' must be sizes NxK or names of {', '.join(SHAPE_SETS)} (got {part!r})", shapes=text
            )
    return tuple(shapes)


@dataclass(frozen=True)
class Cell:
    """One problem to time."""

    kind: Kind
    N: int
    K: int
    m: int

    @property
    def config(self) -> MatmulConfig:
        """The problem, for exactly m rows."""
        return self.kind.config(self.N, self.K, self.m)

    def __str__(self) -> str:
        return f"{self.kind.name} {self.N}x{self.K} m={self.m}"


def cells(
    kinds: Sequence[Kind],
    shapes: Sequence[tuple[int, int]],
    rows: Sequence[int],
    order: Sequence[str] = AXES,
) -> Iterator[Cell]:
    """Yield the product of kinds, shapes and rows.

    Parameters
    ----------
    kinds, shapes, rows
        What matters most first.
    order
        A permutation of `AXES`: the first axis varies slowest. With "m" last, a weight is made once for all rows.

    Raises
    ------
    ConfigError
        If `order` is something else.
    """
    if sorted(order) != sorted(AXES):
        raise ConfigError(f"'order' must be a permutation of {','.join(AXES)} (got {','.join(order)})", order=order)
    sizes = {"format": len(kinds), "shape": len(shapes), "m": len(rows)}
    for index in np.ndindex(*(sizes[axis] for axis in order)):
        at = dict(zip(order, index, strict=True))
        N, K = shapes[at["shape"]]
        yield Cell(kinds[at["format"]], N, K, rows[at["m"]])


# Weights with real values.


@dataclass(frozen=True)
class Weights:
    """A weight and its scales and zero points, as values and as an operator takes them.

    Attributes
    ----------
    config
        The problem; its M means nothing here.
    W
        (N, K) values as `Matmul.transform_weight` takes them; codes of formats that have levels.
    scale
        (N, K / group) or None.
    zeros
        As the operator takes them, or None.
    zero_points
        Integers z of (w - z) * s, float32, (N, K / group); for zeros_mode "rescale" the operator gets z * s, rounded.
        None where there are none.
    channel_scale
        (N,) float32, or None.
    """

    config: MatmulConfig
    W: torch.Tensor
    scale: torch.Tensor | None
    zeros: torch.Tensor | None
    zero_points: torch.Tensor | None
    channel_scale: torch.Tensor | None = None

    def reference_rows(self, rows: torch.Tensor) -> np.ndarray:
        """Return decode(W)[rows] in float64 by the oracle, (len(rows), K), times the channel scales."""

        def part(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor[rows].cpu()

        zeros = part(self.zero_points if self.config.has_packed_zeros else self.zeros_of_rows)
        if zeros is not None and self.config.has_packed_zeros:
            zeros = zeros.T
        decoded = oracle_weight(self.config, part(self.W), part(self.scale), zeros)
        if self.channel_scale is None:
            return decoded
        channels: np.ndarray = self.channel_scale[rows].double().cpu().numpy()
        return decoded * channels[:, None]

    @property
    def own_scale(self) -> torch.Tensor:
        """`scale`, of a problem that has one."""
        if self.scale is None:
            raise ValueError(f"{self.config} has no scales")
        return self.scale

    @property
    def zeros_of_rows(self) -> torch.Tensor | None:
        """Zeros of shape (N, K / group), as they are rounded for the operator; None for packed ones."""
        return None if self.config.has_packed_zeros else self.zeros

    @property
    def codes(self) -> torch.Tensor:
        """Unsigned codes, uint8, (N, K): what other libraries pack. Packed formats and integers alone."""
        fmt = self.config.W_format
        if fmt.is_integer:
            return ((self.W.to(torch.int16) - int(fmt.min_value)) // fmt.step).to(torch.uint8)
        return self.W.view(torch.uint8)

    def affine(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return s and z, float32, (N, K / group), such that decode(w) = (code - z) * s. Integers alone."""
        fmt, device = self.config.W_format, self.W.device
        shape = self.config.scale_shape
        s = torch.ones(shape, device=device) if self.scale is None else self.scale.float()
        z = torch.zeros(shape, device=device) if self.zero_points is None else self.zero_points
        return fmt.step * s, (z - fmt.min_value) / fmt.step

    def dequantized(self, dtype: torch.dtype) -> torch.Tensor:
        """Return decode(W) rounded to `dtype`, (N, K)."""
        result = torch.empty(self.W.shape, dtype=dtype, device=self.W.device)
        levels = self.config.W_format.levels
        values = torch.tensor(levels, device=self.W.device) if levels else None
        group = self.config.group
        step = max(1, (1 << 26) // self.W.shape[1])  # float32 temporaries of 256 MiB
        for first in range(0, len(self.W), step):
            rows = slice(first, first + step)
            w = self.W[rows].float() if values is None else values[self.W[rows].int()]
            w = w.view(len(w), -1, group)
            if self.zero_points is not None:
                w = w - self.zero_points[rows, :, None]
            if self.scale is not None:
                w = w * self.scale[rows, :, None].float()
            result[rows] = w.flatten(1).to(dtype)
        return result


def draw_weights(config: MatmulConfig, device: torch.device, seed: int = 0) -> Weights:
    """Draw a weight on `device`: every code of a packed format as often, else normal numbers; decode(W) is about 1.

    Zero points are integers, so that libraries which store integers hold the same numbers.
    """
    generator = torch.Generator(device=device).manual_seed(seed)
    fmt, shape = config.W_format, (config.N, config.K)

    def draw(low: int, high: int, size: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        return torch.randint(low, high, tuple(size), device=device, generator=generator, dtype=dtype)

    if not fmt.is_integer and not fmt.is_packed:
        W = torch.empty(shape, dtype=fmt.torch_dtype, device=device)
        for row in range(0, shape[0], 4096):
            part = W[row : row + 4096]
            part.copy_(torch.randn(part.shape, device=device, generator=generator))
    elif fmt.step != 1:
        W = draw(0, 1 << fmt.bits, shape, torch.int8) * fmt.step + fmt.offset
    elif fmt.is_integer:
        W = draw(int(fmt.min_value), int(fmt.max_value) + 1, shape, fmt.torch_dtype)
    else:
        W = draw(0, 1 << fmt.bits, shape, torch.int8)
    scale = zeros = zero_points = None
    if config.with_scaling:
        uniform = torch.rand(config.scale_shape, device=device, generator=generator) + 0.5
        scale = (uniform / _typical(config)).to(config.scale_format.torch_dtype)
    if config.with_zeros:
        low, high = (int(fmt.min_value), int(fmt.max_value) + 1) if fmt.is_integer else (-1, 2)
        zero_points = draw(low, high, config.scale_shape, torch.int32).float()
        if config.has_packed_zeros:
            zeros = pack_zeros(zero_points.T.to(torch.uint8).contiguous(), config)
        elif config.zeros_mode == "rescale":
            zeros = (zero_points * (1.0 if scale is None else scale.float())).to(config.scale_format.torch_dtype)
        else:
            zeros = zero_points.to(config.scale_format.torch_dtype)
    channel_scale = None
    if config.with_channel_scale:
        uniform = torch.rand(config.N, device=device, generator=generator) + 0.5
        channel_scale = uniform if config.with_scaling else uniform / _typical(config)
    return Weights(config, W, scale, zeros, zero_points, channel_scale)


def _typical(config: MatmulConfig) -> float:
    """Return about the root mean square of w - z."""
    fmt = config.W_format
    if fmt.is_integer:
        return max(1.0, (1 << fmt.bits) * math.sqrt((2 if config.with_zeros else 1) / 12))
    return 1.0 if fmt.levels is None else math.sqrt(sum(level**2 for level in fmt.levels) / len(fmt.levels))


def draw_activation(config: MatmulConfig, m: int, device: torch.device, seed: int) -> torch.Tensor:
    """Draw A, (m, K): all of int8, or normal numbers of a size whose products with W a float16 output holds."""
    generator = torch.Generator(device=device).manual_seed(seed)
    shape: tuple[Any, ...] = (m, config.K)
    if config.A_format.is_integer:
        return torch.randint(-128, 128, shape, device=device, generator=generator, dtype=torch.int8)
    size = 1.0 if config.with_scaling or config.with_channel_scale else 2.0 ** -round(math.log2(_typical(config)))
    return (torch.randn(shape, device=device, generator=generator) * size).to(config.A_format.torch_dtype)


def draw_activation_scale(config: MatmulConfig, m: int, device: torch.device, seed: int) -> torch.Tensor | None:
    """Draw the factors of the rows of `draw_activation`, (m,) float32, that make them about 1; None without any."""
    if not config.with_activation_scale:
        return None
    generator = torch.Generator(device=device).manual_seed(seed)
    typical = 74.0 if config.A_format.is_integer else 1.0  # Of numbers spread evenly over int8.
    return (torch.rand(m, device=device, generator=generator) + 0.5) / typical
