# SPDX-License-Identifier: Apache-2.0
"""`bitquant bench`: what is timed, how, against whom, and what is printed of it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from bitquant import profiling
from bitquant.arch import cuda_target
from bitquant.cli.app import cli
from bitquant.compiler import disassemble, find_disassembler
from bitquant.errors import ConfigError, UnsupportedError
from bitquant.formats import number_format
from bitquant.testing.bench import ahead, limits, protocol, report
from bitquant.testing.bench import run as run_module
from bitquant.testing.bench.floor import READ_SHAPES, FloorReader, build_floor
from bitquant.testing.bench.peers import PEERS, Peer, Refusal, peers_by_name
from bitquant.testing.bench.problems import (
    Cell,
    cells,
    draw_weights,
    parse_kind,
    parse_shapes,
)
from bitquant.testing.bench.run import Bench, Listener, Options, save
from bitquant.testing.oracle import oracle_weight
from bitquant.testing.shape_sets import SHAPE_SETS

CPU = torch.device("cpu")
GPU = SimpleNamespace(type="cuda")  # Peers ask for its type alone.


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """Return a cache folder that the tests of this file share, so that they compile each kernel once."""
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(autouse=True)
def _environment(monkeypatch, kernels):
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(kernels))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def call(*arguments):
    return CliRunner().invoke(cli, ["bench", *map(str, arguments)])


# What is timed.


@pytest.mark.parametrize(
    ("text", "name", "group", "scaled", "zeros"),
    [
        ("uint4-g128-zeros", "float16:uint4-g128-zeros", 128, True, "original"),
        ("uint2-g128-quantized", "float16:uint2-g128-quantized", 128, True, "quantized"),
        ("bf16:int4-g64", "bfloat16:int4-g64", 64, True, None),
        ("int8-row", "float16:int8-row", 512, True, None),
        ("uint3-rescale", "float16:uint3-rescale", 512, False, "rescale"),
        ("int8:int2", "int8:int2", 512, False, None),
        ("fp4_e2m1-g32", "float16:fp4_e2m1-g32", 32, True, None),
        ("float8_e4m3:float8_e4m3", "float8_e4m3:float8_e4m3", 512, False, None),
        ("int8:int8-scaled", "int8:int8-scaled", 512, False, None),
        ("uint4-g128-zeros-scaled", "float16:uint4-g128-zeros-scaled", 128, True, "original"),
    ],
)
def test_names_of_kinds(text, name, group, scaled, zeros):
    """A name says types, groups and zero points, and reads back as itself."""
    kind = parse_kind(text)
    config = kind.config(256, 512, 4)
    assert kind.name == name
    assert parse_kind(name) == kind
    assert (config.M, config.N, config.K, config.group, config.with_scaling) == (4, 256, 512, group, scaled)
    assert (config.zeros_mode if config.with_zeros else None) == zeros
    assert config.with_activation_scale == config.with_channel_scale == text.endswith("-scaled")


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("int8:int8", "int32"),
        ("int8:int8-row", "float16"),
        ("bf16:int4", "bfloat16"),
        ("int8:int4-scaled", "bfloat16"),
        ("int4-scaled", "float16"),
    ],
)
def test_output_types(text, out):
    """Integer sums stay integers, other 8-bit products are float16, scaled bfloat16; 16-bit A gives its own type."""
    assert parse_kind(text).config(64, 64, 1).out_format.name == out


@pytest.mark.parametrize("text", ["uint4-g128-zeroes", "uint9", "float12:int4", "uint4-128", "", "int4-scaled-zeros"])
def test_wrong_names_of_kinds(text):
    """What is no name of a kind is refused, with the name or the part of it that is wrong."""
    with pytest.raises(ConfigError, match=r"'format' must be") as caught:
        parse_kind(text)
    assert repr(text.partition(":")[0]) in str(caught.value)


def test_shapes():
    """Sets and sizes mix, in order, each shape once; the decode set has its ten shapes."""
    assert parse_shapes("4096x4096,square") == ((4096, 4096), (2048, 2048), (8192, 8192), (16384, 16384))
    assert len(set(SHAPE_SETS["decode"])) == 10
    with pytest.raises(ConfigError, match="llama-3-8b"):
        parse_shapes("llama")


def test_no_shape_of_a_set_is_too_large_or_ragged():
    """Every shape of the sets is a legal problem for groups of 32, whatever the format; K of gpt-oss is 22.5 of 128."""
    for shapes in SHAPE_SETS.values():
        for N, K in shapes:
            for text in ("uint4-g32-zeros", "uint3-g32-quantized", "float16"):
                parse_kind(text).config(N, K, 1)


def test_order_of_cells():
    """The first axis varies slowest, and within an axis the user's order stays."""
    kinds, shapes = [parse_kind("int4"), parse_kind("int2")], [(64, 64), (32, 64)]
    found = [str(cell) for cell in cells(kinds, shapes, (16, 1), ("m", "format", "shape"))]
    assert found[:5] == [
        "float16:int4 64x64 m=16",
        "float16:int4 32x64 m=16",
        "float16:int2 64x64 m=16",
        "float16:int2 32x64 m=16",
        "float16:int4 64x64 m=1",
    ]
    with pytest.raises(ConfigError, match="permutation"):
        list(cells(kinds, shapes, (1,), ("m", "shape")))


FORMATS = [
    "uint4-g32-zeros", "uint3-g32-quantized", "uint5-row-rescale", "int4-g32", "int1-g32", "int1-zeros", "uint1-g32",
    "int8-row", "uint8", "nf4-g64", "fp4_e2m1-g32", "float8_e4m3-g32", "float8_e5m2", "bfloat16:int2-g32-zeros",
    "int8:int8", "float16",
]  # fmt: skip


