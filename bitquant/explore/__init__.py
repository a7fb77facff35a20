# SPDX-License-Identifier: Apache-2.0
"""One page on one kernel: its stages side by side, drawings of its geometry, what bounds it."""

from bitquant.explore.page import Page, check_writable, explore

__all__ = ["Page", "check_writable", "explore"]
