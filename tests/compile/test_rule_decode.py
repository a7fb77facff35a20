# SPDX-License-Identifier: Apache-2.0
"""The decode rule: machine code, launch, shared memory, refusals, hints and their order."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest
import tvm

from bitquant.arch import cuda_target, gpu_arch
from bitquant.archive import Archive
from bitquant.build import build
from bitquant.compute.matmul import CONFIG_ATTR, RUNG_ATTR, matmul_dequantize_b, symbol
from bitquant.config import MatmulConfig
from bitquant.errors import ScheduleError
from bitquant.intrin.launch import DEPENDENT_LAUNCH
from bitquant.problem import Problem
from bitquant.schedule.apply import schedule_with
from bitquant.schedule.rules.decode.geometry import DecodeGeometry
from bitquant.schedule.rules.decode.hint import DecodeHint
from bitquant.schedule.rules.decode.rule import DecodeRule

RULE = DecodeRule()
GROUPS = {"group_size": 128, "with_scaling": True, "with_zeros": True}


def _geometry(config: MatmulConfig, rung: int, arch: str, hint: DecodeHint) -> DecodeGeometry:
    return DecodeGeometry(Problem(config, rung, cuda_target(arch)), hint)


def _config(M: int | list[int] = 1, N: int = 1024, K: int = 2048, **fields: object) -> MatmulConfig:
    return MatmulConfig(M=M, N=N, K=K, **{"W_dtype": "uint4", **fields})


def _scheduled(config: MatmulConfig, arch: str, hint: DecodeHint | None = None) -> tvm.tirx.PrimFunc:
    rung, target = config.ladder[-1], cuda_target(arch)
    hint = hint or RULE.default_hint(Problem(config, rung, target))
    return schedule_with(matmul_dequantize_b(config, rung, layout="fragment"), RULE, hint, target)


def _build(config: MatmulConfig, arch: str, hint: DecodeHint | None = None) -> Archive:
    func = _scheduled(config, arch, hint)
    return build(tvm.IRModule({str(func.attrs["global_symbol"]): func}), cuda_target(arch), config.problem())


# Machine code.

COMPILED = [
    ("sm_80", _config(1, 4096, 4096, **GROUPS)),
    ("sm_80", _config(64, 4096, 4096, A_dtype="bfloat16", out_dtype="bfloat16", W_dtype="int4", **GROUPS)),
    ("sm_80", _config([16], 1001, 1000, A_dtype="int8", W_dtype="int8", out_dtype="int32", accum_dtype="int32")),
    ("sm_80", _config(8, A_dtype="float8_e4m3", zeros_mode="rescale", **GROUPS)),
    ("sm_90a", _config([64], 4096, 8192, with_bias=True, **GROUPS)),
    ("sm_90a", _config(3, 200, 1008, W_dtype="uint3", group_size=336, with_scaling=True, with_zeros=True)),
    ("sm_90a", _config([16], W_dtype="nf4", group_size=64, with_scaling=True)),
    ("sm_90a", _config(32, A_dtype="int8", W_dtype="int2", **GROUPS)),
    ("sm_90a", _config(8, 256, 1001, W_dtype="float8_e5m2")),
    ("sm_90a", _config(1, 28672, 8192, W_dtype="uint1", **GROUPS)),
    ("sm_90a", _config(1, 28672, 8192, W_dtype="int3", group_size=128, with_scaling=True)),
]


@pytest.mark.parametrize(("arch", "config"), COMPILED, ids=str)
def test_default_kernels_fit_registers_and_shared_memory(arch: str, config: MatmulConfig) -> None:
    """Nothing spills, and as many blocks fit a multiprocessor as the hint says, by what ptxas reports."""
    rung, facts = config.ladder[-1], gpu_arch(arch)
    hint = RULE.default_hint(Problem(config, rung, cuda_target(arch)))
    g = _geometry(config, rung, arch, hint)
    archive = _build(config, arch)
    (resources,) = archive.resources.values()
    assert resources.spill_bytes == resources.stack_bytes == resources.smem_bytes == 0
    # Registers are given to warps in units of 256.
    assert -(-resources.registers // 8) * 8 * g.threads * hint.blocks_per_sm <= 65536
    assert hint.blocks_per_sm * (g.smem_bytes + 1024) <= facts.smem_per_sm_bytes
    assert int(re.search(r"\.maxntid\s+(\d+)", archive.ptx)[1]) == g.threads
    assert "mma.sync.aligned" in archive.ptx
    assert ".local" not in archive.ptx
    assert "wgmma" not in archive.ptx


@pytest.mark.parametrize(
    ("arch", "config"),
    [
        ("sm_90a", _config(256, 512, 1216, A_dtype="float8_e5m2", W_dtype="int3", out_dtype="float32")),
        ("sm_90a", _config(100, 64, 1344, A_dtype="float8_e4m3", W_dtype="float8_e4m3", out_dtype="float32")),
        ("sm_120a", _config([33], 512, 464, A_dtype="int8", W_dtype="int5")),
    ],
    ids=str,
)
def test_two_copies_of_a_ragged_part_of_a_compile(arch: str, config: MatmulConfig) -> None:
    """64 rows of A are copied in two steps; where the last part of k is not whole, both have one size."""
    assert _build(config, arch).programs


@pytest.mark.parametrize(
    ("arch", "weight", "K"),
    [("sm_90a", "uint2", 1004), *itertools.product(("sm_80", "sm_90a"), ("uint1", "uint2", "int3"), (4096,))],
)
def test_digits_are_multiplied_as_integers(arch: str, weight: str, K: int) -> None:
    """One row as digits: int8 products and no others, and A by bulk copies where its rows are whole 16 bytes."""
    hint = DecodeHint(block_m=1, n_tiles_per_warp=2, warps_k=4, unroll=1, ahead=1, chains=1, activations="digits")
    archive = _build(_config(1, 1024, K, W_dtype=weight, with_zeros=True), arch, hint)
    (resources,) = archive.resources.values()
    assert resources.spill_bytes == 0
    products = set(re.findall(r"mma\.sync\.aligned\.\S+", archive.ptx))
    assert products == {"mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32"}
    assert ("cp.async.bulk" in archive.ptx) is (arch == "sm_90a" and K % 8 == 0)


def test_weights_are_read_16_bytes_at_a_time() -> None:
    """One row, uint4 on Hopper: weights go straight into registers, and A comes in bulk, before which it is awaited."""
    ptx = _build(_config(1, 4096, 4096, **GROUPS), "sm_90a", DecodeHint(n_tiles_per_warp=2, chains=2)).ptx
    loads = re.findall(r"ld\.global\.nc\.L1::no_allocate\S*", ptx)
    assert loads
    assert all(load.endswith(".v4.u32") for load in loads)
    assert ".local" not in ptx
    waits, starts = (ptx.index(f"griddepcontrol.{name}") for name in ("wait", "launch_dependents"))
    assert ptx.index("ld.global.nc.L1::no_allocate") < waits < starts < ptx.index("cp.async.bulk.shared")
    assert waits < ptx.index("st.global")


def test_blocks_that_share_rows_of_a_begin_together() -> None:
    """Nothing is sent to a block before its barriers stand; the weight does not wait for that."""
    ptx = _build(_config(8, 4096, 4096, **GROUPS), "sm_90a", DecodeHint(n_tiles_per_warp=2, chains=2, multicast=2)).ptx
    order = [
        r"mbarrier\.init", r"fence\.mbarrier_init", r"barrier\.cluster\.arrive\.relaxed",
        r"ld\.global\.nc\.L1::no_allocate", r"griddepcontrol\.wait", r"barrier\.cluster\.wait",
        r"cp\.async\.bulk\.shared::cluster\S*\.multicast::cluster",
    ]  # fmt: skip
    places = [[found.start() for found in re.finditer(name, ptx)] for name in order]
    assert all(places)
    assert [min(place) for place in places] == sorted(min(place) for place in places)
    assert max(places[0]) < min(places[2])
    assert not re.search(r"cp\.async\.bulk\.shared::cluster\.global\.mbarrier::complete_tx::bytes \[", ptx)


@pytest.mark.parametrize(
    ("arch", "K", "is_dependent"), [("sm_80", 2048, False), ("sm_90a", 2048, True), ("sm_90a", 1001, False)]
)
def test_only_kernels_that_wait_are_launched_early(arch: str, K: int, is_dependent: bool) -> None:
    """The launch attribute and the wait come together: from sm_90 on, unless A is read by non-coherent loads."""
    config = _config(8, 256, K, W_dtype="int8")
    archive = _build(config, arch, DecodeHint(warps_k=4, ahead=1, unroll=1, chains=1))
    (program,) = archive.manifest["kernels"].values()
    (kernel,) = program["func_info"].values()
    tags = kernel["launch_param_tags"]
    assert (DEPENDENT_LAUNCH in tags) is is_dependent
    assert ("griddepcontrol.wait" in archive.ptx) is is_dependent
    assert ("griddepcontrol.launch_dependents" in archive.ptx) is is_dependent
    if not is_dependent:
        assert "cp.async.bulk" not in archive.ptx


def test_infinite_weights_do_not_linger() -> None:
    """float8_e5m2: tiles beyond K take zeros in place of what came before, which may be infinite; others need none."""
    hint = DecodeHint(warps_k=2, ahead=1, unroll=1, phase=4, chains=1)

    def stores(weight: str) -> int:
        source = str(_scheduled(_config(8, 64, 32 * 5, W_dtype=weight), "sm_90a", hint).script())
        return source.count("else:")

    assert stores("float8_e5m2") > stores("float8_e4m3")


@pytest.mark.parametrize(("arch", "is_scaled"), [("sm_80", True), ("sm_90a", False)])
def test_units_are_applied_at_the_end(arch: str, is_scaled: bool) -> None:
    """Before sm_89 float8_e4m3 is read as 2^-8 times its value: totals are multiplied by that, and by uint4's unit."""
    config = _config(8, 64, 128, A_dtype="float8_e4m3", with_zeros=True)
    g = _geometry(config, 8, arch, DecodeHint())
    unit = g.decoder.value_scale * (256 if is_scaled else 1)
    assert g.unit == (unit, unit)
    source = str(_scheduled(config, arch, DecodeHint(warps_k=2, unroll=1, ahead=1, chains=1)).script())
    assert source.count(f"T.float32({unit})") == 4


