# SPDX-License-Identifier: Apache-2.0
"""Dependent launch, barriers of clusters, and mbarriers before their first use.

All functions but `with_dependent_launch` emit TIRx statements and are called while a kernel's body is built.
"""

from __future__ import annotations

from typing import Any

from tvm.ir import Call, Op, PointerType, PrimType, StringImm
from tvm.script import tirx as T
from tvm.script.ir_builder import IRBuilder
from tvm.tirx import PrimFunc

__all__ = [
    "DEPENDENT_LAUNCH",
    "LAUNCH_ATTR",
    "arrive",
    "arrive_at_cluster",
    "cluster_rank",
    "expect_bytes",
    "fence_barriers",
    "initialize_barrier",
    "request_memory",
    "trigger_dependent_launch",
    "wait_for_cluster",
    "wait_for_dependency",
    "with_dependent_launch",
]

Expr = Any

#: The launch tag of programmatic dependent launch [sic], and the attribute that TVM reads it from.
LAUNCH_ATTR, DEPENDENT_LAUNCH = "tirx.kernel_launch_params", "tirx.use_programtic_dependent_launch"


def with_dependent_launch(func: PrimFunc) -> PrimFunc:
    """Return a kernel that may begin before the one before it has ended (sm_90)."""
    return func.with_attr(LAUNCH_ATTR, [DEPENDENT_LAUNCH])


def wait_for_dependency() -> None:
    """Emit griddepcontrol.wait: it returns when the kernel before this one has ended and its results are visible."""
    T.evaluate(T.ptx["griddepcontrol.wait"]())


def trigger_dependent_launch() -> None:
    """Emit griddepcontrol.launch_dependents, by which the next kernel may begin.

    It is issued after the wait, so that no kernel begins before the last but one has ended.
    """
    T.evaluate(T.ptx["griddepcontrol.launch_dependents"]())


def cluster_rank(blocks: int) -> Expr:
    """Return this block's rank in its cluster of `blocks`."""
    return T.cta_id_in_cluster([blocks]) if blocks > 1 else 0


def arrive_at_cluster(aligned: bool = False, relaxed: bool = False) -> None:
    """Emit the arrival at the barrier of a cluster's threads.

    Parameters
    ----------
    aligned
        Whether all lanes of a warp come together.
    relaxed
        Whether it only says that this thread has started: its stores need not be visible yet.
    """
    order = "relaxed" if relaxed else "release"
    T.evaluate(T.ptx[f"barrier.cluster.arrive.{order}{'.aligned' if aligned else ''}"]())


def wait_for_cluster(aligned: bool = False) -> None:
    """Emit the wait at the barrier of a cluster's threads, after `arrive_at_cluster`."""
    T.evaluate(T.ptx[f"barrier.cluster.wait.acquire{'.aligned' if aligned else ''}"]())


def request_memory(function: str, name: str, dtype: str, count: int) -> Any:
    """Emit, in host code, the call of a global function that returns memory (`bitquant.workspace`); return its buffer.

    Parameters
    ----------
    function
        Its name; it is called with `count`.
    name
        Of the buffer.
    dtype, count
        What the memory holds: 4 bytes each.
    """
    arguments = [StringImm(function), T.int64(count)]
    call = Call(Op.get("tirx.tvm_call_packed"), arguments, ret_ty=PointerType(PrimType(dtype)))
    pointer = IRBuilder.name(f"{name}_ptr", T.Bind(call, PointerType(PrimType(dtype))))
    return IRBuilder.name(name, T.decl_buffer((count,), dtype, data=pointer))


def initialize_barrier(barrier: Expr, arrivals: int) -> None:
    """Emit the initialization of an mbarrier, which `arrivals` arrivals complete, by one thread."""
    T.evaluate(T.ptx["mbarrier.init.shared::cta.b64"](barrier, T.uint32(arrivals)))


def arrive(barrier: Expr) -> None:
    """Emit an arrival at an mbarrier of this block."""
    T.evaluate(T.ptx["mbarrier.arrive.shared::cta.b64"](barrier))


def expect_bytes(barrier: Expr, count: Expr) -> None:
    """Emit an arrival at an mbarrier that announces `count` bytes to come."""
    T.evaluate(T.ptx["mbarrier.arrive.expect_tx.shared::cta.b64"](barrier, T.uint32(count)))


def fence_barriers() -> None:
    """Emit the fences between the initialization of mbarriers, by the same thread, and the block's synchronization."""
    T.evaluate(T.ptx["fence.mbarrier_init.release.cluster"]())
    T.evaluate(T.ptx["fence.proxy.async.shared::cta"]())
