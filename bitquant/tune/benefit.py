# SPDX-License-Identifier: Apache-2.0
"""What tuning a problem is expected to gain, so that a search whose time is limited begins where it pays most."""

from __future__ import annotations

from bitquant.problem import Problem

__all__ = ["expected_gain"]

#: Mean of log(time of the default / best time) over trials of an H200, of defaults that a ranking names which has not
#: seen the shape (`bitquant.tune.train.validated`; 347 problems up to 64 rows): the most rows, and the gain.
_BY_ROWS = ((16, 0.039), (64, 0.018))
_MORE_ROWS = 0.013
#: Factors of it: of weights up to so many bytes and of larger ones, and of A or W of 8 bits and of others.
_SMALL_BYTES, _SMALL, _LARGE = 16 << 20, 1.4, 0.85
_EIGHT_BITS, _OTHERS = 1.5, 0.85


def expected_gain(problem: Problem) -> float:
    """Return log(time of the default / time of what tuning finds), as it is on average for problems of this kind."""
    config = problem.config
    gain = next((gain for most, gain in _BY_ROWS if problem.rung <= most), _MORE_ROWS)
    size = config.N * config.K * config.W_format.bits / 8
    is_eight = 8 in (config.A_format.bits, config.W_format.bits)
    return gain * (_SMALL if size <= _SMALL_BYTES else _LARGE) * (_EIGHT_BITS if is_eight else _OTHERS)
