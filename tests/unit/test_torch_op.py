# SPDX-License-Identifier: Apache-2.0
"""What torch sees of a call: modes, traces, transforms, gradients, programs that outlive the process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import bitquant as bq
from bitquant.operator import registry
from bitquant.schedule import Plan, Planned
from bitquant.testing.check import poisoned
from bitquant.testing.generators import make_inputs
from bitquant.testing.oracle import assert_close, oracle_weight, relative_error

MATMUL = torch.ops.bitquant.matmul.default
N, K = 24, 64


@pytest.fixture(scope="module")
def case():
    """An operator with scales, zero points and a bias, and its operands after A."""
    config = bq.MatmulConfig(
        M=(1, 16), N=N, K=K, W_dtype="uint4", group_size=32, with_scaling=True, with_zeros=True, with_bias=True
    )
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, 3)
    return operator, (operator.transform_weight(inputs.W), inputs.scale, inputs.zeros, inputs.bias)


@pytest.fixture
def A():
    """Three rows."""
    return torch.randn(3, K, generator=torch.Generator().manual_seed(0)).half()


def called_ops(graph):
    """The targets of the calls of an fx graph."""
    return [node.target for node in graph.nodes if node.op == "call_function"]


# Modes and traces.


@pytest.mark.parametrize("tracing_mode", ["real", "fake", "symbolic"])
def test_make_fx_records_the_operation(case, A, tracing_mode):
    """A trace holds the operation and nothing that stands in for it, and computes the same."""
    operator, others = case
    traced = make_fx(lambda a, *o: operator(a, *o) + 1, tracing_mode=tracing_mode)(A, *others)
    assert called_ops(traced.graph) == [MATMUL, torch.ops.aten.add.Tensor]
    assert torch.equal(traced(A, *others), operator(A, *others) + 1)


def test_make_fx_records_a_gradient(case, A):
    """A trace of a backward pass holds the dequantization and a product."""
    operator, others = case

    def gradient(a):
        (result,) = torch.autograd.grad(operator(a, *others).float().sum(), a)
        return result

    graph = make_fx(gradient)(A.requires_grad_()).graph
    assert torch.ops.bitquant.dequantize.default in called_ops(graph)


def test_jit_trace(case, A, tmp_path):
    """A TorchScript trace holds the operation, serves other numbers of rows, and can be saved."""
    operator, others = case
    traced = torch.jit.trace(lambda a: operator(a, *others) + 1, A)
    assert "bitquant::matmul" in str(traced.graph)
    more = torch.randn(7, K).half()
    file = str(tmp_path / "traced.pt")
    torch.jit.save(traced, file)
    for function in (traced, torch.jit.load(file)):
        assert torch.equal(function(more), operator(more, *others) + 1)


class Seen(TorchDispatchMode):
    """Notes the operations that are called."""

    def __init__(self):
        super().__init__()
        self.ops = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.ops.append(func)
        return func(*args, **(kwargs or {}))


class SeenFunctions(TorchFunctionMode):
    """Notes the functions that are called."""

    def __init__(self):
        super().__init__()
        self.functions = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.functions.append(func)
        return func(*args, **(kwargs or {}))


def test_modes_see_the_operation(case, A):
    """A dispatch mode and a function mode see each call, and nothing of its inside."""
    operator, others = case
    wanted = operator(A, *others)
    with Seen() as seen:
        for _ in range(2):
            assert torch.equal(operator(A, *others), wanted)
    assert [op for op in seen.ops if op is not torch.ops.aten.equal.default] == 2 * [MATMUL]
    with SeenFunctions() as functions:
        operator(A, *others)
    assert torch.ops.bitquant.matmul in functions.functions


def test_a_subclass_sees_the_operation(case, A):
    """A subclass of Tensor, as A or as another operand, may give a call another meaning."""

    class Noted(torch.Tensor):
        calls = 0

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.calls += func is torch.ops.bitquant.matmul
            return super().__torch_function__(func, types, args, kwargs or {})

    operator, others = case
    W, *rest = others
    for calls, operands in enumerate([(A.as_subclass(Noted), W), (A, W.as_subclass(Noted))], 1):
        result = operator(*operands, *rest)
        assert Noted.calls == calls
        assert type(result) is Noted
        assert torch.equal(result.as_subclass(torch.Tensor), operator(A, *others))


def test_fake_tensors(case, A):
    """Fake tensors give the shape and type of the result, or the error of a call."""
    operator, others = case
    rows = A.view(3, 1, K)
    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(t) for t in (rows, *others)]
        result = operator(*fakes)
        assert (result.shape, result.dtype, result.device.type) == ((3, 1, N), torch.float16, "cpu")
        with pytest.raises(bq.CallError, match=r"'A' must have shape \(\.\.\., 64\)"):
            operator(torch.zeros(3, 63).half(), *fakes[1:])
        with pytest.raises(bq.CallError, match="'scale' is missing"):
            operator(fakes[0], fakes[1], None, *fakes[3:])


def test_meta_tensors(case, A):
    """Operands on the meta device give a result there; one that is not says so."""
    operator, others = case
    result = operator(A.to("meta"), *(t.to("meta") for t in others))
    assert (result.device.type, result.shape) == ("meta", (3, N))
    with pytest.raises(bq.CallError, match=r"'A' must be on cpu.*\(got meta\)"):
        operator(A.to("meta"), *others)


def test_functionalize(case, A):
    """Functionalized calls are the operation, written outputs included."""
    operator, others = case
    wanted = operator(A, *others)
    assert torch.equal(torch.func.functionalize(lambda a: operator(a, *others))(A), wanted)
    graph = make_fx(torch.func.functionalize(lambda a: operator(a, *others)))(A).graph
    assert called_ops(graph) == [MATMUL]


# vmap and torch.func.


def test_vmap(case):
    """Every operand can be mapped over, alone and together, from any dimension."""
    operator, (W, scale, zeros, bias) = case
    A = torch.randn(5, 3, K).half()
    wanted = torch.stack([operator(a, W, scale, zeros, bias) for a in A])
    assert torch.equal(torch.vmap(lambda a: operator(a, W, scale, zeros, bias))(A), wanted)
    by_middle = torch.vmap(lambda a: operator(a, W, scale, zeros, bias), in_dims=1)(A.transpose(0, 1).contiguous())
    assert torch.equal(by_middle, wanted)
    biases = torch.stack([bias + i for i in range(5)])
    scales = torch.stack([scale * i for i in range(5)])
    mapped = torch.vmap(lambda a, s, b: operator(a, W, s, zeros, b))(A, scales, biases)
    assert torch.equal(mapped, torch.stack([operator(A[i], W, scales[i], zeros, biases[i]) for i in range(5)]))
    weights = torch.stack([W, W.flip(0)])
    mapped = torch.vmap(lambda w: operator(A[0], w, scale, zeros, bias))(weights)
    assert torch.equal(mapped, torch.stack([operator(A[0], w, scale, zeros, bias) for w in weights]))


def test_vmap_of_activation_scales_and_of_a_static_m():
    """Rows with scales of their own are one call; a static M gets the rows that it is made for."""
    config = bq.MatmulConfig(
        M=2, N=8, K=16, A_dtype="int8", W_dtype="int4", out_dtype="float32", with_activation_scale=True
    )
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, 2)
    W = operator.transform_weight(inputs.W)
    A = torch.randint(-128, 128, (4, 2, 16), dtype=torch.int8)
    for scales, in_dims in ((torch.rand(4, 2), 0), (torch.rand(2), None)):
        mapped = torch.vmap(lambda a, s: operator(a, W, activation_scale=s), in_dims=(0, in_dims))(A, scales)
        rows = scales.expand(4, 2)
        assert torch.equal(
            mapped, torch.stack([operator(a, W, activation_scale=s) for a, s in zip(A, rows, strict=True)])
        )


def test_transforms_of_torch_func(case, A):
    """grad, vjp, jacrev and vmap of grad give the rows of decode(W)."""
    operator, (W, scale, zeros, bias) = case
    weight = operator.dequantize(W, scale, zeros)

    def total(a):
        return operator(a, W, scale, zeros, bias).float().sum()

    column_sums = weight.double().sum(0)
    for gradient in (torch.func.grad(total)(A)[0], torch.vmap(torch.func.grad(total))(A)[1]):
        assert relative_error(gradient, column_sums.numpy()) < 2e-3
    jacobian = torch.func.jacrev(lambda a: operator(a, W, scale, zeros, bias))(A)
    assert torch.equal(jacobian[1, :, 1], weight)
    assert not jacobian[1, :, 0].any()
    _, pullback = torch.func.vjp(lambda b: operator(A, W, scale, zeros, b), bias)
    assert torch.equal(pullback(torch.ones(3, N).half())[0], torch.full((N,), 3.0).half())


def test_forward_mode_is_refused(case, A):
    """A tangent is not dropped: forward-mode differentiation is an error that says what to use."""
    operator, others = case
    with (
        forward_ad.dual_level(),
        pytest.raises(bq.CallError, match=r"'A' has no forward-mode gradient.*torch.func.vjp"),
    ):
        operator(forward_ad.make_dual(A, torch.ones_like(A)), *others)
    with pytest.raises(bq.CallError, match="'A' has no forward-mode gradient"):
        torch.func.jvp(lambda a: operator(a, *others), (A,), (torch.ones_like(A),))


# Gradients.

GRADIENTS = {
    "int4 alone": dict(W_dtype="int4"),
    "uint4 original": dict(W_dtype="uint4", group_size=32, with_scaling=True, with_zeros=True),
    "uint3 quantized": dict(
        W_dtype="uint3", group_size=32, with_scaling=True, with_zeros=True, zeros_mode="quantized", with_bias=True
    ),
    "nf4 bfloat16": dict(A_dtype="bfloat16", out_dtype="bfloat16", W_dtype="nf4", group_size=16, with_scaling=True),
    "float32": dict(A_dtype="float32", out_dtype="float32", W_dtype="uint2", with_zeros=True, zeros_mode="rescale"),
    "output scales": dict(
        W_dtype="int4", out_dtype="float32", with_activation_scale=True, with_channel_scale=True, with_bias=True
    ),
    "wide output": dict(W_dtype="int8", out_dtype="bfloat16", group_size=32, with_scaling=True),
    "no decoding": dict(W_dtype="float16", with_bias=True),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_against_the_oracle(name):
    """A gets (dD x output scales) x decode(W), and bias the sum of dD, for A of any leading dimensions."""
    config = bq.MatmulConfig(M=(16,), N=N, K=K, **GRADIENTS[name])
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, 6)
    A = inputs.A.view(2, 3, K).requires_grad_()
    optional = dict(inputs.optional)
    if config.with_bias:
        optional["bias"] = optional["bias"].requires_grad_()
    if config.with_activation_scale:
        optional["activation_scale"] = optional["activation_scale"].view(2, 3)
    D = operator(A, operator.transform_weight(inputs.W), **optional)
    assert_close(D.detach().view(6, N), inputs.reference(config), config)
    grad = torch.randn(2, 3, N, generator=torch.Generator().manual_seed(1)).to(D.dtype)
    D.backward(grad.transpose(0, 1).contiguous().transpose(0, 1))  # As a transposed consumer gives it.
    wide = grad.double().view(6, N)
    if config.with_bias:
        assert relative_error(optional["bias"].grad, wide.sum(0).numpy()) < torch.finfo(D.dtype).eps
    if config.with_activation_scale:
        wide = wide * inputs.activation_scale.double()[:, None] * inputs.channel_scale.double()
    weight = oracle_weight(config, inputs.W, inputs.scale, inputs.zeros_values)
    # Rounded are: dD times the scales, the weight, the product; each by at most half of eps, and independently.
    assert relative_error(A.grad.view(6, K), wide.numpy() @ weight) < 2 * torch.finfo(A.dtype).eps
    assert A.grad.dtype is A.dtype


def test_what_has_no_gradient_says_so(case, A):
    """W, scales, zero points and A of 8 bits that require grad are refused by name, eagerly and compiled."""
    operator, (W, scale, zeros, bias) = case
    with pytest.raises(bq.CallError, match=r"'scale' has no gradient .*use .detach\(\), or call under torch.no_grad"):
        operator(A, W, scale.clone().requires_grad_(), zeros, bias)
    with pytest.raises(bq.CallError, match="'zeros' has no gradient"):
        operator(A.clone().requires_grad_(), W, scale, zeros.clone().requires_grad_(), bias)
    with torch.no_grad():
        operator(A, W, scale.clone().requires_grad_(), zeros, bias)
    compiled = torch.compile(lambda s: operator(A, W, s, zeros, bias), backend="aot_eager", fullgraph=True)
    with pytest.raises(Exception, match="'scale' has no gradient"):
        compiled(scale.clone().requires_grad_())
    config = bq.MatmulConfig(M=1, N=8, K=16, A_dtype="float8_e4m3", W_dtype="int4", out_dtype="float32")
    float8 = bq.Matmul(config, target="cpu")
    tokens = torch.ones(1, 16).to(torch.float8_e4m3fn).requires_grad_()
    with pytest.raises(bq.CallError, match=r"'A' of type torch.float8_e4m3fn has no gradient"):
        float8(tokens, float8.transform_weight(torch.ones(8, 16, dtype=torch.int8)))
    native = bq.Matmul(bq.MatmulConfig(M=1, N=8, K=16), target="cpu")
    with pytest.raises(bq.CallError, match="'W' has no gradient"):
        native(torch.ones(1, 16).half(), torch.ones(8, 16).half().requires_grad_())


def test_second_derivatives(case, A):
    """The gradient is a function of dD that can be differentiated again."""
    operator, (W, scale, zeros, bias) = case
    A, dD = A.requires_grad_(), torch.randn(3, N).half().requires_grad_()
    (dA,) = torch.autograd.grad(operator(A, W, scale, zeros, bias), A, dD, create_graph=True)
    direction = torch.randn(3, K).half()
    (ddD,) = torch.autograd.grad(dA, dD, direction)
    wanted = direction.double() @ operator.dequantize(W, scale, zeros, torch.float32).double().T
    assert relative_error(ddD, wanted.numpy()) < 2e-3


def test_saved_for_backward_is_the_stored_weight(case, A):
    """A call keeps the packed weight and what goes with it: no A, no decoded weight."""
    operator, (W, scale, zeros, bias) = case
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        operator(A.requires_grad_(), W, scale, zeros, bias)
    assert {t.data_ptr() for t in kept} == {W.data_ptr(), scale.data_ptr(), zeros.data_ptr()}


def test_compiled_training_agrees_with_eager(case, A):
    """A float layer before the call gets the same gradient from a compiled graph as eagerly, and opcheck passes."""
    operator, (W, scale, zeros, bias) = case
    layer = torch.nn.Linear(K, K).half()

    def loss(a):
        return operator(layer(a), W, scale, zeros, bias).float().square().sum()

    gradients = []
    for function in (loss, torch.compile(loss, backend="aot_eager", fullgraph=True)):
        layer.zero_grad()
        function(A).backward()
        gradients.append(layer.weight.grad.clone())
    assert torch.equal(*gradients)
    assert gradients[0].abs().max() > 0
    a, b = A.clone().requires_grad_(), bias.clone().requires_grad_()
    torch.library.opcheck(MATMUL, (a, W, scale, zeros, b, None, None, operator.problem))
    output = torch.empty(3, N).half()
    arguments = (A, W, scale, zeros, bias, None, None, output, operator.problem)
    torch.library.opcheck(torch.ops.bitquant.matmul_out.default, arguments)
    torch.library.opcheck(torch.ops.bitquant.dequantize.default, (W, scale, zeros, torch.float16, operator.problem))


def test_bit_linear_passes_the_gradient_straight_through():
    """The gradient of x is dD x W' / s_W, the same for a float and a packed weight, eagerly and compiled."""
    torch.manual_seed(0)
    layer = bq.BitLinear(K, N, bias=True, opt_M=(16,))
    x = torch.randn(2, 3, K)
    values, weight_scale = layer.weight_quant(layer.weight)
    grad = torch.randn(2, 3, N)
    wanted = grad.double() @ values.double() / weight_scale.double()
    plain = layer(x)
    gradients = []
    for _ in range(2):
        for function in (layer, torch.compile(layer, backend="aot_eager", fullgraph=True)):
            inner = x.clone().requires_grad_()
            D = function(inner)
            assert torch.equal(D, plain)
            D.backward(grad)
            gradients.append(inner.grad)
        layer.post_process_weights()
    assert len(gradients) == 4
    for gradient in gradients:
        assert relative_error(gradient.view(6, K), wanted.view(6, K).numpy()) < 1e-6


