# SPDX-License-Identifier: Apache-2.0
"""Experts of checkpoints: the layouts in which they are shipped, against the same model with dequantized weights."""

from __future__ import annotations

import copy
import json
import re
import shutil
import warnings
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import bitquant as bq
from bitquant.arch import resolve_gpu
from bitquant.nn import ExpertsLinear, ModelWarning, checkpoint_loader, stock
from bitquant.nn.contents import read_contents
from bitquant.nn.convert import quantize_directory
from bitquant.nn.step import predict_step
from bitquant.transformers import BitquantConfig

from .checkpoints.packers import FIXTURES, awq, gptq, pack_rows
from .test_experts import FEW, MANY, difference, logits, make, modules

#: Names of the linear layers of experts, and of all others, in checkpoints.
EXPERT = re.compile(r"\.experts\.(\d+)\.(\w+)\.weight$")
LINEAR = re.compile(r"(_proj(_with_mqa)?|q_[ab]_proj|kv_b_proj|\.w[123])\.weight$")


def rounded(weight, bits, group, symmetric, seed):
    """Codes (N, K), zero points and scales (N, G) in float16, and the weight that they stand for."""
    N, K = weight.shape
    blocks = weight.view(N, K // group, group)
    if symmetric:
        scale = (blocks.abs().amax(-1) / (2 ** (bits - 1) - 1)).half()
        zeros = torch.full(scale.shape, 2 ** (bits - 1))
    else:
        scale = ((blocks.amax(-1) - blocks.amin(-1)) / (2**bits - 1)).half()
        zeros = (-blocks.amin(-1) / scale.float()).round().clamp(1, 2**bits - 2).long()
        zeros.view(-1)[seed % zeros.numel()] = 3
    codes = (blocks / scale.float().unsqueeze(-1) + zeros.unsqueeze(-1)).round().clamp(0, 2**bits - 1).long()
    exact = ((codes - zeros.unsqueeze(-1)).float() * scale.float().unsqueeze(-1)).view(N, K)
    return codes.view(N, K), zeros, scale, exact


class Gptq:
    """GPTQ, v1 of gptqmodel; `order`: columns of scattered groups, one order for gate and up."""

    def __init__(self, symmetric=False, order=False, mixed=False):
        self.symmetric, self.order, self.mixed = symmetric, order, mixed
        self.config = {
            "quant_method": "gptq", "bits": 4, "group_size": 32, "sym": symmetric, "desc_act": order,
            "meta": {"quantizer": ["gptqmodel:5.0.0"]},
        }  # fmt: skip

    def __call__(self, name, weight):
        K = weight.shape[1]
        permutation = torch.arange(K)
        if self.order:
            layer = re.sub(r"\.(gate_proj|up_proj|w1|w3)\.weight$", "", name)
            permutation = torch.randperm(K, generator=torch.Generator().manual_seed(len(layer) + ord(layer[-1])))
        symmetric = self.symmetric or (self.mixed and not re.search(r"experts\.[23]\.(up_proj|w3|down_proj|w2)", name))
        codes, zeros, scale, exact = rounded(weight[:, permutation], 4, 32, symmetric, len(name))
        back = torch.argsort(permutation)
        g_idx = (torch.arange(K) // 32)[back]
        return gptq(codes[:, back], zeros, scale, 4, g_idx, "words"), exact[:, back]


class Awq:
    """AWQ's gemm order, zero points."""

    config: ClassVar = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}

    def __call__(self, name, weight):
        codes, zeros, scale, exact = rounded(weight, 4, 32, False, len(name))
        return awq(codes, zeros, scale), exact


class Packed:
    """compressed-tensors, pack-quantized: int4 in groups of 32, as Kimi-K2 has them, or of one row."""

    def __init__(self, symmetric=True, group=32):
        self.symmetric, self.group = symmetric, group
        weights = {"num_bits": 4, "type": "int", "symmetric": symmetric, "strategy": "group", "group_size": group}
        self.config = {
            "quant_method": "compressed-tensors", "format": "pack-quantized",
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": None}},
        }  # fmt: skip

    def __call__(self, name, weight):
        codes, zeros, scale, exact = rounded(weight, 4, self.group, self.symmetric, len(name))
        tensors = {
            "weight_packed": pack_rows(codes, 4), "weight_scale": scale,
            "weight_shape": torch.tensor(list(weight.shape)),
        }  # fmt: skip
        if not self.symmetric:
            tensors["weight_zero_point"] = pack_rows(zeros.T, 4).T
        return tensors, exact


class Nvfp4:
    """compressed-tensors, NVFP4: a factor for each of gate, up and down of each expert."""

    config: ClassVar = {
        "quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
            "num_bits": 4, "type": "float", "symmetric": True, "strategy": "tensor_group", "group_size": 16,
        }, "input_activations": None}},
    }  # fmt: skip

    def __call__(self, name, weight):
        N, K = weight.shape
        levels = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
        blocks = weight.view(N, K // 16, 16)
        common = torch.tensor([448 * 6 / float(weight.abs().max())])
        scale = (blocks.abs().amax(-1) / 6 * common).to(torch.float8_e4m3fn)
        factor = scale.float() * common.reciprocal()
        steps = blocks / factor.unsqueeze(-1)
        index = (steps.abs().unsqueeze(-1) - levels).abs().argmin(-1)
        codes = (index + 8 * (steps < 0)).view(N, K)
        exact = torch.where(steps < 0, -levels[index], levels[index]) * factor.unsqueeze(-1)
        packed = (codes[:, 0::2] | (codes[:, 1::2] << 4)).to(torch.uint8)
        return {"weight_packed": packed, "weight_scale": scale, "weight_global_scale": common}, exact.view(N, K)


class Blocks:
    """Float8 with a scale for 128 x 128, as DeepSeek-V3 has it; the last block may be ragged."""

    config: ClassVar = {
        "quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], "activation_scheme": "dynamic",
    }  # fmt: skip

    def __call__(self, name, weight):
        N, K = weight.shape
        rows, columns = -(-N // 128), -(-K // 128)
        padded = torch.zeros(rows * 128, columns * 128)
        padded[:N, :K] = weight
        scale = padded.view(rows, 128, columns, 128).abs().amax((1, 3)) / 448
        each = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)[:N, :K]
        values = (weight / each).to(torch.float8_e4m3fn)
        return {"weight": values, "weight_scale_inv": scale}, values.float() * each


def ship(directory, model, packer, dtype="float32", only=LINEAR):
    """Save a model's checkpoint as a packer writes it, and the model with the weights that it stands for."""
    reference = directory / "reference"
    model.save_pretrained(reference)
    state = load_file(reference / "model.safetensors")
    exact = dict(state)
    for name in list(state):
        if only.search(name):
            tensors, exact[name] = packer(name, state.pop(name).float())
            path = name.removesuffix(".weight")
            state.update({f"{path}.{role}": tensor.contiguous() for role, tensor in tensors.items()})
    fields = json.loads((reference / "config.json").read_text())
    fields["dtype"] = dtype
    (directory / "config.json").write_text(json.dumps({**fields, "quantization_config": packer.config}))
    save_file(state, directory / "model.safetensors", {"format": "pt"})
    save_file(exact, reference / "model.safetensors", {"format": "pt"})
    return AutoModelForCausalLM.from_pretrained(reference, dtype=torch.float32)


def load(directory, **options):
    """Load what was shipped, in float32, without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelWarning)
        return bq.load_model(directory, "cpu", **{"dtype": torch.float32, "opt_M": (16,), **options})


BLOCKED = dict(hidden_size=256, moe_intermediate_size=192, n_routed_experts=4, n_group=1, topk_group=1)
SHIPPED = {
    "mixtral, gptq": ("mixtral", Gptq(), {}, "uint4"),
    "mixtral, gptq, act-order": ("mixtral", Gptq(order=True), {}, "uint4"),
    "qwen3, gptq, symmetric": ("qwen3", Gptq(symmetric=True), {"moe_intermediate_size": 64}, "int4"),
    "qwen3, gptq, some zeros in the middle": ("qwen3", Gptq(mixed=True), {"moe_intermediate_size": 64}, "uint4"),
    "mixtral, awq": ("mixtral", Awq(), {}, "uint4"),
    "qwen3, compressed-tensors": ("qwen3", Packed(), {"moe_intermediate_size": 64}, "int4"),
    "deepseek, compressed-tensors": ("deepseek", Packed(), {}, "int4"),
    "mixtral, compressed-tensors, zeros": ("mixtral", Packed(symmetric=False), {}, "uint4"),
    "qwen3, nvfp4": ("qwen3", Nvfp4(), {}, "fp4_e2m1"),
    "deepseek, fp8 blocks": ("deepseek", Blocks(), BLOCKED, "float8_e4m3"),
}


@pytest.mark.parametrize("name", list(SHIPPED))
@pytest.mark.sample(shows=lambda name: set(name.split(", ")))
def test_shipped_layouts(name, tmp_path, monkeypatch):
    """Logits are those of transformers' model with the same weights; no expert is ever in memory as floats."""
    kind, packer, fields, W_dtype = SHIPPED[name]
    wanted = ship(tmp_path, make(kind, **fields), packer)
    monkeypatch.setattr(checkpoint_loader.CheckpointLoader, "_dequantized", None)
    model = load(tmp_path)
    found = modules(model)
    assert found
    assert len(found) == len(stock.find_stock_experts(wanted))
    assert not any(p.ndim == 3 for p in model.parameters())
    for experts in found:
        assert {experts.gate_up.config.W_dtype, experts.down.config.W_dtype} == {W_dtype}
    for tokens in (FEW, MANY):
        assert difference(logits(model, tokens), logits(wanted, tokens)) <= 2e-5
    # Saved as bitquant's own, and back.
    model.save_pretrained(tmp_path / "own")
    assert torch.equal(logits(bq.load_model(tmp_path / "own", "cpu"), MANY), logits(model, MANY))


def test_dequantized_experts_are_the_stored_ones(tmp_path):
    """dequantize_model gives transformers' modules with the checkpoint's numbers, exactly."""
    wanted = ship(tmp_path, make("mixtral"), Gptq(order=True))
    model = bq.dequantize_model(load(tmp_path))
    for name, parameter in wanted.named_parameters():
        assert torch.equal(model.get_parameter(name), parameter), name


def test_blocks_of_scales_stay_blocks_where_rows_stay(tmp_path):
    """The scales of down are shared by 128 rows; those of gate and up, whose rows alternate, by none."""
    ship(tmp_path, make("deepseek", **BLOCKED), Blocks())
    (experts,) = modules(load(tmp_path))
    assert experts.down.config.rows_per_scale == 128
    assert experts.down.scales.shape == (4, 2, 3)  # Groups of 64 along K = 192.
    assert experts.gate_up.config.rows_per_scale == 1
    assert experts.gate_up.scales.shape == (4, 384, 2)


def test_types_of_scales_and_of_the_model(tmp_path):
    """float16 scales in a bfloat16 model are kept, of experts as of layers, with a warning; scale_dtype rounds them."""
    ship(tmp_path, make("mixtral"), Gptq(), dtype="bfloat16")
    with pytest.warns(ModelWarning, match="scales are kept as float16"):
        model = bq.load_model(tmp_path, "cpu", opt_M=(16,))
    kinds = (bq.Linear, ExpertsLinear)
    assert {m.config.scale_format.name for m in model.modules() if isinstance(m, kinds)} == {"float16"}
    rounded_scales = load(tmp_path, dtype=None, scale_dtype="bfloat16")
    assert {m.scales.dtype for e in modules(rounded_scales) for m in (e.gate_up, e.down)} == {torch.bfloat16}


def test_gpt_oss_as_it_is_shipped(monkeypatch):
    """Blocks and scales of MXFP4 are packed expert by expert, scales as they are stored; logits are the fixture's."""
    from bitquant.nn.checkpoints.readers.mxfp4 import Mxfp4Reader

    monkeypatch.setattr(Mxfp4Reader, "read", None)
    reference = load_file(FIXTURES / "gptoss-mxfp4" / "logits.safetensors")
    model = load(FIXTURES / "gptoss-mxfp4")
    for experts in modules(model):
        for layer in (experts.gate_up, experts.down):
            assert layer.scales.dtype is torch.float8_e8m0fnu
            assert layer.bias is not None
    assert difference(logits(model, reference["input_ids"]), reference["logits"]) <= 5e-5
    with torch.no_grad():
        tokens = reference["input_ids"]
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        assert torch.equal(compiled(tokens, use_cache=False).logits, model(tokens, use_cache=False).logits)


def test_experts_that_are_not_quantized_stay(tmp_path):
    """A checkpoint whose attention alone is quantized has experts in the type of the model."""
    wanted = ship(tmp_path, make("qwen3", moe_intermediate_size=64), Gptq(), only=re.compile(r"attn\..*_proj\.weight"))
    model = load(tmp_path)
    assert not modules(model)
    assert difference(logits(model), logits(wanted)) <= 2e-5


def test_experts_of_which_some_are_floats_are_kept_in_16_bits(tmp_path):
    """A layer where one expert is not quantized stays as the model has it; the others are packed."""
    model = make("deepseek", first_k_dense_replace=0)
    only = re.compile(r"layers\.0\..*_proj\.weight|layers\.1\..*experts\.[0-6]\..*_proj\.weight")
    wanted = ship(tmp_path, model, Packed(), only=only)
    with pytest.warns(ModelWarning, match="experts of this model are kept in float32"):
        loaded = bq.load_model(tmp_path, "cpu", dtype=torch.float32, opt_M=(16,))
    assert len(modules(loaded)) == 1
    assert difference(logits(loaded), logits(wanted)) <= 2e-5


def test_kernels_of_experts_are_built_while_weights_are_read(tmp_path, monkeypatch):
    """What is built ahead are the operators that the loaded layers call: the first expert of each kind tells."""
    ship(tmp_path, make("qwen3", moe_intermediate_size=64, decoder_sparse_step=1), Gptq())
    outlines = []
    monkeypatch.setattr(checkpoint_loader, "may_prepare", lambda problems, device_type: True)
    monkeypatch.setattr(checkpoint_loader, "Preparation", lambda outline, place: outlines.append(outline))
    model = load(tmp_path)
    ahead = {kernels for experts in modules(outlines[0]) for kernels in experts.gate_up.needed_kernels(())}
    assert len(modules(outlines[0])) == 1
    assert ahead == set(modules(model)[0].gate_up.needed_kernels(()))


def test_experts_with_another_gate_are_kept_in_16_bits(monkeypatch):
    """They are dequantized one by one into the module that the model has, with a message that says why."""
    monkeypatch.setattr(stock, "_GATES", {})
    reference = load_file(FIXTURES / "gptoss-mxfp4" / "logits.safetensors")
    with pytest.warns(ModelWarning, match="kept in float32, .* needs a gate that it knows"):
        model = bq.load_model(FIXTURES / "gptoss-mxfp4", "cpu", dtype=torch.float32, opt_M=(16,))
    assert difference(logits(model, reference["input_ids"]), reference["logits"]) <= 5e-5


@pytest.mark.parametrize("name", ["mixtral, gptq", "deepseek, fp8 blocks"])
def test_contents_are_those_of_the_loaded_model(name, tmp_path):
    """What show tells of a checkpoint, and of the saved model, are the formats and bytes of the loaded one."""
    kind, packer, fields, W_dtype = SHIPPED[name]
    ship(tmp_path, make(kind, **fields), packer)
    model = load(tmp_path)
    model.save_pretrained(tmp_path / "own")
    tensors = {t.data_ptr(): t for n, t in model.state_dict().items() if not n.endswith("_extra_state")}
    for path in (tmp_path, tmp_path / "own"):
        contents = read_contents(path)
        assert contents.memory_bytes == sum(t.nbytes for t in tensors.values())
        experts = [k for k in contents.kinds if k.role == "experts"]
        assert {k.config.W_dtype for k in experts} == {W_dtype}
        assert sum(k.count * k.N * k.K for k in experts) == sum(
            layer.num_experts * layer.in_features * layer.out_features
            for m in modules(model) for layer in (m.gate_up, m.down)
        )  # fmt: skip
        target, gpu = resolve_gpu("h200")
        step = predict_step(contents, 1, target, gpu)
        rules = [p.rule for p, k in zip(step.predictions, contents.operators, strict=True) if k.role == "experts"]
        assert set(rules) == {"grouped"}


def test_quantized_directory(tmp_path):
    """A directory is quantized as quantize_model does it, experts included."""
    model = make("qwen3")
    model.save_pretrained(tmp_path / "float")
    fields = {"W_dtype": "int8", "group_size": 32, "opt_M": (16,)}
    found = quantize_directory(tmp_path / "float", tmp_path / "int8", BitquantConfig(**fields))
    assert found.formats == {"int8-g32": 12, "int8-g16": 1}  # Of experts, two products; K of down is 48.
    loaded = bq.load_model(tmp_path / "int8", "cpu")
    wanted = bq.quantize_model(model, **fields)
    assert difference(logits(loaded), logits(wanted)) == 0


# What is wrong with a checkpoint.

SMALL = ("qwen3", {"moe_intermediate_size": 96})


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A shipped checkpoint."""
    directory, (kind, fields) = tmp_path_factory.mktemp("small"), SMALL
    ship(directory, make(kind, **fields), Gptq())
    return directory


FIRST = "model.layers.1.mlp.experts"


@pytest.mark.parametrize(("change", "message"), [
    (lambda s: s.pop(f"{FIRST}.3.up_proj.scales"), rf"layer '{FIRST}.3.up_proj', tensor 'scales': is missing"),
    (
        lambda s: [s.pop(f"{FIRST}.5.down_proj.{role}") for role in ("qweight", "qzeros", "scales", "g_idx")],
        rf"layer '{FIRST}': has no quantized weight for 'down' of expert 5 of 8",
    ),
    (
        lambda s: s.update({k.replace(".7.", ".8."): v.clone() for k, v in s.items() if f"{FIRST}.7." in k}),
        rf"layer '{FIRST}.8.\w+': is '\w+' of expert 8, and the model has 8 experts",
    ),
    (
        lambda s: s.update({f"{FIRST}.2.up_proj.{r}": s[f"{FIRST}.2.down_proj.{r}"].clone() for r in
                            ("qweight", "qzeros", "scales", "g_idx")}),
        rf"layer '{FIRST}.2.up_proj': must have the form of '{FIRST}.2.gate_proj'",
    ),
    (
        lambda s: s.update({f"{FIRST}.4.gate_proj.g_idx": s[f"{FIRST}.4.gate_proj.g_idx"].roll(5).contiguous()}),
        rf"layer '{FIRST}.4.up_proj': must have its columns in the order of '{FIRST}.4.gate_proj'",
    ),
    (
        lambda s: s.update({f"{FIRST}.1.up_proj.scales": s[f"{FIRST}.1.up_proj.scales"].half() * torch.inf}),
        rf"tensor '{FIRST}.1.up_proj.scales': must be finite",
    ),
])  # fmt: skip
def test_damage_is_named(change, message, small, tmp_path):
    """Errors name the layer or the tensor, and there is no model."""
    shutil.copy(small / "config.json", tmp_path)
    state = load_file(small / "model.safetensors")
    change(state)
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(bq.CheckpointError, match=message):
        bq.load_model(tmp_path, "cpu", dtype=torch.float32, opt_M=(16,))


def test_groups_that_do_not_fit_are_named(tmp_path):
    """A K that groups do not divide is refused with the tensor."""
    kind, fields = SMALL
    packer = Packed()
    ship(tmp_path, make(kind, **fields), packer)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"]["config_groups"]["group_0"]["weights"]["group_size"] = 48
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(bq.CheckpointError, match=r"weight_scale': must have shape"):
        bq.load_model(tmp_path, "cpu", dtype=torch.float32, opt_M=(16,))


def test_layouts_that_are_not_read_are_refused(tmp_path):
    """Marlin's order of experts is named."""
    packer = Gptq()
    packer.config = {**packer.config, "checkpoint_format": "marlin"}
    kind, fields = SMALL
    ship(tmp_path, make(kind, **fields), packer)
    with pytest.raises(bq.CheckpointError, match="checkpoint_format 'marlin' is not read"):
        bq.load_model(tmp_path, "cpu")


def test_saved_config_that_does_not_fit_is_refused(tmp_path):
    """Fields that are none of a product's, and a missing product, are named with the layer."""
    model = bq.quantize_model(make("mixtral"), group_size=32, opt_M=(16,))
    model.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    saved = json.loads(file.read_text())
    for change, message in (
        (lambda layer: layer["down"].update(bits=4), r"experts\.down'.*\(got the field 'bits'\)"),
        (lambda layer: layer.pop("down"), r"must have an object 'down' for 'model\.layers\.\*\.mlp\.experts'"),
        (lambda layer: layer.update(layer="Linear"), r"the field 'gate_up'|none \(got"),
        (lambda layer: layer["down"].update(group_size=7), r"in a way that there is none \(.*group_size"),
    ):
        fields = copy.deepcopy(saved)
        change(fields["quantization_config"]["layers"]["model.layers.*.mlp.experts"])
        file.write_text(json.dumps(fields))
        with pytest.raises((bq.CheckpointError, bq.ConfigError), match=message):
            bq.load_model(tmp_path, "cpu")
