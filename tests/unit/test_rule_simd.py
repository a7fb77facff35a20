# SPDX-License-Identifier: Apache-2.0
"""SIMD kernels for x86 against NumPy in float64, and the instructions that they are made of."""

from __future__ import annotations

import dataclasses
import itertools
import re

import numpy as np
import pytest
import torch
import tvm
from tvm.target import Target

import bitquant as bq
from bitquant.arch import cpu_target, cuda_target
from bitquant.compute import matmul_dequantize_b
from bitquant.config import MatmulConfig
from bitquant.problem import Problem
from bitquant.schedule.rules import Bfloat16Rule, CpuRule, Float32Rule, Int8Rule
from bitquant.schedule.rules.simd.hint import SimdHint
from bitquant.schedule.rules.simd.products import has_features
from bitquant.testing.oracle import decode_plain, tolerance
from tests.unit.test_rule_cpu import SCALINGS, check, legal, problem

RULES = {rule.name: rule for rule in (Int8Rule(), Bfloat16Rule(), Float32Rule())}
#: By lanes of vectors, the CPUs that tests compile for.
CPUS = {8: "haswell", 16: "skylake-avx512"}
FORMATS = (
    "uint1", "int1", "uint2", "int2", "uint4", "int4", "uint8", "int8", "nf4", "fp4_e2m1", "float8_e4m3", "float8_e5m2",
    "uint3", "int5", "int6", "uint7", "float6_e2m3",
)  # fmt: skip
#: N, K and the length of a group: one block of 16 words a group, of 8 words, several groups a block, one group a row.
SHAPES = [(24, 1024, 512), (40, 512, 64), (17, 1536, 32), (8, 512, -1)]


def runs_here(target):
    """Whether this machine's CPU has what a target has; a CPU without it ends the process."""
    here = cpu_target()
    names = ("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni", "avx512bf16")
    return all(has_features(here, name) for name in names if has_features(target, name))


def kernel(rule, config, rung, hint=None, target=None):
    """Return the compiled function of a rung; skip where this machine cannot run it."""
    target = target or cpu_target()
    if not runs_here(target) or rule.refuses(Problem(config, rung, target)):
        pytest.skip("this CPU lacks the instructions")
    func = rule.apply(matmul_dequantize_b(config, rung), target, hint)
    return tvm.compile(func, target=target)[f"matmul_m{rung}"]


def all_formats():
    """Return rule, problem, lanes and whether weights are buffered: each format and product, the rest in turn."""
    found = []
    for i, (name, W) in enumerate(itertools.product(RULES, FORMATS)):
        A = {"cpu_int8": "int8", "cpu_bfloat16": "bfloat16"}.get(name, ("float16", "float32", "float8_e4m3")[i % 3])
        N, K, group = SHAPES[i % 4]
        for j in range(2):
            turns = SCALINGS[(i + 3 * j) % 7 :] + SCALINGS[: (i + 3 * j) % 7]
            options = {
                "M": [64], "N": N + N % 8 if "quantized" in str(turns) else N, "K": K, "A_dtype": A, "W_dtype": W,
                "group_size": group, "out_dtype": "float32", "with_bias": i % 3 == 0,
            }  # fmt: skip
            config = next(filter(None, (legal(**options, **scaling) for scaling in turns)), None)
            if config is not None and not (name == "cpu_int8" and not config.W_format.is_integer):
                found.append((name, config, (16, 8)[(i + j) % 2], j == 0 or config.W_format.bits not in (1, 2, 4, 8)))
    return found


def shown(name, config, lanes, buffered):
    """What a problem shows: its format; the product, lanes and the kind of loop with the width of codes.

    Products and kinds of formats meet as well; products, lanes and loops all by whether codes fill bytes.
    """
    fmt = config.W_format
    bits = fmt.bits
    return {
        ("W", fmt.name), (name, bits), (name, type(fmt), fmt.is_unsigned), ("lanes", bits, lanes),
        ("buffered", bits, buffered), (name, 8 % bits == 0, lanes, buffered),
    }  # fmt: skip


@pytest.mark.parametrize(("name", "config", "lanes", "buffered"), all_formats(), ids=str)
@pytest.mark.sample(shows=shown)
def test_all_formats_for_any_m(name, config, lanes, buffered):
    """Every format is right with every product, width and scaling, for whole and ragged blocks of rows and columns."""
    rule = RULES[name]
    target = cpu_target()
    needs_newest = name == "cpu_bfloat16" or (name == "cpu_int8" and config.W_format.bits == 8)
    if not needs_newest:
        target = Target({"kind": "llvm", "mcpu": CPUS[lanes]})
    hint = SimdHint(lanes, rows=3, cols=2, row_tile=6, col_tile=6, chunk=1, buffered=buffered, prefetch=lanes == 16)
    where = Problem(config, 64, target)
    for chunk in (3, 2, 1, 4, 8, 16, 32, 64):  # The first that fits K and the groups.
        if rule.refuses(where) is None and rule.fault(where, fitting := dataclasses.replace(hint, chunk=chunk)) is None:
            hint = fitting
            break
    operands, reference = problem(config)
    func = kernel(rule, config, 64, hint, target)
    for m in (1, 7, 13):
        compare(name, config, func, m, operands, reference)