# Output, autocast.


def test_a_written_output_has_a_new_version(case, A):
    """Autograd finds out that a tensor it saved has been written to, by short calls and by others."""
    operator, others = case
    output = torch.ones(3, N).half()
    for _ in range(2):
        version = output._version
        operator(A, *others, output=output)
        assert output._version == version + 1
    weight = torch.ones(3, N).half().requires_grad_()
    product = (weight * output).sum()
    operator(A, *others, output=output)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()
    with torch.inference_mode():
        fresh = torch.zeros(3, N).half()
        assert torch.equal(operator(A, *others, output=fresh), output)


@pytest.mark.parametrize("is_later", [False, True])
@pytest.mark.parametrize("name", ["A", "W", "scale", "zeros", "bias"])
def test_an_output_over_an_operand_is_refused(name, is_later):
    """An output that shares memory with what is read is an error, wherever it overlaps; a neighbour is not."""
    config = bq.MatmulConfig(
        M=2, N=16, K=16, group_size=8, W_dtype="uint4", with_scaling=True, with_zeros=True, with_bias=True
    )
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, 2)
    operands = {"A": inputs.A, "W": operator.transform_weight(inputs.W), **inputs.optional}
    if is_later:
        operator(**operands)
    right = operands[name]
    memory = torch.zeros(4096, dtype=torch.uint8)
    before, inside, behind = 2 * 16 * 2, 128, 128 + right.nbytes
    operands[name] = memory[inside:behind].view(right.dtype).view(right.shape).copy_(right)
    wanted = operator(**operands)

    def output(begin):
        return memory[begin : begin + before].view(torch.float16).view(2, 16)

    for begin in (inside - before + 2, inside, behind - 2):
        with pytest.raises(bq.CallError, match=f"'output' must share no memory with '{name}'"):
            operator(**operands, output=output(begin))
    for begin in (inside - before, behind):
        assert torch.equal(operator(**operands, output=output(begin)), wanted)


