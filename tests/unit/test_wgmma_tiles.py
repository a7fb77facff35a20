# SPDX-License-Identifier: Apache-2.0
"""Tile sizes of the wgmma kernel: blocks of rows that fill the GPU, and what decoding and scaling cost."""

from __future__ import annotations

import pytest

from bitquant.arch import cuda_target, resolve_target
from bitquant.config import MatmulConfig
from bitquant.problem import Problem
from bitquant.schedule.rules.hopper import cost, space
from bitquant.schedule.rules.hopper.cost import tile_waves
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.hint import ROWS, WgmmaHint
from bitquant.schedule.rules.hopper.products import Products
from bitquant.schedule.rules.hopper.registers import hint_registers, needed_registers

TARGET = cuda_target("sm_90a")


def _config(N: int = 8192, K: int = 8192, **fields: object) -> MatmulConfig:
    given = {"W_dtype": "uint4", "group_size": 128, "with_scaling": True, "with_zeros": True}
    return MatmulConfig(M=[64], N=N, K=K, **{**given, **fields})


def predicted_us(config: MatmulConfig, m: int, hint: WgmmaHint) -> float:
    return cost.predicted_us(WgmmaGeometry(Problem(config, m, TARGET), hint))


def step_instructions(config: MatmulConfig, hint: WgmmaHint) -> float:
    return cost.step_instructions(WgmmaGeometry(Problem(config, 64, TARGET), hint))


def likely_hints(config: MatmulConfig, m: int) -> list[WgmmaHint]:
    problem = Problem(config, m, TARGET)
    return list(space.likely_hints(problem, Products(problem)))


def test_geometry_is_frozen_and_shares_what_all_hints_have() -> None:
    """Nothing of it can be set, also before what is computed later has been asked for; another hint is another one."""
    geometry = WgmmaGeometry(Problem(_config(), 64, TARGET), WgmmaHint(block_m=64))
    for name in ("steps", "memory", "other"):
        with pytest.raises(AttributeError, match=f"WgmmaGeometry is frozen: '{name}' cannot be set"):
            setattr(geometry, name, 1)
    other = geometry.with_hint(WgmmaHint(block_m=64, stages=5))
    assert (geometry.hint.stages, other.hint.stages) == (4, 5)
    assert other.memory.slot_bytes == geometry.memory.slot_bytes
    assert other.smem_bytes == geometry.smem_bytes + geometry.memory.slot_bytes + geometry.memory.slot_extra_bytes
    assert other.decoder is geometry.decoder


@pytest.mark.parametrize("multicast", [1, 2])
def test_sizes_that_do_not_fit_leave_nothing_to_compute(multicast: int) -> None:
    """A fault of sizes is found without what is computed from them, and neither before it is asked for."""
    problem = Problem(_config(), 64, TARGET)
    wrong_size = WgmmaGeometry(problem, WgmmaHint(block_k=96, multicast=multicast))
    assert wrong_size.fault == "needs block_k % 64 == 0"
    assert not {"loop", "memory"} & set(vars(wrong_size))
    too_large = WgmmaGeometry(problem, WgmmaHint(stages=32, multicast=multicast))
    assert "fault" not in vars(too_large)
    assert str(too_large.fault).endswith("bytes of shared memory, and a block has 232448")


@pytest.mark.parametrize(
    ("blocks", "rows", "consumers_n", "wanted"),
    [
        (56, 2, 4, [0, 7]),  # 7 tiles of 8 blocks, or 8 of 7.
        (448, 2, 4, [0, 7]),
        (12, 2, 2, [0, 3]),
        (12, 4, 1, [0, 3]),
        (64, 2, 4, [0]),  # Not whole tiles of 7,
        (49, 2, 4, [0]),  # and not whole ones of 8.
        (56, 1, 4, [0]),  # One block a consumer: one less would leave a consumer without any.
        (12, 2, 1, [0]),  # Of two blocks one is what n_tiles_per_consumer=1 has.
    ],
)
def test_row_blocks_are_one_less_where_both_numbers_divide_n(
    blocks: int, rows: int, consumers_n: int, wanted: list[int]
) -> None:
    """A tile of one block of 64 rows less is tried where N is a whole number of either, and consumers hold several."""
    hint = WgmmaHint(n_tiles_per_consumer=rows, consumers_n=consumers_n)
    assert space._n_tiles_per_cta(blocks * ROWS, hint) == wanted
    # The last block may be a part of one.
    assert space._n_tiles_per_cta(blocks * ROWS - 5, hint) == wanted


