# SPDX-License-Identifier: Apache-2.0
"""Layers that share an input, merged into one operator."""

from __future__ import annotations

import copy
import gc
import io
import json
import pickle
import threading

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, StaticCache

import bitquant as bq
from bitquant.nn import BitLinear, Linear, merge_layers, merged, unmerge_layers
from bitquant.nn.module import Kernels
from bitquant.nn.siblings import children_of_one_input
from bitquant.relayout import from_layout, to_layout
from bitquant.transformers import BitquantConfig

from .checkpoints.packers import FIXTURES
from .test_models import SIZES, difference, ids, llama, logits

OPTIONS = dict(group_size=32, opt_M=(16,))
Q, K, V = (f"model.layers.0.self_attn.{part}_proj" for part in "qkv")
GATE, UP = (f"model.layers.1.mlp.{part}_proj" for part in ("gate", "up"))


class Count(TorchDispatchMode):
    """Counts products, by their N, and inputs that are rounded."""

    def __init__(self):
        super().__init__()
        self.products, self.rounded = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.bitquant.matmul.default:
            self.products.append(result.shape[-1])
        self.rounded += function is torch.ops.bitquant.quantize_tokens.default
        return result


def products(model, *arguments, mode=torch.no_grad):
    """N of each product of a call."""
    with mode(), Count() as count:
        model(*(arguments or (ids(),)))
    return count.products


def graphs(function, *arguments, mode=torch.no_grad, calls=2, **options):
    """Results of a compiled function, and N of the products in each graph that was made."""
    found = []

    def backend(module, _):
        nodes = [node for node in module.graph.nodes if node.target is torch.ops.bitquant.matmul.default]
        nodes += [node for node in module.graph.nodes if node.target is torch.ops.bitquant.matmul]
        found.append([node.meta["example_value"].shape[-1] for node in nodes])
        return module.forward

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend=backend, **options)
    with mode():
        results = [compiled(*arguments) for _ in range(calls)]
    return results, found


def is_merged(layer):
    """Whether calls of a layer are served by an operator for several."""
    return layer._merged is not None and layer._merged.whole.is_on


@pytest.fixture(scope="module")
def plain():
    """A quantized Llama whose layers are apart."""
    return bq.quantize_model(llama(), merge=False, **OPTIONS)


@pytest.fixture
def model(plain):
    """The same with layers that are merged."""
    model = copy.deepcopy(plain)
    merge_layers(model)
    return model


class Block(torch.nn.Module):
    """A module with three layers of one input, quantized; a subclass has the forward."""

    def __init__(self, sizes=(64, 32, 32), K=64, **options):
        super().__init__()
        torch.manual_seed(0)
        for name, N in zip("abc", sizes, strict=False):
            options = {**OPTIONS, "W_dtype": "uint4", **options}
            setattr(self, name, Linear.from_float(torch.nn.Linear(K, N, bias=False), **options))

    def forward(self, x):
        return torch.cat([self.a(x), self.b(x), self.c(x)], -1)


# What is merged.


def test_sets_of_a_model(plain):
    """q, k and v, gate and up are merged; a model that is merged is left as it is."""
    model = copy.deepcopy(plain)
    names = merge_layers(model)
    assert (Q, K, V) in names
    assert (GATE, UP) in names
    assert len(names) == 4
    assert merge_layers(model) == []
    assert all(is_merged(model.get_submodule(name)) for name in (Q, K, V, GATE, UP))


def test_products_of_a_model(model, plain):
    """One product for q, k and v and one for gate and up, eager and compiled; logits are equal, bit for bit."""
    wanted = logits(plain)
    assert products(plain) == [64, 32, 32, 64, 96, 96, 64] * 2
    assert products(model) == [128, 64, 192, 64] * 2
    assert torch.equal(logits(model), wanted)
    results, found = graphs(lambda x: model(x, use_cache=False).logits, ids(), calls=3)
    assert found == [[128, 64, 192, 64] * 2]  # One graph: the second and the third call recompile nothing.
    assert all(torch.equal(result, wanted) for result in results)
    # CUDA graphs read the common tensors where they are, as a module's own; others they would copy at each replay.
    whole = model.get_submodule(Q)._merged.whole.layer
    assert all(hasattr(tensor, "_dynamo_static_input_type") for tensor in whole.buffers())


def test_equal_blocks_share_a_graph(model):
    """A compiled block serves the next one of its kind: merging adds no guard that differs between them."""
    layers = model.model.layers
    torch._dynamo.reset()
    count = torch._dynamo.testing.CompileCounter()
    x = torch.randn(1, 3, 64)
    with torch.no_grad():
        for layer in layers:
            layer.mlp.compile(backend=count, fullgraph=True)
        for layer in layers:
            layer.mlp(x)
    assert count.frame_count == 1


