"""What writes the body of decode kernels."""
