# SPDX-License-Identifier: Apache-2.0
"""The wgmma kernels' barriers, carried out on the host: whether every wait ends, and no slot is left over.

A kernel is translated to Python: what decides which barriers a thread waits for and arrives at, nothing else. Threads
of one cluster then take turns. Copies arrive at once, so that a wait which never ends here never ends on a GPU.
"""

from __future__ import annotations

from typing import Any

import pytest

from bitquant.arch import cuda_target
from bitquant.config import MatmulConfig
from bitquant.problem import Problem
from bitquant.schedule.rules.hopper.dense import DenseRule
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.rules.hopper.rule import WgmmaRule
from bitquant.testing.kernels import HINTED_ARCH, HINTED_KERNELS, HintedKernel

RULES = {rule.name: rule for rule in (WgmmaRule(), DenseRule())}
#: Distance of the shared memory of neighbouring blocks of a cluster in the simulation's addresses.
BLOCK_DISTANCE = 1 << 26

_BINARY = {
    "Add": "+", "Sub": "-", "Mul": "*", "FloorDiv": "//", "FloorMod": "%", "Div": "//", "Mod": "%", "LT": "<",
    "LE": "<=", "GT": ">", "GE": ">=", "EQ": "==", "NE": "!=", "And": "and", "Or": "or",
    "LShift": "<<", "RShift": ">>", "BitwiseAnd": "&", "BitwiseOr": "|", "BitwiseXor": "^",
}  # fmt: skip


def _buffer(access: Any) -> Any:
    """Return the buffer of a load or a store."""
    return access.source if hasattr(access, "source") else access.buffer


