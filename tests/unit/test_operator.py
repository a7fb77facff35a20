# SPDX-License-Identifier: Apache-2.0
"""Operators on the CPU: results, calls, reading, keeping."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
import subprocess
import sys
import zipfile
from random import Random

import numpy as np
import pytest
import torch
import tvm

import bitquant as bq
from bitquant import build as build_module
from bitquant.archive import FORMAT
from bitquant.operator import archives, call, core, registry
from bitquant.problem import Problem
from bitquant.profiling import random_operands
from bitquant.schedule import Plan, Planned, Record
from bitquant.testing.check import check_call
from bitquant.testing.generators import make_inputs


@pytest.fixture(scope="module")
def grouped():
    """An operator of 4-bit weights with scales and zero points, and operands for it."""
    config = bq.MatmulConfig(
        M=(1, 16), N=24, K=64, W_dtype="uint4", group_size=32, with_scaling=True, with_zeros=True, with_bias=True
    )
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, 3)
    return operator, inputs, operator.transform_weight(inputs.W)


def test_leading_dimensions_and_output(grouped):
    """A may have any leading dimensions, and a given output is written and returned."""
    operator, inputs, W = grouped
    flat = operator(inputs.A, W, inputs.scale, inputs.zeros, inputs.bias)
    A = inputs.A.view(3, 1, 1, 64)
    output = torch.full((3, 1, 1, 24), float("nan"), dtype=torch.float16)
    result = operator(A, W, scale=inputs.scale, zeros=inputs.zeros, bias=inputs.bias, output=output)
    assert result is output
    assert torch.equal(output.view(3, 24), flat)
    vector = operator(inputs.A[0], W, inputs.scale, inputs.zeros, inputs.bias)
    assert torch.equal(vector, flat[0])
    empty = operator(inputs.A[:0].view(2, 0, 64), W, inputs.scale, inputs.zeros, inputs.bias)
    assert empty.shape == (2, 0, 24)


def test_calls_too_large_for_32_bit_indices_are_sliced(grouped, monkeypatch):
    """A call with more elements than an index holds is made in slices of rows."""
    operator, inputs, W = grouped
    A = torch.randn(50, 64).half()
    whole = operator(A, W, inputs.scale, inputs.zeros, inputs.bias)
    monkeypatch.setattr(call, "MAX_ELEMENTS", 64 * 7)
    operator = bq.Matmul(operator.config, target="cpu")
    rows = []
    launcher = operator._launcher
    kernel_for = launcher.kernel_for
    monkeypatch.setattr(launcher, "kernel_for", lambda m: rows.append(m) or kernel_for(m))
    for _ in range(2):
        assert torch.equal(operator(A, W, inputs.scale, inputs.zeros, inputs.bias), whole)
    assert rows == 2 * [*(7 * [7]), 1]


def test_torch_compile(grouped):
    """torch.compile traces a call whole, for two numbers of rows."""
    operator, inputs, W = grouped

    def layer(a):
        return operator(a * 2, W, inputs.scale, inputs.zeros, inputs.bias) + 1

    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for a in (inputs.A, torch.randn(7, 64).half()):
        assert torch.equal(compiled(a), layer(a))


def test_torch_compile_checks_a_given_output(grouped):
    """A compiled call writes a fitting output, and refuses one of another shape or type as an eager call does."""
    operator, inputs, W = grouped

    def layer(a, out):
        return operator(a, W, inputs.scale, inputs.zeros, inputs.bias, output=out)

    compiled = torch.compile(layer, backend="aot_eager")
    output = torch.full((3, 24), float("nan"), dtype=torch.float16)
    compiled(inputs.A, output)
    assert torch.equal(output, layer(inputs.A, torch.empty_like(output)))
    with pytest.raises(Exception, match="'output' must have shape"):
        compiled(inputs.A, torch.empty(9, 24, dtype=torch.float16))


def test_compiled_graphs_name_the_problem():
    """torch.compile caches graphs across processes by text: the custom op's operand must tell problems apart."""
    config = bq.MatmulConfig(M=1, N=8, K=16, W_dtype="uint4")
    other = bq.MatmulConfig(M=1, N=8, K=16, W_dtype="uint4", out_dtype="float32")
    names = [bq.Matmul(c, target="cpu").problem for c in (config, other, config)]
    assert names[0] == names[2] != names[1]


def test_copies_and_pickles(grouped):
    """A model that holds an operator can be copied and pickled; the operator is made again from its config."""
    operator, inputs, W = grouped
    operands = (inputs.A, W, inputs.scale, inputs.zeros, inputs.bias)
    assert copy.deepcopy({"layer": operator})["layer"] is operator
    loaded = pickle.loads(pickle.dumps(operator))  # noqa: S301
    assert type(loaded) is bq.Matmul
    assert torch.equal(loaded(*operands), operator(*operands))


def test_the_callers_pass_context_does_not_reach_the_cache(tmp_path, monkeypatch):
    """A library built inside somebody's PassContext is the one that everybody else gets."""
    config = bq.MatmulConfig(M=3, N=8, K=16, W_dtype="uint4")
    libraries = []
    for name, options in (("a", {}), ("b", {"tirx.disable_vectorize": True})):
        monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path / name))
        archives._in_use.clear()
        with tvm.transform.PassContext(config=options):
            libraries.append(bq.Matmul(config, target="cpu")._archive.host_library)
    assert libraries[0] == libraries[1]


