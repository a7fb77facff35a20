# SPDX-License-Identifier: Apache-2.0
"""Which children of a module take one and the same input: read from the source of its ``forward``."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import torch

__all__ = ["children_of_one_input"]

#: Attributes of a tensor that say what it is. To read them changes nothing.
_QUESTIONS = frozenset({"shape", "dtype", "device", "ndim", "size", "dim", "numel"})
#: Code in these may run later, several times or not at all.
_LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.comprehension, ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef)


def children_of_one_input(module: torch.nn.Module) -> list[tuple[str, ...]]:
    """Return the names of children that a module calls with the same variable, each set in the order of the calls.

    That is so where ``forward`` says ``self.a(x)`` and ``self.b(x)``, outside of loops, and between the first such call
    and the last one nothing can change x: x is read for nothing but these calls and its shape, type and device;
    there is no assignment to x, no operation in place, and no ``out=``. What cannot be read, such as a ``forward``
    without source, has no such children.
    """
    # Where accelerate has put a hook around it, it keeps the one before under this name.
    forward: Any = vars(module).get("_old_forward", module.forward)
    function = inspect.unwrap(getattr(forward, "__func__", forward))
    return list(_sets(function)) if inspect.isfunction(function) else []


@functools.lru_cache(maxsize=256)
def _sets(function: Callable[..., Any]) -> tuple[tuple[str, ...], ...]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ()
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef) or not definition.args.args:
        return ()
    owner = definition.args.args[0].arg
    calls: dict[str, list[tuple[str, ast.Call]]] = {}
    for node in _straight(definition):
        if (found_call := _call_of_a_child(node, owner)) is not None:
            child, variable, call = found_call
            calls.setdefault(variable, []).append((child, call))
    found = []
    for variable, members in calls.items():
        members.sort(key=lambda member: _place(member[1]))
        names = tuple(dict.fromkeys(child for child, _ in members))
        if len(names) > 1 and _is_constant(definition, variable, [call for _, call in members]):
            found.append(names)
    return tuple(found)


def _straight(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function that are evaluated once at most."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _LOOPS):
            yield child
            yield from _straight(child)


def _call_of_a_child(node: ast.AST, owner: str) -> tuple[str, str, ast.Call] | None:
    """Return (child, variable, node) of ``self.child(variable)``."""
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id=name), attr=child), args=[ast.Name(id=variable)], keywords=[]
        ) if name == owner:
            return child, variable, node
    return None


def _place(node: Any) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _is_constant(definition: ast.FunctionDef, variable: str, calls: list[ast.Call]) -> bool:
    """Return whether nothing can change a variable, or what it holds, between the first call with it and the last."""
    first, last = _place(calls[0]), _place(calls[-1])
    allowed = {id(call.args[0]) for call in calls}
    places: dict[int, tuple[int, int]] = {}
    for node in ast.walk(definition):
        match node:
            case ast.Attribute(value=ast.Name(id=name) as base, attr=attr) if name == variable and attr in _QUESTIONS:
                allowed.add(id(base))
            case ast.Assign() | ast.AnnAssign() | ast.NamedExpr():  # Names are bound after the value is there.
                end = (node.end_lineno or 0, node.end_col_offset or 0)
                places.update({id(n): end for n in ast.walk(node) if isinstance(getattr(n, "ctx", None), ast.Store)})
    for node in ast.walk(definition):
        if not hasattr(node, "lineno") or not first <= places.get(id(node), _place(node)) <= last:
            continue
        match node:
            case ast.Name(id=name) if name == variable and id(node) not in allowed:
                return False
            case ast.AugAssign() | ast.Subscript(ctx=ast.Store() | ast.Del()):
                return False
            case ast.With() | ast.AsyncWith() | ast.Yield() | ast.YieldFrom() | ast.Await():
                return False
            case ast.Call(func=ast.Attribute(attr=attr)) if attr.endswith("_") or attr == "set_stream":
                return False
            case ast.Call(keywords=keywords) if any(keyword.arg == "out" for keyword in keywords):
                return False
    return True
