# SPDX-License-Identifier: Apache-2.0
"""Where the codes of a weight lie: the plain layout, and the `fragment` layout that tensor cores read.

`plain` is the packing of `bitquant.packing`, a row of W after the other. `fragment` holds W as the left operand of a
tensor-core product, D^T = W A^T, in the order in which the lanes of a warp want it, so that a kernel loads 16
contiguous bytes a lane straight into registers and decodes them in place.

The fragment layout is made of tiles of 16 (n) x `tile_k` (k), each contiguous and made of steps of `step_k`, the depth
of one mma instruction. For step j lane l, with g = l // 4 and t = l % 4, wants four registers p = 0 ... 3 of
V = 32 / operand_bits values each (PTX ISA, "Matrix fragments for mma.m16n8k16" and "m16n8k32", matrix A; the same for
each warp of wgmma with A from registers)::

    n = g + 8 * (p % 2)      k = step_k * j + V * t + step_k / 2 * (p // 2) + e      e = 0 ... V - 1

Registers of a lane are numbered r = 4 * j + p. Codes are cut into *planes* of 8, 4, 2 or 1 bits, which divide a word
evenly: 3 = 2 + 1, 5 = 4 + 1, 6 = 4 + 2, 7 = 4 + 2 + 1 bits, the widest plane with a code's lowest bits. In a plane of w
bits a 32-bit word of a lane holds F = operand_bits / w registers, each value in a field as wide as an operand
(`FragmentLayout.bit_position`): one shift and one mask extract a whole register. Bytes of a tile are ordered by
plane, chunk, lane and byte, with 16 bytes a lane in a chunk: a warp reads 512 contiguous bytes at a time.

The stored tensor is (tiles along n, bytes of all tiles along k), int8 for every format. Codes beyond N or K are 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, Literal, get_args

from tvm import tirx

from bitquant.arithmetic import ceil_div
from bitquant.config import MatmulConfig
from bitquant.errors import ConfigError
from bitquant.formats import number_format

if TYPE_CHECKING:
    import torch

__all__ = [
    "CHUNK_BYTES",
    "TILE_N",
    "WEIGHT_LAYOUTS",
    "FragmentLayout",
    "Plane",
    "WeightLayout",
    "fragment_code",
    "fragment_layout",
    "fragment_refusal",
    "weight_dtype",
    "weight_shape",
    "weight_tvm_dtype",
]

Expr = Any  # A TVM expression; TVM ships no type stubs.

WeightLayout = Literal["plain", "fragment"]

#: Every layout of a weight.
WEIGHT_LAYOUTS: tuple[WeightLayout, ...] = get_args(WeightLayout)

#: Rows of W in a tile: the rows of the left operand of an mma instruction.
TILE_N = 16

#: Bytes that a lane loads at once, the widest load there is, and those that its warp then loads.
_LANE_CHUNK_BYTES = 16
CHUNK_BYTES = 32 * _LANE_CHUNK_BYTES


@dataclass(frozen=True)
class Plane:
    """Some bits of every code of a tile.

    Attributes
    ----------
    bits
        Width, 8, 4, 2 or 1.
    shift
        Position in the code of the lowest of these bits.
    byte_offset
        Where the plane begins in a tile, in bytes.
    words
        32-bit words a lane and tile; a multiple of 4.
    """

    bits: int
    shift: int
    byte_offset: int
    words: int

    @property
    def chunks(self) -> int:
        """Loads of 16 bytes that give a lane its part of a tile."""
        return self.words // 4


@dataclass(frozen=True)
class FragmentLayout:
    """The fragment layout for one width of codes and one width of operands.

    Parameters
    ----------
    bits
        Bits a code, 1 to 8.
    operand_bits
        Bits of a value in a tensor-core register, 16 or 8.
    is_adjacent
        Whether the codes of a register stand side by side in a word, as a table of pairs wants them, and not at
        the same place in fields of `operand_bits`. For 4 bits only.

    Raises
    ------
    ConfigError
        If a number is not one of those above.
    """

    bits: int
    operand_bits: int
    is_adjacent: bool = False

    def __post_init__(self) -> None:
        if self.bits not in range(1, 9):
            raise ConfigError(f"'bits' must be 1 to 8 (got {self.bits})", bits=self.bits)
        if self.operand_bits not in (8, 16):
            raise ConfigError(
                f"'operand_bits' must be 8 or 16 (got {self.operand_bits})", operand_bits=self.operand_bits
            )
        if self.is_adjacent and self.bits != 4:
            raise ConfigError(f"'is_adjacent' needs bits=4 (got {self.bits})", bits=self.bits, is_adjacent=True)

    @property
    def values_per_register(self) -> int:
        """Values in a 32-bit register, V."""
        return 32 // self.operand_bits

    @property
    def step_k(self) -> int:
        """Length in k of one mma instruction: 16 for operands of 16 bits, 32 for those of 8."""
        return 8 * self.values_per_register

    @cached_property
    def planes(self) -> tuple[Plane, ...]:
        """The planes in the order in which a tile holds them, the widest first."""
        planes: list[Plane] = []
        shift = 0
        for bits in _plane_widths(self.bits):
            # A lane holds tile_k * 16 / 32 codes of a tile.
            planes.append(Plane(bits, shift, TILE_N * self.tile_k * shift // 8, self.tile_k * bits // 64))
            shift += bits
        return tuple(planes)

    @cached_property
    def tile_k(self) -> int:
        """Length of a tile in k: the least for which a lane's part of the narrowest plane is 16 bytes."""
        return 8 * _LANE_CHUNK_BYTES * 2 // _plane_widths(self.bits)[-1]

    @cached_property
    def tile_bytes(self) -> int:
        """Bytes of a tile."""
        return TILE_N * self.tile_k * self.bits // 8

    @cached_property
    def steps(self) -> int:
        """Mma steps of a tile."""
        return self.tile_k // self.step_k

    @property
    def registers(self) -> int:
        """Registers that the decoded codes of a tile fill in each lane."""
        return 4 * self.steps

    def tiles_n(self, N: int) -> int:
        """Return the tiles that cover N rows."""
        return ceil_div(N, TILE_N)

    def tiles_k(self, K: int) -> int:
        """Return the tiles that cover K columns."""
        return ceil_div(K, self.tile_k)

    def stored_shape(self, N: int, K: int) -> tuple[int, int]:
        """Return the shape of the stored (N, K) weight, in tiles and bytes."""
        return (self.tiles_n(N), self.tiles_k(K) * self.tile_bytes)

    def chunk_offset(self, plane_index: int, chunk: Expr) -> Expr:
        """Return where in a tile the 512 bytes of a chunk begin: lane l reads 16 bytes from 16 * l on.

        Parameters
        ----------
        plane_index
            Index into `planes`.
        chunk
            Index of the chunk in its plane, 0 ... `Plane.chunks` - 1; a number or an expression.
        """
        return self.planes[plane_index].byte_offset + chunk * CHUNK_BYTES

    def bit_position(self, plane: Plane, register: Expr, e: Expr) -> tuple[Expr, Expr]:
        """Return (word, bit): where in a lane's part of a plane the bits of a value begin.

        With w = plane.bits, F = operand_bits / w and register r = F * word + i, bit is ``i * w + e * operand_bits``, or
        ``(i * V + e) * 4`` where `is_adjacent`. Words are little-endian; word q is word q % 4 of chunk q // 4.

        Parameters
        ----------
        plane
            One of `planes`.
        register
            Number of the register, 0 ... `registers` - 1; a number or an expression.
        e
            Number of the value in the register, 0 ... V - 1; a number or an expression.
        """
        per_word = self.operand_bits // plane.bits
        i = register % per_word
        if self.is_adjacent:
            return register // per_word, (i * self.values_per_register + e) * plane.bits
        return register // per_word, i * plane.bits + e * self.operand_bits


