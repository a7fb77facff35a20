# SPDX-License-Identifier: Apache-2.0
"""Tuning grouped products on the GPU: what is measured, what wins, and layers of experts that follow it."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

import bitquant as bq
from bitquant.arch import default_target, target_gpu
from bitquant.cli.app import cli
from bitquant.nn import Experts, ExpertsLinear
from bitquant.operator.report import floor_us
from bitquant.problem import Problem
from bitquant.profiling import MIN_ROUTINGS, random_operands, rotating_operands
from bitquant.schedule import Plan, Planned, preferred_layout, ranking
from bitquant.schedule.rules import all_rules
from bitquant.testing.grouped import check_grouped_call
from bitquant.tune import tune
from bitquant.tune.measure import Workbench, clock_for
from tests.unit.test_experts import difference
from tests.unit.test_grouped import FORMS

FIELDS = {"W_dtype": "uint4", "group_size": 32, "with_scaling": True, "with_zeros": True, "accum_dtype": "float32"}
CUDA = torch.device("cuda")


def config_of(form, **fields):
    sizes = {"num_experts": 16, "N": 512, "K": 256, "M": (4, 64)}
    return bq.GroupedMatmulConfig(**{**sizes, **FIELDS, **FORMS[form], **fields})


@pytest.mark.parametrize("form", FORMS)
def test_default_kernels_pass_the_check_of_tuning(form):
    """Every rung's kernel is right for the calls that candidates are checked by, and has a time."""
    operator = bq.GroupedMatmul(config_of(form), target="cuda")
    for rung in operator.config.ladder:
        bench = Workbench(operator.config, operator.weight_layout, rung, CUDA)
        assert bench.check(operator.kernel_for(rung)) == ""


@pytest.mark.parametrize("form", ["sorted", "gather", "reduce"])
def test_an_operator_is_tuned(form, tmp_path):
    """Each rung's winner is no slower than the default beside it, right, kept as a record, and used from then on."""
    operator = bq.GroupedMatmul(config_of(form), target="cuda", records=())
    result = operator.hardware_aware_finetune(topk=8)
    assert sorted(result.best) == [4, 64]
    assert not [trial for trial in result.complaints if trial.status == "wrong"]  # Some may spill.
    for rung, best in result.best.items():
        assert best.is_final
        assert best.latency_us <= 1.02 * result.before(rung).latency_us
        assert best.latency_us > result.floor_us(rung) / 2
    for m in (1, 4, 33, 64, 131):
        check_grouped_call(operator, m, "cuda", routing="zipf")
    result.write_record(tmp_path)
    again = bq.GroupedMatmul(operator.config, target="cuda", records=tmp_path)
    for rung, best in result.best.items():
        assert (again.choices[rung].rule, again.choices[rung].hint) == (
            best.candidate.rule.name, best.candidate.hint.to_dict(),
        )  # fmt: skip
        assert again.choices[rung].origin.startswith("record")


def test_times_are_of_experts_in_memory():
    """A call reads the weights that it meets from memory, whose bandwidth bounds it; the graph has several routings."""
    config = config_of("gather", num_experts=64, N=4096, K=2048, M=8, group_size=128)
    operator = bq.GroupedMatmul(config, target="cuda")
    calls = rotating_operands(config, random_operands(operator, 8, CUDA), 8)
    assert len(calls) >= MIN_ROUTINGS
    assert len({call["expert_ids"].cpu().numpy().tobytes() for call in calls}) == len(calls)
    floor = floor_us(config, 8, target_gpu(operator.target), is_uniform=True)
    latency = operator.profile_latency(8)
    # The data sheet's bandwidth is never reached; a kernel that found weights in the cache would be faster.
    assert floor < latency < 4 * floor


