# SPDX-License-Identifier: Apache-2.0
"""What a state dict says of its weights, the stand-in for a weight, rounded inputs, gathered columns, HQQ."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import bitquant as bq
from bitquant.nn import BitLinear, Linear, quantize
from bitquant.nn.activations import quantize_tokens
from bitquant.nn.format import pack_format, unpack_format
from bitquant.testing.oracle import assert_close, oracle, oracle_weight

N, K, GROUP = 24, 96, 32


def layer(seed=0, **options):
    """A quantized layer with random weights."""
    torch.manual_seed(seed)
    fields = {"W_dtype": "uint4", "group_size": GROUP, "opt_M": (1, 16), **options}
    return Linear.from_float(torch.nn.Linear(K, N).half(), **fields)


#: Pairs of formats whose tensors have equal names, shapes and types.
LOOKALIKES = [
    *itertools.permutations([{"W_dtype": "int4"}, {"W_dtype": "nf4"}, {"W_dtype": "fp4_e2m1"}], 2),
    ({"W_dtype": "uint4"}, {"W_dtype": "uint4", "zeros_mode": "rescale"}),
    ({"W_dtype": "int2"}, {"W_dtype": "int2", "group_size": 48}),
    ({"W_dtype": "int4"}, {"W_dtype": "int4", "scale_dtype": "bfloat16"}),
]


@pytest.mark.parametrize(("stored", "own"), LOOKALIKES)
@pytest.mark.parametrize("options", [{}, {"strict": False}, {"assign": True}, {"strict": False, "assign": True}])
def test_another_format_is_refused_by_name(stored, own, options):
    """Nothing of a weight in another format is loaded, whatever the options; the error names layer and field."""
    state = {f"up.{name}": tensor for name, tensor in layer(**stored).state_dict().items()}
    model = torch.nn.ModuleDict({"up": layer(1, **own)})
    before = copy.deepcopy(model.state_dict())
    field = next(f for f in ("W_dtype", "zeros_mode", "group_size", "scale_dtype") if stored.get(f) != own.get(f))
    with pytest.raises(RuntimeError, match=f"'up': the stored weight is another one than the layer's: {field} is "):
        model.load_state_dict(state, **options)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_state_dict_without_format():
    """From before there were formats: loaded with a warning, and with strict=True an error for the missing key."""
    state = layer().state_dict()
    del state["_extra_state"]
    other = layer(1)
    with pytest.warns(UserWarning, match="'Linear': .*no format"), pytest.raises(RuntimeError, match="_extra_state"):
        other.load_state_dict(state)
    other = layer(1)
    with pytest.warns(UserWarning, match="no format.*it is taken for a Linear of uint4, N=24, K=96, .*strict=True"):
        other.load_state_dict(state, strict=False)
    assert torch.equal(other.qweight, layer().qweight)
    other.load_state_dict({}, strict=False)  # As of adapters alone: nothing to warn of.


def test_formats_go_through_files(tmp_path):
    """Safetensors and torch.load(weights_only=True) carry the format; a copy of the tensors loads, bit by bit."""
    model = torch.nn.Sequential(layer(), layer(1, W_dtype="int8"), BitLinear.from_bit_linear(torch.nn.Linear(N, 8)))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    torch.save(model.state_dict(), tmp_path / "model.pt")
    for state in (load_file(tmp_path / "model.safetensors"), torch.load(tmp_path / "model.pt", weights_only=True)):
        assert unpack_format(state["0._extra_state"])["W_dtype"] == "uint4"
        other = torch.nn.Sequential(
            layer(2), layer(3, W_dtype="int8"), BitLinear.from_bit_linear(torch.nn.Linear(N, 8))
        )
        other.load_state_dict(state)
        assert all(torch.equal(tensor, state[name]) for name, tensor in other.state_dict().items())


def test_a_bitlinear_takes_no_other_int2():
    """The weight of a Linear of int2 does not go into a BitLinear, which stays what it was."""
    target = BitLinear(K, N)
    before = target.weight.clone()
    with pytest.raises(RuntimeError, match="layer is 'Linear' and not 'BitLinear'"):
        target.load_state_dict(layer(W_dtype="int2").state_dict())
    assert torch.equal(target.weight, before)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (torch.zeros(3), "must be JSON in a tensor of bytes"),
        (torch.tensor([200, 1], dtype=torch.uint8), "must be JSON in a tensor of bytes"),
        (pack_format({"version": 99}), "must be of version 1 or before"),
        (None, "must be JSON"),
    ],
)
def test_damaged_formats(state, message):
    """What is no format is refused in words."""
    with pytest.raises(bq.ConfigError, match=message):
        layer().set_extra_state(state)


# What stands for the weight.


def stood_for():
    """Layers with the shape, type and device that their weight has."""
    packed = BitLinear.from_bit_linear(torch.nn.Linear(K, N).bfloat16())
    return [
        (layer(), (N, K), torch.float16),
        (Linear(K, N, A_dtype="bfloat16", W_dtype="int4", out_dtype="float32"), (N, K), torch.bfloat16),
        (layer(A_dtype="int8", W_dtype="int8", group_size=-1), (N, K), torch.float16),
        (packed, (N, K), torch.bfloat16),
        (packed.half() and copy.deepcopy(packed), (N, K), torch.float16),
    ]


def test_weight_answers_questions():
    """Shape, type and device of a weight can be asked for; it is in no state dict and no parameter."""
    for module, shape, dtype in stood_for()[:3]:
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        assert (weight.shape, weight.dtype, weight.device) == (shape, dtype, torch.device("cpu"))
        assert (weight.data.dtype, weight.size(0), weight.numel(), weight.ndim) == (dtype, N, N * K, 2)
        assert not weight.requires_grad
        assert not dict(module.named_parameters())
        assert "weight" not in module.state_dict()
        assert module.to("meta").weight.is_meta
    packed = BitLinear.from_bit_linear(torch.nn.Linear(K, N).bfloat16())
    assert packed.weight.dtype is torch.bfloat16
    assert packed.half().weight.dtype is torch.float16
    assert packed.weight.shape == (N, K)


@pytest.mark.parametrize(
    "use",
    [
        lambda w: torch.nn.functional.linear(torch.zeros(1, K).half(), w),
        lambda w: w + 1,
        lambda w: w.float(),
        lambda w: w[0],
        lambda w: w.T,
        lambda w: w.clone(),
        lambda w: w.requires_grad_(),
        lambda w: torch.empty(N, K).copy_(w),
        lambda w: w.zero_(),
    ],
)
def test_weight_is_not_computed_with(use):
    """Whatever needs the numbers of a weight is refused in words."""
    with pytest.raises(bq.CallError, match=r"'weight' of a quantized layer has .* no numbers"):
        use(layer().weight)


def test_weight_below_torch_compile():
    """A model that asks a layer's weight for type and device compiles without a graph break."""

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.up = layer()

        def forward(self, x):
            return self.up(x.to(self.up.weight.dtype).to(self.up.weight.device))

    model = Model()
    x = torch.randn(3, K)
    assert torch.equal(torch.compile(model, backend="aot_eager", fullgraph=True)(x), model(x))


