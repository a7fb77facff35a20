# SPDX-License-Identifier: Apache-2.0
"""Results of operators on the CPU against the float64 oracle, for problems of every kind."""

from __future__ import annotations

import pytest
import torch
import tvm
from hypothesis import given, settings

import bitquant as bq
from bitquant import packing
from bitquant.testing.check import check_call
from bitquant.testing.generators import call_rows, configs, make_inputs
from bitquant.testing.oracle import assert_close


def shown(config):
    """What a problem shows: each W and each A; each option with every kind of W, and with every A or output.

    test_rule_cpu.py and test_packing.py meet each A with every kind of W, and each W with every mode of zero points.
    """
    A, out, kind = config.A_dtype, config.out_dtype, (type(config.W_format), config.W_format.is_unsigned)
    zeros_mode = config.zeros_mode if config.with_zeros else None
    output_scales = config.with_activation_scale, config.with_channel_scale
    return {
        ("W", config.W_dtype),
        ("A, W of integers", A, config.W_format.is_integer),
        ("A, zeros", A, zeros_mode),
        ("kind of W, zeros", kind, zeros_mode),
        ("kind of W, scale", kind, config.with_scaling),
        ("A, output", A, out),
        ("bias, output", config.with_bias, out),
        ("A, output scales", A, *output_scales),
        ("kind of W, output scales", kind, any(output_scales)),
        ("M", config.M),
    }


@pytest.mark.cases
@pytest.mark.sample(shows=shown)
def test_every_format_against_the_oracle(config, error_log):
    """Every weight format with every activation type and zeros mode is right for every m of the list."""
    operator = bq.Matmul(config, target="cpu")
    for m in call_rows(config):
        error_log(config, m, check_call(operator, m, seed=m))


@settings(max_examples=8)
@given(config=configs(max_size=96))
def test_any_legal_config(config):
    """Whatever hypothesis draws from the legal configs is right."""
    operator = bq.Matmul(config, target="cpu")
    for m in call_rows(config)[-2:]:
        check_call(operator, m, seed=m)


@pytest.mark.cases(select="cover", stride=29)
@pytest.mark.sample(
    shows=lambda config: {
        ("A", config.A_dtype),
        ("zeros", config.with_zeros and config.zeros_mode, config.with_scaling),
        ("output", config.out_dtype),
        ("output scales", config.with_activation_scale, config.with_channel_scale),
    }
)
def test_unscheduled_function_is_the_meaning(config):
    """The prim_func compiles for the CPU as it stands, and agrees with the oracle."""
    operator = bq.Matmul(config, target="cpu")
    m = 5 if not config.is_static else config.M
    inputs = make_inputs(config, m)
    executable = tvm.compile(operator.prim_func, target="llvm")
    D = torch.empty(m, config.N, dtype=config.out_format.torch_dtype)
    optional = inputs.optional.values()
    name = str(operator.prim_func.attrs["global_symbol"])
    if config.ladder[-1] > 1 or m == 1:
        executable[name](inputs.A, packing.pack(inputs.W, config), *optional, D)
        assert_close(D, inputs.reference(config), config)


@pytest.mark.parametrize("A_dtype", ["float16", "float32", "int8"])
@pytest.mark.parametrize("m", [1, 16])
def test_operands_that_begin_anywhere(m, A_dtype):
    """Every operand may be a view that begins at any element: vector instructions must not take it for aligned."""
    out = "int32" if A_dtype == "int8" else A_dtype
    config = bq.MatmulConfig(M=m, N=5, K=204, A_dtype=A_dtype, W_dtype="int2", out_dtype=out, with_bias=True)
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, m)

    def shifted(tensor):
        storage = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)
        view = storage[1:].view(tensor.shape)
        return view.copy_(tensor)

    output = shifted(torch.zeros(m, 5, dtype=config.out_format.torch_dtype))
    operator(shifted(inputs.A), shifted(packing.pack(inputs.W, config)), bias=shifted(inputs.bias), output=output)
    assert_close(output, inputs.reference(config), config)
