"""Operators on the CPU: results, calls, reading, keeping."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import zipfile

import pytest
import torch
import tvm
from hypothesis import given, settings

import bitquant as bq
from bitquant import operator as operator_module
from bitquant import packing
from bitquant.testing.check import check_call
from bitquant.testing.generators import call_rows, configs, make_inputs
from bitquant.testing.oracle import assert_close


@pytest.fixture(scope="module")
def grouped():
    """An operator of 4-bit weights with scales and zero points, and operands for it."""
    config = bq.MatmulConfig(
        M=(1, 16), N=24, K=64, W_dtype="uint4", group_size=32, with_scaling=True, with_zeros=True, with_bias=True
    )
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, 3)
    return operator, inputs, operator.transform_weight(inputs.W)


@pytest.mark.cases
def test_every_format_against_the_oracle(config, error_log):
    """Every weight format with every activation type and zeros mode is right for every m of the list."""
    operator = bq.Matmul(config, target="cpu")
    for m in call_rows(config):
        error_log(config, m, check_call(operator, m, seed=m))


@settings(max_examples=15)
@given(config=configs(max_size=96))
def test_any_legal_config(config):
    """Whatever hypothesis draws from the legal configs is right."""
    operator = bq.Matmul(config, target="cpu")
    for m in call_rows(config)[-2:]:
        check_call(operator, m, seed=m)


@pytest.mark.cases(select="cover", stride=29)
def test_unscheduled_function_is_the_meaning(config):
    """The prim_func compiles for the CPU as it stands, and agrees with the oracle."""
    operator = bq.Matmul(config, target="cpu")
    m = 5 if not config.is_static else config.M
    inputs = make_inputs(config, m)
    executable = tvm.compile(operator.prim_func, target="llvm")
    D = torch.empty(m, config.N, dtype=config.out_format.torch_dtype)
    optional = [t for t in (inputs.scale, inputs.zeros, inputs.bias) if t is not None]
    name = str(operator.prim_func.attrs["global_symbol"])
    if config.ladder[-1] > 1 or m == 1:
        executable[name](inputs.A, packing.pack(inputs.W, config), *optional, D)
        assert_close(D, inputs.reference(config), config)


def test_leading_dimensions_and_output(grouped):
    """A may have any leading dimensions, and a given output is written and returned."""
    operator, inputs, W = grouped
    flat = operator(inputs.A, W, inputs.scale, inputs.zeros, inputs.bias)
    A = inputs.A.view(3, 1, 1, 64)
    output = torch.full((3, 1, 1, 24), float("nan"), dtype=torch.float16)
    result = operator(A, W, scale=inputs.scale, zeros=inputs.zeros, bias=inputs.bias, output=output)
    assert result is output
    assert torch.equal(output.view(3, 24), flat)
    vector = operator(inputs.A[0], W, inputs.scale, inputs.zeros, inputs.bias)
    assert torch.equal(vector, flat[0])
    empty = operator(inputs.A[:0].view(2, 0, 64), W, inputs.scale, inputs.zeros, inputs.bias)
    assert empty.shape == (2, 0, 24)


@pytest.mark.parametrize("A_dtype", ["float16", "float32", "int8"])
@pytest.mark.parametrize("m", [1, 16])
def test_operands_that_begin_anywhere(m, A_dtype):
    """Every operand may be a view that begins at any element: vector instructions must not take it for aligned."""
    out = "int32" if A_dtype == "int8" else A_dtype
    config = bq.MatmulConfig(M=m, N=5, K=204, A_dtype=A_dtype, W_dtype="int2", out_dtype=out, with_bias=True)
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, m)

    def shifted(tensor):
        storage = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)
        view = storage[1:].view(tensor.shape)
        return view.copy_(tensor)

    output = shifted(torch.zeros(m, 5, dtype=config.out_format.torch_dtype))
    operator(shifted(inputs.A), shifted(packing.pack(inputs.W, config)), bias=shifted(inputs.bias), output=output)
    assert_close(output, inputs.reference(config), config)


def test_calls_too_large_for_32_bit_indices_are_sliced(grouped, monkeypatch):
    """A call with more elements than an index holds is made in slices of rows."""
    operator, inputs, W = grouped
    A = torch.randn(50, 64).half()
    whole = operator(A, W, inputs.scale, inputs.zeros, inputs.bias)
    monkeypatch.setattr(operator_module, "_MAX_ELEMENTS", 64 * 7)
    assert torch.equal(operator(A, W, inputs.scale, inputs.zeros, inputs.bias), whole)


def test_activations_that_require_a_gradient_are_taken(grouped):
    """A tensor of a model in training mode is taken; the result carries no gradient."""
    operator, inputs, W = grouped
    result = operator(inputs.A.clone().requires_grad_(), W, inputs.scale, inputs.zeros, inputs.bias)
    assert not result.requires_grad


def test_torch_compile(grouped):
    """torch.compile traces a call whole, for two numbers of rows."""
    operator, inputs, W = grouped

    def layer(a):
        return operator(a * 2, W, inputs.scale, inputs.zeros, inputs.bias) + 1

    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for a in (inputs.A, torch.randn(7, 64).half()):
        assert torch.equal(compiled(a), layer(a))


def test_torch_compile_checks_a_given_output(grouped):
    """A compiled call writes a fitting output, and refuses one of another shape or type as an eager call does."""
    operator, inputs, W = grouped

    def layer(a, out):
        return operator(a, W, inputs.scale, inputs.zeros, inputs.bias, output=out)

    compiled = torch.compile(layer, backend="aot_eager")
    output = torch.full((3, 24), float("nan"), dtype=torch.float16)
    compiled(inputs.A, output)
    assert torch.equal(output, layer(inputs.A, torch.empty_like(output)))
    with pytest.raises(Exception, match="'output' must have shape"):
        compiled(inputs.A, torch.empty(9, 24, dtype=torch.float16))


def test_compiled_graphs_name_the_problem():
    """torch.compile caches graphs across processes by text: the custom op's operand must tell problems apart."""
    config = bq.MatmulConfig(M=1, N=8, K=16, W_dtype="uint4")
    other = bq.MatmulConfig(M=1, N=8, K=16, W_dtype="uint4", out_dtype="float32")
    names = [bq.Matmul(c, target="cpu")._name.split("-")[0] for c in (config, other, config)]
    assert names[0] == names[2] != names[1]


