# SPDX-License-Identifier: Apache-2.0
"""Grouped products: their signature, their calls, and the operations that torch knows of them.

``bitquant::grouped_matmul`` and ``bitquant::grouped_matmul_out`` take the operands in the order of
`bitquant.operands.GROUPED_OPERANDS` and the problem as a text, as `bitquant.operator.torch_op` has it. A of sorted rows
has a gradient, ``bitquant::grouped_matmul_gradient``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from tvm.target import Target

from bitquant.archive import Archive
from bitquant.checks import MAX_ELEMENTS
from bitquant.errors import CallError
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.layouts import WeightLayout
from bitquant.operands import GROUPED_OPERANDS, OUTPUT
from bitquant.operator.call import Launcher, is_intercepted, needs_gradient
from bitquant.operator.core import Operator
from bitquant.operator.registry import operator_of
from bitquant.operator.signature import DeviceCheck, Operands, Signature
from bitquant.operator.torch_op import register_output
from bitquant.operator.weight import WeightDecoder
from bitquant.schedule import Plan
from bitquant.schedule.tuned import RecordSource

__all__ = ["MAX_PADDING", "GroupedOperator"]

#: Elements by which a CPU's kernel fills up a row of A, at most, to whole vectors.
MAX_PADDING = 16
_NO_GRADIENT = (
    "{!r} must not require a gradient: of grouped products A of 16 bits and more has one, where rows are sorted and "
    "there is no activation; use .detach(), or torch.no_grad()"
)
_NAMES = tuple(o.argument for o in GROUPED_OPERANDS[:-1])


class GroupedSignature(Signature):
    """What the operands of a grouped problem must be; parameters as those of `Signature`."""

    config: GroupedMatmulConfig

    def check(self, operands: Operands, output: Any = None, *, is_fake: bool = False) -> None:
        """Check every operand, and `output` where it is given, as `Signature.check` does."""
        A, W = operands[:2]
        wanted = self.expected["A"]
        if not isinstance(A, torch.Tensor):
            raise CallError(f"'A' must be a torch.Tensor (got {type(A).__name__})")
        rows = "tokens" if self.config.is_indexed else "rows"
        if A.ndim != 1 + len(wanted.shape) or tuple(A.shape[1:]) != wanted.shape:
            shape = ", ".join([rows, *map(str, wanted.shape)])
            raise CallError(f"'A' must have shape ({shape}) (got {tuple(A.shape)})")
        if not (A.device.type == self.device_type or (is_fake and A.is_meta and getattr(W, "is_meta", False))):
            raise CallError(
                f"'A' must be on {self.device_type}, where this operator was built for (got {A.device}); "
                f"use .to('{self.device_type}')"
            )
        leading = A.shape[:1]
        for expected, tensor in zip(self.inputs, operands, strict=True):
            self._check_operand(expected, tensor, leading, A.device, is_fake)
        if output is not None:
            self._check_operand(self.expected[OUTPUT.argument], output, leading, A.device, is_fake)
        if is_fake:
            return
        self._check_rows(A.shape[0])
        most = max(A.numel() // self.K * (self.K + MAX_PADDING), A.shape[0] * self.row_elements)
        if most > MAX_ELEMENTS:
            raise CallError(
                f"'A' and the output must have fewer than 2^31 elements (got {most}); call with fewer {rows} at a time"
            )

    @property
    def row_elements(self) -> int:
        """Elements of D for each row of A, or token."""
        shape = self.expected[OUTPUT.argument].shape
        return int(torch.Size(shape).numel())

    def leading_of(self, A: Any) -> tuple[Any, ...]:
        """Return the dimensions of A that are rows of a call: one, of rows where they are sorted, else of tokens."""
        return tuple(A.shape[:1])


class GroupedLauncher(Launcher):
    """The kernels of an archive, called with tensors that hold memory."""

    signature: GroupedSignature

    def _make_short(self) -> Any:
        return self.short  # There is one way to call.

    def _launch(self, m: int, operands: Operands, output: torch.Tensor) -> None:
        tensors = [
            t.detach().view(m, *e.shape) if e.by_row else t.detach()
            for t, e in zip(operands, self.signature.inputs, strict=True)
            if t is not None
        ]
        self.kernel_for(m)(*tensors, output)


class GroupedOperator(Operator):
    """D of a grouped problem (`GroupedMatmulConfig`) for one target.

    Parameters
    ----------
    config
        The problem.
    target, rules, records
        As in `Operator`.
    """

    config: GroupedMatmulConfig
    config_type = GroupedMatmulConfig

    if TYPE_CHECKING:  # The same, of another config.

        def __init__(
            self,
            config: GroupedMatmulConfig,
            target: str | Target | None = None,
            rules: Sequence[Any] | None = None,
            records: RecordSource | Plan | None = None,
        ) -> None: ...

    def _signature_of(self, config: Any, layout: WeightLayout, device_type: str) -> Signature:
        return GroupedSignature(config, layout, device_type)

    def _launcher_of(self, archive: Archive) -> Launcher:
        return GroupedLauncher(self.signature, archive, self._check_device)

    def _decoder_of(self, check_device: DeviceCheck) -> WeightDecoder:
        one = Signature(self.config.matmul, self.weight_layout, self.signature.device_type)
        return WeightDecoder(one, self.target, check_device)

    def forward(
        self,
        A: torch.Tensor,
        W: torch.Tensor,
        scale: torch.Tensor | None = None,
        zeros: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        output: torch.Tensor | None = None,
        *,
        offsets: torch.Tensor | None = None,
        expert_ids: torch.Tensor | None = None,
        routing_weights: torch.Tensor | None = None,
        activation_scale: torch.Tensor | None = None,
        channel_scale: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return D; the formulas are those of `GroupedMatmulConfig`.

        Nothing is read on the host, so that a CUDA graph may be replayed with other operands. Where rows are sorted,
        and there is no activation, A has a gradient, dA[s] = dD[s] x decode(W[e(s)]), which reads the offsets on the
        host; nothing else has one.

        Parameters
        ----------
        A
            (S, K) where rows are sorted; (T, K) or (T, top_k, K) where they are indexed. Contiguous.
        W
            What `GroupedMatmul.transform_weight` returned.
        scale, zeros, bias, channel_scale
            Those of all experts, with E in front; present exactly where the config says so.
        output
            Where to write D, contiguous; allocated where None.
        offsets
            (E,) int32, where rows are sorted: the ends of the experts' rows, which rise. Values beyond S count as S.
        expert_ids
            (T, top_k) int32, where rows are indexed. Slots of other experts than 0 ... E - 1 count as zeros.
        routing_weights
            (T, top_k) float32; present exactly where the config says so.
        activation_scale
            float32, one number a row of A; present exactly where the config says so.

        Raises
        ------
        CallError
            If a tensor has the wrong shape, dtype, device or strides, is missing, or is not part of the config; if
            `output` shares memory with another operand; if a gradient is wanted that is not there. Nothing has been
            launched then.
        """
        operands = (
            A, W, scale, zeros, bias, activation_scale, channel_scale, offsets, expert_ids, routing_weights,
        )  # fmt: skip
        if not torch.compiler.is_compiling():
            given = [t for t in (*operands, output) if t is not None]
            if not all(isinstance(t, torch.Tensor) for t in given):
                self.signature.check(operands, output)  # Something is no tensor; this says what.
            if not needs_gradient((*operands, output)) and not is_intercepted((*operands, output)):
                return self.launch(operands, output)
        if output is None:
            return grouped_matmul(*operands, self.problem)
        torch.ops.bitquant.grouped_matmul_out(*operands, output, self.problem)
        return output

    __call__ = forward

    def compute_weight(
        self, W: torch.Tensor, scale: torch.Tensor | None, zeros: torch.Tensor | None, dtype: torch.dtype
    ) -> torch.Tensor:
        """Return decode(W) of all experts, (E, N, K), for tensors that hold memory."""

        def expert(e: int) -> torch.Tensor:
            own_scale, own_zeros = (None if t is None else t[e] for t in (scale, zeros))
            return self.dequantize_expert(W[e], own_scale, own_zeros, dtype)

        return torch.stack([expert(e) for e in range(len(W))])

    def dequantize_expert(
        self,
        W: torch.Tensor,
        scale: torch.Tensor | None = None,
        zeros: torch.Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> torch.Tensor:
        """Return decode(W) of one expert, (N, K), from its part of each operand."""
        # Copies are aligned as a whole tensor is.
        own_scale, own_zeros = (None if t is None else t.clone() for t in (scale, zeros))
        return self._decoder(W.clone(), own_scale, own_zeros, self._decoded_dtype(dtype))

    def dequantize(
        self,
        W: torch.Tensor,
        scale: torch.Tensor | None = None,
        zeros: torch.Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> torch.Tensor:
        """Return decode(W) of all experts, (E, N, K), as `Operator.dequantize` does that of one."""
        self.signature.check_weight(W, scale, zeros)
        return self.compute_weight(W, scale, zeros, self._decoded_dtype(dtype))


# What torch knows of it.

_library = torch.library.Library("bitquant", "FRAGMENT")
_OPERANDS = ", ".join(f"Tensor{'' if o.field is None else '?'} {o.argument}" for o in GROUPED_OPERANDS[:-1])
#: What the gradient of A is made of, beside that of D.
_KEPT = ("W", "scale", "zeros", "activation_scale", "channel_scale", "offsets")
_OPERANDS_OF_GRADIENT = ", ".join(f"Tensor{'' if name in ('W', 'offsets') else '?'} {name}" for name in _KEPT)
_TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides)


def _run(*arguments: Any) -> torch.Tensor:
    *operands, problem = arguments
    return operator_of(problem).compute(tuple(operands))


def _fake(*arguments: Any) -> torch.Tensor:
    *operands, problem = arguments
    signature: Any = operator_of(problem).signature
    signature.check(tuple(operands), is_fake=True)
    A = operands[0]
    return A.new_empty(signature.output_shape(A.shape[0]), dtype=signature.out_dtype)


def _run_out(*arguments: Any) -> None:
    *operands, output, problem = arguments
    operator_of(problem).compute(tuple(operands), output)


def _fake_out(*arguments: Any) -> None:
    *operands, output, problem = arguments
    operator_of(problem).signature.check(tuple(operands), output, is_fake=True)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    """Keep what the gradient of A needs, where rows are sorted; refuse all others."""
    del output
    *operands, ctx.problem = inputs
    given = dict(zip(_NAMES, operands, strict=True))
    is_linear = operator_of(ctx.problem).signature.config.activation is None
    has_gradient = ("A",) if is_linear and given["offsets"] is not None and given["A"].dtype.itemsize > 1 else ()
    for name, is_wanted in zip(_NAMES, ctx.needs_input_grad, strict=False):
        if is_wanted and given[name] is not None and name not in has_gradient:
            raise CallError(_NO_GRADIENT.format(name))
    ctx.save_for_backward(*(given[name] for name in _KEPT))
    ctx.A_dtype = given["A"].dtype


def _backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    if not ctx.needs_input_grad[0]:
        return (None,) * (len(_NAMES) + 1)
    W, scale, zeros, activation_scale, channel_scale, offsets = ctx.saved_tensors
    factors = (activation_scale, channel_scale)
    grad_A = torch.ops.bitquant.grouped_matmul_gradient(grad, W, scale, zeros, *factors, offsets, ctx.problem)
    return grad_A.to(ctx.A_dtype), *(None,) * len(_NAMES)


def _run_gradient(
    grad: torch.Tensor,
    W: torch.Tensor,
    scale: torch.Tensor | None,
    zeros: torch.Tensor | None,
    activation_scale: torch.Tensor | None,
    channel_scale: torch.Tensor | None,
    offsets: torch.Tensor,
    problem: str,
) -> torch.Tensor:
    """Return dA of sorted rows, with the weight of one expert at a time; rows of no expert are zeros."""
    operator: Any = operator_of(problem)
    has_factor = activation_scale is not None or channel_scale is not None
    dtype = torch.float32 if has_factor else grad.dtype  # dD times a scale may leave the range of 16 bits.
    result = torch.zeros((grad.shape[0], operator.config.K), dtype=dtype, device=grad.device)
    first = 0
    for e, end in enumerate(offsets.clamp(max=grad.shape[0]).tolist()):
        if end > first:
            rows = grad[first:end].to(dtype)
            if activation_scale is not None:
                rows = rows * activation_scale[first:end].view(-1, 1)
            if channel_scale is not None:
                rows = rows * channel_scale[e]
            parts = (None if t is None else t[e] for t in (W, scale, zeros))
            result[first:end] = rows @ operator.dequantize_expert(*parts, dtype)
            first = end
    return result


def _fake_gradient(grad: Any, W: Any, scale: Any, zeros: Any, *others: Any) -> torch.Tensor:
    del W, scale, zeros
    *factors, _, problem = others
    dtype = grad.dtype if all(t is None for t in factors) else torch.float32
    return grad.new_empty((grad.shape[0], operator_of(problem).signature.K), dtype=dtype)


for _name, _schema, _function, _fake_function in (
    ("grouped_matmul", f"({_OPERANDS}, str problem) -> Tensor", _run, _fake),
    ("grouped_matmul_out", f"({_OPERANDS}, Tensor(a!) output, str problem) -> ()", _run_out, _fake_out),
    (
        "grouped_matmul_gradient",
        f"(Tensor grad, {_OPERANDS_OF_GRADIENT}, str problem) -> Tensor",
        _run_gradient,
        _fake_gradient,
    ),
):
    _library.define(f"{_name}{_schema}", tags=_TAGS)
    _library.impl(_name, _function, "CompositeExplicitAutograd")
    torch.library.register_fake(f"bitquant::{_name}", _fake_function, lib=_library)
register_output(_library, "grouped_matmul_out")
torch.library.register_autograd("bitquant::grouped_matmul", _backward, setup_context=_keep, lib=_library)
grouped_matmul: Any = torch.ops.bitquant.grouped_matmul