class Translation:
    """A kernel as a Python generator of what it does to barriers: `thread(block, rank, thread, **operands)`."""

    def __init__(self, func: Any, geometry: WgmmaGeometry) -> None:
        self.geometry = geometry
        self.names: dict[Any, str] = {}
        #: The parameter for the rows of A, where they are not known.
        m = func.params[0].shape[0]
        self.rows = ["rows"] if type(m).__name__ == "Var" else []
        if self.rows:
            self.names[m] = "rows"
        self.relevant: set[Any] = set()
        self.grid = "1"
        while True:
            # Until all that matters is known: what is stored in registers that matter does, too.
            before = len(self.relevant)
            lines = self._statement(func.body, 1)
            if len(self.relevant) == before:
                break
        scope: dict[str, Any] = {}
        parameters = ", ".join(["block_id", "rank_id", "thread_id", *self.rows])
        source = f"def thread({parameters}):\n" + "\n".join([*lines, "  return", "  yield"])
        source += f"\ndef blocks({', '.join(self.rows)}):\n  return {self.grid}\n"
        exec(compile(source, "<kernel>", "exec"), scope)  # noqa: S102  what was translated above
        self.thread, self.blocks = scope["thread"], scope["blocks"]

    def _name(self, var: Any) -> str:
        return self.names.setdefault(var, f"v{len(self.names)}")

    def _expression(self, e: Any) -> str:
        kind = type(e).__name__
        if kind == "IntImm":
            return str(int(e.value))
        if kind == "Var":
            return self._name(e)
        if kind in _BINARY:
            return f"({self._expression(e.a)} {_BINARY[kind]} {self._expression(e.b)})"
        if kind in ("Min", "Max"):
            return f"{kind.lower()}({self._expression(e.a)}, {self._expression(e.b)})"
        if kind == "Not":
            return f"(not {self._expression(e.a)})"
        if kind == "Cast":
            return self._expression(e.value)
        if kind == "Select":
            chosen, other = self._expression(e.true_value), self._expression(e.false_value)
            return f"({chosen} if {self._expression(e.condition)} else {other})"
        if kind in ("BufferLoad", "TensorLoad"):
            self.relevant.add(_buffer(e))
            return f"{self._name(_buffer(e))}[{self._expression(e.indices[0])}]"
        name = e.op.name.split(".", 1)[1]
        if name == "cuda.cvta_generic_to_shared":
            return "0"
        if name == "tvm_warp_shuffle":
            return self._expression(e.args[1])
        if name == "reinterpret":
            return self._expression(e.args[0])
        raise NotImplementedError(f"{kind} {name}")

    def _statement(self, s: Any, depth: int) -> list[str]:
        kind, pad = type(s).__name__, "  " * depth
        if kind == "SeqStmt":
            return [line for each in s.seq for line in self._statement(each, depth)]
        if kind == "AttrStmt":
            return self._statement(s.body, depth)
        if kind == "AllocBuffer":
            buffer = s.buffer
            if buffer not in self.relevant:
                return []
            return [f"{pad}{self._name(buffer)} = [0] * {int(buffer.shape[0])}"]
        if kind == "ScopeIdDefStmt":
            return self._scope(s, pad)
        if kind == "BufferStore":
            if s.buffer not in self.relevant:
                return []
            place = f"{self._name(s.buffer)}[{self._expression(s.indices[0])}]"
            return [f"{pad}{place} = {self._expression(s.value)}"]
        if kind == "Evaluate":
            return [pad + line for line in self._event(s.value)]
        if kind in ("For", "While"):
            body = self._statement(s.body, depth + 1)
            if not body:
                return []
            if kind == "While":
                return [f"{pad}while {self._expression(s.condition)}:", *body]
            return [f"{pad}for {self._name(s.loop_var)} in range({self._expression(s.extent)}):", *body]
        if kind == "IfThenElse":
            then = self._statement(s.then_case, depth + 1)
            other = [] if s.else_case is None else self._statement(s.else_case, depth + 1)
            if not then and not other:
                return []
            lines = [f"{pad}if {self._expression(s.condition)}:", *(then or [f"{pad}  pass"])]
            return [*lines, f"{pad}else:", *other] if other else lines
        assert kind in ("Bind", "DeclBuffer"), kind
        return []

    def _scope(self, s: Any, pad: str) -> list[str]:
        """Return where a thread stands; the grid is kept."""
        definition = getattr(s, "def")
        (var,), (extent,) = definition.def_ids, definition.extents
        given = {1: "block_id", 2: "rank_id", 7: "thread_id"}[int(definition.scope)]
        if given == "block_id":
            self.grid = self._expression(extent)
        return [f"{pad}{self._name(var)} = {given}"]

    def _event(self, call: Any) -> list[str]:
        """Return what a call does to barriers, if anything."""
        if type(call).__name__ != "Call" or not hasattr(call.op, "name"):
            return []
        name = call.op.name.split(".", 1)[1]
        words = [str(a.value) for a in call.args if type(a).__name__ == "StringImm"]
        args = [a for a in call.args if type(a).__name__ != "StringImm"]
        if name.startswith("ptx.mapa"):
            if _buffer(args[0]) not in self.relevant:
                return []
            target = self._expression(args[0])
            return [f"{target} = {self._expression(args[1])} + {BLOCK_DISTANCE} * (1 + {self._expression(args[2])})"]
        if name.startswith("ptx.cp_async_bulk_tensor"):
            is_a = str(args[1]).find("A_map") >= 0
            mask = self._expression(args.pop()) if any("multicast" in word for word in words) else "1 << rank_id"
            return [f"yield 'copy', {self._expression(args[-1])}, {self._copied(is_a)}, {mask}"]
        kinds = {
            "ptx.mbarrier_init": "initialize", "ptx.mbarrier_arrive_expect_tx": "expect", "cuda.mbarrier_wait": "wait",
            "ptx.mbarrier_arrive_nocount": "arrive", "ptx.mbarrier_arrive": "arrive",
        }  # fmt: skip
        if name in kinds:
            return [f"yield '{kinds[name]}', {', '.join(self._expression(a) for a in args)}"]
        meetings = {
            "cuda.cta_sync": "block",
            "ptx.barrier_cluster_arrive": "arrive_cluster",
            "ptx.barrier_cluster_wait": "cluster",
        }
        return [f"yield '{meetings[name]}',"] if name in meetings else []

    def _copied(self, is_a: bool) -> int:
        """Return the bytes of a copy."""
        geometry = self.geometry
        return geometry.memory.a_box_bytes // geometry.hint.multicast if is_a else geometry.weight.box_bytes


class Barrier:
    """An mbarrier: `phase` counts its completions."""

    def __init__(self, count: int) -> None:
        self.count = self.pending = count
        self.bytes = self.phase = 0

    def change(self, arrivals: int, added: int) -> None:
        self.pending -= arrivals
        self.bytes += added
        assert self.pending >= 0, "more arrivals than the barrier counts"
        if self.pending == self.bytes == 0:
            self.phase, self.pending = self.phase + 1, self.count


