# SPDX-License-Identifier: Apache-2.0
"""Pieces of kernels that rules share: words in registers, tiles in shared memory, tensor-core fragments."""
