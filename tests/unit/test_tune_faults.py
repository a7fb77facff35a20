# SPDX-License-Identifier: Apache-2.0
"""Kernels that hang, crash and compute wrongly: a search loses the process that ran them, and nothing else."""

from __future__ import annotations

import _thread
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
import weakref
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from tvm import tirx

import bitquant as bq
from bitquant.arch import cpu_target
from bitquant.compute.matmul import tag
from bitquant.problem import Problem
from bitquant.schedule import Hint
from bitquant.schedule.rules import CpuRule
from bitquant.schedule.rules.contract import Geometry
from bitquant.tune import compile as compile_module
from bitquant.tune import fleet, isolated, measurer, tune
from bitquant.tune.candidates import Candidate

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


# What an interrupt or want of memory leaves.


class Process:
    """Stands for a process that compiles or measures; `living` has those that run."""

    living: ClassVar[list[Process]] = []

    def __init__(self, *_, **__):
        self.act()

    def act(self):
        self.living.append(self)

    start = act

    def kill(self):
        with contextlib.suppress(ValueError):
            self.living.remove(self)

    stop = kill


def test_an_interrupt_while_compilers_start_ends_those_that_run(monkeypatch):
    """They are apart from the terminal, so that nobody else would end them."""

    class Compiler(Process):
        living: ClassVar[list[Process]] = []

        def __init__(self, *_, **__):
            pass

        def start(self):
            if len(self.living) == 2:
                raise KeyboardInterrupt
            self.living.append(self)

        @staticmethod
        def for_module(*_, **__):
            return []

    monkeypatch.setattr(compile_module, "Worker", Compiler)
    with pytest.raises(KeyboardInterrupt):
        compile_module.Builder(4)
    assert not Compiler.living


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_measurers_start_ends_them(monkeypatch):
    """Those that have not started yet end when they have."""

    class Starting(Process):
        living: ClassVar[list[Process]] = []

        def act(self):
            if not self.living:
                super().act()
                _thread.interrupt_main()
            else:
                time.sleep(0.5)
                super().act()

    monkeypatch.setattr(fleet, "ProcessMeasurer", Starting)
    with pytest.raises(KeyboardInterrupt):
        fleet.start_measurers("cpu", [None, None])
    end = time.monotonic() + 5
    while Starting.living and time.monotonic() < end:  # A thread that nobody waits for any more ends its own.
        time.sleep(0.01)
    assert not Starting.living


def test_a_measurer_that_cannot_start_ends_the_others(monkeypatch):
    """Its error is the one that is told."""

    class Starting(Process):
        living: ClassVar[list[Process]] = []

        def __init__(self, device_type, gpu):
            if gpu == "1":
                raise bq.UnsupportedError("no such GPU")
            time.sleep(0.2)
            super().__init__()

    monkeypatch.setattr(fleet, "ProcessMeasurer", Starting)
    with pytest.raises(bq.UnsupportedError, match="no such GPU"):
        fleet.start_measurers("cuda", ["0", "1", "2"])
    assert not Starting.living


def test_operands_that_did_not_fit_are_freed_before_the_next_attempt(monkeypatch):
    """An error keeps the frames that it went through, and these what was made of the operands."""

    class Operands:
        pass

    made = []

    def workbench(*_):
        operands = Operands()
        if not made:
            made.append(weakref.ref(operands))
            raise torch.OutOfMemoryError("no memory")
        assert made[0]() is None, "the first attempt's operands are still there"
        return operands

    monkeypatch.setattr(measurer, "Workbench", workbench)
    local = measurer.LocalMeasurer(torch.device("cpu"))
    config = bq.MatmulConfig(M=1, N=64, K=64, W_dtype="uint4")
    assert isinstance(local._bench(Problem(config, 1, cpu_target(), "plain")), Operands)


def test_the_first_kernel_of_this_process_counts():
    """Without processes that compile, too, it is said when the first kernel was there."""
    config = bq.MatmulConfig(M=1, N=64, K=64, W_dtype="uint4")
    problem = Problem(config, 1, cpu_target(), "plain")
    builder = compile_module.Builder(0)
    try:
        builder.submit(problem, Candidate(1, CpuRule(), CpuRule().default_hint(problem))).result()
        assert builder.first_s > 0
        assert builder.busy_s <= builder.first_s
    finally:
        builder.stop()
