# SPDX-License-Identifier: Apache-2.0
"""Experts in a model: packed weights against dequantized ones, in both forms of a call, and whole models of these."""

from __future__ import annotations

import copy
import json
import pickle
import warnings

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

import bitquant as bq
from bitquant.nn import Experts, ExpertsLinear, Gate, ModelWarning, experts, stock
from bitquant.nn.saved_layers import layer_fields
from bitquant.transformers import BitquantConfig

SIZES = dict(
    vocab_size=128, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=64,
)  # fmt: skip


def mixtral(**fields):
    """Gate and up one above the other, SiLU."""
    return MixtralForCausalLM(
        MixtralConfig(**{**SIZES, "intermediate_size": 96, "num_local_experts": 4, "num_experts_per_tok": 2, **fields})
    )


def qwen3(**fields):
    """More experts, of which a token meets three, in every second layer."""
    own = {"intermediate_size": 96, "moe_intermediate_size": 48, "num_experts": 8, "num_experts_per_tok": 3}
    return Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**{**SIZES, **own, "head_dim": 16, "decoder_sparse_step": 2, "mlp_only_layers": [], **fields})
    )


def gpt_oss(**fields):
    """Gate and up in turn, transposed, clamped, with biases."""
    own = {"intermediate_size": 96, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16}
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    return GptOssForCausalLM(
        GptOssConfig(**{**SIZES, **own, "layer_types": ["full_attention"] * 2, "rope_parameters": rope, **fields})
    )


def deepseek(**fields):
    """Shared experts, a router by sigmoids and groups, a first layer without experts."""
    own = {
        "intermediate_size": 96, "moe_intermediate_size": 32, "n_routed_experts": 8, "num_experts_per_tok": 3,
        "n_shared_experts": 1, "n_group": 2, "topk_group": 2, "first_k_dense_replace": 1, "q_lora_rank": 32,
        "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16,
        "num_key_value_heads": 4,
    }  # fmt: skip
    return DeepseekV3ForCausalLM(DeepseekV3Config(**{**SIZES, **own, **fields}))


MODELS = {"mixtral": mixtral, "qwen3": qwen3, "gpt_oss": gpt_oss, "deepseek": deepseek}
#: Those with the most that saving and loading meets: gate and up in turn, and layers beside the experts.
some_models = pytest.mark.sample(shows=lambda name: {name} & {"gpt_oss", "deepseek"})


def make(name, **fields):
    """A model with random weights of which none is zero, and experts that matter."""
    torch.manual_seed(0)
    model = MODELS[name](**fields).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "experts" in key:
                parameter.normal_(std=0.15)
            elif "router" in key or "gate.weight" in key or key.endswith("bias") or "sinks" in key:
                parameter.normal_(std=0.5)
    return model


