# SPDX-License-Identifier: Apache-2.0
"""The decode rule for experts: machine code of its kernels, refusals, and its hints."""

from __future__ import annotations

import pytest
import tvm

from bitquant.arch import cuda_target, resolve_target
from bitquant.build import build
from bitquant.compute.grouped import grouped_matmul_dequantize_b
from bitquant.errors import ScheduleError
from bitquant.grouped_config import GroupedMatmulConfig, expected_experts
from bitquant.layouts import fragment_refusal
from bitquant.operands import GROUPED_OPERANDS
from bitquant.problem import Problem
from bitquant.schedule.apply import preferred_layout, schedule_with
from bitquant.schedule.rules.decode.cost import estimated_registers, register_limit
from bitquant.schedule.rules.decode.emit.experts import RowsOfExpert
from bitquant.schedule.rules.decode.grouped.geometry import GroupedDecodeGeometry
from bitquant.schedule.rules.decode.grouped.hint import GroupedDecodeHint
from bitquant.schedule.rules.decode.grouped.rule import GroupedDecodeRule
from bitquant.schedule.rules.decode.memory import PackedTile
from bitquant.schedule.rules.routing import expected_units
from tests.unit.test_grouped import FORMS, GROUPED

RULE = GroupedDecodeRule()
UP, DOWN = FORMS["gather"], FORMS["reduce"]
UINT4 = {"W_dtype": "uint4", "group_size": 64, "with_scaling": True, "with_zeros": True}
MXFP4 = {
    "W_dtype": "fp4_e2m1", "group_size": 32, "with_scaling": True, "scale_dtype": "float8_e8m0",
    "A_dtype": "bfloat16", "out_dtype": "bfloat16", "with_bias": True,
}  # fmt: skip
INT8 = {"A_dtype": "int8", "W_dtype": "int4", "out_dtype": "float16", "with_activation_scale": True}

#: N, K, fields of the problem, fields of the hint.
HINTED = [
    (1000, 1024, {**UINT4, **UP}, {"warps_k": 4}),
    (1000, 1024, {**UINT4, **DOWN}, {"warps_k": 4, "n_blocks_per_cta": 3}),
    (1000, 1024, {**UINT4, **UP}, {"warps_k": 4, "units": "experts"}),
    (1000, 1024, {**UINT4, **DOWN}, {"warps_k": 4, "units": "experts", "n_blocks_per_cta": 3, "block_m": 16}),
    (1008, 2880, {**MXFP4, **UP}, {"warps_k": 5, "weights": "shared", "ahead": 4, "unroll": 1}),
    (1008, 2880, {**MXFP4, **DOWN}, {"warps_k": 4, "units": "experts", "n_tiles_per_warp": 2, "chains": 2}),
    # Three runs of a body, which four lanes share.
    (96, 1152, {**MXFP4, **UP, "group_size": 64}, {"warps_k": 2, "unroll": 3, "ahead": 3}),
    # Blocks that share K, and that share A; phases of A.
    (500, 4096, {**UINT4, **UP}, {"warps_k": 4, "split_k": 2, "units": "experts"}),
    (500, 4096, {**UINT4, **DOWN}, {"warps_k": 4, "split_k": 4}),
    (512, 4096, {**UINT4, **DOWN}, {"warps_k": 4, "multicast": 2, "units": "experts"}),
    (512, 4096, {**UINT4, **UP}, {"warps_k": 4, "multicast": 2}),
    (200, 4096, {**UINT4, **DOWN}, {"warps_k": 4, "phase": 4, "units": "experts", "block_m": 32}),
    (200, 4096, {**UINT4, **UP}, {"warps_k": 4, "split_k": 2, "phase": 4, "weights": "shared", "ahead": 4}),
    # K whose rows of A are no whole 16 bytes; types of 8 bits.
    (100, 1001, {"W_dtype": "int8", **UP, "with_bias": True}, {"units": "experts"}),
    (100, 1000, {**INT8, **DOWN}, {"units": "experts", "warps_k": 4, "chains": 2}),
    (100, 1024, {**INT8, **UP, "with_channel_scale": True}, {"warps_k": 4}),
    (96, 1024, {"A_dtype": "float8_e4m3", "out_dtype": "bfloat16", "W_dtype": "int4", **FORMS["both"]}, {}),
    # Digits, one row a unit.
    (300, 2048, {"W_dtype": "uint2", "group_size": 128, "with_scaling": True, "with_zeros": True, **DOWN},
     {"activations": "digits", "block_m": 1, "warps_k": 4, "chains": 1, "unroll": 1, "ahead": 1}),
    # Blocks of a cluster that have the slots of a token.
    (1000, 1024, {**UINT4, **DOWN, "top_k": 4}, {"warps_k": 4, "cluster_slots": 4, "n_blocks_per_cta": 3}),
    (1008, 2880, {**MXFP4, **DOWN, "top_k": 8}, {"warps_k": 4, "cluster_slots": 8, "weights": "shared", "ahead": 4}),
    (300, 1024, {**INT8, **FORMS["both"]}, {"warps_k": 4, "cluster_slots": 2, "phase": 4}),
    # Loads behind products.
    (1008, 2880, {**MXFP4, **UP},
     {"warps_k": 4, "units": "experts", "n_tiles_per_warp": 3, "unroll": 2, "loads_late": True}),
    # Units of fewer rows than an instruction has columns.
    (1000, 1024, {**UINT4, **DOWN}, {"warps_k": 4, "units": "experts", "unit_rows": 4, "n_blocks_per_cta": 3}),
    (1008, 2880, {**MXFP4, **UP}, {"warps_k": 4, "units": "experts", "unit_rows": 2, "n_tiles_per_warp": 2}),
    (500, 4096, {**UINT4}, {"warps_k": 4, "units": "experts", "unit_rows": 4, "split_k": 2}),
    # Sorted rows.
    (1000, 1024, {**UINT4}, {"warps_k": 4, "units": "experts", "block_m": 16}),
    (1008, 2880, {**MXFP4}, {"warps_k": 4, "units": "experts", "n_blocks_per_cta": 2}),
    # One slot a token: nothing is summed.
    (300, 1024, {**UINT4, **FORMS["slots"], "D_rows": "tokens"}, {"warps_k": 4, "units": "experts"}),
]  # fmt: skip


