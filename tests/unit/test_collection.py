# SPDX-License-Identifier: Apache-2.0
"""Tests of other folders, as far as this machine can say something about them."""

from __future__ import annotations

from pathlib import Path

import pytest

GPU = Path(__file__).parents[1] / "gpu"
#: Plugins whose state in this process is the outer run's.
WITHOUT = ("xdist", "cacheprovider", "faulthandler")


def test_tests_of_a_gpu_can_be_imported():
    """Without a GPU `make test` does not run them, but a name that is gone shows here."""
    collected = []

    class Plugin:
        def pytest_collection_finish(self, session):
            collected.extend(session.items)

    without = [word for name in WITHOUT for word in ("-p", f"no:{name}")]
    assert pytest.main([str(GPU), "--collect-only", "-qq", *without], plugins=[Plugin()]) == pytest.ExitCode.OK
    assert {item.path for item in collected} == set(GPU.glob("test_*.py"))