def test_output_under_fullgraph_and_autograd(case, A):
    """A compiled call writes a given output; where a gradient is wanted, output is refused in words."""
    operator, others = case
    compiled = torch.compile(lambda a, o: operator(a, *others, output=o) * 2, backend="aot_eager", fullgraph=True)
    output = poisoned((3, N), torch.float16, "cpu")
    assert torch.equal(compiled(A, output), operator(A, *others) * 2)
    assert torch.equal(output, operator(A, *others))
    for call in (operator, torch.compile(operator, backend="aot_eager")):
        with pytest.raises(Exception, match="'output' must be None where a gradient is wanted"):
            call(A.clone().requires_grad_(), *others, output=output)
    with torch.no_grad():
        operator(A.clone().requires_grad_(), *others, output=output)


def test_autocast_casts_as_for_torch_linear(case, A):
    """float32 is cast to the operator's type where autocast would cast it; another type is refused in words."""
    operator, others = case
    wide = A.float()
    for function in (operator, torch.compile(operator, backend="aot_eager", fullgraph=True)):
        with torch.autocast("cpu", dtype=torch.float16):
            assert torch.equal(function(wide, *others), operator(A, *others))
            assert torch.equal(function(A, *others), operator(A, *others))
        with (
            torch.autocast("cpu", dtype=torch.bfloat16),
            pytest.raises(
                Exception, match=r"use autocast\(dtype=torch.float16\), or construct with A_dtype='bfloat16'"
            ),
        ):
            (operator if function is operator else torch.compile(operator, backend="aot_eager"))(wide, *others)
    with torch.autocast("cpu", dtype=torch.float16), pytest.raises(bq.CallError, match=r"got torch.float64"):
        operator(A.double(), *others)
    with pytest.raises(bq.CallError, match=r"must be of type torch.float16"):
        operator(wide, *others)
    inner = wide.requires_grad_()
    with torch.autocast("cpu", dtype=torch.float16):
        operator(inner, *others).float().sum().backward()
    assert inner.grad.dtype is torch.float32


