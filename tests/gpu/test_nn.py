# SPDX-License-Identifier: Apache-2.0
"""Layers on the GPU."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch

import bitquant as bq
from bitquant.nn import BitLinear, Linear, quantize
from bitquant.packing import pack
from bitquant.relayout import to_layout
from bitquant.testing.oracle import assert_close, oracle

FORMATS = [
    "int8",
    "int4",
    "int3",
    "int2",
    "int1",
    "uint8",
    "uint4",
    "uint2",
    "nf4",
    "fp4_e2m1",
    "float8_e4m3",
    "float8_e5m2",
]


def random_layer(seed=0, N=256, K=1024):
    """A layer with every operand, random, on the GPU."""
    torch.manual_seed(seed)
    return Linear.from_float(torch.nn.Linear(K, N).half().cuda(), "uint4", 128, opt_M=(1, 16, 128))


def gpu_layout():
    """The layout of a quantized weight on this GPU: sm_75 has no kernels that read fragments."""
    return "fragment" if torch.cuda.get_device_capability() >= (8, 0) else "plain"


def bit_layer(K, N, seed, **options):
    """A BitLinear in its float state on the CPU, with random weights and, if it has one, a random bias."""
    torch.manual_seed(seed)
    layer = BitLinear(K, N, opt_M=(1, 16, 128), **options)
    if layer.bias is not None:
        layer.bias.normal_()
    return layer


@pytest.mark.parametrize("W_dtype", [*FORMATS, "float16"])
def test_from_float_against_the_oracle(W_dtype):
    """A layer made on the GPU computes with the weight that `quantize` returned, in every format."""
    torch.manual_seed(0)
    source = torch.nn.Linear(512, 136).half().cuda()
    layer = Linear.from_float(source, W_dtype, 64, opt_M=(1, 16))
    assert all(tensor.is_cuda for tensor in layer.buffers())
    assert layer.weight_layout == layer.operator("cuda").weight_layout
    values, scale, zeros = quantize(source.weight, layer.config)
    packed, stored = pack(values, layer.config), layer.state_dict()["qweight"]
    assert stored.dtype == packed.dtype
    assert torch.equal(stored.view(torch.uint8), packed.view(torch.uint8))
    for rows in (1, 5, 33):
        x = torch.randn(rows, 512, device="cuda").half()
        reference = oracle(layer.config, x, *(t if t is None else t.cpu() for t in (values, scale, zeros, source.bias)))
        assert_close(layer(x), reference, layer.config)


@pytest.mark.parametrize("W_dtype", FORMATS)
def test_weights_are_rounded_as_on_the_cpu(W_dtype):
    """Both devices give the same values, scales and zero points, subnormal scales included."""
    weight = torch.randn(64, 512)
    weight[0] = 0
    weight[1] *= 1e-7
    config = bq.MatmulConfig(
        M=1, N=64, K=512, W_dtype=W_dtype, group_size=64, with_scaling=True, with_zeros=W_dtype.startswith("uint")
    )
    here, there = quantize(weight, config), quantize(weight.cuda(), config)
    if W_dtype == "int1":  # The order of a sum decides on the last bit of a mean.
        torch.testing.assert_close(there[1].cpu(), here[1], rtol=2e-3, atol=1e-7)
        here, there = here[:1], there[:1]
    for a, b in zip(here, there, strict=True):
        assert a is b is None or torch.equal(a.view(torch.uint8), b.cpu().view(torch.uint8))


def test_moving_between_devices():
    """A layer that has run on one device runs on the other after `.to`, and holds the same bytes."""
    layer = random_layer()
    x = torch.randn(5, 1024).half()
    on_gpu = layer(x.cuda())
    qweight = layer.qweight.clone()
    on_cpu = layer.to("cpu")(x)
    difference = torch.linalg.norm(on_gpu.cpu().double() - on_cpu.double())
    assert difference <= 1e-3 * torch.linalg.norm(on_cpu.double())
    assert layer.weight_layout == "plain"
    with pytest.raises(bq.CallError, match=r"must be on .*cpu"):
        layer(x.cuda())
    layer.to("cuda")
    assert torch.equal(layer.qweight, qweight)
    assert torch.equal(layer(x.cuda()), on_gpu)


def test_a_weight_on_the_gpu_takes_the_layer_there():
    """`load_and_transform_weight` moves the layer to a GPU's weight, and a weight of the CPU to the layer."""
    weight = torch.randint(-8, 8, (64, 256), dtype=torch.int8)
    scales = torch.rand(64, 2).half()
    layer = Linear(256, 64, W_dtype="int4", group_size=128, with_scaling=True, opt_M=(1, 16))
    layer.load_and_transform_weight(weight.cuda(), scales)
    assert layer.qweight.is_cuda
    assert layer.scales.is_cuda
    x = torch.randn(3, 256, device="cuda").half()
    wanted = layer(x)
    layer.load_and_transform_weight(weight, scales)
    assert torch.equal(layer(x), wanted)