def quantized(model, **options):
    """The model with 4-bit experts, in the type that it has."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelWarning)
        return bq.quantize_model(model, **{"group_size": 32, "opt_M": (16,), **options})


def ids(rows=2, length=5):
    """Tokens."""
    return torch.randint(0, 128, (rows, length), generator=torch.Generator().manual_seed(1))


#: Few tokens, whose slots are indexed, and many, which are sorted.
FEW, MANY = ids(1, 5), ids(3, 20)


@torch.no_grad()
def logits(model, tokens=FEW):
    """Logits of a model in float32."""
    return model(tokens, use_cache=False).logits.float()


def difference(got, wanted):
    """Relative difference of two tensors, Frobenius."""
    return (torch.linalg.norm((got - wanted).double()) / torch.linalg.norm(wanted.double())).item()


def modules(model):
    """The experts of a model."""
    return [m for m in model.modules() if isinstance(m, Experts)]


# The module.

#: Formats of experts: fields of ExpertsLinear.
FORMATS = {
    "uint4, packed zeros": {"W_dtype": "uint4", "with_zeros": True, "zeros_mode": "quantized"},
    "uint3, zeros": {"W_dtype": "uint3", "with_zeros": True, "zeros_mode": "original"},
    "int4": {"W_dtype": "int4"},
    "mxfp4": {"W_dtype": "fp4_e2m1", "scale_dtype": "float8_e8m0"},
    "nvfp4": {
        "W_dtype": "fp4_e2m1", "scale_dtype": "float8_e4m3", "group_size": 16, "with_channel_scale": True,
    },
    "fp8, rows": {"W_dtype": "float8_e4m3", "rows_per_scale": 16, "scale_dtype": "float32"},
    "nf4, permuted": {"W_dtype": "nf4", "with_permutation": True},
    "bias": {"W_dtype": "int8", "bias": True},
}  # fmt: skip


def build(fields, E=4, H=64, inner=96, top_k=2, A_dtype="float32", seed=0, gate=None):
    """Experts with random numbers in every buffer; the activation of the gate is in the first product."""
    gate = gate or Gate()
    common = {
        "group_size": 32, "with_scaling": True, "A_dtype": A_dtype, "out_dtype": A_dtype, "top_k": top_k,
        "opt_M": (16,), **fields,
    }  # fmt: skip
    made = Experts(
        ExpertsLinear(E, H, 2 * inner, activation=gate.activation, **common),
        ExpertsLinear(E, inner, H, D_rows="tokens", **common),
        gate,
    )
    fill(made, seed)
    return made


def fill(made, seed=0):
    """Load random numbers of each format, expert by expert."""
    generator = torch.Generator().manual_seed(seed)
    for layer in (made.gate_up, made.down):
        c = layer.config.matmul
        for e in range(layer.num_experts):
            given = {}
            for held in layer._held:
                if not held.is_present:
                    continue
                shape = held.shape[1:]
                if held.name == "permutation":
                    given[held.name] = torch.randperm(layer.in_features, generator=generator)
                elif held.dtype in (torch.int8, torch.uint8):
                    given[held.name] = torch.randint(0, 127, shape, generator=generator).to(held.dtype)
                elif held.dtype is torch.float8_e8m0fnu:
                    powers = torch.randint(122, 126, shape, generator=generator, dtype=torch.uint8)
                    given[held.name] = powers.view(held.dtype)
                else:
                    numbers = torch.rand(shape, generator=generator) / 8 + 0.02
                    given[held.name] = (numbers / 16 if c.W_dtype == "int8" else numbers).to(held.dtype)
            if c.W_format.is_integer or c.W_format.levels is not None:
                low, high = (
                    (0, 2**c.W_format.bits - 1) if c.W_format.levels else (c.W_format.min_value, c.W_format.max_value)
                )
                values = torch.randint(int(low), int(high) + 1, (c.N, c.K), generator=generator)
                values = values.to(c.W_format.torch_dtype)
            else:
                values = torch.randn(c.N, c.K, generator=generator).to(c.W_format.torch_dtype)
            layer.load_expert(e, values, **given)


def reference(made, x, index, weights):
    """The layer in float64 from dequantized weights, slot by slot; experts that there are not count as zeros."""
    first, last = (
        [layer.dequantize_expert(e).double() for e in range(made.num_experts)] for layer in (made.gate_up, made.down)
    )
    out = torch.zeros(x.shape[0], last[0].shape[0], dtype=torch.float64)
    for t in range(x.shape[0]):
        for j in range(index.shape[1]):
            e = int(index[t, j])
            if not 0 <= e < made.num_experts:
                continue
            product = first[e] @ x[t].double()
            product = product if made.gate_up.bias is None else product + made.gate_up.bias[e].double()
            product = last[e] @ made.gate(product)
            product = product if made.down.bias is None else product + made.down.bias[e].double()
            out[t] += product * weights[t, j].double()
    return out


def route(tokens, E=4, top_k=2, seed=0):
    """Inputs, experts and weights."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, 64, generator=generator)
    weights, index = torch.rand(tokens, E, generator=generator).softmax(-1).topk(top_k)
    return x, index, weights


@pytest.mark.parametrize("tokens", [1, 5, 40])
@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.sample(shows=lambda name, tokens: {name, tokens, *((field, tokens < 40) for field in FORMATS[name])})
def test_experts_against_float64(name, tokens):
    """Both forms compute with the weights that dequantize_expert gives, whatever the format."""
    made = build(FORMATS[name])
    x, index, weights = route(tokens)
    assert (tokens * 2 <= experts._MAX_ROWS["cpu"] * 4) == (tokens < 40)
    got = made(x, index, weights)
    # Sums of 96 products in float32, twice, through a gate.
    assert difference(got, reference(made, x, index, weights)) <= 2e-6


