# SPDX-License-Identifier: Apache-2.0
"""Tuning without a GPU: real kernels for the CPU, a fake clock."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

import pytest
import torch
from click.testing import CliRunner
from tvm.s_tir import dlight

import bitquant as bq
from bitquant.arch import cpu_target, cuda_target
from bitquant.cli.app import cli
from bitquant.compute import select_implementation
from bitquant.compute.matmul import tag
from bitquant.problem import Problem
from bitquant.schedule import (
    Hint,
    Record,
    Records,
    apply_plan,
    choice_of,
    load_records,
    plan,
    save_records,
    schedule_module,
)
from bitquant.schedule.rules import CpuRule, GemvRule, MmaRule
from bitquant.schedule.rules.contract import Geometry
from bitquant.testing.check import check_call
from bitquant.testing.generators import make_inputs
from bitquant.testing.oracle import relative_error
from bitquant.tune import Trial, TuningResult, TuningWarning, tune
from bitquant.tune.candidates import Candidate, candidates
from bitquant.tune.cases import reference
from bitquant.tune.compile import Builder
from bitquant.tune.measure import Workbench, wrong
from bitquant.tune.predictor import Analytical

CPU, SM90 = cpu_target(), cuda_target("sm_90a")
DEVICE = torch.device("cpu")


@dataclass(frozen=True)
class VariantHint(Hint):
    """What a kernel of `VariantRule` is like, and the microseconds that the fake clock shows for it."""

    kind: str = "right"
    us: int = 100


class VariantRule(CpuRule):
    """Kernels for the CPU that are right, wrong, or cannot be made."""

    name = "variants"
    hint_type = VariantHint
    hints = (VariantHint(),)

    def shapes(self, problem):
        yield from self.hints

    def geometry(self, problem, hint):
        return Geometry(problem, hint)

    def emit(self, geometry):
        problem, kind = geometry.problem, geometry.hint.kind
        if kind == "broken":
            raise bq.ScheduleError("needs another hint")
        made = dataclasses.replace(problem.config, W_dtype="uint4" if kind == "right" else "int4")
        other, rule = dataclasses.replace(problem, config=made), CpuRule()
        return tag(rule.schedule(other, rule.default_hint(other)), problem.config, problem.rung)


def rule_with(*hints):
    rule = VariantRule()
    rule.hints = tuple(VariantHint(*h) for h in hints)
    return rule


@pytest.fixture(scope="module", autouse=True)
def _environment(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("BITQUANT_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
    patch.setenv("BITQUANT_SCHEDULES", "off")
    patch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def config():
    return bq.MatmulConfig(M=(1, 8), N=24, K=64, W_dtype="uint4", group_size=32, with_scaling=True, with_bias=True)


@pytest.fixture(scope="module")
def operator(config):
    return bq.Matmul(config, target="cpu")


def fake_clock(candidate, calls, precise):
    return float(candidate.hint.us)


def statuses(result, rung=1):
    return {(t.candidate.hint.kind, t.candidate.hint.us): t.status for t in result.trials if t.candidate.rung == rung}


# The loop.


def test_the_fastest_right_candidate_wins(operator):
    """Wrong results and errors are reported and never chosen, however fast; of the others the fastest is."""
    rule = rule_with(("right", 100), ("wrong", 1), ("broken", 2), ("right", 50), ("right", 90))
    result = tune(operator, rules=(rule,), clock=fake_clock)
    assert statuses(result) == {
        ("right", 100): "measured",
        ("wrong", 1): "wrong",
        ("broken", 2): "failed",
        ("right", 50): "measured",
        ("right", 90): "measured",
    }
    notes = {t.status: t.note for t in result.complaints}
    assert "relative error" in notes["wrong"]
    assert notes["failed"] == "needs another hint"
    with pytest.warns(TuningWarning) as warned:
        result.warn()
    assert len(warned) == len(result.complaints) == 4
    assert str(warned[0].message).startswith("wrong: m <= 1: variants (kind=wrong, us=1): m = 1: relative error")
    assert {rung: t.candidate.hint.us for rung, t in result.best.items()} == {1: 50, 8: 50}
    assert [t.latency_us for t in result.of_rung(1)[:3]] == [50.0, 90.0, 100.0]
    chosen = result.plan().planned[8]
    assert (chosen.rule, chosen.hint, chosen.origin) == ("variants", {"kind": "right", "us": 50}, "tuned")


def test_the_plan_schedules_the_winner(operator, config):
    """The plan of a result schedules each tuned rung with the hint that won, and says that it was tuned."""
    rule = rule_with(("right", 100), ("right", 50))
    result = tune(operator, rungs=[8], rules=(rule,), clock=fake_clock)
    mod = schedule_module(apply_plan(select_implementation(config), CPU, result.plan(), (rule,)), CPU)
    chosen = {name: choice_of(f) for name, f in ((g.name_hint, f) for g, f in mod.functions.items())}
    assert (chosen["matmul_m8"].origin, chosen["matmul_m8"].hint["us"]) == ("tuned", 50)
    assert chosen["matmul_m1"].origin == "default"
    assert chosen["matmul_m1"].rule.startswith("cpu")


def test_topk_counts_candidates_of_all_rules(operator):
    """No more than topk are tried for a rung, in the order of the space."""
    rule = rule_with(*(("right", 100 - i) for i in range(10)))
    result = tune(operator, topk=3, rungs=[1], rules=(rule,), clock=fake_clock)
    assert [t.candidate.hint.us for t in result.trials] == [100, 99, 98]


def test_noise_does_not_choose(operator):
    """Of candidates within 1 % of the fastest the first in order is taken."""
    rule = rule_with(("right", 1000), ("right", 995), ("right", 1005))
    assert tune(operator, rungs=[1], rules=(rule,), clock=fake_clock).best[1].candidate.hint.us == 1000
    rule = rule_with(("right", 1000), ("right", 950))
    assert tune(operator, rungs=[1], rules=(rule,), clock=fake_clock).best[1].candidate.hint.us == 950


def test_the_second_pass_decides(operator):
    """The best few, and what is used now, are timed again, in another order each turn; a lucky first time loses."""
    seen = []

    def clock(candidate, calls, precise):
        seen.append((candidate.hint.us, precise))
        return {20: 30.0}.get(candidate.hint.us, candidate.hint.us) if precise else float(candidate.hint.us)

    rule = rule_with(("right", 100), ("right", 22), ("right", 20))
    result = tune(operator, rungs=[1], rules=(rule,), clock=clock)
    assert result.best[1].candidate.hint.us == 22
    precise = [us for us, is_precise in seen if is_precise]
    turns = [precise[i : i + 3] for i in range(0, 15, 3)]
    assert len(precise) == 15
    assert all(sorted(turn) == [20, 22, 100] for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    assert [t.is_final for t in result.trials] == [True, True, True]


def test_no_candidate_that_works_is_an_error(operator):
    """Where all fail there is nothing to choose, and the error lists what each said."""
    result = tune(operator, rungs=[8], rules=(rule_with(("broken", 1), ("wrong", 1)),), clock=fake_clock)
    assert result.best == {}
    with pytest.raises(bq.BuildError, match="no candidate works for m <= 8") as error:
        result.plan()
    assert "needs another hint" in str(error.value)
    assert "relative error" in str(error.value)


def test_arguments(operator):
    """Arguments are checked; tuning for a GPU needs it."""
    with pytest.raises(bq.CallError, match="'topk' must be an int, at least 1"):
        tune(operator, topk=0)
    with pytest.raises(bq.CallError, match=r"'rungs' must be numbers of rows of the config's ladder, 1, 8 \(got 3\)"):
        tune(operator, rungs=[3])
    there = bq.Matmul(bq.MatmulConfig(M=1, N=64, K=64, W_dtype="uint4", fast_decoding=False), target="sm_90a")
    with pytest.raises(bq.UnsupportedError, match="needs the GPU they are for, sm_90a"):
        tune(there)


# Tuning an operator.


@pytest.mark.thorough
def test_an_operator_follows_its_tuning(config):
    """After tuning the same operator, weight and compiled call give the results of the best kernel."""
    rule = rule_with(("wrong", 1), ("right", 2))
    matmul = bq.Matmul(config, target="cpu", rules=(rule,))
    with pytest.raises(AssertionError):
        check_call(matmul, 5)
    with pytest.warns(TuningWarning) as warned:
        result = matmul.hardware_aware_finetune(topk=2, parallel_build=False)
    assert [str(w.message)[:13] for w in warned] == ["wrong: m <= 1", "wrong: m <= 8"]
    assert {w.filename for w in warned} == {__file__}
    assert {rung: t.candidate.hint.us for rung, t in result.best.items()} == {1: 2, 8: 2}
    assert {(c.hint["us"], c.origin) for c in matmul.choices.values()} == {(2, "tuned")}
    for m in (1, 5, 9):
        check_call(matmul, m)


@pytest.mark.usefixtures("measured_here")
def test_nothing_to_choose_leaves_an_operator_as_it_was(config):
    """Where no candidate works the error says so, and the operator keeps its kernels."""
    matmul = bq.Matmul(config, target="cpu", rules=(rule_with(("wrong", 1)),))
    archive = matmul._archive
    with pytest.warns(TuningWarning), pytest.raises(bq.BuildError, match="no candidate works for m <= 1"):
        matmul.hardware_aware_finetune(parallel_build=False)
    assert matmul._archive is archive


def test_tuning_is_for_the_operators_target_and_rules(operator, config):
    """Another target, and rules that take no hints, are refused."""
    with pytest.raises(bq.UnsupportedError, match=r"'target' must be that of the operator, llvm \(got sm_90a\)"):
        operator.hardware_aware_finetune(target="sm_90a")
    foreign = (dlight.gpu.Fallback(), CpuRule())
    with pytest.raises(bq.UnsupportedError, match=r"'rules' must be bitquant's to tune them \(got Fallback"):
        tune(operator, rules=foreign)


def test_enable_tuning(monkeypatch):
    """With enable_tuning an operator is tuned when it is made."""
    tuned = []

    def finetune(self):
        tuned.append(self)

    monkeypatch.setattr(bq.Matmul, "hardware_aware_finetune", finetune)
    fields = {"M": 1, "N": 64, "K": 64, "W_dtype": "uint4", "fast_decoding": False}
    for target in ("sm_90a", "cpu"):
        assert bq.Matmul(bq.MatmulConfig(**fields), target=target, enable_tuning=True) in tuned


# Candidates.


def test_spaces_are_interleaved():
    """The default of each rule that applies comes first, then the second of each; what is used now before all."""

    class First(MmaRule):
        name = "first"

        def space(self, problem):
            yield from (dataclasses.replace(next(self.shapes(problem)), stages=s) for s in (3, 4, 5))

    class Second(GemvRule):
        name = "second"

        def space(self, problem):
            yield next(self.shapes(problem))

    config = bq.MatmulConfig(M=(1, 16), N=256, K=256, W_dtype="uint4", fast_decoding=False)
    rules = (First(), Second())
    predict = Analytical().predict_us
    found = candidates(Problem(config, 1, SM90), rules, predict)
    assert [(c.rule.name, getattr(c.hint, "stages", None)) for c in found] == [
        ("first", 3), ("second", None), ("first", 4), ("first", 5),
    ]  # fmt: skip
    assert candidates(Problem(config, 1, SM90), rules, predict, found[3]) == [found[3], *found[:3]]
    assert [c.rule.name for c in candidates(Problem(config, 16, SM90), rules, predict)] == ["first"] * 3


# Compiling in other processes.


@pytest.mark.thorough
def test_workers_build_what_this_process_builds(operator, config):
    """A worker gets the problem in JSON and sends an archive; its errors come back."""
    rule = CpuRule()
    good = Candidate(8, rule, rule.default_hint(Problem(config, 8, CPU)))
    bad = Candidate(8, rule, dataclasses.replace(good.hint, row_tile=7))
    problem = Problem(config, 8, CPU)
    apart, same = Builder(1), Builder(0)
    built, failed = (apart.submit(problem, c).result() for c in (good, bad))
    here, failed_here = (same.submit(problem, c).result() for c in (good, bad))
    apart.stop()
    same.stop()
    assert "row_tile" in failed
    assert failed == failed_here
    assert built.symbols == here.symbols == {8: "matmul_m8"}
    assert built.choices == here.choices
    assert Workbench(config, "plain", 8, DEVICE).check(built.runtime_module()["matmul_m8"]) == ""


# Checking.


@pytest.mark.cases(select="cover", stride=17)
@pytest.mark.sample(
    shows=lambda config: {
        ("A", config.A_dtype),
        ("output", config.out_dtype, config.with_bias),
        ("zeros", config.with_zeros and config.zeros_mode, config.with_scaling),
        ("output scales", config.with_activation_scale, config.with_channel_scale),
    }
)
def test_right_kernels_pass_the_check(config):
    """The workbench finds nothing wrong with the CPU's kernels, for every kind of operand."""
    operator = bq.Matmul(config, target="cpu")
    for rung in {config.ladder[0], config.ladder[-1]}:
        assert Workbench(config, operator.weight_layout, rung, DEVICE).check(operator.kernel_for(rung)) == ""


