# SPDX-License-Identifier: Apache-2.0
"""Routers stay in 16 bits: of models that use torch.nn.Linear for them, too."""

from __future__ import annotations

import warnings

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

import bitquant as bq
from bitquant.nn.routers import find_routers
from bitquant.transformers import BitquantConfig

SIZES = {
    "vocab_size": 128, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64, "intermediate_size": 96, "head_dim": 16,
}  # fmt: skip
#: By class of the config: fields, and the names of the routers in a layer.
MODELS = {
    "Qwen2MoeConfig": (
        {
            "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64, "num_experts": 8,
            "num_experts_per_tok": 2,
        },
        ["mlp.shared_expert_gate"],
    ),
    "AfmoeConfig": (
        {"moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 2, "num_dense_layers": 0},
        ["mlp.router.gate"],
    ),
    "Gemma4TextConfig": (
        {"num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 32, "enable_moe_block": True},
        ["router.proj"],
    ),
    "HunYuanMoEV1Config": ({"num_experts": 8, "moe_topk": 2}, ["mlp.gate.wg"]),
    "JetMoeConfig": (
        {"num_local_experts": 8, "num_experts_per_tok": 2, "kv_channels": 16, "num_key_value_heads": 4},
        ["mlp.router.layer", "self_attention.experts.router.layer"],
    ),
}  # fmt: skip


def make(name):
    """A small model, and the names of its routers."""
    fields, routers = MODELS[name]
    config = getattr(transformers, name)(**{**SIZES, **fields})
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval(), {f"model.layers.0.{router}" for router in routers}


@pytest.mark.parametrize("name", list(MODELS))
def test_routers_are_not_quantized(name):
    """Neither by quantize_model nor where all else is asked for; other layers are."""
    model, routers = make(name)
    assert find_routers(model) == routers
    before = {router: model.get_submodule(router).weight for router in routers}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bq.nn.ModelWarning)
        bq.quantize_model(model, group_size=32, opt_M=(16,), skip=())
    assert any(isinstance(m, bq.Linear) for m in model.modules())
    for router, weight in before.items():
        assert type(model.get_submodule(router)) is torch.nn.Linear
        assert model.get_submodule(router).weight is weight


def test_routers_are_not_quantized_as_they_are_read(tmp_path):
    """from_pretrained with a BitquantConfig leaves them, and the saved model is loaded with them."""
    model, routers = make("AfmoeConfig")
    model.save_pretrained(tmp_path / "float")
    config = BitquantConfig(group_size=32, opt_M=(16,))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "float", quantization_config=config, dtype="auto")
    loaded.save_pretrained(tmp_path / "saved")
    for each in (loaded, bq.load_model(tmp_path / "saved", "cpu")):
        for router in routers:
            layer = each.get_submodule(router)
            assert type(layer) is torch.nn.Linear
            assert torch.equal(layer.weight, model.get_submodule(router).weight)


def test_layers_of_other_models_are_no_routers():
    """A layer of that name in a model without experts is quantized, and one with other outputs in a model with some."""
    plain = torch.nn.ModuleDict({"router": torch.nn.Linear(64, 8), "gate": torch.nn.Linear(64, 1)})
    assert not find_routers(plain)
    model, routers = make("AfmoeConfig")
    model.model.layers[0].mlp.gate = torch.nn.Linear(64, 32)
    assert find_routers(model) == routers
