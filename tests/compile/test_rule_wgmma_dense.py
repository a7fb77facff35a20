# SPDX-License-Identifier: Apache-2.0
"""The dense wgmma rule: both operands by descriptor, refusals, hints, what it waits for."""

from __future__ import annotations

import re

import pytest
import tvm

import bitquant as bq
from bitquant import compiler
from bitquant.arch import cuda_target
from bitquant.archive import Archive
from bitquant.build import build
from bitquant.compute.matmul import matmul_dequantize_b
from bitquant.config import MatmulConfig
from bitquant.errors import ScheduleError
from bitquant.problem import Problem
from bitquant.schedule.apply import schedule_with
from bitquant.schedule.rules import DenseRule
from bitquant.schedule.rules.hopper.hint import WgmmaHint

RULE, TARGET = DenseRule(), cuda_target("sm_90a")


def _config(N: int = 8192, K: int = 8192, dtype: str = "float16", **fields: object) -> MatmulConfig:
    return MatmulConfig(M=[16384], N=N, K=K, **{"A_dtype": dtype, "W_dtype": dtype, "out_dtype": dtype, **fields})


def _build(config: MatmulConfig, hint: WgmmaHint) -> Archive:
    func = matmul_dequantize_b(config, config.ladder[-1])
    scheduled = schedule_with(func, RULE, hint, TARGET)
    return build(tvm.IRModule({str(func.attrs["global_symbol"]): scheduled}), TARGET, config.problem())


@pytest.mark.parametrize("m", [64, 256, 4096])
@pytest.mark.parametrize(("dtype", "ptx_type"), [("float16", "f16"), ("bfloat16", "bf16")])
def test_default_kernels(dtype: str, ptx_type: str, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Default kernels take both operands from shared memory, spill nothing, and are not serialized."""
    logs: list[str] = []
    parse = compiler._parse_ptxas
    monkeypatch.setattr(compiler, "_parse_ptxas", lambda log: (logs.append(log), parse(log))[1])
    hint = RULE.default_hint(Problem(_config(dtype=dtype), m, TARGET))
    archive = _build(_config(dtype=dtype), hint)
    (resources,) = archive.resources.values()
    assert resources.spill_bytes == resources.stack_bytes == 0
    assert "serialized" not in logs[-1]
    assert hint.stages >= 3
    products = re.findall(r"wgmma\.mma_async\.sync\.aligned\.m64n(\d+)k16\.f32\.(\w+\.\w+)", archive.ptx)
    assert set(products) == {(str(hint.block_m), f"{ptx_type}.{ptx_type}")}
    # Swizzled boxes of both, and nothing decoded.
    assert archive.ptx.count("cp.async.bulk.tensor.2d") >= 2
    assert "cp.async.bulk.tensor.3d" not in archive.ptx


def test_weight_waits_for_the_kernel_before() -> None:
    """W may be a result of the kernel before: no copy is started ahead of the wait for it."""
    ptx = _build(_config(N=256, K=512), WgmmaHint(block_m=64)).ptx
    body = ptx[ptx.index(".entry") :]
    assert body.count("griddepcontrol.wait") == 1
    assert body.index("griddepcontrol.wait") < body.index("cp.async.bulk.tensor")


@pytest.mark.parametrize("m", [16, 100, 4096])
def test_hints_are_legal(m: int) -> None:
    """All hints of the space can be built."""
    space = list(RULE.space(Problem(_config(4096, 4096), m, TARGET)))
    assert space
    assert all(RULE.fault(Problem(_config(4096, 4096), 64, TARGET), hint) is None for hint in space)


@pytest.mark.parametrize(("N", "K"), [(64, 64), (200, 520), (5, 8), (33, 136)])
def test_odd_problems_have_a_default(N: int, K: int) -> None:
    """A default exists for every N, and every K of whole 16 bytes."""
    assert RULE.refuses(Problem(_config(N, K), 64, TARGET)) is None
    assert RULE.fault(Problem(_config(N, K), 64, TARGET), RULE.default_hint(Problem(_config(N, K), 64, TARGET))) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"K": 1028}, "K % 8 == 0 (got 1028)"),
        ({"dtype": "float32"}, "needs A of 16 or 8 bits (got float32)"),
        ({"W_dtype": "uint4"}, "needs W of A's type, float16 or bfloat16, without scales (got uint4)"),
        ({"with_scaling": True}, "without scales"),
        ({"dtype": "float8_e4m3", "out_dtype": "float16"}, "needs W of A's type, float16 or bfloat16"),
        ({"layout": "nn"}, "needs layout nt (got nn)"),
    ],
    ids=str,
)
def test_refusals(fields: dict, message: str) -> None:
    """What the kernel cannot do is refused with the rule and the value."""
    assert message in str(RULE.refuses(Problem(_config(**fields), 64, TARGET)))


def test_a_box_has_at_most_256_rows() -> None:
    """TMA copies no more at once."""
    with pytest.raises(ScheduleError, match="wgmma_dense: needs at most 256 rows of W"):
        _build(_config(), WgmmaHint(block_m=16, n_tiles_per_consumer=2, consumers_n=4, stages=2))


def test_many_rows_of_an_unquantized_weight_are_its() -> None:
    """The default rules take it from 16 rows on, on Hopper, and the plain layout stays."""
    operator = bq.Matmul(_config(256, 256).with_M((1, 16, 256)), target="sm_90a")
    assert operator.weight_layout == "plain"
    assert [operator.choices[rung].rule for rung in (1, 16, 256)] == ["gemv", "wgmma_dense", "wgmma_dense"]
