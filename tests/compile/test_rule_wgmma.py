# SPDX-License-Identifier: Apache-2.0
"""The wgmma rule: registers, hints and their order, refusals, machine code."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
import tvm
from tvm import tirx

import bitquant as bq
from bitquant.arch import cuda_target, resolve_target
from bitquant.archive import Archive
from bitquant.build import build
from bitquant.compute import select_implementation
from bitquant.compute.matmul import matmul_dequantize_b, rung_of
from bitquant.config import MatmulConfig
from bitquant.errors import ScheduleError
from bitquant.formats import number_format
from bitquant.intrin.decoders import RegisterDecoder
from bitquant.layouts import fragment_layout
from bitquant.problem import Problem
from bitquant.schedule.apply import choice_of, preferred_layout, schedule_module, schedule_with
from bitquant.schedule.rules import default_rules
from bitquant.schedule.rules.contract import applying
from bitquant.schedule.rules.hopper.emit.decode import (
    SCALE_EXPONENT,
    DecodingTrace,
    subnormal_exponent,
    trace_decoding,
    unit_exponent,
)
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.rules.hopper.products import Products
from bitquant.schedule.rules.hopper.registers import registers
from bitquant.schedule.rules.hopper.rule import WgmmaRule
from bitquant.testing.oracle import code_values

RULE, TARGET = WgmmaRule(), cuda_target("sm_90a")


def _config(N: int = 8192, K: int = 8192, **fields: object) -> MatmulConfig:
    given = {"W_dtype": "uint4", "group_size": 128, "with_scaling": True, "with_zeros": True}
    return MatmulConfig(M=[16384], N=N, K=K, **{**given, **fields})


def _build(config: MatmulConfig, hint: WgmmaHint) -> Archive:
    func = matmul_dequantize_b(config, config.ladder[-1], layout="fragment")
    scheduled = schedule_with(func, RULE, hint, TARGET)
    return build(tvm.IRModule({str(func.attrs["global_symbol"]): scheduled}), TARGET, config.problem())


@pytest.mark.parametrize("blocks_per_sm", [1, 2])
@pytest.mark.parametrize("consumers", [1, 2, 3, 4])
def test_registers_fit_the_launch(consumers: int, blocks_per_sm: int) -> None:
    """What producer and consumers hold after the move is at most what the block was launched with."""
    producer, consumer = registers(consumers, blocks_per_sm)
    threads = 128 * (consumers + 1)
    launched = 65536 // (threads * blocks_per_sm) // 8 * 8
    assert 24 <= producer <= consumer <= 255
    assert producer % 8 == consumer % 8 == 0
    assert producer + consumers * consumer <= (consumers + 1) * launched


HINTS = [
    WgmmaHint(block_m=64, consumers_n=2, consumers_k=2),
    WgmmaHint(block_m=64, consumers_n=4, split_k=2),
    WgmmaHint(block_m=128, consumers_n=3),
    WgmmaHint(block_m=256),
    WgmmaHint(block_m=128, n_tiles_per_consumer=2),
    WgmmaHint(block_m=32, blocks_per_sm=2, consumers_n=1, consumers_k=2),
    WgmmaHint(block_m=64, consumers_n=1),
]


@pytest.mark.parametrize("hint", HINTS, ids=str)
def test_machine_code_moves_registers_that_exist(hint: WgmmaHint) -> None:
    """The consumers of the compiled kernel never ask for more than the producer gives up, and nothing spills."""
    archive = _build(_config(N=1024, K=2048), hint)
    threads = int(re.search(r"\.maxntid\s+(\d+)", archive.ptx)[1])
    moved = {kind: int(n) for kind, n in re.findall(r"setmaxnreg\.(inc|dec)\.sync\.aligned\.u32\s+(\d+)", archive.ptx)}
    resources = next(iter(archive.resources.values()))
    launched = -(-resources.registers // 8) * 8
    assert launched * threads * hint.blocks_per_sm <= 65536
    assert resources.spill_bytes == 0
    assert threads == 128 * (hint.consumers + 1)
    if hint.consumers > 1:
        assert moved["dec"] + hint.consumers * moved["inc"] <= launched * (hint.consumers + 1)
    else:
        assert not moved
    assert f"m64n{hint.block_m}k16.f32.f16.f16" in archive.ptx
    assert "griddepcontrol.wait" in archive.ptx


@pytest.mark.parametrize("num_groups", [1, 2, 3])
@pytest.mark.parametrize("split_k", [1, 2])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.sample(shows=lambda rows, split_k, num_groups: {(0, rows, split_k), (1, rows, num_groups)})
def test_every_row_block_has_its_factors(rows: int, split_k: int, num_groups: int) -> None:
    """Scales and zero points of all row blocks are loaded: ptxas would drop loads of factors that nothing uses."""
    hint = WgmmaHint(block_m=64, n_tiles_per_consumer=rows, consumers_n=1, consumers_k=2, stages=3, split_k=split_k)
    archive = _build(_config(N=256, K=64 * 12, group_size=64 * 12 // num_groups), hint)
    loads = re.findall(r"ld\.global[.\w]*\.[bu]16", archive.ptx)
    # Two rows of W a thread and row block, Scale and Zeros.
    assert len(loads) == 4 * rows


def test_bfloat16_has_its_own_products() -> None:
    """With A of bfloat16 weights are decoded to bfloat16, and no float16 is left."""
    archive = _build(_config(N=256, K=512, A_dtype="bfloat16", out_dtype="bfloat16"), WgmmaHint(block_m=64))
    assert "m64n64k16.f32.bf16.bf16" in archive.ptx
    assert "fma.rn.bf16x2" in archive.ptx
    assert "f16x2" not in archive.ptx.replace("bf16x2", "")


@pytest.mark.parametrize("block_m", [32, 48, 256])
@pytest.mark.parametrize(("weight", "few", "many"), [("fp4_e2m1", 12, 8), ("nf4", 16, 12)])
def test_fewer_lookups_where_many_rows_are_read(weight: str, few: int, many: int, block_m: int) -> None:
    """Of 16 registers a step, half of fp4_e2m1's and a quarter of nf4's are not looked up from 48 rows of A on."""
    config = _config(N=256, K=512, W_dtype=weight, with_zeros=False)
    hint = WgmmaHint(block_m=block_m)
    decoder = WgmmaGeometry(Problem(config, 16384, TARGET), hint).decoder
    assert decoder is not None
    lookups = 0

    class Ops(DecodingTrace):
        def lookup(self, *operands: Any) -> Any:
            nonlocal lookups
            lookups += 1
            return super().lookup(*operands)

    for r in range(decoder.fragment_layout.registers):
        words = [lambda _: tirx.Var("word", "uint32")]
        decoder.decode(words, r, None, Ops(decoder))
    assert lookups * 16 == (many if block_m >= 48 else few) * decoder.fragment_layout.registers
    if block_m == 256:
        # Where registers are fewest.
        assert next(iter(_build(config, hint).resources.values())).spill_bytes == 0


@pytest.mark.parametrize("operand", ["float16", "bfloat16"])
@pytest.mark.parametrize("weight", ["uint1", "int1", "uint2", "int2", "uint4", "int4"])
def test_one_operation_decodes_every_code(weight: str, operand: str) -> None:
    """Masked codes with an exponent beside them are the values themselves, once a constant is added that is a number.

    Also less any zero point within the range of the codes.
    """
    fmt, config = number_format(weight), _config(W_dtype=weight, A_dtype=operand, with_zeros=False)
    mantissa, bias, most = (10, 15, 2048) if operand == "float16" else (7, 127, 256)
    trace = trace_decoding(RegisterDecoder(fmt, fragment_layout(config), operand), 0)
    assert trace.masks_found
    codes = np.arange(2**fmt.bits)
    values = code_values(codes, fmt)
    for mask in trace.masks_found:
        bit = (mask & -mask).bit_length() - 1
        assert mask == ((1 << fmt.bits) - 1 << bit) * 0x10001
        assert bit + fmt.bits <= mantissa
        bits = (codes << bit) | (bias + mantissa - bit << mantissa)
        kind, shift = (np.uint16, 0) if operand == "float16" else (np.uint32, 16)
        numbers = (bits << shift).astype(kind).view(np.float16 if operand == "float16" else np.float32).astype(float)
        constant = trace.constant(bit, operand)
        assert constant in trace.constants
        assert abs(constant) <= most
        assert np.array_equal(numbers * fmt.step + constant, values)


@pytest.mark.parametrize("weight", ["uint4", "int4"])
def test_subnormal_codes_take_their_scale_in_one_operation(weight: str) -> None:
    """Codes that a mask leaves, times a scale, plus the offset's share: the scaled value, rounded once."""
    config = _config(W_dtype=weight, A_dtype="bfloat16", with_zeros=False)
    products = Products(Problem(config, 64, TARGET))
    assert products.has_subnormal_codes
    decoder = products.decoder(False, 64)
    codes = np.arange(16).repeat(4096)
    powers = np.random.default_rng(0).uniform(-70, 47, len(codes))
    scale = torch.from_numpy(2.0**powers).to(torch.bfloat16).double()
    expected = (torch.from_numpy(code_values(codes, config.W_format)).double() * scale).to(torch.bfloat16)
    for half in range(2):
        # Masks of row g + 8 are immediates, since no exponent goes with them.
        for mask in trace_decoding(decoder, half).masks_found:
            assert (mask & -mask).bit_length() - 1 == subnormal_exponent(half) + 133
        number = np.float32(codes) * np.float32(2.0 ** subnormal_exponent(half))
        raised = (scale * 2.0**SCALE_EXPONENT).to(torch.bfloat16).double()
        offset = (raised * config.W_format.offset * 2.0 ** subnormal_exponent(half)).to(torch.bfloat16).double()
        decoded = (torch.from_numpy(number).double() * raised + offset).to(torch.bfloat16)
        assert torch.equal(decoded.double() * 2.0 ** unit_exponent(half), expected.double())


