# SPDX-License-Identifier: Apache-2.0
"""Whole models: quantized in place, dequantized, loaded from checkpoints of other programs."""

from __future__ import annotations

import copy
import json
import shutil
import time
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

import bitquant as bq
from bitquant.nn import BitLinear, Linear, ModelWarning, checkpoint_loader
from bitquant.progress import track

from .checkpoints.packers import FIXTURES

SIZES = dict(
    hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=128, max_position_embeddings=64,
)  # fmt: skip
OPTIONS = dict(group_size=32, opt_M=(16,))


def llama(seed=0, **fields):
    """A small Llama with random weights."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**{**SIZES, "tie_word_embeddings": False, **fields})).eval()


def ids(rows=2, length=7):
    """Tokens."""
    return torch.randint(0, 128, (rows, length), generator=torch.Generator().manual_seed(1))


def difference(got, wanted):
    """Relative difference of two tensors, Frobenius."""
    return (torch.linalg.norm((got - wanted).double()) / torch.linalg.norm(wanted.double())).item()


@torch.no_grad()
def logits(model, tokens=None):
    """Logits of a model in float32."""
    return model(ids() if tokens is None else tokens).logits.float()


# quantize_model and dequantize_model.


def models(**fields):
    """Models of several architectures, with biases, tied embeddings and norms of their own."""
    torch.manual_seed(0)
    sizes = {**SIZES, **fields}
    gemma = Gemma3TextConfig(**sizes, head_dim=16, sliding_window=16)
    return {
        "llama": llama(**fields),
        "qwen2, biases": Qwen2ForCausalLM(Qwen2Config(**sizes)).eval(),
        "gemma3, tied": Gemma3ForCausalLM(gemma).eval(),
    }


@pytest.mark.parametrize("name", ["llama", "qwen2, biases", pytest.param("gemma3, tied", marks=pytest.mark.thorough)])
def test_quantized_models_compute_with_the_rounded_weights(name):
    """Logits are those of the same model with dequantized weights, but for the rounding of float32 sums."""
    model = models()[name]
    before = logits(model)
    assert bq.quantize_model(model, "uint4", **OPTIONS) is model
    layers = [m for m in model.modules() if isinstance(m, Linear)]
    assert len(layers) == 14
    assert all(isinstance(m, Linear) or n == "lm_head" for n, m in model.named_modules() if hasattr(m, "in_features"))
    quantized = logits(model)
    assert 1e-3 < difference(quantized, before) < 0.5
    assert bq.dequantize_model(model) is model
    assert not any(isinstance(m, Linear) for m in model.modules())
    assert difference(quantized, logits(model)) <= 1e-5


@pytest.mark.parametrize("W_dtype", ["int8", "uint3", "nf4", "fp4_e2m1", "float8_e4m3", "int2"])
def test_layers_are_those_of_from_float(W_dtype):
    """quantize_model and Linear.from_float give the same layers, bit by bit."""
    model = llama().half()
    wanted = Linear.from_float(model.model.layers[1].mlp.down_proj, W_dtype, **OPTIONS)
    bq.quantize_model(model, W_dtype, **OPTIONS)
    got = model.model.layers[1].mlp.down_proj
    assert got.config == wanted.config
    assert all(torch.equal(tensor, wanted.state_dict()[name]) for name, tensor in got.state_dict().items())
    defaults = bq.quantize_model(torch.nn.Sequential(torch.nn.Linear(256, 8)))[0]
    assert defaults.config == Linear.from_float(torch.nn.Linear(256, 8)).config


@pytest.mark.parametrize(
    ("A_dtype", "W_dtype", "bound"),
    [("int8", "int8", 0.05), pytest.param("float8_e4m3", "float8_e4m3", 0.2, marks=pytest.mark.thorough)],
)
def test_eight_bit_activations(A_dtype, W_dtype, bound):
    """W8A8: inputs are rounded by token, weights by channel; a forward with gradients passes."""
    model = llama().bfloat16()
    before = logits(model)
    bq.quantize_model(model, W_dtype, group_size=-1, A_dtype=A_dtype, opt_M=(16,))
    layer = model.model.layers[0].mlp.up_proj
    assert layer.quantize_activations
    assert layer.channel_scale is not None
    assert difference(logits(model), before) <= bound
    model(ids()).logits.sum().backward()
    assert model.model.embed_tokens.weight.grad.isfinite().all()


@pytest.mark.thorough
def test_hqq_of_a_model():
    """Zero points are optimised in every layer: their errors are smaller than by rounding to nearest."""
    model = llama()
    weight = model.model.layers[0].mlp.up_proj.weight.detach().clone()
    errors = []
    for method in ("rtn", "hqq"):
        other = bq.quantize_model(copy.deepcopy(model), "uint3", method=method, **OPTIONS)
        errors.append(difference(other.model.layers[0].mlp.up_proj.dequantize(), weight))
    assert errors[1] < 0.98 * errors[0]


def test_skip():
    """Names in full, in part, of parents and with wildcards; the output embedding by default, whatever its name."""

    def quantized(*skip, **options):
        model = bq.quantize_model(llama(), skip=skip, **OPTIONS) if skip else bq.quantize_model(llama(), **OPTIONS)
        return {name for name, module in model.named_modules() if isinstance(module, Linear)}

    every = quantized()
    assert len(every) == 14
    assert quantized("lm_head", "mlp") == {name for name in every if "mlp" not in name}
    assert quantized("lm_head", "model.layers.0") == {name for name in every if "layers.0" not in name}
    assert quantized("lm_head", "*.down_proj") == {name for name in every if "down" not in name}
    model = llama()
    bq.quantize_model(model, skip=(), **OPTIONS)
    assert isinstance(model.lm_head, Linear)


@pytest.mark.thorough
def test_ragged_sizes():
    """Where group_size does not divide K, groups are the greatest common divisor, if that is 16 or more."""
    model = torch.nn.Sequential(torch.nn.Linear(160, 96), torch.nn.Linear(96, 40), torch.nn.Linear(40, 7))
    x = torch.randn(3, 160)
    with pytest.raises(
        bq.ConfigError, match=r"'2': 'group_size' must divide K.*\(got group_size=64, K=40, in common 8"
    ):
        bq.quantize_model(model, "int8", group_size=64)
    assert all(type(layer) is torch.nn.Linear for layer in model)  # Nothing was changed.
    wanted = model(x)
    bq.quantize_model(model, "int8", group_size=64, skip=("2",))
    assert [layer.config.group for layer in model[:2]] == [32, 32]
    assert difference(model(x), wanted) < 0.02
    bq.quantize_model(model, "int8", group_size=-1)
    assert model[2].config.group == 40


def test_tied_weights():
    """A tied lm_head is skipped by default; named on purpose it gets a weight of its own, and the model says so."""
    model = llama(tie_word_embeddings=True)
    bq.quantize_model(model, **OPTIONS)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    before = model.model.embed_tokens.weight.detach().clone()
    with pytest.warns(
        ModelWarning, match=r"'lm_head' shares its weight with 'model.embed_tokens.weight', which keeps it"
    ):
        bq.quantize_model(model, "int8", skip=(), **OPTIONS)
    assert isinstance(model.lm_head, Linear)
    assert torch.equal(model.model.embed_tokens.weight, before)
    assert not model.config.tie_word_embeddings
    assert difference(model.lm_head.dequantize(), before) < 0.01
    model.tie_weights()
    assert isinstance(model.lm_head, Linear)


def test_shared_layers_hooks_and_modes():
    """A layer in two places stays one; hooks and the training mode go over to the quantized layer."""
    shared = torch.nn.Linear(64, 64)
    model = torch.nn.Sequential(shared, torch.nn.ReLU(), shared, torch.nn.Linear(64, 8)).train()
    seen = []
    shared.register_forward_hook(lambda *_: seen.append("after"))
    shared.register_forward_pre_hook(lambda *_: seen.append("before"))
    model[3].eval()
    bq.quantize_model(model, **OPTIONS)
    assert model[0] is model[2]
    assert model[0].training
    assert not model[3].training
    model(torch.randn(2, 64))
    assert seen == ["before", "after"] * 2


def test_layers_of_other_classes_stay():
    """Subclasses of torch.nn.Linear stay: torch reads their weight past their forward."""
    block = torch.nn.TransformerEncoderLayer(64, 4, 96, dropout=0, batch_first=True).eval()
    x = torch.randn(1, 5, 64)
    with torch.no_grad():
        wanted = block(x)
        bq.quantize_model(block, "int8", **OPTIONS)
        assert isinstance(block.linear1, Linear)
        assert not isinstance(block.self_attn.out_proj, Linear)
        assert difference(block(x), wanted) < 0.02


def test_meta_device():
    """A model on the meta device becomes one of empty layers, which a state dict fills."""
    model = bq.quantize_model(llama(), **OPTIONS)
    with torch.device("meta"):
        other = LlamaForCausalLM(model.config)
    bq.quantize_model(other, **OPTIONS)
    assert all(tensor.is_meta for tensor in other.parameters())
    assert other.model.layers[0].mlp.up_proj.qweight.is_meta
    other.load_state_dict(model.state_dict(), assign=True)
    name, layer = "model.layers.1.mlp.up_proj", other.model.layers[1].mlp.up_proj
    assert torch.equal(layer.qweight, model.get_submodule(name).qweight)


def test_offloaded_layers_of_accelerate():
    """Layers whose weights accelerate fetches for each call are quantized, and stay where they compute."""
    from accelerate import cpu_offload

    model = llama()
    wanted = logits(bq.quantize_model(copy.deepcopy(model), **OPTIONS))
    cpu_offload(model, execution_device="cpu")
    assert model.model.layers[0].mlp.up_proj.weight.is_meta
    bq.quantize_model(model, **OPTIONS)
    assert not model.model.layers[0].mlp.up_proj.qweight.is_meta
    assert torch.equal(logits(model), wanted)


def test_memory_is_bounded(monkeypatch):
    """While a model is quantized no float layer is kept that has been replaced."""
    model = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(5)))
    alive = []
    made = Linear.from_float.__func__

    def counted(cls, linear, *arguments, **options):
        if not linear.weight.is_meta:
            alive.append(sum(type(module) is torch.nn.Linear for module in model))
        return made(cls, linear, *arguments, **options)

    monkeypatch.setattr(Linear, "from_float", classmethod(counted))
    bq.quantize_model(model, **OPTIONS)
    assert alive == [5, 4, 3, 2, 1]


MISTAKES = {
    "no module": (lambda: bq.quantize_model({}), r"'model' must be a torch.nn.Module \(got dict\)"),
    "a path": (lambda: bq.quantize_model("a/model"), r"\(got str\); load_model opens a checkpoint"),
    "bits": (lambda: bq.quantize_model(llama(), bits=4), "did you mean 'W_dtype'"),
    "a layer": (lambda: bq.quantize_model(torch.nn.Linear(8, 8)), "use Linear.from_float"),
    "no layers": (lambda: bq.quantize_model(torch.nn.Sequential(torch.nn.ReLU())), "'skip' does not name .got none"),
    "quantized": (
        lambda: bq.quantize_model(torch.nn.Sequential(bq.BitLinear(32, 16))),
        "got 1 that are quantized already; see dequantize_model",
    ),
    "float64": (
        lambda: bq.quantize_model(llama().double(), group_size=32),
        r"'linear' must have a weight of at most 32 bits.*\(got torch.float64\); use .float\(\)",
    ),
    "format": (lambda: bq.quantize_model(llama(), "uint9"), "'W_dtype' must be one of .*did you mean"),
    "16 bits": (lambda: bq.quantize_model(llama(), "float16"), "'W_dtype' must have at most 8 bits"),
    "a string": (lambda: bq.quantize_model(llama(), skip="lm_head"), r"use skip=\('lm_head',\)"),
    "a wrong name": (
        lambda: bq.quantize_model(llama(), skip=("q_prj",)),
        r"'skip' must name modules of the model \(got 'q_prj', which none has\); did you mean 'q_proj'",
    ),
    "zeros": (
        lambda: bq.quantize_model(llama(), "int4", 32, zeros="original"),
        "'zeros' must be None where W has no zero points .got 'original' and W_dtype='int4'",
    ),
    "group": (lambda: bq.quantize_model(llama(), group_size=0), "'group_size' must be an int >= 1"),
    "8-bit A": (
        lambda: bq.quantize_model(llama(), "nf4", 32, A_dtype="int8"),
        r"'model.layers.0.self_attn.q_proj': 'W_dt",
    ),
    "option": (
        lambda: bq.quantize_model(llama(), group_size=32, opt_m=1),
        "'opt_m' must be a parameter of this function or of Linear; did you mean 'opt_M'",
    ),
    "a parameter that follows": (
        lambda: bq.quantize_model(llama(), group_size=32, with_zeros=False),
        r"'with_zeros' must be left out, since it follows from the model and the other arguments \(got False\)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake):
    """What cannot be is refused in words, before anything is changed."""
    call, message = MISTAKES[mistake]
    with pytest.raises(bq.ConfigError, match=message):
        call()


def test_adapters_come_after():
    """A model with adapters is refused: their matrices are torch.nn.Linear layers, too."""
    import peft

    model = peft.get_peft_model(llama(), peft.LoraConfig(r=2, target_modules=["q_proj"]))
    with pytest.raises(bq.ConfigError, match="'model' must have no adapters yet"):
        bq.quantize_model(model, **OPTIONS)


def test_dequantize_of_a_bitlinear():
    """A packed BitLinear becomes a float layer with the rounded weights."""
    source = torch.nn.Linear(64, 24)
    model = torch.nn.Sequential(BitLinear.from_bit_linear(source, opt_M=(16,)))
    values, scale = BitLinear.weight_quant(source.weight)
    bq.dequantize_model(model)
    assert type(model[0]) is torch.nn.Linear
    assert torch.allclose(model[0].weight, values / scale, rtol=1e-6)
    assert torch.equal(model[0].bias, source.bias)


def test_progress_is_for_terminals(monkeypatch, capsys):
    """Where standard error is no terminal nothing is written; on one there is a bar."""
    assert list(track(range(3), "Working", 3)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(track(range(3), "Working", 3)) == [0, 1, 2]
    assert "Working" in capsys.readouterr().err


def test_load_model_shows_at_once_that_it_works(monkeypatch, capsys):
    """On a terminal, before transformers has the model's classes; elsewhere nothing is written by us."""

    def slow(*_):
        time.sleep(0.5)
        raise bq.CheckpointError("no model")

    monkeypatch.setattr(checkpoint_loader, "read_model_config", slow)
    for color, is_shown in (("", False), ("1", True)):
        if color:
            monkeypatch.setenv("FORCE_COLOR", color)
        with pytest.raises(bq.CheckpointError, match="no model"):
            bq.load_model(FIXTURES / "gptq-w4g128-sym", device="cpu")
        assert ("Opening the model" in capsys.readouterr().err) is is_shown