# Programs that outlive operators and processes.

RUN_PROGRAM = """
import sys, torch, bitquant.operator
program = torch.export.load(sys.argv[1]).module()
torch.save([program(x) for x in torch.load(sys.argv[2])], sys.argv[3])
"""


class Net(torch.nn.Module):
    """A quantized layer between others."""

    def __init__(self, **options):
        super().__init__()
        plain = torch.nn.Linear(K, N).half()
        self.layer = bq.Linear.from_float(plain, W_dtype="uint4", group_size=32, opt_M=(1, 16), **options)
        self.head = torch.nn.Linear(N, 8).half()

    def forward(self, x):
        return self.head(torch.nn.functional.gelu(self.layer(x)))


def test_an_exported_program_runs_in_another_process(tmp_path, monkeypatch):
    """torch.export with a dynamic batch, saved, runs where no operator was made, also when the layer is gone."""
    net = Net()
    batches = [torch.randn(m, K).half() for m in (5, 7)]
    wanted = [net(x) for x in batches]
    dynamic = ({0: torch.export.Dim("batch", min=2, max=64)},)
    program = torch.export.export(net, (batches[0],), dynamic_shapes=dynamic)
    assert MATMUL in called_ops(program.graph)
    torch.export.save(program, tmp_path / "net.pt2")
    torch.save(batches, tmp_path / "batches.pt")
    files = [str(tmp_path / name) for name in ("net.pt2", "batches.pt", "results.pt")]
    subprocess.run([sys.executable, "-c", RUN_PROGRAM, *files], check=True, env={**os.environ}, timeout=300)
    assert all(map(torch.equal, torch.load(tmp_path / "results.pt"), wanted))
    monkeypatch.setattr(registry, "_live", {})  # As where the layer is gone.
    program = torch.export.load(tmp_path / "net.pt2")
    assert all(map(torch.equal, [program.module()(x) for x in batches], wanted))


