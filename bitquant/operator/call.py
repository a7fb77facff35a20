"""Calls: from torch tensors to a launched kernel, with every check the first time and few after that."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch.autograd import forward_ad

from bitquant.build import Archive
from bitquant.operator.signature import DeviceCheck, Operands, Signature
from bitquant.threads import follow_torch_threads

__all__ = ["Launcher", "functorch_level", "is_watched", "mark_written", "needs_gradient"]

#: Kernels index their operands with 32 bits; a call with more elements is made in slices of rows.
_MAX_ELEMENTS = 2**31 - 1

#: Types of tensors that are memory and nothing more. A subclass may mean something else by a call.
_PLAIN = frozenset({torch.Tensor, torch.nn.Parameter})
_PLAIN_OR_NONE = _PLAIN | {type(None)}

# What says that torch watches calls: modes, a trace, levels of torch.func. torch has no public names for them.
count_dispatch_modes = torch._C._len_torch_dispatch_stack
count_function_modes = torch._C._len_torch_function_stack
is_tracing = torch._C._is_tracing
functorch_level = torch._C._functorch.maybe_current_level
increment_version = torch._C._increment_version


def is_watched(operands: Sequence[torch.Tensor | None]) -> bool:
    """Return whether a call is more than memory: a mode, a trace or a transform sees it, or an operand is a subclass.

    Such a call is the registered operation.
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
    """Return whether autograd wants to know of a call."""
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
            self._functions = [(rung, module[symbols[rung]]) for rung in self.signature.config.ladder]
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
        A = operands.A
        device = A.device
        self._check_device(device)
        if output is None:
            output = torch.empty((*A.shape[:-1], spec.N), dtype=spec.out_dtype, device=device)
        else:
            spec.check_overlap(operands, output)
        if self._is_cuda:
            spec.check_alignment(operands, output)
        m = A.numel() // spec.K
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
            self.short = _short_call(self)
        return output

    def _launch(self, m: int, operands: Operands, output: torch.Tensor) -> None:
        spec = self.signature
        function, step = self.kernel_for(m), _MAX_ELEMENTS // max(spec.K, spec.N)
        rows, scales = operands.A.detach().view(m, spec.K), operands.activation_scale
        operands = operands._replace(A=rows, activation_scale=None if scales is None else scales.view(m))
        D = output.view(m, spec.N)
        if m <= step:
            function(*(t for t in operands if t is not None), D)
            return
        for first in range(0, m, step):
            part = slice(first, first + step)
            scales = operands.activation_scale
            self._launch(
                min(step, m - first),
                operands._replace(A=rows[part], activation_scale=None if scales is None else scales[part]),
                D[part],
            )


def _nothing(*_operands: Any) -> None:
    """Stand in for `_short_call` before the first call."""


