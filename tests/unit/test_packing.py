# SPDX-License-Identifier: Apache-2.0
"""Values, codes and bytes of a weight: bit order, ranges, and that nothing wraps."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitquant import packing
from bitquant.config import MatmulConfig
from bitquant.errors import ConfigError
from bitquant.formats import WEIGHT_DTYPES, number_format
from bitquant.formats.codebooks import NF4_VALUES
from bitquant.packing import (
    decode,
    encode,
    general_compress,
    general_decompress,
    pack,
    pack_zeros,
    unpack,
    unpack_zeros,
)
from bitquant.testing.generators import configs, make_inputs, packing_step, sample_format, weight_fields
from bitquant.testing.oracle import decode_plain

BITS = range(1, 9)
FP4_E2M1_VALUES = number_format("fp4_e2m1").levels
PACKED = [name for name in WEIGHT_DTYPES if number_format(name).is_packed]
INTEGERS = [name for name in WEIGHT_DTYPES if number_format(name).is_integer]
INTEGER_DTYPES = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64]
FLOAT8 = ["float8_e4m3", "float8_e5m2"]


def random_codes(bits: int, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Return codes of that width, int64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 1 << bits, shape, generator=generator, dtype=torch.int64)


def packed_by_definition(row: list[int], bits: int) -> list[int]:
    """Return the bytes of a row as signed numbers, from one large integer with element k at bit k * bits."""
    stream = sum(code << (k * bits) for k, code in enumerate(row))
    return [b - 256 if b > 127 else b for b in stream.to_bytes(len(row) * bits // 8, "little")]


def problem(W_dtype: str, N: int, K: int, **fields) -> MatmulConfig:
    """Return a problem with a packed W and A in float16."""
    return MatmulConfig(M=1, N=N, K=K, **weight_fields(W_dtype), **fields)


def all_integers(name: str) -> list[int]:
    """Return every value of an integer format, in the order of its codes."""
    fmt = number_format(name)
    return list(range(fmt.min_value, fmt.max_value + 1, fmt.step))


# Codes and bytes.


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("K", [8, 16, 24, 136])
def test_compress_follows_the_definition(bits, K):
    """Element k of a row is bits [k * b, (k + 1) * b) of its little-endian bit stream."""
    codes = random_codes(bits, (3, K))
    expected = [packed_by_definition(row, bits) for row in codes.tolist()]
    packed = general_compress(codes, bits)
    assert packed.dtype == torch.int8
    assert packed.tolist() == expected


def test_compress_puts_the_low_nibble_first():
    """Two 4-bit codes 1 and 15 make the byte 0xf1; the default width is 4."""
    assert general_compress(torch.tensor([[1, 15]])).tolist() == [[0xF1 - 256]]


@pytest.mark.parametrize("bits", BITS)
def test_compress_takes_rows_of_the_smallest_length(bits):
    """A row may be as short as the codes that fill whole bytes."""
    codes = random_codes(bits, (5, packing_step(f"uint{bits}")))
    assert general_compress(codes, bits).tolist() == [packed_by_definition(row, bits) for row in codes.tolist()]


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", [(48,), (1, 8), (7, 40), (2, 3, 16), (0, 16), (4, 0), (2, 0, 8)])
def test_round_trip_of_codes(bits, shape):
    """Unpacking gives the codes back, for any leading shape, in int8 and for 8 bits uint8."""
    codes = random_codes(bits, shape)
    packed = general_compress(codes, bits)
    assert tuple(packed.shape) == (*shape[:-1], shape[-1] * bits // 8)
    unpacked = general_decompress(packed, bits)
    assert unpacked.dtype == (torch.uint8 if bits == 8 else torch.int8)
    assert torch.equal(unpacked.long(), codes)


@pytest.mark.parametrize("bits", BITS)
def test_round_trip_of_bytes(bits):
    """Every byte in every place is some row of codes, and packing these gives it back."""
    rows = torch.arange(256).reshape(-1, 1).expand(256, bits).to(torch.uint8).view(torch.int8)
    mixed = torch.randint(-128, 128, (200, 3 * bits), dtype=torch.int8, generator=torch.Generator().manual_seed(1))
    for packed in (rows, mixed):
        assert torch.equal(general_compress(general_decompress(packed, bits), bits), packed)


@pytest.mark.parametrize("dtype", INTEGER_DTYPES)
def test_compress_takes_every_integer_type(dtype):
    """The type of the codes does not matter."""
    codes = random_codes(7, (5, 64))
    assert torch.equal(general_compress(codes.to(dtype), 7), general_compress(codes, 7))


def test_compress_of_8_bits_keeps_the_bytes():
    """int8 passes bit for bit, other types hold 0 to 255."""
    signed = torch.arange(-128, 128, dtype=torch.int8)
    assert torch.equal(general_compress(signed, 8), signed)
    assert general_compress(torch.tensor([0, 127, 128, 255]), 8).tolist() == [0, 127, -128, -1]


@pytest.mark.parametrize("bits", BITS)
def test_arrays_stay_arrays(bits):
    """NumPy in, NumPy out, the same bytes as for a tensor."""
    codes = random_codes(bits, (4, 32))
    packed = general_compress(codes.numpy(), bits)
    assert isinstance(packed, np.ndarray)
    assert packed.dtype == np.int8
    assert np.array_equal(packed, general_compress(codes, bits).numpy())
    unpacked = general_decompress(packed, bits)
    assert isinstance(unpacked, np.ndarray)
    assert np.array_equal(unpacked, codes.numpy())


@pytest.mark.parametrize("bits", BITS)
def test_any_strides_and_alignment(bits):
    """Transposed, sliced, reversed, misaligned and read-only inputs pack as their copies do."""
    wide = random_codes(bits, (40, 41)).to(torch.int8)
    for view in (
        wide.T[1:, :],
        wide[:, 1:],
        wide[::3, 1:33],
        wide[1:, :].reshape(-1)[1:33],
        wide[:1, 1:].expand(5, 40),
    ):
        assert torch.equal(general_compress(view, bits), general_compress(view.clone(), bits))
    packed = general_compress(wide[:, 1:], bits)
    assert torch.equal(general_decompress(packed.T.contiguous().T, bits), general_decompress(packed, bits))
    array = wide.numpy()[::-1, 40:0:-1]
    assert np.array_equal(general_compress(array, bits), general_compress(array.copy(), bits))
    frozen = wide.numpy()[:, :40].copy()
    frozen.flags.writeable = False
    assert np.array_equal(general_compress(frozen, bits), general_compress(frozen.copy(), bits))


@pytest.mark.parametrize("bits", BITS)
def test_chunks_make_no_difference(bits, monkeypatch):
    """Large weights go through a few rows at a time, also where a row is larger than a chunk."""
    codes = random_codes(bits, (13, 48))
    whole = general_compress(codes, bits)
    for chunk_elements in (1, 48, 100, 13 * 48):
        monkeypatch.setattr(packing.arrays, "_CHUNK_ELEMENTS", chunk_elements)
        assert torch.equal(general_compress(codes, bits), whole)
        assert torch.equal(general_decompress(whole, bits).long(), codes)


def test_inputs_are_not_written_to():
    """Packing and unpacking leave their inputs alone."""
    codes = random_codes(4, (4, 16)).to(torch.int8)
    before = codes.clone()
    packed = general_compress(codes)
    packed_before = packed.clone()
    general_decompress(packed)
    assert torch.equal(codes, before)
    assert torch.equal(packed, packed_before)


@pytest.mark.parametrize(
    ("bits", "dtype", "value"),
    [
        (bits, dtype, value)
        for bits in BITS
        for dtype in INTEGER_DTYPES
        for value in (-1, 1 << bits)
        if torch.iinfo(dtype).min <= value <= torch.iinfo(dtype).max and (bits, dtype) != (8, torch.int8)
    ],
)
def test_compress_refuses_codes_out_of_range(bits, dtype, value):
    """The first code that does not fit is named with its index and a fix; nothing wraps into a neighbour."""
    codes = torch.zeros((2, 3, 8), dtype=dtype)
    codes[1, 2, 5] = codes[1, 2, 6] = value
    message = (
        f"'weight' out of range: got value {value} at (1, 2, 5), {bits}-bit codes are 0..{(1 << bits) - 1}; "
        f"add {1 << (bits - 1)} to signed ones first, or use more bits"
    )
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        general_compress(codes, bits)
    assert error.value.values == {"value": value, "index": (1, 2, 5)}


@pytest.mark.parametrize(
    ("bits", "K", "step", "fixed"), [(4, 7, 2, 8), (3, 12, 8, 16), (6, 2, 4, 4), (2, 5, 4, 8), (1, 9, 8, 16)]
)
def test_compress_refuses_rows_that_end_inside_a_byte(bits, K, step, fixed):
    """The message says what to pad the rows to."""
    with pytest.raises(
        ConfigError, match=rf"multiple of {step} so that rows of {bits}-bit codes.*multiple of {step}: {fixed}$"
    ):
        general_compress(torch.zeros((2, K), dtype=torch.int8), bits)


@pytest.mark.parametrize("bits", [0, 9, 4.0, True, "4"])
def test_source_bits_is_a_width(bits):
    """Widths are the integers from 1 to 8."""
    for function in (general_compress, general_decompress):
        with pytest.raises(ConfigError, match=re.escape(f"'source_bits' must be an int from 1 to 8 (got {bits!r})")):
            function(torch.zeros(8, dtype=torch.int8), bits)


@pytest.mark.parametrize("storage_dtype", ["int8", np.int8, np.dtype("int8"), torch.int8])
def test_storage_dtype_may_be_spelt_as_in_bitblas(storage_dtype):
    """int8 is accepted as a string and as a type."""
    assert general_compress(torch.tensor([1, 2]), 4, storage_dtype).tolist() == [0x21]


@pytest.mark.parametrize("storage_dtype", ["uint8", "int32", np.uint8, torch.int16, None])
def test_other_storage_types_are_refused(storage_dtype):
    """Packed weights are int8 and nothing else."""
    with pytest.raises(ConfigError, match="'storage_dtype' must be 'int8'"):
        general_compress(torch.tensor([1, 2]), 4, storage_dtype)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([[1, 2]], "'weight' must be a torch tensor or a NumPy array (got list)"),
        (torch.zeros(2, 8), "'weight' must hold integers (got torch.float32)"),
        (torch.zeros(2, 8, dtype=torch.bool), "'weight' must hold integers (got torch.bool)"),
        (torch.tensor(3), "'weight' must have at least one dimension"),
        (np.zeros((2, 8), dtype="U1"), "'weight' has a type that torch does not know (got <U1)"),
    ],
)
def test_compress_refuses_other_types(weight, message):
    """Codes are tensors or arrays of integers."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        general_compress(weight, 4)


