# SPDX-License-Identifier: Apache-2.0
"""The wgmma rule where scales are applied to sums of a group: machine code, refusals, and the exchange of sums."""

from __future__ import annotations

import re

import pytest
import tvm

from bitquant.arch import cuda_target
from bitquant.archive import Archive
from bitquant.build import build
from bitquant.compute.matmul import matmul_dequantize_b
from bitquant.config import MatmulConfig
from bitquant.errors import ScheduleError
from bitquant.formats import WEIGHT_DTYPES, number_format
from bitquant.problem import Problem
from bitquant.schedule.apply import schedule_with
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.rules.hopper.registers import hint_registers
from bitquant.schedule.rules.hopper.rule import WgmmaRule

RULE, TARGET = WgmmaRule(), cuda_target("sm_90a")
ZEROS = {"W_dtype": "uint4", "with_zeros": True}
BFLOAT16 = {"A_dtype": "bfloat16", "out_dtype": "bfloat16"}


def _config(N: int = 8192, K: int = 8192, **fields: object) -> MatmulConfig:
    return MatmulConfig(M=[64], N=N, K=K, **{"group_size": 128, "with_scaling": True, **fields})


def _sums(**fields: object) -> WgmmaHint:
    return WgmmaHint(**{"block_m": 16, "scaling": "sums", **fields})


def _build(config: MatmulConfig, hint: WgmmaHint) -> Archive:
    func = matmul_dequantize_b(config, config.ladder[-1], layout="fragment")
    scheduled = schedule_with(func, RULE, hint, TARGET)
    return build(tvm.IRModule({str(func.attrs["global_symbol"]): scheduled}), TARGET, config.problem())


#: Fields of a problem, those of a hint, and whether the kernel needs sums of A: for zero points, and for codes that
#: are their values but for a constant.
KERNELS = [
    (ZEROS, {"consumers_k": 2}, True),
    ({**ZEROS, "group_size": 64}, {"block_m": 32, "n_tiles_per_consumer": 2, "split_k": 8}, True),
    ({**ZEROS, "group_size": 256}, {"block_m": 64, "split_k": 2}, True),
    ({**ZEROS, "group_size": -1}, {"consumers_n": 1, "consumers_k": 2, "blocks_per_sm": 2}, True),
    (ZEROS, {"n_tiles_per_consumer": 2, "consumers_n": 4, "n_tiles_per_cta": 7, "block_k": 128, "stages": 3}, True),
    ({**ZEROS, "with_scaling": False, "zeros_mode": "quantized"}, {"block_m": 32, "block_k": 128, "stages": 3}, True),
    (
        {**ZEROS, **BFLOAT16, "zeros_mode": "rescale"},
        {"block_m": 32, "n_tiles_per_consumer": 2, "consumers_n": 1},
        True,
    ),
    ({"W_dtype": "int4"}, {"block_m": 64, "consumers_n": 1}, True),
    ({"W_dtype": "uint4"}, {"block_m": 32, "consumers_n": 4, "split_k": 2}, False),
    ({"W_dtype": "nf4", "group_size": 64}, {"block_m": 32, "consumers_n": 1, "consumers_k": 4, "split_k": 2}, False),
]


