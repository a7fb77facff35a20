# SPDX-License-Identifier: Apache-2.0
"""Few rows of A on the fragment layout: the time to read the weight."""
