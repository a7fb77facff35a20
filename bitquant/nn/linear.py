"""Linear: a layer whose weight is stored in few bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tvm.target import Target

from bitquant import packing
from bitquant.config import MatmulConfig, ZerosMode
from bitquant.dtypes import WEIGHT_DTYPES, canonical_name, number_format
from bitquant.errors import ConfigError
from bitquant.nn.module import KernelModule
from bitquant.nn.rounding import quantize

__all__ = ["Linear"]


class Linear(KernelModule):
    """A linear layer, D = A x decode(W)^T (+ bias), with W stored in few bits.

    A of 16 bits and more has a gradient, dA = dD x decode(W), so that adapters around the layer can be trained. The
    weight and what goes with it are buffers and have none.

    The names and their order are those of BitBLAS. All buffers are zero until they are loaded, by
    `load_and_transform_weight`, `from_float` or ``load_state_dict``.

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

    Attributes
    ----------
    qweight : torch.Tensor
        The packed weight, ``layouts.weight_shape(config, weight_layout)``; in state dicts plain, ``config.W_shape``.
    scales, zeros, bias, channel_scale : torch.Tensor or None
        ``config.scale_shape``, ``config.zeros_shape``, (N,), (N,); None where the layer has none.

    Raises
    ------
    ConfigError
        If a rule of `MatmulConfig` is broken.

    Examples
    --------
    >>> layer = Linear(1024, 1024, W_dtype="uint4", group_size=128, with_scaling=True)
    >>> weight = torch.randint(0, 16, (1024, 1024))
    >>> layer.load_and_transform_weight(weight, scales=torch.rand(1024, 8).half())
    >>> layer(torch.rand(2, 3, 1024).half()).shape
    torch.Size([2, 3, 1024])
    """

    qweight: torch.Tensor
    scales: torch.Tensor | None
    zeros: torch.Tensor | None
    bias: torch.Tensor | None
    channel_scale: torch.Tensor | None

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
    ) -> None:
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
            with_activation_scale=with_activation_scale,
            with_channel_scale=with_channel_scale,
        )
        super().__init__(config, target, enable_tuning)
        self.in_features, self.out_features = in_features, out_features
        self.register_buffer("qweight", torch.zeros(config.W_shape, dtype=config.W_format.torch_dtype))
        scale_type = config.scale_format.torch_dtype
        zeros_type = torch.int8 if config.has_packed_zeros else scale_type
        # Name, the flag that decides on it, its value, shape, type.
        self._optional = (
            ("scales", "with_scaling", config.with_scaling, config.scale_shape, scale_type),
            ("zeros", "with_zeros", config.with_zeros, config.zeros_shape, zeros_type),
            ("bias", "bias", config.with_bias, (out_features,), config.out_format.torch_dtype),
            ("channel_scale", "with_channel_scale", config.with_channel_scale, (out_features,), torch.float32),
        )
        for name, _, is_present, shape, dtype in self._optional:
            self.register_buffer(name, torch.zeros(shape, dtype=dtype) if is_present else None)
        self._arrange_weight()

    def forward(
        self, A: torch.Tensor, output: torch.Tensor | None = None, activation_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return D = A x decode(W)^T (* activation_scale) (* channel_scale) (+ bias).

        Parameters
        ----------
        A
            (..., K), contiguous, of type `A_dtype`; it is not cast.
        output
            Where to write D, (..., N), contiguous; allocated where None.
        activation_scale
            float32, (...) or (..., 1), the leading dimensions of A; where the layer has `with_activation_scale`.

        Raises
        ------
        CallError
            If shape, type, device or strides do not fit.
        """
        return self._multiply(
            A,
            self.scales,
            self.zeros,
            self.bias,
            output,
            activation_scale=activation_scale,
            channel_scale=self.channel_scale,
        )

    def load_and_transform_weight(
        self,
        weight: torch.Tensor,
        scales: torch.Tensor | None = None,
        zeros: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        channel_scale: torch.Tensor | None = None,
    ) -> None:
        """Pack a weight and load it together with the operands that go with it.

        The layer moves to the GPU of `weight` if that is on one; a weight on the CPU is moved to the layer.

        Parameters
        ----------
        weight
            (N, K) values as `Matmul.transform_weight` takes them: integers for integer formats.
        scales
            (N, K / group_size), of the type of ``layer.scales``.
        zeros
            Zero points of the shape and type of ``layer.zeros``, as the operator takes them: (N, K / group_size), and
            for zeros_mode "quantized" what `Matmul.transform_zeros` returns.
        bias
            (N,), of the output's type.
        channel_scale
            (N,) float32.

        Raises
        ------
        ConfigError
            If an operand is missing, is not part of the layer, or has the wrong shape, type or values. Nothing has been
            loaded then.
        """
        packed = packing.pack(weight, self.config)
        operands = {"scales": scales, "zeros": zeros, "bias": bias, "channel_scale": channel_scale}
        for name, flag, is_present, shape, dtype in self._optional:
            _check_operand(name, operands[name], flag, is_present, shape, dtype)
        here = self.qweight.device
        device = packed.device if packed.device.type != "cpu" or here.type == "meta" else here
        self.qweight = packed.to(device)
        for name, tensor in operands.items():
            # Own memory: what the caller does to his tensor later is not the layer's.
            setattr(self, name, None if tensor is None else tensor.detach().to(device, copy=True).contiguous())
        self._arrange_weight()

    def dequantize(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return decode(W), (N, K), on the device of the layer. It has no gradient.

        Parameters
        ----------
        dtype
            As in `Operator.dequantize`; None: the type of A, float32 where A has 8 bits.

        Raises
        ------
        CallError
            If `dtype` is none of float16, bfloat16 and float32.
        UnsupportedError
            If N * K exceeds 2^31 - 1.
        """
        operator = self.operator(self.qweight.device.type)
        self._arrange_weight()
        return operator.dequantize(self.qweight, self.scales, self.zeros, dtype)

    @classmethod
    def from_float(
        cls,
        linear: torch.nn.Linear,
        W_dtype: str = "int4",
        group_size: int | None = 128,
        A_dtype: str | None = None,
        out_dtype: str | None = None,
        zeros_mode: ZerosMode = "original",
        **options: Any,
    ) -> Linear:
        """Return a layer with the weight of `linear` rounded to nearest (`quantize`), on the same device.

        Parameters
        ----------
        linear
            The layer to replace; it is not changed.
        W_dtype
            Format of the weight. Unsigned integers get zero points, other formats of up to 8 bits scales alone.
        group_size
            Consecutive k that share a scale; divides K. -1 and None mean K.
        A_dtype, out_dtype
            Types of input and output; None: that of ``linear.weight``.
        zeros_mode
            "original", "rescale" or "quantized", for unsigned integers.
        **options
            Further parameters of `Linear`: accum_dtype, opt_M, scale_dtype, target ...

        Raises
        ------
        ConfigError
            If `linear` is not a torch.nn.Linear, its weight is not finite, or a rule of `MatmulConfig` is broken.
        """
        if not isinstance(linear, torch.nn.Linear):
            raise ConfigError(f"'linear' must be a torch.nn.Linear (got {type(linear).__name__})", linear=linear)
        own_type = str(linear.weight.dtype).removeprefix("torch.")
        fmt = number_format(canonical_name(W_dtype, "W_dtype", WEIGHT_DTYPES))
        layer = cls(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            A_dtype=A_dtype or own_type,
            W_dtype=W_dtype,
            out_dtype=out_dtype or own_type,
            group_size=group_size,
            with_scaling=fmt.bits <= 8,
            with_zeros=fmt.kind == "uint",
            zeros_mode=zeros_mode,
            **options,
        )
        values, scales, zeros = quantize(linear.weight, layer.config)
        bias = None if linear.bias is None else linear.bias.to(layer.config.out_format.torch_dtype)
        layer.to(linear.weight.device)
        layer.load_and_transform_weight(values, scales, zeros, bias)
        return layer

    def extra_repr(self) -> str:
        """Return sizes and formats for ``repr``."""
        return f"in_features={self.in_features}, out_features={self.out_features}, {self.config.problem_summary()}"


def _check_operand(
    name: str, tensor: Any, flag: str, is_present: bool, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    if tensor is None and not is_present:
        return
    if tensor is None:
        raise ConfigError(
            f"{name!r} is missing: the layer has {flag}=True; pass a tensor of shape {tuple(shape)} and type {dtype}",
            **{name: None},
        )
    if not is_present:
        raise ConfigError(
            f"{name!r} was given, but the layer has {flag}=False; leave it out or set {flag}=True", **{name: tensor}
        )
    if not isinstance(tensor, torch.Tensor) or tensor.dtype is not dtype:
        got = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise ConfigError(f"{name!r} must be a tensor of type {dtype} (got {got}); use .to({dtype})", **{name: tensor})
    if tuple(tensor.shape) != tuple(shape):
        raise ConfigError(f"{name!r} must have shape {tuple(shape)} (got {tuple(tensor.shape)})", **{name: tensor})
