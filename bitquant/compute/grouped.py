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
from bitquant.operands import GROUPED_OPERANDS, present

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

    def of(self, expert: Expr) -> OfExpert:
        """Return the operand as that of another expert."""
        return OfExpert(self.operand, expert.astype("int64"))

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
    return tag(_Definition(config, rung, decode_dtype, layout).function(), config, rung, layout)


class _Definition:
    """The stages of the definition. A place is (s, n), or (t, j, n) where rows are indexed; without n it is a slot."""

    def __init__(self, config: GroupedMatmulConfig, rung: int, decode_dtype: str | None, layout: WeightLayout) -> None:
        self.config, self.one, self.layout = config, config.matmul, layout
        self.rows = rung if config.has_fixed_rows(rung) else tirx.Var("m", "int32")
        self.given: dict[str, Expr] = {o.name: placeholder(o, config, self.rows, layout) for o in present(config)}
        self.slots, self.slots_of_A = config.slots_of("slots"), config.slots_of(config.A_rows)
        self.decode_dtype = decode_dtype or self.one.decode_dtype
        self.needs_decode = self.one.needs_decode or layout != "plain"

    def function(self) -> tvm.tirx.PrimFunc:
        """Return the function of all stages."""
        config = self.config
        self.B_decode = self.decoded() if self.needs_decode else self.given["B"]
        self.Expert = self.expert_of_slot() if config.is_indexed else self.expert_of_row()
        self.k = te.reduce_axis((0, config.K), name="k")
        self.C = self.stage("C", config.N, self.product)
        if config.activation is not None:
            self.H = self.stage("H", config.N, self.argument)
        D = self.sums_of_slots() if config.reduces_slots else self.stage("D", config.columns, self.output)
        return te.create_prim_func([*self.given.values(), D])

    def stage(self, name: str, columns: int, value: Callable[..., Expr]) -> Expr:
        """Return a stage with an element for each place, whose axes have the names that they have in the formulas."""

        def of_slot(t: Expr, j: Expr, n: Expr) -> Expr:
            return value(t, j, n)

        def of_row(s: Expr, n: Expr) -> Expr:
            return value(s, n)

        named = of_slot if self.config.is_indexed else of_row
        return te.compute((self.rows, *self.slots, columns), named, name=name)

    # Weights and experts.

    def decoded(self) -> Expr:
        """Return the stage of the decoded weights of all experts."""

        def weight(e: Expr, n: Expr, k: Expr) -> Expr:
            stored, scale, zeros = (of_expert(self.given.get(name), e) for name in ("B", "Scale", "Zeros"))
            return decode_weight(self.one, stored, scale, zeros, n, k, self.decode_dtype, self.layout)

        return te.compute((self.config.num_experts, self.config.N, self.config.K), weight, name="B_decode")

    def expert_of_slot(self) -> Expr:
        """Return the stage of each slot's expert, where rows are indexed."""
        ids, none = self.given["ExpertIds"], tirx.const(self.config.num_experts, "uint32")
        # Without a sign, what is negative is large.
        return te.compute(
            (self.rows, *self.slots),
            lambda t, j: tirx.min(ids[t, j].astype("uint32"), none).astype("int32"),
            name="Expert",
        )

    def expert_of_row(self) -> Expr:
        """Return the stage of each row's expert, where rows are sorted."""
        offsets, e = self.given["Offsets"], te.reduce_axis((0, self.config.num_experts), name="e")
        # Rows that stand behind the end of e experts are those of expert e.
        return te.compute((self.rows,), lambda s: te.sum((offsets[e] <= s).astype("int32"), axis=e), name="Expert")

    # Values of places.

    def product(self, *place: Expr) -> Expr:
        """Return the sum over K."""
        *slot, n = place
        e = tirx.min(self.Expert[tuple(slot)], self.config.num_experts - 1)
        in_A = (*slot[: 1 + len(self.slots_of_A)], self.k)
        dtype = self.one.reduce_dtype
        a = self.one.A_format.value(self.given["A"][in_A], dtype)
        b = self.B_decode[e, n, self.k]
        b = b.astype(dtype) if self.needs_decode else self.one.W_format.value(b, dtype)
        return te.sum(a * b, axis=self.k)

    def epilogue(self, slot: tuple[Expr, ...], n: Expr) -> dict[str, Expr]:
        """Return what `slot_value` needs, by the names of its parameters."""
        inside = tirx.min(self.Expert[slot], self.config.num_experts - 1)
        in_A = slot[: 1 + len(self.slots_of_A)]
        return {
            o.argument: self.given[o.name][in_A] if o.rows == "A" else self.given[o.name][inside, n]
            for o in present(self.config, GROUPED_OPERANDS)
            if o.role in ("factor", "addend")
        }

    def argument(self, *place: Expr) -> Expr:
        """Return an argument of the activation."""
        *slot, n = place
        return epilogue_value(self.one, self.C[place], **self.epilogue(tuple(slot), n))[0]

    def valued(self, *place: Expr) -> tuple[Expr, Expr, str]:
        """Return whether a slot has an expert, its value, and the type of that."""
        config, (*before, n) = self.config, place
        slot = tuple(before)
        routing = self.given["RoutingWeights"][slot] if config.with_routing_weights else None
        if config.activation is None:
            value, dtype = slot_value(config, self.C[place], routing, **self.epilogue(slot, n))
        else:
            gate, up = (self.H[slot + (2 * n + i,)] for i in range(2))  # noqa: RUF005 - no star in an index before 3.11
            value, dtype = activated_slot_value(config, gate, up, routing)
        return self.Expert[slot] < config.num_experts, value, dtype

    def output(self, *place: Expr) -> Expr:
        """Return an element of D where it is that of a row or slot."""
        has_expert, value, dtype = self.valued(*place)
        out = rounded_output(self.config, value, dtype)
        # No Select, whose operands are all read: its condition would take the clamp out of their indices.
        return tirx.if_then_else(has_expert, out, tirx.const(0, self.config.out_format.tvm_dtype))

    def partial(self, *place: Expr) -> Expr:
        """Return what a slot adds to an element of D."""
        has_expert, value, _ = self.valued(*place)
        return tirx.if_then_else(has_expert, value, tirx.const(0, "float32"))

    def sums_of_slots(self) -> Expr:
        """Return D where it is the sums of the slots of each token."""
        shape = self.rows, self.config.columns
        P = self.stage("P", self.config.columns, self.partial)
        j = te.reduce_axis((0, self.config.top_k), name="j")
        summed = te.compute(shape, lambda t, n: te.sum(P[t, j, n], axis=j), name="S")
        return te.compute(shape, lambda t, n: rounded_output(self.config, summed[t, n], "float32"), name="D")
