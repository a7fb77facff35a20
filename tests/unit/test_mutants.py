# SPDX-License-Identifier: Apache-2.0
"""The list of bugs that tests must find (tests/bench/mutants.py) follows the source."""

from __future__ import annotations

import pytest

from tests.bench.mutants import MUTANTS, ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.subject)
def test_bugs_can_be_planted(mutant):
    """What a bug replaces stands in its file, once or more, and its tests are there."""
    assert mutant.old in (ROOT / "bitquant" / mutant.file).read_text(encoding="utf-8")
    assert all((ROOT / "tests" / path).is_file() for path in mutant.tests)