@pytest.mark.parametrize("text", FORMATS)
def test_weights_mean_the_same_to_the_oracle_and_to_peers(text):
    """decode(W) by the oracle is what unquantized peers get, and (code - z) * s what others get."""
    config = parse_kind(text).config(16, 128, 1)
    weights = draw_weights(config, CPU)
    reference = weights.reference_rows(torch.arange(16))
    rounding = 2.0**-7 if config.zeros_mode == "rescale" and config.with_zeros else 1e-6
    np.testing.assert_allclose(weights.dequantized(torch.float32).double().numpy(), reference, atol=rounding)
    assert 0.2 < np.sqrt(np.mean(reference**2)) * (1 if config.with_scaling else 1 / _rms(text)) < 2.5
    if config.W_format.is_integer:
        s, z = (part.double().repeat_interleave(config.group, 1).numpy() for part in weights.affine())
        np.testing.assert_allclose((weights.codes.double().numpy() - z) * s, reference, atol=rounding)
        assert int(weights.codes.max()) < 1 << config.W_format.bits


def _rms(text):
    fmt = number_format(parse_kind(text).W_dtype)
    return (1 << fmt.bits) / 12**0.5 if fmt.is_integer and fmt.step == 1 else 1


def test_reference_of_some_rows_is_that_of_all():
    """The rows of the reference are those of the whole oracle, packed zero points too."""
    config = parse_kind("uint2-g32-quantized").config(32, 64, 1)
    weights = draw_weights(config, CPU)
    rows = torch.tensor([3, 17, 31])
    whole = oracle_weight(config, weights.W, weights.scale, weights.zero_points.T)
    assert np.array_equal(weights.reference_rows(rows), whole[rows.numpy()])


def test_activations_are_fresh_for_each_seed():
    """Another seed gives other numbers, the same seed the same."""
    config = parse_kind("int4-g32").config(16, 64, 3)
    weights = draw_weights(config, CPU)
    first, again, other = (weights.with_rows(3, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.A, again.A)
    assert not torch.equal(first.A, other.A)
    assert first.W is weights.W


# How.


class Clock:
    """A timer that notes when it is asked and answers from a list."""

    def __init__(self, name, answers, log):
        self.name, self.answers, self.log = name, iter(answers), log

    def sample_us(self, target_ms):
        self.log.append(self.name)
        return next(self.answers)


def test_implementations_take_turns():
    """Every implementation is sampled once before any is sampled again, and not always behind the same one."""
    log = []
    timers = {"a": Clock("a", range(5), log), "b": Clock("b", range(5), log), "c": Clock("c", range(5), log)}
    assert protocol.interleave(timers, 5, 1.0) == {name: [0, 1, 2, 3, 4] for name in "abc"}
    rounds = [log[i : i + 3] for i in range(0, len(log), 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 2


@pytest.mark.parametrize(("weight_bytes", "copies"), [(1 << 20, 181), (100 << 20, 2), (300 << 20, 1), (1, 512)])
def test_copies_exceed_three_times_the_cache(monkeypatch, weight_bytes, copies):
    """For 60 MiB of L2 the copies are more than 180 MiB together, as far as a graph has room."""
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(L2_cache_size=60 << 20))
    assert protocol.copies_needed(weight_bytes, torch.device("cuda", 0)) == copies
    assert copies * weight_bytes > 180 << 20 or copies == 512


def test_calls_on_a_cpu_rotate():
    """The copies are called in turn, each at least once."""
    called = []
    timer = protocol.CallTimer([lambda: called.append("a"), lambda: called.append("b")])
    timer.sample_us(0.01)
    assert called[:2] == ["a", "b"]
    assert {*called[2::2]} == {"a"}
    assert {*called[3::2]} <= {"b"}


class FakeEvent:
    """An event that reads a clock which graphs advance."""

    def __init__(self, clock):
        self.clock = clock

    def record(self):
        self.at = self.clock[0]

    def elapsed_time(self, end):
        return end.at - self.at


def test_time_of_a_graph_is_that_of_one_call(monkeypatch):
    """A graph of 4 calls that takes 2 ms makes 500 us a call, replayed for about the time asked for."""
    clock, captured, replays = [0.0], [], []

    class Graph:
        def replay(self):
            replays.append(1)
            clock[0] += 2.0

    class Capture:
        def __init__(self, graph):
            pass

        def __enter__(self):
            captured.append("begin")

        def __exit__(self, *_):
            captured.append("end")

    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: FakeEvent(clock))
    timer = profiling.GraphTimer([lambda i=i: captured.append(i) for i in range(4)])
    assert captured == [0, 1, 2, 3, "begin", 0, 1, 2, 3, "end"]
    replays.clear()
    assert timer.sample_us(10.0) == 500.0
    assert len(replays) == 5
    assert profiling.graph_latency_us([lambda: None] * 4, target_ms=10.0) == 500.0


def test_host_time_does_not_wait_between_calls(monkeypatch):
    """A round is a loop of calls; the GPU is waited for between rounds alone."""
    log = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: log.append("wait"))
    assert protocol.host_time_us(lambda: log.append("call"), times=3, rounds=2) > 0
    assert log == [*(["wait"] + ["call"] * 3) * 3, "wait"]


def test_host_times_need_a_gpu():
    """On a CPU a call is the product itself, so --host refuses."""
    result = call("--host", "--target", "cpu", "--shapes", "64x64", "--formats", "int4", "--m", "1")
    assert result.exit_code == 2
    assert "need a GPU target" in result.stderr


# The floor.