def test_biases():
    """Qwen2's biases are merged, too."""
    torch.manual_seed(0)
    float_model = Qwen2ForCausalLM(Qwen2Config(**SIZES)).eval()
    for layer in float_model.model.layers:
        torch.nn.init.normal_(layer.self_attn.k_proj.bias)
    plain = bq.quantize_model(copy.deepcopy(float_model), merge=False, **OPTIONS)
    model = bq.quantize_model(float_model, **OPTIONS)
    assert products(model) == [128, 64, 192, 64] * 2
    assert torch.equal(logits(model), logits(plain))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gptq-w4g64-asym-actorder", dict(scale_dtype="bfloat16")),
        ("ct-w8a8-int8", {}),
        pytest.param("ct-fp8-dynamic", {}, marks=pytest.mark.thorough),
        pytest.param("gptq-w3g64-asym", {}, marks=pytest.mark.thorough),
    ],
)
@pytest.mark.thorough
def test_checkpoints(name, options):
    """Packed zero points, permutations, channel scales and inputs of 8 bits are merged; state dicts are the same."""
    plain = bq.load_model(FIXTURES / name, "cpu", opt_M=(16,), merge=False, **options)
    model = bq.load_model(FIXTURES / name, "cpu", opt_M=(16,), **options)
    assert len(products(model)) < len(products(plain))
    assert torch.equal(logits(model), logits(plain))
    state = plain.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    assert all(tensor.is_contiguous() for tensor in model.state_dict().values())
    assert torch.equal(logits(copy.deepcopy(model)), logits(plain))
    assert torch.equal(model(ids()).logits, plain(ids()).logits)  # With gradients, so that each layer computes alone.
    for layer, other in zip(model.modules(), plain.modules(), strict=True):
        if isinstance(layer, Linear):
            assert torch.equal(layer.dequantize(), other.dequantize())
    bq.dequantize_model(model)
    bq.dequantize_model(plain)
    assert torch.equal(logits(model), logits(plain))


def test_tokens_are_rounded_once():
    """Layers that round their input round it once for all of them."""
    block = Block(A_dtype="int8", group_size=-1)
    x = torch.randn(3, 64)
    with torch.no_grad():
        wanted = block(x)
        merge_layers(block)
        with Count() as count:
            got = block(x)
    assert torch.equal(got, wanted)
    assert (count.rounded, len(count.products)) == (1, 1)


UNLIKE = {
    "formats": dict(W_dtype="nf4"),
    "groups": dict(group_size=64),
    "scale types": dict(scale_dtype="float16"),
    "rungs": dict(opt_M=(16, 32)),
    "types of D": dict(out_dtype="float16"),
}


@pytest.mark.parametrize("options", UNLIKE.values(), ids=UNLIKE)
def test_layers_that_differ_stay_apart(options):
    """A layer of another format is no part of a set; the others are."""
    block = Block()
    block.b = Linear.from_float(torch.nn.Linear(64, 32, bias=False), **{**OPTIONS, **options})
    assert merge_layers(block) == [("a", "c")]


def test_other_layers_stay_apart():
    """Biases on some, permutations that differ, scales of the caller, hooks, and a second ragged N."""
    block = Block()
    block.a = Linear.from_float(torch.nn.Linear(64, 64), **OPTIONS)
    assert merge_layers(block) == [("b", "c")]
    block = Block((40, 32, 24))
    assert merge_layers(block) == [("b", "a")]
    block = Block()
    block.b.register_forward_hook(lambda *_: None)
    assert merge_layers(block) == [("a", "c")]
    block = Block()
    block.b = BitLinear.from_bit_linear(torch.nn.Linear(64, 32), opt_M=(16,))
    assert merge_layers(block) == [("a", "c")]
    block = Block()
    for layer, seed in ((block.a, 0), (block.b, 1), (block.c, 0)):
        order = torch.randperm(64, generator=torch.Generator().manual_seed(seed))
        layer.register_buffer("permutation", order)
    assert merge_layers(block) == [("a", "c")]
    block = Block()
    for name in "abc":
        fields = dict(A_dtype="int8", W_dtype="int8", accum_dtype="int32", out_dtype="float32")
        setattr(block, name, Linear(64, 32, with_activation_scale=True, **fields))
    assert merge_layers(block) == []


# What the source of a forward says.


class Straight(Block):
    def forward(self, x):
        shape = x.shape
        return self.a(x).amax() + self.c(self.b(x)).view(shape)


class Changed(Block):
    def forward(self, x):
        a = self.a(x)
        x.add_(1)
        return torch.cat([a, self.b(x), self.c(x)], -1)


class Alias(Block):
    def forward(self, x):
        alias = x
        a = self.a(x)
        alias += 1
        return torch.cat([a, self.b(x)], -1)


