# SPDX-License-Identifier: Apache-2.0
"""Output scales in every rule: the machine code loads them where the config has them, and not before it may."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import tvm

from bitquant.arch import cuda_target
from bitquant.archive import Archive
from bitquant.build import build
from bitquant.compute.matmul import matmul_dequantize_b
from bitquant.config import MatmulConfig
from bitquant.problem import Problem
from bitquant.schedule.apply import schedule_with
from bitquant.schedule.rules import default_rules

RULES = {rule.name: rule for rule in default_rules()}
FLAGS = ("with_activation_scale", "with_channel_scale")
INT8 = {"A_dtype": "int8", "W_dtype": "int8", "out_dtype": "bfloat16"}
FLOAT8 = {"A_dtype": "float8_e4m3", "W_dtype": "float8_e4m3", "out_dtype": "float16"}
UINT4 = {"W_dtype": "uint4", "group_size": 64, "with_scaling": True, "with_zeros": True}

#: Rule, architecture, and a problem of every kind of sums, with whole tiles and ragged ones.
PROBLEMS = (
    ("gemv", "sm_80", dict(M=1, N=65, K=256, **INT8)),
    ("gemv", "sm_90a", dict(M=1, N=65, K=256, with_bias=True, **UINT4)),
    ("fallback", "sm_75", dict(M=(5,), N=65, K=100, with_bias=True, **INT8)),
    ("fallback", "sm_90a", dict(M=(5,), N=64, K=128, **FLOAT8)),
    ("mma", "sm_80", dict(M=(64,), N=256, K=512, **INT8)),
    ("mma", "sm_80", dict(M=(64,), N=65, K=512, with_bias=True, **FLOAT8)),
    ("mma", "sm_90a", dict(M=33, N=96, K=256, **UINT4)),
    ("decode", "sm_80", dict(M=(16,), N=256, K=512, with_bias=True, **INT8)),
    ("decode", "sm_90a", dict(M=1, N=4096, K=4096, **INT8)),
    ("decode", "sm_90a", dict(M=(16,), N=1000, K=1008, **FLOAT8)),
    ("decode", "sm_90a", dict(M=(8,), N=256, K=2048, **UINT4)),
    ("wgmma", "sm_90a", dict(M=(64,), N=1024, K=2048, **UINT4)),
    ("wgmma", "sm_90a", dict(M=(1024,), N=1000, K=1024, W_dtype="int8", out_dtype="int8", with_bias=True)),
    ("wgmma", "sm_90a", dict(M=256, N=512, K=512, out_dtype="float32", A_dtype="bfloat16", W_dtype="nf4")),
)


def _built(rule: str, arch: str, config: MatmulConfig) -> Archive:
    target, rung = cuda_target(arch), config.ladder[-1]
    layout = "fragment" if rule in ("decode", "wgmma") else "plain"
    assert RULES[rule].refuses(Problem(config, rung, target)) is None
    func = matmul_dequantize_b(config, rung, layout=layout)
    scheduled = schedule_with(func, RULES[rule], RULES[rule].default_hint(Problem(config, rung, target)), target)
    return build(tvm.IRModule({str(func.attrs["global_symbol"]): scheduled}), target, config.problem())


def _parameters(archive: Archive) -> set[str]:
    """Names of the operands that a kernel takes."""
    (signature,) = re.findall(r"^extern .*__global__[^;]*?\{$", archive.cuda_source, re.MULTILINE)
    return set(re.findall(r"(\w+)_ptr\b", signature))


@pytest.mark.parametrize(("rule", "arch", "problem"), PROBLEMS, ids=str)
@pytest.mark.sample(
    shows=lambda rule, arch, problem: {("rule", rule), ("A", problem.get("A_dtype")), ("bias", "with_bias" in problem)}
)
def test_scales_are_loaded_where_they_are_configured(rule: str, arch: str, problem: dict[str, object]) -> None:
    """A kernel takes and reads the scales that its config has, those alone, and still does not spill."""
    plain = MatmulConfig(**problem)
    multiplies = []
    # One of them alone, the one or the other in turn.
    alone = FLAGS[PROBLEMS.index((rule, arch, problem)) % 2 :][:1]
    for flags in ((), alone, FLAGS):
        archive = _built(rule, arch, replace(plain, **dict.fromkeys(flags, True)))
        (resources,) = archive.resources.values()
        assert resources.spill_bytes == 0
        scales = {"ActivationScale", "ChannelScale"} & _parameters(archive)
        assert scales == {"".join(word.title() for word in flag.split("_")[1:]) for flag in flags}
        multiplies.append(len(re.findall(r"\b(?:mul|fma)\.(?:rn\.)?(?:ftz\.)?f32", archive.ptx)))
    assert multiplies[0] < multiplies[1] < multiplies[2]


@pytest.mark.parametrize(
    ("rule", "problem"), [("decode", dict(M=1, N=256, K=1024, **INT8)), ("wgmma", PROBLEMS[-3][2])], ids=str
)
def test_activation_scales_may_come_from_the_kernel_before(rule: str, problem: dict[str, object]) -> None:
    """They are read by loads that see what other kernels wrote, after the wait for the end of the one before."""
    ptx = _built(rule, "sm_90a", MatmulConfig(**problem, with_activation_scale=True)).ptx
    loads = [match.start() for match in re.finditer(r"ld\.global\.f32", ptx)]
    assert loads
    # Nothing else in these kernels is read so. Consumers of wgmma wait for tiles of A, which the producer asks for
    # after the end of the kernel before.
    assert ptx.index("griddepcontrol.wait" if rule == "decode" else "mbarrier.try_wait") < min(loads)
    without = _built(rule, "sm_90a", MatmulConfig(**problem)).ptx
    assert "ld.global.f32" not in without
    assert len(re.findall(r"ld\.global\.nc\.\w*f32", ptx)) == len(re.findall(r"ld\.global\.nc\.\w*f32", without))