@pytest.mark.parametrize(("row_blocks", "block_n"), [(0, 512), (7, 448), (1, 64)])
def test_row_blocks_are_the_rows_of_a_tile(row_blocks: int, block_n: int) -> None:
    """Rows of W in a tile are those of `n_tiles_per_cta`, or of all blocks that consumers hold."""
    assert WgmmaHint(n_tiles_per_consumer=2, consumers_n=4, n_tiles_per_cta=row_blocks).block_n == block_n


def test_tiles_of_seven_blocks_are_predicted_to_fill_the_gpu() -> None:
    """57344 rows of W: 112 tiles of 512 rows leave 20 of 132 multiprocessors idle, 128 tiles of 448 rows fewer."""
    config = _config(57344)
    hints = [
        WgmmaHint(block_m=16, n_tiles_per_consumer=2, consumers_n=4, scaling="sums", n_tiles_per_cta=row_blocks)
        for row_blocks in (0, 7)
    ]
    whole, fewer = (predicted_us(config, 16, hint) for hint in hints)
    assert fewer <= whole


@pytest.mark.parametrize("weight", ["uint4", "int4"])
def test_sums_are_cheaper_to_scale_where_rows_are_few(weight: str) -> None:
    """A step of a group of 64 has fewer instructions with scaled sums at 16 rows of A, and more at 64."""
    config = _config(W_dtype=weight, group_size=64)

    def instructions(scaling: str, block_m: int) -> float:
        return step_instructions(config, WgmmaHint(block_m=block_m, scaling=scaling))

    assert instructions("sums", 16) < instructions("operand", 16)
    assert instructions("sums", 64) > instructions("operand", 64)
    assert instructions("sums", 16) < instructions("sums", 32) < instructions("sums", 64)
    # Operands are scaled alike whatever they are multiplied with.
    assert instructions("operand", 16) == instructions("operand", 64)


def test_zero_points_cost_instructions_in_either_place() -> None:
    """Zero points take an operation of each register, or of each sum."""
    with_zeros, without = _config(), _config(with_zeros=False)
    for scaling in ("operand", "sums"):
        hint = WgmmaHint(block_m=32, scaling=scaling)
        assert step_instructions(with_zeros, hint) > step_instructions(without, hint)


@pytest.mark.parametrize("scaling", ["operand", "sums"])
def test_unequal_parts_of_k_cost_instructions(scaling: str) -> None:
    """What is decoded beyond K must become zero where parts of K are not whole slots."""
    hints = [WgmmaHint(block_m=16, block_k=256, consumers_n=1, consumers_k=k, scaling=scaling) for k in (1, 2, 3, 4)]
    costs = [step_instructions(_config(K=8192), hint) for hint in hints]
    assert costs[0] == costs[1] == costs[3] < costs[2]


def test_sharing_a_costs_time_where_something_is_decoded() -> None:
    """Slots wait for the blocks of a cluster; dense kernels, which read W from L2 as well, lose next to nothing."""
    loss = {}
    for weight, scales in (("uint4", True), ("float16", False)):
        config = _config(W_dtype=weight, with_scaling=scales, with_zeros=scales, group_size=128 if scales else -1)
        alone, shared = (predicted_us(config, 128, WgmmaHint(multicast=multicast)) for multicast in (1, 2))
        loss[weight] = shared / alone - 1
    assert loss["uint4"] > 0.05
    assert loss["float16"] < 0.02


