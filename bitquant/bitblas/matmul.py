# SPDX-License-Identifier: Apache-2.0
"""Matmul as BitBLAS's clients call it: a bitquant operator under BitBLAS's names."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from tvm.ir import IRModule
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant import matmul as native_matmul
from bitquant import packing, relayout
from bitquant.arch import resolve_target
from bitquant.bitblas.config import MatmulConfig, TransformKind
from bitquant.bitblas.quantization.utils import integers
from bitquant.bitblas.utils import auto_detect_nvidia_target
from bitquant.errors import CallError, ConfigError
from bitquant.formats import WEIGHT_DTYPES, NumberFormat, number_format
from bitquant.packing.checks import check_shape
from bitquant.schedule.records import Record, Records

__all__ = ["Matmul"]

logger = logging.getLogger("bitquant.bitblas")


def _source(fmt: NumberFormat) -> tuple[str, int]:
    """Return what BitBLAS calls a format, and its bits."""
    special = {"bfloat16": "bf", "nf4": "nf", "fp4_e2m1": "fp", "float8_e4m3": "fp_e4m3", "float8_e5m2": "fp_e5m2"}
    kind = ("uint" if fmt.is_unsigned else "int") if fmt.is_integer else "fp"
    return special.get(fmt.name, kind), fmt.bits


class Matmul:
    """A mixed-precision matrix multiplication with the interface of BitBLAS's class of this name.

    Parameters
    ----------
    config
        The problem.
    name
        Accepted for BitBLAS, and kept.
    target
        As in `bitquant.Matmul`; None: what `auto_detect_nvidia_target` finds.
    enable_tuning
        Whether to call `hardware_aware_finetune`. BitBLAS's default is True.
    from_database, backend
        Accepted for BitBLAS and without effect: kernels come from bitquant's cache where they are
        there.
    records
        What was tuned before: records of this problem and target.

    Attributes
    ----------
    operator : bitquant.Matmul
        What computes.
    source_format, bit
        Format of W in BitBLAS's words, such as ("uint", 4).
    lut : torch.Tensor or None
        The 16 values of nf4 in the type of A; None for other formats.
    dynamic_range : dict or None
        ``{"m": rungs}``, and None for a static M.
    lib
        None: there is no C library that takes bare addresses. `torch_func` and calls take tensors.
    input_transform
        None: A is read as it is.
    M, N, K, A_dtype, W_dtype ...
        The fields of the config; `propagate_a` and `propagate_b` are NonTransform, for the kernels
        have no such layout.
    """

    #: Format of W by its name, in BitBLAS's words.
    BITBLAS_TRICK_DTYPE_MAP: Mapping[str, tuple[str, int]] = {
        name: _source(number_format(name)) for name in (*WEIGHT_DTYPES, "e4m3_float8", "e5m2_float8")
    }
    lib = None
    input_transform = None

    def __init__(
        self,
        config: MatmulConfig,
        name: str = "matmul",
        target: str | Target | None = None,
        enable_tuning: bool = False,
        from_database: bool = False,  # noqa: ARG002
        backend: str = "tl",
        *,
        records: tuple[Record, ...] = (),
    ) -> None:
        if not isinstance(config, MatmulConfig):
            raise ConfigError(
                f"'config' must be a MatmulConfig of bitquant.bitblas (got {type(config).__module__}."
                f"{type(config).__qualname__}); bitquant.Matmul takes those of bitquant",
                config=config,
            )
        for field in dataclasses.fields(config):
            setattr(self, field.name, getattr(config, field.name))
        self.propagate_a = self.propagate_b = TransformKind.NonTransform
        self.config, self.name, self.backend = config, name, backend
        self.target = resolve_target(auto_detect_nvidia_target() if target is None else target)
        #: What tuning found, for `OperatorCache` to keep.
        self.records = records
        self.operator = native_matmul.Matmul(config.native, target=self.target, records=Records(records) or None)
        fmt = config.native.W_format
        self.source_format, self.bit = _source(fmt)
        self.torch_output_dtype = config.native.out_format.torch_dtype
        self.dynamic_range = None if config.native.is_static else {"m": config.M}
        self.lut = self._table(fmt) if fmt.name == "nf4" else None
        if enable_tuning:
            self.hardware_aware_finetune()

    def _table(self, fmt: NumberFormat) -> torch.Tensor:
        device = "cuda" if self.operator.is_cuda and torch.cuda.is_available() else "cpu"
        return torch.tensor(fmt.codebook, dtype=self.operator.signature.A_dtype, device=device)

    # Weights.

    @property
    def weight_transform(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """What makes a stored weight of codes, on their own device; None where they are stored as they are.

        It takes (N, K) codes 0 ... 2^bits - 1 (the value plus 2^(bits - 1) for signed formats), and
        for formats of 8 bits and more what `transform_weight` takes.
        """
        is_stored_as_it_is = self.operator.weight_layout == "plain" and not self.config.native.W_format.is_packed
        return None if is_stored_as_it_is else self._store_codes

    def _store_codes(self, codes: torch.Tensor) -> torch.Tensor:
        native = self.config.native
        if not native.W_format.is_packed:
            return self.transform_weight(codes).to(codes.device)
        check_shape(codes, (native.N, native.K), "codes", "(N, K)")
        packed = packing.general_compress(integers(codes, "codes"), native.W_format.bits)
        return relayout.to_layout(packed, native, self.operator.weight_layout)

    def transform_weight(
        self,
        weight: torch.Tensor,
        scale: torch.Tensor | None = None,  # noqa: ARG002
        zeros: torch.Tensor | None = None,  # noqa: ARG002
        bias: torch.Tensor | None = None,  # noqa: ARG002
    ) -> torch.Tensor:
        """Return the stored weight of (N, K) values, as `bitquant.Matmul.transform_weight` does.

        Integers may stand in floats. For uint8 an int8 tensor is taken bit by bit. Where W is of
        another type than A, the result is int8, as BitBLAS stores it.

        Parameters
        ----------
        weight
            The values. To continue from what BitBLAS stored, `unpack_serialized_weight` it first.
        scale, zeros, bias
            Accepted for BitBLAS; they are operands of the call and need no transformation.

        Raises
        ------
        ConfigError
            If shape or type do not fit, or a value is out of the format's range. (BitBLAS clamps
            signed values to one more than the greatest, and wraps others.)
        """
        fmt = self.config.native.W_format
        if fmt.is_integer:
            weight = integers(weight, "weight")
        if fmt.name == "uint8" and isinstance(weight, torch.Tensor) and weight.dtype is torch.int8:
            weight = weight.view(torch.uint8)
        stored = self.operator.transform_weight(weight)
        return stored if fmt == self.config.native.A_format else stored.view(torch.int8)

    def retrieve_weight_shape(self) -> list[int]:
        """Return the shape of the stored weight."""
        return self.operator.retrieve_weight_shape()

    # Calling.

    def transform_input(self, input_tensor: torch.Tensor) -> torch.Tensor:
        """Return A as it is."""
        return input_tensor

    def forward(
        self,
        A: torch.Tensor,
        W: torch.Tensor,
        scale: torch.Tensor | None = None,
        zeros: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        output: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return D, as `bitquant.Operator.forward` does.

        Parameters
        ----------
        A, W, output
            As there; W also as int8 where the kernel reads another type of one byte.
        scale, zeros, bias
            What the config has of them. Those that are given stand for them in this order, so that
            ``matmul(A, W, bias)`` passes the bias where the config has neither scales nor zero
            points.

        Raises
        ------
        CallError
            If there are more or fewer of them than the config has, or a tensor does not fit.
        """
        given = [tensor for tensor in (scale, zeros, bias) if tensor is not None]
        c = self.config.native
        flags = {"scale": c.with_scaling, "zeros": c.with_zeros, "bias": c.with_bias}
        wanted = [name for name, is_present in flags.items() if is_present]
        if len(given) != len(wanted):
            raise CallError(
                f"the operands after W must be {' and '.join(wanted) or 'none'}, which the config has "
                f"(got {len(given)} tensors)"
            )
        operands = dict(zip(wanted, given, strict=True))
        return self.operator(
            A, self.as_stored(W), operands.get("scale"), operands.get("zeros"), operands.get("bias"), output
        )

    __call__ = forward

    def torch_func(self, A: torch.Tensor, W: torch.Tensor, *operands: torch.Tensor) -> None:
        """Write D to the last operand; before it come `lut` where there is one, scale, zeros and bias as `forward`."""
        if not operands:
            raise CallError("the last operand must be where D is written (got A and W alone)")
        *others, output = operands if self.lut is None else operands[1:]
        if len(others) > 3:
            raise CallError(f"at most scale, zeros and bias stand between W and the output (got {len(others)} tensors)")
        scale, zeros, bias = (*others, None, None, None)[:3]
        self.forward(A, W, scale, zeros, bias, output)

    def as_stored(self, W: torch.Tensor) -> torch.Tensor:
        """Return a weight in the type that the kernels read, bit by bit."""
        wanted = self.operator.signature.expected["W"].dtype
        if isinstance(W, torch.Tensor) and W.dtype is torch.int8 and wanted is not torch.int8 and wanted.itemsize == 1:
            return W.view(wanted)
        return W

    # Tuning and timing.

    def hardware_aware_finetune(
        self, topk: int = 20, target: str | Target | None = None, parallel_build: bool = True
    ) -> None:
        """Measure kernels on the GPU and take the best, as `bitquant.Matmul.hardware_aware_finetune` does.

        On a CPU nothing is done, and that is logged: records are of GPUs, so that nothing could be kept.
        """
        if not self.operator.is_cuda:
            logger.info("not tuned, because records are of GPUs: %s on a CPU", self.config.native)
            return
        result = self.operator.hardware_aware_finetune(topk, target, parallel_build)
        self.records = tuple(result.records())

    def profile_latency(self, dynamic_symbolic_constraints: Mapping[str, int] | None = None) -> float:
        """Return the median time of a call in milliseconds.

        Parameters
        ----------
        dynamic_symbolic_constraints
            ``{"m": rows}``; without it the static M, or the mean of the rungs, as in BitBLAS.
        """
        ladder = self.config.native.ladder
        m = (dynamic_symbolic_constraints or {}).get("m", sum(ladder) // len(ladder))
        return self.operator.profile_latency(m) / 1e3

    # Reading.

    @property
    def prim_func(self) -> PrimFunc:
        """The unscheduled function of the last rung."""
        return self.operator.prim_func

    @property
    def scheduled_ir_module(self) -> IRModule:
        """The scheduled module, one function a rung."""
        return self.operator.scheduled_mod

    @property
    def rt_mod(self) -> Any:
        """TVM's runtime module."""
        return self.operator.rt_mod

    def get_source(self, target: Any = None, kenrel_only: bool = False) -> str:  # noqa: ARG002
        """Return the CUDA C++ of the kernels, or LLVM's assembly on a CPU. BitBLAS's parameters have no effect."""
        return self.operator.get_source()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config.native}, target={self.operator.arch})"
