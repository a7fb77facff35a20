# SPDX-License-Identifier: Apache-2.0
"""What the fuzzers share: random legal problems, hints and rows, operands between guards, and what a run has shown.

`tests/unit/test_fuzz.py` calls the rule for a CPU, `tests/gpu/test_fuzz.py` those for a GPU. In the environment
BITQUANT_FUZZ=20 draws 20 times as many problems, and BITQUANT_FUZZ_SUMMARY names a file for the table that
`tests/conftest.py` prints at the end of the run.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

import torch
from tvm.target import Target

import bitquant as bq
from bitquant import packing
from bitquant.problem import Problem
from bitquant.relayout import to_layout
from bitquant.schedule import Plan, Planned
from bitquant.schedule.apply import preferred_layout
from bitquant.schedule.rules import Rule, default_rules
from bitquant.testing import generators
from bitquant.testing.generators import make_inputs
from bitquant.testing.hints import random_hint
from bitquant.testing.oracle import assert_close

#: How many times as many problems as by default.
FACTOR = int(os.environ.get("BITQUANT_FUZZ", "1"))
RULES: dict[str, Rule] = {rule.name: rule for rule in default_rules()}
#: The property of a test under which `Tally.to_text` stands.
PROPERTY = "fuzz"

#: Bytes before and after an operand.
_GUARD_BYTES = 4096
#: What guards hold, one after the other: NaN in every float format, the least integers, zeros.
_GUARDS = (0xFF, 0x80, 0x00)
#: Draws that a rule may refuse before there is none.
_TRIES = 5000


# Problems.


def draw_config(random: Random, rule: str) -> bq.MatmulConfig:
    """Return a legal problem, often one for the rule; sizes are often those of tiles, and often ragged."""
    while True:
        W = random.choice(("float16", "bfloat16") if rule == "wgmma_dense" else generators.formats())
        zeros_mode = random.choice(generators.legal_zeros_modes(W)) if rule != "wgmma_dense" else None
        A = random.choice(generators.legal_activations(W))
        step = generators.packing_step(W)
        N_step = step if zeros_mode == "quantized" else 1
        K = random.choice(
            (step * random.randint(1, 1000 // step), 64 * random.randint(1, 32), 256 * random.randint(1, 12))
        )
        N = random.choice((random.randint(1, 600), 64 * random.randint(1, 10)))
        groups = [g for g in (16, 32, 64, 128, 256, *range(1, 65)) if K % g == 0]
        with_zeros = zeros_mode is not None and random.random() < 0.6
        fields: dict[str, Any] = {
            "M": _draw_M(random, rule),
            "N": max(1, N // N_step) * N_step,
            "K": K,
            "A_dtype": A,
            "W_dtype": W,
            "out_dtype": random.choice(("float16", "bfloat16", "float32", "int32", "int8")),
            "accum_dtype": random.choice(generators.legal_accumulators(A)),
            "layout": random.choice(generators.legal_layouts(W, A)),
            "with_bias": random.random() < 0.3,
            "group_size": random.choice((-1, random.choice(groups))),
            "with_scaling": rule != "wgmma_dense" and random.random() < 0.6,
            "with_zeros": with_zeros,
            "zeros_mode": zeros_mode or "original",
            "fast_decoding": random.choice((None, False)),
            "scale_dtype": random.choice((None, None, "float16", "bfloat16", "float32")),
            "with_activation_scale": random.random() < 0.2,
            "with_channel_scale": random.random() < 0.2,
        }
        try:
            return bq.MatmulConfig(**fields)
        except bq.ConfigError:
            continue


def _draw_M(random: Random, rule: str) -> int | tuple[int, ...]:
    """Return rows: mostly those of one function, whose m is symbolic or fixed."""
    rung = 1 if rule == "gemv" else random.choice((1, 2, 7, 16, 17, 33, 64, 100, 128, 256))
    other = random.choice([r for r in (16, 64, 512) if r != rung])
    kinds = (rung, rung, rung, (rung, other)) if rule == "gemv" else (rung, (rung,), (rung,), (rung,), (rung, other))
    chosen = random.choice(kinds)
    return chosen if isinstance(chosen, int) else tuple(sorted(chosen))


def draw(random: Random, rule_name: str, target: Target) -> tuple[bq.MatmulConfig, int, Plan] | None:
    """Return a problem, one of its rungs, and the plan that has the rule and a hint for it; None where all refuse.

    Three hints of four are from the whole of the rule's space, the others are its default.
    """
    rule = RULES[rule_name]
    for _ in range(_TRIES):
        config = draw_config(random, rule_name)
        layout = preferred_layout(config, target)
        fitting = [rung for rung in config.ladder if rule.refusal(Problem(config, rung, target, layout)) is None]
        if fitting:
            rung = random.choice(fitting)
            hint = rule.default_hint(Problem(config, rung, target))
            if random.random() < 0.75:
                hint = random_hint(rule, Problem(config, rung, target), random)
            return config, rung, Plan({rung: Planned(rule_name, hint.to_dict(), "fuzz")})
    return None


def rows_of(random: Random, config: bq.MatmulConfig, rung: int) -> list[int]:
    """Return numbers of rows that the function of a rung serves: its own, one fewer, and any."""
    if config.is_static:
        return [rung]
    least = max((r for r in config.ladder if r < rung), default=0) + 1
    most = rung if rung < config.ladder[-1] else rung + 50
    return sorted({rung, max(least, rung - 1), random.randint(least, most)})


# Operands.


class Guarded:
    """Tensors between guards, which can be looked at and filled anew.

    Parameters
    ----------
    device
        Where the tensors stand.
    random
        Decides how far past a guard each begins.
    """

    def __init__(self, device: torch.device, random: Random) -> None:
        self._device, self._random = device, random
        self._parts: list[torch.Tensor] = []
        self._byte = _GUARDS[0]

    def place(self, tensor: torch.Tensor, alignment: int) -> torch.Tensor:
        """Return a copy of a tensor between guards, which begins at a multiple of `alignment` bytes."""
        whole = tensor.contiguous()
        unit = max(alignment, whole.element_size())
        size, before = whole.numel() * whole.element_size(), _GUARD_BYTES + unit * self._random.randint(0, 15)
        buffer = torch.full((before + size + _GUARD_BYTES,), self._byte, dtype=torch.uint8, device=self._device)
        inside = buffer[before : before + size].view(whole.dtype).view(whole.shape)
        inside.copy_(whole)
        self._parts += [buffer[:before], buffer[before + size :]]
        return inside

    def others(self) -> Iterator[int]:
        """Fill the guards with one byte after the other, and yield each."""
        for self._byte in _GUARDS[1:]:
            for part in self._parts:
                part.fill_(self._byte)
            yield self._byte

    def check(self) -> None:
        """Raise where a guard has changed."""
        changed = sum((part != self._byte).sum() for part in self._parts)
        assert int(changed) == 0, "a kernel wrote outside of its output"


@dataclasses.dataclass
class Call:
    """A call whose result is known: operands and output between guards.

    Attributes
    ----------
    operator
        What is called.
    guarded
        The guards.
    operands
        By the names of `Operator.forward`, without `output`.
    output
        Where it writes.
    first
        The result of the first call.
    calls
        How often it was called.
    """

    operator: bq.Matmul
    guarded: Guarded
    operands: dict[str, torch.Tensor]
    output: torch.Tensor
    first: torch.Tensor
    calls: int = 0

    def __call__(self) -> None:
        """Compute; the output holds NaN, or the least integers, until then."""
        self.operator(**self.operands, output=self.output)
        self.calls += 1

    def spoil(self, *names: str) -> None:
        """Fill the output, or these operands, with what no right result comes from."""
        tensors = [self.operands[name] for name in names] if names else [self.output]
        for tensor in tensors:
            tensor.view(torch.uint8).fill_(0xFF if tensor.is_floating_point() or names else 0x80)
        self.wait()

    def wait(self) -> None:
        """Wait for the device."""
        if self.output.is_cuda:
            torch.cuda.synchronize(self.output.device)

    def same(self, what: str) -> None:
        """Raise where the output, or a guard, is another one than after the first call; spoil it for the next."""
        self.wait()
        self.guarded.check()
        assert torch.equal(self.output.view(torch.uint8), self.first.view(torch.uint8)), f"{what} changes the result"
        self.spoil()


def first_call(random: Random, operator: bq.Matmul, m: int, device: torch.device) -> tuple[Call, float]:
    """Return a call of random operands, and how near to a bound its result came.

    It is made three times: with other bytes beside the operands the result must have the same bits, so that what is
    read out of bounds shows.
    """
    config, expected = operator.config, operator.signature.expected
    inputs = make_inputs(config, m, device, seed=random.getrandbits(30))
    guarded = Guarded(device, random)
    W = to_layout(packing.pack(inputs.W, config), config, operator.weight_layout)
    is_gpu = device.type == "cuda"
    operands = {
        name: guarded.place(tensor, expected[name].alignment if is_gpu else 1)
        for name, tensor in {"A": inputs.A, "W": W, **inputs.optional}.items()
    }
    out = torch.zeros(m, config.N, dtype=config.out_format.torch_dtype, device=device)
    output = guarded.place(out, expected["output"].alignment if is_gpu else 1)
    call = Call(operator, guarded, operands, output, out)
    call.spoil()
    call()
    call.wait()
    guarded.check()
    call.first = output.clone()
    call.spoil()
    share = assert_close(call.first.cpu(), inputs.reference(config), config)
    for byte in guarded.others():
        call()
        call.same(f"what stands beside the operands ({byte:#x})")
    return call, share


# What a run has shown.


@dataclasses.dataclass
class Tally:
    """What one test has shown of one problem."""

    rule: str
    hint: str
    is_default_hint: bool
    calls: int = 0
    elements: int = 0
    share: float = 0.0

    def add(self, call: Call, share: float) -> None:
        """Count a call in all its ways."""
        self.calls += call.calls
        self.elements += call.output.numel()
        self.share = max(self.share, share)

    def to_text(self) -> str:
        """Return it as JSON."""
        return json.dumps(dataclasses.asdict(self))


def tally(plan: Plan, config: bq.MatmulConfig, rung: int, target: Target) -> Tally:
    """Return an empty `Tally` of a problem."""
    planned = plan.planned[rung]
    default = RULES[planned.rule].default_hint(Problem(config, rung, target)).to_dict()
    return Tally(planned.rule, json.dumps(planned.hint, sort_keys=True), planned.hint == default)


def summary(texts: Iterable[str]) -> list[str]:
    """Return the lines of a table: by rule, problems, hints, calls, elements, and the worst share of a bound."""
    by_rule: dict[str, list[Tally]] = defaultdict(list)
    for text in texts:
        found = Tally(**json.loads(text))
        by_rule[found.rule].append(found)
    if not by_rule:
        return []
    rows = [(name, found) for name, found in sorted(by_rule.items())]
    rows.append(("all", [t for found in by_rule.values() for t in found]))
    lines = [f"{'rule':12} problems  hints  not default    calls    elements  worst share"]
    for name, found in rows:
        hints = {(t.rule, t.hint) for t in found}
        other = {(t.rule, t.hint) for t in found if not t.is_default_hint}
        calls, elements = sum(t.calls for t in found), sum(t.elements for t in found)
        counts = f"{len(found):8}  {len(hints):5}  {len(other):11}  {calls:7}  {elements:10}"
        lines.append(f"{name:12} {counts}  {max(t.share for t in found):11.3f}")
    return lines
