# SPDX-License-Identifier: Apache-2.0
"""Damaged copies of every fixture: an error that names file, layer, tensor and rule, and nothing half-loaded."""

from __future__ import annotations

import json
from random import Random

import pytest
import torch

import bitquant as bq

from .packers import FIXTURES, draw, draw_scale, fixture, gptq, layer, write
from .test_fixtures import EXPECTED

SAFETENSORS = [name for name in EXPECTED if name != "gguf-blocks"]

#: Tensors without which a weight is still whole: hints about the input, and what is not read.
HARMLESS = {
    "input_global_scale", "bias", "group_size", "channel_wise", "quant_scale", "quant_zero", "view_as_float",
    "compute_dtype", "encoded_state_dict", "offload_meta", "optimize", "round_zero", "stores_quant_config",
    "unpack_view_dtype",
}  # fmt: skip
NEVER_READ = {
    "compute_dtype", "encoded_state_dict", "offload_meta", "optimize", "round_zero", "stores_quant_config",
    "unpack_view_dtype", "view_as_float",
}  # fmt: skip


def damaged(name, directory, change):
    """Write a fixture with one layer changed by `change`, (tensors, roles) -> None; return it and the layer."""
    tensors, config = fixture(name)
    checkpoint = bq.read_checkpoint(FIXTURES / name)
    path = next(p for p in checkpoint if p.endswith(("k_proj", "experts.down_proj")))
    change(tensors, checkpoint.tensors(path))
    quantization = config.pop("quantization_config")
    return write(directory, tensors, quantization, **config), path


def load(directory, path):
    """Open a checkpoint and read one layer."""
    return bq.read_checkpoint(directory)[path]


def roles_of(name):
    """Roles of the tensors of the layer that is damaged."""
    checkpoint = bq.read_checkpoint(FIXTURES / name)
    return sorted(checkpoint.tensors(next(p for p in checkpoint if p.endswith(("k_proj", "experts.down_proj")))))


@pytest.mark.parametrize("name", SAFETENSORS)
def test_a_missing_tensor(name, tmp_path):
    """Without any one tensor of a layer the checkpoint is refused when it is opened, or the layer when it is read."""
    for role in roles_of(name):
        sorted_anyway = role == "g_idx" and "actorder" not in name
        if role in HARMLESS or sorted_anyway:
            continue
        directory, path = damaged(name, tmp_path / role, lambda tensors, names, role=role: tensors.pop(names[role]))
        with pytest.raises(bq.CheckpointError) as caught:
            load(directory, path)
        assert str(directory) in str(caught.value), role
        assert path in str(caught.value), role


#: Tensors of which each number of rows makes a weight, so that only the model can tell that one is
#: lost.
ANY_ROWS = {("bitnet", "weight"), ("fp8", "weight")}


@pytest.mark.parametrize("name", SAFETENSORS)
def test_a_tensor_of_the_wrong_shape(name, tmp_path):
    """A tensor that lost its last row, or a dimension, is refused and named."""

    def shorten(tensors, names, role):
        tensor = tensors[names[role]]
        if (EXPECTED[name][0], role) in ANY_ROWS:
            tensors[names[role]] = tensor.flatten()
        else:
            tensors[names[role]] = tensor[:-1] if tensor.ndim else torch.stack([tensor, tensor])

    for role in roles_of(name):
        if role in NEVER_READ:
            continue
        directory, path = damaged(
            name, tmp_path / role, lambda tensors, names, role=role: shorten(tensors, names, role)
        )
        with pytest.raises(bq.CheckpointError) as caught:
            load(directory, path)
        message = str(caught.value)
        assert str(directory) in message, role
        assert path in message, role
        assert caught.value.values["layer"] == path


@pytest.mark.parametrize("name", SAFETENSORS)
def test_a_tensor_of_the_wrong_type(name, tmp_path):
    """A tensor in another type is refused before its data is read."""

    def cast(tensors, names, role):
        tensor = tensors[names[role]]
        tensors[names[role]] = tensor.to(torch.float64 if tensor.is_floating_point() else torch.int16)

    for role in roles_of(name):
        if role in NEVER_READ:
            continue
        directory, path = damaged(name, tmp_path / role, lambda tensors, names, role=role: cast(tensors, names, role))
        with pytest.raises(bq.CheckpointError, match=r"float64|int16") as caught:
            load(directory, path)
        assert str(directory) in str(caught.value), role


