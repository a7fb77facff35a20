# SPDX-License-Identifier: Apache-2.0
"""Hints of strangers: whatever a field holds, a rule refuses it in its own words, or makes a kernel that is right.

BITQUANT_FUZZ=20 draws 20 times as many.
"""

from __future__ import annotations

import dataclasses
import time
from random import Random

import pytest
from tvm.target import Target

import bitquant as bq
from bitquant.arch import cpu_target, cuda_target
from bitquant.compute.matmul import matmul_dequantize_b
from bitquant.problem import Problem
from bitquant.schedule import Plan, Planned
from bitquant.schedule.apply import schedule_with
from bitquant.schedule.rules import default_rules
from bitquant.schedule.tuned import read_hint
from bitquant.testing.check import check_call
from bitquant.testing.hints import WILD, legal_values, random_hint, wild_hint
from tests import fuzz

RULES = {rule.name: rule for rule in default_rules()}
#: Longest time to refuse a hint or to schedule with it, on a busy machine; an endless loop takes longer.
TIME_LIMIT_S = 30

ZEROS = {"with_scaling": True, "with_zeros": True}
PLAIN = {"fast_decoding": False}
BFLOAT16 = {"A_dtype": "bfloat16", "N": 33, "K": 512}
#: A few problems a rule, small and ragged, with what it may trip over.
PROBLEMS = {
    "cpu_float32": [
        (bq.MatmulConfig(M=(1, 16), N=33, K=256, W_dtype="uint4", group_size=64, **ZEROS), "cpu"),
        (bq.MatmulConfig(M=(1, 40), N=32, K=512, W_dtype="nf4", with_bias=True), "cpu"),
    ],
    "cpu_bfloat16": [
        (
            bq.MatmulConfig(M=(1, 16), N=33, K=512, A_dtype="bfloat16", W_dtype="uint4", group_size=128, **ZEROS),
            "znver4",
        ),
        (bq.MatmulConfig(M=(1, 40), N=32, K=512, A_dtype="bfloat16", W_dtype="int2"), "znver4"),
    ],
    "cpu_int8": [
        (bq.MatmulConfig(M=(1, 16), N=33, K=512, A_dtype="int8", W_dtype="int2", out_dtype="int32"), "cpu"),
        (bq.MatmulConfig(M=(1, 40), N=32, K=512, A_dtype="int8", W_dtype="uint4", group_size=128, **ZEROS), "cpu"),
    ],
    "cpu": [
        (bq.MatmulConfig(M=(1, 16), N=33, K=136, W_dtype="uint3", with_bias=True), "cpu"),
        (bq.MatmulConfig(M=(1, 16), N=32, K=256, W_dtype="nf4", group_size=64, **ZEROS), "cpu"),
        (bq.MatmulConfig(M=(2, 16), N=40, K=24, A_dtype="int8", W_dtype="uint2", out_dtype="int32"), "cpu"),
        (bq.MatmulConfig(M=(4, 16), N=40, K=24, layout="nn", A_dtype="float32", out_dtype="float32"), "cpu"),
    ],
    "gemv": [
        (bq.MatmulConfig(M=1, N=33, K=512, W_dtype="uint4", group_size=128, **ZEROS, **PLAIN), "sm_80"),
        (bq.MatmulConfig(M=1, N=48, K=256, W_dtype="uint3", **PLAIN), "sm_90a"),
    ],
    "fallback": [
        (bq.MatmulConfig(M=(1, 16), N=33, K=56, W_dtype="uint1", with_bias=True), "sm_75"),
        (bq.MatmulConfig(M=16, N=32, K=128, W_dtype="nf4"), "sm_90a"),
    ],
    "mma": [
        (bq.MatmulConfig(M=64, N=96, K=256, W_dtype="uint4", group_size=64, **ZEROS, **PLAIN), "sm_80"),
        (
            bq.MatmulConfig(M=64, N=64, K=256, A_dtype="int8", W_dtype="int4", group_size=64, with_scaling=True),
            "sm_90a",
        ),
        (bq.MatmulConfig(M=16, N=64, K=128), "sm_75"),
    ],
    "decode": [
        (bq.MatmulConfig(M=(1, 16), N=512, K=1024, W_dtype="uint4", group_size=128, **ZEROS), "sm_90a"),
        (bq.MatmulConfig(M=1, N=256, K=512, W_dtype="int2", group_size=128, with_scaling=True), "sm_80"),
        (bq.MatmulConfig(M=64, N=128, K=512, A_dtype="int8", W_dtype="uint3", out_dtype="int32"), "sm_90a"),
    ],
    "wgmma": [
        (bq.MatmulConfig(M=(64, 256), N=512, K=1024, W_dtype="uint4", group_size=128, **ZEROS), "sm_90a"),
        (bq.MatmulConfig(M=128, N=256, K=1024, A_dtype="int8", W_dtype="int4", with_scaling=True), "sm_90a"),
    ],
    "wgmma_dense": [(bq.MatmulConfig(M=(64, 256), N=512, K=1024), "sm_90a")],
}
#: Architectures that random problems of a rule are compiled for.
ARCHS = {
    "gemv": ("sm_75", "sm_90a"), "fallback": ("sm_75", "sm_90a"), "mma": ("sm_75", "sm_80", "sm_90a"),
    "decode": ("sm_80", "sm_90a", "sm_120a"), "wgmma": ("sm_90a", "sm_90a"), "wgmma_dense": ("sm_90a",),
}  # fmt: skip