class Item(Block):
    def forward(self, x):
        y = x.view(-1)
        a = self.a(x)
        y[0] = 7
        return torch.cat([a, self.b(x)], -1)


class Rebound(Block):
    def forward(self, x):
        a = self.a(x)
        x = x * 2
        return torch.cat([a, self.b(x)], -1)


class Chained(Block):
    def forward(self, x):
        x = self.a(x)
        return self.b(x)


class Passed(Block):
    def forward(self, x):
        a = self.a(x)
        torch.nn.functional.relu(x, inplace=True)
        return torch.cat([a, self.b(x)], -1)


class Out(Block):
    def forward(self, x):
        y = x[:]
        a = self.a(x)
        torch.add(a[:, :64], 1, out=y)
        return torch.cat([a, self.b(x)], -1)


class Other(Block):
    def __init__(self):
        super().__init__()
        self.act = torch.nn.ReLU(inplace=True)

    def forward(self, x):
        a = self.a(x)
        self.act(x)
        return torch.cat([a, self.b(x)], -1)


class Looped(Block):
    def forward(self, x):
        y = []
        for _ in range(2):
            y.extend((self.a(x), self.b(x)))
            x.mul_(2)
        return torch.cat(y, -1)


class Streams(Block):
    def forward(self, x):
        a = self.a(x)
        with torch.no_grad():
            return torch.cat([a, self.b(x)], -1)


class Cross(Block):
    def forward(self, x, states=None):
        states = x if states is None else states
        return torch.cat([self.a(x), self.b(states), self.c(states)], -1)


FORWARDS = [
    (Block, [("a", "b", "c")]), (Straight, [("a", "b")]), (Changed, []), (Alias, []), (Item, []),
    (Rebound, []), (Chained, []), (Passed, []), (Out, []), (Other, []), (Looped, []), (Streams, []),
    (Cross, [("b", "c")]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "names"), FORWARDS, ids=lambda v: v.__name__ if isinstance(v, type) else "")
def test_forwards(kind, names):
    """Layers are merged where the module's forward shows that their input is one; results are those of layers apart."""
    block = kind()
    if kind is Chained:
        block.b = copy.deepcopy(block.a)
    if kind is Straight:
        block.c = Linear.from_float(torch.nn.Linear(32, 64, bias=False), **OPTIONS)
    x = torch.randn(2, 64)
    with torch.no_grad():
        wanted = block(x.clone())
        assert merge_layers(block) == names
        for _ in range(5):
            assert torch.equal(block(x.clone()), wanted)


def test_no_module():
    """What is no module is named."""
    with pytest.raises(bq.ConfigError, match=r"'model' must be a torch.nn.Module \(got str\)"):
        merge_layers("model")


def test_forwards_that_cannot_be_read():
    """A forward without a source, or not the class's, has no sets; accelerate's hooks are looked behind."""
    block = Block()
    block.forward = lambda x: x
    assert children_of_one_input(block) == []
    namespace = {"torch": torch, "Block": Block}
    exec("class Made(Block):\n    def forward(self, x):\n        return self.a(x) + self.b(x)", namespace)  # noqa: S102
    assert children_of_one_input(namespace["Made"]()) == []
    from accelerate.hooks import ModelHook, add_hook_to_module

    hooked = add_hook_to_module(Block(), ModelHook())
    assert children_of_one_input(hooked) == [("a", "b", "c")]


# Calls.


def test_rows_and_leading_dimensions(model):
    """Any leading dimensions, one row and none; a part that is called alone, or with `output`, returns what it did."""
    attention = model.model.layers[0].self_attn
    for shape in ((1, 1, 64), (2, 5, 64), (3, 64), (64,), (0, 64), (2, 0, 64)):
        x = torch.randn(shape)
        with torch.no_grad():
            got = [attention.q_proj(x), attention.k_proj(x), attention.v_proj(x)]
            output = torch.full((*shape[:-1], 32), torch.nan)
            assert attention.k_proj(x, output) is output
            assert torch.equal(output, got[1])
        assert merged._rounds.current is None
        for name, D in zip("qkv", got, strict=True):
            alone = copy.deepcopy(getattr(attention, f"{name}_proj"))
            assert not is_merged(alone)
            assert D.shape == (*shape[:-1], alone.out_features)
            assert torch.equal(D, alone(x))


def test_columns_go_into_the_next_layer():
    """A result, columns of a common product, is taken by another layer as it is."""

    class Two(Block):
        def forward(self, x):
            a, b = self.a(x), self.b(x)
            return self.c(a) + b

    block = Two((64, 64, 64))
    x = torch.randn(5, 64)
    with torch.no_grad():
        wanted = block(x)
        merge_layers(block)
        assert not block.a(x).is_contiguous()
        block.b(x)
        assert torch.equal(block(x), wanted)