@pytest.mark.parametrize("tokens", [5, 40])
@pytest.mark.parametrize("gate", [
    Gate(limit=7.0, alpha=1.702), Gate(torch.nn.GELU(approximate="tanh")), Gate(limit=0.5), Gate(torch.nn.ReLU()),
    Gate(limit=0.5, alpha=1.5),
], ids=["gpt-oss", "gelu", "DeepSeek-V4", "relu", "other numbers"])  # fmt: skip
def test_gates_against_float64(gate, tokens):
    """Activations that kernels have are computed in them, in float32, the others by torch."""
    made = build(FORMATS["bias"], gate=gate)
    x, index, weights = route(tokens)
    assert difference(made(x, index, weights), reference(made, x, index, weights)) <= 2e-6


def test_activations_in_kernels():
    """They are SiLU, gelu by tanh, and gpt-oss's; nothing else."""
    assert Gate().activation == "silu_mul"
    assert Gate(limit=7.0, alpha=1.702).activation == "clamped_swiglu"
    assert Gate(torch.nn.GELU(approximate="tanh")).activation == "gelu_tanh_mul"
    for gate in (Gate(limit=7.0), Gate(alpha=1.702), Gate(torch.nn.GELU()), Gate(torch.nn.ReLU(), 7.0, 1.7)):
        assert gate.activation is None
    names = {name: stock.StockExperts.of(find(name)).gate().activation for name in MODELS}
    assert names == {"mixtral": "silu_mul", "qwen3": "silu_mul", "gpt_oss": "clamped_swiglu", "deepseek": "silu_mul"}
    with pytest.raises(bq.ConfigError, match="'gate' must be the activation of 'gate_up', 'silu_mul'"):
        Experts(
            ExpertsLinear(4, 64, 192, activation="silu_mul"), ExpertsLinear(4, 96, 64, D_rows="tokens"), Gate(limit=1)
        )


def find(name):
    """An experts module of transformers."""
    with torch.device("meta"):
        return next(iter(stock.find_stock_experts(MODELS[name]()).values()))


@pytest.mark.parametrize("name", list(FORMATS))
def test_layout_does_not_depend_on_the_activation(name):
    """What is sorted with an activation and without, and what is indexed, read one weight."""
    with torch.device("meta"):
        layers = [ExpertsLinear(
            8, 256, 512, group_size=32, with_scaling=True, A_dtype="bfloat16", out_dtype="bfloat16", top_k=2,
            target="h200", activation=activation,
            **{k: v for k, v in FORMATS[name].items() if k != "group_size"},
        ) for activation in (None, "silu_mul")]  # fmt: skip
    kernels = [*layers[1].needed_kernels(()), layers[1]._plain_kernels, *layers[0].needed_kernels(())]
    assert len({k.layout("cuda") for k in kernels}) == 1


@pytest.mark.parametrize("tokens", [6, 40])
def test_experts_of_other_ranks_count_as_zeros(tokens):
    """Slots of experts that there are not, E as transformers marks them and others, add nothing in either form."""
    made = build(FORMATS["uint4, packed zeros"])
    x, index, weights = route(tokens)
    index[::3, 0], index[1::4, 1], index[2] = 4, -1, 4
    got = made(x, index, weights)
    assert difference(got, reference(made, x, index, weights)) <= 2e-6
    assert torch.equal(got[2], torch.zeros(64))
    assert torch.equal(made(x, torch.full_like(index, 4), weights), torch.zeros(tokens, 64))


@pytest.mark.parametrize("tokens", [6, 40])
@pytest.mark.parametrize("compiles", [False, True])
def test_ids_beyond_32_bits_are_no_experts(tokens, compiles):
    """2^32 + 1 is not expert 1, and neither -2^63 nor 2^62 is expert 0, in either form."""
    made = build(FORMATS["int4"])
    x, index, weights = route(tokens)
    index[::3, 0], index[1::4, 1], index[2] = 2**32 + 1, -(2**63), 2**62
    call = torch.compile(made, backend="aot_eager", fullgraph=True) if compiles else made
    with torch.no_grad():
        assert difference(call(x, index, weights), reference(made, x, index, weights)) <= 2e-6
    if not compiles:
        index = index.where(index >= 0, 2**32 + 2).to(torch.uint32 if tokens == 6 else torch.uint64)
        index.view(torch.int32)[0] = -1
        assert difference(made(x, index, weights), reference(made, x, index.to(torch.int64), weights)) <= 2e-6


