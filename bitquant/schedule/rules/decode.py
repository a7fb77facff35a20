"""Few rows of A: the time to read the weight, on the fragment layout.

The weight is the left operand of the tensor cores, D^T = W A^T, and streams from memory straight into the registers that
they read: 16 bytes a lane and load, no shared memory. A few rows of A sit in shared memory as the right operand::

    W fragments --ld.global--> registers --decode--> mma --sums of a group--> x scale, - zero point --> totals
    A ----------cp.async-----> ring ----ldmatrix------^

A warp owns `rows` tiles of 16 n. The warps of a block share n and k; what they hold of the same n is added in shared
memory at the end, and where the blocks of a cluster share k, in distributed shared memory.

Scale and zero point are applied in float32 to the sums of a group, sum a (w - z) s = (sum a w - z sum a) s; sum a comes
from one more mma with a left operand of ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tvm import tirx
from tvm.script import tirx as T
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.arch import GpuArch, gpu_arch
from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.matmul import output_value, zero_point
from bitquant.config import MatmulConfig
from bitquant.errors import ScheduleError
from bitquant.intrin.fragments import PairTable, RegisterDecoder, decoder_refusal
from bitquant.intrin.mma import MmaOp, Tile, copy_tile, load_fragments, store_local
from bitquant.layouts import FragmentLayout, Layout, fragment_layout, fragment_refusal
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.base import Rule, operands

__all__ = ["DecodeHint", "DecodeRule"]

Expr = Any

#: What a lane loads of the weight at a time.
_LOAD_BYTES = 16
#: The launch tag of programmatic dependent launch [sic], and the attribute that TVM reads it from.
_LAUNCH_ATTR, _DEPENDENT_LAUNCH = "tirx.kernel_launch_params", "tirx.use_programtic_dependent_launch"
#: Columns by which rows of partial sums are padded, so that the lanes that store them meet 32 banks.
_SUM_PAD = 4
#: Named barriers of a block (PTX ISA, "bar"); the first is that of the whole block.
_NAMED_BARRIERS = 16


@dataclass(frozen=True)
class DecodeHint(Hint):
    """Shape of the decode kernel.

    Attributes
    ----------
    block_m
        Rows of A that a block multiplies: 8, 16, 32 or 64.
    rows
        Tiles of 16 n that a warp owns.
    warps_n, warps_k
        Warps of a block along n and along k. Those with the same k are a team, which shares its part of A.
    split_k
        Blocks of a cluster that share k (sm_90).
    ahead
        Tiles of k that a warp has in flight, for each of its rows.
    round
        Tiles of k in the unrolled body of the loop; A and the scales arrive a round at a time.
    stages
        Rounds of A in shared memory.
    chains
        Independent sums of a product, which hide the latency of an mma.
    blocks_per_sm
        Blocks that registers must leave room for on a multiprocessor.
    """

    block_m: int = 8
    rows: int = 1
    warps_n: int = 1
    warps_k: int = 8
    split_k: int = 1
    ahead: int = 2
    round: int = 4
    stages: int = 2
    chains: int = 4
    blocks_per_sm: int = 1


class DecodeRule(Rule):
    """Few rows of A on the fragment layout (see the module)."""

    name = "decode"
    pipeline = "tirx"
    hint_type = DecodeHint
    weight_layouts: ClassVar[tuple[Layout, ...]] = ("fragment",)

    def refuses(self, config: MatmulConfig, rung: int, target: Target) -> str | None:
        """Refuse what has no fragment layout, GPUs before sm_80, and formats that no tensor-core type holds."""
        if target.kind.name != "cuda":
            return f"needs a CUDA target (got {target.kind.name})"
        arch = gpu_arch(str(target.arch))
        if not arch.has_mma_m16n8k16:
            return f"needs sm_80 or newer (got {arch.name})"
        if reason := fragment_refusal(config):
            return reason
        return decoder_refusal(config.W_format, _operand(config))

    def default_hint(self, config: MatmulConfig, rung: int, target: Target) -> DecodeHint:
        """Return the first hint of `space`."""
        return next(self.space(config, rung, target))

    def space(self, config: MatmulConfig, rung: int, target: Target) -> Iterator[DecodeHint]:
        """Yield the hints worth measuring, in the order of the time that the model predicts."""
        arch = gpu_arch(str(target.arch))
        yield _fit(config, rung, arch, DecodeHint(block_m=min(64, max(8, 1 << (rung - 1).bit_length()))))

    def smem_bytes(self, config: MatmulConfig, rung: int, target: Target, hint: Hint) -> int:
        """Return the bytes of the ring of A, or of the partial sums where they take more."""
        assert isinstance(hint, DecodeHint)
        return _Kernel(config, rung, gpu_arch(str(target.arch)), hint).smem_bytes

    def schedule(self, config: MatmulConfig, rung: int, target: Target, hint: Hint) -> PrimFunc:
        """Write the kernel for this problem.

        Raises
        ------
        ScheduleError
            If the hint's sizes do not fit each other, the architecture or shared memory.
        """
        assert isinstance(hint, DecodeHint)
        arch = gpu_arch(str(target.arch))
        if (problem := _hint_problem(config, rung, arch, hint)) is not None:
            raise ScheduleError(f"decode: {problem} (got {hint})", hint=hint)
        return _Kernel(config, rung, arch, hint).build()


def _operand(config: MatmulConfig) -> str:
    """Return the type in which the tensor cores multiply: that of A, and float16 for float8, which it holds."""
    a, w = config.A_format, config.W_format
    if a.is_integer:
        return "uint8" if w.name == "uint8" else "int8"
    return "bfloat16" if a.name == "bfloat16" else "float16"


def _fit(config: MatmulConfig, rung: int, arch: GpuArch, hint: DecodeHint) -> DecodeHint:
    """Return the hint with a ring that fits shared memory."""
    return hint


def _hint_problem(config: MatmulConfig, rung: int, arch: GpuArch, hint: DecodeHint) -> str | None:
    """Return the rule that a hint breaks, or None."""
    if hint.block_m not in (8, 16, 32, 64):
        return "needs block_m of 8, 16, 32 or 64"
    if min(hint.to_dict().values()) < 1:
        return "needs sizes of at least 1"
    if hint.warps_n * hint.warps_k > 32:
        return "needs at most 32 warps"
    if hint.warps_n > 1 and hint.warps_k >= _NAMED_BARRIERS:
        return f"needs warps_k < {_NAMED_BARRIERS} where warps_n > 1: each team has a barrier of its own"
    if hint.round % hint.ahead:
        return "needs round % ahead == 0"
    if hint.split_k not in (1, 2, 4, 8):
        return "needs split_k of 1, 2, 4 or 8"
    if hint.split_k > 1 and arch.capability < 90:
        return f"needs sm_90 or newer for split_k > 1, and the target is {arch.name}"
    if hint.stages > 8:
        return "needs stages <= 8"
    kernel = _Kernel(config, rung, arch, hint)
    if kernel.rounds < hint.split_k * hint.warps_k:
        return f"needs split_k * warps_k <= {kernel.rounds}, the rounds of k"
    if kernel.smem_bytes > arch.smem_per_block_bytes:
        return f"needs {kernel.smem_bytes} bytes of shared memory, and {arch.name} has {arch.smem_per_block_bytes}"
    return None


def cluster_rank(split: int) -> Expr:
    """Return this block's place among the `split` blocks of its cluster."""
    return T.cta_id_in_cluster([split]) if split > 1 else 0