def _plane_widths(bits: int) -> list[int]:
    """Return the powers of two that add up to `bits`, the greatest first."""
    return [width for width in (8, 4, 2, 1) if bits & width]


# What a problem's weight looks like.


def fragment_refusal(config: MatmulConfig) -> str | None:
    """Return why the weight of a problem cannot have the fragment layout, as "needs ... (got ...)", else None."""
    if config.W_format.bits > 8:
        return f"needs a W of at most 8 bits (got {config.W_format.name})"
    if config.A_format.bits > 16:
        return f"needs A of 16 or 8 bits (got {config.A_format.name})"
    if config.layout != "nt":
        return f"needs layout nt (got {config.layout})"
    layout = _fragment_layout(config)
    # A scale is applied to the sum of whole mma steps.
    if (config.with_scaling or config.with_zeros) and config.num_groups > 1 and config.group % layout.step_k:
        return f"needs group_size % {layout.step_k} == 0 (got {config.group})"
    rows, row_bytes = layout.stored_shape(config.N, config.K)
    if rows * row_bytes >= 2**31:
        return f"needs fewer than 2^31 bytes of whole tiles, which 32-bit indices reach (got {rows * row_bytes})"
    return None


def _fragment_layout(config: MatmulConfig) -> FragmentLayout:
    w, a = config.W_format, config.A_format
    return FragmentLayout(w.bits, a.bits, w.is_looked_up(a.bits))


