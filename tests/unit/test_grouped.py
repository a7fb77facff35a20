# SPDX-License-Identifier: Apache-2.0
"""Grouped products on the CPU: each row by the weight of its expert, against float64; calls, and what torch does."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re

import numpy as np
import pytest
import torch
import tvm
from click.testing import CliRunner

import bitquant as bq
from bitquant.cli.inspect import inspect
from bitquant.compute import select_implementation
from bitquant.formats import number_format
from bitquant.grouped_config import config_from_problem
from bitquant.grouped_inputs import draw_grouped_inputs
from bitquant.operands import GROUPED_OPERANDS
from bitquant.operator import core
from bitquant.schedule.records import Record, save_records
from bitquant.schedule.rules import GroupedFallbackRule
from bitquant.testing.generators import case_id, cases
from bitquant.testing.grouped import check_grouped_call, grouped_oracle
from bitquant.testing.oracle import assert_close

#: The forms of a call: routing, and what rows of A and D go by.
FORMS = {
    "sorted": {},
    "gather": {"routing": "indexed", "top_k": 2},
    "reduce": {
        "routing": "indexed", "top_k": 3, "A_rows": "slots", "D_rows": "tokens", "with_routing_weights": True,
    },
    "both": {"routing": "indexed", "top_k": 2, "D_rows": "tokens"},
    "slots": {"routing": "indexed", "top_k": 1, "A_rows": "slots", "with_routing_weights": True},
}  # fmt: skip
NAMES = [o.argument for o in GROUPED_OPERANDS[:-1]]
FIELDS = {"W_dtype": "uint4", "group_size": 24, "with_scaling": True, "with_zeros": True, "with_bias": True}


def make(form="sorted", **fields):
    """An operator for a CPU."""
    config = bq.GroupedMatmulConfig(
        **{"num_experts": 4, "N": 21, "K": 72, "M": (1, 16), **FIELDS, **FORMS[form], **fields}
    )
    return bq.GroupedMatmul(config, target="cpu")


def operands(operator, m, **options):
    """Operands by their names, and the result in float64."""
    generator = torch.Generator().manual_seed(3)
    inputs = draw_grouped_inputs(operator.config, m, generator, **options)
    return inputs.stored(operator.weight_layout), grouped_oracle(operator.config, inputs)


def _grouped_cases():
    """Problems of all formats as grouped ones, each in one form."""
    own = {f.name for f in dataclasses.fields(bq.GroupedMatmulConfig)}
    found = []
    for i, one in enumerate(c for c in cases("cover", stride=3) if c.layout == "nt" and c.N < 200):
        fields = {k: v for k, v in one.to_dict().items() if k in own}
        found.append(
            bq.GroupedMatmulConfig(num_experts=3, **{**fields, "M": (1, 16), **list(FORMS.values())[i % len(FORMS)]})
        )
    return found


GROUPED = _grouped_cases()


@pytest.mark.parametrize("config", GROUPED, ids=lambda c: f"{c.routing}-{case_id(c.matmul)}")
@pytest.mark.sample(
    shows=lambda config: {
        ("W", config.W_format.name), ("A", config.A_format.name), ("out", config.out_format.name),
        ("rows", config.routing, config.A_rows, config.D_rows),
    }
)  # fmt: skip
def test_results(config):
    """Every format, in every form of a call, is within the tolerance of one expert's product."""
    operator = bq.GroupedMatmul(config, target="cpu")
    for m, routing in ((1, "uniform"), (9, "zipf"), (20, "one")):
        check_grouped_call(operator, m, routing=routing)


@pytest.mark.parametrize("form", FORMS)
def test_unscheduled_function_is_the_meaning(form):
    """The tensor expression compiles for a CPU as it stands, and gives what the oracle says."""
    operator = make(form, M=7)
    given, expected = operands(operator, 7, routing="zipf")
    module = tvm.compile(select_implementation(operator.config), target="llvm")
    D = torch.empty(operator.signature.output_shape(7), dtype=torch.float16)
    module["grouped_matmul_m7"](*given.values(), D)
    assert_close(D, expected, operator.config.matmul)