CALL_ERRORS = {
    "dtype of A": (
        dict(A=torch.zeros(3, 64)),
        r"'A' must be of type torch.float16 \(got torch.float32\); use .to\(torch.float16\)",
    ),
    "shape of A": (dict(A=torch.zeros(3, 63).half()), r"'A' must have shape \(..., 64\), K last \(got \(3, 63\)\)"),
    "strides of A": (
        dict(A=torch.zeros(64, 3).half().T),
        r"'A' must be contiguous \(got strides \(1, 3\).*use .contiguous\(\)",
    ),
    "sign of A": (
        dict(A=torch._neg_view(torch.zeros(3, 64).half())),
        "'A' must hold its own numbers",
    ),
    "type of A": (dict(A=[1, 2]), r"'A' must be a torch.Tensor \(got list\)"),
    "dtype of W": (
        dict(W=torch.zeros(24, 32).half()),
        r"'W' must be of type torch.int8 .*pass what transform_weight returned",
    ),
    "shape of W": (dict(W=torch.zeros(24, 64, dtype=torch.int8)), r"'W' must have shape \(24, 32\) \(got \(24, 64\)\)"),
    "missing scale": (
        dict(scale=None),
        r"'scale' is missing: the config has with_scaling=True; pass a tensor of shape \(24, 2\)",
    ),
    "missing zeros": (dict(zeros=None), r"'zeros' is missing: the config has with_zeros=True"),
    "shape of scale": (dict(scale=torch.zeros(24, 1).half()), r"'scale' must have shape \(24, 2\) \(got \(24, 1\)\)"),
    "dtype of zeros": (dict(zeros=torch.zeros(24, 2)), r"'zeros' must be of type torch.float16 \(got torch.float32\)"),
    "shape of bias": (dict(bias=torch.zeros(23).half()), r"'bias' must have shape \(24,\) \(got \(23,\)\)"),
    "shape of output": (
        dict(output=torch.zeros(3, 23).half()),
        r"'output' must have shape \(3, 24\) \(got \(3, 23\)\)",
    ),
    "strides of output": (dict(output=torch.zeros(24, 3).half().T), r"'output' must be contiguous.*written in place"),
    "device of A": (dict(A=torch.zeros(3, 64, device="meta").half()), r"'A' must be on cpu.*\(got meta\)"),
    "device of W": (
        dict(W=torch.zeros(24, 32, dtype=torch.int8, device="meta")),
        r"'W' must be on the device of A, cpu \(got meta\)",
    ),
}


@pytest.mark.parametrize("is_first", [True, False], ids=["first call", "later call"])
@pytest.mark.parametrize("fault", CALL_ERRORS)
def test_call_errors(grouped, fault, is_first):
    """Every wrong operand is named, with the rule, the value and the fix."""
    operator, inputs, W = grouped
    operands = dict(A=inputs.A, W=W, scale=inputs.scale, zeros=inputs.zeros, bias=inputs.bias)
    operator = fresh(operator) if is_first else called(operator, operands)
    change, message = CALL_ERRORS[fault]
    with pytest.raises(bq.CallError, match=message):
        operator(**{**operands, **change})


# Calls after the first are short: most checks are those of TVM's launcher.

#: The operands of a call in the order of the kernels' parameters, but for the output.
OPERANDS = ("A", "W", "scale", "zeros", "bias", "activation_scale", "channel_scale")


def fresh(operator):
    """The operator before its first call."""
    operator._launcher.short = call._nothing
    return operator


def called(operator, operands):
    """The operator after a call that was right."""
    operator(**operands)
    assert operator._launcher.short is not call._nothing
    return operator


@pytest.fixture
def short(grouped, monkeypatch):
    """An operator after its first call, operands of one's own for it, and the list of its calls that were not short."""
    operator, inputs, W = grouped
    names = ("scale", "zeros", "bias")
    operands = {"A": inputs.A.clone(), "W": W.clone()} | {name: getattr(inputs, name).clone() for name in names}
    called(operator, operands)
    long_calls = []
    run = call.Launcher.run
    monkeypatch.setattr(call.Launcher, "run", lambda *a: long_calls.append(a) or run(*a))
    return operator, operands, long_calls


@pytest.mark.parametrize("shape", [(64,), (1, 64), (3, 64), (16, 64), (17, 64), (1, 1, 64), (2, 3, 64), (2, 1, 20, 64)])
@pytest.mark.parametrize("has_output", [True, False])
def test_later_calls_are_short_and_the_same(short, shape, has_output):
    """Any number of rows and of dimensions is computed without the long checks, with the bits of the first call."""
    operator, operands, long_calls = short
    operands["A"] = torch.randn(shape).half()
    wanted = fresh(operator)(**operands)
    assert len(long_calls) == 1
    if has_output:
        operands["output"] = torch.full((*shape[:-1], 24), float("nan"), dtype=torch.float16)
    result = operator(**operands)
    assert len(long_calls) == 1
    assert torch.equal(result, wanted)
    assert not result.requires_grad
    assert not has_output or result is operands["output"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"with_bias": True},
        {"with_channel_scale": True},
        {"with_scaling": True, "with_activation_scale": True, "with_bias": True},
        {"with_scaling": True, "M": 5},
        {"with_zeros": True, "zeros_mode": "quantized", "group_size": 8},
        {"with_scaling": True, "with_zeros": True, "zeros_mode": "rescale", "M": None},
        {"W_dtype": "int2", "A_dtype": "int8", "accum_dtype": "int32", "out_dtype": "int8", "with_bias": True},
    ],
)
def test_later_calls_pass_the_operands_that_there_are(fields):
    """Whichever operands a problem has, the second call passes them in their order."""
    config = bq.MatmulConfig(**{"M": (5,), "N": 8, "K": 16, "W_dtype": "uint4", **fields})
    operator = bq.Matmul(config, target="cpu")
    for _ in range(2):
        check_call(operator, 5)
    assert operator._launcher.short is not call._nothing


