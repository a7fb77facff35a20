# SPDX-License-Identifier: Apache-2.0
"""Calls: from torch tensors to a launched kernel. The first call checks everything, later ones take a fast path."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.autograd import forward_ad

from bitquant import workspace
from bitquant.archive import Archive
from bitquant.checks import MAX_ELEMENTS
from bitquant.operands import ARGUMENTS, OUTPUT
from bitquant.operator.signature import DeviceCheck, Expected, Operands, Signature
from bitquant.threads import follow_torch_threads

__all__ = ["Launcher", "functorch_level", "is_intercepted", "mark_written", "needs_gradient"]

#: Types of tensors that are memory and nothing more. A subclass may mean something else by a call.
_PLAIN = frozenset({torch.Tensor, torch.nn.Parameter})
_PLAIN_OR_NONE = _PLAIN | {type(None)}

# What says that torch watches calls: modes, a trace, levels of torch.func. torch has no public names for them.
count_dispatch_modes = torch._C._len_torch_dispatch_stack
count_function_modes = torch._C._len_torch_function_stack
is_tracing = torch._C._is_tracing
functorch_level = torch._C._functorch.maybe_current_level
increment_version = torch._C._increment_version


def is_intercepted(operands: Sequence[torch.Tensor | None]) -> bool:
    """Return whether torch intercepts a call: by a mode, a trace or a transform, or because an operand is a subclass.

    Such a call must go through the registered operation; any other may launch a kernel at once.
    """
    tensors = [t for t in operands if t is not None]
    return (
        bool(count_dispatch_modes())
        or bool(count_function_modes())
        or is_tracing()
        or functorch_level() is not None
        or forward_ad._current_level >= 0
        or not _PLAIN.issuperset(map(type, tensors))
        or any(t.is_meta for t in tensors)
    )


def needs_gradient(operands: Sequence[torch.Tensor | None]) -> bool:
    """Return whether autograd must record a call."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in operands)


def mark_written(tensor: torch.Tensor) -> None:
    """Tell autograd that a tensor has changed, so that it finds out where an older value was saved."""
    if not tensor.is_inference():  # Those have no version.
        increment_version((tensor,))


class Launcher:
    """The kernels of an archive, called with tensors that hold memory.

    Parameters
    ----------
    signature
        What the operands must be.
    archive
        The kernels.
    check_device
        Checks that a device runs them.
    """

    def __init__(self, signature: Signature, archive: Archive, check_device: DeviceCheck) -> None:
        self.signature, self.archive = signature, archive
        self._check_device = check_device
        self._is_cuda = signature.device_type == "cuda"
        self._functions: list[tuple[int, Any]] | None = None
        #: What computes a call in a fraction of the time, or returns None; it stands after the first call.
        self.short: Callable[..., torch.Tensor | None] = _nothing

    def functions(self) -> list[tuple[int, Any]]:
        """Return the bare function of each rung, and load them into this process."""
        if self._functions is None:
            module, symbols = self.archive.runtime_module(), self.archive.symbols
            functions = [(rung, module[symbols[rung]]) for rung in self.signature.config.ladder]
            if self.archive.uses_workspace:
                functions = [(rung, workspace.releases(function)) for rung, function in functions]
            self._functions = functions
        return self._functions

    def kernel_for(self, m: int) -> Callable[..., None]:
        """Return the bare function that serves `m` rows."""
        functions = self.functions()
        for rung, function in functions:
            if m <= rung:
                return function
        return functions[-1][1]

    def attempt(self, operands: Operands) -> torch.Tensor | None:
        """Return the result of a short call, or None where `run` must find out more."""
        try:
            return self.short(*operands, None)
        except Exception:  # noqa: BLE001 - whatever is wrong, `run` finds it.
            return None

    def run(self, operands: Operands, output: torch.Tensor | None = None) -> torch.Tensor:
        """Check every operand and compute; the first call that passes makes the next ones short.

        Raises
        ------
        CallError
            As `Operator.forward`. Nothing has been launched then.
        """
        spec = self.signature
        spec.check(operands, output)
        A = operands[0]
        device, leading = A.device, spec.leading_of(A)
        self._check_device(device)
        if output is None:
            output = torch.empty(spec.output_shape(*leading), dtype=spec.out_dtype, device=device)
        else:
            spec.check_overlap(operands, output)
        if self._is_cuda:
            spec.check_alignment(operands, output)
        m = math.prod(leading)
        if not m:
            return output
        if self._is_cuda and device.index != torch.cuda.current_device():
            with torch.cuda.device(device):  # TVM's launcher leaves the device of its operands current.
                self._launch(m, operands, output)
        else:
            if not self._is_cuda:
                follow_torch_threads()
            self._launch(m, operands, output)
        if self.short is _nothing:
            self.short = self._make_short()
        return output

    def _make_short(self) -> Callable[..., torch.Tensor | None]:
        return _short_call(self)

    def _launch(self, m: int, operands: Operands, output: torch.Tensor) -> None:
        spec = self.signature
        step = MAX_ELEMENTS // max(spec.K, spec.N)
        by_row = [e.is_present and e.by_row for e in spec.inputs]
        A, *others = operands
        tensors = [
            tensor.view(m, *expected.shape) if is_by_row else tensor
            for tensor, expected, is_by_row in zip((A.detach(), *others), spec.inputs, by_row, strict=True)
        ]
        D = output.view(m, spec.columns)
        for first in range(0, m, step):
            rows = slice(first, min(first + step, m))
            parts = (t[rows] if is_by_row else t for t, is_by_row in zip(tensors, by_row, strict=True))
            self.kernel_for(rows.stop - first)(*(t for t in parts if t is not None), D[rows])


