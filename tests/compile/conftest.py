"""The --update-golden flag."""

from __future__ import annotations

import pytest


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files with what comes out now")


@pytest.fixture
def update_golden(request):
    return request.config.getoption("--update-golden", default=False)
