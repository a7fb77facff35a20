# SPDX-License-Identifier: Apache-2.0
"""The problem of a mixture-of-experts layer: one product with the weights of several experts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from bitquant.checks import as_int_hint, check_bool
from bitquant.config import MatmulConfig, ZerosMode, fields_as_passed
from bitquant.errors import ConfigError
from bitquant.formats import NumberFormat

__all__ = ["SORTED_LADDER", "GroupedMatmulConfig", "config_from_problem", "expected_experts"]

#: More experts than any model has, and fewer than 32-bit indices need care for.
_MAX_EXPERTS = 1 << 16
#: Most experts of a token.
_MAX_TOP_K = 1 << 10
#: The ladder of sorted rows where M is None: those of all experts together, of which each has a part.
SORTED_LADDER: tuple[int, ...] = (1, 16, 64, 256, 1024, 4096, 16384)
#: What rows of A and D may go by, where they are indexed.
_ROWS = ("tokens", "slots")


@dataclass(frozen=True)
class GroupedMatmulConfig:
    """A grouped matrix multiplication: each row of A by the weight of one of E experts.

    W is (E, N, K) before packing; decode(W)[e] is that of `MatmulConfig` for each expert, with Scale, Zeros, Bias and
    ChannelScale of a leading dimension E. Which expert a row meets is data: a call does not synchronize with the host
    for it, and a captured graph may be replayed with other routing.

    "sorted": rows are in the order of their experts, as torch.nn.functional.grouped_mm has them. Offsets, (E,) int32,
    are the ends of the experts' rows, so that rows Offsets[e - 1] <= s < Offsets[e] are those of expert e::

        D[s, n] = cast_out(sum_k A[s, k] * decode(W)[e, n, k] * ActivationScale[s] * ChannelScale[e, n] + Bias[e, n])

    Rows from Offsets[E - 1] on belong to no expert; what D holds there is not specified.

    "indexed": ExpertIds, (M, top_k) int32, names the experts of each token; token t and place j are a *slot*, and e is
    ExpertIds[t, j]::

        P[t, j, n] = (sum_k A[.., k] * decode(W)[e, n, k] * ActivationScale * ChannelScale[e, n] + Bias[e, n])
                     * RoutingWeights[t, j]
        D[t, j, n] = cast_out(P[t, j, n])               D_rows "slots"
        D[t, n]    = cast_out(sum_j P[t, j, n])         D_rows "tokens"; in float32, in the order of j

    With an activation, that of `MatmulConfig` comes before RoutingWeights, and before sums over slots: D has N / 2
    columns, and P[t, j, n] is act(H[t, j, 2 n], H[t, j, 2 n + 1]) * RoutingWeights[t, j].

    A slot whose expert is none of 0 ... E - 1 counts as zeros: that is how a rank of expert parallelism leaves out what
    others compute.

    Parameters
    ----------
    num_experts
        E.
    N, K
        Columns of D (rows of W, where there is an activation), and the length of the reduction, of each expert.
    A_dtype, W_dtype, out_dtype, accum_dtype, with_bias, group_size, with_scaling, with_zeros, zeros_mode
        As in `MatmulConfig`.
    scale_dtype, with_activation_scale, with_channel_scale, codebook, rows_per_scale, activation, fast_decoding
        As in `MatmulConfig`.
    M
        Rows: of A where they are sorted, else tokens. An int, a ladder or None, as in `MatmulConfig`; None is
        `SORTED_LADDER` where rows are sorted.
    routing
        "sorted" or "indexed".
    top_k
        Experts of a token, where rows are indexed; else None.
    A_rows
        Where rows are indexed: "tokens", A is (M, K) and each token's row meets `top_k` experts (the first product of a
        layer); "slots", A is (M, top_k, K) (the second).
    D_rows
        Where rows are indexed: "slots", D is (M, top_k, N); "tokens", D is (M, N), sums over the slots of a token.
    with_routing_weights
        Whether there is a RoutingWeights, (M, top_k) float32, where rows are indexed.

    Raises
    ------
    ConfigError
        If a rule of `MatmulConfig` is broken, or one above.
    """

    num_experts: int
    N: int
    K: int
    A_dtype: str = "float16"
    W_dtype: str | None = None
    out_dtype: str = "float16"
    accum_dtype: str = "float16"
    with_bias: bool = False
    group_size: int | None = -1
    with_scaling: bool = False
    with_zeros: bool = False
    zeros_mode: ZerosMode | None = "original"
    scale_dtype: str | None = None
    with_activation_scale: bool = False
    with_channel_scale: bool = False
    codebook: Sequence[float] | None = None
    rows_per_scale: int = 1
    fast_decoding: bool | None = None
    M: int | Sequence[int] | None = None
    routing: Literal["sorted", "indexed"] = "sorted"
    top_k: int | None = None
    A_rows: Literal["tokens", "slots"] = "tokens"
    D_rows: Literal["tokens", "slots"] = "slots"
    with_routing_weights: bool = False
    activation: str | None = None

    #: Name of the operation, in problems and of kernels.
    operation: ClassVar[str] = "grouped_matmul"

    def __post_init__(self) -> None:
        _validate(self)

    def __hash__(self) -> int:  # The generated one fails where M was passed as a list.
        return hash(self.key())

    @cached_property
    def matmul(self) -> MatmulConfig:
        """The product of one expert: formats, groups and ladder are its."""
        own = {f.name for f in dataclasses.fields(MatmulConfig)}
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name in own}
        if self.M is None and self.is_sorted:
            fields["M"] = SORTED_LADDER
        return MatmulConfig(**fields)

    # What is asked of configs of all operations.

    @property
    def ladder(self) -> tuple[int, ...]:
        """The rungs in rising order; one for a static M."""
        return self.matmul.ladder

    @property
    def is_static(self) -> bool:
        """Whether M is a single number, so that a call must have exactly M rows."""
        return self.matmul.is_static

    def has_fixed_rows(self, rung: int) -> bool:
        """Whether a function of this rung is called with exactly `rung` rows."""
        return self.matmul.has_fixed_rows(rung)

    def has_most_rows(self, rung: int) -> bool:
        """Whether a function of this rung is called with at most `rung` rows."""
        return self.matmul.has_most_rows(rung)

    @property
    def A_format(self) -> NumberFormat:
        """Format of A."""
        return self.matmul.A_format

    @property
    def W_format(self) -> NumberFormat:
        """Format of W."""
        return self.matmul.W_format

    @property
    def out_format(self) -> NumberFormat:
        """Format of D and of Bias."""
        return self.matmul.out_format

    @property
    def scale_format(self) -> NumberFormat:
        """Format of Scale, and of Zeros unless they are packed."""
        return self.matmul.scale_format

    @property
    def columns(self) -> int:
        """Columns of D."""
        return self.matmul.columns

    @property
    def rows_per_column(self) -> int:
        """Rows of W that a column of D is made of."""
        return self.matmul.rows_per_column

    @property
    def wants_plain_layout(self) -> bool:
        """Whether the weight must stay in the plain packing."""
        return self.matmul.wants_plain_layout

    # Routing.

    @property
    def is_indexed(self) -> bool:
        """Whether each token names its experts."""
        return self.routing == "indexed"

    @property
    def is_sorted(self) -> bool:
        """Whether rows are in the order of their experts."""
        return self.routing == "sorted"

    def slots_of(self, rows: Literal["tokens", "slots"]) -> tuple[int, ...]:
        """Return the dimensions after the first of what goes by tokens or by slots."""
        return (self.top_k or 1,) if self.is_indexed and rows == "slots" else ()

    @property
    def rows_per_m(self) -> int:
        """Rows of the product for each of M: the slots of a token, or 1 where rows are sorted."""
        return self.top_k or 1

    @property
    def reduces_slots(self) -> bool:
        """Whether D has the sums over the slots of a token."""
        return self.is_indexed and self.D_rows == "tokens"

    def in_both_routings(self) -> tuple[GroupedMatmulConfig, GroupedMatmulConfig]:
        """Return problems of the same weights whose rows are sorted, and indexed: a layer may call both with one W."""
        of_rows = {"A_rows": "tokens", "D_rows": "slots", "with_routing_weights": False, "M": None}
        by_order: dict[str, Any] = {"routing": "sorted", "top_k": None, **of_rows}
        by_index: dict[str, Any] = {"routing": "indexed", "top_k": 1, **of_rows}
        return dataclasses.replace(self, **by_order), dataclasses.replace(self, **by_index)

    def expected_experts(self, m: int) -> float:
        """Return how many experts `m` sorted rows, or tokens, meet on average, all experts being equally likely."""
        if self.rows_per_m > self.num_experts:
            return expected_experts(m * self.rows_per_m, self.num_experts)
        return expected_experts(m, self.num_experts, self.rows_per_m)

    @property
    def has_exact_results(self) -> bool:
        """Whether no result may differ from another kernel's; with routing weights, or sums of slots, floats may."""
        return self.matmul.has_exact_results and not self.with_routing_weights and not self.reduces_slots

    # Reading and writing.

    def with_M(self, M: int | Sequence[int] | None) -> GroupedMatmulConfig:
        """Return the same problem for another M."""
        return dataclasses.replace(self, M=M)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as passed, ready for JSON."""
        return fields_as_passed(self)

    def problem(self) -> dict[str, Any]:
        """Return what decides the kernels: the operation, the routing, and `MatmulConfig.problem` of an expert."""
        indexed = {name: getattr(self, name) for name in ("top_k", "A_rows", "D_rows", "with_routing_weights")}
        own = {"operation": self.operation, "num_experts": self.num_experts, "routing": self.routing}
        return {**self.matmul.problem(), **own, **(indexed if self.is_indexed else {})}

    @classmethod
    def from_problem(cls, problem: dict[str, Any]) -> GroupedMatmulConfig:
        """Return a config with that `problem`.

        Raises
        ------
        ConfigError
            If it has not the fields of a problem, or breaks a rule of a config.
        """
        if not isinstance(problem, Mapping) or problem.get("operation") != cls.operation:
            raise ConfigError(f"a problem must be a mapping with operation={cls.operation!r} (got {problem!r:.200})")
        names = ("num_experts", "routing", "top_k", "A_rows", "D_rows", "with_routing_weights")
        routing = {name: problem[name] for name in names if name in problem}
        matmul = MatmulConfig.from_problem({k: v for k, v in problem.items() if k not in (*names, "operation")})
        if matmul.layout != "nt":
            raise ConfigError(f"'layout' must be 'nt' (got {matmul.layout!r})", layout=matmul.layout)
        own = {f.name for f in dataclasses.fields(cls)}
        try:
            return cls(**{k: v for k, v in matmul.to_dict().items() if k in own}, **routing)
        except TypeError as error:
            raise ConfigError(f"a problem must have num_experts and routing (got {sorted(problem)})") from error

    def key(self) -> str:
        """Return `problem` as canonical JSON."""
        return json.dumps(self.problem(), sort_keys=True, separators=(",", ":"))

    def __str__(self) -> str:
        m = self.M if self.is_static else "{" + ",".join(map(str, self.ladder)) + "}"
        types = f"{self.A_format.name} x {self.W_format.name}"
        return f"grouped_matmul_{self.routing}(E={self.num_experts}, M={m}, N={self.N}, K={self.K}, {types})"

    def problem_summary(self) -> str:
        """Return routing, types, groups, zeros, output scales and bias in one line."""
        parts = [self.matmul.problem_summary()]
        if self.is_indexed:
            parts.append(f"top {self.top_k}, A by {self.A_rows}, D by {self.D_rows}")
        if self.with_routing_weights:
            parts.append("routing weights")
        return ", ".join(parts)


def expected_experts(draws: int, experts: int, at_once: int = 1) -> float:
    """Return how many experts are met on average by draws of `at_once` different ones, all being equally likely.

    ::

        E * (1 - (1 - at_once / E)^draws)
    """
    return experts * (1 - (1 - at_once / experts) ** draws)


def config_from_problem(problem: dict[str, Any]) -> MatmulConfig | GroupedMatmulConfig:
    """Return the config of a problem, of whatever operation.

    Raises
    ------
    ConfigError
        As `MatmulConfig.from_problem`.
    """
    if isinstance(problem, Mapping) and problem.get("operation", MatmulConfig.operation) != MatmulConfig.operation:
        return GroupedMatmulConfig.from_problem(problem)
    return MatmulConfig.from_problem(problem)


def _validate(c: GroupedMatmulConfig) -> None:
    _int_between(c.num_experts, "num_experts", _MAX_EXPERTS)
    for name, allowed in (("routing", ("sorted", "indexed")), ("A_rows", _ROWS), ("D_rows", _ROWS)):
        if getattr(c, name) not in allowed:
            raise ConfigError(
                f"{name!r} must be {' or '.join(map(repr, allowed))} (got {getattr(c, name)!r:.200})",
                **{name: getattr(c, name)},
            )
    check_bool(c.with_routing_weights, "with_routing_weights")
    if c.is_indexed:
        _int_between(c.top_k, "top_k", _MAX_TOP_K)
    else:
        for name, default in (("top_k", None), ("A_rows", "tokens"), ("D_rows", "slots")):
            if getattr(c, name) != default:
                raise ConfigError(
                    f"{name!r} must be left out where routing='sorted', whose rows have one expert each "
                    f"(got {getattr(c, name)!r}); use routing='indexed'",
                    **{name: getattr(c, name)},
                )
        if c.with_routing_weights:
            raise ConfigError(
                "'with_routing_weights' must be False where routing='sorted' (got True); multiply the rows of D, or "
                "use routing='indexed'",
                with_routing_weights=True,
            )
    _ = c.matmul  # Checks the rules of an expert.


def _int_between(value: Any, argument: str, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigError(
            f"{argument!r} must be an int from 1 to {most} (got {value!r:.200}){as_int_hint(value)}",
            **{argument: value},
        )
