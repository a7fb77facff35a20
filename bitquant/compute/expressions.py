# SPDX-License-Identifier: Apache-2.0
"""The tensor expressions of a problem as text."""

from __future__ import annotations

import re
from typing import Any

import tvm
import tvm_ffi

from bitquant.compute.matmul import symbol
from bitquant.config import MatmulConfig
from bitquant.grouped_config import GroupedMatmulConfig

__all__ = ["te_source"]


def te_source(config: MatmulConfig | GroupedMatmulConfig, mod: Any) -> str:
    """Return the tensor expressions of a problem as a Python program in TVM's TE.

    TE graphs have no text of their own. This one is read back from the unscheduled functions, where
    `te.create_prim_func` has written one block for each `te.compute`. Run, the program makes the same functions.

    Parameters
    ----------
    config
        The problem.
    mod
        Its unscheduled module; rungs that it does not have are left out.
    """
    texts: dict[str, list[int]] = {}
    present = {var.name_hint for var in mod.get_global_vars()}
    names = {rung: symbol(rung, config.operation) for rung in config.ladder}
    for rung in (rung for rung in config.ladder if names[rung] in present):
        # Rungs differ in whether m is symbolic, and in no more.
        texts.setdefault(_te_statements(mod[names[rung]]), []).append(rung)
    lines = [
        f"# {config}",
        f"# {config.problem_summary()}",
        "from tvm import te, tirx",
        "from tvm.script import tirx as T",
    ]
    for text, rungs in texts.items():
        where = f"m == {rungs[0]}" if config.is_static else f"m <= {', '.join(map(str, rungs))}"
        lines += ["", f"# {where}", text]
    return "\n".join(lines)


def _te_statements(func: Any) -> str:
    *inputs, D = func.params
    lines = []
    if not (rows := str(inputs[0].shape[0])).isdigit():
        lines.append(f'{rows} = tirx.Var("{rows}", "int32")')
    lines += [f'{p.name} = te.placeholder({_shape(p)}, "{p.dtype}", name="{p.name}")' for p in inputs]
    for block in _blocks(func):
        store = block.body
        axes = {_bare(axis.var.name): (axis, str(axis.dom.extent)) for axis in block.iter_vars}
        spatial = [name for name, (axis, _) in axes.items() if axis.iter_type == axis.DataPar]
        reduced = [name for name in axes if name not in spatial]
        lines += [f'{name} = te.reduce_axis((0, {axes[name][1]}), name="{name}")' for name in reduced]
        # The body of a reduction adds to what the element holds: C[i, j] + (what is summed).
        expression = store.value.b if reduced else store.value
        value = _bare(expression.script())
        lines += [f'{name} = tirx.Var("{name}", "{dtype}")' for name, dtype in _let_variables(expression, value)]
        if reduced:
            value = f"te.sum({value}, axis={', '.join(reduced)})"
        name = store.buffer.name
        lines += [
            f"{name} = te.compute(  # {store.buffer.dtype}",
            f"    {_shape(store.buffer)},",
            f"    lambda {', '.join(spatial)}: {value},",
            f'    name="{name}",',
            ")",
        ]
    arguments = ", ".join(p.name for p in (*inputs, D))
    lines.append(f"func = te.create_prim_func([{arguments}])")
    return "\n".join(lines)


def _blocks(func: Any) -> list[Any]:
    """Return the blocks of an unscheduled function in their order."""
    body = func.body.block.body
    blocks = []
    for loops in body.seq if hasattr(body, "seq") else [body]:
        inner = loops
        while not hasattr(inner, "block"):
            inner = inner.body
        blocks.append(inner.block)
    return blocks


def _let_variables(expression: Any, text: str) -> list[tuple[str, str]]:
    """Return names, as they stand in the text, and types of the variables that an expression binds."""
    dtypes: dict[str, str] = {}

    def note(let: Any) -> None:
        dtypes[let.var.name] = str(let.var.ty.dtype)

    tvm_ffi.structural_walk(expression, (tvm.tirx.Let, note))
    # The printer numbers variables of one name: code, code_1.
    names = dict.fromkeys(re.findall(r"where=\{(\w+):", text))
    return [(name, dtypes[re.sub(r"_\d+$", "", name)]) for name in names]


def _shape(tensor: Any) -> str:
    return f"({', '.join(map(str, tensor.shape))}{',' if len(tensor.shape) == 1 else ''})"


def _bare(text: str) -> str:
    """Return an expression with the names of TE's axes; `create_prim_func` puts "v_" before them."""
    return re.sub(r"\bv_(?=\w)", "", text)
