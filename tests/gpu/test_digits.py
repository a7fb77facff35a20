# SPDX-License-Identifier: Apache-2.0
"""A as digits on the GPU: every float16 number is taken as it is, and those that are none spoil their row alone."""

from __future__ import annotations

import pytest
import torch

import bitquant as bq
from bitquant.schedule.rules.decode.hint import DecodeHint
from bitquant.testing.kernels import HintedKernel

N, K = 320, 2048
HINT = DecodeHint(
    block_m=1, n_tiles_per_warp=2, warps_k=4, split_k=2, ahead=1, unroll=1, chains=1, activations="digits"
)


def _operator(W_dtype: str) -> bq.Matmul:
    config = bq.MatmulConfig(M=(1,), N=N, K=K, W_dtype=W_dtype, out_dtype="float32")
    operator = bq.Matmul(config, target="cuda", records=[HintedKernel("decode", HINT, config, (1,)).record])
    assert [choice.hint["activations"] for choice in operator.choices.values()] == ["digits"]
    return operator


def _weight(config: bq.MatmulConfig) -> torch.Tensor:
    fmt = config.W_format
    values = torch.randint(0, 1 << fmt.bits, (N, K)) * fmt.step + fmt.offset
    return values.to(torch.uint8 if fmt.is_unsigned else torch.int8)


@pytest.mark.parametrize("W_dtype", ["uint1", "uint2", "uint3", "int1", "int2", "int3"])
def test_every_number_counts(W_dtype: str) -> None:
    """One number a row, each finite one of float16 in turn, times weights: exact. So is a row of small integers."""
    operator = _operator(W_dtype)
    W = _weight(operator.config)
    packed = operator.transform_weight(W.cuda())
    numbers = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(torch.float16)
    numbers = numbers[torch.isfinite(numbers)]
    # Each at another k: together they pass through all columns and lanes.
    for first in range(0, len(numbers), K):
        part = numbers[first : first + K]
        A = torch.zeros(len(part), K, dtype=torch.float16)
        A[torch.arange(len(part)), torch.arange(len(part))] = part
        expected = part.double()[:, None] * W.double().T[: len(part)]
        assert torch.equal(operator(A.cuda(), packed).cpu().double(), expected)
    A = torch.randint(-64, 65, (5, K), dtype=torch.float16)
    assert torch.equal(operator(A.cuda(), packed).cpu().double(), A.double() @ W.double().T)


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_what_is_no_number_spoils_its_row_alone(number: float) -> None:
    """Results of a row with infinity or NaN are NaN; other rows keep theirs."""
    operator = _operator("uint2")
    W = _weight(operator.config)
    packed = operator.transform_weight(W.cuda())
    A = torch.randint(-4, 5, (4, K), dtype=torch.float16)
    expected = A.double() @ W.double().T
    A[1, 77] = A[2, K - 1] = number
    result = operator(A.cuda(), packed).cpu().double()
    assert torch.equal(result[[0, 3]], expected[[0, 3]])
    assert result[[1, 2]].isnan().all()
