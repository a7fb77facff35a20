# SPDX-License-Identifier: Apache-2.0
"""Variants that no fixture has, packed by writers of our own: each gives the weight that went in."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import bitquant as bq
from bitquant.formats import number_format
from bitquant.formats.codebooks import NF4_VALUES

from . import packers
from .packers import draw, draw_scale, layer, pack_rows, spread, words_with_gaps, write

PATH = "model.layers.0.mlp.up_proj"
GPTQMODEL = {"meta": {"quantizer": ["gptqmodel:7.7.0"]}}


def read(directory, tensors, quantization, on_unsupported="error", **fields):
    """Write a checkpoint of one layer and return what is read."""
    checkpoint = bq.read_checkpoint(write(directory, layer(PATH, **tensors), quantization, **fields), on_unsupported)
    assert list(checkpoint) == [PATH]
    return checkpoint[PATH]


def assert_equal(weight, expected):
    """The dequantized weight is what float64 says, rounded to float32 once."""
    torch.testing.assert_close(weight.dequantize(), expected.float(), rtol=0, atol=0)


# GPTQ.


@pytest.mark.parametrize(("bits", "stored"), [
    *((bits, "v2") for bits in (2, 3, 4, 8)), (2, "words"), (3, "fields"), (4, "words"), (8, "words"),
])  # fmt: skip
def test_gptq_asymmetric(bits, stored, tmp_path):
    """Every width, v1 and v2, with zero points from 0 on: those of v1 borrow from the next field, but for 3 bits."""
    N, K, group = 32, 64, 32
    codes, zeros, scale = (
        draw((N, K), bits),
        draw((N, K // group), bits, 5),
        draw_scale((N, K // group)),
    )
    tensors = packers.gptq(codes, zeros, scale, bits, torch.arange(K) // group, stored)
    config = {"quant_method": "gptq", "bits": bits, "group_size": group, "sym": False, **GPTQMODEL}
    config["checkpoint_format"] = "gptq_v2" if stored == "v2" else "gptq"
    weight = read(tmp_path, tensors, config)
    assert (weight.W_dtype, weight.zeros_mode, weight.permutation) == (
        f"uint{bits}",
        "quantized",
        None,
    )
    assert_equal(weight, (codes - spread(zeros, group)) * spread(scale, group))


@pytest.mark.parametrize("quantization", [
    {"quant_method": "auto-round", "packing_format": "auto_round:gptqmodel"},
    {"quant_method": "auto-round", "packing_format": "auto_round"},
    {"quant_method": "auto-round", "packing_format": "auto_round:auto_gptq"},
    {"quant_method": "gptq", "provider": "auto-round"},
    {},  # AutoGPTQ's own quantize_config.json
], ids=["v2", "v2-short", "v1", "gptq", "none"])  # fmt: skip
def test_gptq_spellings(quantization, tmp_path):
    """What AutoRound and AutoGPTQ call GPTQ is read as what it is, v1 or v2."""
    codes, zeros, scale = draw((8, 32), 4), draw((8, 1), 4) % 14 + 1, draw_scale((8, 1))
    is_v2 = "gptqmodel" in quantization.get("packing_format", "") or quantization.get("packing_format") == "auto_round"
    tensors = packers.gptq(codes, zeros, scale, 4, torch.zeros(32), "v2" if is_v2 else "fields")
    del tensors["g_idx"]
    weight = read(tmp_path, tensors, {"bits": 4, "group_size": 32, **quantization})
    assert_equal(weight, (codes - zeros.double()) * scale.double())


def test_gptq_groups_that_do_not_divide_K_become_the_greatest_that_do(tmp_path):
    """K=96 in groups of 64: the second has 32 columns, and both are written as groups of 32."""
    codes, zeros, scale = draw((8, 96), 4), draw((8, 2), 4), draw_scale((8, 2))
    tensors = packers.gptq(codes, zeros, scale, 4, torch.arange(96) // 64)
    weight = read(
        tmp_path,
        tensors,
        {"quant_method": "gptq", "bits": 4, "group_size": 64, "checkpoint_format": "gptq_v2"},
    )
    assert weight.group_size == 32
    assert weight.permutation is None
    assert_equal(weight, (codes - spread(zeros, 64)[:, :96]) * spread(scale, 64)[:, :96])


def test_gptq_act_order_gathers_columns(tmp_path):
    """With an unsorted g_idx columns are sorted by group, and A is gathered the same way."""
    N, K, group = 8, 64, 16
    g_idx = (torch.arange(K) // group)[torch.randperm(K, generator=torch.Generator().manual_seed(4))]
    codes, zeros, scale = draw((N, K), 4), draw((N, K // group), 4, 5), draw_scale((N, K // group))
    tensors = packers.gptq(codes, zeros, scale, 4, g_idx)
    config = {
        "quant_method": "gptq",
        "bits": 4,
        "group_size": group,
        "desc_act": True,
        "checkpoint_format": "gptq_v2",
    }
    weight = read(tmp_path, tensors, config)
    expected = (codes - zeros.double()[:, g_idx]) * scale.double()[:, g_idx]
    assert_equal(weight, expected)
    assert weight.group_size == group
    assert torch.equal(g_idx[weight.permutation], torch.arange(K) // group)
    A = torch.randn(3, K, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    sorted_weight = (weight.values - spread(weight.zeros, group)) * spread(weight.scale, group)
    torch.testing.assert_close(A[..., weight.permutation] @ sorted_weight.T, A @ expected.T)


def test_gptq_groups_in_another_order_need_no_gathering(tmp_path):
    """Groups that are runs of columns, in whatever order, keep the order of columns."""
    g_idx = torch.tensor([2, 0, 3, 1]).repeat_interleave(16)
    codes, zeros, scale = draw((8, 64), 4), draw((8, 4), 4, 5), draw_scale((8, 4))
    config = {"quant_method": "gptq", "bits": 4, "group_size": 16, "checkpoint_format": "gptq_v2"}
    weight = read(tmp_path, packers.gptq(codes, zeros, scale, 4, g_idx), config)
    assert weight.permutation is None
    assert_equal(weight, (codes - zeros.double()[:, g_idx]) * scale.double()[:, g_idx])


def test_gptq_layers_of_their_own_widths(tmp_path):
    """With "dynamic" or "extra_config" a layer's shapes say its bits and groups."""
    codes, zeros, scale = draw((32, 64), 8), draw((32, 2), 8), draw_scale((32, 2))
    tensors = packers.gptq(codes, zeros, scale, 8, torch.arange(64) // 32)
    config = {"quant_method": "gptq", "bits": 4, "group_size": 64, "checkpoint_format": "gptq_v2"}
    weight = read(tmp_path, tensors, {**config, "dynamic": {"+:.*up.*": {"bits": 8, "group_size": 32}}})
    assert_equal(weight, (codes - spread(zeros, 32)) * spread(scale, 32))


@pytest.mark.parametrize(("zeros_at", "quantization", "message"), [
    (0, {}, "zero point that is stored as 15"),
    (3, {"checkpoint_format": "marlin"}, "checkpoint_format 'marlin' is not read"),
    (3, {"desc_act": True}, "is missing, though desc_act is true"),
    (3, {"group_size": 16}, "must have one row a group, 2 for K=32 and group_size=16"),
    (3, {"bits": 8}, "for 8 bits"),
])  # fmt: skip
def test_gptq_refusals(zeros_at, quantization, message, tmp_path):
    """What a file leaves open or what is not read is refused: nobody but gptqmodel borrows."""
    tensors = packers.gptq(
        draw((8, 32), 4),
        torch.full((8, 1), zeros_at),
        draw_scale((8, 1)),
        4,
        torch.zeros(32),
        "fields",
    )
    del tensors["g_idx"]
    with pytest.raises(bq.CheckpointError, match=message):
        read(tmp_path, tensors, {"quant_method": "gptq", "bits": 4, "group_size": 32, **quantization})


def test_gptq_of_3_bits_by_an_old_gptqmodel_is_refused(tmp_path):
    """Before 7 gptqmodel had offsets of another kind for 3 bits; nothing tells them apart but its version."""
    tensors = packers.gptq(draw((32, 32), 3), draw((32, 1), 3), draw_scale((32, 1)), 3, torch.zeros(32), "fields")
    config = {
        "quant_method": "gptq",
        "bits": 3,
        "group_size": 32,
        "meta": {"quantizer": "gptqmodel:5.8.0"},
    }
    with pytest.raises(bq.CheckpointError, match="was written by gptqmodel 5"):
        read(tmp_path, tensors, config)


# AWQ.


@pytest.mark.parametrize("quantization", [
    {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm"},
    {"w_bit": 4, "q_group_size": 32, "version": "GEMM"},
    {"quant_method": "auto-round", "bits": 4, "group_size": 32, "packing_format": "auto_round:auto_awq"},
], ids=["transformers", "autoawq", "auto-round"])  # fmt: skip
def test_awq(quantization, tmp_path):
    """Eight outputs share a word in AWQ's own order; zero points are as they are."""
    codes, zeros, scale = draw((16, 96), 4), draw((16, 3), 4, 5), draw_scale((16, 3))
    weight = read(tmp_path, packers.awq(codes, zeros, scale), quantization)
    assert_equal(weight, (codes - spread(zeros, 32)) * spread(scale, 32))


@pytest.mark.parametrize(("change", "message"), [
    ({"version": "gemv"}, "version 'gemv' is not read"), ({"bits": 8}, "must have 4 bits"),
])  # fmt: skip
def test_awq_refusals(change, message, tmp_path):
    """Other orders of AWQ are refused."""
    tensors = packers.awq(draw((16, 32), 4), draw((16, 1), 4), draw_scale((16, 1)))
    with pytest.raises(bq.CheckpointError, match=message):
        read(tmp_path, tensors, {"quant_method": "awq", "bits": 4, "group_size": 32, **change})


# compressed-tensors.


def ct_config(form, weights, inputs=None, **more):
    """A config with one group."""
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "format": form}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "config_groups": {"group_0": group},
        **more,
    }


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
def test_ct_packed(bits, symmetric, gaps, tmp_path):
    """Every width in both packings; zero points are packed along the outputs."""
    N, K, group = 32, 64, 32
    codes, zeros, scale = (
        draw((N, K), bits),
        draw((N, K // group), bits, 5),
        draw_scale((N, K // group)),
    )
    pack = words_with_gaps if gaps else packers.words
    tensors = {
        "weight_packed": pack_rows(codes, bits, pack), "weight_scale": scale, "weight_shape": torch.tensor([N, K]),
    }  # fmt: skip
    if not symmetric:
        tensors["weight_zero_point"] = pack_rows(zeros.T, bits, pack).T
    weights = {
        "num_bits": bits,
        "type": "int",
        "strategy": "group",
        "group_size": group,
        "symmetric": symmetric,
    }
    weight = read(tmp_path, tensors, ct_config("pack-quantized", weights))
    subtracted = torch.full_like(zeros, 1 << (bits - 1)) if symmetric else zeros
    assert weight.W_dtype == f"{'int' if symmetric else 'uint'}{bits}"
    assert_equal(weight, (codes - spread(subtracted, group)) * spread(scale, group))


def test_ct_packed_that_may_be_either_is_refused(tmp_path):
    """20 codes of 3 bits take two words in both packings, which differ."""
    codes = draw((32, 20), 3)
    weights = {"num_bits": 3, "type": "int", "strategy": "channel", "symmetric": True}
    tensors = {
        "weight_packed": pack_rows(codes, 3), "weight_scale": draw_scale((32, 1)),
        "weight_shape": torch.tensor([32, 20]),
    }  # fmt: skip
    with pytest.raises(bq.CheckpointError, match="may be packed in two ways"):
        read(tmp_path, tensors, ct_config("pack-quantized", weights))


def test_ct_packed_with_g_idx(tmp_path):
    """weight_g_idx, of earlier versions, is act-order."""
    g_idx = torch.arange(64) % 2
    codes, scale = draw((8, 64), 4), draw_scale((8, 2))
    weights = {
        "num_bits": 4,
        "type": "int",
        "strategy": "group",
        "group_size": 32,
        "symmetric": True,
    }
    tensors = {
        "weight_packed": pack_rows(codes, 4), "weight_scale": scale, "weight_shape": torch.tensor([8, 64]),
        "weight_g_idx": g_idx.to(torch.int32),
    }  # fmt: skip
    weight = read(tmp_path, tensors, ct_config("pack-quantized", weights))
    assert_equal(weight, (codes - 8) * scale.double()[:, g_idx])


@pytest.mark.parametrize("symmetric", [True, False])
def test_ct_int8(symmetric, tmp_path):
    """int8 by row, with and without zero points, and static inputs."""
    values, scale = draw((8, 32), 8) - 128, draw_scale((8, 1), torch.bfloat16)
    zeros = (draw((8, 1), 8, 5) - 128).to(torch.int8)
    tensors = {
        "weight": values.to(torch.int8),
        "weight_scale": scale,
        "input_scale": torch.tensor([0.5]),
    }
    weights = {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": symmetric}
    if not symmetric:
        tensors["weight_zero_point"] = zeros
    inputs = {
        "num_bits": 8,
        "type": "int",
        "strategy": "tensor",
        "dynamic": False,
        "symmetric": True,
    }
    weight = read(tmp_path, tensors, ct_config("int-quantized", weights, inputs))
    assert_equal(weight, (values - (0 if symmetric else zeros.double())) * scale.double())
    assert (
        weight.activation.A_dtype,
        weight.activation.is_dynamic,
        weight.activation.scale.item(),
    ) == (
        "int8",
        False,
        0.5,
    )
    fields = weight.config_fields()
    assert (fields["with_channel_scale"], fields["with_scaling"], fields["accum_dtype"]) == (
        True,
        False,
        "int32",
    )


@pytest.mark.parametrize(("strategy", "shape"), [
    ("tensor", ()), ("tensor", (1,)), ("channel", (24,)), ("channel", (24, 1)), ("group", (24, 3)), ("block", (2, 2)),
])  # fmt: skip
def test_ct_float8(strategy, shape, tmp_path):
    """float8 with a scale for the tensor, a row, a group or a block, the last ones of which are ragged."""
    N, K = 24, 96
    values = torch.randn(N, K, generator=torch.Generator().manual_seed(2)).to(torch.float8_e4m3fn)
    scale = draw_scale(shape, torch.float32)
    weights = {"num_bits": 8, "type": "float", "strategy": strategy, "symmetric": True}
    weights |= {"group_size": 32} if strategy == "group" else {}
    weights |= {"block_structure": [16, 64]} if strategy == "block" else {}
    weight = read(tmp_path, {"weight": values, "weight_scale": scale}, ct_config("float-quantized", weights))
    rows, columns = {"group": (1, 32), "block": (16, 64)}.get(strategy, (1, K))
    grid = scale.reshape(-1, 1) if scale.ndim < 2 else scale
    expected = grid.repeat_interleave(rows, 0).repeat_interleave(columns, 1)[:N, :K].expand(N, K)
    assert torch.equal(weight.dequantize(), values.float() * expected)


def test_ct_groups_of_layers(tmp_path):
    """A config group that names a layer, by its path or an expression, goes before one for a class."""
    config = ct_config("mixed-precision", {"num_bits": 4, "type": "int", "strategy": "channel", "symmetric": True})
    config["config_groups"]["group_1"] = {
        "targets": ["re:.*down_proj$"],
        "weights": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True},
    }
    config["config_groups"]["group_2"] = {"targets": ["lm_head"], "weights": {"num_bits": 2}}
    four, eight, scale = draw((8, 32), 4), draw((8, 32), 8), draw_scale((8, 1))
    shape = torch.tensor([8, 32])
    tensors = {
        **layer("a.up_proj", weight_packed=pack_rows(four, 4), weight_scale=scale, weight_shape=shape),
        **layer("a.down_proj", weight_packed=pack_rows(eight, 8), weight_scale=scale, weight_shape=shape),
    }
    checkpoint = bq.read_checkpoint(write(tmp_path, tensors, config))
    assert_equal(checkpoint["a.up_proj"], (four - 8) * scale.double())
    assert_equal(checkpoint["a.down_proj"], (eight - 128) * scale.double())


@pytest.mark.parametrize(("more", "message"), [
    ({"format": "marlin-24"}, "format 'marlin-24' is not read"),
    ({"sparsity_config": {"format": "sparse-24-bitmask"}}, "sparsity format 'sparse-24-bitmask'"),
    ({"transform_config": {"config_groups": {"u": {}}}}, "transforms"),
    ({"config_groups": {}}, "must have 'config_groups'"),
])  # fmt: skip
def test_ct_refusals(more, message, tmp_path):
    """Sparsity, rotations and other formats are refused at once."""
    config = {**ct_config("int-quantized", {"num_bits": 8}), **more}
    with pytest.raises(bq.CheckpointError, match=message):
        read(
            tmp_path,
            {"weight": torch.zeros(8, 8, dtype=torch.int8), "weight_scale": torch.ones(8, 1)},
            config,
        )


# Small floats.


def test_modelopt_nvfp4_multiplies_by_its_common_scale(tmp_path):
    """ModelOpt's weight_scale_2 multiplies; its parameters stand in a file of their own."""
    codes = draw((8, 64), 4)
    scale = draw_scale((8, 4), torch.float32).mul(1000).to(torch.float8_e4m3fn)
    tensors = {
        "weight": (codes[:, 0::2] | codes[:, 1::2] << 4).to(torch.uint8), "weight_scale": scale,
        "weight_scale_2": torch.tensor(0.0123), "input_scale": torch.tensor(0.5),
    }  # fmt: skip
    write(tmp_path, layer(PATH, **tensors), None)
    parameters = {
        "producer": {"name": "modelopt"},
        "quantization": {"quant_algo": "NVFP4", "group_size": 16},
    }
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(parameters))
    weight = bq.read_checkpoint(tmp_path)[PATH]
    # As its reference: the product of the two scales is rounded to float32, then that with the
    # value.
    both = (scale.float() * 0.0123).repeat_interleave(16, 1)
    assert torch.equal(weight.dequantize(), torch.tensor(number_format("fp4_e2m1").levels)[codes] * both)
    assert weight.activation.A_dtype is None


def test_modelopt_fp8(tmp_path):
    """One scale for the tensor becomes one a row, which leaves the product where A is float8 too."""
    values = torch.randn(8, 32, generator=torch.Generator().manual_seed(2)).to(torch.float8_e4m3fn)
    tensors = {
        "weight": values,
        "weight_scale": torch.tensor(0.7),
        "input_scale": torch.tensor(0.5),
    }
    weight = read(tmp_path, tensors, {"quant_method": "modelopt", "quant_algo": "FP8"})
    assert torch.equal(weight.dequantize(), values.float() * 0.7)
    fields = weight.config_fields()
    assert (fields["A_dtype"], fields["with_channel_scale"], fields["with_activation_scale"]) == (
        "float8_e4m3",
        True,
        True,
    )


def test_modelopt_refuses_what_scales_the_input(tmp_path):
    """pre_quant_scale (AWQ) and other algorithms are refused."""
    tensors = {
        "weight": torch.zeros(8, 32).to(torch.float8_e4m3fn),
        "weight_scale": torch.tensor(0.7),
    }
    with pytest.raises(bq.CheckpointError, match="scales the layer's input"):
        read(
            tmp_path,
            {**tensors, "pre_quant_scale": torch.ones(32)},
            {"quant_method": "modelopt", "quant_algo": "FP8"},
        )
    with pytest.raises(bq.CheckpointError, match="quant_algo 'W4A16_AWQ' is not read"):
        read(tmp_path, tensors, {"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"})


def test_fp8_with_ragged_blocks(tmp_path):
    """Blocks are 128 x 128 whatever the shape; K=160 makes groups of 32."""
    N, K = 192, 160
    values = torch.randn(N, K, generator=torch.Generator().manual_seed(2)).to(torch.float8_e4m3fn)
    scale = draw_scale((2, 2), torch.float32)
    config = {
        "quant_method": "fp8",
        "weight_block_size": [128, 128],
        "activation_scheme": "dynamic",
    }
    weight = read(tmp_path, {"weight": values, "weight_scale_inv": scale}, config)
    assert weight.group_size == 32
    assert torch.equal(
        weight.dequantize(),
        values.float() * scale.repeat_interleave(128, 0).repeat_interleave(128, 1)[:N, :K],
    )
    assert (weight.activation.group_size, weight.activation.A_dtype) == (128, None)


@pytest.mark.parametrize("shape", [(), (1,), (8, 1)])
def test_fp8_without_blocks(shape, tmp_path):
    """Without blocks there is one scale a tensor or row."""
    values = torch.randn(8, 32, generator=torch.Generator().manual_seed(2)).to(torch.float8_e4m3fn)
    scale = draw_scale(shape, torch.float32)
    config = {"quant_method": "fp8", "activation_scheme": "static"}
    weight = read(
        tmp_path,
        {"weight": values, "weight_scale": scale, "input_scale": torch.tensor(0.5)},
        config,
    )
    assert torch.equal(weight.dequantize(), values.float() * scale)
    assert weight.activation.scale.item() == 0.5


# bitsandbytes.


@pytest.mark.parametrize(("N", "K", "group"), [(8, 128, 64), (4, 96, 32), (3, 64, 64)])
def test_bitsandbytes_nf4_blocks_run_over_rows(N, K, group, tmp_path):
    """Blocks of 64 of the flattened weight: with K=96 groups of 32."""
    codes, absmax = draw((N, K), 4), draw_scale((N * K // 64,), torch.float32)
    levels = torch.tensor(NF4_VALUES)
    tensors = packers.bitsandbytes(codes, absmax, levels, "nf4", 64)
    weight = read(tmp_path, tensors, {"quant_method": "bitsandbytes", "load_in_4bit": True})
    assert (weight.W_dtype, weight.group_size) == ("nf4", group)
    expected = levels[codes].flatten() * absmax.repeat_interleave(64)
    assert torch.equal(weight.dequantize(), expected.view(N, K))


def test_bitsandbytes_quantized_scales_and_disguised_bytes(tmp_path):
    """Double quantization, with the offset in the JSON text, and bytes stored as bfloat16."""
    codes, index = draw((4, 64), 4), draw((4,), 8)
    levels, scales = torch.tensor(NF4_VALUES), torch.linspace(-1, 1, 256)
    tensors = packers.bitsandbytes(
        codes,
        index.to(torch.uint8),
        levels,
        "nf4",
        64,
        nested_blocksize=2,
        nested_offset=0.1,
        nested_dtype="float32",
    )
    common = torch.tensor([0.03, 0.05])
    tensors |= {"weight.nested_absmax": common, "weight.nested_quant_map": scales}
    tensors["weight"] = tensors["weight"].view(-1, 2).view(torch.bfloat16)
    weight = read(tmp_path, tensors, {"quant_method": "bitsandbytes", "load_in_4bit": True})
    absmax = scales[index] * common.repeat_interleave(2) + 0.1
    assert torch.equal(weight.dequantize(), levels[codes] * absmax.view(4, 1))


@pytest.mark.parametrize("kind", ["fp4", "nf4"])
def test_bitsandbytes_levels_of_its_own(kind, tmp_path):
    """fp4, and nf4 with other levels, are code4 with these, and stay packed."""
    codes, absmax = draw((4, 64), 4), draw_scale((4,), torch.float32)
    levels = packers.FP4_LEVELS if kind == "fp4" else torch.tensor(NF4_VALUES) * 0.5
    tensors = {
        **packers.bitsandbytes(codes, absmax, levels, kind, 64),
        "bias": torch.ones(4, dtype=torch.float16),
    }
    weight = read(tmp_path, tensors, {"quant_method": "bitsandbytes", "load_in_4bit": True})
    assert (weight.W_dtype, weight.codebook, weight.group_size) == ("code4", tuple(levels.tolist()), 64)
    assert torch.equal(weight.values, codes.to(torch.int8))
    assert torch.equal(weight.dequantize(), levels[codes] * absmax.view(4, 1))
    layer = bq.Linear.from_quantized(weight, opt_M=(16,))
    assert layer.qweight.shape == (4, 32)
    assert torch.equal(layer.dequantize(torch.float32), weight.dequantize())
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(7)).half()
    expected = x.double() @ weight.dequantize().double().T + 1
    assert float((layer(x).double() - expected).abs().max()) < 2e-3 * float(expected.abs().max())


def test_bitsandbytes_levels_that_are_no_numbers(tmp_path):
    """A level that is not finite is refused with the tensor's name."""
    tensors = packers.bitsandbytes(
        draw((4, 64), 4), draw_scale((4,), torch.float32), packers.FP4_LEVELS * float("inf"), "fp4", 64
    )
    with pytest.raises(bq.CheckpointError, match=r"quant_map.* must be finite"):
        read(tmp_path, tensors, {"quant_method": "bitsandbytes", "load_in_4bit": True})


def test_bitsandbytes_refuses_8_bits(tmp_path):
    """LLM.int8 is refused at once."""
    with pytest.raises(bq.CheckpointError, match="8 bits"):
        read(tmp_path, {"weight": torch.zeros(8, 8, dtype=torch.int8)}, {"load_in_8bit": True})


# HQQ.


@pytest.mark.parametrize(("bits", "N", "K", "g"), [
    (8, 8, 64, 32), (4, 8, 64, 32), (3, 8, 64, 32), (2, 8, 64, 32), (1, 8, 64, 32), (4, 4, 96, 64),
])  # fmt: skip
def test_hqq_axis_1(bits, N, K, g, tmp_path):
    """Every width; zero points are fractions; groups may run from one row to the next."""
    R = N * K // g
    matrix, scale, zero = (
        draw((R, g), bits),
        draw_scale((R, 1)),
        (draw_scale((R, 1), seed=9).float() * 100).half(),
    )
    weight = read(tmp_path, packers.hqq(matrix, scale, zero, bits, 1, (N, K)), {"quant_method": "hqq"})
    assert (weight.W_dtype, weight.group_size) == (f"uint{bits}", int(np.gcd(K, g)))
    assert torch.equal(weight.dequantize(), ((matrix - zero.float()) * scale.float()).reshape(N, K))


def test_hqq_axis_0_is_refused_or_dequantized(tmp_path):
    """Groups along axis 0 are strided over rows: no kernel expresses them."""
    matrix, scale, zero = draw((16, 32), 4), draw_scale((1, 32)), draw_scale((1, 32), seed=9)
    tensors = packers.hqq(matrix, scale, zero, 4, 0, (8, 64))
    with pytest.raises(bq.CheckpointError, match="has axis 0: elements of a group are strided over rows"):
        read(tmp_path, tensors, {"quant_method": "hqq"})
    weight = read(tmp_path, tensors, {"quant_method": "hqq"}, "dequantize", dtype="float32")
    assert torch.equal(weight.values, ((matrix - zero.float()) * scale.float()).reshape(8, 64))


# BitNet.


def test_bitnet_online_rounds_plain_weights(tmp_path):
    """Matrices in 16 bits become ternary, but for embeddings and what is listed."""
    weight = torch.randn(8, 32, generator=torch.Generator().manual_seed(2)).to(torch.bfloat16)
    names = (f"{PATH}.weight", "model.embed_tokens.weight", "lm_head.weight", "kept.weight")
    tensors = {**dict.fromkeys(names, weight), f"{PATH}.bias": weight[:, 0]}
    config = {
        "quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online",
        "modules_to_not_convert": ["kept"],
    }  # fmt: skip
    checkpoint = bq.read_checkpoint(write(tmp_path, tensors, config, dtype="bfloat16"))
    assert list(checkpoint) == [PATH]
    s = 1 / weight.float().abs().mean()
    expected = ((weight.float() * s).round().clamp(-1, 1) / s).to(torch.bfloat16)
    assert torch.equal(checkpoint[PATH].dequantize(), expected.float())
    assert set(checkpoint.plain) == set(names[1:])


@pytest.mark.parametrize(("change", "message"), [
    ({"linear_class": "other"}, "must have linear_class"), ({"quantization_mode": "online"}, "needs linear_class"),
    ({"use_rms_norm": True}, "use_rms_norm"),
])  # fmt: skip
def test_bitnet_refusals(change, message, tmp_path):
    """What only the config tells is checked before any weight."""
    tensors = {"weight": torch.zeros(2, 8, dtype=torch.uint8), "weight_scale": torch.ones(1)}
    with pytest.raises(bq.CheckpointError, match=message):
        read(tmp_path, tensors, {"quant_method": "bitnet", **change})


# GGUF.


def test_gguf_names_biases_experts_and_other_types(tmp_path):
    """Layers go by llama.cpp's names; experts have three dimensions; other types are refused or made floats."""
    gguf = pytest.importorskip("gguf")
    kinds, generator = gguf.GGMLQuantizationType, np.random.default_rng(0)
    weight = generator.standard_normal((2, 8, 64)).astype(np.float32)
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    packed = gguf.quants.quantize(weight, kinds.Q8_0)
    writer.add_tensor("blk.0.ffn_up_exps.weight", packed, raw_dtype=kinds.Q8_0)
    writer.add_tensor("blk.0.attn_q.weight", packed[0], raw_dtype=kinds.Q8_0)
    writer.add_tensor("blk.0.attn_q.bias", weight[0, :, 0].copy())
    writer.add_tensor("blk.0.attn_v.weight", gguf.quants.quantize(weight[0], kinds.Q5_0), raw_dtype=kinds.Q5_0)
    writer.add_tensor("output_norm.weight", weight[0, 0].copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    checkpoint = bq.read_checkpoint(tmp_path)
    assert set(checkpoint) == {"blk.0.ffn_up_exps", "blk.0.attn_q", "blk.0.attn_v"}
    assert set(checkpoint.plain) == {"output_norm.weight"}
    assert torch.equal(checkpoint.plain["output_norm.weight"], torch.from_numpy(weight[0, 0]))
    experts, query = checkpoint["blk.0.ffn_up_exps"], checkpoint["blk.0.attn_q"]
    assert (experts.experts, experts.N, experts.K, experts.group_size) == (2, 8, 64, 32)
    reference = torch.from_numpy(gguf.quants.dequantize(packed, kinds.Q8_0))
    assert torch.equal(experts.dequantize(), reference)
    assert torch.equal(experts.expert(1).dequantize(), reference[1])
    assert torch.equal(query.dequantize(), reference[0])
    assert torch.equal(query.bias, torch.from_numpy(weight[0, :, 0]))
    with pytest.raises(bq.CheckpointError, match="is Q5_0; read are Q4_0, Q8_0, Q4_K, Q6_K"):
        checkpoint["blk.0.attn_v"]
    plain = bq.read_checkpoint(tmp_path / "model.gguf", "dequantize")["blk.0.attn_v"]
    floats = gguf.quants.dequantize(gguf.quants.quantize(weight[0], kinds.Q5_0), kinds.Q5_0)
    assert torch.equal(plain.values, torch.from_numpy(floats).half())


# What no format is.


def test_sharded_checkpoint(tmp_path):
    """An index places the tensors of one layer in several files."""
    codes, zeros, scale = draw((16, 32), 4), draw((16, 1), 4), draw_scale((16, 1))
    tensors = layer(PATH, **packers.awq(codes, zeros, scale))
    write(tmp_path, {}, {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm"})
    (tmp_path / "model.safetensors").unlink()
    weight_map = {}
    for i, (name, tensor) in enumerate(tensors.items()):
        shard = f"model-{i + 1:05}-of-00003.safetensors"
        save_file({name: tensor.contiguous()}, tmp_path / shard)
        weight_map[name] = shard
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert_equal(bq.read_checkpoint(tmp_path)[PATH], (codes - zeros.double()) * scale.double())
    (tmp_path / "model-00002-of-00003.safetensors").rename(tmp_path / "elsewhere")
    with pytest.raises(bq.CheckpointError, match="names 1 of 3 files that are not there: model-00002-of-00003"):
        bq.read_checkpoint(tmp_path)
    (tmp_path / "elsewhere").rename(tmp_path / "model-00002-of-00003.safetensors")
    index.write_text(json.dumps({"weight_map": {**weight_map, f"{PATH}.bias": "model-00001-of-00003.safetensors"}}))
    with pytest.raises(bq.CheckpointError, match=r"up_proj\.bias': is missing, though"):
        bq.read_checkpoint(tmp_path)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(weight_map, "../other.safetensors")}))
    with pytest.raises(bq.CheckpointError, match="must name files of its own directory"):
        bq.read_checkpoint(tmp_path)


def test_unquantized_checkpoint_has_no_layers(tmp_path):
    """Without a quantization config all tensors are plain."""
    checkpoint = bq.read_checkpoint(write(tmp_path, {"a.weight": torch.ones(4, 4)}, None))
    assert (checkpoint.format, len(checkpoint), list(checkpoint.plain)) == (None, 0, ["a.weight"])


def test_an_unknown_method_lists_those_that_are_read(tmp_path):
    """The refusal names the method, its file and what is read."""
    directory = write(tmp_path, {"a.weight": torch.ones(4, 4)}, {"quant_method": "quanto"})
    with pytest.raises(
        bq.CheckpointError,
        match=r"config.json: quantization method 'quanto' is not read; read are awq,",
    ):
        bq.read_checkpoint(directory)
