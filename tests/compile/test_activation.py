# SPDX-License-Identifier: Apache-2.0
"""An activation of gate and up in the machine code of every rule: columns of D, and no spills that it causes."""

from __future__ import annotations

import dataclasses
import re

import pytest

import bitquant as bq
from bitquant.config_rules import ACTIVATIONS
from bitquant.schedule.rules import default_rules
from bitquant.testing.kernels import HINTED_KERNELS

RULES = {rule.name: rule for rule in default_rules()}
INT8 = {"A_dtype": "int8", "W_dtype": "int8", "out_dtype": "bfloat16", "with_activation_scale": True}
UINT4 = {"W_dtype": "uint4", "group_size": 64, "with_scaling": True, "with_zeros": True}
DENSE = {"A_dtype": "bfloat16", "out_dtype": "bfloat16"}

#: Rule, target, and a problem, with whole tiles and ragged ones.
PROBLEMS = (
    ("gemv", "sm_80", dict(M=1, N=66, K=256, fast_decoding=False, **INT8)),
    ("gemv", "h200", dict(M=1, N=8192, K=256, with_bias=True, fast_decoding=False, **UINT4)),
    ("fallback", "sm_75", dict(M=(5,), N=66, K=100, with_bias=True, A_dtype="float32", W_dtype="int2")),
    ("fallback", "h200", dict(M=(5,), N=64, K=96, A_dtype="float32", W_dtype="nf4", out_dtype="float32")),
    ("mma", "sm_75", dict(M=(64,), N=96, K=256, **UINT4)),
    ("mma", "sm_80", dict(M=(64,), N=256, K=512, fast_decoding=False, **INT8)),
    ("mma", "h200", dict(M=33, N=96, K=256, fast_decoding=False, **UINT4)),
    ("decode", "sm_80", dict(M=(16,), N=256, K=512, with_bias=True, **INT8)),
    ("decode", "h200", dict(M=1, N=4096, K=4096, **UINT4)),
    ("decode", "h200", dict(M=(8,), N=1002, K=1024, out_dtype="int8", **UINT4)),
    ("wgmma", "h200", dict(M=(64,), N=1024, K=2048, **UINT4)),
    ("wgmma", "h200", dict(M=(1024,), N=1000, K=1024, W_dtype="int8", out_dtype="int8", with_bias=True)),
    ("wgmma", "h200", dict(M=256, N=514, K=512, out_dtype="float32", A_dtype="bfloat16", W_dtype="nf4")),
    ("wgmma_dense", "h200", dict(M=(128,), N=514, K=512, with_bias=True, **DENSE)),
)


def spills(operator: bq.Matmul) -> list[int]:
    """Return the bytes that each kernel spills."""
    return [used["spill_bytes"] for kernel in operator.facts()["kernels"] for used in kernel["resources"]]


@pytest.mark.parametrize(("rule", "target", "problem"), PROBLEMS, ids=str)
@pytest.mark.sample(shows=lambda rule, target, problem: {("rule", rule), ("output", problem.get("out_dtype"))})
def test_every_rule_compiles(rule: str, target: str, problem: dict[str, object]) -> None:
    """Each rule serves a problem with an activation as it does one without, and computes it without a spill."""
    index = PROBLEMS.index((rule, target, problem))
    config = bq.MatmulConfig(**problem, activation=ACTIVATIONS[index % 3])
    operator = bq.Matmul(config, target=target)
    (choice,) = operator.choices.values()
    assert choice.rule == rule
    source = operator.get_source()
    assert len(re.findall(r"\bexpf\(", source)) >= 1
    assert "rcp_approx" in source.replace(".", "_")
    assert spills(operator) == [0]


def test_a_kernel_of_few_registers_does_not_spill() -> None:
    """A quotient calls its slow path: where a block of 640 threads begins with 96 registers, that spilled 64 bytes."""
    kernel = next(k for k in HINTED_KERNELS if k.hint.to_dict().get("consumers_k") == 4 and k.config.N % 2 == 0)
    for activation in (None, "silu_mul"):
        config = dataclasses.replace(kernel.config, activation=activation)
        record = dataclasses.replace(kernel, config=config).record
        operator = bq.Matmul(config, target="h200", records=[record])
        assert spills(operator) == [0]


@pytest.mark.parametrize("form", [{}, {"routing": "indexed", "top_k": 2}], ids=["sorted", "indexed"])
@pytest.mark.parametrize("target", ["sm_80", "h200"])
def test_grouped_rules_compile(form: dict[str, object], target: str) -> None:
    """Experts, sorted and indexed."""
    config = bq.GroupedMatmulConfig(4, 66, 256, M=(1, 16), activation="clamped_swiglu", with_bias=True, **UINT4, **form)
    operator = bq.GroupedMatmul(config, target=target)
    assert "expf(" in operator.get_source()


def test_hints_that_cut_pairs_are_refused() -> None:
    """A warp of gemv, or a tile of a CPU, must have the gate and the up of a column together."""
    from bitquant.schedule.rules.cpu import CpuHint
    from bitquant.schedule.rules.gemv import GemvHint
    from bitquant.schedule.rules.simd.hint import SimdHint
    from bitquant.schedule.tuned import Plan, Planned

    config = bq.MatmulConfig(M=1, N=64, K=512, activation="silu_mul", fast_decoding=False, **UINT4)
    for rule, hint, target, words in (
        ("gemv", GemvHint(4, 1), "sm_80", r"needs n_per_warp % 2 == 0 with an activation"),
        ("cpu", CpuHint(8, cols=1, rows=1, row_tile=1, col_tile=1, chunk=64), "cpu", r"needs an even col_tile"),
        ("cpu_float32", SimdHint(8, rows=1, cols=1, row_tile=1, col_tile=16, chunk=8), "cpu", r"needs an even cols"),
    ):
        with pytest.raises(bq.RecordError, match=words):
            bq.Matmul(config, target=target, records=Plan({1: Planned(rule, hint.to_dict(), "tuned")}))