@pytest.mark.parametrize(
    "offsets", [[0, 0, 0, 0], [13, 13, 13, 13], [0, 0, 13, 13], [2, 2, 9, 10], [0, 5, 20, 40]], ids=str
)
def test_sorted_rows(offsets):
    """Experts may have no rows, all, or some. Rows beyond the last offset are left out; offsets beyond S count as S."""
    given = torch.tensor(offsets, dtype=torch.int32)
    check_grouped_call(make(), 13, offsets=given)


@pytest.mark.parametrize("form", ["gather", "reduce", "both"])
def test_slots_without_an_expert_are_zeros(form):
    """A slot of another expert than 0 ... E - 1, as a rank of expert parallelism has them, counts as zeros."""
    operator = make(form)
    top_k = operator.config.top_k
    ids = torch.tensor([0, 4, -1, 3, 2**31 - 1, -(2**31), 1, 1, 2])[: 3 * top_k].to(torch.int32).view(3, top_k)
    check_grouped_call(operator, 3, expert_ids=ids)
    nobody = torch.full((5, top_k), 4, dtype=torch.int32)
    check_grouped_call(operator, 5, expert_ids=nobody)


@pytest.mark.parametrize("form", FORMS)
def test_no_rows(form):
    """A call without rows has an empty result of the right shape."""
    operator = make(form)
    given, expected = operands(operator, 0)
    assert tuple(operator(**given).shape) == expected.shape


@pytest.mark.parametrize("W_dtype", ["uint4", "float8_e4m3", "int8"])
def test_weights_come_back(W_dtype):
    """`restore_weight` undoes `transform_weight`, and `dequantize` is decode(W) of every expert."""
    operator = make(W_dtype=W_dtype, with_zeros=False, A_dtype="bfloat16", out_dtype="bfloat16")
    inputs = draw_grouped_inputs(operator.config, 1, torch.Generator().manual_seed(0))
    weight = torch.stack([e.W.view(torch.uint8) for e in inputs.experts]).view(inputs.experts[0].W.dtype)
    packed = operator.transform_weight(weight)
    assert list(packed.shape) == operator.retrieve_weight_shape()
    assert torch.equal(operator.restore_weight(packed).float(), weight.float())
    decoded = operator.dequantize(packed, inputs.given["scale"], dtype=torch.float32)
    expected = torch.stack([expert.decoded(slice(None)) for expert in inputs.experts])
    torch.testing.assert_close(decoded.double(), expected, rtol=2.0**-23, atol=0)


def test_values_out_of_range_are_named_with_their_expert():
    """Of weights and of packed zero points."""
    operator = make(zeros_mode="quantized", N=22)
    for name, shape, pack in (("weight", (4, 22, 72), "transform_weight"), ("zeros", (4, 3, 22), "transform_zeros")):
        values = torch.zeros(shape, dtype=torch.int8)
        values[2, 1, 3] = -1
        with pytest.raises(bq.ConfigError, match=rf"expert 2: '{name}' out of range: got value -1 at \(1, 3\)") as info:
            getattr(operator, pack)(values)
        assert info.value.values["expert"] == 2


def test_scales_of_experts_of_nvfp4():
    """A factor a tensor is a ChannelScale of each expert; scales have 8 bits."""
    operator = make(
        "reduce", W_dtype="fp4_e2m1", group_size=8, scale_dtype="float8_e4m3", with_channel_scale=True, with_zeros=False
    )
    check_grouped_call(operator, 5)


# Errors.