class Cluster:
    """The threads of a cluster that barriers hear of, in turns."""

    def __init__(self, translation: Translation, first_block: int, operands: dict[str, int]) -> None:
        geometry, h = translation.geometry, translation.geometry.hint
        self.geometry = geometry
        self.barriers: dict[tuple[int, int], Barrier] = {}
        self.met: dict[Any, int] = {}
        # Lanes that arrive somewhere, and one that does not.
        lanes = sorted({*range(0, 32, 4), *range(h.multicast), 31})
        self.threads = [
            (rank, warp * 32 + lane, translation.thread(first_block + rank, rank, warp * 32 + lane, **operands))
            for rank in range(h.cluster)
            for warp in range(geometry.threads // 32)
            for lane in lanes
        ]
        self.waiting: dict[int, Any] = {}
        self.arrived: dict[int, int] = {}

    def run(self) -> None:
        """Let all threads take turns until they have ended."""
        running = dict(enumerate(self.threads))
        while running:
            ended, has_moved = [], False
            for i, (rank, _, events) in running.items():
                while self._may_go_on(i, rank):
                    has_moved = True
                    event = next(events, None)
                    if event is None:
                        ended.append(i)
                        break
                    self._take(i, rank, event)
            for i in ended:
                del running[i]
            assert has_moved, self._stuck(running)

    def _may_go_on(self, i: int, rank: int) -> bool:
        """Return whether what a thread waits for has come."""
        event = self.waiting.get(i)
        if event is None:
            return True
        if event[0] == "wait":
            is_there = self.barriers[rank, event[1]].phase % 2 != event[2]
        else:
            place, wanted = event[1], event[2]
            is_there = self.met.get(place, 0) >= wanted * self._size(place)
        if is_there:
            del self.waiting[i]
        return is_there

    def _size(self, place: Any) -> int:
        """Return the threads that meet at a place: those of a block, or all."""
        return len(self.threads) if place == "cluster" else len(self.threads) // self.geometry.hint.cluster

    def _take(self, i: int, rank: int, event: tuple[Any, ...]) -> None:
        kind, *args = event
        if kind == "initialize":
            self.barriers[rank, args[0]] = Barrier(args[1])
        elif kind == "expect":
            self.barriers[rank, args[0]].change(1, args[1])
        elif kind == "copy":
            for other in range(self.geometry.hint.cluster):
                if args[2] >> other & 1:
                    self.barriers[other, args[0]].change(0, -args[1])
        elif kind == "arrive":
            to, address = divmod(args[0], BLOCK_DISTANCE)
            self.barriers[to - 1 if to else rank, address].change(1, 0)
        elif kind == "wait":
            self.waiting[i] = event
        elif kind == "arrive_cluster":
            self.arrived[i] = self.arrived.get(i, 0) + 1
            self.met["cluster"] = self.met.get("cluster", 0) + 1
        elif kind == "cluster":
            self.waiting[i] = ("meet", "cluster", self.arrived.get(i, 0))
        else:
            place = ("block", rank)
            self.met[place] = self.met.get(place, 0) + 1
            self.waiting[i] = ("meet", place, 1)

    def _stuck(self, running: dict[int, Any]) -> str:
        found = {(rank, thread): self.waiting[i] for i, (rank, thread, _) in list(running.items())[:6]}
        return f"{len(running)} threads wait for ever: block of the cluster, thread: {found}"

    def check_slots(self) -> None:
        """Compare how often each slot was filled and emptied."""
        geometry, stages = self.geometry, self.geometry.hint.stages
        for rank in range(geometry.hint.cluster):
            for slot in range(stages):
                full, empty = (
                    self.barriers[rank, geometry.memory.barrier_offset + 8 * at].phase for at in (slot, slot + stages)
                )
                assert full == empty, f"slot {slot} of block {rank} was filled {full} times and emptied {empty} times"


def simulate(rule: WgmmaRule, config: MatmulConfig, hint: WgmmaHint, rows: tuple[int, ...]) -> None:
    """Carry out the barriers of a kernel's first and last cluster."""
    geometry = rule.geometry(Problem(config, config.ladder[-1], cuda_target(HINTED_ARCH)), hint)
    translation = Translation(rule.emit(geometry), geometry)
    for m in rows if translation.rows else config.ladder[-1:]:
        operands = dict.fromkeys(translation.rows, m)
        blocks = translation.blocks(**operands)
        assert blocks % hint.cluster == 0
        for first in {0, blocks - hint.cluster}:
            cluster = Cluster(translation, first, operands)
            cluster.run()
            cluster.check_slots()


def shown(kernel: HintedKernel) -> set[tuple[Any, ...]]:
    """What a kernel shows of the ring: each value of each field of a hint, and how K is shared among what."""
    hint, defaults = kernel.hint.to_dict(), type(kernel.hint)().to_dict()
    shared = {name for name in ("consumers_k", "split_k", "tail_split", "multicast") if hint[name] != defaults[name]}
    return {
        *((kernel.rule, hint["scaling"], *field) for field in hint.items() if field[0] != "block_m"),
        (kernel.rule, kernel.config.A_format.bits, kernel.config.is_static),
        (kernel.rule, *sorted(shared)),
    }


@pytest.mark.parametrize("kernel", [kernel for kernel in HINTED_KERNELS if kernel.rule in RULES], ids=str)
@pytest.mark.sample(shows=shown)
def test_no_wait_is_for_ever(kernel: HintedKernel) -> None:
    """Producers and consumers of each kernel of the list agree on slots and phases."""
    assert isinstance(kernel.hint, WgmmaHint)
    simulate(RULES[kernel.rule], kernel.config, kernel.hint, kernel.rows)
