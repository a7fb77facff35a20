# SPDX-License-Identifier: Apache-2.0
"""The mma rule: fragments and decoding against definitions of their own, refusals, signatures, machine code."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import tvm

from bitquant.arch import cuda_target
from bitquant.compiler import compile_cuda_source
from bitquant.compute.matmul import CONFIG_ATTR, RUNG_ATTR, matmul_dequantize_b, symbol
from bitquant.config import MatmulConfig
from bitquant.errors import ScheduleError
from bitquant.formats import WEIGHT_DTYPES, number_format
from bitquant.intrin.mma import (
    UNIT,
    Tile,
    accumulator_row_col,
    fragment_row_chunk,
    transposed_fragment_row_chunk,
)
from bitquant.problem import Problem
from bitquant.schedule.rules.mma.hint import MmaHint
from bitquant.schedule.rules.mma.rule import MmaRule
from bitquant.testing.oracle import code_values

RULE = MmaRule()
INTEGERS = [f"{kind}{bits}" for kind in ("uint", "int") for bits in range(1, 9)]


def _values(name: str) -> np.ndarray:
    """Return the value of each code of a format of at most 8 bits, by its definition."""
    fmt = number_format(name)
    return code_values(np.arange(1 << fmt.bits), fmt)


def _units(bits: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Random codes (2000, 32), every code among them at every place, and their words."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 1 << bits, (2000, UNIT))
    codes[: 1 << bits] = (np.arange(1 << bits)[:, None] + 7 * np.arange(UNIT)) % (1 << bits)
    stream = ((codes[:, :, None] >> np.arange(bits)) & 1).reshape(len(codes), -1).astype(np.uint8)
    words = np.packbits(stream, axis=1, bitorder="little").view("<u4")
    return codes, [words[:, i].copy() for i in range(bits)]


def _byte_perm(word: np.ndarray, selector: int) -> np.ndarray:
    """PRMT of (word, 0), by the PTX ISA."""
    result = np.zeros_like(word)
    for i in range(4):
        byte = selector >> (4 * i) & 7
        if byte < 4:
            result |= (word >> np.uint32(8 * byte) & np.uint32(255)) << np.uint32(8 * i)
    return result


def _halves(word: np.ndarray | int, dtype: str) -> list[np.ndarray]:
    """Return the two 16-bit floats of a word, in float64."""
    words = np.asarray(word, dtype=np.uint32)
    parts = [(words & np.uint32(0xFFFF)).astype(np.uint16), (words >> np.uint32(16)).astype(np.uint16)]
    if dtype == "float16":
        return [p.view(np.float16).astype(np.float64) for p in parts]
    return [(p.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64) for p in parts]


PAIRS = [
    (name, "float16")
    for name in WEIGHT_DTYPES
    if (fmt := number_format(name)).bits <= 8 and fmt.unit_refusal("float16") is None and not fmt.needs_table
]
PAIRS += [(name, "bfloat16") for name in INTEGERS if number_format(name).bits < 8]


@pytest.mark.parametrize(("name", "dtype"), PAIRS)
def test_packed_pairs_are_exact(name, dtype):
    """Every code at every place of a unit decodes to its value, subnormals and NaN included."""
    fmt, table = number_format(name), _values(name)
    codes, words = _units(fmt.bits, 1)
    for pair in range(UNIT // 2):
        packed = fmt.unit_pair(words, pair, dtype, _byte_perm)
        x = _halves(packed.x, dtype)
        if packed.mul is not None:
            mul, add = _halves(packed.mul, dtype), _halves(packed.add, dtype)
            x = [v * mul[i] + add[i] for i, v in enumerate(x)]
        for i in range(2):
            np.testing.assert_array_equal(x[i], table[codes[:, 2 * pair + i]])


@pytest.mark.parametrize("name", [n for n in INTEGERS if number_format(n).bits < 8])
def test_packed_bytes_are_exact(name):
    """Every code at every place of a unit becomes its value as an int8."""
    fmt, table = number_format(name), _values(name)
    codes, words = _units(fmt.bits, 2)
    for quad in range(UNIT // 4):
        word = np.ascontiguousarray(fmt.unit_bytes(words, quad).astype("<u4"))
        np.testing.assert_array_equal(word.view(np.int8).reshape(-1, 4), table[codes[:, 4 * quad : 4 * quad + 4]])


@pytest.mark.parametrize("row_bytes", [32, 64, 128, 256])
def test_swizzled_chunks_are_a_permutation_without_bank_conflicts(row_bytes):
    """Each byte has its own place, and 8 rows of one chunk fall into 8 different 16-byte bank groups."""
    tile = Tile(base=0, rows=32, row_bytes=row_bytes, slots=1, swizzled=True)
    offsets = {tile.offset(0, row, byte) for row in range(32) for byte in range(row_bytes)}
    assert offsets == set(range(32 * row_bytes))
    for row in range(0, 32, 8):
        for chunk in range(row_bytes // 16):
            assert len({tile.chunk_offset(0, row + r, chunk) // 16 % 8 for r in range(8)}) == 8


def _ldmatrix(memory: np.ndarray, offsets: list[int], transpose: bool) -> np.ndarray:
    """Do an x4 ldmatrix by the PTX ISA, registers (lane, matrix, 4 bytes): lane l gets row l/4, bytes 4(l%4) on."""
    matrices = np.stack([memory[o : o + 16] for o in offsets]).reshape(4, 8, 16).view(np.uint16)
    if transpose:
        matrices = matrices.transpose(0, 2, 1)
    return np.ascontiguousarray(matrices).reshape(4, 32, 2).transpose(1, 0, 2).copy()


def _unpack(registers: np.ndarray, dtype: type) -> np.ndarray:
    """Return registers (32, count, 2 x uint16) as (group of 4 lanes, lane in the group, count, elements)."""
    values = np.ascontiguousarray(registers).view(dtype)
    return values.reshape(8, 4, registers.shape[1], -1)


@pytest.mark.parametrize(("dtype", "transposed"), [(np.float16, False), (np.float16, True), (np.int8, False)])
def test_fragments_multiply(dtype, transposed):
    """Tiles read by the rule's ldmatrix addresses, multiplied as the PTX ISA lays fragments out, give A x W^T."""
    rng = np.random.default_rng(3)
    k = 32 // np.dtype(dtype).itemsize
    a, w = (rng.integers(-8, 8, (16, k)).astype(dtype) for _ in range(2))

    def fill(matrix: np.ndarray) -> tuple[Tile, np.ndarray]:
        row_bytes = matrix.shape[1] * matrix.itemsize
        tile = Tile(0, len(matrix), row_bytes, 1, swizzled=True)
        memory, raw = np.zeros(tile.end, np.uint8), matrix.view(np.uint8)
        for row in range(len(matrix)):
            for byte in range(row_bytes):
                memory[tile.offset(0, row, byte)] = raw[row, byte]
        return tile, memory

    a_tile, a_memory = fill(a)
    w_tile, w_memory = fill(np.ascontiguousarray(w.T) if transposed else w)
    left = _ldmatrix(a_memory, [a_tile.chunk_offset(0, *fragment_row_chunk(lane, True)) for lane in range(32)], False)
    name = transposed_fragment_row_chunk if transposed else lambda lane: fragment_row_chunk(lane, False)
    right = _ldmatrix(w_memory, [w_tile.chunk_offset(0, *name(lane)) for lane in range(32)], transposed)

    # PTX ISA: a0..a3 hold rows (g, g+8, g, g+8), the first two the lower half of k; b0, b1 column g, halves of k.
    A = _unpack(left, dtype)  # (g, t, register, elements): k within a half is t * elements + element.
    A = A.reshape(8, 4, 2, 2, -1).transpose(3, 0, 2, 1, 4).reshape(16, k)
    B = _unpack(right, dtype).reshape(8, 4, 2, 2, -1).transpose(2, 0, 3, 1, 4).reshape(16, k)
    product = A.astype(np.float64) @ B.astype(np.float64).T
    np.testing.assert_array_equal(product, a.astype(np.float64) @ w.astype(np.float64).T)