@pytest.mark.cases(select="cover", stride=29)
def test_the_reference_is_the_oracles(config):
    """The float64 product that candidates are compared with agrees with the oracle of the tests."""
    inputs = make_inputs(config, 3 if not config.is_static else config.M)
    assert relative_error(reference(inputs), inputs.reference(config)) < 1e-12


@pytest.mark.parametrize("out_dtype", ["float16", "float32", "int8", "int32"])
def test_one_wrong_element_is_found(out_dtype):
    """An element that is off, or never written, does not drown in a large matrix."""
    A_dtype, accum = ("int8", "int32") if out_dtype.startswith("int") else ("float16", "float32")
    config = bq.MatmulConfig(
        M=64, N=512, K=64, A_dtype=A_dtype, W_dtype="int4", accum_dtype=accum, out_dtype=out_dtype
    )  # fmt: skip
    expected = torch.randn(64, 512, dtype=torch.float64) * 30
    right = (expected.round().clamp(-128, 127) if out_dtype == "int8" else expected).to(config.out_format.torch_dtype)
    if out_dtype == "int32":
        right = expected.round().int()
    assert wrong(right, expected, config) == ""
    damaged = right.clone()
    damaged[13, 77] += 9 if float(right[13, 77]) < 0 else -9
    assert wrong(damaged, expected, config) == f"1 of {64 * 512} elements are wrong"
    if not config.out_format.is_integer:
        damaged[13, 77] = float("nan")
        assert "not finite" in wrong(damaged, expected, config)


