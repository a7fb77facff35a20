# SPDX-License-Identifier: Apache-2.0
"""Kernels that hang, crash and compute wrongly: a search loses the process that ran them, and nothing else."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest
from tvm import tirx

import bitquant as bq
from bitquant.compute.matmul import tag
from bitquant.schedule import Hint
from bitquant.schedule.rules import CpuRule
from bitquant.schedule.rules.contract import Geometry
from bitquant.tune import isolated, tune

#: C functions that a kernel calls before it computes, by the kind of its fault.
CALLS = {
    "segfault": ("raise", int(signal.SIGSEGV)),
    "hang": ("sleep", 1000),
    "slow": ("usleep", 2_000),
}


@dataclass(frozen=True)
class FaultyHint(Hint):
    """What is wrong with a kernel."""

    kind: str = "right"


class FaultyRule(CpuRule):
    """Kernels for the CPU, right ones and all kinds of others."""

    name = "faulty"
    hint_type = FaultyHint
    kinds = ("slow", "hang", "segfault", "wrong", "right")

    def shapes(self, problem):
        yield from map(FaultyHint, self.kinds)

    def geometry(self, problem, hint):
        return Geometry(problem, hint)

    def emit(self, geometry):
        problem, kind, rule = geometry.problem, geometry.hint.kind, CpuRule()
        made = dataclasses.replace(problem.config, W_dtype="int4" if kind == "wrong" else "uint4")
        other = dataclasses.replace(problem, config=made)
        func = tag(rule.schedule(other, rule.default_hint(other)), problem.config, problem.rung)
        if kind not in CALLS:
            return func
        name, *arguments = CALLS[kind]
        call = tirx.call_extern("int32", name, *(tirx.const(a, "int32") for a in arguments))
        return func.with_body(tirx.SeqStmt([tirx.Evaluate(call), func.body]))


@pytest.fixture(scope="module", autouse=True)
def _environment(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("BITQUANT_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
    patch.setenv("BITQUANT_SCHEDULES", "off")
    yield
    patch.undo()


@pytest.fixture(scope="module")
def operator():
    return bq.Matmul(bq.MatmulConfig(M=1, N=24, K=64, W_dtype="uint4"), target="cpu")


def test_no_planted_fault_wins_or_ends_the_search(operator, monkeypatch):
    """Each fault is said of its candidate, the process is replaced, and the fastest right kernel is found."""
    monkeypatch.setitem(isolated.KERNEL_TIMEOUT_S, "cpu", 4.0)
    made, start = [], isolated.ProcessMeasurer.__init__

    def noted(self, *arguments):
        made.append(self)
        start(self, *arguments)

    monkeypatch.setattr(isolated.ProcessMeasurer, "__init__", noted)
    result = tune(operator, rules=(FaultyRule(),))
    found = {trial.candidate.hint.kind: trial for trial in result.trials}
    during = "while its result was checked"
    assert {kind: (t.status, t.note) for kind, t in found.items() if kind != "wrong"} == {
        "slow": ("measured", ""),
        "hang": ("failed", f"the measuring process said nothing for 4 s, {during}"),
        "segfault": ("failed", f"the measuring process died (SIGSEGV), {during}"),
        "right": ("measured", ""),
    }
    assert found["wrong"].status == "wrong"
    assert "relative error" in found["wrong"].note
    assert result.best[1] is found["right"]
    assert found["slow"].latency_us > 2_000
    (measurer,) = made
    assert measurer.started == 3
    assert measurer.pid is None  # All processes end with the search.


@pytest.mark.thorough
def test_control_c_keeps_trials_and_leaves_no_process(tmp_path):
    """The command says what is kept and how to go on, exits as one that was interrupted, and goes on with it."""
    command = [
        sys.executable, "-m", "bitquant", "tune", "--M", "1", "--N", "64", "--K", "64", "--W_dtype", "uint4",
        "--target", "cpu", "--workers", "1", "--journal", str(tmp_path),
    ]  # fmt: skip
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import os, sys; "
    script += "os.execv(sys.argv[1], sys.argv[1:])"  # pytest may run where Ctrl-C is ignored.
    process = subprocess.Popen(
        [sys.executable, "-c", script, *command], stderr=subprocess.PIPE, start_new_session=True, text=True
    )
    deadline = time.monotonic() + 120

    def lines():
        return sum(len(path.read_text().splitlines()) - 1 for path in tmp_path.glob("*.jsonl"))

    while lines() < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    kept = lines()
    assert f"interrupted: {kept} trials kept in {tmp_path}, 0 of 1 rungs are done; run the same command" in errors
    assert "Traceback" not in errors
    left = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{kept} of them from before" in again.stdout
