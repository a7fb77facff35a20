# SPDX-License-Identifier: Apache-2.0
"""CUDA C++ as it is shown compiles to the machine code of what TVM prints, over a spread of kernels."""

from __future__ import annotations

import functools
import itertools

import pytest
from tvm.ir import IRModule

import bitquant as bq
from bitquant import build
from bitquant.arch import cuda_target
from bitquant.compiler import compile_cuda_source
from bitquant.compute import select_implementation
from bitquant.compute.matmul import matmul_dequantize_b, symbol
from bitquant.errors import RecordError
from bitquant.schedule import Plan, apply_plan, preferred_layout, schedule_module
from bitquant.schedule.dequantize import schedule_dequantize
from tests.compile import digests

#: One entry of so many is in the spread.
STRIDE = 80


@functools.cache
def spread() -> tuple[digests.Entry, ...]:
    """Some entries of each kind that there are digests of, on GPUs."""
    on_gpus = (e for e in digests.entries() if not e.target.startswith("cpu"))
    of = sorted(on_gpus, key=lambda e: (e.name.split()[0], e.name))
    kinds = itertools.groupby(of, key=lambda e: e.name.split()[0])
    return tuple(entry for _, entries in kinds for entry in list(entries)[7::STRIDE])


@pytest.mark.thorough
@pytest.mark.parametrize("i", range(24))
def test_machine_code_is_the_same(i):
    """The compiler makes the same file of both texts, byte by byte, for every rung of an entry."""
    for entry in spread()[i::24]:
        target = digests._target(entry.target)
        functions = {r: matmul_dequantize_b(entry.config, r, layout=entry.layout) for r in entry.rungs}
        plan = Plan(dict.fromkeys(entry.rungs, entry.planned) if entry.planned else {})
        module = IRModule({symbol(rung): func for rung, func in functions.items()})
        try:
            scheduled, _ = build.share_equal_functions(schedule_module(apply_plan(module, target, plan), target))
        except RecordError:
            continue
        for name, func in scheduled.functions_items():
            _, device = build._lower(name, func, target)
            text = build._cuda_source(device, target)
            result = build._shown_source(device, func, target)
            assert result != text
            before, after = (compile_cuda_source(source, str(target.arch)) for source in (text, result))
            assert before.cubin == after.cubin, entry.name


@pytest.mark.parametrize(
    "config",
    [
        bq.MatmulConfig(
            M=16, N=3072, K=2048, A_dtype="float16", W_dtype="int4", out_dtype="float16", group_size=128,
            with_scaling=True,
        ),
        bq.GroupedMatmulConfig(
            num_experts=16, M=512, N=2048, K=1024, A_dtype="bfloat16", W_dtype="uint4", out_dtype="bfloat16",
            group_size=32, with_scaling=True, activation="clamped_swiglu",
        ),
    ],
    ids=["matmul", "grouped"],
)  # fmt: skip
def test_wgmma_is_scheduled_as_before(config):
    """Of wgmma kernels the compiler orders instructions otherwise as soon as an array of one element is none."""
    target = cuda_target("sm_90a")
    module = schedule_module(select_implementation(config, preferred_layout(config, target)), target)
    ((name, func),) = module.functions_items()
    _, device = build._lower(name, func, target)
    texts = build._cuda_source(device, target), build._shown_source(device, func, target)
    before, after = (compile_cuda_source(text, "sm_90a").cubin for text in texts)
    assert before == after


@pytest.mark.parametrize("layout", ["plain", "fragment"])
@pytest.mark.parametrize("W_dtype", ["uint4", "nf4"])
def test_decode_of_the_weight_alone(W_dtype, layout):
    """The kernel of `dequantize` compiles, and its source says what it is."""
    config = bq.MatmulConfig(M=1, N=64, K=128, W_dtype=W_dtype, group_size=32, with_scaling=True)
    target = cuda_target("sm_90a")
    archive = build.build(schedule_dequantize(config, "float16", layout, target), target, config.problem())
    assert "decode(W) of matmul_nt(M=1, N=64, K=128" in archive.cuda_source
