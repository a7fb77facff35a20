# SPDX-License-Identifier: Apache-2.0
"""The one list of problems, and of inputs for them, that correctness tests and timings draw from.

`cases` is legal by construction: predicates here say which formats, modes and sizes go together, and nothing is tried
out and dropped on an error. Kernels of given hints are those of `bitquant.testing.kernels`, sizes for timing those of
`bitquant.testing.shape_sets`.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from bitquant import inputs
from bitquant.arithmetic import round_up
from bitquant.config import MatmulConfig, ZerosMode
from bitquant.formats import ACTIVATION_DTYPES, OUT_DTYPES, SCALE_DTYPES, WEIGHT_DTYPES, NumberFormat, number_format
from bitquant.operands import EPILOGUE, present
from bitquant.testing.activations import spread
from bitquant.testing.oracle import FEW_ELEMENTS, oracle, oracle_argument, oracle_weight

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = [
    "CALL_ROWS",
    "Inputs",
    "call_rows",
    "case_id",
    "cases",
    "configs",
    "formats",
    "legal_accumulators",
    "legal_activations",
    "legal_layouts",
    "legal_zeros_modes",
    "make_inputs",
    "packing_step",
    "sample_format",
    "weight_fields",
]

#: Rows of A to call an operator with: none, a vector, fewer than a tile, a tile, a tile and one.
CALL_ROWS: tuple[int, ...] = (0, 1, 3, 16, 33)

#: Levels in no order, of which neither 16-bit type holds all, for formats that are given them.
_CODEBOOK = (
    0.25, -1.75, 0.0, 3.0, -0.0625, 0.7, -0.9, 1.2, 2.1, -2.6, 0.4, -0.33, 1.625, -1.1, 0.05, -3.5,
)  # fmt: skip


# What goes together.


def formats() -> tuple[str, ...]:
    """Return the names of all weight formats."""
    return WEIGHT_DTYPES


def weight_fields(W_dtype: str) -> dict[str, Any]:
    """Return the fields of a config that say what its weight's format is."""
    if number_format(W_dtype).takes_codebook:
        return {"W_dtype": W_dtype, "codebook": _CODEBOOK}
    return {"W_dtype": W_dtype}


def sample_format(W_dtype: str) -> NumberFormat:
    """Return the format of that name that problems here have."""
    return number_format(W_dtype, weight_fields(W_dtype).get("codebook"))


def legal_activations(W_dtype: str) -> tuple[str, ...]:
    """Return the types that A may have with this W: its own if W is a native float, no int8 if W has fractions."""
    return number_format(W_dtype).activations


def legal_zeros_modes(W_dtype: str) -> tuple[ZerosMode | None, ...]:
    """Return the modes of zero points that this W may have, None for no zero points."""
    return (None, *number_format(W_dtype).zeros_modes)


def legal_accumulators(A_dtype: str) -> tuple[str, ...]:
    """Return the accum_dtypes that this A may have."""
    return ("float16", "float32", "int32") if A_dtype == "int8" else ("float16", "float32")


def legal_layouts(W_dtype: str, A_dtype: str) -> tuple[Literal["nt", "nn"], ...]:
    """Return the layouts that W may have: (K, N) only where it is of the type of A."""
    return ("nt", "nn") if W_dtype == A_dtype else ("nt",)


def packing_step(W_dtype: str) -> int:
    """Return the number that K (and N of packed zero points) must be a multiple of."""
    return 8 // math.gcd(8, number_format(W_dtype).bits)


# Problems.


@dataclass(frozen=True)
class _Shape:
    N: int
    K: int
    group_size: int

    def suits(self, W_dtype: str, zeros_mode: ZerosMode | None) -> bool:
        """Whether rows, groups and packed zero points come out whole."""
        step = packing_step(W_dtype)
        whole_groups = self.group_size == -1 or self.K % self.group_size == 0
        return self.K % step == 0 and whole_groups and (zeros_mode != "quantized" or self.N % step == 0)


