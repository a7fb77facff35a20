# SPDX-License-Identifier: Apache-2.0
"""read_checkpoint and QuantizedWeight themselves: what is found, what is read when, what fits together."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import textwrap

import pytest
import torch

import bitquant as bq
from bitquant.nn.checkpoints import ActivationScheme
from bitquant.nn.checkpoints.reader import all_readers
from bitquant.nn.checkpoints.source import SafetensorsSource

from .packers import FIXTURES, draw, draw_scale, write

ACT_ORDER = FIXTURES / "gptq-w4g64-asym-actorder"


def test_tensors_are_read_at_access(monkeypatch):
    """Opening reads no tensor, a layer its own, and the plain mapping one."""
    read, original = [], SafetensorsSource.read
    monkeypatch.setattr(
        SafetensorsSource, "read", lambda self, name, *device: read.append(name) or original(self, name, *device)
    )
    checkpoint = bq.read_checkpoint(ACT_ORDER)
    assert len(list(checkpoint.keys())) == 14
    assert "model.norm.weight" in checkpoint.plain
    assert read == []
    path = "model.layers.1.self_attn.q_proj"
    checkpoint[path]
    assert sorted(read) == sorted(checkpoint.tensors(path).values())
    read.clear()
    checkpoint.plain["model.norm.weight"]
    assert read == ["model.norm.weight"]


@pytest.mark.thorough
def test_importing_bitquant_needs_no_safetensors():
    """The core stays light: safetensors and gguf are imported when a checkpoint is opened; what is missing is named."""
    program = f"""
        import sys
        import bitquant, bitquant.nn.checkpoints
        bitquant.read_checkpoint
        assert "safetensors" not in sys.modules and "gguf" not in sys.modules
        sys.modules["safetensors"] = sys.modules["gguf"] = None
        for path in ({str(ACT_ORDER)!r}, {str(FIXTURES / "gguf-blocks")!r} + "/weights.gguf"):
            try:
                bitquant.read_checkpoint(path)
            except bitquant.UnsupportedError as error:
                print(error)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert "pip install 'bitquant[models]'" in result.stdout
    assert "pip install 'bitquant[gguf]'" in result.stdout


@pytest.mark.parametrize(("files", "message"), [
    ({}, "holds no .safetensors and no .gguf file"),
    ({"pytorch_model.bin": b""}, "holds pickled tensors"),
    ({"a.safetensors": b"", "b.safetensors": b""}, "must hold one checkpoint"),
    ({"model.safetensors": b"", "config.json": b"{"}, "config.json: must be a JSON file"),
    ({"model.safetensors": b"", "config.json": b"[]"}, "config.json: must hold a JSON object"),
    ({"model.safetensors.index.json": b"{}"}, "must have a 'weight_map'"),
])  # fmt: skip
def test_directories_without_a_checkpoint(files, message, tmp_path):
    """What is missing or ambiguous is said."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(bq.CheckpointError, match=message):
        bq.read_checkpoint(tmp_path)


def test_arguments(tmp_path):
    """No such path, a file of another kind, a word that is not known, a type that no layer computes in."""
    with pytest.raises(bq.CheckpointError, match="no such file or directory; models on the hub"):
        bq.read_checkpoint(tmp_path / "nothing")
    (tmp_path / "x.txt").touch()
    with pytest.raises(bq.CheckpointError, match=r"must be a \.safetensors or \.gguf file"):
        bq.read_checkpoint(tmp_path / "x.txt")
    with pytest.raises(bq.ConfigError, match="'on_unsupported' must be"):
        bq.read_checkpoint(ACT_ORDER, on_unsupported="skip")
    with pytest.raises(bq.CheckpointError, match="'dtype' must be float16, bfloat16 or float32"):
        bq.read_checkpoint(write(tmp_path, {"a.weight": torch.ones(4)}, None, dtype="float64"))


@pytest.mark.parametrize(
    "place",
    ["quantization_config.json", "quantize_config.json", "text_config", "compression_config"],
)
def test_where_parameters_stand(place, tmp_path):
    """Parameters are found in config.json, a model's text_config or a file of their own."""
    values, scale = torch.zeros(8, 32, dtype=torch.int8), torch.ones(8, 1)
    weights = {"num_bits": 8, "type": "int", "strategy": "channel"}
    parameters = {
        "quant_method": "compressed-tensors",
        "config_groups": {"a": {"targets": ["Linear"], "weights": weights}},
    }
    fields = {"text_config": {"quantization_config": parameters}, "compression_config": parameters}
    nested = {place: fields[place]} if place in fields else {}
    write(tmp_path, {"a.weight": values, "a.weight_scale": scale}, None, **nested)
    if place not in fields:
        (tmp_path / place).write_text(json.dumps(parameters))
    assert bq.read_checkpoint(tmp_path / "model.safetensors")["a"].W_dtype == "int8"


def test_every_reader_is_documented():
    """docs/checkpoints.md has a row for each format."""
    page = (FIXTURES.parents[2] / "docs" / "checkpoints.md").read_text()
    names = [reader.name for reader in all_readers()]
    assert len(names) == len(set(names)) == 10
    for name in names:
        assert f"`{name}`" in page, name


# QuantizedWeight.


