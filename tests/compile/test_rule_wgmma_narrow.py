# SPDX-License-Identifier: Apache-2.0
"""The wgmma rule where A has 8 bits: instructions, default variants, and sums that nothing gets in the way of."""

from __future__ import annotations

import re

import pytest
import tvm

from bitquant.arch import cuda_target
from bitquant.archive import Archive
from bitquant.build import build
from bitquant.compute.matmul import matmul_dequantize_b
from bitquant.config import MatmulConfig
from bitquant.problem import Problem
from bitquant.schedule.apply import preferred_layout, schedule_with
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.rules.hopper.products import promotes
from bitquant.schedule.rules.hopper.rule import WgmmaRule

RULE, TARGET = WgmmaRule(), cuda_target("sm_90a")

INT8 = {"A_dtype": "int8", "out_dtype": "int32"}
E4M3 = {"A_dtype": "float8_e4m3", "out_dtype": "bfloat16"}
GROUPS = {"with_scaling": True, "group_size": 128}
#: Fields of a problem, and the types of its products.
PROBLEMS = [
    ({**INT8, "W_dtype": "int8"}, "s32.s8.s8"),
    ({**INT8, "W_dtype": "uint8", "out_dtype": "int8"}, "s32.u8.s8"),
    ({**INT8, "W_dtype": "int4"}, "s32.s8.s8"),
    ({**INT8, "W_dtype": "int1", "out_dtype": "float16", "with_scaling": True}, "s32.s8.s8"),
    ({**INT8, "W_dtype": "int3", "out_dtype": "float32", **GROUPS}, "s32.s8.s8"),
    ({**INT8, "W_dtype": "uint4", "out_dtype": "float16", "with_scaling": True, "group_size": 32}, "s32.s8.s8"),
    ({**E4M3, "W_dtype": "float8_e4m3"}, "f32.e4m3.e4m3"),
    ({**E4M3, "W_dtype": "float8_e5m2", "with_scaling": True}, "f32.e5m2.e4m3"),
    ({**E4M3, "A_dtype": "float8_e5m2", "W_dtype": "int4", **GROUPS}, "f32.e4m3.e5m2"),
    ({**E4M3, "W_dtype": "fp4_e2m1", "with_scaling": True, "group_size": 32}, "f32.e4m3.e4m3"),
]


def _config(N: int = 8192, K: int = 8192, **fields: object) -> MatmulConfig:
    return MatmulConfig(M=[16384], N=N, K=K, **fields)


def _build(config: MatmulConfig, hint: WgmmaHint) -> Archive:
    func = matmul_dequantize_b(config, config.ladder[-1], layout="fragment")
    scheduled = schedule_with(func, RULE, hint, TARGET)
    return build(tvm.IRModule({str(func.attrs["global_symbol"]): scheduled}), TARGET, config.problem())


@pytest.mark.parametrize("m", [64, 256, 4096])
@pytest.mark.parametrize(("fields", "types"), PROBLEMS, ids=str)
@pytest.mark.sample(shows=lambda fields, types, m: {("fields", str(fields)), ("m, type of A", m, fields["A_dtype"])})
def test_default_kernels_stay_in_registers(fields: dict, types: str, m: int, ptxas_log: list[str]) -> None:
    """Default kernels multiply in the types meant, 32 k at a time, one product after the other, and nothing spills."""
    config = _config(**fields)
    hint = RULE.default_hint(Problem(config, m, TARGET))
    archive = _build(config, hint)
    (resources,) = archive.resources.values()
    assert resources.spill_bytes == resources.stack_bytes == 0
    found = set(re.findall(r"wgmma\.mma_async\.sync\.aligned\.m64n(\d+)k32\.(\S+)", archive.ptx))
    assert found == {(str(hint.block_m), types)}
    assert "serialized" not in ptxas_log[-1]
    assert hint.stages >= 2
    # A ring of few slots is one of large ones.
    assert 90_000 < RULE.smem_bytes(Problem(config, m, TARGET), hint) <= 232448