def test_decompress_refuses_what_is_not_packed():
    """Packed rows are int8 and hold whole runs of codes."""
    with pytest.raises(ConfigError, match=re.escape("'packed' must be an int8 tensor")):
        general_decompress(torch.zeros((2, 8), dtype=torch.int32), 4)
    with pytest.raises(ConfigError, match=r"'packed' must be a multiple of 3 bytes where 'source_bits' is 3 \(got 4"):
        general_decompress(torch.zeros((2, 4), dtype=torch.int8), 3)


# Values and codes.


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("dtype", INTEGER_DTYPES)
def test_every_integer_has_its_code(name, dtype):
    """Codes of packed integers count up from the least value; 8-bit integers are themselves; decode inverts."""
    fmt = number_format(name)
    integers = [v for v in all_integers(name) if torch.iinfo(dtype).min <= v <= torch.iinfo(dtype).max]
    values = torch.tensor(integers, dtype=dtype)
    codes = encode(values, fmt)
    assert codes.dtype == fmt.torch_dtype
    if fmt.is_packed:
        assert codes.tolist() == [all_integers(name).index(v) for v in integers]
    else:
        assert codes.tolist() == integers
    assert decode(codes, fmt).tolist() == integers


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("dtype", INTEGER_DTYPES)
def test_encode_refuses_integers_out_of_range(name, dtype):
    """One above the greatest and one below the least value are refused, with value, index and range."""
    fmt = number_format(name)
    for value in (fmt.min_value - 1, fmt.max_value + 1):
        if not torch.iinfo(dtype).min <= value <= torch.iinfo(dtype).max:
            continue
        weight = torch.ones((3, 8), dtype=dtype)
        weight[1, 6] = weight[2, 0] = value
        held = f"{name} holds {fmt.min_value}{'..' if fmt.step == 1 else ' and '}{fmt.max_value}"
        with pytest.raises(ConfigError) as error:
            encode(weight, fmt)
        found, _, fix = str(error.value).partition("; ")
        assert found == f"'weight' out of range: got value {value} at (1, 6), {held}"
        assert fix == (
            f"clamp what is quantized, with .clamp({fmt.min_value}, {fmt.max_value}), or use a W_dtype that holds it"
            if fmt.step == 1
            else "round to these or use a W_dtype that holds it"
        )