def test_floor_reads_16_bytes_a_load():
    """The kernels compile without a GPU, and every load of the machine code is a 16-byte one of its thread's count."""
    archive = build_floor(cuda_target("sm_90a"))
    loads = re.findall(r"ld\.global\S*", archive.ptx)
    assert {*loads} == {"ld.global.nc.L1::no_allocate.L2::256B.v4.u32"}
    assert all(r.spill_bytes == 0 for r in archive.resources.values())
    assert len(archive.resources) == len(READ_SHAPES)
    if find_disassembler() is None:
        pytest.skip("no disassembler")
    sass = "\n".join(disassemble(program.cubin) for program in archive.programs.values())
    assert {*re.findall(r"\bLDG\S*", sass)} == {"LDG.E.NA.LTC256B.128.CONSTANT"}


def test_floor_on_an_older_gpu():
    """sm_75 knows no hints to its caches and gets loads without."""
    assert {*re.findall(r"ld\.global\S*", build_floor(cuda_target("sm_75")).ptx)} == {"ld.global.nc.v4.u32"}


def test_floor_copies_do_not_overlap(monkeypatch):
    """Each call reads its own bytes, rounded up to 16, from a whole 256-byte line on."""
    seen = []
    module = {f"floor_{i}": lambda data, out: seen.append(data) for i in range(len(READ_SHAPES))}
    archive = SimpleNamespace(runtime_module=lambda: module, symbols=dict(enumerate(module)))
    monkeypatch.setattr("bitquant.testing.bench.floor.build_floor", lambda target: archive)
    reader = FloorReader(cuda_target("sm_90a"), CPU)
    calls = reader.calls(1000, 3)
    assert [*calls] == [*READ_SHAPES]
    for each in calls[READ_SHAPES[0]]:
        each()
    assert [data.shape for data in seen] == [(63, 4)] * 3
    starts = [data.data_ptr() - seen[0].data_ptr() for data in seen]
    assert starts == [0, 1024, 2048]
    assert torch.cat(seen).unique().numel() > 700


# Peers.


@pytest.mark.parametrize("peer", [p for p in PEERS if p.needs_cuda], ids=lambda p: p.name)
def test_peers_that_need_a_gpu_say_so(peer):
    """On a CPU only torch's linear takes part."""
    assert peer.refusal(parse_kind("int4-g128").config(256, 256, 1), CPU) == "needs a GPU"


@pytest.mark.parametrize("peer", [p for p in PEERS if p.package], ids=lambda p: p.name)
def test_peers_that_are_not_installed_say_so(monkeypatch, peer):
    """A missing package is named by what pip calls it, and is not imported."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert peer.refusal(parse_kind("int4-g128").config(256, 256, 1), GPU) == f"not installed ({peer.package[1]})"
    assert peer.version() is None or isinstance(peer.version(), str)


TAKEN = {
    "torch linear": ["uint4-g128-zeros", "bf16:nf4-g64", "float16"],
    "torch int4pack": ["uint4-g128-zeros", "int4-g64", "bf16:int4-g32", "uint4-g128-rescale"],
    "torch _int_mm": ["int8:int8", "int8:int8-scaled"],
    "torch _scaled_mm": ["float8_e4m3:float8_e4m3", "float8_e4m3:float8_e4m3-scaled"],
    "Humming": ["uint4-g128-zeros", "uint3-g128-quantized", "int4-g128", "int8-row", "fp4_e2m1-g32", "float8_e4m3-row"],
    "GemLite": ["uint4-g128-zeros", "int4-g128", "uint2-g64-zeros", "int1-g128", "int8-row"],
    "QuACK": ["bf16:uint4-g128-zeros", "bf16:int4-g128", "bf16:int4-g32"],
    "bitsandbytes": ["nf4-g64", "bf16:nf4-g128"],
    "Marlin": ["int4-g128", "int4-row"],
}
REFUSED = {
    "torch linear": ["int8:int8", "float8_e4m3:float8_e4m3"],
    "torch int4pack": ["uint2-g128", "uint4-row", "uint4", "int8:int4-g128", "nf4-g64"],
    "torch _int_mm": ["int8", "int8:int4", "int8:int8-row"],
    "torch _scaled_mm": ["float8_e4m3", "float8_e4m3:float8_e4m3-row", "float8_e4m3:int4"],
    "Humming": [
        "nf4-g64",
        "uint4-g128",
        "int1-g128",
        "uint4-g128-rescale",
        "int4",
        "int8:int4-g128",
        "int4-g128-zeros",
    ],
    "GemLite": ["uint3-g128", "nf4-g64", "int4", "uint4-g128-rescale", "int8:int4-g128", "int4-g16"],
    "QuACK": [
        "int4-g128",
        "bf16:uint4-g64-zeros",
        "bf16:uint4-g128-rescale",
        "bf16:int4",
        "bf16:int4-g256",
        "bf16:nf4-g64",
    ],
    "bitsandbytes": ["fp4_e2m1-g64", "nf4-g32", "int4-g64", "nf4"],
    "Marlin": ["uint4-g128-zeros", "int4-g64", "bf16:int4-g128", "int4-g128-zeros"],
}


@pytest.mark.parametrize("peer", PEERS, ids=lambda p: p.name)
def test_what_peers_take(peer):
    """A peer takes the formats that its documentation lists, and for others says what it takes."""
    assert [t for t in TAKEN[peer.name] if peer.refuses(parse_kind(t).config(512, 512, 32))] == []
    for text in REFUSED[peer.name]:
        assert peer.refuses(parse_kind(text).config(512, 512, 32)).startswith("takes ")


@pytest.mark.parametrize("peer", PEERS, ids=lambda p: p.name)
def test_output_scales_are_for_peers_that_apply_them(peer, monkeypatch):
    """Others refuse, whatever the format; those two take scales of rows and columns together."""
    monkeypatch.setattr(peer, "needs_cuda", False)
    monkeypatch.setattr(peer, "package", None)
    text = TAKEN[peer.name][0].removesuffix("-scaled")
    config = parse_kind(f"{text}-scaled").config(512, 512, 32)
    if peer.name in ("torch _int_mm", "torch _scaled_mm"):
        assert peer.refusal(config, CPU) is None
        alone = dataclasses.replace(config, with_channel_scale=False)
        assert peer.refusal(alone, CPU) == "takes output scales of rows and columns together"
    else:
        assert peer.refusal(config, CPU) == "takes no output scales"


def test_sizes_that_peers_refuse():
    """Limits of rows and columns are refused before a kernel sees them."""
    assert "16 rows" in peers_by_name(["torch _int_mm"])[0].refuses(parse_kind("int8:int8").config(64, 64, 16))
    for name in ("Humming", "Marlin", "torch int4pack"):
        assert "N=36" in peers_by_name([name])[0].refuses(parse_kind("int4-g128").config(36, 128, 1))


def test_names_of_peers():
    """Names are found whatever their spelling, and a wrong one is answered with all."""
    assert [p.name for p in peers_by_name(["gemlite", "Torch-Linear"])] == ["GemLite", "torch linear"]
    with pytest.raises(Refusal, match="Humming"):
        peers_by_name(["cutlass"])


def test_int4pack_operands_hold_the_weight(monkeypatch):
    """(code - 8) * s + z of tinygemm's operands, read back, is decode(W) as far as bfloat16 goes."""
    monkeypatch.setattr(torch.ops.aten, "_convert_weight_to_int4pack", lambda codes, tiles: codes, raising=False)
    config = parse_kind("uint4-g32-zeros").config(16, 128, 1)
    weights = draw_weights(config, CPU)
    codes, group, both = peers_by_name(["torch int4pack"])[0].pack(weights)
    q = torch.stack((codes >> 4, codes & 15), dim=2).flatten(1).double()
    s, z = (both[:, :, i].T.double().repeat_interleave(group, 1) for i in range(2))
    reference = weights.reference_rows(torch.arange(16))
    np.testing.assert_allclose(((q - 8) * s + z).numpy(), reference, atol=0.02)


