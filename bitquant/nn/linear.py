"""Linear: a layer whose weight is stored in few bits; and the rounding of a float weight to it."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from tvm.target import Target

from bitquant import layouts, packing
from bitquant.arch import resolve_target
from bitquant.config import MatmulConfig
from bitquant.dtypes import WEIGHT_DTYPES, canonical_name, number_format
from bitquant.errors import CallError, ConfigError, UnsupportedError
from bitquant.layouts import Layout
from bitquant.matmul import Matmul
from bitquant.schedule import preferred_layout

__all__ = ["KernelModule", "Linear", "quantize"]

#: Elements rounded at a time: float32 temporaries stay below 64 MiB each.
_CHUNK_ELEMENTS = 1 << 24


class _Kernels:
    """The operators of one problem by type of device, made when they are first needed.

    Equal layers share one of these: torch.compile's guards on one layer then hold for the next, so that a block that
    was compiled once serves every block of its kind.
    """

    def __init__(self, config: MatmulConfig, target: str | Target | None, enable_tuning: bool) -> None:
        self._config, self._target, self._enable_tuning = config, target, enable_tuning
        self.operators: dict[str, Matmul] = {}
        #: Shapes of the weights that they read.
        self.weight_shapes: dict[str, tuple[int, int]] = {}
        self._gpu_layout: Layout | None = None

    def prepare(self, device_type: str) -> None:
        """Make the operator for a type of device. torch.compile runs this where it stands, and does not trace it."""
        if device_type not in self.operators:
            operator = Matmul(self._config, target=self._target_on(device_type), enable_tuning=self._enable_tuning)
            self.weight_shapes[device_type] = layouts.weight_shape(self._config, operator.weight_layout)
            self.operators[device_type] = operator

    # What torch.compiler.assume_constant_result sets, which imports torch._dynamo: 1.4 s for those who never compile.
    prepare._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001

    def layout(self, device_type: str) -> Layout:
        """Return the layout in which a layer keeps its weight on a type of device; no operator is made for that."""
        if device_type != "cuda":
            return "plain"
        if device_type in self.operators:
            return self.operators[device_type].weight_layout
        if self._gpu_layout is None:
            try:
                target = resolve_target(self._target_on(device_type))
            except UnsupportedError:  # No kernels run on this GPU, which is for the first call to say.
                return "plain"
            self._gpu_layout = preferred_layout(self._config, target)
        return self._gpu_layout

    def _target_on(self, device_type: str) -> str | Target:
        return device_type if self._target is None else self._target

    def with_output(self, out_dtype: str) -> _Kernels:
        """Return those of the same problem with another type of D; they read the weight in the same layout."""
        config = dataclasses.replace(self._config, out_dtype=out_dtype)
        return _shared_kernels(config, self._target, self._enable_tuning)

    def __reduce__(self) -> tuple[Any, ...]:
        return _shared_kernels, (self._config, self._target, self._enable_tuning)


#: It keeps nothing alive.
_in_use: weakref.WeakValueDictionary[tuple[MatmulConfig, str, bool], _Kernels] = weakref.WeakValueDictionary()


def _shared_kernels(config: MatmulConfig, target: str | Target | None, enable_tuning: bool) -> _Kernels:
    key = (config, str(target), enable_tuning)
    if (kernels := _in_use.get(key)) is None:
        kernels = _in_use[key] = _Kernels(config, target, enable_tuning)
    return kernels


def _converted(weight: torch.Tensor, config: MatmulConfig, layout: Layout, wanted: Layout) -> torch.Tensor:
    """Return a weight that is in one layout in another.

    Raises
    ------
    CallError
        If a CUDA graph is being captured: a replay would convert again.
    """
    if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
        raise CallError(
            f"the weight cannot be converted from the layout {layout!r} to {wanted!r} while a CUDA graph is captured; "
            "call the layer once, or move it with .to(device), before that"
        )
    if weight.is_meta:
        shape, dtype = layouts.weight_shape(config, wanted), layouts.weight_dtype(config, wanted)
        return torch.empty(shape, dtype=dtype, device="meta")
    with torch.inference_mode(False):  # What is made in inference mode, load_state_dict could not write to later.
        return layouts.to_layout(layouts.from_layout(weight, config, layout), config, wanted)


class KernelModule(torch.nn.Module):
    """A layer that calls the operators of one `MatmulConfig`, one for each type of device, made at first use.

    Its buffer `qweight` is a weight in the layout that the operator for its device reads, `weight_layout`: on the CPU
    plain, on a GPU mostly fragment (`bitquant.layouts`). It is converted when the layer arrives on a device (by ``.to``
    and the like, ``load_state_dict``, or where a weight is packed there) in place of the tensor before; where a plain
    one came some other way, the first call converts it. A state dict always holds the plain weight, so that it loads
    on any device; of a fragment one it is a copy, on the same device.

    Buffers keep their types: ``.half()``, ``.to(torch.bfloat16)`` and the like move them and cast parameters only, for
    kernels are made for fixed types.

    Parameters
    ----------
    config
        The problem.
    target
        None: kernels for the GPU where tensors are on one, else for the CPU. Otherwise the one target, as in `Matmul`.
    enable_tuning
        Passed to `Matmul` when a call first needs it.

    Attributes
    ----------
    config : MatmulConfig
    qweight : torch.Tensor or None
        The weight; None until there is one. Subclasses register the buffer.
    """

    qweight: torch.Tensor | None

    def __init__(self, config: MatmulConfig, target: str | Target | None = None, enable_tuning: bool = False) -> None:
        super().__init__()
        self.config = config
        self._kernels = _shared_kernels(config, target, enable_tuning)

    def operator(self, device_type: str) -> Matmul:
        """Return the operator that serves tensors on a device of that type, "cuda" or "cpu".

        Raises
        ------
        UnsupportedError
            If it is for a GPU and there is none.
        """
        self._kernels.prepare(device_type)
        return self._kernels.operators[device_type]

    @property
    def weight_layout(self) -> Layout | None:
        """Layout of `qweight`, "plain" or "fragment"; None where there is no weight, or it is none of this problem.

        Shape and type tell: a weight has other ones in each layout. So no record can disagree with what is in memory.
        """
        weight, c = self.qweight, self.config
        if weight is None:
            return None
        for layout in layouts.WEIGHT_LAYOUTS:
            if layout == "fragment" and layouts.fragment_refusal(c) is not None:
                continue
            if weight.shape == layouts.weight_shape(c, layout) and weight.dtype is layouts.weight_dtype(c, layout):
                return layout
        return None

    def _multiply(
        self,
        A: torch.Tensor,
        *others: torch.Tensor | None,
        kernels: _Kernels | None = None,
        activation_scale: torch.Tensor | None = None,
        channel_scale: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return what the operator for the device of `A` makes of it, the weight and its other operands.

        `kernels` are those of a problem that reads the same weight, where they are not the layer's own.
        """
        device_type = "cuda" if isinstance(A, torch.Tensor) and A.is_cuda else "cpu"
        kernels = kernels or self._kernels
        kernels.prepare(device_type)
        weight = self.qweight
        if weight.shape != kernels.weight_shapes[device_type]:  # type: ignore[union-attr]
            self._mend_weight(A)
            weight = self.qweight
        operator = kernels.operators[device_type]
        return operator(A, weight, *others, activation_scale=activation_scale, channel_scale=channel_scale)  # type: ignore[arg-type]

    def _mend_weight(self, A: Any) -> None:
        """Convert a weight that the operator for `A` does not read, where that is the reason; else it will say more.

        Raises
        ------
        CallError
            If `A` is on another device than the weight, or a CUDA graph is being captured.
        """
        weight: torch.Tensor = self.qweight  # type: ignore[assignment]
        if isinstance(A, torch.Tensor) and A.device != weight.device:
            raise CallError(
                f"the input must be on {weight.device}, where the layer is (got {A.device}); "
                f"use .to('{weight.device}'), or move the layer"
            )
        self._arrange_weight()

    # What torch.compiler.disable sets, which imports torch._dynamo. A graph breaks here; with fullgraph it is an error.
    _mend_weight._torchdynamo_disable = True  # type: ignore[attr-defined]  # noqa: SLF001
    _mend_weight._torchdynamo_disable_msg = (  # type: ignore[attr-defined]  # noqa: SLF001
        "its weight must be converted; call the layer once, or move it with .to(device), before it is compiled"
    )

    def _arrange_weight(self, wanted: Layout | None = None) -> None:
        """Convert `qweight` where it is to a layout, by default the one for its device."""
        weight, layout = self.qweight, self.weight_layout
        if weight is None or layout is None:
            return
        wanted = wanted or self._kernels.layout(weight.device.type)
        if layout != wanted:
            self.qweight = _converted(weight, self.config, layout, wanted)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        def keep_type(tensor: torch.Tensor) -> torch.Tensor:
            result = fn(tensor)
            if isinstance(tensor, torch.nn.Parameter) or result.dtype is tensor.dtype:
                return result
            return tensor.to(result.device)

        if self.qweight is not None and self.weight_layout != "plain":
            # Only GPUs have other layouts, and they convert fast: before the weight leaves, as after it came.
            destination = fn(self.qweight.new_empty(0)).device
            if destination.type == "meta":
                self.qweight = self.qweight.to(destination)
            self._arrange_weight(self._kernels.layout(destination.type))
        super()._apply(keep_type, recurse)
        self._arrange_weight()
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        weight, layout = self.qweight, self.weight_layout
        if weight is not None and layout not in (None, "plain"):
            destination[f"{prefix}qweight"] = _converted(weight, self.config, layout, "plain")

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *args: Any
    ) -> None:
        before = self.qweight
        self._arrange_weight("plain")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)
        self._arrange_weight()
        after = self.qweight
        if before is None or after is None or local_metadata.get("assign_to_params_buffers", False):
            return
        if after is not before and after.shape == before.shape:
            # Without assign=True memory is kept: captured graphs read it.
            self.qweight = before.copy_(after)


