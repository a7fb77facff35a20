# SPDX-License-Identifier: Apache-2.0
"""Dispatch of a call: to a kernel if it is plain and eager, else to the registered operation.

Traces, transforms of torch.func, autograd, modes and subclasses of tensors need the operation (`call.is_intercepted`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

from bitquant.errors import CallError
from bitquant.operands import ARGUMENTS
from bitquant.operator import torch_op
from bitquant.operator.call import functorch_level, is_intercepted, needs_gradient
from bitquant.operator.registry import Registered
from bitquant.operator.signature import Operands, Signature
from bitquant.operator.tokens import check_tokens, compute_tokens, token_format
from bitquant.operator.torch_op import DirectMatmul, check_decoded_dtype, matmul

__all__ = ["dequantize", "dispatch", "is_exporting", "may_have_gradient", "quantize_tokens", "straight_through"]


def is_exporting() -> bool:
    """Return whether torch.export traces this, and not torch.compile alone.

    In a trace, torch.compiler.is_exporting says so of torch.compile as well before torch 2.13.
    """
    return torch.compiler._is_exporting_flag


def may_have_gradient(*tensors: torch.Tensor) -> bool:
    """Return whether a gradient may be asked for that passes through these tensors.

    In a trace, an exported program or below a transform of torch.func that cannot be known yet: it may.
    """
    if is_exporting():
        return True
    if torch.compiler.is_compiling():
        return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return is_intercepted(tensors) or needs_gradient(tensors)


def dispatch(operator: Registered, problem: str, operands: Operands, output: torch.Tensor | None) -> torch.Tensor:
    """Compute a call whose operands may be anything: with a kernel where it is plain, else as the registered operation.

    Raises
    ------
    CallError
        As `Operator.forward`.
    """
    A, *others = operands
    operands = (_autocast(A, operator.signature), *others)
    is_compiling = torch.compiler.is_compiling()
    if not is_compiling:
        if all(t is None or isinstance(t, torch.Tensor) for t in (*operands, output)):
            if not is_intercepted((*operands, output)):
                if not needs_gradient((*operands, output)):
                    return operator.launch(operands, output)
                if output is None:
                    return DirectMatmul.apply(*operands, problem, operator)
        elif not torch.overrides.has_torch_function(operands):
            operator.signature.check(operands, output)  # Something is no tensor; this says what.
        _refuse_tangents(dict(zip(ARGUMENTS, operands, strict=True)))
    if output is None:
        return matmul(*operands, problem)
    if not is_compiling and functorch_level() is not None:
        return output.copy_(matmul(*operands, problem))  # torch.func has no rule for what writes.
    torch.ops.bitquant.matmul_out(*operands, output, problem)
    return output


def dequantize(
    operator: Registered,
    problem: str,
    W: torch.Tensor,
    scale: torch.Tensor | None,
    zeros: torch.Tensor | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Return decode(W), as the registered operation.

    Raises
    ------
    CallError
        As `Operator.dequantize`.
    """
    if not torch.compiler.is_compiling():
        for tensor in (W, scale, zeros):
            if tensor is not None and not isinstance(tensor, torch.Tensor):
                operator.signature.check_weight(W, scale, zeros)
        check_decoded_dtype(dtype)
    return torch_op.dequantize(W, scale, zeros, dtype, problem)


def quantize_tokens(
    x: torch.Tensor, weight_scale: torch.Tensor | None, dtype: Any, least: float, inverse: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Round tokens to 8 bits: with a kernel where torch only computes, else as the registered operation.

    Under torch.compile it is the operation, too. From operations of torch Inductor would make one kernel together with
    what computes x (a norm, say), and save a pass over x. But it divides approximately on a GPU and contracts products
    with sums, so that compiled and eager results would differ.

    Raises
    ------
    CallError
        As `bitquant.nn.activations.quantize_tokens`.
    """
    torch_dtype = token_format(dtype).torch_dtype
    if not torch.compiler.is_compiling():
        if not isinstance(x, torch.Tensor) or not isinstance(weight_scale, (torch.Tensor, type(None))):
            check_tokens(x, weight_scale, torch_dtype, least, inverse)  # Something is no tensor; this says what.
        if not is_intercepted((x, weight_scale)):
            return compute_tokens(x, weight_scale, torch_dtype, least, inverse)
    scale = None if weight_scale is None else weight_scale.detach()
    result: tuple[torch.Tensor, torch.Tensor] = torch_op.quantize_tokens(x.detach(), scale, torch_dtype, least, inverse)
    return result


def _refuse_tangents(tensors: dict[str, Any]) -> None:
    """Raise for an operand with a tangent: forward-mode differentiation would lose it."""
    if forward_ad._current_level < 0:
        return
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor) and forward_ad.unpack_dual(tensor).tangent is not None:
            raise CallError(
                f"{name!r} has no forward-mode gradient (got a tensor with a tangent); "
                "use torch.func.vjp, jacrev or .backward()"
            )


def _autocast(A: Any, signature: Signature) -> Any:
    """Return A in the type that the operator multiplies, where autocast would cast it for torch.nn.Linear.

    Raises
    ------
    CallError
        If autocast wants another type than the operator multiplies.
    """
    wanted = signature.A_dtype
    if (
        not isinstance(A, torch.Tensor)
        or A.dtype is wanted
        or A.is_meta  # For which torch has no autocast, and raises.
        or not torch.is_autocast_enabled(A.device.type)
        or wanted.itemsize == 1
        or A.dtype not in (torch.float16, torch.bfloat16, torch.float32)  # As autocast, which leaves float64.
    ):
        return A
    cast_type = torch.get_autocast_dtype(A.device.type)
    if wanted not in (cast_type, torch.float32):
        raise CallError(
            f"'A' must be of type {wanted} (got {A.dtype}, which autocast makes {cast_type}); "
            f"use autocast(dtype={wanted}), or construct with A_dtype={str(cast_type).removeprefix('torch.')!r}"
        )
    return A.to(wanted)


def straight_through(
    x: torch.Tensor,
    D: torch.Tensor,
    weight: torch.Tensor,
    problem: str | None = None,
    *,
    scale: torch.Tensor | None = None,
    zeros: torch.Tensor | None = None,
    channel_scale: torch.Tensor | None = None,
    weight_scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return D, with the gradient for x that it would have had if x had not been rounded.

    ::

        dx = (dD * channel_scale) x decode(weight) / weight_scale

    Parameters
    ----------
    x
        (..., K), what was rounded.
    D
        (..., N), what came of it.
    weight
        (N, K), or, as the operator of `problem` stores it, what decodes to that with `scale` and `zeros`.
    problem
        `Operator.problem`; None where `weight` is not stored.
    scale, zeros
        As the operator of `problem` takes them.
    channel_scale, weight_scale
        (N,) and (1,) float32; None: 1.

    Raises
    ------
    CallError
        If x has a tangent.
    """
    if not torch.compiler.is_compiling():
        _refuse_tangents({"x": x})
    return torch_op.straight_through(x, D, weight, scale, zeros, channel_scale, weight_scale, problem)
