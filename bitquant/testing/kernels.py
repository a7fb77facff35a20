# SPDX-License-Identifier: Apache-2.0
"""The one list of kernels with given hints, so that tests reach what no default of a small problem is.

Each is a problem, a rule, and a hint that is legal on an H200 (sm_90a). Together they take every field of a hint
through its values: parts of K over warps, warpgroups and the blocks of a cluster; how the weight travels, what scales
are applied to, tiles that no size of the problem is a multiple of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bitquant.config import MatmulConfig
from bitquant.schedule.hint import Hint
from bitquant.schedule.records import Record
from bitquant.schedule.rules.decode.hint import DecodeHint
from bitquant.schedule.rules.hopper.hint import WgmmaHint

__all__ = ["HINTED_ARCH", "HINTED_KERNELS", "HintedKernel"]

#: Architecture of the hints.
HINTED_ARCH = "sm_90a"


@dataclass(frozen=True)
class HintedKernel:
    """A problem of one rung, and what it is to be scheduled with.

    Attributes
    ----------
    rule, hint
        The rule's name, and its hint.
    config
        The problem.
    rows
        Rows of A to call the operator with.
    """

    rule: str
    hint: Hint
    config: MatmulConfig
    rows: tuple[int, ...]

    @property
    def record(self) -> Record:
        """The record that makes an operator build the kernel. Its latency is none that was measured."""
        problem = {name: value for name, value in self.config.problem().items() if name != "M"}
        (rung,) = self.config.ladder
        return Record(problem, rung, HINTED_ARCH, "any", self.rule, self.hint.to_dict(), 1.0, 1.0)

    def __str__(self) -> str:
        """Return a short name: the rule, the formats, and what of the hint is no default."""
        c, defaults = self.config, type(self.hint)().to_dict()
        parts = [self.rule, f"{c.A_format.name}x{c.W_format.name}", (c.zeros_mode or "") if c.with_zeros else ""]
        parts.append(f"{c.N}x{c.K}g{c.group}")
        parts += [f"{name}_{value}" for name, value in self.hint.to_dict().items() if value != defaults[name]]
        return "-".join(part for part in parts if part)


#: Rows of A to call with, N, K, fields of the problem, fields of the hint.
_Row = tuple[tuple[int, ...], int, int, Mapping[str, Any], Mapping[str, Any]]


def _kernels(rule: str, hint_type: type[Hint], kernels: Iterable[_Row]) -> list[HintedKernel]:
    """Return the kernels of rows of a table; the rung is 16 for decode and 64 else, unless the problem names one."""
    found = []
    for rows, N, K, fields, hint in kernels:
        problem = {"M": (16 if rule == "decode" else 64,), **fields}
        found.append(HintedKernel(rule, hint_type.from_dict(dict(hint)), MatmulConfig(N=N, K=K, **problem), rows))
    return found


_SCALED = {"group_size": 128, "with_scaling": True}
#: Zero points are drawn with fractions (`generators.make_inputs`).
_ZEROS = {**_SCALED, "with_zeros": True}
_UINT4 = {"W_dtype": "uint4", **_ZEROS}
_BFLOAT16 = {"A_dtype": "bfloat16", "out_dtype": "bfloat16"}
_INT8 = {"A_dtype": "int8", "out_dtype": "int32"}
_E4M3 = {"A_dtype": "float8_e4m3", "out_dtype": "bfloat16"}
_E5M2 = {"A_dtype": "float8_e5m2", "out_dtype": "float16"}
_SHARED, _STREAM_K = {"weights": "shared"}, {"stream_k": True}
_DIGITS = {"activations": "digits", "block_m": 1, "chains": 1, "unroll": 1, "ahead": 1}

_DECODE: tuple[_Row, ...] = (
    ((1, 5, 8), 1000, 4096, _UINT4, {}),
    ((1,), 4096, 4096, {**_UINT4, "M": 1}, {"n_tiles_per_warp": 2, "chains": 2, "n_blocks_per_cta": 3}),
    ((1, 8), 2000, 4096, _UINT4, {**_SHARED, "ahead": 8, "unroll": 2, "n_blocks_per_cta": 4}),
    ((1, 7), 1000, 4096, _UINT4, {"split_k": 2, "warps_k": 4, "phase": 4}),
    ((1, 16), 1000, 4096, _UINT4,
     {**_SHARED, "split_k": 4, "warps_k": 4, "ahead": 4, "unroll": 1, "n_blocks_per_cta": 2}),
    ((3, 16), 1000, 8192, _UINT4,
     {"block_m": 16, "n_tiles_per_warp": 2, "warps_n": 2, "warps_k": 4, "split_k": 8, "unroll": 2}),
    ((16, 33), 1000, 2048, _UINT4, {"block_m": 32, "n_tiles_per_warp": 2, "warps_k": 4, "chains": 1, "phase": 8}),
    ((50, 64), 1000, 2048, _UINT4, {"block_m": 64, "warps_n": 4, "warps_k": 2, "chains": 1, "ahead": 1, "phase": 4}),
    ((64, 65), 500, 1024, {**_UINT4, "with_bias": True},
     {**_SHARED, "block_m": 64, "warps_k": 4, "ahead": 4, "chains": 1}),
    ((4,), 1000, 4096, {**_UINT4, **_BFLOAT16, "group_size": 64}, {"n_tiles_per_warp": 2, "warps_k": 8, "split_k": 2}),
    ((2, 8), 1001, 4096, {"W_dtype": "int4", **_SCALED, "group_size": -1}, {**_SHARED, "blocks_per_sm": 2}),
    ((1, 8), 1000, 4096, {"W_dtype": "nf4", **_SCALED, "group_size": 64},
     {**_SHARED, "n_blocks_per_cta": 2, "split_k": 2}),
    ((1, 9), 1000, 4096, {"W_dtype": "uint1", **_ZEROS},
     {"warps_k": 4, "unroll": 2, "split_k": 2, "n_blocks_per_cta": 3}),
    ((1, 8), 1000, 4096, {"W_dtype": "uint2", **_ZEROS, "zeros_mode": "quantized"},
     {"n_tiles_per_warp": 2, "chains": 8}),
    ((8,), 200, 3024, {"W_dtype": "uint3", **_ZEROS, "group_size": 336, "zeros_mode": "rescale"},
     {**_SHARED, "warps_k": 4, "ahead": 2, "unroll": 1, "chains": 1}),
    ((8, 20), 500, 4096, {"W_dtype": "uint3", **_SCALED}, {**_SHARED, "block_m": 16, "split_k": 2, "warps_k": 2}),
    # Equal shares of the phases of all blocks of n: few of them for each block of the GPU, and many; two blocks a
    # multiprocessor; ragged K and N; scales that are staged for a phase, and that are not; groups of a row.
    ((1,), 1000, 8192, {**_UINT4, "M": 1}, {**_STREAM_K, "n_tiles_per_warp": 2, "warps_k": 8, "phase": 4}),
    ((4,), 4608, 9216, {**_UINT4, "M": 4}, {**_STREAM_K, **_SHARED, "ahead": 4, "unroll": 2, "warps_n": 3, "phase": 4}),
    ((8,), 9000, 4096, {**_UINT4, "M": 8, "with_bias": True},
     {**_STREAM_K, **_SHARED, "warps_n": 4, "warps_k": 2, "ahead": 4, "blocks_per_sm": 2, "phase": 4}),
    ((3,), 1016, 5032, {"W_dtype": "int4", **_BFLOAT16, **_SCALED, "group_size": -1, "M": 3},
     {**_STREAM_K, "warps_k": 4, "unroll": 2, "n_tiles_per_warp": 3, "phase": 2}),
    ((2,), 520, 16384, {"W_dtype": "nf4", **_SCALED, "group_size": 64, "M": 2},
     {**_STREAM_K, **_SHARED, "warps_k": 8, "ahead": 8, "phase": 4, "unroll": 1}),
    ((1,), 2000, 4096, {"W_dtype": "uint3", **_ZEROS, "zeros_mode": "quantized", "M": 1},
     {**_STREAM_K, "warps_k": 8, "unroll": 1, "ahead": 1, "phase": 1}),
    ((5,), 1000, 4096, {"W_dtype": "int2", **_INT8, "M": 5},
     {**_STREAM_K, **_SHARED, "warps_k": 4, "ahead": 2, "unroll": 1, "phase": 1}),
    ((4,), 4000, 4096, {"W_dtype": "float8_e5m2", **_E5M2, "M": 4},
     {**_STREAM_K, "warps_n": 2, "warps_k": 4, "unroll": 1, "ahead": 1, "phase": 3}),
    ((4,), 3000, 4096, {**_UINT4, "M": 4, "activation": "silu_mul"},
     {**_STREAM_K, **_SHARED, "warps_n": 2, "warps_k": 4, "ahead": 4, "unroll": 2, "phase": 2}),
    ((2,), 500, 4004, {"W_dtype": "uint2", **_SCALED, "group_size": -1, "M": 2},
     {**_STREAM_K, **_SHARED, "warps_k": 4, "unroll": 1, "ahead": 2, "phase": 2}),
    ((16,), 2048, 4096, {**_UINT4, "group_size": 32, "M": 16},
     {**_STREAM_K, "block_m": 16, "warps_k": 4, "unroll": 2, "chains": 2, "phase": 4}),
    # Three tiles a warp, three warps along n, 9 to 16 rows of A; N of no whole blocks.
    ((9, 16), 1296, 3584, _UINT4,
     {**_SHARED, "block_m": 16, "n_tiles_per_warp": 3, "warps_n": 3, "warps_k": 4, "ahead": 4, "unroll": 2,
      "chains": 1}),
    ((12,), 1000, 4096, {**_UINT4, **_BFLOAT16, "M": 12},
     {"block_m": 16, "n_tiles_per_warp": 3, "warps_n": 2, "warps_k": 4, "ahead": 4, "chains": 1}),
    # A sent to the blocks beside: more rows of blocks than one, parts of A that do not divide by the blocks, ragged K.
    ((1, 5, 8), 1024, 4096, _UINT4, {"multicast": 2}),
    ((4,), 2048, 4096, {**_UINT4, "M": 4}, {"multicast": 8, "n_tiles_per_warp": 2}),
    ((3, 20), 1016, 4096, _UINT4, {**_SHARED, "split_k": 2, "multicast": 2, "n_blocks_per_cta": 2, "warps_k": 4}),
    ((5, 16), 2040, 3008, {"W_dtype": "int4", **_BFLOAT16, **_SCALED, "group_size": 64, "with_bias": True},
     {"block_m": 16, "warps_n": 2, "warps_k": 3, "multicast": 4}),
    ((2, 8), 1520, 4096, {"W_dtype": "int2", **_INT8},
     {"multicast": 2, "n_tiles_per_warp": 2, "warps_k": 3, "n_blocks_per_cta": 3}),
    ((1, 2), 1024, 4096, {"W_dtype": "uint2", **_ZEROS},
     {**_DIGITS, "n_tiles_per_warp": 2, "warps_k": 4, "multicast": 2}),
    ((1, 3), 1000, 4096, {"W_dtype": "uint1", **_ZEROS},
     {**_DIGITS, "n_tiles_per_warp": 2, "warps_n": 2, "warps_k": 4}),
    ((1, 2, 5), 1000, 4096, {"W_dtype": "uint2", **_ZEROS, "zeros_mode": "rescale"},
     {**_DIGITS, **_SHARED, "ahead": 4, "unroll": 2, "n_tiles_per_warp": 2, "chains": 2, "split_k": 2,
      "n_blocks_per_cta": 3}),
    ((1,), 2000, 28672, {"W_dtype": "uint3", **_ZEROS, "zeros_mode": "quantized"},
     {**_DIGITS, **_SHARED, "ahead": 2, "n_tiles_per_warp": 4, "warps_k": 4, "split_k": 4, "n_blocks_per_cta": 2}),
    ((1, 2), 257, 1000, {"W_dtype": "int1", "out_dtype": "float32"}, {**_DIGITS, "warps_k": 4, "chains": 2}),
    ((1,), 500, 3136, {"W_dtype": "int2", **_SCALED, "group_size": 448},
     {**_DIGITS, "n_tiles_per_warp": 4, "unroll": 7}),
    ((1, 2), 1001, 4160, {"W_dtype": "int3", **_SCALED, "group_size": -1, "with_bias": True},
     {**_DIGITS, "n_tiles_per_warp": 2, "warps_k": 3, "split_k": 2, "blocks_per_sm": 2}),
    ((1,), 1000, 4096, {"W_dtype": "int1", **_ZEROS, "group_size": 64, "with_channel_scale": True, "M": 1},
     {**_DIGITS, "n_tiles_per_warp": 2, "warps_k": 16}),
    # Rows of A that bulk copies do not take.
    ((1, 2), 500, 1004, {"W_dtype": "uint2", **_SCALED, "group_size": -1},
     {**_DIGITS, **_SHARED, "ahead": 2, "warps_k": 4}),
    ((1, 8), 257, 1001, {"W_dtype": "int8"}, {"warps_k": 4, "ahead": 1, "unroll": 1, "chains": 1}),
    ((1, 8), 1000, 4096, {"W_dtype": "int8", **_INT8}, {"n_tiles_per_warp": 2, "warps_k": 16, "split_k": 2}),
    ((5, 16), 1000, 4096, {"W_dtype": "uint1", **_INT8}, {**_SHARED, "block_m": 16, "warps_k": 4, "ahead": 2}),
    ((3,), 500, 4096, {"W_dtype": "int2", **_INT8, **_ZEROS, "out_dtype": "float16"},
     {"warps_k": 2, "split_k": 4, "ahead": 1, "unroll": 1}),
    ((8, 32), 500, 2048, {"W_dtype": "uint4", **_INT8}, {"block_m": 32, "warps_n": 2, "warps_k": 4, "phase": 4}),
    ((1, 8), 1000, 4096, {"W_dtype": "uint4", **_E4M3, **_ZEROS, "zeros_mode": "rescale"}, {"split_k": 2}),
    ((4, 16), 500, 2048, {"W_dtype": "float8_e5m2", **_E5M2}, {**_SHARED, "block_m": 16, "warps_k": 4, "ahead": 8}),
)  # fmt: skip

_OPERAND: tuple[_Row, ...] = (
    ((64, 300), 1000, 1024, _UINT4, {}),
    ((200, 300), 500, 1024, {**_UINT4, "group_size": 64}, {"block_m": 256, "stages": 3}),
    ((1, 33, 64), 520, 1088, {**_UINT4, "group_size": 64}, {"block_m": 64, "consumers_k": 2}),
    ((64,), 1000, 2048, {**_UINT4, "M": 64, "with_bias": True}, {"block_m": 64, "consumers_n": 4, "split_k": 2}),
    ((100, 257), 1000, 1024, _UINT4, {"n_tiles_per_consumer": 2, "stages": 5}),
    ((20, 64), 1500, 1024, _UINT4, {"block_m": 32, "n_tiles_per_consumer": 4, "split_k": 2}),
    ((1, 17), 500, 4096, _UINT4, {"block_m": 16, "consumers_n": 1, "consumers_k": 4, "split_k": 8}),
    ((16,), 130, 640, {**_UINT4, "group_size": 32}, {"block_m": 16, "consumers_n": 1, "consumers_k": 4, "split_k": 8}),
    ((64,), 500, 3072, {"W_dtype": "nf4", **_SCALED, "group_size": 64},
     {"block_m": 64, "consumers_n": 1, "consumers_k": 3, "split_k": 4, "stages": 3}),
    ((96, 100), 520, 4096, {"W_dtype": "int4", **_SCALED}, {"block_m": 96, "split_k": 8}),
    # Blocks of a cluster with a round more than others; K that does not end with a round.
    ((16, 100), 520, 4224, _UINT4, {"block_m": 64, "consumers_n": 3, "split_k": 4}),
    ((130,), 1000, 2432, {"W_dtype": "int4", **_SCALED, "group_size": 64}, {"block_m": 64, "split_k": 8}),
    ((64,), 500, 2904, {"W_dtype": "nf4", **_BFLOAT16, **_SCALED, "group_size": -1}, {"block_m": 64, "split_k": 4}),
    ((40,), 520, 4352, _UINT4, {"block_m": 40, "consumers_n": 1, "consumers_k": 2, "split_k": 4}),
    ((200,), 1000, 2560, {"W_dtype": "int4", **_INT8}, {"block_k": 128, "split_k": 4}),
    ((64,), 520, 4224, {"W_dtype": "float8_e4m3", **_E4M3, **_SCALED}, {"block_m": 64, "block_k": 128, "split_k": 8}),
    ((32, 75), 520, 2048, {"W_dtype": "int4", **_BFLOAT16, **_SCALED, "group_size": -1},
     {"block_m": 32, "consumers_n": 1, "consumers_k": 2, "blocks_per_sm": 2}),
    ((64,), 520, 1024, {**_UINT4, "group_size": 32, "zeros_mode": "quantized"}, {"block_m": 64, "stages": 6}),
    ((64,), 520, 1000, {"W_dtype": "uint3", **_ZEROS, "group_size": -1, "zeros_mode": "rescale"},
     {"block_m": 64, "block_k": 256, "stages": 2}),
    ((48,), 520, 2048, {"W_dtype": "uint1", **_ZEROS}, {"block_m": 48, "block_k": 256, "stages": 3, "split_k": 2}),
    ((16, 50), 1400, 1024, _UINT4, {"block_m": 16, "n_tiles_per_consumer": 2, "consumers_n": 4, "n_tiles_per_cta": 7}),
    ((32, 40), 1000, 2048, _UINT4, {"block_m": 32, "n_tiles_per_consumer": 2, "n_tiles_per_cta": 3, "split_k": 2}),
    ((300,), 2048, 512, _UINT4, {"block_m": 16, "consumers_n": 1, "raster": 3, "stages": 7}),
    ((70,), 520, 1024, {"W_dtype": "int8", "with_activation_scale": True, "with_channel_scale": True},
     {"block_m": 72, "n_tiles_per_consumer": 2, "consumers_n": 1, "split_k": 2}),
    # Tiles of the last wave shared by clusters: all tiles, none, those that 132 multiprocessors leave.
    ((16, 64, 150), 2048, 1024, _UINT4, {"block_m": 16, "consumers_n": 1, "tail_split": 2, "stages": 6}),
    ((16, 40, 270), 2000, 2048, {"W_dtype": "int4", **_SCALED, "group_size": 32, "with_bias": True},
     {"block_m": 24, "n_tiles_per_consumer": 2, "consumers_n": 1, "tail_split": 4, "stages": 5}),
    ((300, 2000), 4100, 1024, _UINT4, {"block_m": 256, "tail_split": 2, "stages": 5}),
    ((77,), 1400, 512, {"W_dtype": "nf4", **_BFLOAT16, **_SCALED, "group_size": 64},
     {"block_m": 40, "consumers_n": 3, "tail_split": 2, "raster": 2}),
    # Equal shares of all tiles' K: fewer tiles than blocks, more, and as many; a block within a tile.
    ((16, 64, 150), 2048, 1024, _UINT4, {"block_m": 16, "consumers_n": 1, "stream_k": True, "stages": 6}),
    ((100, 257, 2000), 4100, 2048, _UINT4, {"stream_k": True}),
    ((300,), 1000, 4096, {"W_dtype": "int4", **_SCALED, "group_size": 32, "with_bias": True},
     {"block_m": 256, "stream_k": True, "stages": 5}),
    ((64,), 200, 16384, {"W_dtype": "nf4", **_BFLOAT16, **_SCALED, "group_size": 64},
     {"block_m": 64, "n_tiles_per_consumer": 2, "consumers_n": 1, "blocks_per_sm": 2, "stages": 3, "stream_k": True}),
    ((40,), 8448, 1088, {**_UINT4, "zeros_mode": "quantized", "group_size": 64},
     {"block_m": 40, "consumers_n": 1, "stream_k": True}),
    ((200,), 1400, 2560, {"W_dtype": "int4", **_INT8}, {"block_k": 128, "stream_k": True}),
    ((64,), 1400, 4096, {"W_dtype": "float8_e4m3", **_E4M3, **_SCALED, "with_activation_scale": True},
     {"block_m": 64, "block_k": 128, "stream_k": True}),
    # Fewer rows than a tile has elsewhere.
    ((1, 8), 1000, 4096, {**_UINT4, "M": (8,)}, {"block_m": 8, "consumers_n": 1, "consumers_k": 4, "split_k": 2}),
    ((12,), 520, 8192, {"W_dtype": "nf4", **_SCALED, "group_size": 64, "M": 12},
     {"block_m": 16, "consumers_n": 1, "stream_k": True, "blocks_per_sm": 2}),
    ((5, 8), 1000, 4352, {"W_dtype": "int8", **_INT8, "M": (8,)},
     {"block_m": 8, "consumers_n": 1, "block_k": 128, "split_k": 4, "blocks_per_sm": 2}),
    ((8,), 2048, 8192, {"W_dtype": "float8_e4m3", **_E4M3, **_SCALED, "M": 8},
     {"block_m": 8, "consumers_n": 1, "block_k": 128, "stream_k": True}),
    # Sums that meet in the ring.
    ((300,), 1000, 2048, _UINT4, {"block_m": 256, "split_k": 2, "stages": 5}),
    ((130,), 520, 1024, _UINT4, {"block_m": 72, "consumers_k": 2, "stages": 4}),
    # A sent to the block beside.
    ((64, 300), 1000, 1024, _UINT4, {"multicast": 2}),
    ((100, 2000), 4100, 2048, _UINT4, {"block_m": 256, "multicast": 2, "stages": 5}),
    ((16, 64, 150), 2048, 1024, _UINT4,
     {"block_m": 16, "consumers_n": 1, "tail_split": 2, "multicast": 2, "stages": 6}),
    ((200, 900), 4200, 2048, {"W_dtype": "int4", **_SCALED, "group_size": 64, "with_bias": True},
     {"block_m": 96, "n_tiles_per_consumer": 2, "tail_split": 2, "multicast": 2, "stages": 5}),
    ((33, 64), 1400, 4096, {"W_dtype": "nf4", **_BFLOAT16, **_SCALED, "group_size": 64},
     {"block_m": 64, "consumers_n": 3, "multicast": 4, "blocks_per_sm": 1, "raster": 2}),
    # A of 8 bits.
    ((100, 257), 3000, 2048, {"W_dtype": "int8", **_INT8}, {"n_tiles_per_consumer": 2, "block_k": 128, "multicast": 2}),
    ((300,), 8000, 1024, {"W_dtype": "float8_e4m3", **_E4M3, **_SCALED, "group_size": -1},
     {"block_m": 128, "block_k": 128, "tail_split": 2, "multicast": 2}),
    ((40, 150), 2048, 1024, {"W_dtype": "int4", **_INT8},
     {"block_m": 16, "consumers_n": 1, "block_k": 128, "tail_split": 2}),
    ((300,), 8000, 1024, {"W_dtype": "float8_e4m3", **_E4M3, **_SCALED},
     {"block_m": 128, "block_k": 128, "tail_split": 2}),
    ((64, 100), 520, 2048, {"W_dtype": "int8", **_INT8},
     {"block_m": 64, "consumers_n": 1, "consumers_k": 2, "split_k": 2, "block_k": 128}),
    ((64,), 520, 2048, {"W_dtype": "int4", **_INT8, **_SCALED, "out_dtype": "float16"},
     {"block_m": 48, "n_tiles_per_consumer": 2, "block_k": 128}),
    ((16, 32), 520, 1056, {"W_dtype": "uint4", **_INT8, **_SCALED, "out_dtype": "float32", "group_size": 32},
     {"block_m": 32, "block_k": 128, "split_k": 2}),
    ((24, 80), 1000, 4096, {"W_dtype": "uint8", **_INT8, "out_dtype": "int8"},
     {"block_m": 80, "split_k": 8, "block_k": 128}),
    ((16, 33), 1400, 2048, {"W_dtype": "int1", **_INT8, **_SCALED, "group_size": -1, "out_dtype": "float16"},
     {"block_m": 16, "n_tiles_per_consumer": 2, "consumers_n": 4, "n_tiles_per_cta": 7, "block_k": 256, "stages": 3}),
    ((64, 130), 520, 2048, {"W_dtype": "float8_e4m3", **_E4M3, **_SCALED}, {"block_k": 128}),
    ((32,), 520, 4096, {"W_dtype": "int4", **_E5M2, **_SCALED},
     {"block_m": 32, "n_tiles_per_consumer": 2, "split_k": 4, "block_k": 128}),
    ((30, 64), 520, 1056, {"W_dtype": "fp4_e2m1", **_E4M3, **_SCALED, "group_size": 32},
     {"block_m": 24, "consumers_k": 2, "block_k": 128}),
)  # fmt: skip

_SUMS: tuple[_Row, ...] = (
    ((1, 16, 50), 1000, 2048, _UINT4, {"block_m": 16, "consumers_k": 2}),
    ((64, 65), 1000, 2048, _UINT4, {"block_m": 64, "split_k": 2}),
    ((32,), 1000, 4096, {**_UINT4, "M": 32}, {"block_m": 32, "n_tiles_per_consumer": 2, "split_k": 8}),
    ((16, 64), 1500, 4096, _UINT4, {"block_m": 16, "n_tiles_per_consumer": 2, "multicast": 2}),
    ((60,), 1000, 2048, {"W_dtype": "int4", **_SCALED}, {"block_m": 32, "consumers_n": 3, "multicast": 4}),
    ((16, 20), 1400, 1024, _UINT4,
     {"block_m": 16, "n_tiles_per_consumer": 2, "consumers_n": 4, "n_tiles_per_cta": 7, "block_k": 128}),
    ((30,), 1000, 2048, {**_UINT4, "with_bias": True},
     {"block_m": 32, "n_tiles_per_consumer": 2, "n_tiles_per_cta": 3, "split_k": 2, "block_k": 128}),
    ((16, 60), 520, 2048, {**_UINT4, **_BFLOAT16},
     {"block_m": 16, "consumers_n": 1, "consumers_k": 2, "blocks_per_sm": 2}),
    ((16,), 500, 4096, {**_UINT4, "group_size": 64}, {"block_m": 16, "consumers_n": 1, "consumers_k": 4, "split_k": 8}),
    ((16,), 130, 640, {**_UINT4, "group_size": 64}, {"block_m": 16, "consumers_n": 1, "consumers_k": 4, "split_k": 8}),
    ((300,), 2048, 512, _UINT4, {"block_m": 16, "consumers_n": 1, "raster": 3, "stages": 6}),
    ((64,), 520, 1088, {"W_dtype": "int4", **_SCALED, "group_size": 64},
     {"block_m": 40, "consumers_k": 2, "block_k": 128}),
    ((16, 48), 1000, 4096, {"W_dtype": "nf4", **_SCALED, "group_size": 64}, {"block_m": 48, "split_k": 4}),
    ((16, 30), 1000, 4608, _UINT4, {"block_m": 16, "consumers_n": 3, "block_k": 256, "stages": 4, "split_k": 4}),
    ((60,), 520, 3200, {**_UINT4, "group_size": 64, "with_bias": True}, {"block_m": 64, "split_k": 2}),
    ((16, 20), 4608, 4608, _UINT4, {"block_m": 16, "consumers_n": 3, "block_k": 256, "stages": 4, "stream_k": True}),
    ((30, 70), 1000, 5120, {**_UINT4, **_BFLOAT16, "with_bias": True},
     {"block_m": 32, "n_tiles_per_consumer": 2, "n_tiles_per_cta": 3, "block_k": 128, "stream_k": True}),
    ((64,), 520, 2048, {"W_dtype": "uint2", **_ZEROS, "group_size": 512},
     {"block_m": 64, "block_k": 128, "stages": 4, "stream_k": True}),
    ((16,), 520, 2048, {"W_dtype": "uint2", **_ZEROS, "group_size": 256, "zeros_mode": "quantized"},
     {"block_m": 16, "block_k": 256, "stages": 3}),
    ((3, 8), 1000, 8192, {**_UINT4, "M": (8,)},
     {"block_m": 8, "consumers_n": 1, "block_k": 256, "stages": 4, "stream_k": True, "blocks_per_sm": 2}),
    ((12,), 520, 4096, {**_UINT4, **_BFLOAT16, "M": 12}, {"block_m": 16, "n_tiles_per_consumer": 2, "split_k": 2}),
    ((24,), 520, 1000, {"W_dtype": "uint3", **_ZEROS, "group_size": -1, "zeros_mode": "rescale"},
     {"block_m": 24, "block_k": 256, "stages": 3}),
    ((8, 64), 520, 2048, {"W_dtype": "uint4", "with_zeros": True, "zeros_mode": "quantized", "group_size": 512,
                          "out_dtype": "float32"}, {"block_m": 8, "consumers_n": 1, "consumers_k": 3}),
    ((32,), 520, 2048, {"W_dtype": "uint1", **_ZEROS, "group_size": 64}, {"block_m": 32, "block_k": 256, "stages": 3}),
    ((40,), 520, 2048, {"W_dtype": "int5", **_SCALED, "zeros_mode": "rescale", "with_zeros": True},
     {"block_m": 40, "n_tiles_per_consumer": 2, "block_k": 256, "stages": 3, "consumers_n": 1}),
)  # fmt: skip

_DENSE: tuple[_Row, ...] = (
    ((64, 300), 1000, 1032, {}, {}),
    ((200, 257), 520, 1024, _BFLOAT16, {"block_m": 200, "consumers_n": 1, "n_tiles_per_consumer": 2, "stages": 3}),
    (
        (17, 64),
        520,
        2048,
        {"with_bias": True},
        {"block_m": 64, "consumers_n": 1, "consumers_k": 2, "split_k": 4},
    ),
    ((16,), 1000, 4104, _BFLOAT16, {"block_m": 16, "split_k": 8}),
    ((3, 8), 1000, 4104, {"M": (8,)}, {"block_m": 8, "split_k": 4}),
    ((100,), 1000, 1032, {}, {"block_m": 104, "split_k": 4, "stages": 3}),
    ((200, 2000), 4100, 2048, _BFLOAT16, {"block_m": 256, "stages": 4, "stream_k": True}),
    ((40, 90), 1000, 1024, {}, {"block_m": 48, "n_tiles_per_consumer": 2, "n_tiles_per_cta": 3}),
    ((300,), 2048, 512, {}, {"block_m": 32, "consumers_n": 1, "blocks_per_sm": 2, "raster": 2}),
    ((16, 64, 150), 2048, 1024, {}, {"block_m": 16, "consumers_n": 1, "tail_split": 2}),
    ((300, 2000), 4100, 1024, _BFLOAT16, {"block_m": 256, "tail_split": 2, "stages": 4}),
    ((300, 2000), 4100, 1024, {}, {"block_m": 256, "multicast": 2, "stages": 4}),
)


#: The list.
HINTED_KERNELS: tuple[HintedKernel, ...] = (
    *_kernels("decode", DecodeHint, _DECODE),
    *_kernels("wgmma", WgmmaHint, _OPERAND),
    *_kernels("wgmma", WgmmaHint, ((*row[:4], {"scaling": "sums", **row[4]}) for row in _SUMS)),
    *_kernels("wgmma_dense", WgmmaHint, _DENSE),
)
