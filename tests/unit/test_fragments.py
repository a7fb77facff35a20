# SPDX-License-Identifier: Apache-2.0
"""Decoding registers of the fragment layout: every code at every place, against the formats' own values."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch
from tvm import tirx
from tvm.sym import Analyzer

from bitquant.errors import ScheduleError
from bitquant.formats import WEIGHT_DTYPES, NumberFormat
from bitquant.formats.codebooks import Codebook
from bitquant.intrin.decoders import RegisterDecoder, permuted_words
from bitquant.intrin.operations import select_constant, table_vectors
from bitquant.layouts import FragmentLayout
from bitquant.testing.generators import sample_format
from bitquant.testing.oracle import code_values

FORMATS = [name for name in WEIGHT_DTYPES if sample_format(name).bits <= 8]
PAIRS = ("float16", "bfloat16")
OPERANDS = (*PAIRS, "int8", "uint8", "float8_e4m3", "float8_e5m2")
#: Formats with a table: whether codes are looked up, and so stand side by side in a word.
LOOKED_UP = {
    name: (True,) if sample_format(name).needs_table else (True, False)
    for name in FORMATS
    if sample_format(name).codebook is not None
}
CASES = [
    (name, operand, operand_bits, is_adjacent, converts_float8)
    for name, operand, operand_bits in itertools.product(FORMATS, OPERANDS, (16, 8))
    for is_adjacent in LOOKED_UP.get(name, (False,))
    for converts_float8 in ((False, True) if name == "float8_e4m3" else (True,))
    if sample_format(name).register_refusal(operand) is None
    and (operand in PAIRS or (operand_bits == 8 and not is_adjacent))
]

#: Formats with a table, and of how many words one has values permuted.
PERMUTED = list(itertools.product(LOOKED_UP, PAIRS, (16, 8), (1, 2)))

#: Formats whose codes are numbers where they stand, in both layouts.
IN_PLACE = [
    (f"{kind}{bits}", operand_bits)
    for kind, bits, operand_bits in itertools.product(("uint", "int"), range(1, 8), (16, 8))
]


def values_of(fmt: NumberFormat, operand: str) -> np.ndarray:
    """Return the value of each code of a format by its definition; those of a table rounded to the operand's type."""
    values = code_values(np.arange(1 << fmt.bits), fmt)
    if not fmt.needs_table:
        return values
    return torch.from_numpy(values).to(sample_format(operand).torch_dtype).double().numpy()


def numbers(words: np.ndarray, dtype: str) -> np.ndarray:
    """Return the numbers of 32-bit words (n,) in float64, (n, 2) or (n, 4)."""
    torch_dtype = {"int8": torch.int8, "uint8": torch.uint8}.get(dtype) or sample_format(dtype).torch_dtype
    return (
        torch.from_numpy(np.ascontiguousarray(words).view(np.uint8).copy())
        .view(torch_dtype)
        .double()
        .numpy()
        .reshape(len(words), -1)
    )


def _words(pairs: np.ndarray, dtype: str) -> np.ndarray:
    """Return pairs (n, 2) rounded to nearest as 32-bit words, the inverse of `numbers`."""
    with np.errstate(over="ignore"):
        rounded = torch.from_numpy(np.ascontiguousarray(pairs)).to(sample_format(dtype).torch_dtype)
    return rounded.view(torch.int16).numpy().view(np.uint32).reshape(-1)


