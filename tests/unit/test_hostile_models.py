# SPDX-License-Identifier: Apache-2.0
"""Directories of strangers: no code of theirs runs, nothing outside of them is read, and what they say is checked.

tests/unit/checkpoints/test_damage.py has damaged weights of each format.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import struct
import sys

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

import bitquant as bq
from bitquant.cli.generate import _load_tokenizer
from bitquant.nn import Linear
from bitquant.nn.hub import BitquantConfig, BitquantQuantizer
from bitquant.nn.saved_layers import layer_fields

SIZES = dict(
    hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=64, max_position_embeddings=64,
)  # fmt: skip
UP = "model.layers.0.mlp.up_proj"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two directories of a small model: as it is, and quantized."""
    place = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SIZES)).half()
    model.save_pretrained(place / "plain")
    bq.quantize_model(model, group_size=32, opt_M=(1,)).save_pretrained(place / "quantized")
    return {"plain": place / "plain", "quantized": place / "quantized"}


@pytest.fixture(params=["plain", "quantized"])
def directory(request, saved, tmp_path):
    """A copy of one of them, to be changed."""
    return shutil.copytree(saved[request.param], tmp_path / "model")


def change(directory, **fields):
    """Change fields of a config.json."""
    file = directory / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def refused(directory, match):
    """Loading is a CheckpointError that names the directory, in few words."""
    with pytest.raises(bq.CheckpointError, match=match) as caught:
        bq.load_model(directory, "cpu")
    assert str(directory) in str(caught.value)
    assert len(str(caught.value)) < 1500 + 3 * len(str(directory))


@pytest.fixture
def no_evil(tmp_path, monkeypatch):
    """A line of code that leaves a trace, which nothing may; nor is anybody asked."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody is asked whether to run code"))
    yield f"open({str(tmp_path / 'trace')!r}, 'w').close()\n"
    assert not (tmp_path / "trace").exists()
    assert "evil" not in sys.modules


# Code.


def test_code_of_a_checkpoint_does_not_run(directory, no_evil):
    """Modules beside the weights are not imported, whatever config.json says, and nobody is asked."""
    (directory / "evil.py").write_text(no_evil)
    (directory / "custom_generate").mkdir()
    (directory / "custom_generate" / "generate.py").write_text(no_evil)
    auto_map = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    change(directory, auto_map=auto_map, architectures=["Evil"])
    assert type(bq.load_model(directory, "cpu")) is LlamaForCausalLM
    change(directory, model_type="evil")
    refused(directory, "is of no model that transformers reads.*code that a checkpoint brings is not run")


def test_code_of_a_tokenizer_does_not_run(directory, no_evil):
    """`bitquant generate` asks transformers for a tokenizer, and not for one of the checkpoint's own."""
    (directory / "evil.py").write_text(no_evil)
    fields = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    (directory / "tokenizer_config.json").write_text(json.dumps(fields))
    with pytest.raises(bq.CheckpointError, match="has no tokenizer that transformers can load"):
        _load_tokenizer(transformers, directory)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("value", ["evil/kernel", "kernels-community/flash-attn", "flash_attention_2", {"": "a/b"}, 5])
def test_kernels_of_the_hub_are_not_fetched(directory, key, value):
    """A checkpoint does not choose programs that transformers would fetch."""
    change(directory, **{key: value})
    refused(directory, "'attn_implementation' must be 'eager', 'sdpa' or left out")


def test_pickles_are_not_read(directory, no_evil):
    """A pickle is never opened: neither in the place of the weights, nor where config.json names it."""

    class Evil:
        def __reduce__(self):
            return exec, (no_evil,)

    torch.save({"lm_head.weight": Evil()}, directory / "pytorch_model.bin")
    torch.save({"lm_head.weight": Evil()}, directory / "adapter_model.bin")
    change(directory, transformers_weights="adapter_model.bin")
    bq.load_model(directory, "cpu")  # model.safetensors is there.
    (directory / "model.safetensors").unlink()
    refused(directory, r"holds pickled tensors \(adapter_model.bin, pytorch_model.bin\), which are not read")