def _nothing(*_operands: Any) -> None:
    """Stand in for `_short_call` before the first call."""


#: A short call, for the problem whose operands fill the braces.
_SHORT_CALL = """\
def attempt({arguments}, output):
    if (
        count_dispatch_modes()
        or count_function_modes()
        or is_tracing()
        or forward_ad._current_level >= 0
        or {are_not_plain}
        or type(output) not in plain_or_none
        or {are_left_over}
        or {are_negated}
    ):
        return None
    if grad_enabled() and ({want_a_gradient} or (output is not None and output.requires_grad)):
        return None
    shape = A.shape
    is_matrix = len(shape) == 2
    m = shape[0] if is_matrix else A.numel() // {K}
    if shape[-1] != {K} or not 0 < m <= {most}:
        return None
    if {has_several_gpus} and not (A.get_device() == current_gpu() and A.get_device() in gpus):
        return None
    if is_matrix:
        rows = A
        D = result = empty(m, {columns}, dtype=dtype, device=A.device) if output is None else output
    else:
        *leading, _ = shape
        if output is not None and output.shape != (*leading, {columns}):
            return None
        result = empty(*leading, {columns}, dtype=dtype, device=A.device) if output is None else output
        rows, D = A.view(m, {K}), result.view(m, {columns})
{views_of_rows}\
    if {is_cuda} and ({are_misaligned} or result.data_ptr() & {output_mask}):
        return None
    if not {is_cuda}:
        follow_torch_threads()
    if output is None:
        kernels[bisect_left(rungs, m)]({parameters}, D)
        return result
    begin = output.data_ptr()
    end = begin + m * {D_row_bytes}
    if (
        output.is_neg()
        or (output.is_inference() and not in_inference_mode())
        or {overlap}
    ):
        return None
    kernels[bisect_left(rungs, m)]({parameters}, D)
    if not output.is_inference():
        increment_version((output,))
    return result
"""

#: The same of an operand by rows of A: its leading dimensions are those of A, with a 1 after them if it has no others.
_VIEW_OF_ROWS = """\
    if {name}.shape != (*shape[:-1], *{row}) and ({row} or {name}.shape != (*shape[:-1], 1)):
        return None
    if {name}.ndim != {ndim}:
        {name} = {name}.view(m, *{row})
"""