def fragment_layout(config: MatmulConfig) -> FragmentLayout:
    """Return the fragment layout of a problem's weight.

    Raises
    ------
    ConfigError
        If there is none, with `fragment_refusal` for a reason.
    """
    refusal = fragment_refusal(config)
    if refusal is not None:
        raise ConfigError(f"the weight layout 'fragment' {refusal}; use 'plain'", layout="fragment")
    return _fragment_layout(config)


def weight_shape(config: MatmulConfig, layout: WeightLayout) -> tuple[int, int]:
    """Return the shape of the stored weight of a problem.

    Raises
    ------
    ConfigError
        If the weight cannot have that layout.
    """
    if _check_layout(layout) == "plain":
        return config.W_shape
    return fragment_layout(config).stored_shape(config.N, config.K)


def weight_dtype(config: MatmulConfig, layout: WeightLayout) -> torch.dtype:
    """Return the torch type of the stored weight: int8 in the fragment layout, whatever the format."""
    fmt = config.W_format if _check_layout(layout) == "plain" else number_format("int8")
    return fmt.torch_dtype


def weight_tvm_dtype(config: MatmulConfig, layout: WeightLayout) -> str:
    """Return the TVM type of the stored weight: int8 in the fragment layout, whatever the format."""
    return config.W_format.tvm_dtype if _check_layout(layout) == "plain" else "int8"


def _check_layout(layout: WeightLayout) -> WeightLayout:
    if layout not in WEIGHT_LAYOUTS:
        raise ConfigError(f"'layout' must be one of {', '.join(WEIGHT_LAYOUTS)} (got {layout!r})", layout=layout)
    return layout


# In kernels.


def fragment_code(load: Callable[[Expr, Expr], Expr], n: Expr, k: Expr, layout: FragmentLayout) -> Expr:
    """Return the unsigned code of element (n, k) of a weight in the fragment layout, as uint8.

    Parameters
    ----------
    load
        Maps (row, byte) to the byte there in the stored tensor (any 8-bit integer type).
    n, k
        Indices of the element, expressions.
    layout
        How the weight is stored.
    """
    values, half = layout.values_per_register, layout.step_k // 2
    lane = n % 8 * 4 + k % half // values
    register = k % layout.tile_k // layout.step_k * 4 + k % layout.step_k // half * 2 + n % TILE_N // 8
    fields = []
    for index, plane in enumerate(layout.planes):
        word, bit = layout.bit_position(plane, register, k % values)
        in_tile = layout.chunk_offset(index, word // 4) + lane * _LANE_CHUNK_BYTES + word % 4 * 4 + bit // 8
        byte = load(n // TILE_N, k // layout.tile_k * layout.tile_bytes + in_tile).astype("uint8")
        field = tirx.bitwise_and(
            tirx.shift_right(byte, (bit % 8).astype("uint8")), tirx.const((1 << plane.bits) - 1, "uint8")
        )
        fields.append(tirx.shift_left(field, tirx.const(plane.shift, "uint8")))
    return reduce(tirx.bitwise_or, fields)
