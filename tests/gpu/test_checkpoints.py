# SPDX-License-Identifier: Apache-2.0
"""Readers of checkpoints that unpack on the GPU."""

from __future__ import annotations

import pytest
import torch

import bitquant as bq
from tests.unit.checkpoints.test_fixtures import EXPECTED, opened


def bits(tensor):
    return tensor.flatten().view(torch.uint8)


@pytest.mark.parametrize("name", EXPECTED)
def test_weights_unpacked_on_the_gpu_are_those_of_the_cpu(name):
    """Every part of every layer is on the GPU and equal, bit for bit."""
    on_cpu = opened(name)
    on_gpu = bq.read_checkpoint(on_cpu.path, device="cuda")
    for path, expected in on_cpu.items():
        weight = on_gpu[path]
        for part in ("values", "scale", "zeros", "bias", "permutation"):
            here, there = getattr(expected, part), getattr(weight, part)
            assert (here is None) == (there is None), (path, part)
            if here is not None:
                assert there.device.type == "cuda", (path, part)
                assert torch.equal(bits(here), bits(there.cpu())), (
                    path,
                    part,
                )
        assert torch.equal(weight.dequantize().cpu(), expected.dequantize())