@pytest.mark.parametrize(
    "fields",
    [
        {"W_dtype": "uint2"}, {"W_dtype": "nf4"}, {"with_zeros": True}, {"A_dtype": "float16"}, {"with_scaling": False},
        {"scale_dtype": "float8_e8m0"},
    ],
    ids=str,
)  # fmt: skip
def test_other_codes_are_decoded_before_they_are_scaled(fields: dict[str, object]) -> None:
    """The exponents of float16 are too few, zero points times scales are rounded, scales of 8 bits may be too great."""
    config = _config(**{"W_dtype": "int4", "A_dtype": "bfloat16", "with_zeros": False, **fields})
    assert not Products(Problem(config, 64, TARGET)).has_subnormal_codes


def test_one_multiply_add_decodes_a_register() -> None:
    """Machine code of a step: 16 multiply-adds, and some for each group."""
    fields = {"W_dtype": "int4", "A_dtype": "bfloat16", "out_dtype": "bfloat16", "with_zeros": False}
    hint = WgmmaHint(block_m=64, block_k=128)
    archive = _build(_config(N=256, K=1024, group_size=32, **fields), hint)
    steps = len(re.findall("wgmma.mma_async", archive.ptx)) // 4
    # The first step of a tile stands before the loop.
    assert len(re.findall(r"fma\.rn\.bf16x2", archive.ptx)) < (steps + 1) * (16 + 2 * 4)


