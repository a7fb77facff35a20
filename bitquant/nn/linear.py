# SPDX-License-Identifier: Apache-2.0
"""Linear: a layer whose weight is stored in few bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from tvm.target import Target

from bitquant import relayout
from bitquant.checks import check_bool, check_rows
from bitquant.config import MatmulConfig, ZerosMode
from bitquant.errors import CallError, ConfigError
from bitquant.nn.activations import quantize_tokens
from bitquant.nn.checkpoints.weight import QuantizedWeight
from bitquant.nn.format import format_fields
from bitquant.nn.held import check_permutation, held_tensors
from bitquant.nn.layer_fields import constructor_fields, rounded_fields
from bitquant.nn.mergeable import MergeableModule
from bitquant.nn.rounding import Method, quantize
from bitquant.nn.stand_in import weight_stand_in
from bitquant.operator.dispatch import may_have_gradient, straight_through

__all__ = ["Linear"]


class Linear(MergeableModule):
    """A linear layer, D = A x decode(W)^T (+ bias), with W stored in few bits.

    A of 16 bits and more has a gradient, dA = dD x decode(W), so that adapters around the layer can be trained. The
    weight and what goes with it are buffers and have none. Where the layer rounds its input itself
    (`quantize_activations`) the rounding counts as the identity.

    The names and their order are those of BitBLAS. All buffers are zero until they are loaded, by
    `load_and_transform_weight`, `from_float`, `from_quantized` or ``load_state_dict``.

    Parameters
    ----------
    in_features, out_features
        K and N.
    bias
        Whether a bias, (N,) of the output's type, is added.
    A_dtype, W_dtype, accum_dtype, out_dtype
        Formats as in `MatmulConfig`.
    group_size
        Consecutive k that share a scale and a zero point; divides K. -1 and None mean K.
    with_scaling, with_zeros
        Whether there are scales and zero points; None means False.
    zeros_mode
        "original", "rescale" or "quantized" as in `MatmulConfig`; None means "original".
    opt_M
        M of the config: a ladder of row numbers to make kernels for, None for the default one, or an int for a layer
        that takes exactly so many rows.
    enable_tuning
        Passed to `Matmul` when a call first needs it.
    fast_decoding, propagate_b
        False asks for the plain weight layout.
    scale_dtype
        Type of the scales, and of zero points that are not packed; None: the type of A, float32 where A has 8 bits.
    target
        None: kernels for the device of the input, made when a call first needs them. Otherwise as in `Matmul`.
    with_activation_scale
        Whether a call takes a float32 factor for each row of A, as A of 8 bits needs.
    with_channel_scale
        Whether the layer has a float32 factor for each output channel.
    quantize_activations
        Whether a call takes floats and rounds each token to `A_dtype`, one of 8 bits
        (`bitquant.nn.activations.quantize_tokens`). It brings `with_activation_scale`; calls pass no scale.
    with_permutation
        Whether a call gathers the columns of A by `permutation` before it multiplies.
    codebook
        The 16 levels of W_dtype "code4", as in `MatmulConfig`.
    rows_per_scale
        Consecutive output channels that share a scale, as in `MatmulConfig`.

    Attributes
    ----------
    qweight : torch.Tensor
        The packed weight, ``layouts.weight_shape(config, weight_layout)``; in state dicts plain, ``config.W_shape``.
    scales, zeros, bias, channel_scale : torch.Tensor or None
        ``config.scale_shape``, ``config.zeros_shape``, (N,), (N,); None where the layer has none.
    permutation : torch.Tensor or None
        (K,) int64: what multiplies column k of `qweight` is A[..., permutation[k]].
    weight : torch.Tensor
        For code that asks a layer's weight for its shape, (N, K), its type, which is that of the input, or its device.
        It has no numbers and takes no memory; to compute with it is a `CallError`. `dequantize` gives the numbers.

    Raises
    ------
    ConfigError
        If a rule of `MatmulConfig` is broken, or `quantize_activations` is set where A has 16 bits.

    Examples
    --------
    >>> layer = Linear(1024, 1024, W_dtype="uint4", group_size=128, with_scaling=True)
    >>> weight = torch.randint(0, 16, (1024, 1024))
    >>> layer.load_and_transform_weight(weight, scales=torch.rand(1024, 8).half())
    >>> layer(torch.rand(2, 3, 1024).half()).shape
    torch.Size([2, 3, 1024])
    """

    config: MatmulConfig
    qweight: torch.Tensor
    scales: torch.Tensor | None
    zeros: torch.Tensor | None
    bias: torch.Tensor | None
    channel_scale: torch.Tensor | None
    permutation: torch.Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = False,
        A_dtype: str = "float16",
        W_dtype: str = "float16",
        accum_dtype: str = "float16",
        out_dtype: str = "float16",
        group_size: int | None = -1,
        with_scaling: bool | None = None,
        with_zeros: bool | None = None,
        zeros_mode: ZerosMode | None = None,
        opt_M: int | Sequence[int] | None = None,
        enable_tuning: bool = False,
        fast_decoding: bool | None = None,
        propagate_b: bool | None = None,
        scale_dtype: str | None = None,
        target: str | Target | None = None,
        with_activation_scale: bool = False,
        with_channel_scale: bool = False,
        quantize_activations: bool = False,
        with_permutation: bool = False,
        codebook: Sequence[float] | None = None,
        rows_per_scale: int = 1,
    ) -> None:
        for name, flag in (
            ("with_activation_scale", with_activation_scale),
            ("quantize_activations", quantize_activations),
            ("with_permutation", with_permutation),
        ):
            check_bool(flag, name)
        check_rows(opt_M, "opt_M")
        config = MatmulConfig(
            M=opt_M,
            N=out_features,
            K=in_features,
            A_dtype=A_dtype,
            W_dtype=W_dtype,
            out_dtype=out_dtype,
            accum_dtype=accum_dtype,
            with_bias=bias,
            group_size=group_size,
            with_scaling=False if with_scaling is None else with_scaling,
            with_zeros=False if with_zeros is None else with_zeros,
            zeros_mode="original" if zeros_mode is None else zeros_mode,
            fast_decoding=fast_decoding,
            propagate_b=propagate_b,
            scale_dtype=scale_dtype,
            with_activation_scale=with_activation_scale or quantize_activations,
            with_channel_scale=with_channel_scale,
            codebook=codebook,
            rows_per_scale=rows_per_scale,
        )
        if group_size not in (None, -1, in_features) and not (config.with_scaling or config.with_zeros):
            raise ConfigError(
                f"'group_size' needs scales or zero points that groups share (got group_size={group_size}, "
                "with_scaling=False, with_zeros=False); set with_scaling=True or with_zeros=True, or leave "
                "group_size out",
                group_size=group_size,
            )
        if quantize_activations and config.A_format.bits > 8:
            raise ConfigError(
                f"'quantize_activations' needs A_dtype='int8', 'float8_e4m3' or 'float8_e5m2' (got {A_dtype!r}); "
                "leave it out",
                quantize_activations=quantize_activations, A_dtype=A_dtype,
            )  # fmt: skip
        super().__init__(config, target, enable_tuning)
        self.in_features, self.out_features = in_features, out_features
        self.quantize_activations = quantize_activations
        self.register_buffer("qweight", torch.zeros(config.W_shape, dtype=config.W_format.torch_dtype))
        self._optional = held_tensors(config, with_permutation=with_permutation)
        for held in self._optional:
            self.register_buffer(held.name, torch.zeros(held.shape, dtype=held.dtype) if held.is_present else None)
        self._arrange_weight()

    @property
    def weight(self) -> torch.Tensor:
        """A tensor of the shape, type and device that the weight has for callers, without numbers."""
        A, out = self.config.A_format, self.config.out_format
        fmt = A if A.bits > 8 else out
        dtype = torch.float32 if fmt.is_integer else fmt.torch_dtype
        return weight_stand_in((self.out_features, self.in_features), dtype, self.qweight.device)

    def forward(
        self, A: torch.Tensor, output: torch.Tensor | None = None, activation_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return D = A x decode(W)^T (* activation_scale) (* channel_scale) (+ bias).

        Parameters
        ----------
        A
            (..., K), of type `A_dtype`, or of a floating-point type where the layer has `quantize_activations`. It is
            not cast; it is copied where it is not contiguous.
        output
            Where to write D, (..., N), contiguous; allocated where None.
        activation_scale
            float32, (...) or (..., 1), the leading dimensions of A; where the layer has `with_activation_scale` and not
            `quantize_activations`.

        Raises
        ------
        CallError
            If shape, type, device or strides do not fit.
        """
        if self._merged is not None and output is None and activation_scale is None:
            D = self._merged.product(A, self._buffers)
            if D is not None:
                return D
        if self.permutation is not None:
            A = self._gathered(A)
        if self.quantize_activations:
            return self._multiply_floats(A, output, activation_scale)
        return self._multiply(
            A,
            self.scales,
            self._dense_zeros(),
            self.bias,
            output,
            activation_scale=activation_scale,
            channel_scale=self.channel_scale,
        )

    def _gathered(self, A: torch.Tensor) -> torch.Tensor:
        """Return A with its columns in the order of those of the stored weight."""
        permutation: Any = self.permutation
        if not isinstance(A, torch.Tensor) or A.shape[-1:] != permutation.shape or A.device != permutation.device:
            got = f"shape {tuple(A.shape)}, on {A.device}" if isinstance(A, torch.Tensor) else type(A).__name__
            raise CallError(
                f"'A' must be a tensor of shape (..., {self.in_features}) on {permutation.device} (got {got})"
            )
        return A.index_select(-1, permutation)

    def _multiply_floats(
        self, x: torch.Tensor, output: torch.Tensor | None, activation_scale: torch.Tensor | None
    ) -> torch.Tensor:
        """Return D of floats, which are rounded to 8 bits by token."""
        if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.shape[-1:] != (self.in_features,):
            got = f"{x.dtype}, shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
            raise CallError(f"'A' must be a tensor of floats of shape (..., {self.in_features}) (got {got})")
        if activation_scale is not None:
            raise CallError("'activation_scale' must be None: the layer scales its input itself; leave it out")
        values, scale = quantize_tokens(x, self.config.A_format.name, inverse=True)
        D = self._multiply(
            values,
            self.scales,
            self._dense_zeros(),
            self.bias,
            output,
            activation_scale=scale,
            channel_scale=self.channel_scale,
        )
        if output is None and may_have_gradient(x, D):
            operands = {"scale": self.scales, "zeros": self._dense_zeros(), "channel_scale": self.channel_scale}
            D = straight_through(x, D, self.qweight, self.operator(x.device.type).problem, **operands)
        return D

    def _dense_zeros(self) -> torch.Tensor | None:
        """Return the zero points as operators take them: packed ones of a merged layer are columns of the whole's."""
        return None if self.zeros is None else self.zeros.contiguous()

    def load_and_transform_weight(
        self,
        weight: torch.Tensor,
        scales: torch.Tensor | None = None,
        zeros: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        channel_scale: torch.Tensor | None = None,
        permutation: torch.Tensor | None = None,
    ) -> None:
        """Pack a weight and load it together with the operands that go with it.

        The layer moves to the GPU of `weight` if that is on one; a weight on the CPU is moved to the layer.

        Parameters
        ----------
        weight
            (N, K) values as `Matmul.transform_weight` takes them: integers for integer formats.
        scales
            (ceil(N / rows_per_scale), K / group_size), of the type of ``layer.scales``.
        zeros
            Zero points of the shape and type of ``layer.zeros``, as the operator takes them: (N, K / group_size), and
            for zeros_mode "quantized" what `Matmul.transform_zeros` returns.
        bias
            (N,), of the output's type.
        channel_scale
            (N,) float32.
        permutation
            (K,) int64, each of 0 ... K - 1 once.

        Raises
        ------
        ConfigError
            If an operand is missing, is not part of the layer, or has the wrong shape, type or values. Nothing has been
            loaded then.
        """
        where = weight.device.type if isinstance(weight, torch.Tensor) else "cpu"
        packed = relayout.pack(weight, self.config, self._kernels.layout(where))
        operands = {
            "scales": scales, "zeros": zeros, "bias": bias, "channel_scale": channel_scale, "permutation": permutation,
        }  # fmt: skip
        for held in self._optional:
            held.check(operands[held.name])
        if permutation is not None:
            check_permutation(permutation)
        here = self.qweight.device
        device = packed.device if packed.device.type != "cpu" or here.type == "meta" else here
        self.qweight = packed.to(device)
        for name, tensor in operands.items():
            # Own memory: what the caller does to his tensor later is not the layer's.
            setattr(self, name, None if tensor is None else tensor.detach().to(device, copy=True).contiguous())
        self._arrange_weight()
        self._join()

    def dequantize(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return the weight W, (N, K), on the device of the layer: D = A x W^T (+ bias). It has no gradient.

        It is decode(W), times `channel_scale` where there is one, with columns in the order of those of A.

        Parameters
        ----------
        dtype
            As in `Operator.dequantize`; None: the type of A, float32 where A has 8 bits. Each number is rounded to it
            once, or twice where there is a `channel_scale`.

        Raises
        ------
        CallError
            If `dtype` is none of float16, bfloat16 and float32.
        UnsupportedError
            If N * K exceeds 2^31 - 1.
        """
        operator = self.operator(self.qweight.device.type)
        self._arrange_weight()
        weight = operator.dequantize(self.qweight, self.scales, self._dense_zeros(), dtype)
        if self.channel_scale is not None:
            weight = (weight * self.channel_scale.unsqueeze(-1)).to(weight.dtype)
        if self.permutation is not None:
            weight = torch.empty_like(weight).index_copy_(-1, self.permutation, weight)
        return weight

    def constructor_fields(self) -> dict[str, Any]:
        """Return the keyword arguments, other than sizes, bias, target and tuning, that construct an equal empty layer.

        Only what differs from the defaults is named; all of it can be written as JSON.
        """
        return constructor_fields(
            self.config,
            quantize_activations=self.quantize_activations,
            with_permutation=self.permutation is not None,
        )

    def _format(self) -> dict[str, Any]:
        return format_fields("Linear", self.config, with_permutation=self.permutation is not None)

    @property
    def has_scale_type(self) -> bool:
        """Whether there are scales or zero points in the type of the scales."""
        return self.config.has_scale_type

    def with_scale_dtype(self, scale_dtype: str) -> Linear:
        """Return a layer with the same weight whose scales, and zero points that are not packed, have another type."""
        fields = {**self.constructor_fields(), "scale_dtype": scale_dtype}
        with torch.device("meta"):
            layer = type(self)(
                self.in_features, self.out_features, self.bias is not None, target=self._kernels.target, **fields
            )
        for name, buffer in self.named_buffers():
            is_scale = name == "scales" or (name == "zeros" and not self.config.has_packed_zeros)
            setattr(layer, name, buffer.to(layer.config.scale_format.torch_dtype) if is_scale else buffer.contiguous())
        layer.qweight = self._arranged(self.qweight, "plain")
        layer._arrange_weight()
        return layer.train(self.training)

    @classmethod
    def from_float(
        cls,
        linear: torch.nn.Linear,
        W_dtype: str = "uint4",
        group_size: int | None = 128,
        A_dtype: str | None = None,
        out_dtype: str | None = None,
        zeros_mode: ZerosMode | None = None,
        method: Method = "rtn",
        **options: Any,
    ) -> Linear:
        """Return a layer with the weight of `linear` rounded (`quantize`), on the same device.

        Parameters
        ----------
        linear
            The layer to replace; it is not changed.
        W_dtype
            Format of the weight. Unsigned integers get zero points, other formats of up to 8 bits scales alone.
        group_size
            Consecutive k that share a scale; divides K. -1 and None mean K. A W of 16 bits and more has no groups.
        A_dtype
            Type in which the product takes its input; None: that of ``linear.weight``. With one of 8 bits the layer
            takes floats and rounds each token (`quantize_activations`), and one scale a row becomes a `channel_scale`.
        out_dtype
            Type of the output; None: that of ``linear.weight``.
        zeros_mode
            "original", "rescale" or "quantized", for unsigned integers; None: "original" where there are zero points.
        method
            As in `quantize`: "rtn" rounds to nearest, "hqq" optimises zero points.
        **options
            Further parameters of `Linear`: accum_dtype, opt_M, scale_dtype, codebook, target ...

        Raises
        ------
        ConfigError
            If `linear` is not a torch.nn.Linear, its weight is float64 or not finite, `zeros_mode` is given for a
            format without zero points, or a rule of `MatmulConfig` is broken.
        """
        if not isinstance(linear, torch.nn.Linear):
            raise ConfigError(f"'linear' must be a torch.nn.Linear (got {type(linear).__name__})", linear=linear)
        if linear.weight.dtype is torch.float64:
            raise ConfigError(
                "'linear' must have a weight of at most 32 bits, which kernels compute in (got torch.float64); use "
                ".float() of the layer or the model",
                linear=linear,
            )
        fields = rounded_fields(linear, W_dtype, group_size, A_dtype, out_dtype, zeros_mode)
        by_row = fields["with_channel_scale"]
        with torch.device("meta"):
            layer = cls(linear.in_features, linear.out_features, bias=linear.bias is not None, **fields, **options)
        if linear.weight.is_meta:
            return layer
        rounded_for = dataclasses.replace(layer.config, with_scaling=True) if by_row else layer.config
        values, scales, zeros = quantize(linear.weight, rounded_for, method)
        channel_scale = None
        if by_row and scales is not None:
            channel_scale, scales = scales.reshape(-1).to(torch.float32), None
        bias = None if linear.bias is None else linear.bias.to(layer.config.out_format.torch_dtype)
        layer.load_and_transform_weight(values, scales, zeros, bias, channel_scale)
        return layer

    @classmethod
    def from_quantized(
        cls,
        weight: QuantizedWeight,
        A_dtype: str | None = None,
        out_dtype: str | None = None,
        scale_dtype: str | None = None,
        **options: Any,
    ) -> Linear:
        """Return a layer with a weight that a checkpoint holds, on the same device; nothing is rounded.

        Parameters
        ----------
        weight
            What `read_checkpoint` gives for a layer, quantized, of one expert.
        A_dtype, out_dtype, scale_dtype
            As in `QuantizedWeight.config_fields`. With A of 8 bits, which is the default where the checkpoint's own
            runtime quantizes activations in a way that a kernel takes, the layer takes floats and rounds each token.
        **options
            Further parameters of `Linear`: opt_M, target ...

        Raises
        ------
        ConfigError
            If `weight` is of several experts or not quantized, or a rule of `MatmulConfig` is broken.
        """
        layer = cls.empty_for(weight, A_dtype, out_dtype, scale_dtype, **options)
        operands: dict[str, Any] = dict(weight.operands(layer.config))
        layer.load_and_transform_weight(
            operands["weight"],
            operands["scale"],
            operands["zeros"],
            operands["bias"],
            operands["channel_scale"],
            weight.permutation,
        )
        return layer

    @classmethod
    def empty_for(
        cls,
        weight: QuantizedWeight,
        A_dtype: str | None = None,
        out_dtype: str | None = None,
        scale_dtype: str | None = None,
        **options: Any,
    ) -> Linear:
        """Return the layer that `from_quantized` fills, on the meta device."""
        if not isinstance(weight, QuantizedWeight) or weight.experts is not None or not weight.is_quantized:
            raise ConfigError(
                f"'weight' must be a QuantizedWeight that is quantized, and of one expert (got {weight!r:.200})",
                weight=weight,
            )
        fields = weight.config_fields(A_dtype, out_dtype, scale_dtype)
        N, K = fields.pop("N"), fields.pop("K")
        with torch.device("meta"):
            return cls(
                K,
                N,
                bias=fields.pop("with_bias"),
                quantize_activations=fields["with_activation_scale"],
                with_permutation=weight.permutation is not None,
                **fields,
                **options,
            )

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.zeros is not None:
            destination[f"{prefix}zeros"] = destination[f"{prefix}zeros"].contiguous()

    def extra_repr(self) -> str:
        """Return sizes and formats for ``repr``."""
        parts = [f"in_features={self.in_features}, out_features={self.out_features}, {self.config.problem_summary()}"]
        if self.quantize_activations:
            parts.append("input rounded by token")
        if self.permutation is not None:
            parts.append("permuted columns")
        return ", ".join(parts)
