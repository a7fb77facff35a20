# SPDX-License-Identifier: Apache-2.0
"""The learned order of hints: trees, features, which GPUs and rules it is for, and how trials are kept."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import bitquant as bq
from bitquant.arch import cuda_target, resolve_target
from bitquant.errors import RecordError, UnsupportedError
from bitquant.problem import Problem
from bitquant.schedule import ranking
from bitquant.schedule.ranking import order
from bitquant.schedule.ranking.features import samples
from bitquant.schedule.ranking.trees import Trees
from bitquant.schedule.rules import default_rules
from bitquant.schedule.rules.contract import applying
from bitquant.schedule.rules.decode.rule import DecodeRule
from bitquant.schedule.rules.hopper.rule import WgmmaRule
from bitquant.testing.shape_sets import SHAPE_SETS
from bitquant.tune.candidates import Candidate
from bitquant.tune.collect import Draw, collect, draw_hints, mutated
from bitquant.tune.fleet import start_measurers
from bitquant.tune.measurer import LocalMeasurer
from bitquant.tune.predictor import Learned
from bitquant.tune.train import Measured, measured_problems, regrets
from bitquant.tune.trials import Measurement, append_to_journal, read_journal
from tests.unit.test_tune_faults import FaultyRule
from tests.unit.test_tune_search import Measurer

H200 = cuda_target("sm_90a")
RULES = [rule for rule in default_rules() if rule.name in ("wgmma", "decode")]


def _problem(m: int, N: int = 5120, K: int = 13824, target: object = H200, **fields: object) -> Problem:
    given = {"W_dtype": "uint4", "group_size": 128, "with_scaling": True, "with_zeros": True, **fields}
    return Problem(bq.MatmulConfig(M=m, N=N, K=K, **given), m, target, "fragment")


@pytest.fixture(autouse=True)
def _is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(order.ENVIRONMENT, raising=False)


def _stump(feature: int, threshold: float, values: tuple[float, float], names: list[str]) -> Trees:
    """One tree of one split."""
    return Trees(
        names=np.array(names), devices=np.array(["H200 SXM"]), rules=np.array(["decode"]),
        least_rows=np.array([1], np.int32), roots=np.array([0], np.int32),
        feature=np.array([feature, 0, 0], np.int16), threshold=np.array([threshold, 0, 0], np.float32),
        left=np.array([1, 1, 2], np.int32), right=np.array([2, 1, 2], np.int32),
        missing_left=np.array([True, False, False]), value=np.array([0, *values], np.float32), base=np.array(0.5),
    )  # fmt: skip


def test_a_tree_takes_the_side_of_its_threshold_and_of_what_is_missing(tmp_path) -> None:
    """Less goes left, equal and more go right, NaN where the node says; a file gives the same trees back."""
    trees = _stump(1, 2.0, (10.0, 20.0), ["a", "b"])
    table = np.array([[9, 1.5], [9, 2.0], [9, 3.0], [9, math.nan]], np.float32)
    assert trees.predict(table).tolist() == [10.5, 20.5, 20.5, 10.5]
    trees.save(tmp_path / "trees.npz")
    assert Trees.load(tmp_path / "trees.npz").predict(table).tolist() == [10.5, 20.5, 20.5, 10.5]


def test_a_file_without_an_array_is_refused(tmp_path) -> None:
    """The error names the file and the array."""
    np.savez(tmp_path / "trees.npz", names=np.array(["a"]))
    with pytest.raises(ValueError, match=r"trees.npz has no array 'base'"):
        Trees.load(tmp_path / "trees.npz")


def test_trees_predict_what_xgboost_does() -> None:
    """Arrays made of a trained booster give its predictions, also for samples with gaps."""
    xgboost = pytest.importorskip("xgboost")
    chance = np.random.default_rng(0)
    table = chance.normal(size=(400, 5)).astype(np.float32)
    table[chance.random(table.shape) < 0.2] = np.nan
    wanted = np.nan_to_num(table[:, 0]) * 3 + np.nan_to_num(table[:, 3]) ** 2
    names = list("abcde")
    booster = xgboost.train({"max_depth": 5, "seed": 1}, xgboost.DMatrix(table, wanted, feature_names=names), 40)
    predicted = booster.predict(xgboost.DMatrix(table, feature_names=names))
    np.testing.assert_allclose(Trees.from_xgboost(booster, names, ["X"]).predict(table), predicted, atol=1e-4)


@pytest.mark.parametrize("m", [1, 4, 16, 64])
def test_the_first_hint_is_the_least_by_the_model(m: int) -> None:
    """It fits, its rule takes the problem, and no likely hint of any rule has a lower score."""
    problem = _problem(m)
    rule, hint = ranking.first(problem, RULES)
    assert rule.refusal(problem) is None
    assert rule.fault(problem, hint) is None
    trees = order.model_for(problem)
    candidates = [c for r in RULES if r.refusal(problem) is None for c in order.likely(problem, r)]
    scores = trees.predict(samples(problem, candidates, [str(name) for name in trees.names]))
    assert candidates[int(np.argmin(scores))][1].hint == hint


@pytest.mark.parametrize("path", [order.MODEL, order.RANGE_MODEL], ids=lambda path: path.name)
def test_every_column_of_a_model_has_a_source(path: Path) -> None:
    """A model knows no feature that no rule has: it would be missing in each sample."""
    trees = Trees.load(path)
    problem = _problem(16)
    candidates = [next(order.likely(problem, rule)) for rule in RULES]
    table = samples(problem, candidates, [str(name) for name in trees.names])
    assert not np.isnan(table).all(axis=0).any()


@pytest.mark.parametrize(
    ("m", "path"), [(4, order.MODEL), (5, order.RANGE_MODEL), (16, order.RANGE_MODEL), (17, order.MODEL)]
)
def test_each_number_of_rows_has_its_model(m: int, path: Path) -> None:
    """From 5 to 16 rows another model ranks than elsewhere."""
    assert np.array_equal(order.model_for(_problem(m)).value, Trees.load(path).value)


def test_rules_are_compared_by_time_and_not_by_their_order() -> None:
    """Where a rule that is asked later is predicted to be faster, it is chosen: both serve 16 rows somewhere."""
    chosen = {ranking.first(_problem(16, *shape), RULES)[0].name for shape in SHAPE_SETS["held-out"]}
    assert chosen == {"wgmma", "decode"}


@pytest.mark.parametrize(
    "problem",
    [
        _problem(16, target=resolve_target("h100")),
        _problem(16, target=cuda_target("sm_80")),
        _problem(256),
        Problem(_problem(16).config.with_M((1, 16)), 16, H200, "fragment"),
    ],
    ids=["h100", "sm_80", "many rows", "the last rung, and what is beyond it"],
)
def test_what_the_trials_do_not_cover_keeps_the_analytical_order(problem: Problem) -> None:
    """Other GPUs, numbers of rows for which the model is no better, and any number get the first rule's default."""
    assert order.model_for(problem) is None
    rule = next(rule for rule in RULES if rule.refusal(problem) is None)
    assert ranking.first(problem, RULES) == (rule, rule.default_hint(problem))


