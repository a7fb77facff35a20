# SPDX-License-Identifier: Apache-2.0
"""The decode kernel for experts: which rows of A meet which weight is data."""