@pytest.mark.parametrize("name", EXPECTED)
def test_a_truncated_file(name, tmp_path):
    """A file that lost its end is refused when it is opened, by name."""
    file = "weights.gguf" if name == "gguf-blocks" else "model.safetensors"
    whole = (FIXTURES / name / file).read_bytes()
    if file == "model.safetensors":
        (tmp_path / "config.json").write_bytes((FIXTURES / name / "config.json").read_bytes())
    for kept in (len(whole) - 1, len(whole) // 2, 100, 0):
        (tmp_path / file).write_bytes(whole[:kept])
        with pytest.raises(bq.CheckpointError, match=rf"{file}: must be a whole .* file") as caught:
            bq.read_checkpoint(tmp_path)
        assert "fetch the file again" in str(caught.value)


# Numbers that are out of range.


def spoil(role, value, index=0):
    """Return a change that sets one element of a tensor."""

    def change(tensors, names):
        flat = tensors[names[role]].view(torch.uint8 if role == "packing" else tensors[names[role]].dtype).view(-1)
        flat[index] = value

    return change


@pytest.mark.parametrize(("name", "role", "value", "message"), [
    ("gptq-w4g64-asym-actorder", "g_idx", 2, r"must hold groups 0\.\.1 \(got 0\.\.2\)"),
    ("gptq-w4g64-asym-actorder", "g_idx", -1, r"must hold groups 0\.\.1 \(got -1\.\.1\)"),
    ("gptq-w8-channel-sym", "scales", float("inf"), "must be finite"),
    ("awq-w4g128-gemm", "scales", float("nan"), "must be finite"),
    ("bitnet-packed-bitlinear", "weight", 255, "must hold codes 0, 1, 2 of ternary weights"),
    ("bitnet-packed-bitlinear", "weight_scale", 0.0, "must not be 0"),
    ("ct-mxfp4a16", "weight_scale", 255, "E8M0 byte 255"),
    ("gptoss-mxfp4", "scales", 255, "E8M0 byte 255"),
    ("ct-nvfp4", "weight_global_scale", 0.0, "must be positive"),
    ("ct-w4a16-g128-sym", "weight_shape", 63, r"must be \(N, K\) of the weight"),
    ("hqq-4b-g64-axis1", "packing", 65, "must be one of 8bit_u8"),
    ("hqq-4b-g64-axis1", "axis", 2, "must have axis 0 or 1"),
    ("bnb-nf4-dq-qwen2-bias", "weight.quant_state.bitsandbytes__nf4", 0, "must hold JSON text"),
    ("bnb-nf4-dq-qwen2-bias", "weight.nested_absmax", float("inf"), "must be finite"),
])  # fmt: skip
def test_a_number_out_of_range(name, role, value, message, tmp_path):
    """Codes, groups and scales that mean nothing are refused and named."""
    directory, path = damaged(name, tmp_path, spoil(role, value))
    with pytest.raises(bq.CheckpointError, match=message) as caught:
        load(directory, path)
    assert path in str(caught.value)


def test_groups_of_unequal_size(tmp_path):
    """A g_idx that gives one group more columns than it may have is refused."""
    g_idx = torch.tensor([0] * 17 + [1] * 15)
    tensors = gptq(draw((8, 32), 4), draw((8, 2), 4), draw_scale((8, 2)), 4, g_idx)
    config = {"quant_method": "gptq", "bits": 4, "group_size": 16, "checkpoint_format": "gptq_v2"}
    directory = write(tmp_path, layer("a", **tensors), config)
    with pytest.raises(bq.CheckpointError, match=r"must give each group 1 to 16 columns \(got 17 for group 0\)"):
        load(directory, "a")


def test_a_quantized_matrix_of_no_layer(tmp_path):
    """A matrix of codes that no layer claims is not passed on as a plain tensor."""
    tensors = {"a.weight": torch.zeros(8, 8, dtype=torch.uint8)}
    with pytest.raises(
        bq.CheckpointError,
        match=r"tensor 'a.weight': is uint8, shape \(8, 8\), and belongs to no layer",
    ):
        bq.read_checkpoint(write(tmp_path, tensors, {"quant_method": "bitsandbytes", "load_in_4bit": True}))
    with pytest.raises(bq.CheckpointError, match="no quantization config is there"):
        bq.read_checkpoint(write(tmp_path, tensors, None))


def test_a_gguf_of_no_sense(tmp_path):
    """Bytes that are no GGUF file are refused by name."""
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF" + bytes(range(200)))
    with pytest.raises(bq.CheckpointError, match="must be a whole GGUF file"):
        bq.read_checkpoint(file)


ODD = (None, -1, 10**40, 1.5, True, "../x", [], {}, [1], {"a": 1}, [[]])


def paths_of(value, before=()):
    """Paths to everything in nested JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, inside in items:
        yield (*before, key)
        yield from paths_of(inside, (*before, key))


@pytest.mark.parametrize("name", SAFETENSORS)
def test_a_quantization_config_with_odd_values(name, tmp_path):
    """Whatever stands in a field of the parameters, layers are read as before or refused in bitquant's words."""
    tensors, config = fixture(name)
    quantization = config.pop("quantization_config")
    right = bq.read_checkpoint(FIXTURES / name)
    path = next(iter(right))
    directory = write(tmp_path, tensors, quantization, **config)
    for number, place in enumerate(paths_of(quantization)):
        changed = json.loads(json.dumps(quantization))
        inside = changed
        for key in place[:-1]:
            inside = inside[key]
        for value in (ODD[number % len(ODD)], ODD[(number + 5) % len(ODD)]):
            inside[place[-1]] = value
            (directory / "config.json").write_text(json.dumps({**config, "quantization_config": changed}))
            try:
                checkpoint = bq.read_checkpoint(directory)
                weight = checkpoint.get(path)
            except bq.BitquantError as error:
                assert len(str(error)) < 1500  # noqa: PT017
            else:
                assert weight is None or weight.values.shape == right[path].values.shape


def test_bytes_of_a_gguf_file_that_are_others(tmp_path):
    """A header with other bytes, or a part of a file, is read or refused in bitquant's words; nothing is waited for."""
    content, random = (FIXTURES / "gguf-blocks" / "weights.gguf").read_bytes(), Random(0)
    file = tmp_path / "weights.gguf"
    for i in range(150):
        changed = bytearray(content if i % 3 else content[: random.randrange(1200)])
        for _ in range(random.choice((1, 2, 8))):
            changed[random.randrange(min(1200, len(changed)))] = random.randrange(256)
        file.write_bytes(changed)
        try:
            checkpoint = bq.read_checkpoint(file)
            for path in checkpoint:
                checkpoint[path]
        except bq.BitquantError as error:
            assert str(file) in str(error)  # noqa: PT017