@pytest.mark.parametrize("name", ["A", "W", "scale", "zeros", "bias", "output"])
def test_every_operand_is_checked_at_every_call(short, name):
    """Whichever operand is of another kind than at the first call is refused by name."""
    operator, operands, _ = short
    operands["output"] = torch.full((3, 24), 7.0, dtype=torch.float16)
    right = operands[name]
    wrong = {
        "must be of type": right.to(torch.int16),
        "must have shape": torch.cat([right, right], -1),
        "must hold its own numbers": torch._neg_view(right),
        "must be a torch.Tensor": right.numpy(),
    }
    if name != "bias":
        wrong["must be contiguous"] = torch.cat([right, right], -1)[..., : right.shape[-1]]
    if name == "W":
        wrong["must be of type"] = right.view(torch.uint8)
    if name != "A":
        wrong["must be on the device of A"] = right.to("meta")
    if name not in ("A", "W", "output"):
        wrong["is missing"] = None
    for message, operand in wrong.items():
        with pytest.raises(bq.CallError, match=f"'{name}' {message}"):
            operator(**{**operands, name: operand})
        assert bool((operands["output"] == 7).all())  # Nothing has been launched.


def some_operand(random, right):
    """A tensor that is like `right`, or nearly, or a view with any sizes and strides; or None."""
    sizes = (0, 1, 2, 3, 4, *right.shape)
    shape = [random.choice(sizes) for _ in range(random.choice((1, 2, 2, 3)))]
    if random.random() < 0.5:
        shape = list(right.shape)
    strides = [random.choice((*sizes, right.shape[-1])) for _ in shape]
    return random.choice([
        None,
        right.to(random.choice([torch.int8, torch.uint8, torch.float16, torch.float32])),
        torch._neg_view(right.clone()),
        right.unsqueeze(0),
        torch.zeros(shape, dtype=right.dtype),
        torch.zeros(512, dtype=right.dtype).as_strided(shape, strides, random.choice((0, 1))),
    ])  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"M": (1, 4), "N": 2, "K": 4},
        {"M": 1, "N": 1, "K": 2},
        {"M": (3,), "N": 3, "K": 4},
        {"M": (2, 4), "N": 2, "K": 4, "with_activation_scale": True},
        {"M": (3,), "N": 3, "K": 4, "with_activation_scale": True, "with_channel_scale": True},
    ],
)
def test_short_calls_take_what_long_ones_take(fields):
    """Among random operands, right and wrong ones, the short way serves those that pass every check of the long one."""
    config = bq.MatmulConfig(**fields, W_dtype="uint4", with_scaling=True, with_bias=True)
    operator = bq.Matmul(config, target="cpu")
    right = random_operands(operator, config.ladder[0], torch.device("cpu"))
    called(operator, right)
    random = Random(0)
    outcomes = []
    for _ in range(2000):
        operands = {k: some_operand(random, v) if random.random() < 0.3 else v for k, v in right.items()}
        A = operands["A"] = right["A"] if operands["A"] is None else operands["A"]
        output = torch.zeros(*A.shape[:-1], config.N, dtype=torch.float16) if A.ndim else None
        if output is not None and random.random() < 0.5:
            output = some_operand(random, output) if A.numel() and random.random() < 0.5 else output
        arguments = [operands.get(name) for name in OPERANDS]
        try:
            long = operator._launcher.run(tuple(arguments), output) is not None
        except bq.CallError:
            long = False
        try:
            short = operator._launcher.short(*arguments, output) is not None
        except Exception:  # noqa: BLE001 - the launcher's
            short = False
        assert short == (long and A.numel() > 0)
        outcomes.append(short)
    assert 200 < sum(outcomes) < 1800


def _strided(tensor):
    tensor.set_(torch.cat([tensor, tensor], 1)[:, : tensor.shape[1]])


def _retyped(tensor):
    tensor.data = tensor.data.view(torch.uint8)


IN_PLACE = {
    "assigned": lambda t: setattr(t, "data", torch.zeros(24, 31, dtype=t.dtype)),
    "viewed": lambda t: setattr(t, "data", t.data.view(48, 16)),
    "retyped": _retyped,
    "negated": lambda t: setattr(t, "data", torch._neg_view(t.data)),
    "transposed": lambda t: t.t_(),
    "resized": lambda t: t.resize_(24, 16),
    "squeezed": lambda t: t.unsqueeze_(0),
    "strided": _strided,
    "expanded": lambda t: t.set_(torch.zeros(1, 1, dtype=t.dtype).expand(24, 32)),
    "swapped": lambda t: torch.utils.swap_tensors(t, torch.zeros(2, 2, dtype=t.dtype)),
}


@pytest.mark.parametrize("how", IN_PLACE)
def test_a_tensor_that_changes_in_place_is_checked_again(short, how):
    """A weight that was right at the last call, and has become another since, is refused."""
    operator, operands, _ = short
    wanted = operator(**operands)
    W = operands["W"] = operands["W"].clone()
    for _ in range(2):
        assert torch.equal(operator(**operands), wanted)
    IN_PLACE[how](W)
    with pytest.raises(bq.CallError, match="'W' must "):
        operator(**operands)