@pytest.mark.parametrize("m", [16, 100, 256, 4096])
@pytest.mark.parametrize(("fields", "types"), PROBLEMS, ids=str)
def test_hints_are_legal(fields: dict, types: str, m: int) -> None:
    """The space has no hint that cannot be built, and integers no number of columns that wgmma lacks."""
    config = _config(4096, 4096, **fields)
    space = list(RULE.space(Problem(config, m, TARGET)))
    assert space
    assert all(RULE.fault(Problem(config, 64, TARGET), hint) is None for hint in space)
    if config.A_format.is_integer:
        assert all(hint.block_m % 16 == 0 or hint.block_m in (8, 24) for hint in space)


@pytest.mark.parametrize(("N", "K"), [(64, 64), (200, 528), (1000, 1040), (5, 16), (33, 144)])
@pytest.mark.parametrize("weight", ["int8", "int4", "uint1", "int3"])
def test_odd_problems_have_a_default(weight: str, N: int, K: int) -> None:
    """A default exists for every N, and every K of whole 16 bytes of A."""
    config = _config(N, K, W_dtype=weight, **INT8)
    assert RULE.refuses(Problem(config, 64, TARGET)) is None
    assert RULE.fault(Problem(config, 64, TARGET), RULE.default_hint(Problem(config, 64, TARGET))) is None


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("fields", [PROBLEMS[4][0], PROBLEMS[6][0], PROBLEMS[8][0], PROBLEMS[9][0]], ids=str)
@pytest.mark.sample(shows=lambda fields, rows: {str(fields), rows})
def test_products_are_not_serialized(fields: dict, rows: int, ptxas_log: list[str]) -> None:
    """The assembler has no reason to wait for each product, as it does where others touch its registers."""
    config = _config(N=256, K=2048, **fields)
    _build(config, WgmmaHint(block_m=32, n_tiles_per_consumer=rows, consumers_n=1, block_k=256, stages=3))
    assert "Compiling entry function" in ptxas_log[-1]
    assert "serialized" not in ptxas_log[-1]


@pytest.mark.parametrize(
    ("fields", "run_ops"),
    [
        ({**E4M3, "W_dtype": "float8_e4m3"}, 4),
        ({**E4M3, "W_dtype": "int4", "with_scaling": True, "group_size": 1024}, 4),
        ({**E4M3, "W_dtype": "int4", "with_scaling": True, "group_size": 64}, 2),
        ({**INT8, "W_dtype": "int4", "with_scaling": True, "group_size": 1024}, 8),
        ({**INT8, "W_dtype": "int4", "with_scaling": True, "group_size": 128}, 4),
        ({**INT8, "W_dtype": "int4", "with_scaling": True, "group_size": 96}, 1),
    ],
    ids=str,
)
def test_runs_divide_groups(fields: dict, run_ops: int) -> None:
    """A run is at most 128 k of float8, and never in two groups."""
    config = _config(K=1024 * 9, **{**fields, "out_dtype": "bfloat16"})
    assert promotes(config)
    geometry = WgmmaGeometry(Problem(config, 64, TARGET), WgmmaHint(block_m=32, block_k=128))
    assert geometry.run_ops == run_ops


def test_sums_of_one_group_are_not_promoted() -> None:
    """int8 sums are exact, so that one scale a row leaves them with the tensor cores to the end."""
    assert not promotes(_config(W_dtype="int4", A_dtype="int8", with_scaling=True))
    archive = _build(
        _config(N=256, K=1024, W_dtype="int4", A_dtype="int8", with_scaling=True), WgmmaHint(block_m=64, block_k=128)
    )
    loads = re.findall(r"ld\.global[.\w]*\.[bf]32", archive.ptx)
    # Two rows of W a thread.
    assert len(loads) == 2


def test_every_layout_and_rung_is_served() -> None:
    """A ladder with A of 8 bits has one weight layout, which decode and wgmma read."""
    config = MatmulConfig(M=[1, 16, 256], N=256, K=1024, W_dtype="int4", **INT8)
    assert preferred_layout(config, TARGET) == "fragment"
    assert RULE.refuses(Problem(config, 256, TARGET)) is None