def test_ids_are_narrowed_in_any_order_in_memory():
    """Ids of 64 bits become contiguous int32, with tensors as bounds and, where a graph is captured, without."""
    ids = torch.tensor([[2**32 + 1, 3], [4, -(2**63)], [0, -1]]).t()
    wanted = torch.tensor([[4, 4, 0], [3, -1, -1]], dtype=torch.int32)
    for bounds in (experts._bounds, lambda E, device: None):
        with pytest.MonkeyPatch.context() as context:
            context.setattr(experts, "_bounds", bounds)
            got = experts._narrow(ids, 4)
        assert torch.equal(got, wanted)
        assert got.is_contiguous()


@pytest.mark.parametrize("top_k", [2, 3])
def test_ids_of_a_narrow_type_need_not_hold_the_number_of_experts(top_k):
    """uint8 holds experts 0 ... 255, but not 256, which stands for none; with a third expert slots are sorted."""
    made = build(FORMATS["int4"], E=256)
    x, index, weights = route(5, E=256, top_k=top_k)
    assert torch.equal(made(x, index.to(torch.uint8), weights), made(x, index, weights))


def test_both_forms_agree_and_any_number_of_experts_of_a_token_is_right():
    """What is sorted differs from what is indexed by roundings; another k than top_k is sorted."""
    made = build(FORMATS["int4"])
    x, index, weights = route(7, top_k=3)
    assert difference(made(x, index, weights), reference(made, x, index, weights)) <= 2e-6
    x, index, weights = route(5)
    assert difference(made._sorted(x, index, weights, True), made(x, index, weights)) <= 2e-6
    assert made(x[:0], index[:0], weights[:0]).shape == (0, 64)


def test_calls_of_more_tokens_than_kernels_index_are_cut(monkeypatch):
    """Results do not depend on where tokens are cut."""
    made = build(FORMATS["int4"])
    x, index, weights = route(50)
    whole = made(x, index, weights)
    monkeypatch.setattr(experts, "_MAX_SUMMED", 7 * 2 * 64)
    assert torch.equal(made(x, index, weights), whole)
    monkeypatch.setattr(made, "_most_tokens", lambda k: 19)
    assert torch.equal(made(x, index, weights), whole)


def test_routing_weights_and_ids_may_have_other_types():
    """Transformers' routers return int64 and the type of the model."""
    made = build(FORMATS["int4"], A_dtype="bfloat16")
    x, index, weights = route(9)
    got = made(x.bfloat16(), index.to(torch.int32), weights.bfloat16())
    assert got.dtype is torch.bfloat16
    assert torch.equal(got, made(x.bfloat16(), index, weights.bfloat16().float()))


@pytest.mark.parametrize("tokens", [5, 400])
@pytest.mark.parametrize("id_type", [torch.int32, torch.int64])
def test_operands_may_be_views(tokens, id_type):
    """Routers return slices and transposed tensors, in both forms of a call."""
    made = build(FORMATS["int4"])
    x, index, weights = route(tokens)
    operands = (x, index.to(id_type), weights)
    views = [torch.empty(t.shape[::-1], dtype=t.dtype).T.copy_(t) for t in operands]
    assert not any(view.is_contiguous() for view in views)
    assert torch.equal(made(*views), made(*operands))
    slices = [torch.cat([t, t], 1)[:, : t.shape[1]] for t in operands[1:]]
    assert torch.equal(made(x, *slices), made(*operands))


@pytest.mark.parametrize("limit", [None, 0.5])
@pytest.mark.parametrize("alpha", [None, 1.702])
def test_gate(limit, alpha):
    """Gate and up are the even and the odd columns."""
    x = torch.randn(3, 10)
    g, u = x[:, ::2], x[:, 1::2]
    if limit is not None:
        g, u = g.clamp(max=limit), u.clamp(-limit, limit)
    wanted = torch.nn.functional.silu(g) * u if alpha is None else (u + 1) * g * torch.sigmoid(alpha * g)
    assert torch.allclose(Gate(limit=limit, alpha=alpha)(x), wanted)


