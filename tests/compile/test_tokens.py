# SPDX-License-Identifier: Apache-2.0
"""Kernels that round tokens compile for every kind of GPU: wide loads, no spills, early launch where there is one."""

from __future__ import annotations

import pytest

from bitquant.arch import cuda_target
from bitquant.build import build
from bitquant.compute.tokens import TokenConfig
from bitquant.schedule.tokens import TokensHint, schedule_tokens, tokens_hint


@pytest.mark.parametrize(
    ("config", "K", "is_aligned", "wanted"),
    [
        (TokenConfig("float16", "int8"), 64, True, TokensHint(1, 8)),
        (TokenConfig("float16", "int8"), 4096, True, TokensHint(8, 8)),
        (TokenConfig("bfloat16", "int8"), 4104, True, TokensHint(16, 8)),
        (TokenConfig("bfloat16", "int8"), 4104, False, TokensHint(32, 1)),
        (TokenConfig("float16", "int8"), 4100, True, TokensHint(32, 1)),
        (TokenConfig("float32", "int8"), 4100, True, TokensHint(32, 4)),
        (TokenConfig("float16", "int8"), 14336, True, TokensHint(32, 8)),
        (TokenConfig("float16", "int8"), 1 << 20, True, TokensHint(32, 8)),
        (TokenConfig("float32", "int8"), 1, True, TokensHint(1, 1)),
    ],
)
def test_shapes(config, K, is_aligned, wanted):
    """A block has threads for two loads each, a power of two of warps; loads are wide where rows are whole 16 bytes."""
    assert tokens_hint(config, K, is_aligned, cuda_target("sm_90a")) == wanted


@pytest.mark.parametrize(
    ("arch", "config", "hint"),
    [
        ("sm_90a", TokenConfig("bfloat16", "int8", with_weight_scale=True), TokensHint(32, 8)),
        ("sm_90a", TokenConfig("float32", "float8_e4m3"), TokensHint(32, 4)),
        ("sm_90a", TokenConfig("float16", "float8_e5m2"), TokensHint(1, 1)),
        ("sm_80", TokenConfig("float16", "float8_e4m3"), TokensHint(8, 8)),
        ("sm_75", TokenConfig("bfloat16", "float8_e5m2"), TokensHint(2, 1)),
        ("sm_120a", TokenConfig("float16", "int8"), TokensHint(8, 8)),
    ],
    ids=str,
)
def test_programs(arch, config, hint):
    """Registers leave room for two blocks of 1024 threads, nothing is spilled, and loads are as wide as they can be."""
    target = cuda_target(arch)
    archive = build(schedule_tokens(config, hint, target), target, config.problem())
    (resources,) = archive.resources.values()
    assert (resources.spill_bytes, resources.stack_bytes) == (0, 0)
    if hint.warps == 32:
        assert resources.registers <= 32
    assert ("ld.global.v4.u32" in archive.ptx) is (hint.elements > 1)
    assert ("griddepcontrol.wait" in archive.ptx) is (int(arch.strip("sm_a")) >= 90)
    has_instruction = arch not in {"sm_80", "sm_75"} and hint.elements > 1
    assert ("x2.f32" in archive.ptx) is (has_instruction and not config.format.is_integer)
