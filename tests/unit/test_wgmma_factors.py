# SPDX-License-Identifier: Apache-2.0
"""Scales and zero points on their way to registers (`emit/factors.py`): what is emitted, carried out for 32 lanes."""

from __future__ import annotations

import dataclasses
import operator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from tvm import tirx
from tvm.script import tirx as T

from bitquant.arch import cuda_target
from bitquant.config import MatmulConfig
from bitquant.packing import pack_zeros
from bitquant.problem import Problem
from bitquant.schedule.rules.hopper.emit.context import WorkTile
from bitquant.schedule.rules.hopper.emit.factors import QUAD, FactorLoads, source_lane, vector_groups
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.testing.oracle import code_values

ROOMY = WgmmaHint(block_m=128, consumers_n=2, block_k=256)
#: Four registers are left of what the consumers have.
NARROW = WgmmaHint(block_m=16, n_tiles_per_consumer=2, consumers_n=4, block_k=256, scaling="sums")
ROWS = 16


def _buffer(access: Any) -> Any:
    """Return the buffer of a load or a store."""
    return access.source if hasattr(access, "source") else access.buffer


class Warp:
    """Carries out a function in 32 lanes: its integers and buffers are arrays with an axis of lanes, or `memory`."""

    BINARY: ClassVar[dict[str, Any]] = {
        "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "FloorDiv": operator.floordiv,
        "FloorMod": operator.mod, "Min": np.minimum, "Max": np.maximum, "GT": operator.gt, "EQ": operator.eq,
        "GE": operator.ge, "Or": np.logical_or,
        "LShift": np.left_shift, "RShift": np.right_shift, "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or,
    }  # fmt: skip

    def __init__(self, memory: dict[str, np.ndarray], integers: dict[str, Any]) -> None:
        self.memory, self.integers = memory, integers
        self.registers: dict[Any, np.ndarray] = {}
        #: Elements of memory that are loaded, as (operand, rows, first columns, columns).
        self.loads: list[tuple[str, np.ndarray, np.ndarray, int]] = []

    def load(self, name: str, place: list[Any], count: int = 1) -> np.ndarray:
        row, column = (np.broadcast_to(i, 32).astype(int) for i in place)
        array = self.memory[name]
        assert row.min() >= 0
        assert row.max() < array.shape[0]
        assert column.min() >= 0
        assert (column + count).max() <= array.shape[1]
        assert not (column % count).any(), "a vector that is not aligned"
        self.loads.append((name, row, column, count))
        return array[row[:, None], column[:, None] + np.arange(count)]

    def held(self, load: Any) -> np.ndarray:
        """Return the register that an expression names."""
        registers = self.registers.setdefault(_buffer(load), np.zeros((int(_buffer(load).shape[0]), 32), np.uint32))
        return registers[int(self.value(load.indices[0]))]

    def value(self, e: Any) -> Any:
        kind = type(e).__name__
        if kind in ("IntImm", "FloatImm"):
            return np.dtype(str(e.ty.dtype)).type(e.value)
        if kind == "Var":
            return self.integers[e.name]
        if kind in self.BINARY:
            return self.BINARY[kind](self.value(e.a), self.value(e.b))
        if kind == "Let":
            self.integers[e.var.name] = self.value(e.value)
            return self.value(e.body)
        if kind == "Cast":
            return np.asarray(self.value(e.value)).astype(str(e.ty.dtype))
        if kind == "Select":
            return np.where(self.value(e.condition), self.value(e.true_value), self.value(e.false_value))
        if kind in ("BufferLoad", "TensorLoad"):
            if _buffer(e).name in self.memory:
                return self.load(_buffer(e).name, [self.value(i) for i in e.indices])[:, 0]
            return self.held(e).copy()
        name = e.op.name.split(".", 1)[1]
        if name == "reinterpret":
            return np.asarray(self.value(e.args[0])).view(str(e.ty.dtype))
        if name == "if_then_else":
            return np.where(*(self.value(arg) for arg in e.args))
        if name == "tvm_warp_shuffle":
            return np.asarray(self.value(e.args[1]))[np.broadcast_to(self.value(e.args[2]), 32)]
        raise NotImplementedError(f"{kind} {name}")

    def instruct(self, call: Any) -> None:
        """Carry out an instruction of PTX."""
        name, args = call.op.name, list(call.args)
        if name.startswith("tirx.ptx.prmt"):
            low, high, selector = (np.broadcast_to(self.value(arg), 32).astype("uint32") for arg in args[1:4])
            eight = np.stack([low, high], 1).copy().view("uint8")
            digits = np.stack([selector >> 4 * i & 7 for i in range(4)], 1)
            self.held(args[0])[:] = np.take_along_axis(eight, digits.astype(int), 1).copy().view("uint32")[:, 0]
            return
        assert name.startswith("tirx.ptx.ld"), name
        at = next(i for i, arg in enumerate(args) if type(arg).__name__ == "Call")
        source = args[at].args[0]
        array = self.memory[_buffer(source).name]
        loaded = self.load(_buffer(source).name, [self.value(i) for i in source.indices], 4 * at // array.itemsize)
        for register, word in zip(args[:at], loaded.view("uint32").T, strict=True):
            self.held(register)[:] = word

    def run(self, s: Any) -> None:
        kind = type(s).__name__
        if kind == "SeqStmt":
            for each in s.seq:
                self.run(each)
        elif kind == "For":
            for i in range(int(s.extent)):
                self.integers[s.loop_var.name] = np.int32(i)
                self.run(s.body)
        elif kind == "IfThenElse":
            condition = np.broadcast_to(self.value(s.condition), 32)
            assert condition.all() == condition.any(), "a branch that lanes do not take together"
            if condition.all():
                self.run(s.then_case)
        elif kind == "Evaluate":
            self.instruct(s.value)
        elif kind == "BufferStore":
            if s.buffer.name in self.memory:
                self.memory[s.buffer.name][tuple(int(self.value(i)) for i in s.indices)] = self.value(s.value)
            else:
                self.held(s)[:] = self.value(s.value)
        else:
            assert kind == "AllocBuffer", kind


def _geometry(config: MatmulConfig, hint: WgmmaHint) -> WgmmaGeometry:
    return WgmmaGeometry(Problem(config, ROWS, cuda_target("sm_90a"), "fragment"), hint)


def _function(config: MatmulConfig, hint: WgmmaHint, rounds: int, looks_ahead: bool = False) -> tirx.PrimFunc:
    """Return a function that distributes `rounds` times four groups, from those of `start` on, and stores them.

    With `looks_ahead` they are those of the second 16 rows, whose first ones are loaded while all of the first 16 rows
    are distributed.
    """

    def emit(Scale: Any, Zeros: Any, Out: Any, lane: Any, start: Any) -> None:
        inputs = SimpleNamespace(operands=SimpleNamespace(Scale=Scale, Zeros=Zeros))
        context: Any = SimpleNamespace(
            config=config, g=_geometry(config, hint), inputs=inputs, lane=lane,
            row_of_w=lambda n0, row, half: n0 + lane // 4 + 8 * half,
        )  # fmt: skip
        loads = FactorLoads(context, 0)
        tile = WorkTile(m0=0, n0=T.int32(0), first_stage=0, stages=0, bodies=0)
        if looks_ahead:
            loads.load_first(tile)
            following = replace(tile, n0=T.int32(ROWS))
            loads.begin_tile(replace(tile, following=following), start)
            with T.serial(rounds) as i_round:
                loads.distribute(i_round * QUAD)
                loads.load_next(i_round * QUAD)
            tile = replace(following, following=following)
        loads.begin_tile(tile, start)
        with T.serial(rounds) as i_round:
            first = start // QUAD * QUAD + i_round * QUAD
            for i, words in enumerate(loads.distribute(first)):
                for j, word in enumerate(words or ()):
                    T.buffer_store(Out, word, [i_round, 2 * i + j])
            loads.load_next(first)

    dtype = config.scale_format.tvm_dtype

    @T.prim_func
    def function(Scale_handle: T.handle, Zeros_handle: T.handle, Out_handle: T.handle, lane: T.int32, start: T.int32):
        Scale = T.match_buffer(Scale_handle, config.scale_shape, dtype)
        Zeros = T.match_buffer(Zeros_handle, config.zeros_shape, "int8" if config.has_packed_zeros else dtype)
        Out = T.match_buffer(Out_handle, (rounds, 4), "uint32")
        emit(Scale, Zeros, Out, lane, start)

    return function


def _config(num_groups: int, **fields: Any) -> MatmulConfig:
    given = {"W_dtype": "uint4", "with_scaling": True, "with_zeros": True}
    return MatmulConfig(M=16, N=ROWS, K=64 * num_groups, group_size=64, **{**given, **fields})


FORMS: dict[str, dict[str, Any]] = {
    "float16": {},
    "scales": {"with_zeros": False},
    "quantized": {"zeros_mode": "quantized"},
    "quantized3": {"zeros_mode": "quantized", "W_dtype": "uint3"},
    "quantized8": {"zeros_mode": "quantized", "W_dtype": "uint8"},
    "float32": {"A_dtype": "int8", "W_dtype": "int4", "with_zeros": False},
    "e8m0": {"A_dtype": "bfloat16", "scale_dtype": "float8_e8m0", "with_zeros": False},
    "e4m3": {"A_dtype": "float16", "scale_dtype": "float8_e4m3", "with_zeros": False},
    "e4m3_int8": {"A_dtype": "int8", "W_dtype": "int4", "scale_dtype": "float8_e4m3", "with_zeros": False},
    "blocks": {"rows_per_scale": 8, "with_zeros": False},
}


def _stored(bits: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return bits of scales or zero points; of 8 bits each code in turn."""
    if bits == 8:
        return (np.arange(np.prod(shape)) * 37 + rng.integers(256)).astype("uint8").reshape(shape)
    return rng.integers(0, 1 << bits, shape).astype(f"uint{bits}")


def _widened(codes: np.ndarray, config: MatmulConfig) -> np.ndarray:
    """Return the bits of scales as they are distributed: of 8 bits, those of the number in a type of 16."""
    fmt = config.scale_format
    if fmt.bits > 8:
        return codes
    values = code_values(codes, fmt)
    if config.A_format.name == "float16":
        return values.astype("float16").view("uint16")
    return (values.astype("float32").view("uint32") >> 16).astype("uint16")


@pytest.mark.parametrize("hint", [ROOMY, NARROW], ids=["roomy", "narrow"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_groups", [1, 4, 5, 6, 20, 36])
@pytest.mark.sample(
    shows=lambda num_groups, form, hint: {(form, num_groups % 4), (form, hint is NARROW), (num_groups, hint is NARROW)}
)
def test_every_lane_gets_its_group(num_groups: int, form: str, hint: WgmmaHint) -> None:
    """Whatever group a part of K begins with, and however rows end, lane q has group 4 t + q in round t.

    No load reaches beyond its row, and none is out of alignment.
    """
    config = _config(num_groups, **FORMS[form])
    if config.A_format.bits == 8 and hint is NARROW:
        hint = WgmmaHint(block_m=64, consumers_n=4, block_k=256)
    bits, rng = config.scale_format.bits, np.random.default_rng(num_groups)
    scale, zeros = (_stored(bits, shape, rng) for shape in (config.scale_shape, (ROWS, num_groups)))
    distributed = _widened(scale, config)[np.arange(ROWS) // config.rows_per_scale]
    stored_zeros = zeros
    if config.has_packed_zeros:
        zeros = rng.integers(0, 1 << config.W_format.bits, (ROWS, num_groups)).astype("uint8")
        stored_zeros = pack_zeros(zeros.T.copy(), config).numpy()
    all_rounds = -(-num_groups // QUAD)
    body = _function(config, hint, all_rounds).body
    for start in range(num_groups - 1, -1, -7):
        rounds = all_rounds - start // QUAD
        lane = np.arange(32, dtype="int32")
        floats = f"float{bits}" if bits > 8 else "uint8"
        memory = {"Scale": scale.view(floats), "Out": np.zeros((all_rounds, 4, 32), "uint32")}
        memory["Zeros"] = stored_zeros if config.has_packed_zeros else zeros.view(floats)
        warp = Warp(memory, {"lane": lane, "start": np.int32(start)})
        warp.run(body)
        for i_round in range(rounds):
            group = (start // QUAD + i_round) * QUAD + lane % 4
            for i, operand in enumerate((distributed, zeros)[: 1 + config.with_zeros]):
                low, high = (operand[lane // 4 + 8 * half, np.minimum(group, num_groups - 1)] for half in range(2))
                words = memory["Out"][i_round, 2 * i : 2 * i + 2]
                if bits <= 16:
                    low = low.astype("uint32") | high.astype("uint32") << 16
                    words = words[:1]
                expected = np.stack([low, high])[: len(words)]
                there = group < num_groups
                np.testing.assert_array_equal(words[:, there], expected[:, there])


@pytest.mark.parametrize("form", [form for form in FORMS if "8" not in form and form not in ("float32", "e4m3")])
@pytest.mark.parametrize("num_groups", [1, 4, 5, 6, 20, 36])
def test_the_next_tile_has_its_own_groups(num_groups: int, form: str) -> None:
    """What is loaded ahead are the first groups of the next tile's rows, and nothing of this tile's is lost for it."""
    config = dataclasses.replace(_config(num_groups, **FORMS[form]), N=2 * ROWS)
    bits, rng, rounds = config.scale_format.bits, np.random.default_rng(num_groups), -(-num_groups // QUAD)
    scale = _stored(bits, config.scale_shape, rng)
    distributed = _widened(scale, config)[np.arange(ROWS, 2 * ROWS) // config.rows_per_scale]
    zeros = _stored(bits, (2 * ROWS, num_groups), rng)
    stored_zeros = zeros
    if config.has_packed_zeros:
        zeros = rng.integers(0, 1 << config.W_format.bits, (2 * ROWS, num_groups)).astype("uint8")
        stored_zeros = pack_zeros(zeros.T.copy(), config).numpy()
    lane, floats = np.arange(32, dtype="int32"), f"float{bits}" if bits > 8 else "uint8"
    memory = {"Scale": scale.view(floats), "Out": np.zeros((rounds, 4, 32), "uint32")}
    memory["Zeros"] = stored_zeros if config.has_packed_zeros else zeros.view(floats)
    warp = Warp(memory, {"lane": lane, "start": np.int32(0)})
    warp.run(_function(config, ROOMY, rounds, looks_ahead=True).body)
    for i_round in range(rounds):
        group = i_round * QUAD + lane % 4
        for i, operand in enumerate((distributed, zeros[ROWS:])[: 1 + config.with_zeros]):
            low, high = (operand[lane // 4 + 8 * half, np.minimum(group, num_groups - 1)] for half in range(2))
            expected = low.astype("uint32") | high.astype("uint32") << 16
            there = group < num_groups
            np.testing.assert_array_equal(memory["Out"][i_round, 2 * i, there], expected[there])


def test_a_sector_is_fetched_once() -> None:
    """Where registers allow, each element of a row is loaded once, by loads that take 32 bytes of it together."""
    config = _config(32, with_zeros=False)
    memory = {"Scale": np.zeros((ROWS, 32), "float16"), "Out": np.zeros((8, 4, 32), "uint32")}
    warp = Warp(memory, {"lane": np.arange(32, dtype="int32"), "start": np.int32(0)})
    warp.run(_function(config, ROOMY, 8).body)
    # Two rows, two windows, and the one that would follow, which is all the last vector.
    assert len(warp.loads) == 2 * 3
    for _, _, column, count in warp.loads[:4]:
        assert count == 4
        np.testing.assert_array_equal(column % 16, np.tile([0, 4, 8, 12], 8))
    assert all((column == 28).all() for _, _, column, _ in warp.loads[4:])


def test_vectors_divide_rows_and_fit_registers() -> None:
    """Groups in a vector are a power of two that divides a row; where registers are few, there are no vectors."""
    assert [vector_groups(n, 2) for n in (1, 4, 5, 6, 8, 64)] == [1, 1, 1, 2, 4, 4]
    assert [vector_groups(n, 4) for n in (4, 7, 8)] == [1, 1, 2]
    assert [vector_groups(n, 1) for n in (4, 6, 8, 64)] == [1, 1, 4, 4]
    assert _geometry(_config(64), ROOMY).loads_vectors
    assert not _geometry(_config(64), NARROW).loads_vectors


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_source_lane_has_the_group(groups: int) -> None:
    """The lane that passes a group on is one of the four of the same rows, and its vector has the group."""
    for first in range(0, 64, QUAD):
        for lane in range(32):
            source, group = source_lane(lane, first, groups), first + lane % QUAD
            window = first // (QUAD * groups) * (QUAD * groups)
            begin = window + source % QUAD * groups
            assert source // QUAD == lane // QUAD
            assert begin <= group < begin + groups
