# SPDX-License-Identifier: Apache-2.0
"""The fragment layout: where every code lies, both ways, and what is refused."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
import torch
import tvm
from tvm import te

from bitquant import packing, relayout
from bitquant.config import MatmulConfig
from bitquant.errors import ConfigError
from bitquant.formats import WEIGHT_DTYPES, number_format
from bitquant.layouts import (
    WEIGHT_LAYOUTS,
    FragmentLayout,
    Plane,
    fragment_code,
    fragment_layout,
    fragment_refusal,
    weight_dtype,
    weight_shape,
    weight_tvm_dtype,
)
from bitquant.packing import general_compress, pack
from bitquant.relayout import from_layout, to_layout
from bitquant.testing.generators import weight_fields

BITS = range(1, 9)
SMALL = [name for name in WEIGHT_DTYPES if number_format(name).bits <= 8]
#: The planes of each width, (bits, lowest bit of the code), and the depth of its tiles.
PLANES = {
    1: [(1, 0)], 2: [(2, 0)], 3: [(2, 0), (1, 2)], 4: [(4, 0)], 5: [(4, 0), (1, 4)], 6: [(4, 0), (2, 4)],
    7: [(4, 0), (2, 4), (1, 6)], 8: [(8, 0)],
}  # fmt: skip
TILE_K = {1: 256, 2: 128, 3: 256, 4: 64, 5: 256, 6: 128, 7: 256, 8: 32}
ALL_LAYOUTS = [FragmentLayout(bits, operand_bits) for bits in BITS for operand_bits in (16, 8)] + [
    FragmentLayout(4, operand_bits, is_adjacent=True) for operand_bits in (16, 8)
]


def problem(W_dtype: str, N: int, K: int, operand_bits: int = 16, **fields) -> MatmulConfig:
    """Return a problem with that weight and an A of that width, of a type that goes with every format."""
    A_dtype = "float16" if operand_bits == 16 else "float8_e4m3"
    return MatmulConfig(
        **{**dict(M=1, N=N, K=K, A_dtype=A_dtype, accum_dtype="float32"), **weight_fields(W_dtype), **fields}
    )


def random_codes(bits: int, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Return codes of that width, int64."""
    return torch.randint(0, 1 << bits, shape, generator=torch.Generator().manual_seed(seed))


def plain_weight(codes: torch.Tensor, config: MatmulConfig) -> torch.Tensor:
    """Return codes as the plain tensor of a problem."""
    raw = codes.to(torch.uint8)
    if config.W_format.bits == 8:
        return raw.view(config.W_format.torch_dtype)
    return general_compress(raw, config.W_format.bits)


