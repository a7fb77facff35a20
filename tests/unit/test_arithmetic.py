# SPDX-License-Identifier: Apache-2.0
"""Divisions that round up: against their definitions, for all small numbers."""

from __future__ import annotations

import itertools
import math

from bitquant.arithmetic import balanced_chunk, ceil_div, round_up


def test_ceil_div_and_round_up_by_their_definitions():
    """The quotient is the ceiling, and the multiple is the least that is not below; both are ints beyond 2^53."""
    for a, b in itertools.product(range(-20, 100), range(1, 12)):
        assert ceil_div(a, b) == math.ceil(a / b)
        assert round_up(a, b) == next(x for x in itertools.count(a) if x % b == 0)
    assert ceil_div(2**60 + 1, 2) == 2**59 + 1


def test_balanced_chunks_are_few_and_alike():
    """There are as few chunks as the limit allows, and no smaller chunk would do with as many."""
    for count, limit in itertools.product(range(1, 100), range(1, 40)):
        chunk = balanced_chunk(count, limit)
        assert chunk <= limit
        assert ceil_div(count, chunk) <= ceil_div(count, limit)
        assert chunk == 1 or ceil_div(count, chunk - 1) > ceil_div(count, limit)