class _RoundRobin:
    """Deals each axis's values from a shuffled deck, so that each comes up once before any comes up again."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311  Reproducible, not secret.
        self._decks: dict[tuple[str, tuple[Any, ...]], list[Any]] = {}

    def next(self, axis: str, values: Sequence[Any]) -> Any:
        deck = self._decks.setdefault((axis, tuple(values)), [])
        if not deck:
            deck.extend(self._random.sample(list(values), len(values)))
        return deck.pop()


def _own_shapes(W_dtype: str, zeros_mode: ZerosMode | None, grouped: bool, round_robin: _RoundRobin) -> list[_Shape]:
    """Return a round and a ragged shape: sizes that tiles divide, and sizes that nothing but the packing divides."""
    step = packing_step(W_dtype)
    ragged_k = [(72, 9), (72, 24), (step * 51, 17)] if grouped else [(step * k, -1) for k in (1, 17, 129)]
    N = round_robin.next("ragged N", (1, 5, 33, 1001))
    N = round_up(N, step) if zeros_mode == "quantized" else N
    K, group_size = round_robin.next("ragged K", ragged_k)
    return [_Shape(128, 256, 64 if grouped else -1), _Shape(N, K, group_size)]


#: Types of scales that go with zero points, and those that do not.
_WIDE_SCALES = tuple(name for name in SCALE_DTYPES if number_format(name).bits > 8)
_NARROW_SCALES = tuple(name for name in SCALE_DTYPES if number_format(name).bits == 8)


def cases(
    select: Literal["cover", "grid", "all"] = "cover",
    *,
    W_dtypes: Sequence[str] | None = None,
    A_dtypes: Sequence[str] | None = None,
    shapes: Sequence[tuple[int, int, int]] | None = None,
    stride: int = 1,
    offset: int = 0,
    seed: int = 0,
) -> Iterator[MatmulConfig]:
    """Yield legal problems, the same ones in the same order each time.

    The axes of a problem are W_dtype, A_dtype and zeros_mode; with and without scales; one group a row or more; round
    and ragged N and K; out_dtype and bias. The lesser ones (accum_dtype, layout, scale_dtype, M static or a ladder,
    plain or best weight layout) rotate. The problems of each W_dtype are followed by those with output scales.

    Parameters
    ----------
    select
        "cover": every W_dtype with every A_dtype and every zeros_mode that it may have, once; the other axes rotate
        for each W_dtype, no value twice before all once (some 400 problems). "grid": the product of these three with
        scales, groups and shapes; outputs and bias rotate (some 3000). "all": the product with outputs and bias too
        (some 30000).
    W_dtypes, A_dtypes
        Only these; default all.
    shapes
        (N, K, group_size) in place of the built-in small ones, for timing. Those that a format cannot take are
        skipped.
    stride, offset
        Every stride-th problem, from the offset-th on: a sample, or one worker's share.
    seed
        Another seed rotates differently.

    Notes
    -----
    Problems with output scales take all axes but A_dtype and which scales there are in turn. "cover": one for each
    W_dtype and A of 8 bits, and one for a wider A (some 80). Otherwise each A_dtype with an ActivationScale, a
    ChannelScale and both; with "all" for each out_dtype and bias.

    Problems with scales of 8 bits, and with blocks of rows that share scales, come last: "cover" has one of each for
    every W_dtype of at most 8 bits, the others one for each A_dtype too.
    """
    problems = _problems(select, W_dtypes or WEIGHT_DTYPES, A_dtypes or ACTIVATION_DTYPES, shapes, seed)
    for i, config in enumerate(problems):
        if i % stride == offset % stride:
            yield config


def _problems(
    select: str,
    W_dtypes: Sequence[str],
    A_dtypes: Sequence[str],
    shapes: Sequence[tuple[int, int, int]] | None,
    seed: int,
) -> Iterator[MatmulConfig]:
    for W in W_dtypes:
        round_robin = _RoundRobin(f"{seed}/{W}")
        activations = [a for a in legal_activations(W) if a in A_dtypes]
        for A in activations:
            for zeros_mode in legal_zeros_modes(W):
                points = [
                    (with_scaling, shape)
                    for with_scaling in (False, True)
                    for shape in _shapes(W, zeros_mode, with_scaling, shapes, round_robin)
                ]
                if select == "cover" and points:
                    points = [points[round_robin.next("point", range(len(points)))]]
                for with_scaling, shape in points:
                    outputs = [(out, bias) for out in OUT_DTYPES for bias in (False, True)]
                    if select != "all":
                        outputs = [round_robin.next("output", outputs)]
                    for out, bias in outputs:
                        yield _problem(W, A, zeros_mode, with_scaling, shape, out, bias, round_robin)
        yield from _problems_with_output_scales(select, W, activations, shapes, round_robin)
    for W in W_dtypes:
        yield from _problems_with_other_scales(select, W, A_dtypes, shapes, _RoundRobin(f"{seed}/scales/{W}"))


def _problems_with_output_scales(
    select: str,
    W: str,
    activations: Sequence[str],
    shapes: Sequence[tuple[int, int, int]] | None,
    round_robin: _RoundRobin,
) -> Iterator[MatmulConfig]:
    """Yield problems with an ActivationScale, a ChannelScale or both; see `cases`."""
    pairs = ((True, True), (True, False), (False, True))
    if select == "cover":
        wide = [a for a in activations if number_format(a).bits > 8]
        activations = [a for a in activations if a not in wide] + [round_robin.next("wide A", wide)] * bool(wide)
    for A in activations:
        for activation, channel in [round_robin.next("output scales", pairs)] if select == "cover" else pairs:
            zeros_mode = round_robin.next("zeros mode", legal_zeros_modes(W))
            # Mostly none of their own: formats of 8 bits have a scale a channel instead.
            with_scaling = round_robin.next("scaling", (False, False, True))
            found = _shapes(W, zeros_mode, with_scaling, shapes, round_robin)
            if not found:
                continue
            shape = found[round_robin.next("shape", range(len(found)))]
            outputs = [(out, bias) for out in OUT_DTYPES for bias in (False, True)]
            for out, bias in outputs if select == "all" else [round_robin.next("scaled output", outputs)]:
                problem = _problem(W, A, zeros_mode, with_scaling, shape, out, bias, round_robin)
                yield dataclasses.replace(problem, with_activation_scale=activation, with_channel_scale=channel)


def _problems_with_other_scales(
    select: str,
    W: str,
    A_dtypes: Sequence[str],
    shapes: Sequence[tuple[int, int, int]] | None,
    round_robin: _RoundRobin,
) -> Iterator[MatmulConfig]:
    """Yield problems with scales of 8 bits, and with rows that share scales; see `cases`."""
    if number_format(W, weight_fields(W).get("codebook")).bits > 8:
        return
    kinds = [(name, 1) for name in _NARROW_SCALES] + [(None, 128), ("float8_e8m0", 24)]
    activations = [a for a in legal_activations(W) if a in A_dtypes]
    pairs = [(a, kind) for a in activations for kind in kinds]
    if select == "cover" and activations:
        pairs = [(round_robin.next("A", activations), kind) for kind in kinds]
    for A, (scale_dtype, rows) in pairs:
        found = _shapes(W, None, True, shapes, round_robin)
        if not found:
            continue
        out, bias = round_robin.next("output", [(out, bias) for out in OUT_DTYPES for bias in (False, True)])
        shape = found[round_robin.next("shape", range(len(found)))]
        problem = _problem(W, A, None, True, shape, out, bias, round_robin)
        yield dataclasses.replace(
            problem,
            scale_dtype=scale_dtype,
            rows_per_scale=rows,
            with_channel_scale=round_robin.next("factor", (False, True)),
        )


def _shapes(
    W: str,
    zeros_mode: ZerosMode | None,
    with_scaling: bool,
    shapes: Sequence[tuple[int, int, int]] | None,
    round_robin: _RoundRobin,
) -> list[_Shape]:
    if shapes is not None:
        return [s for s in (_Shape(*shape) for shape in shapes) if s.suits(W, zeros_mode)]
    groupings = (False, True) if with_scaling or zeros_mode else (False,)  # Without either a group is nothing.
    return [s for grouped in groupings for s in _own_shapes(W, zeros_mode, grouped, round_robin)]


def _problem(
    W: str,
    A: str,
    zeros_mode: ZerosMode | None,
    with_scaling: bool,
    shape: _Shape,
    out: str,
    bias: bool,
    round_robin: _RoundRobin,
) -> MatmulConfig:
    has_scale_type = with_scaling or zeros_mode in ("original", "rescale")
    return MatmulConfig(
        M=round_robin.next("M", ((1, 16, 64), (1, 16), (16, 64), 1, 16, 33)),
        N=shape.N,
        K=shape.K,
        A_dtype=A,
        **weight_fields(W),
        out_dtype=out,
        accum_dtype=round_robin.next("accum", legal_accumulators(A)),
        layout=round_robin.next("layout", legal_layouts(W, A)),
        with_bias=bias,
        group_size=shape.group_size,
        with_scaling=with_scaling,
        with_zeros=zeros_mode is not None,
        zeros_mode=zeros_mode or "original",
        fast_decoding=round_robin.next("fast decoding", (None, None, False)),
        scale_dtype=round_robin.next("scale", (None, None, *_WIDE_SCALES)) if has_scale_type else None,
    )


def case_id(config: MatmulConfig) -> str:
    """Return a short name of a problem for test reports."""
    parts = [
        f"{config.A_format.name}x{config.W_format.name}",
        config.layout if config.layout == "nn" else "",
        (config.zeros_mode or "") if config.with_zeros else "",
        f"scale_{config.scale_format.name}" if config.with_scaling else "",
        f"blocks{config.rows_per_scale}" if config.rows_per_scale > 1 and config.with_scaling else "",
        f"{config.N}x{config.K}g{config.group}",
        f"{config.out_format.name}_{config.accum_dtype}",
        "activation_scale" if config.with_activation_scale else "",
        "channel_scale" if config.with_channel_scale else "",
        "bias" if config.with_bias else "",
        "plain" if config.wants_plain_layout else "",
        "M" + ".".join(map(str, config.ladder)),
    ]
    return "-".join(part for part in parts if part)


def call_rows(config: MatmulConfig) -> tuple[int, ...]:
    """Return the rows of A to call an operator of this problem with: M, or `CALL_ROWS` for a ladder."""
    return (config.M,) if isinstance(config.M, int) else CALL_ROWS


def configs(max_size: int = 200) -> SearchStrategy[MatmulConfig]:
    """Return a hypothesis strategy of legal problems with N and K up to `max_size`."""
    from hypothesis import strategies as st  # A test dependency; timing needs this module without it.

    @st.composite
    def draw_config(draw: Any) -> MatmulConfig:
        W = draw(st.sampled_from(WEIGHT_DTYPES))
        A = draw(st.sampled_from(legal_activations(W)))
        zeros_mode = draw(st.sampled_from(legal_zeros_modes(W)))
        step = packing_step(W)
        N_step = step if zeros_mode == "quantized" else 1
        K = step * draw(st.integers(1, max_size // step))
        ladders = st.sampled_from([(1,), (1, 16), (1, 16, 64), (5, 8)])
        return MatmulConfig(
            M=draw(st.one_of(st.integers(1, 40), ladders)),
            N=N_step * draw(st.integers(1, max_size // N_step)),
            K=K,
            A_dtype=A,
            **weight_fields(W),
            out_dtype=draw(st.sampled_from(OUT_DTYPES)),
            accum_dtype=draw(st.sampled_from(legal_accumulators(A))),
            layout=draw(st.sampled_from(legal_layouts(W, A))),
            with_bias=draw(st.booleans()),
            group_size=draw(st.sampled_from([-1, *(g for g in range(1, K + 1) if K % g == 0)])),
            with_scaling=draw(st.booleans()),
            with_zeros=zeros_mode is not None,
            zeros_mode=zeros_mode or "original",
            fast_decoding=draw(st.sampled_from([None, False])),
            scale_dtype=draw(st.sampled_from([None, *(_WIDE_SCALES if zeros_mode else SCALE_DTYPES)])),
            rows_per_scale=1 if zeros_mode else draw(st.sampled_from([1, 1, 1, 16, 24, 128])),
            with_activation_scale=draw(st.booleans()),
            with_channel_scale=draw(st.booleans()),
        )

    return draw_config()


# Inputs.


class Inputs(inputs.Inputs):
    """Operands of one call, with the oracle's result."""

    def reference(self, config: MatmulConfig) -> np.ndarray:
        """Return what `oracle` says of these operands, float64, (m, columns of D)."""
        return self._ask(oracle, config)

    def passed_on(self, config: MatmulConfig) -> np.ndarray | None:
        """Return how an activation passes on errors of its arguments, as `assert_close` takes it; None without one."""
        return None if config.activation is None else spread(config.activation, self._ask(oracle_argument, config))

    def _ask(self, function: Callable[..., np.ndarray], config: MatmulConfig) -> np.ndarray:
        epilogue = {operand.argument: self.given[operand.argument] for operand in present(config, EPILOGUE)}
        return function(config, self.A, self.W, self.scale, self.zeros_values, **epilogue)