def test_mistakes_are_named(model):
    """A wrong input is the error that it is for a layer alone, and leaves nothing open."""
    layer = model.get_submodule(Q)
    with torch.no_grad():
        for x, message in (
            (torch.randn(2, 63), r"'A' must have shape \(\.\.\., 64\)"),
            (torch.randn(2, 64).half(), "'A' must be torch.float32|float16"),
            ([1.0] * 64, "'A' must be a torch tensor|list"),
        ):
            with pytest.raises(bq.CallError, match=message):
                layer(x)
            assert merged._rounds.current is None


def test_modes(model, plain):
    """inference_mode merges as no_grad does; where autograd records layers compute alone, with the same gradient."""
    wanted = logits(plain)
    assert products(model, mode=torch.inference_mode) == [128, 64, 192, 64] * 2
    assert products(model, mode=torch.enable_grad) == [64, 32, 32, 64, 96, 96, 64] * 2
    with torch.inference_mode():
        assert torch.equal(model(ids()).logits, wanted)
    gradients = []
    for each in (model, plain):
        x = each.model.embed_tokens(ids()).detach().requires_grad_()
        each(inputs_embeds=x).logits.square().sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)
    attention, x = model.model.layers[0].self_attn, torch.randn(2, 64)
    with torch.no_grad():
        q = attention.q_proj(x)
        with torch.enable_grad():
            x.requires_grad_()
            k = attention.k_proj(x)
            k.sum().backward()
        v = attention.v_proj(x)
    assert torch.equal(v, attention.v_proj(x.detach()))
    assert q.shape == (2, 64)


@pytest.mark.thorough
def test_inference_mode_compiled(model):
    """A graph of inference_mode has one product for the layers of a set."""
    _, found = graphs(lambda x: model(x, use_cache=False).logits, ids(), mode=torch.inference_mode)
    assert found == [[128, 64, 192, 64] * 2]


@pytest.mark.thorough
def test_training_compiled(model, plain):
    """Compiled with gradients, checkpointing included, nothing is merged and nothing breaks."""
    x = torch.randn(1, 3, 64, requires_grad=True)

    def loss(model):
        return lambda x: torch.utils.checkpoint.checkpoint(model.model.layers[0].mlp, x, use_reentrant=False).sum()

    gradients = []
    for each in (model, plain):
        torch._dynamo.reset()
        torch.compile(loss(each), fullgraph=True, backend="aot_eager")(x).backward()
        gradients.append(x.grad.clone())
        x.grad = None
    assert torch.equal(*gradients)


def test_a_product_lives_no_longer_than_its_input():
    """After an exception between two layers the product goes with the input; the next call starts anew."""
    block = Block()
    merge_layers(block)
    x = torch.randn(2, 64)
    with torch.no_grad():
        block.a(x)
        round_ = merged._rounds.current
        assert round_.D is not None
        del x
        gc.collect()
        assert round_.D is None
        x = torch.randn(2, 64)
        alone = copy.deepcopy(block.b)
        assert torch.equal(block.b(x), alone(x))
        assert merged._rounds.current is not round_


def test_an_input_that_changes_in_place():
    """A tensor that was written to since is another input, though no forward that is merged does that."""
    block = Block()
    merge_layers(block)
    alone = copy.deepcopy(block.b)
    x = torch.randn(2, 64)
    with torch.no_grad():
        block.a(x)
        x.add_(1)
        assert torch.equal(block.b(x), alone(x))


def test_inputs_that_differ_in_a_program():
    """Layers that a program calls with different tensors compute alone in it, and are right the first time."""
    block = Block()
    merge_layers(block)
    alone = copy.deepcopy(block)
    unmerge_layers(alone)

    def call(block, x, y):
        return block.a(x), block.b(y), block.c(y)

    x, y = torch.randn(2, 64), torch.randn(2, 64)
    torch._dynamo.reset()
    with torch.no_grad():
        results = torch.compile(call, fullgraph=True, backend="eager")(block, x, y)
        assert all(map(torch.equal, results, call(alone, x, y)))
    assert merged._trace.current is None


class Sometimes(Block):
    def forward(self, x, skip=True):
        a = self.a(x)
        return a if skip else torch.cat([a, self.b(x), self.c(x)], -1)


