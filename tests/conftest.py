# SPDX-License-Identifier: Apache-2.0
"""Settings that all tests share."""

from __future__ import annotations

import gc
import json
import os
import signal
import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from bitquant.testing.generators import case_id, cases
from bitquant.testing.oracle import tolerance
from tests import fuzz

# The same examples on every run and no time limit on one: a shared machine is slow at times.
settings.register_profile("bitquant", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("bitquant")


def pytest_configure(config):
    """Share the processor among the workers of pytest-xdist, whose torch would each start a thread a core."""
    del config
    if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


@pytest.hookimpl(tryfirst=True)  # Before -m looks at the marks.
def pytest_collection_modifyitems(config, items):
    """Mark as thorough those cases of a test marked `sample` that show nothing which others do not show.

    What a case shows is a set of facts, such as pairs of formats. The cases kept are those of a greedy cover: each one
    shows the most that those before it did not. Of the thorough cases, BITQUANT_PART=I/N takes the I-th of N parts.
    """
    families = {}
    for item in items:
        if marker := item.get_closest_marker("sample"):
            families.setdefault(item.nodeid.partition("[")[0], {})[item] = set(
                marker.kwargs["shows"](**item.callspec.params)
            )
    for facts in families.values():
        missing, kept = set().union(*facts.values()), set()
        while missing:
            best = max(facts, key=lambda item: len(facts[item] & missing))
            kept.add(best)
            missing -= facts[best]
        for item in facts.keys() - kept:
            item.add_marker(pytest.mark.thorough)
    if part := os.environ.get("BITQUANT_PART"):
        index, parts = (int(number) for number in part.split("/"))
        left = [
            item
            for item in items
            if item.get_closest_marker("thorough") and zlib.crc32(item.nodeid.encode()) % parts != index - 1
        ]
        config.hook.pytest_deselected(items=left)
        dropped = set(left)
        items[:] = [item for item in items if item not in dropped]


def pytest_collection_finish():
    """Keep the garbage collector from going through all modules and tests again and again, half a second each time."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    """Print what the fuzzers have shown, and write it to the file BITQUANT_FUZZ_SUMMARY, where that is set."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    properties = [p for report in reports if getattr(report, "when", "") == "call" for p in report.user_properties]
    lines = fuzz.summary(value for name, value in properties if name == fuzz.PROPERTY)
    if lines:
        terminalreporter.section("fuzzed")
        terminalreporter.write_line("\n".join(lines))
        if path := os.environ.get("BITQUANT_FUZZ_SUMMARY"):
            Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def interruptible():
    """Let an interrupt raise, also where pytest is a shell's background job, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def measured_here(monkeypatch):
    """Have the tuner check and time kernels in this process; another one takes seconds to start.

    test_tune_faults.py has what processes are for.
    """
    from bitquant.tune import fleet
    from bitquant.tune.measurer import LocalMeasurer

    def start(device_type, gpus):
        return [LocalMeasurer(torch.device(device_type)) for _ in gpus]

    monkeypatch.setattr(fleet, "start_measurers", start)


@pytest.fixture
def error_log():
    """Return a function that notes (config, m, relative error) in the file BITQUANT_ERROR_LOG, where that is set."""

    def note(config, m, error):
        if path := os.environ.get("BITQUANT_ERROR_LOG"):
            line = {
                "problem": config.problem(),
                "m": m,
                "error": error,
                "bound": tolerance(config),
                "is_exact": config.has_exact_results,
            }
            with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123  one line is appended whole
                file.write(json.dumps(line) + "\n")

    return note


def pytest_generate_tests(metafunc):
    """Parametrize `config` of tests marked `cases` over `bitquant.testing.generators.cases`.

    BITQUANT_CASES chooses the list: "cover" (the default), "grid" or "all".
    """
    if marker := metafunc.definition.get_closest_marker("cases"):
        chosen = {"select": os.environ.get("BITQUANT_CASES", "cover"), **marker.kwargs}
        metafunc.parametrize("config", list(cases(**chosen)), ids=case_id)
