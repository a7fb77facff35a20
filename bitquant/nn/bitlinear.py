# SPDX-License-Identifier: Apache-2.0
"""BitLinear: the layer of BitNet b1.58, ternary weights by 8-bit activations."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from tvm.target import Target

from bitquant import packing
from bitquant.checks import check_rows
from bitquant.config import MatmulConfig
from bitquant.errors import CallError, ConfigError
from bitquant.formats import number_format
from bitquant.nn.activations import quantize_tokens
from bitquant.nn.format import format_fields
from bitquant.nn.module import KernelModule, check_device
from bitquant.nn.stand_in import weight_stand_in
from bitquant.operator.dispatch import may_have_gradient, straight_through
from bitquant.packing.checks import check_finite

__all__ = ["BitLinear"]

#: Least mean of |W| and least maximum of |x| that scales are made of (the reference implementation of BitNet b1.58).
_LEAST = 1e-5


class BitLinear(KernelModule):
    """The linear layer of BitNet b1.58 (Ma et al., "The Era of 1-bit LLMs", arXiv 2402.17764).

    x has a gradient by the straight-through estimator of that paper, dx = dD x W' / s_W, so that adapters before and
    around the layer can be trained. The weight has none.

    ::

        W' = clamp(round(W * s_W), -1, 1)           s_W = 1 / max(mean|W|, 1e-5), one number a layer
        x' = clamp(round(x * s_x), -128, 127)       s_x = 127 / max(max|x|, 1e-5), one number a token
        D  = (x' x W'^T) * 1 / (s_x * s_W) + bias   the product exact in int32, the rest in float32

    The kernel of the product scales it, too: 1 / (s_x * s_W) is its ActivationScale. Without a bias it writes D in the
    type of x (float16, bfloat16 or float32) and there is nothing left to do.

    The layer has two states. It starts with a float `weight`, rounded anew at every call; `post_process_weights` packs
    that into `qweight` (2 bits a weight) and drops it. Both give the same results (for K up to 2^17, to which float32
    holds the sums exactly), and ``load_state_dict`` takes either.

    Parameters
    ----------
    in_features, out_features
        K, a multiple of 4, and N.
    bias
        Whether a bias, (N,), is added.
    weight_bits, input_bits
        Accepted for BitNet's own class; 1 and 8 are the only values allowed.
    opt_M
        Numbers of rows to make kernels for, as in `Linear`.
    target
        None: kernels for the device of the input, made when a call first needs them. Otherwise as in `Matmul`.
    device, dtype
        Of `weight` and `bias`, as in torch.nn.Linear.

    Attributes
    ----------
    weight : torch.nn.Parameter or torch.Tensor
        (N, K). Once packed it is no parameter: it has a shape, the type that the float weight had or would have, and a
        device, for code that asks for these, but no numbers, and to compute with it is a `CallError`.
    qweight : torch.Tensor or None
        ``layouts.weight_shape(config, weight_layout)`` int8, in state dicts plain, (N, K / 4); None until packed.
    weight_scale : torch.Tensor or None
        s_W, (1,) float32; None until packed.
    bias : torch.nn.Parameter or None
        (N,).

    Raises
    ------
    ConfigError
        If K is not a multiple of 4, or another rule of `MatmulConfig` is broken.
    """

    bias: torch.nn.Parameter | None
    weight_scale: torch.Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = False,
        weight_bits: int = 1,
        input_bits: int = 8,
        opt_M: int | Sequence[int] | None = None,
        target: str | Target | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        for name, bits, only in (("weight_bits", weight_bits, 1), ("input_bits", input_bits, 8)):
            if type(bits) is not int or bits != only:
                raise ConfigError(
                    f"{name!r} must be {only} (got {bits!r:.80}); for other formats use Linear", **{name: bits}
                )
        if not isinstance(bias, bool):
            raise ConfigError(f"'bias' must be a bool (got {bias!r:.80})", bias=bias)
        check_rows(opt_M, "opt_M")
        config = MatmulConfig(
            M=opt_M,
            N=out_features,
            K=in_features,
            A_dtype="int8",
            W_dtype="int2",
            accum_dtype="int32",
            out_dtype="float32",
            with_activation_scale=True,
        )
        super().__init__(config, target)
        self._kernels_by_output = {
            number_format(name).torch_dtype: self._kernels.with_output(name)
            for name in ("float16", "bfloat16", "float32")
        }
        self.in_features, self.out_features = in_features, out_features
        self.register_buffer("qweight", None)
        self.register_buffer("weight_scale", None)
        self._parameters["weight"] = None  # Its place, which the property of that name would else refuse it.
        self._set_weight(self._new_weight(device, dtype))
        torch.nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # As torch.nn.Linear.
        zeros = torch.zeros(out_features, device=device, dtype=dtype) if bias else None
        self.bias = None if zeros is None else torch.nn.Parameter(zeros, requires_grad=False)

    @property
    def weight(self) -> torch.Tensor:
        """The float weight, or what stands for it in a packed layer."""
        if self.qweight is not None:
            return weight_stand_in((self.out_features, self.in_features), self._float_dtype, self.qweight.device)
        weight: Any = self._parameters["weight"]
        return weight

    def _set_weight(self, weight: torch.nn.Parameter | None) -> None:
        self._parameters["weight"] = weight
        if weight is not None:
            self._float_dtype = weight.dtype

    @staticmethod
    def weight_quant(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return clamp(round(W * s_W), -1, 1), int8, and s_W = 1 / max(mean|W|, 1e-5), (1,) float32."""
        wide = weight.detach().to(torch.float32)
        scale = wide.abs().mean().clamp(min=_LEAST).reciprocal().reshape(1)
        return (wide * scale).round().clamp(-1, 1).to(torch.int8, memory_format=torch.contiguous_format), scale

    @staticmethod
    def activation_quant(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return clamp(round(x * s_x), -128, 127), int8, and s_x = 127 / max(max|x|, 1e-5), (..., 1) float32.

        The maximum is over the last dimension: one scale a token.
        """
        return quantize_tokens(x, "int8", _LEAST)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return D, (..., N) of the type of x, for x (..., K) of a floating-point type.

        Raises
        ------
        CallError
            If the shape, type or device of `x` does not fit.
        """
        if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.shape[-1:] != (self.in_features,):
            got = f"{x.dtype}, shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
            raise CallError(f"'x' must be a tensor of floats of shape (..., {self.in_features}) (got {got})")
        weight_scale: Any = self.weight_scale
        if self.qweight is None:
            values, weight_scale = self._round_weight()
        check_device(x, weight_scale.device)
        tokens, scale = quantize_tokens(x, "int8", _LEAST, inverse=True, weight_scale=weight_scale)
        if self.qweight is not None:
            # A bias is added in float32, with a rounding of its own: the same bits in both states.
            D = self._multiply(tokens, kernels=self._kernels_for(x.dtype), activation_scale=scale)
        else:
            device_type = "cuda" if x.is_cuda else "cpu"  # There is no autocast for meta tensors.
            with torch.autocast(device_type, enabled=False):  # float32 holds the sums, float16 does not.
                product = torch.nn.functional.linear(tokens.to(torch.float32), values.to(torch.float32))
            D = product * scale
        if self.bias is not None:
            D = D + self.bias
        D = D.to(x.dtype)
        if may_have_gradient(x, D):
            weight: Any
            problem: str | None
            if self.qweight is not None:
                weight, problem = self.qweight, self.operator(x.device.type).problem
            else:
                weight, problem = values, None
            D = straight_through(x, D, weight, problem, weight_scale=weight_scale)
        return D

    def _kernels_for(self, dtype: torch.dtype) -> Any:
        """Return the kernels of calls with inputs of a type."""
        return self._kernels if self.bias is not None else self._kernels_by_output.get(dtype, self._kernels)

    def needed_kernels(self, dtypes: Collection[torch.dtype]) -> list[Any]:
        """Return the kernels that calls with inputs of these types run; none before the weight is packed."""
        if self.qweight is None:
            return []
        products = [self._kernels_for(dtype) for dtype in dtypes]
        return [*products, *self._rounding_kernels(dtypes, with_weight_scale=True)]

    def _round_weight(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `weight_quant` of the float weight.

        Raises
        ------
        CallError
            If a gradient of it is asked for.
        """
        weight = self.weight
        if torch.is_grad_enabled() and weight.requires_grad:
            raise CallError(
                "the weight of a BitLinear has no gradient (got requires_grad=True); use .requires_grad_(False), or "
                "train with a torch.nn.Linear and convert it by from_bit_linear"
            )
        return self.weight_quant(weight)

    def post_process_weights(self) -> None:
        """Round `weight`, pack it into `qweight` and drop it. A layer that is packed stays as it is.

        Raises
        ------
        ConfigError
            If `weight` is not finite, or holds no values.
        """
        if self.qweight is not None:
            return
        check_finite(self.weight)
        values, scale = self.weight_quant(self.weight)
        self.qweight, self.weight_scale = packing.pack(values, self.config), scale
        self._set_weight(None)
        self._arrange_weight()

    def dequantize(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return the rounded weight W' / s_W, (N, K), on the device of the layer. It has no gradient.

        Parameters
        ----------
        dtype
            float16, bfloat16 or float32; None: the type of `weight`.
        """
        dtype = dtype or self.weight.dtype
        scale: Any = self.weight_scale
        if self.qweight is None:
            values, scale = self.weight_quant(self.weight)
        else:
            operator = self.operator(self.qweight.device.type)
            self._arrange_weight()
            values = operator.dequantize(self.qweight, None, None, torch.float32)
        return (values.to(torch.float32) / scale).to(dtype)

    def drop_weight(self) -> None:
        """Become a packed layer with a weight of zeros, for a state dict to fill. A packed layer stays as it is."""
        if self.qweight is None:
            device = self.weight.device
            self.qweight = torch.zeros(self.config.W_shape, dtype=torch.int8, device=device)
            self.weight_scale = torch.ones(1, dtype=torch.float32, device=device)
            self._set_weight(None)

    @classmethod
    def from_bit_linear(cls, linear: torch.nn.Module, **options: Any) -> BitLinear:
        """Return a packed layer with the weight of `linear`, on the same device.

        Parameters
        ----------
        linear
            A torch.nn.Linear, or any module with a float `weight`, (N, K), and perhaps a `bias`, (N,); not changed.
        **options
            Further parameters of `BitLinear`: opt_M, target.

        Raises
        ------
        ConfigError
            If `linear` has no float weight of two dimensions, it is not finite, or K is not a multiple of 4.
        """
        weight: Any = getattr(linear, "weight", None)
        bias: Any = getattr(linear, "bias", None)
        is_stored = getattr(linear, "qweight", None) is not None
        if is_stored or not isinstance(weight, torch.Tensor) or weight.ndim != 2 or not weight.is_floating_point():
            is_tensor = isinstance(weight, torch.Tensor) and not is_stored
            got = f"{weight.dtype}, shape {tuple(weight.shape)}" if is_tensor else repr(weight)
            raise ConfigError(f"'linear' must have a float weight of shape (N, K) (got {got})", linear=linear)
        N, K = weight.shape
        layer = cls(K, N, bias=bias is not None, device="meta", **options)
        layer._set_weight(torch.nn.Parameter(weight.detach(), requires_grad=False))
        if bias is not None:
            layer.bias = torch.nn.Parameter(bias.detach().clone(), requires_grad=False)
        layer.post_process_weights()
        return layer

    def extra_repr(self) -> str:
        """Return sizes and state for ``repr``."""
        state = "float weight" if self.qweight is None else "packed"
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, {state}"
        )

    def _new_weight(self, device: torch.device | str | None, dtype: torch.dtype | None) -> torch.nn.Parameter:
        weight = torch.empty(self.out_features, self.in_features, device=device, dtype=dtype)
        return torch.nn.Parameter(weight, requires_grad=False)

    def _format(self) -> dict[str, Any]:
        return format_fields("BitLinear", self.config)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        if self.qweight is not None:  # .half() and the like say what type the float weight would have.
            self._float_dtype = fn(self.qweight.new_empty(0, dtype=self._float_dtype)).dtype
        return super()._apply(fn, recurse)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take the state, packed or not, that `state_dict` was written in, then load."""
        stored = state_dict.get(f"{prefix}weight")
        if self.qweight is None and f"{prefix}qweight" in state_dict:
            if (problem := self._state_dict_problem(state_dict, prefix)) is not None:
                error_msgs.append(problem)
                return
            self.drop_weight()
        elif self.qweight is not None and stored is not None:
            self._set_weight(self._new_weight(self.qweight.device, stored.dtype))
            self.qweight = self.weight_scale = None
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
