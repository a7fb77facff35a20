# SPDX-License-Identifier: Apache-2.0
"""TIR of a handful of problems, letter by letter: a change of meaning or schedule shows as a diff to read.

`make golden` rewrites the files.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tvm.target import Target

import bitquant as bq
from bitquant.arch import cuda_target
from bitquant.compute import select_implementation
from bitquant.problem import Problem
from bitquant.schedule import schedule_module
from bitquant.schedule.rules.decode.grouped.hint import GroupedDecodeHint
from bitquant.schedule.rules.decode.grouped.rule import GroupedDecodeRule
from bitquant.schedule.rules.hopper.experts import GroupedWgmmaRule
from bitquant.schedule.rules.hopper.hint import WgmmaHint

GOLDEN = Path(__file__).parent / "golden"

PROBLEMS = {
    "uint4_group128_original": dict(
        M=(1, 16), N=1024, K=1024, W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True
    ),
    "int3_rescale_bias": dict(
        M=(1, 16),
        N=33,
        K=96,
        W_dtype="int3",
        group_size=32,
        with_scaling=True,
        with_zeros=True,
        zeros_mode="rescale",
        with_bias=True,
    ),
    "uint2_quantized": dict(
        M=16, N=64, K=128, W_dtype="uint2", group_size=64, with_scaling=True, with_zeros=True, zeros_mode="quantized"
    ),
    "nf4": dict(M=1, N=64, K=128, W_dtype="nf4", group_size=64, with_scaling=True),
    "bitnet": dict(M=1, N=64, K=128, A_dtype="int8", W_dtype="int2", accum_dtype="int32", out_dtype="int32"),
    "float16": dict(M=16, N=64, K=128),
    "int8_output_scales": dict(
        M=(1, 16),
        N=33,
        K=64,
        A_dtype="int8",
        W_dtype="int8",
        out_dtype="bfloat16",
        with_bias=True,
        with_activation_scale=True,
        with_channel_scale=True,
    ),
    "float8": dict(M=16, N=64, K=128, A_dtype="float8_e4m3", W_dtype="float8_e4m3", out_dtype="bfloat16"),
}
#: A CPU without vector extensions worth naming, so that the files are the same on every machine.
TARGETS = {
    "cpu": Target({"kind": "llvm", "mcpu": "x86-64-v3", "mattr": ["+avx2", "+f16c", "+fma"]}),
    "sm_90a": cuda_target("sm_90a"),
}


def compare(name: str, text: str, update: bool) -> None:
    file = GOLDEN / f"{name}.py"
    if update:
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text + "\n")
    assert file.is_file(), f"{file.name} is missing; `make golden` writes it"
    assert text + "\n" == file.read_text(), f"{file.name} differs; read the diff after `make golden`"


@pytest.mark.parametrize("name", PROBLEMS)
def test_meaning(name, update_golden):
    """The unscheduled module is what it was."""
    mod = select_implementation(bq.MatmulConfig(**PROBLEMS[name]))
    compare(f"{name}.tir", mod.script(), update_golden)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_schedule(name, target, update_golden):
    """The scheduled module is what it was."""
    mod = select_implementation(bq.MatmulConfig(**PROBLEMS[name]))
    scheduled = schedule_module(mod, TARGETS[target])
    compare(f"{name}.{target}", scheduled.script(), update_golden)


@pytest.mark.parametrize("name", ["bitnet", "uint2_quantized"])
def test_schedule_on_the_fragment_layout(name, update_golden):
    """The scheduled function that reads the fragment layout is the one in the file."""
    config = bq.MatmulConfig(**{**PROBLEMS[name], "M": 1})
    scheduled = schedule_module(select_implementation(config, "fragment"), TARGETS["sm_90a"])
    compare(f"{name}.fragment.sm_90a", scheduled.script(), update_golden)


def test_experts_by_wgmma(update_golden):
    """The wgmma kernel for experts is what it was: their rows are found on the device."""
    config = bq.GroupedMatmulConfig(5, 64, 128, M=(16,), W_dtype="uint4", group_size=64, with_scaling=True)
    rule, hint = GroupedWgmmaRule(), WgmmaHint(block_m=8, consumers_n=1, block_k=64, stages=3)
    scheduled = rule.schedule(Problem(config, 16, TARGETS["sm_90a"], "fragment"), hint)
    compare("experts_wgmma.fragment.sm_90a", scheduled.script(), update_golden)


@pytest.mark.parametrize("units", ["rows", "experts"])
def test_experts(units, update_golden):
    """The decode kernel for experts is what it was: a slot alone, and the slots of an expert with sums over slots."""
    rows = {"rows": {}, "experts": {"A_rows": "slots", "D_rows": "tokens", "with_routing_weights": True}}[units]
    config = bq.GroupedMatmulConfig(
        8, 64, 256, M=(1, 16), W_dtype="uint4", group_size=64, with_scaling=True, routing="indexed", top_k=2, **rows
    )
    rung = {"rows": 1, "experts": 16}[units]
    rule, hint = GroupedDecodeRule(), GroupedDecodeHint(warps_k=4, unroll=1, ahead=1, chains=1, units=units)
    scheduled = rule.schedule(Problem(config, rung, TARGETS["sm_90a"], "fragment"), hint)
    compare(f"experts_{units}.fragment.sm_90a", scheduled.script(), update_golden)