@pytest.mark.parametrize(("name", "dtype"), [p for p in PAIRS if number_format(p[0]).is_integer])
def test_zero_points_fold_into_the_offset(name, dtype):
    """Minus the offset and minus an integer zero point is one exact constant, for every pair of code and zero point."""
    fmt, table = number_format(name), _values(name)
    codes, words = _units(fmt.bits, 4)
    encode = torch.float16 if dtype == "float16" else torch.bfloat16
    for zero in range(min(1 << fmt.bits, 65)):
        packed = fmt.unit_pair(words, zero % 16, dtype, _byte_perm)
        x, mul = _halves(packed.x, dtype), _halves(packed.mul, dtype)
        for i, offset in enumerate(fmt.pair_offsets(dtype)):
            constant = torch.tensor(offset - zero, dtype=torch.float64).to(encode).double().item()
            want = table[codes[:, zero % 16 * 2 + i]] - zero
            np.testing.assert_array_equal(x[i] * mul[i] + constant, want)
            np.testing.assert_array_equal(torch.from_numpy(want).to(encode).double().numpy(), want)


def test_accumulators_cover_the_tile():
    """The 4 registers of 32 lanes hold each element of a 16 x 8 tile once, neighbours in a row side by side."""
    places = [accumulator_row_col(lane, i) for lane in range(32) for i in range(4)]
    assert sorted(places) == [(row, column) for row in range(16) for column in range(8)]
    assert all(accumulator_row_col(lane, 1)[1] == accumulator_row_col(lane, 0)[1] + 1 for lane in range(32))