def test_copies_and_pickles(grouped):
    """A model that holds an operator can be copied and pickled; the operator is made again from its config."""
    operator, inputs, W = grouped
    operands = (inputs.A, W, inputs.scale, inputs.zeros, inputs.bias)
    assert copy.deepcopy({"layer": operator})["layer"] is operator
    loaded = pickle.loads(pickle.dumps(operator))  # noqa: S301
    assert type(loaded) is bq.Matmul
    assert torch.equal(loaded(*operands), operator(*operands))


def test_the_callers_pass_context_does_not_reach_the_cache(tmp_path, monkeypatch):
    """A library built inside somebody's PassContext is the one that everybody else gets."""
    config = bq.MatmulConfig(M=3, N=8, K=16, W_dtype="uint4")
    libraries = []
    for name, options in (("a", {}), ("b", {"tirx.disable_vectorize": True})):
        monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path / name))
        operator_module._in_use.clear()
        with tvm.transform.PassContext(config=options):
            libraries.append(bq.Matmul(config, target="cpu")._archive.host_library)
    assert libraries[0] == libraries[1]


CALL_ERRORS = {
    "dtype of A": (
        dict(A=torch.zeros(3, 64)),
        r"'A' must be of type torch.float16 \(got torch.float32\); use .to\(torch.float16\)",
    ),
    "shape of A": (dict(A=torch.zeros(3, 63).half()), r"'A' must have shape \(..., 64\), K last \(got \(3, 63\)\)"),
    "strides of A": (
        dict(A=torch.zeros(64, 3).half().T),
        r"'A' must be contiguous \(got strides \(1, 3\).*use .contiguous\(\)",
    ),
    "sign of A": (
        dict(A=torch._neg_view(torch.zeros(3, 64).half())),
        "'A' must hold its own numbers",
    ),
    "type of A": (dict(A=[1, 2]), r"'A' must be a torch.Tensor \(got list\)"),
    "dtype of W": (
        dict(W=torch.zeros(24, 32).half()),
        r"'W' must be of type torch.int8 .*pass what transform_weight returned",
    ),
    "shape of W": (dict(W=torch.zeros(24, 64, dtype=torch.int8)), r"'W' must have shape \(24, 32\) \(got \(24, 64\)\)"),
    "missing scale": (
        dict(scale=None),
        r"'scale' is missing: the config has with_scaling=True; pass a tensor of shape \(24, 2\)",
    ),
    "missing zeros": (dict(zeros=None), r"'zeros' is missing: the config has with_zeros=True"),
    "shape of scale": (dict(scale=torch.zeros(24, 1).half()), r"'scale' must have shape \(24, 2\) \(got \(24, 1\)\)"),
    "dtype of zeros": (dict(zeros=torch.zeros(24, 2)), r"'zeros' must be of type torch.float16 \(got torch.float32\)"),
    "shape of bias": (dict(bias=torch.zeros(23).half()), r"'bias' must have shape \(24,\) \(got \(23,\)\)"),
    "shape of output": (
        dict(output=torch.zeros(3, 23).half()),
        r"'output' must have shape \(3, 24\) \(got \(3, 23\)\)",
    ),
    "strides of output": (dict(output=torch.zeros(24, 3).half().T), r"'output' must be contiguous.*written in place"),
    "device of A": (dict(A=torch.zeros(3, 64, device="meta").half()), r"'A' must be on cpu.*\(got meta\)"),
    "device of W": (
        dict(W=torch.zeros(24, 32, dtype=torch.int8, device="meta")),
        r"'W' must be on the device of A, cpu \(got meta\)",
    ),
}


