# SPDX-License-Identifier: Apache-2.0
"""The --update-golden flag, and what ptxas says."""

from __future__ import annotations

import pytest

from bitquant import compiler
from bitquant.schedule.ranking.order import ENVIRONMENT


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files with what comes out now")


@pytest.fixture(autouse=True)
def _analytical_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of time that is trained anew changes which hint is the default, and not what a hint makes."""
    monkeypatch.setenv(ENVIRONMENT, "off")


@pytest.fixture
def update_golden(request):
    return request.config.getoption("--update-golden", default=False)


@pytest.fixture
def ptxas_log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ptxas says, a text a kernel."""
    logs: list[str] = []
    parse = compiler._parse_ptxas
    monkeypatch.setattr(compiler, "_parse_ptxas", lambda log: (logs.append(log), parse(log))[1])
    return logs