class NumpyOps:
    """Computes what the instructions compute, in float64 rounded once; `pairs` is the table of a decoder."""

    def hold(self, x):
        assert x.dtype == np.uint32
        return x

    def mask(self, bits, x):
        return x.dtype.type(bits)

    def fma(self, x, mul, add, dtype):
        x, mul, add = (numbers(np.atleast_1d(np.asarray(v, dtype=np.uint32)), dtype) for v in (x, mul, add))
        with np.errstate(invalid="ignore"):
            return _words(x * mul + add, dtype)

    def byte_perm(self, x, y, selector):
        x, y, selector = np.broadcast_arrays(*(np.asarray(v, dtype=np.uint32) for v in (x, y, selector)))
        result = np.zeros_like(x)
        for i in range(4):
            digit = selector >> np.uint32(4 * i) & np.uint32(15)
            # PRMT repeats a sign where this bit is set.
            assert (digit < 8).all()
            half = np.where(digit < 4, x, y)
            result |= (half >> (digit % np.uint32(4) * np.uint32(8)) & np.uint32(255)) << np.uint32(8 * i)
        return result

    def repeat_signs(self, x):
        signs = np.ascontiguousarray(x).view(np.int8) < 0
        return np.where(signs, 255, 0).astype(np.uint8).view(np.uint32)

    def abs_difference(self, x, y):
        difference = x.view(np.uint8).astype(int) - np.tile(np.array([y], dtype=np.uint32).view(np.uint8), len(x))
        return np.abs(difference).astype(np.uint8).view(np.uint32)

    def from_e4m3(self, x, half):
        return _words(numbers(x, "float8_e4m3")[:, 2 * half : 2 * half + 2], "float16")

    def widen(self, x):
        return _words(numbers(x, "float16"), "bfloat16")

    def lookup(self, table, word, byte):
        return table[word >> np.uint32(8 * byte) & np.uint32(255)]


def lanes(layout: FragmentLayout, seed: int) -> tuple[np.ndarray, list[list[np.ndarray]]]:
    """Random codes (lanes, registers, V), every code among them at every place, and each plane's words."""
    rng = np.random.default_rng(seed)
    shape = (600, layout.registers, layout.values_per_register)
    codes = rng.integers(0, 1 << layout.bits, shape)
    place = np.arange(shape[1] * shape[2]).reshape(shape[1:])
    codes[: 1 << layout.bits] = (np.arange(1 << layout.bits)[:, None, None] + 7 * place) % (1 << layout.bits)
    words = [[np.zeros(len(codes), dtype=np.uint32) for _ in range(plane.words)] for plane in layout.planes]
    for plane, part in zip(layout.planes, words, strict=True):
        for r, e in itertools.product(range(shape[1]), range(shape[2])):
            word, bit = layout.bit_position(plane, r, e)
            field = codes[:, r, e] >> plane.shift & ((1 << plane.bits) - 1)
            part[word] |= field.astype(np.uint32) << np.uint32(bit)
    return codes, words


@pytest.mark.parametrize(("name", "operand", "operand_bits", "is_adjacent", "converts_float8"), CASES)
def test_registers_hold_the_values(name, operand, operand_bits, is_adjacent, converts_float8):
    """Every code at every place of a tile becomes value_scale * number - value_offset, NaN and infinities included."""
    fmt = sample_format(name)
    layout = FragmentLayout(fmt.bits, operand_bits, is_adjacent)
    decoder = RegisterDecoder(fmt, layout, operand, converts_float8=converts_float8)
    assert decoder.has_table is is_adjacent
    assert decoder.registers == (2 if operand in PAIRS and operand_bits == 8 else 1)
    assert np.log2(decoder.value_scale) % 1 == 0
    table = values_of(fmt, operand)
    codes, words = lanes(layout, 1)
    lookup = decoder.pair_values() if decoder.has_table else None
    for r in range(layout.registers):
        registers = decoder.decode(words, r, lookup, NumpyOps())
        found = np.concatenate([numbers(x, operand) for x in registers], axis=1)
        values = decoder.value_scale * found - decoder.value_offset
        np.testing.assert_array_equal(values, table[codes[:, r]])
        np.testing.assert_array_equal(
            np.copysign(1, values)[values == 0], np.copysign(1, table[codes[:, r]])[values == 0]
        )


