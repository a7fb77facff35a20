"""Tensor cores by mma.sync, on the plain weight layout."""