REFUSED = [
    ({"num_experts": 0}, "'num_experts' must be an int from 1 to 65536 (got 0)"),
    (
        {"num_experts": np.int64(4)},
        f"'num_experts' must be an int from 1 to 65536 (got {np.int64(4)!r}); pass int(...)",
    ),
    ({"routing": "random"}, "'routing' must be 'sorted' or 'indexed' (got 'random')"),
    ({"routing": "indexed"}, "'top_k' must be an int from 1 to 1024 (got None)"),
    ({"top_k": 2}, "'top_k' must be left out where routing='sorted'"),
    ({"D_rows": "tokens"}, "'D_rows' must be left out where routing='sorted'"),
    ({"with_routing_weights": True}, "'with_routing_weights' must be False where routing='sorted'"),
    ({"group_size": 7}, "'group_size' must divide K"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_refused_configs(fields, message):
    """Rules of a grouped problem, and of an expert, are said in words."""
    with pytest.raises(bq.ConfigError, match=re.escape(message)):
        bq.GroupedMatmulConfig(**{"num_experts": 4, "N": 16, "K": 72, **FIELDS, **fields})


def test_problems_name_themselves():
    """A problem makes its config again, of the right operation; the two kinds share no key."""
    for form in FORMS:
        config = make(form).config
        again = config_from_problem(config.problem())
        assert (again.problem(), hash(again), again.to_dict()["num_experts"]) == (config.problem(), hash(config), 4)
        assert config.key() != config.matmul.key()
    assert isinstance(config_from_problem(config.matmul.problem()), bq.MatmulConfig)
    with pytest.raises(bq.ConfigError, match="'config' must be a GroupedMatmulConfig"):
        bq.GroupedMatmul(config.matmul, target="cpu")
    with pytest.raises(bq.ConfigError, match="'config' must be a MatmulConfig"):
        bq.Matmul(config, target="cpu")


def test_default_ladders():
    """Sorted rows are those of all experts, and more than tokens; an expert's config has the same ladder."""
    config = bq.GroupedMatmulConfig(4, 16, 72, **FIELDS)
    indexed = dataclasses.replace(config, **FORMS["gather"])
    assert (config.ladder[0], config.ladder[-1], indexed.ladder[-1]) == (1, 16384, 1024)
    assert config.matmul.ladder == config.ladder
    assert config_from_problem(config.problem()).problem() == config.problem()
    assert (config.to_dict()["M"], config.with_M(7).ladder) == (None, (7,))


def test_wrong_calls():
    """What does not fit is said before anything is launched."""
    operator = make()
    given, _ = operands(operator, 5)
    for name, tensor, message in (
        ("A", torch.zeros(5, 71).half(), "'A' must have shape (rows, 72) (got (5, 71))"),
        ("A", torch.zeros(5, 2, 72).half(), "'A' must have shape (rows, 72) (got (5, 2, 72))"),
        ("A", torch.zeros(5, 72), "'A' must be of type torch.float16"),
        ("A", torch.zeros(72, 5).half().T, "'A' must be contiguous"),
        ("W", given["W"][:3], "'W' must have shape (4, 21, 36) (got (3, 21, 36))"),
        ("offsets", given["offsets"].long(), "'offsets' must be of type torch.int32"),
        ("offsets", None, "'offsets' is missing: the config has routing='sorted'; pass a tensor of shape (4,)"),
        (
            "expert_ids",
            torch.zeros(5, 2, dtype=torch.int32),
            "'expert_ids' was given, but the config has routing='sorted'; leave it out or set routing='indexed'",
        ),
        ("output", torch.empty(5, 20).half(), "'output' must have shape (5, 21)"),
        ("A", [1.0], "'A' must be a torch.Tensor (got list)"),
    ):
        with pytest.raises(bq.CallError, match=re.escape(message)):
            operator(**{**given, name: tensor})
    square = make(N=72, with_bias=False)
    own, _ = operands(square, 5)
    with pytest.raises(bq.CallError, match="'output' must share no memory with 'A'"):
        square(**own, output=own["A"])
    with pytest.raises(bq.CallError, match="'scale' must not require a gradient"):
        operator(**{**given, "scale": given["scale"].requires_grad_()})
    with pytest.raises(bq.CallError, match="'output' must be None where a gradient is wanted"):
        operator(**{**given, "A": given["A"].clone().requires_grad_()}, output=torch.empty(5, 21).half())
    indexed, _ = operands(make("gather"), 5)
    with pytest.raises(bq.CallError, match=r"'A' must not require a gradient: .* where rows are sorted"):
        make("gather")(**{**indexed, "A": indexed["A"].requires_grad_()})


def test_output_where_a_gradient_is_wanted_is_refused_in_a_graph():
    """A compiled call says so, too, and does not leave the gradient out; without one it writes."""
    operator = make()
    given, _ = operands(operator, 5)
    expected = operator(**given)

    @torch.compile(backend="aot_eager", fullgraph=True)
    def call(A, output):
        operator(**{**given, "A": A}, output=output)
        return output

    with pytest.raises(Exception, match="'output' must be None where a gradient is wanted"):
        call(given["A"].clone().requires_grad_(), torch.empty_like(expected))
    output = torch.empty_like(expected)
    assert torch.equal(call(given["A"], output), expected)
    assert torch.equal(output, expected)


@pytest.mark.parametrize("fields", [{}, {"with_channel_scale": True, "out_dtype": "float32"}])
def test_gradient_of_sorted_rows(fields):
    """That of A is dD x decode(W) of the row's expert, compiled or not; rows beyond the last offset have none."""
    operator = make(A_dtype="float32", **fields)
    given, _ = operands(operator, 9)
    given["offsets"] = torch.tensor([0, 4, 7, 7], dtype=torch.int32)
    weight = operator.dequantize(*(given[name] for name in ("W", "scale", "zeros")))
    if fields:
        weight = weight * given["channel_scale"].unsqueeze(-1)
    D = torch.randn(9, 21).to(operator.signature.out_dtype)
    wanted = torch.cat([D[:4].float() @ weight[1].float(), D[4:7].float() @ weight[2].float(), torch.zeros(2, 72)])
    for call in (operator, torch.compile(operator, backend="aot_eager", fullgraph=True)):
        A = given["A"].clone().requires_grad_()
        call(**{**given, "A": A}).backward(D)
        assert torch.linalg.norm(A.grad - wanted) <= 1e-3 * torch.linalg.norm(wanted)


# Torch.


@pytest.mark.parametrize("form", ["sorted", "reduce"])
def test_compiled_exported_and_fake(form):
    """It is one operation under torch.compile, in an exported program, and for fake tensors."""
    operator = make(form)
    given, _ = operands(operator, 6)
    expected = operator(**given)

    class Layer(torch.nn.Module):
        def forward(self, A):
            return operator(**{**given, "A": A}) + 0

    compiled = torch.compile(Layer(), fullgraph=True, backend="eager")
    assert torch.equal(compiled(given["A"]), expected)
    program = torch.export.export(Layer(), (given["A"],))
    (name,) = [str(n.target) for n in program.graph.nodes if "bitquant" in str(n.target)]
    assert name == "bitquant.grouped_matmul.default"
    assert torch.equal(program.module()(given["A"]), expected)
    meta = {key: tensor.to("meta") for key, tensor in given.items()}
    result = torch.ops.bitquant.grouped_matmul(*(meta.get(n) for n in NAMES), operator.problem)
    assert (result.shape, result.dtype, result.device.type) == (expected.shape, expected.dtype, "meta")
    with pytest.raises(bq.CallError, match="'W' must have shape"):
        torch.ops.bitquant.grouped_matmul(
            *(meta.get(n) if n != "W" else meta["W"][1:] for n in NAMES), operator.problem
        )
    out = torch.empty_like(expected)
    torch.ops.bitquant.grouped_matmul_out(*(given.get(n) for n in NAMES), out, operator.problem)
    assert torch.equal(out, expected)


def test_a_program_makes_its_operator_again():
    """Where no operator lives, the operation makes that of its problem."""
    operator = make(N=22)
    given, _ = operands(operator, 3)
    expected, problem = operator(**given), operator.problem
    rebuilt = core.Operator._from_parts(core.problem_parts(problem))
    assert type(rebuilt).__name__ == "GroupedOperator"
    assert torch.equal(rebuilt(**given), expected)


# Keeping and reading.


def test_cache_export_and_pickle(tmp_path):
    """Kernels come from the cache, from a file, and with a pickle, as those of `Matmul` do."""
    operator = make("both")
    given, _ = operands(operator, 4)
    expected = operator(**given)
    found = bq.GroupedMatmul.find(operator.config, target="cpu")
    assert found is not None
    assert torch.equal(found(**given), expected)
    operator.export(tmp_path / "grouped.bqk")
    loaded = bq.GroupedMatmul.load(tmp_path / "grouped.bqk")
    assert isinstance(loaded, bq.GroupedMatmul)
    assert torch.equal(loaded(**given), expected)
    assert type(bq.Operator.load(tmp_path / "grouped.bqk")).__name__ == "GroupedOperator"
    assert torch.equal(pickle.loads(pickle.dumps(operator))(**given), expected)  # noqa: S301
    assert copy.deepcopy(operator) is operator


def test_report_and_bytes():
    """The report counts the experts that rows may hit, and names the rule."""
    operator = make("reduce", num_experts=8, M=(1, 16))
    text = str(operator.report())
    assert "rule       grouped_cpu" in text
    assert "top 3, A by slots, D by tokens, routing weights" in text
    one, all_of_them = operator.bytes_per_call(1), operator.bytes_per_call(16)
    weight = 21 * 36 + 2 * 21 * 3 * 2 + 21 * 2
    assert one == 3 * (weight + 72 * 2 + 4 + 4) + 21 * 2
    assert all_of_them == 8 * weight + 16 * (3 * (72 * 2 + 4 + 4) + 21 * 2)
    assert operator.profile_latency(4) > 0


def test_records(tmp_path):
    """A record of a grouped problem is written, found by its problem, and schedules its rung."""
    config = make("gather").config
    problem = {k: v for k, v in config.problem().items() if k != "M"}
    hint = {"warps": 8, "m_per_warp": 1}
    record = Record(problem, 16, "sm_90a", "NVIDIA H200", "grouped_fallback", hint, 10.0, 1.0)
    save_records([record], tmp_path)
    assert (tmp_path / "sm_90a/nvidia-h200/grouped_matmul_indexed-float16-uint4.json").exists()
    operator = bq.GroupedMatmul(config, target="sm_90a", records=tmp_path)
    assert (operator.choices[16].hint, operator.choices[1].origin) == (hint, "default")
    assert operator.choices[16].origin.startswith("record")


def test_inspect():
    """The command line prints the stages of a grouped problem; its tensor expressions are a program that makes them."""
    fields = {"num_experts": 4, "N": 16, "K": 64, "W_dtype": "uint4", "group_size": 32, "M": 5}
    problem = [word for name, value in fields.items() for word in (f"--{name}", str(value))] + ["--with_scaling"]
    rows = ["--A_rows", "slots", "--D_rows", "tokens", "--with_routing_weights"]
    indexed = ["--routing", "indexed", "--top_k", "2", *rows]
    for form, arguments in (("sorted", []), ("indexed", indexed)):
        result = CliRunner().invoke(inspect, ["--stage", "te", "--target", "cpu", *problem, *arguments])
        assert result.exit_code == 0, result.output
        names = {}
        exec(result.output, names)  # noqa: S102
        made = [str(names["func"].params[i].shape) for i in range(len(names["func"].params))]
        routing = {} if form == "sorted" else {**FORMS["reduce"], "top_k": 2}
        config = bq.GroupedMatmulConfig(**fields, with_scaling=True, **routing)
        meaning = select_implementation(config)["grouped_matmul_m5"]
        assert made == [str(p.shape) for p in meaning.params]
        tvm.ir.assert_structural_equal(names["func"].body, meaning.body, map_free_vars=True)
    report = CliRunner().invoke(inspect, ["--stage", "report", "--target", "sm_90a", *problem])
    assert "grouped_decode (block_m=8" in report.output
    wrong = CliRunner().invoke(inspect, ["--stage", "te", "--target", "cpu", "--N", "16", "--K", "64", "--top_k", "2"])
    assert "--top_k goes with --num_experts" in wrong.output


# Kernels of GPUs, without one.


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90a", "sm_120a"])
def test_the_fallback_compiles(arch):
    """The fallback serves every form on every GPU, without spills."""
    form = {"sm_75": "sorted", "sm_80": "gather", "sm_90a": "reduce", "sm_120a": "sorted"}[arch]
    config = dataclasses.replace(make(form).config, M=(1, 16), A_dtype="float16")
    operator = bq.GroupedMatmul(config, target=arch)
    assert {choice.rule for choice in operator.choices.values()} == {"grouped_fallback"}
    wanted = (
        "needs K % 32 == 0 (got K % 32 == 8)" if operator.config.is_indexed else "needs routing indexed (got sorted)"
    )
    refusals = operator.choices[16].refusals
    assert refusals["grouped_decode"] == "reads the fragment weight layout (got plain)"
    assert refusals["grouped_gemv"] == wanted
    assert all(r.spill_bytes == 0 for r in operator._archive.resources.values())
    assert "grouped_matmul_m16" in operator.get_source()


@pytest.mark.parametrize("form", ["gather", "reduce"])
def test_gemv_compiles(form):
    """Indexed rows are served by wide loads where chunks of k divide K and the groups, also with scales of 8 bits."""
    fields = {"W_dtype": "fp4_e2m1", "group_size": 32, "scale_dtype": "float8_e8m0", "with_zeros": False}
    fields["fast_decoding"] = False  # The plain layout.
    config = dataclasses.replace(make(form, K=96, **fields).config, A_dtype="bfloat16", out_dtype="bfloat16")
    operator = bq.GroupedMatmul(config, target="sm_90a")
    assert {choice.rule for choice in operator.choices.values()} == {"grouped_gemv"}
    assert all(r.spill_bytes == 0 for r in operator._archive.resources.values())
    assert "ld.global.nc.v4.u32" in operator.get_ptx()
    groups = dataclasses.replace(config, group_size=16, fast_decoding=False)
    refusals = bq.GroupedMatmul(groups, target="sm_90a").choices[1].refusals
    assert refusals["grouped_gemv"] == "needs group_size % 32 == 0 (got 16)"


def test_rules_serve_one_operation():
    """A rule of one operation refuses problems of another."""
    config = make().config
    with pytest.raises(bq.ScheduleError, match=r"fallback: computes matmul \(got grouped_matmul\)"):
        bq.GroupedMatmul(config, target="sm_90a", rules=(bq.schedule.rules.FallbackRule(),))
    with pytest.raises(bq.ScheduleError, match=r"grouped_fallback: computes grouped_matmul \(got matmul\)"):
        bq.Matmul(config.matmul, target="sm_90a", rules=(GroupedFallbackRule(),))


def test_the_oracle_is_the_formula():
    """grouped_oracle is what a loop over rows says."""
    operator = make("both", with_zeros=False, W_dtype="int4")
    inputs = draw_grouped_inputs(operator.config, 4, torch.Generator().manual_seed(1))
    weights = np.stack([expert.decoded(slice(None)).numpy() for expert in inputs.experts])
    a, ids = inputs.given["A"].double().numpy(), inputs.given["expert_ids"].numpy()
    bias = inputs.given["bias"].double().numpy()
    expected = [[sum(weights[e, n] @ a[t] + bias[e, n] for e in ids[t]) for n in range(21)] for t in range(4)]
    np.testing.assert_allclose(grouped_oracle(operator.config, inputs), expected, rtol=1e-12)
    assert number_format("int4").bits == 4