def test_sets_that_are_not_called_as_one_compute_alone():
    """Where layers are not asked for again and again, the one that is computes alone from then on."""
    block = Sometimes()
    assert merge_layers(block) == [("a", "b", "c")]
    x, y = torch.randn(2, 64), torch.randn(2, 64)
    assert products(block, x, False) == [128]
    assert [products(block, each) for each in (x, y)] == [[128]] * 2
    assert products(block, x, False) == [128]  # Once in a while is no habit.
    assert [products(block, each) for each in (x, y, x, y, x)] == [[128]] * 3 + [[64]] * 2
    assert products(block, x, False) == [64, 32, 32]
    block = Sometimes()
    merge_layers(block)
    with torch.no_grad():
        wanted = block(x)
        torch._dynamo.reset()
        count = torch._dynamo.testing.CompileCounter()
        compiled = torch.compile(block, fullgraph=True, backend=count)
        for _ in range(5):
            assert torch.equal(compiled(x), wanted)
        assert count.frame_count <= 3
        assert not is_merged(block.a)
        assert merged._trace.current is None


def test_threads(model, plain):
    """Threads that call one model at once get what each would alone, and the layers stay merged."""
    inputs = [torch.randint(0, 128, (1, 5 + i), generator=torch.Generator().manual_seed(i)) for i in range(4)]
    wanted = [logits(plain, x) for x in inputs]
    wrong = []

    def work(i):
        wrong.extend(i for _ in range(10) if not torch.equal(logits(model, inputs[i]), wanted[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert is_merged(model.get_submodule(Q))
    x, block = torch.randn(2, 64), model.model.layers[0].mlp
    with torch.no_grad():
        block.gate_proj(x)
        round_ = merged._rounds.current
        thread = threading.Thread(target=lambda: products(block, x + 1))
        thread.start()
        thread.join()
        assert merged._rounds.current is round_  # Another thread's calls end no round of this one.
        block.up_proj(x)
        assert merged._rounds.current is None


@pytest.mark.parametrize("way", ["eager", "inside", "around"])
def test_functional_call(model, plain, way):
    """Buffers that a call is given for a layer count, in and around a program; a move merges the layers again."""
    block, name = model.model.layers[0].mlp, "up_proj.scales"
    other, x = {name: torch.rand_like(block.up_proj.scales)}, torch.randn(2, 64)

    def call(x, tensors):
        return torch.func.functional_call(block, tensors, (x,))

    torch._dynamo.reset()
    with torch.no_grad():
        wanted = torch.func.functional_call(plain.model.layers[0].mlp, other, (x,))
        if way == "around":
            block.compile(backend="eager", fullgraph=True)
            assert torch.equal(block(x), plain.model.layers[0].mlp(x))
        if way == "inside":
            call = torch.compile(call, backend="eager")
        assert torch.equal(call(x, other), wanted)
        assert torch.equal(block(x), plain.model.layers[0].mlp(x))
    model.to("cpu")
    block._compiled_call_impl = None
    assert products(block, x) == [192, 64]


def test_replicas(model):
    """What torch.nn.DataParallel makes of a layer computes with its own buffers, and disturbs no one."""
    layer, x = model.get_submodule(K), torch.randn(2, 64)
    replica = layer._replicate_for_data_parallel()
    replica._buffers["scales"] = layer.scales * 2
    with torch.no_grad():
        alone = copy.deepcopy(layer)
        assert torch.equal(layer(x), alone(x))
        alone.scales.mul_(2)
        assert torch.equal(replica(x), alone(x))
    assert is_merged(layer)


def test_vmap_and_make_fx(model, plain):
    """Transforms and traces of torch see the same numbers."""
    x = torch.randn(3, 2, 64)
    block, other = model.model.layers[0].mlp, plain.model.layers[0].mlp
    with torch.no_grad():
        assert torch.equal(torch.vmap(block)(x), torch.vmap(other)(x))
        traced = torch.fx.experimental.proxy_tensor.make_fx(block)(x)
        assert torch.equal(traced(x), other(x))
        exported = torch.export.export(block, (x,))
        assert torch.equal(exported.module()(x), other(x))
    assert sorted(exported.state_dict) == sorted(plain.model.layers[0].mlp.state_dict(keep_vars=True).keys() - {
        f"{part}_proj._extra_state" for part in ("gate", "up", "down")
    })  # fmt: skip


@pytest.mark.thorough
def test_generate(model, plain):
    """Generating with a static cache, eager and compiled, gives the tokens that layers apart give."""
    prompt = ids(1, 5)
    options = dict(max_new_tokens=6, do_sample=False, cache_implementation="static", disable_compile=True)
    wanted = plain.generate(prompt, **options)
    assert torch.equal(model.generate(prompt, **options), wanted)
    cache = StaticCache(config=model.config, max_cache_len=16)
    _, found = graphs(lambda x: model(x, past_key_values=cache, cache_position=torch.arange(5)).logits, prompt, calls=1)
    assert found == [[128, 64, 192, 64] * 2]
    assert torch.equal(model.generate(prompt, **options), wanted)


# Memory, moves and copies.


def test_memory_is_shared(model):
    """A part's buffers are its rows of the merged operands: the same memory, with a storage of its own."""
    whole = model.get_submodule(Q)._merged.whole.layer
    first, starts = 0, {}
    for name in (Q, K, V):
        layer = model.get_submodule(name)
        for key in ("qweight", "scales", "zeros"):
            rows, tensor = getattr(whole, key), getattr(layer, key)
            assert tensor.data_ptr() == rows[first:].data_ptr()
            assert torch.equal(tensor, rows[first : first + layer.out_features])
            assert tensor.untyped_storage().nbytes() == tensor.nbytes
            starts[name, key] = tensor.untyped_storage().data_ptr()
        first += layer.out_features
    assert len(set(starts.values())) == 9
    assert whole.out_features == first


@pytest.mark.parametrize("way", ["safetensors", "torch.save", "accelerate", "save_pretrained"])
def test_saving(model, plain, tmp_path, way):
    """Files have the model's own names, every tensor once, and no more bytes than those of layers apart."""
    state, wanted = model.state_dict(), plain.state_dict()
    assert list(state) == list(wanted)
    if way == "safetensors":
        save_file({k: v for k, v in state.items() if k != "lm_head.weight"}, tmp_path / "x.safetensors")
        got = load_file(tmp_path / "x.safetensors")
    elif way == "torch.save":
        layer = model.get_submodule(Q).state_dict()
        torch.save(layer, tmp_path / "x.pt")
        assert (tmp_path / "x.pt").stat().st_size < 1.2 * sum(t.nbytes for t in layer.values()) + 4096
        got = {f"{Q}.{k}": v for k, v in torch.load(tmp_path / "x.pt", weights_only=True).items()}
    elif way == "accelerate":
        import accelerate

        accelerate.Accelerator(cpu=True).save_model(model, tmp_path)
        got = load_file(tmp_path / "model.safetensors")
        assert got.keys() == wanted.keys()
    else:
        model.save_pretrained(tmp_path)
        got = load_file(tmp_path / "model.safetensors")
        assert got.keys() == wanted.keys()
        assert json.loads((tmp_path / "config.json").read_text())["quantization_config"]["layers"]
    assert {Q + ".qweight", Q + ".scales"} <= got.keys()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in got.items())


def test_loading_a_state_dict(model):
    """A state dict that is loaded into merged layers, in place or assigned, is what they compute with, merged."""
    other = bq.quantize_model(llama(seed=3), merge=False, **OPTIONS)
    wanted, before = logits(other), model.get_submodule(K).qweight.data_ptr()
    assert not torch.equal(logits(model), wanted)
    model.load_state_dict(other.state_dict())
    assert model.get_submodule(K).qweight.data_ptr() == before  # Captured graphs read it.
    assert torch.equal(logits(model), wanted)
    third = bq.quantize_model(llama(seed=4), merge=False, **OPTIONS)
    model.load_state_dict(copy.deepcopy(third).state_dict(), assign=True)
    assert torch.equal(logits(model), logits(third))
    assert products(model) == [128, 64, 192, 64] * 2
    with torch.no_grad():
        model.get_submodule(K).scales.mul_(2)
        third.get_submodule(K).scales.mul_(2)
    assert torch.equal(logits(model), logits(third))
    assert not torch.equal(logits(model), wanted)


def test_loading_one_layer(model, plain):
    """A layer that is loaded, packed anew, or given other buffers computes with these, and so does the model."""
    other = bq.quantize_model(llama(seed=3), merge=False, **OPTIONS)
    twin = copy.deepcopy(plain)
    for each in (model, twin):
        each.get_submodule(Q).load_state_dict(other.get_submodule(Q).state_dict())
        weight = torch.randint(0, 16, (32, 64), generator=torch.Generator().manual_seed(0))
        layer = each.get_submodule(K)
        layer.load_and_transform_weight(weight, layer.scales.clone(), layer.zeros.clone())
    assert torch.equal(logits(model), logits(twin))
    assert products(model) == [128, 64, 192, 64] * 2
    for each in (model, twin):
        each.get_submodule(V).scales = other.get_submodule(V).scales.clone()
    assert torch.equal(logits(model), logits(twin))
    model.to("cpu")  # As any move, it joins what has become apart.
    assert products(model) == [128, 64, 192, 64] * 2
    assert torch.equal(logits(model), logits(twin))


def test_permutations_that_differ_after_loading():
    """A state dict whose permutations are no longer equal takes the layers apart; one with equal ones joins them."""
    block = Block()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    for layer in (block.a, block.b, block.c):
        layer.register_buffer("permutation", order.clone())
    plain = copy.deepcopy(block)
    assert merge_layers(block) == [("a", "b", "c")]
    x = torch.randn(2, 64)
    for b in (torch.arange(64), order):
        plain.b.permutation.copy_(b)
        block.load_state_dict(plain.state_dict())
        with torch.no_grad():
            assert torch.equal(block(x), plain(x))
        assert is_merged(block.a) == (b is order)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),  # noqa: S301 - our own
    "torch.save": lambda model: torch.load(_saved(model), weights_only=False),
}


