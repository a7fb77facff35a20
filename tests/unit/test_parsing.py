# SPDX-License-Identifier: Apache-2.0
"""The call stack that TVM's parser is given."""

from __future__ import annotations

import inspect

import pytest
from tvm.ir import IRModule
from tvm.script import ir as I
from tvm.script import tirx as T
from tvm.target import Target

import bitquant as bq
from bitquant.compute import select_implementation
from bitquant.schedule import schedule_module
from bitquant.schedule.parsing import stack


def test_callers_are_those_that_inspect_finds():
    """Frames, places and lines."""
    mine, theirs = stack(), inspect.stack()
    assert [(c.frame, c.filename, c.lineno, c.function) for c in mine] == [tuple(c)[:4] for c in theirs]
    assert [c.code_context for c in mine] == [c.code_context for c in theirs]


def test_kernels_are_parsed_without_the_lines_of_all_callers(monkeypatch):
    """Most of the time to schedule a small kernel was theirs."""

    def refused(*arguments):
        pytest.fail("the source of all callers is looked up")

    unscheduled = select_implementation(bq.MatmulConfig(M=1, N=64, K=64, A_dtype="float32", W_dtype="uint4"))
    with monkeypatch.context() as patch:
        patch.setattr(inspect, "getouterframes", refused)
        schedule_module(unscheduled, Target("llvm"))


def test_functions_of_a_class_are_parsed_with_it():
    """The line of a caller says so; a variable of the function around is found, too."""
    size = 8

    @I.ir_module
    class Module:
        @T.prim_func
        def copy(A: T.Buffer((size,), "float32"), B: T.Buffer((size,), "float32")):
            for i in range(size):
                B[i] = A[i]

    assert isinstance(Module, IRModule)
    assert "A: T.Buffer((8,)" in Module.script()
