# SPDX-License-Identifier: Apache-2.0
"""What is timed: kinds of problems by name, shapes by name, and weights with real values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bitquant.config import MatmulConfig, ZerosMode
from bitquant.errors import ConfigError
from bitquant.formats import ACTIVATION_DTYPES, WEIGHT_DTYPES, canonical_name, number_format
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.inputs import Inputs, draw_inputs
from bitquant.testing.oracle import oracle_weight
from bitquant.testing.shape_sets import SHAPE_SETS

__all__ = [
    "AXES",
    "Cell",
    "Grouping",
    "Kind",
    "Weights",
    "cells",
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
class Grouping:
    """What makes problems those of experts.

    Attributes
    ----------
    num_experts, routing, top_k, A_rows, D_rows, with_routing_weights
        As in `GroupedMatmulConfig`.
    """

    num_experts: int
    routing: Any = "sorted"
    top_k: int | None = None
    A_rows: Any = "tokens"
    D_rows: Any = "slots"
    with_routing_weights: bool = False

    def __str__(self) -> str:
        parts = [f"{self.routing}, {self.num_experts} experts"]
        if self.routing == "indexed":
            parts.append(f"top {self.top_k}, {self.A_rows} to {self.D_rows}")
        return ", ".join(parts + ["weighted"] * self.with_routing_weights)


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
    grouping
        None: there is one weight.
    """

    name: str
    A_dtype: str
    W_dtype: str
    group_size: int | None
    zeros_mode: ZerosMode | None
    is_scaled: bool = False
    grouping: Grouping | None = None

    def of_experts(self, grouping: Grouping) -> Kind:
        """Return the same formats of the weights of experts."""
        return dataclasses.replace(self, name=f"{self.name}, {grouping}", grouping=grouping)

    def config(self, N: int, K: int, M: int) -> Any:
        """Return the problem of that size, for exactly M rows, or tokens: a `MatmulConfig` or a `GroupedMatmulConfig`.

        The output is of the type of A; for 8-bit A bfloat16 where it is scaled (the one type that torch scales float8
        by row into), int32 where sums are integers, else float16.

        Raises
        ------
        ConfigError
            If the groups do not divide K, say.
        """
        is_integer = self.A_dtype == "int8" and self.group_size is None and number_format(self.W_dtype).is_integer
        eight_bit_out = "bfloat16" if self.is_scaled else "int32" if is_integer else "float16"
        fields: dict[str, Any] = {
            "M": M,
            "N": N,
            "K": K,
            "A_dtype": self.A_dtype,
            "W_dtype": self.W_dtype,
            "out_dtype": self.A_dtype if number_format(self.A_dtype).bits > 8 else eight_bit_out,
            "accum_dtype": "int32" if is_integer else "float32",
            "group_size": -1 if self.group_size is None else self.group_size,
            "with_scaling": self.group_size is not None,
            "with_zeros": self.zeros_mode is not None,
            "zeros_mode": self.zeros_mode or "original",
            "with_activation_scale": self.is_scaled,
            "with_channel_scale": self.is_scaled,
        }
        if self.grouping is None:
            return MatmulConfig(**fields)
        return GroupedMatmulConfig(**fields, **vars(self.grouping))


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
    def config(self) -> Any:
        """The problem, for exactly m rows, or tokens: a `MatmulConfig`, or a `GroupedMatmulConfig`."""
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


class Weights(Inputs):
    """A weight and what goes with it, as values, as an operator takes them, and as other libraries do.

    Its M means nothing here. Zero points are integers z of (w - z) * s; for zeros_mode "rescale" the operator gets
    z * s, rounded. Rows are drawn when they are needed (`with_rows`).
    """

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
    """Draw a weight on `device`, of numbers that other libraries can store, too."""
    generator = torch.Generator(device=device).manual_seed(seed)
    return Weights(**vars(draw_inputs(config, 0, generator, is_portable=True)))
