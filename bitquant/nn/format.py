# SPDX-License-Identifier: Apache-2.0
"""The format of a stored weight, as a small tensor that a state dict carries.

Shapes and types alone do not tell the weights of uint4, int4 and nf4 apart, nor what a zero point means. So each layer
writes the fields that do as canonical JSON, in a tensor of its bytes: safetensors and ``torch.load(weights_only=True)``
take tensors and nothing else.
"""

from __future__ import annotations

import json
import re
from typing import Any

import torch

from bitquant.config import MatmulConfig
from bitquant.errors import ConfigError

__all__ = ["describe_format", "format_difference", "format_fields", "name_pattern", "pack_format", "unpack_format"]

#: Version of what the fields and the plain layout of a weight mean.
VERSION = 1
#: Most bytes of a format, some hundred times what one has.
_MAX_BYTES = 1 << 16
#: Differences that are named.
_MAX_DIFFERENCES = 10


def format_fields(layer: str, config: MatmulConfig, **others: Any) -> dict[str, Any]:
    """Return what decides the meaning of a layer's stored tensors.

    Parameters
    ----------
    layer
        Class of the layer: which tensors there are.
    config
        The problem. Types of A and D, M and the bias do not change what is stored.
    **others
        Further fields of the layer.
    """
    c = config
    return {
        "version": VERSION,
        "layer": layer,
        "N": c.N,
        "K": c.K,
        "W_dtype": c.W_format.name,
        "group_size": c.group if c.with_scaling or c.with_zeros else None,
        "with_scaling": c.with_scaling,
        "zeros_mode": c.zeros_mode if c.with_zeros else None,
        "scale_dtype": c.scale_format.name if c.has_scale_type else None,
        "with_channel_scale": c.with_channel_scale,
        **({"codebook": list(c.W_format.levels or ())} if c.W_format.takes_codebook else {}),
        **({"rows_per_scale": c.rows_per_scale} if c.with_scaling and c.rows_per_scale > 1 else {}),
        **others,
    }


def pack_format(fields: dict[str, Any]) -> torch.Tensor:
    """Return the fields as a uint8 tensor on the CPU: the bytes of their canonical JSON."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return torch.tensor(list(text.encode("ascii")), dtype=torch.uint8, device="cpu")


def unpack_format(tensor: Any) -> dict[str, Any]:
    """Return the fields that `pack_format` packed.

    Raises
    ------
    ConfigError
        If it is no such tensor, or of a later version.
    """
    fields: Any = None
    if isinstance(tensor, torch.Tensor) and tensor.dtype is torch.uint8 and tensor.ndim == 1 and not tensor.is_meta:
        try:
            fields = json.loads(bytes(tensor[: _MAX_BYTES + 1].tolist()).decode("ascii"))
        except (ValueError, RecursionError):  # The last where it is nested too deep.
            fields = None
    if not isinstance(fields, dict) or type(fields.get("version")) is not int or tensor.numel() > _MAX_BYTES:
        got = f"{tensor.dtype}, shape {tuple(tensor.shape)}" if isinstance(tensor, torch.Tensor) else f"{tensor!r:.80}"
        raise ConfigError(f"the format of a layer must be JSON in a tensor of bytes (got {got})", format=tensor)
    if fields["version"] > VERSION:
        raise ConfigError(
            f"the format of a layer must be of version {VERSION} or before (got {fields['version']!r:.80}); "
            "use the bitquant that wrote it, or a newer one",
            format=fields,
        )
    return fields


def describe_format(fields: dict[str, Any]) -> str:
    """Return the fields in words."""
    said = {name: f"{value!s:.40}" for name, value in fields.items()}  # By whoever wrote the file.
    parts = [f"{said.get('layer')} of {said.get('W_dtype')}, N={said.get('N')}, K={said.get('K')}"]
    if fields.get("group_size") is not None:
        parts.append(f"groups of {said['group_size']}")
    if fields.get("rows_per_scale") is not None:
        parts.append(f"{said['rows_per_scale']} rows a scale")
    if fields.get("with_scaling"):
        parts.append(f"{said.get('scale_dtype')} scales")
    if fields.get("zeros_mode") is not None:
        parts.append(f"{said['zeros_mode']} zero points")
    if fields.get("with_channel_scale"):
        parts.append("channel scales")
    if fields.get("with_permutation"):
        parts.append("permuted columns")
    return ", ".join(parts)


def format_difference(stored: dict[str, Any], own: dict[str, Any]) -> str | None:
    """Return in which fields a stored format differs from a layer's own, in words; None where in none."""
    names = sorted({*stored, *own}, key=[*own, *stored].index)
    different = [n for n in names if stored.get(n) != own.get(n)]
    if not different:
        return None
    said = [f"{n:.40} is {stored.get(n)!r:.40} and not {own.get(n)!r}" for n in different]
    return ", ".join(said[:_MAX_DIFFERENCES]) + (" ..." if len(said) > _MAX_DIFFERENCES else "")


def name_pattern(name: str) -> re.Pattern[str]:
    """Return what matches the layers that a saved quantization config means by a name, in which "*" is any number."""
    return re.compile(re.escape(name).replace(r"\*", r"\d+"))