@pytest.mark.parametrize("m", [1, 16, 32, 100, 512, 4096])
@pytest.mark.parametrize("weight", ["uint4", "int8", "uint1", "uint3", "nf4"])
def test_space_is_legal_and_ordered(weight: str, m: int) -> None:
    """All hints of the space can be built, none comes twice, and predicted times rise from the default on."""
    config = _config(4096, 4096, W_dtype=weight, with_zeros=weight.startswith("uint"))
    space = list(RULE.space(Problem(config, m, TARGET)))
    assert space[0] == RULE.default_hint(Problem(config, m, TARGET))
    assert 1 <= len(set(space)) == len(space) <= 60
    assert all(RULE.fault(Problem(config, 64, TARGET), hint) is None for hint in space)
    times = [RULE.predicted_us(Problem(config, m, TARGET), hint) for hint in space]
    assert times == sorted(times)


@pytest.mark.parametrize("weight", ["uint1", "uint3", "uint4"])
@pytest.mark.parametrize(("N", "K"), [(64, 64), (16, 128), (200, 520), (1000, 1000), (128, 100000), (5, 8), (33, 136)])
def test_small_and_odd_problems_have_a_default(N: int, K: int, weight: str) -> None:
    """A default exists wherever the rule does not refuse, also where K is shorter than a tile of the layout."""
    config = _config(N, K, W_dtype=weight, group_size=-1)
    assert RULE.refuses(Problem(config, 64, TARGET)) is None
    assert RULE.fault(Problem(config, 64, TARGET), RULE.default_hint(Problem(config, 64, TARGET))) is None


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        (WgmmaHint(block_m=12), "block_m of 8, 16 ... 256"),
        (WgmmaHint(block_m=264), "the hint's field 'block_m' must be 8 to 256 (got 264)"),
        (WgmmaHint(block_k=96), "block_k % 64 == 0"),
        (WgmmaHint(consumers_n=3, consumers_k=2), "1 to 4 consumers"),
        (WgmmaHint(split_k=3), "the hint's field 'split_k' must be one of 1, 2, 4, 8 (got 3)"),
        (WgmmaHint(blocks_per_sm=3), "the hint's field 'blocks_per_sm' must be one of 1, 2 (got 3)"),
        (WgmmaHint(stages=2), "3 stages or more"),
        (WgmmaHint(stages=32), "bytes of shared memory, and a block has 232448"),
        (WgmmaHint(block_m=128, consumers_n=4), "needs 136 registers a consumer thread, and there are 112"),
        (WgmmaHint(block_m=32, stages=20, blocks_per_sm=2), "bytes of shared memory, and a block has 115712"),
    ],
    ids=str,
)
def test_illegal_hints_are_refused_by_name(hint: WgmmaHint, message: str) -> None:
    """A hint that cannot be built raises the rule that it breaks."""
    with pytest.raises(ScheduleError, match=re.escape(message)):
        _build(_config(), hint)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"K": 1028, "group_size": -1}, "K % 8 == 0 (got 1028)"),
        ({"A_dtype": "float32"}, "needs A of 16 or 8 bits (got float32)"),
        ({"A_dtype": "int8"}, "needs no zero points where A has 8 bits"),
        ({"A_dtype": "int8", "K": 1032, "group_size": -1}, "K % 16 == 0 (got 1032)"),
        (
            {"A_dtype": "int8", "W_dtype": "int4", "with_zeros": False, "K": 1 << 17, "group_size": -1},
            "needs K < 131072, so that sums stay below 2^31",
        ),
        (
            {"A_dtype": "int8", "W_dtype": "uint8", "with_zeros": False, "K": 1 << 17, "group_size": -1},
            "needs K < 65794",
        ),
        ({"A_dtype": "float8_e4m3", "with_zeros": False, "out_dtype": "float32"}, "needs an output of 16 bits"),
        (
            {"A_dtype": "float8_e4m3", "W_dtype": "int5", "with_zeros": False},
            "needs a format whose values float8_e4m3 holds",
        ),
        (
            {"A_dtype": "bfloat16", "scale_dtype": "float32"},
            "needs Scale of A's type, or of 8 bits that it holds (got float32)",
        ),
        ({"group_size": 96, "K": 8160}, "group_size of 16, 32 or a multiple of 64 (got 96)"),
        ({"group_size": 8}, "group_size % 16 == 0 (got 8)"),
        ({"W_dtype": "nf4"}, "integers where W has zero points"),
    ],
    ids=str,
)
def test_refusals(fields: dict, message: str) -> None:
    """What the kernel cannot do is refused with the rule and the value."""
    K = fields.pop("K", 8192)
    assert message in str(RULE.refuses(Problem(_config(256, K, **fields), 64, TARGET)))


