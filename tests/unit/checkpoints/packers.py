# SPDX-License-Identifier: Apache-2.0
"""Writers of the formats' tensors, element by element; they share no code with the readers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

FIXTURES = Path(__file__).parents[2] / "fixtures" / "checkpoints"


def write(directory, tensors, quantization, dtype="float16", **config):
    """Save tensors as a checkpoint in the hub's layout and return its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: t.contiguous().clone() for name, t in tensors.items()},
        directory / "model.safetensors",
    )
    fields = {
        "dtype": dtype,
        **config,
        **({"quantization_config": quantization} if quantization else {}),
    }
    (directory / "config.json").write_text(json.dumps(fields))
    return directory


def fixture(name):
    """Return tensors and config of a fixture."""
    return load_file(FIXTURES / name / "model.safetensors"), json.loads((FIXTURES / name / "config.json").read_text())


def layer(path, **tensors):
    """Name the tensors of one layer."""
    return {f"{path}.{role}": t for role, t in tensors.items()}


def words(codes, bits):
    """One row of codes as int32 words of a bit stream, the first code in the lowest bits."""
    stream = sum(int(code) << (i * bits) for i, code in enumerate(codes))
    count = -(-len(codes) * bits // 32)
    return [int(np.uint32((stream >> (32 * w)) & 0xFFFFFFFF).view(np.int32)) for w in range(count)]


def words_with_gaps(codes, bits):
    """One row of codes as int32 words of 32 // bits codes each."""
    per = 32 // bits
    return [words(codes[i : i + per], bits)[0] for i in range(0, len(codes), per)]


def pack_rows(codes, bits, pack=words):
    """Pack each row of a matrix."""
    return torch.tensor([pack(row, bits) for row in codes.tolist()], dtype=torch.int32)


def draw(shape, bits, seed=0):
    """Return random codes, int64, with the least and the greatest."""
    codes = torch.randint(0, 1 << bits, shape, generator=torch.Generator().manual_seed(seed))
    codes.view(-1)[:2] = torch.tensor([0, (1 << bits) - 1])
    return codes


def draw_scale(shape, dtype=torch.float16, seed=1):
    """Return random positive scales."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 0.1 + 0.01).to(dtype)


def spread(per_group, group):
    """One number a group -> one a column, float64."""
    return per_group.double().repeat_interleave(group, 1)


def gptq(codes, zeros, scale, bits, g_idx, stored="v2"):
    """Pack for GPTQ; `stored`: v2, v1 as gptqmodel borrows ("words"), v1 modulo in each field ("fields").

    codes (N, K), zeros and scale (N, G).
    """
    qzeros = pack_rows(zeros.T, bits)
    if stored == "fields":
        qzeros = pack_rows((zeros.T - 1) % (1 << bits), bits)
    elif stored == "words":
        one = sum(1 << i for i in range(0, 32, bits))
        wrapped = [[(w - one) & 0xFFFFFFFF for w in row] for row in qzeros.tolist()]
        qzeros = torch.from_numpy(np.array(wrapped, dtype=np.uint32).view(np.int32))
    return {
        "qweight": pack_rows(codes, bits).T,
        "qzeros": qzeros,
        "scales": scale.T,
        "g_idx": g_idx.to(torch.int32),
    }


def awq(codes, zeros, scale):
    """Pack for AWQ's gemm order; codes (N, K), zeros and scale (N, G)."""

    def interleave(rows):
        order = [0, 2, 4, 6, 1, 3, 5, 7]  # what nibbles, low to high, hold
        return pack_rows(torch.cat([rows[:, i : i + 8][:, order] for i in range(0, rows.shape[1], 8)], 1), 4)

    return {"qweight": interleave(codes.T), "qzeros": interleave(zeros.T), "scales": scale.T}


#: Levels of bitsandbytes' fp4 by code, times 12: sign, then 0, 1/16, 8, 12, 4, 6, 2, 3.
FP4_LEVELS = torch.tensor([0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3]) / 12


def bitsandbytes(codes, absmax, levels, kind, blocksize, **state):
    """Pack for bitsandbytes: the first of two elements in the high nibble."""
    flat = codes.flatten().tolist()
    stored = [(flat[i] << 4) | flat[i + 1] for i in range(0, len(flat), 2)]
    text = json.dumps(
        {
            "quant_type": kind,
            "blocksize": blocksize,
            "shape": list(codes.shape),
            "dtype": "float16",
            **state,
        }
    )
    return {
        "weight": torch.tensor(stored, dtype=torch.uint8).view(-1, 1),
        "weight.absmax": absmax,
        "weight.quant_map": levels,
        f"weight.quant_state.bitsandbytes__{kind}": torch.tensor(list(text.encode()), dtype=torch.uint8),
    }


def hqq(matrix, scale, zero, bits, axis, shape):
    """Pack for HQQ: a regrouped matrix of codes along its rows."""
    per, width, name = {8: (1, 8, "8bit_u8"), 4: (2, 4, "4bit_u8"), 3: (10, 3, "3bit_32"), 2: (4, 2, "2bit_u8"),
                        1: (8, 1, "1bit_u8")}[bits]  # fmt: skip
    rows = -(-len(matrix) // per)
    padded = torch.zeros(rows * per, matrix.shape[1], dtype=torch.int64)
    padded[: len(matrix)] = matrix
    stored = sum(padded[i * rows : (i + 1) * rows] << (width * (per - 1 - i)) for i in range(per))
    scalar = {"nbits": bits, "axis": axis, "group_size": matrix.shape[1 if axis == 1 else 0]}
    return {
        "W_q": stored.to(torch.int32 if bits == 3 else torch.uint8),
        "scale": scale,
        "zero": zero,
        "shape": torch.tensor(shape),
        "packing": torch.tensor(list(name.encode()), dtype=torch.uint8),
        **{key: torch.tensor(value, dtype=torch.int32) for key, value in scalar.items()},
    }
