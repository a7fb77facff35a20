# SPDX-License-Identifier: Apache-2.0
"""Tuning grouped products without a GPU: what candidates are checked and timed with, records, and who follows them."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest
import torch

import bitquant as bq
from bitquant.arch import cuda_target, resolve_target
from bitquant.grouped_inputs import draw_grouped_inputs, draw_routing
from bitquant.nn import Experts, ExpertsLinear
from bitquant.nn.shapes import model_problems
from bitquant.operator.report import floor_us
from bitquant.problem import Problem
from bitquant.profiling import MIN_ROUTINGS, copies_needed, rotating_operands
from bitquant.schedule import Record, Records, load_records, plan, preferred_layout, ranking, save_records
from bitquant.schedule.ranking import order
from bitquant.schedule.rules import all_rules, default_rules
from bitquant.testing.grouped import check_grouped_call, grouped_oracle
from bitquant.testing.oracle import relative_error
from bitquant.tune import Trial, TuningResult, tune
from bitquant.tune.candidates import Candidate, candidates
from bitquant.tune.cases import draw_cases, grouped_reference
from bitquant.tune.compile import Builder
from bitquant.tune.fleet import provenance_of
from bitquant.tune.journal import Journal
from bitquant.tune.measure import Workbench
from bitquant.tune.predictor import Analytical, default_predictor
from bitquant.tune.result import Subject
from bitquant.tune.verify import verify

from .test_experts import make as make_model
from .test_experts import quantized
from .test_grouped import FORMS, GROUPED, make

DEVICE, SM90 = torch.device("cpu"), cuda_target("sm_90a")
FIELDS = {"W_dtype": "uint4", "group_size": 32, "with_scaling": True, "with_zeros": True}


@pytest.fixture(autouse=True)
def _no_records(monkeypatch):
    monkeypatch.setenv("BITQUANT_SCHEDULES", "off")


def for_gpu(form="gather", **fields):
    """A problem that every rule of Hopper takes in its form."""
    return bq.GroupedMatmulConfig(
        **{"num_experts": 8, "N": 256, "K": 256, "M": (4, 64), **FIELDS, **FORMS[form], **fields}
    )


# What candidates are checked with.


@pytest.mark.parametrize("form", FORMS)
def test_right_kernels_pass_the_check(form):
    """The CPU's kernels pass, in every form of a call, for each rung of a ladder and a static M."""
    for M in ((1, 16), 5):
        operator = make(form, M=M)
        for rung in operator.config.ladder:
            bench = Workbench(operator.config, operator.weight_layout, rung, DEVICE)
            assert bench.check(operator.kernel_for(rung)) == ""


@pytest.mark.parametrize("config", GROUPED[::4], ids=lambda c: f"{c.routing}-{c.A_format.name}-{c.W_format.name}")
def test_the_reference_is_the_oracles(config):
    """What candidates are compared with agrees with the oracle of the tests, whatever the formats."""
    generator = torch.Generator().manual_seed(2)
    first = draw_grouped_inputs(config, 9, generator, "zipf")
    calls = [first, first.with_rows(4, generator)]
    for inputs, found in zip(calls, grouped_reference(calls), strict=True):
        assert relative_error(found, grouped_oracle(config, inputs)) < 1e-12


