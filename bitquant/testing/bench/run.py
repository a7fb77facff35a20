# SPDX-License-Identifier: Apache-2.0
"""The run: every cell built, checked against float64, and timed between the floor and the peers."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from bitquant.arch import resolve_target
from bitquant.errors import ConfigError, UnsupportedError
from bitquant.grouped_inputs import GroupedInputs
from bitquant.grouped_matmul import GroupedMatmul
from bitquant.matmul import Matmul
from bitquant.operands import operands_of, present
from bitquant.operator.report import bytes_per_call, flop
from bitquant.profiling import CACHE_FACTOR, random_operands
from bitquant.testing.bench.ahead import Builder, operator_of
from bitquant.testing.bench.check import CHECKED_COLUMNS, Check, message
from bitquant.testing.bench.floor import FloorReader
from bitquant.testing.bench.grouped import GroupedCheck, draw_experts, grouped_calls
from bitquant.testing.bench.limits import TimeIsUpError, time_bound
from bitquant.testing.bench.machine import checkout_commit, clocks, describe, device_of, gpu_works, versions_of
from bitquant.testing.bench.peers import PEERS, Packed, Peer
from bitquant.testing.bench.problems import Cell, draw_weights
from bitquant.testing.bench.protocol import Call, Timer, copies_needed, host_time_us, interleave, timer
from bitquant.testing.check import poisoned

__all__ = ["FORMAT", "Bench", "Listener", "Options", "host_times", "save"]

#: Version of the results' own format.
FORMAT = 1
#: Names of timers that are not peers.
_OURS, _FLOOR = "ours", "floor"
#: Why no peer takes part.
_NO_PEER = "computes no products with the weights of experts"


@dataclasses.dataclass(frozen=True)
class Options:
    """How a run is done.

    Attributes
    ----------
    target
        As `Matmul` takes it.
    replays
        Samples of each implementation; its time is their median.
    target_ms
        Length of one sample.
    time_limit_s
        Seconds from `begin` on; None: no limit. What is under way then is broken off, and a cell is not begun if our
        part of it would probably not end in time.
    peer_limit_s
        Seconds in which a peer must be prepared for a cell. One that takes longer is broken off and left out from
        there on.
    jobs
        Processes that compile kernels ahead.
    peers
        Who takes part.
    begin
        When the run began, by `time.perf_counter`: a program may count its imports.
    commit
        Which sources are timed; None: `checkout_commit`.
    """

    target: str | None = None
    replays: int = 5
    target_ms: float = 10.0
    time_limit_s: float | None = None
    peer_limit_s: float = 20.0
    jobs: int = 1
    peers: tuple[Peer, ...] = PEERS
    begin: float = dataclasses.field(default_factory=time.perf_counter)
    commit: str | None = None


class Listener:
    """Hears of a run's progress; this one ignores it."""

    def stage(self, index: int | None, words: str) -> None:
        """Hear what is done next or what was found, in the cell of that index; None: before the first cell."""

    def changed(self) -> None:
        """Hear that `Bench.results` has changed."""