REFUSALS = [
    ("sm_90a", {"A_dtype": "float32"}, "needs A of 16 or 8 bits (got float32)"),
    ("sm_75", {"A_dtype": "bfloat16", "W_dtype": "uint4"}, "needs sm_80 or newer for bfloat16 (got sm_75)"),
    ("sm_90a", {"A_dtype": "int8", "layout": "nn"}, "needs layout nt for int8 (got nn)"),
    ("sm_90a", {"layout": "nn", "with_scaling": True}, "needs layout nt where W is scaled (got nn)"),
    (
        "sm_90a",
        {"A_dtype": "int8", "W_dtype": "uint4", "with_scaling": True, "group_size": 16},
        "needs group_size % 32 == 0 where A has 8 bits and W is scaled (got 16)",
    ),
    (
        "sm_90a",
        {"A_dtype": "float8_e4m3", "W_dtype": "nf4", "with_scaling": True},
        "needs a W whose values float16 holds where A is float8 and W is scaled (got nf4)",
    ),
]


@pytest.mark.parametrize(("arch", "fields", "reason"), REFUSALS)
def test_refusals_name_need_and_value(arch, fields, reason):
    """Each refusal says what is needed and what was there."""
    config = MatmulConfig(M=[64], N=64, K=128, **fields)
    assert RULE.refuses(Problem(config, 64, cuda_target(arch))) == reason
    assert RULE.apply(matmul_dequantize_b(config, 64), cuda_target(arch)) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"block_m": 24}, "block_m % (16 * warps_m) == 0"),
        ({"block_n": 40}, "block_n % 16 == 0"),
        ({"block_k": 48}, "block_k of 32, 64, 128 or 256"),
        ({"stages": 2}, "the hint's field 'stages' must be 3 to 9 (got 2)"),
        ({"block_m": 256, "block_n": 256}, "at most 128 sums a thread"),
        (
            {"block_m": 256, "block_n": 256, "block_k": 256, "warps_m": 4, "warps_n": 4},
            "bytes of shared memory, and sm_90a has 232448",
        ),
    ],
)
def test_hints_that_do_not_fit_are_errors(change, reason):
    """A hint whose sizes contradict each other, or exceed shared memory, is refused with the rule it breaks."""
    config = MatmulConfig(M=[64], N=256, K=512, W_dtype="uint4")
    hint = dataclasses.replace(MmaHint(), **change)
    with pytest.raises(ScheduleError) as error:
        RULE.schedule(Problem(config, 64, cuda_target("sm_90a")), hint)
    assert reason in str(error.value)


FULL = {"with_scaling": True, "with_zeros": True, "with_bias": True, "group_size": 64}


