# SPDX-License-Identifier: Apache-2.0
"""The wgmma rules for experts: tiles that are expected, refusals, and machine code."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import tvm

import bitquant as bq
from bitquant.arch import resolve_target
from bitquant.archive import Archive
from bitquant.build import build
from bitquant.compute import grouped_matmul_dequantize_b
from bitquant.grouped_config import expected_experts
from bitquant.problem import Problem
from bitquant.schedule.apply import schedule_with
from bitquant.schedule.rules import GroupedDenseRule, GroupedWgmmaRule, WgmmaRule, default_rules
from bitquant.schedule.rules.contract import applying
from bitquant.schedule.rules.hopper.experts import BLOCK_SIZES, GroupedWgmmaGeometry
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.rules.routing import expected_units
from bitquant.testing.generators import case_id
from bitquant.testing.oracle import code_values
from tests.unit.test_grouped import FIELDS, FORMS, GROUPED

RULE, DENSE, TARGET = GroupedWgmmaRule(), GroupedDenseRule(), resolve_target("h200")


def _problem(config: bq.GroupedMatmulConfig, rung: int) -> Problem:
    return Problem(config, rung, TARGET, "fragment" if config.matmul.needs_decode else "plain")


def _sorted() -> list[bq.GroupedMatmulConfig]:
    """Problems of all formats that a rule takes, with sorted rows."""
    found = [dataclasses.replace(config.in_both_routings()[0], M=(16, 512), fast_decoding=None) for config in GROUPED]
    return [c for c in found if (RULE if c.matmul.needs_decode else DENSE).refusal(_problem(c, 512)) is None]


SORTED = _sorted()
HINTS = [
    WgmmaHint(block_m=8, consumers_n=1, block_k=64, stages=4),
    WgmmaHint(block_m=24, consumers_n=4, block_k=128, stages=4),
    WgmmaHint(block_m=16, n_tiles_per_consumer=2, consumers_n=2, block_k=64, stages=4, blocks_per_sm=2),
    WgmmaHint(block_m=16, n_tiles_per_consumer=2, consumers_n=4, block_k=64, stages=4, n_tiles_per_cta=7),
    WgmmaHint(block_m=64, consumers_n=3, block_k=64, stages=4, raster=2),
    WgmmaHint(block_m=64, consumers_n=2, block_k=64, stages=4, stream_k=True),
    WgmmaHint(block_m=256, consumers_n=2, block_k=64, stages=4, raster=1),
    WgmmaHint(block_m=16, consumers_n=1, block_k=64, stages=5, blocks_per_sm=2, stream_k=True),
    WgmmaHint(block_m=32, consumers_n=2, block_k=64, stages=4, multicast=2),
    WgmmaHint(block_m=64, consumers_n=1, block_k=64, stages=4, multicast=4, blocks_per_sm=2),
    WgmmaHint(block_m=8, consumers_n=4, block_k=128, stages=4, looks_ahead=True),
    WgmmaHint(
        block_m=16, n_tiles_per_consumer=2, consumers_n=2, block_k=64, stages=4, blocks_per_sm=2, looks_ahead=True
    ),
    WgmmaHint(block_m=64, consumers_n=3, block_k=64, stages=4, raster=2, looks_ahead=True),
    WgmmaHint(block_m=32, consumers_n=2, block_k=64, stages=4, multicast=2, looks_ahead=True),
]


def _config(E: int = 8, N: int = 1024, K: int = 2048, **fields: object) -> bq.GroupedMatmulConfig:
    given = {"W_dtype": "uint4", "group_size": 128, "with_scaling": True, "with_zeros": True, "M": (64,)}
    return bq.GroupedMatmulConfig(E, N, K, **{**given, **fields})


def _build(config: bq.GroupedMatmulConfig, hint: WgmmaHint | None = None) -> Archive:
    rung, rule = config.ladder[-1], RULE if config.matmul.needs_decode else DENSE
    func = grouped_matmul_dequantize_b(config, rung, layout=rule.weight_layouts[0])
    scheduled = schedule_with(func, rule, hint or rule.default_hint(_problem(config, rung)), TARGET)
    return build(tvm.IRModule({str(func.attrs["global_symbol"]): scheduled}), TARGET, config.problem())


@pytest.mark.parametrize("config", SORTED, ids=lambda c: case_id(c.matmul))
@pytest.mark.parametrize("rung", [16, 512])
@pytest.mark.sample(
    shows=lambda config, rung: {
        ("W", config.W_format.name),
        ("A", config.A_format.bits, config.W_format.is_integer),
        ("rung", rung, config.zeros_mode),
    }
)
def test_every_format_compiles_without_spills(config: bq.GroupedMatmulConfig, rung: int) -> None:
    """Default hints leave registers for the expert, too."""
    archive = _build(config.with_M((rung,)))
    assert next(iter(archive.resources.values())).spill_bytes == 0


@pytest.mark.parametrize("hint", HINTS, ids=str)
@pytest.mark.parametrize("A_dtype", ["float16", "bfloat16"])
@pytest.mark.sample(shows=lambda hint, A_dtype: {hint, A_dtype})
def test_nothing_is_read_before_the_kernel_before_has_ended(hint: WgmmaHint, A_dtype: str) -> None:
    """Offsets decide which weight is copied, so that no copy precedes the wait; and nothing spills."""
    archive = _build(_config(A_dtype=A_dtype, out_dtype=A_dtype, N=1000), hint)
    body = archive.ptx[archive.ptx.index(".entry") :]
    first_wait = body.index("griddepcontrol.wait")
    assert first_wait < re.search(r"cp\.async\.bulk|ld\.global", body).start()
    # The thread that copies waits for itself as well.
    assert len(re.findall("griddepcontrol.wait", body)) == 2
    assert next(iter(archive.resources.values())).spill_bytes == 0


@pytest.mark.parametrize("experts", [1, 2, 8, 100])
@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
def test_expected_tiles(experts: int, rows: int) -> None:
    """The expectation is the mean over random routings; with one row a tile there are as many tiles as rows."""
    drawn = np.random.default_rng(0).multinomial(rows, [1 / experts] * experts, size=4000)
    for block_m in BLOCK_SIZES:
        mean = (-(-drawn // block_m)).sum(1).mean()
        assert expected_units(rows, experts, block_m) == pytest.approx(mean, rel=0.01, abs=0.05)
    assert expected_units(rows, experts, 1) == pytest.approx(rows)
    assert expected_units(rows, experts, rows) == pytest.approx(expected_experts(rows, experts))


def test_expected_tiles_of_very_many_rows() -> None:
    """Rests are half a tile on average, and nothing overflows or underflows."""
    assert expected_units(10**7, 8, 256) == pytest.approx(10**7 / 256 + 4, rel=1e-3)
    assert expected_units(32768, 8, 256) == pytest.approx(32768 / 256 + 4, rel=0.01)


@pytest.mark.parametrize(
    ("rule", "config", "words"),
    [
        (RULE, _config(**FORMS["gather"]), "needs routing sorted (got indexed)"),
        (RULE, _config(E=1025), "needs num_experts <= 1024 (got 1025)"),
        (RULE, _config(K=2052, group_size=-1), "needs rows of A of whole 16 bytes"),
        (RULE, _config(W_dtype="float16", with_scaling=False, with_zeros=False), "reads the fragment weight layout"),
        (DENSE, _config(), "reads the plain weight layout"),
        (WgmmaRule(), _config(), "computes matmul (got grouped_matmul)"),
    ],
)
def test_refusals(rule: WgmmaRule, config: bq.GroupedMatmulConfig, words: str) -> None:
    """What is not served is said in words."""
    assert words in str(rule.refusal(_problem(config, 64)))


@pytest.mark.parametrize(
    "fields", [{"split_k": 2}, {"consumers_k": 2}, {"tail_split": 2}, {"tail_split": 2, "multicast": 2}], ids=str
)
def test_hints_that_share_k_are_refused(fields: dict[str, int]) -> None:
    """Partial sums of a tile are reduced once, or in global memory."""
    fault = RULE.fault(_problem(_config(), 64), WgmmaHint(**fields))
    assert fault == "needs consumers_k, split_k and tail_split of 1 where weights are those of experts"


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        (_config(), WgmmaHint(stream_k=True, looks_ahead=True)),
        (_config(A_dtype="int8", W_dtype="int4", with_zeros=False), WgmmaHint(block_k=128, looks_ahead=True)),
        (_config(with_scaling=False, with_zeros=False, group_size=-1), WgmmaHint(looks_ahead=True)),
    ],
)
def test_hints_that_look_ahead_for_nothing_are_refused(config: bq.GroupedMatmulConfig, hint: WgmmaHint) -> None:
    """Scales of the next tile are loaded ahead where there are some, and where a tile's first group is the first."""
    fault = RULE.fault(_problem(config, 64), hint)
    assert fault == (
        "needs scales or zero points for A of 16 bits, and a K that is not split, where looks_ahead is True"
    )