def test_memory_is_as_fast_as_the_products() -> None:
    """A call that memory bounds takes longer on an H100 than on an H200, and one that tensor cores bound does not."""
    config = _config(
        W_dtype="int8", A_dtype="int8", out_dtype="int32", group_size=-1, with_scaling=False, with_zeros=False
    )
    hint = WgmmaHint(block_m=16, consumers_n=1, block_k=128, stages=12)
    for m, hint_of_m, is_slower in ((16, hint, True), (4096, WgmmaHint(block_m=128, block_k=128), False)):
        h200, h100 = (
            cost.predicted_us(WgmmaGeometry(Problem(config, m, resolve_target(name), "fragment"), hint_of_m))
            for name in ("h200", "h100")
        )
        assert (h100 > h200) is is_slower
        assert h100 >= h200


def test_longer_groups_make_scaled_sums_cheaper() -> None:
    """Sums are scaled once a group of 64, and once in 128 k where groups are longer."""
    hint = WgmmaHint(block_m=32, scaling="sums")
    costs = [step_instructions(_config(group_size=group), hint) for group in (64, 128, 256, -1)]
    assert costs[0] > costs[1] == costs[2] == costs[3]


@pytest.mark.parametrize(
    ("weight", "A_dtype", "wanted"),
    [
        ("uint4", "float16", True),
        ("int4", "float16", True),
        ("int5", "float16", True),
        ("uint4", "bfloat16", False),  # A mantissa of 7 bits.
        ("nf4", "float16", False),  # Values from a table.
        ("int8", "float16", False),  # 7 bits at most.
        ("float8_e4m3", "float16", False),
        ("uint2", "float16", False),  # Places of codes differ within a row.
        ("uint1", "float16", False),
    ],
)
def test_codes_that_need_masks_alone(weight: str, A_dtype: str, wanted: bool) -> None:
    """Codes are multiplied where they stand if one power of two a row makes them the values."""
    config = _config(W_dtype=weight, A_dtype=A_dtype, out_dtype=A_dtype, with_zeros=False)
    assert Products(Problem(config, 64, TARGET)).decodes_in_place is wanted


@pytest.mark.parametrize("m", [16, 64, 4096])
@pytest.mark.parametrize(
    ("fields", "is_legal"),
    [
        ({}, True),
        ({"group_size": 64}, True),
        ({"group_size": -1}, True),
        ({"with_scaling": False, "zeros_mode": "quantized"}, True),
        ({"W_dtype": "nf4", "with_zeros": False}, True),
        ({"group_size": 32}, False),
        ({"with_scaling": False, "with_zeros": False}, False),
        ({"A_dtype": "int8", "with_zeros": False}, False),
    ],
    ids=str,
)
def test_likely_hints_scale_sums_only_where_that_is_legal(fields: dict, is_legal: bool, m: int) -> None:
    """Hints of scaled sums come for whole steps of a group and up to 64 rows of A, and registers hold them all."""
    config = _config(**fields)
    hints, products = likely_hints(config, m), Products(Problem(config, m, TARGET))
    summing = [hint for hint in hints if hint.scaling == "sums"]
    assert bool(summing) is is_legal
    assert len(summing) < len(hints)
    assert all(products.sums_refusal(hint.block_m) is None and hint.block_m <= 64 for hint in summing)
    assert all(needed_registers(products, hint) <= hint_registers(hint)[1] for hint in hints)


@pytest.mark.parametrize(
    ("tiles", "resident", "split", "wanted"),
    [
        (264, 132, 2, (2.0, False)),
        (330, 132, 2, (2.5, True)),
        (331, 132, 2, (3.0, False)),  # 67 tiles for 66 clusters.
        (66, 132, 2, (0.5, True)),
        (297, 132, 4, (2.25, True)),
        (298, 132, 4, (3.0, False)),
        (298, 132, 1, (3.0, False)),
    ],
)
def test_waves(tiles: int, resident: int, split: int, wanted: tuple[float, bool]) -> None:
    """Clusters share the tiles of a last wave where there are enough of them."""
    assert tile_waves(tiles, resident, split) == wanted


