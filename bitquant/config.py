# SPDX-License-Identifier: Apache-2.0
"""The problem: what is multiplied, in which formats. Nothing here says how it is solved."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from bitquant.arithmetic import ceil_div
from bitquant.config_rules import check_config
from bitquant.errors import ConfigError
from bitquant.formats import NumberFormat, ZerosMode, number_format

__all__ = ["DEFAULT_LADDER", "MatmulConfig", "ZerosMode", "fields_as_passed"]

#: The values of m for which kernels are made where M is None: decoding, small batches, prefill.
DEFAULT_LADDER: tuple[int, ...] = (1, 16, 32, 64, 128, 256, 512, 1024)

#: Stands for N and K where they were left out, which is refused: M, which may be, comes before them as in BitBLAS.
_MISSING: Any = None


@dataclass(frozen=True)
class MatmulConfig:
    """A mixed-precision matrix multiplication, D = A x decode(W)^T (+ Bias).

    With A of shape (M, K), W of shape (N, K) before packing, and groups of `group_size` consecutive k that share
    Scale[n, k // group_size] and Zeros[n, k // group_size]::

        C[m, n] = sum_k A[m, k] * decode(W)[n, k]
        decode(w) = (w - z) * s      zeros_mode "original" and "quantized"
                    w * s - z        zeros_mode "rescale"
        H[m, n] = C[m, n] * ActivationScale[m] * ChannelScale[n] + Bias[n]
        D[m, n] = cast_out(H[m, n])
                  cast_out(act(H[m, 2 n], H[m, 2 n + 1]))    with an activation; D is (M, N / 2)

    Operands that the config does not ask for are left out. Names and order are those of BitBLAS, up to `scale_dtype`.

    Parameters
    ----------
    M
        Rows of A. An int is a static kernel. A sequence is a ladder: one kernel with a symbolic m for each rung; a
        call is served by the smallest rung that holds it, a larger one by the last. None is `DEFAULT_LADDER`.
    N, K
        Columns of D (rows of W, where there is an activation), and the length of the reduction.
    A_dtype
        float16, bfloat16, int8, float8_e4m3, float8_e5m2 or float32.
    W_dtype
        The type of A; uint1 ... uint8, int1 ... int8; nf4; code4, with levels in `codebook`; fp4_e2m1; float6_e3m2 and
        float6_e2m3; float8_e4m3 and float8_e5m2. Default: that of A.
    out_dtype
        float16, bfloat16, float32, int32 or int8; integers are rounded to nearest even and saturate.
    accum_dtype
        float16, float32 or int32: the least precision allowed; a kernel may accumulate wider, never narrower.
    layout
        "nt": W is (N, K). "nn": W is (K, N), for a W of the type of A.
    with_bias
        Whether Bias, (N,) of the output's type, is added.
    group_size
        Consecutive k that share a scale and a zero point; divides K. -1 and None mean K.
    with_scaling, with_zeros
        Whether there is a Scale and a Zeros operand.
    zeros_mode
        "original": Zeros is (N, K / group_size) of Scale's type, subtracted before scaling. "rescale": likewise,
        subtracted after scaling. "quantized": unsigned integers of W's width, packed along N into int8
        (K / group_size, N * bits / 8), subtracted before scaling.
    storage_dtype
        Accepted for BitBLAS. Packed weights are int8 tensors whatever it says; "int8" is the only value allowed.
    fast_decoding, propagate_a, propagate_b
        Accepted for BitBLAS. `fast_decoding=False` or `propagate_b=False` ask for the plain weight layout.
    scale_dtype
        Type of Scale and of unpacked Zeros: float16, bfloat16 or float32. Default: the type of A, and float32 where A
        has 8 bits. Without zero points also float8_e8m0 (powers of two, as MXFP4 has for each 32 k) and float8_e4m3
        (NVFP4, for each 16 k). The float32 factor that NVFP4 has for a whole tensor is a ChannelScale of N equal
        numbers: so weights with different factors can be one operand, and sums are multiplied once.
    with_activation_scale
        Whether there is an ActivationScale, (M,) float32: one factor a row of A (a token), applied to the sums.
    with_channel_scale
        Whether there is a ChannelScale, (N,) float32: one factor a row of W (an output channel), applied to the sums.
    codebook
        For W_dtype "code4", and for it alone: the values of its 16 codes, finite numbers, which are rounded to float32.
    rows_per_scale
        Consecutive n that share a scale: Scale is (ceil(N / rows_per_scale), K / group_size), and W[n] is scaled by row
        n // rows_per_scale. 128 with group_size=128 are the blocks of DeepSeek-V3's float8 weights. Without zero points
        alone.
    activation
        For the merged gate and up projections of a gated MLP: rows 2 n of W are those of the gate, rows 2 n + 1 those
        of up. With g = H[m, 2 n] and u = H[m, 2 n + 1], in float32 and rounded once at the end::

            silu_mul            g * sigmoid(g) * u                                       Llama, Qwen, Mistral
            gelu_tanh_mul       gelu(g) * u, gelu by tanh: g * sigmoid(1.59576912 * (g + 0.044715 * g^3))      Gemma
            clamped_swiglu      g * sigmoid(1.702 * g) * (u + 1), of min(g, 7) and min(max(u, -7), 7)        gpt-oss

        A g of minus infinity gives NaN, as g * sigmoid(g) does in torch.

    Raises
    ------
    ConfigError
        If a rule above is broken. The message names argument, rule, value and fix.
    """

    M: int | Sequence[int] | None = None
    N: int = _MISSING
    K: int = _MISSING
    A_dtype: str = "float16"
    W_dtype: str | None = None
    out_dtype: str = "float16"
    accum_dtype: str = "float16"
    layout: Literal["nt", "nn"] = "nt"
    with_bias: bool = False
    group_size: int | None = -1
    with_scaling: bool = False
    with_zeros: bool = False
    zeros_mode: ZerosMode | None = "original"
    storage_dtype: str = "int8"
    fast_decoding: bool | None = None
    propagate_a: bool | None = None
    propagate_b: bool | None = None
    scale_dtype: str | None = None
    with_activation_scale: bool = False
    with_channel_scale: bool = False
    codebook: Sequence[float] | None = None
    rows_per_scale: int = 1
    activation: str | None = None

    #: Name of the operation, of kernels.
    operation: ClassVar[str] = "matmul"

    def __post_init__(self) -> None:
        check_config(self)

    def __hash__(self) -> int:  # The generated one fails where M was passed as a list.
        return hash(self.key())

    # Derived values. Nothing above is rewritten: a config prints what was passed.

    @cached_property
    def ladder(self) -> tuple[int, ...]:
        """The rungs in rising order; one for a static M."""
        if self.M is None:
            return DEFAULT_LADDER
        return (self.M,) if isinstance(self.M, int) else tuple(sorted(self.M))

    @property
    def is_static(self) -> bool:
        """Whether M is a single number, so that a call must have exactly M rows."""
        return isinstance(self.M, int)

    def has_fixed_rows(self, rung: int) -> bool:
        """Whether a function of this rung is called with exactly `rung` rows, so that m need not be symbolic.

        So it is for a static M, and for the rung 1 unless it is the last, which serves larger m as well.
        """
        return self.is_static or (rung == 1 and self.ladder[-1] > 1)

    def has_most_rows(self, rung: int) -> bool:
        """Whether a function of this rung is called with at most `rung` rows: all but the last of a symbolic M."""
        return self.is_static or rung < self.ladder[-1]

    @cached_property
    def A_format(self) -> NumberFormat:
        """Format of A."""
        return number_format(self.A_dtype)

    @cached_property
    def W_format(self) -> NumberFormat:
        """Format of W."""
        return number_format(self.W_dtype or self.A_dtype, self.codebook)

    @cached_property
    def out_format(self) -> NumberFormat:
        """Format of D and of Bias."""
        return number_format(self.out_dtype)

    @cached_property
    def scale_format(self) -> NumberFormat:
        """Format of Scale, and of Zeros unless they are packed."""
        if self.scale_dtype is not None:
            return number_format(self.scale_dtype)
        return self.A_format if self.A_format.bits > 8 else number_format("float32")

    @cached_property
    def group(self) -> int:
        """Consecutive k that share a scale; K where `group_size` is None or -1."""
        return self.K if self.group_size in (None, -1) else self.group_size

    @property
    def num_groups(self) -> int:
        """Groups a row, K / group."""
        return self.K // self.group

    @property
    def has_output_scales(self) -> bool:
        """Whether sums are multiplied by an ActivationScale or a ChannelScale, in float32, before Bias is added."""
        return self.with_activation_scale or self.with_channel_scale

    @property
    def has_packed_zeros(self) -> bool:
        """Whether Zeros is the packed integer operand of zeros_mode "quantized"."""
        return self.with_zeros and self.zeros_mode == "quantized"

    @property
    def has_scale_type(self) -> bool:
        """Whether an operand has the type of scales: scales, or zero points that are not packed."""
        return self.with_scaling or (self.with_zeros and not self.has_packed_zeros)

    @cached_property
    def decodes_to_integer(self) -> bool:
        """Whether decode(W) is always an integer: an integer format, no scale, no fractional zero point."""
        return self.W_format.is_integer and not self.has_scale_type

    @cached_property
    def decode_dtype(self) -> str:
        """TVM type of B_decode: the type of A where that holds decode(W), else the smallest type here that does."""
        if self.A_format.bits > 8:
            return self.A_format.tvm_dtype
        if self.A_format.is_integer and self.decodes_to_integer:
            widest = self.W_format.bits == 8 and (self.W_format.is_unsigned or self.has_packed_zeros)
            return "int16" if widest else "int8"
        # The product of two float8 numbers needs more than float8, and B_decode holds no code but a value.
        return "float32" if self.with_scaling or self.with_zeros else "float16"

    @cached_property
    def reduce_dtype(self) -> str:
        """TVM type in which C is accumulated: int32 for integers by integers, else float32.

        `accum_dtype` is a lower bound. float16 sums of hundreds of products lose two to three digits, and no GPU since
        sm_80 reads a weight faster for it, so nothing here accumulates in float16.
        """
        return "int32" if self.A_format.is_integer and self.decodes_to_integer else "float32"

    @property
    def has_exact_results(self) -> bool:
        """Whether no result may differ from another kernel's: int32 sums, not scaled, with an integer output."""
        is_scaled = self.has_output_scales or self.activation is not None
        return self.reduce_dtype == "int32" and self.out_format.is_integer and not is_scaled

    @property
    def needs_decode(self) -> bool:
        """Whether W must be decoded at all: it is packed, of another type than A, scaled or shifted."""
        return self.W_format != self.A_format or self.with_scaling or self.with_zeros

    @property
    def A_shape(self) -> tuple[int | str, int]:
        """Shape of A, with "m" for a symbolic number of rows."""
        return (self.M if isinstance(self.M, int) else "m", self.K)

    @property
    def columns(self) -> int:
        """Columns of D: N, or N / 2 where an activation makes one number of two."""
        return self.N // self.rows_per_column

    @property
    def rows_per_column(self) -> int:
        """Rows of W that a column of D is made of: 1, or gate and up of an activation."""
        return 1 if self.activation is None else 2

    @cached_property
    def W_shape(self) -> tuple[int, int]:
        """Shape of the stored W: (N, K * bits / 8) packed, (N, K) or (K, N) otherwise."""
        if self.W_format.is_packed:
            return (self.N, self.K * self.W_format.bits // 8)
        return (self.N, self.K) if self.layout == "nt" else (self.K, self.N)

    @cached_property
    def scale_shape(self) -> tuple[int, int]:
        """Shape of Scale, (ceil(N / rows_per_scale), K / group)."""
        return (ceil_div(self.N, self.rows_per_scale if self.with_scaling else 1), self.num_groups)

    @cached_property
    def zeros_shape(self) -> tuple[int, int]:
        """Shape of Zeros: that of Scale, or (K / group, N * bits / 8) packed."""
        if self.has_packed_zeros:
            return (self.num_groups, self.N * self.W_format.bits // 8)
        return self.scale_shape

    @property
    def wants_plain_layout(self) -> bool:
        """Whether the weight must stay in the plain packing."""
        return any(flag is not None and not flag for flag in (self.fast_decoding, self.propagate_b))

    # Reading and writing.

    def with_M(self, M: int | Sequence[int] | None) -> MatmulConfig:
        """Return the same problem for another M."""
        return dataclasses.replace(self, M=M)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as passed, ready for JSON."""
        return fields_as_passed(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> MatmulConfig:
        """Return the config whose `to_dict` is `fields`.

        Raises
        ------
        ConfigError
            If there is another field, or a rule is broken.
        """
        if not isinstance(fields, Mapping):
            raise ConfigError(f"the fields of a config must be a mapping (got {type(fields).__name__})", fields=fields)
        known = [f.name for f in dataclasses.fields(cls)]
        if (unknown := next((name for name in fields if name not in known), None)) is not None:
            raise ConfigError(f"a config has no field {unknown!r}; its fields are {', '.join(known)}", field=unknown)
        if isinstance(fields.get("codebook"), list):
            fields = {**fields, "codebook": tuple(fields["codebook"])}
        return cls(**fields)

    def problem(self) -> dict[str, Any]:
        """Return what decides the kernels: the fields in canonical spelling, defaults and BitBLAS flags resolved.

        Two configs with equal problems get the same kernels. Keys of caches and records are made of this. Output
        scales, a codebook, rows that share a scale and an activation are named where they are there alone, so that
        keys from before there were any stay what they are.
        """
        output_scales = ("with_activation_scale", "with_channel_scale")
        return {
            "M": self.M if isinstance(self.M, int) else list(self.ladder),
            "N": self.N,
            "K": self.K,
            "A_dtype": self.A_format.name,
            "W_dtype": self.W_format.name,
            "out_dtype": self.out_format.name,
            "accum_dtype": number_format(self.accum_dtype).name,
            "layout": self.layout,
            "with_bias": self.with_bias,
            "group_size": self.group if self.with_scaling or self.with_zeros else self.K,
            "with_scaling": self.with_scaling,
            "with_zeros": self.with_zeros,
            "zeros_mode": self.zeros_mode if self.with_zeros else "original",
            "scale_dtype": self.scale_format.name if self.has_scale_type else None,
            "plain_layout": self.wants_plain_layout,
            **{name: True for name in output_scales if getattr(self, name)},
            **({"codebook": list(self.W_format.levels or ())} if self.W_format.takes_codebook else {}),
            **({"rows_per_scale": self.rows_per_scale} if self.rows_per_scale > 1 and self.with_scaling else {}),
            **({} if self.activation is None else {"activation": self.activation}),
        }

    @classmethod
    def from_problem(cls, problem: dict[str, Any]) -> MatmulConfig:
        """Return a config with that `problem`.

        Raises
        ------
        ConfigError
            If it has not the fields of a problem, or breaks a rule of a config.
        """
        if not isinstance(problem, Mapping) or not isinstance(problem.get("plain_layout"), bool):
            raise ConfigError(f"a problem must be a mapping with a bool 'plain_layout' (got {problem!r:.200})")
        fields = {k: v for k, v in problem.items() if k != "plain_layout"}
        if "fast_decoding" in fields:
            raise ConfigError("a problem has no field 'fast_decoding'; 'plain_layout' stands for it")
        return cls.from_dict({**fields, "fast_decoding": False if problem["plain_layout"] else None})

    def __str__(self) -> str:
        m = self.M if self.is_static else "{" + ",".join(map(str, self.ladder)) + "}"
        return f"matmul_{self.layout}(M={m}, N={self.N}, K={self.K}, {self.A_format.name} x {self.W_format.name})"

    def problem_summary(self) -> str:
        """Return types, groups, zeros, output scales, bias and activation in one line."""
        parts = [f"{self.A_format.name} x {self.W_format.name} -> {self.out_format.name}, sums in {self.reduce_dtype}"]
        if self.with_scaling and self.rows_per_scale > 1:
            parts.append(f"blocks of {self.rows_per_scale} x {self.group}")
        elif self.with_scaling or self.with_zeros:
            parts.append(f"groups of {self.group}")
        if self.with_scaling:
            parts.append(f"{self.scale_format.name} scales")
        if self.with_zeros:
            parts.append(f"{self.zeros_mode} zero points")
        if self.with_activation_scale:
            parts.append("activation scales")
        if self.with_channel_scale:
            parts.append("channel scales")
        if self.with_bias:
            parts.append("bias")
        if self.activation is not None:
            parts.append(self.activation)
        return ", ".join(parts)

    def key(self) -> str:
        """Return `problem` as canonical JSON."""
        return json.dumps(self.problem(), sort_keys=True, separators=(",", ":"))


def fields_as_passed(config: Any) -> dict[str, Any]:
    """Return the fields of a config, a dataclass, ready for JSON: M and codebook are lists unless an int or None."""
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    for name in ("M", "codebook"):
        if fields[name] is not None and not isinstance(fields[name], int):
            fields[name] = list(fields[name])
    return fields