class _Kernel:
    """One kernel: what is known before its body is written, and the pieces of the body.

    K is cut into parts, one for each team of the cluster's blocks, and a part into *rounds* of `hint.round` tiles. A
    *run* is the part of a round that shares a scale.
    """

    def __init__(self, config: MatmulConfig, rung: int, arch: GpuArch, hint: DecodeHint) -> None:
        self.config, self.rung, self.arch, self.hint = config, rung, arch, hint
        h, a = hint, config.A_format
        self.layout = fragment_layout(config)
        operand = _operand(config)
        self.is_integer = a.is_integer
        self.decoder = RegisterDecoder(config.W_format, self.layout, operand, arch.capability)
        #: mma instructions a step of the layout: two where 8-bit fragments are multiplied in a 16-bit type.
        self.halves = self.decoder.registers
        left = {"int8": "s8", "uint8": "u8", "float16": "f16", "bfloat16": "bf16"}[operand]
        self.mma = MmaOp(left, "s8" if self.is_integer else left, has_k16=True)
        self.ones_mma = MmaOp("s8" if self.is_integer else left, "s8" if self.is_integer else left, has_k16=True)
        self.ones = {"s8": 0x01010101, "u8": 0x01010101, "f16": 0x3C003C00, "bf16": 0x3F803F80}[left]
        self.sum_dtype = "uint32" if self.is_integer else "float32"
        self.needs_sum_of_a = config.with_zeros or bool(self.decoder.value_offset)
        #: Turns four float8 numbers of A into two registers of the operand's type.
        self.a_decoder = None
        if a.bits == 8 and not a.is_integer:
            self.a_decoder = RegisterDecoder(a, FragmentLayout(8, 8), operand, arch.capability)
        self.value_scale = self.decoder.value_scale * (self.a_decoder.value_scale if self.a_decoder else 1)

        self.blocks_m = h.block_m // 8
        self.threads = 32 * h.warps_n * h.warps_k
        self.team_threads = 32 * h.warps_n
        self.block_n = 16 * h.rows * h.warps_n
        self.tiles_k = self.layout.tiles_k(config.K)
        self.lane_words = self.layout.tile_bytes // 128
        self.round_k = h.round * self.layout.tile_k
        self.rounds = -(-self.tiles_k // h.round)
        parts = h.split_k * h.warps_k
        self.static_count = self.rounds // parts if self.rounds % parts == 0 else None
        self.run_k = math.gcd(config.group, self.round_k) if config.num_groups > 1 else self.round_k
        self.runs = self.round_k // self.run_k
        self.has_ragged_tiles = self.tiles_k % h.round != 0
        self.has_ragged_k = config.K % self.round_k != 0
        self.has_ragged_n = config.N % self.block_n != 0
        self.uses_dependent_launch = arch.capability >= 90
        # Rows of A beyond the rung are not stored; the lanes that would read them read the last one.
        self.rows_of_a = min(h.block_m, rung) if config.has_fixed_rows(rung) else h.block_m
        self._lay_out()

    def _lay_out(self) -> None:
        """Place the rings of A and of the scales in shared memory, and choose the widths of the copies."""
        c, h, end = self.config, self.hint, 0

        def rings(rows: int, row_bytes: int) -> list[Tile]:
            nonlocal end
            tiles = []
            for _ in range(h.warps_k):
                tiles.append(Tile(end, rows, row_bytes, h.stages, swizzled=False))
                end = tiles[-1].end
            return tiles

        a_bytes = c.A_format.bits // 8
        self.a_rings = rings(self.rows_of_a, self.round_k * a_bytes)
        self.a_width = math.gcd(c.K * a_bytes, self.a_rings[0].row_bytes, 16)
        # Scales of whole groups side by side travel with A; a single one, or what no wide copy takes, by itself.
        size = c.scale_format.bits // 8
        groups = self.round_k // c.group if self.round_k % c.group == 0 else 0
        self.scale_width = math.gcd(groups * size, c.num_groups * size, 16) if groups > 1 else 0
        is_staged = self.scale_width >= 4
        self.scale_rings = rings(self.block_n, groups * size) if is_staged and c.with_scaling else None
        zeros_staged = is_staged and c.with_zeros and not c.has_packed_zeros
        self.zero_rings = rings(self.block_n, groups * size) if zeros_staged else None
        self.sum_stride = self.block_n + _SUM_PAD
        sums = 4 * h.warps_k * self.rows_of_a * self.sum_stride
        self.table_offset = -(-max(end, sums) // 128) * 128
        self.smem_bytes = self.table_offset + self.decoder.table_bytes

    # Emitters. `bind` gives them the buffers and indices of the function that is being written.

    def bind(
        self, A: Any, B: Any, Scale: Any, Zeros: Any, m: Expr, block: Expr, rank: Expr, thread: Expr, arena: Any
    ) -> None:
        """Take the function's operands, and compute where this block and thread stand."""
        self.A, self.B, self.Scale, self.Zeros = A, B, Scale, Zeros
        self.m, self.rank, self.thread, self.arena = m, rank, thread, arena
        h = self.hint
        self.lane, warp = thread % 32, thread // 32
        self.team, self.warp_n = warp // h.warps_n, warp % h.warps_n
        blocks_m = T.truncdiv(m + (h.block_m - 1), h.block_m)
        self.m0 = T.truncmod(block, blocks_m) * h.block_m
        self.n0 = T.truncdiv(block, blocks_m) * self.block_n
        # The rounds of this team: [first, first + count).
        part, parts = rank * h.warps_k + self.team, h.split_k * h.warps_k
        if self.static_count is not None:
            self.count: Expr = self.static_count
            self.first = part * self.static_count
        else:
            bounds = T.alloc_local((2,), "int32")
            store_local(bounds, 0, part * self.rounds // parts)
            store_local(bounds, 1, (part + 1) * self.rounds // parts - bounds[0])
            self.first, self.count = bounds[0], bounds[1]
        sums = h.rows * self.blocks_m * 4
        self.total = T.alloc_local((sums,), self.config.reduce_dtype)
        self.acc = T.alloc_local((h.chains * sums,), self.sum_dtype)
        self.a_sum = T.alloc_local((2 * self.blocks_m * 4,), self.sum_dtype)
        self.words = T.alloc_local((h.ahead * h.rows * self.lane_words,), "uint32")
        self._zero(self.total)
        if self.has_ragged_tiles:
            self._zero(self.words)
        self.table = PairTable(arena, self.table_offset, self.lane) if self.decoder.table_bytes else None
        count = h.rows * 2 * self.runs
        # Of the round that is multiplied, and of the next one: as stored, since a cast would wait for the load.
        zeros_dtype = "uint8" if self.config.has_packed_zeros else self.config.scale_format.tvm_dtype
        self.scale = [T.alloc_local((count,), self.config.scale_format.tvm_dtype) for _ in range(2)]
        self.zero = [T.alloc_local((count,), zeros_dtype) for _ in range(2)]

    @staticmethod
    def _zero(buffer: Any) -> None:
        with T.unroll(int(buffer.shape[0])) as i:
            store_local(buffer, i, tirx.const(0, buffer.dtype))

    def begin(self) -> None:
        """Emit what need not wait for the kernel before this one: the first loads of the weight and its scales.

        From sm_90 on this kernel may start while that one still runs. Only now is the next one let in, so that no
        kernel starts before the last but one has ended.
        """
        h = self.hint
        for i in range(h.ahead):
            self._load_tile(self.first, i, i)
        self._load_scales(self.first)
        if self.decoder.table_bytes:
            self.decoder.fill_table(self.arena, self.table_offset, self.thread, self.threads)
            T.evaluate(T.cuda.cta_sync())
        if self.uses_dependent_launch:
            T.evaluate(T.ptx["griddepcontrol.wait"]())
            T.evaluate(T.ptx["griddepcontrol.launch_dependents"]())
        for stage in range(max(1, h.stages - 1)):
            self._when(stage < self.count, lambda stage=stage: self._copy_round(self.first + stage, stage))
            T.evaluate(T.ptx["cp.async.commit_group"]())

    @staticmethod
    def _when(condition: Any, emit: Any) -> None:
        """Emit statements under a condition, which may be known already."""
        if isinstance(condition, bool):
            if condition:
                emit()
            return
        with T.If(condition), T.Then():
            emit()

    # The weight.

    def _load_tile(self, round_: Expr, i: int, slot: int) -> None:
        """Emit the loads of the i-th tile of a round into registers, for all rows of this warp."""
        h, layout = self.hint, self.layout
        tile = round_ * h.round + i
        per_load = _LOAD_BYTES // 4

        def loads() -> None:
            for r in range(h.rows):
                row = self._row_tile(r)
                for part in range(self.lane_words // per_load):
                    at = (slot * h.rows + r) * self.lane_words + part * per_load
                    source = self.B.ptr_to([row, tile * layout.tile_bytes + part * 512 + self.lane * _LOAD_BYTES])
                    registers = [self.words[at + j] for j in range(per_load)]
                    T.evaluate(T.ptx["ld.global.nc.L1::no_allocate.L2::256B.v4.u32"](*registers, source))

        self._when(tile < self.tiles_k if self.has_ragged_tiles else True, loads)

    def _row_tile(self, r: int) -> Expr:
        """Return the index of the r-th row of tiles of this warp; the last one for those beyond N."""
        tile = T.truncdiv(self.n0, 16) + self.warp_n * self.hint.rows + r
        return T.min(tile, self.layout.tiles_n(self.config.N) - 1) if self.has_ragged_n else tile

    # Scale and zero point.

    def _load_scales(self, round_: Expr) -> None:
        """Emit the loads of those scales and zero points of a round that do not travel through shared memory."""
        c = self.config
        loads_scale = c.with_scaling and self.scale_rings is None
        loads_zero = c.with_zeros and self.zero_rings is None
        for r in range(self.hint.rows if loads_scale or loads_zero else 0):
            for half in range(2):
                n = self.n0 + (self.warp_n * self.hint.rows + r) * 16 + half * 8 + self.lane // 4
                n = T.min(n, c.N - 1) if self.has_ragged_n else n
                for run in range(self.runs):
                    g = (round_ * self.round_k + run * self.run_k) // c.group if c.num_groups > 1 else 0
                    if self.has_ragged_k and c.num_groups > 1:
                        g = T.min(g, c.num_groups - 1)
                    at = (r * 2 + half) * self.runs + run
                    if loads_scale:
                        store_local(self.scale[1], at, self.Scale[n, g])
                    if loads_zero:
                        store_local(self.zero[1], at, zero_point(c, self.Zeros, n, g))

    def _take_scales(self, slot: Expr) -> None:
        """Emit the moves of a round's scales and zero points into the registers that the sums are scaled with."""
        for is_there, rings, (now, arrived) in (
            (self.config.with_scaling, self.scale_rings, self.scale),
            (self.config.with_zeros, self.zero_rings, self.zero),
        ):
            if is_there and rings is None:
                for i in range(int(now.shape[0])):
                    store_local(now, i, arrived[i])
            elif is_there:
                for row in range(2 * self.hint.rows):
                    for run in range(self.runs):
                        self._load_staged(now, row * self.runs + run, rings, slot, row, run)

    def _load_staged(self, target: Any, at: int, rings: list[Tile], slot: Expr, row: int, run: int) -> None:
        size = self.config.scale_format.bits // 8
        n = self.warp_n * self.hint.rows * 16 + row * 8 + self.lane // 4
        offset = self._team_offset(rings) + rings[0].offset(slot, n, run * self.run_k // self.config.group * size)
        raw = T.alloc_local((1,), f"uint{8 * size}")
        T.evaluate(T.ptx[f"ld.shared.u{8 * size}"](raw[0], self.arena.ptr_to([offset])))
        store_local(target, at, tirx.reinterpret(target.dtype, raw[0]))

    # A.

    def _team_offset(self, rings: list[Tile]) -> Expr:
        """Return how far the ring of this team lies behind the first one."""
        return self.team * (rings[0].end - rings[0].base) if len(rings) > 1 else 0

    def _copy_round(self, round_: Expr, slot: Expr) -> None:
        """Emit this team's copies of A and of the scales of a round into a slot of its rings."""
        c = self.config
        a_bytes = c.A_format.bits // 8
        is_fixed = c.has_fixed_rows(self.rung)
        k0 = round_ * self.round_k
        limit = self.rung * c.K if is_fixed else None
        whole = is_fixed and self.rung % self.rows_of_a == 0

        def source(row: Expr, byte: Expr) -> Expr:
            index = self.m0 + row
            wide = index if limit is not None and limit < 1 << 31 else T.cast(index, "int64")
            return self.A.ptr_to([wide, k0 + byte // a_bytes])

        def copy(rings: list[Tile], source: Any, width: int, rows_left: Any, bytes_left: Any) -> None:
            tile = replace(rings[0], base=rings[0].base + self._team_offset(rings))
            index = self.warp_n * 32 + self.lane
            copy_tile(
                self.arena, tile, slot, source, index, self.team_threads, width, rows_left, bytes_left, width >= 4
            )

        copy(
            self.a_rings, source, self.a_width, None if whole else self.m - self.m0,
            (c.K - k0) * a_bytes if self.has_ragged_k else None,
        )  # fmt: skip
        size = c.scale_format.bits // 8
        for rings, operand in ((self.scale_rings, self.Scale), (self.zero_rings, self.Zeros)):
            if rings is None:
                continue
            g0 = k0 // c.group
            copy(
                rings, lambda row, byte, operand=operand: operand.ptr_to([self.n0 + row, g0 + byte // size]),
                self.scale_width, c.N - self.n0 if self.has_ragged_n else None,
                (c.num_groups - g0) * size if self.has_ragged_k else None,
            )  # fmt: skip

    def _await_round(self) -> None:
        """Emit the wait for the copies of a round, of all threads of the team."""
        T.evaluate(T.ptx["cp.async.wait_group"](max(0, self.hint.stages - 2)))
        if self.hint.warps_n == 1:
            T.evaluate(T.ptx["bar.warp.sync"](T.uint32(0xFFFFFFFF)))
        else:
            T.evaluate(T.ptx["bar.sync"](T.cast(self.team + 1, "uint32"), T.uint32(self.team_threads)))

    def _load_right(self, slot: Expr, step: int) -> Any:
        """Emit the loads of two steps of the right operand, 4 registers for each 8 rows of A."""
        registers = T.alloc_local((4 * self.blocks_m,), "uint32")
        for j in range(self.blocks_m):
            # 32 bytes of A a step: lanes name rows of A, and one of the four 16-byte columns of two steps.
            row = j * 8 + self.lane % 8
            row = T.min(row, self.rows_of_a - 1) if self.rows_of_a < (j + 1) * 8 else row
            offset = self._team_offset(self.a_rings) + self.a_rings[0].offset(
                slot, row, step * 32 + self.lane // 8 * 16
            )
            load_fragments(self.arena, offset, [registers[4 * j + i] for i in range(4)])
        return registers

    # The product.

    def multiply(self, i: Expr) -> None:
        """Emit the i-th round of this team: products, loads of the tiles to come, scaling of sums where runs end."""
        h, layout = self.hint, self.layout
        slot = i % h.stages if self.count is not None else 0
        run_steps = self.run_k // layout.step_k
        has_next = False if self.static_count == 1 else i + 1 < self.count
        self._await_round()
        self._take_scales(slot)
        if h.stages > 1:
            ahead = i + (h.stages - 1)
            is_wanted = False if self.static_count is not None and self.static_count < h.stages else ahead < self.count
            self._when(is_wanted, lambda: self._copy_round(self.first + ahead, ahead % h.stages))
            T.evaluate(T.ptx["cp.async.commit_group"]())
        if self.config.num_groups > 1:
            self._when(has_next, lambda: self._load_scales(self.first + i + 1))
        right: Any = None
        for tile in range(h.round):
            words = T.alloc_local((h.rows * self.lane_words,), "uint32")
            buffer = tile % h.ahead
            for j in range(h.rows * self.lane_words):
                store_local(words, j, self.words[buffer * h.rows * self.lane_words + j])
            if tile + h.ahead < h.round:
                self._load_tile(self.first + i, tile + h.ahead, buffer)
            else:
                following = self.first + i + 1
                self._when(has_next, lambda t=tile, b=buffer: self._load_tile(following, t + h.ahead - h.round, b))
            for step in range(layout.steps):
                at = tile * layout.steps + step
                if step % 2 == 0:
                    right = self._load_right(slot, at)
                if at % run_steps == 0:
                    self._zero(self.acc)
                    if self.needs_sum_of_a:
                        self._zero(self.a_sum)
                self._multiply_step(words, right, step)
                if (at + 1) % run_steps == 0:
                    self._end_run(at // run_steps)

    def _multiply_step(self, words: Any, right: Any, step: int) -> None:
        h = self.hint
        sources = [self._right_operands(right, j, step % 2) for j in range(self.blocks_m)]
        for half in range(self.halves):
            chain = (step * self.halves + half) % h.chains
            for r in range(h.rows):
                left = self._left_operand(words, r, step, half)
                for j in range(self.blocks_m):
                    first = ((chain * h.rows + r) * self.blocks_m + j) * 4
                    self.mma.emit([self.acc[first + i] for i in range(4)], left, sources[j][2 * half : 2 * half + 2])
            if self.needs_sum_of_a:
                ones = [T.uint32(self.ones)] * 4
                for j in range(self.blocks_m):
                    first = ((step * self.halves + half) % 2 * self.blocks_m + j) * 4
                    sums = [self.a_sum[first + i] for i in range(4)]
                    self.ones_mma.emit(sums, ones, sources[j][2 * half : 2 * half + 2])

    def _left_operand(self, words: Any, r: int, step: int, half: int) -> list[Expr]:
        """Return the four registers of the weight for one mma."""
        planes, first = [], r * self.lane_words
        for plane in self.layout.planes:
            planes.append([words[first + i] for i in range(plane.words)])
            first += plane.words
        if self.halves == 1:
            return [self.decoder.decode(planes, 4 * step + p, self.table)[0] for p in range(4)]
        # An 8-bit fragment holds four k: in two 16-bit registers they are the columns 2t, 2t + 1 and 2t + 8, 2t + 9.
        upper, lower = (self.decoder.decode(planes, 4 * step + 2 * half + p, self.table) for p in range(2))
        return [upper[0], lower[0], upper[1], lower[1]]

    def _right_operands(self, right: Any, j: int, parity: int) -> list[Expr]:
        """Return the registers of A for one step and 8 rows: 2, or 4 where float8 becomes float16."""
        pair = [right[4 * j + 2 * parity + i] for i in range(2)]
        if self.halves == 1:
            return pair
        assert self.a_decoder is not None
        return [x for register in pair for x in self.a_decoder.decode([[register]], 0)]

    def _sum(self, register: Expr) -> Expr:
        """Return a register of sums as the number that it holds."""
        return tirx.reinterpret("int32", register) if self.is_integer else register

    def _end_run(self, run: int) -> None:
        """Emit total += decode(sums of the run)."""
        c, h, decoder = self.config, self.hint, self.decoder
        dtype = c.reduce_dtype
        products = self.run_k // self.layout.step_k * self.halves
        stride = h.rows * self.blocks_m * 4

        def added(buffer: Any, first: int, chains: int, stride: int) -> Expr:
            sums = [self._sum(buffer[first + chain * stride]) for chain in range(min(chains, products))]
            while len(sums) > 1:
                sums = [sum(sums[k + 1 : k + 2], sums[k]) for k in range(0, len(sums), 2)]
            return sums[0].astype(dtype)

        for j in range(self.blocks_m):
            sum_of_a = T.alloc_local((2,), dtype)
            if self.needs_sum_of_a:
                # Rows of the ones' product are equal: its first two registers are the columns of this lane.
                for i in range(2):
                    store_local(sum_of_a, i, added(self.a_sum, 4 * j + i, 2, 4 * self.blocks_m))
            for r in range(h.rows):
                for i in range(4):
                    at = (r * self.blocks_m + j) * 4 + i
                    dot = added(self.acc, at, h.chains, stride)
                    if self.value_scale != 1:
                        dot = dot * tirx.const(self.value_scale, dtype)
                    if decoder.value_offset:
                        dot = dot - sum_of_a[i % 2] * tirx.const(decoder.value_offset, dtype)
                    index = (r * 2 + i // 2) * self.runs + run
                    scale = self.scale[0][index].astype(dtype) if c.with_scaling else None
                    zero = self.zero[0][index].astype(dtype) * sum_of_a[i % 2] if c.with_zeros else None
                    store_local(self.total, at, self.total[at] + apply_scale_and_zero(dot, scale, zero, c.zeros_mode))

    # The end.

    def _sum_address(self, part: Expr, m: Expr, n: Expr) -> Expr:
        return self.arena.ptr_to([((part * self.rows_of_a + m) * self.sum_stride + n) * 4])

    def reduce(self, D: Any, Bias: Any) -> None:
        """Emit the sum over the warps and blocks that share k, and the stores of D: neighbours store neighbours."""
        h, dtype = self.hint, self.config.reduce_dtype
        kind = "s32" if dtype == "int32" else "f32"
        T.evaluate(T.cuda.cta_sync())
        for r in range(h.rows):
            for j in range(self.blocks_m):
                for i in range(4):
                    m = j * 8 + self.lane % 4 * 2 + i % 2
                    n = (self.warp_n * h.rows + r) * 16 + i // 2 * 8 + self.lane // 4
                    value = self.total[(r * self.blocks_m + j) * 4 + i]
                    store = T.ptx[f"st.shared.{kind}"]
                    if (j + 1) * 8 > self.rows_of_a:
                        with T.If(m < self.rows_of_a), T.Then():
                            T.evaluate(store(self._sum_address(self.team, m, n), value))
                    else:
                        T.evaluate(store(self._sum_address(self.team, m, n), value))
        T.evaluate(T.cuda.cta_sync())
        if h.split_k > 1:
            self._add_warps(kind)
            T.evaluate(T.ptx["barrier.cluster.arrive.release.aligned"]())
            T.evaluate(T.ptx["barrier.cluster.wait.acquire.aligned"]())
        self._store(D, Bias, kind)
        if h.split_k > 1:
            # The shared memory of a block lives until all others have read it.
            T.evaluate(T.ptx["barrier.cluster.arrive.release.aligned"]())
            T.evaluate(T.ptx["barrier.cluster.wait.acquire.aligned"]())

    def _elements(self, total: int, first: Expr, step: int) -> Iterator[Expr]:
        """Yield the elements of this thread, inside the guard that the last ones need."""
        for part in range(-(-total // step)):
            e = part * step + first
            if total % step and part == total // step:
                with T.If(e < total), T.Then():
                    yield e
            else:
                yield e

    def _local_sum(self, kind: str, m: Expr, n: Expr) -> Any:
        """Emit the sum over the block's warps along k."""
        values = T.alloc_local((self.hint.warps_k,), self.config.reduce_dtype)
        for w in range(self.hint.warps_k):
            T.evaluate(T.ptx[f"ld.shared.{kind}"](values[w], self._sum_address(w, m, n)))
        for w in range(1, self.hint.warps_k):
            store_local(values, 0, values[0] + values[w])
        return values

    def _add_warps(self, kind: str) -> None:
        """Emit the sum of the block's warps, in place of the first one's."""
        for e in self._elements(self.rows_of_a * self.block_n, self.thread, self.threads):
            m, n = e // self.block_n, e % self.block_n
            values = self._local_sum(kind, m, n)
            T.evaluate(T.ptx[f"st.shared.{kind}"](self._sum_address(0, m, n), values[0]))

    def _cluster_sum(self, kind: str, m: Expr, n: Expr) -> Any:
        """Emit the sum over the blocks of the cluster."""
        split = self.hint.split_k
        values = T.alloc_local((split,), self.config.reduce_dtype)
        address = T.alloc_local((split,), "uint32")
        local = T.cuda.cvta_generic_to_shared(self._sum_address(0, m, n))
        for rank in range(split):
            T.evaluate(T.ptx["mapa.shared::cluster.u32"](address[rank], local, T.uint32(rank)))
            T.evaluate(T.ptx[f"ld.shared::cluster.{kind}"](values[rank], address[rank]))
        for rank in range(1, split):
            store_local(values, 0, values[0] + values[rank])
        return values

    def _store(self, D: Any, Bias: Any, kind: str) -> None:
        """Emit the stores of D; the blocks of a cluster share them."""
        c, split = self.config, self.hint.split_k
        total = self.rows_of_a * self.block_n
        limit = self.rung * c.N if c.has_fixed_rows(self.rung) else None
        for e in self._elements(total, self.rank * self.threads + self.thread, split * self.threads):
            m, n = e // self.block_n, e % self.block_n
            row, column = self.m0 + m, self.n0 + n
            conditions = []
            if not (c.has_fixed_rows(self.rung) and self.rung % self.rows_of_a == 0):
                conditions.append(row < self.m)
            if self.has_ragged_n:
                conditions.append(column < c.N)
            wide = row if limit is not None and limit < 1 << 31 else T.cast(row, "int64")

            def one(m: Expr = m, n: Expr = n, wide: Expr = wide, column: Expr = column) -> None:
                values = self._cluster_sum(kind, m, n) if split > 1 else self._local_sum(kind, m, n)
                T.buffer_store(D, output_value(c, values[0], Bias[column]), [wide, column])

            if conditions:
                with T.If(tirx.all(*conditions)), T.Then():
                    one()
            else:
                one()

    def build(self) -> PrimFunc:
        """Return the kernel."""
        spec = operands(self.config, self.rung, "fragment")
        h, N, K = self.hint, self.config.N, self.config.K
        threads, smem_bytes, block_m, split = self.threads, self.smem_bytes, h.block_m, h.split_k
        block_n, blocks_per_sm = self.block_n, h.blocks_per_sm
        kernel = self

        @T.prim_func(check_well_formed=False)
        def decode(
            A_handle: T.handle, B_handle: T.handle, Scale_handle: T.handle, Zeros_handle: T.handle,
            Bias_handle: T.handle, D_handle: T.handle,
        ):  # fmt: skip
            m = T.meta_var(spec.rows(T.int32()))
            A = T.match_buffer(A_handle, (m, K), spec.A)
            B = T.match_buffer(B_handle, spec.B_shape, spec.B)
            Scale = T.match_buffer(Scale_handle, spec.Scale_shape, spec.Scale)
            Zeros = T.match_buffer(Zeros_handle, spec.Zeros_shape, spec.Zeros)
            Bias = T.match_buffer(Bias_handle, (N,), spec.D)
            D = T.match_buffer(D_handle, (m, N), spec.D)
            T.device_entry()
            T.attr({"tirx.launch_bounds_min_blocks_per_sm": blocks_per_sm})
            block = T.cta_id([T.truncdiv(m + (block_m - 1), block_m) * T.ceildiv(N, block_n) * split])
            rank = T.meta_var(cluster_rank(split))
            thread = T.thread_id([threads])
            arena = T.alloc_buffer((smem_bytes,), "uint8", scope="shared.dyn", align=128)
            kernel.bind(A, B, Scale, Zeros, m, T.truncdiv(block, split), rank, thread, arena)
            kernel.begin()
            for i in T.serial(kernel.count):
                kernel.multiply(i)
            kernel.reduce(D, Bias)

        func = spec.bind(decode)
        if self.uses_dependent_launch:
            func = func.with_attr(_LAUNCH_ATTR, [_DEPENDENT_LAUNCH])
        return func