def _short_call(launcher: Launcher) -> Callable[..., torch.Tensor | None]:
    """Return a function that computes what `Launcher.run` does from right operands, in a fraction of the time.

    Where it finds a fault, or a call that autograd or anybody else wants to
    know of (`is_watched`, `needs_gradient`), it returns None or raises, and nothing has
    been launched. Most checks it leaves to TVM's launcher, which compares number, type, shape, strides and device of
    the operands with what the kernel declares, and m and device with each other, in machine code and before it
    launches anything. It compares sizes modulo 2^32, which lets no access out of bounds, and refuses a tensor without
    memory: fake ones, and those that torch.func wraps. What it does not see is checked here. Nothing is remembered of
    an operand: the same tensor may be another one at the next call, since it can be changed in place.
    """
    spec = launcher.signature
    functions = launcher.functions()
    rungs, kernels = [rung for rung, _ in functions], [function for _, function in functions]
    kernels.append(kernels[-1])  # For m beyond the last rung.
    K, N, dtype, is_cuda = spec.K, spec.N, spec.out_dtype, spec.device_type == "cuda"
    most = _MAX_ELEMENTS // max(K, N)
    has_scale, has_zeros, has_bias, has_activation_scale, has_channel_scale = (o.is_configured for o in spec.optional)
    # Only floats have a gradient.
    has_float_W = spec.W_dtype.is_floating_point
    has_float_zeros, has_float_bias = (
        has_zeros and not spec.config.has_packed_zeros,
        has_bias and dtype.is_floating_point,
    )
    pick = itemgetter(0, 1, *(i for i, o in enumerate(spec.optional, 2) if o.is_configured), 7)
    past_A, past_W, past_scale, past_zeros, past_output = (
        spec.alignment[name] - 1 for name in ("A", "W", "scale", "zeros", "output")
    )
    has_several_gpus = is_cuda and torch.cuda.device_count() > 1
    gpus, current_gpu = launcher._check_device.known, torch.accelerator.current_device_index
    empty, grad_enabled = torch.empty, torch.is_grad_enabled
    in_inference_mode = torch.is_inference_mode_enabled
    A_row_bytes, D_row_bytes = K * spec.A_dtype.itemsize, N * dtype.itemsize
    W_bytes = math.prod(spec.W_shape) * spec.W_dtype.itemsize
    scale_bytes, zeros_bytes, bias_bytes, _, channel_scale_bytes = (
        math.prod(o.shape) * o.dtype.itemsize if o.shape else 0 for o in spec.optional
    )

    def attempt(
        A: Any,
        W: Any,
        scale: Any,
        zeros: Any,
        bias: Any,
        activation_scale: Any,
        channel_scale: Any,
        output: Any,
    ) -> torch.Tensor | None:
        if (
            count_dispatch_modes()
            or count_function_modes()
            or is_tracing()
            or forward_ad._current_level >= 0
            or type(A) not in _PLAIN
            or type(W) not in _PLAIN
            or type(scale) not in _PLAIN_OR_NONE
            or type(zeros) not in _PLAIN_OR_NONE
            or type(bias) not in _PLAIN_OR_NONE
            or type(activation_scale) not in _PLAIN_OR_NONE
            or type(channel_scale) not in _PLAIN_OR_NONE
            or type(output) not in _PLAIN_OR_NONE
        ):
            return None
        shape = A.shape
        is_matrix = len(shape) == 2
        m = shape[0] if is_matrix else A.numel() // K
        if (
            shape[-1] != K
            or not 0 < m <= most
            or (scale is None) is has_scale
            or (zeros is None) is has_zeros
            or (bias is None) is has_bias
            or (activation_scale is None) is has_activation_scale
            or (channel_scale is None) is has_channel_scale
            or A.is_neg()
            or W.is_neg()
            or (has_scale and scale.is_neg())
            or (has_zeros and zeros.is_neg())
            or (has_bias and bias.is_neg())
            or (has_activation_scale and activation_scale.is_neg())
            or (has_channel_scale and channel_scale.is_neg())
        ):
            return None
        if grad_enabled() and (
            A.requires_grad
            or (has_float_W and W.requires_grad)
            or (has_scale and scale.requires_grad)
            or (has_float_zeros and zeros.requires_grad)
            or (has_float_bias and bias.requires_grad)
            or (has_activation_scale and activation_scale.requires_grad)
            or (has_channel_scale and channel_scale.requires_grad)
            or (output is not None and output.requires_grad)
        ):
            return None
        if has_several_gpus and not (A.get_device() == current_gpu() and A.get_device() in gpus):
            return None
        if is_matrix:
            rows = A
            D = result = empty(m, N, dtype=dtype, device=A.device) if output is None else output
        else:
            *leading, _ = shape
            if output is not None and output.shape != (*leading, N):
                return None
            result = empty(*leading, N, dtype=dtype, device=A.device) if output is None else output
            rows, D = A.view(m, K), result.view(m, N)
        if has_activation_scale:
            if activation_scale.shape not in (shape[:-1], (*shape[:-1], 1)):
                return None
            if activation_scale.ndim != 1:
                activation_scale = activation_scale.view(m)
        if is_cuda and (
            A.data_ptr() & past_A
            or W.data_ptr() & past_W
            or result.data_ptr() & past_output
            or (has_scale and scale.data_ptr() & past_scale)
            or (has_zeros and zeros.data_ptr() & past_zeros)
        ):
            return None
        if not is_cuda:
            follow_torch_threads()
        operands = pick((rows, W, scale, zeros, bias, activation_scale, channel_scale, D))
        if output is None:
            kernels[bisect_left(rungs, m)](*operands)
            return result
        begin = output.data_ptr()
        end = begin + m * D_row_bytes
        if (
            output.is_neg()
            or (output.is_inference() and not in_inference_mode())
            or begin - m * A_row_bytes < A.data_ptr() < end
            or begin - W_bytes < W.data_ptr() < end
            or (has_scale and begin - scale_bytes < scale.data_ptr() < end)
            or (has_zeros and begin - zeros_bytes < zeros.data_ptr() < end)
            or (has_bias and begin - bias_bytes < bias.data_ptr() < end)
            or (has_activation_scale and begin - 4 * m < activation_scale.data_ptr() < end)
            or (has_channel_scale and begin - channel_scale_bytes < channel_scale.data_ptr() < end)
        ):
            return None
        kernels[bisect_left(rungs, m)](*operands)
        if not output.is_inference():
            increment_version((output,))
        return result

    return attempt
