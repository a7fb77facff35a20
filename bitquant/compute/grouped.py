# SPDX-License-Identifier: Apache-2.0
"""The meaning of a grouped problem as a tensor expression: B_decode, Expert, C, D, with an expert index.

`Expert` says which weight a row, or a slot, meets; E stands for none. Kernels written by hand call `slot_value` and
`rounded_output`, as this does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import te, tirx

from bitquant.compute.activation import activated
from bitquant.compute.matmul import cast_output, decode_weight, epilogue_value, placeholder, tag
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.layouts import WeightLayout
from bitquant.operands import GROUPED_OPERANDS, Operand, present

__all__ = [
    "OfExpert",
    "activated_slot_value",
    "grouped_matmul_dequantize_b",
    "of_expert",
    "rounded_output",
    "slot_value",
]

Expr = Any


class OfExpert:
    """An operand of all experts, as that of one: what is indexed by [row, column] with the expert in front.

    The index of the expert has 64 bits: weights of all experts may have more than 2^31 elements.
    """

    def __init__(self, operand: Any, expert: Expr) -> None:
        self.operand, self.expert = operand, expert

    def __getitem__(self, place: tuple[Expr, Expr]) -> Expr:
        row, column = place
        return self.operand[self.expert, row, column]

    def ptr_to(self, place: Sequence[Expr]) -> Expr:
        """Return the pointer to [row, column], of operands that are buffers."""
        return self.operand.ptr_to([self.expert, *place])


def of_expert(operand: Any, expert: Expr) -> OfExpert | None:
    """Return an operand of all experts as that of one, or None where there is none."""
    return None if operand is None else OfExpert(operand, expert.astype("int64"))


def slot_value(config: GroupedMatmulConfig, c: Expr, weight: Expr | None, **epilogue: Expr) -> tuple[Expr, str]:
    """Return what a slot adds to an output, or is, and its type: (c * factors + bias) * routing weight.

    With an activation `activated_slot_value` does.

    Parameters
    ----------
    config
        The problem.
    c
        The sum, of type ``config.matmul.reduce_dtype``.
    weight
        RoutingWeights[t, j], float32; None where there is none.
    **epilogue
        As for `bitquant.compute.matmul.output_value`.
    """
    value, dtype = epilogue_value(config.matmul, c, **epilogue)
    if weight is not None or (config.reduces_slots and dtype != "float32"):
        value, dtype = value.astype("float32"), "float32"
    return (value if weight is None else value * weight), dtype


def activated_slot_value(
    config: GroupedMatmulConfig,
    gate: Expr,
    up: Expr,
    weight: Expr | None,
    reciprocal: Callable[[Expr], Expr] | None = None,
) -> tuple[Expr, str]:
    """Return what a slot adds to an output, or is, and its type: act(gate, up) * routing weight.

    Parameters
    ----------
    config
        The problem, with an activation.
    gate, up
        `bitquant.compute.matmul.epilogue_value` of the two sums; they stand in the value several times.
    weight
        RoutingWeights[t, j], float32; None where there is none.
    reciprocal
        As for `bitquant.compute.activation.activated`.
    """
    value = activated(config, gate, up, reciprocal)
    return (value if weight is None else value * weight), "float32"


def rounded_output(config: GroupedMatmulConfig, value: Expr, dtype: str) -> Expr:
    """Return a value of `slot_value`, or a sum of them in float32, in the type of the output."""
    return cast_output(value, dtype, config.out_format.tvm_dtype)


def grouped_matmul_dequantize_b(
    config: GroupedMatmulConfig, rung: int, decode_dtype: str | None = None, layout: WeightLayout = "plain"
) -> tvm.tirx.PrimFunc:
    """Return a grouped product as an unscheduled prim_func; `GroupedMatmulConfig` has the formula.

    Parameters
    ----------
    config, rung, decode_dtype, layout
        As for `bitquant.compute.matmul.matmul_dequantize_b`.

    Returns
    -------
    PrimFunc
        Parameters: the operands that the config has, in the order of `bitquant.operands.GROUPED_OPERANDS`. Blocks:
        B_decode (all experts), Expert (of each row or slot), C (the reduction), H (with an activation: what it is of),
        P (where slots are summed: theirs), D. Rows that belong to no expert are zeros here.
    """
    one = config.matmul
    E, N, K = config.num_experts, config.N, config.K
    M = rung if config.has_fixed_rows(rung) else tirx.Var("m", "int32")
    given: dict[str, Expr] = {o.name: placeholder(o, config, M, layout) for o in present(config)}
    A, B = given["A"], given["B"]
    slots = config.slots_of("slots")
    dtype = decode_dtype or one.decode_dtype
    reduce_dtype = one.reduce_dtype

    def weight(e: Expr, n: Expr, k: Expr) -> Expr:
        stored, scale, zeros = (of_expert(given.get(name), e) for name in ("B", "Scale", "Zeros"))
        return decode_weight(one, stored, scale, zeros, n, k, dtype, layout)

    needs_decode = one.needs_decode or layout != "plain"
    B_decode = te.compute((E, N, K), weight, name="B_decode") if needs_decode else B
    if config.is_indexed:
        ids, none = given["ExpertIds"], tirx.const(E, "uint32")
        # Without a sign, what is negative is large.
        Expert = te.compute(
            (M, *slots), lambda t, j: tirx.min(ids[t, j].astype("uint32"), none).astype("int32"), name="Expert"
        )
    else:
        offsets, e = given["Offsets"], te.reduce_axis((0, E), name="e")
        # Rows that stand behind the end of e experts are those of expert e.
        Expert = te.compute((M,), lambda s: te.sum((offsets[e] <= s).astype("int32"), axis=e), name="Expert")
    k = te.reduce_axis((0, K), name="k")

    def named(value: Callable[..., Expr]) -> Callable[..., Expr]:
        """Return a function of a row, or slot, and a column with the names that axes have in the formulas."""

        def of_slot(t: Expr, j: Expr, n: Expr) -> Expr:
            return value(t, j, n)

        def of_row(s: Expr, n: Expr) -> Expr:
            return value(s, n)

        return of_slot if config.is_indexed else of_row

    def row(operand: Operand, place: tuple[Expr, ...]) -> Expr:
        """Return the element of an operand by rows of A, of a token or of its slot."""
        dims = 1 + len(config.slots_of(config.A_rows))
        return given[operand.name][place[:dims]]

    def product(*place: Expr) -> Expr:
        *slot, n = place
        e = tirx.min(Expert[tuple(slot)], E - 1)
        in_A = (*slot[: 1 + len(config.slots_of(config.A_rows))], k)
        a = one.A_format.value(A[in_A], reduce_dtype)
        b = B_decode[e, n, k]
        b = b.astype(reduce_dtype) if needs_decode else one.W_format.value(b, reduce_dtype)
        return te.sum(a * b, axis=k)

    C = te.compute((M, *slots, N), named(product), name="C")

    def epilogue(slot: tuple[Expr, ...], n: Expr) -> dict[str, Expr]:
        inside = tirx.min(Expert[slot], E - 1)
        return {
            o.argument: row(o, slot) if o.rows == "A" else given[o.name][inside, n]
            for o in present(config, GROUPED_OPERANDS)
            if o.role in ("factor", "addend")
        }

    if config.activation is not None:

        def argument(*place: Expr) -> Expr:
            *slot, n = place
            return epilogue_value(one, C[place], **epilogue(tuple(slot), n))[0]

        H = te.compute((M, *slots, N), named(argument), name="H")

    def valued(*place: Expr) -> tuple[Expr, Expr, str]:
        """Return whether a slot has an expert, its value, and the type of that."""
        *before, n = place
        slot = tuple(before)
        routing = given["RoutingWeights"][slot] if config.with_routing_weights else None
        if config.activation is None:
            value, value_dtype = slot_value(config, C[place], routing, **epilogue(slot, n))
        else:
            gate, up = (H[slot + (2 * n + i,)] for i in range(2))  # noqa: RUF005 - no star in an index before 3.11
            value, value_dtype = activated_slot_value(config, gate, up, routing)
        return Expert[slot] < E, value, value_dtype

    def output(*place: Expr) -> Expr:
        has_expert, value, value_dtype = valued(*place)
        out = rounded_output(config, value, value_dtype)
        # No Select, whose operands are all read: its condition would take the clamp out of their indices.
        return tirx.if_then_else(has_expert, out, tirx.const(0, config.out_format.tvm_dtype))

    if config.reduces_slots:

        def partial(*place: Expr) -> Expr:
            has_expert, value, _ = valued(*place)
            return tirx.if_then_else(has_expert, value, tirx.const(0, "float32"))

        P = te.compute((M, *slots, config.columns), named(partial), name="P")
        j = te.reduce_axis((0, config.top_k), name="j")
        summed = te.compute((M, config.columns), lambda t, n: te.sum(P[t, j, n], axis=j), name="S")
        D = te.compute((M, config.columns), lambda t, n: rounded_output(config, summed[t, n], "float32"), name="D")
    else:
        D = te.compute((M, *slots, config.columns), named(output), name="D")
    func = te.create_prim_func([*given.values(), D])
    return tag(func, config, rung, layout)
