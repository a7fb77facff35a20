# SPDX-License-Identifier: Apache-2.0
"""The stored tensors of one layer, checked as they are read; and the errors that name file, layer and tensor."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch

from bitquant.errors import CheckpointError

__all__ = ["ANOTHER_VARIANT", "StoredLayer", "TensorSource", "checkpoint_error"]

#: The fix where a tensor is not what its format says.
_DAMAGED = "save or fetch the checkpoint again"
#: The fix where a variant is not read.
ANOTHER_VARIANT = "quantize it again in a variant that is read (docs/checkpoints.md)"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32)


class TensorSource(Protocol):
    """Named tensors on disk, read one by one."""

    @property
    def names(self) -> Sequence[str]:
        """Names of all tensors."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor; its data is not read."""

    def dtype(self, name: str) -> torch.dtype | str:
        """Return the type of a tensor; a string where torch has no such type."""

    def nbytes(self, name: str) -> int:
        """Return the bytes of a tensor in its file."""

    def read(self, name: str, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return a tensor on a device."""

    def read_ahead(self, names: Iterable[str], device: torch.device) -> None:
        """Begin to read tensors that will be asked for on that device, where that is worth a thread."""

    def close(self) -> None:
        """End what `read_ahead` began; tensors can still be read."""

    def file(self, name: str) -> str:
        """Return the path of the file that holds a tensor."""


def checkpoint_error(
    where: str,
    rule: str,
    layer: str | None = None,
    tensor: str | None = None,
    fix: str | None = None,
    **values: Any,
) -> CheckpointError:
    """Return the error for a file (or directory) that breaks a rule."""
    place = "".join((f", layer {layer!r}" if layer else "", f", tensor {tensor!r}" if tensor else ""))
    advice = f"; {fix}" if fix else ""
    return CheckpointError(f"{where}{place}: {rule}{advice}", file=where, layer=layer, tensor=tensor, **values)


class StoredLayer:
    """The tensors of one layer: a path, and for each role (the end of a tensor's name) the full name.

    Parameters
    ----------
    source
        Where they are read from.
    path
        Path of the layer's module in the checkpoint.
    tensors
        Full name of each role, such as {"qweight": "model.layers.0.mlp.up_proj.qweight"}.

    Attributes
    ----------
    device : torch.device
        Where tensors go as they are read, so that they are unpacked there.
    """

    def __init__(self, source: TensorSource, path: str, tensors: Mapping[str, str]) -> None:
        self.source, self.path, self.tensors = source, path, dict(tensors)
        self.device = torch.device("cpu")

    def __contains__(self, role: str) -> bool:
        return role in self.tensors

    def shape(self, role: str) -> tuple[int, ...]:
        """Return the shape of a tensor that must be there."""
        return self.source.shape(self._name(role))

    def dtype(self, role: str) -> torch.dtype | str:
        """Return the type of a tensor that must be there."""
        return self.source.dtype(self._name(role))

    def read(
        self,
        role: str,
        dtypes: torch.dtype | Sequence[torch.dtype],
        shape: tuple[int | None, ...],
        meaning: str = "",
        device: torch.device | str | None = None,
    ) -> torch.Tensor:
        """Return a tensor that must be there, of one of these types and this shape; None there stands for any size.

        It goes to `device`, or that of the layer.

        Raises
        ------
        CheckpointError
            If it is missing or breaks the rule. Its data has not been read then.
        """
        name = self._name(role)
        allowed = (dtypes,) if isinstance(dtypes, torch.dtype) else tuple(dtypes)
        if (found := self.source.dtype(name)) not in allowed:
            raise self.error(f"must be {_or(allowed)} (got {_dtype_name(found)})", role)
        got = self.source.shape(name)
        if len(got) != len(shape) or any(s is not None and s != g for s, g in zip(shape, got, strict=True)):
            wanted = ", ".join("any" if s is None else str(s) for s in shape)
            what = f"{meaning} = " if meaning else ""
            raise self.error(f"must have shape {what}({wanted}) (got {got})", role)
        return self.source.read(name, self.device if device is None else device)

    def read_floats(self, role: str, shape: tuple[int | None, ...], meaning: str = "") -> torch.Tensor:
        """Return a tensor of float16, bfloat16 or float32 whose elements are finite."""
        tensor = self.read(role, _FLOATS, shape, meaning)
        if not bool(torch.isfinite(tensor).all()):
            raise self.error("must be finite (got infinity or NaN)", role)
        return tensor

    def read_bias(self, N: int) -> torch.Tensor | None:
        """Return the bias, (N,), where there is one."""
        return self.read_floats("bias", (N,), "(N,)") if "bias" in self else None

    def read_json(self, role: str) -> dict[str, Any]:
        """Return the object of JSON text stored as bytes."""
        text = self.read(role, torch.uint8, (None,))
        try:
            value = json.loads(bytes(text.tolist()).decode())
        except (ValueError, RecursionError) as error:
            raise self.error(f"must hold JSON text ({error})", role) from error
        if not isinstance(value, dict):
            raise self.error(f"must hold a JSON object (got {type(value).__name__})", role)
        return value

    def error(self, rule: str, role: str | None = None, fix: str = _DAMAGED, **values: Any) -> CheckpointError:
        """Return the error for this layer, and this tensor of it, that breaks a rule; `fix` where it is no damage."""
        name = self.tensors.get(role) if role else None
        anchor = name or next(iter(self.tensors.values()))
        return checkpoint_error(self.source.file(anchor), rule, self.path, name or role, fix, **values)

    def unread(self, rule: str, role: str | None = None) -> CheckpointError:
        """Return the error for this layer that is whole, but of a variant that is not read."""
        return self.error(rule, role, ANOTHER_VARIANT)

    def missing(self, role: str) -> CheckpointError:
        """Return the error for a tensor that is not there."""
        return self.error(f"is missing (the layer has {', '.join(sorted(self.tensors))})", role)

    def _name(self, role: str) -> str:
        if role not in self.tensors:
            raise self.missing(role)
        return self.tensors[role]


def _dtype_name(dtype: torch.dtype | str) -> str:
    return str(dtype).removeprefix("torch.")


def _or(dtypes: Sequence[torch.dtype]) -> str:
    return " or ".join(map(_dtype_name, dtypes))