def test_a_write_outside_the_output_is_found(config):
    """The rows before and after the output are watched."""
    bench = Workbench(config, "plain", 8, DEVICE)
    right = bq.Matmul(config, target="cpu").kernel_for(8)

    def kernel(A, W, scale, bias, D):
        right(A, W, scale, bias, D)
        torch.as_strided(D, (1,), (1,), D.storage_offset() + D.numel()).zero_()

    assert bench.check(right) == ""
    assert bench.check(kernel) == "m = 8: writes outside its output"


def test_ragged_rows_are_checked(config):
    """A kernel that is right for its rung only is found out: fewer rows, and more at the last rung."""
    right = bq.Matmul(config, target="cpu").kernel_for(8)
    bench = Workbench(config, "plain", 8, DEVICE)

    def right_for(*rows):
        return lambda A, *others: right(A, *others) if len(A) in rows else None

    assert bench.check(right_for(8, 5, 19)) == ""
    assert bench.check(right_for(8, 19)).startswith("m = 5: has elements that")
    assert bench.check(right_for(8, 5)).startswith("m = 19: has elements that")


# Records of results.


def test_a_result_becomes_records(tmp_path, monkeypatch):
    """Records of a result are found again, and plan what was measured."""
    config = bq.MatmulConfig(M=(1, 16), N=256, K=256, W_dtype="uint4", fast_decoding=False)
    operator = bq.Matmul(config, target="sm_90a")
    rule = MmaRule()
    hint = dataclasses.replace(rule.default_hint(Problem(config, 16, SM90)), stages=5)
    trial = Trial(Candidate(16, rule, hint), "measured", 3.14159, is_final=True)
    result = TuningResult(operator, "NVIDIA H200", (trial,), {16: trial}, {"date": "2025-01-01"})
    (path,) = result.write_record(tmp_path)
    (record,) = load_records(path)
    assert (record.rung, record.latency_us, record.device) == (16, 3.142, "NVIDIA H200")
    assert record.provenance == {"candidates": 1, "date": "2025-01-01"}
    assert record.floor_us == pytest.approx(operator.bytes_per_call(16) / 4.8e12 * 1e6, abs=1e-3)
    assert plan(config, SM90, records=Records([record])).planned[16].hint == hint.to_dict()


