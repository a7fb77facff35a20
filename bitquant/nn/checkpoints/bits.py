# SPDX-License-Identifier: Apache-2.0
"""Unsigned codes out of the words and bytes that checkpoints keep them in."""

from __future__ import annotations

import torch

from bitquant.arithmetic import ceil_div
from bitquant.packing import general_decompress

__all__ = ["codes_of_bytes", "codes_of_words", "codes_of_words_with_gaps", "swap_nibbles"]


def codes_of_words(words: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """Return the first `count` codes of each row of int32 words, read as one little-endian bit stream.

    Code i occupies bits [i * bits, (i + 1) * bits) of the stream, so that it may straddle two
    words.

    Parameters
    ----------
    words
        (rows, ceil(count * bits / 32)) int32.
    bits
        Bits a code, 1 to 8.
    count
        Codes a row.

    Returns
    -------
    torch.Tensor
        (rows, count): int8, and uint8 where bits is 8.
    """
    return codes_of_bytes(words.contiguous().view(torch.uint8), bits, count)


def codes_of_bytes(stream: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """Return the first `count` codes of each row of uint8 bytes, read as one little-endian bit stream."""
    # Eight codes fill `bits` whole bytes.
    needed = ceil_div(count, 8) * bits
    missing = max(0, needed - stream.shape[-1])
    rows = torch.nn.functional.pad(stream, (0, missing)) if missing else stream[..., :needed]
    codes = rows if bits == 8 else general_decompress(rows, bits)
    return codes if codes.shape[-1] == count else codes[..., :count].contiguous()


def codes_of_words_with_gaps(words: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """Return the first `count` codes of each row where a word holds 32 // bits codes and its upper bits are unused."""
    shifts = torch.arange(32 // bits, dtype=torch.int32, device=words.device) * bits
    codes = (words.unsqueeze(-1) >> shifts) & ((1 << bits) - 1)
    return codes.flatten(-2)[..., :count].to(torch.int8 if bits < 8 else torch.uint8)


def swap_nibbles(stored: torch.Tensor) -> torch.Tensor:
    """Return bytes with their halves exchanged: bitsandbytes keeps the first element in the upper one."""
    return (stored << 4) | (stored >> 4)