def test_a_tensor_that_has_lost_its_memory_is_refused(short):
    """Frameworks that shard models free a tensor's memory and leave its shape; nothing is read from there."""
    operator, operands, _ = short
    operands["W"].untyped_storage().resize_(0)
    with pytest.raises(Exception, match="data pointer is NULL"):
        operator(**operands)


def test_a_scale_for_zero_points_is_not_mistaken():
    """An operand in the place of another of the same shape and type is refused: one is missing, one too many."""
    config = bq.MatmulConfig(M=1, N=8, K=16, W_dtype="uint4", with_scaling=True)
    operator = bq.Matmul(config, target="cpu")
    A, scale = torch.zeros(1, 16).half(), torch.ones(8, 1).half()
    W = operator.transform_weight(torch.zeros(8, 16, dtype=torch.int8))
    called(operator, dict(A=A, W=W, scale=scale))
    with pytest.raises(bq.CallError, match="'scale' is missing"):
        operator(A, W, zeros=scale)
    with pytest.raises(bq.CallError, match="'zeros' was given, but the config has with_zeros=False"):
        operator(A, W, scale=scale, zeros=scale)
    with pytest.raises(bq.CallError, match=r"'W' must be a torch.Tensor \(got ndarray\)"):
        operator(A, np.zeros((8, 8), dtype=np.int8), scale=scale)


def gpu_calls(monkeypatch, config):
    """A short call of an operator for a GPU, and the list of what reaches its kernel; operands are on the CPU."""
    operator, launched = bq.Matmul(config, target="sm_90a"), []
    functions = [(1, lambda *operands: launched.append(operands))]
    monkeypatch.setattr(operator._launcher, "functions", lambda: functions)
    return operator, call._short_call(operator._launcher), launched


