# SPDX-License-Identifier: Apache-2.0
"""Tests here need a CUDA GPU: without one they are skipped, or fail where BITQUANT_REQUIRE_GPU=1 (`make test-gpu`)."""

from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture(autouse=True)
def _require_gpu():
    if not torch.cuda.is_available():
        if os.environ.get("BITQUANT_REQUIRE_GPU") == "1":
            pytest.fail("no CUDA GPU is visible, and BITQUANT_REQUIRE_GPU=1")
        pytest.skip("needs a CUDA GPU")
