# SPDX-License-Identifier: Apache-2.0
"""Kernels of the CPU rule against NumPy in float64, and what their code may and may not contain."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import itertools
import math
import mmap
import re

import numpy as np
import pytest
import torch
import tvm
import tvm_ffi
from tvm import tirx
from tvm.sym import Analyzer
from tvm.target import Target

from bitquant.arch import cpu_target, cuda_target
from bitquant.compute import matmul_dequantize_b
from bitquant.compute.matmul import RUNG_ATTR
from bitquant.config import MatmulConfig
from bitquant.errors import ConfigError, ScheduleError
from bitquant.formats import WEIGHT_DTYPES, number_format
from bitquant.problem import Problem
from bitquant.schedule.rules.cpu import CpuHint, CpuRule
from bitquant.testing.generators import weight_fields
from bitquant.testing.oracle import code_values

RULE = CpuRule()
HASWELL = {"kind": "llvm", "mcpu": "haswell"}

#: Relative Frobenius error by type of the output.
TOLERANCE = {"float16": 1e-3, "bfloat16": 4e-3, "float32": 1e-5}


# Operands and reference.


def random_floats(rng, shape, name, low=-1.0, high=1.0):
    """Return uniform numbers of that format."""
    return torch.from_numpy(rng.uniform(low, high, shape)).to(number_format(name).torch_dtype)


def random_activations(rng, shape, name):
    """Return uniform activations; for int8 over its whole range."""
    if name == "int8":
        return torch.from_numpy(rng.integers(-128, 128, shape)).to(torch.int8)
    return random_floats(rng, shape, name)


def unpacked(stored, bits):
    """Return the codes of rows packed as little-endian bit streams."""
    streams = np.unpackbits(stored.view(torch.uint8).numpy(), axis=1, bitorder="little")
    return streams.reshape(len(streams), -1, bits) @ (1 << np.arange(bits))


def random_weight(rng, config):
    """Return a stored weight of random bytes, and its values in float64."""
    fmt = config.W_format
    if fmt.bits > 8:
        stored = random_activations(rng, config.W_shape, fmt.name)
        return stored, stored.double().numpy()
    stored = torch.from_numpy(rng.integers(0, 256, config.W_shape, dtype=np.uint8))
    if not fmt.is_integer and not fmt.is_packed:
        exponent = 0x7C if fmt.has_infinity else 0x7F
        stored[(stored & exponent) == exponent] ^= 0x40  # no infinity, no NaN
    return stored.view(fmt.torch_dtype), code_values(unpacked(stored, fmt.bits), fmt)


def problem(config, seed=0):
    """Return the operands after A, and a function from A to the result in float64, not rounded."""
    rng = np.random.default_rng(seed)
    B, W = random_weight(rng, config)
    W = W.T if config.layout == "nn" else W
    operands, scale, zeros = [B], np.ones((config.N, 1)), np.zeros((config.N, 1))
    repeat = functools.partial(np.repeat, repeats=config.group, axis=1)
    if config.with_scaling:
        operands.append(random_floats(rng, config.scale_shape, config.scale_format.name, 0.5, 1.5))
        scale = repeat(operands[-1].double().numpy())
    if config.has_packed_zeros:
        operands.append(torch.from_numpy(rng.integers(0, 256, config.zeros_shape, dtype=np.uint8)).view(torch.int8))
        zeros = repeat(unpacked(operands[-1], config.W_format.bits).T.astype(np.float64))
    elif config.with_zeros:
        operands.append(random_floats(rng, config.scale_shape, config.scale_format.name, -2, 6))
        zeros = repeat(operands[-1].double().numpy())
    W = W * scale - zeros if config.zeros_mode == "rescale" else (W - zeros) * scale
    bias = np.zeros(config.N)
    if config.with_bias:
        if config.out_format.is_integer:
            operands.append(torch.from_numpy(rng.integers(-100, 100, config.N)).to(config.out_format.torch_dtype))
        else:
            operands.append(random_floats(rng, (config.N,), config.out_format.name))
        bias = operands[-1].double().numpy()
    return operands, lambda A: A.double().numpy() @ W.T + bias


def kernel(config, rung, hint=None, target=None):
    """Return the compiled function of a rung."""
    target = target or cpu_target()
    func = RULE.apply(matmul_dequantize_b(config, rung), target, hint)
    return tvm.compile(func, target=target)[f"matmul_m{rung}"]


@contextlib.contextmanager
def guarded_memory():
    """Yield a function that copies a tensor to where a page ends and the next one may not be touched."""
    libc = ctypes.CDLL(None)
    pages = []

    def place(tensor):
        nbytes = tensor.numel() * tensor.element_size()
        size = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(-1, size + mmap.PAGESIZE)
        end = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + size
        assert libc.mprotect(ctypes.c_void_p(end), mmap.PAGESIZE, 0) == 0
        pages.append(end)
        copy = torch.frombuffer(memory, dtype=torch.uint8, count=nbytes, offset=size - nbytes)
        return copy.copy_(tensor.contiguous().flatten().view(torch.uint8)).view(tensor.dtype).view(tensor.shape)

    yield place
    for end in pages:
        libc.mprotect(ctypes.c_void_p(end), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE)


def check(config, func, m, operands, reference, seed=1):
    """Call with m rows and compare. The output is poisoned; one byte too far, read or written, ends the process."""
    A = random_activations(np.random.default_rng(seed), (m, config.K), config.A_format.name)
    D = torch.full((m, config.N), 77 if config.out_format.is_integer else float("nan")).to(
        config.out_format.torch_dtype
    )
    with guarded_memory() as place:
        D = place(D)
        func(place(A), *map(place, operands), D)
        result = D.double().numpy()
    expected, out_dtype = reference(A), config.out_format.torch_dtype
    if config.out_format.is_integer:
        low, high = torch.iinfo(out_dtype).min, torch.iinfo(out_dtype).max
        if config.reduce_dtype == "int32":
            np.testing.assert_array_equal(result, expected.clip(low, high))
        else:  # A float32 sum near a half may round to the other neighbour.
            assert (np.abs(result - expected.clip(low, high)) <= 0.5 + 1e-5 * np.abs(expected).max()).all()
        return
    tolerance = TOLERANCE[config.out_format.name]
    assert np.linalg.norm(result - expected) <= tolerance * np.linalg.norm(expected), (str(config), m)


def legal(**fields):
    """Return the config, or None where there is no such problem."""
    try:
        return MatmulConfig(**fields)
    except ConfigError:
        return None


#: Zero points, scale or both, in every mode.
SCALINGS = [
    {"with_scaling": False},
    {"with_scaling": True},
    {"with_scaling": True, "with_zeros": True, "zeros_mode": "original"},
    {"with_scaling": True, "with_zeros": True, "zeros_mode": "rescale"},
    {"with_scaling": True, "with_zeros": True, "zeros_mode": "quantized"},
    {"with_scaling": False, "with_zeros": True, "zeros_mode": "original"},
    {"with_scaling": False, "with_zeros": True, "zeros_mode": "quantized"},
]
#: N, K and the length of a group: whole tiles, ragged ones, groups that vectors straddle, one vector, long groups.
SHAPES = [(48, 128, 64), (24, 72, 24), (40, 1072, -1), (16, 96, 12), (8, 8, -1), (24, 640, 320)]
ACTIVATIONS = ["float16", "bfloat16", "float32", "int8", "float8_e4m3", "float8_e5m2"]
OUTPUTS = ["float16", "float32", "bfloat16", "int32", "int8"]


def all_formats():
    """Return a problem for each pair of A and W, with shapes, scalings and outputs taken in turn."""
    configs = []
    for i, (A, W) in enumerate(itertools.product(ACTIVATIONS, WEIGHT_DTYPES)):
        if i % 2 and A in {"float32", "float8_e5m2"}:  # as float16 and the other float8, but for the cast of A
            continue
        N, K, group = SHAPES[i % len(SHAPES)]
        options = {
            "M": [64],
            "N": N,
            "K": K,
            "A_dtype": A,
            **weight_fields(W),
            "group_size": group,
            "with_bias": i % 3 == 0,
        }
        # Sums of e5m2, whose values reach 57344, and of int8 may be beyond float16.
        outputs = OUTPUTS[1:] if A == "int8" or "float8_e5m2" in (A, W) else OUTPUTS
        options["out_dtype"] = outputs[i % len(outputs)]
        turns = SCALINGS[i % 7 :] + SCALINGS[: i % 7]
        configs += itertools.islice(filter(None, (legal(**options, **scaling) for scaling in turns)), 1)
    return configs


# Values.


def shown(config):
    """What a problem shows: its format; the kind of W with A and the scaling; the shape with the width of codes."""
    fmt = config.W_format
    scaling = config.with_scaling, config.with_zeros and config.zeros_mode
    return {
        ("W", fmt.name),
        ("A, kind of W", config.A_dtype, type(fmt), fmt.is_unsigned),
        ("output", config.out_dtype),
        ("scaling, kind of W", scaling, type(fmt), fmt.is_unsigned),
        ("shape, bits", config.K, 32 % fmt.bits == 0),
    }


@pytest.mark.parametrize("config", all_formats(), ids=str)
@pytest.mark.sample(shows=shown)
def test_all_formats_for_any_m(config):
    """Every pair of formats is right with a symbolic m, whole blocks of rows or not."""
    operands, reference = problem(config)
    func = kernel(config, 64)
    for m in (1, 3, 16, 33):
        check(config, func, m, operands, reference)


def one_row():
    """Return problems of one row: every weight format of 8 bits and less, with a scale and each kind of zero points."""
    configs = []
    for W_dtype in WEIGHT_DTYPES:
        fmt = number_format(W_dtype)
        for i, scaling in enumerate(SCALINGS[2:5] if fmt.bits <= 8 else ()):
            A = "int8" if W_dtype == "int8" or (i == 2 and fmt.is_integer) else "float16"
            N, K, group = [(24, 256, 64), (16, 72, 24)][i % 2]
            options = {"A_dtype": A, **weight_fields(W_dtype), "group_size": group, "out_dtype": "float32"}
            configs.append(legal(M=1, N=N, K=K, **options, **scaling))
    return list(filter(None, configs))


@pytest.mark.parametrize("config", one_row(), ids=lambda config: f"{config}-{config.zeros_mode}")
@pytest.mark.sample(shows=shown)
def test_one_row_with_every_scaling(config):
    """One row, decoded in registers, is right for every weight format with a scale and each kind of zero points."""
    check(config, kernel(config, 1), 1, *problem(config))


@pytest.mark.parametrize(("N", "K", "group"), [(64, 128, 32), (37, 50, -1)])
@pytest.mark.parametrize("A_dtype", ACTIVATIONS)
@pytest.mark.sample(shows=lambda A_dtype, N, K, group: {A_dtype, (ACTIVATIONS.index(A_dtype) % 3, N)})
def test_layout_nn(A_dtype, N, K, group):
    """W stored (K, N) is right for several rows and one, for whole and ragged N and K, with scale and zero points."""
    scaling = SCALINGS[ACTIVATIONS.index(A_dtype) % 3]
    config = MatmulConfig(
        M=[64], N=N, K=K, A_dtype=A_dtype, layout="nn", group_size=group, out_dtype="float32", **scaling
    )
    operands, reference = problem(config)
    check(config, kernel(config, 64), 9, operands, reference)
    check(config.with_M(1), kernel(config.with_M(1), 1), 1, operands, reference)


@pytest.mark.parametrize("M", [2, 3, 4, 5, 300])
def test_static_rows(M):
    """A static M is right where one block of rows holds it, does not, and where a tile of rows does not."""
    config = MatmulConfig(M=M, N=24, K=256, W_dtype="uint4", group_size=64, **SCALINGS[2])
    check(config, kernel(config, M), M, *problem(config))


def test_symbolic_rows_span_tiles():
    """More rows than a tile has, none at all, and more than a last rung of 1 are served by a symbolic m."""
    config = MatmulConfig(M=[16], N=24, K=64, W_dtype="uint4")
    operands, reference = problem(config)
    func = kernel(config, 16)
    for m in (128, 129, 515):
        check(config, func, m, operands, reference)
    func(torch.empty(0, 64).half(), *operands, torch.empty(0, 24).half())
    check(config, kernel(config.with_M([1]), 1), 3, operands, reference)


@pytest.mark.parametrize("out_dtype", ["float32", "int32", "int8", "float16"])
def test_integers_are_exact(out_dtype):
    """Sums of int8 by 8-bit integers at their extremes are exact, and saturate where the output is narrower."""
    for K, W_dtype in ((4096, "int8"), (1032, "uint8")):
        config = MatmulConfig(
            M=[16], N=16, K=K, A_dtype="int8", W_dtype=W_dtype, out_dtype=out_dtype, accum_dtype="int32"
        )
        extreme = -128 if W_dtype == "int8" else -1  # 255 as a signed byte
        B = torch.full(config.W_shape, extreme, dtype=torch.int8).view(config.W_format.torch_dtype)
        A = torch.full((3, K), -128, dtype=torch.int8)
        D = torch.full((3, 16), 77, dtype=config.out_format.torch_dtype)
        kernel(config, 16)(A, B, D)
        exact = -128 * K * (-128 if W_dtype == "int8" else 255)
        limits = torch.iinfo(D.dtype) if config.out_format.is_integer else None
        expected = min(max(exact, limits.min), limits.max) if limits else torch.tensor(float(exact)).to(D.dtype)
        assert (expected == D).all()


def test_not_a_number_stays_in_its_row():
    """A NaN weight, an infinite scale beside it and K beyond whole vectors spoil the outputs of their own n alone."""
    config = MatmulConfig(M=[16], N=9, K=44, W_dtype="float8_e4m3", with_scaling=True, out_dtype="float32")
    (B, scale), reference = problem(config)
    B.view(torch.uint8)[2, 43] = 0x7F
    B.view(torch.uint8)[5] = 0x38  # 1.0
    scale[5] = float("inf")
    A = torch.ones(3, 44, dtype=torch.float16)
    D = torch.zeros(3, 9)
    kernel(config, 16)(A, B, scale, D)
    healthy = [n for n in range(9) if n not in (2, 5)]
    assert D[:, 2].isnan().all()
    np.testing.assert_allclose(D[:, healthy], reference(A)[:, healthy], rtol=1e-4, atol=1e-4)
    assert D[:, 5].isinf().all()


def test_operands_at_any_address():
    """Operands that begin between the words that the kernel reads are served."""
    config = MatmulConfig(M=1, N=24, K=256, W_dtype="uint4", group_size=64, with_scaling=True)
    (B, scale), reference = problem(config)
    A = random_activations(np.random.default_rng(1), (1, 257), "float16")[:, 1:].contiguous()
    moved = [torch.empty(t.numel() + 1, dtype=t.dtype)[1:].view(t.shape).copy_(t) for t in (A, B, scale)]
    D = torch.empty(25).half()[1:].view(1, 24)
    kernel(config, 1)(*moved, D)
    expected = reference(A)
    assert np.linalg.norm(D.double().numpy() - expected) <= 1e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize("lanes", [8, 16])
@pytest.mark.parametrize("W_dtype", ["uint1", "uint2", "uint3", "uint4", "uint5", "uint6", "uint7", "uint8", "float16"])
@pytest.mark.sample(
    shows=lambda W_dtype, lanes: {("W", W_dtype), ("lanes, bits", lanes, 32 % number_format(W_dtype).bits == 0)}
)
def test_ragged_shapes(W_dtype, lanes):
    """N and K that no vector, tile or packed word divides are right, for vectors of both widths."""
    step = {1: 8, 2: 4, 3: 8, 4: 2, 5: 8, 6: 4, 7: 8}.get(number_format(W_dtype).bits, 1)
    zeros = {"with_zeros": True, "zeros_mode": "quantized"} if step > 1 else {}
    for i, (N, K) in enumerate(((8, step), (24, 11 * step), (40, 1000 // step * step + step))):
        m = (1, 5)[(i + lanes // 8) % 2]
        options = {"W_dtype": W_dtype, "with_scaling": True, "with_bias": True, "out_dtype": "float32", **zeros}
        config = MatmulConfig(M=m, N=N, K=K, **options)
        hint = RULE.default_hint(Problem(config, m, cpu_target()))
        if i < 2:  # A chunk that does not divide K leaves whole vectors beyond it.
            hint = dataclasses.replace(hint, lanes=lanes, chunk=3, scale_sums=False)
        check(config, kernel(config, m, hint), m, *problem(config))


# Code.


def buffers(statement):
    """Return every buffer that a lowered statement allocates."""
    found = [statement.buffer] if isinstance(statement, tvm.tirx.AllocBuffer) else []
    for part in ("body", "then_case", "else_case"):
        if getattr(statement, part, None) is not None:
            found += buffers(getattr(statement, part))
    return found + [b for s in getattr(statement, "seq", ()) for b in buffers(s)]


@pytest.mark.parametrize("config", [
    MatmulConfig(M=M, N=4096, K=4096, W_dtype=W, A_dtype=A, layout=layout, **scaling)
    for M in (1, 16)
    for A, W, layout in (("float16", "uint4", "nt"), ("int8", "int8", "nt"), ("float16", "float16", "nn"))
    for scaling in SCALINGS[:2]
], ids=lambda c: f"{c}-{c.with_scaling}")  # fmt: skip
def test_no_decoded_weight_in_memory(config):
    """The lowered function allocates A as it is multiplied and tiles that fit a cache, nothing near N * K."""
    func = RULE.apply(matmul_dequantize_b(config, config.M), cpu_target())
    func = func.with_attr("target", Target(cpu_target(), host=cpu_target()))
    lowered = tvm.tirx.get_tir_pipeline("s_tir")[0](tvm.IRModule({"main": func}))
    sizes_bytes = {}
    for _, part in lowered.functions_items():
        for buffer in buffers(part.body):
            lanes = int((re.search(r"x(\d+)$", str(buffer.dtype)) or (0, 1))[1])
            bits = int(re.search(r"(\d+)(x\d+)?$", str(buffer.dtype))[1])
            sizes_bytes[buffer.name] = int(np.prod([int(s) for s in buffer.shape])) * lanes * bits // 8
    assert sizes_bytes.pop("A_lanes") <= 4 * config.M * config.K
    assert max(sizes_bytes.values()) <= 64 * 1024
    assert max(sizes_bytes.values()) < config.N * config.K // 64


def test_equal_hints_give_equal_functions():
    """Rungs whose hints are equal differ in their symbol and rung alone, so that a later step can share the code."""
    config = MatmulConfig(M=None, N=256, K=256, W_dtype="uint4", group_size=64, with_scaling=True)
    target = cpu_target()
    hints = {rung: RULE.default_hint(Problem(config, rung, target)) for rung in config.ladder}
    assert len(set(hints.values())) == 2
    functions = [RULE.schedule(Problem(config, rung, target), hints[rung]) for rung in (16, 1024)]
    plain = [f.without_attr(RUNG_ATTR).without_attr("global_symbol") for f in functions]
    assert tvm_ffi.structural_equal(*plain)
    assert not tvm_ffi.structural_equal(*functions)


def test_one_row_of_uint4_is_vector_code():
    """A vector is loaded, shifted, masked, converted and multiplied by an instruction each; F16C converts float16."""
    config = MatmulConfig(M=1, N=64, K=512, W_dtype="uint4", group_size=128, **SCALINGS[2])
    target = Target(HASWELL)
    func = RULE.apply(matmul_dequantize_b(config, 1), target)
    code = tvm.compile(func, target=target).mod.inspect_source("asm")
    for instruction in ("vpbroadcastd", "vpsr[la]vd", "vpand", "vcvtdq2ps", "vfmadd", "vcvtph2ps"):
        assert re.search(rf"\t{instruction}\S*\t.*%ymm", code), instruction
    assert "\tvcvtps2ph\t" in code
    assert not re.search(r"call\S*\s+(__extendhfsf2|__gnu_h2f_ieee|__truncsfhf2|__gnu_f2h_ieee)", code)


@pytest.mark.parametrize(("mcpu", "register"), [("haswell", "ymm"), ("skylake-avx512", "zmm")])
def test_codes_are_looked_up_by_permutation(mcpu, register):
    """nf4 is decoded by permutations of the widest registers that the target has."""
    config = MatmulConfig(M=1, N=64, K=512, W_dtype="nf4", group_size=128, with_scaling=True)
    target = Target({"kind": "llvm", "mcpu": mcpu})
    func = RULE.apply(matmul_dequantize_b(config, 1), target)
    code = tvm.compile(func, target=target).mod.inspect_source("asm")
    assert len(re.findall(rf"\tvperm\S*\t.*%{register}", code)) >= 4


# Refusals and hints.


def test_refuses_a_gpu():
    """A GPU is refused by name, and `apply` says None."""
    config = MatmulConfig(M=1, N=64, K=64)
    target = cuda_target("sm_80")
    assert RULE.refuses(Problem(config, 1, target)) == "needs a CPU target (got cuda)"
    assert RULE.apply(matmul_dequantize_b(config, 1), target) is None
    assert RULE.refuses(Problem(config, 1, cpu_target())) is None


def test_hint_follows_target():
    """Vectors are as wide as the widest registers of the target."""
    config = MatmulConfig(M=1, N=64, K=64)
    lanes = [
        RULE.default_hint(Problem(config, 1, Target({"kind": "llvm", "mcpu": c}))).lanes
        for c in ("haswell", "skylake-avx512")
    ]
    assert lanes == [8, 16]


@pytest.mark.parametrize(("fields", "message"), [
    ({"lanes": 4}, "cpu: the hint's field 'lanes' must be one of 8, 16 (got 4)"),
    ({"rows": 3}, "cpu: needs row_tile % rows == 0 (got lanes=8, rows=3, cols=2, row_tile=128"),
    ({"cols": 5}, "cpu: needs col_tile % cols == 0 (got"),
    ({"rows": 16, "cols": 4}, "cpu: needs rows * cols <= 32, the sums in registers (got"),
    ({"chunk": 1025}, "cpu: needs chunk <= 1024, the vectors of K (got"),
    ({"col_tile": 1024, "row_tile": 1024}, "cpu: needs tiles of at most 16777216 bytes, and these have 33554432"),
    ({"scale_sums": True, "chunk": 4}, "cpu: needs a chunk of one group, 8 vectors, with scale_sums (got"),
    ({"simd_lookup": True}, "cpu: needs 4-bit codes for simd_lookup, and W is uint4 (got"),
])  # fmt: skip
def test_wrong_hints_are_errors(fields, message):
    """A hint that would give a wrong kernel is refused by field, rule and value."""
    config = MatmulConfig(M=[16], N=64, K=128, W_dtype="uint4", group_size=64, with_scaling=True)
    with pytest.raises(ScheduleError, match=re.escape(message)):
        RULE.schedule(Problem(config, 16, cpu_target()), dataclasses.replace(CpuHint(), **fields))


@pytest.mark.parametrize("A_dtype", ["int8", "float16"])
@pytest.mark.parametrize("rung", [1, 64])
def test_output_scales_are_read_to_their_end_alone(A_dtype, rung):
    """A factor a row and a factor a column; what stands behind the last one is not touched, for any m."""
    config = MatmulConfig(
        M=(1, 64), N=33, K=72, A_dtype=A_dtype, W_dtype="int8", out_dtype="float32", with_activation_scale=True,
        with_channel_scale=True,
    )  # fmt: skip
    func = kernel(config, rung)
    (B,), reference = problem(config)
    rng = np.random.default_rng(2)
    columns = random_floats(rng, (33,), "float32")
    for m in (1,) if rung == 1 else (1, 3, 4, 33, 64, 131):
        A, rows = random_activations(rng, (m, 72), A_dtype), random_floats(rng, (m,), "float32")
        with guarded_memory() as place:
            D = place(torch.full((m, 33), float("nan")))
            func(*map(place, (A, B, rows, columns)), D)
            result = D.double().numpy()
        expected = reference(A) * rows.double().numpy()[:, None] * columns.double().numpy()
        assert np.linalg.norm(result - expected) <= TOLERANCE["float32"] * np.linalg.norm(expected)


@pytest.mark.parametrize(("N", "K"), [(4, 2), (3, 8), (40, 98)])
def test_the_most_rows_of_a_call_fit_the_types_of_indices(N, K):
    """With as many rows as A and D may have, fewer than 2^31 elements, no index of 32 bits passes 2^31 - 1."""
    config = MatmulConfig(M=(1, 16), N=N, K=K, W_dtype="uint4", with_scaling=True, with_zeros=True)
    problem = Problem(config, 16, cpu_target())
    func = RULE.schedule(problem, RULE.default_hint(problem))
    most, limit = (2**31 - 1) // max(N, K), 2**31 - 1
    analyzer, nodes, greatest, sizes = Analyzer(), [], [], {}

    def dtype(value):
        return str(value.ty.dtype)

    tvm_ffi.structural_walk(func.body, nodes.append)
    for m in {node for node in nodes if isinstance(node, tirx.Var) and node.name == "m"}:
        analyzer.bind(m, tirx.const(most, "int32"))
    for node in nodes:
        if isinstance(node, tirx.For):
            analyzer.bind(node.loop_var, tvm.ir.Range.from_min_extent(node.min, node.extent))
    for node in nodes:
        if isinstance(node, (tirx.Add, tirx.Mul)) and dtype(node) == "int32":
            greatest.append(analyzer.const_int_bound(node).max_value)
        elif type(node).__name__ in ("TensorLoad", "BufferStore"):
            buffer = node.buffer if isinstance(node, tirx.BufferStore) else node.source
            size = math.prod(analyzer.const_int_bound(extent).max_value for extent in buffer.ty.shape)
            sizes[buffer.name] = size
            assert size <= limit or dtype(node.indices[0]) == "int64", buffer.name
    assert sizes["A"] <= limit
    assert sizes["A_lanes"] > limit
    assert greatest
    assert max(greatest) <= limit
