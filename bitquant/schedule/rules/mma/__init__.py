# SPDX-License-Identifier: Apache-2.0
"""Tensor cores by mma.sync, on the plain weight layout."""
