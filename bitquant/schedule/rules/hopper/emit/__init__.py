# SPDX-License-Identifier: Apache-2.0
"""What writes the body of wgmma kernels."""
