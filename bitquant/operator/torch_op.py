# SPDX-License-Identifier: Apache-2.0
"""What torch knows of bitquant: the registered operations, their shapes, gradients and rules of vmap.

=============================  =======================================================================================
bitquant::matmul               D = A x decode(W)^T (* activation_scale) (* channel_scale) (+ bias), as a new tensor
bitquant::matmul_out           the same, written to a given tensor
bitquant::dequantize           decode(W), (N, K)
bitquant::straight_through     D, with the gradient for x that it has if x is not rounded
bitquant::quantize_tokens      x rounded to 8 bits, each token with a factor of its own
=============================  =======================================================================================

The first three take the *problem* as their last argument: a text that says what is computed, for which architecture and
in which layout the weight is stored. A program that torch.export or torch.compile keeps holds nothing else of an
operator, so that it runs in another process, where the operator is made again: from the disk cache, or compiled.

Gradients. For dD, the gradient of D::

    dA = (dD * activation_scale * channel_scale) x decode(W)          dbias = sum of dD over rows

With an activation dH takes the place of dD: its arguments H are computed once more, in float32, from decode(W).

W, scales and zero points have none, and A of 8 bits and rounded tokens neither: a call that asks for one is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bitquant.errors import CallError
from bitquant.operands import EPILOGUE, INPUTS, WEIGHT, Operand
from bitquant.operator.activation import activation_gradient
from bitquant.operator.call import functorch_level, is_intercepted, needs_gradient
from bitquant.operator.registry import operator_of
from bitquant.operator.tokens import check_tokens, compute_tokens, empty_tokens
from bitquant.operator.weight import DECODED_DTYPES

__all__ = ["DirectMatmul", "check_decoded_dtype", "dequantize", "matmul", "quantize_tokens", "straight_through"]


def check_decoded_dtype(dtype: Any) -> None:
    """Check that a weight can be decoded to a type.

    Raises
    ------
    CallError
        If it cannot.
    """
    if not isinstance(dtype, torch.dtype) or dtype not in DECODED_DTYPES:
        names = ", ".join(str(d) for d in DECODED_DTYPES)
        raise CallError(f"'dtype' must be one of {names} (got {dtype!r:.80})")


# The operations.

_library = torch.library.Library("bitquant", "DEF")
_OPERANDS = ", ".join(f"Tensor{'' if o.field is None else '?'} {o.argument}" for o in INPUTS)
#: What a gradient is made for, and what one is made of.
_A, _ADDENDS = INPUTS[0], tuple(o for o in EPILOGUE if o.role == "addend")
_DIFFERENTIABLE, _FACTORS = (_A, *_ADDENDS), tuple(o for o in EPILOGUE if o.role == "factor")
_TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides)


def _define(name: str, schema: str, function: Callable[..., Any], fake: Callable[..., Any]) -> None:
    _library.define(f"{name}{schema}", tags=_TAGS)
    _library.impl(name, function, "CompositeExplicitAutograd")
    torch.library.register_fake(f"bitquant::{name}", fake, lib=_library)


def _run_matmul(*arguments: Any) -> torch.Tensor:
    *operands, problem = arguments
    return operator_of(problem).compute(tuple(operands))


def _fake_matmul(*arguments: Any) -> torch.Tensor:
    *operands, problem = arguments
    signature = operator_of(problem).signature
    signature.check(tuple(operands), is_fake=True)
    A = operands[0]
    return A.new_empty((*A.shape[:-1], signature.columns), dtype=signature.out_dtype)


def _run_matmul_out(*arguments: Any) -> None:
    *operands, output, problem = arguments
    operator_of(problem).compute(tuple(operands), output)


def _fake_matmul_out(*arguments: Any) -> None:
    *operands, output, problem = arguments
    operator_of(problem).signature.check(tuple(operands), output, is_fake=True)


def _run_dequantize(
    W: torch.Tensor, scale: torch.Tensor | None, zeros: torch.Tensor | None, dtype: torch.dtype, problem: str
) -> torch.Tensor:
    return operator_of(problem).compute_weight(W, scale, zeros, dtype)


def _fake_dequantize(W: Any, scale: Any, zeros: Any, dtype: torch.dtype, problem: str) -> torch.Tensor:
    signature = operator_of(problem).signature
    signature.check_weight(W, scale, zeros, is_fake=True)
    check_decoded_dtype(dtype)
    return W.new_empty((signature.N, signature.K), dtype=dtype)


def _run_straight_through(x: torch.Tensor, D: torch.Tensor, *_others: Any) -> torch.Tensor:
    del x
    return D.clone()


def _fake_straight_through(x: Any, D: Any, *_others: Any) -> torch.Tensor:
    del x
    return torch.empty_like(D)


def _fake_quantize_tokens(x: Any, weight_scale: Any, dtype: Any, least: Any, inverse: Any) -> tuple[Any, Any]:
    check_tokens(x, weight_scale, dtype, least, inverse)
    return empty_tokens(x, dtype)


_define("matmul", f"({_OPERANDS}, str problem) -> Tensor", _run_matmul, _fake_matmul)
_define("matmul_out", f"({_OPERANDS}, Tensor(a!) output, str problem) -> ()", _run_matmul_out, _fake_matmul_out)
_define(
    "dequantize",
    "(Tensor W, Tensor? scale, Tensor? zeros, ScalarType dtype, str problem) -> Tensor",
    _run_dequantize,
    _fake_dequantize,
)
_define(
    "straight_through",
    "(Tensor x, Tensor D, Tensor weight, Tensor? scale, Tensor? zeros, Tensor? channel_scale, Tensor? weight_scale, "
    "str? problem) -> Tensor",
    _run_straight_through,
    _fake_straight_through,
)
_define(
    "quantize_tokens",
    "(Tensor x, Tensor? weight_scale, ScalarType dtype, float least, bool inverse) -> (Tensor, Tensor)",
    compute_tokens,
    _fake_quantize_tokens,
)


# Gradients, and rules of vmap.


def _differentiable(
    name: str, setup_context: Callable[..., None], backward: Callable[..., Any], vmap: Callable[..., Any]
) -> Callable[..., Any]:
    """Register what an operation does under autograd and vmap; return the function that calls it.

    torch.func does not see the gradient of a registered operation. Below its transforms the function calls the
    operation through an autograd.Function, which torch.func does see.
    """
    operation = getattr(torch.ops.bitquant, name)
    torch.library.register_autograd(f"bitquant::{name}", backward, setup_context=setup_context, lib=_library)
    torch.library.register_vmap(f"bitquant::{name}", vmap, lib=_library)
    methods = {
        "forward": operation,
        "setup_context": setup_context,
        "backward": backward,
        "vmap": vmap,
    }
    transformed: Any = type(
        f"_Transformed_{name}",
        (torch.autograd.Function,),
        {name: staticmethod(method) for name, method in methods.items()},
    )

    def call(*arguments: Any) -> Any:
        return (transformed.apply if _is_transformed() else operation)(*arguments)

    return call


def _is_transformed() -> bool:
    """Return whether the innermost transform of torch.func, if any, asks for a gradient or maps a dimension."""
    if torch.compiler.is_compiling() or functorch_level() is None:
        return False
    functorch = torch._C._functorch
    return functorch.peek_interpreter_stack().key() != functorch.TransformType.Functionalize


def _refuse_gradient(name: str, dtype: torch.dtype | None = None) -> None:
    of_what = "" if dtype is None else f" of type {dtype}"
    raise CallError(
        f"{name!r}{of_what} has no gradient (got a tensor that requires grad); use .detach(), "
        "or call under torch.no_grad()"
    )


def _keep_matmul(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor | None) -> None:
    """Keep what the gradient needs, and refuse operands that have none."""
    del output
    *tensors, problem = inputs
    for operand, tensor, is_wanted in zip(INPUTS, tensors, ctx.needs_input_grad, strict=False):
        if is_wanted and (operand not in _DIFFERENTIABLE or tensor.dtype.itemsize == 1):
            _refuse_gradient(operand.argument, tensor.dtype if operand is _A else None)
    signature = operator_of(problem).signature
    ctx.problem, ctx.A_dtype, ctx.out_dtype = problem, tensors[0].dtype, signature.out_dtype
    given = dict(zip(INPUTS, tensors, strict=True))
    ctx.shapes = {o: given[o].shape for o in _ADDENDS if given[o] is not None}
    ctx.activation = signature.config.activation
    of_argument = () if ctx.activation is None else (_A, *_ADDENDS)
    ctx.save_for_backward(*(given[o] for o in (*WEIGHT, *_FACTORS, *of_argument)))


def _without_autocast(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Return a gradient that is computed in the types of its formula, whatever autocast says around it."""

    def wrapped(ctx: Any, grad: torch.Tensor) -> Any:
        with torch.autocast(grad.device.type, enabled=False):
            return backward(ctx, grad)

    return wrapped


