"""Random legal problems and hints for every rule of a GPU, as an adversary would call them.

Each case draws a problem that a rule takes, and a hint from the whole of its space, and calls the kernel with
operands that stand between guards: NaN, or other bytes, before and after each. The result is compared with the float64
oracle, no guard may have changed, and with other bytes in the guards the result must have the same bits: what is read
out of bounds would show. Then the same call on a stream of its own, as the replay of a graph, right behind a kernel
that writes A, and on a second GPU where there is one.

BITQUANT_FUZZ=20 draws 20 times as many. For a sample under NVIDIA's tool::

    compute-sanitizer --error-exitcode 1 python -m pytest -q tests/gpu/test_fuzz.py -k "seed0-"
"""

from __future__ import annotations

import math
import os
from random import Random
from typing import Any

import pytest
import torch

import bitquant as bq
from bitquant import packing
from bitquant.arch import resolve_target
from bitquant.layouts import to_layout
from bitquant.schedule import Plan, Planned
from bitquant.schedule.apply import preferred_layout, refusal
from bitquant.schedule.rules import default_rules
from bitquant.testing import generators
from bitquant.testing.generators import make_inputs
from bitquant.testing.hints import random_hint
from bitquant.testing.oracle import assert_close

FACTOR = int(os.environ.get("BITQUANT_FUZZ", "1"))
#: Cases a rule.
CASES = 10 * FACTOR
RULES = {rule.name: rule for rule in default_rules() if rule.name != "cpu"}
#: Bytes before and after an operand. They keep it aligned as a whole tensor is.
GUARD_BYTES = 4096
#: What guards hold, one after the other: NaN in every float format, the least integers, zeros.
GUARDS = (0xFF, 0x80, 0x00)
#: Draws that a rule may refuse before the test gives up.
TRIES = 3000