def hinted_config(N, K, fields, **more):
    """The problem of a row of HINTED."""
    return GroupedMatmulConfig(**{"num_experts": 5, "N": N, "K": K, "M": (16,), **fields, **more})


def hinted_id(row):
    """A row of HINTED in a few words."""
    N, K, fields, hint = row
    return "-".join([str(N), str(K), fields["W_dtype"], *(f"{k}_{v}" for k, v in hint.items())])


def _build(config, arch, hint=None):
    rung, target = config.ladder[-1], resolve_target(arch)
    hint = hint or RULE.default_hint(Problem(config, rung, target, "fragment"))
    func = schedule_with(grouped_matmul_dequantize_b(config, rung, layout="fragment"), RULE, hint, target)
    return build(tvm.IRModule({str(func.attrs["global_symbol"]): func}), target, config.problem())


def shown(row):
    """What a row of HINTED shows: formats, routing, the rows of A and D, each field of its hint, and how K is cut."""
    _, K, fields, hint = row
    of_problem = ((name, str(fields.get(name))) for name in ("A_dtype", "W_dtype", "routing", "A_rows", "D_rows"))
    of_k = (fields["W_dtype"], K, hint.get("units", "rows"))
    return {*of_problem, *hint, of_k, ("scales", fields.get("with_channel_scale"))}


@pytest.mark.parametrize("row", HINTED, ids=hinted_id)
@pytest.mark.sample(shows=shown)
def test_hinted_kernels_compile(row):
    """Kernels of all parts of the rule compile; those that sum slots ask for memory."""
    N, K, fields, hint = row
    config = hinted_config(N, K, fields)
    archive = _build(config, "sm_90a", GroupedDecodeHint.from_dict(dict(hint)))
    wanted = config.reduces_slots and config.top_k > 1 and "cluster_slots" not in hint
    assert archive.uses_workspace is wanted