def _saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return file


@pytest.mark.parametrize("W_dtype", ["uint4", "float8_e4m3"])
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_copies(copied, W_dtype):
    """Copies of a model are merged like it, in memory of their own; a copy of one layer is one layer.

    torch itself reads no tensor of 8-bit floats that plain pickle wrote.
    """
    block = Block(W_dtype=W_dtype)
    merge_layers(block)
    x = torch.randn(2, 64)
    with torch.no_grad():
        wanted = block(x)
        other = copied(block)
        assert is_merged(other.a)
        assert other.a._merged.whole is other.b._merged.whole is not block.a._merged.whole
        for name, tensor in other.named_buffers():
            assert tensor.data_ptr() != block.get_buffer(name).data_ptr()
            tensor.zero_()
        assert not other(x).any()
        assert torch.equal(block(x), wanted)
        one = copied(block.b)
        assert not is_merged(one)
        assert type(one._buffers) is dict
        assert torch.equal(one(x), wanted[:, 64:96])
        shallow = copy.copy(block.b)
        assert torch.equal(shallow(x), wanted[:, 64:96])
        assert is_merged(block.b)
        assert torch.equal(block(x), wanted)


def test_meta_device(model, plain):
    """A model that goes to the meta device holds no memory; what is loaded into it is merged again."""
    model.to("meta")
    whole = model.get_submodule(Q)._merged.whole
    assert whole.layer.qweight.is_meta
    assert not whole.is_on
    model.load_state_dict(plain.state_dict(), assign=True, strict=False)
    model.model.rotary_emb = plain.model.rotary_emb
    assert products(model) == [128, 64, 192, 64] * 2
    assert torch.equal(logits(model), logits(plain))
    with torch.device("meta"):
        other = LlamaForCausalLM(plain.config)
    bq.quantize_model(other, **OPTIONS)
    other.load_state_dict(plain.state_dict(), assign=True)
    other.model.rotary_emb = plain.model.rotary_emb
    assert products(other) == [128, 64, 192, 64] * 2
    assert torch.equal(logits(other), logits(plain))


