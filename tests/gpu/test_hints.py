# SPDX-License-Identifier: Apache-2.0
"""Kernels of given hints on the GPU: against the oracle, and the same bits every time."""

from __future__ import annotations

import pytest
import torch

import bitquant as bq
from bitquant import packing
from bitquant.arch import detected_cuda_arch
from bitquant.relayout import to_layout
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.tuned import Plan, Planned
from bitquant.testing.check import check_call, poisoned
from bitquant.testing.generators import make_inputs
from bitquant.testing.kernels import HINTED_ARCH, HINTED_KERNELS, HintedKernel

#: Calls in a row, which the GPU runs one behind the other without a wait in between.
REPEATS = 20


@pytest.fixture(autouse=True)
def _require_arch() -> None:
    """The hints are those of one architecture."""
    if (arch := detected_cuda_arch()) != HINTED_ARCH:
        pytest.skip(f"needs a GPU of {HINTED_ARCH} (got {arch})")


@pytest.mark.parametrize("kernel", HINTED_KERNELS, ids=str)
def test_kernel_is_right_and_gives_the_same_bits(kernel: HintedKernel) -> None:
    """The kernel of this hint, and no other, agrees with the oracle, and calls that overlap change nothing of it."""
    operator = bq.Matmul(kernel.config, target="cuda", records=[kernel.record])
    (choice,) = operator.choices.values()
    assert (choice.rule, choice.hint, choice.origin) == (kernel.rule, kernel.hint.to_dict(), "record")
    for m in kernel.rows:
        check_call(operator, m, "cuda", seed=m)
        _check_repeats(operator, m)


def _check_repeats(operator: bq.Matmul, m: int) -> None:
    """Compare the bits of calls in a row; each output holds NaN, or the least integer, before."""
    config = operator.config
    inputs = make_inputs(config, m, "cuda", seed=m)
    qweight = to_layout(packing.pack(inputs.W, config), config, operator.weight_layout)
    outputs = poisoned((REPEATS, m, config.columns), config.out_format.torch_dtype, "cuda")
    for output in outputs:
        operator(inputs.A, qweight, **inputs.optional, output=output)
    bits = outputs.view(torch.uint8)
    for repeat in range(1, REPEATS):
        assert torch.equal(bits[repeat], bits[0]), f"call {repeat} of m={m} differs from the first"


@pytest.mark.parametrize(
    "hint",
    [
        WgmmaHint(
            block_m=16, n_tiles_per_consumer=2, consumers_n=2, n_tiles_per_cta=3, block_k=256, scaling="sums", stages=6
        ),
        WgmmaHint(block_m=16, n_tiles_per_consumer=3, consumers_n=2, n_tiles_per_cta=1, block_k=128, stages=24),
    ],
    ids=str,
)
def test_consumers_read_no_further_than_the_block_has_memory(hint: WgmmaHint) -> None:
    """Codes of blocks of rows that a tile does not have, behind the last slot, are the block's own memory."""
    config = bq.MatmulConfig(M=16, N=9216, K=4096, W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True)
    operator = bq.Matmul(config, target="cuda", records=Plan({16: Planned("wgmma", hint.to_dict(), "tuned")}))
    check_call(operator, 16, "cuda")