def test_a_problem_that_cannot_be_made_again(case, A):
    """An operator with rules of its own serves its process; a program of another one says why it cannot."""
    from bitquant.schedule.rules import CpuRule

    operator, others = case
    own = bq.Matmul(operator.config, target="cpu", rules=(CpuRule(),))
    arguments = (A, *others, None, None)
    assert torch.equal(torch.ops.bitquant.matmul(*arguments, own.problem), own(A, *others))
    problem = own.problem
    del own
    gc.collect()
    with pytest.raises(bq.BuildError, match=r"cannot be made again.*rules of their own live in their process"):
        torch.ops.bitquant.matmul(*arguments, problem)


def test_loaded_archives_are_unmapped(case, A, tmp_path):
    """Operators that are loaded and dropped leave no mapping behind; a bare function keeps its code alive."""
    operator, others = case
    operator.export(tmp_path / "operator.bq")
    wanted, D = operator(A, *others), poisoned((3, N), torch.float16, "cpu")

    def mappings():
        with open("/proc/self/maps") as file:  # noqa: PTH123
            return sum("bitquant-" in line or "(deleted)" in line for line in file)

    counts = []
    for _ in range(4):
        loaded = bq.Operator.load(tmp_path / "operator.bq")
        assert torch.equal(loaded(A, *others), wanted)
        function = loaded.kernel_for(3)
        del loaded
        gc.collect()
        counts.append(mappings())
    assert counts[0] == counts[-1]
    function(A, *others, D)
    assert torch.equal(D, wanted)


