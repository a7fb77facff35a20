# SPDX-License-Identifier: Apache-2.0
"""Stream-K of the wgmma kernels, carried out on the host for all blocks of a grid.

A kernel is translated to Python as in `test_wgmma_ring`: here to what its producers copy, and what one thread of each
consumer does to partial sums, counters and D. Blocks advance in random order, one access at a time.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from typing import Any

import pytest

from bitquant.arch import cuda_target
from bitquant.config import MatmulConfig
from bitquant.intrin.wgmma import WARPGROUP
from bitquant.layouts import TILE_N
from bitquant.problem import Problem
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.hint import ROWS, WgmmaHint
from bitquant.testing.kernels import HINTED_ARCH, HINTED_KERNELS, HintedKernel
from tests.unit.test_wgmma_ring import RULES, Translation, _buffer

Origin = tuple[int, int]
INT32 = range(-(1 << 31), 1 << 31)


def int32(value: int) -> int:
    """Return a value that 32-bit arithmetic holds."""
    assert value in INT32, f"{value} does not fit into 32 bits"
    return value


class Accesses(Translation):
    """A kernel as a generator of its copies and of its accesses to global memory; `is_checked`: 32 bits must do."""

    def __init__(self, func: Any, geometry: WgmmaGeometry, is_checked: bool = False) -> None:
        self.is_checked = is_checked
        super().__init__(func, geometry)
        for function in (self.thread, self.blocks):
            function.__globals__["int32"] = int32

    def _expression(self, e: Any) -> str:
        text = super()._expression(e)
        is_sum = type(e).__name__ in ("Add", "Sub", "Mul") and str(e.a.ty.dtype) == "int32"
        return f"int32{text}" if self.is_checked and is_sum else text

    def _event(self, call: Any) -> list[str]:
        if type(call).__name__ != "Call" or not hasattr(call.op, "name"):
            return []
        name = call.op.name.split(".", 1)[1]
        words = [str(a.value) for a in call.args if type(a).__name__ == "StringImm"]
        args = [a for a in call.args if type(a).__name__ != "StringImm"]
        if name.startswith("ptx.cp_async_bulk_tensor"):
            operand = "A" if "A_map" in str(args[1]) else "W"
            place = ", ".join(self._expression(a) for a in args[2:-1])
            return [f"yield 'copy', '{operand}', {place}"]
        kind = name.removeprefix("ptx.").split("_")[0]
        if kind not in ("st", "ld", "atom"):
            return super()._event(call) if name == "cuda.mbarrier_wait" else []
        if any(word.startswith("shared") for word in words):
            return self._note(kind, args)
        (access,) = (a.args[0] for a in args if type(a).__name__ == "Call" and a.op.name.endswith("address_of"))
        place = ", ".join(self._expression(i) for i in access.indices)
        target = _buffer(access).name
        if target == "counters" and kind == "atom":
            self.relevant.add(_buffer(args[0]))
            return [f"{self._expression(args[0])} = yield 'count', {place}"]
        events = {"counters": "reset", "partial_sums": {"st": "store", "ld": "load"}[kind], "D": "output"}
        return [f"yield '{events[target]}', {place}"] if target in events else []

    def _note(self, kind: str, args: list[Any]) -> list[str]:
        """Return an access to shared memory, if it is a note of one number that decides something."""
        register, address = (args[1], args[0]) if kind == "st" else (args[0], args[1])
        is_note = len(args) == 2 and type(register).__name__ in ("BufferLoad", "TensorLoad")
        if not is_note or _buffer(register) not in self.relevant:
            return []
        if kind == "st":
            return [f"yield 'note', {self._expression(address)}, {self._expression(register)}"]
        return [f"{self._expression(register)} = yield 'read', {self._expression(address)}"]


class Grid:
    """All blocks of a launch: what the producers bring, and the memory that consumers share."""

    def __init__(self, translation: Accesses, operands: dict[str, int], m: int) -> None:
        self.translation, self.operands, self.m = translation, operands, m
        self.geometry = translation.geometry
        self.blocks = translation.blocks(**operands)
        #: By block and slot, in the order of the ring: the tile, and the first k.
        self.slots = [self._produced(block) for block in range(self.blocks)]

    def thread(self, block: int, thread: int) -> Any:
        """Return the generator of one thread."""
        return self.translation.thread(block, 0, thread, **self.operands)

    def _produced(self, block: int) -> list[tuple[Origin, int]]:
        """Return what a block's producer copies; A and W of each slot must be of one tile and k."""
        g = self.geometry
        copies: dict[str, list[tuple[int, ...]]] = {"A": [], "W": []}
        for event in self.thread(block, g.hint.consumers * WARPGROUP):
            if event[0] == "copy":
                copies[event[1]].append(event[2:])
        found = []
        per_slot = len(copies["W"]) * g.steps // len(copies["A"])
        for a, w in zip(_batches(copies["A"], g.steps), _batches(copies["W"], per_slot), strict=True):
            k = a[0][0]
            assert a == [(k + step * g.step_k, a[0][1]) for step in range(g.steps)]
            if g.products.is_dense:
                n = w[0][1]
                assert w == [(k + step * g.step_k, n) for step in range(g.steps)]
            else:
                ((_, word, tile),) = w
                assert word * g.hint.block_k == k * g.weight.box[1], "W is not of the k of A"
                n = tile * TILE_N
            found.append(((a[0][1], n), k))
        return found

    def origins(self) -> set[Origin]:
        """Return all tiles."""
        g, h = self.geometry, self.geometry.hint
        return set(itertools.product(range(0, self.m, h.block_m), range(0, g.config.N, h.block_n)))