@pytest.mark.parametrize("dtype", INTEGER_DTYPES)
def test_int1_holds_no_zero(dtype):
    """A zero among -1 and 1 is an error, not a 1."""
    weight = torch.ones((2, 8), dtype=dtype)
    weight[1, 3] = 0
    with pytest.raises(ConfigError, match=re.escape("got value 0 at (1, 3), int1 holds -1 and 1")):
        encode(weight, number_format("int1"))


@pytest.mark.parametrize("value", [-128, 2, 127])
def test_int1_holds_no_other_number(value):
    """Also not the one whose magnitude overflows int8."""
    weight = torch.tensor([1, -1, value, 1], dtype=torch.int8)
    with pytest.raises(ConfigError, match=re.escape(f"got value {value} at (2,)")):
        encode(weight, number_format("int1"))


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_take_no_floats(name):
    """Rounding is the caller's business; the message shows how."""
    with pytest.raises(
        ConfigError, match=re.escape(f"where W is {name} (got torch.float16)") + r".*\.round\(\)\.to\(torch\.int8\)"
    ):
        encode(torch.ones(2, 8, dtype=torch.float16), number_format(name))


@pytest.mark.parametrize(("name", "table"), [("nf4", NF4_VALUES), ("fp4_e2m1", FP4_E2M1_VALUES)])
def test_integers_are_codes_of_a_table(name, table):
    """Integers 0 to 15 pass as codes and decode to the table, signs of zeros included."""
    fmt = number_format(name)
    codes = encode(torch.arange(16), fmt)
    assert codes.dtype == torch.int8
    assert codes.tolist() == list(range(16))
    levels = decode(codes, fmt)
    assert levels.dtype == torch.float32
    assert np.array_equal(levels.numpy(), np.float32(table))
    assert np.array_equal(np.signbit(levels.numpy()), np.signbit(table))
    for value in (-1, 16):
        with pytest.raises(ConfigError, match=re.escape(f"got value {value} at (0,), codes of {name} are 0..15")):
            encode(torch.tensor([value]), fmt)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "table"), [("nf4", NF4_VALUES), ("fp4_e2m1", FP4_E2M1_VALUES)])