# decode(W).


def shown(config):
    """What a problem shows of decode(W): its kind of format and width, scales, zero points, and the layout."""
    fmt = config.W_format
    zeros_mode = config.zeros_mode if config.with_zeros else None
    scale = (config.scale_dtype, config.rows_per_scale > 1) if config.with_scaling else None
    return {
        ("kind", type(fmt), fmt.is_unsigned), ("bits", fmt.bits, fmt.is_packed), ("zeros", zeros_mode),
        ("scale", scale), ("A", config.A_dtype), ("layout", config.layout), ("groups", config.num_groups > 1),
    }  # fmt: skip


@pytest.mark.cases(select="cover", stride=23, seed=3)
@pytest.mark.sample(shows=shown)
def test_dequantize_against_the_oracle(config):
    """decode(W) is right in every type, rounded once."""
    config = config.with_M(1)  # Which makes the fewest kernels.
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, 1)
    W = operator.transform_weight(inputs.W)
    weight = oracle_weight(config, inputs.W, inputs.scale, inputs.zeros_values)
    decoded = operator.dequantize(W, inputs.scale, inputs.zeros, torch.float32)
    assert decoded.shape == (config.N, config.K)
    assert relative_error(decoded, weight) <= 2**-22


def test_dequantize_errors(case):
    """What does not fit is named."""
    operator, (W, scale, zeros, _) = case
    with pytest.raises(bq.CallError, match=r"'dtype' must be one of torch.float16, torch.bfloat16, torch.float32"):
        operator.dequantize(W, scale, zeros, torch.int8)
    with pytest.raises(bq.CallError, match="'zeros' is missing"):
        operator.dequantize(W, scale)
    with pytest.raises(bq.CallError, match=r"'W' must have shape \(24, 32\)"):
        operator.dequantize(W[:3], scale, zeros)


# What broke once.


def test_a_compiled_output_over_a_saved_tensor_is_found(case, A):
    """In a compiled graph, too, autograd finds out that an output overwrote what it had saved."""
    operator, others = case

    def loss(x):
        output = torch.ones(3, N).half() * 2
        product = (x * output).sum()
        with torch.no_grad():
            operator(A, *others, output=output)
        return product

    x = torch.ones(3, N).half().requires_grad_()
    uncached = torch._functorch.config.patch(enable_autograd_cache=False)
    with uncached, pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.compile(loss, backend="aot_eager")(x).backward()


def test_output_where_a_gradient_is_wanted_is_refused_in_a_whole_graph(case, A):
    """The words of the refusal come through fullgraph, and through a direct call of the operation."""
    operator, others = case
    output = torch.empty(3, N).half()
    compiled = torch.compile(lambda a: operator(a, *others, output=output), backend="aot_eager", fullgraph=True)
    arguments = (*others, None, None, output, operator.problem)
    for call in (compiled, lambda a: torch.ops.bitquant.matmul_out(a, *arguments)):
        with pytest.raises(Exception, match="'output' must be None where a gradient is wanted"):
            call(A.clone().requires_grad_())


def test_output_under_transforms(case, A):
    """torch.func has no rule for operations that write: the result is copied there."""
    operator, others = case

    def call(a):
        output = torch.zeros(3, N).half()
        operator(a, *others, output=output)
        return output

    assert torch.equal(torch.func.functionalize(call)(A), operator(A, *others))
    assert called_ops(make_fx(torch.func.functionalize(call))(A).graph).count(MATMUL) == 1