def mma_fragment(operand_bits: int) -> list[tuple[int, int, int, int, int]]:
    """Return (row, k, lane, register, place in the register) of each element of the matrix A of an mma instruction.

    The PTX ISA gives row and column of element a_i of a lane, for m16n8k16 with 16-bit and for m16n8k32 with 8-bit
    types; elements fill a lane's four registers in order.
    """
    places = []
    for lane in range(32):
        group, thread = lane >> 2, lane % 4
        if operand_bits == 16:
            for i in range(8):
                row = group if 0 <= i < 2 or 4 <= i < 6 else group + 8
                column = thread * 2 + (i & 1) + (8 if i >= 4 else 0)
                places.append((row, column, lane, i // 2, i % 2))
        else:
            for i in range(16):
                row = group if 0 <= i < 4 or 8 <= i < 12 else group + 8
                column = thread * 4 + (i & 3) + (16 if i >= 8 else 0)
                places.append((row, column, lane, i // 4, i % 4))
    return places


def codes_by_definition(stored: torch.Tensor, bits: int, operand_bits: int, adjacent: bool = False) -> np.ndarray:
    """Return all codes of a stored tensor, padding included, each element of a tile read for itself."""
    tile_k, step_k = TILE_K[bits], 256 // operand_bits
    tiles = np.ascontiguousarray(stored.numpy()).view(np.uint8)
    tiles = tiles.reshape(tiles.shape[0], -1, 2 * tile_k * bits).astype(np.uint32)
    codes = np.zeros((tiles.shape[0], 16, tiles.shape[1], tile_k), np.uint32)
    plane_byte = 0
    for width, shift in PLANES[bits]:
        per_word = operand_bits // width
        for step in range(tile_k // step_k):
            for row, column, lane, p, e in mma_fragment(operand_bits):
                word, field = divmod(4 * step + p, per_word)
                bit = 4 * (field * (32 // operand_bits) + e) if adjacent else field * width + e * operand_bits
                at = plane_byte + word // 4 * 512 + lane * 16 + word % 4 * 4 + bit // 8
                value = tiles[:, :, at] >> (bit % 8) & ((1 << width) - 1)
                codes[:, row, :, step * step_k + column] |= value << shift
        plane_byte += 2 * tile_k * width
    assert plane_byte == tiles.shape[2]
    return codes.reshape(tiles.shape[0] * 16, -1)


# The map.


@pytest.mark.parametrize("operand_bits", [16, 8])
@pytest.mark.parametrize("bits", BITS)
def test_codes_lie_where_the_instruction_reads_them(bits, operand_bits):
    """Every code stands at its place of the mma fragment, for ragged N and K, and the rest is 0."""
    N, K = 37, 2 * TILE_K[bits] + 24
    codes = random_codes(bits, (N, K))
    config = problem(f"uint{bits}", N, K, operand_bits)
    stored = to_layout(plain_weight(codes, config), config, "fragment")
    expected = np.zeros((48, 3 * TILE_K[bits]), np.uint32)
    expected[:N, :K] = codes.numpy()
    assert np.array_equal(codes_by_definition(stored, bits, operand_bits), expected)


@pytest.mark.parametrize(("W_dtype", "operand_bits"), [("nf4", 16), ("nf4", 8), ("fp4_e2m1", 16)])
def test_codes_side_by_side(W_dtype, operand_bits):
    """Codes that are looked up follow one another in a word, a byte a pair, as a table of pairs wants them."""
    codes = random_codes(4, (32, 128))
    config = problem(W_dtype, 32, 128, operand_bits)
    stored = to_layout(plain_weight(codes, config), config, "fragment")
    assert np.array_equal(codes_by_definition(stored, 4, operand_bits, adjacent=True), codes.numpy())
    word = int(stored[0, :4].view(torch.int32)) & 0xFFFFFFFF
    values = 32 // operand_bits
    for e in range(values):
        assert word >> (4 * e) & 15 == codes[0, e]
        assert word >> (4 * (values + e)) & 15 == codes[8, e]


def test_fp4_for_8_bit_operands():
    """With A of 8 bits fp4_e2m1 is decoded by arithmetic, and stands as integers of 4 bits do."""
    codes = random_codes(4, (32, 128))
    fp4, uint4 = (problem(W_dtype, 32, 128, 8) for W_dtype in ("fp4_e2m1", "uint4"))
    stored = [to_layout(plain_weight(codes, config), config, "fragment") for config in (fp4, uint4)]
    assert torch.equal(stored[0].view(torch.uint8), stored[1].view(torch.uint8))


def test_4_bits_for_16_bit_operands():
    """Word j of a lane is the step of 16 k; nibbles p and p + 4 are two neighbours of row g or g + 8, k or k + 8."""
    codes = random_codes(4, (32, 128))
    config = problem("uint4", 32, 128)
    stored = to_layout(plain_weight(codes, config), config, "fragment")
    words = stored.view(torch.int32).view(2, 2, 32, 4).long() & 0xFFFFFFFF
    tiles = codes.view(2, 16, 2, 64).transpose(1, 2)
    for lane in range(32):
        g, t = divmod(lane, 4)
        for j in range(4):
            for p, (row, first) in enumerate([(g, 0), (g + 8, 0), (g, 8), (g + 8, 8)]):
                for half in (0, 1):
                    value = words[:, :, lane, j] >> (4 * p + 16 * half) & 15
                    assert torch.equal(value, tiles[:, :, row, 16 * j + 2 * t + first + half])


def test_8_bits_for_8_bit_operands_are_registers():
    """A lane's word of an 8-bit weight is a register of the instruction as it stands: four neighbours in k."""
    codes = random_codes(8, (16, 32))
    config = problem("float8_e4m3", 16, 32, 8)
    stored = to_layout(plain_weight(codes, config), config, "fragment").view(torch.uint8).view(32, 4, 4)
    for lane in range(32):
        g, t = divmod(lane, 4)
        for p in range(4):
            row, k = g + 8 * (p % 2), 4 * t + 16 * (p // 2)
            assert torch.equal(stored[lane, p].long(), codes[row, k : k + 4])


@pytest.mark.parametrize("layout", ALL_LAYOUTS, ids=str)
def test_planes_fill_a_tile(layout):
    """Planes, chunks, words and bits tile a tile: no bit is left out or used twice."""
    assert [(plane.bits, plane.shift) for plane in layout.planes] == PLANES[layout.bits]
    assert layout.tile_k == TILE_K[layout.bits]
    assert layout.tile_bytes == 16 * layout.tile_k * layout.bits // 8
    assert layout.steps * layout.step_k == layout.tile_k
    assert layout.registers == 4 * layout.steps
    assert layout.values_per_register * layout.operand_bits == 32
    starts = []
    for index, plane in enumerate(layout.planes):
        assert plane.words == 4 * plane.chunks == layout.tile_k * plane.bits // 64
        assert plane.byte_offset == layout.chunk_offset(index, 0)
        starts += [layout.chunk_offset(index, chunk) for chunk in range(plane.chunks)]
        used = sorted(
            32 * word + bit
            for register in range(layout.registers)
            for e in range(layout.values_per_register)
            for word, bit in [layout.bit_position(plane, register, e)]
        )
        assert used == list(range(0, 32 * plane.words, plane.bits))
    assert starts == list(range(0, layout.tile_bytes, 512))


def test_planes_of_7_bits():
    """The widest plane comes first and holds the lowest bits."""
    assert FragmentLayout(7, 16).planes == (Plane(4, 0, 0, 16), Plane(2, 4, 2048, 8), Plane(1, 6, 3072, 4))


# Both ways.


@pytest.mark.parametrize("operand_bits", [16, 8])
@pytest.mark.parametrize("W_dtype", SMALL)
@pytest.mark.parametrize(("N", "K"), [(1, 8), (16, 256), (37, 264), (130, 1032)])
def test_round_trip(W_dtype, operand_bits, N, K):
    """Every format comes back bit for bit, ragged or not, in the shapes and types that are announced."""
    config = problem(W_dtype, N, K, operand_bits)
    plain = plain_weight(random_codes(config.W_format.bits, (N, K)), config)
    stored = to_layout(plain, config, "fragment")
    assert tuple(stored.shape) == weight_shape(config, "fragment")
    assert stored.dtype == weight_dtype(config, "fragment") == torch.int8
    assert stored.is_contiguous()
    back = from_layout(stored, config, "fragment")
    assert tuple(back.shape) == weight_shape(config, "plain")
    assert back.dtype == weight_dtype(config, "plain") == plain.dtype
    assert torch.equal(back.view(torch.int8), plain.view(torch.int8))


@pytest.mark.parametrize("bits", BITS)
def test_int8_activations_have_the_fragments_of_8_bits(bits):
    """A of int8 and A of float8 read the same bytes."""
    codes = random_codes(bits, (16, 256))
    integer = problem(f"int{bits}", 16, 256, A_dtype="int8", out_dtype="int32", accum_dtype="int32")
    float8 = problem(f"int{bits}", 16, 256, 8)
    assert fragment_layout(integer) == fragment_layout(float8) == FragmentLayout(bits, 8)
    plain = plain_weight(codes, integer)
    assert torch.equal(to_layout(plain, integer, "fragment"), to_layout(plain, float8, "fragment"))


@pytest.mark.parametrize("W_dtype", ["uint3", "int7", "nf4", "float8_e5m2"])
def test_pieces_do_not_matter(W_dtype, monkeypatch):
    """A weight converted a few rows at a time is the weight converted at once."""
    config = problem(W_dtype, 100, 520)
    plain = plain_weight(random_codes(config.W_format.bits, (100, 520)), config)
    whole = to_layout(plain, config, "fragment")
    for elements in (1, 40_000):
        monkeypatch.setattr(packing.arrays, "_CHUNK_ELEMENTS", elements)
        assert torch.equal(to_layout(plain, config, "fragment"), whole)
        assert torch.equal(from_layout(whole, config, "fragment").view(torch.int8), plain.view(torch.int8))


@pytest.mark.parametrize(
    "W_dtype", ["uint1", "int1", "uint3", "int4", "int7", "uint8", "nf4", "fp4_e2m1", "float8_e5m2"]
)
def test_values_are_packed_straight_into_fragments(W_dtype, monkeypatch):
    """It is the plain weight converted, also a few rows at a time, and of a transposed tensor."""
    config = problem(W_dtype, 100, 520)
    values = packing.unpack(plain_weight(random_codes(config.W_format.bits, (100, 520)), config), config)
    plain = pack(values, config)
    stored = to_layout(plain, config, "fragment")
    assert torch.equal(relayout.pack(values, config, "plain").view(torch.int8), plain.view(torch.int8))
    for elements in (1 << 22, 20_000):
        monkeypatch.setattr(packing.arrays, "_CHUNK_ELEMENTS", elements)
        assert torch.equal(relayout.pack(values.T.contiguous().T, config, "fragment"), stored)
    with pytest.raises(ConfigError, match=r"'weight' must have shape \(N, K\) = \(100, 520\)"):
        relayout.pack(values[1:], config, "fragment")


@pytest.mark.parametrize("W_dtype", ["uint4", "int5", "int8", "float8_e4m3"])
def test_any_strides(W_dtype):
    """Transposed and sliced tensors convert as their copies do."""
    config = problem(W_dtype, 33, 136)
    plain = plain_weight(random_codes(config.W_format.bits, (33, 136)), config)
    stored = to_layout(plain, config, "fragment")
    assert torch.equal(to_layout(plain.T.contiguous().T, config, "fragment"), stored)
    wide = torch.cat([stored[:, :3], stored], dim=1)[:, 3:]
    for view in (wide, stored.T.contiguous().T):
        assert torch.equal(from_layout(view, config, "fragment").view(torch.int8), plain.view(torch.int8))


def test_padding_is_not_looked_at():
    """What stands beyond N and K does not come back, whatever it is."""
    config = problem("uint5", 17, 264)
    plain = plain_weight(random_codes(5, (17, 264)), config)
    ones = problem("uint5", 32, 512)
    padding = to_layout(plain_weight(torch.full((32, 512), 31), ones), ones, "fragment")
    empty = to_layout(plain_weight(torch.full((17, 264), 31), config), config, "fragment")
    stored = to_layout(plain, config, "fragment") | (padding ^ empty)
    assert torch.equal(from_layout(stored, config, "fragment"), plain)


def test_plain_stays_as_it_is():
    """The plain layout is the tensor itself, and what no fragment holds has it, too."""
    for config in (problem("uint4", 16, 64), problem("float16", 16, 64)):
        plain = pack(torch.ones(16, 64, dtype=torch.int8), config)
        assert to_layout(plain, config, "plain") is plain
        assert from_layout(plain, config, "plain") is plain


# Expressions.


@functools.cache
def compiled_codes(W_dtype: str, operand_bits: int, N: int, K: int) -> tvm.runtime.Module:
    config = problem(W_dtype, N, K, operand_bits)
    B = te.placeholder(weight_shape(config, "fragment"), "int8", name="B")
    layout = fragment_layout(config)
    codes = te.compute((N, K), lambda n, k: fragment_code(lambda row, byte: B[row, byte], n, k, layout), name="codes")
    assert codes.dtype == "uint8"
    return tvm.compile(te.create_prim_func([B, codes]), target="llvm")


@pytest.mark.parametrize("operand_bits", [16, 8])
@pytest.mark.parametrize("W_dtype", ["uint1", "int2", "uint3", "uint4", "nf4", "uint6", "int7", "float8_e4m3"])
def test_fragment_code_reads_each_element(W_dtype, operand_bits):
    """The expression of the code of (n, k), compiled for the CPU, gives what was stored."""
    N, K = 21, 264
    config = problem(W_dtype, N, K, operand_bits)
    codes = random_codes(config.W_format.bits, (N, K))
    stored = to_layout(plain_weight(codes, config), config, "fragment")
    result = tvm.runtime.tensor(np.empty((N, K), np.uint8))
    compiled_codes(W_dtype, operand_bits, N, K)(tvm.runtime.tensor(stored.numpy()), result)
    assert np.array_equal(result.numpy(), codes.numpy())


# Shapes, types and refusals.


@pytest.mark.parametrize("W_dtype", SMALL)
def test_shapes_tell_the_layouts_apart(W_dtype):
    """No weight has the same shape in both layouts, so that a wrong one is refused by its shape."""
    for N in (1, 2, 15, 16, 17, 4096):
        for K in (8, 64, 256, 264, 4096):
            config = problem(W_dtype, N, K)
            plain, fragment = weight_shape(config, "plain"), weight_shape(config, "fragment")
            assert plain != fragment
            assert fragment[0] == -(-N // 16)


def test_dtypes():
    """A stored fragment is int8 in torch and TVM whatever the format; a plain weight has the format's own type."""
    assert WEIGHT_LAYOUTS == ("plain", "fragment")
    config = problem("float8_e4m3", 16, 64)
    assert (weight_dtype(config, "plain"), weight_tvm_dtype(config, "plain")) == (torch.float8_e4m3fn, "float8_e4m3fn")
    assert (weight_dtype(config, "fragment"), weight_tvm_dtype(config, "fragment")) == (torch.int8, "int8")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (dict(W_dtype="float16"), "needs a W of at most 8 bits (got float16)"),
        (dict(A_dtype="float32", W_dtype="uint4"), "needs A of 16 or 8 bits (got float32)"),
        (
            dict(A_dtype="int8", W_dtype="int8", layout="nn", accum_dtype="int32", out_dtype="int32"),
            "needs layout nt (got nn)",
        ),
        (dict(W_dtype="uint4", group_size=8, with_scaling=True), "needs group_size % 16 == 0 (got 8)"),
        (dict(W_dtype="uint4", group_size=24, with_zeros=True), "needs group_size % 16 == 0 (got 24)"),
        (
            dict(A_dtype="int8", W_dtype="uint4", group_size=16, with_scaling=True),
            "needs group_size % 32 == 0 (got 16)",
        ),
        (
            dict(W_dtype="uint8", N=4, K=2**28),
            f"needs fewer than 2^31 bytes of whole tiles, which 32-bit indices reach (got {2**32})",
        ),
    ],
)
def test_refusals(fields, reason):
    """A problem without a fragment layout says why, everywhere alike."""
    config = MatmulConfig(**{**dict(M=1, N=48, K=192, accum_dtype="float32"), **fields})
    assert fragment_refusal(config) == reason
    for function in (fragment_layout, functools.partial(weight_shape, layout="fragment")):
        with pytest.raises(ConfigError, match=re.escape(f"the weight layout 'fragment' {reason}; use 'plain'")):
            function(config)


@pytest.mark.parametrize(
    "fields",
    [
        dict(group_size=16, with_scaling=True),
        dict(group_size=24),
        dict(K=200, with_scaling=True, with_zeros=True),
        dict(K=200, group_size=200, with_scaling=True),
        dict(N=1, K=8),
    ],
)
def test_groups_that_fit(fields):
    """Groups of whole steps, one group a row, and groups that nothing is scaled by are no reason to refuse."""
    config = MatmulConfig(**{**dict(M=1, N=48, K=192, W_dtype="uint4"), **fields})
    assert fragment_refusal(config) is None


def test_wrong_tensors():
    """A tensor of another shape, type or layout is named with what it should be."""
    config = problem("float8_e4m3", 32, 64)
    plain = plain_weight(random_codes(8, (32, 64)), config)
    stored = to_layout(plain, config, "fragment")
    to_shape, from_shape = "'packed_plain' must have shape (32, 64)", "'stored' must have shape (2, 1024)"
    for function, tensor, layout, message in (
        (to_layout, stored, "fragment",
         f"{to_shape}, W in the layout 'plain' (got (2, 1024), which is the layout 'fragment')"),
        (from_layout, plain, "fragment",
         f"{from_shape}, W in the layout 'fragment' (got (32, 64), which is the layout 'plain')"),
        (to_layout, plain[:16], "fragment", f"{to_shape}, W in the layout 'plain' (got (16, 64))"),
        (to_layout, plain.view(torch.int8), "fragment", "'packed_plain' must be torch.float8_e4m3fn (got torch.int8)"),
        (from_layout, stored.view(torch.uint8), "fragment", "'stored' must be torch.int8 (got torch.uint8)"),
        (from_layout, stored.numpy(), "fragment", "'stored' must be a torch tensor (got ndarray)"),
        (to_layout, plain, "blocked", "'layout' must be one of plain, fragment (got 'blocked')"),
        (from_layout, plain, "blocked", "'layout' must be one of plain, fragment (got 'blocked')"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
            function(tensor, config, layout)
    # Where there is no fragment layout, a wrong shape is still told from the shape alone.
    with pytest.raises(ConfigError, match=re.escape("(got (2, 2))")):
        to_layout(torch.zeros(2, 2, dtype=torch.float16), problem("float16", 16, 64), "plain")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 16), "'bits' must be 1 to 8 (got 0)"),
        ((9, 16), "'bits' must be 1 to 8 (got 9)"),
        ((4, 32), "'operand_bits' must be 8 or 16 (got 32)"),
        ((3, 16, True), "'is_adjacent' needs bits=4 (got 3)"),
    ],
)
def test_layouts_that_do_not_exist(arguments, message):
    """A layout is refused where its numbers make none."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        FragmentLayout(*arguments)
