# SPDX-License-Identifier: Apache-2.0
"""Timing on the GPU."""

from __future__ import annotations

import weakref

import torch

from bitquant.profiling import GraphTimer


def test_a_timer_keeps_what_its_graph_uses():
    """Tensors that only the calls refer to live as long as the graph: its replays write to them."""
    output = torch.zeros(1 << 20, device="cuda")
    alive = weakref.ref(output)
    timer = GraphTimer([lambda output=output: output.add_(1)])
    del output
    assert alive() is not None
    assert timer.sample_us(0.1) > 0
    del timer
    assert alive() is None