@pytest.mark.parametrize("backend", [None, "aot_eager"])
def test_a_backward_pass_knows_no_autocast(backend):
    """Gradients are computed in the types of their formula, whatever autocast says around forward and backward."""
    config = bq.MatmulConfig(M=(4,), N=N, K=K, A_dtype="float32", out_dtype="float32", W_dtype="int4")
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, 4)
    W = operator.transform_weight(inputs.W)
    function = operator if backend is None else torch.compile(operator, backend=backend, fullgraph=True)
    A, grad = inputs.A.requires_grad_(), torch.randn(4, N)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        D = function(A, W)
        D.backward(grad)
    wanted = grad.double().numpy() @ oracle_weight(config, inputs.W)
    assert relative_error(A.grad, wanted) < 1e-6


def test_gradients_do_not_underflow_by_output_scales():
    """DD times a small scale leaves the range of float16; the gradient of A does not, and is right."""
    config = bq.MatmulConfig(M=(4,), N=N, K=K, W_dtype="int8", with_channel_scale=True)
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, 4)
    channel_scale = torch.full((N,), 1e-4)
    A, grad = inputs.A.requires_grad_(), (torch.randn(4, N) * 1e-3).half()
    operator(A, operator.transform_weight(inputs.W), channel_scale=channel_scale).backward(grad)
    wanted = (grad.double() * channel_scale.double()).numpy() @ oracle_weight(config, inputs.W)
    assert relative_error(A.grad, wanted) < 4e-3  # Its own subnormals.


def test_dequantize_refuses_a_gradient_and_what_does_not_fit(case):
    """decode(W) has no gradient for scales and says so; wrong operands are named under fake tensors, too."""
    operator, (W, scale, zeros, _) = case
    with pytest.raises(bq.CallError, match="'scale' has no gradient"):
        operator.dequantize(W, scale.clone().requires_grad_(), zeros)
    with pytest.raises(bq.CallError, match=r"'W' must be a torch.Tensor on cpu \(got list\)"):
        operator.dequantize([1], scale, zeros)
    with pytest.raises(bq.CallError, match=r"'dtype' must be one of .*\(got 'float16'\)"):
        operator.dequantize(W, scale, zeros, "float16")
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = [mode.from_tensor(t) for t in (W, scale, zeros)]
        assert operator.dequantize(*fakes).shape == (N, K)
        with pytest.raises(bq.CallError, match=r"'W' must have shape \(24, 32\)"):
            operator.dequantize(fakes[0][:3], *fakes[1:])


def test_vmap_of_gradients_and_of_nothing(case, A):
    """A gradient through vmap, a weight that is mapped along another dimension, and a batch of none."""
    operator, (W, scale, zeros, bias) = case
    batch = torch.stack([A, A + 1])

    def total(a):
        return torch.vmap(lambda row: operator(row, W, scale, zeros, bias))(a).float().sum()

    gradient = torch.func.grad(total)(batch)
    assert (
        relative_error(gradient[1, 2], operator.dequantize(W, scale, zeros, torch.float32).double().sum(0).numpy())
        < 2e-3
    )
    weights = torch.stack([W, W.flip(0)], 1)
    decoded = torch.vmap(lambda w: operator.dequantize(w, scale, zeros), in_dims=1)(weights)
    assert torch.equal(decoded[1], operator.dequantize(W.flip(0), scale, zeros))
    none = torch.vmap(lambda w: operator(A, w, scale, zeros, bias))(torch.empty(0, *W.shape, dtype=torch.int8))
    assert none.shape == (0, 3, N)