def test_floats_take_the_nearest_level(name, table, dtype):
    """No level is nearer than the chosen one, of two as near the lower is taken, and levels stay themselves."""
    fmt = number_format(name)
    levels = np.unique(np.array(table) + 0.0)
    edge = (levels[-1] - levels[-2]) / 2
    values = torch.linspace(levels[0] - 0.9 * edge, levels[-1] + 0.9 * edge, 5001, dtype=torch.float64)
    values = torch.cat([values, torch.tensor(table, dtype=torch.float64), torch.tensor((levels[1:] + levels[:-1]) / 2)])
    values = values.to(dtype)
    chosen = np.array(table)[encode(values, fmt).long().numpy()]
    wide = values.to(torch.float64).numpy()
    distance = np.abs(wide[:, None] - levels[None, :])
    assert np.array_equal(chosen + 0.0, levels[distance.argmin(axis=1)])


@pytest.mark.parametrize(("name", "table"), [("nf4", NF4_VALUES), ("fp4_e2m1", FP4_E2M1_VALUES)])
def test_levels_survive_a_round_trip(name, table):
    """Decoding and encoding again gives the code back: fp4_e2m1 tells -0 from 0."""
    fmt = number_format(name)
    assert encode(decode(torch.arange(16), fmt), fmt).tolist() == list(range(16))
    assert encode(torch.tensor([0.0, -0.0, 0.01, -0.01]), fmt).tolist() == (
        [0, 8, 0, 8] if name == "fp4_e2m1" else [7] * 4
    )


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("nf4", 1.15, "1.15"), ("nf4", -1.16, "-1.16"), ("fp4_e2m1", 7.25, "7.25"), ("fp4_e2m1", -8.0, "-8"),
     ("nf4", float("nan"), "nan"), ("fp4_e2m1", float("inf"), "inf"), ("fp4_e2m1", float("-inf"), "-inf")],
)  # fmt: skip
def test_floats_beyond_a_table_are_refused(name, value, shown):
    """What is more than half a step outside, infinite or NaN has no nearest level."""
    weight = torch.zeros(3, 4, dtype=torch.float64)
    weight[2, 1] = value
    with pytest.raises(
        ConfigError, match=rf"got value {re.escape(shown)} at \(2, 1\), {name} reaches from .*divide it by its scale"
    ):
        encode(weight, number_format(name))


