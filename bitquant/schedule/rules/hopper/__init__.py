# SPDX-License-Identifier: Apache-2.0
"""Tensor cores by wgmma, with TMA, on Hopper."""
