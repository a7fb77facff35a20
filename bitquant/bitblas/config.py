# SPDX-License-Identifier: Apache-2.0
"""The problem as BitBLAS writes it down: its field names, its defaults, and how it resolves what is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

from bitquant import config as native_config
from bitquant.config import DEFAULT_LADDER
from bitquant.errors import ConfigError

__all__ = ["MatmulConfig", "OptimizeStrategy", "TransformKind"]

_MISSING: Any = None

#: BitBLAS's default rung list where requests are batched continuously: no single row.
_BATCHING_LADDER = DEFAULT_LADDER[1:]

#: What None stands for.
_DEFAULTS = {"with_bias": False, "with_scaling": False, "with_zeros": False, "group_size": -1, "zeros_mode": "original"}

#: Fields that bitquant's config takes as they are.
_SHARED = (
    "M", "N", "K", "A_dtype", "W_dtype", "out_dtype", "layout", "with_bias", "with_scaling", "with_zeros", "zeros_mode",
)  # fmt: skip

#: Spellings of float8 in BitBLAS; it tests for them by name.
_FLOAT8 = ("e4m3_float8", "e5m2_float8")

#: Types of A that BitBLAS stores a W of the same type in.
_STORED_AS_THEY_ARE = ("float16", "bfloat16", "int8", *_FLOAT8)


class OptimizeStrategy(IntEnum):
    """What M stands for where it is left out: whether a single row is among the rungs."""

    SingleBatchDecodeOnly = 0
    ContigousBatching = 1  # BitBLAS's spelling.


class TransformKind(IntEnum):
    """How far BitBLAS permutes an operand for its tensor-core kernels ("ladder" layouts)."""

    NonTransform = 0
    InterWarpTransform = 1
    IntraWarpTransform = 2
    LDMatrixTransform = 3


@dataclass(frozen=True)
class MatmulConfig:
    """A mixed-precision matrix multiplication with the fields and the defaults of BitBLAS's class of this name.

    Fields are resolved when it is made, as there: ``M=None`` is the default list, a list becomes a
    tuple, None for a flag is False, and `fast_decoding`, `propagate_a` and `propagate_b` become
    what BitBLAS would do. That is how the layout of a weight that BitBLAS stored is known
    (`unpack_serialized_weight`). The kernels here ignore it, but for a `fast_decoding` of False
    where BitBLAS's own choice is True: the weight stays in the plain packing then.

    `native` is the problem as bitquant has it. Two configs are equal where their resolved fields
    are.

    Parameters
    ----------
    M, N, K, A_dtype, W_dtype, out_dtype, layout, with_bias, with_scaling, with_zeros, zeros_mode
        As in `bitquant.MatmulConfig`. W_dtype is the type of A where it is left out (in BitBLAS
        always float16).
    accum_dtype
        Also "bfloat16", which bitquant does not sum in: its sums are float32.
    group_size
        As in `bitquant.MatmulConfig`; without effect where there are neither scales nor zero
        points.
    storage_dtype
        Any; the type of W where that is the type of A, as in BitBLAS. Packed weights are int8 here.
    fast_decoding, propagate_a, propagate_b
        Described above.
    optimize_stratety
        [sic] `OptimizeStrategy` or its number; decides on the default of M.

    Raises
    ------
    ConfigError
        If bitquant has no such problem. The message names argument, rule, value and fix.
    """

    M: int | Sequence[int] | None = None
    N: int = _MISSING
    K: int = _MISSING
    A_dtype: str = "float16"
    W_dtype: str = _MISSING
    out_dtype: str = "float16"
    accum_dtype: str = "float16"
    layout: str = "nt"
    with_bias: bool | None = False
    group_size: int | None = -1
    with_scaling: bool | None = False
    with_zeros: bool | None = False
    zeros_mode: str | None = "original"
    storage_dtype: str = "int8"
    fast_decoding: bool | None = None
    propagate_a: bool | int | TransformKind | None = None
    propagate_b: bool | int | TransformKind | None = None
    optimize_stratety: int | OptimizeStrategy = OptimizeStrategy.SingleBatchDecodeOnly

    def __post_init__(self) -> None:
        strategy = _strategy(self.optimize_stratety)
        self._set("optimize_stratety", strategy)
        self._set("M", _rungs(self.M, strategy))
        self._set("W_dtype", self.A_dtype if self.W_dtype is None else self.W_dtype)
        for name, default in _DEFAULTS.items():
            if getattr(self, name) is None:
                self._set(name, default)
        if not isinstance(self.storage_dtype, str):
            raise ConfigError(
                f"'storage_dtype' must be a string (got {self.storage_dtype!r})", storage_dtype=self.storage_dtype
            )
        self._native()  # Whatever is wrong is said now.
        if self.A_dtype == self.W_dtype and self.W_dtype in _STORED_AS_THEY_ARE:
            self._set("storage_dtype", self.W_dtype)
        self._set("fast_decoding", self._decodes_fast if self.fast_decoding is None else bool(self.fast_decoding))
        kinds = _resolved_kinds(self, _kind("propagate_a", self.propagate_a), _kind("propagate_b", self.propagate_b))
        self._set("propagate_a", kinds[0])
        self._set("propagate_b", kinds[1])

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def _decodes_fast(self) -> bool:
        """Whether BitBLAS by itself interleaves the codes for its LOP3 decoding."""
        w, a = self.W_dtype, self.A_dtype
        return not (
            "int" not in w
            or w == a
            or w in ("int8", "uint8")
            or (w in ("int4", "uint4") and a == "int8")
            or a == "bfloat16"
        )

    @cached_property
    def native(self) -> native_config.MatmulConfig:
        """The problem as bitquant has it."""
        return self._native(False if self._decodes_fast and not self.fast_decoding else None)

    def _native(self, fast_decoding: bool | None = None) -> native_config.MatmulConfig:
        has_groups = bool(self.with_scaling or self.with_zeros)
        values: dict[str, Any] = {name: getattr(self, name) for name in _SHARED}
        return native_config.MatmulConfig(
            **values,
            accum_dtype="float32" if self.accum_dtype == "bfloat16" else self.accum_dtype,
            group_size=self.group_size if has_groups else -1,
            fast_decoding=fast_decoding,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields from which an equal config is made, ready for JSON."""
        fields = dataclasses.asdict(self)
        fields["M"] = self.M if isinstance(self.M, int) else list(self.M or ())
        for name in ("optimize_stratety", "propagate_a", "propagate_b"):
            fields[name] = int(fields[name])
        return fields