@pytest.mark.parametrize("name", ["A", "W", "scale", "zeros", "output"])
def test_short_calls_on_a_gpu_check_alignment(monkeypatch, name):
    """A view that begins where a wide load may not is left to the long checks, whichever operand it is."""
    config = bq.MatmulConfig(
        M=1, N=16, K=64, W_dtype="uint4", group_size=8, with_scaling=True, with_zeros=True, fast_decoding=False
    )
    operator, attempt, launched = gpu_calls(monkeypatch, config)
    operands = {
        "A": torch.zeros(1, 64).half(),
        "W": torch.zeros(16, 32, dtype=torch.int8),
        "scale": torch.zeros(16, 8).half(),
        "zeros": torch.zeros(16, 8).half(),
        "output": torch.zeros(1, 16).half(),
    }

    def shifted(tensor, elements):
        return torch.zeros(tensor.numel() + elements, dtype=tensor.dtype)[elements:].view(tensor.shape)

    def call(**operands):
        return attempt(*(operands.get(name) for name in (*OPERANDS, "output")))

    assert call(**operands) is operands["output"]
    right = operands[name]
    assert call(**{**operands, name: shifted(right, 16 // right.element_size())}) is not None
    assert len(launched) == 2
    misaligned = {**operands, name: shifted(right, 8 // right.element_size())}
    assert call(**misaligned) is None
    assert len(launched) == 2
    with pytest.raises(bq.CallError, match=f"'{name}' must begin at a multiple of 16 bytes"):
        operator.signature.check_alignment(tuple(map(misaligned.get, OPERANDS)), misaligned["output"])


def test_short_calls_need_the_current_gpu(monkeypatch):
    """Among several GPUs a call is short where A's is the current one and has been checked before."""
    config = bq.MatmulConfig(M=1, N=16, K=64, W_dtype="uint4", fast_decoding=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    current = [-1]  # The index of a tensor on the CPU.
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: current[0])
    operator, attempt, launched = gpu_calls(monkeypatch, config)
    operands = (torch.zeros(1, 64).half(), torch.zeros(16, 32, dtype=torch.int8), *(6 * [None]))
    assert attempt(*operands) is None
    operator._check_device.known.add(-1)
    assert attempt(*operands) is not None
    current[0] = 1
    assert attempt(*operands) is None
    assert len(launched) == 1


# Output scales.


@pytest.fixture(scope="module")
def scaled():
    """An operator of 8-bit integers that scales its outputs, and operands for three rows."""
    config = bq.MatmulConfig(
        M=(1, 16), N=24, K=64, A_dtype="int8", W_dtype="int8", out_dtype="bfloat16", with_bias=True,
        with_activation_scale=True, with_channel_scale=True,
    )  # fmt: skip
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, 3)
    return operator, {"A": inputs.A, "W": operator.transform_weight(inputs.W), **inputs.optional}


def test_activation_scale_has_the_leading_dimensions_of_A(scaled):
    """One number a row of A, with or without a last dimension of 1, in the first call and in later ones."""
    operator, operands = scaled
    wanted = operator(**operands)
    A, scale = operands["A"], operands["activation_scale"]
    shapes = [((3, 64), (3, 1)), ((3, 1, 64), (3, 1)), ((3, 1, 64), (3, 1, 1)), ((1, 3, 64), (1, 3))]
    for rows, leading in shapes:
        given = {**operands, "A": A.view(rows), "activation_scale": scale.view(leading)}
        for _ in range(2):
            assert torch.equal(operator(**given).view(3, 24), wanted)
        assert torch.equal(fresh(operator)(**given).view(3, 24), wanted)
    for leading in ((), (1,)):
        for _ in range(2):
            vector = operator(**{**operands, "A": A[1], "activation_scale": scale[1].view(leading)})
            assert torch.equal(vector, wanted[1])
    empty = {**operands, "A": A[:0].view(2, 0, 64), "activation_scale": scale[:0].view(2, 0)}
    assert operator(**empty).shape == (2, 0, 24)


SCALE_ERRORS = {
    "rows": (
        {"activation_scale": torch.ones(4)},
        r"'activation_scale' must have shape \(3,\) \(got \(4,\)\), or \(3, 1\): one number a row of A",
    ),
    "one for all": ({"activation_scale": torch.ones(1)}, r"'activation_scale' must have shape \(3,\) \(got \(1,\)\)"),
    "row": ({"activation_scale": torch.ones(1, 3)}, r"'activation_scale' must have shape \(3,\) \(got \(1, 3\)\)"),
    "type": (
        {"activation_scale": torch.ones(3).half()},
        r"'activation_scale' must be of type torch.float32 \(got torch.float16\)",
    ),
    "strides": ({"activation_scale": torch.ones(6)[::2]}, "'activation_scale' must be contiguous"),
    "strides of a column": ({"activation_scale": torch.ones(3, 2)[:, :1]}, "'activation_scale' must be contiguous"),
    "device": ({"activation_scale": torch.ones(3, device="meta")}, "'activation_scale' must be on the device of A"),
    "kind": ({"activation_scale": [1.0, 2.0, 3.0]}, r"'activation_scale' must be a torch.Tensor \(got list\)"),
    "array": ({"activation_scale": np.ones(3, np.float32)}, r"'activation_scale' must be a torch.Tensor"),
    "sign": ({"activation_scale": torch._neg_view(torch.ones(3))}, "'activation_scale' must hold its own numbers"),
    "missing": (
        {"activation_scale": None},
        r"'activation_scale' is missing: the config has with_activation_scale=True; pass a tensor of shape \(3,\)",
    ),
    "channels": ({"channel_scale": torch.ones(1)}, r"'channel_scale' must have shape \(24,\) \(got \(1,\)\)"),
    "missing channels": ({"channel_scale": None}, "'channel_scale' is missing"),
}


@pytest.mark.parametrize("is_first", [True, False], ids=["first call", "later call"])
@pytest.mark.parametrize("fault", SCALE_ERRORS)
def test_output_scales_are_checked(scaled, fault, is_first):
    """A wrong output scale is refused by name at every call, before anything is written."""
    operator, operands = scaled
    operator = fresh(operator) if is_first else called(operator, operands)
    change, message = SCALE_ERRORS[fault]
    output = torch.full((3, 24), 7.0, dtype=torch.bfloat16)
    with pytest.raises(bq.CallError, match=message):
        operator(**{**operands, **change}, output=output)
    assert bool((output == 7).all())


def test_output_scales_that_are_not_configured_are_refused():
    """A scale for a problem without one is an error, in the first call and in later ones."""
    operator = bq.Matmul(bq.MatmulConfig(M=1, N=8, K=16, W_dtype="uint4"), target="cpu")
    A, W = torch.zeros(1, 16).half(), operator.transform_weight(torch.zeros(8, 16, dtype=torch.int8))
    for _ in range(2):
        with pytest.raises(bq.CallError, match="'activation_scale' was given, but the config has with"):
            operator(A, W, activation_scale=torch.ones(1))
        with pytest.raises(bq.CallError, match=r"'channel_scale' was given, but .* with_channel_scale=False"):
            operator(A, W, channel_scale=torch.ones(8))
        operator(A, W)


def test_integer_sums_are_rounded_once_to_float32():
    """Sums beyond 2^24 become the nearest float32, times the scales one after the other."""
    config = bq.MatmulConfig(
        M=2, N=3, K=4096, A_dtype="int8", W_dtype="int8", out_dtype="float32", with_activation_scale=True,
        with_channel_scale=True,
    )  # fmt: skip
    operator = bq.Matmul(config, target="cpu")
    A = torch.full((2, 4096), 127, dtype=torch.int8)
    W = torch.full((3, 4096), 127, dtype=torch.int8)
    W[1, 0], W[2, 0] = 126, 122
    sums = A.int() @ W.int().T
    assert int(sums.min()) > 2**24
    assert bool((sums.float().long() != sums).any())
    rows, columns = torch.tensor([1.0, 0.3]), torch.tensor([1.0, -0.7, 1e-3])
    result = operator(A, operator.transform_weight(W), activation_scale=rows, channel_scale=columns)
    assert torch.equal(result, sums.float() * rows[:, None] * columns)


def test_calls_in_slices_of_rows_take_the_scales_along(scaled, monkeypatch):
    """A call with more elements than an index holds gives each slice the scales of its rows."""
    operator, operands = scaled
    A, scale = torch.randint(-128, 128, (50, 64), dtype=torch.int8), torch.rand(50)
    whole = operator(**{**operands, "A": A, "activation_scale": scale})
    monkeypatch.setattr(call, "MAX_ELEMENTS", 64 * 7)
    operator = bq.Matmul(operator.config, target="cpu")
    for leading in ((50,), (50, 1)):
        assert torch.equal(operator(**{**operands, "A": A, "activation_scale": scale.view(leading)}), whole)


def test_torch_compile_with_output_scales(scaled):
    """torch.compile traces the quantization of A and the call with its scale whole, for two numbers of rows."""
    operator, operands = scaled
    W, bias, channel_scale = operands["W"], operands["bias"], operands["channel_scale"]

    def layer(x):
        scale = x.abs().amax(-1, keepdim=True) / 127
        tokens = (x / scale).round().to(torch.int8)
        return operator(tokens, W, bias=bias, activation_scale=scale, channel_scale=channel_scale)

    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for shape in ((3, 64), (2, 5, 64)):
        x = torch.randn(shape)
        assert torch.equal(compiled(x), layer(x))


def test_output_scales_survive_export_and_pickle(scaled, tmp_path):
    """An exported operator, and a pickled one, take the scales too, and give the same bits."""
    operator, operands = scaled
    operator.export(tmp_path / "operator.bq")
    for again in (bq.Operator.load(tmp_path / "operator.bq"), pickle.loads(pickle.dumps(operator))):  # noqa: S301
        assert again.config.problem() == operator.config.problem()
        assert torch.equal(again(**operands), operator(**operands))


def test_bytes_of_a_call_count_the_output_scales(scaled):
    """Four bytes a row and a channel."""
    operator, _ = scaled
    bare = bq.Matmul(dataclasses.replace(operator.config, with_activation_scale=False), target="cpu")
    assert operator.bytes_per_call(7) == bare.bytes_per_call(7) + 4 * 7
    bare = bq.Matmul(dataclasses.replace(operator.config, with_channel_scale=False), target="cpu")
    assert operator.bytes_per_call(7) == bare.bytes_per_call(7) + 4 * 24


def test_operand_that_is_not_configured_is_refused():
    """A scale for a problem without one is an error, not ignored."""
    operator = bq.Matmul(bq.MatmulConfig(M=1, N=8, K=16, W_dtype="uint4"), target="cpu")
    W = operator.transform_weight(torch.zeros(8, 16, dtype=torch.int8))
    with pytest.raises(bq.CallError, match="'scale' was given, but the config has with_scaling=False"):
        operator(torch.zeros(1, 16).half(), W, scale=torch.zeros(8, 1).half())


def test_static_m():
    """A static operator takes its M rows, or none, and says how to get others."""
    operator = bq.Matmul(bq.MatmulConfig(M=4, N=8, K=16, W_dtype="uint4"), target="cpu")
    W = operator.transform_weight(torch.zeros(8, 16, dtype=torch.int8))
    assert operator(torch.zeros(2, 2, 16).half(), W).shape == (2, 2, 8)
    assert operator(torch.zeros(0, 16).half(), W).shape == (0, 8)
    with pytest.raises(bq.CallError, match=r"'A' must have 4 rows \(got 3\): the config has a static M"):
        operator(torch.zeros(3, 16).half(), W)


def test_construction_errors():
    """What cannot be constructed says why."""
    config = bq.MatmulConfig(M=1, N=8, K=16, W_dtype="uint4")
    if not torch.cuda.is_available():
        with pytest.raises(bq.UnsupportedError, match="'target' cuda needs a GPU and none is visible"):
            bq.Matmul(config, target="cuda")
    with pytest.raises(bq.ConfigError, match=r"'target' must name one of sm_75, .* \(got 'sm_70'\)"):
        bq.Matmul(config, target="sm_70")
    with pytest.raises(bq.ConfigError, match="'config' must be a MatmulConfig"):
        bq.Matmul({"M": 1})
    with pytest.raises(bq.ConfigError, match=r"'enable_tuning' must be a bool \(got 1\)"):
        bq.Matmul(config, target="cpu", enable_tuning=1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"K": 32, "group_size": -1},
            r"A of matmul_m16 must be declared as float16 \(m, 64\) \(got float16 \(m, 32\)\)",
        ),
        ({"W_dtype": "int2"}, r"B of matmul_m16 must be declared as int8 \(8, 32\) \(got int8 \(8, 16\)\)"),
        ({"out_dtype": "float32"}, r"D of matmul_m16 must be declared as float16 \(m, 8\) \(got float32 \(m, 8\)\)"),
        ({"with_bias": True}, r"D of matmul_m16 must be declared as float16 \(m, 8\) \(got float16 \(8\)\)"),
        ({"M": 16}, r"A of matmul_m16 must be declared as float16 \(m, 64\) \(got float16 \(16, 64\)\)"),
    ],
)
def test_a_kernel_with_other_operands_is_refused(fields, words):
    """What a kernel declares is what the launcher checks at every call: a rule that changes it gets an error."""
    from bitquant.compute.matmul import tag
    from bitquant.schedule.rules import CpuRule

    class OtherRule(CpuRule):
        def emit(self, geometry):
            problem = geometry.problem
            other = dataclasses.replace(problem, config=dataclasses.replace(problem.config, **fields))
            return tag(super().emit(self.checked(other, self.default_hint(other))), problem.config, problem.rung)

    config = bq.MatmulConfig(M=(16,), N=8, K=64, W_dtype="uint4")
    with pytest.raises(bq.ScheduleError, match=f"^cpu: {words}"):
        bq.Matmul(config, target="cpu", rules=(OtherRule(),))


def test_schedule_error_lists_every_rule():
    """Where no rule applies, the error gives each rule's reason."""
    from bitquant.schedule.rules import GemvRule, MmaRule

    config = bq.MatmulConfig(M=16, N=8, K=16, A_dtype="float32", W_dtype="uint4")
    with pytest.raises(bq.ScheduleError) as caught:
        bq.Matmul(config, target="sm_90a", rules=(GemvRule(), MmaRule()))
    message = str(caught.value)
    assert message.startswith("no schedule for matmul_nt(M=16, N=8, K=16, float32 x uint4) on sm_90a\n")
    assert "\n  gemv: needs M == 1 (got 16)" in message
    assert "\n  mma: needs A of 16 or 8 bits (got float32)" in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernel would run")
def test_cuda_operator_without_a_gpu():
    """A kernel for a GPU that is not here can be read, and says so when it is called or timed."""
    operator = bq.Matmul(bq.MatmulConfig(M=1, N=64, K=64, W_dtype="uint4", fast_decoding=False), target="sm_90a")
    assert "__global__" in operator.get_source()
    assert ".target sm_90a" in operator.get_ptx()
    assert "gemv" in operator.report()
    with pytest.raises(bq.CallError, match=r"'A' must be on cuda, where this operator was built for \(got cpu\)"):
        operator(torch.zeros(1, 64).half(), torch.zeros(64, 32, dtype=torch.int8))
    with pytest.raises(bq.UnsupportedError, match="timing a kernel for sm_90a needs that GPU"):
        operator.profile_latency()
    with pytest.raises(bq.UnsupportedError, match="needs a GPU with its driver"):
        operator.rt_mod  # noqa: B018


def test_reading_a_cpu_operator(grouped):
    """Every stage of a CPU operator can be read; PTX and SASS are refused with the fix."""
    operator, _, _ = grouped
    assert 'T.sblock("B_decode")' in operator.prim_func.script()
    assert set(operator.prim_func_mod.functions) == set(operator.scheduled_mod.functions)
    assert "define" in operator.get_source()
    assert "cpu" in operator.report()
    assert operator.profile_latency() > 0
    with pytest.raises(bq.CallError, match=r"'m' must be an int, at least 1 .*\(got 0\)"):
        operator.profile_latency(0)
    for stage in (operator.get_ptx, operator.get_sass):
        with pytest.raises(bq.UnsupportedError, match="construct with target='sm_90a'"):
            stage()


RUN_EXPORTED = """
import sys, torch, bitquant as bq
operator = bq.Operator.load(sys.argv[1])
torch.save(operator(*torch.load(sys.argv[2])), sys.argv[3])
"""


def test_exported_operator_runs_in_another_process_without_a_compiler(grouped, tmp_path):
    """One file is enough: nothing is compiled, no linker is on PATH, and the bits are the same."""
    operator, inputs, W = grouped
    operands = (inputs.A, W, inputs.scale, inputs.zeros, inputs.bias)
    operator.export(tmp_path / "operator.bq")
    torch.save(operands, tmp_path / "operands.pt")
    environment = {**os.environ, "PATH": "/nonexistent", "BITQUANT_CACHE_DIR": str(tmp_path / "cache")}
    files = [str(tmp_path / name) for name in ("operator.bq", "operands.pt", "result.pt")]
    subprocess.run([sys.executable, "-c", RUN_EXPORTED, *files], check=True, env=environment, timeout=300)
    assert torch.equal(torch.load(tmp_path / "result.pt"), operator(*operands))
    assert not (tmp_path / "cache").exists()


def test_loading_something_else(tmp_path):
    """A file that is no operator is a BuildError with its name."""
    (tmp_path / "x").write_bytes(b"not a zip")
    with pytest.raises(bq.BuildError, match="x is not an exported operator"):
        bq.Operator.load(tmp_path / "x")
    with pytest.raises(bq.BuildError, match="missing"):
        bq.Operator.load(tmp_path / "missing")
    with zipfile.ZipFile(tmp_path / "empty", "w") as archive:
        archive.writestr("manifest.json", f'{{"format": {FORMAT}}}')
    with pytest.raises(bq.BuildError, match="empty is not an exported operator: parts of it are missing"):
        bq.Operator.load(tmp_path / "empty")


def test_damaged_export_is_named(grouped, tmp_path):
    """Whatever byte of an exported file is damaged, the error is a BuildError."""
    operator, _, _ = grouped
    file = tmp_path / "operator.bq"
    operator.export(file)
    content = file.read_bytes()
    for cut in (10, len(content) // 2, len(content) - 30):
        file.write_bytes(content[:cut])
        with pytest.raises(bq.BuildError):
            bq.Operator.load(file)
    with pytest.raises(bq.BuildError, match=r"folder cannot be written: there is no folder .*such; make it"):
        operator.export(tmp_path / "no" / "such" / "folder")


def test_second_construction_comes_from_the_cache(tmp_path, monkeypatch):
    """An equal problem in another spelling is not built again, and one from the disk gives the same bits."""
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path))
    config = bq.MatmulConfig(M=2, N=8, K=16, W_dtype="uint4", group_size=-1)
    first = bq.Matmul(config, target="cpu")
    monkeypatch.setattr(archives, "build", lambda *_: pytest.fail("built again"))
    same = bq.Matmul(bq.MatmulConfig(M=2, N=8, K=16, W_dtype="uint4", group_size=None), target="cpu")
    assert same._archive is first._archive
    archives._in_use.clear()
    from_disk = bq.Matmul(config, target="cpu")
    assert from_disk._archive is not first._archive
    inputs = make_inputs(config, 2)
    W = first.transform_weight(inputs.W)
    assert torch.equal(from_disk(inputs.A, W), first(inputs.A, W))
    monkeypatch.undo()
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path))
    entry = next(tmp_path.glob("*.bqk"))
    entry.write_bytes(entry.read_bytes()[:1000])
    archives._in_use.clear()
    with pytest.warns(bq.cache.CacheWarning, match="damaged"):
        rebuilt = bq.Matmul(config, target="cpu")
    assert torch.equal(rebuilt(inputs.A, W), first(inputs.A, W))