@pytest.mark.parametrize("arch", ["sm_80", "sm_89", "sm_90a", "sm_120a"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.sample(shows=lambda form, arch: {form, arch})
def test_architectures(arch, form):
    """Default kernels compile for every GPU with tensor cores for 16 bits, and spill nothing."""
    config = GroupedMatmulConfig(8, 512, 1024, **UINT4, **FORMS[form], M=(1, 8))
    for resources in _build(config, arch).resources.values():
        assert resources.spill_bytes == 0


@pytest.mark.parametrize("config", GROUPED, ids=str)
def test_one_layout_for_both_routings(config):
    """The weight of a layer is stored once: whether rows are sorted makes no difference."""
    target = cuda_target("sm_90a")
    wanted = "plain" if config.wants_plain_layout or fragment_refusal(config.matmul) else None
    own = {f: v for f, v in config.to_dict().items() if f not in ("routing", "top_k", "A_rows", "D_rows")}
    own.pop("with_routing_weights")
    layouts = {
        preferred_layout(GroupedMatmulConfig(**{**own, **FORMS[form], "M": M}), target)
        for form in FORMS for M in (1, (1, 64), (1024,))
    }  # fmt: skip
    assert len(layouts) == 1
    assert wanted in (None, *layouts)


REFUSED = [
    ({}, {"units": "rows", "block_m": 16}, "needs block_m <= 8 where units are rows"),
    (FORMS["sorted"], {"units": "rows"}, "needs units=experts where rows are sorted"),
    ({"num_experts": 65536}, {"units": "experts"}, "bytes of shared memory"),
    ({"top_k": 2}, {"cluster_slots": 2}, "needs a D of sums over as many slots as cluster_slots says"),
    ({"D_rows": "tokens"}, {"cluster_slots": 4}, "needs a D of sums over as many slots as cluster_slots says"),
    ({"D_rows": "tokens"}, {"cluster_slots": 2, "split_k": 2}, "needs units=rows, split_k == 1 and multicast == 1"),
]


@pytest.mark.parametrize(("fields", "hint", "message"), REFUSED)
def test_refused_hints(fields, hint, message):
    """A hint that does not fit is refused in words."""
    routing = {} if fields == FORMS["sorted"] else UP
    config = GroupedMatmulConfig(**{"num_experts": 4, "N": 64, "K": 256, **UINT4, **routing, **fields, "M": 16})
    problem = Problem(config, 16, cuda_target("sm_90a"), "fragment")
    with pytest.raises(ScheduleError, match=message):
        RULE.checked(problem, GroupedDecodeHint.from_dict(hint))


@pytest.mark.parametrize(("rows", "experts", "most"), [(1, 8, 8), (16, 8, 8), (64, 8, 8), (64, 128, 16), (40, 1, 16)])
def test_expected_units(rows, experts, most):
    """There are at least as many units as experts that are met, and as many as full ones."""
    units = expected_units(rows, experts, most)
    assert max(expected_experts(rows, experts), rows / most) - 1e-6 <= units <= rows
    assert expected_units(rows, experts, 1) == rows


@pytest.mark.parametrize("unit_rows", [0, 4, 2])
def test_most_units(unit_rows):
    """The grid has a block for every unit that rows may make, whichever experts they have."""
    config = GroupedMatmulConfig(3, 64, 256, **UINT4, **UP, M=16)
    hint = GroupedDecodeHint(block_m=8, units="experts", unit_rows=unit_rows)
    g = GroupedDecodeGeometry(Problem(config, 16, cuda_target("sm_90a"), "fragment"), hint)
    most = unit_rows or 8
    assert g.rows_of_a == most
    # 32 slots: of three experts, and none, one unit each that is not full, and all that are.
    for counts in ((32, 0, 0, 0), (1, 1, 1, 29), (9, 9, 9, 5), (0, 0, 32, 0), (8, 8, 8, 8)):
        assert sum(-(-count // most) for count in counts) <= RowsOfExpert.count(g, 16)


@pytest.mark.parametrize(("fields", "tokens", "wanted"), [(UINT4, 4, 4), (UINT4, 64, 0), (MXFP4, 4, 0)])
def test_units_have_few_rows_where_experts_have(fields, tokens, wanted):
    """Half of A in shared memory, but where a table takes most of it anyway."""
    config = GroupedMatmulConfig(8, 4096, 4096, **fields, **UP, M=tokens)
    problem = Problem(config, tokens, cuda_target("sm_90a"), "fragment")
    assert {h.unit_rows for h in RULE.population(problem) if h.units == "experts"} == {wanted}
    fault = RULE.fault(problem, GroupedDecodeHint(block_m=8, units="rows", unit_rows=4))
    assert fault == "needs unit_rows=0 where units are rows"


def _geometry(config, rung, **hint):
    return GroupedDecodeGeometry(
        Problem(config, rung, cuda_target("sm_90a"), "fragment"), GroupedDecodeHint.from_dict(hint)
    )


@pytest.mark.parametrize(("K", "is_packed"), [(2880, True), (3072, False)])
def test_short_rows_of_scales_are_staged_together(K, is_packed):
    """90 scales of 8 bits are no whole copies of 4 bytes, but 16 rows of them are; 96 are copied row by row."""
    config = GroupedMatmulConfig(4, 5760, K, **MXFP4, **UP, M=1)
    tile = _geometry(config, 1, warps_k=8).smem.scale_tile
    assert isinstance(tile, PackedTile) is is_packed
    assert tile.stride == K // 32 if is_packed else tile.stride > K // 32
    # Where the blocks of a cluster share K, a block has a part of each row.
    assert not isinstance(_geometry(config, 1, warps_k=4, split_k=2).smem.scale_tile, PackedTile)


def test_alignment_of_scales():
    """Rows of scales that are copied together begin at whole copies, which the tensor must do, too."""
    scale = next(operand for operand in GROUPED_OPERANDS if operand.name == "Scale")
    config = GroupedMatmulConfig(4, 5760, 2880, **MXFP4, **UP, M=1)
    assert scale.alignment(config) == 16
    assert scale.alignment(GroupedMatmulConfig(4, 5761, 2880, **MXFP4, **UP, M=1)) == 2


def test_units_of_default_hints():
    """A token's slots are rows alone; of many tokens those that have the same expert are multiplied together."""
    fields = {"N": 1536, "K": 2048, **UINT4, "routing": "indexed", "top_k": 8, "num_experts": 128}
    units = {
        m: RULE.default_hint(Problem(GroupedMatmulConfig(**fields, M=m), m, resolve_target("h200"), "fragment")).units
        for m in (1, 256)
    }
    assert units == {1: "rows", 256: "experts"}


@pytest.mark.parametrize(("rung", "block_m"), [(1, 8), (4, 8), (16, 8), (64, 16)])
def test_default_with_looked_up_values(rung, block_m):
    """Default kernels of gpt-oss-20b's gate and up load late, have all of A at once, and spill next to nothing."""
    config = GroupedMatmulConfig(32, 5760, 2880, **MXFP4, routing="indexed", top_k=4, M=(rung,))
    hint = RULE.default_hint(Problem(config, rung, cuda_target("sm_90a"), "fragment"))
    assert (hint.block_m, hint.phase, hint.unroll, hint.loads_late) == (block_m, 0, 2, True)
    for resources in _build(config, "sm_90a", hint).resources.values():
        assert resources.spill_bytes <= 16


@pytest.mark.parametrize(("sizes", "rung", "block_m"), [
    ({"num_experts": 128, "N": 1536, "K": 2048, "top_k": 8}, 128, 16),  # Qwen3-30B-A3B, gate and up
    ({"num_experts": 8, "N": 4096, "K": 14336, "top_k": 2, "A_rows": "slots", "D_rows": "tokens"}, 32, 16),  # Mixtral
])  # fmt: skip
def test_long_bodies_that_spill_are_not_offered(sizes, rung, block_m):
    """Of 16 rows and more; the default that takes their place does not spill."""
    fields = {"W_dtype": "uint4", "group_size": 128, "with_scaling": True, "with_zeros": True, "A_dtype": "bfloat16"}
    config = GroupedMatmulConfig(**sizes, **fields, routing="indexed", M=(rung,))
    problem = Problem(config, rung, cuda_target("sm_90a"), "fragment")
    hints = [hint for hint in RULE.space(problem) if hint.units == "experts"]
    assert {2, 4} <= {hint.unroll for hint in hints}
    for hint in hints:
        g = RULE.geometry(problem, hint)
        used = estimated_registers(g) / register_limit(g.threads * hint.blocks_per_sm)
        assert hint.block_m == block_m
        assert g.body_k < 256 or used <= 0.9
    for resources in _build(config, "sm_90a", hints[0]).resources.values():
        assert resources.spill_bytes == 0


@pytest.mark.parametrize("units", ["rows", "experts"])
def test_address_of_the_weight(units):
    """Kernels whose units are the rows of an expert hold its weight's address; those for a row alone spill for it."""
    config = GroupedMatmulConfig(8, 512, 1024, **UINT4, **UP, M=(16,))
    g = _geometry(config, 16, units=units)
    assert g.holds_weight_address is (units == "experts")