def test_fragments(monkeypatch):
    """In the fragment layout parts are rows of tiles; state dicts hold the plain weights, and load into the tiles."""
    sixteen = dict(A_dtype="float16", out_dtype="float16", scale_dtype="float16")
    plain = Block((64, 32, 40), **sixteen)
    block = copy.deepcopy(plain)
    monkeypatch.setattr(Kernels, "layout", lambda kernels, device_type: "fragment")
    block.to("cpu")
    assert block.a.weight_layout == "fragment"
    assert merge_layers(block) == [("a", "b", "c")]
    whole = block.a._merged.whole.layer
    assert is_merged(block.a)
    assert whole.weight_layout == "fragment"
    rows = torch.cat([layer.qweight for layer in (plain.a, plain.b, plain.c)])
    assert torch.equal(whole.qweight, to_layout(rows, whole.config, "fragment"))
    assert torch.equal(block.b.qweight, whole.qweight[4:6])
    assert block.b.qweight.data_ptr() == whole.qweight[4:6].data_ptr()
    state = plain.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in block.state_dict().items())
    other = Block((64, 32, 40), **sixteen)
    other.b.qweight.random_(-128, 128)
    block.load_state_dict(other.state_dict())
    assert block.b.qweight.data_ptr() == whole.qweight[4:6].data_ptr()
    assert torch.equal(from_layout(whole.qweight, whole.config, "fragment")[64:96], other.state_dict()["b.qweight"])
    monkeypatch.undo()
    block.to("meta")
    block.load_state_dict(other.state_dict(), assign=True)
    assert block.a.weight_layout == "plain"
    x = torch.randn(2, 64).half()
    with torch.no_grad():
        assert torch.equal(block(x), other(x))


# Taking apart.


def test_hooks(model, plain):
    """A layer that gets a hook, torch's or accelerate's, takes its set apart; the others stay merged."""
    from accelerate.hooks import ModelHook, add_hook_to_module

    seen = []
    model.get_submodule(K).register_forward_hook(lambda module, inputs, output: seen.append(output.is_contiguous()))
    model.get_submodule(UP).register_forward_pre_hook(lambda module, inputs: seen.append("before"))
    add_hook_to_module(model.model.layers[1].self_attn.v_proj, ModelHook())
    assert torch.equal(logits(model), logits(plain))
    assert seen == [True, "before"]
    assert products(model) == [64, 32, 32, 64, 192, 64, 64, 32, 32, 64, 96, 96, 64]
    assert not any(is_merged(model.get_submodule(name)) for name in (Q, K, V, GATE, UP))