def test_a_rule_that_is_not_preferred_is_ranked_where_trials_had_its_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below 16 rows wgmma is a candidate of the ranking by the least rows of its trials; tuning tries it either way."""
    problem, trees = _problem(8), Trees.load(order.MODEL)
    assert {rule.name for rule in RULES if rule.refusal(problem) is None} == {"wgmma", "decode"}
    for least, wanted in ((16, {"decode"}), (8, {"wgmma", "decode"})):
        known = dataclasses.replace(trees, rules=np.array(["decode", "wgmma"]), least_rows=np.array([1, least]))
        monkeypatch.setattr(order, "_trees", lambda _, known=known: known)
        assert {rule.name for rule, _ in order._ranked(problem, applying(problem, RULES))} == wanted
        assert {rule.name for rule, _ in ranking.ordered(problem, RULES)} == {"wgmma", "decode"}
        found = [Candidate(8, rule, next(rule.space(problem))) for rule in RULES]
        assert np.isfinite(Learned().predict_us(problem, found)).all()


def test_the_ranking_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """BITQUANT_RANKING=off leaves the analytical models alone."""
    monkeypatch.setenv(order.ENVIRONMENT, "off")
    assert order.model_for(_problem(1)) is None


def test_all_hints_follow_and_none_twice() -> None:
    """Behind the ranked hints come the others of each rule."""
    problem = _problem(16)
    hints = [(rule.name, hint) for rule, hint in ranking.ordered(problem, RULES)]
    assert len(hints) == len(set(hints))
    assert set(hints) == {(rule.name, hint) for rule in RULES for hint in rule.space(problem)}


def test_drawn_hints_fit_and_differ() -> None:
    """The defaults come first; mutations and uniform draws fit, and a blind draw asks no model."""
    problem = _problem(16, 2560, 2048)
    for is_blind in (False, True):
        drawn = draw_hints(Draw.of(problem, RULES, 30, is_blind), RULES)
        assert {how for _, _, how in drawn[:2]} == {"default"}
        assert len({(rule.name, hint) for rule, hint, _ in drawn}) == len(drawn) > 20
        assert all(rule.fault(problem, hint) is None and hint.fault() is None for rule, hint, _ in drawn)
        ways = {how for _, _, how in drawn}
        assert ways == {"default", "mutated", "uniform"} | (set() if is_blind else {"likely"})
    again = draw_hints(Draw.of(problem, RULES, 30, True), RULES)
    assert [(rule.name, hint) for rule, hint, _ in again] == [(rule.name, hint) for rule, hint, _ in drawn]


def test_mutations_change_one_to_three_fields() -> None:
    """Other fields stay."""
    import random

    hint = DecodeRule().default_hint(_problem(1))
    chance = random.Random(0)
    for _ in range(50):
        other = mutated(hint, chance).to_dict()
        assert sum(other[name] != value for name, value in hint.to_dict().items()) <= 3


def _measurement(rule: object, hint: object, latency_us: float, m: int = 16, **fields: object) -> Measurement:
    problem = _problem(m)
    given = {"draw": "uniform", "status": "measured", **fields}
    return Measurement(
        problem={k: v for k, v in problem.config.problem().items() if k != "M"}, rung=m, device="NVIDIA H200",
        target=str(problem.target), rule=rule.name, hint=hint.to_dict(), latency_us=latency_us, **given,
    )  # fmt: skip


def test_journals_keep_what_was_written_and_parquet_too(tmp_path) -> None:
    """A line that was cut off is left out, the last of a kernel counts; a line that is something else is an error."""
    hint = WgmmaRule().default_hint(_problem(16))
    one = _measurement(WgmmaRule(), hint, 20.0)
    other = _measurement(WgmmaRule(), dataclasses.replace(hint, raster=9), 21.0)
    journal = tmp_path / "new" / "journal.jsonl"
    append_to_journal(journal, [one, other])
    append_to_journal(journal, [dataclasses.replace(one, latency_us=19.0)])
    with journal.open("a") as file:
        file.write(json.dumps({"rule": "cut"})[:-3])
    assert [m.latency_us for m in read_journal(journal)] == [19.0, 21.0]
    pytest.importorskip("pyarrow")
    from bitquant.tune.trials import read_trials, write_trials

    write_trials(read_journal(journal), tmp_path / "t.parquet")
    back = {m.key: m for m in read_trials(tmp_path)}
    assert back == {m.key: m for m in read_journal(journal)}
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecordError, match=r"bad.parquet is no file of trials"):
        list(read_trials(tmp_path))
    journal.write_text('{"rule": 1}\n')
    with pytest.raises(RecordError, match=r"journal.jsonl, line 1: needs a measurement"):
        read_journal(journal)


def test_regret_is_what_the_first_hints_lose() -> None:
    """Of three kernels the order decides: the first alone, the best of eight, and refused rules come last."""
    hints = list(dict.fromkeys(h for _, h in zip(range(9), WgmmaRule().space(_problem(16)), strict=False)))
    trials = [_measurement(WgmmaRule(), hint, 10.0 + i) for i, hint in enumerate(hints)]
    trials.append(_measurement(WgmmaRule(), hints[0], 0.0, status="failed"))
    (measured,) = measured_problems(trials)
    assert isinstance(measured, Measured)
    assert measured.shape == (5120, 13824)
    worst_first = -np.arange(len(hints), dtype=float)
    regret = regrets([measured], [worst_first])
    assert (regret.count, regret.first) == (1, pytest.approx(1 + (len(hints) - 1) / 10))
    assert regret.best_of_8 == pytest.approx(1 + max(0, len(hints) - 8) / 10)
    assert regrets([], []).count == 0
    few = measured_problems([_measurement(WgmmaRule(), hint, 10.0, m=1) for hint in hints])
    assert all(np.isinf(p.analytical_score).all() for p in few)


def test_tuning_predicts_by_the_ranking() -> None:
    """Of the hints of both rules the one that the ranking puts first has the least predicted time."""
    problem = _problem(16)
    found = [Candidate(16, rule, hint) for rule, hint in ranking.ordered(problem, RULES)]
    times = Learned().predict_us(problem, found)
    assert np.isfinite(times).all()
    likely = {(rule.name, g.hint) for r in RULES for rule, g, _ in order.likely(problem, r)}
    best = min((us, i) for i, us in enumerate(times) if (found[i].rule.name, found[i].hint) in likely)[1]
    assert best == 0


def test_the_commands_merge_show_and_learn(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals become a file, the file a table, and a model, whose devices are those of the trials."""
    pytest.importorskip("pyarrow")
    pytest.importorskip("xgboost")
    from click.testing import CliRunner

    from bitquant.cli.app import cli
    from bitquant.tune import train

    monkeypatch.setattr(train, "ROUNDS", 3)
    chance = np.random.default_rng(0)
    for N in (1024, 2048, 3072):
        problem = _problem(16, N, 2048)
        hints = [(rule, hint) for rule in RULES for hint, _ in zip(rule.space(problem), range(6), strict=False)]
        common = {"problem": {k: v for k, v in problem.config.problem().items() if k != "M"}, "rung": 16}
        append_to_journal(
            tmp_path / "j.jsonl",
            [
                Measurement(
                    **common, device="NVIDIA H200", target="", rule=rule.name, hint=hint.to_dict(), draw="uniform",
                    status="measured", latency_us=float(10 + chance.random()),
                )
                for rule, hint in hints
            ],
        )  # fmt: skip
    run = CliRunner().invoke

    def output(*arguments: str) -> str:
        result = run(cli, ["trials", *arguments])
        assert result.exit_code == 0, result.output
        return str(result.output)

    file, model = str(tmp_path / "t.parquet"), tmp_path / "m.npz"
    assert "36 kernels" in output("merge", str(tmp_path / "j.jsonl"), file)
    assert "36 kernels" in output("merge", str(tmp_path / "j.jsonl"), file)  # Nothing is there twice.
    assert "decode" in output("summary", file)
    told = output("train", file, "--out", str(model), "--plot", str(tmp_path / "p.png"))
    assert [line.split()[3:5] for line in told.splitlines() if line.startswith("9 to 16")][1] == ["3", "learned"]
    assert list(Trees.load(model).devices) == ["H200 SXM"]
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_a_stratum_draws_rare_values_as_often() -> None:
    """With the field named, half of the hints that no model names have stream-K; without it about a tenth."""
    problem, shares = _problem(16, 8192, 28672), {}
    for stratum in ("", "stream_k"):
        draw = Draw(problem, {"wgmma": 81}, stratum=stratum)
        uniform = [hint for _, hint, how in draw_hints(draw, RULES) if how == "uniform"]
        shares[stratum] = sum(hint.stream_k for hint in uniform) / len(uniform)
    assert shares[""] < 0.3
    assert 0.4 < shares["stream_k"] < 0.6


