# SPDX-License-Identifier: Apache-2.0
"""Every rule's kernels become machine code for every architecture that it accepts, without a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

import bitquant as bq
from bitquant.arch import cuda_target
from bitquant.compute import select_implementation
from bitquant.compute.matmul import symbol
from bitquant.formats import WEIGHT_DTYPES, number_format
from bitquant.schedule import choice_of, schedule_module
from bitquant.schedule.rules import DecodeRule, FallbackRule, GemvRule, MmaRule, WgmmaRule
from bitquant.testing.generators import weight_fields

ARCHS = ("sm_75", "sm_80", "sm_89", "sm_90a", "sm_100a", "sm_120a")

#: One problem for each way that a kernel reads its operands.
PROBLEMS = (
    dict(M=1, N=65, K=256, W_dtype="uint4", group_size=64, with_scaling=True, with_zeros=True, with_bias=True),
    dict(M=1, N=65, K=256, A_dtype="bfloat16", W_dtype="int3", with_scaling=True, out_dtype="bfloat16"),
    dict(M=1, N=65, K=256, A_dtype="int8", W_dtype="int2", out_dtype="int32"),
    dict(M=1, N=65, K=256, A_dtype="float8_e5m2", W_dtype="fp4_e2m1", with_scaling=True, out_dtype="float32"),
    dict(M=1, N=65, K=256, W_dtype="nf4", out_dtype="int8"),
    dict(M=1, N=65, K=256, W_dtype="float8_e4m3"),
)


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("rule", [GemvRule, FallbackRule])
def test_machine_code(rule, arch):
    """The rule accepts these problems, and its kernels compile without spills."""
    # One problem an architecture, another one each time, and all of them where the library is used most.
    chosen = PROBLEMS if arch == "sm_90a" else (PROBLEMS[ARCHS.index(arch) % len(PROBLEMS)],)
    for problem in chosen:
        operator = bq.Matmul(bq.MatmulConfig(**problem), target=arch, rules=(rule(),))
        (resources,) = operator._archive.resources.values()
        assert resources.spill_bytes == 0, f"{operator}: {resources}"
        ptx = operator.get_ptx()
        assert ".target " + arch in ptx
        assert "4cuda3std" not in ptx  # The core libraries, whose constants would stand there, are not read.


@pytest.mark.parametrize("arch", ARCHS)
def test_every_rule_is_asked_in_order(arch):
    """The default rules serve a common ladder on every architecture, tensor cores included."""
    config = bq.MatmulConfig(M=(1, 16), N=64, K=256, W_dtype="uint4", group_size=64, with_scaling=True)
    scheduled = bq.Matmul(config, target=arch).choices
    if arch == "sm_75":
        assert scheduled[1].rule == "gemv"
        assert scheduled[16].rule == "mma"
        assert scheduled[16].refusals["gemv"] == "needs M == 1 (got 16)"
        assert scheduled[1].refusals["decode"] == "reads the fragment weight layout (got plain)"
    else:
        assert scheduled[1].rule == "decode"
        assert scheduled[16].rule == ("wgmma" if arch == "sm_90a" else "decode")
    target = cuda_target(arch)
    assert target.arch == arch
    plain = schedule_module(select_implementation(replace(config, fast_decoding=False)), target)
    assert [choice_of(plain[symbol(rung)]).rule for rung in (1, 16)] == ["gemv", "mma"]


@pytest.mark.parametrize("A_dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", [name for name in WEIGHT_DTYPES if number_format(name).levels is not None])
@pytest.mark.sample(shows=lambda name, A_dtype: {name, (A_dtype, number_format(name).bits)})
def test_every_rule_decodes_every_level(name, A_dtype):
    """Each packed format of other numbers than integers is served by all rules for Hopper."""
    config = bq.MatmulConfig(
        M=(1, 64), N=64, K=512, A_dtype=A_dtype, group_size=64, with_scaling=True, out_dtype=A_dtype,
        **weight_fields(name),
    )  # fmt: skip
    for rules, plain, wanted in (
        ((WgmmaRule(), DecodeRule()), None, ["decode", "wgmma"]),
        ((GemvRule(), MmaRule()), False, ["gemv", "mma"]),
    ):
        operator = bq.Matmul(replace(config, fast_decoding=plain), target="sm_90a", rules=rules)
        assert [operator.choices[rung].rule for rung in (1, 64)] == wanted
        assert len(operator._archive.resources) == 2