def test_hints_share_the_last_wave_where_that_shortens_it() -> None:
    """448 tiles of 128 x 192 are 3.4 waves of 132 multiprocessors; 128 tiles are one, nearly full."""
    for config, m, block_m, wanted in ((_config(28672), 384, 192, {1, 2}), (_config(16384), 256, 256, {1})):
        hints = [h for h in likely_hints(config, m) if h.block_m == block_m and h.block_n == 128]
        assert {h.tail_split for h in hints if h.parts == 1 and h.blocks_per_sm == 1} == wanted
    assert all(h.parts == 1 and h.scaling == "operand" for h in hints if h.tail_split > 1)


@pytest.mark.parametrize(
    ("fields", "missing_bytes"),
    [
        ({"n_tiles_per_consumer": 2, "n_tiles_per_cta": 3, "block_k": 256, "scaling": "sums", "stages": 6}, 8192),
        ({"n_tiles_per_consumer": 3, "n_tiles_per_cta": 1, "block_k": 128, "stages": 24}, 5 * 4096),
        ({"n_tiles_per_consumer": 3, "block_k": 128, "stages": 4}, 0),
    ],
)
def test_consumers_read_no_further_than_the_block_has_memory(fields: dict[str, object], missing_bytes: int) -> None:
    """Blocks of rows that a tile does not have are read behind a slot, also behind the last one."""
    geometry = WgmmaGeometry(Problem(_config(), 16, TARGET), WgmmaHint(block_m=16, **fields))
    assert geometry.fault is None
    assert geometry.overread_bytes == missing_bytes
    hint, memory = geometry.hint, geometry.memory
    held = hint.n_tiles_per_consumer * hint.consumers_n
    codes_of_64_rows = 64 * hint.block_k // 2
    last_slot = (hint.stages - 1) * memory.slot_bytes
    assert last_slot + memory.a_bytes + held * codes_of_64_rows <= memory.nbytes


@pytest.mark.parametrize(("split_k", "block_m", "own"), [(2, 128, 1), (2, 72, 1), (2, 64, 0), (4, 128, 0)])
def test_two_parts_of_k_keep_half_of_their_sums(split_k: int, block_m: int, own: int) -> None:
    """What a part stores itself need not pass through shared memory, which leaves room for another slot."""
    hint = WgmmaHint(block_m=block_m, block_k=128, stages=4, split_k=split_k)
    geometry = WgmmaGeometry(Problem(_config(), 256, TARGET), hint)
    exchange = geometry.exchange
    assert exchange is not None
    assert exchange.slots == exchange.parts - own
    assert exchange.slots * exchange.part_bytes == exchange.nbytes
    assert exchange.part_bytes * exchange.parts >= hint.block_m * hint.block_n * 4
    assert (geometry.fault is None) == (split_k == 2)


def test_one_consumer_with_many_rows_is_slower_than_two() -> None:
    """Two warps of a multiprocessor's quarter hide what one waits for; sums of A and short calls are as they were."""
    alone = WgmmaHint(n_tiles_per_consumer=2, consumers_n=1, block_k=128)
    both = WgmmaHint(n_tiles_per_consumer=1, consumers_n=2, block_k=128)
    config = _config(3584, 14336)
    assert predicted_us(config, 512, alone) > 1.1 * predicted_us(config, 512, both)
    assert predicted_us(config, 1024, alone) < 1.1 * predicted_us(config, 1024, both)


@pytest.mark.parametrize(("block_m", "fits"), [(192, True), (208, False), (256, False)])
def test_one_wgmma_has_the_registers_that_ptxas_wants_for_it(block_m: int, fits: bool) -> None:
    """A kernel of two blocks a multiprocessor begins with 128 registers a thread, which 208 columns exceed."""
    hint = WgmmaHint(block_m=block_m, consumers_n=1, blocks_per_sm=2, block_k=64, stages=3)
    fault = WgmmaGeometry(Problem(_config(), 2048, TARGET), hint).fault
    assert fault is None if fits else str(fault).startswith(f"needs {block_m // 2 + 30} registers a thread for one")