def test_state_dict_from_the_cpu():
    """A state dict that was written on the CPU loads into a layer on the GPU."""
    layer = random_layer()
    x = torch.randn(5, 1024, device="cuda").half()
    wanted = layer(x)
    fresh = Linear(
        1024, 256, True, W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True, opt_M=(1, 16, 128)
    )
    fresh.cuda().load_state_dict({name: tensor.cpu() for name, tensor in layer.state_dict().items()})
    assert torch.equal(fresh(x), wanted)


@pytest.mark.parametrize("assign", [False, True])
def test_state_dict_to_the_cpu(assign):
    """A state dict that was written on the GPU loads into a layer on the CPU, and one with assign=True moves it."""
    layer = random_layer()
    x = torch.randn(5, 1024).half()
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    wanted = copy.deepcopy(layer).cpu()
    fresh = random_layer(1) if assign else random_layer(1).cpu()
    fresh.load_state_dict(torch.load(file, map_location="cpu"), assign=assign)
    assert fresh.weight_layout == "plain"
    assert torch.equal(fresh.qweight, wanted.qweight)
    assert torch.equal(fresh(x), wanted(x))
    assert torch.equal(fresh.cuda()(x.cuda()), layer(x.cuda()))


def test_asking_for_the_plain_layout():
    """A layer made with fast_decoding=False keeps the plain weight on the GPU and gives the same results."""
    torch.manual_seed(0)
    source = torch.nn.Linear(1024, 256).half().cuda()
    layer = Linear.from_float(source, "uint4", 128, opt_M=(1, 16), fast_decoding=False)
    assert layer.weight_layout == "plain"
    values, scale, zeros = quantize(source.weight, layer.config)
    for rows in (1, 9):
        x = torch.randn(rows, 1024, device="cuda").half()
        reference = oracle(layer.config, x, *(t.cpu() for t in (values, scale, zeros, source.bias)))
        assert_close(layer(x), reference, layer.config)


def test_layers_made_on_the_gpu():
    """Under a default device the weight has its layout from the start; on the meta device it waits for one."""
    with torch.device("cuda"):
        layer = Linear(1024, 256, W_dtype="uint4", opt_M=(1, 16))
    assert layer.weight_layout == gpu_layout()
    assert (layer(torch.randn(3, 1024, device="cuda").half()) == 0).all()
    state = random_layer().state_dict()
    fresh = random_layer(1).to("meta")
    assert fresh.weight_layout == "plain"
    fresh.to_empty(device="cuda").load_state_dict(state)
    assert torch.equal(fresh.qweight, random_layer().qweight)


def test_memory_of_a_move():
    """A layer that moves to the GPU holds one weight there, and two while it is converted."""
    layer = Linear(32768, 16384, W_dtype="uint4", opt_M=1)
    weight_bytes = layer.qweight.numel()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    layer.cuda()
    assert layer.weight_layout == gpu_layout()
    assert torch.cuda.memory_allocated() - before <= 1.1 * weight_bytes
    assert torch.cuda.max_memory_allocated() - before < 2.9 * weight_bytes  # Temporaries have a fixed size.
    layer.to("meta")
    assert torch.cuda.memory_allocated() - before < 0.1 * weight_bytes


def test_copies_and_pickles():
    """Copies of a layer on the GPU run, and one that is loaded onto the CPU runs there."""
    layer = random_layer()
    x = torch.randn(5, 1024, device="cuda").half()
    wanted = layer(x)
    assert torch.equal(copy.deepcopy(layer)(x), wanted)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), wanted)  # noqa: S301  Our own bytes.
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    on_cpu = torch.load(file, map_location="cpu", weights_only=False)
    assert torch.equal(on_cpu(x.cpu()), layer.cpu()(x.cpu()))
    assert on_cpu.weight_layout == "plain"