@pytest.mark.parametrize(("fields", "hint_fields", "needs_sums_of_a"), KERNELS, ids=str)
def test_machine_code_scales_sums(fields: dict, hint_fields: dict, needs_sums_of_a: bool, ptxas_log: list[str]) -> None:
    """Nothing spills, products are not serialized, codes are masked alone, and A is summed where that is needed."""
    config, hint = _config(1024, 2048, **fields), _sums(**hint_fields)
    archive = _build(config, hint)
    (resources,) = archive.resources.values()
    assert resources.spill_bytes == resources.stack_bytes == 0
    assert "Compiling entry function" in ptxas_log[-1]
    assert "serialized" not in ptxas_log[-1]
    threads = int(re.search(r"\.maxntid\s+(\d+)", archive.ptx)[1])
    assert threads == 128 * (hint.consumers + 1)
    launched = -(-resources.registers // 8) * 8
    assert launched * threads * hint.blocks_per_sm <= 65536
    moved = {kind: int(n) for kind, n in re.findall(r"setmaxnreg\.(inc|dec)\.sync\.aligned\.u32\s+(\d+)", archive.ptx)}
    if hint.consumers > 1:
        assert (moved["dec"], moved["inc"]) == hint_registers(hint)
        assert moved["dec"] + hint.consumers * moved["inc"] <= launched * (hint.consumers + 1)
    else:
        assert not moved
    operand = "bf16" if config.A_dtype == "bfloat16" else "f16"
    products = set(re.findall(r"wgmma\.mma_async\.sync\.aligned\.m64n(\d+)k16\.(\S+)", archive.ptx))
    assert products == {(str(hint.block_m), f"f32.{operand}.{operand}")}
    assert ("mma.sync" in archive.ptx) is needs_sums_of_a
    if config.W_dtype in ("uint4", "int4") and operand == "f16":
        assert not re.search(r"\b(fma|mul|add|sub)\.(rn\.)?f16x2", archive.ptx)


def test_scaled_operands_take_what_scaled_sums_do_not() -> None:
    """The same problem with scaled operands multiplies pairs of weights, and never sums A."""
    ptx = _build(_config(1024, 2048, **ZEROS), WgmmaHint(block_m=16, consumers_k=2)).ptx
    assert "fma.rn.f16x2" in ptx
    assert "mma.sync" not in ptx


@pytest.mark.parametrize(
    ("hint", "stores"),
    [
        (_sums(consumers_n=1, split_k=2), 2 * 1),  # Two columns of 8 rows of A: one for each part.
        (
            _sums(consumers_n=1, n_tiles_per_consumer=2, split_k=8, block_m=32),
            2 * 4,
        ),  # Four columns: four of the parts store one each.
        (_sums(consumers_n=1, consumers_k=2, split_k=4, block_m=64), 8),
        (_sums(consumers_n=1, consumers_k=2, split_k=2, block_m=40), 3 * 2),  # Five columns, the last share overlaps.
    ],
    ids=str,
)
def test_parts_send_each_share_of_their_sums(hint: WgmmaHint, stores: int) -> None:
    """Sums go to the block of the cluster that stores them, once each, by stores to distributed shared memory."""
    ptx = _build(_config(256, 4096, **ZEROS), hint).ptx
    assert ptx.count("st.shared::cluster.v4.f32") == ptx.count("mapa.shared::cluster.u32") == stores
    assert "ld.shared::cluster" not in ptx


def test_sums_of_one_block_stay_there() -> None:
    """Where the warpgroups of one block share K, sums meet in its own shared memory."""
    ptx = _build(_config(256, 4096, **ZEROS), _sums(consumers_n=1, consumers_k=3)).ptx
    assert "shared::cluster.v4" not in ptx
    # Two shares of the two columns, by each consumer.
    assert ptx.count("st.shared.v4.f32") == 2


@pytest.mark.parametrize(
    ("group_size", "block_k", "run_steps", "runs_in_slot"),
    [
        (64, 64, 1, 1),
        (64, 256, 1, 4),
        (128, 64, 2, 1),
        (128, 256, 2, 2),
        (256, 64, 2, 1),
        (256, 256, 2, 2),
        (-1, 128, 2, 1),
    ],
)
def test_runs_are_groups_or_parts_of_them(group_size: int, block_k: int, run_steps: int, runs_in_slot: int) -> None:
    """A run is a group, or 128 k of a longer one; a slot ends several."""
    problem = Problem(_config(group_size=group_size, **ZEROS), 64, TARGET)
    loop = WgmmaGeometry(problem, _sums(block_k=block_k)).loop
    assert (loop.run_steps, loop.runs_in_slot) == (run_steps, runs_in_slot)


@pytest.mark.parametrize("block_k", [192, 320])
def test_slots_hold_whole_runs(block_k: int) -> None:
    """A run that begins in one slot and ends within another has no place for its sums of A."""
    problem = RULE.fault(Problem(_config(**ZEROS), 64, TARGET), _sums(block_k=block_k, stages=3))
    assert problem == "needs a block_k that holds whole runs of 128 k, or parts of one"


@pytest.mark.parametrize(("row_blocks", "tiles_of_w"), [(0, 16), (7, 28), (3, 12)])
def test_copies_of_w_are_of_row_blocks(row_blocks: int, tiles_of_w: int) -> None:
    """A slot holds the weight's tiles of 16 rows for the blocks of a tile, not for all that consumers could hold."""
    hint = (
        _sums(n_tiles_per_consumer=2, consumers_n=4, n_tiles_per_cta=row_blocks)
        if row_blocks
        else _sums(n_tiles_per_consumer=2, consumers_n=2)
    )
    weight = WgmmaGeometry(Problem(_config(**ZEROS), 64, TARGET), hint).weight
    assert weight.box[-1] == tiles_of_w
    assert weight.part_bytes == tiles_of_w * 16 * hint.block_k // 2


@pytest.mark.parametrize(
    ("fields", "hint", "message"),
    [
        ({"group_size": 32}, _sums(), "group_size % 64 == 0 where sums are scaled (got 32)"),
        ({"group_size": 192, "K": 8256}, _sums(block_m=128), "block_m <= 64 where sums are scaled (got 128)"),
        ({}, _sums(block_m=72), "block_m <= 64 where sums are scaled (got 72)"),
        ({"with_scaling": False, "with_zeros": False}, _sums(), "a W with scales or zero points for a choice"),
        ({"A_dtype": "int8", "with_zeros": False}, _sums(block_k=128), "needs A of 16 bits"),
        ({}, _sums(scaling="weights"), "'scaling' must be one of 'operand', 'sums' (got 'weights')"),
        ({}, _sums(n_tiles_per_cta=3), "n_tiles_per_cta <= 2, what the consumers hold"),
        (
            {},
            _sums(n_tiles_per_cta=9, n_tiles_per_consumer=2, consumers_n=4),
            "n_tiles_per_cta <= 8, what the consumers hold",
        ),
        ({}, _sums(n_tiles_per_cta=-1), "'n_tiles_per_cta' must be 0 to 32 (got -1)"),
        ({}, _sums(block_m=64, consumers_n=4), "registers a consumer thread, and there are 104"),
    ],
    ids=str,
)
def test_illegal_hints_are_refused_by_name(fields: dict, hint: WgmmaHint, message: str) -> None:
    """A hint that cannot be built raises the rule that it breaks."""
    with pytest.raises(ScheduleError, match=re.escape(message)):
        _build(_config(**{**ZEROS, **fields}), hint)


@pytest.mark.parametrize("m", [16, 64, 4096])
@pytest.mark.parametrize(
    ("fields", "has_sums"),
    [
        (ZEROS, True),
        ({**ZEROS, "group_size": -1}, True),
        ({"W_dtype": "nf4", "group_size": 64}, True),
        ({**ZEROS, "group_size": 32}, False),
        ({"W_dtype": "int4", "with_scaling": False}, False),
        ({"W_dtype": "int4", "A_dtype": "int8"}, False),
    ],
    ids=str,
)
def test_space_scales_sums_only_where_that_is_legal(fields: dict, has_sums: bool, m: int) -> None:
    """With few rows of A hints of scaled sums are among those worth measuring, where the problem allows them."""
    config = _config(4096, 4096, **fields)
    space = list(RULE.space(Problem(config, m, TARGET)))
    summing = [hint for hint in space if hint.scaling == "sums"]
    assert all(RULE.fault(Problem(config, 64, TARGET), hint) is None for hint in space)
    assert all(hint.block_m <= 64 for hint in summing)
    if not has_sums:
        assert not summing
    elif m == 16:
        assert summing


@pytest.mark.parametrize("group_size", [32, 64, 128])
@pytest.mark.parametrize("W_dtype", [name for name in WEIGHT_DTYPES if number_format(name).is_integer])
def test_every_problem_that_is_taken_has_a_default(W_dtype: str, group_size: int) -> None:
    """Codes of three planes and short groups leave few registers for sums: tiles of few rows of A then serve any M."""
    for m in (128, 2048):
        config = MatmulConfig(
            M=(m,), N=246, K=1920, A_dtype="int8", W_dtype=W_dtype, group_size=group_size, with_scaling=True
        )
        assert RULE.refuses(Problem(config, m, TARGET)) is None
        RULE.checked(Problem(config, m, TARGET), RULE.default_hint(Problem(config, m, TARGET)))