def compare(name, config, func, m, operands, reference):
    """Call with m rows and compare, with the tolerance of weights that are rounded where products are bfloat16."""
    if name != "cpu_bfloat16":
        check(config, func, m, operands, reference)
        return
    A = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (m, config.K))).to(torch.bfloat16)
    D = torch.full((m, config.N), float("nan"))
    func(A, *operands, D)
    expected = reference(A)
    allowed = tolerance(dataclasses.replace(config, out_dtype="bfloat16"))
    assert np.linalg.norm(D.double().numpy() - expected) <= allowed * np.linalg.norm(expected)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("rung", [1, 16, 64])
def test_defaults_for_any_m(name, rung):
    """Default hints are right for one row, for several panels of rows, and for no row."""
    A = {"cpu_int8": "int8", "cpu_bfloat16": "bfloat16"}.get(name, "float16")
    config = MatmulConfig(
        M=[rung], N=72, K=1024, A_dtype=A, W_dtype="uint4", group_size=128, out_dtype="float32", **SCALINGS[2]
    )
    operands, reference = problem(config)
    func = kernel(RULES[name], config, rung)
    for m in (1, 5, 130):
        compare(name, config, func, m, operands, reference)
    func(torch.empty(0, 1024, dtype=config.A_format.torch_dtype), *operands, torch.empty(0, 72))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    ("W_dtype", "K", "group"), [("uint4", 544, 32), ("uint2", 608, -1), ("uint3", 544, 16), ("uint4", 576, 8)]
)
def test_codes_one_by_one(name, W_dtype, K, group):
    """Codes across words, and rows of W that are no whole blocks of words, are decoded one by one into the buffer."""
    A = {"cpu_int8": "int8", "cpu_bfloat16": "bfloat16"}.get(name, "float16")
    config = MatmulConfig(
        M=[16], N=21, K=K, A_dtype=A, W_dtype=W_dtype, group_size=group, out_dtype="float32", **SCALINGS[2]
    )
    operands, reference = problem(config)
    func = kernel(RULES[name], config, 16)
    for m in (1, 5, 18):
        compare(name, config, func, m, operands, reference)


@pytest.mark.parametrize(
    ("W_dtype", "mcpu"),
    [
        ("uint7", "haswell"),
        ("uint3", None),
        ("uint4", "haswell"),
        ("int2", "skylake-avx512"),
        ("int8", None),
        ("uint8", None),
    ],
)
def test_integers_are_exact_at_their_extremes(W_dtype, mcpu):
    """Sums of bytes at both ends of their ranges are exact: no instruction saturates."""
    target = Target({"kind": "llvm", "mcpu": mcpu}) if mcpu else cpu_target()
    config = MatmulConfig(M=[16], N=16, K=4096, A_dtype="int8", W_dtype=W_dtype, out_dtype="int32", accum_dtype="int32")
    func = kernel(Int8Rule(), config, 16, target=target)
    for byte, a in itertools.product((0x00, 0xFF, 0x80, 0x7F), (-128, 127)):
        B = torch.full(config.W_shape, byte, dtype=torch.uint8).view(config.W_format.torch_dtype)
        A = torch.full((5, 4096), a, dtype=torch.int8)
        D = torch.full((5, 16), 77, dtype=torch.int32)
        func(A, B, D)
        weights = decode_plain(B, config)
        assert (D.numpy() == (A.double().numpy() @ weights.T).astype(np.int64)).all()


def assembly(rule, config, mcpu):
    target = Target({"kind": "llvm", "mcpu": mcpu})
    func = rule.apply(matmul_dequantize_b(config, config.M), target)
    return tvm.compile(func, target=target).mod.inspect_source("asm")


