# SPDX-License-Identifier: Apache-2.0
"""Whole models on a GPU: logits against dequantized weights, checkpoints of other programs, compiled and captured."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from transformers import BitNetConfig, BitNetForCausalLM, StaticCache

import bitquant as bq
from bitquant.nn import BitLinear, Linear
from tests.unit.checkpoints.packers import FIXTURES
from tests.unit.test_models import LOADED, OWN_TYPES, difference, ids, logits, models

#: Large enough for the rules of tensor cores, and ragged.
SIZES = dict(
    hidden_size=256, intermediate_size=416, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=128, max_position_embeddings=64,
)  # fmt: skip
FORMATS = {
    "uint4": dict(W_dtype="uint4", group_size=32),
    "nf4": dict(W_dtype="nf4", group_size=32),
    "W8A8": dict(W_dtype="int8", group_size=-1, A_dtype="int8"),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("W", FORMATS)
@pytest.mark.parametrize("name", ["llama", "qwen2, biases", "gemma3, tied"])
def test_logits_are_those_of_dequantized_weights(name, W, dtype):
    """Quantized, a model gives the logits of the same model with dequantized weights; inputs of 8 bits are rounded."""
    model = models(**SIZES)[name].to("cuda", dtype)
    bq.quantize_model(model, **FORMATS[W])
    assert any(isinstance(m, Linear) for m in model.modules())
    got = [logits(model, ids(rows, length).cuda()) for rows, length in ((1, 1), (2, 7), (3, 40))]
    bq.dequantize_model(model)
    # 2 layers of 15 roundings by 2^-9 or 2^-12 each, as random ones add up; of W8A8 14 more, by 0.7 % of a row.
    bound = (0.04 if W == "W8A8" else 0.0) + (0.02 if dtype is torch.bfloat16 else 0.004)
    for (rows, length), quantized in zip(((1, 1), (2, 7), (3, 40)), got, strict=True):
        assert difference(quantized, logits(model, ids(rows, length).cuda())) <= bound


def test_bitnet_model():
    """A BitNet of transformers with packed BitLinear layers gives the logits of its float layers."""
    torch.manual_seed(0)
    model = BitNetForCausalLM(BitNetConfig(**SIZES)).eval().to("cuda", torch.bfloat16)
    for name, module in list(model.named_modules()):
        if type(module) is torch.nn.Linear and name != "lm_head":
            model.set_submodule(name, BitLinear.from_bit_linear(module))
    got = logits(model, ids().cuda())
    bq.dequantize_model(model)
    assert 0 < difference(got, logits(model, ids().cuda())) <= 0.06  # Inputs of 8 bits, bfloat16.


@pytest.mark.parametrize("name", LOADED)
def test_logits_of_every_checkpoint(name):
    """In float32, logits of each checkpoint are the reference's; matrix products of torch are not rounded to TF32."""
    reference = load_file(FIXTURES / name / "logits.safetensors")
    model = bq.load_model(FIXTURES / name, "cuda", torch.float32, quantize_activations=False)
    got = logits(model, reference["input_ids"].cuda()).cpu()
    assert difference(got, reference["logits"]) <= 5e-5  # As on the CPU.


@pytest.mark.parametrize(("name", "bound"), OWN_TYPES)
def test_logits_in_the_checkpoints_own_type(name, bound):
    """By default a model is on the GPU, and computes in the checkpoint's type."""
    reference = load_file(FIXTURES / name / "logits.safetensors")
    model = bq.load_model(FIXTURES / name)
    assert model.device.type == "cuda"
    assert difference(logits(model, reference["input_ids"].cuda()).cpu(), reference["logits"]) <= bound


def test_compiled_for_growing_batches():
    """The whole model compiles without a break; one more compilation makes the number of rows dynamic."""
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    model = bq.quantize_model(models(**SIZES)["llama"].half().cuda(), group_size=32)
    counter = CompileCounterWithBackend("inductor")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    with torch.no_grad():
        for rows in (2, 3, 5, 16, 17, 40):
            tokens = ids(rows, 6).cuda()
            wanted = model(tokens, use_cache=False).logits
            assert difference(compiled(tokens, use_cache=False).logits, wanted) <= 0.004
    assert counter.frame_count <= 2


def test_a_captured_step_decodes_as_eager_mode():
    """Replays of one graph decode the tokens that eager mode decodes, with a static cache."""
    model = bq.quantize_model(models(**SIZES)["llama"].half().cuda(), group_size=32)
    tokens = ids(2, 6).cuda()
    wanted = model.generate(tokens, max_new_tokens=12, min_new_tokens=12, do_sample=False, pad_token_id=0)
    with torch.inference_mode():
        cache = StaticCache(config=model.config, max_cache_len=32)
        step_tokens = torch.zeros((2, 1), dtype=torch.long, device="cuda")

        def step(given):
            step_tokens.copy_(
                model(given, past_key_values=cache, use_cache=True).logits[:, -1].argmax(-1, keepdim=True)
            )

        step(tokens)
        first = step_tokens.clone()
        step(step_tokens)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step(step_tokens)
        for layer in cache.layers:  # Back behind the prompt.
            layer.cumulative_length.fill_(tokens.shape[1])
        step_tokens.copy_(first)
        got = [first]
        for _ in range(11):
            graph.replay()
            got.append(step_tokens.clone())
    assert torch.equal(torch.cat(got, 1), wanted[:, 6:])


def test_moves_between_devices_keep_logits():
    """A model that went to the CPU and back has the same bits."""
    model = bq.quantize_model(models(**SIZES)["llama"].half().cuda(), group_size=32)
    before = logits(model, ids().cuda())
    model.cpu()
    assert difference(logits(model), before.cpu()) <= 0.004
    model.cuda()
    assert torch.equal(logits(model, ids().cuda()), before)
