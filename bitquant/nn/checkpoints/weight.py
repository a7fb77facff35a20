# SPDX-License-Identifier: Apache-2.0
"""QuantizedWeight: the weight of one layer as a checkpoint holds it, in the terms of `MatmulConfig`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from bitquant import packing
from bitquant.arithmetic import ceil_div
from bitquant.config import MatmulConfig
from bitquant.errors import ConfigError
from bitquant.formats import SCALE_DTYPES, NumberFormat, number_format

__all__ = ["ActivationScheme", "QuantizedWeight"]

_KERNEL_ACTIVATIONS = ("int8", "float8_e4m3", "float8_e5m2")


@dataclass(frozen=True, eq=False)
class ActivationScheme:
    """How the checkpoint's own runtime quantizes the input of a layer; A ~ a * scale for the quantized a.

    It never changes the weight. A kernel takes it where `A_dtype` is not None.

    Attributes
    ----------
    dtype
        int8, float8_e4m3, or another format's name.
    granularity
        What shares a scale: "token" (a row of A), "tensor", or "group" (`group_size` columns of a
        row).
    is_dynamic
        Whether scales are computed at the call. Else `scale` holds them.
    is_symmetric
        Whether there is no zero point.
    group_size
        Columns that share a scale, for "group".
    scale
        float32: the scale of a static scheme; for NVFP4 the factor common to all scales of groups.
    """

    dtype: str
    granularity: Literal["token", "tensor", "group"] = "token"
    is_dynamic: bool = True
    is_symmetric: bool = True
    group_size: int | None = None
    scale: torch.Tensor | None = None

    @property
    def A_dtype(self) -> str | None:
        """Type of A that a kernel takes for this scheme: one factor a row, no zero point. None: no kernel does."""
        takes = self.dtype in _KERNEL_ACTIVATIONS and self.granularity != "group" and self.is_symmetric
        return self.dtype if takes else None


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """The weight W of a linear layer in few bits, D = A x W^T (+ bias), exactly as a checkpoint stores it.

    With g = group_size, r = rows_per_scale and p = permutation (the identity where it is None)::

        W[n, p[k]] = (values[n, k] - zeros[n, k // g]) * scale[n // r, k // g]   zeros_mode "original" and "quantized"
        W[n, p[k]] = values[n, k] * scale[n // r, k // g] - zeros[n, k // g]     zeros_mode "rescale"

    and that times channel_scale[n]. An absent zero is 0, an absent scale is 1. A layer multiplies
    ``A[..., permutation]`` by `values`. A weight of E experts has a leading dimension E everywhere: values (E, N, K),
    scale (E, N, K / g), bias (E, N).

    Attributes
    ----------
    values
        (N, K), of type ``number_format(W_dtype).torch_dtype``: integers, float8 or native floats;
        codes of packed formats that have levels. What `Matmul.transform_weight` takes.
    W_dtype, codebook
        Format of `values`, as in `MatmulConfig`.
    dtype
        float16, bfloat16 or float32: the type that the checkpoint computes in.
    scale
        (ceil(N / r), K / g), of one of `bitquant.formats.SCALE_DTYPES`, which holds the checkpoint's own scales
        exactly.
    zeros
        (N, K / g): of the type of `scale`, or uint8 integers for zeros_mode "quantized".
    zeros_mode
        As in `MatmulConfig`.
    group_size
        g, which divides K.
    bias
        (N,), as stored.
    permutation
        (K,) int64: column k of `values` is column permutation[k] of the weight.
    activation
        How the checkpoint's own runtime quantizes A; None where it does not.
    rows_per_scale
        r, consecutive rows n that share a scale.
    channel_scale
        (N,) float32, without zero points: for NVFP4 the factor of the whole tensor, N times.

    Raises
    ------
    ConfigError
        If shapes or types do not fit each other.
    """

    values: torch.Tensor
    W_dtype: str
    dtype: str = "float16"
    scale: torch.Tensor | None = None
    zeros: torch.Tensor | None = None
    zeros_mode: Literal["original", "rescale", "quantized"] = "original"
    group_size: int = -1
    bias: torch.Tensor | None = None
    permutation: torch.Tensor | None = None
    activation: ActivationScheme | None = None
    codebook: tuple[float, ...] | None = None
    rows_per_scale: int = 1
    channel_scale: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.group_size == -1:
            object.__setattr__(self, "group_size", self.K)
        _validate(self)

    @property
    def N(self) -> int:
        """Output features."""
        return self.values.shape[-2]

    @property
    def K(self) -> int:
        """Input features."""
        return self.values.shape[-1]

    @property
    def experts(self) -> int | None:
        """Number of experts E; None for an ordinary layer."""
        return self.values.shape[0] if self.values.ndim == 3 else None

    @property
    def W_format(self) -> NumberFormat:
        """Format of `values`."""
        return number_format(self.W_dtype, self.codebook)

    @property
    def is_quantized(self) -> bool:
        """Whether the weight has fewer than 16 bits; False where it was given as plain floats."""
        return self.W_format.bits <= 8

    @property
    def num_bytes(self) -> int:
        """Bytes of the weight as an operator stores it, packed, with scales and zero points, without bias."""
        total = self.values.numel() * self.W_format.bits // 8
        if self.scale is not None:
            total += self.scale.numel() * self.scale.element_size()
        if self.zeros is not None:
            bits = self.W_format.bits if self.zeros_mode == "quantized" else 8 * self.zeros.element_size()
            total += self.zeros.numel() * bits // 8
        if self.channel_scale is not None:
            total += self.channel_scale.numel() * self.channel_scale.element_size()
        return total

    def expert(self, index: int) -> QuantizedWeight:
        """Return the weight of one expert.

        Raises
        ------
        ConfigError
            If this is no weight of experts, or there are not so many.
        """
        if self.experts is None or not 0 <= index < self.experts:
            raise ConfigError(
                f"'index' must be that of one of {self.experts or 0} experts (got {index})",
                index=index,
            )

        def part(tensor: torch.Tensor | None) -> Any:
            return None if tensor is None else tensor[index]

        return QuantizedWeight(
            values=self.values[index], W_dtype=self.W_dtype, dtype=self.dtype, scale=part(self.scale),
            zeros=part(self.zeros), zeros_mode=self.zeros_mode, group_size=self.group_size, bias=part(self.bias),
            permutation=self.permutation, activation=self.activation, codebook=self.codebook,
            rows_per_scale=self.rows_per_scale, channel_scale=part(self.channel_scale),
        )  # fmt: skip

    def config_fields(
        self,
        A_dtype: str | None = None,
        out_dtype: str | None = None,
        scale_dtype: str | None = None,
    ) -> dict[str, Any]:
        """Return the fields of the `MatmulConfig` that multiplies by this weight, all but M; of one expert.

        One scale a row leaves the weight and becomes a ChannelScale where A has 8 bits, so that
        integers multiply integers. A of 8 bits has an ActivationScale, one factor a row of A, which
        the caller supplies.

        Parameters
        ----------
        A_dtype
            Type of A. Default: that of `activation` where a kernel takes it, else `dtype`.
        out_dtype
            Type of D. Default: `dtype`.
        scale_dtype
            Type of scales and unpacked zero points. Default: their own where that has 8 bits; the type of A where
            that holds each of them exactly, as the fastest kernels ask; else their own.
        """
        if A_dtype is None:
            A_dtype = (self.activation.A_dtype if self.activation is not None else None) or self.dtype
        A = number_format(A_dtype)
        by_row = self._scales_rows(A)
        with_zeros, mode = self.zeros is not None, self.zeros_mode
        if with_zeros and mode == "quantized" and self.N * self.W_format.bits % 8:
            mode = "original"  # Packed zero points of a row of groups would not fill whole bytes.
        has_scale_type = (self.scale is not None and not by_row) or (with_zeros and mode != "quantized")
        return {
            "N": self.N,
            "K": self.K,
            "A_dtype": A.name,
            "W_dtype": self.W_dtype,
            "out_dtype": out_dtype or self.dtype,
            "accum_dtype": "float32" if not A.is_integer else "int32",
            "with_bias": self.bias is not None,
            "group_size": self.group_size,
            "with_scaling": self.scale is not None and not by_row,
            "with_zeros": with_zeros,
            "zeros_mode": mode if with_zeros else "original",
            "scale_dtype": (scale_dtype or self._exact_scale_dtype(A)) if has_scale_type else None,
            "with_activation_scale": A.bits == 8,
            "with_channel_scale": by_row or self.channel_scale is not None,
            **({} if self.rows_per_scale == 1 else {"rows_per_scale": self.rows_per_scale}),
            **({} if self.codebook is None else {"codebook": self.codebook}),
        }

    def operands(self, config: MatmulConfig) -> dict[str, torch.Tensor | None]:
        """Return what an operator of `config`, made of `config_fields`, is called with, in its types.

        Keys are ``weight`` (for `Matmul.transform_weight`), ``scale``, ``zeros`` (packed for
        zeros_mode "quantized"), ``bias`` and ``channel_scale``; None where the config has no such
        operand. The input is gathered by the caller: ``A[..., permutation]``.

        Raises
        ------
        ConfigError
            If this is a weight of experts (take `expert` first), or `config` is of another problem.
        """
        if self.experts is not None:
            raise ConfigError("'operands' are those of one weight; take expert(index) first", experts=self.experts)
        by_row = self._scales_rows(config.A_format)
        own = (
            self.N,
            self.K,
            self.W_format,
            self.group_size,
            self.scale is not None,
            self.zeros is not None,
            by_row or self.channel_scale is not None,
            1 if self.scale is None or by_row else self.rows_per_scale,
        )
        scaled = config.with_channel_scale if by_row else config.with_scaling
        asked = (config.N, config.K, config.W_format, config.group, scaled, config.with_zeros)
        if (*asked, config.with_channel_scale, config.rows_per_scale) != own:
            raise ConfigError(
                f"'config' must be made of this weight's config_fields() (got {config}: {config.problem_summary()})",
                config=config,
            )
        zeros = self.zeros
        if zeros is not None and config.has_packed_zeros:
            zeros = packing.pack_zeros(zeros.T.contiguous(), config)
        elif zeros is not None:
            zeros = zeros.to(config.scale_format.torch_dtype)
        scale, channel_scale = self.scale, self.channel_scale
        if by_row and scale is not None:
            rows = scale.to(torch.float32).reshape(-1).repeat_interleave(self.rows_per_scale)[: self.N]
            channel_scale = rows if channel_scale is None else rows * channel_scale
        return {
            "weight": self.values,
            "scale": scale.to(config.scale_format.torch_dtype) if scale is not None and not by_row else None,
            "zeros": zeros,
            "bias": self.bias.to(config.out_format.torch_dtype) if self.bias is not None else None,
            "channel_scale": channel_scale,
        }

    def dequantize(self) -> torch.Tensor:
        """Return the weight as float32, (N, K), with the columns in the order of the checkpoint's own layer.

        The formula above in float32, one rounding an operation, the product of `scale` and `channel_scale` first: the
        numbers that the format's own reference gives when it computes in float32 (docs/checkpoints.md lists each).
        """
        # Integers are values already; codes of levels are not.
        w = self.values if self.W_format.levels is None else self.W_format.decode(self.values)
        w = w.to(torch.float32)
        grouped = w.unflatten(-1, (self.K // self.group_size, self.group_size))
        zeros = None if self.zeros is None else self.zeros.to(torch.float32).unsqueeze(-1)
        if zeros is not None and self.zeros_mode != "rescale":
            grouped = grouped - zeros
        if self.scale is not None:
            scale = self.scale.to(torch.float32)
            if self.rows_per_scale > 1:
                scale = scale.repeat_interleave(self.rows_per_scale, -2)[..., : self.N, :]
            scale = scale if self.channel_scale is None else scale * self.channel_scale.unsqueeze(-1)
            grouped = grouped * scale.unsqueeze(-1)
        elif self.channel_scale is not None:
            grouped = grouped * self.channel_scale[..., None, None]
        if zeros is not None and self.zeros_mode == "rescale":
            grouped = grouped - zeros
        w = grouped.flatten(-2)
        if self.permutation is None:
            return w
        result = torch.empty_like(w)
        result[..., self.permutation] = w
        return result

    def __repr__(self) -> str:
        shape = f"experts={self.experts}, N={self.N}, K={self.K}" if self.experts else f"N={self.N}, K={self.K}"
        parts = [shape, self.W_dtype]
        if self.scale is not None:
            shared = "groups of" if self.rows_per_scale == 1 else f"blocks of {self.rows_per_scale} x"
            parts.append(f"{shared} {self.group_size}, {str(self.scale.dtype).removeprefix('torch.')} scales")
        if self.channel_scale is not None:
            parts.append("channel scales")
        if self.zeros is not None:
            parts.append(f"{self.zeros_mode} zero points")
        if self.permutation is not None:
            parts.append("permuted columns")
        if self.bias is not None:
            parts.append("bias")
        if self.activation is not None:
            parts.append(f"{self.activation.dtype} activations")
        return f"QuantizedWeight({', '.join(parts)})"

    def _scales_rows(self, A: NumberFormat) -> bool:
        """Whether the scale is one number a row that is better applied to the sums."""
        factors_out = self.zeros is None or self.zeros_mode == "quantized"
        return A.bits == 8 and self.scale is not None and self.group_size == self.K and factors_out

    def _exact_scale_dtype(self, A: NumberFormat) -> str:
        """Return the type of A where that holds scales and zero points exactly, else a type that does."""
        if self.scale is not None and self.scale.element_size() == 1:
            return number_format(str(self.scale.dtype).removeprefix("torch.")).name
        tensors = [t for t in (self.scale, self.zeros) if t is not None and t.is_floating_point()]
        wanted = A.torch_dtype if A.bits > 8 else torch.float32
        if all(torch.equal(t.to(wanted).to(torch.float32), t.to(torch.float32)) for t in tensors):
            return str(wanted).removeprefix("torch.")
        return str(tensors[0].dtype).removeprefix("torch.")


def _validate(w: QuantizedWeight) -> None:
    fmt = w.W_format
    if w.values.ndim not in (2, 3) or w.values.dtype != fmt.torch_dtype:
        raise ConfigError(
            f"'values' must be an (N, K) or (E, N, K) tensor of {fmt.torch_dtype} where W is {fmt.name} "
            f"(got {w.values.dtype}, shape {tuple(w.values.shape)})",
            values=w.values.dtype,
        )
    if w.group_size < 1 or w.K % w.group_size:
        raise ConfigError(
            f"'group_size' must divide K (got group_size={w.group_size}, K={w.K})",
            group_size=w.group_size,
        )
    if w.zeros is not None and w.zeros_mode not in ("original", "rescale", "quantized"):
        raise ConfigError(
            f"'zeros_mode' must be original, rescale or quantized (got {w.zeros_mode!r})",
            zeros_mode=w.zeros_mode,
        )
    if w.rows_per_scale < 1 or ((w.rows_per_scale > 1 or w.channel_scale is not None) and w.zeros is not None):
        raise ConfigError(
            "'rows_per_scale' must be an int >= 1, and 1 without a 'channel_scale' where there are zero points "
            f"(got {w.rows_per_scale})",
            rows_per_scale=w.rows_per_scale,
        )
    rows, num_groups = w.values.shape[:-1], w.K // w.group_size
    floats = (torch.float16, torch.bfloat16, torch.float32)
    scales = (*floats, *(number_format(name).torch_dtype for name in SCALE_DTYPES if name.startswith("float8")))
    own = (w.scale.dtype,) if w.scale is not None else floats
    zeros_types = (torch.uint8,) if w.zeros_mode == "quantized" else own
    for name, tensor, shape, dtypes in (
        ("scale", w.scale, (*rows[:-1], ceil_div(w.N, w.rows_per_scale), num_groups), scales),
        ("zeros", w.zeros, (*rows, num_groups), zeros_types),
        ("bias", w.bias, tuple(rows), floats),
        ("channel_scale", w.channel_scale, tuple(rows), (torch.float32,)),
        ("permutation", w.permutation, (w.K,), (torch.int64,)),
    ):
        if tensor is not None and (tuple(tensor.shape) != shape or tensor.dtype not in dtypes):
            raise ConfigError(
                f"{name!r} must have shape {shape} and type {' or '.join(map(str, dtypes))} "
                f"(got {tensor.dtype}, shape {tuple(tensor.shape)})",
                **{name: tuple(tensor.shape)},
            )
