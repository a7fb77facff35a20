# SPDX-License-Identifier: Apache-2.0
"""Models that transformers quantizes as it loads them, saves, and loads again."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, StaticCache

import bitquant as bq
from bitquant.nn import BitLinear, Linear, ModelWarning
from bitquant.transformers import BitquantConfig

from .checkpoints.packers import FIXTURES
from .test_models import OPTIONS, ids, llama, logits, models


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The directory of a small Llama that is not quantized, bfloat16."""
    directory = tmp_path_factory.mktemp("plain")
    llama().bfloat16().save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def saved(plain, tmp_path_factory):
    """A model that was quantized on load, and the directory where it was saved."""
    directory = tmp_path_factory.mktemp("saved")
    model = AutoModelForCausalLM.from_pretrained(plain, quantization_config=BitquantConfig(**OPTIONS))
    model.save_pretrained(directory)
    return model, directory


def test_quantizing_on_load_is_quantize_model(plain, saved):
    """from_pretrained with a config gives the layers that quantize_model makes of the loaded model."""
    model, _ = saved
    other = bq.quantize_model(AutoModelForCausalLM.from_pretrained(plain), **OPTIONS)
    assert sum(isinstance(m, Linear) for m in model.modules()) == 14
    assert type(model.lm_head) is torch.nn.Linear
    state = other.state_dict()
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(logits(model), logits(other))


def test_saved_config(saved):
    """config.json says what was asked for, and how each layer is constructed, equal ones once."""
    _, directory = saved
    config = json.loads((directory / "config.json").read_text())["quantization_config"]
    assert config["quant_method"] == "bitquant"
    assert (config["W_dtype"], config["group_size"], config["skip"]) == ("uint4", 32, ["lm_head"])
    assert set(config["layers"]) == {
        f"model.layers.*.{name}"
        for name in (
            *(f"self_attn.{part}_proj" for part in "qkvo"), *(f"mlp.{part}_proj" for part in ("gate", "up", "down"))
        )
    }  # fmt: skip
    assert config["layers"]["model.layers.*.mlp.up_proj"] == {
        "A_dtype": "bfloat16", "W_dtype": "uint4", "out_dtype": "bfloat16", "group_size": 32, "with_scaling": True,
        "with_zeros": True, "zeros_mode": "original", "opt_M": [16],
    }  # fmt: skip
    tensors = load_file(directory / "model.safetensors")
    assert tensors["model.layers.0.mlp.up_proj._extra_state"].dtype == torch.uint8


def test_saved_models_load_again(saved):
    """from_pretrained and load_model give the model back, bit for bit, with nothing missing."""
    model, directory = saved
    other, info = AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    for again in (other, bq.load_model(directory, "cpu")):
        assert not again.training
        assert again.dtype == torch.bfloat16
        assert torch.equal(logits(again), logits(model))


@pytest.mark.parametrize("load", ["from_pretrained", "load_model"])
@pytest.mark.thorough
def test_saved_models_load_in_a_new_process(saved, tmp_path, load):
    """In a process of its own the saved model has the same logits, bit for bit."""
    model, directory = saved
    torch.save((ids(), logits(model)), tmp_path / "wanted.pt")
    calls = {
        "from_pretrained": "import bitquant.transformers; m = AutoModelForCausalLM.from_pretrained(sys.argv[1])",
        "load_model": "import bitquant; m = bitquant.load_model(sys.argv[1], 'cpu')",
    }
    script = (
        f"import sys, torch; from transformers import AutoModelForCausalLM; {calls[load]}; "
        "x, wanted = torch.load(sys.argv[2]); torch.set_num_threads(int(sys.argv[3])); "
        "assert torch.equal(m(x).logits.float(), wanted)"
    )
    arguments = (str(directory), str(tmp_path / "wanted.pt"), str(torch.get_num_threads()))
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, env=dict(os.environ), timeout=300)