@pytest.mark.parametrize("form", ["sorted", "reduce"])
def test_calls_of_the_check_differ_in_their_routing(form):
    """All experts, one expert, more rows, and rows without an expert; all with the same weights."""
    config = make(form, num_experts=6, M=(1, 16)).config
    cases = draw_cases(config, "plain", 16, DEVICE)
    assert [case.m for case in cases] == [16, 10, 35, 16]
    assert len({case.operands["W"].data_ptr() for case in cases}) == 1
    if form == "sorted":
        ends = [case.operands["offsets"] for case in cases]
        assert [case.rows for case in cases] == [16, 10, 35, 13]
        assert int((ends[1].diff(prepend=torch.tensor([0])) > 0).sum()) == 1
    else:
        ids = [case.operands["expert_ids"] for case in cases]
        assert [len(each.unique()) for each in ids[1:2]] == [1]
        assert [int((each >= 6).sum()) for each in ids] == [0, 0, 0, 16 * 3 // 5]


@pytest.mark.parametrize(
    ("form", "fault", "complaint"),
    [
        ("gather", lambda given: {**given, "expert_ids": given["expert_ids"] * 0}, "relative error"),
        ("gather", lambda given: {**given, "expert_ids": given["expert_ids"].clamp(max=3)}, "relative error"),
        ("sorted", lambda given: {**given, "offsets": given["offsets"].roll(1)}, "never written|relative error"),
    ],
    ids=["one expert for all", "an expert where there is none", "another routing"],
)  # fmt: skip
def test_a_kernel_that_finds_other_experts_is_wrong(form, fault, complaint):
    """Rows that meet the weights of others are found, and slots without an expert that have one."""
    operator = make(form)
    names = list(draw_cases(operator.config, "plain", 1, DEVICE)[0].operands)
    kernel = operator.kernel_for(16)

    def faulty(*operands):
        *given, D = operands
        kernel(*fault(dict(zip(names, given, strict=True))).values(), D)

    bench = Workbench(operator.config, "plain", 16, DEVICE)
    assert bench.check(kernel) == ""
    assert re.search(complaint, bench.check(faulty))


def test_a_write_outside_the_output_is_found():
    """The slots of a row before and of one after the output are watched."""
    operator = make("gather")
    right, bench = operator.kernel_for(16), Workbench(operator.config, "plain", 16, DEVICE)

    def kernel(*operands):
        right(*operands)
        D = operands[-1]
        torch.as_strided(D, (1,), (1,), D.storage_offset() + D.numel()).zero_()

    assert bench.check(kernel) == "m = 16: writes outside its output"


# What candidates are timed with.


@pytest.mark.parametrize("form", FORMS)
def test_calls_that_are_timed_have_routings_of_their_own(form):
    """There are at least 8, in the order of the parameters, and copies of the weights that exceed the cache."""
    operator = make(form, num_experts=16, N=64, M=5)
    config = operator.config
    inputs = draw_grouped_inputs(config, 5, torch.Generator().manual_seed(0))
    operands = inputs.stored("plain")
    calls = rotating_operands(config, operands, 5)
    assert len(calls) >= MIN_ROUTINGS
    assert all(list(call) == list(operands) for call in calls)
    routing = "offsets" if config.is_sorted else "expert_ids"
    assert len({tuple(call[routing].flatten().tolist()) for call in calls}) > len(calls) // 2
    copies = {call["W"].data_ptr() for call in calls}
    bytes_of_a_call = sum(operands[n].nbytes for n in ("W", "scale", "zeros", "bias")) * config.expected_experts(5) / 16
    assert len(copies) == copies_needed(round(bytes_of_a_call), DEVICE)
    assert {call["scale"].data_ptr() for call in calls}.__len__() == len(copies)
    for call in calls:
        assert torch.equal(call["W"], operands["W"])


def test_expected_experts_are_those_that_are_drawn():
    """The mean over many routings is what the formulas say."""
    generator = torch.Generator().manual_seed(0)
    for form, m in (("sorted", 5), ("gather", 5), ("reduce", 40)):
        config = for_gpu(form, num_experts=16)
        met = []
        for _ in range(400):
            drawn = draw_routing(config, m, generator)
            if config.is_sorted:
                met.append(int((drawn["offsets"].diff(prepend=torch.tensor([0])) > 0).sum()))
            else:
                met.append(len(drawn["expert_ids"].unique()))
        assert sum(met) / len(met) == pytest.approx(config.expected_experts(m), rel=0.03)
    assert for_gpu("gather", num_experts=1).expected_experts(3) == 1


# Candidates.


def test_the_ranking_is_for_one_weight():
    """Hints of grouped rules keep the order of the analytical models, with the learned model there."""
    config = for_gpu("gather")
    problem = Problem(config, 4, SM90, preferred_layout(config, SM90))
    one = Problem(config.matmul.with_M((4, 64)), 4, problem.target, problem.weight_layout)
    h200 = resolve_target("h200")
    assert order.model_for(dataclasses.replace(one, target=h200)) is not None
    assert order.model_for(dataclasses.replace(problem, target=h200)) is None
    rules = default_rules(config.operation)
    first = [hint for _, hint in zip(range(3), (h for _, h in ranking.ordered(problem, rules)), strict=False)]
    predicted = default_predictor().predict_us(
        problem, tried := candidates(problem, all_rules(), Analytical().predict_us)
    )
    assert tried[0].hint == first[0]
    assert {c.rule.operation for c in tried} == {"grouped_matmul"}
    assert (predicted == Analytical().predict_us(problem, tried))[predicted == predicted].all()  # noqa: PLR0124  NaN


@pytest.mark.thorough
def test_workers_build_grouped_kernels():
    """A worker gets the problem in JSON and sends the kernel of its rung, which is right."""
    config = make("reduce").config
    problem = Problem(config, 16, make("reduce").target)
    (rule, hint), builder = ranking.first(problem, all_rules()), Builder(1)
    built = builder.submit(problem, Candidate(16, rule, hint)).result()
    builder.stop()
    assert built.symbols == {16: "grouped_matmul_m16"}
    assert Workbench(config, "plain", 16, DEVICE).check(built.runtime_module()["grouped_matmul_m16"]) == ""


@pytest.mark.thorough
@pytest.mark.parametrize("form", ["sorted", "reduce"])
def test_an_operator_is_tuned(form, tmp_path):
    """It measures in another process, takes the best hint from then on, and resumes from its journal."""
    operator = make(form)
    result = operator.hardware_aware_finetune(topk=3, parallel_build=False)
    assert sorted(result.best) == [1, 16]
    assert {c.origin for c in operator.choices.values()} == {"tuned"}
    assert all(t.status == "measured" for t in result.trials)
    for m in (1, 5, 20):
        check_grouped_call(operator, m, routing="zipf")
    first = tune(operator, topk=2, rungs=[1], workers=0, journal=tmp_path)
    again = tune(operator, topk=2, rungs=[1], workers=0, journal=tmp_path)
    assert [t.latency_us for t in first.trials] == [t.latency_us for t in again.trials]


def test_enable_tuning(monkeypatch):
    """With enable_tuning an operator is tuned when it is made, and those of a layer when a call first needs them."""
    tuned = []
    monkeypatch.setattr(bq.GroupedMatmul, "hardware_aware_finetune", lambda self: tuned.append(self.config.routing))
    assert tuned == []
    bq.GroupedMatmul(for_gpu("gather", M=4), target="sm_90a", enable_tuning=True)
    assert tuned == ["indexed"]
    layers = experts_of(opt_M=(4,), enable_tuning=True)
    for each in layers.gate_up.needed_kernels(()):
        each.prepare("cuda")
    assert tuned == ["indexed", "sorted", "indexed"]
    bq.GroupedMatmul(for_gpu(), target="cpu", enable_tuning=True)  # A CPU's rules have hints to choose from as well.
    assert len(tuned) == 4
    assert layers.gate_up.with_scale_dtype("float32").activation == "silu_mul"
    with pytest.raises(bq.ConfigError, match="'enable_tuning' must be a bool"):
        bq.GroupedMatmul(for_gpu(), target="sm_90a", enable_tuning=1)


def test_journals_tell_routings_apart(tmp_path):
    """Problems that differ in the routing alone have journals of their own."""
    forms = [for_gpu(form).with_M((4, 64)) for form in FORMS]
    subject = Subject(forms[0], SM90, "fragment")
    made_by = {"device": "NVIDIA H200", **provenance_of(subject)}
    assert len({Journal(tmp_path, config, made_by).path for config in forms}) == len(FORMS)


# Records.


def record_of(config, rung, rule="grouped_fallback", hint=None):
    """A record whose hint no default has."""
    problem = {k: v for k, v in config.problem().items() if k != "M"}
    return Record(problem, rung, "sm_90a", "NVIDIA H200", rule, hint or {"warps": 2, "m_per_warp": 1}, 10.0, 1.0)


def test_a_result_writes_records(tmp_path):
    """The winner is kept with its evidence, verified without a GPU, and found by the problem."""
    config = for_gpu("reduce")
    layout = preferred_layout(config, SM90)
    rule = next(rule for rule in all_rules() if rule.name == "grouped_decode")
    hint = list(zip(range(3), rule.space(Problem(config, 4, SM90, layout)), strict=False))[-1][1]
    trial = Trial(Candidate(4, rule, hint), "measured", 3.14159, is_final=True)
    result = TuningResult(Subject(config, SM90, layout), "NVIDIA H200", (trial,), {4: trial}, {"date": "2026-11-30"})
    (path,) = result.write_record(tmp_path)
    assert path == tmp_path / "sm_90a/nvidia-h200/grouped_matmul_indexed-float16-uint4.json"
    (record,) = load_records(tmp_path)
    asked = {"num_experts": 8, "top_k": 3, "routing": "indexed", "A_rows": "slots", "D_rows": "tokens"}
    assert {name: record.problem[name] for name in asked} == asked
    assert (record.rung, record.latency_us) == (4, 3.142)
    assert record.floor_us == pytest.approx(
        floor_us(config, 4, Problem(config, 4, SM90).gpu, is_uniform=True), abs=1e-3
    )
    assert record.floor_us < floor_us(config, 4, Problem(config, 4, SM90).gpu)  # 12 slots meet fewer than 8 experts.
    assert plan(config, SM90, layout, Records([record])).planned[4].hint == hint.to_dict()
    (verified,) = verify([record], 0)
    assert (verified.complaint, verified.spill_bytes) == ("", 0)


@pytest.mark.parametrize(
    "other",
    [{"num_experts": 9}, {"top_k": 4}, {"A_rows": "tokens"}, {"D_rows": "slots"}, {"with_routing_weights": False}],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_records_are_of_one_routing(other):
    """A record serves neither other experts, nor other rows, nor another number of them."""
    config = for_gpu("reduce")
    records = Records([record_of(config, 4)])
    assert records.find(config, 4, "sm_90a") is not None
    assert records.find(dataclasses.replace(config, **other), 4, "sm_90a") is None
    assert records.find(config, 64, "sm_90a") is None
    assert records.find(for_gpu("sorted"), 4, "sm_90a") is None
    assert len(Records([record_of(c, 4) for c in (config, dataclasses.replace(config, **other))])) == 2


def experts_of(**options):
    fields = {**FIELDS, "top_k": 2, "target": "sm_90a", **options}
    with torch.device("meta"):
        return Experts(
            ExpertsLinear(4, 64, 256, activation="silu_mul", **fields),
            ExpertsLinear(4, 128, 64, D_rows="tokens", **fields),
        )


def test_experts_follow_records(tmp_path, monkeypatch):
    """Both forms of both products take what was tuned for them."""
    layers = experts_of(opt_M=(16,))
    kernels = [k for layer in (layers.gate_up, layers.down) for k in layer.needed_kernels(())]
    assert [(k.config.routing, k.config.activation) for k in kernels] == [
        ("sorted", "silu_mul"), ("indexed", "silu_mul"), ("sorted", None), ("indexed", None),
    ]  # fmt: skip
    # Another hint for each, none of which is a default.
    wanted = {k.config.key(): second_hint(k.config, 16) for k in kernels}
    save_records([record_of(k.config, 16, *wanted[k.config.key()]) for k in kernels], tmp_path)
    monkeypatch.setenv("BITQUANT_SCHEDULES", str(tmp_path))
    for each in kernels:
        choice = each.build("cuda").choices[16]
        assert (choice.rule, choice.hint) == wanted[each.config.key()]
        assert choice.origin.startswith("record")


def second_hint(config, rung):
    """Name of the rule, and fields of the second hint in order."""
    problem = Problem(config, rung, SM90, preferred_layout(config, SM90))
    rule, hint = list(itertools.islice(ranking.ordered(problem, default_rules(config.operation)), 2))[1]
    return rule.name, hint.to_dict()


@pytest.mark.thorough
def test_a_loaded_model_follows_records(tmp_path, monkeypatch):
    """Experts that `load_model` makes are served by records of their problems, with the ladders that they have."""
    quantized(make_model("mixtral"), W_dtype="uint4", opt_M=None).save_pretrained(tmp_path / "model")
    found = [p.config for p in model_problems(tmp_path / "model", {}) if isinstance(p.config, bq.GroupedMatmulConfig)]
    assert len(found) == 4
    save_records([record_of(config, 16, *second_hint(config, 16)) for config in found], tmp_path / "records")
    monkeypatch.setenv("BITQUANT_SCHEDULES", str(tmp_path / "records"))
    loaded = bq.load_model(tmp_path / "model", device="cpu")
    made = next(m for m in loaded.modules() if isinstance(m, Experts))
    for layer in (made.gate_up, made.down):
        for each in layer.needed_kernels(()):
            planned = plan(each.config, SM90, preferred_layout(each.config, SM90))
            assert planned.planned[16].origin.startswith(f"record {tmp_path}"), planned.refusals


# Whose files they are, and checks of weights.


def test_operators_of_other_operations_are_refused(tmp_path):
    """A file is loaded by the class of its operation, or by Operator."""
    operator = make("both")
    operator.export(tmp_path / "grouped.bqk")
    with pytest.raises(
        bq.BuildError, match=r"holds a grouped_matmul, which Matmul does not call; use GroupedMatmul\.load"
    ):
        bq.Matmul.load(tmp_path / "grouped.bqk")
    one = bq.Matmul(bq.MatmulConfig(M=1, N=32, K=64, W_dtype="uint4"), target="cpu")
    one.export(tmp_path / "one.bqk")
    with pytest.raises(bq.BuildError, match=r"holds a matmul, which GroupedMatmul does not call; use Matmul\.load"):
        bq.GroupedMatmul.load(tmp_path / "one.bqk")
    assert type(bq.Matmul.load(tmp_path / "one.bqk")) is bq.Matmul
    assert isinstance(bq.Operator.load(tmp_path / "grouped.bqk"), bq.Operator)


@pytest.mark.parametrize("zeros_mode", ["original", "quantized"])
def test_weights_of_other_numbers_of_experts_are_refused(zeros_mode):
    """Shapes are those of all experts, whichever way weights and zero points go."""
    operator = make(zeros_mode=zeros_mode, N=22)
    packed = torch.zeros(operator.retrieve_weight_shape(), dtype=torch.int8)
    assert operator.restore_weight(packed).shape == (4, 22, 72)
    for wrong in (packed[:3], packed[0], packed[:, :, 1:]):
        with pytest.raises(bq.ConfigError, match=r"'qweight' must be a tensor of shape .* = \(4, 22, 36\) \(got"):
            operator.restore_weight(wrong)
    shape = (4, 3, 22) if zeros_mode == "quantized" else (4, 22, 3)
    zeros = torch.zeros(shape, dtype=torch.int8 if zeros_mode == "quantized" else torch.float16)
    assert operator.transform_zeros(zeros).shape[0] == 4
    for wrong in (zeros[:3], zeros[0], zeros.transpose(1, 2), torch.cat([zeros, zeros])):
        with pytest.raises(bq.ConfigError, match=r"'zeros' must be a tensor of shape \(E, .*\(got"):
            operator.transform_zeros(wrong)


def test_reports_for_gpus_leave_out_rules_for_cpus():
    """As for `Matmul`: what never runs there has not to be refused."""
    refusals = bq.GroupedMatmul(for_gpu("sorted", M=4), target="sm_90a").choices[4].refusals
    assert "grouped_cpu" not in refusals