def test_without_a_linker_kernels_run_but_cannot_be_exported(tmp_path, monkeypatch):
    """Host code stays LLVM IR where nothing can link it."""
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(build_module, "find_linker", lambda: None)
    config = bq.MatmulConfig(M=2, N=8, K=24, W_dtype="int3")
    operator = bq.Matmul(config, target="cpu")
    check_call(operator, 2)
    with pytest.raises(bq.UnsupportedError, match="export needs a linker"):
        operator.export(tmp_path / "operator.bq")
    archives._in_use.clear()
    check_call(bq.Matmul(config, target="cpu"), 2)


# Records and plans.


@pytest.fixture(scope="module")
def planned():
    """A plan for the CPU whose second rung has another hint than the default."""
    config = bq.MatmulConfig(M=(1, 16), N=24, K=64, W_dtype="uint4", group_size=32, with_scaling=True)
    chosen = bq.Matmul(config, target="cpu").choices[16]
    planned = Planned(chosen.rule, {**chosen.hint, "rows": 1}, "tuned")
    return config, Plan({16: planned}, {1: "mine.json: it does not fit"})


def test_a_plan_decides_the_kernels(planned):
    """The planned rung has its hint, others the default, and choices and report say where each comes from."""
    config, plan = planned
    operator, default = bq.Matmul(config, target="cpu", records=plan), bq.Matmul(config, target="cpu")
    assert operator._archive is not default._archive
    assert operator.choices[16].hint == plan.planned[16].hint != default.choices[16].hint
    assert {rung: c.origin for rung, c in operator.choices.items()} == {1: "default", 16: "tuned"}
    assert operator.choices[1].refusals["record"] == "mine.json: it does not fit"
    assert "\n  from       tuned\n" in operator.report()
    assert "\n  from " not in default.report()
    for m in (1, 5, 20):
        check_call(operator, m)


