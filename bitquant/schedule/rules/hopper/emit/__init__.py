"""What writes the body of wgmma kernels."""
