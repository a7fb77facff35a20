# SPDX-License-Identifier: Apache-2.0
"""The list of kernels with given hints: legal, taken by an operator, and compiled."""

from __future__ import annotations

import pytest

import bitquant as bq
from bitquant.arch import cuda_target
from bitquant.errors import ScheduleError
from bitquant.problem import Problem
from bitquant.schedule.apply import preferred_layout
from bitquant.schedule.rules import default_rules
from bitquant.testing.kernels import HINTED_ARCH, HINTED_KERNELS, HintedKernel

RULES = {rule.name: rule for rule in default_rules()}
TARGET = cuda_target(HINTED_ARCH)


@pytest.mark.parametrize("kernel", HINTED_KERNELS, ids=str)
def test_hints_of_the_list_are_legal(kernel: HintedKernel) -> None:
    """The rule takes the problem in the layout that an operator chooses, and the hint's sizes fit it."""
    config, hint, rule = kernel.config, kernel.hint, RULES[kernel.rule]
    (rung,) = config.ladder
    assert rule.refuses(Problem(config, rung, TARGET)) is None
    assert preferred_layout(config, TARGET) in rule.weight_layouts
    assert rule.fault(Problem(config, rung, TARGET), hint) is None
    assert rung in kernel.rows or not config.is_static


@pytest.mark.thorough
def test_list_has_no_kernel_twice_and_no_default() -> None:
    """Names tell the kernels apart, and none is what its rule takes by itself."""
    assert len({str(kernel) for kernel in HINTED_KERNELS}) == len(HINTED_KERNELS)
    for kernel in HINTED_KERNELS:
        (rung,) = kernel.config.ladder
        assert kernel.hint != RULES[kernel.rule].default_hint(Problem(kernel.config, rung, TARGET))


@pytest.mark.parametrize("kernel", HINTED_KERNELS[4::16], ids=str)
def test_an_operator_builds_the_kernel_of_a_hint(kernel: HintedKernel) -> None:
    """The record of a hint is used: its kernel is compiled, without spills, in place of the default."""
    operator = bq.Operator(kernel.config, target=HINTED_ARCH, records=[kernel.record])
    (choice,) = operator.choices.values()
    assert (choice.rule, choice.hint, choice.origin) == (kernel.rule, kernel.hint.to_dict(), "record")
    assert not choice.refusals
    (resources,) = operator._archive.resources.values()
    assert resources.spill_bytes == 0


def test_a_hint_of_another_rule_does_not_fit() -> None:
    """The message names the class that the rule wants; nothing fails within the rule."""
    kernel = HINTED_KERNELS[0]
    (rung,) = kernel.config.ladder
    other = next(rule for rule in RULES.values() if rule.hint_type is not type(kernel.hint))
    problem = Problem(kernel.config, rung, TARGET)
    assert other.fault(problem, kernel.hint).startswith(f"needs a {other.hint_type.__name__} (got ")


def test_rules_of_an_unknown_operation_are_refused() -> None:
    """A misspelt operation is an error, and not the rules of another one."""
    with pytest.raises(ScheduleError, match="'operation' must be 'matmul' or 'grouped_matmul' \\(got 'grouped'\\)"):
        default_rules("grouped")