def _short_call(launcher: Launcher) -> Callable[..., torch.Tensor | None]:
    """Return a function that computes what `Launcher.run` does from right operands, in a fraction of the time.

    Where it finds a fault, or a call that autograd or anybody else wants to
    know of (`is_intercepted`, `needs_gradient`), it returns None or raises, and nothing has
    been launched. Most checks it leaves to TVM's launcher, which compares number, type, shape, strides and device of
    the operands with what the kernel declares, and m and device with each other, in machine code and before it
    launches anything. It compares sizes modulo 2^32, which lets no access out of bounds, and refuses a tensor without
    memory: fake ones, and those that torch.func wraps. What it does not see is checked here. Nothing is remembered of
    an operand: the same tensor may be another one at the next call, since it can be changed in place.

    It is Python written for the operands of one problem, because loops over them take longer than the checks.
    """
    functions = launcher.functions()
    kernels = [function for _, function in functions]
    names: dict[str, Any] = {
        "plain": _PLAIN,
        "plain_or_none": _PLAIN_OR_NONE,
        "count_dispatch_modes": count_dispatch_modes,
        "count_function_modes": count_function_modes,
        "is_tracing": is_tracing,
        "forward_ad": forward_ad,
        "grad_enabled": torch.is_grad_enabled,
        "in_inference_mode": torch.is_inference_mode_enabled,
        "increment_version": increment_version,
        "empty": torch.empty,
        "dtype": launcher.signature.out_dtype,
        "gpus": launcher._check_device.known,
        "current_gpu": torch.accelerator.current_device_index,
        "follow_torch_threads": follow_torch_threads,
        "bisect_left": bisect_left,
        "rungs": [rung for rung, _ in functions],
        "kernels": [*kernels, kernels[-1]],  # The last one again, for m beyond the last rung.
    }
    exec(_short_source(launcher.signature), names)  # noqa: S102 - of names of operands and numbers alone
    # Taken out, or the function and its names would hold each other, and the kernels until garbage is collected.
    attempt: Callable[..., torch.Tensor | None] = names.pop("attempt")
    return attempt


def _short_source(spec: Signature) -> str:
    """Return the source of a short call: what has to be looked at of each operand that the problem has."""
    output = spec.expected[OUTPUT.argument]
    there = {name: e for name, e in zip(ARGUMENTS, spec.inputs, strict=True) if e.is_present}
    is_cuda = spec.device_type == "cuda"

    def any_of(terms: Iterable[str]) -> str:
        return " or ".join(terms) or "False"

    def overlaps(name: str, e: Expected) -> str:
        size = f"m * {e.size_bytes}" if e.by_row else f"{e.size_bytes}"
        return f"begin - {size} < {name}.data_ptr() < end"

    def view(name: str, e: Expected) -> str:
        return _VIEW_OF_ROWS.format(name=name, row=e.shape, ndim=1 + len(e.shape))

    return _SHORT_CALL.format(
        K=spec.K,
        columns=spec.columns,
        most=MAX_ELEMENTS // max(spec.K, spec.N),
        is_cuda=is_cuda,
        has_several_gpus=is_cuda and torch.cuda.device_count() > 1,
        arguments=", ".join(ARGUMENTS),
        parameters=", ".join("rows" if name == "A" else name for name in there),
        are_not_plain=any_of(f"type({name}) not in plain" for name in there),
        are_left_over=any_of(f"{name} is not None" for name in ARGUMENTS if name not in there),
        are_negated=any_of(f"{name}.is_neg()" for name in there),
        want_a_gradient=any_of(f"{name}.requires_grad" for name, e in there.items() if e.dtype.is_floating_point),
        views_of_rows="".join(view(name, e) for name, e in there.items() if e.by_row and name != "A"),
        are_misaligned=any_of(f"{name}.data_ptr() & {e.alignment - 1}" for name, e in there.items() if e.alignment > 1),
        output_mask=output.alignment - 1,
        overlap=any_of(overlaps(name, e) for name, e in there.items()),
        D_row_bytes=output.size_bytes,
    )