@pytest.mark.parametrize("rows", [1, 5])
def test_graph_capture(rows):
    """A CUDA graph captures a layer and replays it on new inputs."""
    layer = random_layer()
    x = torch.randn(rows, 1024, device="cuda").half()
    layer(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = layer(x)
    x.copy_(torch.randn_like(x))
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(output, layer(x))
    layer.load_state_dict(random_layer(1).state_dict())
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(output, random_layer(1)(x))


def test_no_conversion_in_a_capture():
    """A plain weight that was assigned is an error of the capture where kernels read fragments; a call before helps."""
    layer = random_layer()
    x = torch.randn(1, 1024, device="cuda").half()
    wanted = layer(x)
    if layer.weight_layout == "plain":
        pytest.skip("kernels for this GPU read the plain layout")
    layer.qweight = layer.state_dict()["qweight"]
    graph = torch.cuda.CUDAGraph()
    with pytest.raises(bq.CallError, match="while a CUDA graph is captured"), torch.cuda.graph(graph):
        layer(x)
    assert torch.equal(layer(x), wanted)
    assert torch.equal(layer.qweight, to_layout(layer.state_dict()["qweight"], layer.config, "fragment"))
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        layer(x)


def test_torch_compile_before_the_first_call():
    """torch.compile takes layers whole though their kernels are not made yet, for changing numbers of rows."""
    model = torch.nn.Sequential(random_layer(0), random_layer(1, N=1024, K=256))
    compiled = torch.compile(model, fullgraph=True)
    for rows in (1, 5, 17, 200):
        x = torch.randn(rows, 1024, device="cuda").half()
        assert torch.equal(compiled(x), model(x))


def test_bitlinear_integer_part_is_exact():
    """The sums, scaled by one, are the integer products, extremes of int8 included, for every rung."""
    layer = bit_layer(4096, 520, 0).cuda()
    values, _ = layer.weight_quant(layer.weight)
    layer.post_process_weights()
    for rows in (1, 3, 16, 100, 200):
        a = torch.randint(-128, 128, (rows, 4096), dtype=torch.int8)
        a[0] = -128
        product = layer.operator("cuda")(a.cuda(), layer.qweight, activation_scale=torch.ones(rows, device="cuda"))
        assert torch.equal(product.cpu().long(), a.long() @ values.cpu().long().T)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_bitlinear_block(dtype):
    """Two layers with an activation between them, packed, against the same arithmetic in float64."""
    up, down = bit_layer(256, 512, 0, bias=True).to(dtype), bit_layer(512, 128, 1).to(dtype)

    def reference(layer, x):
        w_scale = 1 / layer.weight.double().abs().mean()
        w = (layer.weight.double() * w_scale).round().clamp(-1, 1)
        x_scale = 127 / x.double().abs().amax(-1, keepdim=True)
        D = (x.double() * x_scale).round() @ w.T / (x_scale * w_scale)
        return D if layer.bias is None else D + layer.bias.double()

    packed = [BitLinear.from_bit_linear(layer.cuda(), opt_M=(1, 16, 128)) for layer in (up, down)]
    for rows in (1, 7, 150):
        x = torch.randn(rows, 256, device="cuda").to(dtype)
        got = packed[1](torch.relu(packed[0](x)))
        assert got.dtype == dtype
        # What stands between the layers is rounded to the type of x in both.
        wanted = reference(down, reference(up, x).to(dtype).relu())
        bound = 8e-3 if dtype == torch.bfloat16 else 1e-3
        assert torch.linalg.norm(got.double() - wanted) <= bound * torch.linalg.norm(wanted)


def test_bitlinear_packing_and_moving():
    """Both states give the same bits, also where products may be made in TF32; a packed layer moves between devices."""
    layer = bit_layer(1024, 256, 0, bias=True).half().cuda()
    x = torch.randn(9, 1024, device="cuda").half()
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    before = layer(x)
    torch.backends.cuda.matmul.allow_tf32 = allowed
    layer.post_process_weights()
    assert layer.weight_layout == gpu_layout()
    assert torch.equal(layer(x), before)
    on_cpu = layer.cpu()(x.cpu())
    assert layer.qweight.shape == layer.config.W_shape
    torch.testing.assert_close(on_cpu, before.cpu(), rtol=2e-3, atol=2e-3)
    assert torch.equal(layer.cuda()(x), before)


def test_bitlinear_graph_and_compile():
    """A CUDA graph captures a packed layer, and torch.compile takes it whole."""
    layer = bit_layer(1024, 256, 0).half().cuda()
    layer.post_process_weights()
    x = torch.randn(1, 1024, device="cuda").half()
    wanted = layer(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = layer(x)
    output.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(output, wanted)
    # Fused, 127 / max|x| and its use may round otherwise, which moves some integers by one.
    compiled = torch.compile(layer, fullgraph=True)(x)
    assert torch.linalg.norm((compiled - wanted).double()) <= 5e-3 * torch.linalg.norm(wanted.double())
