# SPDX-License-Identifier: Apache-2.0
"""Tools for testing and timing kernels: the float64 oracle, and the problems and inputs it is used on."""
