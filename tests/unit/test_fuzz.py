# SPDX-License-Identifier: Apache-2.0
"""Random legal problems and hints on a CPU, as an adversary would call them (`tests.fuzz`).

BITQUANT_FUZZ=20 draws 20 times as many.
"""

from __future__ import annotations

import threading
from random import Random

import pytest
import torch

import bitquant as bq
from bitquant.arch import cpu_target
from tests import fuzz

CPU_RULES = [name for name, rule in fuzz.RULES.items() if rule.is_for_cpu]


def check_problem(random, operator, m):
    """Call an operator in several ways; return the call and how near to a bound its result came."""
    call, share = fuzz.first_call(random, operator, m, torch.device("cpu"))
    failures = []

    def in_a_thread():
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shall show it
            failures.append(error)

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert failures == []
    call.same("another thread")
    operands = {**call.operands, "A": call.operands["A"].view(m, 1, operator.config.K)}
    if "activation_scale" in operands:
        operands["activation_scale"] = operands["activation_scale"].view(m, 1, 1)
    call.output.copy_(operator(**operands).view(m, operator.config.N))
    call.calls += 1
    call.same("a further dimension")
    return call, share


@pytest.mark.parametrize("seed", range(12 * fuzz.FACTOR))
@pytest.mark.sample(shows=lambda seed: {seed % len(CPU_RULES)})
def test_random_problem(seed, record_property, monkeypatch):
    """A random problem by a random hint: right, in bounds, and the same bits however it is called."""
    monkeypatch.setenv("BITQUANT_CACHE", "0")
    random, target = Random(f"cpu {seed}"), cpu_target()
    names, drawn = CPU_RULES, None
    while drawn is None:  # A rule refuses everything where the CPU lacks its instructions.
        drawn = fuzz.draw(random, names[(seed + len(names) - 1) % len(names)], target)
        names = names[1:] if drawn is None else names
    config, rung, plan = drawn
    operator = bq.Matmul(config, target="cpu", records=plan)
    tally = fuzz.tally(plan, config, rung, target)
    for m in fuzz.rows_of(random, config, rung):
        tally.add(*check_problem(random, operator, m))
    record_property(fuzz.PROPERTY, tally.to_text())