@pytest.mark.parametrize("name", FLOAT8)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_are_rounded_to_the_nearest_float8(name, dtype):
    """The result is the nearest number of the format, and of two the one with an even code."""
    fmt = number_format(name)
    codes = np.arange(256, dtype=np.uint8)
    table = decode_plain(codes[None], MatmulConfig(M=1, N=1, K=256, W_dtype=name))[0]
    finite = codes[np.isfinite(table) & (codes < 128)]
    levels = table[finite]
    generator = torch.Generator().manual_seed(0)
    magnitudes = torch.cat([
        torch.tensor(levels), torch.tensor((levels[1:] + levels[:-1]) / 2),
        torch.rand(4000, generator=generator, dtype=torch.float64) * levels[-1],
        torch.rand(1000, generator=generator, dtype=torch.float64) * levels[12],
    ])  # fmt: skip
    magnitudes = magnitudes.to(dtype)
    magnitudes = magnitudes[magnitudes.to(torch.float64) <= levels[-1]]
    distance = np.abs(magnitudes.to(torch.float64).numpy()[:, None] - levels)
    nearest = distance == distance.min(axis=1, keepdims=True)
    even = nearest & (finite % 2 == 0)
    expected = finite[np.where(nearest.sum(axis=1) == 2, even.argmax(axis=1), nearest.argmax(axis=1))]
    for values, sign in ((magnitudes, 0), (-magnitudes, 128)):
        encoded = encode(values, fmt)
        assert encoded.dtype == fmt.torch_dtype
        assert np.array_equal(encoded.view(torch.uint8).numpy(), expected | sign)


@pytest.mark.parametrize(
    ("name", "held", "refused"),
    [("float8_e4m3", 463.0, 464.0), ("float8_e5m2", 61439.0, 61440.0), ("float16", 65519.0, 65520.0)],
)
def test_floats_that_would_overflow_are_refused(name, held, refused):
    """Less than half a step above the largest number rounds to it; more is an error, as are infinity and NaN."""
    fmt = number_format(name)
    largest = torch.finfo(fmt.torch_dtype).max
    assert encode(torch.tensor([held, -held]), fmt).to(torch.float32).tolist() == [largest, -largest]
    for value in (refused, -refused, 1e30, float("inf"), float("-inf"), float("nan")):
        message = re.escape(f"got value {value:g} at (0, 1), {name} reaches from {-largest:g} to {largest:g}")
        with pytest.raises(ConfigError, match=message):
            encode(torch.tensor([[0.0, value]]), fmt)