def test_bitsandbytes_operands_hold_the_weight():
    """Levels times maxima of blocks, the first code in the high half of a byte, are decode(W)."""
    config = parse_kind("nf4-g64").config(16, 128, 1)
    weights = draw_weights(config, CPU)
    packed, maxima, _ = peers_by_name(["bitsandbytes"])[0].pack(weights)
    q = torch.stack((packed >> 4, packed & 15), dim=2).view(-1, 64).int()
    levels = torch.tensor(number_format("nf4").codebook, dtype=torch.float64)[q] * maxima.double()[:, None]
    np.testing.assert_allclose(levels.view(16, 128).numpy(), weights.reference_rows(torch.arange(16)), atol=1e-9)


# A run.


class Broken(Peer):
    """A peer that raises."""

    name = "broken"
    needs_cuda = False

    def refuses(self, config):
        return None

    def pack(self, weights):
        raise RuntimeError("no kernel image is available")

    def run(self, packed, A):
        raise NotImplementedError


class Wrong(Broken):
    """A peer that is fast and wrong."""

    name = "wrong"

    def pack(self, weights):
        return (torch.zeros(weights.config.N),)

    def run(self, packed, A):
        return packed[0].expand(len(A), -1)


def cell(text="uint4-g32-zeros", N=64, K=64, m=1):
    return Cell(parse_kind(text), N, K, m)


def quick(**options):
    return Options(**{"target": "cpu", "target_ms": 0.2, "replays": 5, **options})


def test_run_on_a_cpu_checks_and_times(tmp_path):
    """A cell has our time and error, the median of five samples, the peers' figures, and no floor."""
    bench = Bench([cell()], quick(peers=(*peers_by_name(["torch linear", "Humming"]), Broken(), Wrong())))
    (entry,) = bench.run()
    ours = entry["ours"]
    assert "complaint" not in ours
    assert len(ours["samples_us"]) == 5
    assert ours["latency_us"] == pytest.approx(statistics.median(ours["samples_us"]))
    assert 0 < ours["error"] < ours["bound"]
    assert ours["rule"].startswith("cpu")  # Which one depends on the instructions that are here.
    assert ours["copies"] > 1
    assert entry["bytes"] == 64 * 64 // 2 + 2 * 64 * 2 * 2 + 2 * 2 * 64
    assert entry["peers"]["torch linear"]["latency_us"] > 0
    assert entry["peers"]["torch linear"]["error"] < 1e-3
    assert entry["peers"]["broken"] == {"complaint": "RuntimeError: no kernel image is available"}
    assert entry["peers"]["wrong"]["complaint"].startswith("wrong result")
    assert report.best_peer(entry)[0] == "torch linear"
    assert "floor" not in entry
    assert bench.results["refusals"] == {"Humming": {"needs a GPU": "float16:uint4-g32-zeros 64x64 m=1"}}
    assert bench.results["is_complete"]
    save(bench.results, tmp_path / "r.json")
    assert report.load([tmp_path / "r.json"]) == json.loads(json.dumps(report.with_runs(bench.results)))


@pytest.mark.parametrize("m", [1, 32])
def test_run_with_output_scales(monkeypatch, m):
    """Our kernel and torch's product of integers scale by the same rows and columns."""
    (peer,) = peers_by_name(["torch _int_mm"])
    monkeypatch.setattr(peer, "needs_cuda", False)
    (entry,) = Bench([cell("int8:int8-scaled", m=m)], quick(peers=(peer,))).run()
    assert "complaint" not in entry["ours"]
    assert 0 < entry["ours"]["error"] < entry["ours"]["bound"]
    assert entry["bytes"] == 64 * 64 + 4 * 64 + m * (64 + 2 * 64 + 4)
    if m > 16:
        assert "complaint" not in entry["peers"][peer.name]
        assert entry["peers"][peer.name]["error"] < 3e-3