@_without_autocast
def _grad_matmul(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    """Return the gradients of A and of what is added, from that of D."""
    W, scale, zeros, *others = ctx.saved_tensors
    factors, of_argument = others[: len(_FACTORS)], others[len(_FACTORS) :]
    grads: dict[Operand, torch.Tensor] = {}
    if ctx.activation is not None:
        A, *addends = of_argument
        H = A.to(torch.float32) @ _decode(W, scale, zeros, torch.float32, ctx.problem).T
        for operand, tensor in zip((*_FACTORS, *_ADDENDS), (*factors, *addends), strict=True):
            if tensor is not None:
                value = tensor if operand.rows == "W" else tensor.view(*H.shape[:-1], 1)
                H = H * value if operand.role == "factor" else H + value
        grad = activation_gradient(ctx.activation, H, grad.to(torch.float32))
    for operand, is_wanted in zip(INPUTS, ctx.needs_input_grad, strict=False):
        if is_wanted and operand in _ADDENDS:
            grads[operand] = grad.sum_to_size(grad.shape[-1]) if operand.rows == "W" else grad.sum(-1)
            grads[operand] = grads[operand].view(ctx.shapes[operand]).to(ctx.out_dtype)
    if ctx.needs_input_grad[0]:
        # A product in 16 bits holds what 16 bits go into and come out of; dD times a scale may leave their range.
        dtype = torch.promote_types(ctx.A_dtype, grad.dtype)
        if any(factor is not None for factor in factors):
            dtype = torch.float32
        grad = grad.to(dtype)
        for operand, factor in zip(_FACTORS, factors, strict=True):
            if factor is not None:
                grad = grad * (factor if operand.rows == "W" else factor.view(*grad.shape[:-1], 1))
        grads[_A] = (grad @ _decode(W, scale, zeros, dtype, ctx.problem)).to(ctx.A_dtype)
    return *(grads.get(operand) for operand in INPUTS), None


class DirectMatmul(torch.autograd.Function):
    """The gradient of a call that nothing but autograd watches: that of the registered operation, without its ways."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> torch.Tensor:
        """Compute; `arguments` are those of the operation, and the operator."""
        *inputs, operator = arguments
        _keep_matmul(ctx, tuple(inputs), None)
        return operator.compute(tuple(inputs[:-1]))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of `arguments`."""
        return *_grad_matmul(ctx, grad), None


def _map_matmul(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[torch.Tensor, int]:
    """Map over any operands: rows of A are one call, whatever the dimension; other operands are a call an element."""
    *tensors, problem = arguments
    signature, size = operator_of(problem).signature, info.batch_size
    operands = list(zip(INPUTS, tensors, in_dims[:-1], strict=True))
    if all(dim is None or o.rows == "A" for o, _, dim in operands) and not signature.config.is_static:
        return matmul(*(_in_front(t, dim, size) if o.rows == "A" else t for o, t, dim in operands), problem), 0
    if not size:
        A = _element(tensors[0], in_dims[0], None)
        return A.new_empty((0, *A.shape[:-1], signature.columns), dtype=signature.out_dtype), 0
    calls = ([_element(t, dim, i) for _, t, dim in operands] for i in range(size))
    return torch.stack([matmul(*call, problem) for call in calls]), 0


def _in_front(tensor: torch.Tensor | None, dim: int | None, size: int) -> torch.Tensor | None:
    """Return a tensor with the mapped dimension, or a new one, in front."""
    if tensor is None:
        return None
    return (tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)).contiguous()


def _element(tensor: Any, dim: int | None, i: int | None) -> Any:
    """Return element `i` of what is mapped over; None: a tensor like one, where there is none."""
    if tensor is None or dim is None:
        return tensor
    if i is None:
        return tensor.new_empty([size for d, size in enumerate(tensor.shape) if d != dim])
    return tensor.select(dim, i).contiguous()


matmul = _differentiable("matmul", _keep_matmul, _grad_matmul, _map_matmul)


def _keep_dequantize(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    """Refuse to be differentiated."""
    del output, inputs
    for operand, is_wanted in zip(WEIGHT, ctx.needs_input_grad, strict=False):
        if is_wanted:
            _refuse_gradient(operand.argument)


def _grad_dequantize(ctx: Any, grad: torch.Tensor) -> tuple[None, ...]:
    """Nothing that asks for a gradient comes so far."""
    del ctx, grad
    return None, None, None, None, None


def _map_dequantize(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[torch.Tensor, int]:
    *tensors, dtype, problem = arguments
    signature = operator_of(problem).signature
    if not info.batch_size:
        return tensors[0].new_empty((0, signature.N, signature.K), dtype=dtype), 0
    calls = ([_element(t, dim, i) for t, dim in zip(tensors, in_dims, strict=False)] for i in range(info.batch_size))
    return torch.stack([dequantize(*call, dtype, problem) for call in calls]), 0


dequantize = _differentiable("dequantize", _keep_dequantize, _grad_dequantize, _map_dequantize)


def _decode(
    W: torch.Tensor, scale: torch.Tensor | None, zeros: torch.Tensor | None, dtype: torch.dtype, problem: str
) -> torch.Tensor:
    """Return decode(W): with a kernel where nobody watches, else as the registered operation."""
    tensors = (W, scale, zeros)
    if torch.compiler.is_compiling() or is_intercepted(tensors) or needs_gradient(tensors):
        return dequantize(W, scale, zeros, dtype, problem)
    return operator_of(problem).compute_weight(W, scale, zeros, dtype)


def _keep_straight_through(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    del output
    x, D, *others, ctx.problem = inputs
    ctx.x_dtype, ctx.D_dtype = x.dtype, D.dtype
    ctx.save_for_backward(*others)


@_without_autocast
def _grad_straight_through(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    """Return dx = (dD * channel_scale) x decode(weight) / weight_scale, and dD for D."""
    grad_x = None
    if ctx.needs_input_grad[0]:
        weight, scale, zeros, channel_scale, weight_scale = ctx.saved_tensors
        dtype = grad.dtype if grad.dtype in DECODED_DTYPES else torch.float32
        scaled = grad.to(dtype)
        if channel_scale is not None:  # dD times a scale may leave the range of 16 bits.
            dtype = torch.float32
            scaled = grad.to(dtype) * channel_scale
        if ctx.problem is not None:
            weight = _decode(weight, scale, zeros, dtype, ctx.problem)
        weight = weight.to(dtype)
        if weight_scale is None:
            grad_x = (scaled @ weight).to(ctx.x_dtype)
        else:
            # The factor goes into the weight, so that no product leaves the range of 16 bits, and what its rounding to
            # them has changed goes into the result.
            factor = weight_scale.to(torch.float32).reciprocal()
            rounded = factor.to(dtype)
            product = scaled @ (weight * rounded)
            grad_x = (product.to(torch.float32) * (factor / rounded.to(torch.float32))).to(ctx.x_dtype)
    grad_D = grad.to(ctx.D_dtype) if ctx.needs_input_grad[1] else None
    return grad_x, grad_D, None, None, None, None, None, None


def _map_straight_through(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[torch.Tensor, int]:
    x, D, *others, problem = arguments
    if all(dim is None for dim in in_dims[2:]):
        rows = (_in_front(t, dim, info.batch_size) for t, dim in zip((x, D), in_dims, strict=False))
        return straight_through(*rows, *others, problem), 0
    tensors = arguments[:-1]
    calls = ([_element(t, d, i) for t, d in zip(tensors, in_dims, strict=False)] for i in range(info.batch_size))
    return torch.stack([straight_through(*call, problem) for call in calls]), 0


straight_through = _differentiable(
    "straight_through", _keep_straight_through, _grad_straight_through, _map_straight_through
)


def _keep_quantize_tokens(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Refuse to be differentiated."""
    del output, inputs
    for name, is_wanted in zip(("x", "weight_scale"), ctx.needs_input_grad, strict=False):
        if is_wanted:
            _refuse_gradient(name)


def _grad_quantize_tokens(ctx: Any, *grads: torch.Tensor) -> tuple[None, ...]:
    """Nothing that asks for a gradient comes so far."""
    del ctx, grads
    return None, None, None, None, None


def _map_quantize_tokens(
    info: Any, in_dims: tuple[int | None, ...], *arguments: Any
) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[int, int]]:
    """Map over x, whose tokens are one call, or over scales of the weight, a call an element."""
    given, weight_scale, *options = arguments
    x: Any = _in_front(given, in_dims[0], info.batch_size)
    if in_dims[1] is None:
        return quantize_tokens(x, weight_scale, *options), (0, 0)
    if not info.batch_size:
        return empty_tokens(x, options[0]), (0, 0)
    scales = weight_scale.movedim(in_dims[1], 0).contiguous()
    results = [quantize_tokens(*pair, *options) for pair in zip(x, scales, strict=True)]
    values, factors = zip(*results, strict=True)
    return (torch.stack(values), torch.stack(factors)), (0, 0)


quantize_tokens = _differentiable("quantize_tokens", _keep_quantize_tokens, _grad_quantize_tokens, _map_quantize_tokens)


# What writes to a given tensor: no gradient passes through it, and autograd is told that the tensor is another.


def register_output(library: torch.library.Library, name: str) -> None:
    """Register what autograd does for an operation that writes its output, the operand before the problem."""
    operation = getattr(torch.ops.bitquant, name).default

    def write(keys: Any, *arguments: Any) -> None:
        *tensors, _ = arguments
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
            raise CallError(
                "'output' must be None where a gradient is wanted (got a tensor, and an operand that requires grad); "
                "leave it out, or call under torch.no_grad()"
            )
        with torch._C._AutoDispatchBelowAutograd():
            operation.redispatch(keys & torch._C._after_autograd_keyset, *arguments)

    def mark(keys: Any, *arguments: Any) -> None:
        *_, output, _ = arguments
        with torch._C._AutoDispatchBelowADInplaceOrView():
            operation.redispatch(keys & torch._C._after_ADInplaceOrView_keyset, *arguments)
        torch.autograd.graph.increment_version(output)

    library.impl(name, write, "Autograd", with_keyset=True)
    library.impl(name, mark, "ADInplaceOrView", with_keyset=True)


register_output(_library, "matmul_out")