# load_model.

LOADED = [
    "awq-w4g128-gemm", "bitnet-packed-autobitlinear", "bitnet-packed-bitlinear", "bnb-nf4-dq-qwen2-bias",
    "ct-fp8-dynamic", "ct-mxfp4a16", "ct-nvfp4", "ct-w4a16-g128-sym", "ct-w8a16-channel", "ct-w8a8-int8",
    "fp8-block128", "gptoss-mxfp4", "gptq-w3g64-asym", "gptq-w4g128-sym", "gptq-w4g64-asym-actorder",
    "gptq-w8-channel-sym", "hqq-4b-g64-axis1",
]  # fmt: skip


def load(name, **options):
    """Load a fixture, on the CPU, without warnings about scales and experts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        return bq.load_model(FIXTURES / name, device="cpu", opt_M=(16,), **options)


@pytest.mark.sample(shows=lambda name: {name.split("-")[0], *({name} if "w8" in name or "order" in name else ())})
@pytest.mark.parametrize("name", LOADED)
def test_logits_of_every_checkpoint(name):
    """In float32 logits are those of the float32 model with dequantized weights, to a few roundings a layer."""
    reference = load_file(FIXTURES / name / "logits.safetensors")
    model = load(name, dtype=torch.float32, quantize_activations=False)
    assert not model.training
    assert sum(isinstance(m, Linear) for m in model.modules()) == (
        0 if "gptoss" in name else len(bq.read_checkpoint(FIXTURES / name))
    )
    # About 30 operations one after the other, sums of up to 768 products: 30 * sqrt(768) * 2^-24 = 5e-5.
    assert difference(logits(model, reference["input_ids"]), reference["logits"]) <= 5e-5


#: Bounds for the checkpoint's own types: 2 layers of 15 roundings by 2^-9 (bfloat16) or 2^-12 (float16) each, as random
#: ones add up; 8-bit inputs are rounded with a step of max|x| / 127, 0.7 % of a normal row, 14 times; of float8, 2.6 %.
OWN_TYPES = [
    ("gptq-w4g64-asym-actorder", 0.02), ("awq-w4g128-gemm", 0.004), ("bnb-nf4-dq-qwen2-bias", 0.02),
    ("ct-w8a8-int8", 0.04), ("ct-fp8-dynamic", 0.12), ("bitnet-packed-bitlinear", 0.04),
]  # fmt: skip


@pytest.mark.sample(shows=lambda name, bound: {name.startswith("ct"), name.startswith("gptq")})
@pytest.mark.parametrize(("name", "bound"), OWN_TYPES)
def test_logits_in_the_checkpoints_own_type(name, bound):
    """By default a model computes in the checkpoint's type, with inputs of 8 bits where its own runtime rounds them."""
    reference = load_file(FIXTURES / name / "logits.safetensors")
    model = load(name)
    layers = [m for m in model.modules() if isinstance(m, Linear)]
    assert all(m.quantize_activations == name.startswith(("ct-w8a8", "ct-fp8", "bitnet")) for m in layers)
    assert difference(logits(model, reference["input_ids"]), reference["logits"]) <= bound


