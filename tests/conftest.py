"""Settings that all tests share."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import settings

# The same examples on every run and no time limit on one: a shared machine is slow at times.
settings.register_profile("bitquant", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("bitquant")


@pytest.fixture
def error_log():
    """Return a function that notes (config, m, relative error) in the file BITQUANT_ERROR_LOG, where that is set."""

    def note(config, m, error):
        if path := os.environ.get("BITQUANT_ERROR_LOG"):
            line = json.dumps(
                {"problem": config.problem(), "m": m, "error": error, "exact": config.reduce_dtype == "int32"}
            )
            with open(path, "a", encoding="utf-8") as file:  # Appending a line is atomic, also from several workers.
                file.write(line + "\n")

    return note
