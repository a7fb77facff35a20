# SPDX-License-Identifier: Apache-2.0
"""decode(W) as a tensor: for gradients, and for whoever wants the weight back in 16 or 32 bits."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from tvm.target import Target

from bitquant.checks import MAX_ELEMENTS
from bitquant.errors import UnsupportedError
from bitquant.formats import number_format
from bitquant.operands import without_epilogue
from bitquant.operator.archives import find_archive
from bitquant.operator.signature import DeviceCheck, Signature
from bitquant.packing import unpack_zeros
from bitquant.schedule.dequantize import schedule_dequantize
from bitquant.threads import follow_torch_threads

__all__ = ["DECODED_DTYPES", "WeightDecoder"]

#: The types that a weight is decoded to. float16 and bfloat16 round, once; float32 holds every product of a code and a
#: scale of 16 bits.
DECODED_DTYPES = {number_format(name).torch_dtype: name for name in ("float16", "bfloat16", "float32")}


class WeightDecoder:
    """Computes decode(W), (N, K), for one problem and target; a kernel a type of D, made when it is first needed.

    Parameters
    ----------
    signature
        What the stored weight, scales and zero points must be.
    target
        What to build for.
    check_device
        Checks that a device runs what is built.
    """

    def __init__(self, signature: Signature, target: Target, check_device: DeviceCheck) -> None:
        self._signature, self._target, self._check_device = signature, target, check_device
        # The archive beside the function: it is what a module is kept alive by.
        self._kernels: dict[torch.dtype, tuple[Any, Any]] = {}

    def __call__(
        self, W: torch.Tensor, scale: torch.Tensor | None, zeros: torch.Tensor | None, dtype: torch.dtype
    ) -> torch.Tensor:
        """Return decode(W) in `dtype`.

        Raises
        ------
        CallError
            If an operand does not fit the problem.
        UnsupportedError
            If decode(W) has more elements than 32-bit indices reach.
        """
        spec = self._signature
        spec.check_weight(W, scale, zeros)
        self._check_device(W.device)
        D = torch.empty((spec.N, spec.K), dtype=dtype, device=W.device)
        function = self._function(dtype)
        if zeros is not None and spec.config.has_packed_zeros:
            # A few numbers beside W; every type of scales holds integers of 8 bits.
            zeros = (
                unpack_zeros(zeros, spec.config).to(torch.uint8).T.to(spec.config.scale_format.torch_dtype).contiguous()
            )
        operands = [t for t in (W, scale, zeros) if t is not None]
        if W.is_cuda:
            with torch.cuda.device(W.device):  # TVM's launcher leaves the device of its operands current.
                function(*operands, D)
        else:
            follow_torch_threads()
            function(*operands, D)
        return D

    def _function(self, dtype: torch.dtype) -> Any:
        if dtype not in self._kernels:
            spec, target = self._signature, self._target
            if spec.N * spec.K > MAX_ELEMENTS:
                raise UnsupportedError(
                    f"decode(W) must have fewer than 2^31 elements, which 32-bit indices reach (got N={spec.N}, "
                    f"K={spec.K}); split N over several operators"
                )
            # The weight alone decides: operators that differ in M, bias or output share this kernel.
            config = dataclasses.replace(
                without_epilogue(spec.config),
                M=1,
                out_dtype="float32",
                accum_dtype="float32",
                zeros_mode="original" if spec.config.has_packed_zeros else spec.config.zeros_mode,
            )
            layout, name = spec.layout, DECODED_DTYPES[dtype]
            parts = {"operation": "dequantize", "dtype": name, "weight_layout": layout}
            archive = find_archive(parts, lambda: schedule_dequantize(config, name, layout, target), config, target)
            self._kernels[dtype] = archive, archive.runtime_module()["dequantize"]
        return self._kernels[dtype][1]
