# SPDX-License-Identifier: Apache-2.0
"""Offsets that do not rise: results are undefined, but kernels end and leave alone what lies beside their output."""

from __future__ import annotations

import pytest
import torch

import bitquant as bq
from bitquant.grouped_inputs import draw_grouped_inputs
from bitquant.schedule import Plan, Planned
from tests.compile.test_rule_grouped_decode import UINT4

M, N, K = 128, 256, 256
OFFSETS = {
    "the second ends before the first": [120, 100, 128, 128],
    "all end before the last": [128, 64, 32, 0],
    "in turn": [128, 0, 128, 0],
    "negative": [-5, 100, -(2**31), 128],
    "beyond the rows": [2**31 - 1, 3, 2**31 - 1, 2**31 - 1],
}
KERNELS = {
    "grouped_decode, 8 rows": ("grouped_decode", {"units": "experts", "block_m": 8, "warps_k": 4}),
    "grouped_decode, 64 rows": ("grouped_decode", {"units": "experts", "block_m": 64, "warps_k": 4}),
    "grouped_wgmma": ("grouped_wgmma", {"block_m": 16, "stages": 4}),
    "grouped_wgmma, stream-K": ("grouped_wgmma", {"block_m": 16, "stages": 4, "stream_k": True}),
    "grouped_fallback": ("grouped_fallback", {"warps": 4, "m_per_warp": 8}),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("offsets", OFFSETS)
def test_nothing_is_written_beside_the_output(kernel, offsets):
    """Rows around D keep their bits, and the next call, whose offsets rise, is right."""
    rule, hint = KERNELS[kernel]
    if rule == "grouped_wgmma" and torch.cuda.is_available() and torch.cuda.get_device_capability() != (9, 0):
        pytest.skip("needs a Hopper GPU")
    config = bq.GroupedMatmulConfig(4, N, K, **{**UINT4, "group_size": 128}, M=(M,))
    operator = bq.GroupedMatmul(config, target="cuda", records=Plan({M: Planned(rule, hint, "tuned")}))
    assert operator.choices[M].rule == rule
    inputs = draw_grouped_inputs(config, M, torch.Generator().manual_seed(0))
    operands = {name: t.cuda() for name, t in inputs.stored(operator.weight_layout).items()}
    expected = operator(**operands)
    wrong = {**operands, "offsets": torch.tensor(OFFSETS[offsets], dtype=torch.int32, device="cuda")}
    guarded = torch.full((9 * M, N), -77.0, dtype=torch.float16, device="cuda")
    operator(**wrong, output=guarded[4 * M : 5 * M])
    torch.cuda.synchronize()
    assert (guarded[: 4 * M] == -77).all()
    assert (guarded[5 * M :] == -77).all()
    assert torch.equal(operator(**operands), expected)