@pytest.mark.parametrize("fault", CALL_ERRORS)
def test_call_errors(grouped, fault):
    """Every wrong operand is named, with the rule, the value and the fix."""
    operator, inputs, W = grouped
    operands = dict(A=inputs.A, W=W, scale=inputs.scale, zeros=inputs.zeros, bias=inputs.bias)
    change, message = CALL_ERRORS[fault]
    with pytest.raises(bq.CallError, match=message):
        operator(**{**operands, **change})


def test_operand_that_is_not_configured_is_refused():
    """A scale for a problem without one is an error, not ignored."""
    operator = bq.Matmul(bq.MatmulConfig(M=1, N=8, K=16, W_dtype="uint4"), target="cpu")
    W = operator.transform_weight(torch.zeros(8, 16, dtype=torch.int8))
    with pytest.raises(bq.CallError, match="'scale' was given, but the config has with_scaling=False"):
        operator(torch.zeros(1, 16).half(), W, scale=torch.zeros(8, 1).half())


def test_static_m():
    """A static operator takes its M rows, or none, and says how to get others."""
    operator = bq.Matmul(bq.MatmulConfig(M=4, N=8, K=16, W_dtype="uint4"), target="cpu")
    W = operator.transform_weight(torch.zeros(8, 16, dtype=torch.int8))
    assert operator(torch.zeros(2, 2, 16).half(), W).shape == (2, 2, 8)
    assert operator(torch.zeros(0, 16).half(), W).shape == (0, 8)
    with pytest.raises(bq.CallError, match=r"'A' must have 4 rows \(got 3\): the config has a static M"):
        operator(torch.zeros(3, 16).half(), W)


def test_construction_errors():
    """What cannot be constructed says why."""
    config = bq.MatmulConfig(M=1, N=8, K=16, W_dtype="uint4")
    if not torch.cuda.is_available():
        with pytest.raises(bq.UnsupportedError, match="'target' cuda needs a GPU and none is visible"):
            bq.Matmul(config, target="cuda")
    with pytest.raises(bq.ConfigError, match=r"'target' must name one of sm_75, .* \(got 'sm_70'\)"):
        bq.Matmul(config, target="sm_70")
    with pytest.raises(bq.ConfigError, match="'config' must be a MatmulConfig"):
        bq.Matmul({"M": 1})
    with pytest.raises(bq.UnsupportedError, match="'enable_tuning' must be False"):
        bq.Matmul(config, enable_tuning=True)


def test_schedule_error_lists_every_rule():
    """Where no rule applies, the error gives each rule's reason."""
    from bitquant.schedule.rules import GemvRule, MmaRule

    config = bq.MatmulConfig(M=16, N=8, K=16, A_dtype="float32", W_dtype="uint4")
    with pytest.raises(bq.ScheduleError) as caught:
        bq.Matmul(config, target="sm_90a", rules=(GemvRule(), MmaRule()))
    message = str(caught.value)
    assert message.startswith("no schedule for matmul_nt(M=16, N=8, K=16, float32 x uint4) on sm_90a\n")
    assert "\n  gemv: needs M == 1 (got 16)" in message
    assert "\n  mma: needs A of 16 or 8 bits (got float32)" in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernel would run")
def test_cuda_operator_without_a_gpu():
    """A kernel for a GPU that is not here can be read, and says so when it is called or timed."""
    operator = bq.Matmul(bq.MatmulConfig(M=1, N=64, K=64, W_dtype="uint4"), target="sm_90a")
    assert "__global__" in operator.get_source()
    assert ".target sm_90a" in operator.get_ptx()
    assert "gemv" in operator.report()
    with pytest.raises(bq.CallError, match=r"'A' must be on cuda, where this operator was built for \(got cpu\)"):
        operator(torch.zeros(1, 64).half(), torch.zeros(64, 32, dtype=torch.int8))
    with pytest.raises(bq.UnsupportedError, match="timing a kernel for sm_90a needs that GPU"):
        operator.profile_latency()
    with pytest.raises(bq.UnsupportedError, match="needs a GPU with its driver"):
        operator.rt_mod  # noqa: B018


