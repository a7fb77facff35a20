# SPDX-License-Identifier: Apache-2.0
"""Kernels that break a GPU's context, never end, or compute wrongly: a search loses their process and nothing else."""

from __future__ import annotations

import dataclasses
from concurrent.futures import Future

import pytest
import torch

import bitquant as bq
from bitquant.arch import default_target
from bitquant.compiler import compile_cuda_source
from bitquant.problem import Problem
from bitquant.profiling import GraphTimer
from bitquant.schedule.rules import FallbackRule, default_rules
from bitquant.schedule.rules.contract import Geometry
from bitquant.tune.candidates import Candidate
from bitquant.tune.compile import build_candidate
from bitquant.tune.fleet import Fleet, Rung, slots_here, visible_gpus
from bitquant.tune.isolated import ProcessMeasurer
from bitquant.tune.measurer import LocalMeasurer
from bitquant.tune.predictor import Analytical
from bitquant.tune.result import Subject
from bitquant.tune.search import Space, search
from bitquant.tune.trial import Trial
from tests.unit.test_tune_faults import FaultyHint

CONFIG = bq.MatmulConfig(M=1, N=4096, K=4096, W_dtype="uint4", fast_decoding=False)
#: CUDA C++ that a kernel begins with, by the kind of its fault.
FAULTS = {
    "illegal": "*reinterpret_cast<volatile int*>(16) = 1;",
    "hang": "volatile int forever = 1; while (forever) { __nanosleep(1000); }",
    "slow": "long long begin = clock64(); while (clock64() - begin < 1000000) {}",
}


class PlantingRule(FallbackRule):
    """Kernels of the fallback rule, right ones and others."""

    name = "planting"
    hint_type = FaultyHint

    def shapes(self, problem):
        yield from map(FaultyHint, ("slow", "illegal", "wrong", "hang", "right"))

    def geometry(self, problem, hint):
        return Geometry(problem, hint)


def planted(problem, kind):
    """Return the archive of a kernel with a fault: its CUDA C++ is edited, and compiled again."""
    rule = FallbackRule()
    made = dataclasses.replace(problem.config, W_dtype="int4" if kind == "wrong" else "uint4")
    hint = rule.default_hint(dataclasses.replace(problem, config=made))
    archive = build_candidate(made, problem.weight_layout, problem.target, Candidate(problem.rung, rule, hint))
    if kind in FAULTS:
        (name,) = archive.programs
        head, body = archive.programs[name].cuda_source.rsplit(f"{name}_kernel(", 1)
        source = f"{head}{name}_kernel({body.replace('{', '{ ' + FAULTS[kind], 1)}"
        compiled = compile_cuda_source(source, str(problem.target.arch))
        archive.programs[name] = archive.programs[name]._replace(cubin=compiled.cubin, cuda_source=source)
    return archive


class PlantingBuilder:
    def submit(self, problem, candidate):
        future = Future()
        future.set_result(planted(problem, candidate.hint.kind))
        return future


def test_no_planted_fault_wins_or_ends_the_search():
    """Each fault is said of its candidate, the process is replaced, and the fastest right kernel is found."""
    problem = Problem(CONFIG, 1, default_target())
    rule = PlantingRule()
    pool = [Candidate(1, rule, hint) for hint in rule.shapes(problem)]
    measurer = ProcessMeasurer("cuda", timeout_s=10.0)
    try:
        events = list(search(Space(problem, pool, Analytical()), 5, PlantingBuilder(), measurer))
    finally:
        measurer.stop()
    found = {e.candidate.hint.kind: e for e in events if isinstance(e, Trial)}
    assert {kind: trial.status for kind, trial in found.items()} == {
        "slow": "measured", "illegal": "failed", "wrong": "wrong", "hang": "failed", "right": "measured",
    }  # fmt: skip
    assert "broke the GPU's context" in found["illegal"].note
    assert found["hang"].note == "the measuring process said nothing for 10 s, while its result was checked"
    assert found["right"].is_final
    assert found["right"].latency_us < found["slow"].latency_us
    assert measurer.started == 3
    assert torch.ones(2, device="cuda").sum().item() == 2.0  # The GPU is as good as before, for this process as well.


def test_turns_replay_one_graph_of_each_finalist(monkeypatch):
    """Five turns of two kernels capture two graphs, and say what the protocol for one kernel says."""
    problem = Problem(CONFIG, 1, default_target())
    rule = PlantingRule()
    pool = [Candidate(1, rule, hint) for hint in rule.shapes(problem)]
    slow, right = (next(c for c in pool if c.hint.kind == kind) for kind in ("slow", "right"))
    captured = []

    class Counted(GraphTimer):
        def __init__(self, calls):
            captured.append(len(calls))
            super().__init__(calls)

    monkeypatch.setattr("bitquant.profiling.GraphTimer", Counted)
    measurer = LocalMeasurer(torch.device("cuda", 0))
    finalists = [(c, planted(problem, c.hint.kind)) for c in (slow, right)]
    verdicts = measurer.compare(problem, finalists)
    assert len(captured) == 2
    assert verdicts[1].latency_us < verdicts[0].latency_us
    for (candidate, archive), verdict in zip(finalists, verdicts, strict=True):
        alone = measurer.sample(problem, candidate, archive)
        assert alone.latency_us == pytest.approx(verdict.latency_us, rel=0.1)


def test_every_visible_gpu_measures(tmp_path):
    """Rungs are shared among all GPUs of one product, each with a process of its own."""
    gpus = visible_gpus()
    if len(gpus) < 2:
        pytest.skip("needs two GPUs")
    config = dataclasses.replace(CONFIG, M=(1, 16, 32, 64), fast_decoding=None)
    target = default_target()
    subject = Subject(config, target, "plain")
    rungs = [Rung(subject, rung, None) for rung in config.ladder]
    with slots_here("cuda", gpus, 8, default_rules()) as here:
        (result,) = Fleet(here.slots, default_rules(), 8, tmp_path).tune(rungs)
        assert all(measurer.busy_s > 0 for measurer in here.measurers)
    assert sorted(result.best) == list(config.ladder)