def test_bench_times_experts(tmp_path):
    """Results are right, and no faster than the kernel that reads as many bytes."""
    path = tmp_path / "bench.json"
    arguments = ["--num_experts", "64", "--routing", "indexed", "--top_k", "2", "--shapes", "4096x2048", "--m", "1,8"]
    formats = ["--formats", "uint4-g128-zeros,bfloat16:int4-g128"]
    result = CliRunner().invoke(cli, ["bench", *arguments, *formats, "--json", str(path), "--target-ms", "2"])
    assert result.exit_code == 0, result.output
    cells = json.loads(path.read_text())["cells"]
    assert len(cells) == 4
    for cell in cells:
        assert cell["ours"]["error"] <= cell["ours"]["bound"]
        assert cell["ours"]["latency_us"] > 0.8 * cell["floor"]["latency_us"]


def test_a_kernel_with_another_routing_is_wrong():
    """Right kernels with offsets, or experts, that were not given are found on the GPU, too."""
    operator = bq.GroupedMatmul(config_of("gather"), target="cuda")
    bench = Workbench(operator.config, operator.weight_layout, 64, CUDA)
    kernel = operator.kernel_for(64)

    def faulty(*operands):
        *given, ids, D = operands
        kernel(*given, (ids + 1) % 16, D)

    assert "relative error" in bench.check(faulty)


def test_experts_follow_what_was_tuned(tmp_path, monkeypatch):
    """A layer's both forms are served by records, and compute what they should."""
    fields = {**FIELDS, "opt_M": (16,), "top_k": 2}
    torch.manual_seed(0)

    def layers():
        up = ExpertsLinear(8, 64, 256, activation="silu_mul", **fields)
        return Experts(up, ExpertsLinear(8, 128, 64, D_rows="tokens", **fields))

    configs = [k.config for layer in (layers().gate_up, layers().down) for k in layer.needed_kernels(())]
    target, wanted = default_target(), {}
    for config in configs:
        layout = preferred_layout(config, target)
        ordered = ranking.ordered(Problem(config, 16, target, layout), all_rules())
        (_, _), (rule, hint) = next(ordered), next(ordered)  # Not the default.
        operator = bq.GroupedMatmul(config, records=Plan({16: Planned(rule.name, hint.to_dict(), "tuned")}))
        result = tune(operator, topk=1, workers=0, clock=clock_for(CUDA))
        assert not result.complaints
        result.write_record(tmp_path)
        wanted[config.key()] = rule.name, hint.to_dict()
    monkeypatch.setenv("BITQUANT_SCHEDULES", str(tmp_path))
    made = layers()
    generator = torch.Generator().manual_seed(0)
    for layer in (made.gate_up, made.down):
        for e in range(8):
            shape = (layer.out_features, layer.in_features)
            groups = (shape[0], shape[1] // 32)
            layer.load_expert(
                e,
                torch.randint(0, 16, shape, dtype=torch.int8, generator=generator),
                torch.rand(groups, generator=generator).half() / 32,
                zeros=(torch.rand(groups, generator=generator) * 15).half(),
            )
    made.cuda()
    for layer in (made.gate_up, made.down):
        for each in layer.needed_kernels(()):
            each.prepare("cuda")
            choice = each.operators["cuda"].choices[16]
            assert (choice.rule, choice.hint) == wanted[each.config.key()]
            assert choice.origin.startswith("record")
    for tokens in (3, 60):  # Indexed, and sorted.
        x = torch.randn(tokens, 64, generator=generator).half()
        weights, index = torch.rand(tokens, 8, generator=generator).softmax(-1).topk(2)
        got = made(x.cuda(), index.cuda(), weights.cuda()).cpu()
        plain = _plain(made, x, index, weights)
        assert difference(got, plain) <= 4e-3


def _plain(made, x, index, weights):
    """The layer in float64."""
    up, down = (
        [layer.dequantize_expert(e, torch.float32).cpu().double() for e in range(8)]
        for layer in (made.gate_up, made.down)
    )
    result = torch.zeros(len(x), 64, dtype=torch.float64)
    for t, (row, ids, factors) in enumerate(zip(x.double(), index, weights.double(), strict=True)):
        for e, factor in zip(ids.tolist(), factors, strict=True):
            h = up[e] @ row
            result[t] += factor * (down[e] @ (torch.nn.functional.silu(h[0::2]) * h[1::2]))
    return result
