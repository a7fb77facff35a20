# SPDX-License-Identifier: Apache-2.0
"""How long a forward pass of a checkpoint's model will take: which rules serve its layers, and their times."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvm.target import Target

from bitquant.arch import GpuArch
from bitquant.nn.contents import Contents
from bitquant.nn.layer_kind import LayerKind
from bitquant.operator.prediction import Prediction, predict
from bitquant.operator.report import floor_us

__all__ = ["Step", "predict_step"]


@dataclass(frozen=True)
class Step:
    """What a forward pass with `m` rows takes: tokens of as many sequences, or of a prompt.

    Attributes
    ----------
    m
        Rows of A.
    predictions
        One for each of `Contents.operators`, of a single matrix; None where nothing is multiplied.
    times_us
        One for each of `Contents.operators`: time of all its layers in microseconds; None on a CPU.
    """

    m: int
    predictions: tuple[Prediction | None, ...]
    times_us: tuple[float, ...] | None

    @property
    def time_us(self) -> float | None:
        """The sum, in microseconds: neither attention nor what lies between kernels is in it."""
        return None if self.times_us is None else sum(self.times_us)


def predict_step(contents: Contents, m: int, target: Target, gpu: GpuArch | None) -> Step:
    """Return which rules serve a forward pass with `m` rows, and how long its products take.

    Of experts, E of which a token meets k, m rows read a share of 1 - (1 - k / E)^m where they are chosen evenly.

    Parameters
    ----------
    contents
        What is loaded.
    m
        Rows of A.
    target, gpu
        As in `bitquant.operator.prediction.predict`; `gpu` is None for a CPU.
    """
    used = contents.experts_used
    share = 1 - (1 - used) ** m
    rows = {"experts": math.ceil(m * used / share)}
    predictions = tuple(_predict_kind(kind, rows.get(kind.role, m), target, gpu) for kind in contents.operators)
    if gpu is None:
        return Step(m, predictions, None)
    times = []
    for kind, prediction in zip(contents.operators, predictions, strict=True):
        if prediction is not None and prediction.time_us is not None:
            times.append(prediction.time_us * kind.count * (share if kind.role == "experts" else 1))
        else:
            read = m * kind.memory_bytes // kind.N if kind.role == "embedding" else kind.memory_bytes
            times.append(read / gpu.bandwidth_bytes_per_s * 1e6)
    return Step(m, predictions, tuple(times))


def _predict_kind(kind: LayerKind, m: int, target: Target, gpu: GpuArch | None) -> Prediction | None:
    """Return what runs for a layer; "torch" stands for products of torch, of which the floor alone is known."""
    if kind.config is None or (kind.role == "embedding" and not kind.is_tied):
        return None
    if kind.role == "quantized":
        return predict(kind.config, m, target)
    rule = "grouped" if kind.is_packed else "torch"
    if gpu is None:
        return Prediction(rule, m, rule, None, None)
    return Prediction(rule, m, rule, floor_us(kind.config, m, gpu), "floor")
