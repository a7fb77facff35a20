# SPDX-License-Identifier: Apache-2.0
"""Decoding registers of the fragment layout on the GPU: the instructions compute what the definition says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitquant.arch import default_target
from tests.compile.test_fragments import compile_decoder
from tests.unit.test_fragments import CASES, PERMUTED, lanes, numbers, values_of

LIVE = sorted({(name, operand, bits, is_adjacent, 0) for name, operand, bits, is_adjacent, _ in CASES})
LIVE += [(name, operand, bits, True, permutes) for name, operand, bits, permutes in PERMUTED]


@pytest.mark.parametrize(("name", "operand", "operand_bits", "is_adjacent", "permutes"), LIVE)
def test_registers_hold_the_values(name, operand, operand_bits, is_adjacent, permutes):
    """Every code at every place of a tile becomes its value, subnormal numbers and NaN included."""
    arch = str(default_target().arch)
    decoder, executable, _ = compile_decoder(name, operand, operand_bits, arch, is_adjacent, permutes)
    layout = decoder.fragment_layout
    codes, words = lanes(layout, 1)
    tiles = len(codes) // 32
    stored = np.zeros((tiles, layout.tile_bytes // 4), dtype=np.uint32)
    for index, part in enumerate(words):
        for q, word in enumerate(part):
            first = layout.chunk_offset(index, q // 4) // 4 + q % 4
            stored[:, first : first + 128 : 4] = word[: tiles * 32].reshape(tiles, 32)
    W = torch.from_numpy(stored.view(np.int32)).cuda().view(torch.uint32)
    D = torch.zeros((tiles, layout.registers * decoder.registers, 32), dtype=torch.int32, device="cuda").view(
        torch.uint32
    )
    executable["main"](W, D)
    got = D.view(torch.int32).cpu().numpy().view(np.uint32)
    table = values_of(decoder.fmt, operand)
    for r in range(layout.registers):
        parts = [
            numbers(got[:, r * decoder.registers + half].reshape(-1), operand) for half in range(decoder.registers)
        ]
        found = decoder.value_scale * np.concatenate(parts, axis=1) - decoder.value_offset
        np.testing.assert_array_equal(found, table[codes[: tiles * 32, r]])
