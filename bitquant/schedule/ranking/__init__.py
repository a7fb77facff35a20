# SPDX-License-Identifier: Apache-2.0
"""Which hint of which rule comes first: by a model that was learned from measured kernels, where there is one."""

from bitquant.schedule.ranking.order import first, ordered

__all__ = ["first", "ordered"]