@pytest.mark.parametrize("M", [1, 24, [1, 32]])
@pytest.mark.parametrize(
    "fields", [{}, {"W_dtype": "uint4", **FULL}, {"W_dtype": "uint3", "zeros_mode": "quantized", **FULL}]
)
def test_signature_is_that_of_the_definition(M, fields):
    """Parameters, shapes, types and attributes agree with the unscheduled function."""
    config = MatmulConfig(M=M, N=64, K=128, **fields)
    for rung in config.ladder:
        want = matmul_dequantize_b(config, rung)
        got = RULE.apply(want, cuda_target("sm_90a"))
        types = [
            [(str(p.dtype), [int(s) if hasattr(s, "value") else "m" for s in p.shape]) for p in func.params]
            for func in (want, got)
        ]
        assert types[0] == types[1]
        assert got.attrs["global_symbol"] == symbol(rung)
        assert dict(got.attrs[CONFIG_ATTR]) == dict(want.attrs[CONFIG_ATTR])
        assert int(got.attrs[RUNG_ATTR]) == rung


def test_rungs_with_equal_hints_are_equal():
    """Two rungs that get the same hint differ in name and rung alone."""
    config = MatmulConfig(M=[32, 64], N=64, K=128, W_dtype="uint4", with_scaling=True, group_size=32)
    low, high = (RULE.schedule(Problem(config, rung, cuda_target("sm_90a")), MmaHint()) for rung in (32, 64))
    tvm.ir.assert_structural_equal(low.body, high.body, map_free_vars=True)


COMPILED = [
    ("sm_75", 16, {"W_dtype": "uint4", "with_scaling": True, "group_size": 128}),
    # Without instructions for bfloat16, TVM makes float32 of its values.
    (
        "sm_75",
        128,
        {
            "A_dtype": "int8",
            "W_dtype": "int2",
            "accum_dtype": "int32",
            "with_scaling": True,
            "scale_dtype": "bfloat16",
            "group_size": 32,
            "out_dtype": "bfloat16",
        },
    ),
    (
        "sm_80",
        64,
        {"A_dtype": "bfloat16", "W_dtype": "nf4", "with_scaling": True, "group_size": 64, "out_dtype": "bfloat16"},
    ),
    ("sm_80", 16, {"A_dtype": "float8_e4m3", "W_dtype": "float8_e4m3"}),
    ("sm_89", 16, {"W_dtype": "uint3", "with_scaling": True, "with_zeros": True, "group_size": 128}),
    ("sm_89", 128, {"layout": "nn"}),
    ("sm_90a", 16, {"W_dtype": "uint4", "with_scaling": True, "group_size": 128}),
    (
        "sm_90a",
        1024,
        {"W_dtype": "uint4", "with_scaling": True, "with_zeros": True, "zeros_mode": "quantized", "group_size": 128},
    ),
    (
        "sm_90a",
        64,
        {"A_dtype": "int8", "W_dtype": "uint4", "with_scaling": True, "with_zeros": True, "group_size": 128},
    ),
    (
        "sm_90a",
        16,
        {"W_dtype": "int5", "N": 1001, "K": 1000, "with_scaling": True, "group_size": 100, "out_dtype": "int8"},
    ),
    ("sm_100a", 128, {"W_dtype": "fp4_e2m1", "with_scaling": True, "group_size": 32}),
    ("sm_120a", 16, {"A_dtype": "bfloat16", "W_dtype": "int4", "with_scaling": True, "group_size": 128}),
]


@pytest.mark.parametrize(("arch", "rung", "fields"), COMPILED)
def test_kernels_compile_without_spills(arch, rung, fields):
    """Default hints give machine code that keeps its sums in registers."""
    config = MatmulConfig(M=[rung], **{"N": 4096, "K": 4096, **fields})
    target = cuda_target(arch)
    func = RULE.apply(matmul_dequantize_b(config, rung), target)
    executable = tvm.compile(tvm.IRModule({symbol(rung): func}), target=target, tir_pipeline="tirx")
    source = executable.mod.imports[0].inspect_source()
    assert "mma.sync.aligned" in source
    compiled = compile_cuda_source(source, arch)
    (resources,) = compiled.resources.values()
    assert resources.spill_bytes == 0
    assert resources.stack_bytes == 0