@pytest.mark.parametrize(("K", "looks_ahead"), [(256, True), (4096, True), (8192, False)])
def test_scales_of_the_next_tile_are_loaded_ahead_where_k_is_short(K: int, looks_ahead: bool) -> None:
    """All hints that do not split K do so, or none."""
    problem = _problem(_config(K=K, M=(512,)), 512)
    assert {h.looks_ahead for h in RULE.population(problem) if not h.stream_k} == {looks_ahead}


@pytest.mark.parametrize("rung", [1, 16, 64, 1024, 32768])
def test_space_has_hints_for_any_number_of_rows(rung: int) -> None:
    """One row, too, which no other rule but the fallback serves; the best hint's tiles are near an expert's rows."""
    config = _config(32, 5760, 2880, group_size=32, M=(rung,))
    hints = list(RULE.space(_problem(config, rung)))
    assert hints
    assert len(set(hints)) == len(hints)
    assert hints[0].block_m <= max(8, 4 * rung // 32)


def test_geometry_has_a_table_behind_all_else() -> None:
    """Entries of 8 bytes, one more than experts, behind what the kernel for one weight has."""
    hint = WgmmaHint(block_m=64)
    config = _config(E=100)
    geometry = GroupedWgmmaGeometry(_problem(config, 64), hint)
    one = WgmmaGeometry(Problem(config.matmul, 64, TARGET, "fragment"), hint)
    assert geometry.memory.experts_offset % 16 == 0
    assert geometry.memory.experts_offset >= one.smem_bytes
    assert geometry.smem_bytes == geometry.memory.experts_offset + 8 * 101
    assert (geometry.whole_problem.config, geometry.problem.config) == (config, config.matmul)
    assert geometry.needed_registers > one.needed_registers
    other = geometry.with_hint(WgmmaHint(block_m=32))
    assert (type(other), other.num_experts) == (GroupedWgmmaGeometry, 100)


@pytest.mark.parametrize(
    ("fields", "clears"),
    [
        ({"W_dtype": "fp4_e2m1"}, False),
        ({"W_dtype": "uint4"}, False),
        ({"W_dtype": "float8_e4m3"}, False),
        ({"W_dtype": "uint4", "with_zeros": True}, True),
        ({"W_dtype": "nf4"}, True),
        ({"W_dtype": "int3"}, True),
    ],
    ids=str,
)
def test_codes_beyond_k_are_cleared_where_they_are_not_zeros(fields: dict[str, object], clears: bool) -> None:
    """A is zero there, and a code that is 0 stays 0; for others a scale might make an infinity, which 0 leaves NaN."""
    config = _config(K=2080, **{"group_size": 32, "with_zeros": False, **fields})
    code_0 = float(code_values(np.array([0]), config.W_format)[0])
    geometry = GroupedWgmmaGeometry(_problem(config, 64), WgmmaHint(block_m=16, block_k=256))
    assert (geometry.clears_codes, geometry.has_ragged_k) == (clears, clears)
    assert clears or code_0 == 0


@pytest.mark.parametrize(
    ("rows", "experts", "wanted"),
    [
        (8, 8, False),
        (16, 8, True),
        (16, 32, True),
        (16, 128, False),
        (32, 128, False),
        (64, 128, True),
        (4096, 1024, True),
    ],
)
def test_the_decode_kernel_keeps_rows_that_share_no_weight(rows: int, experts: int, wanted: bool) -> None:
    """The default is wgmma from 16 rows on, and where experts that are hit have more than one row on average."""
    config = _config(E=experts, M=(rows,))
    assert RULE.is_preferred(_problem(config, rows)) is wanted
    operator_rules = [r.name for r in applying(_problem(config, rows), default_rules("grouped_matmul"))]
    assert operator_rules[0] == ("grouped_wgmma" if wanted else "grouped_decode")


def test_the_operator_takes_the_rule() -> None:
    """Where only rules that read fragments are there, and for weights that are not quantized."""
    operator = bq.GroupedMatmul(_config(M=16), target="h200", rules=(RULE,))
    assert (operator.weight_layout, operator.choices[16].rule) == ("fragment", "grouped_wgmma")
    types = {"W_dtype": "bfloat16", "A_dtype": "bfloat16", "out_dtype": "bfloat16"}
    dense = bq.GroupedMatmul(_config(**types, with_scaling=False, with_zeros=False, M=16), target="h200")
    assert (dense.weight_layout, dense.choices[16].rule) == ("plain", "grouped_wgmma_dense")
    assert "wgmma.mma_async" in dense.get_ptx()
    cpu = bq.GroupedMatmul(bq.GroupedMatmulConfig(4, 21, 72, **FIELDS, M=16), target="h200")
    assert cpu.choices[16].rule == "grouped_fallback"