class Linear(KernelModule):
    """A linear layer, D = A x decode(W)^T (+ bias), with W stored in few bits. For inference: it has no gradient.

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
        zeros_mode: str | None = None,
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
            zeros_mode="original" if zeros_mode is None else zeros_mode,  # type: ignore[arg-type]
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

    @classmethod
    def from_float(
        cls,
        linear: torch.nn.Linear,
        W_dtype: str = "int4",
        group_size: int | None = 128,
        A_dtype: str | None = None,
        out_dtype: str | None = None,
        zeros_mode: str = "original",
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


# Rounding a float weight.


def quantize(
    weight: torch.Tensor, config: MatmulConfig
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Round a float weight to nearest in the formats of `config`, group by group.

    With the maxima, minima and means taken over a group of `group_size` consecutive k of a row, b the bits of W::

        int2 ... int8        s = max|w| / (2^(b-1) - 1)          value = round(w / s)
        uint1 ... uint8      s = (high - low) / (2^b - 1)        value = clamp(round(w / s + z), 0, 2^b - 1)
                             low = min(min w, 0)                 z = round(-low / s), 0 ... 2^b - 1
                             high = max(max w, 0)                zeros_mode "rescale" stores z * s
        nf4, fp4_e2m1        s = max|w| / largest level          value = code of the level nearest to w / s
        float8               s = max|w| / largest number         value = w / s rounded to the format
        int1                 s = mean|w|                         value = -1 where w < 0, else +1
        float16 and wider    no scale                            value = w rounded to the format

    s is rounded up to the type of the scales, so that w / s never leaves the range, also where s is too small for a
    normal number of that type; then values are made with the s that is stored. Integers are so within s / 2 of w, and
    other formats within half the distance of two levels times s; with zeros_mode "rescale" that of the rounding of
    z * s to its type comes on top. A group of zeros has s = 1 (int1: 0), and comes back as zeros.

    Parameters
    ----------
    weight
        (N, K), of any floating-point type, finite.
    config
        The problem: with_scaling=True for W of up to 8 bits, with_zeros=True for unsigned W; else both False.

    Returns
    -------
    values
        (N, K): integers in the type of the format, codes for nf4 and fp4_e2m1, else numbers of the format.
    scale
        (N, K / group_size) of the type of the scales, or None.
    zeros
        Zero points as the operator takes them, packed for zeros_mode "quantized"; or None.

    Raises
    ------
    ConfigError
        If `weight` has another shape, is not of floats, or not finite; if `config` has not the scales and zero points
        that the format needs; if a scale is too large for its type.
    """
    _check_float_weight(weight, config)
    fmt = config.W_format
    if fmt.bits > 8:
        return weight.detach().to(fmt.torch_dtype), None, None
    device = weight.device
    values = torch.empty((config.N, config.K), dtype=fmt.torch_dtype, device=device)  # type: ignore[arg-type]
    scale = torch.empty(config.scale_shape, dtype=config.scale_format.torch_dtype, device=device)
    zeros = torch.empty(config.scale_shape, dtype=torch.float32, device=device)
    step = max(1, _CHUNK_ELEMENTS // config.K)  # type: ignore[operator]
    for first in range(0, config.N, step):  # type: ignore[arg-type]
        rows = slice(first, first + step)
        values[rows], scale[rows], zeros[rows] = _quantize_rows(weight.detach()[rows], config)
    if not torch.isfinite(scale).all():
        largest = float(weight.detach().abs().max())
        raise ConfigError(
            f"'weight' is too large for {config.scale_format.name} scales (got values up to {largest:g}); "
            "use scale_dtype='float32'",
            weight=weight,
        )
    if not config.with_zeros:
        return values, scale, None
    if config.has_packed_zeros:
        return values, scale, packing.pack_zeros(zeros.T.to(torch.uint8), config)
    return values, scale, zeros.to(scale.dtype)


def _quantize_rows(rows: torch.Tensor, config: MatmulConfig) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]:
    """Return values, scale and unpacked zero points, 0 where there are none, of a few rows."""
    fmt, scale_type = config.W_format, config.scale_format.torch_dtype
    groups = rows.to(torch.float32).reshape(rows.shape[0], config.num_groups, config.group)
    if fmt.name == "int1":
        sign = torch.where(groups < 0, -1, 1).to(fmt.torch_dtype)
        return sign.view(rows.shape), _round_up(groups.abs().mean(-1), scale_type), 0.0
    low, high = groups.amin(-1), groups.amax(-1)
    if fmt.kind == "uint":
        low, high = low.clamp(max=0), high.clamp(min=0)
        span, reach = high - low, float(fmt.max_value)
    else:
        span, reach = torch.maximum(-low, high), _largest_value(config)
    # By a tensor: GPUs divide by a number through its reciprocal, which rounds twice.
    wanted = span / torch.full_like(span, reach)
    scale = torch.where(span > 0, _round_up(wanted, scale_type), 1)
    s = scale.to(torch.float32).unsqueeze(-1)
    steps = groups / s
    if fmt.codebook is not None:
        return packing.encode(steps.view(rows.shape), fmt), scale, 0.0
    if not fmt.is_integer:
        return steps.view(rows.shape).to(fmt.torch_dtype), scale, 0.0
    zeros: Any = 0.0
    if config.with_zeros:
        zeros = (-low.unsqueeze(-1) / s).round()
        if config.zeros_mode == "rescale":
            zeros = (zeros * s).to(scale_type).to(torch.float32)
        steps = steps + (zeros / s if config.zeros_mode == "rescale" else zeros)
        zeros = zeros.squeeze(-1)
    values = steps.round().clamp(fmt.min_value, fmt.max_value)
    return values.view(rows.shape).to(fmt.torch_dtype), scale, zeros