@pytest.mark.parametrize(("name", "operand", "operand_bits", "permutes"), PERMUTED)
def test_permuted_values(name, operand, operand_bits, permutes):
    """Values that are permuted are those of the table: of every code at every place, -0 as -0."""
    layout = FragmentLayout(4, operand_bits, is_adjacent=True)
    decoder = RegisterDecoder(sample_format(name), layout, operand, permutes=permutes)
    levels = values_of(decoder.fmt, operand)
    codes, words = lanes(layout, 6)
    looked_up = []

    class Ops(NumpyOps):
        def lookup(self, *operands):
            looked_up.append(operands)
            return super().lookup(*operands)

    for r in range(layout.registers):
        registers = decoder.decode(words, r, decoder.pair_values(), Ops())
        found = np.concatenate([numbers(x, operand) for x in registers], axis=1)
        np.testing.assert_array_equal(found, levels[codes[:, r]])
        np.testing.assert_array_equal(np.signbit(found), np.signbit(levels[codes[:, r]]))
    # Of four registers' worth a word, two are permuted.
    assert len(looked_up) == layout.registers * decoder.registers * (2 * permutes - 1) // (2 * permutes)


@pytest.mark.parametrize(("name", "operand_bits"), IN_PLACE)
def test_registers_hold_codes_in_place(name, operand_bits):
    """In place every code at every place becomes value_scale * 2^-exponent * number - value_offset, too."""
    fmt = sample_format(name)
    layout = FragmentLayout(fmt.bits, operand_bits)
    decoder = RegisterDecoder(fmt, layout, "float16", in_place=True)
    table = values_of(fmt, "float16")
    codes, words = lanes(layout, 2)
    multiplied = []

    class Ops(NumpyOps):
        def fma(self, *operands):
            multiplied.append(operands)
            return super().fma(*operands)

    for r in range(layout.registers):
        registers = decoder.decode(words, r, None, Ops())
        found = np.concatenate([numbers(x, "float16") for x in registers], axis=1)
        # The codes are whole multiples of the least subnormal number, of at most 11 bits: no rounding anywhere.
        multiples = found * 2.0**24
        assert ((multiples >= 0) & (multiples < 2**11) & (multiples % 2 ** decoder.exponent(r) == 0)).all()
        values = decoder.value_scale * 2.0 ** -decoder.exponent(r) * found - decoder.value_offset
        np.testing.assert_array_equal(values, table[codes[:, r]])
    assert len(multiplied) == layout.registers * decoder.registers * (len(layout.planes) - 1)


@pytest.mark.parametrize("name", ["uint4", "int4"])
def test_registers_that_share_bytes(name):
    """The number of an even register less that of the next one is the value's, without a multiply-add."""
    fmt = sample_format(name)
    layout = FragmentLayout(4, 16)
    decoder = RegisterDecoder(fmt, layout, "float16", in_place=True, shares_bytes=True)
    codes, words = lanes(layout, 5)
    found = [numbers(decoder.decode(words, r, None, NumpyOps())[0], "float16") for r in range(layout.registers)]
    for r in range(layout.registers):
        assert (found[r] < 2.0**-13).all()
        number = found[r] - found[r + 1] if r % 2 == 0 else found[r]
        values = decoder.value_scale * 2.0 ** -decoder.exponent(r) * number - decoder.value_offset
        np.testing.assert_array_equal(values, values_of(fmt, "float16")[codes[:, r]])


@pytest.mark.parametrize(
    ("name", "operand_bits", "in_place"), [("uint4", 16, False), ("uint4", 8, True), ("uint2", 16, True)]
)
def test_refusals_to_share_bytes(name, operand_bits, in_place):
    """Only codes of 4 bits in the layout for 16-bit operands stand so that rows share a byte."""
    fmt = sample_format(name)
    with pytest.raises(ScheduleError, match="to share bytes"):
        RegisterDecoder(fmt, FragmentLayout(fmt.bits, operand_bits), "float16", in_place=in_place, shares_bytes=True)