def test_transformer_layer_of_torch_does_without_the_weight():
    """Torch's own encoder layer takes its slow path, and calls the quantized layer."""
    torch.manual_seed(0)
    block = torch.nn.TransformerEncoderLayer(64, 4, 96, dropout=0, batch_first=True).eval()
    x = torch.randn(1, 5, 64)
    with torch.no_grad():
        wanted = block(x)
        block.linear1 = Linear.from_float(block.linear1, "int8", 32, opt_M=(16,))
        got = block(x)
    assert torch.linalg.norm(got - wanted) <= 0.01 * torch.linalg.norm(wanted)


# Inputs that are rounded by token, and gathered.


@pytest.mark.parametrize("dtype", ["int8", "float8_e4m3", "float8_e5m2"])
def test_quantize_tokens(dtype):
    """A token uses the whole range of the format, whatever its size; zeros have a finite scale."""
    x = torch.randn(7, 40, generator=torch.Generator().manual_seed(0)) * torch.logspace(-8, 8, 7)[:, None]
    x[3] = 0
    values, factor = quantize_tokens(x, dtype)
    limit = 127 if dtype == "int8" else torch.finfo(values.dtype).max
    back = values.double() / factor.double()
    steps = {"int8": 0.5 / 127, "float8_e4m3": 2.0**-4, "float8_e5m2": 2.0**-3}[dtype]
    assert factor.isfinite().all()
    assert (values.double().abs().amax(-1)[x.any(-1)] == limit).all()
    size = x.double().abs() if dtype != "int8" else x.double().abs().amax(-1, keepdim=True)
    least = 2.0**-9 / factor.double() if dtype != "int8" else 0  # Half the spacing of subnormal numbers, and more.
    assert ((back - x.double()).abs() <= size * steps * 1.001 + least).all()