def _largest_value(config: MatmulConfig) -> float:
    """Return the largest value of a signed format whose negative is in the format too."""
    fmt = config.W_format
    if fmt.codebook is not None:
        return max(fmt.codebook)
    return float(fmt.max_value) if fmt.is_integer else torch.finfo(fmt.torch_dtype).max


def _round_up(numbers: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the least numbers of a type that are not below non-negative float32 `numbers`."""
    nearest = numbers.to(dtype)
    # The bit pattern of the next number above a non-negative one is the next integer.
    bits = nearest.view(torch.int16 if dtype.itemsize == 2 else torch.int32)
    return (bits + (nearest.to(torch.float32) < numbers)).view(dtype)


def _check_float_weight(weight: Any, config: MatmulConfig) -> None:
    fmt = config.W_format
    if not isinstance(weight, torch.Tensor) or not weight.is_floating_point():
        got = weight.dtype if isinstance(weight, torch.Tensor) else type(weight).__name__
        raise ConfigError(f"'weight' must be a tensor of floats (got {got})", weight=weight)
    if tuple(weight.shape) != (config.N, config.K):
        raise ConfigError(
            f"'weight' must have shape (N, K) = {(config.N, config.K)} (got {tuple(weight.shape)})", weight=weight
        )
    for flag, needed in (("with_scaling", fmt.bits <= 8), ("with_zeros", fmt.kind == "uint")):
        if getattr(config, flag) != needed:
            raise ConfigError(
                f"{flag!r} must be {needed} to quantize to {fmt.name} (got {getattr(config, flag)})",
                **{flag: getattr(config, flag), "W_dtype": config.W_dtype},
            )
    if not (finite := torch.isfinite(weight)).all():
        index = tuple((~finite).nonzero()[0].tolist())
        raise ConfigError(
            f"'weight' must be finite (got {weight[index].item()} at {index})", weight=weight, index=index
        )
