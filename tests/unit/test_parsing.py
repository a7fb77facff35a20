# SPDX-License-Identifier: Apache-2.0
"""The decorator that parses kernels."""

from __future__ import annotations

import inspect

import pytest
import tvm
from tvm.script import tirx as T
from tvm.target import Target

import bitquant as bq
from bitquant.compute import select_implementation
from bitquant.schedule import parsing, schedule_module


def test_functions_are_those_of_tvm():
    """With variables of the function around them, also such that only annotations name; with options, too."""
    size, factor = 8, 2.0

    @parsing.prim_func
    def ours(A: T.Buffer((size,), "float32"), B: T.Buffer((size,), "float32")):
        for i in range(8):
            B[i] = A[i] * factor

    @T.prim_func
    def theirs(A: T.Buffer((size,), "float32"), B: T.Buffer((size,), "float32")):
        for i in range(8):
            B[i] = A[i] * factor

    @parsing.prim_func(s_tir=True)
    def ours_with_blocks(A: T.Buffer((size,), "float32")):
        for i in range(8):
            A[i] = T.float32(factor)

    @T.prim_func(s_tir=True)
    def theirs_with_blocks(A: T.Buffer((size,), "float32")):
        for i in range(8):
            A[i] = T.float32(factor)

    for mine, other in ((ours, theirs), (ours_with_blocks, theirs_with_blocks)):
        tvm.ir.assert_structural_equal(mine.without_attr("global_symbol"), other.without_attr("global_symbol"))
    assert ours.attrs["global_symbol"] == ours.__name__ == "ours"


def test_kernels_are_parsed_without_the_lines_of_all_callers(monkeypatch):
    """Most of the time to schedule a small kernel was theirs."""

    def refused(*arguments):
        pytest.fail("the source of all callers is looked up")

    unscheduled = select_implementation(bq.MatmulConfig(M=1, N=64, K=64, A_dtype="float32", W_dtype="uint4"))
    with monkeypatch.context() as patch:
        patch.setattr(inspect, "getouterframes", refused)
        schedule_module(unscheduled, Target("llvm"))