def test_following_a_plan(planned):
    """After tuning the same operator runs other kernels, also where a compiled graph or a copy holds it."""
    config, plan = planned
    operator = bq.Matmul(config, target="cpu")
    twin, name, archive = copy.deepcopy(operator), operator.problem, operator._archive
    scheduled = operator.scheduled_mod.script()
    check_call(operator, 5)
    operator._follow(plan)
    assert twin is operator
    assert operator.problem != name
    assert registry.operator_of(name) is registry.operator_of(operator.problem) is operator
    assert operator._retired == [archive]
    assert operator._archive is not archive
    assert operator.choices[16].origin == "tuned"
    assert operator.scheduled_mod.script() != scheduled
    for _ in range(2):
        check_call(operator, 5)


def test_a_plan_that_cannot_be_followed_changes_nothing(planned):
    """Where the new kernels cannot be built, the operator stays what it was."""
    config, plan = planned
    operator = bq.Matmul(config, target="cpu", records=plan)
    archive, scheduled = operator._archive, operator.scheduled_mod.script()
    broken = Planned(plan.planned[16].rule, {**plan.planned[16].hint, "rows": 0}, "tuned")
    with pytest.raises(bq.RecordError, match="does not fit"):
        operator._follow(Plan({1: broken}))
    assert operator._archive is archive
    assert operator._retired == []
    assert operator.scheduled_mod.script() == scheduled