def test_records_are_not_written_for_a_cpu(operator, tmp_path):
    """The CPU's hints follow from its features; there is nothing to keep."""
    result = tune(operator, rungs=[1], rules=(rule_with(("right", 1)),), clock=fake_clock)
    with pytest.raises(bq.UnsupportedError, match="records are of CUDA GPUs"):
        result.write_record(tmp_path)


# The command.


@pytest.mark.usefixtures("measured_here")
def test_command_shows_a_table(monkeypatch):
    """`bitquant tune` prints a line a rung, and with --all one a candidate."""
    problem = ["--M", "1,8", "--N", "24", "--K", "40", "--W_dtype", "uint4", "--target", "cpu", "--workers", "0"]
    result = CliRunner().invoke(cli, ["tune", *problem, "--m", "8", "--all", "--topk", "2"])
    assert result.exit_code == 0
    assert re.fullmatch(r"24 x 40, m <= 8: best .* us, 2 trials; 1 of 1 done\n", result.stderr)
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["m", "<=", "latency", "us", "status", "rule", "hint"] in lines
    best = next(line for line in lines if line[:1] == ["8"])
    assert best[2] == "best"
    assert best[3].startswith("cpu")
    refused = CliRunner().invoke(cli, ["tune", *problem, "--m", "3"])
    assert refused.exit_code == 2
    assert "'--m' must be numbers of rows that M has, " in refused.stderr


