# SPDX-License-Identifier: Apache-2.0
"""SafetensorsSource: tensors past the mapped file, as a GPU gets them, are those of the package; here on the CPU."""

from __future__ import annotations

import os
import threading

import pytest
import torch
from safetensors.torch import save_file

import bitquant as bq
from bitquant.nn.checkpoints import source as source_module
from bitquant.nn.checkpoints.source import SafetensorsSource

from .packers import FIXTURES

CPU = torch.device("cpu")
GPTQ = FIXTURES / "gptq-w4g64-asym-actorder"


@pytest.fixture
def direct(monkeypatch):
    """All tensors are read past the mapped file, in pieces that divide none of them."""
    monkeypatch.setattr(SafetensorsSource, "_goes_directly", lambda *_: True)
    monkeypatch.setattr(source_module, "_PIECE_BYTES", 1001)


def tensors():
    generator = torch.Generator().manual_seed(0)
    return {
        "a": torch.randn(37, 53, generator=generator),
        "b": torch.randn(3, 5, 7, generator=generator).bfloat16(),
        "c": torch.arange(2003, dtype=torch.int32),
        "d": torch.randn(64, generator=generator).to(torch.float8_e4m3fn),
        "none": torch.empty(0, 4),
        "scalar": torch.tensor(3.0),
    }


def equal(a, b):
    return (a.shape, a.dtype) == (b.shape, b.dtype) and torch.equal(
        a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8)
    )


@pytest.mark.parametrize("ahead", [False, True])
def test_tensors_past_the_mapped_file_are_the_same(ahead, direct, tmp_path):
    """Every type, shape and size; asked for when they are on their way, or not; no thread stays."""
    before = threading.active_count()
    save_file(tensors(), tmp_path / "model.safetensors", {"format": "pt"})
    source = SafetensorsSource(tmp_path / "model.safetensors")
    if ahead:
        source.read_ahead(source.names, CPU)
    for name, tensor in tensors().items():
        assert equal(source.read(name, CPU), tensor), name
    source.read_ahead(["a"], CPU)
    source.close()
    assert threading.active_count() == before
    assert equal(source.read("a", CPU), tensors()["a"])


def test_a_file_that_shrank_is_an_error(direct, tmp_path):
    """The message names file and tensor, whether the tensor was on its way or not."""
    path = tmp_path / "model.safetensors"
    save_file(tensors(), path)
    source = SafetensorsSource(path)
    os.truncate(path, path.stat().st_size - 2000)
    for _ in range(2):
        with pytest.raises(bq.CheckpointError, match="the file is shorter than its header says") as caught:
            source.read("c", CPU)
        assert caught.value.values["tensor"] == "c"
        source.read_ahead(["c"], CPU)
    source.close()


def test_layers_in_turn_are_those_at_random(direct):
    """Reading ahead changes no weight, asks for each tensor once, and ends its threads, also where the caller stops."""
    before, checkpoint = threading.active_count(), bq.read_checkpoint(GPTQ)
    paths = list(checkpoint)[:4]
    alone = [bq.read_checkpoint(GPTQ)[path].dequantize() for path in paths]
    in_turn = [checkpoint[path].dequantize() for path in checkpoint.in_turn(paths)]
    assert all(map(torch.equal, alone, in_turn))
    assert threading.active_count() == before
    turn = checkpoint.in_turn(paths)
    checkpoint[next(turn)]
    turn.close()
    assert threading.active_count() == before