def test_adapters_are_not_left_out(directory):
    """A directory with adapters is refused: the model alone would be another one."""
    (directory / "adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')
    refused(directory, "has adapters")


@pytest.mark.parametrize(
    "names", [["pipeline"], ["utils"], ["__class__"], ["LlamaConfig"], [5, None], "Llama", {"a": 1}]
)
def test_architectures_that_are_no_models(saved, tmp_path, names):
    """Whatever else transformers has under a name is not called; the model is that of the config."""
    directory = shutil.copytree(saved["quantized"], tmp_path / "model")
    change(directory, architectures=names)
    assert type(bq.load_model(directory, "cpu")) is LlamaForCausalLM


# Files.


@pytest.mark.parametrize(
    "name",
    ["../outside.safetensors", "{}/outside.safetensors", "a/../../outside.safetensors", "..", "", "a\0b", "x" * 999],
)
def test_index_that_names_files_elsewhere(directory, tmp_path, name):
    """Weights come from files beside the index, and from nowhere else."""
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"weight_map": dict.fromkeys(tensors, name.format(tmp_path))}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(directory, "must name files of its own directory|files that are not there")


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "model.safetensors.index.json"])
@pytest.mark.parametrize(
    "content", ["[" * 100_000, "[]", "5", '{"a": ', "\udcff", ""], ids=lambda text: text[:3] or "empty"
)
def test_files_that_are_no_json_objects(directory, file, content):
    """JSON that is none, is nested without end, or holds something else is refused in words."""
    if file.endswith("index.json"):
        (directory / "model.safetensors").unlink()
    (directory / file).write_bytes(content.encode(errors="surrogateescape"))
    refused(directory, "")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "loop", "device", "folder"])
def test_files_that_are_none(directory, file, kind):
    """A pipe, a device, a link to itself or a folder for a file: nobody waits, and nothing endless is read."""
    (directory / file).unlink()
    {
        "pipe": os.mkfifo, "loop": lambda path: path.symlink_to(path.name),
        "device": lambda path: path.symlink_to("/dev/zero"), "folder": lambda path: path.mkdir(),
    }[kind](directory / file)  # fmt: skip
    refused(directory, "")