W8A8 = [("int8", "int8", -1), ("int8", "int4", GROUP), ("int8", "uint2", -1), ("float8_e4m3", "float8_e4m3", -1)]


@pytest.mark.parametrize(("A_dtype", "W_dtype", "group_size"), W8A8)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_layers_that_round_their_input(A_dtype, W_dtype, group_size, dtype):
    """D is the product of rounded tokens and rounded weights, scaled, against float64."""
    torch.manual_seed(0)
    source = torch.nn.Linear(K, N).to(dtype)
    module = Linear.from_float(source, W_dtype, group_size, A_dtype=A_dtype, opt_M=(16,))
    x = torch.randn(2, 5, K).to(dtype)
    values, factor = quantize_tokens(x, A_dtype)
    weight = module.dequantize(torch.float32).double()
    wanted = (values.double() / factor.double()) @ weight.T + source.bias.detach().double()
    got = module(x)
    assert got.dtype == dtype
    rounding = 2.0**-8 if dtype is torch.bfloat16 else 2.0**-20
    assert torch.linalg.norm(got.double() - wanted) <= rounding * torch.linalg.norm(wanted)
    assert (A_dtype == "int8" and group_size == -1 and W_dtype == "int8") <= (module.channel_scale is not None)


@pytest.mark.parametrize(("A_dtype", "W_dtype", "group_size"), W8A8)
def test_rounded_inputs_have_a_straight_through_gradient(A_dtype, W_dtype, group_size):
    """The gradient of x is dD x W, in eager mode and under torch.compile."""
    module = layer(W_dtype=W_dtype, group_size=group_size, A_dtype=A_dtype, out_dtype="float32")
    x, dD = torch.randn(3, K, requires_grad=True), torch.randn(3, N)
    wanted = dD.double() @ module.dequantize(torch.float32).double()
    for call in (module, torch.compile(module, backend="aot_eager", fullgraph=True)):
        (got,) = torch.autograd.grad(call(x), x, dD)
        assert torch.linalg.norm(got.double() - wanted) <= 1e-5 * torch.linalg.norm(wanted)


def test_errors_of_layers_that_round_their_input():
    """Integers, scales and formats of 16 bits have no meaning there."""
    module = layer(A_dtype="int8", W_dtype="int8", group_size=-1)
    with pytest.raises(bq.CallError, match=r"'A' must be a tensor of floats of shape \(..., 96\) \(got torch.int8"):
        module(torch.zeros(1, K, dtype=torch.int8))
    with pytest.raises(bq.CallError, match="'activation_scale' must be None"):
        module(torch.zeros(1, K), activation_scale=torch.ones(1))
    with pytest.raises(bq.ConfigError, match="'quantize_activations' needs A_dtype='int8'"):
        Linear(K, N, W_dtype="int4", quantize_activations=True)


def test_layers_that_round_their_input_on_the_meta_device():
    """They give shape and type there; an input elsewhere than the layer is refused."""
    plain = BitLinear(K, N, opt_M=1)
    layers = [layer(A_dtype="int8", W_dtype="int8", group_size=-1), BitLinear.from_bit_linear(plain, opt_M=1), plain]
    for module in layers:
        with pytest.raises(bq.CallError, match=r"must be on cpu, .*\(got meta\); use .to\('cpu'\)"):
            module(torch.zeros(2, K, device="meta"))
        result = module.to("meta")(torch.zeros(2, K, device="meta"))
        assert (result.device.type, result.shape) == ("meta", (2, N))