@pytest.mark.parametrize("name", FLOAT8)
def test_float8_bit_patterns_pass(name):
    """int8 and uint8 are taken as the bits of float8, NaN included; wider integers say what to do."""
    fmt = number_format(name)
    patterns = torch.arange(256, dtype=torch.uint8)
    for values in (patterns, patterns.view(torch.int8), patterns.view(fmt.torch_dtype)):
        encoded = encode(values, fmt)
        assert encoded.dtype == fmt.torch_dtype
        assert torch.equal(encoded.view(torch.uint8), patterns)
        assert decode(encoded, fmt).dtype == fmt.torch_dtype
    with pytest.raises(ConfigError, match=r"bit patterns as int8 or uint8, where W is float8.*\(got torch.int32\)"):
        encode(patterns.int(), fmt)


def test_one_float8_becomes_the_other():
    """A tensor of the other float8 format is a tensor of numbers: cast, and refused where too large."""
    e5m2 = torch.tensor([1.0, -0.25, 448.0]).to(torch.float8_e5m2)
    assert encode(e5m2, number_format("float8_e4m3")).to(torch.float32).tolist() == [1.0, -0.25, 448.0]
    with pytest.raises(ConfigError, match=re.escape("got value 1024 at (1,), float8_e4m3 reaches from -448 to 448")):
        encode(torch.tensor([1.0, 1024.0]).to(torch.float8_e5m2), number_format("float8_e4m3"))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32"])
def test_native_floats_are_cast(name):
    """Floats and integers become the type; a tensor that has it already is not copied."""
    fmt = number_format(name)
    values = torch.tensor([0.1, -3.0, 100.0], dtype=torch.float64)
    assert torch.equal(encode(values, fmt), values.to(fmt.torch_dtype))
    assert encode(torch.tensor([-7, 9]), fmt).tolist() == [-7.0, 9.0]
    own = values.to(fmt.torch_dtype)
    assert encode(own, fmt).data_ptr() == own.data_ptr()


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4), (0, 8)])
@pytest.mark.parametrize("name", ["int4", "nf4", "uint8", "float8_e4m3", "float16"])
def test_encode_and_decode_keep_the_shape(name, shape):
    """Encoding is elementwise: any shape, rows of any length."""
    values = torch.ones(shape, dtype=torch.int8)
    encoded = encode(values, number_format(name))
    assert encoded.shape == shape
    assert decode(encoded, number_format(name)).shape == shape


def test_encode_refuses_what_holds_no_numbers():
    """Booleans and complex numbers are no weights."""
    for dtype in (torch.bool, torch.complex64):
        with pytest.raises(ConfigError, match="'weight' must hold integers or floats"):
            encode(torch.zeros(2, dtype=dtype), number_format("uint4"))


def test_decode_refuses_what_is_no_code():
    """Codes have their range, and stored tensors their type."""
    with pytest.raises(
        ConfigError, match=re.escape("'codes' out of range: got value 16 at (1,), 4-bit codes are 0..15")
    ):
        decode(torch.tensor([0, 16]), number_format("int4"))
    with pytest.raises(ConfigError, match=re.escape("'codes' must hold integers (got torch.float32)")):
        decode(torch.zeros(2), number_format("nf4"))
    with pytest.raises(ConfigError, match=re.escape("'codes' of uint8 must be torch.uint8 (got torch.int8)")):
        decode(torch.zeros(2, dtype=torch.int8), number_format("uint8"))


def test_parameters_can_be_packed():
    """A weight that requires gradients packs without them."""
    weight = torch.nn.Parameter(torch.tensor([[1.0, -0.1]]))
    assert not encode(weight, number_format("nf4")).requires_grad


# Whole operands.