def test_act_order_gathers_the_input():
    """A checkpoint with scattered groups has layers with a permutation."""
    model = load("gptq-w4g64-asym-actorder")
    assert model.model.layers[0].mlp.down_proj.permutation is not None


def test_generation_config_and_generate():
    """The generation config is the checkpoint's, and the model generates."""
    model = load("gptq-w4g128-sym")
    stored = json.loads((FIXTURES / "gptq-w4g128-sym" / "generation_config.json").read_text())
    assert model.generation_config.eos_token_id == stored["eos_token_id"]
    tokens = ids(1, 5)
    result = model.generate(tokens, max_new_tokens=4, min_new_tokens=4, do_sample=False, pad_token_id=0)
    assert result.shape == (1, 9)


def changed(tmp_path, name="gptq-w4g128-sym", tensors=None, **config):
    """A copy of a fixture with other tensors or another config.json."""
    directory = tmp_path / "model"
    shutil.copytree(FIXTURES / name, directory)
    if tensors is not None:
        state = load_file(directory / "model.safetensors")
        tensors(state)
        save_file(state, directory / "model.safetensors", {"format": "pt"})
    stored = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**stored, **config}))
    return directory


def test_scales_have_one_type():
    """Scales that bfloat16 does not hold stay as they are, in all layers; the message names the options."""
    with pytest.warns(
        ModelWarning, match=r"scales are kept as float16, exactly.*scale_dtype='bfloat16'.*dtype='float16'"
    ):
        model = bq.load_model(FIXTURES / "gptq-w8-channel-sym", "cpu", torch.bfloat16)
    assert {m.config.scale_format.name for m in model.modules() if isinstance(m, Linear)} == {"float16"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = bq.load_model(FIXTURES / "gptq-w8-channel-sym", "cpu", "bfloat16", scale_dtype="bfloat16")
    assert {m.config.scale_format.name for m in model.modules() if isinstance(m, Linear)} == {"bfloat16"}


def test_scales_of_several_types_become_the_widest(tmp_path):
    """Where one layer needs float32 scales, or layers need different ones, all layers get float32."""

    def exact_in_both(state):
        name = "model.layers.0.mlp.up_proj.scales"
        state[name] = torch.full_like(state[name], 0.0078125)

    model = bq.load_model(changed(tmp_path, tensors=exact_in_both), "cpu", torch.bfloat16, scale_dtype=None)
    assert len({m.config.scale_format.name for m in model.modules() if isinstance(m, Linear)}) == 1


def test_biases_of_zeros_are_dropped_and_others_refused(tmp_path):
    """Some packers write a bias for every layer; one that is not zero has no place in a module without."""

    def bias(value):
        return lambda state: state.update({"model.layers.0.mlp.up_proj.bias": torch.full((768,), value).half()})

    model = bq.load_model(changed(tmp_path / "a", tensors=bias(0.0)), "cpu")
    assert model.model.layers[0].mlp.up_proj.bias is None
    with pytest.raises(
        bq.CheckpointError, match=r"layer 'model.layers.0.mlp.up_proj': has a bias, which the module has not"
    ):
        bq.load_model(changed(tmp_path / "b", tensors=bias(1.0)), "cpu")


@pytest.mark.parametrize("tied", [False, True])
def test_quantized_lm_head(tmp_path, tied):
    """An output embedding that is quantized in the checkpoint is, in the model, and no longer tied."""

    def lm_head(state):
        source = "model.layers.0.self_attn.q_proj"
        for role in ("qweight", "qzeros", "scales", "g_idx"):
            tensor = state[f"{source}.{role}"]
            repeat = (1, 384 // 256 + 1) if role != "g_idx" else (1,)
            tensor = tensor.repeat(*repeat)
            width = {"qweight": 384, "qzeros": 48, "scales": 384}.get(role)
            state[f"lm_head.{role}"] = tensor[..., :width].contiguous() if width else tensor
        state.pop("lm_head.weight", None)

    model = bq.load_model(changed(tmp_path, tensors=lm_head, tie_word_embeddings=tied), "cpu", opt_M=(16,))
    assert isinstance(model.lm_head, Linear)
    assert type(model.model.embed_tokens.weight) is torch.nn.Parameter
    assert logits(model).isfinite().all()


LOAD_ERRORS = {
    "sizes": (dict(intermediate_size=700), "layer 'model.layers.0.mlp.down_proj': must be"),
    "layers": (dict(num_hidden_layers=1), "has no such module|belong to no module"),
    "more layers": (dict(num_hidden_layers=3), r"lacks \d+ tensors of the model, model.layers.2"),
    "vocabulary": (dict(vocab_size=500), "in another shape|mismatch"),
}


@pytest.mark.parametrize("case", LOAD_ERRORS)
def test_checkpoints_that_do_not_fit_the_model(tmp_path, case):
    """Sizes and layers are compared with the model's; there is no model where they differ."""
    fields, message = LOAD_ERRORS[case]
    with pytest.raises((bq.CheckpointError, RuntimeError), match=message):
        bq.load_model(changed(tmp_path, **fields), "cpu")


def test_a_lost_plain_tensor(tmp_path):
    """A norm that is not there is an error, not a random one."""
    directory = changed(tmp_path, tensors=lambda state: state.pop("model.layers.1.input_layernorm.weight"))
    with pytest.raises(
        bq.CheckpointError, match=r"lacks 1 tensors of the model, model.layers.1.input_layernorm.weight"
    ):
        bq.load_model(directory, "cpu")


def test_arguments_of_load_model(tmp_path):
    """A file, a directory without config.json, none at all, and wrong types are refused in words."""
    with pytest.raises(bq.CheckpointError, match=r"must be a directory with a config.json"):
        bq.load_model(FIXTURES / "gguf-blocks" / "weights.gguf")
    with pytest.raises(bq.CheckpointError, match=r"must be a directory with a config.json"):
        bq.load_model(FIXTURES / "gguf-blocks")
    with pytest.raises(bq.CheckpointError, match=r"no such file or directory.*hf download"):
        bq.load_model(tmp_path / "nowhere")
    with pytest.raises(bq.ConfigError, match="'dtype' must be float16, bfloat16 or float32"):
        bq.load_model(FIXTURES / "gptq-w4g128-sym", dtype="int8")
    with pytest.raises(bq.ConfigError, match="'scale_dtype' must be one of"):
        bq.load_model(FIXTURES / "gptq-w4g128-sym", scale_dtype="int8")
    with pytest.raises(bq.ConfigError, match="'on_unsupported' must be"):
        bq.load_model(FIXTURES / "gptq-w4g128-sym", on_unsupported="skip")
    for name, meant in (("torch_dtype", "dtype"), ("device_map", "device")):
        with pytest.raises(bq.ConfigError, match=f"'{name}' must be a parameter .*; did you mean '{meant}'"):
            bq.load_model(FIXTURES / "gptq-w4g128-sym", **{name: "auto"})


def test_unquantized_directories(tmp_path):
    """A model that is not quantized is loaded as transformers does."""
    llama().half().save_pretrained(tmp_path)
    other = bq.load_model(tmp_path, "cpu")
    assert other.dtype == torch.float16
    assert torch.equal(logits(other), logits(AutoModelForCausalLM.from_pretrained(tmp_path)))
    for options in (dict(opt_M=(16,)), dict(scale_dtype="float16")):
        with pytest.raises(
            bq.ConfigError, match=f"'{next(iter(options))}' must be left out.*quantize_model takes them"
        ):
            bq.load_model(tmp_path, "cpu", **options)


@pytest.mark.thorough
def test_torch_compile_of_a_loaded_model():
    """A loaded model compiles whole, for growing numbers of rows, and gives the same logits."""
    model = load("gptq-w3g64-asym")
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=True)
    for rows in (2, 5):
        tokens = ids(rows, 6)
        with torch.no_grad():
            assert torch.equal(compiled(tokens, use_cache=False).logits, model(tokens, use_cache=False).logits)