def test_permuted_columns():
    """A layer gathers A by its permutation, keeps it in its state dict, and dequantizes to the order of A."""
    plain = layer()
    values = torch.randint(0, 16, (N, K))
    permutation = torch.randperm(K)
    fields = dict(W_dtype="uint4", group_size=GROUP, with_scaling=True, with_zeros=True, bias=True, opt_M=(1, 16))
    module = Linear(K, N, **fields, with_permutation=True)
    module.load_and_transform_weight(values, plain.scales, plain.zeros, plain.bias, permutation=permutation)
    x = torch.randn(2, 3, K).half()
    wanted = oracle(module.config, x[..., permutation].reshape(6, K), values, plain.scales, plain.zeros, plain.bias)
    assert_close(module(x).view(6, N), wanted, module.config)
    assert torch.equal(module(x[0, 0]), module(x)[0, 0])
    weight = torch.empty(N, K, dtype=torch.float64)
    weight[:, permutation] = torch.from_numpy(oracle_weight(module.config, values, plain.scales, plain.zeros))
    assert torch.equal(module.dequantize(torch.float32).double(), weight.float().double())
    other = Linear(K, N, **fields, with_permutation=True)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x), module(x))
    with pytest.raises(RuntimeError, match="with_permutation is True and not False"):
        Linear(K, N, **fields).load_state_dict(module.state_dict(), strict=False)
    with pytest.raises(bq.ConfigError, match=r"'permutation' must hold each of 0 ... 95 once"):
        module.load_and_transform_weight(
            values, plain.scales, plain.zeros, plain.bias, permutation=torch.zeros(K, dtype=torch.int64)
        )
    with pytest.raises(bq.CallError, match=r"'A' must be a tensor of shape \(..., 96\) on cpu \(got shape \(1, 97\)"):
        module(torch.zeros(1, K + 1).half())
    assert pickle.loads(pickle.dumps(module)).permutation is not None  # noqa: S301  Our own bytes.


# Rounding.


def error(weight, config, method, power):
    """The sum of powers of the errors of each group."""
    values, scale, zeros = quantize(weight, config, method)
    difference = oracle_weight(config, values, scale, zeros) - weight.double().numpy()
    return (np.abs(difference) ** power).reshape(*config.scale_shape, -1).sum(-1)


@pytest.mark.parametrize("zeros_mode", ["original", "rescale"])
@pytest.mark.parametrize("W_dtype", ["uint2", "uint4"])
def test_hqq_is_nearer_than_rounding_to_nearest(W_dtype, zeros_mode):
    """Zero points of "hqq" reduce the error of heavy-tailed weights in its norm, in each group and in the mean."""
    torch.manual_seed(0)
    weight = torch.distributions.StudentT(3.0).sample((64, 256)) * 0.02
    config = bq.MatmulConfig(
        M=1, N=64, K=256, W_dtype=W_dtype, group_size=64, with_scaling=True, with_zeros=True, zeros_mode=zeros_mode
    )
    rtn, hqq = (error(weight, config, method, 0.7) for method in ("rtn", "hqq"))
    assert (hqq <= rtn * 1.001).all()  # float32 chooses, float64 compares.
    assert hqq.sum() <= 0.98 * rtn.sum()
    assert error(weight, config, "hqq", 1).sum() <= 0.98 * error(weight, config, "rtn", 1).sum()


def test_hqq_needs_fractional_zero_points():
    """Formats without zero points, packed ones, and other methods are refused."""
    linear = torch.nn.Linear(K, N)
    for options in (dict(W_dtype="int4"), dict(W_dtype="uint4", zeros_mode="quantized"), dict(W_dtype="nf4")):
        with pytest.raises(bq.ConfigError, match="'method' hqq needs fractional zero points"):
            Linear.from_float(linear, group_size=GROUP, method="hqq", **options)
    with pytest.raises(bq.ConfigError, match=r"'method' must be 'rtn' or 'hqq' \(got 'gptq'\)"):
        Linear.from_float(linear, group_size=GROUP, method="gptq")
    with pytest.raises(bq.ConfigError, match="'zeros_mode' must be None where W has no zero points"):
        Linear.from_float(linear, "int4", GROUP, zeros_mode="rescale")