def test_bit_linear_under_transforms_and_traces():
    """X gets its gradient where it is not known to need one: below vmap, in a trace, in an exported program."""
    torch.manual_seed(0)
    layer = bq.BitLinear(K, N, bias=True, opt_M=(16,))
    layer.post_process_weights()
    model = torch.nn.Sequential(layer)
    x = torch.randn(5, K)

    def gradient(function):
        inner = x.clone().requires_grad_()
        (inner.sum() + function(inner).square().sum()).backward()
        return inner.grad

    wanted = gradient(layer)
    for function in (
        torch.vmap(layer),
        torch.jit.trace(layer, (x,)),
        torch.export.export(model, (x,)).module(),
    ):
        assert torch.allclose(gradient(function), wanted, rtol=1e-5, atol=1e-5)
    per_row = torch.vmap(torch.func.grad(lambda t: t.sum() + layer(t).square().sum()))(x)
    assert torch.allclose(per_row, wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(bq.CallError, match="'x' has no forward-mode gradient"):
        torch.func.jvp(layer, (x,), (x,))


def test_bit_linear_as_part_of_a_model():
    """Its bias has a gradient, its result can be changed in place, float64 is taken; its weight says it has none."""
    torch.manual_seed(0)
    layer = bq.BitLinear(K, N, bias=True, opt_M=(16,))
    layer.bias.requires_grad_()
    for dtype in (torch.float32, torch.float64):
        x = torch.randn(5, K, dtype=dtype).requires_grad_()
        layer.bias.grad = None
        torch.nn.functional.relu(layer(x), inplace=True).sum().backward()
        assert torch.equal(layer.bias.grad, (layer(x.detach()) > 0).sum(0).float())
        assert x.grad.dtype is dtype
        layer.post_process_weights()
    layer = bq.BitLinear(K, N)
    layer.weight.requires_grad_()
    with pytest.raises(bq.CallError, match="the weight of a BitLinear has no gradient"):
        layer(torch.randn(2, K))


def test_bit_linear_rounds_alike_under_autocast():
    """Float and packed states give the same bits under autocast, too."""
    torch.manual_seed(0)
    layer = bq.BitLinear(K, N, opt_M=(16,))
    x = torch.randn(5, K)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before = layer(x)
        layer.post_process_weights()
        assert torch.equal(layer(x), before)


def test_which_operator_serves_a_problem(case, A):
    """A problem is served by the newest operator that lives, by a tuned one before others, and never by half of one."""
    config = bq.MatmulConfig(M=(4,), N=8, K=16, W_dtype="uint4")
    first = bq.Matmul(config, target="cpu")
    problem, choice = first.problem, first.choices[4]
    second = bq.Matmul(config, target="cpu")
    assert registry.operator_of(problem) is second
    first._follow(Plan({4: Planned(choice.rule, {**choice.hint, "rows": 1}, "tuned")}))
    assert first.problem != problem
    assert registry.operator_of(problem) is registry.operator_of(first.problem) is first
    del first
    gc.collect()
    assert registry.operator_of(problem) is second


def test_an_operator_that_was_never_finished_serves_nobody(monkeypatch):
    """A construction that failed leaves nothing behind for the next operator of the problem."""
    config = bq.MatmulConfig(M=(16,), N=8, K=24, W_dtype="uint4")
    with monkeypatch.context() as patch:
        patch.setattr(bq.Operator, "_build", lambda self: (_ for _ in ()).throw(bq.BuildError("no")))
        with pytest.raises(bq.BuildError) as kept:
            bq.Matmul(config, target="cpu")
    operator = bq.Matmul(config, target="cpu")
    W = operator.transform_weight(torch.ones(8, 24, dtype=torch.int8))
    assert operator(torch.ones(2, 24).half().requires_grad_(), W).requires_grad
    assert kept.value is not None


def test_a_problem_is_made_again_once(case, A, monkeypatch):
    """Threads that ask for an operator that does not live get one and the same."""
    operator, others = case
    made = []
    rebuild = registry._rebuild[0]
    monkeypatch.setattr(registry, "_live", {})
    monkeypatch.setattr(registry, "_rebuilt", {})
    monkeypatch.setattr(registry, "_rebuild", [lambda problem: made.append(problem) or rebuild(problem)])
    wanted = operator(A, *others)
    with ThreadPoolExecutor(8) as pool:
        call = partial(torch.ops.bitquant.matmul, A, *others, None, None, operator.problem)
        results = [future.result() for future in [pool.submit(call) for _ in range(8)]]
    assert all(torch.equal(result, wanted) for result in results)
    assert len(made) == 1


ODD_TENSORS = {
    "sparse": lambda A: A.to_sparse(),
    "sparse_csr": lambda A: A.to_sparse_csr(),
    "nested": lambda A: torch.nested.nested_tensor([A, A]),
}


@pytest.mark.parametrize("name", ODD_TENSORS)
def test_tensors_that_are_not_dense_are_refused(case, A, name):
    """What has no element after the other in memory is named, with what to do."""
    operator, others = case
    with pytest.raises(bq.CallError, match=r"'A' must be a dense tensor .*use .to_dense"):
        operator(ODD_TENSORS[name](A), *others)


def test_an_inference_tensor_is_no_output_elsewhere(case, A):
    """What torch would not write to is not written to."""
    operator, others = case
    with torch.inference_mode():
        output = torch.zeros(3, N).half()
    for _ in range(2):
        with pytest.raises(bq.CallError, match="'output' must not be an inference tensor"):
            operator(A, *others, output=output)
