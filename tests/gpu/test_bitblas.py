"""The scripts of tests/unit/test_bitblas.py on a GPU."""

from __future__ import annotations

import pytest

from tests.unit.test_bitblas import (  # noqa: F401  pytest collects them here with this file's fixture
    test_quick_start,
    test_rescale_with_negative_zeros,
    test_tiny_matrix_without_scaling,
)


@pytest.fixture
def device():
    return "cuda"
