# SPDX-License-Identifier: Apache-2.0
"""The one list of operands: what stands elsewhere because Python wants it there agrees with it."""

from __future__ import annotations

import inspect

import pytest
import torch

import bitquant as bq
from bitquant.compute.matmul import matmul_dequantize_b
from bitquant.inputs import draw_inputs
from bitquant.operands import ARGUMENTS, EPILOGUE, INPUTS, OPERANDS, OUTPUT, WEIGHT, present, without_epilogue
from bitquant.operator import Operator
from bitquant.testing.generators import cases
from bitquant.testing.oracle import oracle

EVERYTHING = bq.MatmulConfig(
    M=5, N=16, K=64, A_dtype="float16", W_dtype="uint4", out_dtype="bfloat16", group_size=32,
    **{operand.field: True for operand in OPERANDS if operand.field is not None},
)  # fmt: skip


def test_parts_are_the_whole():
    """Each operand is read or written, and what is read is A, part of decode(W), or met by sums."""
    assert (*INPUTS, OUTPUT) == OPERANDS
    assert (INPUTS[0], *WEIGHT, *EPILOGUE) == INPUTS
    assert [operand for operand in OPERANDS if operand.role == "output"] == [OUTPUT]


def test_calls_take_every_operand():
    """`Operator.forward`, torch's operations and the oracle have a parameter for each, and none besides."""
    parameters = inspect.signature(Operator.forward).parameters
    assert set(parameters) == {"self", *ARGUMENTS, OUTPUT.argument}
    assert all(parameters[o.argument].default is None for o in OPERANDS if o.field is not None)
    for name, others in (("matmul", ["problem"]), ("matmul_out", ["output", "problem"])):
        arguments = getattr(torch.ops.bitquant, name).default._schema.arguments
        assert [a.name for a in arguments] == [*ARGUMENTS, *others]
    assert {o.argument for o in EPILOGUE} <= set(inspect.signature(oracle).parameters)


def test_kernels_declare_every_operand():
    """Functions have the operands of their problem as parameters, in this order and of these shapes and types."""
    for config in (EVERYTHING, without_epilogue(EVERYTHING)):
        there = (*present(config), OUTPUT)
        func = matmul_dequantize_b(config, 5)
        assert [str(p.name) for p in func.params][:-1] == [o.name for o in there][:-1]
        for param, operand in zip(func.params, there, strict=True):
            assert tuple(map(int, param.shape)) == operand.shape(config, 5, "plain")
            assert str(param.dtype) == operand.dtype(config, "plain")


def test_no_epilogue_is_left():
    """A problem without an epilogue has none of its operands, and its weight as it was."""
    config = without_epilogue(EVERYTHING)
    assert present(config, EPILOGUE) == ()
    assert present(config, WEIGHT) == WEIGHT


@pytest.mark.parametrize("is_portable", [False, True])
def test_drawn_operands_are_those_of_the_list(is_portable):
    """The generator draws what a problem has, of the right shapes and types, rows and columns of it as well."""
    for config in list(cases())[::7]:
        m = config.M if config.is_static else 3
        inputs = draw_inputs(config, m, torch.Generator().manual_seed(0), is_portable=is_portable)
        stored = inputs.stored("plain")
        assert list(stored) == [o.argument for o in present(config)]
        for operand in present(config):
            tensor = stored[operand.argument]
            assert tuple(tensor.shape) == operand.shape(config, m, "plain")
            assert tensor.dtype is operand.torch_dtype(config)
        assert (inputs.zero_points is not None) == (is_portable and config.with_zeros)
        few = inputs.rows(slice(1)).columns(torch.arange(min(config.N, 8)))
        for operand in present(few.config):
            if operand.argument not in ("W", "zeros"):
                assert tuple(few.given[operand.argument].shape) == operand.shape(few.config, 1, "plain")
        assert few.decoded(slice(1)).shape == (1, config.K)