def test_codes_are_multiplied_where_they_stand() -> None:
    """In float16 the registers of one plane take no multiply-add, those of two take one: 8 for two rows of tiles."""
    hint = DecodeHint(n_tiles_per_warp=2, chains=2)
    for weight, planes in (("uint4", 1), ("int4", 1), ("uint3", 2), ("uint2", 1), ("int1", 1)):
        ptx = _build(_config(1, 4096, 4096, **{**GROUPS, "W_dtype": weight}), "sm_90a", hint).ptx
        # One of three is for the sums of A.
        products = ptx.count("mma.sync") // 3
        assert ptx.count("fma.rn.f16x2") == 8 * (planes - 1) * products, weight


# Functions.


@pytest.mark.parametrize("M", [1, 24, [1, 32]])
@pytest.mark.parametrize("fields", [{}, {"with_bias": True, **GROUPS}, {"zeros_mode": "quantized", **GROUPS}])
def test_signature_is_that_of_the_definition(M: int | list[int], fields: dict) -> None:
    """Parameters, shapes, types and attributes agree with the unscheduled function."""
    config = _config(M, 64, 256, **fields)
    for rung in config.ladder:
        want = matmul_dequantize_b(config, rung, layout="fragment")
        got = RULE.apply(want, cuda_target("sm_90a"), DecodeHint(warps_k=2, unroll=1, ahead=1))
        types = [
            [(str(p.dtype), [int(s) if hasattr(s, "value") else "m" for s in p.shape]) for p in func.params]
            for func in (want, got)
        ]
        assert types[0] == types[1]
        assert got.attrs["global_symbol"] == symbol(rung)
        assert dict(got.attrs[CONFIG_ATTR]) == dict(want.attrs[CONFIG_ATTR])
        assert int(got.attrs[RUNG_ATTR]) == rung


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({}, DecodeHint()),
        ({}, DecodeHint(weights="shared", ahead=8, unroll=2, n_blocks_per_cta=4)),
        ({}, DecodeHint(split_k=2, phase=4)),
        ({"W_dtype": "nf4", "with_zeros": False}, DecodeHint(n_tiles_per_warp=2)),
    ],
    ids=str,
)
def test_kernel_declares_the_shared_memory_that_the_rule_reports(fields: dict, hint: DecodeHint) -> None:
    """`smem_bytes` is the size of the one buffer in dynamic shared memory."""
    config = _config(1, 1024, 8192, **{**GROUPS, **fields})
    source = str(_scheduled(config, "sm_90a", hint).script())
    buffers = re.findall(r"alloc_buffer\(\((\d+),\), \"uint8\", scope=\"shared.dyn\"", source)
    assert [int(size) for size in buffers] == [RULE.smem_bytes(Problem(config, 1, cuda_target("sm_90a")), hint)]