@pytest.mark.parametrize("target", [["--target", "cpu"], []])
def test_command_that_has_nothing_to_write_measures_nothing(tmp_path, monkeypatch, target):
    """`tune --write` for a CPU is refused before a kernel is built."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("bitquant.matmul.Matmul.__init__", lambda *_a, **_k: pytest.fail("a kernel was built"))
    problem = ["--M", "1", "--N", "24", "--K", "64", "--W_dtype", "uint4", "--write", str(tmp_path / "records")]
    result = CliRunner().invoke(cli, ["tune", *problem, *target])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'--write' needs a CUDA target" in result.stderr
    assert not (tmp_path / "records").exists()


@pytest.mark.usefixtures("measured_here")
@pytest.mark.thorough
def test_command_reports_wrong_results(monkeypatch):
    """A wrong result is named on standard error, and the exit code is 1."""
    rules = (rule_with(("right", 5), ("wrong", 1)),)
    monkeypatch.setattr("bitquant.schedule.rules.all_rules", lambda: rules)
    monkeypatch.setattr("bitquant.tune.api.all_rules", lambda: rules)
    problem = ["--M", "1", "--N", "24", "--K", "40", "--W_dtype", "uint4", "--target", "cpu", "--workers", "0"]
    result = CliRunner().invoke(cli, ["tune", *problem])
    assert result.exit_code == 1
    assert "wrong: m <= 1: variants (kind=wrong, us=1): m = 1: relative error" in result.stderr


def test_command_begins_anew_where_a_record_is_stale(tmp_path, monkeypatch):
    """A record that no longer fits is an error that says to tune again; so that can be done."""
    config = bq.MatmulConfig(M=1, N=64, K=64, W_dtype="uint4", fast_decoding=False)
    problem = {k: v for k, v in config.problem().items() if k != "M"}
    save_records([Record(problem, 1, "sm_90a", "NVIDIA H200", "gone", {}, 2.0, 1.0)], tmp_path)
    monkeypatch.setenv("BITQUANT_SCHEDULES", str(tmp_path))
    with pytest.raises(bq.RecordError, match="there is no rule 'gone'"):
        bq.Matmul(config, target="sm_90a")
    arguments = ["--M", "1", "--N", "64", "--K", "64", "--W_dtype", "uint4", "--no-fast_decoding", "--target", "sm_90a"]
    result = CliRunner().invoke(cli, ["tune", *arguments])
    assert result.exit_code == 2
    first, second, third = result.stderr.splitlines()
    assert "there is no rule 'gone'" in first
    assert second == "beginning from the default instead"
    assert "needs the GPU they are for, sm_90a" in third
