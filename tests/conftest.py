"""Settings that all tests share."""

from __future__ import annotations

from hypothesis import settings

# The same examples on every run and no time limit on one: a shared machine is slow at times.
settings.register_profile("bitquant", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("bitquant")