def test_float8_peer_scales_rows_and_columns(monkeypatch):
    """The scaled product of torch gets the scales as columns and rows, and the type of the output."""
    taken = []
    monkeypatch.setattr(torch, "_scaled_mm", lambda *operands, **options: taken.append((operands, options)))
    config = parse_kind("float8_e4m3:float8_e4m3-scaled").config(16, 32, 3)
    (peer,), weights = peers_by_name(["torch _scaled_mm"]), draw_weights(config, CPU)
    inputs = weights.with_rows(3, torch.Generator().manual_seed(0))
    A, rows = inputs.A, inputs.activation_scale
    peer.calls([peer.pack(weights)], A, rows)[0]()
    ((a, w), options) = taken[0]
    assert a is A
    assert torch.equal(w.view(torch.uint8), weights.W.t().view(torch.uint8))
    assert torch.equal(options["scale_a"], rows.view(3, 1))
    assert torch.equal(options["scale_b"], weights.channel_scale.view(1, 16))
    assert options["out_dtype"] is torch.bfloat16


def test_a_wrong_result_of_ours_is_reported(monkeypatch):
    """A kernel that leaves its output alone leaves NaN there, which the check sees."""
    monkeypatch.setattr(run_module.Matmul, "__call__", lambda self, A, **operands: operands["output"])
    (entry,) = Bench([cell()], quick(peers=())).run()
    assert entry["ours"]["complaint"].startswith("wrong result")
    assert entry["ours"]["error"] is None


def test_weights_are_made_once_for_all_rows(monkeypatch):
    """Cells of one format and shape share weights; others get their own."""
    drawn = []
    make = run_module.draw_weights
    monkeypatch.setattr(
        run_module, "draw_weights", lambda config, device: drawn.append(config.N) or make(config, device)
    )
    list(Bench([cell(m=1), cell(m=2), cell(N=32), cell(N=32, m=2)], quick(peers=())).run())
    assert drawn == [64, 32]


def test_floor_is_the_best_of_its_grids(monkeypatch):
    """Of the reading kernels the fastest is timed with the others, and its grid is in the figures."""
    slow, fast = READ_SHAPES[0], READ_SHAPES[3]
    sizes = []

    class Reader:
        def calls(self, size_bytes, copies):
            sizes.append(size_bytes)
            return {slow: [lambda: sum(range(20000))], fast: [lambda: None]}

    bench = Bench([cell()], quick(peers=()))
    bench._floor = Reader()
    (entry,) = bench.run()
    assert sizes == [entry["bytes"]]
    assert entry["floor"]["kernel"] == vars(fast)


def test_time_limit_stops_between_cells():
    """A run with no time left ends cleanly and says where."""
    bench = Bench([cell(), cell(m=2)], quick(peers=(), time_limit_s=1e-9))
    assert list(bench.run()) == []
    assert bench.results["stopped"] == "time limit of 1e-09 s: 0 of 2 cells done"
    assert not bench.results["is_complete"]


# What a run can be held up by.


class Slow(Broken):
    """A peer that takes its time to pack, and notes when it is asked to."""

    name = "slow"

    def __init__(self, seconds):
        self.seconds, self.asked = seconds, 0

    def pack(self, weights):
        self.asked += 1
        with contextlib.suppress(Exception):  # Libraries do so.
            time.sleep(self.seconds)
        return (weights.dequantized(torch.float32),)

    def run(self, packed, A):
        return A.float() @ packed[0].T


class Recorder(Listener):
    """Keeps what a run says, and its results as they were each time."""

    def __init__(self):
        self.bench, self.words, self.states = None, [], []

    def stage(self, index, words):
        self.words.append((index, words))

    def changed(self):
        if self.bench is not None:
            self.states.append(json.loads(json.dumps(self.bench.results, allow_nan=False)))


def recorded(*arguments, **options):
    listener = Recorder()
    listener.bench = Bench(*arguments, quick(**options), listener)
    return listener.bench, listener


def test_time_bound_breaks_off():
    """The alarm passes a library's own handlers, and is off after the block, as is what it replaced."""
    before = signal.getsignal(signal.SIGALRM)
    begin = time.perf_counter()
    with pytest.raises(limits.TimeIsUpError), limits.time_bound(0.05), contextlib.suppress(Exception):
        time.sleep(20)
    assert time.perf_counter() - begin < 10
    with limits.time_bound(0.05):
        pass
    with limits.time_bound(None):
        time.sleep(0.1)
    assert signal.getsignal(signal.SIGALRM) is before