#: Elements of a result up to which it is drawn again where its terms cancel.
_SMALL_RESULT = 4096

#: Below this float16, subnormal from 2^-14 on, would leave too few digits on the way.
_MIN_RMS = 2.0**-8


def make_inputs(config: MatmulConfig, m: int, device: torch.device | str = "cpu", seed: int = 0) -> Inputs:
    """Draw operands as `draw_inputs` does, with every value of float8, the same on every device.

    A relative error says something where the result is not much smaller than its terms. Small results, where this
    is not rare, are drawn again if ``||D||`` is less than half of ``T = ||sqrt(A^2 @ (decode(W)^2)^T)||`` (less than
    T for a handful of elements), if T is less than 0.45 of what it is with the squares of w * s and z * s in place of
    that of their difference, or if D is below 2^-8, too close to the subnormals of float16.

    Parameters
    ----------
    config
        The problem.
    m
        Rows of A, 0 and more.
    device
        Where to put the operands.
    seed
        Another seed gives other numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(1000):
        drawn = Inputs(**vars(inputs.draw_inputs(config, m, generator, every_float8=True)))
        if m * config.N > _SMALL_RESULT or not _cancels(config, drawn):
            return drawn.to(device)
    raise RuntimeError(f"no draw of 1000 for {config} keeps its result from cancelling")


def _cancels(config: MatmulConfig, drawn: Inputs) -> bool:
    """Whether the result is smaller than `make_inputs` promises."""
    a = drawn.A.to(torch.float64).numpy()
    weight = oracle_weight(config, drawn.W, drawn.scale, drawn.zeros_values)
    columns: Any = 1.0
    for operand in present(config, EPILOGUE):
        values = drawn.given[operand.argument].to(torch.float64).numpy()[:, None]
        if operand.role == "factor" and operand.rows == "A":
            a = a * values
        elif operand.role == "factor":
            columns = columns * values
    weight = weight * columns
    terms = _norm_of_terms(a, weight)
    if drawn.zeros_values is not None and not config.has_packed_zeros:
        z = np.repeat(drawn.zeros_values.to(torch.float64).numpy(), config.group, axis=1)
        if drawn.scale is not None and config.zeros_mode == "original":
            z = z * np.repeat(drawn.scale.to(torch.float64).numpy(), config.group, axis=1)
        z = z * columns
        if terms < 0.45 * math.hypot(_norm_of_terms(a, weight + z), _norm_of_terms(a, z)):
            return True
    result = drawn.reference(dataclasses.replace(config, activation=None))
    norm = float(np.linalg.norm(result))
    for output in (result, drawn.reference(config)) if config.activation is not None else (result,):
        if 0 < float(np.linalg.norm(output)) < _MIN_RMS * math.sqrt(output.size):
            return True
    return norm < terms * (0.999 if result.size <= FEW_ELEMENTS else 0.5)


def _norm_of_terms(a: np.ndarray, weight: np.ndarray) -> float:
    """Return the norm that a @ weight^T has on average over the signs of its terms."""
    return math.sqrt((a**2 @ (weight**2).T).sum())
