"""Tensor cores by wgmma, with TMA, on Hopper."""