# What lies where, and for how long.

_LAYOUTS = [
    DecodeHint(
        n_tiles_per_warp=rows,
        warps_n=2,
        warps_k=4,
        split_k=split_k,
        phase=phase,
        n_blocks_per_cta=waves,
        weights=weights,
    )
    for rows, split_k, phase, waves, weights in itertools.product(
        (1, 2), (1, 2), (0, 4, 8), (1, 3), ("registers", "shared")
    )
]


@pytest.mark.parametrize("fields", [{}, {"W_dtype": "nf4", "with_zeros": False}, {"K": 8320}], ids=str)
def test_what_lives_at_a_time_does_not_overlap(fields: dict) -> None:
    """Regions of shared memory are disjoint; sums overlay others only where no iteration follows them."""
    config = _config(8, **{"N": 4096, "K": 8192, **GROUPS, **fields})
    for hint in _LAYOUTS:
        g = _geometry(config, 8, "sm_90a", hint)
        regions = [(tile.base, tile.end) for tile in (g.smem.a_tile, g.smem.scale_tile, g.smem.zero_tile) if tile]
        if g.is_shared:
            regions.append((g.smem.ring_offset, g.smem.ring_offset + g.threads // 32 * hint.ahead * g.smem.slot_bytes))
        regions.append((g.smem.barrier_offset, g.smem.barrier_offset + 8 * g.buffers * hint.warps_k))
        regions.append((g.smem.table_offset, g.smem.table_offset + g.decoder.table_bytes))
        sums = g.smem.sum_offset, g.smem.sum_offset + 4 * hint.warps_k * g.rows_of_a * g.smem.sum_stride
        if g.a_stays and g.max_iterations > 1:
            regions.append(sums)
        else:
            assert sums[1] <= g.smem.barrier_offset
        ordered = sorted(regions)
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(ordered))
        assert ordered[-1][1] <= g.smem_bytes
        assert all(begin % 16 == 0 for begin, _ in regions)


@pytest.mark.parametrize(("N", "K"), [(4096, 8192), (1001, 1000), (16, 64), (5000, 3333)])
def test_iterations_cover_n_and_k_once(N: int, K: int) -> None:
    """Blocks, iterations, warps and bodies name every tile of W once; where their number varies it has a bound."""
    config = _config(4, N, K, W_dtype="int8")
    for hint in _LAYOUTS:
        if RULE.fault(Problem(config, 4, cuda_target("sm_90a")), hint):
            continue
        g = _geometry(config, 4, "sm_90a", hint)
        blocks, phases = set(), []
        for first in range(g.grid_n):
            count = g.static_iterations if g.a_stays and g.static_iterations else -(-(g.blocks_n - first) // g.grid_n)
            numbers = range(count if g.a_stays else 1)
            assert g.a_stays is False or 1 <= count <= g.max_iterations
            named = {first + number * g.grid_n for number in numbers}
            assert not named & blocks
            blocks |= named
        assert blocks == set(range(g.blocks_n))
        for rank in range(hint.split_k):
            begin, end = rank * g.phases // hint.split_k, (rank + 1) * g.phases // hint.split_k
            assert end > begin
            assert end - begin <= (1 if g.a_stays else g.max_iterations)
            phases += range(begin, end)
        assert phases == list(range(g.phases))
        assert g.blocks_n * g.block_n >= N > (g.blocks_n - 1) * g.block_n
        assert g.phases * g.phase_k >= K > (g.phases - 1) * g.phase_k
        assert g.has_ragged_tiles or g.phases * hint.warps_k * g.part_tiles == g.tiles_k


def test_inner_rungs_hold_the_rows_that_they_serve() -> None:
    """As a static M of that number does; the last rung, which serves larger m, holds whole tiles."""
    config = _config([2, 4, 8, 16], 4096, 14336, **GROUPS)
    rungs = [_geometry(config, rung, "sm_90a", DecodeHint(block_m=8)) for rung in config.ladder]
    assert [g.rows_of_a for g in rungs] == [2, 4, 8, 8]
    static = _geometry(config.with_M(4), 4, "sm_90a", DecodeHint(block_m=8))
    assert static.smem_bytes == rungs[1].smem_bytes < rungs[2].smem_bytes
    assert _geometry(config.with_M([4]), 4, "sm_90a", DecodeHint(block_m=8)).rows_of_a == 8


# Hints.


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
@pytest.mark.parametrize(
    "config",
    [
        _config(1, 4096, 4096, **GROUPS),
        _config([16], 28672, 8192, A_dtype="int8", W_dtype="int8"),
        _config([64], 8192, 28672, **GROUPS),
        _config(1, 4096, 14336, W_dtype="nf4", group_size=64, with_scaling=True),
        _config(5, 1001, 1000, A_dtype="bfloat16", W_dtype="int5"),
        _config(1, 28672, 8192, W_dtype="uint3", **GROUPS),
    ],
    ids=str,
)
def test_space_is_legal_and_always_the_same(arch: str, config: MatmulConfig) -> None:
    """Hints of the space fit each other and the multiprocessor; none comes twice; the order never varies."""
    facts, target, rung = gpu_arch(arch), cuda_target(arch), config.ladder[-1]
    hints = list(itertools.islice(RULE.space(Problem(config, rung, target)), 40))
    assert hints == list(itertools.islice(RULE.space(Problem(config, rung, target)), 40))
    assert hints[0] == RULE.default_hint(Problem(config, rung, target))
    assert len(set(hints)) == len(hints) >= 1
    for hint in hints:
        assert RULE.fault(Problem(config, rung, target), hint) is None
        g = _geometry(config, rung, arch, hint)
        assert g.smem_bytes <= facts.smem_per_block_bytes
        assert hint.blocks_per_sm * (g.smem_bytes + 1024) <= facts.smem_per_sm_bytes
        # A thread needs 32 registers to do anything.
        assert hint.blocks_per_sm * g.threads <= min(2048, 65536 // 32)
        assert arch == "sm_90a" or hint.split_k == hint.multicast == 1
        assert DecodeHint.from_dict(hint.to_dict()) == hint


def test_long_k_in_small_shared_memory_has_a_default() -> None:
    """A block of 99 KB has a hint for a weight whose scales alone are larger."""
    config = _config(1, 4096, 131072, W_dtype="int1", group_size=64, with_scaling=True, with_zeros=True)
    problem = Problem(config, 1, cuda_target("sm_89"))
    assert RULE.fault(problem, RULE.default_hint(problem)) is None


@pytest.mark.parametrize(
    ("arch", "change", "message"),
    [
        ("sm_90a", {"block_m": 24}, "the hint's field 'block_m' must be one of 1, 8, 16, 32, 64 (got 24)"),
        ("sm_90a", {"block_m": 1}, "block_m of 8, 16, 32 or 64"),
        ("sm_90a", {"weights": "texture"}, "must be one of 'registers', 'shared' (got 'texture')"),
        ("sm_90a", {"activations": "fractions"}, "must be one of 'digits', 'values' (got 'fractions')"),
        ("sm_90a", {"activations": "digits"}, "block_m of 1 for digits"),
        (
            "sm_90a",
            {"activations": "digits", "block_m": 1},
            "integers of at most 3 bits as W for digits (got block_m=1",
        ),
        ("sm_90a", {"n_tiles_per_warp": 0}, "the hint's field 'n_tiles_per_warp' must be 1 to 16 (got 0)"),
        ("sm_90a", {"phase": -4}, "the hint's field 'phase' must be 0 to 65536 (got -4)"),
        ("sm_90a", {"warps_n": 5}, "at most 32 warps"),
        ("sm_90a", {"ahead": 3}, "unroll % ahead == 0"),
        ("sm_90a", {"ahead": 8}, "unroll % ahead == 0"),
        ("sm_90a", {"phase": 6}, "phase % unroll == 0"),
        ("sm_90a", {"split_k": 3}, "the hint's field 'split_k' must be one of 1, 2, 4, 8 (got 3)"),
        ("sm_90a", {"multicast": 3}, "the hint's field 'multicast' must be one of 1, 2, 4, 8 (got 3)"),
        ("sm_90a", {"multicast": 4, "split_k": 4}, "split_k * multicast <= 8"),
        ("sm_80", {"split_k": 2}, "needs sm_90 or newer for split_k or multicast > 1, and the target is sm_80"),
        ("sm_80", {"multicast": 2}, "needs sm_90 or newer for split_k or multicast > 1, and the target is sm_80"),
        (
            "sm_90a",
            {"multicast": 2, "phase": 2, "unroll": 2, "ahead": 2},
            "an A that stays in shared memory, of rows of whole 16 bytes",
        ),
        (
            "sm_90a",
            {"multicast": 8, "n_tiles_per_warp": 4, "warps_n": 4},
            "multicast that divides 4 blocks of n, and the 4 that run",
        ),
        (
            "sm_90a",
            {"multicast": 2, "n_blocks_per_cta": 64},
            "multicast that divides 64 blocks of n, and the 1 that run together",
        ),
        ("sm_90a", {"split_k": 4, "phase": 8}, "needs split_k <= 1, the phases of k"),
        ("sm_90a", {"block_m": 64, "n_tiles_per_warp": 16}, "bytes of shared memory, and sm_90a has 232448"),
    ],
    ids=str,
)
def test_hints_that_do_not_fit_are_errors(arch: str, change: dict, message: str) -> None:
    """A hint whose sizes contradict each other, the target or shared memory is refused with the rule it breaks."""
    config = _config(64, **GROUPS)
    with pytest.raises(ScheduleError) as error:
        RULE.schedule(Problem(config, 64, cuda_target(arch)), dataclasses.replace(DecodeHint(), **change))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("arch", "fields", "message"),
    [
        ("sm_75", {}, "needs sm_80 or newer (got sm_75)"),
        ("sm_90a", {"A_dtype": "float32"}, "needs A of 16 or 8 bits (got float32)"),
        ("sm_90a", {"W_dtype": "float16"}, "needs a W of at most 8 bits (got float16)"),
        ("sm_90a", {"group_size": 8, "with_scaling": True}, "needs group_size % 16 == 0 (got 8)"),
        ("sm_90a", {"A_dtype": "int8", "group_size": 16, "with_scaling": True}, "needs group_size % 32 == 0 (got 16)"),
        (
            "sm_90a",
            {"A_dtype": "float8_e4m3", "W_dtype": "nf4", "with_scaling": True},
            "needs a W whose values float16 holds where A is float8 and W is scaled (got nf4)",
        ),
    ],
    ids=str,
)
def test_refusals_name_need_and_value(arch: str, fields: dict, message: str) -> None:
    """Each refusal says what is needed and what was there."""
    assert RULE.refuses(Problem(_config(**fields), 1, cuda_target(arch))) == message


def test_only_gpus_and_the_fragment_layout() -> None:
    """CPUs are refused, and a function that reads the plain layout is left to others."""
    assert RULE.refuses(Problem(_config(), 1, tvm.target.Target("llvm"))) == "needs a CUDA target (got llvm)"
    assert RULE.apply(matmul_dequantize_b(_config(), 1), cuda_target("sm_90a")) is None