def test_gradients_of_inputs_and_routing_weights():
    """They are those of the layer with dequantized weights; those of tokens of other ranks are zeros."""
    made = build(FORMATS["nvfp4"])
    x, index, weights = route(6)
    index[3] = 4
    mine, theirs = ([t.clone().requires_grad_() for t in (x, weights)] for _ in range(2))
    D = torch.randn(6, 64)
    made(mine[0], index, mine[1]).backward(D)
    first, last = (torch.stack([layer.dequantize_expert(e) for e in range(4)]) for layer in (made.gate_up, made.down))
    result = torch.zeros(6, 64)
    for j in range(2):
        valid = (index[:, j] < 4).unsqueeze(-1)
        e = index[:, j].clamp(max=3)
        h = made.gate(torch.einsum("tnk,tk->tn", first[e], theirs[0]))
        result = result + torch.where(valid, torch.einsum("tnk,tk->tn", last[e], h) * theirs[1][:, j, None], 0)
    result.backward(D)
    for got, wanted in zip(mine, theirs, strict=True):
        assert difference(got.grad, wanted.grad) <= 1e-5
    assert torch.equal(mine[0].grad[3], torch.zeros(64))


@pytest.mark.parametrize("tokens", [5, 40])
def test_torch_compile_makes_one_graph(tokens):
    """fullgraph, with the numbers of the uncompiled layer."""
    made = build(FORMATS["uint4, packed zeros"])
    x, index, weights = route(tokens)
    compiled = torch.compile(made, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert torch.equal(compiled(x, index, weights), made(x, index, weights))


def test_state_dict_copies_and_pickles():
    """A state dict loads into an equal layer, also one on the meta device, and no other; copies compute the same."""
    made, other = build(FORMATS["bias"]), build(FORMATS["bias"], seed=1)
    call = route(5)
    wanted = made(*call)
    assert not torch.equal(other(*call), wanted)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(*call), wanted)
    for name in ("bias", "mxfp4", "nvfp4", "fp8, rows"):
        each = made if name == "bias" else build(FORMATS[name])
        for copied in (copy.deepcopy(each), pickle.loads(pickle.dumps(each)), copy.copy(each)):  # noqa: S301
            assert torch.equal(copied(*call), each(*call))
    empty = copy.deepcopy(made).to("meta")
    empty.load_state_dict(made.state_dict(), assign=True)
    assert torch.equal(empty(*call), wanted)
    with pytest.raises(RuntimeError, match=r"'gate_up': .*W_dtype is 'int8' and not 'int4'"):
        build({**FORMATS["int4"], "bias": True}).load_state_dict(made.state_dict())
    with pytest.raises(RuntimeError, match="num_experts is 4 and not 3"):
        build(FORMATS["bias"], E=3).load_state_dict(made.state_dict())


def test_scales_of_another_type():
    """The layer computes with scales that are rounded to it."""
    layer = build(FORMATS["int4"]).gate_up
    wider = layer.with_scale_dtype("float16")
    assert wider.scales.dtype is torch.float16
    assert difference(wider.dequantize_expert(1), layer.dequantize_expert(1)) <= 2**-11