@pytest.mark.parametrize(("rule", "A", "W", "mcpu", "instructions"), [
    (Float32Rule(), "float16", "uint4", "skylake-avx512", ["vpsrld.*zmm", "vperm(ps|d).*zmm", "vfmadd.*zmm"]),
    (Float32Rule(), "float16", "nf4", "haswell", ["vperm(ps|d).*ymm", "vfmadd.*ymm"]),
    (Bfloat16Rule(), "bfloat16", "uint4", "znver4", ["vpsrlw.*zmm", "vpermw.*zmm", "vdpbf16ps.*zmm"]),
    (Int8Rule(), "int8", "int2", "icelake-server", ["vpdpbusd.*zmm"]),
    (Int8Rule(), "int8", "int2", "alderlake", ["vpdpbusd.*ymm"]),
    (Int8Rule(), "int8", "int2", "haswell", ["vpmaddubsw.*ymm", "vpmaddwd.*ymm"]),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_instructions(rule, A, W, mcpu, instructions):
    """A few rows take the instructions of the target, and call no function of a C library."""
    config = MatmulConfig(M=4, N=16, K=1024, A_dtype=A, W_dtype=W, out_dtype="float32", with_scaling=A != "int8")
    code = assembly(rule, config, mcpu)
    for instruction in [*instructions, "prefetcht0"]:
        assert re.search(rf"\t{instruction}", code), instruction
    assert not re.search(r"call\S*\s+(__extend|__trunc|__gnu|bitquant)", code)


def test_refusals_name_what_is_missing():
    """Each rule says what it needs, with the value; the rule for everything takes the rest."""
    plain = {"M": 4, "N": 16, "K": 512, "W_dtype": "uint4"}
    here = Target({"kind": "llvm", "mcpu": "haswell"})

    def reason(rule, target=here, rows=4, **fields):
        config = MatmulConfig(**{**plain, "M": rows, **fields})
        assert CpuRule().refuses(Problem(config, rows, cpu_target())) is None
        return rule.refuses(Problem(config, rows, target))

    assert reason(Float32Rule()) is None
    assert reason(Float32Rule(), cuda_target("sm_90a")) == "needs a CPU target (got sm_90a)"
    assert reason(Float32Rule(), A_dtype="int8", out_dtype="int32") == "needs a floating-point A (got int8)"
    assert reason(Int8Rule()) == "needs A of type int8 (got float16)"
    assert reason(Bfloat16Rule()) == "needs A of type bfloat16 (got float16)"
    assert "avx512bf16" in reason(Bfloat16Rule(), A_dtype="bfloat16")
    assert reason(Float32Rule(), W_dtype="uint3") == "needs W of 1, 2, 4 or 8 bits (got uint3) below 5 rows"
    assert reason(Float32Rule(), K=520) == "needs K % 64 == 0, blocks of 8 words (got K % 64 == 8) below 5 rows"
    assert reason(Float32Rule(), rows=5, W_dtype="uint3") is None
    assert reason(Float32Rule(), rows=5, W_dtype="float16") == "needs W of 1, 2, 4 or 8 bits (got float16)"
    assert reason(Float32Rule(), rows=5, K=524) == "needs K % 8 == 0, vectors of 8 codes (got K % 8 == 4)"
    assert "group_size % 4 == 0 (got 2)" in reason(
        Int8Rule(), rows=5, A_dtype="int8", W_dtype="uint3", group_size=2, with_scaling=True
    )
    assert "group_size % 8 == 0 (got 4)" in reason(Float32Rule(), group_size=4, with_scaling=True)
    assert "avx2" in reason(Float32Rule(), Target({"kind": "llvm", "mcpu": "x86-64"}))
    assert "avx512vnni or avxvnni" in reason(Int8Rule(), A_dtype="int8", W_dtype="int8", out_dtype="int32")


def test_choices_list_rules_for_their_own_device():
    """Refusals of a kernel name no rule for the other kind of device."""
    config = MatmulConfig(M=4, N=64, K=520, W_dtype="uint4")
    here = bq.Matmul(config, target="cpu").choices[4]
    assert (here.rule, set(here.refusals)) == ("cpu", set(RULES))
    there = bq.Matmul(config, target="sm_80").choices[4]
    assert not {*RULES, "cpu"} & set(there.refusals)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("rung", [1, 16, 256])
def test_space_begins_with_the_default_and_has_neighbours(name, rung):
    """Tuning finds other hints than the default, all of which fit."""
    rule = RULES[name]
    A = {"cpu_int8": "int8", "cpu_bfloat16": "bfloat16"}.get(name, "float16")
    config = MatmulConfig(M=[rung], N=64, K=4096, A_dtype=A, W_dtype="uint4", group_size=128, with_scaling=True)
    where = Problem(config, rung, Target({"kind": "llvm", "mcpu": "znver4"}))
    hints = list(rule.space(where))
    assert len(hints) == len(set(hints)) >= 12
    assert hints[0].buffered == (rung > (12 if name == "cpu_bfloat16" else 16))
    assert hints[0].prefetch == (name != "cpu_int8" or rung > 1)
    assert {hint.buffered for hint in hints} == {hint.prefetch for hint in hints} == {False, True}
