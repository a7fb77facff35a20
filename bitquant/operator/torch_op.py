"""What torch knows of bitquant: the registered operations, their shapes, gradients and rule of vmap.

=============================  =======================================================================================
bitquant::matmul               D = A x decode(W)^T (* activation_scale) (* channel_scale) (+ bias), as a new tensor
bitquant::matmul_out           the same, written to a given tensor
bitquant::dequantize           decode(W), (N, K)
=============================  =======================================================================================

Each takes the *problem* as its last argument: a text that says what is computed, for which architecture and in which
layout the weight is stored. A program that torch.export or torch.compile keeps holds nothing else of an operator, so
that it runs in another process, where the operator is made again: from the disk cache, or compiled.

Gradients. For dD, the gradient of D::

    dA = (dD * activation_scale * channel_scale) x decode(W)          dbias = sum of dD over rows

W, scales and zero points have none, and A of 8 bits neither: a call that asks for one is an error.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.autograd import forward_ad

from bitquant.errors import CallError
from bitquant.operator.call import functorch_level, is_plain_call
from bitquant.operator.signature import Operands, Signature

__all__ = ["Registered", "dispatch", "register", "set_rebuild"]


class Registered(Protocol):
    """What an operation needs of an operator."""

    signature: Signature

    def compute(self, operands: Operands, output: torch.Tensor | None = None) -> torch.Tensor:
        """Compute a call with tensors that hold memory."""

    def compute_weight(
        self, W: torch.Tensor, scale: torch.Tensor | None, zeros: torch.Tensor | None, dtype: torch.dtype
    ) -> torch.Tensor:
        """Return decode(W), (N, K), in `dtype`."""


#: Live operators by their problem. It keeps nothing alive.
_live: weakref.WeakValueDictionary[str, Registered] = weakref.WeakValueDictionary()
#: Operators that a program of another process asked for, by their problem; they stay, as that program may.
_rebuilt: dict[str, Registered] = {}
_rebuild: list[Callable[[str], Registered]] = []


def register(problem: str, operator: Registered) -> None:
    """Let operations find an operator by its problem. Of several with the same one, the first that lives serves."""
    _live.setdefault(problem, operator)


def set_rebuild(rebuild: Callable[[str], Registered]) -> None:
    """Set the function that makes the operator of a problem where none lives."""
    _rebuild[:] = [rebuild]


def _operator(problem: str) -> Registered:
    if (operator := _live.get(problem)) is not None:
        return operator
    if problem not in _rebuilt:
        _rebuilt[problem] = _rebuild[0](problem)
    return _rebuilt[problem]


# Calling.


def dispatch(operator: Registered, problem: str, operands: Operands, output: torch.Tensor | None) -> torch.Tensor:
    """Compute a call whose operands may be anything: with a kernel where it is plain, else as the registered operation.

    Raises
    ------
    CallError
        As `Operator.forward`.
    """
    operands = operands._replace(A=_autocast(operands.A, operator.signature))
    if not torch.compiler.is_compiling():
        _refuse_tangents(operands)
        if all(t is None or isinstance(t, torch.Tensor) for t in (*operands, output)):
            if is_plain_call(operands, output):
                return operator.compute(operands, output)
        elif not torch.overrides.has_torch_function(tuple(operands)):
            operator.signature.check(operands, output)  # Something is no tensor; this says what.
    if output is None:
        return (_Transformed.apply if _is_transformed() else torch.ops.bitquant.matmul)(*operands, problem)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*operands, output)):
        raise CallError(
            "'output' must be None where a gradient is wanted (got a tensor, and an operand that requires grad); "
            "leave it out, or call under torch.no_grad()"
        )
    torch.ops.bitquant.matmul_out(*operands, output, problem)
    return output


def _refuse_tangents(operands: Operands) -> None:
    """Raise for an operand with a tangent: forward-mode differentiation would lose it."""
    if forward_ad._current_level < 0:
        return
    for name, tensor in operands._asdict().items():
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


# The operations.

_library = torch.library.Library("bitquant", "DEF")
_OPERANDS = (
    "Tensor A, Tensor W, Tensor? scale, Tensor? zeros, Tensor? bias, Tensor? activation_scale, Tensor? channel_scale"
)
_TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides)
_library.define(f"matmul({_OPERANDS}, str problem) -> Tensor", tags=_TAGS)
_library.define(f"matmul_out({_OPERANDS}, Tensor(a!) output, str problem) -> ()", tags=_TAGS)
_library.define(
    "dequantize(Tensor W, Tensor? scale, Tensor? zeros, ScalarType dtype, str problem) -> Tensor", tags=_TAGS
)


def _matmul(*arguments: Any) -> torch.Tensor:
    *operands, problem = arguments
    return _operator(problem).compute(Operands(*operands))


def _matmul_out(*arguments: Any) -> None:
    *operands, output, problem = arguments
    _operator(problem).compute(Operands(*operands), output)


def _dequantize(
    W: torch.Tensor, scale: torch.Tensor | None, zeros: torch.Tensor | None, dtype: torch.dtype, problem: str
) -> torch.Tensor:
    return _operator(problem).compute_weight(W, scale, zeros, dtype)


for _name, _function in (("matmul", _matmul), ("matmul_out", _matmul_out), ("dequantize", _dequantize)):
    _library.impl(_name, _function, "CompositeExplicitAutograd")


@torch.library.register_fake("bitquant::matmul", lib=_library)
def _matmul_fake(*arguments: Any) -> torch.Tensor:
    *operands, problem = arguments
    signature = _operator(problem).signature
    signature.check(Operands(*operands), is_fake=True)
    A = operands[0]
    return A.new_empty((*A.shape[:-1], signature.N), dtype=signature.out_dtype)


@torch.library.register_fake("bitquant::matmul_out", lib=_library)
def _matmul_out_fake(*arguments: Any) -> None:
    *operands, output, problem = arguments
    _operator(problem).signature.check(Operands(*operands), output, is_fake=True)


@torch.library.register_fake("bitquant::dequantize", lib=_library)
def _dequantize_fake(W: Any, _scale: Any, _zeros: Any, dtype: torch.dtype, problem: str) -> torch.Tensor:
    signature = _operator(problem).signature
    return W.new_empty((signature.N, signature.K), dtype=dtype)


# Gradients.


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    """Keep what the gradient needs, and refuse operands that have none."""
    del output
    *tensors, problem = inputs
    operands = Operands(*tensors)
    for name, tensor, is_wanted in zip(Operands._fields, operands, ctx.needs_input_grad, strict=False):
        if is_wanted and (name not in {"A", "bias"} or tensor.dtype.itemsize == 1):
            of_what = f" of type {tensor.dtype}" if name == "A" else ""
            raise CallError(
                f"{name!r}{of_what} has no gradient (got a tensor that requires grad); use .detach(), "
                "or call under torch.no_grad()"
            )
    ctx.problem, ctx.A_dtype = problem, operands.A.dtype
    ctx.save_for_backward(operands.W, operands.scale, operands.zeros, operands.activation_scale, operands.channel_scale)


def _backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    """Return the gradients of A and bias from that of D."""
    W, scale, zeros, activation_scale, channel_scale = ctx.saved_tensors
    grad_A = grad_bias = None
    if ctx.needs_input_grad[4]:
        grad_bias = grad.sum_to_size(grad.shape[-1])
    if ctx.needs_input_grad[0]:
        # A product in 16 bits holds what 16 bits go into and come out of.
        dtype = torch.promote_types(ctx.A_dtype, grad.dtype)
        if activation_scale is not None:
            grad = grad.to(torch.float32) * activation_scale.view(*grad.shape[:-1], 1)
        if channel_scale is not None:
            grad = grad.to(torch.float32) * channel_scale
        weight = torch.ops.bitquant.dequantize(W, scale, zeros, dtype, ctx.problem)
        grad_A = (grad.to(dtype) @ weight).to(ctx.A_dtype)
    return grad_A, None, None, None, grad_bias, None, None, None


torch.library.register_autograd("bitquant::matmul", _backward, setup_context=_setup_context, lib=_library)


def _vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[torch.Tensor, int]:
    """Map over any operands: rows of A are one call, whatever the dimension; other operands are a call an element."""
    *tensors, problem = arguments
    operands, dims = Operands(*tensors), Operands(*in_dims[:-1])
    size = info.batch_size
    by_row = {"A", "activation_scale"}
    is_batched = {name for name, dim in dims._asdict().items() if dim is not None}
    if is_batched <= by_row and not _operator(problem).signature.config.is_static:

        def stacked(tensor: torch.Tensor | None, dim: int | None) -> torch.Tensor | None:
            if tensor is None:
                return None
            rows = tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            return rows.contiguous()

        rows = {name: stacked(getattr(operands, name), getattr(dims, name)) for name in by_row}
        return torch.ops.bitquant.matmul(*operands._replace(**rows), problem), 0

    def element(i: int) -> Operands:
        parts = (t if dim is None else t.select(dim, i).contiguous() for t, dim in zip(operands, dims, strict=True))
        return Operands(*parts)

    return torch.stack([torch.ops.bitquant.matmul(*element(i), problem) for i in range(size)]), 0


torch.library.register_vmap("bitquant::matmul", _vmap, lib=_library)


def _is_transformed() -> bool:
    """Return whether the innermost transform of torch.func, if any, asks for a gradient or maps a dimension."""
    if torch.compiler.is_compiling() or functorch_level() is None:
        return False
    functorch = torch._C._functorch
    return functorch.peek_interpreter_stack().key() != functorch.TransformType.Functionalize


class _Transformed(torch.autograd.Function):
    """The operation below transforms of torch.func, which do not see the gradient of a registered one."""

    @staticmethod
    def forward(*arguments: Any) -> torch.Tensor:
        return torch.ops.bitquant.matmul(*arguments)

    setup_context = staticmethod(_setup_context)
    backward = staticmethod(_backward)
    vmap = staticmethod(_vmap)