@pytest.mark.parametrize(
    ("bits", "operand_bits", "exponents", "follow_rows"),
    [
        (4, 16, [0, 4], True),
        (7, 16, [0, 4], True),
        (2, 16, [0, 2, 4, 6], False),
        (3, 16, [0, 2, 4, 6], False),
        (1, 16, [2, 3, 2, 3, 6, 7, 6, 7], False),
        (4, 8, [0, 4], True),
    ],
)
def test_exponents_in_place(bits, operand_bits, exponents, follow_rows):
    """Exponents repeat; only where two registers share a byte do they depend on the row alone."""
    layout = FragmentLayout(bits, operand_bits)
    decoder = RegisterDecoder(sample_format(f"uint{bits}"), layout, "float16", in_place=True)
    found = [decoder.exponent(r) for r in range(layout.registers)]
    assert found == exponents * (layout.registers // len(exponents))
    assert decoder.exponents_follow_rows is follow_rows
    whole = RegisterDecoder(sample_format(f"uint{bits}"), layout, "float16")
    assert {whole.exponent(r) for r in range(layout.registers)} == {0}
    assert whole.exponents_follow_rows


@pytest.mark.parametrize(
    ("name", "operand", "message"),
    [
        ("uint4", "bfloat16", "needs an operand of type float16"),
        ("uint8", "float16", "needs integers of at most 7 bits"),
        ("nf4", "float16", "needs integers of at most 7 bits"),
        ("fp4_e2m1", "float16", "needs integers of at most 7 bits"),
    ],
)
def test_refusals_in_place(name, operand, message):
    """What is not proportional to its code, or too small as a number, is refused."""
    fmt = sample_format(name)
    assert message in fmt.in_place_refusal(operand)
    with pytest.raises(ScheduleError, match=message):
        RegisterDecoder(fmt, FragmentLayout(fmt.bits, 16, name == "nf4"), operand, in_place=True)


@pytest.mark.parametrize("bits", range(1, 8))
def test_signed_codes_fill_bytes(bits):
    """At the top of their bytes all signed codes are whole multiples of their values, without an offset."""
    fmt, layout = sample_format(f"int{bits}"), FragmentLayout(bits, 8)
    decoder = RegisterDecoder(fmt, layout, "int8", fills_bytes=True)
    assert decoder.value_offset == 0
    codes, words = lanes(layout, 1)
    for r in range(layout.registers):
        (register,) = decoder.decode(words, r, None, NumpyOps())
        np.testing.assert_array_equal(
            numbers(register, "int8") * decoder.value_scale, values_of(fmt, "int8")[codes[:, r]]
        )


@pytest.mark.parametrize("threads", [32, 64, 96, 128, 160, 256, 384, 512, 1024])
def test_threads_share_a_table(threads):
    """Whatever their number, the threads of a block write every vector of a table of pairs exactly once."""
    thread = np.arange(threads)
    written = np.zeros((16, 128), dtype=int)
    groups, parts = table_vectors(thread, threads)
    for vector, group, inside in parts:
        is_active = np.ones(threads, dtype=bool) if inside is None else inside
        for first in range(0, 16, groups):
            high = np.broadcast_to(first + group, threads)[is_active]
            np.add.at(written, (high, vector[is_active]), 1)
    assert (written == 1).all()


def test_selected_constants():
    """A constant is selected by the index in a tuple of 16."""
    constants = [7 * i + 1 for i in range(16)]
    for i, constant in enumerate(constants):
        selected = select_constant(constants, tirx.const(i, "int32"))
        assert int(Analyzer().simplify(selected)) == constant


@pytest.mark.parametrize("operand", PAIRS)
@pytest.mark.parametrize("name", LOOKED_UP)
def test_pairs_of_values(name, operand):
    """Entry b of the table is the value of code b % 16 below that of code b // 16, rounded to nearest even."""
    decoder = RegisterDecoder(sample_format(name), FragmentLayout(4, 16, True), operand)
    assert decoder.table_bytes == 256 * 4 * 32
    levels = torch.tensor(sample_format(name).codebook, dtype=torch.float64).to(getattr(torch, operand)).double()
    byte = np.arange(256)
    expected = np.stack([levels.numpy()[byte % 16], levels.numpy()[byte // 16]], axis=1)
    np.testing.assert_array_equal(numbers(decoder.pair_values(), operand), expected)


@pytest.mark.parametrize(
    ("name", "operand", "message"),
    [
        ("float16", "float16", "needs a format of at most 8 bits"),
        ("uint8", "int8", "values int8 holds"),
        ("fp4_e2m1", "int8", "values int8 holds"),
        ("int4", "uint8", "values uint8 holds"),
        ("uint5", "float8_e4m3", "values float8_e4m3 holds"),
        ("float8_e5m2", "float8_e4m3", "values float8_e4m3 holds"),
        ("uint2", "float8_e5m2", "values float8_e5m2 holds"),
        ("nf4", "float8_e4m3", "values float8_e4m3 holds"),
    ],
)
def test_refusals(name, operand, message):
    """A format that an operand's type cannot hold is refused, with the reason that its `register_refusal` gives."""
    fmt = sample_format(name)
    assert message in fmt.register_refusal(operand)
    layout = FragmentLayout(min(fmt.bits, 8), 8, name == "nf4")
    with pytest.raises(ScheduleError, match=message):
        RegisterDecoder(fmt, layout, operand)


@pytest.mark.parametrize(
    ("name", "operand", "operand_bits", "is_adjacent", "message"),
    [
        ("uint4", "float16", 16, True, "in fields of its width, not side by side (got uint4)"),
        ("fp4_e2m1", "float8_e4m3", 8, True, "in fields of its width, not side by side (got fp4_e2m1)"),
        ("nf4", "bfloat16", 16, False, "side by side, to look them up (got nf4)"),
        ("nf4", "float16", 8, False, "side by side, to look them up (got nf4)"),
    ],
)
def test_tables_need_their_layout(name, operand, operand_bits, is_adjacent, message):
    """Codes are looked up as pairs, for which they must stand side by side, and no others may."""
    with pytest.raises(ScheduleError, match=re.escape(message)):
        RegisterDecoder(sample_format(name), FragmentLayout(4, operand_bits, is_adjacent), operand)


def test_permuted_words():
    """Levels that differ by sign take fewer instructions than others, and more of them are permuted."""
    signs = (0.0, *range(1, 8), -0.0, *range(-1, -8, -1))
    others = tuple(range(16))
    layout = FragmentLayout(4, 16, is_adjacent=True)
    for levels, expected in ((signs, [2, 1]), (others, [0, 2])):
        fmt = Codebook("levels", 4, levels=tuple(map(float, levels)))
        assert [permuted_words(fmt, layout, is_busy) for is_busy in (False, True)] == expected
    for name in ("uint4", "fp4_e2m1"):
        assert permuted_words(sample_format(name), FragmentLayout(4, 16), True) == 0


@pytest.mark.parametrize("name", ["uint4", "fp4_e2m1"])
def test_permutations_need_their_layout(name):
    """Values are permuted in place of those that are looked up, and no others."""
    message = f"needs a layout whose codes stand side by side, to permute values (got {name})"
    with pytest.raises(ScheduleError, match=re.escape(message)):
        RegisterDecoder(sample_format(name), FragmentLayout(4, 16), "float16", permutes=1)


def test_bytes_need_their_layout():
    """Operands of 8 bits cannot be decoded from the layout of operands of 16 bits."""
    with pytest.raises(ScheduleError, match="needs a layout for operands of 8 bits"):
        RegisterDecoder(sample_format("int4"), FragmentLayout(4, 16), "int8")