def test_reading_a_cpu_operator(grouped):
    """Every stage of a CPU operator can be read; PTX and SASS are refused with the fix."""
    operator, _, _ = grouped
    assert 'T.sblock("B_decode")' in operator.prim_func.script()
    assert set(operator.prim_func_mod.functions) == set(operator.scheduled_mod.functions)
    assert "define" in operator.get_source()
    assert "cpu (" in operator.report()
    assert operator.profile_latency() > 0
    with pytest.raises(bq.CallError, match=r"'m' must be at least 1 \(got 0\)"):
        operator.profile_latency(0)
    for stage in (operator.get_ptx, operator.get_sass):
        with pytest.raises(bq.UnsupportedError, match="construct with target='sm_90a'"):
            stage()


RUN_EXPORTED = """
import sys, torch, bitquant as bq
operator = bq.Operator.load(sys.argv[1])
torch.save(operator(*torch.load(sys.argv[2])), sys.argv[3])
"""


def test_exported_operator_runs_in_another_process_without_a_compiler(grouped, tmp_path):
    """One file is enough: nothing is compiled, no linker is on PATH, and the bits are the same."""
    operator, inputs, W = grouped
    operands = (inputs.A, W, inputs.scale, inputs.zeros, inputs.bias)
    operator.export(tmp_path / "operator.bq")
    torch.save(operands, tmp_path / "operands.pt")
    environment = {**os.environ, "PATH": "/nonexistent", "BITQUANT_CACHE_DIR": str(tmp_path / "cache")}
    files = [str(tmp_path / name) for name in ("operator.bq", "operands.pt", "result.pt")]
    subprocess.run([sys.executable, "-c", RUN_EXPORTED, *files], check=True, env=environment, timeout=300)
    assert torch.equal(torch.load(tmp_path / "result.pt"), operator(*operands))
    assert not (tmp_path / "cache").exists()


def test_loading_something_else(tmp_path):
    """A file that is no operator is a BuildError with its name."""
    (tmp_path / "x").write_bytes(b"not a zip")
    with pytest.raises(bq.BuildError, match="x is not an exported operator"):
        bq.Operator.load(tmp_path / "x")
    with pytest.raises(bq.BuildError, match="missing"):
        bq.Operator.load(tmp_path / "missing")
    with zipfile.ZipFile(tmp_path / "empty", "w") as archive:
        archive.writestr("manifest.json", '{"format": 1}')
    with pytest.raises(bq.BuildError, match="empty is not an exported operator: parts of it are missing"):
        bq.Operator.load(tmp_path / "empty")


def test_damaged_export_is_named(grouped, tmp_path):
    """Whatever byte of an exported file is damaged, the error is a BuildError."""
    operator, _, _ = grouped
    file = tmp_path / "operator.bq"
    operator.export(file)
    content = file.read_bytes()
    for cut in (10, len(content) // 2, len(content) - 30):
        file.write_bytes(content[:cut])
        with pytest.raises(bq.BuildError):
            bq.Operator.load(file)
    with pytest.raises(bq.BuildError, match="cannot be written"):
        operator.export(tmp_path / "no" / "such" / "folder")


def test_second_construction_comes_from_the_cache(tmp_path, monkeypatch):
    """An equal problem in another spelling is not built again, and one from the disk gives the same bits."""
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path))
    config = bq.MatmulConfig(M=2, N=8, K=16, W_dtype="uint4", group_size=-1)
    first = bq.Matmul(config, target="cpu")
    monkeypatch.setattr(operator_module, "build", lambda *_: pytest.fail("built again"))
    same = bq.Matmul(bq.MatmulConfig(M=2, N=8, K=16, W_dtype="uint4", group_size=None), target="cpu")
    assert same._archive is first._archive
    operator_module._in_use.clear()
    from_disk = bq.Matmul(config, target="cpu")
    assert from_disk._archive is not first._archive
    inputs = make_inputs(config, 2)
    W = first.transform_weight(inputs.W)
    assert torch.equal(from_disk(inputs.A, W), first(inputs.A, W))
    monkeypatch.undo()
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path))
    entry = next(tmp_path.glob("*.bqk"))
    entry.write_bytes(entry.read_bytes()[:1000])
    operator_module._in_use.clear()
    with pytest.warns(bq.cache.CacheWarning, match="damaged"):
        rebuilt = bq.Matmul(config, target="cpu")
    assert torch.equal(rebuilt(inputs.A, W), first(inputs.A, W))


def test_without_a_linker_kernels_run_but_cannot_be_exported(tmp_path, monkeypatch):
    """Host code stays LLVM IR where nothing can link it."""
    from bitquant import build as build_module

    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(build_module, "find_linker", lambda: None)
    config = bq.MatmulConfig(M=2, N=8, K=24, W_dtype="int3")
    operator = bq.Matmul(config, target="cpu")
    check_call(operator, 2)
    with pytest.raises(bq.UnsupportedError, match="export needs a linker"):
        operator.export(tmp_path / "operator.bq")
    operator_module._in_use.clear()
    check_call(bq.Matmul(config, target="cpu"), 2)