@dataclasses.dataclass
class _Loaded:
    """What the cells of one kind and shape share: weights, and copies of them in each implementation's layout.

    Weights are `Weights`, or the `GroupedInputs` of all experts.
    """

    weights: Any
    ours: dict[str, list[dict[str, torch.Tensor]]] = dataclasses.field(default_factory=dict)
    peers: dict[str, list[Packed]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class _Prepared:
    """What the implementations of one cell share."""

    loaded: _Loaded
    check: Any
    timers: dict[str, Timer] = dataclasses.field(default_factory=dict)

    def forget(self, name: str) -> None:
        """Free what a peer left behind."""
        self.loaded.peers.pop(name, None)
        self.timers.pop(name, None)


class Bench:
    """Times cells; results grow in `results`, ready for JSON.

    Parameters
    ----------
    cells
        What to time, in this order.
    options
        How.
    listener
        Who hears of each stage and of each figure.

    Attributes
    ----------
    cells : tuple of Cell
        Those of the cells that are legal problems; `results` says why the others are not.
    results : dict
        What `save` writes, at any time: figures come implementation by implementation. While the run goes on, "doing"
        says what it does, and the figures of a cell whose implementations have not all been timed in turn yet are
        marked "is_provisional".

    Raises
    ------
    UnsupportedError
        If the target is a GPU and there is none.
    """

    def __init__(self, cells: Sequence[Cell], options: Options, listener: Listener | None = None) -> None:
        self._options = options
        self._listener = listener or Listener()
        self._left_out: set[str] = set()
        self._index: int | None = None
        self._target = resolve_target(options.target)
        self._device = device_of(self._target)
        self._loaded: tuple[Any, _Loaded] | None = None
        self._floor: FloorReader | None = None
        self.results: dict[str, Any] = {
            "format": FORMAT,
            "is_complete": False,
            "protocol": {
                "replays": options.replays,
                "target_ms": options.target_ms,
                "cache_factor": CACHE_FACTOR,
                "checked_columns": CHECKED_COLUMNS,
                "timing": "CUDA graph of one call a weight copy" if self._is_cuda else "calls over rotating copies",
            },
            "versions": versions_of(options.peers),
            "device": describe(self._target, self._device),
            "commit": options.commit or checkout_commit(),
            "begun": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            "refusals": {},
            "cells": [],
        }
        self.cells = tuple(self._legal(cells))

    def _legal(self, cells: Sequence[Cell]) -> Iterator[Cell]:
        """Yield the cells that are problems; groups of 128 do not divide every K, say."""
        for cell in cells:
            try:
                _ = cell.config
            except ConfigError as error:  # noqa: PERF203  one a cell
                self.results["refusals"].setdefault(_OURS, {}).setdefault(str(error), str(cell))
            else:
                yield cell

    @property
    def _is_cuda(self) -> bool:
        return self._device.type == "cuda"

    def run(self) -> Iterator[dict[str, Any]]:
        """Time the cells in order; yield each one's entry when it is done. Stops early at the time limit."""
        begin, longest = time.perf_counter(), 0.0
        arch = str(self._target.arch) if self._is_cuda else "cpu"
        builder = Builder(self.cells, arch, self._options.jobs)
        try:
            with time_bound(self._left_s()):
                self._set_up(builder)
            for i, cell in enumerate(self.cells):
                left = self._left_s()
                if left is not None and left <= longest:
                    raise TimeIsUpError  # noqa: TRY301  one way to stop
                self._index, begin_of_cell = i, time.perf_counter()
                entry = {
                    "format": cell.kind.name,
                    "N": cell.N,
                    "K": cell.K,
                    "m": cell.m,
                    "flop": flop(cell.config, cell.m),
                }
                with time_bound(left):
                    prepared = self._time_ours(cell, entry, builder)
                longest = max(longest, time.perf_counter() - begin_of_cell)
                self.results["cells"].append(entry)
                self._listener.changed()
                is_cut = prepared is not None and self._time_others(prepared, entry)
                entry["seconds"] = round(time.perf_counter() - begin_of_cell, 3)
                self._listener.changed()
                yield entry
                if entry.get("is_fatal"):
                    self.results["stopped"] = f"the GPU reports an error after {cell}"
                    return
                if is_cut:
                    raise TimeIsUpError  # noqa: TRY301  one way to stop
            self.results["is_complete"] = True
        except TimeIsUpError:
            done = f"{len(self.results['cells'])} of {len(self.cells)} cells done"
            where = f", then {self.results['doing']}" if "doing" in self.results else ""
            self.results["stopped"] = f"time limit of {self._options.time_limit_s:g} s: {done}{where}"
        finally:
            self.results.pop("doing", None)
            builder.close()
            if self._is_cuda:
                self.results["device"]["clocks_at_end"] = clocks()
            self.results["seconds"] = round(time.perf_counter() - begin, 1)

    def _left_s(self) -> float | None:
        """Seconds until the time limit; None: there is no limit."""
        limit = self._options.time_limit_s
        return None if limit is None else limit - (time.perf_counter() - self._options.begin)

    def _stage(self, words: str) -> None:
        """Say what comes next."""
        where = "" if self._index is None else f"{self.cells[self._index]}: "
        self.results["doing"] = f"{where}{words}"
        self._listener.stage(self._index, words)
        self._listener.changed()

    def _set_up(self, builder: Builder) -> None:
        if builder.count:
            self._stage(f"compiling {builder.count} problems in {builder.workers} processes")
        if self._is_cuda:
            self._stage("kernels that read memory")
            self._floor = FloorReader(self._target, self._device)
            self.results["device"]["clocks_at_begin"] = clocks()
        else:
            builder.wait()  # Compilers would take the cores from what is timed.

    def _time_ours(self, cell: Cell, entry: dict[str, Any], builder: Builder) -> _Prepared | None:
        """Put our figures into `entry`; return what the others need, or None where ours failed."""
        try:
            self._stage("kernel")
            builder.wait_for(cell.config)
            operator = operator_of(cell.config, self._target)
            entry["bytes"] = bytes_per_call(cell.config, cell.m, is_uniform=True)
            entry["problem"] = cell.config.problem()
        except Exception as error:  # noqa: BLE001  One cell's fault must not end the run.
            entry["ours"] = {"complaint": message(error)}
            return None
        entry["ours"], entry["peers"] = {}, {}
        try:
            loaded = self._load(cell)
            self._stage("reference")
            seed = len(self.results["cells"])
            prepare: Any
            if isinstance(loaded.weights, GroupedInputs):
                prepared = _Prepared(loaded, GroupedCheck(cell, loaded.weights, CHECKED_COLUMNS, seed))
                prepare = self._prepare_experts
            else:
                prepared = _Prepared(loaded, Check(cell, loaded.weights, self._device, seed))
                prepare = self._prepare_ours
            self._stage("ours")
            entry["ours"] = prepare(operator, prepared)
            self._sample(_OURS, entry["ours"], prepared)
        except Exception as error:  # noqa: BLE001  An error of the GPU shows at the next call, whoever made it.
            entry["ours"].setdefault("complaint", message(error))
            entry["is_fatal"] = self._is_cuda and not gpu_works()
            return None
        entry["is_provisional"] = True
        return prepared

    def _time_others(self, prepared: _Prepared, entry: dict[str, Any]) -> bool:
        """Put the figures of the floor and of peers into `entry`, then those of all in turn.

        Returns
        -------
        bool
            Whether the time limit left somebody out.
        """
        is_cut = False
        try:
            if self._floor is not None:
                self._stage(_FLOOR)
                with time_bound(self._left_s()):
                    entry["floor"] = {"kernel": self._prepare_floor(entry["bytes"], prepared.timers)}
                    self._sample(_FLOOR, entry["floor"], prepared)
            for peer in self._options.peers:
                if peer.name in self._left_out:
                    continue
                cell = prepared.check.cell
                if reason := _NO_PEER if cell.kind.grouping else peer.refusal(cell.config, self._device):
                    self._leave_out(peer, reason, cell)
                    continue
                is_cut = self._time_peer(peer, prepared, entry)
                if is_cut:
                    break
            self._stage("all in turn")
            samples = interleave(prepared.timers, self._options.replays, self._options.target_ms)
        except Exception as error:  # noqa: BLE001  As above; what was timed before stays.
            entry["unfinished"] = message(error)
            entry["is_fatal"] = self._is_cuda and not gpu_works()
            return is_cut
        for name, figures in ((_OURS, entry["ours"]), (_FLOOR, entry.get("floor")), *entry["peers"].items()):
            if name in samples:
                figures.update(_times(samples[name]))
        del entry["is_provisional"], self.results["doing"]
        return is_cut

    def _time_peer(self, peer: Peer, prepared: _Prepared, entry: dict[str, Any]) -> bool:
        """Put the figures of a peer into `entry`; return whether the time limit of the run left it out."""
        left, limit, begin = self._left_s(), self._options.peer_limit_s, time.perf_counter()
        if left is not None and left <= 0:
            return True
        is_broken_off = False
        self._stage(f"{peer.name}: preparing")
        try:
            with time_bound(limit if left is None else min(limit, left)):
                figures = self._prepare_peer(peer, prepared)
                self._sample(peer.name, figures, prepared)
            entry["peers"][peer.name] = figures
        except TimeIsUpError:
            is_broken_off = True
            prepared.forget(peer.name)
        except Exception as error:  # Another library may raise anything; the run goes on.
            prepared.forget(peer.name)
            entry["peers"][peer.name] = {"complaint": message(error)}
            self._listener.stage(self._index, f"{peer.name}: {message(error)}")
            if self._is_cuda and not gpu_works():
                raise UnsupportedError(f"the GPU failed in {peer.name}") from error
        is_slow = time.perf_counter() - begin >= limit
        if is_slow:
            self._left_out.add(peer.name)
            reason = f"took longer than {limit:g} s to prepare"
            self._leave_out(peer, reason, prepared.check.cell)
            self._listener.stage(self._index, f"{peer.name} left out from here on: {reason}")
        self._listener.changed()
        return is_broken_off and not is_slow

    def _leave_out(self, peer: Peer, reason: str, cell: Cell) -> None:
        self.results["refusals"].setdefault(peer.name, {}).setdefault(reason, str(cell))

    def _sample(self, name: str, figures: dict[str, Any], prepared: _Prepared) -> None:
        """Put a time into `figures` before anything else can go wrong; that of all in turn takes its place."""
        figures.update(
            _times(interleave({name: prepared.timers[name]}, self._options.replays, self._options.target_ms)[name])
        )
        self._listener.stage(self._index, f"{name} {figures['latency_us']:.2f} us")
        self._listener.changed()

    def _load(self, cell: Cell) -> _Loaded:
        """Return the weights of the cell's kind and shape, those of the cell before where they are the same."""
        key = (cell.kind, cell.N, cell.K)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None
            self._stage("weights")
            if self._is_cuda:
                torch.cuda.empty_cache()
            draw = draw_weights(cell.config, self._device) if cell.kind.grouping is None else None
            self._loaded = key, _Loaded(draw or draw_experts(cell, self._device))
        return self._loaded[1]

    def _prepare_ours(self, operator: Matmul, prepared: _Prepared) -> dict[str, Any]:
        loaded, check = prepared.loaded, prepared.check
        config, m, weights = operator.config, check.cell.m, loaded.weights
        copies = loaded.ours.get(operator.weight_layout)
        if copies is None:
            stored = {**weights.given, "W": operator.transform_weight(weights.W)}
            packed = {o.argument: stored[o.argument] for o in present(config) if o.rows == "W"}
            count = copies_needed(sum(part.nbytes for part in packed.values()), self._device)
            copies = [packed, *({name: part.clone() for name, part in packed.items()} for _ in range(count - 1))]
            loaded.ours[operator.weight_layout] = copies
        output = poisoned((m, config.N), config.out_format.torch_dtype, self._device)
        operator(**check.rows, **copies[-1], output=output)
        figures = {**check.ours(output), "copies": len(copies), **_kernel_of(operator)}
        kernel = operator.kernel_for(m)

        names = [operand.argument for operand in present(config)]

        def call(packed: dict[str, torch.Tensor]) -> Call:
            operands = (*({**check.rows, **packed}[name] for name in names), output)
            return lambda: kernel(*operands)

        prepared.timers[_OURS] = timer([call(packed) for packed in copies], self._device)
        return figures

    def _prepare_experts(self, operator: GroupedMatmul, prepared: _Prepared) -> dict[str, Any]:
        ours, layout = prepared.loaded.ours, operator.weight_layout
        if layout not in ours:
            ours[layout] = [{"W": prepared.loaded.weights.stored(layout)["W"]}]
        calls, figures = grouped_calls(operator, prepared.check, ours[layout][0]["W"])
        prepared.timers[_OURS] = timer(calls, self._device)
        return {**figures, **_kernel_of(operator)}

    def _prepare_peer(self, peer: Peer, prepared: _Prepared) -> dict[str, Any]:
        loaded, check = prepared.loaded, prepared.check
        copies = loaded.peers.get(peer.name)
        if copies is None:
            packed = peer.pack(loaded.weights)
            count = copies_needed(peer.weight_bytes(packed), self._device)
            copies = [packed, *(peer.copy(packed) for _ in range(count - 1))]
            loaded.peers[peer.name] = copies
        calls = peer.calls(copies, check.rows["A"], check.rows.get("activation_scale"))
        figures = {**check.peer(calls[-1]()), "copies": len(copies)}
        prepared.timers[peer.name] = timer(calls, self._device)
        return figures

    def _prepare_floor(self, size_bytes: int, timers: dict[str, Timer]) -> dict[str, int]:
        """Add the timer of the fastest reading kernel; return its shape."""
        assert self._floor is not None  # noqa: S101
        calls = self._floor.calls(size_bytes, copies_needed(size_bytes, self._device))
        candidates = {shape: timer(each, self._device) for shape, each in calls.items()}
        short = self._options.target_ms / 4
        best = min(candidates, key=lambda shape: min(candidates[shape].sample_us(short) for _ in range(2)))
        timers[_FLOOR] = candidates[best]
        return dict(vars(best))


def _kernel_of(operator: Any) -> dict[str, Any]:
    """Return what serves a cell, as results say it."""
    choice = next(iter(operator.choices.values()))
    names = {"rule": choice.rule, "hint": choice.hint, "origin": choice.origin}
    return {"weight_layout": operator.weight_layout, **names}


def _times(samples: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(samples)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return {"latency_us": round(median, 4), "samples_us": [round(sample, 4) for sample in samples]}


def save(results: dict[str, Any], path: Path) -> None:
    """Write results as JSON; the file is whole at any time."""
    part = path.with_name(f"{path.name}.part")
    indent = None if "doing" in results else 1  # During a run it is written often, and compact text is made fast.
    part.write_text(json.dumps(results, indent=indent, allow_nan=False), encoding="utf-8")
    part.replace(path)


def host_times(cell: Cell, target: str | None) -> dict[str, float]:
    """Return the host's time of a call in microseconds: of `Matmul.forward` with an output, and of the bare kernel.

    Raises
    ------
    UnsupportedError
        If the target is no GPU: on a CPU a call returns when it is done, and its time is that of the product.
    """
    resolved = resolve_target(target)
    if resolved.kind.name != "cuda":
        raise UnsupportedError("host times are those of launching; they need a GPU target", target=target)
    device = device_of(resolved)
    operator = operator_of(cell.config, resolved)
    operands = random_operands(operator, cell.m, device)
    D = operands_of(cell.config)[-1]
    output = torch.empty(D.shape(cell.config, cell.m, "plain"), dtype=D.torch_dtype(cell.config), device=device)
    kernel, arguments = operator.kernel_for(cell.m), (*operands.values(), output)
    return {
        "forward_us": host_time_us(lambda: operator(**operands, output=output)),
        "kernel_us": host_time_us(lambda: kernel(*arguments)),
    }
