# SPDX-License-Identifier: Apache-2.0
"""One file a format; `bitquant.nn.checkpoints.reader` states what each must hold."""