@pytest.mark.parametrize("name", WEIGHT_DTYPES)
def test_pack_agrees_with_the_oracle_on_every_code(name):
    """All values of a format, each in each place of a byte, read back bit by bit as themselves."""
    fmt = sample_format(name)
    step = packing_step(name)
    if fmt.bits > 8:
        values = torch.randn(5, 24, generator=torch.Generator().manual_seed(0)).to(fmt.torch_dtype)
    elif fmt.is_integer:
        values = torch.tensor(all_integers(name)).to(torch.int16)
    elif fmt.levels is not None:
        values = torch.arange(1 << fmt.bits)
    else:
        values = torch.arange(256, dtype=torch.uint8).view(fmt.torch_dtype)
    if fmt.bits <= 8:  # Row r holds value (r + k) modulo their number at k.
        count = len(values)
        places = (torch.arange(count)[:, None] + torch.arange(step * 3)) % count
        raw = values.view(torch.uint8) if values.element_size() == 1 else values
        values = raw[places].view(values.dtype) if values.element_size() == 1 else raw[places]
    N, K = values.shape
    config = MatmulConfig(M=1, N=N, K=K, A_dtype=name if fmt.bits > 8 else "float16", **weight_fields(name))
    stored = pack(values, config)
    assert (tuple(stored.shape), stored.dtype) == (config.W_shape, fmt.torch_dtype)
    assert stored.is_contiguous()
    decoded = decode_plain(stored, config)
    expected = decode(values, fmt).double() if fmt.levels is not None else values.double()
    assert np.array_equal(decoded, expected.numpy(), equal_nan=True)
    unpacked = unpack(stored, config)
    assert np.array_equal(unpacked.double().numpy(), expected.numpy(), equal_nan=True)


@pytest.mark.parametrize("name", PACKED)
def test_unpack_and_pack_is_the_identity_on_bytes(name):
    """Every row of bytes is a weight, and no two rows are the same weight."""
    config = problem(name, 64, 48)
    stored = torch.randint(-128, 128, config.W_shape, dtype=torch.int8, generator=torch.Generator().manual_seed(3))
    values = unpack(stored, config)
    assert values.dtype == (torch.float32 if sample_format(name).levels else torch.int8)
    assert torch.equal(pack(values, config), stored)


@given(configs(), st.integers(0, 2**32))
def test_pack_agrees_with_the_oracle_on_drawn_problems(config, seed):
    """For any legal problem, packed weight and zero points read back as what was packed."""
    inputs = make_inputs(config, 0, seed=seed)
    stored = pack(inputs.W, config)
    expected = decode(inputs.W, config.W_format) if config.W_format.levels else inputs.W
    assert np.array_equal(decode_plain(stored, config), expected.double().numpy())
    if config.has_packed_zeros:
        assert tuple(inputs.zeros.shape) == config.zeros_shape
        assert torch.equal(unpack_zeros(inputs.zeros, config).long(), inputs.zeros_values.long())


@pytest.mark.parametrize("name", ["float16", "int8", "float8_e4m3"])
def test_layout_nn_stores_the_transpose(name):
    """(K, N) in, (K, N) stored."""
    config = MatmulConfig(M=1, N=3, K=5, A_dtype=name, layout="nn")
    weight = torch.arange(15, dtype=torch.int8).reshape(5, 3).to(number_format(name).torch_dtype)
    stored = pack(weight, config)
    assert tuple(stored.shape) == (5, 3)
    assert torch.equal(unpack(stored, config).double(), weight.double())


def test_pack_takes_arrays_and_views():
    """A NumPy array or a transposed tensor gives the tensor that a contiguous one gives."""
    config = problem("int5", 8, 16)
    weight = torch.randint(-16, 16, (16, 8), generator=torch.Generator().manual_seed(0)).T
    expected = pack(weight.contiguous(), config)
    assert torch.equal(pack(weight, config), expected)
    assert torch.equal(pack(weight.numpy(), config), expected)
    native = MatmulConfig(M=1, N=8, K=16)
    assert pack(weight.to(torch.float16), native).is_contiguous()