def test_wrong_calls():
    """Errors name the argument and what it must be."""
    made = build(FORMATS["int4"])
    x, index, weights = route(3)
    with pytest.raises(bq.CallError, match=r"'top_k_weights' must have shapes .*\(T, k\) \(got"):
        made(x, index, weights[:2])
    with pytest.raises(bq.CallError, match=r"'A' must be of type torch\.float32"):
        made(x.half(), index, weights)
    with pytest.raises(bq.CallError, match=r"'top_k_index' must be a torch.Tensor \(got NoneType\)"):
        made(x, None, weights)
    of = r"'hidden_states', cpu \(got meta\); use"
    for x, index, weights in (route(3), route(40)):
        for wrong in (index.float(), index.bool(), index.to(torch.complex64)):
            with pytest.raises(bq.CallError, match=rf"'top_k_index' must be of an integer type \(got {wrong.dtype}\)"):
                made(x, wrong, weights)
        with pytest.raises(bq.CallError, match=r"'top_k_weights' must be of a floating-point type \(got torch.int64\)"):
            made(x, index, index)
        with pytest.raises(bq.CallError, match=rf"'top_k_index' must be on the device of {of}"):
            made(x, index.to("meta"), weights)
        with pytest.raises(bq.CallError, match=rf"'top_k_weights' must be on the device of {of}"):
            made(x, index, weights.to("meta"))
    layer = made.gate_up
    with pytest.raises(bq.ConfigError, match="'e' must be one of 4 experts"):
        layer.load_expert(4, torch.zeros(192, 64, dtype=torch.int8))
    with pytest.raises(bq.ConfigError, match="'scales' is missing"):
        layer.load_expert(0, torch.zeros(192, 64, dtype=torch.int8))
    with pytest.raises(bq.ConfigError, match=r"'gate_up' must have \(E, N, K, top_k\) = \(4, 192, 64, 2\)"):
        Experts(ExpertsLinear(4, 64, 96, top_k=2), made.down)
    with pytest.raises(bq.ConfigError, match="must stand for an experts module"):
        stock.dequantize_experts(made, None)


# Models.


@pytest.mark.parametrize("name", list(MODELS))
def test_quantized_models_compute_with_the_rounded_weights(name):
    """Logits are those of transformers' own modules with dequantized weights, for few tokens and for many."""
    model = quantized(make(name))
    assert modules(model)
    assert not any(p.ndim == 3 for p in model.parameters())
    plain = bq.dequantize_model(copy.deepcopy(model))
    assert not modules(plain)
    for tokens in (FEW, MANY):
        assert difference(logits(model, tokens), logits(plain, tokens)) <= 5e-6


@pytest.mark.parametrize(("name", "W_dtype", "method"), [
    ("mixtral", "int8", "rtn"), ("qwen3", "uint8", "hqq"), ("gpt_oss", "int8", "rtn"), ("deepseek", "uint8", "rtn"),
])  # fmt: skip
@pytest.mark.sample(shows=lambda name, W_dtype, method: {W_dtype, method, *({name} & {"gpt_oss"})})
def test_rounding_of_experts_is_that_of_linear_layers(name, W_dtype, method):
    """Each expert's weight is what quantize gives for its rows, gate and up in turn, and the module gets them back."""
    model = make(name)
    found = {n: stock.StockExperts.of(m) for n, m in stock.find_stock_experts(model).items()}
    wanted = {
        (n, product): torch.nn.Linear(s.weight(product, 1).shape[1], s.weight(product, 1).shape[0], False)
        for n, s in found.items()
        for product in ("gate_up", "down")
    }
    for (n, product), linear in wanted.items():
        linear.weight.data = found[n].weight(product, 1).clone()
    before = {n: copy.deepcopy(s.module) for n, s in found.items()}
    quantized(model, W_dtype=W_dtype, method=method)
    for (n, product), linear in wanted.items():
        layer = getattr(model.get_submodule(n), product)
        one = bq.Linear.from_float(linear, W_dtype, layer.config.group_size, method=method, opt_M=(16,))
        assert torch.equal(layer.dequantize_expert(1), one.dequantize())
    bq.dequantize_model(model)
    for n, module in before.items():
        after = model.get_submodule(n)
        assert type(after) is type(module)
        for (key, got), (_, stored) in zip(after.named_parameters(), module.named_parameters(), strict=True):
            assert got.shape == stored.shape
            assert difference(got, stored) <= 0.01, key


def test_quantized_model_is_near_the_float_model():
    """8 bits change logits little, as long as no token meets other experts."""
    model = make("mixtral")
    before = logits(model)
    assert difference(logits(quantized(model, W_dtype="int8")), before) <= 0.04


