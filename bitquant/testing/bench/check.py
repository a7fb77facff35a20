# SPDX-License-Identifier: Apache-2.0
"""Results of a cell's implementations beside float64."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from bitquant.config import MatmulConfig
from bitquant.operands import present
from bitquant.testing.bench.problems import Cell, Weights
from bitquant.testing.oracle import assert_close, relative_error, round_to_output, tolerance

__all__ = ["CHECKED_COLUMNS", "Check", "finite", "message", "verdict"]

#: Columns n that are compared with the float64 reference, drawn anew for each cell; all k and all rows.
CHECKED_COLUMNS = 64
#: Relative error above which a peer's result is wrong. Rounding decode(W) to bfloat16 gives about 2e-3.
_PEER_BOUND = 2e-2
#: What a message is cut to.
_MESSAGE_CHARACTERS = 300


class Check:
    """Fresh A of a cell, and the float64 reference for some columns of D.

    Decoding is the oracle's; the product of all rows and all k with the columns is float64 on the device.
    """

    def __init__(self, cell: Cell, weights: Weights, device: torch.device, seed: int) -> None:
        config = cell.config
        self.cell = cell
        inputs = weights.with_rows(cell.m, torch.Generator(device=device).manual_seed(seed))
        #: What goes by row, by its name at the call.
        self.rows = {o.argument: inputs.given[o.argument] for o in present(config) if o.rows == "A"}
        generator = torch.Generator().manual_seed(seed)
        columns = torch.randperm(cell.N, generator=generator)[:CHECKED_COLUMNS].sort().values
        self._columns = columns.to(device)
        # Packed zero points want whole bytes, which all N, or 64 columns, are.
        self._config = dataclasses.replace(config, N=len(columns))
        decoded = torch.from_numpy(weights.reference_rows(self._columns)).to(device)
        rows, scale = inputs.A.double(), inputs.activation_scale
        rows = rows if scale is None else rows * scale.double()[:, None]
        self._reference = (rows @ decoded.T).cpu().numpy()

    def ours(self, output: torch.Tensor) -> dict[str, Any]:
        """Return error, bound and complaint of our output, under the bound that tests use."""
        return verdict(output[:, self._columns].cpu(), self._reference, self._config)

    def peer(self, output: torch.Tensor) -> dict[str, Any]:
        """Return the error of a peer's output, and a complaint where it is large."""
        error = relative_error(output[:, self._columns].cpu(), self._reference)
        figures: dict[str, Any] = {"error": finite(error)}
        if not error <= _PEER_BOUND:
            figures["complaint"] = f"wrong result: relative error {error:.2g}"
        return figures


def verdict(result: torch.Tensor, reference: np.ndarray, config: MatmulConfig) -> dict[str, Any]:
    """Return error and bound of a result beside float64, and a complaint where it is wrong (`assert_close`)."""
    error = relative_error(result, round_to_output(reference, config))
    figures: dict[str, Any] = {"error": finite(error), "bound": tolerance(config)}
    try:
        assert_close(result, reference, config)
    except AssertionError as problem:
        figures["complaint"] = f"wrong result: {message(problem)}"
    return figures


def finite(error: float) -> float | None:
    """Return a number that JSON has; None for infinity."""
    return error if error < float("inf") else None


def message(error: BaseException) -> str:
    """Return what an error says, on one line, as results have it."""
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text}"[:_MESSAGE_CHARACTERS]