@pytest.fixture(scope="module")
def cpu_draws() -> list[Draw]:
    """Two problems for the CPU, with two hints each."""
    config = bq.MatmulConfig(M=2, N=64, K=64, W_dtype="uint4")
    return [Draw(Problem(config.with_M(m), m, resolve_target("cpu")), {"cpu": 2}) for m in (2, 1)]


CPU_RULES = [rule for rule in default_rules() if rule.name == "cpu"]


def test_collected_kernels_come_by_problem_and_known_ones_not_again(cpu_draws, tmp_path) -> None:
    """Problems keep their order, each kernel is checked and timed, and what a journal has is not compiled."""
    journal, told = tmp_path / "journal.jsonl", []
    for _ in range(2):
        measurer = LocalMeasurer(torch.device("cpu"))
        collect(cpu_draws, journal, 0, [measurer], CPU_RULES, commit="abc", progress=told.append)
    measured = read_journal(journal)
    assert [rung for rung, _ in itertools.groupby(m.rung for m in measured)] == [2, 1]
    assert len(journal.read_text().splitlines()) == len(measured) >= 2
    assert all(m.status == "measured" and m.latency_us > 0 and m.rounds == 3 for m in measured)
    assert {(m.device, m.commit) for m in measured} == {("CPU", "abc")}
    assert [line.split(":")[0] for line in told] == 2 * ["1 of 2", "2 of 2"]
    assert told[-1].endswith("0 of 0 kernels, best 0.00 us, default 0.00 us")