def test_few_rows_are_left_to_others() -> None:
    """Below 8 rows the rule refuses; below 16 others are preferred, and its tiles have no more columns than rows."""
    assert RULE.refuses(Problem(_config(), 7, TARGET)) == "needs M >= 8 (got 7)"
    for A_dtype in ("float16", "int8", "float8_e4m3"):
        config = bq.MatmulConfig(M=16, N=1024, K=1024, A_dtype=A_dtype, W_dtype="int4", out_dtype="float16")
        for m, columns in ((8, {8}), (9, {16}), (15, {16})):
            problem = Problem(config.with_M(m), m, TARGET, "fragment")
            assert RULE.refusal(problem) is None
            assert not RULE.is_preferred(problem)
            assert {hint.block_m for hint in RULE.population(problem)} == columns
            found = [rule.name for rule in applying(problem, default_rules())]
            assert (found[0], found[-1]) == ("decode", "wgmma")
    assert RULE.is_preferred(Problem(_config(), 16, TARGET))


def test_few_rows_have_other_defaults() -> None:
    """From 8 to 15 rows the decode rule serves where there are no trials; this rule alone serves them too."""
    for rules, few, rows in ((None, "decode", (1, 8, 12, 15, 64)), ((RULE,), "wgmma", (8, 12, 15, 64))):
        config, target = _config().with_M(rows), resolve_target("h100")
        layout = preferred_layout(config, target, rules)
        assert layout == "fragment"
        scheduled = schedule_module(select_implementation(config, layout), target, rules)
        served = {rung_of(func): choice_of(func).rule for func in scheduled.functions.values()}
        assert served == {**dict.fromkeys(rows, few), 64: "wgmma"}


def test_other_gpus_are_refused() -> None:
    """Only Hopper has wgmma."""
    assert "needs sm_90a (got sm_80)" in str(RULE.refuses(Problem(_config(), 64, cuda_target("sm_80"))))


@pytest.mark.parametrize("A_dtype", ["int8", "float8_e4m3"])
def test_a_scale_that_rows_share_is_read_in_its_place(A_dtype):
    """A kernel that scales finished sums reads the scale of 128 rows by a row's number over 128."""
    config = bq.MatmulConfig(
        M=16, N=128, K=256, A_dtype=A_dtype, W_dtype="int4", group_size=256, rows_per_scale=128, with_scaling=True,
        out_dtype="float16",
    )  # fmt: skip
    operator = bq.Matmul(config, target="sm_90a")
    assert [choice.rule for choice in operator.choices.values()] == ["wgmma"]
    loads = [statement for statement in operator.get_source().split(";") if "Scale_ptr[" in statement]
    assert len(loads) == 2
    assert all(re.search(r">> 7\b|/ 128\b", line) for line in loads)