LIES = {
    "shape": {"shape": [10**9, 10**9]}, "negative": {"shape": [-1, 32]}, "offset": {"data_offsets": [0, 10**15]},
    "type": {"dtype": "F64"}, "no type": {"dtype": "EVIL"}, "overlap": {"data_offsets": [0, 3072]},
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_headers_that_lie(saved, tmp_path, lie):
    """A header of safetensors that the file does not bear out is refused before anything is read."""
    directory = shutil.copytree(saved["quantized"], tmp_path / "model")
    file = directory / "model.safetensors"
    content = file.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header[f"{UP}.qweight"] |= LIES[lie]
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    refused(directory, "must be a whole safetensors file")


# What config.json says of quantized layers.

LAYERS = {
    "no object": [], "a number": 5, "none": None, "no fields": {UP: []}, "no layer": {"model.evil": {}},
    "a program": {UP: {"layer": "os.system"}}, "a list": {UP: {"layer": []}}, "sizes": {UP: {"in_features": 10**12}},
    "a target": {UP: {"target": "llvm -cl-opt=-x"}}, "tuning": {UP: {"enable_tuning": True}},
    "a device": {UP: {"device": "cuda"}}, "many": {f"a{i}": {} for i in range(10_000)},
}  # fmt: skip


@pytest.mark.parametrize("layers", LAYERS)
def test_layers_that_are_none(saved, tmp_path, layers):
    """The layers of a saved model are what `save_pretrained` writes: no targets, no sizes, no other classes."""
    directory = shutil.copytree(saved["quantized"], tmp_path / "model")
    config = json.loads((directory / "config.json").read_text())["quantization_config"]
    change(directory, quantization_config={**config, "layers": LAYERS[layers]})
    refused(directory, "layer")


ODD = (None, -1, 10**40, 1.5, float("nan"), "x", "../../x", [], {}, [10**40], list(range(1, 9999)), True, "[" * 5000)
#: Fields of a layer, each with those odd values that it may have.
MAY_BE = {
    "A_dtype": (), "W_dtype": (None,), "accum_dtype": (), "out_dtype": (), "group_size": (None, -1),
    "with_scaling": (None, True), "with_zeros": (None, True), "zeros_mode": (None,), "opt_M": (None,),
    "scale_dtype": (None,), "quantize_activations": (), "with_permutation": (True,), "with_channel_scale": (True,),
    "with_activation_scale": (True,), "fast_decoding": (None, -1, 10**40, True),
}  # fmt: skip


def build(fields):
    """Make an empty layer, as loading does."""
    model = torch.nn.ModuleDict({"up": torch.nn.Linear(64, 96, device="meta")})
    BitquantQuantizer(BitquantConfig(layers={"up": fields}), pre_quantized=True)._build(model)


@pytest.mark.parametrize("field", MAY_BE)
def test_fields_of_layers(saved, field):
    """A field of a layer that has none of its values is refused when the layers are made; those here are all."""
    fields = {"A_dtype": "float16", "W_dtype": "uint4", "group_size": 32, "with_scaling": True, "with_zeros": True}
    for value in ODD:
        if any(value is legal or value == legal for legal in MAY_BE[field]):
            continue
        with pytest.raises(bq.ConfigError) as caught:
            build({**fields, field: value})
        assert len(str(caught.value)) < 1500


def test_fields_are_those_that_layers_write():
    """What a layer says of itself is what a config may say of it."""
    options = dict(W_dtype="uint4", group_size=16, with_scaling=True, with_zeros=True, zeros_mode="rescale", opt_M=[1])
    layer = Linear(
        32, 16, A_dtype="int8", out_dtype="bfloat16", accum_dtype="int32", scale_dtype="float16", with_permutation=True,
        quantize_activations=True, with_channel_scale=True, fast_decoding=False, **options,
    )  # fmt: skip
    written = layer_fields(torch.nn.ModuleDict({"up": layer}))["up"]
    assert len(written) == 15
    assert written.keys() == MAY_BE.keys()


# What the tensors of quantized layers are.


def test_tensors_of_layers_that_are_others(saved, tmp_path):
    """A tensor of another shape or type is refused when it is read, and so is a format that is none."""
    tensors = load_file(saved["quantized"] / "model.safetensors")
    state = bytes(tensors[f"{UP}._extra_state"].tolist())

    def text(content):
        return torch.tensor(list(content), dtype=torch.uint8)

    scales, qweight = tensors[f"{UP}.scales"], tensors[f"{UP}.qweight"]
    cases = {
        "qweight": [qweight.int(), qweight.view(torch.uint8), qweight.T.contiguous(), qweight[:1], qweight[0, 0]],
        "scales": [scales.int(), scales[:, :1].contiguous(), scales.reshape(-1)],
        "_extra_state": [
            text(b""), text(b"[" * 100_000), text(b"\xff"), text(state)[None], torch.full((1 << 20,), 32).byte(),
            text(state.replace(b'"version":1', b'"version":true')), text(state.replace(b'"version":1', b'"version":9')),
            text(state.replace(b"uint4", b"int4")), text(state.replace(b"uint4", b"x" * 50_000)),
            text(json.dumps({**json.loads(state), **{f"f{i}": "y" * 99 for i in range(400)}}).encode()),
        ],
    }  # fmt: skip
    for part, values in cases.items():
        for i, value in enumerate(values):
            directory = tmp_path / f"{part}{i}"
            directory.mkdir()
            shutil.copy(saved["quantized"] / "config.json", directory)
            changed = {**copy.copy(tensors), f"{UP}.{part}": value.clone()}
            save_file(changed, directory / "model.safetensors", {"format": "pt"})
            refused(directory, "format of a layer must be|stored weight is another one|must be torch|cannot load it")