def test_adapters(model, plain):
    """An adapter takes the set of its layer apart; sets without one stay, and outputs are those of layers apart."""
    peft = pytest.importorskip("peft")
    from bitquant.peft import register

    results = []
    for base in (copy.deepcopy(model), copy.deepcopy(plain)):
        torch.manual_seed(1)
        config = register(peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False), base)
        adapted = peft.get_peft_model(base, config).eval()
        results.append((logits(adapted), products(adapted)))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1] == [64, 32, 32, 64, 192, 64] * 2
    assert difference(results[0][0], logits(plain)) > 1e-4


def test_unmerging(model, plain):
    """Layers that are taken apart have memory of their own, and compute what they did."""
    layer = model.get_submodule(UP)
    unmerge_layers(model.model.layers[1])
    assert products(model) == [128, 64, 192, 64, 64, 32, 32, 64, 96, 96, 64]
    assert torch.equal(logits(model), logits(plain))
    assert layer.qweight.untyped_storage().nbytes() == layer.qweight.nbytes
    unmerge_layers(model)
    assert products(model) == products(plain)
    assert merge_layers(model)
    whole = model.get_submodule(Q)._merged.whole
    unmerge_layers(model.get_submodule(Q))
    assert not is_merged(model.get_submodule(V))
    assert whole.layer.qweight.is_meta
    assert is_merged(model.get_submodule(GATE))


def test_a_part_that_is_replaced(model, plain):
    """Where a layer of a set is gone, the others compute alone in the end, and a move gives back the common tensors."""
    other = bq.quantize_model(llama(seed=3), merge=False, **OPTIONS)
    for each in (model, plain := copy.deepcopy(plain)):
        each.set_submodule(K, copy.deepcopy(other.get_submodule(K)))
    wanted = logits(plain)
    for _ in range(5):
        assert torch.equal(logits(model), wanted)
    assert products(model) == [64, 32, 32, 64, 192, 64, 128, 64, 192, 64]
    whole = model.get_submodule(Q)._merged.whole
    model.to("cpu")
    assert whole.layer.qweight.is_meta
    assert torch.equal(logits(model), wanted)


def test_shared_memory(model, plain):
    """Layers in memory that processes share stay there, and compute alone."""
    model.share_memory()
    assert model.get_submodule(Q).qweight.is_shared()
    assert not is_merged(model.get_submodule(Q))
    assert torch.equal(logits(model), logits(plain))


def test_dequantize_model(model, plain):
    """A merged model is dequantized like another, and holds nothing of the merged operands."""
    whole = model.get_submodule(Q)._merged.whole
    assert torch.equal(model.get_submodule(Q).dequantize(), plain.get_submodule(Q).dequantize())
    bq.dequantize_model(model)
    assert whole.layer.qweight.is_meta
    assert torch.equal(logits(model), logits(bq.dequantize_model(copy.deepcopy(plain))))


# The options.


def test_options(tmp_path):
    """merge=False leaves layers apart: quantize_model, load_model, BitquantConfig; a saved model keeps it."""
    llama().save_pretrained(tmp_path / "plain")
    for merge, wanted in ((True, [128, 64, 192, 64] * 2), (False, [64, 32, 32, 64, 96, 96, 64] * 2)):
        assert products(bq.quantize_model(llama(), merge=merge, **OPTIONS)) == wanted
        config = BitquantConfig(**OPTIONS, merge=merge)
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", quantization_config=config)
        assert products(model) == wanted
        model.save_pretrained(tmp_path / "saved")
        again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
        assert products(again) == wanted
        assert torch.equal(logits(again), logits(model))
        for other in (True, False):
            count = 8 if other else 14
            assert len(products(bq.load_model(tmp_path / "saved", "cpu", merge=other))) == count


def test_prepare_model(model, plain):
    """prepare_model makes the operators that calls need: those of sets, and not those of their parts."""
    fields = dict(group_size=32, opt_M=(7,))  # Problems that no other test has.
    model = bq.quantize_model(llama(), **fields)
    bq.prepare_model(model, progress=False)
    attention = model.model.layers[0].self_attn
    assert attention.q_proj._merged.whole.layer._kernels.operators
    assert not attention.q_proj._kernels.operators or attention.q_proj._kernels is attention.o_proj._kernels
    assert not attention.k_proj._kernels.operators
    before = {id(m._kernels): dict(m._kernels.operators) for m in model.modules() if isinstance(m, Linear)}
    logits(model)
    assert before == {id(m._kernels): dict(m._kernels.operators) for m in model.modules() if isinstance(m, Linear)}
