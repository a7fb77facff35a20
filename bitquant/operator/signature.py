# SPDX-License-Identifier: Apache-2.0
"""The operands of a call: what each must be, and the words for what it is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from bitquant.arch import gpu_arch
from bitquant.errors import CallError
from bitquant.layouts import WeightLayout
from bitquant.operands import OUTPUT, WEIGHT, Operand, operands_of

__all__ = ["DeviceCheck", "Expected", "Operands", "Signature"]


#: The inputs of a call, in the order of `bitquant.operands.INPUTS`; None where absent.
Operands = tuple[Any, ...]


class Expected(NamedTuple):
    """What an operand of a call must be.

    Attributes
    ----------
    operand
        Which one it is.
    is_present
        Whether the problem has it.
    by_row
        Whether the leading dimensions of A stand before `shape`.
    shape
        Its shape for a row of A, or as a whole.
    dtype
        Its type.
    alignment
        What its address must be a multiple of on a GPU, in bytes.
    """

    operand: Operand
    is_present: bool
    by_row: bool
    shape: tuple[int, ...]
    dtype: torch.dtype
    alignment: int

    @property
    def size_bytes(self) -> int:
        """Its bytes for a row of A, or as a whole."""
        return math.prod(self.shape) * self.dtype.itemsize


def _check_memory(name: str, tensor: torch.Tensor, is_fake: bool) -> None:
    """Check that the elements of a tensor stand in memory one by one."""
    if tensor.is_nested or tensor.layout is not torch.strided:
        kind = "a nested tensor" if tensor.is_nested else f"layout {tensor.layout}"
        raise CallError(f"{name!r} must be a dense tensor (got {kind}); use .to_dense(), or .to_padded_tensor(0.0)")
    if not is_fake and not tensor.is_meta and tensor.numel() and not tensor.data_ptr():
        raise CallError(
            f"{name!r} must hold memory (got a tensor whose data pointer is NULL); it was freed, or never made"
        )


class Signature:
    """What the operands of a problem must be.

    Parameters
    ----------
    config
        The problem, of whatever operation.
    layout
        Layout of the weight that its kernels read.
    device_type
        Where they run, "cpu" or "cuda".
    """

    def __init__(self, config: Any, layout: WeightLayout, device_type: str) -> None:
        self.config, self.layout, self.device_type = config, layout, device_type
        self.K, self.N, self.columns = config.K, config.N, config.columns
        #: By the names at the call, in the order of the kernels' parameters.
        self.expected = {
            o.argument: Expected(
                operand=o,
                is_present=o.is_present(config),
                by_row=o.rows == "A",
                shape=o.row_shape(config, layout),
                dtype=o.torch_dtype(config, layout),
                alignment=o.alignment(config, layout),
            )
            for o in operands_of(config)
        }
        self.A_dtype, self.out_dtype = self.expected["A"].dtype, self.expected[OUTPUT.argument].dtype
        self._output = self.expected[OUTPUT.argument]
        self.inputs = tuple(e for name, e in self.expected.items() if name != OUTPUT.argument)

    def leading_of(self, A: Any) -> tuple[Any, ...]:
        """Return the dimensions of A that are rows of a call."""
        return tuple(A.shape[:-1])

    def output_shape(self, *leading: Any) -> tuple[Any, ...]:
        """Return the shape of D for rows of these dimensions."""
        return (*leading, *self._output.shape)

    def check(self, operands: Operands, output: Any = None, *, is_fake: bool = False) -> None:
        """Check every operand, and `output` where it is given.

        Parameters
        ----------
        operands, output
            As `Operator.forward` takes them.
        is_fake
            Whether they have no memory: what a trace cannot know, contiguity and the number of
            rows, is then left to the call, and the device may be torch's "meta".

        Raises
        ------
        CallError
            If one has the wrong shape, type, device or strides, is missing, or is none of the
            problem's.
        """
        A, W = operands[:2]
        if not isinstance(A, torch.Tensor):
            raise CallError(f"'A' must be a torch.Tensor (got {type(A).__name__})")
        _check_memory("A", A, is_fake)
        shape, device = A.shape, A.device
        if (
            shape[-1:] != (self.K,)
            or A.dtype is not self.A_dtype
            or not (device.type == self.device_type or (is_fake and A.is_meta and W.is_meta))
            or not (is_fake or A.is_contiguous())
            or A.is_neg()
        ):
            self._reject_A(A)
        leading = shape[:-1]
        for expected, tensor in zip(self.inputs[1:], operands[1:], strict=True):
            self._check_operand(expected, tensor, leading, device, is_fake)
        if output is not None:
            self._check_operand(self._output, output, leading, device, is_fake)
        if not is_fake:
            self._check_rows(A.numel() // self.K)

    def check_weight(self, W: Any, scale: Any, zeros: Any, *, is_fake: bool = False) -> None:
        """Check the operands of decode(W) alone; W decides on the device.

        Raises
        ------
        CallError
            As `check`.
        """
        if not isinstance(W, torch.Tensor) or not (W.device.type == self.device_type or (is_fake and W.is_meta)):
            got = W.device if isinstance(W, torch.Tensor) else type(W).__name__
            raise CallError(f"'W' must be a torch.Tensor on {self.device_type} (got {got})")
        for operand, tensor in zip(WEIGHT, (W, scale, zeros), strict=True):
            self._check_operand(self.expected[operand.argument], tensor, (), W.device, is_fake)

    def _check_operand(
        self, expected: Expected, tensor: Any, leading: Sequence[int], device: torch.device, is_fake: bool
    ) -> None:
        """Check that an operand is there exactly where the problem has it, and is what it must be."""
        operand, dtype = expected.operand, expected.dtype
        name, field = operand.argument, operand.field
        wanted = (*leading, *expected.shape) if expected.by_row else expected.shape
        if field is not None and tensor is None:
            if expected.is_present:
                raise CallError(
                    f"{name!r} is missing: the config has {operand.setting(True)}; "
                    f"pass a tensor of shape {tuple(wanted)} and type {dtype}"
                )
            return
        if not expected.is_present:
            raise CallError(
                f"{name!r} was given, but the config has {operand.setting(False)}; leave it out or set "
                f"{operand.setting(True)}"
            )
        fix = ""
        if name == "W":
            fix = f"; pass what transform_weight returned ({self.layout} layout)"
        elif name == "zeros" and dtype is torch.int8:
            fix = "; pass what transform_zeros returned"
        elif expected.by_row and not expected.shape:
            kept = (*wanted, 1)  # As a reduction over K with keepdim=True leaves it.
            fix = f", or {kept}: one number a row of A"
            wanted = kept if isinstance(tensor, torch.Tensor) and tensor.shape == kept else wanted
        self._check(name, tensor, wanted, dtype, device, is_fake, fix)

    def _check_rows(self, m: int) -> None:
        if self.config.is_static and m not in (self.config.M, 0):
            raise CallError(
                f"'A' must have {self.config.M} rows (got {m}): the config has a static M; "
                "with M=None, or several numbers such as M=(1, 16, 64), it serves any number of rows"
            )

    def _check(
        self,
        name: str,
        tensor: Any,
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        is_fake: bool,
        shape_fix: str,
    ) -> None:
        """Check one operand: the cheap comparison first, the words only where it fails."""
        if isinstance(tensor, torch.Tensor):
            _check_memory(name, tensor, is_fake)
        if (
            isinstance(tensor, torch.Tensor)
            and tensor.shape == shape
            and tensor.dtype is dtype
            and tensor.device == device
            and (is_fake or tensor.is_contiguous())
            and not tensor.is_neg()
        ):
            return
        if not isinstance(tensor, torch.Tensor):
            raise CallError(f"{name!r} must be a torch.Tensor (got {type(tensor).__name__})")
        if tensor.dtype is not dtype:
            made = {"W": "transform_weight", "zeros": "transform_zeros" if dtype is torch.int8 else ""}.get(name)
            fix = f"pass what {made} returned" if made else f"use .to({dtype})"
            raise CallError(f"{name!r} must be of type {dtype} (got {tensor.dtype}); {fix}")
        if tuple(tensor.shape) != tuple(shape):
            raise CallError(f"{name!r} must have shape {tuple(shape)} (got {tuple(tensor.shape)}){shape_fix}")
        if tensor.device != device:
            raise CallError(f"{name!r} must be on the device of A, {device} (got {tensor.device}); use .to('{device}')")
        if tensor.is_neg():
            raise CallError(f"{name!r} must hold its own numbers (got a view that negates them); use .resolve_neg()")
        fix = "it is written in place" if name == "output" else "use .contiguous()"
        raise CallError(
            f"{name!r} must be contiguous (got strides {tensor.stride()} for shape {tuple(tensor.shape)}); {fix}"
        )

    def _reject_A(self, A: torch.Tensor) -> None:
        """Raise for the first rule that A breaks."""
        here = A.device.type
        if here != self.device_type:
            other = f", or construct with target='{here}'" if here in ("cpu", "cuda") else ""
            raise CallError(
                f"'A' must be on {self.device_type}, where this operator was built for "
                f"(got {A.device}); use .to('{self.device_type}'){other}"
            )
        if A.shape[-1:] != (self.K,):
            raise CallError(f"'A' must have shape (..., {self.K}), K last (got {tuple(A.shape)})")
        if A.dtype is not self.A_dtype:
            raise CallError(f"'A' must be of type {self.A_dtype} (got {A.dtype}); use .to({self.A_dtype})")
        if A.is_neg():
            raise CallError("'A' must hold its own numbers (got a view that negates them); use .resolve_neg()")
        raise CallError(
            f"'A' must be contiguous (got strides {A.stride()} for shape {tuple(A.shape)}); use .contiguous()"
        )

    @staticmethod
    def overlap(operands: Sequence[torch.Tensor | None], output: torch.Tensor) -> int | None:
        """Return the index of the first operand that shares memory with `output`, or None; all are contiguous."""
        begin = output.data_ptr()
        end = begin + output.nbytes
        for i, tensor in enumerate(operands):
            if tensor is not None and (first := tensor.data_ptr()) < end and begin < first + tensor.nbytes:
                return i
        return None

    def check_overlap(self, operands: Operands, output: torch.Tensor) -> None:
        """Check that `output` can be written while the operands are read.

        Raises
        ------
        CallError
            If it shares memory with one of them, or is an inference tensor outside of inference mode.
        """
        if output.is_inference() and not torch.is_inference_mode_enabled():
            raise CallError(
                "'output' must not be an inference tensor outside of torch.inference_mode(), which cannot be written "
                "to there (got one); make it outside, or use .clone()"
            )
        if (i := self.overlap(operands, output)) is not None:
            name = self.inputs[i].operand.argument
            raise CallError(
                f"'output' must share no memory with {name!r}, which is read while it is written; "
                "pass another tensor, or leave it out"
            )

    def check_alignment(self, operands: Operands, output: torch.Tensor) -> None:
        """Check that views begin where wide loads may; whole tensors and slices of rows do.

        Raises
        ------
        CallError
            If one does not.
        """
        for (name, expected), tensor in zip(self.expected.items(), (*operands, output), strict=True):
            wanted = expected.alignment
            if tensor is not None and (past := tensor.data_ptr() % wanted):
                raise CallError(
                    f"{name!r} must begin at a multiple of {wanted} bytes (got {past} bytes past "
                    "one): it is a view into a larger tensor; use .clone()"
                )


class DeviceCheck:
    """Checks once a GPU that it runs code of an architecture.

    Parameters
    ----------
    arch
        For example "sm_90a"; None for a CPU, where there is nothing to check.
    """

    def __init__(self, arch: str | None) -> None:
        self._arch = arch
        #: Indices of the GPUs that do.
        self.known: set[int | None] = set()

    def __call__(self, device: torch.device) -> None:
        """Check a device.

        Raises
        ------
        CallError
            If it is a GPU of another compute capability.
        """
        if self._arch is None or device.index in self.known:
            return
        here, wanted = torch.cuda.get_device_capability(device), gpu_arch(self._arch)
        if here != (wanted.major, wanted.minor):
            raise CallError(
                f"'A' is on a GPU of compute capability {here[0]}.{here[1]}, and this operator was built for "
                f"{self._arch}; construct it with target='cuda' there"
            )
        self.known.add(device.index)
