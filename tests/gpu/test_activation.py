# SPDX-License-Identifier: Apache-2.0
"""An activation of gate and up in the epilogue of every kernel for a GPU."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import bitquant as bq
from bitquant.arch import detected_cuda_arch
from bitquant.config_rules import ACTIVATIONS
from bitquant.schedule import Plan, Planned
from bitquant.schedule.rules import FallbackRule, GemvRule, MmaRule
from bitquant.testing.check import check_call
from bitquant.testing.grouped import check_grouped_call
from bitquant.testing.kernels import HINTED_ARCH, HINTED_KERNELS
from tests.compile.test_rule_grouped_decode import HINTED, hinted_config, hinted_id
from tests.compile.test_rule_wgmma_experts import HINTS
from tests.unit.test_activation import (
    ROUTINGS,
    assert_special,
    grouped_problems,
    special_operands,
    typed_problems,
)

ROWS = (1, 2, 7, 16, 17, 64, 100, 128, 300)
UINT4 = dict(W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True)


def hinted_kernels():
    """Yield each kernel of the list whose N is even with one of the activations."""
    for i, kernel in enumerate(HINTED_KERNELS):
        if kernel.config.N % 2 == 0:
            config = dataclasses.replace(kernel.config, activation=ACTIVATIONS[i % 3])
            yield dataclasses.replace(kernel, config=config)


@pytest.mark.parametrize("kernel", list(hinted_kernels()), ids=str)
def test_hinted_kernels(kernel):
    """Parts of K over warps, consumers, clusters and stream-K are added before the activation, whatever the tile."""
    if (arch := detected_cuda_arch()) != HINTED_ARCH:
        pytest.skip(f"needs a GPU of {HINTED_ARCH} (got {arch})")
    operator = bq.Matmul(kernel.config, target="cuda", records=[kernel.record])
    (choice,) = operator.choices.values()
    assert (choice.rule, choice.hint, choice.origin) == (kernel.rule, kernel.hint.to_dict(), "record")
    for m in kernel.rows:
        check_call(operator, m, "cuda", seed=m)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("N", "options"),
    [
        (512, dict(with_bias=True)),
        (1000, dict(A_dtype="bfloat16", out_dtype="bfloat16", with_channel_scale=True)),
        (1006, dict(out_dtype="float32", with_activation_scale=True, with_bias=True)),
        (72, dict(out_dtype="int8")),
    ],
    ids=lambda value: value if isinstance(value, int) else "-".join(map(str, value.values())),
)
def test_rows_from_1_to_300(activation, N, options):
    """The default kernels of a ladder, with whole and with ragged tiles of n and every type of the output."""
    config = bq.MatmulConfig(M=(1, 16, 64, 256), N=N, K=1024, activation=activation, **UINT4, **options)
    operator = bq.Matmul(config, target="cuda")
    for m in ROWS:
        check_call(operator, m, "cuda", seed=m)


@pytest.mark.parametrize("config", list(typed_problems()), ids=str)
@pytest.mark.parametrize("fast_decoding", [None, False])
def test_types(config, fast_decoding):
    """Types of A, W and D, in both layouts of the weight."""
    config = dataclasses.replace(config, fast_decoding=fast_decoding)
    check_call(bq.Matmul(config, target="cuda"), config.M, "cuda", seed=config.K)


@pytest.mark.parametrize("rule", [GemvRule(), MmaRule(), FallbackRule()], ids=lambda rule: rule.name)
@pytest.mark.parametrize("N", [2, 34, 514])
def test_rules_of_the_plain_layout(rule, N):
    """Each rule alone; `gemv` serves one row."""
    M = 1 if rule.name == "gemv" else (33,)
    config = bq.MatmulConfig(M=M, N=N, K=256, activation="silu_mul", with_bias=True, fast_decoding=False, **UINT4)
    operator = bq.Matmul(config, target="cuda", rules=(rule,))
    for m in (1,) if M == 1 else (1, 16, 33, 150):
        check_call(operator, m, "cuda", seed=m)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("m", [1, 16])
@pytest.mark.parametrize("A_dtype", ["float32", "float16"])
def test_saturation_infinity_and_nan(activation, m, A_dtype):
    """Gates and ups of every kind, against each other, by the plain kernels and by those for tensor cores."""
    config, A, W, bias = special_operands(activation, m)
    config = dataclasses.replace(config, A_dtype=A_dtype)
    operator = bq.Matmul(config, target="cuda")
    A = A.to(torch.float32 if A_dtype == "float32" else torch.float16).cuda()
    for row in operator(A, operator.transform_weight(W.cuda()), bias=bias.cuda()):
        assert_special(row, activation, bias)


@pytest.mark.parametrize("routing", ROUTINGS, ids=str)
@pytest.mark.parametrize("options", grouped_problems(), ids=lambda options: options["activation"])
def test_experts(routing, options):
    """Grouped products; routing weights multiply what the activation returns, and slots are added after that."""
    config = bq.GroupedMatmulConfig(num_experts=4, N=26, M=(16,), **options, **routing)
    operator = bq.GroupedMatmul(config, target="cuda")
    for m in (1, 7, 30):
        check_grouped_call(operator, m, "cuda", seed=m)


@pytest.mark.parametrize("row", HINTED, ids=hinted_id)
def test_hinted_decode_kernels_of_experts(row):
    """Units of rows and of experts, sums in memory and in clusters: weights multiply after the activation."""
    N, K, fields, hint = row
    config = hinted_config(N, K, fields, activation=ACTIVATIONS[HINTED.index(row) % 3])
    operator = bq.GroupedMatmul(config, target="cuda", records=Plan({16: Planned("grouped_decode", hint, "tuned")}))
    assert operator.choices[16].rule == "grouped_decode"
    for m, routing in ((1, "uniform"), (3, "zipf"), (16, "one"), (64, "uniform")):
        check_grouped_call(operator, m, "cuda", routing=routing)


@pytest.mark.parametrize("hint", HINTS, ids=str)
@pytest.mark.parametrize("activation", ["silu_mul", "clamped_swiglu"])
def test_hinted_wgmma_kernels_of_experts(hint, activation):
    """Sorted rows: tiles that end within an expert's rows, several tiles a block, and stream-K."""
    if (arch := detected_cuda_arch()) != HINTED_ARCH:
        pytest.skip(f"needs a GPU of {HINTED_ARCH} (got {arch})")
    config = bq.GroupedMatmulConfig(5, 1000, 640, **UINT4, with_bias=True, M=(64,), activation=activation)
    planned = Plan({64: Planned("grouped_wgmma", hint.to_dict(), "tuned")})
    operator = bq.GroupedMatmul(config, target="cuda", records=planned)
    for m, routing in ((1, "uniform"), (64, "zipf"), (333, "uniform"), (700, "one")):
        check_grouped_call(operator, m, "cuda", routing=routing)