def draw_config(random: Random, rule_name: str) -> bq.MatmulConfig:
    """Return a legal problem; sizes are often those of tiles, and often ragged."""
    W_dtypes = ("float16", "bfloat16") if rule_name == "wgmma_dense" else generators.formats()
    while True:
        W = random.choice(W_dtypes)
        A = random.choice(generators.legal_activations(W))
        zeros_mode = random.choice(generators.legal_zeros_modes(W))
        step = generators.packing_step(W)
        N_step = step if zeros_mode == "quantized" else 1
        K = random.choice(
            (step * random.randint(1, 1500 // step), 64 * random.randint(1, 40), 256 * random.randint(1, 16))
        )
        groups = [g for g in (16, 32, 64, 128, 256, *range(1, 65)) if K % g == 0]
        rung = 1 if rule_name == "gemv" else random.choice((1, 2, 7, 16, 17, 33, 64, 100, 128, 256))
        others = [r for r in (1, 16, 64, 512) if r != rung]
        fields: dict[str, Any] = {
            "M": random.choice((rung, (rung,), tuple({rung, *random.sample(others, 2)}))),
            "N": N_step
            * random.choice((random.randint(1, 700 // N_step), max(1, 64 * random.randint(1, 12) // N_step))),
            "K": K,
            "A_dtype": A,
            "W_dtype": W,
            "out_dtype": random.choice(("float16", "bfloat16", "float32", "int32", "int8")),
            "layout": random.choice(generators.legal_layouts(W, A)),
            "with_bias": random.random() < 0.3,
            "group_size": random.choice((-1, random.choice(groups or [-1]))),
            "with_scaling": random.random() < 0.6,
            "with_zeros": zeros_mode is not None and random.random() < 0.5,
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


def draw(random: Random, rule_name: str, target: Any) -> tuple[bq.MatmulConfig, int, Plan]:
    """Return a problem, one of its rungs, and the plan that has the rule and a random hint for it."""
    rule = RULES[rule_name]
    for _ in range(TRIES):
        config = draw_config(random, rule_name)
        layout = preferred_layout(config, target)
        fitting = [rung for rung in config.ladder if refusal(rule, config, rung, layout, target) is None]
        if fitting:
            rung = random.choice(fitting)
            hint = rule.default_hint(config, rung, target)
            if random.random() < 0.7:
                hint = random_hint(rule, config, rung, target, random)
            return config, rung, Plan({rung: Planned(rule_name, hint.to_dict(), "fuzz")})
    pytest.skip(f"no problem of {TRIES} is for {rule_name} on {target.arch}")


class Guarded:
    """Tensors between guards, which can be looked at and filled anew.

    Parameters
    ----------
    device
        Where the tensors stand.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffers: list[tuple[torch.Tensor, int]] = []
        self.fill(GUARDS[0])

    def place(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a copy of a tensor, between guards."""
        whole = tensor.contiguous()
        size = whole.numel() * whole.element_size()
        buffer = torch.full((size + 2 * GUARD_BYTES,), self._byte, dtype=torch.uint8, device=self._device)
        inside = buffer[GUARD_BYTES : GUARD_BYTES + size].view(whole.dtype).view(whole.shape)
        inside.copy_(whole)
        self._buffers.append((buffer, size))
        return inside

    def fill(self, byte: int) -> None:
        """Fill all guards with a byte."""
        self._byte = byte
        for buffer, size in self._buffers:
            buffer[:GUARD_BYTES] = byte
            buffer[GUARD_BYTES + size :] = byte

    def check(self) -> None:
        """Raise where a guard has changed."""
        for buffer, size in self._buffers:
            for part in (buffer[:GUARD_BYTES], buffer[GUARD_BYTES + size :]):
                assert bool((part == self._byte).all()), "a kernel wrote outside of its output"


def rows_of(random: Random, config: bq.MatmulConfig, rung: int) -> list[int]:
    """Return numbers of rows that the function of a rung serves: its own, one fewer, and any."""
    if config.is_static:
        return [rung]
    least = max((r for r in config.ladder if r < rung), default=0) + 1
    most = rung if rung < config.ladder[-1] else rung + 50
    return sorted({rung, max(least, rung - 1), random.randint(least, most)})


def check_problem(random: Random, operator: bq.Matmul, m: int, device: torch.device) -> None:
    """Call an operator in every way there is, with guards around each operand."""
    config = operator.config
    inputs = make_inputs(config, m, device, seed=random.getrandbits(30))
    guarded = Guarded(device)
    W = to_layout(packing.pack(inputs.W, config), config, operator.weight_layout)
    A, W = guarded.place(inputs.A), guarded.place(W)
    optional = {name: guarded.place(tensor) for name, tensor in inputs.optional.items()}
    output = guarded.place(torch.zeros(m, config.N, dtype=config.out_format.torch_dtype, device=device))

    def result() -> torch.Tensor:
        torch.cuda.synchronize(device)
        guarded.check()
        found = output.clone()
        poison()
        return found

    def poison() -> None:
        output.view(torch.uint8).fill_(0xFF if output.is_floating_point() else 0x80)
        torch.cuda.synchronize(device)

    poison()
    operator(A, W, **optional, output=output)
    first = result()
    assert_close(first.cpu(), inputs.reference(config), config)

    def same(what: str) -> None:
        assert torch.equal(result().view(torch.uint8), first.view(torch.uint8)), f"{what} changes the result"

    for byte in GUARDS[1:]:
        guarded.fill(byte)
        operator(A, W, **optional, output=output)
        same(f"what stands beside the operands ({byte:#x})")

    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        operator(A, W, **optional, output=output)
    same("a stream")

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        operator(A, W, **optional, output=output)
    for _ in range(3):
        graph.replay()
    same("a graph")

    # The kernel before writes A, and with it the scales of its rows, and the call does not wait on the host.
    right = {"A": A.clone(), **{name: tensor.clone() for name, tensor in optional.items()}}
    written = {"A": A, **{name: optional[name] for name in ("activation_scale",) if name in optional}}
    for tensor in written.values():
        tensor.view(torch.uint8).fill_(0xFF)
    torch.cuda.synchronize(device)
    for name, tensor in written.items():
        tensor.copy_(right[name])
    operator(A, W, **optional, output=output)
    same("a producer right before")


@pytest.mark.parametrize("seed", range(CASES), ids=lambda seed: f"seed{seed}-")
@pytest.mark.parametrize("rule", RULES)
def test_random_problem(rule: str, seed: int) -> None:
    """A random problem by a rule and a random hint: right, in bounds, and the same bits however it is called."""
    random, target = Random(f"{rule} {seed}"), resolve_target("cuda")
    config, rung, plan = draw(random, rule, target)
    operator = bq.Matmul(config, target="cuda", records=plan)
    assert operator.choices[rung].rule == rule
    devices = [torch.device("cuda", i) for i in range(min(2, torch.cuda.device_count()))]
    for m in rows_of(random, config, rung):
        for device in devices:
            if torch.cuda.get_device_capability(device) == torch.cuda.get_device_capability(devices[0]):
                with torch.cuda.device(device):
                    check_problem(random, operator, m, device)
    assert math.prod(operator.retrieve_weight_shape()) > 0
