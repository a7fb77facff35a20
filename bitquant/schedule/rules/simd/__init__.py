# SPDX-License-Identifier: Apache-2.0
"""A CPU's instructions for dot products, on the plain weight layout: words of codes are decoded in SIMD registers."""
