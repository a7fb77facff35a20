# SPDX-License-Identifier: Apache-2.0
"""Models whose blocks share layers: by ties that their class declares, or by one module in several places."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from transformers import AutoModelForCausalLM, Zamba2Config, Zamba2ForCausalLM

import bitquant as bq
from bitquant.nn import Experts, Linear
from bitquant.transformers import BitquantConfig

from .test_experts import make

OPTIONS = {"W_dtype": "uint4", "group_size": 16, "opt_M": (16,)}
IDS = torch.arange(2 * 7).view(2, 7) % 64


def logits(model):
    """Logits of some tokens."""
    with torch.no_grad():
        return model(IDS).logits


def zamba():
    """Two blocks of attention whose weights are tied."""
    torch.manual_seed(0)
    config = Zamba2Config(
        hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4,
        attention_hidden_size=128, attention_head_dim=32, vocab_size=64, num_mem_blocks=1, hybrid_layer_ids=[1, 3],
        layers_block_type=["mamba", "hybrid", "mamba", "hybrid"], use_mamba_kernels=False, mamba_d_state=8,
        n_mamba_heads=2, mamba_headdim=64, adapter_rank=16, pad_token_id=0,
    )  # fmt: skip
    return Zamba2ForCausalLM(config).eval()


@pytest.mark.parametrize("on_load", [False, True], ids=["quantize_model", "from_pretrained"])
def test_tied_blocks_are_saved_and_loaded(tmp_path, on_load):
    """Layers whose weights are tied have weights of their own once they are quantized, also when they are read."""
    model = zamba()
    if on_load:
        model.save_pretrained(tmp_path / "plain")
        config = BitquantConfig(**OPTIONS)
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", quantization_config=config)
    else:
        model = bq.quantize_model(model, **OPTIONS)
    assert isinstance(model.model.layers[3].shared_transformer.feed_forward.down_proj, Linear)
    model.save_pretrained(tmp_path / "quantized")
    for loaded in (
        bq.load_model(tmp_path / "quantized", "cpu"),
        AutoModelForCausalLM.from_pretrained(tmp_path / "quantized"),
    ):
        assert torch.equal(logits(loaded), logits(model))


def test_one_module_of_experts_in_several_blocks(tmp_path):
    """It is quantized once, saved for each block, and loaded as modules of their own."""
    model = make("mixtral")
    model.model.layers[1].mlp.experts = model.model.layers[0].mlp.experts
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = bq.quantize_model(model, **OPTIONS)
    first, second = (layer.mlp.experts for layer in model.model.layers[:2])
    assert isinstance(first, Experts)
    assert first is second
    before = copy.deepcopy(model.state_dict())
    model.save_pretrained(tmp_path)
    assert model.model.layers[0].mlp.experts is model.model.layers[1].mlp.experts
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    for loaded in (bq.load_model(tmp_path, "cpu"), AutoModelForCausalLM.from_pretrained(tmp_path)):
        assert torch.equal(logits(loaded), logits(model))
