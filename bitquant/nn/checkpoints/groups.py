# SPDX-License-Identifier: Apache-2.0
"""Groups of columns that share a scale: what formats allow and kernels do not, brought into runs of equal length."""

from __future__ import annotations

import math

import torch

__all__ = ["blocks_to_groups", "flat_blocks_to_groups", "sort_into_groups"]


def blocks_to_groups(K: int, block: int) -> tuple[int, torch.Tensor]:
    """Return the greatest group that divides K and lies in one block of `block` columns, and each group's block.

    Blocks start at column 0, the last may be shorter: group = gcd(K, block), block of group j = j *
    group // block.
    """
    group = math.gcd(K, block)
    return group, torch.arange(K // group) * group // block


def flat_blocks_to_groups(N: int, K: int, block: int) -> tuple[int, torch.Tensor]:
    """Return the same for blocks of the flattened weight, element n * K + k: group, and blocks as (N, K / group)."""
    group = math.gcd(K, block)
    return group, (torch.arange(N * (K // group)) * group // block).view(N, K // group)


def sort_into_groups(group_of_column: torch.Tensor, group_size: int) -> tuple[torch.Tensor | None, int, torch.Tensor]:
    """Return (permutation, group, source): an order of columns in which groups are runs of `group` columns.

    Run j of ``columns[permutation]`` has the scale of group ``source[j]``. Where groups are runs as
    they stand the order is kept and the permutation is None. Else columns are sorted by group,
    equal ones in their order. The length of a run is the greatest that divides K and every run's
    bounds; `group_size` at most.
    """
    K, device = group_of_column.numel(), group_of_column.device
    group_of_column = group_of_column.cpu()
    wanted = math.gcd(K, group_size)
    runs = group_of_column.view(-1, wanted)
    if bool((runs == runs[:, :1]).all()):
        return None, wanted, runs[:, 0].to(torch.int64)
    permutation = torch.argsort(group_of_column, stable=True)
    in_order = group_of_column[permutation]
    bounds = torch.nonzero(in_order[1:] != in_order[:-1]).flatten() + 1
    group = math.gcd(wanted, *bounds.tolist())
    return permutation.to(device), group, in_order[::group].to(torch.int64)