@pytest.mark.parametrize("name", PACKED)
def test_pack_names_the_value_that_does_not_fit(name, monkeypatch):
    """The index is that in the whole weight, also where it lies in a later chunk."""
    monkeypatch.setattr(packing.arrays, "_CHUNK_ELEMENTS", 32)
    config = problem(name, 6, 16)
    weight = torch.ones(6, 16, dtype=torch.int16)
    weight[4, 9] = 200
    with pytest.raises(ConfigError, match=re.escape("'weight' out of range: got value 200 at (4, 9), ")):
        pack(weight, config)


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ({"W_dtype": "uint4"}, (16, 8), "'weight' must have shape (N, K) = (8, 16) (got (16, 8))"),
        ({"W_dtype": "uint4"}, (8, 8), "'weight' must have shape (N, K) = (8, 16) (got (8, 8))"),
        ({"W_dtype": "uint4"}, (128,), "'weight' must have shape (N, K) = (8, 16) (got (128,))"),
        ({"layout": "nn"}, (8, 16), "'weight' must have shape (K, N) = (16, 8) (got (8, 16))"),
    ],
)
def test_pack_checks_the_shape(fields, shape, message):
    """A weight of another shape, a transposed one above all, is refused."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        pack(torch.zeros(shape, dtype=torch.int8), MatmulConfig(M=1, N=8, K=16, **fields))


def test_unpack_checks_shape_and_type():
    """What is not the stored tensor of the problem is refused."""
    config = problem("uint4", 8, 16)
    with pytest.raises(ConfigError, match=re.escape("'qweight' must have shape the packed (N, K * bits / 8) = (8, 8)")):
        unpack(torch.zeros(8, 16, dtype=torch.int8), config)
    with pytest.raises(ConfigError, match=re.escape("'qweight' must be torch.int8 (got torch.uint8)")):
        unpack(torch.zeros(8, 8, dtype=torch.uint8), config)


@pytest.mark.parametrize("bits", BITS)
def test_zero_points_are_packed_along_n(bits):
    """Row g of the result holds the zero points of group g, one after another in n."""
    config = problem(f"uint{bits}", 24, 32, group_size=8, with_zeros=True, zeros_mode="quantized")
    zeros = random_codes(bits, (4, 24))
    stored = pack_zeros(zeros, config)
    assert (tuple(stored.shape), stored.dtype) == (config.zeros_shape, torch.int8)
    assert stored.tolist() == [packed_by_definition(row, bits) for row in zeros.tolist()]
    assert torch.equal(unpack_zeros(stored, config).long(), zeros)


@pytest.mark.parametrize("bits", BITS)
def test_zero_points_have_the_range_of_w(bits):
    """No zero point wraps, also not a negative one of 8 bits."""
    config = problem(f"uint{bits}", 8, 16, group_size=8, with_zeros=True, zeros_mode="quantized")
    for value in (-1, 1 << bits):
        zeros = torch.zeros(2, 8, dtype=torch.int16)
        zeros[1, 7] = value
        message = rf"'zeros' out of range: got value {value} at \(1, 7\), .*; use zeros_mode='original'"
        with pytest.raises(ConfigError, match=message):
            pack_zeros(zeros, config)
    with pytest.raises(ConfigError, match="'zeros' out of range: got value -1"):
        pack_zeros(torch.full((2, 8), -1, dtype=torch.int8), config)


def test_zero_points_check_shape_and_mode():
    """The shape of Scale is the wrong way round, and other modes have nothing to pack."""
    config = problem("uint4", 8, 32, group_size=8, with_zeros=True, zeros_mode="quantized")
    with pytest.raises(
        ConfigError, match=re.escape("'zeros' must have shape (K / group_size, N) = (4, 8) (got (8, 4))")
    ):
        pack_zeros(torch.zeros(8, 4, dtype=torch.int8), config)
    with pytest.raises(ConfigError, match=re.escape("'zeros' must hold integers (got torch.float32)")):
        pack_zeros(torch.zeros(4, 8), config)
    with pytest.raises(
        ConfigError, match=re.escape("'qzeros' must have shape (K / group_size, N * bits / 8) = (4, 4)")
    ):
        unpack_zeros(torch.zeros(4, 8, dtype=torch.int8), config)
    original = problem("uint4", 8, 32, group_size=8, with_zeros=True)
    for function in (pack_zeros, unpack_zeros):
        with pytest.raises(ConfigError, match=r"need with_zeros=True and zeros_mode='quantized' \(got with_zeros=True"):
            function(torch.zeros(4, 8, dtype=torch.int8), original)