def target_of(where):
    """The CPU that is here, one by LLVM's name, or a GPU."""
    if where.startswith("sm_"):
        return cuda_target(where)
    return cpu_target() if where == "cpu" else Target({"kind": "llvm", "mcpu": where})


def functions(name):
    """Each function of a rule's problems: rule, config, rung, layout, target."""
    rule = RULES[name]
    for config, where in PROBLEMS[name]:
        target, layout = target_of(where), rule.weight_layouts[0]
        for rung in config.ladder:
            assert rule.refusal(Problem(config, rung, target, layout)) is None
            yield rule, config, rung, layout, target


def is_legal(field, value):
    rules = field.metadata
    if type(value) is not type(field.default):
        return False
    if "least" in rules:
        return rules["least"] <= value <= rules["most"]
    return value in rules.get("values", (False, True))


def schedule(rule, config, rung, layout, target, hint):
    return schedule_with(matmul_dequantize_b(config, rung, layout=layout), rule, hint, target)


@pytest.mark.parametrize("name", RULES)
def test_every_field_of_a_hint_has_a_range(name):
    """No field takes any int or any string, and the default of each is one of its own values."""
    for f in dataclasses.fields(RULES[name].hint_type):
        assert f.type in ("int", "str", "bool")
        assert f.type == "bool" or {"least", "most"} == f.metadata.keys() or {"values"} == f.metadata.keys()
        assert f.default in legal_values(f)
    assert RULES[name].hint_type().fault() is None


@pytest.mark.parametrize("name", RULES)
def test_hints_of_a_rule_s_own_space_pass(name):
    """What a rule proposes itself is never refused."""
    for rule, config, rung, _, target in functions(name):
        for hint in rule.space(Problem(config, rung, target)):
            rule.checked(Problem(config, rung, target), hint)


@pytest.mark.parametrize("name", RULES)
def test_field_of_a_stranger_is_named(name):
    """Whatever no range holds is refused: by rule, field and value as a ScheduleError, in a record as a RecordError."""
    rule, config, rung, _, target = next(functions(name))
    default = rule.default_hint(Problem(config, rung, target))
    for f in dataclasses.fields(default):
        for value in WILD:
            if is_legal(f, value):
                continue
            with pytest.raises(bq.ScheduleError) as caught:
                rule.checked(Problem(config, rung, target), dataclasses.replace(default, **{f.name: value}))
            for word in (f"{name}: ", f"'{f.name}'", f"{value!r}"[:60]):
                assert word in str(caught.value)
            with pytest.raises(bq.RecordError, match=f"'{f.name}'"):
                read_hint(rule, {**default.to_dict(), f.name: value})