@pytest.mark.parametrize("name", ["gemma3, tied", pytest.param("qwen2, biases", marks=pytest.mark.thorough)])
@pytest.mark.thorough
def test_other_architectures(tmp_path, name):
    """Biases and tied embeddings survive quantizing on load, saving and loading."""
    models()[name].half().save_pretrained(tmp_path / "plain")
    config = BitquantConfig("int8", **OPTIONS, skip=())
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", quantization_config=config)
    assert isinstance(model.lm_head, Linear)
    wanted = bq.quantize_model(AutoModelForCausalLM.from_pretrained(tmp_path / "plain"), "int8", **OPTIONS, skip=())
    assert torch.equal(logits(model), logits(wanted))
    model.save_pretrained(tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert isinstance(again.lm_head, Linear)
    assert torch.equal(logits(again), logits(model))


FORMATS = [
    BitquantConfig("nf4", 32, opt_M=(1, 16)),
    BitquantConfig("code4", 32, opt_M=(16,), codebook=tuple(0.125 * code - 1 for code in range(16))),
    BitquantConfig("uint3", 32, "rescale", method="hqq", opt_M=[16]),
    BitquantConfig("int8", -1, A_dtype="int8", opt_M=(16,)),
    BitquantConfig("float8_e4m3", -1, A_dtype="float8_e4m3", opt_M=(16,)),
    BitquantConfig("uint4", 32, "quantized", skip=("lm_head", "model.layers.0.mlp"), opt_M=(16,)),
]


@pytest.mark.sample(shows=lambda config: {config.A_dtype == "int8", config.zeros == "quantized"})
@pytest.mark.parametrize("config", FORMATS, ids=lambda c: f"{c.W_dtype}-{c.zeros}-{c.A_dtype}-{c.method}")
@pytest.mark.thorough
def test_formats_survive(plain, tmp_path, config):
    """Other formats, activations of 8 bits and layers that were skipped are what they were after loading again."""
    model = AutoModelForCausalLM.from_pretrained(plain, quantization_config=config)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert [type(m) for m in again.modules()] == [type(m) for m in model.modules()]
    assert torch.equal(logits(again), logits(model))


@pytest.mark.parametrize("name", ["gptq-w4g64-asym-actorder", "ct-w8a8-int8"])
@pytest.mark.thorough
def test_loaded_checkpoints_can_be_saved(tmp_path, name):
    """A checkpoint of another program is saved in bitquant's own form, permutations and scales of channels included."""
    model = bq.load_model(FIXTURES / name, "cpu", opt_M=(16,))
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(again), logits(model))


@pytest.mark.thorough
def test_packed_bitlinear_layers_can_be_saved(tmp_path):
    """A model with packed BitLinear layers is saved and loaded, too."""
    model = bq.quantize_model(llama(), **OPTIONS)
    for name in ("model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"):
        layer = BitLinear.from_bit_linear(llama().get_submodule(name), opt_M=(16,))
        model.set_submodule(name, layer)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(again.model.layers[1].mlp.up_proj, BitLinear)
    assert torch.equal(logits(again), logits(model))


def test_dequantize(saved, tmp_path):
    """model.dequantize() and dequantize_model give a plain model, which is saved as one."""
    _, directory = saved
    model = AutoModelForCausalLM.from_pretrained(directory)
    other = bq.dequantize_model(AutoModelForCausalLM.from_pretrained(directory))
    model.save_pretrained(tmp_path / "again")  # It leaves the name of a type in the model's config.
    model = model.dequantize()
    assert torch.equal(logits(model), logits(other))
    named = bq.dequantize_model(AutoModelForCausalLM.from_pretrained(directory), "float32")
    assert named.model.layers[0].mlp.up_proj.weight.dtype is torch.float32
    other.save_pretrained(tmp_path)
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), logits(other))


