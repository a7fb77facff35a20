# SPDX-License-Identifier: Apache-2.0
"""Grouped products: their signature, their calls, and the operations that torch knows of them.

``bitquant::grouped_matmul`` and ``bitquant::grouped_matmul_out`` take the operands in the order of
`bitquant.operands.GROUPED_OPERANDS` and the problem as a text, as `bitquant.operator.torch_op` has it. They have no
gradient.
"""

from __future__ import annotations

from typing import Any

import torch

from bitquant.archive import Archive
from bitquant.errors import CallError
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.layouts import WeightLayout
from bitquant.operands import GROUPED_OPERANDS, OUTPUT
from bitquant.operator.call import Launcher, is_watched, needs_gradient
from bitquant.operator.core import Operator
from bitquant.operator.registry import operator_of
from bitquant.operator.signature import DeviceCheck, Operands, Signature
from bitquant.operator.weight import WeightDecoder
from bitquant.threads import follow_torch_threads

__all__ = ["GroupedOperator"]

#: Kernels index rows of A and D with 32 bits.
_MAX_ELEMENTS = 2**31 - 1
_VECTOR = 16
_NO_GRADIENT = "{!r} must not require a gradient: grouped products have none; use .detach(), or torch.no_grad()"
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
        # A CPU's kernel fills up rows of A to whole vectors.
        most = max(A.numel() // self.K * (self.K + _VECTOR), A.shape[0] * self.row_elements)
        if most > _MAX_ELEMENTS:
            raise CallError(
                f"'A' and the output must have fewer than 2^31 elements (got {most}); call with fewer {rows} at a time"
            )

    @property
    def row_elements(self) -> int:
        """Elements of D for each row of A, or token."""
        shape = self.expected[OUTPUT.argument].shape
        return int(torch.Size(shape).numel())

    def output_shape(self, m: Any) -> tuple[Any, ...]:
        """Return the shape of D for `m` rows."""
        return (m, *self.expected[OUTPUT.argument].shape)


class GroupedLauncher(Launcher):
    """The kernels of an archive, called with tensors that hold memory."""

    signature: GroupedSignature

    def attempt(self, operands: Operands) -> torch.Tensor | None:
        """Return None: there is one way to call."""
        del operands
        return None

    def run(self, operands: Operands, output: torch.Tensor | None = None) -> torch.Tensor:
        """Check every operand and compute.

        Raises
        ------
        CallError
            As `GroupedOperator.forward`. Nothing has been launched then.
        """
        spec = self.signature
        spec.check(operands, output)
        A = operands[0]
        device, m = A.device, A.shape[0]
        self._check_device(device)
        if output is None:
            output = torch.empty(spec.output_shape(m), dtype=spec.out_dtype, device=device)
        else:
            spec.check_overlap(operands, output)
        if self._is_cuda:
            spec.check_alignment(operands, output)
        if not m:
            return output
        if self._is_cuda and device.index != torch.cuda.current_device():
            with torch.cuda.device(device):  # TVM's launcher leaves the device of its operands current.
                self._launch(m, operands, output)
        else:
            if not self._is_cuda:
                follow_torch_threads()
            self._launch(m, operands, output)
        return output

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
        """Return D; the formulas are those of `GroupedMatmulConfig`. There is no gradient.

        Nothing is read on the host, so that a CUDA graph may be replayed with other operands.

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
            `output` shares memory with another operand; if a gradient is wanted. Nothing has been launched then.
        """
        operands = (
            A, W, scale, zeros, bias, activation_scale, channel_scale, offsets, expert_ids, routing_weights,
        )  # fmt: skip
        if not torch.compiler.is_compiling():
            given = [t for t in (*operands, output) if t is not None]
            if not all(isinstance(t, torch.Tensor) for t in given):
                self.signature.check(operands, output)  # Something is no tensor; this says what.
            _refuse_gradient((*operands, output))
            if not is_watched((*operands, output)):
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
        experts = [
            self.dequantize_expert(W[e], *(None if t is None else t[e] for t in (scale, zeros)), dtype)
            for e in range(len(W))
        ]
        return torch.stack(experts)

    def dequantize_expert(
        self,
        W: torch.Tensor,
        scale: torch.Tensor | None = None,
        zeros: torch.Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> torch.Tensor:
        """Return decode(W) of one expert, (N, K), from its part of each operand."""
        parts = (None if t is None else t.clone() for t in (W, scale, zeros))  # Aligned as a whole tensor is.
        return self._decoder(*parts, self._decoded_dtype(dtype))

    def _decoded_dtype(self, dtype: torch.dtype | None) -> torch.dtype:
        if dtype is not None:
            return dtype
        return self.signature.A_dtype if self.signature.A_dtype.itemsize > 1 else torch.float32

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


def _refuse_gradient(tensors: tuple[torch.Tensor | None, ...]) -> None:
    if needs_gradient(tensors):
        names = (*_NAMES, "output")
        name = next(n for n, t in zip(names, tensors, strict=True) if t is not None and t.requires_grad)
        raise CallError(
            f"{name!r} must not require a gradient: grouped products have none; use .detach(), or no_grad()"
        )


# What torch knows of it.

_library = torch.library.Library("bitquant", "FRAGMENT")
_OPERANDS = ", ".join(f"Tensor{'' if o.field is None else '?'} {o.argument}" for o in GROUPED_OPERANDS[:-1])
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


def _refuse(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    del output
    for name, tensor, is_wanted in zip(_NAMES, inputs, ctx.needs_input_grad, strict=False):
        if is_wanted and tensor is not None:
            raise CallError(_NO_GRADIENT.format(name))


def _no_gradient(ctx: Any, grad: torch.Tensor) -> tuple[None, ...]:
    """Nothing that asks for a gradient comes so far."""
    del ctx, grad
    return (None,) * (len(_NAMES) + 1)


for _name, _schema, _function, _fake_function in (
    ("grouped_matmul", f"({_OPERANDS}, str problem) -> Tensor", _run, _fake),
    ("grouped_matmul_out", f"({_OPERANDS}, Tensor(a!) output, str problem) -> ()", _run_out, _fake_out),
):
    _library.define(f"{_name}{_schema}", tags=_TAGS)
    _library.impl(_name, _function, "CompositeExplicitAutograd")
    torch.library.register_fake(f"bitquant::{_name}", _fake_function, lib=_library)
torch.library.register_autograd("bitquant::grouped_matmul", _no_gradient, setup_context=_refuse, lib=_library)
grouped_matmul: Any = torch.ops.bitquant.grouped_matmul