def weight(**fields):
    """A weight of 4 bits with everything."""
    N, K, group = 16, 64, 32
    defaults = dict(
        values=draw((N, K), 4).to(torch.int8), W_dtype="uint4", scale=draw_scale((N, K // group)),
        zeros=draw((N, K // group), 4).to(torch.uint8), zeros_mode="quantized", group_size=group,
        bias=torch.ones(N, dtype=torch.bfloat16),
        permutation=torch.randperm(K, generator=torch.Generator().manual_seed(1)),
    )  # fmt: skip
    return bq.QuantizedWeight(**{**defaults, **fields})


@pytest.mark.parametrize(("fields", "message"), [
    ({"values": torch.zeros(16, 64)}, "'values' must be an"),
    ({"group_size": 24}, "'group_size' must divide K"),
    ({"scale": torch.ones(16, 3)}, "'scale' must have shape"),
    ({"scale": torch.ones(16, 2, dtype=torch.float64)}, "'scale' must have shape"),
    ({"zeros": torch.zeros(16, 2)}, "'zeros' must have shape"),
    ({"zeros_mode": "original"}, "'zeros' must have shape"),
    ({"zeros_mode": "other"}, "'zeros_mode' must be"),
    ({"bias": torch.ones(64)}, "'bias' must have shape"),
    ({"permutation": torch.arange(16)}, "'permutation' must have shape"),
])  # fmt: skip
def test_parts_that_do_not_fit(fields, message):
    """Shapes and types are checked against each other."""
    with pytest.raises(bq.ConfigError, match=message):
        weight(**fields)


def test_fields_follow_the_type_of_A():
    """Scales take the type of A where that holds them, else keep their own."""
    w = weight()
    assert w.config_fields()["scale_dtype"] == "float16"
    assert w.config_fields(A_dtype="bfloat16")["scale_dtype"] == "float16"
    assert w.config_fields(A_dtype="bfloat16", scale_dtype="bfloat16")["scale_dtype"] == "bfloat16"
    powers = weight(scale=torch.full((16, 2), 2.0**-5, dtype=torch.float16))
    assert powers.config_fields(A_dtype="bfloat16")["scale_dtype"] == "bfloat16"
    assert w.config_fields(A_dtype="int8", out_dtype="float32") == {
        "N": 16, "K": 64, "A_dtype": "int8", "W_dtype": "uint4", "out_dtype": "float32", "accum_dtype": "int32",
        "with_bias": True, "group_size": 32, "with_scaling": True, "with_zeros": True, "zeros_mode": "quantized",
        "scale_dtype": "float32", "with_activation_scale": True, "with_channel_scale": False,
    }  # fmt: skip
    odd = weight(
        values=torch.zeros(15, 64, dtype=torch.int8), scale=torch.ones(15, 2), bias=None, permutation=None,
        zeros=torch.zeros(15, 2, dtype=torch.uint8),
    )  # fmt: skip
    assert odd.config_fields()["zeros_mode"] == "original"
    config = bq.MatmulConfig(M=1, **odd.config_fields())
    assert odd.operands(config)["zeros"].dtype == torch.float16


def test_one_scale_a_row_leaves_the_product_where_A_has_8_bits():
    """int8 by int8 multiplies integers and scales the sums; with A of 16 bits the scale stays."""
    w = weight(
        values=torch.ones(16, 64, dtype=torch.int8), W_dtype="int8", scale=torch.full((16, 1), 0.5), zeros=None,
        group_size=-1, activation=ActivationScheme("int8"),
    )  # fmt: skip
    config = bq.MatmulConfig(M=1, **w.config_fields())
    assert (config.with_channel_scale, config.with_scaling, config.reduce_dtype) == (
        True,
        False,
        "int32",
    )
    operands = w.operands(config)
    assert (operands["scale"], operands["channel_scale"].shape) == (None, (16,))
    wide = bq.MatmulConfig(M=1, **w.config_fields(A_dtype="float16"))
    assert (wide.with_channel_scale, wide.with_scaling) == (False, True)
    assert w.operands(wide)["scale"].shape == (16, 1)
    with pytest.raises(bq.ConfigError, match="must be made of this weight's config_fields"):
        weight().operands(wide)


@pytest.mark.parametrize(("scheme", "A_dtype"), [
    (ActivationScheme("int8"), "int8"),
    (ActivationScheme("float8_e4m3", "tensor", is_dynamic=False), "float8_e4m3"),
    (ActivationScheme("int8", is_symmetric=False), None),
    (ActivationScheme("float8_e4m3", "group", group_size=128), None),
    (ActivationScheme("fp4_e2m1", "group", group_size=16), None),
])  # fmt: skip
def test_schemes_that_a_kernel_takes(scheme, A_dtype):
    """One factor a row and no zero point; else A keeps 16 bits."""
    assert scheme.A_dtype == A_dtype
    w = weight(values=torch.ones(16, 64, dtype=torch.int8), activation=scheme, dtype="bfloat16")
    assert w.config_fields()["A_dtype"] == (A_dtype or "bfloat16")


def test_experts():
    """An expert is a weight of its own; all of them dequantize at once."""
    one = weight()
    stacked = dataclasses.replace(
        one,
        **{name: torch.stack([getattr(one, name)] * 3) for name in ("values", "scale", "zeros", "bias")},
    )
    assert (stacked.experts, stacked.N, stacked.K, one.experts) == (3, 16, 64, None)
    assert stacked.num_bytes == 3 * one.num_bytes == 3 * (16 * 64 // 2 + 16 * 2 * 2 + 16 * 2 // 2)
    assert torch.equal(stacked.dequantize()[1], one.dequantize())
    assert torch.equal(stacked.expert(2).dequantize(), one.dequantize())
    assert repr(stacked).startswith("QuantizedWeight(experts=3, N=16, K=64, uint4, groups of 32")
    for bad in (3, -1):
        with pytest.raises(bq.ConfigError, match="'index' must be that of one of 3 experts"):
            stacked.expert(bad)
    with pytest.raises(bq.ConfigError, match="take expert"):
        stacked.operands(bq.MatmulConfig(M=1, **stacked.config_fields()))