def test_damaged_directories(saved, tmp_path):
    """A weight in another format, a lost tensor and another shape are errors of loading, not random layers."""
    _, directory = saved
    config = json.loads((directory / "config.json").read_text())
    tensors = load_file(directory / "model.safetensors")

    def write(name, config=config, **changes):
        place = tmp_path / name
        place.mkdir()
        (place / "config.json").write_text(json.dumps(config))
        state = {k: v for k, v in {**tensors, **changes}.items() if v is not None}
        save_file(state, place / "model.safetensors", {"format": "pt"})
        return place

    text = json.dumps(config).replace('"uint4"', '"int4"')
    text = (
        text.replace('"with_zeros": true, ', "")
        .replace('"zeros_mode": "original", ', "")
        .replace(', "zeros_mode": "original"', "")
    )
    with pytest.raises((bq.ConfigError, RuntimeError), match="stored weight is another one than the layer's"):
        AutoModelForCausalLM.from_pretrained(write("format", json.loads(text)))
    up = "model.layers.0.mlp.up_proj"
    for key in ("qweight", "scales", "_extra_state"):
        place = write(f"lost {key}", **{f"{up}.{key}": None})
        with pytest.raises(bq.BitquantError, match=rf"lacks 1 tensors.*{key}"):
            bq.load_model(place, "cpu")
        if key != "_extra_state":  # Which transformers names in its report.
            with pytest.raises(bq.ConfigError, match=rf"lacks 1 tensors of quantized layers, {up}.{key}"):
                AutoModelForCausalLM.from_pretrained(place)
    config["quantization_config"]["layers"]["model.layers.*.mlp.up_proj"]["group"] = 1
    with pytest.raises(bq.ConfigError, match=r"constructs 'model.layers.\*.mlp.up_proj' in a way that there is none"):
        AutoModelForCausalLM.from_pretrained(write("field"))
    config["quantization_config"]["layers"] = {"model.up": {"A_dtype": "bfloat16", "out_dtype": "bfloat16"}}
    with pytest.raises(bq.ConfigError, match=r"names a layer 'model.up', which LlamaForCausalLM has not"):
        AutoModelForCausalLM.from_pretrained(write("name"))
    with pytest.raises((bq.BitquantError, RuntimeError, ValueError)):
        AutoModelForCausalLM.from_pretrained(write("shape", **{f"{up}.qweight": torch.zeros(96, 16, dtype=torch.int8)}))


MISTAKES = [
    (dict(W_dtype="uint44"), "'W_dtype' must be one of"),
    (dict(A_dtype="int4"), "'A_dtype' must be one of"),
    (dict(method="gptq"), "'method' must be 'rtn' or 'hqq'"),
    (dict(skip="lm_head"), "'skip' must be a sequence"),
    (dict(bits=4), "'bits' is no field of a BitquantConfig; fields are W_dtype, group_size"),
]


@pytest.mark.parametrize(("fields", "message"), MISTAKES)
def test_mistakes_in_the_config(fields, message):
    """A config with a field that is none, or a value that is none, is refused when it is made."""
    with pytest.raises(bq.ConfigError, match=message):
        BitquantConfig(**fields)


def test_mistakes_at_loading(plain, saved):
    """Formats that a layer cannot have, other types, disks, and checkpoints of other methods are refused in words."""
    with pytest.raises(bq.ConfigError, match=r"'model.layers.0.self_attn.q_proj': 'group_size' must divide K"):
        AutoModelForCausalLM.from_pretrained(plain, quantization_config=BitquantConfig(group_size=60))
    with pytest.raises(bq.ConfigError, match=r"'skip' must name modules of the model \(got 'q_prj'"):
        AutoModelForCausalLM.from_pretrained(plain, quantization_config=BitquantConfig(**OPTIONS, skip=("q_prj",)))
    with pytest.raises(bq.ConfigError, match=r"'dtype' must be torch.bfloat16, in which the saved layers compute"):
        AutoModelForCausalLM.from_pretrained(saved[1], dtype=torch.float16)
    with pytest.raises(bq.ConfigError, match="'device_map' must name devices"):
        AutoModelForCausalLM.from_pretrained(
            plain, quantization_config=BitquantConfig(**OPTIONS), device_map={"": "disk"}
        )
    with pytest.raises(ValueError, match=r"quantized with GPTQConfig but you are passing a BitquantConfig"):
        AutoModelForCausalLM.from_pretrained(FIXTURES / "gptq-w4g128-sym", quantization_config=BitquantConfig())