@pytest.mark.parametrize("name", RULES)
def test_plans_of_strangers_are_refused(name):
    """A plan with a field that is none is a RecordError, whatever it holds, before any kernel's key is made of it.

    One value a field, another one each time: `test_every_field_of_a_hint_has_a_range` has all of them.
    """
    rule, config, rung, _, target = next(functions(name))
    default = rule.default_hint(Problem(config, rung, target))

    def make(fields):
        return bq.Matmul(config, target=target, records=Plan({rung: Planned(name, fields, "stranger")}))

    for i, f in enumerate(dataclasses.fields(default)):
        illegal = [value for value in WILD if not is_legal(f, value)]
        with pytest.raises(bq.RecordError, match=f"'{f.name}'"):
            make({**default.to_dict(), f.name: illegal[i % len(illegal)]})


@pytest.mark.parametrize("name", RULES)
def test_hint_of_another_rule_is_refused(name):
    """A rule takes no hint but its own: fields of one name may mean something else."""
    rule, config, rung, layout, target = next(functions(name))
    other = RULES["gemv" if name != "gemv" else "mma"]
    with pytest.raises(bq.ScheduleError, match=f"{name}: the hint must be a {rule.hint_type.__name__}"):
        schedule(rule, config, rung, layout, target, other.hint_type())


@pytest.mark.parametrize("name", RULES)
def test_wild_hints_are_refused_or_right(name):
    """Any mixture of legal and wild fields is refused in bitquant's words or scheduled, and soon."""
    random, found = Random(name), list(functions(name))
    for _ in range(30 * fuzz.FACTOR):
        rule, config, rung, layout, target = random.choice(found)
        hint, start = wild_hint(rule, Problem(config, rung, target), random), time.monotonic()
        try:
            schedule(rule, config, rung, layout, target, hint)
        except bq.ScheduleError as error:
            assert str(error).startswith(f"{name}: ")  # noqa: PT017
            assert len(str(error)) < 2000  # noqa: PT017
        assert time.monotonic() - start < TIME_LIMIT_S, str(hint)


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if not rule.is_for_cpu])
@pytest.mark.thorough
def test_random_problems_compile(name, monkeypatch):
    """What the fuzzer of a GPU draws is a kernel: a hint that passes is lowered and compiled for its architecture."""
    monkeypatch.setenv("BITQUANT_CACHE", "0")
    random = Random(f"compile {name}")
    for arch in ARCHS[name] * fuzz.FACTOR:
        config, rung, plan = fuzz.draw(random, name, cuda_target(arch))
        operator = bq.Matmul(config, target=arch, records=plan)
        assert (operator.choices[rung].rule, operator.choices[rung].origin) == (name, "fuzz")


ON_A_CPU = [(name, config) for name, rule in RULES.items() if rule.is_for_cpu for config, _ in PROBLEMS[name]]


@pytest.mark.parametrize(("name", "config"), ON_A_CPU, ids=str)
@pytest.mark.sample(shows=lambda name, config: {name})
def test_random_hints_are_right_on_the_cpu(name, config):
    """Kernels of random hints agree with the oracle, for few rows and for more than the last rung."""
    random, here, rule = Random(str(config)), cpu_target(), RULES[name]
    if any(rule.refusal(Problem(config, rung, here)) for rung in config.ladder):
        return  # Instructions that this CPU lacks.
    for seed in range(fuzz.FACTOR):
        planned = {
            rung: Planned(name, random_hint(rule, Problem(config, rung, here), random).to_dict(), "drawn")
            for rung in config.ladder
        }
        operator = bq.Matmul(config, target="cpu", records=Plan(planned))
        for m in (1, 3, config.ladder[-1] + 5):
            check_call(operator, m, seed=seed)