def test_two_measurers_share_the_problems(cpu_draws, tmp_path) -> None:
    """Each takes the next problem when it is free; the journal has the kernels of both."""
    took = set()

    class Noted(LocalMeasurer):
        def sample(self, problem, candidate, archive):
            if (id(self), problem.rung) not in took:
                took.add((id(self), problem.rung))
                barrier.wait(timeout=60)  # Until the other has a problem as well.
            return super().sample(problem, candidate, archive)

    barrier = threading.Barrier(2)
    collect(cpu_draws, tmp_path / "j", 0, [Noted(torch.device("cpu")) for _ in range(2)], CPU_RULES)
    assert len({measurer for measurer, _ in took}) == 2
    assert sorted(rung for _, rung in took) == [1, 2]
    assert {m.rung for m in read_journal(tmp_path / "j") if m.status == "measured"} == {1, 2}


@pytest.mark.thorough
def test_a_kernel_that_ends_the_process_costs_itself_alone(cpu_draws, tmp_path) -> None:
    """Faults are kept with their notes, what follows is measured, and the processes end.

    tests/unit/test_tune_faults.py has the other faults, of kernels that hang or are slow.
    """
    rule = FaultyRule()
    rule.kinds = ("right", "segfault", "wrong")
    draws = [Draw(draw.problem, {"faulty": count}) for draw, count in zip(cpu_draws, (3, 1), strict=True)]
    (measurer,) = start_measurers("cpu", [None])
    collect(draws, tmp_path / "j", 0, [measurer], [rule])
    found = {(m.rung, m.hint["kind"]): m for m in read_journal(tmp_path / "j")}
    assert {kind: m.status for (rung, kind), m in found.items() if rung == 2} == {
        "right": "measured", "wrong": "wrong", "segfault": "failed",
    }  # fmt: skip
    assert found[1, "right"].status == "measured"
    assert "died (SIGSEGV)" in found[2, "segfault"].note
    assert "relative error" in found[2, "wrong"].note
    assert measurer.started == 2  # The first one, and one after the kernel that took it down.
    assert measurer.pid is None


def test_measurers_of_different_products_are_refused() -> None:
    """Times of two products are no data of one device."""
    with pytest.raises(UnsupportedError, match=r"GPUs of one product \(got CPU, H200\)"):
        collect([], "journal.jsonl", 0, [Measurer(device="H200"), Measurer()])
    with pytest.raises(UnsupportedError, match="got none"):
        collect([], "journal.jsonl", 0, [])