def test_device_map(plain, saved):
    """device_map places layers as they are quantized, and those of saved models."""
    model = AutoModelForCausalLM.from_pretrained(
        plain, quantization_config=BitquantConfig(**OPTIONS), device_map={"": "cpu"}
    )
    assert torch.equal(logits(model), logits(saved[0]))
    again = AutoModelForCausalLM.from_pretrained(saved[1], device_map="auto")
    assert torch.equal(logits(again), logits(saved[0]))


def test_a_weight_that_is_not_finite(tmp_path):
    """What cannot be rounded stops loading; there is no model with a random layer."""
    model = llama().half()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 5] = torch.nan
    model.save_pretrained(tmp_path)
    with pytest.raises((bq.ConfigError, RuntimeError)):
        AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=BitquantConfig(**OPTIONS))


def test_generate_with_a_static_cache(saved):
    """Generate gives the same tokens with a dynamic and a static cache."""
    model, _ = saved
    options = dict(max_new_tokens=5, min_new_tokens=5, do_sample=False, pad_token_id=0)
    wanted = model.generate(ids(2, 6), **options)
    assert torch.equal(
        model.generate(ids(2, 6), cache_implementation="static", disable_compile=True, **options), wanted
    )


def test_torch_compile_with_a_static_cache(saved):
    """A step of decoding compiles whole, and gives the logits of eager mode."""
    model, _ = saved
    tokens = ids(1, 1)
    position = torch.zeros(1, dtype=torch.long)

    def step(model):
        cache = StaticCache(config=model.config, max_cache_len=16)
        with torch.no_grad():
            return model(tokens, past_key_values=cache, cache_position=position, use_cache=True).logits

    wanted = step(model)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert torch.equal(step(compiled), wanted)


def test_options_of_a_saved_model_are_its_own(saved):
    """What would not be used is refused: a saved model says how its layers are constructed."""
    _, directory = saved
    for options in (dict(opt_M=(1,)), dict(scale_dtype="float32"), dict(quantize_activations=False)):
        with pytest.raises(bq.ConfigError, match=f"'{next(iter(options))}' must be left out.*says itself how"):
            bq.load_model(directory, "cpu", **options)


def test_models_without_layers_are_refused(tmp_path):
    """A model that has nothing to quantize, and a format that is none, are refused, as by quantize_model."""
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=64, n_positions=16)).save_pretrained(tmp_path)
    with pytest.raises(bq.ConfigError, match=r"must have torch.nn.Linear layers.*GPT2LMHeadModel has none"):
        AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=BitquantConfig(**OPTIONS))
    with pytest.raises(bq.ConfigError, match="'W_dtype' must have at most 8 bits"):
        BitquantConfig("float16")


@pytest.mark.thorough
def test_experts_are_named(tmp_path):
    """Quantizing a model on load says of experts that are skipped that they stay, and what they take."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    from .test_models import SIZES

    sizes = {**SIZES, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16}
    model = Qwen3MoeForCausalLM(Qwen3MoeConfig(**sizes, decoder_sparse_step=1, mlp_only_layers=[]))
    model.half().save_pretrained(tmp_path)
    config = BitquantConfig(**OPTIONS, skip=("lm_head", "experts"))
    with pytest.warns(ModelWarning, match="experts of this model stay in 16 bits, which takes"):
        model = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=config)
    assert logits(model).isfinite().all()