def test_tuned_hints_are_kept(planned, tmp_path):
    """A pickle and an exported file have the tuned kernels, and so has the pickle of what was loaded."""
    config, plan = planned
    operator = bq.Matmul(config, target="cpu", records=plan)
    operator.export(tmp_path / "operator.bq")
    loaded = bq.Operator.load(tmp_path / "operator.bq")
    assert loaded.choices == operator.choices
    assert loaded.scheduled_mod.script() == operator.scheduled_mod.script()
    for pickled in (operator, loaded):
        again = pickle.loads(pickle.dumps(pickled))  # noqa: S301
        assert again.choices[16] == operator.choices[16]
        check_call(again, 5)


def test_a_pickle_with_a_hint_of_the_past_loads(planned):
    """Where this version's rule does not take a pickled hint, the default serves, and the choice says so."""
    config, plan = planned
    operator = bq.Matmul(config, target="cpu", records=plan)
    operator._plan = Plan({16: dataclasses.replace(plan.planned[16], hint={"tiles": 3})})
    loaded = pickle.loads(pickle.dumps(operator))  # noqa: S301
    assert loaded.choices[16].origin == "default"
    assert "'tiles'" in loaded.choices[16].refusals["record"]
    check_call(loaded, 5)


def test_records_of_ones_own(monkeypatch):
    """A record is part of what an operator is made from; rules of one's own look for none unless told to."""
    from bitquant.schedule.rules import MmaRule

    monkeypatch.setenv("BITQUANT_SCHEDULES", "off")
    config = bq.MatmulConfig(M=16, N=64, K=128, W_dtype="uint4", fast_decoding=False)
    default = bq.Matmul(config, target="sm_90a")
    rule = MmaRule()
    hint = {**rule.default_hint(Problem(config, 16, default.target)).to_dict(), "stages": 5}
    record = Record(
        {k: v for k, v in config.problem().items() if k != "M"}, 16, "sm_90a", "NVIDIA H200", "mma", hint, 2.0, 1.0
    )
    for rules in (None, (rule,)):
        operator = bq.Matmul(config, target="sm_90a", rules=rules, records=[record])
        assert (operator.choices[16].hint, operator.choices[16].origin) == (hint, "record")
        assert operator.get_source() != default.get_source()
    monkeypatch.setattr(core, "plan", lambda *arguments: pytest.fail("looked for") if arguments[3] is None else Plan())
    bq.Matmul(config, target="sm_90a", rules=(rule,))
