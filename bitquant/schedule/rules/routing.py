# SPDX-License-Identifier: Apache-2.0
"""What a routing is expected to be, where all experts are equally likely and chosen independently for each row."""

from __future__ import annotations

import functools
import math

from bitquant.arithmetic import ceil_div

__all__ = ["expected_units"]

#: Standard deviations from the mean beyond which probabilities are neglected; and how far the mean must lie from 0 for
#: the closed form.
_WIDE, _FAR = 10, 8


@functools.lru_cache(maxsize=4096)
def expected_units(rows: int, experts: int, most: int) -> float:
    """Return the expected number of tiles along m, of at most `most` rows each, that hold rows of one expert each.

    With X ~ Binomial(rows, 1 / experts), the rows of an expert, that is experts * E[ceil(X / most)].

    Parameters
    ----------
    rows
        Rows of A, each of one expert.
    experts
        Number of experts, all equally likely.
    most
        Rows of a tile.
    """
    if most == 1 or experts == 1:
        return float(ceil_div(rows, most))
    p = 1 / experts
    mean, deviation = rows * p, math.sqrt(rows * p * (1 - p))
    if deviation > 2 * most and mean > _FAR * deviation:  # Remainders are uniform.
        return experts * (mean / most + (most - 1) / (2 * most))
    first = max(1, math.floor(mean - _WIDE * deviation))
    last = min(rows, math.ceil(mean + _WIDE * deviation + _WIDE))

    def probability(count: int) -> float:
        """Return that of a binomial distribution; logarithms, since powers of many rows are below all floats."""
        ways = math.lgamma(rows + 1) - math.lgamma(count + 1) - math.lgamma(rows - count + 1)
        return math.exp(ways + count * math.log(p) + (rows - count) * math.log1p(-p))

    total = experts * sum(ceil_div(count, most) * probability(count) for count in range(first, last + 1))
    return min(total, float(rows))