def _batches(items: list[Any], size: int) -> list[list[Any]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


class Consumer:
    """Thread 0 of a consumer: the tile it computes, and the part of K that it has of it."""

    def __init__(self, grid: Grid, block: int, index: int) -> None:
        self.grid, self.block, self.index = grid, block, index
        self.events = grid.thread(block, index * WARPGROUP)
        self.slots = iter(grid.slots[block])
        self.answer: Any = None
        self.origin: Origin | None = None
        self.begin = self.end = 0

    def advance(self) -> tuple[Any, ...] | None:
        """Return the next access to memory; slots of the ring that are read before it are counted to the tile."""
        memory = self.grid.geometry.memory
        while True:
            try:
                event = self.events.send(self.answer)
            except StopIteration:
                return None
            self.answer = None
            if event[0] != "wait":
                return event
            if 0 <= event[1] - memory.barrier_offset < 8 * self.grid.geometry.hint.stages:
                origin, k = next(self.slots)
                if origin != self.origin:
                    self.origin, self.begin = origin, k
                else:
                    assert k == self.end, "k does not follow on what was read before"
                self.end = k + self.grid.geometry.hint.block_k
                self.grid.read[origin, self.index].add((self.begin, self.end))


class Launch:
    """One launch of a grid, in one order of all accesses."""

    def __init__(self, grid: Grid, seed: int) -> None:
        self.grid, self.random = grid, random.Random(seed)
        g = grid.geometry
        self.sizes = 2 * g.most_blocks * g.partial_sums, 2 * g.most_blocks * g.hint.consumers_n
        self.pieces = g.hint.n_tiles_per_consumer * g.sums // 4
        #: By place of the partial sums: whose they are. By tile and consumer: its parts' places.
        self.owners: dict[int, tuple[Origin, int, int, int]] = {}
        self.parts: dict[tuple[Origin, int], dict[tuple[int, int], list[int]]] = defaultdict(lambda: defaultdict(list))
        self.counters: dict[int, int] = defaultdict(int)
        self.counted: dict[int, tuple[Origin, int]] = {}
        self.notes: dict[tuple[int, int], int] = {}
        self.loads: dict[tuple[Origin, int], list[int]] = defaultdict(list)
        self.outputs: dict[tuple[int, int], tuple[int, int]] = {}
        self.finished: dict[tuple[Origin, int], set[int]] = defaultdict(set)

    def run(self) -> None:
        """Carry it out and check it."""
        grid, g = self.grid, self.grid.geometry
        grid.read = defaultdict(set)
        running = [Consumer(grid, block, i) for block in range(grid.blocks) for i in range(g.hint.consumers_n)]
        while running:
            at = self.random.randrange(len(running))
            consumer = running[at]
            # A few accesses at a time: mostly one between those of others.
            for _ in range(self.random.choice((1, 1, 1, 40))):
                event = consumer.advance()
                if event is None:
                    assert next(consumer.slots, None) is None, "a slot is not read"
                    running[at] = running[-1]
                    running.pop()
                    break
                consumer.answer = self._take(consumer, *event)
        self._check()

    def _take(self, consumer: Consumer, kind: str, *args: int) -> Any:
        origin, index, part = consumer.origin, consumer.index, (consumer.begin, consumer.end)
        tile = origin, index
        if kind == "store":
            (place,) = args
            assert place % (4 * WARPGROUP) == 0
            assert 0 <= place < self.sizes[0]
            assert place not in self.owners, "partial sums are overwritten"
            self.owners[place] = (*tile, *part)
            self.parts[tile][part].append(place)
        elif kind == "load":
            (place,) = args
            assert place in self.owners, "partial sums are read that nobody has stored"
            assert self.owners[place][:2] == tile, "partial sums of another tile are read"
            self.loads[tile].append(place)
        elif kind == "count":
            (place,) = args
            assert 0 <= place < self.sizes[1]
            assert self.counted.setdefault(place, tile) == tile, "two tiles have one counter"
            self.counters[place] += 1
            return self.counters[place] - 1
        elif kind == "reset":
            self.counters[args[0]] = 0
        elif kind == "note":
            self.notes[consumer.block, args[0]] = args[1]
        elif kind == "read":
            return self.notes[consumer.block, args[0]]
        elif kind == "output":
            assert args not in self.outputs, "an output is stored twice"
            self.outputs[args] = tile
            self.finished[tile].add(consumer.block)
        return None

    def _check(self) -> None:
        grid, g, h = self.grid, self.grid.geometry, self.grid.geometry.hint
        assert not any(self.counters.values()), "a counter is left"
        whole = (0, g.loop.tile_bodies * g.loop.body_stages * h.block_k)
        assert {origin for origin, _ in grid.read} == grid.origins()
        for tile, seen in grid.read.items():
            # What each consumer had read of the tile in the end: the longest range of each begin.
            ranges = sorted({begin: (begin, end) for begin, end in sorted(seen)}.values())
            assert (ranges[0][0], ranges[-1][1]) == whole
            assert all(before[1] == after[0] for before, after in itertools.pairwise(ranges)), "K is not covered once"
            parts = self.parts.get(tile, {})
            assert sorted(parts) == (ranges if len(ranges) > 1 else [])
            assert self.loads.get(tile, []) == [place for part in sorted(parts) for place in parts[part]]
            assert all(len(places) == self.pieces for places in parts.values())
            (m, n), index = tile
            first = index * h.n_tiles_per_consumer
            if n + first * ROWS < g.config.N and (not h.n_tiles_per_cta or first < h.n_tiles_per_cta):
                assert self.outputs[m, n + first * ROWS] == tile
                assert len(self.finished[tile]) == 1, "not one block completes the tile"


def translate(config: MatmulConfig, hint: WgmmaHint, rule: str = "wgmma", is_checked: bool = False) -> Accesses:
    """Return a kernel's accesses."""
    geometry = RULES[rule].geometry(Problem(config, config.ladder[-1], cuda_target(HINTED_ARCH)), hint)
    assert geometry.fault is None
    return Accesses(RULES[rule].emit(geometry), geometry, is_checked)


def check(
    config: MatmulConfig, hint: WgmmaHint, rows: tuple[int, ...], seeds: range = range(2), rule: str = "wgmma"
) -> None:
    """Carry out a kernel's launches, each in several orders."""
    translation = translate(config, hint, rule)
    for m in rows if translation.rows else config.ladder[-1:]:
        grid = Grid(translation, dict.fromkeys(translation.rows, m), m)
        for seed in seeds:
            Launch(grid, seed).run()


def shown(kernel: HintedKernel) -> set[tuple[Any, ...]]:
    """What a kernel shows of partial sums: how a block and a consumer are tiled."""
    h = kernel.hint
    assert isinstance(h, WgmmaHint)
    return {(kernel.rule, h.n_tiles_per_cta > 0), (h.n_tiles_per_consumer, h.blocks_per_sm), (h.scaling,)}


STREAM_K = [kernel for kernel in HINTED_KERNELS if kernel.rule in RULES and kernel.hint.to_dict()["stream_k"]]


@pytest.mark.parametrize("kernel", STREAM_K, ids=str)
@pytest.mark.sample(shows=shown)
def test_every_tile_is_computed_once(kernel: HintedKernel) -> None:
    """K of each tile is covered once, one consumer adds its parts in the order of K, and counters end as zeros."""
    assert isinstance(kernel.hint, WgmmaHint)
    check(kernel.config, kernel.hint, kernel.rows, rule=kernel.rule)


#: By tiles and blocks (132 or 264): fields of the problem, rows of A, fields of the hint; rounds of the loop are few,
#: so that shares of blocks end everywhere.
_RATIOS: dict[str, tuple[dict[str, Any], tuple[int, ...], dict[str, Any]]] = {
    "fewer rounds than blocks": ({"N": 64, "K": 640}, (1, 16), {"block_m": 16}),
    "one block more than rounds": ({"N": 131 * 64, "K": 128}, (1,), {"block_m": 16, "blocks_per_sm": 1}),
    "fewer tiles than blocks, ragged K": ({"N": 3000, "K": 2080}, (1, 16), {"block_m": 16, "consumers_n": 2}),
    "as many": ({"N": 64, "K": 1056}, (131 * 8 + 1, 132 * 8), {"block_m": 8}),
    "one more": ({"N": 64, "K": 1056}, (132 * 8 + 1,), {"block_m": 8}),
    "one less than twice as many": ({"N": 64, "K": 1056}, (263 * 8,), {"block_m": 8}),
    "two blocks a multiprocessor": ({"N": 64, "K": 1056}, (263 * 8, 265 * 8), {"block_m": 8, "blocks_per_sm": 2}),
    "many times as many": ({"N": 200, "K": 576}, (1, 5000), {"block_m": 24, "raster": 3}),
    "a fixed M": ({"N": 1000, "K": 4096, "M": 130}, (130,), {"block_m": 64, "n_tiles_per_consumer": 2}),
}


@pytest.mark.parametrize("name", _RATIOS)
@pytest.mark.thorough
def test_every_ratio_of_tiles_and_blocks(name: str) -> None:
    """As above, with K, m and grids that leave shares of every kind."""
    fields, rows, hint = _RATIOS[name]
    config = MatmulConfig(**{"M": (16,), "W_dtype": "uint4", **fields})
    check(config, WgmmaHint(**{"consumers_n": 1, "stages": 3, "stream_k": True, **hint}), rows, range(4))


def test_the_greatest_problem_fits_into_32_bits() -> None:
    """N, K and m as large as a call may have them, in the smallest tiles: the grid and the shares of K are right."""
    config = MatmulConfig(N=65536, K=65472, M=(16,), W_dtype="uint4")
    hint = WgmmaHint(block_m=8, consumers_n=1, block_k=64, stream_k=True)
    translation = translate(config, hint, is_checked=True)
    m = ((1 << 31) - 1) // config.N
    blocks = translation.blocks(rows=m)
    assert blocks == translation.geometry.most_blocks
    for block, thread in itertools.product((0, blocks - 1), (0, WARPGROUP)):
        events = translation.thread(block, 0, thread, rows=m)
        assert len(list(itertools.islice(events, 3000))) == 3000


def test_blocks_of_a_cluster_share_k_unequally() -> None:
    """9 rounds for 4 blocks of two consumers along K: each k is copied by one block, for one consumer, in order."""
    config = MatmulConfig(N=64, K=9 * 256 - 40, M=16, W_dtype="uint4")
    hint = WgmmaHint(block_m=16, consumers_n=1, consumers_k=2, split_k=4)
    translation = translate(config, hint)
    g = translation.geometry
    assert g.shares_unequally
    found: list[int] = []
    for rank in range(hint.split_k):
        events = translation.thread(rank, rank, hint.consumers * WARPGROUP)
        copied = [event[2] for event in events if event[:2] == ("copy", "A")]
        parts = [[copied[i] for i in range(len(copied)) if i // g.steps % hint.consumers_k == part]
                 for part in range(hint.consumers_k)]  # fmt: skip
        found += [k for part in parts for k in part]
    assert found == list(range(0, 9 * 256, g.step_k))