def test_time_bound_ends_what_never_returns():
    """Code that does not come back to Python is ended with the stack on standard error."""
    code = """
import signal
from bitquant.testing.bench import limits
limits.GRACE_S = 0.3
with limits.time_bound(0.1):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    __import__("time").sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert "Timeout (0:00:00.4" in done.stderr
    assert "line 7" in done.stderr


@pytest.mark.thorough
def test_a_slow_peer_is_broken_off_and_left_out(monkeypatch):
    """It costs its limit once; ours and the other peers have their figures in every cell."""
    slow, quick_peer = Slow(30), Slow(0)
    quick_peer.name = "quick"
    monkeypatch.setattr(run_module, "copies_needed", lambda size, device: 2)
    bench, listener = recorded([cell(), cell(m=2)], peers=(slow, quick_peer), peer_limit_s=2.0)
    begin = time.perf_counter()
    first, second = bench.run()
    assert time.perf_counter() - begin < 20
    assert slow.asked == 1
    assert [*first["peers"]] == [*second["peers"]] == ["quick"]
    assert first["ours"]["latency_us"] > 0
    assert bench.results["refusals"] == {"slow": {"took longer than 2 s to prepare": str(cell())}}
    assert (0, "slow left out from here on: took longer than 2 s to prepare") in listener.words
    assert bench.results["is_complete"]


def test_a_peer_that_was_slow_but_came_keeps_its_figures(monkeypatch):
    """Where there is no alarm, a peer over its limit is timed once and left out of the next cell."""
    monkeypatch.delattr(signal, "setitimer")
    slow = Slow(0.3)
    bench = Bench([cell(), cell(m=2)], quick(peers=(slow,), peer_limit_s=0.2))
    first, second = bench.run()
    assert first["peers"]["slow"]["latency_us"] > 0
    assert second["peers"] == {}


def test_figures_are_there_after_each_implementation():
    """While a peer is prepared, ours is in the results already; they say what is being done, and are valid JSON."""
    bench, listener = recorded([cell()], peers=(Slow(0), Broken()))
    (entry,) = bench.run()
    seen = next(s for s in listener.states if s.get("doing") == f"{cell()}: slow: preparing")
    (partial,) = seen["cells"]
    assert partial["ours"]["latency_us"] > 0
    assert partial["peers"] == {}
    assert partial["is_provisional"]
    assert f"not finished; the last thing it did: {cell()}: slow: preparing" in report.complaints(seen)
    assert any("provisional" in line for line in report.complaints(seen))
    assert report.table(seen)[1]
    after = next(s for s in listener.states if s.get("doing") == f"{cell()}: broken: preparing")
    assert after["cells"][0]["peers"]["slow"]["latency_us"] > 0
    assert "is_provisional" not in entry
    assert "doing" not in bench.results


def test_stages_are_said_in_order():
    """Ours comes first; each stage is said before it begins, and each figure when it is there."""
    bench, listener = recorded([cell()], peers=(Slow(0), Broken()))
    list(bench.run())
    assert {index for index, _ in listener.words} == {0}
    words = [re.sub(r"[0-9.]+ us", "_ us", words) for _, words in listener.words]
    assert words == [
        "kernel", "weights", "reference", "ours", "ours _ us", "slow: preparing", "slow _ us", "broken: preparing",
        "broken: RuntimeError: no kernel image is available", "all in turn",
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.thorough
def test_time_limit_breaks_off_a_peer(count):
    """In the first and in the last cell too: what is there stays, the peer is not called slow, and the run ends."""
    slow = Slow(30)
    bench = Bench([cell(), cell(m=2)][:count], quick(peers=(slow,), time_limit_s=5.0))
    begin = time.perf_counter()
    (entry,) = bench.run()
    assert 4 < time.perf_counter() - begin < 20
    assert entry["ours"]["latency_us"] > 0
    assert entry["peers"] == {}
    assert bench.results["refusals"] == {}
    assert bench.results["stopped"].startswith(f"time limit of 5 s: 1 of {count} cells done")
    assert not bench.results["is_complete"]


def test_a_fault_among_others_leaves_our_figures(monkeypatch):
    """Where the samples in turn fail, the first ones stay, and the report says so."""
    interleave = run_module.interleave

    def fail(timers, *more):
        if len(timers) > 1:
            raise RuntimeError("illegal address")
        return interleave(timers, *more)

    monkeypatch.setattr(run_module, "interleave", fail)
    bench = Bench([cell()], quick(peers=(Slow(0),)))
    (entry,) = bench.run()
    assert "complaint" not in entry["ours"]
    assert report.table(bench.results)[1][0][3] != ""
    (line,) = report.complaints(bench.results)
    assert line.endswith("provisional, not all were timed in turn: RuntimeError: illegal address")


def test_time_limit_breaks_off_our_part(monkeypatch):
    """A first cell that hangs before it has a figure ends the run in time, and the results say where."""
    monkeypatch.setattr(run_module, "draw_weights", lambda config, device: time.sleep(30))
    bench = Bench([cell()], quick(peers=(), time_limit_s=2.0))
    begin = time.perf_counter()
    assert list(bench.run()) == []
    assert time.perf_counter() - begin < 20
    assert bench.results["stopped"] == f"time limit of 2 s: 0 of 1 cells done, then {cell()}: weights"


def test_time_limit_counts_from_when_the_program_began():
    """Imports before the run are part of its time."""
    bench = Bench([cell()], quick(peers=(), time_limit_s=100.0, begin=time.perf_counter() - 101))
    assert list(bench.run()) == []


def test_copies_are_made_on_the_device_of_the_weight(monkeypatch):
    """One weight is packed; the other copies are clones of it, as many as are needed and made once."""
    packed = []
    transform = run_module.Matmul.transform_weight
    monkeypatch.setattr(run_module.Matmul, "transform_weight", lambda self, W: packed.append(1) or transform(self, W))
    monkeypatch.setattr(run_module, "copies_needed", lambda size, device: 5)
    first, second = Bench([cell(), cell(m=2)], quick(peers=())).run()
    assert first["ours"]["copies"] == second["ours"]["copies"] == 5
    assert packed == [1]


def test_humming_compiles_one_kernel(monkeypatch):
    """It gets the kernel that its own heuristics name for the number of rows, not those of all numbers."""
    called = []
    ranges = [[0, 8, {"a": 1}], [8, 16, {"a": 2}], [16, 1 << 30, {"a": 3}]]
    tune = SimpleNamespace(get_heuristics_config=lambda layer: ranges)
    forward = SimpleNamespace(humming_forward=lambda layer, **more: called.append(more["tuning_config"]))
    monkeypatch.setitem(sys.modules, "humming", SimpleNamespace(tune=tune, forward=forward))
    monkeypatch.setitem(sys.modules, "humming.tune", tune)
    monkeypatch.setitem(sys.modules, "humming.forward", forward)
    for m in (1, 8, 9, 100):
        peers_by_name(["Humming"])[0].run((None,) * 6, torch.zeros(m, 4))
    assert called == [{"a": 1}, {"a": 1}, {"a": 2}, {"a": 3}]


def test_cells_that_are_no_problems_are_left_out():
    """A group that does not divide K is a reason, not a failure."""
    bench = Bench([cell(K=96, text="int4-g64"), cell()], quick(peers=()))
    assert [c.K for c in bench.cells] == [64]
    (reason,) = bench.results["refusals"]["ours"]
    assert "must divide K" in reason


def test_kernels_are_compiled_ahead_by_other_processes(monkeypatch, tmp_path):
    """Every problem is constructed once by a pool that shares the disk cache, and the run waits for its own."""
    submitted = []

    class Pool:
        def __init__(self, workers, context):
            submitted.append((workers, context.get_start_method()))

        def submit(self, function, config, target):
            future = ahead.concurrent.futures.Future()
            future.set_result(function(config, target))
            submitted.append((config.M, target))
            return future

        def shutdown(self, **_):
            submitted.append("closed")

    monkeypatch.setattr(ahead.concurrent.futures, "ProcessPoolExecutor", Pool)
    list(Bench([cell(m=1), cell(m=2), cell(m=1)], quick(peers=(), jobs=8)).run())
    assert submitted == [(2, "spawn"), (1, "cpu"), (2, "cpu"), "closed"]


def test_a_gpu_target_needs_a_gpu():
    """Without a GPU the command says so before it compiles anything."""
    result = call("--target", "sm_90a", "--shapes", "64x64")
    assert result.exit_code == 2
    assert "none is visible" in result.stderr


# What is printed.


def entry(fmt="float16:uint4-g128", N=4096, m=1, ours=4.0, floor=3.2, peers=None):
    bytes_, flop = N * 4096 // 2 + 2 * m * (N + 4096), 2 * m * N * 4096
    return {
        "format": fmt, "N": N, "K": 4096, "m": m, "flop": flop, "bytes": bytes_,
        "ours": {"latency_us": ours, "error": 2e-4}, "floor": {"latency_us": floor},
        "peers": peers if peers is not None else {"P": {"latency_us": 8.0, "error": 1e-3}},
    }  # fmt: skip


def canned(*entries, **more):
    return {
        "format": 1, "is_complete": True, "protocol": {"replays": 5, "target_ms": 10.0}, "versions": {"torch": "2"},
        "device": {"name": "H200", "arch": "sm_90a", "driver": "580"}, "begun": "2026-01-02T03:04:05+00:00",
        "refusals": {"Q": {"not installed (q)": "x"}}, "cells": list(entries), **more,
    }  # fmt: skip


def test_table_has_ratios_and_words_for_what_went_wrong():
    """Ratios are of medians; wrong and failed peers have no time and are not the best."""
    bad = {"P": {"complaint": "wrong result: 1", "latency_us": 1.0}, "R": {"complaint": "RuntimeError: x"}}
    headers, rows = report.table(canned(entry(), entry(m=16, peers=bad)))
    first, second = (dict(zip(headers, row, strict=True)) for row in rows)
    assert (first["ours"], first["floor"], first["ours / floor"]) == ("4.00", "3.20", "1.25")
    assert (first["P"], first["R"], first["best peer / ours"]) == ("8.00", "", "2.00")
    assert (second["P"], second["R"], second["best peer / ours"]) == ("wrong", "failed", "")
    assert first["TFLOP/s"] == "8.39"
    assert first["error"] == "2.0e-04"


def test_a_terminal_has_a_table_a_format_in_80_columns(monkeypatch, capsys):
    """Large times and sizes and two peers fit; in a pipe one table has all."""
    from bitquant.cli import bench as command

    times = {name: {"latency_us": 1234.5} for name in ("torch int4pack", "Humming")}
    kinds = ("float16:uint4-g128-zeros", "float8_e4m3:float8_e4m3-scaled")
    more = {"N": 16384, "K": 53248, "flop": 10**12, "floor": {"latency_us": 1000.0}}
    results = canned(*({**entry(fmt=fmt, m=m, ours=1100.0, peers=times), **more} for fmt in kinds for m in (1, 2048)))
    monkeypatch.setattr(report, "environment", lambda _: "H200")
    command._print(results)
    piped = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in piped[3:7]] == [kind for kind in kinds for _ in range(2)]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    command._print(results)
    shown = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert max(map(len, shown.splitlines())) <= 80
    assert [line for line in shown.splitlines() if line in kinds] == list(kinds)
    assert shown.count("16384x53248") == 4


def test_summary_is_a_geometric_mean_and_shares():
    """2 and 8 have the geometric mean 4; each format has its own line besides that of all."""
    fast = {"P": {"latency_us": 32.0}, "R": {"latency_us": 64.0}}
    lines = report.summary(canned(entry(), entry(fmt="float16:nf4", peers=fast)))
    assert lines[0] == "all: best peer / ours: geometric mean 4.00, least 2.00, at least 1 in 2 of 2"
    assert lines[1].startswith("all: ours / floor: geometric mean 1.25, at most 1.1 in 0 of 2, 1.25 in 2 of 2")
    assert "float16:nf4: best peer / ours: geometric mean 8.00, least 8.00, at least 1 in 1 of 1" in lines
    failed = {**entry(m=2), "ours": {"complaint": "wrong result"}}
    assert "1 of 2 cells of ours wrong or failed" in report.summary(canned(entry(), failed))[-1]


def test_complaints_name_cell_and_peer_once():
    """Messages stand under the table with where they came from, refusals once."""
    results = canned(entry(peers={"R": {"complaint": "RuntimeError: x"}}), stopped="time limit")
    assert report.complaints(results) == [
        "R, float16:uint4-g128 4096x4096 m=1: RuntimeError: x",
        "Q left out: not installed (q)",
        "stopped: time limit",
    ]


def test_markdown_has_a_table_a_format():
    """Each format has a heading and a table without the columns that it does not use."""
    text = report.markdown(canned(entry(), entry(fmt="float16:nf4-g64", peers={"R": {"latency_us": 9.0}})))
    assert "### float16:uint4-g128\n" in text
    tables = re.findall(r"^\| N x K .*\n\|[-|]+\|\n(?:\|.*\|\n)+", text, re.MULTILINE)
    assert len(tables) == 2
    assert "| P |" in tables[0]
    assert "| R |" not in tables[0]
    assert all(line.count("|") == tables[1].splitlines()[0].count("|") for line in tables[1].splitlines())


def test_results_merge(tmp_path):
    """Files of one device make one table; a later file's cell takes the place of an earlier one's."""
    for name, results in (
        ("a", canned(entry(), entry(m=2))),
        ("b", canned(entry(m=2, ours=5.0), entry(m=4), refusals={"S": {"no": "x"}})),
        ("c", {**canned(), "device": {"name": "other"}}),
    ):
        (tmp_path / name).write_text(json.dumps(results))
    merged = report.load([tmp_path / "a", tmp_path / "b"])
    assert [(e["m"], e["ours"]["latency_us"]) for e in merged["cells"]] == [(1, 4.0), (2, 5.0), (4, 4.0)]
    assert {*merged["refusals"]} == {"Q", "S"}
    with pytest.raises(UnsupportedError, match="other"):
        report.load([tmp_path / "a", tmp_path / "c"])
    (tmp_path / "d").write_text("[]")
    with pytest.raises(UnsupportedError, match="no results"):
        report.load([tmp_path / "d"])


# The command.


def test_command_on_a_cpu(tmp_path):
    """The command times a tiny problem on the CPU, prints its table, and writes JSON that makes the same table."""
    file = tmp_path / "r.json"
    result = call(
        "--target", "cpu", "--shapes", "64x64", "--formats", "uint4-g32-zeros", "--m", "1,2", "--target-ms", "0.2",
        "--jobs", "1", "--json", file,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    assert all(re.match(r" *[0-9.]+ s  ", line) for line in lines)
    where = "cell 2/2 float16:uint4-g32-zeros 64x64 m=2: "
    assert re.search(re.escape(where) + r"ours [0-9.]+ us\n", result.stderr)
    assert re.search(re.escape(where) + r"ours [0-9.]+ us, best peer torch linear [0-9.]+ us$", lines[-1])
    assert "importing" in lines[0]
    assert "best peer / ours" in result.stdout
    assert "\nTimes in us.\n" in result.stdout
    assert "floor" not in result.stdout.splitlines()[1]
    again = call("--from-json", file)
    assert (again.exit_code, again.stdout) == (0, result.stdout)


def test_command_that_is_terminated_keeps_what_it_has(monkeypatch, tmp_path):
    """SIGTERM, as `timeout` sends it, ends a run with its table and its file."""
    slow = Slow(0)
    slow.pack = lambda weights: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(30)
    monkeypatch.setattr("bitquant.testing.bench.peers.PEERS", (slow,))
    file = tmp_path / "r.json"
    result = call(
        "--target", "cpu", "--shapes", "64x64", "--formats", "uint4-g32-zeros", "--m", "1,2", "--target-ms", "0.2",
        "--jobs", "1", "--json", file,
    )  # fmt: skip
    assert "stopped: interrupted: 1 of 2 cells done" in result.stdout
    (entry,) = json.loads(file.read_text())["cells"]
    assert entry["ours"]["latency_us"] > 0
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_command_writes_into_its_section(tmp_path):
    """Between its two marks the document changes, and only there, as often as it is written."""
    (tmp_path / "r.json").write_text(json.dumps(canned(entry())))
    document = tmp_path / "d.md"
    document.write_text("before\n<!-- begin: bitquant bench -->\nold\n<!-- end: bitquant bench -->\nafter\n")
    for _ in range(2):
        assert call("--from-json", tmp_path / "r.json", "--markdown", document).exit_code == 0
    text = document.read_text()
    assert text.startswith("before\n<!-- begin: bitquant bench -->\n")
    assert text.endswith("<!-- end: bitquant bench -->\nafter\n")
    assert "old" not in text
    assert text.count("### float16:uint4-g128") == 1


def test_command_exits_with_1_for_a_wrong_result(tmp_path):
    """A failure of ours shows in the exit code."""
    (tmp_path / "r.json").write_text(
        json.dumps(canned(entry(ours=1.0), {**entry(m=2), "ours": {"complaint": "wrong"}}))
    )
    assert call("--from-json", tmp_path / "r.json").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--m", "0"], "from 1 on"),
        (["--m", "x"], "from 1 on"),
        (["--replays", "3"], "5"),
        (["--peers", "cutlass", "--target", "cpu"], "Humming"),
        (["--formats", "uint4_g128"], "'format'"),
        (["--shapes", "big"], "'shapes'"),
        (["--order", "m"], "'order'"),
    ],
)
def test_wrong_options(arguments, words):
    """Options that make no sense are refused with what would."""
    result = call(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_document_has_the_section():
    """docs/figures.md has the two marks that the command looks for."""
    text = (Path(__file__).parents[2] / "docs" / "figures.md").read_text()
    assert text.count("<!-- begin: bitquant bench -->") == text.count("<!-- end: bitquant bench -->") == 1
