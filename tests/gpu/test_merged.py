# SPDX-License-Identifier: Apache-2.0
"""Merged layers on the GPU."""

from __future__ import annotations

import copy

import pytest
import torch

import bitquant as bq
from bitquant.nn import merge_layers, unmerge_layers
from bitquant.testing.oracle import assert_close

transformers = pytest.importorskip("transformers")


def llama(**fields):
    """A small Llama, float16, on the GPU."""
    sizes = dict(
        hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=128, max_position_embeddings=64, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**sizes, **fields})).half().cuda().eval()


@pytest.fixture(scope="module")
def plain():
    """A quantized model whose layers are apart."""
    return bq.quantize_model(llama(), group_size=64, opt_M=(1, 16), merge=False)


@pytest.fixture
def model(plain):
    """The same, merged."""
    model = copy.deepcopy(plain)
    assert len(merge_layers(model)) == 4
    return model


@pytest.mark.parametrize("options", [dict(W_dtype="uint4"), dict(W_dtype="nf4"), dict(W_dtype="int8", A_dtype="int8")])
def test_parts_of_a_product(options):
    """A part's result is x decode(W)^T of its own weight, within the kernels' rounding, as that of its own kernel."""
    group = -1 if "A_dtype" in options else 64
    model = bq.quantize_model(llama(num_hidden_layers=1), group_size=group, opt_M=(1, 16), merge=False, **options)
    attention = model.model.layers[0].self_attn
    apart = copy.deepcopy(attention)
    merge_layers(model)
    layers = [attention.q_proj, attention.k_proj, attention.v_proj]
    assert layers[0]._merged.whole.is_on
    assert layers[1].weight_layout == layers[1]._merged.whole.layer.weight_layout
    for rows in (1, 5, 40):
        x = torch.randn(rows, 256, device="cuda").half()
        with torch.no_grad():
            results = [layer(x) for layer in layers]
            for name, layer, D in zip("qkv", layers, results, strict=True):
                own = getattr(apart, f"{name}_proj")
                assert torch.equal(layer.qweight, own.qweight)
                assert (D - own(x)).norm() <= 2e-3 * D.norm()
                if "A_dtype" not in options:
                    reference = x.double() @ own.dequantize(torch.float32).double().T
                    assert_close(D, reference.cpu().numpy(), layer.config)


def test_a_graph_replays_what_eager_computes(model):
    """A captured step has one product for each set; a replay with another input gives what eager calls give."""
    block = model.model.layers[0].mlp
    x = torch.randn(1, 256, device="cuda").half()
    with torch.no_grad():
        block(x)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            block(x)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = block(x)
        for seed in range(3):
            torch.manual_seed(seed)
            x.copy_(torch.randn(1, 256, device="cuda"))
            output.fill_(torch.nan)
            graph.replay()
            assert torch.equal(output, block(x))
        # In place: the captured graph reads the memory that is loaded into.
        other = bq.quantize_model(llama(initializer_range=0.05), group_size=64, opt_M=(1, 16), merge=False)
        model.load_state_dict(other.state_dict())
        graph.replay()
        assert torch.equal(output, block(x))
        assert (output - other.model.layers[0].mlp(x)).norm() <= 2e-3 * output.norm()


def test_decoding_compiled(model, plain):
    """A compiled step with CUDA graphs launches three products a layer less; logits are as close as kernels are."""
    logits, counts = [], []
    for each in (plain, model):
        torch._dynamo.reset()
        cache = transformers.StaticCache(config=each.config, max_cache_len=32)
        compiled = torch.compile(each, mode="reduce-overhead", fullgraph=True)
        token, position = torch.tensor([[7]], device="cuda"), torch.tensor([0], device="cuda")
        with torch.no_grad():
            # As generate does: the cache is made outside of compiled programs, whose memory graphs use again.
            each(token, past_key_values=cache, cache_position=position)
            for i in range(1, 5):
                position.fill_(i)
                result = compiled(token, past_key_values=cache, cache_position=position).logits.clone()
            logits.append(result)
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
                compiled(token, past_key_values=cache, cache_position=position)
                torch.cuda.synchronize()
        # Inductor's own kernels carry the names of operations beside them, "triton_..._matmul_...".
        counts.append(sum(event.count for event in profile.key_averages() if event.key.startswith("matmul_m")))
    assert (logits[0] - logits[1]).norm() <= 1e-2 * logits[0].norm()
    assert counts[0] - counts[1] == 2 * 3


def test_moving(model, plain):
    """A model on the CPU and back is merged there and here; memory is used once, and state dicts are the same."""
    wanted = plain.state_dict()
    for device in ("cpu", "cuda"):
        model.to(device)
        layer = model.model.layers[1].self_attn.k_proj
        assert layer._merged.whole.is_on
        assert layer.qweight.device.type == device
        state = model.state_dict()
        assert all(torch.equal(tensor.cpu(), wanted[name].cpu()) for name, tensor in state.items())
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    unmerge_layers(model)
    apart = torch.cuda.memory_allocated()
    assert abs(apart - before) <= 64 * 1024
    merge_layers(model)
    assert abs(torch.cuda.memory_allocated() - apart) <= 64 * 1024