@pytest.mark.parametrize("name", list(MODELS))
@some_models
def test_saved_models_give_the_same_logits(name, tmp_path):
    """save_pretrained, then load_model and from_pretrained; config.json names experts once for all layers."""
    model = quantized(make(name))
    model.save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())["quantization_config"]["layers"]
    own = {key: value for key, value in fields.items() if value.get("layer") == "Experts"}
    assert len(own) == 1
    assert fields == layer_fields(model)
    wanted = logits(model, MANY)
    for loaded in (bq.load_model(tmp_path, "cpu"), AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")):
        assert torch.equal(logits(loaded, MANY), wanted)
        assert all(m.make_stock is not None for m in modules(loaded))


@pytest.mark.parametrize("name", list(MODELS))
@some_models
def test_experts_are_quantized_as_they_are_read(name, tmp_path):
    """from_pretrained with a BitquantConfig gives what quantize_model does."""
    model = make(name)
    model.save_pretrained(tmp_path)
    config = BitquantConfig(group_size=32, opt_M=(16,))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=config, dtype="auto")
    assert torch.equal(logits(loaded, MANY), logits(quantized(model), MANY))


def test_experts_implementation(tmp_path):
    """Packed experts compute whatever it is; "bitquant" refuses those that are not packed."""
    model = quantized(make("mixtral"))
    wanted = logits(model)
    for name in ("eager", "grouped_mm", "bitquant"):
        model.set_experts_implementation(name)
        assert torch.equal(logits(model), wanted)
    make("mixtral").save_pretrained(tmp_path)
    config = BitquantConfig(group_size=32, opt_M=(16,))
    loaded = AutoModelForCausalLM.from_pretrained(
        tmp_path, quantization_config=config, experts_implementation="bitquant", dtype="auto"
    )
    assert torch.equal(logits(loaded), wanted)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, experts_implementation="bitquant", dtype="auto")
    with pytest.raises(bq.ConfigError, match=r"needs packed experts \(got MixtralExperts with floats\)"):
        logits(plain)


def test_meta_device():
    """Experts are replaced without numbers; a state dict fills them."""
    model = quantized(make("mixtral"))
    with torch.device("meta"):
        empty = mixtral().eval()
    quantized(empty)
    assert all(t.is_meta for m in modules(empty) for t in m.buffers())
    state = model.state_dict()
    empty.load_state_dict(state, assign=True)
    assert all(torch.equal(t, state[n]) for n, t in empty.named_buffers() if "experts" in n)


def test_generate_and_compile():
    """A model generates, and compiles whole, with the logits of the uncompiled one."""
    model = quantized(make("qwen3"))
    text = model.generate(FEW, max_new_tokens=4, do_sample=False)
    assert text.shape == (1, 9)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert torch.equal(compiled(MANY, use_cache=False).logits, model(MANY, use_cache=False).logits)


def test_prepare_model_makes_all_operators():
    """Both forms of both products are there before the first call."""
    model = quantized(make("mixtral"))
    bq.prepare_model(model, progress=False)
    for layer in (modules(model)[0].gate_up, modules(model)[0].down):
        assert all("cpu" in kernels.operators for kernels in layer.needed_kernels(()))
        assert len(layer.needed_kernels(())) == 2


def test_what_stays_and_what_is_refused():
    """Skipped experts stay, with a message; a group that fits no K is refused before anything changes."""
    model = make("mixtral")
    with pytest.warns(ModelWarning, match="experts of this model stay in 16 bits"):
        bq.quantize_model(model, group_size=32, skip=("lm_head", "experts"))
    assert not modules(model)
    model = make("qwen3", moe_intermediate_size=40)
    with pytest.raises(bq.ConfigError, match=r"'model.layers.1.mlp.experts': 'group_size' must divide K"):
        bq.quantize_model(model, group_size=32)
    assert not any(isinstance(m, bq.Linear) for m in model.modules())
    model = make("mixtral")
    with torch.no_grad():
        model.model.layers[1].mlp.experts.down_proj[2, 3, 4] = torch.nan
    with pytest.raises(bq.ConfigError, match=r"'model.layers.1.mlp.experts': .*finite"):
        bq.quantize_model(model, group_size=32)


def test_gates_that_are_not_known_stay(monkeypatch):
    """A class with a gate of its own that has no name here is not replaced, and the message says why."""
    model = make("gpt_oss")
    monkeypatch.setattr(stock, "_GATES", {})
    with pytest.warns(ModelWarning, match=r"needs a gate that it knows \(GptOssExperts has one of its own\)"):
        bq.quantize_model(model, group_size=32, opt_M=(16,))
    assert not modules(model)
