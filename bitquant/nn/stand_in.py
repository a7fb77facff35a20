# SPDX-License-Identifier: Apache-2.0
"""What stands for the weight of a quantized layer: its shape, type and device, and no numbers."""

from __future__ import annotations

from typing import Any

import torch

from bitquant.errors import CallError

__all__ = ["weight_stand_in"]

_PROPERTIES = (
    "shape", "dtype", "device", "layout", "ndim", "itemsize", "nbytes", "requires_grad", "is_leaf", "is_cpu",
    "is_cuda", "is_meta", "is_sparse", "is_quantized", "is_nested", "grad", "grad_fn",
)  # fmt: skip
_METHODS = ("size", "dim", "numel", "nelement", "ndimension", "element_size", "is_floating_point", "is_complex",
            "get_device", "is_contiguous", "stride", "__len__")  # fmt: skip
_tensor: Any = torch.Tensor
_ALLOWED = frozenset([*(getattr(_tensor, n).__get__ for n in _PROPERTIES), *(getattr(_tensor, n) for n in _METHODS)])
#: What gives the tensor itself.
_SAME = (_tensor.data.__get__, _tensor.detach)


class _StandIn(torch.Tensor):
    """A tensor that says what it is, and refuses to be computed with."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer questions about shape, type and device.

        Raises
        ------
        CallError
            If `func` needs numbers.
        """
        if func in _SAME or (func is torch.Tensor.requires_grad_ and False in (*args[1:], *(kwargs or {}).values())):
            return args[0]
        if func in _ALLOWED:
            return super().__torch_function__(func, types, args, kwargs)
        raise CallError(
            f"'weight' of a quantized layer has a shape, a type and a device but no numbers, which "
            f"{getattr(func, '__name__', func)} asks for; call the layer itself, or its dequantize()"
        )

    def __repr__(self, *, tensor_contents: Any = None) -> Any:  # type: ignore[override]  # torch leaves it untyped
        del tensor_contents
        return f"<weight of a quantized layer, shape {tuple(self.shape)}, {self.dtype}, {self.device}>"

    def __deepcopy__(self, memo: Any) -> _StandIn:
        return self


def weight_stand_in(shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return a tensor for code that asks a layer's weight for its shape, type or device.

    It takes no memory. To compute with it is a `CallError`; in what torch.compile traces, which knows no such tensors,
    it is NaN everywhere.
    """
    numbers = torch.full((1, 1), torch.nan, dtype=dtype, device=device).expand(shape)
    return numbers if torch.compiler.is_compiling() else numbers.as_subclass(_StandIn)