def _resolved_kinds(
    c: MatmulConfig, propagate_a: TransformKind | None, propagate_b: TransformKind | None
) -> tuple[TransformKind, TransformKind]:
    """Return what BitBLAS does to A and W; what was passed comes before what follows from the sizes."""
    none, ldmatrix = TransformKind.NonTransform, TransformKind.LDMatrixTransform
    whole_tiles = c.N % 16 == 0 and c.K % 16 == 0
    is_static = isinstance(c.M, int) and c.M != 1
    a = TransformKind.IntraWarpTransform if is_static and c.M % 16 == 0 and whole_tiles else none  # type: ignore[operator]
    if propagate_b == none:
        a = none
    b = ldmatrix if is_static and whole_tiles else none
    a = a if propagate_a is None else propagate_a
    b = b if propagate_b is None else propagate_b
    if c.optimize_stratety == OptimizeStrategy.ContigousBatching and c.M != 1:
        b = ldmatrix
    if c.A_dtype in (*_FLOAT8, "bfloat16"):
        a = b = none
    return a, b


def _strategy(value: Any) -> OptimizeStrategy:
    try:
        return OptimizeStrategy(value)
    except ValueError as error:
        names = ", ".join(f"{int(s)} ({s.name})" for s in OptimizeStrategy)
        raise ConfigError(
            f"'optimize_stratety' must be one of {names} (got {value!r})", optimize_stratety=value
        ) from error


def _rungs(M: Any, strategy: OptimizeStrategy) -> Any:
    if M is None:
        return DEFAULT_LADDER if strategy == OptimizeStrategy.SingleBatchDecodeOnly else _BATCHING_LADDER
    return tuple(M) if isinstance(M, list) else M


def _kind(name: str, value: Any) -> TransformKind | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return TransformKind.LDMatrixTransform if value else TransformKind.NonTransform
    try:
        return TransformKind(value)
    except ValueError as error:
        raise ConfigError(
            f"{name!r} must be a bool, None or a TransformKind, 0 to 3 (got {value!r})", **{name: value}
        ) from error
